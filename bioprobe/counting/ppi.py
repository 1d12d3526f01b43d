"""Shares that own up to a classifier's errors: what it answers to all images, mended by a sample.

A classifier's answers are biased as counts. A random sample of images that a person has labelled
says how far they are off, so the mean of all answers is moved by the mean error in the sample: as
precise as the answers are good, and right however bad they are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.intervals import find_wilson
from bioprobe.types import Doubles, Places

#: How a share is estimated, the default first.
ESTIMATORS = PPI, REGRESSION, RATIO, LABELLED = ("ppi", "regression", "ratio", "labelled")

# Units that stand for what the few units in which a class was seen do not show of the answers to
# it, and how much they are taken to explain, of what is explained of all classes, and of the same
# class in all groups. Chosen by benchmarks/estimates.py: with no such units, intervals of rare
# classes cover far too little.
_PSEUDO_SEEN, _PSEUDO_EXPLAINED, _PSEUDO_LIKE = 2.0, 0.25, 0.5
# Units that stand for what few groups do not show, as in bioprobe.intervals.
_PSEUDO_UNITS = 4
# Rows whose slope is that of all groups, beside those of a group.
_PSEUDO_ROWS = 10
_SLOPE_MOST = 1.5
# Of up to so many that are seen, Wilson's interval holds too rarely.
_FEW = 3
_EPSILON = 1e-12
# Labelled images times classes that are computed with at once: 16 MB, some ten times over.
_NUMBERS_AT_ONCE = 2_000_000


@dataclasses.dataclass(frozen=True)
class Sample:
    """Labelled images, drawn at random from those asked, with what was answered to all.

    Parameters
    ----------
    truths : ndarray of bool or float64, shape (n_labelled, n_classes)
        1 where an image is of a class, else 0.
    answers : ndarray of float, shape (n_labelled, n_classes)
        What the classifier says of it: probabilities, or 0 and 1.
    means, variances : ndarray of float64, shape (n_classes,)
        Of the answers to all images asked, the labelled ones among them.
    n_images : int
        Images asked.
    units : ndarray of int64, shape (n_labelled,)
        Number of the unit that each labelled image was drawn with, such as its sequence or site,
        from 0 without a gap.
    weights : ndarray of float64, shape (n_labelled,)
        Images that each stands for, up to a factor.
    strata : ndarray of int64, shape (n_labelled,)
        Number of the stratum that each was drawn within, from 0.
    """

    truths: npt.NDArray[Any]
    answers: npt.NDArray[Any]
    means: Doubles
    variances: Doubles
    n_images: int
    units: Places
    weights: Doubles
    strata: Places

    def __len__(self) -> int:
        return len(self.truths)

    def split(self) -> Iterator[tuple[slice, Sample]]:
        """Return some classes at a time, in double precision: a few copies of them are no matter.

        Yields
        ------
        part : slice
            Which of the classes.
        sample : Sample
            Of these alone.
        """
        n_classes = len(self.means)
        n_parts = -(-self.truths.size // _NUMBERS_AT_ONCE) or 1
        ends = [n_classes * at // n_parts for at in range(n_parts + 1)]
        for part in map(slice, ends[:-1], ends[1:]):
            yield part, dataclasses.replace(
                self, truths=self.truths[:, part].astype(np.float64),
                answers=self.answers[:, part].astype(np.float64),
                means=self.means[part], variances=self.variances[part],
            )  # fmt: skip

    @property
    def n_units(self) -> int:
        """Units that were drawn."""
        return int(self.units.max(initial=-1)) + 1

    @property
    def is_simple(self) -> bool:
        """Whether images were drawn alone, all with one chance."""
        alike = not len(self) or bool(np.allclose(self.weights, self.weights[0]))
        return alike and self.n_units == len(self) and not self.strata.any()

    def sum_units(self, values: Doubles) -> Doubles:
        """Return the sum of each unit, shape (n_units, n_classes)."""
        if self.n_units == len(self):
            # Every image is a unit; only their order may differ.
            sums = np.empty_like(values)
            sums[self.units] = values
            return sums
        sums = np.zeros((self.n_units, values.shape[1]))
        np.add.at(sums, self.units, values)
        return sums


@dataclasses.dataclass(frozen=True)
class Shares:
    """Share of each class among the images asked, with its interval.

    Parameters
    ----------
    estimate, low, high : ndarray of float64, shape (n_classes,)
        In [0, 1]; not a number where nothing was labelled, with the ends 0 and 1.
    slopes : ndarray of float64, shape (n_classes,)
        How much the answers count: 0 not at all, 1 in full; the tuned lambda of PPI++.
    explained : ndarray of float64, shape (n_classes,)
        Share of the variance between labelled images that the answers are taken to explain.
    n_effective : ndarray of float64, shape (n_classes,)
        Images, drawn alone, whose labels would tell as much as labels and answers do.
    alone, alone_low, alone_high : ndarray of float64, shape (n_classes,)
        The same share from the labelled images alone.
    """

    estimate: Doubles
    low: Doubles
    high: Doubles
    slopes: Doubles
    explained: Doubles
    n_effective: Doubles
    alone: Doubles
    alone_low: Doubles
    alone_high: Doubles


def estimate_shares(
    sample: Sample,
    estimator: str = PPI,
    *,
    like: Shares | None = None,
    level: float = 0.95,
) -> Shares:
    r"""Estimate the share of each class among all images from labels of some and answers to all.

    The estimate is :math:`\bar y + b (\bar f_{all} - \bar f)`, a bar being the weighted mean of the
    labelled images. Of PPI++ (``ppi``) :math:`b` is its :math:`\lambda (1 + n/N)`, of
    ``regression`` the slope of labels on answers, of ``ratio`` :math:`\bar y / \bar f`, of
    ``labelled`` 0. ``ppi`` speaks of what images like these show, ``regression`` and ``ratio`` of
    these images: what is labelled of them is known, and an interval of all that are is a point.

    The interval is Wilson's, at the number of images that would tell as much: 1 over
    :math:`(1 - n/N) (1 - r) / n_1 + 1/N` (without the last term where it is of these images; by
    strata, and clusters count less than :math:`N` images).
    :math:`n_1` is that of the labelled images alone (their number, or what clusters and weights
    leave of it, by the rule of :func:`bioprobe.intervals.find_interval`). :math:`r` is the share of
    the variance that the answers explain: of each unit by the slope that the others have, and
    shrunk by two units, as if they had been seen to explain a quarter of what is explained of all
    classes, since of a class that was seen :math:`k` times :math:`k` units tell how well it is
    answered, however many show none. So a class that nobody saw has nearly the interval of the
    labelled images alone, and no interval is empty or leaves [0, 1]. Student's quantile takes
    the place of the normal one. Where up to three are seen, the lower end is that of the modified
    Wilson interval of Brown, Cai and DasGupta (and the upper where all but three are). Strata in
    which a class was not seen vary as if one unit of a plain sample of them all were of it.

    Parameters
    ----------
    sample : Sample
        Labelled images and answers.
    estimator : str
        One of :data:`ESTIMATORS`.
    like : Shares, optional
        Of a larger sample of which this is a part, such as all sites: its slopes count as those of
        ten rows here, and two units as if they explained half of what is explained there.
    level : float
        Coverage, in (0, 1).

    Raises
    ------
    SelectionError
        If there is no such estimator.

    References
    ----------
    Angelopoulos, Duchi and Zrnic 2023, *PPI++: Efficient prediction-powered inference*; Särndal,
    Swensson and Wretman 1992, *Model Assisted Survey Sampling* (regression and ratio estimators,
    design weights); Wilson 1927, *Probable inference, the law of succession, and statistical
    inference*; Brown, Cai and DasGupta 2001, *Interval estimation for a binomial proportion*; Korn
    and Graubard 1998, *Confidence intervals for proportions with small expected
    number of positive counts estimated from survey data* (the effective number).
    """
    if estimator not in ESTIMATORS:
        msg = f"a share is estimated by {', '.join(ESTIMATORS)}; got {estimator!r}"
        raise SelectionError(msg)
    if not len(sample):
        return _know_nothing(len(sample.means), like)
    found = [
        _measure_classes(some, estimator, None if like is None else like.slopes[part])
        for part, some in sample.split()
    ]
    drawn, answered, slopes, alone, variances, n_seen, n_unseen, unlabelled = map(
        np.concatenate, zip(*found, strict=True)
    )
    explained = np.zeros(len(drawn))
    if estimator != LABELLED:
        n_known = np.minimum(n_seen, n_unseen)
        before = _PSEUDO_LIKE * like.explained if like is not None else (
            _PSEUDO_EXPLAINED * _compare(variances.sum(), alone.sum())
        )  # fmt: skip
        explained = n_known * _compare(variances, alone) + _PSEUDO_SEEN * np.maximum(before, 0.0)
        explained = explained / (n_known + _PSEUDO_SEEN)
    share = np.clip(drawn + slopes * (sample.means - answered), 0.0, 1.0)
    n_alone = _count_alone(sample, drawn, alone)
    labelled = min(1.0, len(sample) / max(sample.n_images, 1))
    is_of_these = estimator in (REGRESSION, RATIO)
    unknown = unlabelled * (1 - explained) / n_alone
    if not is_of_these:
        # The collection is itself a draw, of images or of whole units.
        unknown = unknown + labelled / np.minimum(n_alone, len(sample))
    n_effective = np.divide(1.0, unknown, out=np.full(len(drawn), np.inf), where=unknown > 0)
    quantile, stretch = _find_quantiles(sample, level)
    # Answers alone show nothing of what nobody saw, or where all that were seen are it.
    centre = np.where(n_seen == 0, 0.0, np.where(n_unseen == 0, 1.0, share))
    if sample.is_simple:
        # Of what nobody saw no variance was measured, which Student's quantile is for.
        n_effective = n_effective / np.where((n_seen == 0) | (n_unseen == 0), 1.0, stretch)
    else:
        n_effective = n_effective / stretch
    low, high = _find_ends(centre, n_effective, quantile)
    if is_of_these:
        known = sample.truths.sum(axis=0) / max(sample.n_images, 1)
        low, high = np.maximum(low, known), np.minimum(high, 1 - labelled + known)
        share = np.clip(share, known, 1 - labelled + known)
    # Strata help labels where all of a class is seen, which few of a class do not tell.
    n_plain = np.minimum(n_alone, len(sample)) / (1.0 if sample.is_simple else stretch)
    alone_ends = _find_ends(drawn, n_plain, quantile)
    if estimator == LABELLED:
        (low, high), n_effective = alone_ends, n_plain
    return Shares(
        share, np.minimum(low, share), np.maximum(high, share), slopes, explained,
        n_effective, drawn, *alone_ends,
    )  # fmt: skip


def _measure_classes(sample: Sample, estimator: str, like: Doubles | None) -> tuple[Doubles, ...]:
    """Return what the labels and answers of a sample say of each class, whatever the others are.

    Parameters
    ----------
    sample : Sample
    estimator : str
    like : ndarray of float64, shape (n_classes,), optional
        Slopes of a larger sample.

    Returns
    -------
    tuple of ndarray of float64, each of shape (n_classes,)
        Mean of the labels and of the answers, slope, variance of the mean of the labels and of
        what the answers leave, units in which the class was seen and in which another was, and
        share of that variance that is of images without a label.
    """
    weights = (sample.weights / sample.weights.mean())[:, np.newaxis]
    drawn = (weights * sample.truths).mean(axis=0)
    answered = (weights * sample.answers).mean(axis=0)
    of_labels = sample.sum_units(weights * (sample.truths - drawn))
    errors, slopes = of_labels, np.zeros(len(drawn))
    if estimator == RATIO:
        slopes, errors = _fit_ratio(sample, weights)
    elif estimator != LABELLED:
        of_answers = sample.sum_units(weights * (sample.answers - answered))
        slopes, held_out = _fit_slopes(sample, of_labels, of_answers, estimator, like)
        errors = of_labels - held_out * of_answers
    unseen = _find_unseen(sample)
    alone, variances = (_measure(sample, sums) + unseen for sums in (of_labels, errors))
    unlabelled = _find_unlabelled(sample, errors)
    return drawn, answered, slopes, alone, variances, *_count_units(sample), unlabelled


def find_needed(
    share: float, n_effective: float, n_labelled: int, width: float, *, level: float = 0.95
) -> float:
    """Return how many labelled images would give an interval a width, as those there are have it.

    Parameters
    ----------
    share : float
        In [0, 1].
    n_effective : float
        Of it, as :class:`Shares` has it.
    n_labelled : int
        Images that it is from, ≥ 1.
    width : float
        Of the interval, above 0.
    level : float
        Coverage, in (0, 1).

    Returns
    -------
    float
        In all, with those that are labelled; they are fewer where the width is reached already.

    Examples
    --------
    >>> round(find_needed(0.5, 100, 100, 0.1))
    380
    """
    from scipy.stats import norm

    quantile = float(norm.isf((1 - level) / 2))
    # (w (1 + q²/m))² = 4 q² (p (1 - p) / m + q² / 4 m²), Wilson's width, for x = 1 / m.
    square = quantile**4 * (width**2 - 1)
    linear = 2 * quantile**2 * width**2 - 4 * quantile**2 * share * (1 - share)
    root = math.sqrt(max(0.0, linear**2 - 4 * square * width**2))
    if width >= 1:
        return 1.0
    # The product of both roots is below 0: one is above.
    x = (-linear - root) / (2 * square)
    return n_labelled / (x * n_effective) if n_effective > 0 else math.inf


def _know_nothing(n_classes: int, like: Shares | None) -> Shares:
    nothing, none, ones = np.full(n_classes, np.nan), np.zeros(n_classes), np.ones(n_classes)
    slopes = none if like is None else like.slopes
    return Shares(nothing, none, ones, slopes, none, none, nothing, none, ones)


def _fit_slopes(
    sample: Sample, labels: Doubles, answers: Doubles, estimator: str, like: Doubles | None
) -> tuple[Doubles, Doubles]:
    """Return the slope of labels on answers, and that which all units but each one have."""
    n = len(sample)
    together, own = labels * answers, answers**2
    total, below = together.sum(axis=0), own.sum(axis=0)
    without, below_without = total - together, below - own
    if estimator == PPI and sample.is_simple:
        # PPI++ takes the variance of the answers from all images.
        below, below_without = n * sample.variances, (n - 1) * sample.variances
    if like is not None:
        held = _PSEUDO_ROWS * sample.variances
        total, below = total + held * like, below + held
        without, below_without = without + held * like, below_without + held
    most = _SLOPE_MOST
    if estimator == PPI:
        # Lambda is at most 1, and the slope is on the mean of all images.
        most = 1 + n / max(sample.n_images - n, 1)
    slopes, held_out = (
        np.clip(np.divide(a, b, out=np.zeros_like(a), where=b > _EPSILON), 0.0, most)
        for a, b in ((total, below), (without, below_without))
    )
    return slopes, held_out


def _fit_ratio(sample: Sample, weights: Doubles) -> tuple[Doubles, Doubles]:
    """Return labels for each answer, and how far each unit is from what the others have."""
    labels = sample.sum_units(weights * sample.truths)
    answers = sample.sum_units(weights * sample.answers)

    def divide(above: Doubles, below: Doubles) -> Doubles:
        return np.divide(above, below, out=np.zeros_like(above), where=below > _EPSILON)

    total, answered = labels.sum(axis=0), answers.sum(axis=0)
    ratios, held_out = divide(total, answered), divide(total - labels, answered - answers)
    # Without an answer there is no ratio: the labels speak alone.
    centred = sample.sum_units(weights * (sample.truths - (weights * sample.truths).mean(axis=0)))
    return ratios, np.where(answered > _EPSILON, labels - held_out * answers, centred)


def _find_unlabelled(sample: Sample, errors: Doubles) -> Doubles:
    """Return the share of a variance that is of images without a label, by class.

    Where all of a stratum is labelled, nothing of it is unknown.
    """
    n_for_each = len(sample) / max(sample.n_images, 1)
    left = np.clip(1 - n_for_each * sample.weights.mean() / sample.weights, 0.0, 1.0)
    of_units = np.zeros(sample.n_units)
    of_units[sample.units] = left
    whole = _measure(sample, errors)
    unlabelled = _measure(sample, errors, of_units)
    largest = np.full(len(whole), float(left.max()))
    return np.asarray(np.divide(unlabelled, whole, out=largest, where=whole > 0))


def _measure(sample: Sample, sums: Doubles, counts: Doubles | None = None) -> Doubles:
    """Return the variance of a mean of units with these sums and counts, strata apart."""
    n, variance = len(sample), np.zeros(sums.shape[1])
    counts = np.ones(sample.n_units) if counts is None else counts
    strata = np.zeros(sample.n_units, dtype=np.int64)
    strata[sample.units] = sample.strata
    for stratum in np.unique(strata):
        here, count = sums[strata == stratum] / n, counts[strata == stratum, np.newaxis]
        n_here = len(here)
        centred = here - here.mean(axis=0) if n_here > 1 else here
        variance += n_here / max(n_here - 1, 1) * (count * centred**2).sum(axis=0)
    return variance


def _find_unseen(sample: Sample) -> Doubles:
    """Return the variance of what strata hide: those where a class was never seen, or alone.

    None of these shows any variance, and all together that of the units that they would be of a
    plain sample, of which one were otherwise.
    """
    if not sample.strata.any():
        return np.zeros(sample.truths.shape[1])
    n_strata = int(sample.strata.max()) + 1
    strata = np.zeros(sample.n_units, dtype=np.int64)
    strata[sample.units] = sample.strata
    sizes = np.bincount(strata, minlength=n_strata)[:, np.newaxis]
    shares = np.bincount(sample.strata, sample.weights, minlength=n_strata)[:, np.newaxis]
    shares = shares / shares.sum()
    found = np.zeros(sample.truths.shape[1])
    for values in (sample.truths, 1 - sample.truths):
        counts = np.zeros((n_strata, values.shape[1]))
        np.add.at(counts, strata, sample.sum_units(values) > 0)
        never = (counts == 0) & (sizes > 0)
        weight = (shares * never).sum(axis=0)
        spread = (shares**2 / np.maximum(sizes, 1) * never).sum(axis=0)
        found += np.divide(spread, weight, out=np.zeros_like(weight), where=weight > 0) ** 2
    return found


def _compare(variance: Doubles, alone: Doubles) -> Doubles:
    """Return the share of a variance that is explained, 0 where there is none; it may be below."""
    left = np.divide(variance, alone, out=np.ones_like(alone), where=alone > 0)
    return np.asarray(1 - left, dtype=np.float64)


def _count_units(sample: Sample) -> tuple[Doubles, Doubles]:
    """Return in how many units each class was seen, and in how many something else was."""
    seen = sample.sum_units(sample.truths) > 0
    others = sample.sum_units(1 - sample.truths) > 0
    return seen.sum(axis=0).astype(np.float64), others.sum(axis=0).astype(np.float64)


def _count_alone(sample: Sample, drawn: Doubles, alone: Doubles) -> Doubles:
    """Return how many images, drawn alone with one chance, would tell as much as these labels."""
    n, n_units = len(sample), sample.n_units
    if sample.is_simple:
        return np.full(len(drawn), float(n))
    sizes = np.bincount(sample.units, weights=sample.weights)
    fewest = float(sizes.sum() ** 2 / (sizes**2).sum())
    if n_units < 2:
        return np.ones(len(drawn))
    chance = drawn * (1 - drawn)
    spread = n_units * alone
    found = np.divide(
        n_units * chance * (n_units + _PSEUDO_UNITS), n_units * spread + _PSEUDO_UNITS * chance,
        out=np.full(len(drawn), fewest), where=chance > 0,
    )  # fmt: skip
    return np.asarray(found if sample.strata.any() else np.minimum(found, n))


def _find_quantiles(sample: Sample, level: float) -> tuple[float, float]:
    """Return the normal quantile, and by how much images count less as Student's is used."""
    from scipy.stats import norm, t

    tail = (1 - level) / 2
    free = len(sample) - 2 if sample.is_simple else (
        sample.n_units + _PSEUDO_UNITS - len(np.unique(sample.strata))
    )  # fmt: skip
    quantile = float(norm.isf(tail))
    return quantile, (float(t.isf(tail, max(free, 1))) / quantile) ** 2


def _find_ends(shares: Doubles, n_effective: Doubles, quantile: float) -> tuple[Doubles, Doubles]:
    """Return Wilson's ends, the one that is nearer to 0 or 1 mended where few are seen.

    References
    ----------
    Brown, Cai and DasGupta 2001, *Interval estimation for a binomial proportion* (the modified
    Wilson interval: of up to three, the end is that of a Poisson number).
    """
    ends = []
    for share, n in zip(shares.tolist(), n_effective.tolist(), strict=True):
        low, high = find_wilson(share, n, quantile) if math.isfinite(n) else (share, share)
        if math.isfinite(n):
            low = min(low, _find_poisson(share * n, quantile) / n)
            high = max(high, 1 - _find_poisson((1 - share) * n, quantile) / n)
        ends.append((low, high))
    low_ends, high_ends = np.array(ends, dtype=np.float64).reshape(-1, 2).T
    return low_ends, high_ends


def _find_poisson(number: float, quantile: float) -> float:
    """Return the least mean at which so few are as many as may be; no bound of more than three."""
    from scipy.stats import chi2, norm

    if not 0 < number <= _FEW:
        return math.inf
    return float(chi2.ppf(2 * norm.sf(quantile), 2 * number)) / 2
