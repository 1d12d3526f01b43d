"""What answers the pictures of a review: fitted again after each batch, from where it was."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.probes.lbfgs import Stop
from bioprobe.probes.linear import Balance
from bioprobe.probes.objective import ABSENT, Problems
from bioprobe.probes.path import EigenBasis, State, resume
from bioprobe.reviewing.pool import Pool, find_best_two
from bioprobe.reviewing.teaching import MOST_TAUGHT, choose_teaching
from bioprobe.task.lazy_rows import AnyRows
from bioprobe.task.method import find_probe, make_probe
from bioprobe.types import Doubles, Mask, Places, Scores, Vectors

if TYPE_CHECKING:
    from bioprobe.probes.probe import Probe

LINEAR, PROMPTED, ZERO_SHOT = "linear", "prompt+probe", "zeroshot"
#: Methods that go on from their last solution; of others each fit begins anew.
RESUMED = (LINEAR, PROMPTED)
#: Inverse strength of the penalty: see docs/guide/review.md for how it was chosen.
STRENGTH = 100.0
N_FOLDS = 5
# Answers stand still long before the objective does: at this stop one in two hundred is another
# than at the minimum, as many right, and the next batch goes on from there.
_STOP = Stop(tolerance=3e-4, max_iter=100, noise=1e-7)
# What is judged by who did not learn from it is fitted when somebody asks, not after each batch.
_STOP_LEFT_OUT = Stop(tolerance=1e-5, max_iter=100, noise=1e-7)
_BALANCE = Balance("class-weight")
# Vectors that the coordinates are found on.
_MOST_MEASURED = 20_000
# Classes that what a picture is not leaves it, as far as they are likely.
_MOST_LEFT, _SHARE_LEFT = 8, 0.95
_ROWS = 8_192
# What the others say of a picture that teaches is asked again when so many times as many teach;
# of each so many classes are kept.
_GROWN, _N_KEPT = 1.1, 32


@dataclasses.dataclass(frozen=True, eq=False)
class _OfOthers:
    """What was said of pictures by others that taught, the most probable classes first."""

    n_taught: int
    places: Places
    best: Places
    scores: Scores

    def has(self, places: Places) -> bool:
        return bool(np.isin(places, self.places).all())


@dataclasses.dataclass(frozen=True, eq=False)
class LeftOut:
    """What is left out of what teaches, in turn.

    Parameters
    ----------
    places : ndarray of int64, shape (n,)
        Pictures that are answered by what the others teach.
    classes : ndarray of int64, shape (n_taught_classes,)
    targets : ndarray of int64, shape (n_taught,)
        Which of the classes each picture that teaches is of.
    folds : ndarray of int64, shape (n_taught,)
    is_out : ndarray of bool, shape (n_taught,)
        Which of those that teach ``places`` are.
    """

    places: Places
    classes: Places
    targets: Places
    folds: Places
    is_out: Mask


@dataclasses.dataclass(frozen=True, eq=False)
class ClassTexts:
    """Texts of classes, as the store's encoder reads them.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_texts, dim), unit rows
    classes : ndarray of int64, shape (n_texts,)
        Class of each; each class once.
    scale : float
        The encoder's factor from cosine similarity to logits.
    """

    vectors: Vectors
    classes: Places
    scale: float

    @property
    def coefficients(self) -> npt.NDArray[np.float32]:
        """Coefficients of zero-shot, shape (n_texts, dim)."""
        return np.asarray(self.scale * self.vectors, dtype=np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """What answers a vector: an affine function of it, or a classifier.

    Parameters
    ----------
    classes : ndarray of int64, shape (n_known,)
        Class of each logit.
    coefficients : ndarray of float32, shape (n_known, dim)
    intercepts : ndarray of float32, shape (n_known,)
    probe : Probe, optional
        Whose logits they are, where they are no affine function.
    """

    classes: Places
    coefficients: npt.NDArray[np.float32]
    intercepts: npt.NDArray[np.float32]
    probe: Probe | None = None

    def score(self, vectors: Vectors) -> npt.NDArray[np.float32]:
        """Return logits, shape (n_images, n_known)."""
        if self.probe is not None:
            return np.asarray(self.probe.logits(vectors), dtype=np.float32)
        return np.asarray(vectors @ self.coefficients.T + self.intercepts)


class Learner:
    """A method that answers the pictures of a pool, and learns from those that have a label.

    Of very many labels it learns from a draw alone (:attr:`teaching`): a fit to each of a million
    rows would take minutes after each batch, and gain little where all classes weigh the same.
    Until pictures of two classes have one, texts answer; where there are none, nothing does.

    Parameters
    ----------
    pool : Pool
    kind : str
        ``linear``, ``prompt+probe``, ``zeroshot`` or another classifier of vectors.
    settings : dict, optional
        Arguments of it; of ``linear`` and ``prompt+probe`` ``C`` alone.
    texts : ClassTexts, optional
        Of ``prompt+probe`` and ``zeroshot``, and of whatever begins without labels.
    seed : int
        Of folds.
    n_folds : int
        In how many parts what teaches is left out in turn.
    most_taught : int
        Pictures that are learnt from at most.

    Raises
    ------
    ProbeError
        If there is no such method or setting, or it lacks texts.
    """

    def __init__(
        self,
        pool: Pool,
        kind: str = LINEAR,
        settings: dict[str, Any] | None = None,
        texts: ClassTexts | None = None,
        seed: int = 0,
        n_folds: int = N_FOLDS,
        most_taught: int = MOST_TAUGHT,
    ) -> None:
        self.pool, self.kind, self.texts, self.seed = pool, kind, texts, seed
        self.n_folds, self.most_taught = n_folds, most_taught
        self.settings = dict(settings or {})
        if kind in {PROMPTED, ZERO_SHOT} and texts is None:
            msg = f"{kind} starts from the texts of classes, and there are none; take {LINEAR}"
            raise ProbeError(msg)
        if kind != ZERO_SHOT:
            make_probe(kind, self.settings)
            find_probe(kind).check_settings(self.settings)
        if kind in RESUMED and set(self.settings) - {"C"}:
            unknown = min(set(self.settings) - {"C"})
            msg = f"in a review {kind} has the setting C, got {unknown}; leave it out"
            raise ProbeError(msg)
        self.solution: Solution | None = None
        # Labels and when they were given, and what was drawn of them.
        self._drawn: tuple[Places, Places] | None = None
        self._state: State | None = None
        self._taught_classes: Places = np.zeros(0, dtype=np.int64)
        self._basis = _measure(pool.vectors)
        self._folds: Places = np.full(len(pool), -1, dtype=np.int64)
        self._left_out: tuple[State, Places] | None = None
        self._of_others: _OfOthers | None = None
        self._rotated: dict[int, int] = {}
        self._kept = np.zeros((0, len(self._basis.eigenvalues)), dtype=np.float32)

    @property
    def answering(self) -> str:
        """What answers now: the method, ``zeroshot`` before it can learn, ``""`` where nothing."""
        if self.kind != ZERO_SHOT and self.pool.n_taught_classes >= 2:
            return self.kind
        return ZERO_SHOT if self.texts is not None and len(self.texts.classes) else ""

    @property
    def teaching(self) -> Places:
        """Places of the pictures that are learnt from, ascending; see :func:`choose_teaching`."""
        told = np.stack([self.pool.labels, self.pool.said])
        if self._drawn is None or not np.array_equal(self._drawn[0], told):
            self._drawn = told, choose_teaching(self.pool, self.seed, self.most_taught)
        return self._drawn[1]

    @property
    def strength(self) -> float:
        """C of what goes on from its last solution."""
        return float(self.settings.get("C", STRENGTH))

    def learn(self) -> None:
        """Fit again, and put the two best classes of each picture into the pool."""
        pool, answering = self.pool, self.answering
        if not answering:
            self.solution = None
            pool.forget_answers()
            return
        if answering == ZERO_SHOT:
            assert self.texts is not None
            texts = self.texts
            none = np.zeros(len(texts.classes), dtype=np.float32)
            self.solution = Solution(texts.classes, texts.coefficients, none)
        elif self.kind in RESUMED:
            self.solution = self._resume()
        else:
            self.solution = self._fit_anew()
        self._answer()

    def _answer(self) -> None:
        pool, solution = self.pool, self.solution
        assert solution is not None
        if solution.probe is None:
            best, pool.scores = find_best_two(
                pool.vectors, solution.coefficients, solution.intercepts
            )
        else:
            # Of an identity: what is at hand are the logits themselves.
            n_known = len(solution.classes)
            same, none = np.eye(n_known, dtype=np.float32), np.zeros(n_known, dtype=np.float32)
            parts = [
                find_best_two(
                    solution.score(np.asarray(pool.vectors[start : start + _ROWS])), same, none
                )
                for start in range(0, max(len(pool), 1), _ROWS)
            ]
            best = np.concatenate([one for one, _ in parts])
            pool.scores = np.concatenate([one for _, one in parts])
        pool.best = np.where(best >= 0, solution.classes[best], -1)
        refused = [one for one, classes in pool.excluded.items() if classes]
        if refused:
            places = np.array(refused, dtype=np.int64)
            probabilities = self.predict(places)
            two = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
            scores = np.take_along_axis(probabilities, two, axis=1)
            left = np.where(scores > 0, solution.classes[two], -1)
            pool.best[places] = -1
            pool.scores[places] = 0
            pool.best[places, : two.shape[1]] = left
            pool.scores[places, : two.shape[1]] = scores

    def predict(self, places: Places) -> Scores:
        """Return the probabilities of some pictures, shape (n, n_known); 0 for what one is not."""
        solution = self.solution
        if solution is None:
            return np.zeros((len(places), 0), dtype=np.float32)
        logits = solution.score(self.pool.read(places))
        for row, place in enumerate(places.tolist()):
            self.pool.exclude(place, logits[row], solution.classes)
        return _softmax(logits)

    def find_best(self, places: Places, k: int) -> tuple[Places, Scores]:
        """Return the k most probable classes of some pictures; -1 and 0 where there are fewer.

        A picture that teaches is answered by what the others teach: what learnt its label would
        but repeat it.
        """
        known = self.solution.classes if self.solution is not None else places[:0]
        best, found = _find_highest(self.predict(places), known, k)
        teaches = np.isin(places, self.teaching)
        if not teaches.any() or self.answering in {ZERO_SHOT, ""}:
            return best, found
        best[teaches], found[teaches] = self._find_best_of_others(places[teaches], k)
        return best, found

    def _find_best_of_others(self, places: Places, k: int) -> tuple[Places, Scores]:
        """Return the k most probable classes of pictures that teach, by what the others teach.

        What that was is kept until many more teach, or one is asked that taught nothing then.
        """
        kept, n_taught = self._of_others, len(self.teaching)
        if kept is None or n_taught > _GROWN * kept.n_taught or not kept.has(places):
            answered, classes, probabilities = self.predict_left_out(alone=True)
            highest = _find_highest(probabilities, classes, max(k, _N_KEPT))
            kept = self._of_others = _OfOthers(n_taught, answered, *highest)
        at = np.searchsorted(kept.places, places)
        best, scores = kept.best[at], kept.scores[at]
        for row, place in enumerate(places.tolist()):
            refused = np.isin(best[row], list(self.pool.excluded.get(place, ())))
            scores[row] /= max(1 - float(scores[row, refused].sum()), np.finfo(np.float32).tiny)
            scores[row, refused] = 0
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores = np.take_along_axis(scores, order, axis=1)
        return np.where(scores > 0, np.take_along_axis(best, order, axis=1), -1), scores

    def predict_left_out(self, *, alone: bool = False) -> tuple[Places, Places, Scores]:
        """Answer each picture that teaches by what the others teach, some left out in turn.

        Parameters
        ----------
        alone : bool
            Whether pictures that alone are of their class are answered too, which cannot be right.

        Returns
        -------
        places : ndarray of int64, shape (n,)
            Pictures that were left out in turn: those of which others teach the class, or all.
        classes : ndarray of int64, shape (n_taught_classes,)
        probabilities : ndarray of float32, shape (n, n_taught_classes)
        """
        left, taught = self.leave_out(alone=alone), self.teaching
        classes, targets, folds = left.classes, left.targets, left.folds
        if not len(left.places):
            return left.places, classes, np.zeros((0, len(classes)), dtype=np.float32)
        found = np.zeros((len(taught), len(classes)), dtype=np.float32)
        kind = self.kind if self.kind != ZERO_SHOT else LINEAR
        if kind in RESUMED:
            weights = (folds[:, np.newaxis] != np.arange(self.n_folds)).astype(np.float64)
            rows = self._rotate(taught)
            prior = self._find_prior(classes)
            before = None
            if self._left_out is not None:
                before = _carry(*self._left_out, classes, prior)
            problems = _pose(rows, targets, weights, len(classes))
            basis = self._scaled(len(rows))
            state = resume(problems, basis, self.strength, _STOP_LEFT_OUT, before, prior)
            self._left_out = state, classes
            for fold in range(self.n_folds):
                inside = folds == fold
                coefficients = state.coefficients[fold].numpy()
                logits = rows[inside] @ coefficients.T + state.intercepts[fold].numpy()
                logits += problems.adjustments[fold]
                found[inside] = _softmax(logits)
        else:
            X = self.pool.read(taught)  # noqa: N806 - scikit-learn's name
            for fold in np.unique(folds).tolist():
                inside = folds == fold
                if len(np.unique(targets[~inside])) < 2:
                    continue
                probe = make_probe(kind, self.settings).fit(X[~inside], targets[~inside])
                found[np.ix_(inside, probe.classes_)] = probe.predict_proba(X[inside])
        return left.places, classes, found[left.is_out]

    def leave_out(self, *, alone: bool = False) -> LeftOut:
        """Return what is left out of what teaches, in turn.

        Parameters
        ----------
        alone : bool
            Whether pictures that alone are of their class are left out too.
        """
        taught = self.teaching
        classes, targets = np.unique(self.pool.labels[taught], return_inverse=True)
        folds = self.assign_folds(taught, targets)
        counts = np.zeros((len(classes), self.n_folds), dtype=np.int64)
        np.add.at(counts, (targets, folds), 1)
        # A class that is in one fold alone is taught by nothing else.
        is_out = (counts.sum(axis=1)[targets] > counts[targets, folds]) | alone
        is_out &= len(classes) > 1
        return LeftOut(taught[is_out], classes, targets, folds, is_out)

    def assign_folds(self, taught: Places, targets: Places) -> Places:
        """Return the fold of each picture that teaches; one that has been given stays.

        Of a class each new picture goes where there are fewest of it, of equal ones where there
        are fewest at all, but for one whose group is in a fold: so every class is in several folds,
        copies are in one, and solutions can go on from those before.
        """
        folds, groups = self._folds, self.pool.groups
        n_classes = int(targets.max(initial=-1)) + 1
        counts = np.zeros((n_classes, self.n_folds), dtype=np.int64)
        known = folds[taught] >= 0
        np.add.at(counts, (targets[known], folds[taught[known]]), 1)
        totals = counts.sum(axis=0)
        fold_of: dict[int, int] = {}
        if groups is not None:
            own = groups[taught[known]].tolist()
            fold_of = dict(zip(own, folds[taught[known]].tolist(), strict=True))
        new = np.random.default_rng(self.seed).permutation(np.flatnonzero(~known))
        for at in new.tolist():
            of_class = counts[targets[at]]
            group = -1 if groups is None else int(groups[taught[at]])
            fold = fold_of.get(group) if group >= 0 else None
            if fold is None:
                fold = min(range(self.n_folds), key=lambda one: (of_class[one], totals[one]))
                fold_of[group] = fold
            of_class[fold] += 1
            totals[fold] += 1
            folds[taught[at]] = fold
        return folds[taught]

    def _fit_anew(self) -> Solution:
        taught = self.teaching
        probe = make_probe(self.kind, self.settings)
        probe.fit(self.pool.read(taught), self.pool.labels[taught])
        classes = probe.classes_.astype(np.int64)
        if hasattr(probe, "coef_") and probe.coef_.shape[0] == len(classes):
            return Solution(classes, probe.coef_, probe.intercept_)
        none = np.zeros((0, 0), dtype=np.float32)
        return Solution(classes, none, np.zeros(0, dtype=np.float32), probe)

    def _resume(self) -> Solution:
        pool, basis = self.pool, self._basis
        taught = self.teaching
        classes, targets = np.unique(pool.labels[taught], return_inverse=True)
        rows, weights = self._rotate(taught), np.ones(len(taught))
        more = self._spread_refusals(classes)
        if more is not None:
            places, further, shares = more
            rows = np.concatenate([rows, self._rotate(places)])
            targets, weights = np.concatenate([targets, further]), np.concatenate([weights, shares])
        problems = _pose(rows, targets, weights[:, np.newaxis], len(classes))
        prior = self._find_prior(classes)
        before = None
        if self._state is not None:
            before = _carry(self._state, self._taught_classes, classes, prior)
        state = resume(problems, self._scaled(len(rows)), self.strength, _STOP, before, prior)
        self._state, self._taught_classes = state, classes
        turned = state.coefficients[0].double().numpy()
        coefficients = turned @ basis.directions.T
        intercepts = state.intercepts[0].double().numpy() - coefficients @ basis.centre
        return self._beside_texts(classes, coefficients, intercepts)

    def _beside_texts(
        self, classes: Places, coefficients: Doubles, intercepts: Doubles
    ) -> Solution:
        """Return what was learnt, of ``prompt+probe`` beside the classes that have a text alone."""
        own = coefficients.astype(np.float32), intercepts.astype(np.float32)
        if self.kind != PROMPTED or self.texts is None:
            return Solution(classes, *own)
        only = ~np.isin(self.texts.classes, classes)
        texts = self.texts.coefficients[only]
        # The softmax of the taught classes leaves a constant free: zero-shot has none.
        free = intercepts.mean()
        return Solution(
            np.concatenate([classes, self.texts.classes[only]]),
            np.concatenate([own[0], texts]),
            np.concatenate([own[1] - np.float32(free), np.zeros(len(texts), dtype=np.float32)]),
        )

    def _find_prior(self, classes: Places) -> Doubles | None:
        """Return the coefficients of the classes' texts in the basis, 0 for one that has none."""
        if self.kind != PROMPTED or self.texts is None:
            return None
        prior = np.zeros((len(classes), len(self._basis.centre)))
        place_of = {one: row for row, one in enumerate(self.texts.classes.tolist())}
        for row, one in enumerate(classes.tolist()):
            if one in place_of:
                prior[row] = self.texts.scale * self.texts.vectors[place_of[one]]
        return np.asarray(prior @ self._basis.directions)

    def _spread_refusals(self, classes: Places) -> tuple[Places, Places, Doubles] | None:
        """Return rows that teach what a picture is not: the other classes, as likely as they are.

        So the loss of such a picture is that of not being the class, - log(1 - p), by the step of
        expectation and maximisation from the last solution.
        """
        if self.solution is None:
            return None
        is_taught = self.pool.labels >= 0
        refused = [one for one, of in self.pool.excluded.items() if of and not is_taught[one]]
        if not refused:
            return None
        places = np.array(refused, dtype=np.int64)
        known = np.isin(self.solution.classes, classes)
        if not known.any():
            return None
        columns = np.searchsorted(classes, self.solution.classes[known])
        probabilities = self.predict(places)[:, known].astype(np.float64)
        found = []
        for place, own in zip(places.tolist(), probabilities, strict=True):
            order = np.argsort(-own, kind="stable")[:_MOST_LEFT]
            total = own.sum()
            if total <= 0:
                continue
            before = np.cumsum(own[order]) - own[order]
            kept = order[(own[order] > 0) & (before < _SHARE_LEFT * total)]
            found += [(place, columns[at], own[at] / own[kept].sum()) for at in kept]
        if not found:
            return None
        rows, further, shares = zip(*found, strict=True)
        return np.array(rows), np.array(further), np.array(shares)

    def _rotate(self, places: Places) -> npt.NDArray[np.float32]:
        """Return pictures in the coordinates of the basis; each is turned once."""
        new = [one for one in dict.fromkeys(places.tolist()) if one not in self._rotated]
        if new:
            turned = self._basis.rotate(self.pool.read(np.array(new, dtype=np.int64)))
            self._rotated |= {one: len(self._kept) + at for at, one in enumerate(new)}
            self._kept = np.concatenate([self._kept, turned.astype(np.float32)])
        return np.ascontiguousarray(self._kept[[self._rotated[one] for one in places.tolist()]])

    def _scaled(self, n_rows: int) -> EigenBasis:
        """Return the basis as if it were of so many rows."""
        return dataclasses.replace(self._basis, eigenvalues=self._basis.eigenvalues * n_rows)


def _find_highest(probabilities: Scores, classes: Places, k: int) -> tuple[Places, Scores]:
    """Return the k most probable classes of each row; -1 and 0 where there are fewer."""
    n, k_known = len(probabilities), min(k, probabilities.shape[1])
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k_known]
    scores = np.take_along_axis(probabilities, order, axis=1)
    best, found = np.full((n, k), -1, dtype=np.int64), np.zeros((n, k), dtype=np.float32)
    best[:, :k_known] = np.where(scores > 0, classes[order], -1)
    found[:, :k_known] = scores
    return best, found


def _carry(state: State, known: Places, classes: Places, prior: Doubles | None) -> State:
    """Return the last solution for the classes of now: of new ones nothing is known."""
    import torch

    n_problems, _, rank = state.coefficients.shape
    start = torch.zeros(n_problems, len(classes), rank)
    if prior is not None:
        start[:] = torch.from_numpy(prior)
    added = state.intercepts.mean(dim=1, keepdim=True).repeat(1, len(classes))
    _, here, there = np.intersect1d(classes, known, return_indices=True)
    start[:, here] = state.coefficients[:, there]
    added[:, here] = state.intercepts[:, there]
    return State(start, added)


def _measure(vectors: AnyRows) -> EigenBasis:
    """Return coordinates of all directions, with eigenvalues a row."""
    n, dim = vectors.shape
    at = np.linspace(0, max(n - 1, 0), min(n, _MOST_MEASURED)).astype(np.int64)
    measured = np.asarray(vectors[at])
    centre = measured.mean(axis=0, dtype=np.float64) if n else np.zeros(dim)
    shifted = measured - centre.astype(np.float32)
    gram = (shifted.T @ shifted).astype(np.float64) / max(len(at), 1)
    eigenvalues, directions = np.linalg.eigh(gram)
    return EigenBasis(
        centre, np.ascontiguousarray(directions[:, ::-1]), np.maximum(eigenvalues[::-1], 0)
    )


def _pose(
    rows: npt.NDArray[np.float32], targets: Places, weights: Doubles, n_classes: int
) -> Problems:
    """Return logistic regressions in which every class weighs the same."""
    sums = np.stack([np.bincount(targets, one, n_classes) for one in weights.T])
    factors = np.stack([_BALANCE.weigh(one)[0] for one in sums], axis=1)
    return Problems(
        rows, targets.astype(np.int64), (weights * factors[targets]).astype(np.float32),
        np.where(sums > 0, 0, ABSENT).astype(np.float32),
    )  # fmt: skip


def _softmax(logits: npt.NDArray[np.floating]) -> Scores:
    if not logits.shape[1]:
        return np.zeros(logits.shape, dtype=np.float32)
    highest = logits.max(axis=1, keepdims=True)
    powers = np.exp(logits - np.where(np.isfinite(highest), highest, 0))
    totals = powers.sum(axis=1, keepdims=True)
    return np.asarray(powers / np.where(totals > 0, totals, 1), dtype=np.float32)
