"""What there is and was not found yet: species against labels, and the chance of a new one."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from bioprobe.counting.richness import Chao1, estimate_chao1
from bioprobe.intervals import Interval
from bioprobe.reviewing.confidence import LEVEL, Draws, estimate_total
from bioprobe.types import Doubles, Mask, Places

# Shares of what there is that gamblers stake at each draw, and from which draw on they play: each
# has the same to begin with. Whoever comes later has not lost by what was new when all was.
_STAKES = (0.25, 0.6, 0.93)
_LATER = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Discovery:
    """Species that were found, and what is likely to be left.

    Parameters
    ----------
    n_labels : int
        Units that have a label.
    n_found : int
        Classes among these.
    n_claimed : int
        Classes that labels which came with units name, and nobody has found.
    n_draws : int
        Labels that were drawn at random: on these alone the next figures stand.
    once : int
        Of these draws those whose class has no other label.
    unseen : Interval
        Chance that the next picture that is drawn of those that nobody looked at is of a class that
        was not found; the interval begins at 0.
    chao1 : Chao1
        How many classes there are in the pool at least, by the draws.
    curve : ndarray of int64, shape (n_labels,)
        Classes found by the first label, by the first two and so on.
    """

    n_labels: int
    n_found: int
    n_claimed: int
    n_draws: int
    once: int
    unseen: Interval
    chao1: Chao1
    curve: Places

    @property
    def least(self) -> Interval:
        """How many classes there are at least: no fewer than were found, however."""
        found, chao1 = float(self.n_found), self.chao1
        return Interval(*(max(found, one) for one in (chao1.estimate, chao1.low, chao1.high)))


def measure_discovery(
    draws: Draws, labels: Places, some: Mask | None = None, *, came: Places | None = None,
    aside: Sequence[int] = (),
) -> Discovery:  # fmt: skip
    r"""Measure what was found, and what random draws say of what was not.

    What a person or a probe chose to look at is no sample: it enlarges what was found, and tells
    nothing of how much is left. The estimate is Good's and Turing's: the share of the draws whose
    class has no other label; as in :func:`bioprobe.reviewing.confidence.bound_total` it is of those
    that nobody has looked at, and what was chosen since is known.

    The upper end holds at every look, however labels were chosen: :math:`v_k`, whether draw
    :math:`k` was of a class that nobody had found before, has a mean of at least
    :math:`(g + c_k) / M_k`, since what is unfound now was so then; :math:`g` is the number of units
    of classes that are not found now, :math:`c_k` that of units of the frame that were looked at
    since and were new before the draw. So :math:`\prod_k (1 - \lambda_k (v_k - (g + c_k) / M_k))`
    with stakes :math:`\lambda_k` that do not look ahead exceeds :math:`1 / \alpha` ever with a
    chance of :math:`\alpha`.

    Parameters
    ----------
    draws : Draws
    labels : ndarray of int64, shape (n_units,)
        Class of each unit, -1 where nobody said one.
    some : ndarray of bool, shape (n_units,), optional
        Only these, such as those of a site.
    came : ndarray of int64, shape (n_units,), optional
        Class of the label that each unit came with, a claim, -1 for none. A class that any of them
        names is nothing new, and is found once a person says that a unit is of it.
    aside : sequence of int
        Classes that are no discovery, such as that of pictures of nothing.

    Raises
    ------
    SelectionError
        If chances differ and only some units are asked.

    References
    ----------
    Good 1953, *The population frequencies of species and the estimation of population parameters*;
    Chao and Lin 2012, *Nonparametric lower bound for species richness and shared species richness
    under sampling without replacement*; Waudby-Smith and Ramdas 2024, *Estimating means of bounded
    random variables by betting*.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, 2, -1, -1])
    >>> draws = Draws(8, np.arange(6), np.arange(6), np.zeros(6, dtype=np.int64))
    >>> found = measure_discovery(draws, labels)
    >>> found.n_found, found.once, found.curve.tolist()
    (3, 1, [1, 1, 1, 2, 2, 3])
    """
    if some is not None:
        draws, labels = draws.within(some), labels[some]
        came = None if came is None else came[some]
    claimed = np.zeros(0, dtype=np.int64) if came is None else np.unique(came[came >= 0])
    old = [*aside, *claimed.tolist()]
    known = draws.order[labels[draws.order] >= 0]
    firsts = _find_firsts(labels[known], aside)
    drawn = draws.units[labels[draws.units] >= 0]
    sizes = np.bincount(labels[known]) if len(known) else np.zeros(1, dtype=np.int64)
    alone = np.zeros(len(labels))
    alone[known] = (sizes[labels[known]] == 1) & ~np.isin(labels[known], old)
    n_left = int(draws.left.sum())
    unseen = Interval(math.nan, 0.0, 1.0) if n_left else Interval(0.0, 0.0, 0.0)
    if n_left and len(draws.units):
        found = estimate_total(draws, alone)
        high = _bound_new(draws, labels, old) / n_left
        unseen = Interval(min(found / n_left, high), 0.0, high)
    of_taxa = labels[drawn][~np.isin(labels[drawn], aside)]
    counts = np.unique(of_taxa, return_counts=True)[1]
    n_claimed = len(set(claimed.tolist()) - {*labels[known].tolist(), *aside})
    return Discovery(
        len(known), int(firsts.sum()), n_claimed, len(drawn), int(alone[drawn].sum()), unseen,
        estimate_chao1(counts, len(of_taxa) + n_left), np.cumsum(firsts),
    )  # fmt: skip


def _find_firsts(labels: Places, aside: Sequence[int]) -> Places:
    firsts = np.zeros(len(labels), dtype=np.int64)
    firsts[np.unique(labels, return_index=True)[1]] = 1
    firsts[np.isin(labels, aside)] = 0
    return firsts


def _bound_new(draws: Draws, labels: Places, aside: Sequence[int]) -> float:
    """Return how many units of classes that were not found there are at most."""
    n = len(draws.units)
    is_new, known, sizes = _find_new(draws, labels, aside)
    most = int(draws.left.sum())
    limit = math.log(1 / (1 - LEVEL))
    begins = [0, *(1 << power for power in range(_LATER, n.bit_length()))]
    first_g, last_g = 0.0, float(most)
    for _ in range(3):
        totals = np.linspace(first_g, last_g, 65)
        means = np.minimum((totals[None, :] + known[:, None]) / sizes[:, None], 1.0)
        ahead = is_new[:, None] - means
        logs = []
        for stake in _STAKES:
            steps = np.log1p(-stake * ahead)
            whole = steps.sum(axis=0)
            passed = np.concatenate([np.zeros((1, len(totals))), np.cumsum(steps, axis=0)])
            logs += [whole - passed[begin] for begin in begins]
        peak = np.max(logs, axis=0)
        capital = peak + np.log(np.mean(np.exp(np.array(logs) - peak), axis=0))
        kept = np.flatnonzero(capital < limit)
        if not len(kept):
            return first_g
        end = int(kept[-1])
        first_g, last_g = float(totals[end]), float(totals[min(end + 1, 64)])
    return last_g


def _find_new(
    draws: Draws, labels: Places, aside: Sequence[int]
) -> tuple[Doubles, Doubles, Doubles]:
    """Tell which draws were of a class that nobody had found before.

    Of a batch the draws before one have been seen, as they come one after the other.

    Returns
    -------
    is_new : ndarray of float64, shape (n_draws,)
        Whether its class was new; what nobody can tell is always.
    known : ndarray of float64, shape (n_draws,)
        How many units of the frame that were looked at since were of classes new then.
    sizes : ndarray of float64, shape (n_draws,)
        Units of the frame.
    """
    n_classes = max(int(labels.max(initial=-1)), -1, *aside) + 1
    own = np.where(labels[draws.order] < 0, n_classes, labels[draws.order])
    is_new, known, sizes = np.zeros(len(draws.units)), np.zeros(len(draws.units)), []
    found = np.zeros(n_classes + 1, dtype=bool)
    found[list(aside)] = True
    counts, n_new, last = np.zeros(n_classes + 1, dtype=np.int64), 0, -1
    n_gone = 0
    for k, (unit, before) in enumerate(
        zip(draws.units.tolist(), draws.before.tolist(), strict=True)
    ):
        if before != last:
            found[own[max(last, 0) : before]] = True
            found[n_classes] = False
            counts = np.bincount(own[before:], minlength=n_classes + 1)
            n_new, last, n_gone = int(counts[~found].sum()), before, 0
        code = int(labels[unit])
        is_new[k], known[k] = not found[code], n_new
        sizes.append(draws.n_units - before - n_gone)
        if draws.weights is not None:
            continue
        n_gone += 1
        if code < 0:
            n_new -= 1
        elif not found[code]:
            n_new -= int(counts[code])
            found[code] = True
    return is_new, known, np.array(sizes, dtype=np.float64)


def count_needed(unseen: Interval, wished: float, n_draws: int) -> float:
    """Return how many further random draws would bound the chance of something new, if none is.

    Parameters
    ----------
    unseen : Interval
        As it is now, from ``n_draws`` draws.
    wished : float
        What its upper end is to be, above 0.
    n_draws : int

    Returns
    -------
    float
        0 where it is there.
    """
    if unseen.high <= wished:
        return 0.0
    needed = math.log(1 / (1 - LEVEL)) / wished
    if n_draws and unseen.high < 1:
        # The end falls as one over the draws, from where it is.
        needed = max(needed, n_draws * unseen.high / wished)
    return max(needed - n_draws, 1.0)
