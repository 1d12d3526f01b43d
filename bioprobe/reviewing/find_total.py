r"""How many of a collection's images show what is sought, from random draws of known chances.

Someone looks for a class, and looks where it is likely. What was found says nothing of what was
not; images drawn at random do. Each draw comes from the images that nobody has looked at yet, an
image with its own known chance, so that :math:`y_t / q_t` of the draw has the mean
:math:`T - F_t`: of all that show it, those that were not found before it. Whatever was looked at
in between, and however it was chosen, that stays true, and with it the interval.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from bioprobe.errors import SelectionError
from bioprobe.types import Doubles, Scores

#: Images in the first stratum; each one below holds twice as many as the one above it.
FIRST_STRATUM = 16
#: Share of the draws that come from all images alike. What lies hidden among the least likely is
#: bounded by these alone; the others come from each stratum as often, and find more.
EVEN_SHARE = 0.5
# Shares of the wealth that may be lost at one draw: all of it where nothing more is found.
_STAKES = np.array([1.0, 0.5, 0.25, 0.12, 0.06, 0.03])
_STAKE_SHARES = np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
# Of the chance to be wrong, the part for a total that is too high: few are said to be missing
# where many are, which is what one must not believe.
_ABOVE_SHARE = 0.8


def find_chances(scores: Scores) -> Doubles:
    """Return the chance of each image to be the next that is drawn.

    Half of the draws come from all images alike, half from a stratum of scores that is drawn
    first, each as often: the 16 highest scores, the next 32, the next 64, and so on.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_images,)
        The higher, the likelier is an image to show what is sought.

    Returns
    -------
    ndarray of float64, shape (n_images,)
        They add up to 1, and none is below half of that of an even draw.

    Examples
    --------
    >>> chances = find_chances(np.arange(48, dtype=np.float32))
    >>> (chances[[0, -1]] * 48).round(3).tolist()
    [0.875, 1.25]
    """
    n = len(scores)
    if not n:
        return np.zeros(0)
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    strata = np.floor(np.log2(np.arange(n) / FIRST_STRATUM + 1)).astype(np.int64)
    sizes = np.bincount(strata)
    chances = np.empty(n)
    chances[order] = EVEN_SHARE / n + (1 - EVEN_SHARE) / (len(sizes) * sizes[strata])
    return chances


@dataclasses.dataclass(frozen=True)
class Draw:
    """An image that was drawn at random, and whether it shows what is sought.

    Parameters
    ----------
    is_it : bool
        Whether it does.
    chance : float
        With which it was drawn.
    least : float
        Lowest chance of any image at that draw.
    n_found : int
        Images that show it and could not be drawn, being looked at before.
    """

    is_it: bool
    chance: float
    least: float
    n_found: int


@dataclasses.dataclass(frozen=True)
class Total:
    """How many images show what is sought, and how many of them were found.

    Parameters
    ----------
    n_found : int
        Images that were looked at and show it.
    estimate : float
        All that show it.
    low, high : float
        Interval that holds their number at every look together, with the stated chance.
    """

    n_found: int
    estimate: float
    low: float
    high: float

    @property
    def recall(self) -> tuple[float, float, float]:
        """Share that was found: estimate, low and high end; not a number where all may be none."""
        return tuple(  # type: ignore[return-value]
            self.n_found / n if n else math.nan for n in (self.estimate, self.high, self.low)
        )


def bound_total(
    draws: Sequence[Draw], n_found: int, n_left: int, *, level: float = 0.95
) -> tuple[float, float]:
    r"""Return an interval of how many images show what is sought, valid at every look.

    For each total :math:`T` someone bets against it at each draw, in the two directions: with
    :math:`R = T - F_t` left and :math:`Z = y / q`, of at most :math:`m = 1 / \min q`, the wealth is
    multiplied by :math:`1 - c (Z - R) / (m - R)`, and by :math:`1 + c (Z - R) / R`. Were :math:`T`
    true, the mean over several stakes :math:`c` would be a martingale from 1, which reaches
    :math:`1 / \alpha` at any time with a chance of at most :math:`\alpha`; a total against which
    more was won is left out. Where all draws are even and show nothing, the first is the exact
    hypergeometric bound.

    Parameters
    ----------
    draws : sequence of Draw
        In the order of drawing.
    n_found : int
        Images that show it, of all that were looked at, however they were chosen.
    n_left : int
        Images that nobody has looked at.
    level : float
        Chance that the interval holds the total at all looks together, in (0, 1).

    Returns
    -------
    low, high : float
        Whole numbers.

    Raises
    ------
    SelectionError
        If the level is out of range.

    References
    ----------
    Waudby-Smith and Ramdas 2024, *Estimating means of bounded random variables by betting*; Shekhar
    et al. 2023, *Risk-limiting financial audits via weighted sampling without replacement*; Ville
    1939.

    Examples
    --------
    >>> bound_total([], 3, 97)
    (3.0, 100.0)
    >>> even = [Draw(False, 1 / n, 1 / n, 0) for n in range(100, 40, -1)]
    >>> bound_total(even, 0, 40)
    (0.0, 4.0)
    """
    if not 0 < level < 1:
        msg = f"the level of an interval lies in (0, 1), got {level:g}; 0.95 is usual"
        raise SelectionError(msg)
    lowest, highest = n_found, n_found + n_left
    if not draws:
        return float(lowest), float(highest)
    alpha = 1 - level
    values, before, most = _read(draws)
    # More is won against a total the further it lies outside, so that halving finds the ends.
    goal = -math.log(alpha * _ABOVE_SHARE)
    if _bet_above(highest, values, before, most) >= goal:
        highest = _halve(
            lowest, highest, lambda total: _bet_above(total, values, before, most) >= goal
        )
    goal = -math.log(alpha * (1 - _ABOVE_SHARE))
    if _bet_below(lowest, values, before) >= goal:
        lowest = 1 + _halve(lowest, highest, lambda total: _bet_below(total, values, before) < goal)
    return float(min(lowest, highest)), float(highest)


def count_needed(
    draws: Sequence[Draw], n_found: int, n_left: int, recall: float, *, level: float = 0.95
) -> int:
    """Return how many random draws that are not it make sure that a share was found.

    Parameters
    ----------
    draws, n_found, n_left, level
        As for :func:`bound_total`.
    recall : float
        Share of all that show it, in (0, 1].

    Returns
    -------
    int
        At most ``n_left``, after which nothing is left to be found.

    Examples
    --------
    >>> count_needed([], 30, 1000, 0.9)
    739
    >>> count_needed([], 30, 0, 0.9)
    0
    """
    # The least total of which less was found.
    total = math.floor(n_found / recall + 1e-9) + 1
    if total > n_found + n_left:
        return 0
    numbers = n_left - np.arange(n_left, dtype=np.float64)
    least = EVEN_SHARE / numbers + (1 - EVEN_SHARE) * _find_least(numbers)
    further = np.log1p(
        _STAKES[:, np.newaxis] * _stake(total - n_found, np.zeros(n_left), 1 / least)
    )
    values, before, most = _read(draws)
    gains = _STAKES[:, np.newaxis] * _stake(total - before, values, most)
    with np.errstate(divide="ignore"):
        won = np.log1p(np.maximum(gains, -1.0)).sum(axis=1, keepdims=True)
    wealth = np.exp(won + np.cumsum(np.hstack([np.zeros_like(won), further]), axis=1))
    is_out = _STAKE_SHARES @ wealth >= 1 / ((1 - level) * _ABOVE_SHARE)
    return int(np.argmax(is_out)) if is_out.any() else n_left


def _find_least(numbers: Doubles) -> Doubles:
    """Return the chance of an image of the last stratum of n, of draws from strata alone."""
    n_strata = np.floor(np.log2((numbers - 1) / FIRST_STRATUM + 1)) + 1
    last = numbers - FIRST_STRATUM * (2 ** (n_strata - 1) - 1)
    before = np.where(n_strata > 1, FIRST_STRATUM * 2 ** (n_strata - 2), 0)
    least: Doubles = 1 / (n_strata * np.maximum(last, before))
    return least


def _read(draws: Sequence[Draw]) -> tuple[Doubles, Doubles, Doubles]:
    """Return of each draw one over its chance if it is it, what was found before, and the most."""
    values = np.array([one.is_it / one.chance for one in draws], dtype=np.float64)
    before = np.array([one.n_found for one in draws], dtype=np.float64)
    return values, before, np.array([1 / one.least for one in draws], dtype=np.float64)


def _stake(left: Doubles | int, values: Doubles, most: Doubles) -> Doubles:
    """Return what is won by all that is staked on fewer."""
    won: Doubles = (left - values) / np.maximum(most - left, 1e-12)
    return won


def _halve(low: int, high: int, is_out: Callable[[int], bool]) -> int:
    """Return the highest whole number before the one from which on something is so."""
    while low < high - 1:
        middle = (low + high) // 2
        if is_out(middle):
            high = middle
        else:
            low = middle
    return low


def _bet_above(total: int, values: Doubles, before: Doubles, most: Doubles) -> float:
    """Return the logarithm of what was won by betting that there are fewer."""
    return _mean(_STAKES[:, np.newaxis] * _stake(total - before, values, most))


def _bet_below(total: int, values: Doubles, before: Doubles) -> float:
    """Return the logarithm of what was won by betting that there are more."""
    left = total - before
    # Where nothing can be left, a find wins all.
    without = np.where(values, np.inf, 0.0)
    gains = np.where(left > 0, (values - left) / np.maximum(left, 1e-12), without)
    return _mean(_STAKES[1:, np.newaxis] * gains, _STAKE_SHARES[1:])


def _mean(gains: Doubles, shares: Doubles = _STAKE_SHARES) -> float:
    from scipy.special import logsumexp

    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log1p(np.maximum(gains, -1.0)).sum(axis=1)
    return float(logsumexp(logs, b=shares / shares.sum()))
