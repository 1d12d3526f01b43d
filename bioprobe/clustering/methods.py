"""Ways to group vectors, each by one name, and how many groups there are to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from bioprobe.clustering.agglomeration import AVERAGE, WARD, Tree, build_tree
from bioprobe.errors import MissingExtraError, SelectionError
from bioprobe.progress import Progress, Step, tell_nobody
from bioprobe.types import Doubles, Places, Vectors

#: Names of the ways; the first is the default, by ``benchmarks/clusters.py``.
METHODS = WARD_METHOD, AGGLOMERATIVE, KMEANS, EVOC, HDBSCAN = (
    "ward", "agglomerative", "kmeans", "evoc", "hdbscan",
)  # fmt: skip
# Numbers that are tried lie so far apart, and leave so many units to a group on average.
_STEP, _LEAST_UNITS, _MOST_TRIED = 1.15, 5.0, 2000
# Vectors that judge a number of groups.
_JUDGED = 10_000
# Of k-means: starts of which the best is kept; where a number is chosen, each has one.
_STARTS = 3


@dataclasses.dataclass(frozen=True)
class Wish:
    """How vectors are to be grouped.

    Parameters
    ----------
    method : str
        One of :data:`METHODS`.
    n_clusters : int or None
        How many groups; None where that is to be chosen.
    threshold : float or None
        Least mean cosine similarity of two groups that are joined, of ``agglomerative`` alone.
    least_size : int or None
        Units that a group of ``evoc`` or ``hdbscan`` has, at least; None for a hundredth of all,
        5 at least.
    seed : int
    """

    method: str = WARD_METHOD
    n_clusters: int | None = None
    threshold: float | None = None
    least_size: int | None = None
    seed: int = 0

    def find_least_size(self, n_units: int) -> int:
        """Return how many of so many units a group has at least, where density makes groups."""
        return self.least_size or max(int(_LEAST_UNITS), n_units // 100)


@dataclasses.dataclass(frozen=True, eq=False)
class Grouping:
    """Groups of vectors.

    Parameters
    ----------
    numbers : ndarray of int64, shape (n,)
        Group of each, from 0; -1 where it is in none.
    tried : mapping of int to float
        Mean silhouette of each number of groups that was tried; empty where none was chosen.
    at_bound : bool
        Whether the number that was chosen is the greatest that was tried.
    """

    numbers: Places
    tried: Mapping[int, float] = dataclasses.field(default_factory=dict)
    at_bound: bool = False


def group_vectors(
    vectors: Vectors, units: Places, wish: Wish, told: Progress = tell_nobody
) -> Grouping:
    """Group vectors in a way that is named.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
        Of ``hdbscan`` the places on a map, shape (n, 2).
    units : ndarray of int64, shape (n,)
        Number of the unit of each, such as a burst: all vectors of one weigh as much as one alone.
    wish : Wish
    told : callable
        Told the steps of ways that have some.

    Raises
    ------
    SelectionError
        If there are fewer units than groups that are wished for.
    MissingExtraError
        If the way is not installed.
    """
    n_units = len(np.unique(units))
    if wish.n_clusters is not None and wish.n_clusters > n_units:
        msg = (
            f"{wish.n_clusters:,} clusters were asked for of {n_units:,} pictures that are no "
            "copies and of no sequence together; ask for fewer"
        )
        raise SelectionError(msg)
    if len(vectors) < 2:
        return Grouping(np.zeros(len(vectors), dtype=np.int64))
    weights = weigh_units(units)
    return _WAYS[wish.method](vectors, units, weights, wish, told)


def weigh_units(units: Places) -> Doubles:
    """Return how much each vector counts, so that each unit counts as 1, shape (n,)."""
    numbers = np.unique(units, return_inverse=True)[1]
    return np.asarray(1.0 / np.bincount(numbers)[numbers], dtype=np.float64)


def _group_by_ward(
    vectors: Vectors, units: Places, weights: Doubles, wish: Wish, told: Progress
) -> Grouping:
    tree = build_tree(vectors, weights, WARD, told)
    return _cut(tree, vectors, units, weights, wish, told)


def _group_by_average(
    vectors: Vectors, units: Places, weights: Doubles, wish: Wish, told: Progress
) -> Grouping:
    tree = build_tree(vectors, weights, AVERAGE, told)
    if wish.threshold is not None:
        return Grouping(tree.cut_at(1 - wish.threshold))
    return _cut(tree, vectors, units, weights, wish, told)


def _cut(
    tree: Tree, vectors: Vectors, units: Places, weights: Doubles, wish: Wish, told: Progress
) -> Grouping:
    if wish.n_clusters is not None:
        return Grouping(tree.cut(wish.n_clusters))
    judged = _choose_judged(len(vectors), wish.seed)
    return choose_number(vectors, units, weights, tree.cut, judged, told)


def _group_by_means(
    vectors: Vectors, units: Places, weights: Doubles, wish: Wish, told: Progress
) -> Grouping:
    def find(n_clusters: int) -> Places:
        return _find_means(vectors, weights, n_clusters, wish.seed)

    if wish.n_clusters is not None:
        return Grouping(find(wish.n_clusters))
    few = _choose_judged(len(vectors), wish.seed)
    some, own = vectors[few], weights[few]

    def find_few(n_clusters: int) -> Places:
        return _find_means(some, own, n_clusters, wish.seed, 1)

    chosen = choose_number(some, units[few], own, find_few, np.arange(len(few)), told)
    if len(few) == len(vectors):
        return chosen
    return dataclasses.replace(chosen, numbers=find(len(np.unique(chosen.numbers))))


def _find_means(
    vectors: Vectors, weights: Doubles, n_clusters: int, seed: int, n_starts: int = _STARTS
) -> Places:
    from sklearn.cluster import KMeans

    means = KMeans(n_clusters, n_init=n_starts, random_state=seed)
    found: Places = means.fit_predict(vectors, sample_weight=weights).astype(np.int64)
    return found


def _group_by_evoc(
    vectors: Vectors, units: Places, weights: Doubles, wish: Wish, told: Progress
) -> Grouping:
    try:
        from evoc import EVoC
    except ImportError as error:
        msg = (
            "--method evoc takes the package evoc, which is not installed; run: pip install "
            "'bioprobe[cluster]', or choose another --method"
        )
        raise MissingExtraError(msg) from error
    _ = weights, told

    def find(some: Vectors) -> Places:
        model = EVoC(
            base_min_cluster_size=wish.find_least_size(len(some)),
            approx_n_clusters=wish.n_clusters,
            random_state=wish.seed,
        )
        return np.asarray(model.fit_predict(some), dtype=np.int64)

    return _group_first_of_units(vectors, units, find)


def _group_by_density(
    vectors: Vectors, units: Places, weights: Doubles, wish: Wish, told: Progress
) -> Grouping:
    from sklearn import cluster

    _ = weights, told

    def find(some: Vectors) -> Places:
        model = cluster.HDBSCAN(min_cluster_size=wish.find_least_size(len(some)), copy=True)
        return np.asarray(model.fit_predict(some), dtype=np.int64)

    return _group_first_of_units(vectors, units, find)


def _group_first_of_units(
    vectors: Vectors, units: Places, find: Callable[[Vectors], Places]
) -> Grouping:
    """Group one vector of each unit, where a way knows no weights; the others go with it."""
    _, first, place = np.unique(units, return_index=True, return_inverse=True)
    if len(first) < 2 * _LEAST_UNITS:
        return Grouping(np.zeros(len(vectors), dtype=np.int64))
    return Grouping(find(np.ascontiguousarray(vectors[first]))[place])


_WAYS: dict[str, Callable[[Vectors, Places, Doubles, Wish, Progress], Grouping]] = {
    WARD_METHOD: _group_by_ward,
    AGGLOMERATIVE: _group_by_average,
    KMEANS: _group_by_means,
    EVOC: _group_by_evoc,
    HDBSCAN: _group_by_density,
}


def _choose_judged(n: int, seed: int) -> Places:
    """Return which of n vectors judge a number of groups: all, or 10,000 drawn by a seed."""
    if n <= _JUDGED:
        return np.arange(n, dtype=np.int64)
    drawn = np.random.default_rng(seed).choice(n, _JUDGED, replace=False)
    return np.sort(drawn).astype(np.int64)


def _list_numbers(n_units: int) -> list[int]:
    """Return the numbers of groups that are tried, of so many units.

    Examples
    --------
    >>> _list_numbers(60)
    [2, 3, 4, 5, 6, 7, 8, 9, 10, 12]
    """
    most = int(min(n_units / _LEAST_UNITS, _MOST_TRIED))
    numbers, last = [], 2.0
    while last < most:
        numbers.append(int(last))
        last = max(last + 1, last * _STEP)
    return [*numbers, most] if most >= 2 else []


def choose_number(
    vectors: Vectors,
    units: Places,
    weights: Doubles,
    group: Callable[[int], Places],
    judged: Places,
    told: Progress = tell_nobody,
) -> Grouping:
    """Choose the number of groups whose mean silhouette is greatest; of equal ones the least.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    units : ndarray of int64, shape (n,)
    weights : ndarray of float64, shape (n,)
    group : callable
        From a number to groups.
    judged : ndarray of int64
        Which of the vectors judge.
    told : callable
        Told how many numbers are tried.
    """
    tried: dict[int, float] = {}
    best: tuple[float, Places] | None = None
    listed = _list_numbers(len(np.unique(units)))
    for place, number in enumerate(listed):
        told(Step(place, len(listed), "numbers of clusters"))
        numbers = group(number)
        silhouettes = measure_silhouettes(
            vectors[judged], units[judged], weights[judged], numbers[judged]
        )
        mean = float(np.average(silhouettes, weights=weights[judged]))
        tried[number] = mean
        if best is None or mean > best[0] + 1e-9:
            best = mean, numbers
    if best is None:
        return Grouping(np.zeros(len(vectors), dtype=np.int64))
    chosen = next(number for number, mean in tried.items() if mean >= best[0])
    return Grouping(best[1], tried, at_bound=len(tried) > 1 and chosen == max(tried))


def measure_silhouettes(
    vectors: Vectors, units: Places, weights: Doubles, numbers: Places
) -> Doubles:
    """Measure how much nearer each vector is to its own group than to the next.

    Of its own group the vectors of its own unit do not count: copies and bursts make no group.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    units : ndarray of int64, shape (n,)
    weights : ndarray of float64, shape (n,)
    numbers : ndarray of int64, shape (n,)
        Group of each.

    Returns
    -------
    ndarray of float64, shape (n,)
        In [-1, 1]; 0 where its group has no other unit, or there is no other group.

    References
    ----------
    Rousseeuw 1987, *Silhouettes: a Graphical Aid to the Interpretation and Validation of Cluster
    Analysis*, with mean cosine distances, which follow from the means of groups.
    """
    groups = np.unique(numbers, return_inverse=True)[1]
    n_groups = int(groups.max(initial=-1)) + 1
    if n_groups < 2:
        return np.zeros(len(vectors))
    weighted = vectors * weights[:, None].astype(np.float32)
    sums = _sum_by(weighted, groups, n_groups)
    totals = np.bincount(groups, weights, minlength=n_groups)
    own_units = np.unique(units, return_inverse=True)[1]
    both = np.unique(own_units * n_groups + groups, return_inverse=True)[1]
    n_both = int(both.max()) + 1
    of_unit = _sum_by(weighted, both, n_both)
    left = totals[groups] - np.bincount(both, weights, minlength=n_both)[both]
    has_others = left > 1e-9
    inside = np.einsum("nd,nd->n", vectors, sums[groups] - of_unit[both])
    inside = 1 - np.divide(inside, left, out=np.zeros(len(vectors)), where=has_others)
    outside = 1 - vectors @ (sums / totals[:, None].astype(np.float32)).T
    outside[np.arange(len(vectors)), groups] = np.inf
    nearest = outside.min(axis=1).astype(np.float64)
    most = np.maximum(np.maximum(inside, nearest), 1e-12)
    return np.where(has_others, (nearest - inside) / most, 0.0)


def _sum_by(vectors: Vectors, groups: Places, n_groups: int) -> Vectors:
    from scipy.sparse import csr_array

    n = len(vectors)
    ends = (np.ones(n, dtype=np.float32), groups, np.arange(n + 1))
    return np.asarray(csr_array(ends, shape=(n, n_groups)).T @ vectors)


#: Draws by which stability is measured, the share of the units of each, and the most of them.
N_DRAWS, _DRAWN_FRACTION, _MOST_DRAWN = 10, 0.8, 5000


@dataclasses.dataclass(frozen=True, eq=False)
class Stability:
    """How far groups come back in other pictures of the same kind.

    Parameters
    ----------
    rand : ndarray of float64, shape (n_draws,)
        Adjusted Rand index of each draw's groups and the groups of all.
    jaccard : ndarray of float64, shape (n_clusters,)
        Of each group the share that it has with the group of a draw that is most like it, in the
        mean of draws; NaN where none had any of it.
    n_drawn : int
        Units of a draw.
    """

    rand: Doubles
    jaccard: Doubles
    n_drawn: int


def measure_stability(
    prepare: Callable[[Places], Vectors], units: Places, numbers: Places, wish: Wish,
    n_draws: int = N_DRAWS, told: Progress = tell_nobody,
) -> Stability:  # fmt: skip
    """Group draws of the units again, in the same way, and compare.

    Parameters
    ----------
    prepare : callable
        From places to the vectors that are grouped.
    units : ndarray of int64, shape (n,)
    numbers : ndarray of int64, shape (n,)
        Groups of all.
    wish : Wish
        How they were made; where a number was chosen, the draws have it.
    n_draws : int
        At least 1.
    told : callable
        Told how many draws are done.

    References
    ----------
    Hennig 2007, *Cluster-wise Assessment of Cluster Stability*: above .75 a group is stable, below
    .5 it is not; subsets of the units in place of draws with replacement, which have copies.
    """
    from sklearn.metrics import adjusted_rand_score

    n_clusters = int(numbers.max(initial=-1)) + 1
    kinds = np.unique(units)
    n_drawn = max(2, min(int(len(kinds) * _DRAWN_FRACTION), _MOST_DRAWN))
    rand, shares = np.full(n_draws, np.nan), np.full((n_draws, n_clusters), np.nan)
    again = wish
    if wish.threshold is None:
        again = dataclasses.replace(wish, n_clusters=max(1, n_clusters))
    for draw in range(n_draws):
        step = Step(draw, n_draws, "draws")
        told(step)
        random = np.random.default_rng([wish.seed, draw])
        chosen = random.choice(kinds, min(n_drawn, len(kinds)), replace=False)
        places = np.flatnonzero(np.isin(units, chosen))
        if again.n_clusters is not None and again.n_clusters > len(chosen):
            continue
        found = group_vectors(prepare(places), units[places], again, _tell_only(told, step)).numbers
        known = numbers[places]
        rand[draw] = adjusted_rand_score(known, found)
        shares[draw] = _find_jaccard(known, found, weigh_units(units[places]), n_clusters)
    seen = np.isfinite(shares)
    sums = np.where(seen, shares, 0).sum(axis=0)
    jaccard = np.divide(sums, seen.sum(axis=0), out=np.full(n_clusters, np.nan),
                        where=seen.any(axis=0))  # fmt: skip
    return Stability(rand, jaccard, n_drawn)


def _tell_only(told: Progress, step: Step) -> Progress:
    """Return what tells of one step, whatever is told to it."""
    return lambda _: told(step)


def _find_jaccard(known: Places, found: Places, weights: Doubles, n_clusters: int) -> Doubles:
    inside = (known >= 0) & (found >= 0)
    n_found = int(found.max(initial=-1)) + 1
    shared = np.zeros((n_clusters, max(n_found, 1)))
    np.add.at(shared, (known[inside], found[inside]), weights[inside])
    own = np.bincount(known[known >= 0], weights[known >= 0], minlength=n_clusters)
    other = np.bincount(found[found >= 0], weights[found >= 0], minlength=shared.shape[1])
    union = own[:, None] + other[None] - shared
    best = (shared / np.maximum(union, 1e-12)).max(axis=1)
    return np.where(own > 0, best, np.nan)
