"""Bootstrap intervals: how far a figure would move with other test images of the same kind."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.types import Doubles, Scores

Score = Callable[[Scores], Mapping[str, Doubles]]

INTERVALS = ("percentile", "basic")
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
        cls, groups: npt.NDArray[Any], n_resamples: int = 1000, seed: int = 0
    ) -> Resamples:
        """Draw images by their groups.

        Parameters
        ----------
        groups : ndarray, shape (n_images,)
            Name of the group of each image; ``""`` is an image on its own.
        n_resamples : int
            At least 1.
        seed : int
            Of the draws.
        """
        names = np.asarray(groups).astype(str)
        alone = np.char.add("\0", np.arange(len(names)).astype(str))
        _, clusters = np.unique(np.where(names == "", alone, names), return_inverse=True)
        return cls(np.asarray(clusters, dtype=np.int64), n_resamples, seed)

    @property
    def n_clusters(self) -> int:
        """Number of groups, of which an image on its own is one."""
        return int(self.clusters.max(initial=-1)) + 1

    @property
    def is_clustered(self) -> bool:
        """Whether some group has more than one image."""
        return self.n_clusters < len(self.clusters)

    def iter_weights(self) -> Iterator[Scores]:
        """Draw some resamples at a time.

        Yields
        ------
        ndarray of float32, shape (n, n_images)
            How often each image was drawn.
        """
        random = np.random.default_rng(self.seed)
        step = max(1, _WEIGHTS_AT_ONCE // max(1, len(self.clusters)))
        for start in range(0, self.n_resamples, step):
            n = min(step, self.n_resamples - start)
            counts = np.zeros((n, self.n_clusters), dtype=np.float32)
            for row in range(n):
                drawn = random.integers(self.n_clusters, size=self.n_clusters)
                counts[row] = np.bincount(drawn, minlength=self.n_clusters)
            yield counts[:, self.clusters]


@dataclasses.dataclass(frozen=True)
class Draws:
    """A figure on all images and on each resample.

    Parameters
    ----------
    estimate : float
        On all images.
    resampled : ndarray of float64, shape (n_resamples,)
        On each resample; not a number where it could not be measured.
    """

    estimate: float
    resampled: Doubles


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


def draw_scores(score: Score, resamples: Resamples) -> dict[str, Draws]:
    """Measure all images and each resample of them.

    Parameters
    ----------
    score : callable
        From weights of the images, shape (n, n_images), to figures by name, each of shape (n,);
        such as :func:`bioprobe.evaluation.metrics.score_flat`.
    resamples : Resamples
        Of the images.

    Returns
    -------
    dict of str to Draws
    """
    everything = score(np.ones((1, len(resamples.clusters)), dtype=np.float32))
    parts = [score(weights) for weights in resamples.iter_weights()]
    return {
        name: Draws(float(values[0]), np.concatenate([part[name] for part in parts]))
        for name, values in everything.items()
    }


def find_interval(draws: Draws, *, method: str = "percentile", level: float = 0.95) -> Interval:
    """Find the interval of a figure.

    Resamples shift a figure that is not a mean in the direction in which the sample itself is
    off: small classes lose F1, and noise adds to ECE. ``percentile`` counts that shift twice,
    ``basic`` takes it back. In simulations of 1,200 images of 200 classes, intervals of 95%
    held the true macro-F1 in 62% of the runs by ``percentile``, in 82% by ``basic``; accuracy
    in 92% by either.

    Parameters
    ----------
    draws : Draws
        Of the figure; resamples in which it could not be measured are left out.
    method : str
        ``percentile``, or ``basic``: reflected at the estimate.
    level : float
        Coverage in (0, 1).

    Raises
    ------
    SelectionError
        If the method is another.

    References
    ----------
    Davison and Hinkley 1997, *Bootstrap Methods and their Application*, sections 5.2 and 5.3.
    """
    if method not in INTERVALS:
        msg = f"an interval is one of {', '.join(INTERVALS)}, got {method!r}"
        raise SelectionError(msg)
    values = draws.resampled[np.isfinite(draws.resampled)]
    if not len(values) or not math.isfinite(draws.estimate):
        return Interval(draws.estimate, math.nan, math.nan)
    tail = (1 - level) / 2
    low, high = (float(end) for end in np.quantile(values, [tail, 1 - tail]))
    if method == "basic":
        low, high = 2 * draws.estimate - high, 2 * draws.estimate - low
    return Interval(draws.estimate, low, high)


# 97.5% quantile of the normal distribution, for intervals of 95%.
_Z = 1.959963984540054


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
        n, p = self.n_images, self.fraction
        if not n:
            return (math.nan, math.nan)
        centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
        return (max(0.0, centre - half), min(1.0, centre + half))

    def __str__(self) -> str:
        low, high = self.interval
        return f"top-{self.k} {self.fraction:.3f} [{low:.3f}, {high:.3f}]"
