"""Groups of vectors, compared with scipy, scikit-learn and plain sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score, silhouette_samples, v_measure_score

from bioprobe.clustering import agglomeration, neighbors
from bioprobe.clustering.agglomeration import build_tree
from bioprobe.clustering.agreement import measure_agreement
from bioprobe.clustering.clusters import number_by_size
from bioprobe.clustering.methods import (
    Wish,
    _find_jaccard,
    choose_number,
    group_vectors,
    measure_silhouettes,
    measure_stability,
    weigh_units,
)
from bioprobe.clustering.neighbors import average_neighbors, find_neighbors
from bioprobe.errors import SelectionError
from bioprobe.types import Doubles, Places, Vectors


def _make_unit(vectors: Vectors | Doubles) -> Vectors:
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _draw_kinds(
    n_each: int, n_kinds: int, *, spread: float = 0.12, dim: int = 16
) -> tuple[Vectors, Places]:
    random = np.random.default_rng(0)
    kinds = np.repeat(np.arange(n_kinds), n_each)
    means = np.linalg.qr(random.normal(size=(dim, dim)))[0][:n_kinds]
    return _make_unit(means[kinds] + spread * random.normal(size=(len(kinds), dim))), kinds


@pytest.mark.parametrize("most", [20_000, 20])
@pytest.mark.parametrize("name", ["average", "ward"])
def test_a_tree_is_that_of_scipy(monkeypatch: pytest.MonkeyPatch, name: str, most: int) -> None:
    """Also where only the nearest few of many groups are compared, as all of these few are."""
    vectors, _ = _draw_kinds(13, 5)
    monkeypatch.setattr(agglomeration, "MOST_COMPARED", most)
    monkeypatch.setattr(agglomeration, "_CANDIDATES", 19)
    tree = build_tree(vectors, np.ones(len(vectors)), name)
    metric = {"average": "cosine", "ward": "euclidean"}[name]
    other = linkage(vectors.astype(np.float64), name, metric=metric)
    heights = other[:, 2] if name == "average" else other[:, 2] ** 2 / 2
    assert tree.heights == pytest.approx(heights, abs=1e-5)
    for n_groups in (1, 5, 30, 65):
        found = fcluster(other, n_groups, "maxclust")
        assert adjusted_rand_score(tree.cut(n_groups), found) == 1
    at = float(np.median(heights)) + 1e-6
    metric_at = at if name == "average" else np.sqrt(2 * at)
    assert adjusted_rand_score(tree.cut_at(at), fcluster(other, metric_at, "distance")) == 1


def test_copies_weigh_as_much_as_one() -> None:
    """A picture with many copies is one in a tree: its group is no nearer to others for them."""
    vectors, _ = _draw_kinds(6, 4)
    copied = np.concatenate([vectors, np.repeat(vectors[:1], 30, axis=0)])
    units = np.append(np.arange(24), np.zeros(30, dtype=np.int64))
    for name in ("average", "ward"):
        alone = build_tree(vectors, np.ones(24), name)
        among = build_tree(copied, weigh_units(units), name)
        assert among.heights[:30] == pytest.approx(0, abs=1e-6)
        assert among.heights[30:] == pytest.approx(alone.heights, abs=1e-5)


def test_the_first_group_has_the_most_pictures_that_are_no_copies() -> None:
    numbers = np.array([0, 0, 0, 0, 0, 1, 1, 1, -1])
    units = np.array([0, 0, 0, 0, 0, 1, 2, 3, 4])
    assert number_by_size(numbers, units).tolist() == [2, 2, 2, 2, 2, 1, 1, 1, 0]


def test_a_cluster_comes_back_by_its_pictures_that_are_no_copies() -> None:
    known, found = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    # Two copies are one picture: one of two is back together, and one beside a stranger.
    shares = _find_jaccard(known, found, np.array([0.5, 0.5, 1, 1]), 2)
    assert shares.tolist() == [0.5, 0.5]


def test_a_number_of_groups_is_judged_by_pictures_that_are_no_copies() -> None:
    vectors, kinds = _draw_kinds(6, 4)
    copied, numbers = np.repeat(vectors, [9] + [1] * 23, axis=0), np.repeat(kinds, [9] + [1] * 23)
    units = np.repeat(np.arange(24), [9] + [1] * 23)
    weights = weigh_units(units)
    found = choose_number(copied, units, weights, lambda _: numbers, np.arange(len(copied)))
    silhouettes = measure_silhouettes(copied, units, weights, numbers)
    mean = (silhouettes * weights).sum() / 24
    assert list(found.tried.values()) == pytest.approx([mean] * len(found.tried))
    assert found.tried


def test_equal_vectors_are_joined_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pictures that are all black each lies as near to any other: no pair is joined alone."""
    vectors, _ = _draw_kinds(6, 4)
    equal = np.concatenate([vectors, np.repeat(vectors[:1], 500, axis=0)])
    rounds: list[int] = []
    join = agglomeration._Groups.join

    def count(groups: agglomeration._Groups) -> None:
        rounds.append(len(groups.means))
        join(groups)

    monkeypatch.setattr(agglomeration._Groups, "join", count)
    tree = build_tree(equal, np.ones(len(equal)), "ward")
    assert len(rounds) < 24
    assert len(np.unique(tree.cut(4)[:24])) == 4
    assert len(np.unique(tree.cut(4)[24:])) == 1
    assert len(np.unique(tree.cut(len(equal)))) == len(equal)
    assert (build_tree(equal[24:], np.ones(500), "average").heights == 0).all()


def test_two_pictures_can_be_two_groups() -> None:
    vectors = np.eye(2, 8, dtype=np.float32)
    for wish in (Wish("ward", 2), Wish("kmeans", 2), Wish("agglomerative", threshold=0.5)):
        assert len(np.unique(group_vectors(vectors, np.arange(2), wish).numbers)) == 2
    assert group_vectors(vectors, np.arange(2), Wish()).numbers.tolist() == [0, 0]


def test_the_nearest_are_found_without_those_of_ones_own_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors, _ = _draw_kinds(30, 10)
    units = np.arange(300) // 3
    products = vectors @ vectors.T
    products[units[:, None] == units] = -np.inf
    expected = np.argsort(-products, axis=1)[:, :4]
    near, similarities = find_neighbors(vectors, 4, units)
    assert (near == expected).all()
    assert similarities == pytest.approx(np.take_along_axis(products, expected, axis=1), abs=1e-6)
    # Of many vectors most of the nearest are found.
    monkeypatch.setattr(neighbors, "MOST_COMPARED", 100)
    for setting, value in {"_AXES": 10, "_OF_A_CELL": 20, "_CELLS_AROUND": 4}.items():
        monkeypatch.setattr(neighbors, setting, value)
    looked_up, _ = find_neighbors(vectors, 4, units)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(looked_up, expected, strict=True)]) > 3.5
    assert (units[looked_up] != units[:, None]).all()
    some = np.array([250, 3, 77])
    assert find_neighbors(vectors, 4, units, asked=some)[0].tolist() == looked_up[some].tolist()
    monkeypatch.setattr(neighbors, "MOST_COMPARED", 1000)
    assert find_neighbors(vectors, 4, units, asked=some)[0].tolist() == near[some].tolist()


@pytest.mark.parametrize("name", ["ward", "average"])
def test_few_vectors_are_compared_without_torch_as_many_are_with_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    vectors, _ = _draw_kinds(30, 10)
    units = np.arange(300) // 3
    asked = np.array([250, 3, 77])
    found = []
    for few, kind in ((300, np.ndarray), (299, torch.Tensor)):
        monkeypatch.setattr(neighbors, "_FEW", few)
        assert isinstance(neighbors.choose_arrays(300)(vectors), kind)
        tree = build_tree(vectors, np.ones(300), name)
        found.append((
            tree.heights, tree.cut(10), *find_neighbors(vectors, 4, units),
            *find_neighbors(vectors, 299), *find_neighbors(vectors, 1, asked=asked),
        ))  # fmt: skip
    for of_few, of_many in zip(*found, strict=True):
        np.testing.assert_allclose(of_few, of_many, atol=1e-6)


def test_where_a_cell_has_few_of_other_units_no_own_one_is_near(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors, units = _draw_kinds(10, 15)
    settings = {"MOST_COMPARED": 100, "_OF_A_CELL": 20, "_CELLS_AROUND": 1, "_ROWS_AT_ONCE": 7}
    for setting, value in settings.items():
        monkeypatch.setattr(neighbors, setting, value)
    near, similarities = find_neighbors(vectors, 4, units)
    unknown = np.isneginf(similarities)
    assert unknown.any()
    assert not unknown.all()
    assert (units[near] != units[:, None])[~unknown].all()


def test_neighbours_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = _draw_kinds(30, 10)
    whole = find_neighbors(vectors, 4)[0], average_neighbors(vectors, 4)
    monkeypatch.setattr(neighbors, "_ROWS_AT_ONCE", 7)
    assert find_neighbors(vectors, 4)[0].tolist() == whole[0].tolist()
    np.testing.assert_allclose(average_neighbors(vectors, 4), whole[1], rtol=0, atol=1e-6)


def test_averaging_brings_kinds_apart_but_not_bursts() -> None:
    vectors, kinds = _draw_kinds(20, 6, spread=0.3)
    bursts = np.arange(120) // 4
    averaged = average_neighbors(vectors, 10, bursts)
    assert np.linalg.norm(averaged, axis=1) == pytest.approx(1, abs=1e-5)
    before, after = (silhouette_samples(one, kinds).mean() for one in (vectors, averaged))
    assert after > 1.5 * before
    # Of the neighbours none is of the same burst, so these come no nearer than their kind.
    among = average_neighbors(vectors, 10)
    same = (bursts[:, None] == bursts) & ~np.eye(120, dtype=bool)
    assert (averaged @ averaged.T)[same].mean() < (among @ among.T)[same].mean()
    assert average_neighbors(vectors, 0) is vectors
    assert average_neighbors(vectors[:1], 10).tolist() == vectors[:1].tolist()


@pytest.mark.parametrize("method", ["ward", "agglomerative", "kmeans"])
def test_the_number_of_kinds_is_found(method: str) -> None:
    vectors, kinds = _draw_kinds(20, 7)
    found = group_vectors(vectors, np.arange(140), Wish(method, seed=1))
    assert adjusted_rand_score(found.numbers, kinds) > 0.98
    assert max(found.tried, key=lambda n: found.tried[n]) == 7
    assert not found.at_bound
    three = group_vectors(vectors, np.arange(140), Wish(method, 3)).numbers
    assert len(np.unique(three)) == 3


def test_groups_are_joined_down_to_a_similarity() -> None:
    vectors, kinds = _draw_kinds(10, 4)
    joined = group_vectors(vectors, np.arange(40), Wish("agglomerative", threshold=0.5)).numbers
    assert adjusted_rand_score(joined, kinds) == 1
    means = np.stack([vectors[joined == one].mean(axis=0) for one in np.unique(joined)])
    products = means @ means.T
    assert products[~np.eye(4, dtype=bool)].max() < 0.5
    apart = group_vectors(vectors, np.arange(40), Wish("agglomerative", threshold=0.999)).numbers
    assert len(np.unique(apart)) == 40


@pytest.mark.parametrize("n", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("method", ["ward", "agglomerative", "kmeans"])
def test_few_vectors_are_one_group(method: str, n: int) -> None:
    vectors, _ = _draw_kinds(n, 1)
    found = group_vectors(vectors, np.arange(n), Wish(method))
    assert found.numbers.tolist() == [0] * n
    assert not found.tried


def test_more_groups_than_pictures_are_refused() -> None:
    vectors, _ = _draw_kinds(4, 1)
    with pytest.raises(SelectionError, match=r"5 clusters were asked for of 2 pictures"):
        group_vectors(vectors, np.array([0, 0, 1, 1]), Wish(n_clusters=5))


def test_silhouettes_are_those_of_scikit_learn_with_the_mean_of_groups() -> None:
    vectors, _ = _draw_kinds(9, 4)
    groups = np.random.default_rng(2).integers(4, size=36)
    units = np.arange(36)
    found = measure_silhouettes(vectors, units, np.ones(36), groups)
    # The mean cosine distance to all of a group is the distance to its mean.
    assert found == pytest.approx(silhouette_samples(vectors, groups, metric="cosine"), abs=1e-5)
    burst = np.where(groups == 1, 99, units)
    assert (measure_silhouettes(vectors, burst, np.ones(36), groups)[groups == 1] == 0).all()


def test_what_comes_back_is_stable_and_what_does_not_is_not() -> None:
    vectors, kinds = _draw_kinds(20, 5)
    noise = _make_unit(np.random.default_rng(3).normal(size=(100, 16)).astype(np.float32))

    def measure(of: Vectors, groups: Places) -> float:
        wish = Wish("ward", 5)
        found = measure_stability(lambda at: of[at], np.arange(100), groups, wish, 4)
        assert len(found.jaccard) == 5
        assert found.n_drawn == 80
        assert ((found.jaccard >= 0) & (found.jaccard <= 1)).all()
        return float(found.rand.mean())

    assert measure(vectors, kinds) > 0.99
    assert measure(noise, group_vectors(noise, np.arange(100), Wish("ward", 5)).numbers) < 0.6


def _count_pairs(groups: Places, labels: Places, units: Places) -> float:
    """Return the adjusted Rand index from all pairs of different units, one by one."""
    weights = weigh_units(units)
    both = by_group = by_label = every = 0.0
    for one in range(len(groups)):
        for other in range(len(groups)):
            if units[one] != units[other]:
                weight = weights[one] * weights[other]
                same = groups[one] == groups[other], labels[one] == labels[other]
                both += weight * all(same)
                by_group += weight * same[0]
                by_label += weight * same[1]
                every += weight
    expected = by_group * by_label / every
    return (both - expected) / ((by_group + by_label) / 2 - expected)


def test_agreement_is_that_of_scikit_learn_where_each_picture_is_a_unit() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(4, size=60)
    groups = np.where(random.random(60) < 0.6, labels, random.integers(5, size=60))
    found = measure_agreement(groups, labels, np.arange(60), n_resamples=50)
    rand = adjusted_rand_score(labels, groups)
    assert found["adjusted_rand"].estimate == pytest.approx(rand)
    assert found["v_measure"].estimate == pytest.approx(v_measure_score(labels, groups))
    most = sum(np.bincount(labels[groups == one]).max() for one in np.unique(groups))
    assert found["purity"].estimate == pytest.approx(most / 60)
    for interval in found.values():
        assert interval.low < interval.estimate < interval.high


def test_bursts_that_come_together_are_no_merit() -> None:
    """Groups that only hold bursts together know nothing of classes."""
    random = np.random.default_rng(1)
    units = np.repeat(np.arange(40), 10)
    labels = np.repeat(random.integers(4, size=40), 10)
    groups = np.repeat(random.integers(4, size=40), 10)
    found = measure_agreement(groups, labels, units, n_resamples=50)["adjusted_rand"]
    assert found.estimate == pytest.approx(_count_pairs(groups, labels, units))
    by_burst = measure_agreement(units, labels, units, n_resamples=50)["adjusted_rand"]
    assert by_burst.estimate == pytest.approx(0, abs=1e-9)
    assert adjusted_rand_score(labels, units) > 0.1
    # With ten pictures of each, ten times as many are no surer.
    assert found.high - found.low > 0.15


def test_what_is_in_no_group_is_in_one_of_its_own() -> None:
    labels, units = np.array([0, 0, 1, 1]), np.arange(4)
    one = measure_agreement(np.array([0, 0, -1, -1]), labels, units, n_resamples=10)
    other = measure_agreement(np.array([0, 0, 1, 2]), labels, units, n_resamples=10)
    assert one == other
    nothing = measure_agreement(labels, labels, np.zeros(4, dtype=np.int64), n_resamples=10)
    assert np.isnan(nothing["adjusted_rand"].estimate)
