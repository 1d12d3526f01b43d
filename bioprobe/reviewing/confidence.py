"""Intervals that hold at every look: what random draws say of all that nobody has looked at.

A picture is looked at because it was drawn at random, or because somebody chose it. A draw speaks
for the pictures that nobody had looked at when it was made, those among them included that were
looked at since, of which the truth is known by now: what is left is what nobody has looked at.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bioprobe.errors import SelectionError
from bioprobe.intervals import Interval
from bioprobe.types import Doubles, Mask, Places

LEVEL = 0.95
# Values of a total that are tried at once, and how often the bracket is made finer.
_N_TRIED, _N_FINER = 65, 2
# A bet loses at most this share of what there is.
_MOST_BET = 0.75
# Draws that what is guessed counts for, and the variance that one draw is taken to have had.
_GUESS_DRAWS, _FIRST_VARIANCE, _LEAST_VARIANCE = 2.0, 0.1, 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """Units in the order in which they were looked at, and which of them were drawn at random.

    Parameters
    ----------
    n_units : int
        Of the pool.
    order : ndarray of int64, shape (n_looked,)
        Each unit that was looked at once, the first first.
    units : ndarray of int64, shape (n_draws,)
        Those that were drawn, in the order of the draws; all of them were looked at.
    before : ndarray of int64, shape (n_draws,), ascending
        How many of ``order`` were looked at, or chosen to be, before the batch of the draw: it was
        drawn from all others. Draws with the same number were drawn one after the other, without
        those before them.
    weights : ndarray of float64, shape (n_draws,), optional
        Inverse chances in units of the inverse of the mean chance of all that it was drawn from; by
        default every unit had the same chance.

    Raises
    ------
    SelectionError
        If a drawn unit was looked at before it was drawn.
    """

    n_units: int
    order: Places
    units: Places
    before: Places
    weights: Doubles | None = None

    def __post_init__(self) -> None:
        places = self.places
        late = places[self.units] < self.before
        if late.any() or (len(self.units) and int(places[self.units].max()) >= len(self.order)):
            unit = int(self.units[late][0]) if late.any() else int(self.units[0])
            msg = f"unit {unit} counts as drawn, and was not looked at after it was drawn"
            raise SelectionError(msg)

    @property
    def places(self) -> Places:
        """Place of each unit in the order, that of all others behind the last."""
        places = np.full(self.n_units, len(self.order), dtype=np.int64)
        places[self.order] = np.arange(len(self.order))
        return places

    @property
    def left(self) -> Mask:
        """Which units nobody has looked at, shape (n_units,)."""
        left = np.ones(self.n_units, dtype=bool)
        left[self.order] = False
        return left

    def within(self, some: Mask) -> Draws:
        """Return the draws of some units alone, as draws from these.

        Parameters
        ----------
        some : ndarray of bool, shape (n_units,)

        Raises
        ------
        SelectionError
            If chances differ, so that it is not known what they are among some.
        """
        if self.weights is not None:
            msg = "draws of unequal chances are of the whole pool: set the values of others to 0"
            raise SelectionError(msg)
        numbers = np.cumsum(some) - 1
        passed = np.concatenate([[0], np.cumsum(some[self.order])])
        kept = some[self.units]
        return Draws(
            int(some.sum()), numbers[self.order[some[self.order]]], numbers[self.units[kept]],
            passed[self.before[kept]],
        )  # fmt: skip


def bound_total(
    draws: Draws, low: Doubles, high: Doubles, guesses: Doubles | None = None, *,
    level: float = LEVEL,
) -> Interval:  # fmt: skip
    r"""Bound the sum of a value in [0, 1] over the units that nobody has looked at.

    A draw :math:`k` from the :math:`M_k` units of its frame has in the mean
    :math:`(\theta + S_k) / M_k`, of which :math:`\theta` is the sum in question, and :math:`S_k`
    that of the units of the frame that were looked at since, which is known. So for the true
    :math:`\theta`

    .. math:: D_k(\theta) = w_k (x_k - g_k) + \bar g_k - (\theta + S_k) / M_k

    has mean 0 given what was before, whatever was chosen to be looked at and why: :math:`g` is a
    guess of the value of every unit (the control variate), :math:`w_k` 1 where chances are equal.
    :math:`\prod_k (1 \mp \lambda_k D_k(\theta))` is what two gamblers have who bet that it is
    more, or less: with bets made before the draw it exceeds :math:`2 / \alpha` ever with a chance
    of :math:`\alpha / 2` at most, and the interval is of all :math:`\theta` at which neither does.
    Bets are those that grow fastest by the draws before (approximately; Waudby-Smith and Ramdas'
    aGRAPA, with frames that shrink).

    The theorem is of values that are fixed. Where they change between looks, as answers of a probe
    do that learns, all draws are judged anew by what is answered now, and
    ``benchmarks/review_coverage.py`` shows how often the intervals of all looks hold.

    Parameters
    ----------
    draws : Draws
    low, high : ndarray of float64, shape (n_units,)
        What the value of each unit is at least and at most, where it was looked at; others are not
        read. The lower end of the interval is by ``low``, the upper one by ``high``, and so is the
        estimate.
    guesses : ndarray of float64, shape (n_units,), optional
        Guess of each value, in [0, 1], made in one way for all units; by default 0.
    level : float
        In (0, 1).

    Returns
    -------
    Interval
        From 0 to the number of units that nobody has looked at where nothing was drawn.

    References
    ----------
    Waudby-Smith and Ramdas 2024, *Estimating means of bounded random variables by betting*; the
    same 2020, *Confidence sequences for sampling without replacement*; Zrnic and Candès 2024,
    *Active statistical inference* (arXiv 2403.03208; the control variate); Farquhar, Gal and
    Rainforth 2021, *On statistical bias in active learning* (what was chosen since is known).

    Examples
    --------
    >>> draws = Draws(1000, np.arange(100), np.arange(100), np.zeros(100, dtype=np.int64))
    >>> values = np.zeros(1000)
    >>> found = bound_total(draws, values, values)
    >>> round(found.low), round(found.high)
    (0, 45)
    """
    most = int(draws.left.sum())
    if not most or not len(draws.units):
        return Interval(0.0 if not most else math.nan, 0.0, float(most))
    guesses = np.zeros(draws.n_units) if guesses is None else guesses
    ends = [_Game.of(draws, one, guesses) for one in (low, high)]
    limit = math.log(2 / (1 - level))
    lowest = _find_end(ends[0], most, limit, is_upper=False)
    highest = _find_end(ends[1], most, limit, is_upper=True)
    middle = ends[1].estimate(most)
    lowest, highest = min(lowest, highest), max(lowest, highest)
    return Interval(min(max(middle, lowest), highest), lowest, highest)


def estimate_total(draws: Draws, values: Doubles) -> float:
    """Estimate the sum of a value over the units that nobody has looked at.

    As :func:`bound_total` does without guesses. There is a draw at least.
    """
    return _Game.of(draws, values, np.zeros(draws.n_units)).estimate(int(draws.left.sum()))


@dataclasses.dataclass(frozen=True, eq=False)
class _Game:
    """What is bet on: each draw's value less what a total makes of it.

    Parameters
    ----------
    sizes : ndarray of float64, shape (n_draws,)
        Units of each frame.
    pays : ndarray of float64, shape (n_draws,)
        A draw without the part that the total has in it.
    highest, lowest : ndarray of float64, shape (n_draws,)
        Ends of what ``pays`` might have been before the draw.
    """

    sizes: Doubles
    pays: Doubles
    lowest: Doubles
    highest: Doubles
    guess: float

    @classmethod
    def of(cls, draws: Draws, values: Doubles, guesses: Doubles) -> _Game:
        order, before, units = draws.order, draws.before, draws.units
        looked = np.concatenate([[0.0], np.cumsum(values[order])])
        guessed = np.concatenate([[0.0], np.cumsum(guesses[order])])
        # Draws of a batch come one after the other, unless their chances differ.
        starts = np.searchsorted(before, before, side="left")
        if draws.weights is None:
            weights, n_gone = np.ones(len(units)), np.arange(len(units)) - starts
        else:
            weights, n_gone = draws.weights, np.zeros(len(units), dtype=np.int64)
        values_gone = _sum_before(values[units], starts, n_gone)
        guesses_gone = _sum_before(guesses[units], starts, n_gone)
        sizes = (draws.n_units - before - n_gone).astype(np.float64)
        known = looked[-1] - looked[before] - values_gone
        means = (guesses.sum() - guessed[before] - guesses_gone) / sizes
        base = means - known / sizes
        pays = weights * (values[units] - guesses[units]) + base
        # The largest weight there may be is known from how units are drawn.
        most = float(weights.max())
        return cls(
            sizes, pays, base - most * float(guesses.max(initial=0.0)), base + most,
            float(guesses[draws.left].sum()),
        )  # fmt: skip

    def estimate(self, most: float) -> float:
        """Return the total that the draws say, each by the inverse square of its frame."""
        precision = self.sizes**-2
        total = float((precision * self.sizes * self.pays).sum() / precision.sum())
        return min(max(total, 0.0), most)

    def bet(self, totals: Doubles, most: float, *, is_upper: bool) -> Doubles:
        """Return the logarithm of what a gambler has who bets against each total."""
        shares = totals[None, :] / self.sizes[:, None]
        drifts, variances = self._foresee(most)
        differences = drifts[:, None] - shares
        best = differences / (variances[:, None] + differences**2)
        if is_upper:
            ends = np.maximum(self.highest[:, None] - shares, 1e-3)
            bets = -np.clip(-best, 0.0, _MOST_BET / ends)
        else:
            ends = np.maximum(shares - self.lowest[:, None], 1e-3)
            bets = np.clip(best, 0.0, _MOST_BET / ends)
        return np.asarray(np.log1p(bets * (self.pays[:, None] - shares)).sum(axis=0))

    def _foresee(self, most: float) -> tuple[Doubles, Doubles]:
        """Return what each draw is expected to be without the total, and its variance."""
        drifts, variances = np.empty(len(self.pays)), np.empty(len(self.pays))
        above = below = 0.0
        spread, n = _FIRST_VARIANCE, 1.0
        for k, (size, pay) in enumerate(zip(self.sizes.tolist(), self.pays.tolist(), strict=True)):
            variance = max(spread / n, _LEAST_VARIANCE)
            weight = size**-2 / max(variance, 0.02)
            if not k:
                above, below = _GUESS_DRAWS * weight * self.guess, _GUESS_DRAWS * weight
            total = min(max(above / below, 0.0), most)
            drifts[k], variances[k] = total / size, variance
            above, below = above + weight * size * pay, below + weight
            spread, n = spread + (pay - total / size) ** 2, n + 1
        return drifts, variances


def _sum_before(values: Doubles, starts: Places, n_gone: Places) -> Doubles:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(sums[starts + n_gone] - sums[starts])


def _find_end(game: _Game, most: int, limit: float, *, is_upper: bool) -> float:
    """Return the outermost total that is not refuted, or the next one that is."""
    first, last = 0.0, float(most)
    for _ in range(_N_FINER + 1):
        totals = np.linspace(first, last, _N_TRIED)
        kept = np.flatnonzero(game.bet(totals, most, is_upper=is_upper) < limit)
        if not len(kept):
            return first if is_upper else last
        end = int(kept[-1] if is_upper else kept[0])
        first = float(totals[max(end - (0 if is_upper else 1), 0)])
        last = float(totals[min(end + (1 if is_upper else 0), _N_TRIED - 1)])
    return last if is_upper else first
