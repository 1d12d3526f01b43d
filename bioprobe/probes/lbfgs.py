"""L-BFGS on several problems that step together, each by its own curvature and step length."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


Evaluate = Callable[["torch.Tensor"], tuple["torch.Tensor", "torch.Tensor"]]

_SHRINK = 0.3
_MAX_SHRINKS = 8
_MEMORY = 20
# Where the quadratic model promises more than there is, the share of it that a step is to gain.
_GAIN = 0.3


@dataclasses.dataclass(frozen=True)
class Stop:
    """When a problem is solved.

    Parameters
    ----------
    tolerance : float
        The decrease that the quadratic model still promises, as a fraction of the objective.
    max_iter : int
        Steps at most.
    noise : float
        Rise of the objective, as a fraction of it, that rounding alone may cause.
    """

    tolerance: float
    max_iter: int
    noise: float


@dataclasses.dataclass(frozen=True)
class Minimum:
    """Where the problems stopped.

    Parameters
    ----------
    points : tensor, shape (n_problems, n_parameters)
        The best points found.
    values : tensor of float64, shape (n_problems,)
        Objectives there.
    n_iter : int
        Steps taken.
    is_converged : bool
        Whether no problem was stopped by ``max_iter``.
    pairs : list of Pair
        What was learnt of the curvature, the latest last.
    """

    points: torch.Tensor
    values: torch.Tensor
    n_iter: int
    is_converged: bool
    pairs: list[Pair]


@dataclasses.dataclass(frozen=True)
class Pair:
    """What a step told of the curvature along it.

    Parameters
    ----------
    step, change : tensor, shape (n_problems, n_parameters)
        Of the points and of the gradients.
    inverse : tensor, shape (n_problems,)
        Of their product; 0 where a problem learnt nothing.
    """

    step: torch.Tensor
    change: torch.Tensor
    inverse: torch.Tensor

    @classmethod
    def of(cls, step: torch.Tensor, change: torch.Tensor) -> Pair:
        """Return the pair of a step."""
        import torch

        curvature = _dot(step, change)
        # A problem that stands still, or whose curvature is not positive, keeps no memory of it.
        inverse = torch.where(curvature > 0, 1 / curvature, torch.zeros_like(curvature))
        return cls(step, change, torch.nan_to_num(inverse, nan=0.0, posinf=0.0))

    def repeat(self, n_problems: int) -> Pair:
        """Return the pair of one problem as that of several."""
        return Pair(
            self.step.repeat(n_problems, 1), self.change.repeat(n_problems, 1),
            self.inverse.repeat(n_problems),
        )  # fmt: skip


def minimise(
    evaluate: Evaluate,
    start: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    scale: torch.Tensor,
    stop: Stop,
    pairs: Sequence[Pair] = (),
) -> Minimum:
    """Minimise smooth functions of (n_problems, n_parameters) together.

    Parameters
    ----------
    evaluate : function
        Takes the points of all problems; returns objectives (float64) and gradients.
    start : tuple of tensors
        Points to start from, and what ``evaluate`` returns there.
    scale : tensor, shape (n_problems, n_parameters)
        Approximate inverse of the Hessian's diagonal.
    stop : Stop
        When to stop.
    pairs : sequence of Pair
        What is known of the curvature from before, the latest last.

    Returns
    -------
    Minimum
        The points reached.

    References
    ----------
    Nocedal & Wright, Numerical Optimization, 2nd ed., algorithms 7.4 and 7.5.
    """
    import torch

    (points, values, gradients), known, pairs = start, len(pairs) > 0, list(pairs)
    active = torch.ones_like(values, dtype=torch.bool)
    for iteration in range(stop.max_iter):
        direction = _find_direction(gradients, scale, pairs)
        promised = _dot(gradients, direction).double() / 2
        # What is known from elsewhere may promise too little: one step is taken.
        if iteration or not known:
            active &= promised > stop.tolerance * values
        if not active.any():
            return Minimum(points, values, iteration, is_converged=True, pairs=pairs)
        # No objective is below 0: as long a step as that would only be taken back.
        bold = active & (promised > values)
        steps = torch.where(bold, _GAIN / 2 * values / promised, active.double()).to(points.dtype)
        ceiling = values + stop.noise * values
        for _ in range(_MAX_SHRINKS):
            trial = torch.addcmul(points, direction, steps.unsqueeze(1), value=-1)
            trial_values, trial_gradients = evaluate(trial)
            is_higher = active & ~(trial_values <= ceiling)
            if not is_higher.any():
                break
            steps = torch.where(is_higher, steps * _SHRINK, steps)
        else:
            # No way down along this direction: rounding is all that is left.
            trial = torch.where(is_higher.unsqueeze(1), points, trial)
            trial_values, trial_gradients = evaluate(trial)
            active &= ~is_higher
        pairs = [*pairs, Pair.of(trial - points, trial_gradients - gradients)][-_MEMORY:]
        # Steps that gain no more than rounding could are the last.
        active &= values - trial_values > stop.noise / 4 * values
        points, values, gradients = trial, trial_values, trial_gradients
    return Minimum(points, values, stop.max_iter, not bool(active.any()), pairs)


def _find_direction(
    gradients: torch.Tensor, scale: torch.Tensor, pairs: list[Pair]
) -> torch.Tensor:
    import torch

    direction, factors = gradients.clone(), []
    for pair in reversed(pairs):
        factor = pair.inverse * _dot(pair.step, direction)
        direction.addcmul_(pair.change, factor.unsqueeze(1), value=-1)
        factors.append(factor)
    if pairs:
        last = pairs[-1]
        length = _dot(last.change, scale * last.change)
        size = torch.where(
            last.inverse > 0, _dot(last.step, last.change) / length, torch.ones_like(length)
        )
        direction.mul_(size.unsqueeze(1))
    direction.mul_(scale)
    for pair, factor in zip(pairs, reversed(factors), strict=True):
        back = pair.inverse * _dot(pair.change, direction)
        direction.addcmul_(pair.step, (factor - back).unsqueeze(1))
    return direction


def _dot(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    import torch

    product: torch.Tensor = torch.linalg.vecdot(first, second)
    return product
