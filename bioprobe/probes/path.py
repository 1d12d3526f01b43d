"""Logistic regressions solved from strong to weak regularisation, each from the last."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.cores import each_alone, keep_torch_threads
from bioprobe.devices import find_gpu, multiplying
from bioprobe.probes.lbfgs import Minimum, Pair, Stop, minimise
from bioprobe.probes.objective import ABSENT, Objective, Problems, Value, choose_dtype
from bioprobe.task.lazy_rows import LazyRows, average_rows, iter_parts

if TYPE_CHECKING:
    import torch


# Directions this much shorter than the longest hold only rounding errors.
_LEAST_RATIO = 1e-12


@dataclasses.dataclass(frozen=True)
class EigenBasis:
    """Rotation of centred rows onto the eigenvectors of their Gram matrix.

    A rotation leaves the ridge penalty as it is, and the intercept, which nothing penalises,
    takes up the shift. So the objective is the same in these coordinates, but its Hessian is
    nearly diagonal: at equal probabilities it is exactly the eigenvalues times a matrix of
    classes.

    Parameters
    ----------
    centre : ndarray of float64, shape (dim,)
        Mean of the rows.
    directions : ndarray of float64, shape (dim, rank)
        Orthonormal eigenvectors, the longest first; those without extent are left out,
        but for the first.
    eigenvalues : ndarray of float64, shape (rank,)
        Of the Gram matrix of the centred rows (a sum over rows, no mean).
    """

    centre: npt.NDArray[np.float64]
    directions: npt.NDArray[np.float64]
    eigenvalues: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        X: npt.NDArray[np.floating] | LazyRows,  # noqa: N803
        *,
        centred: bool = True,
    ) -> EigenBasis:
        """Find the basis of rows, shape (n_images, dim), about their mean or about zero."""
        n_images, dim = X.shape
        centre = average_rows(X) if centred else np.zeros(dim)
        origin = centre.astype(X.dtype)
        if n_images < dim:
            shifted = (np.asarray(X) - origin).astype(np.float64)
            _, lengths, rows = np.linalg.svd(shifted, full_matrices=False)
            eigenvalues, directions = lengths**2, rows.T
        else:
            gram = np.zeros((dim, dim))
            for part in iter_parts(n_images):
                shifted = np.asarray(X[part]) - origin
                gram += shifted.T @ shifted
            eigenvalues, directions = np.linalg.eigh(gram)
            eigenvalues, directions = eigenvalues[::-1], directions[:, ::-1]
        kept = eigenvalues > _LEAST_RATIO * max(eigenvalues[0], np.finfo(np.float64).tiny)
        kept[0] = True  # torch has no products over no directions
        return cls(centre, np.ascontiguousarray(directions[:, kept]), eigenvalues[kept])

    def rotate(self, X: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:  # noqa: N803
        """Return rows in this basis, shape (n_images, rank), in the dtype of ``X``."""
        centred = X - self.centre.astype(X.dtype)
        return np.asarray(centred @ self.directions.astype(X.dtype))

    def shift(self, X: LazyRows) -> LazyRows:  # noqa: N803
        """Return rows about the centre, in coordinates of their own; none is read."""
        centre = self.centre.astype(X.dtype)
        return LazyRows(
            lambda places: np.asarray(X[places]) - centre, np.arange(len(X)), X.shape[1]
        )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch and numpy compute in the thread that asks, and in those that it starts.

    A product of a millisecond is over before a second thread has begun; beside other work, the
    wait for it takes longer than the product. Large ones are shared row by row.
    """
    import torch

    with keep_torch_threads(), each_alone():
        torch.set_num_threads(1)
        yield


# Products this small gain nothing from bf16, nor from a second thread.
_LEAST_WORK = 1e8
# Accuracies stand still long before the objective does. Of few rows, each shows.
_ROUGH = Stop(tolerance=2e-4, max_iter=40, noise=5e-4)
_FINE = Stop(tolerance=1e-7, max_iter=300, noise=1e-7)
# Passes over the rows on such a path, about.
_N_PASSES = 100
# Of the objective, in single precision.
_LEAST_GAIN = 1e-8
# Rows as float64 up to 256 MiB; beyond, float32 it stays.
_MOST_DOUBLES = 1 << 25
# Of an intercept's curvature where all rows are certain.
_LEAST_SPREAD = 1e-3
# Pairs that hold at the next penalty too: where rows become certain, older ones promise too little.
_N_CARRIED = 5
# Strong to weak on the way to the one fit that is kept.
_WAY = (1e-3, 1e-2, 1e-1, 1.0)


@dataclasses.dataclass(frozen=True)
class State:
    """Coefficients of all problems at one value, in the coordinates of the basis.

    Parameters
    ----------
    coefficients : tensor, shape (n_problems, n_classes, rank)
    intercepts : tensor, shape (n_problems, n_classes)
    n_iter : int
        Steps since the state before.
    is_converged : bool
        Whether they were enough.
    pairs : sequence of Pair
        What is known of the curvature there.
    penalty : float
        At which it is known.
    """

    coefficients: torch.Tensor
    intercepts: torch.Tensor
    n_iter: int = 0
    is_converged: bool = False
    pairs: Sequence[Pair] = ()
    penalty: float = 0.0

    def repeat(self, n_problems: int) -> State:
        """Return the state of one problem as that of several."""
        return dataclasses.replace(
            self,
            coefficients=self.coefficients.repeat(n_problems, 1, 1),
            intercepts=self.intercepts.repeat(n_problems, 1),
            pairs=[one.repeat(n_problems) for one in self.pairs],
        )


@dataclasses.dataclass(frozen=True)
class Weights:
    """A solved logistic regression.

    Parameters
    ----------
    coefficients : ndarray of float64, shape (n_classes, dim)
    intercepts : ndarray of float64, shape (n_classes,)
    n_iter : int
        Steps taken in full precision.
    is_converged : bool
        Whether they were enough.
    """

    coefficients: npt.NDArray[np.float64]
    intercepts: npt.NDArray[np.float64]
    n_iter: int
    is_converged: bool


def sweep_values(
    problems: Problems,
    basis: EigenBasis,
    values: Sequence[float],
    folds: npt.NDArray[np.int64],
    prior: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """Score the rows of each fold at each value of C.

    Parameters
    ----------
    problems : Problems
        One for each fold; its held-out rows weigh nothing.
    basis : EigenBasis
        Coordinates of the problems' rows.
    values : sequence of float
        C, from the strongest regularisation to the weakest.
    folds : ndarray of int64, shape (n_images,)
        Fold of each row, -1 for one that is not scored.
    prior : ndarray of float64, shape (n_classes, rank), optional
        Coefficients that the penalty shrinks towards, in the basis.

    Returns
    -------
    ndarray of float64, shape (n_values, 2, n_folds)
        Share of the rows of each fold that are right, and their mean negative log-probability.
    """
    penalties = [_to_penalty(value, problems) for value in values]
    stop = _ROUGH if _is_large(problems) else _FINE
    with _choose_place(problems) as device:
        objective = Objective(problems, _choose_dtype(problems, device), device)
        states = _iter_states(objective, basis, penalties, _to_tensor(prior, objective), stop)
        scored = [
            objective.score_held_out(state.coefficients, state.intercepts, folds)
            for state in states
        ]
    return np.stack(scored)


def solve(
    problems: Problems,
    basis: EigenBasis,
    value: float,
    stop: Stop,
    prior: npt.NDArray[np.float64] | None = None,
) -> Weights:
    """Solve one logistic regression to the end.

    It is begun roughly, on a path from strong regularisation, and polished in float32 and, if
    its rows are few enough, in float64. In float32 alone the objective ends within some
    millionths of its minimum.

    Parameters
    ----------
    problems : Problems
        Exactly one.
    basis : EigenBasis
        Coordinates of its rows.
    value : float
        C.
    stop : Stop
        When the polish may stop.
    prior : ndarray of float64, shape (n_classes, dim), optional
        Coefficients that the penalty shrinks towards.

    Returns
    -------
    Weights
        In the coordinates of the vectors.
    """
    import torch

    shrunk_to = None if prior is None else prior @ basis.directions
    penalties = [_to_penalty(value * step, problems) for step in _WAY]
    # Float32 cannot tell smaller decreases from rounding, nor rises from those.
    single = dataclasses.replace(
        stop, tolerance=max(stop.tolerance, _LEAST_GAIN), noise=max(stop.noise, _FINE.noise)
    )
    polish = [(torch.float32, single)]
    if problems.n_numbers <= _MOST_DOUBLES:
        polish = [(torch.float32, _FINE), (torch.float64, stop)]
    n_iter = 0
    with _choose_place(problems) as device:
        rough = Objective(problems, _choose_dtype(problems, device), device)
        *_, state = _iter_states(rough, basis, penalties, _to_tensor(shrunk_to, rough), _ROUGH)
        for dtype, aim in polish:
            objective = Objective(problems, dtype, device)
            shrink = _to_tensor(shrunk_to, objective)
            state = _solve(objective, basis, penalties[-1], shrink, state, aim)
            n_iter += state.n_iter
    coefficients = state.coefficients[0].double().cpu().numpy() @ basis.directions.T
    if prior is not None and shrunk_to is not None:
        # Rows say nothing about the directions in which they have no extent.
        coefficients += prior - shrunk_to @ basis.directions.T
    intercepts = state.intercepts[0].double().cpu().numpy() - coefficients @ basis.centre
    return Weights(coefficients, intercepts, n_iter, state.is_converged)


def resume(
    problems: Problems,
    basis: EigenBasis,
    value: float,
    stop: Stop,
    before: State | None = None,
    prior: npt.NDArray[np.float64] | None = None,
) -> State:
    """Go on from a solution of nearly the same regressions, in float32.

    Where there is none, the way from strong regularisation is gone once, by the regression over
    the rows that any of them has. So where they are folds, what each leaves out has taught where
    it begins, and must be unlearnt: the stop is not to be a rough one.

    Parameters
    ----------
    problems : Problems
        One or several.
    basis : EigenBasis
        Coordinates of their rows. Any orthonormal ones give the same minimum; those of the rows'
        own Gram matrix are reached soonest.
    value : float
        C.
    stop : Stop
        When it is enough.
    before : State, optional
        Where to begin.
    prior : ndarray of float64, shape (n_classes, rank), optional
        Coefficients that the penalty shrinks towards, in the basis.

    Returns
    -------
    State
        In the coordinates of the basis.
    """
    import torch

    objective = Objective(problems, torch.float32)
    shrunk_to = _to_tensor(prior, objective)
    with _one_thread():
        if before is None:
            joined = Objective(problems.join(), torch.float32)
            penalties = [_to_penalty(value * step, problems) for step in _WAY]
            *_, state = _iter_states(joined, basis, penalties, shrunk_to, _ROUGH)
            before = state.repeat(problems.n_problems)
        penalty = _to_penalty(value, problems)
        found = _solve(objective, basis, penalty, shrunk_to, before, stop)
    # The next rows are others.
    return dataclasses.replace(found, pairs=())


def solve_about(
    problems: Problems,
    basis: EigenBasis,
    start: npt.NDArray[np.float64],
    codes: npt.NDArray[np.float64],
    penalties: npt.NDArray[np.float64],
    stop: Stop,
) -> npt.NDArray[np.float64]:
    """Solve a logistic regression without intercepts whose coefficients move about a start.

    Coefficients are ``start + codes @ moves``. What is minimised, loss + Σ penalties ‖moves‖², is
    convex, so that it has one minimum where no penalty is 0.

    Parameters
    ----------
    problems : Problems
        Exactly one.
    basis : EigenBasis
        Coordinates of its rows, about zero.
    start : ndarray of float64, shape (n_classes, rank)
        In the basis.
    codes : ndarray of float64, shape (n_classes, n_codes)
        What a move along each code is to each class.
    penalties : ndarray of float64, shape (n_codes,)
        Each ≥ 0, beside the sum of the losses over rows.
    stop : Stop
        When the polish may stop.

    Returns
    -------
    ndarray of float64, shape (n_codes, rank)
        The moves, in the basis.
    """
    import torch

    shape = codes.shape[1], len(basis.eigenvalues)
    moves = np.zeros(shape)
    exact = torch.float64 if problems.n_numbers <= _MOST_DOUBLES else torch.float32
    way: list[tuple[torch.dtype, float, Stop]] = [(exact, 1.0, stop)]
    if _is_large(problems):
        # From strong penalties, and in float32, as far as that goes.
        rough = ((torch.float32, 1 / step, _ROUGH) for step in _WAY[:-1])
        way = [*rough, (torch.float32, 1.0, _FINE), *way]
    for dtype, factor, aim in way:
        objective = Objective(problems, dtype)
        begin, along, costs = (
            torch.from_numpy(one).to(dtype)
            for one in (start, codes, factor * penalties[:, np.newaxis])
        )
        with _one_thread():
            found = _move(objective, basis, (begin, along, costs), torch.from_numpy(moves), aim)
        moves = found.points.double().numpy().reshape(shape)
    return moves


def _move(
    objective: Objective,
    basis: EigenBasis,
    about: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    guess: torch.Tensor,
    stop: Stop,
) -> Minimum:
    """Minimise what :func:`solve_about` says from a guess; points have the shape (1, n_moves)."""
    import torch

    begin, along, costs = about
    intercepts = torch.zeros(1, len(begin), dtype=objective.dtype)

    def evaluate(
        points: torch.Tensor, *, with_spreads: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        moves = points.view(guess.shape)
        coefficients = (begin + along @ moves).unsqueeze(0)
        value = objective.evaluate(coefficients, intercepts, with_spreads=with_spreads)
        objectives = value.losses + (costs * moves.square()).sum()
        gradients = along.T @ value.coefficients[0] + 2 * costs * moves
        return objectives, gradients.view(1, -1), value.spreads

    start = guess.to(objective.dtype).reshape(1, -1)
    objectives, gradients, spreads = evaluate(start, with_spreads=True)
    lengths = objective.take(basis.eigenvalues / len(objective.problems.rows))
    curvatures = (along.square().T @ spreads[0]).unsqueeze(1) * lengths.to(objective.dtype)
    diagonal = curvatures + 2 * costs
    least = _LEAST_SPREAD * diagonal.max().clamp_min(torch.finfo(diagonal.dtype).tiny)
    scale = (1 / diagonal.clamp_min(least)).view(1, -1)

    def step(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return evaluate(points)[:2]

    return minimise(step, (start, objectives, gradients), scale, stop)


def _choose_dtype(problems: Problems, device: torch.device | None) -> torch.dtype:
    import torch

    return choose_dtype() if _is_large(problems) and device is None else torch.float32


@contextlib.contextmanager
def _choose_place(problems: Problems) -> Iterator[torch.device | None]:
    """Choose where problems are solved: on a GPU or by the processor.

    Yields
    ------
    torch.device or None
        None for the processor.
    """
    n_uses = 2 * _N_PASSES * problems.adjustments.size
    device = find_gpu(problems.n_numbers, n_uses)
    with multiplying(device), _one_thread():
        yield device


def _is_large(problems: Problems) -> bool:
    return float(problems.n_numbers) * problems.adjustments.size > _LEAST_WORK


def _to_penalty(value: float, problems: Problems) -> float:
    # Two classes as scikit-learn has them: one vector w for both, of which a softmax takes w / 2
    # and -w / 2, whose squares add up to half of the square of w.
    return (2.0 if problems.n_classes == 2 else 1.0) / value


def _to_tensor(prior: npt.NDArray[np.float64] | None, objective: Objective) -> torch.Tensor:

    if prior is not None:
        return objective.take(prior)
    return objective.take(np.zeros((objective.problems.n_classes, objective.problems.rank)))


def _iter_states(
    objective: Objective,
    basis: EigenBasis,
    penalties: Sequence[float],
    prior: torch.Tensor,
    stop: Stop,
) -> Iterator[State]:
    before, state = None, _start(objective, prior)
    for last, penalty in itertools.pairwise([penalties[0], *penalties]):
        guess = state if before is None else _extrapolate(before, state, last, penalty)
        before = (last, state)
        state = _solve(objective, basis, penalty, prior, guess, stop)
        yield state


def _start(objective: Objective, prior: torch.Tensor) -> State:
    """Return the prior's coefficients and the intercepts that give each class its frequency."""
    problems = objective.problems
    sums = np.maximum(problems.weigh_classes(), np.finfo(np.float64).tiny)
    shares = np.log(sums / sums.sum(axis=1, keepdims=True))
    intercepts = np.where(problems.adjustments <= ABSENT, 0.0, shares)
    coefficients = prior.expand(problems.n_problems, *prior.shape).clone()
    return State(coefficients, objective.take(intercepts))


def _solve(
    objective: Objective,
    basis: EigenBasis,
    penalty: float,
    prior: torch.Tensor,
    guess: State,
    stop: Stop,
) -> State:
    """Minimise loss + penalty / 2 · ‖coefficients − prior‖² from a guess."""
    import torch

    shape = guess.coefficients.shape
    n_coefficients = shape[1] * shape[2]

    def split(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return points[:, :n_coefficients].view(shape), points[:, n_coefficients:]

    def join(coefficients: torch.Tensor, intercepts: torch.Tensor) -> torch.Tensor:
        both = [coefficients.flatten(1), intercepts]
        return torch.cat(both, dim=1).to(objective.dtype)

    def penalise(value: Value, coefficients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        away = coefficients - prior
        objectives = value.losses + penalty / 2 * torch.einsum("bkr,bkr->b", away, away)
        return objectives, join(value.coefficients.add_(away, alpha=penalty), value.intercepts)

    def evaluate(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        coefficients, intercepts = split(points)
        return penalise(objective.evaluate(coefficients, intercepts), coefficients)

    start = join(guess.coefficients, guess.intercepts)
    coefficients, intercepts = split(start)
    value = objective.evaluate(coefficients, intercepts, with_spreads=True)
    lengths = objective.take(basis.eigenvalues / len(objective.problems.rows))
    # As if a class were as uncertain along every direction: the mean of p(1 − p) times the
    # direction's extent.
    diagonal = value.spreads.unsqueeze(2) * lengths + penalty
    scale = join(1 / diagonal, 1 / (value.spreads + _LEAST_SPREAD))
    more = penalty - guess.penalty
    pairs = [_repenalise(pair, more, n_coefficients, objective.dtype) for pair in guess.pairs]
    found = minimise(evaluate, (start, *penalise(value, coefficients)), scale, stop, pairs)
    coefficients, intercepts = split(found.points)
    kept = found.pairs[-_N_CARRIED:]
    return State(coefficients, intercepts, found.n_iter, found.is_converged, kept, penalty)


def _repenalise(pair: Pair, more: float, n_coefficients: int, dtype: torch.dtype) -> Pair:
    """Return what a step would have told of the curvature, had the penalty been greater."""
    step, change = pair.step.to(dtype), pair.change.to(dtype, copy=True)
    change[:, :n_coefficients].add_(step[:, :n_coefficients], alpha=more)
    return Pair.of(step, change)


def _extrapolate(before: tuple[float, State], state: State, last: float, penalty: float) -> State:
    """Go on in a straight line over the logarithm of the penalty."""
    first, older = before
    run = np.log(last / first)
    ratio = float(np.log(penalty / last) / run) if run else 0.0
    return dataclasses.replace(
        state,
        coefficients=state.coefficients + ratio * (state.coefficients - older.coefficients),
        intercepts=state.intercepts + ratio * (state.intercepts - older.intercepts),
    )
