"""Intervals: how far a figure would move with other test images of the same kind.

Every figure that lies between two ends, such as a share, has Wilson's interval: where images are
independent of each other at their number, else at the number of independent images that would
move it as much as resampling does. It holds its estimate, has a width however few the images, and
ends where the figure can end.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.types import Doubles, Mask, Places, Scores

Score = Callable[[Scores], Mapping[str, Doubles]]

SIGNIFICANCE_LEVEL = 0.05
# How much of a shift is taken back.
_TAKEN_BACK = 1.5
# Images that stand for what few images do not show.
_PSEUDO_IMAGES = 4
# Weights that are held at once: 64 MB.
_WEIGHTS_AT_ONCE = 16_000_000


@dataclasses.dataclass(frozen=True)
class Resamples:
    """How often each resample draws each image, the same for every method that is measured.

    Images of one group are drawn together, as they would have come or not come together.

    Parameters
    ----------
    clusters : ndarray of int64, shape (n_images,)
        Number of the group of each image, from 0 without a gap.
    n_resamples : int
        At least 1.
    seed : int
        Of the draws.

    References
    ----------
    Efron and Tibshirani 1993, *An Introduction to the Bootstrap*; Field and Welsh 2007,
    *Bootstrapping clustered data*.
    """

    clusters: npt.NDArray[np.int64]
    n_resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_resamples < 1:
            msg = f"an interval takes 1 resample or more, got {self.n_resamples}; 1000 are usual"
            raise SelectionError(msg)

    @classmethod
    def of_groups(
        cls, groups: npt.NDArray[Any], n_resamples: int = 1000, seed: int = 0,
        order: npt.NDArray[np.int64] | None = None,
    ) -> Resamples:  # fmt: skip
        """Draw images by their groups.

        Parameters
        ----------
        groups : ndarray, shape (n_images,)
            Name of the group of each image; ``""`` is an image on its own.
        n_resamples : int
            At least 1.
        seed : int
            Of the draws.
        order : ndarray of int64, shape (n_images,), optional
            In which they are numbered, such as by what they are
            (:meth:`bioprobe.images.image_table.ImageTable.order`), for the order of rows in a store
            to say nothing.
        """
        places = np.arange(len(groups)) if order is None else order
        met: dict[Any, int] = {}
        own = np.fromiter(
            (met.setdefault(one, len(met)) for one in np.asarray(groups)[places]),
            dtype=np.int64, count=len(groups),
        )  # fmt: skip
        # "" comes first of all, thus 0 is an image on its own; these are numbered before groups.
        names = np.array(["", *map(str, met)], dtype=object)
        own = np.unique(names, return_inverse=True)[1][1:][own]
        alone = np.flatnonzero(own == 0)
        own += len(alone) - 1
        own[alone] = _rank_as_texts(alone)
        clusters = np.empty(len(groups), dtype=np.int64)
        clusters[places] = own
        return cls(clusters, n_resamples, seed)

    @property
    def n_clusters(self) -> int:
        """Number of groups, of which an image on its own is one."""
        return int(self.clusters.max(initial=-1)) + 1

    @property
    def is_clustered(self) -> bool:
        """Whether some group has more than one image."""
        return self.n_clusters < len(self.clusters)

    def iter_weights(self, *, smooth: bool = False) -> Iterator[Scores]:
        """Draw some resamples at a time.

        Parameters
        ----------
        smooth : bool
            Whether each image has a weight that is exponential, so that none is left out, in place
            of the number of times that it was drawn.

        Yields
        ------
        ndarray of float32, shape (n, n_images)
            How often each image was drawn.

        References
        ----------
        Rubin 1981, *The Bayesian Bootstrap* (smooth weights).
        """
        random, n_clusters = np.random.default_rng(self.seed), self.n_clusters
        step = max(1, _WEIGHTS_AT_ONCE // max(1, len(self.clusters)))
        for start in range(0, self.n_resamples, step):
            weights = np.empty(
                (min(step, self.n_resamples - start), len(self.clusters)), dtype=np.float32
            )
            for row in weights:
                if smooth:
                    row[:] = random.exponential(size=n_clusters)[self.clusters]
                else:
                    drawn = random.integers(n_clusters, size=n_clusters)
                    row[:] = np.bincount(drawn, minlength=n_clusters)[self.clusters]
            yield weights


def _rank_as_texts(numbers: Places) -> Places:
    """Return the place of each number ≥ 0, all different, where they are sorted as texts.

    Examples
    --------
    >>> _rank_as_texts(np.array([0, 2, 10, 1])).tolist()
    [0, 3, 2, 1]
    """
    powers = 10 ** np.arange(len(str(numbers.max(initial=0))))
    n_digits = np.searchsorted(powers[1:], numbers, "right") + 1
    ranks = np.empty(len(numbers), dtype=np.int64)
    # Padded to one length 1 and 10 are the same, and 1 is before 10.
    order = np.lexsort((n_digits, numbers * powers[len(powers) - n_digits]))
    ranks[order] = np.arange(len(numbers))
    return ranks


@dataclasses.dataclass(frozen=True)
class Draws:
    """A figure on all images and on each resample.

    Parameters
    ----------
    estimate : float
        On all images.
    resampled : ndarray of float64, shape (n_resamples,)
        On each resample; not a number where it could not be measured.
    n_units : int
        Groups, or images that are in none, that the figure is of.
    is_clustered : bool
        Whether some group has more than one image.
    shift : float
        How much smooth weights shift it in the mean: as much as it may itself be off.
    """

    estimate: float
    resampled: Doubles
    n_units: int
    is_clustered: bool = False
    shift: float = 0.0


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure with its interval.

    Parameters
    ----------
    estimate : float
        On all images.
    low, high : float
        Ends of the interval, not a number where nothing could be measured.
    """

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


def draw_scores(
    score: Score, resamples: Resamples, units: Mapping[str, Mask] | None = None
) -> dict[str, Draws]:
    """Measure all images and each resample of them.

    Parameters
    ----------
    score : callable
        From weights of the images, shape (n, n_images), to figures by name, each of shape (n,);
        such as :func:`bioprobe.evaluation.metrics.score_flat`.
    resamples : Resamples
        Of the images.
    units : mapping of str to ndarray of bool, shape (n_images,), optional
        Images that a figure is of, where it is not of all of them.
    """
    everything = score(np.ones((1, len(resamples.clusters)), dtype=np.float32))
    parts = [score(weights) for weights in resamples.iter_weights()]
    counts = {name: len(np.unique(resamples.clusters[of])) for name, of in (units or {}).items()}
    return {
        name: Draws(
            float(values[0]),
            np.concatenate([part[name] for part in parts]),
            counts.get(name, resamples.n_clusters),
            resamples.is_clustered,
        )
        for name, values in everything.items()
    }


def find_interval(
    draws: Draws,
    *,
    low: float = 0.0,
    high: float = 1.0,
    is_share: bool = False,
    level: float = 0.95,
) -> Interval:
    r"""Find the interval of a figure that lies between two ends.

    It is Wilson's for :math:`n_e = p (1 - p) / v` images, :math:`v` being the mean squared
    difference of the resamples from the estimate :math:`p` (so what resampling shifts a figure by
    widens it), to which each of four further images adds as much as one whose answer is a coin of
    that chance; since :math:`v` is itself found from these images or groups and the four, Student's
    quantile takes the place of the normal one. A share of images that are independent has their
    number.

    A figure that is not a mean, such as macro-F1 of small classes, is off in the direction in which
    resamples are: with a :attr:`Draws.shift` the interval is joined with that of a figure from
    which one and a half times the shift is taken back, which ``benchmarks/coverage.py`` calls for.

    Parameters
    ----------
    draws : Draws
        Of the figure; resamples in which it could not be measured are left out.
    low, high : float
        What the figure is at least and at most.
    is_share : bool
        Whether it is the share of its units that are right.
    level : float
        Coverage in (0, 1).

    References
    ----------
    Wilson 1927, *Probable inference, the law of succession, and statistical inference*; Korn and
    Graubard 1998, *Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data* (the effective number); Agresti and Coull 1998, *Approximate
    is better than "exact" for interval estimation of binomial proportions* (the four).
    """
    values = draws.resampled[np.isfinite(draws.resampled)]
    if not math.isfinite(draws.estimate) or not (len(values) and draws.n_units):
        return Interval(draws.estimate, math.nan, math.nan)
    # As scipy.stats has them, which takes a hundred times as long over what it is given.
    from scipy.special import ndtri, stdtrit

    tail, n, width = (1 - level) / 2, float(draws.n_units), high - low
    share = min(1.0, max(0.0, (draws.estimate - low) / width))
    chance, quantile = share * (1 - share), -float(ndtri(tail))
    if draws.is_clustered or not is_share:
        if draws.is_clustered and draws.n_units < 2:
            return Interval(draws.estimate, low, high)
        if chance:
            spread = n * float(np.mean(((values - draws.estimate) / width) ** 2))
            n *= chance * (n + _PSEUDO_IMAGES) / (n * spread + _PSEUDO_IMAGES * chance)
        n *= (quantile / float(stdtrit(draws.n_units + _PSEUDO_IMAGES - 1, tail))) ** 2
    ends = find_wilson(share, n, quantile)
    if draws.shift:
        moved = min(1.0, max(0.0, share - _TAKEN_BACK * draws.shift / width))
        others = find_wilson(moved, n, quantile)
        ends = min(ends[0], others[0]), max(ends[1], others[1])
    return Interval(draws.estimate, *(low + width * end for end in ends))


def measure_share(
    values: npt.NDArray[Any], groups: npt.NDArray[Any], n_resamples: int = 1000, seed: int = 0
) -> Interval:
    """Measure the share of images of which something is so, with its interval.

    Parameters
    ----------
    values : ndarray of bool, or of 0 and 1, shape (n_images,)
    groups : ndarray, shape (n_images,)
        Name of the group of each image; ``""`` is an image on its own.
    n_resamples : int
        At least 1.
    seed : int
        Of the resamples.

    Examples
    --------
    >>> print(measure_share(np.array([1, 0, 0, 0]), np.array(["", "", "", ""])))
    0.250 [0.046, 0.699]
    >>> print(measure_share(np.array([1, 0, 0, 0]), np.array(["a", "b", "b", "b"])))
    0.250 [0.015, 0.882]
    """
    if not len(values):
        return Interval(math.nan, math.nan, math.nan)
    right = np.asarray(values, dtype=np.float64)

    def score(weights: Scores) -> dict[str, Doubles]:
        shares = weights @ right / weights.sum(axis=1)
        return {"share": np.asarray(shares, dtype=np.float64)}

    drawn = draw_scores(score, Resamples.of_groups(groups, n_resamples, seed))["share"]
    return find_interval(drawn, is_share=True)


#: The 97.5% quantile of the normal distribution, for intervals of 95%.
QUANTILE = 1.959963984540054


def find_wilson(share: float, n: float, quantile: float = QUANTILE) -> tuple[float, float]:
    """Return the ends of Wilson's interval of a share of ``n`` images, of 95% by default."""
    centre = (share + quantile**2 / (2 * n)) / (1 + quantile**2 / n)
    half = quantile * math.sqrt(share * (1 - share) / n + quantile**2 / (4 * n**2))
    half /= 1 + quantile**2 / n
    # Rounding leaves the ends of no images or all a little beside 0 and 1.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def bound_share(n_wrong: float, n: float, chance: float = 0.95) -> float:
    """Return the upper end of the exact one-sided interval of a share, 1 of no images.

    Parameters
    ----------
    n_wrong, n : float
        How many of how many; no whole numbers where images come in groups.
    chance : float
        With which the share is no higher, in (0, 1).

    References
    ----------
    Clopper and Pearson 1934, *The use of confidence or fiducial limits illustrated in the case of
    the binomial*; Korn and Graubard 1998, *Confidence intervals for proportions with small expected
    number of positive counts estimated from survey data* (numbers that are not whole).

    Examples
    --------
    >>> round(bound_share(0, 59), 4)
    0.0495
    """
    if n_wrong >= n:
        return 1.0
    from scipy.special import betainccinv

    return float(betainccinv(n_wrong + 1, n - n_wrong, 1 - chance))


def count_effective(groups: npt.NDArray[Any]) -> float:
    r"""Return how many groups of one size tell as much as these, whose images are all alike.

    References
    ----------
    Kish 1965, *Survey Sampling*: :math:`(\sum n)^2 / \sum n^2` of groups of n images.

    Examples
    --------
    >>> count_effective(np.array([0, 0, 1, 1])), count_effective(np.array([0, 0, 0, 1]))
    (2.0, 1.6)
    """
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Fraction of images whose label is among the k best classes.

    Parameters
    ----------
    k : int
        Answers that count.
    n_correct, n_images : int
        Images that were right, and images that have a label among the classes.
    """

    k: int
    n_correct: int
    n_images: int

    @property
    def fraction(self) -> float:
        """Accuracy in [0, 1]; not a number when no image has a label."""
        return self.n_correct / self.n_images if self.n_images else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson score interval of 95%.

        References
        ----------
        Wilson 1927, *Probable inference, the law of succession, and statistical inference*.

        Examples
        --------
        >>> low, high = Accuracy(1, 8, 10).interval
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
        """
        if not self.n_images:
            return (math.nan, math.nan)
        return find_wilson(self.fraction, self.n_images)

    @property
    def standard_error(self) -> float:
        """Of Agresti and Coull's estimate of the fraction: not 0 where all or none are right."""
        n_images = self.n_images + 4
        fraction = (self.n_correct + 2) / n_images
        return float((fraction * (1 - fraction) / n_images) ** 0.5)

    def __str__(self) -> str:
        low, high = self.interval
        return f"top-{self.k} {self.fraction:.3f} [{low:.3f}, {high:.3f}]"


def adjust_by_holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for how many there are, so that one of them at most is found by luck.

    Parameters
    ----------
    p_values : sequence of float
        One that is not a number takes no part.

    References
    ----------
    Holm 1979, *A simple sequentially rejective multiple test procedure*.

    Examples
    --------
    >>> adjust_by_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    known = [position for position, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for place, position in enumerate(sorted(known, key=lambda position: p_values[position])):
        largest = max(largest, min(1.0, (len(known) - place) * p_values[position]))
        adjusted[position] = largest
    return adjusted
