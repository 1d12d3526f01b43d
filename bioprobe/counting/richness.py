"""Richness: how many taxa were seen, how many more there are, and how they come by places."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.intervals import QUANTILE
from bioprobe.types import Doubles

Counts = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Chao1:
    """How many taxa there are at least, by how many were seen once and twice.

    Parameters
    ----------
    n_records : int
    observed : int
        Taxa that were seen.
    once, twice : int
        Taxa of one record, and of two.
    estimate, low, high : float
        Taxa there are, with the interval of 95%.
    coverage : float
        Share of the records there are whose taxa were seen.
    """

    n_records: int
    observed: int
    once: int
    twice: int
    estimate: float
    low: float
    high: float
    coverage: float

    @property
    def completeness(self) -> float:
        """Share of the taxa there are that were seen."""
        return self.observed / self.estimate if self.estimate else math.nan


def estimate_chao1(counts: Counts | Sequence[int], n_all: int | None = None) -> Chao1:
    r"""Estimate how many taxa there are from the number of records of each.

    It is :math:`S + \frac{n-1}{n} \frac{f_1^2}{2 f_2}`, without taxa of two records
    :math:`S + \frac{n-1}{n} \frac{f_1 (f_1 - 1)}{2}`: a lower bound. The interval is Chao's, of
    which the number that was not seen is log-normal, so that it ends at what was seen.

    Parameters
    ----------
    counts : sequence of int
        Records of each taxon; those of none do not count.
    n_all : int, optional
        Records there are, of which these were drawn without replacement. Then it is
        :math:`S + f_1^2 / (\frac{n}{n-1} 2 f_2 + \frac{q}{1-q} f_1)`, with :math:`q` the share that
        was drawn: where all were, nothing is unseen.

    References
    ----------
    Chao 1984, *Nonparametric estimation of the number of classes in a population*; Chao 1987,
    *Estimating the population size for capture-recapture data with unequal catchability* (the
    interval); Colwell 2013, *EstimateS 9.1 user's guide*, appendix B (the variances); Chao and Jost
    2012, *Coverage-based rarefaction and extrapolation* (the coverage); Chao and Lin 2012,
    *Nonparametric lower bound for species richness and shared species richness under sampling
    without replacement*.

    Examples
    --------
    >>> found = estimate_chao1([10, 5, 2, 2, 1, 1, 1])
    >>> round(found.estimate, 3), found.once, found.twice
    (9.148, 3, 2)
    """
    known = np.asarray(counts, dtype=np.int64)
    known = known[known > 0]
    n, observed = int(known.sum()), len(known)
    once, twice = int((known == 1).sum()), int((known == 2).sum())
    if not n:
        return Chao1(0, 0, 0, 0, 0.0, 0.0, 0.0, math.nan)
    part = (n - 1) / n
    if n_all is not None and n >= n_all:
        return Chao1(n, observed, once, twice, *(float(observed),) * 3, 1.0)
    if n_all is not None and once:
        unseen, variance = _find_unseen(n, n_all, once, twice)
    elif twice:
        ratio = once / twice
        unseen = part * once**2 / (2 * twice)
        variance = twice * (
            part / 2 * ratio**2 + part**2 * ratio**3 + part**2 / 4 * ratio**4
        )  # fmt: skip
    else:
        unseen = part * once * (once - 1) / 2
        variance = part * once * (once - 1) / 2 + part**2 * once * (2 * once - 1) ** 2 / 4
        if once:
            variance -= part**2 * once**4 / (4 * (observed + unseen))
    estimate = observed + unseen
    if unseen > 0:
        spread = math.exp(QUANTILE * math.sqrt(math.log1p(max(variance, 0.0) / unseen**2)))
        low, high = observed + unseen / spread, observed + unseen * spread
    else:
        # Nothing is estimated to be unseen: how many a taxon of the mean number may hide.
        chance = math.exp(-n / observed)
        centre = observed / (1 - chance)
        half = QUANTILE * math.sqrt(observed * chance) / (1 - chance)
        low, high = max(float(observed), centre - half), max(float(observed), centre + half)
    return Chao1(n, observed, once, twice, estimate, low, high, _cover(n, once, twice))


def _find_unseen(n: int, n_all: int, once: int, twice: int) -> tuple[float, float]:
    """Return how many were not seen of all records there are, and the variance of that."""
    share = n / n_all
    # n / (n - 1) 2 f2 + q / (1 - q) f1
    of_twice, of_once = 2 * n / max(n - 1, 1), share / (1 - share)
    below = of_twice * twice + of_once * once
    unseen = once**2 / below
    by_once = (2 * once * below - of_once * once**2) / below**2
    by_twice = -of_twice * once**2 / below**2
    # Numbers of taxa vary as Poisson ones, as in the formula for records without end.
    return unseen, unseen + by_once**2 * once + by_twice**2 * twice


def _cover(n: int, once: int, twice: int) -> float:
    if not once:
        return 1.0
    if twice:
        missed = once / n * ((n - 1) * once / ((n - 1) * once + 2 * twice))
    else:
        missed = once / n * ((n - 1) * (once - 1) / ((n - 1) * (once - 1) + 2))
    return 1.0 - missed


@dataclasses.dataclass(frozen=True, eq=False)
class Accumulation:
    """How many taxa so many places have, whichever they are.

    Parameters
    ----------
    n_places : ndarray of int64, shape (n,)
        From 1 to all.
    richness, low, high : ndarray of float64, shape (n,)
        The mean over all orders of the places, with the interval of 95% for places such as these.
    """

    n_places: Counts
    richness: Doubles
    low: Doubles
    high: Doubles


def accumulate(seen: npt.NDArray[np.bool_]) -> Accumulation:
    r"""Find how many taxa come together with so many places, without drawing orders.

    Of :math:`T` places, at :math:`Q_i` of which taxon i was seen, :math:`h` have
    :math:`S - \sum_i \binom{T - Q_i}{h} / \binom{T}{h}` in the mean.

    Parameters
    ----------
    seen : ndarray of bool, shape (n_places, n_taxa)

    Raises
    ------
    SelectionError
        If there is no place.

    References
    ----------
    Colwell, Mao and Chang 2004, *Interpolating, extrapolating, and comparing incidence-based
    species accumulation curves* (equations 5 and 6).
    """
    from scipy.special import gammaln

    n_all = len(seen)
    if not n_all:
        msg = "no place has a record, and nothing accumulates"
        raise SelectionError(msg)
    numbers = seen.sum(axis=0)
    numbers = numbers[numbers > 0]
    sizes = np.arange(1, n_all + 1)
    rest = n_all - numbers[None, :]
    # The chance that a taxon is at none of h places.
    is_possible = rest >= sizes[:, None]
    chosen = np.where(is_possible, rest, sizes[:, None])
    logs = (
        gammaln(chosen + 1) - gammaln(chosen - sizes[:, None] + 1)
        - gammaln(n_all + 1) + gammaln(n_all - sizes[:, None] + 1)
    )  # fmt: skip
    missed = np.where(is_possible, np.exp(logs), 0.0)
    richness = (1 - missed).sum(axis=1)
    one, two = int((numbers == 1).sum()), int((numbers == 2).sum())
    part = (n_all - 1) / n_all
    unseen = part * (one**2 / (2 * two) if two else one * (one - 1) / 2)
    total = len(numbers) + unseen
    variance = ((1 - missed) ** 2).sum(axis=1) - richness**2 / total if total else 0 * richness
    half = QUANTILE * np.sqrt(np.maximum(variance, 0.0))
    return Accumulation(
        sizes.astype(np.int64), richness, np.maximum(richness - half, 0.0), richness + half
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Apart:
    """Richness of one group of records, such as those of a habitat."""

    name: str
    chao1: Chao1
    accumulation: Accumulation


def estimate_richness(name: str, taxa: Sequence[str], sites: Sequence[str],
                      places: Sequence[str]) -> Apart:  # fmt: skip
    """Estimate how many taxa there are by records, and how they come with places.

    Parameters
    ----------
    name : str
        Of the group, ``""`` of all records.
    taxa, sites : sequence of str, length n_records
        Of each record.
    places : sequence of str
        Places that worked, or have a record; those of ``sites`` count anyhow.

    Raises
    ------
    SelectionError
        If there is no place.
    """
    names, of_taxon = np.unique(np.asarray(taxa, dtype=str), return_inverse=True)
    rows = {place: row for row, place in enumerate(dict.fromkeys([*places, *sites]))}
    seen = np.zeros((len(rows), len(names)), dtype=bool)
    seen[[rows[site] for site in sites], of_taxon] = True
    counts = np.bincount(of_taxon, minlength=len(names))
    return Apart(name, estimate_chao1(counts), accumulate(seen))
