from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

import bioprobe.clustering.neighbors
import bioprobe.mapping.layout
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MissingExtraError
from bioprobe.mapping.faithful import judge_layout
from bioprobe.mapping.layout import find_nearest, fit_layout, place_new
from bioprobe.types import Rows, Vectors

N_GROUPS, OF_EACH = 4, 20


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    """Return groups of vectors, each around a direction of its own."""
    random = np.random.default_rng(0)
    middles = np.repeat(np.eye(N_GROUPS, 16), OF_EACH, axis=0)
    return normalise_rows(middles + 0.15 * random.standard_normal(middles.shape))


GROUPS: Rows = np.repeat(np.arange(N_GROUPS), OF_EACH)


def test_nearest_are_those_of_all_products(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    vectors = normalise_rows(random.standard_normal((50, 8)))
    # More copies than neighbours: none is its own, though it may not be among the first found.
    vectors[:8] = vectors[0]
    monkeypatch.setattr(bioprobe.mapping.layout, "_QUERIES", 16)
    places, distances = find_nearest(vectors, 5)
    exact = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(exact, -np.inf)
    best = np.sort(exact, axis=1)[:, ::-1][:, :5]
    np.testing.assert_allclose(np.take_along_axis(exact, places, axis=1), best, atol=1e-6)
    np.testing.assert_allclose(distances, np.sqrt(np.maximum(0, 2 - 2 * best)), atol=1e-3)
    assert (places != np.arange(50)[:, None]).all()
    other, _ = find_nearest(vectors, 1, vectors[10:12])
    assert other[:, 0].tolist() == [10, 11]


def test_groups_stay_together_and_seeds_make_equal_maps_on_any_number_of_threads(
    vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = fit_layout(vectors, neighbors=10, seed=0)
    near = np.square(layout[:, None] - layout).sum(axis=2).argsort(axis=1)[:, 1:6]
    assert (GROUPS[near] == GROUPS[:, None]).mean() > 0.97
    monkeypatch.setattr(bioprobe.mapping.layout, "count_threads", lambda: 3)
    np.testing.assert_array_equal(fit_layout(vectors, neighbors=10, seed=0), layout)
    assert not np.array_equal(fit_layout(vectors, neighbors=10, seed=1), layout)
    assert not np.array_equal(fit_layout(vectors, neighbors=5, seed=0), layout)


def test_of_many_most_of_the_nearest_are_looked_up(
    vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (bioprobe.mapping.layout, bioprobe.clustering.neighbors):
        monkeypatch.setattr(module, "MOST_COMPARED", 20)
    monkeypatch.setattr(bioprobe.mapping.layout, "find_nearest", None)
    layout = fit_layout(vectors, neighbors=10, seed=0)
    near = np.square(layout[:, None] - layout).sum(axis=2).argsort(axis=1)[:, 1:6]
    assert (GROUPS[near] == GROUPS[:, None]).mean() > 0.97


def test_new_ones_are_placed_in_their_groups_each_by_itself(vectors: Vectors) -> None:
    is_new = np.arange(len(vectors)) % 5 == 0
    known, new = vectors[~is_new], vectors[is_new]
    layout = fit_layout(known, neighbors=10, seed=0)
    before = layout.copy()
    placed = place_new(known, layout, new)
    np.testing.assert_array_equal(layout, before)
    near = np.square(placed[:, None] - layout).sum(axis=2).argsort(axis=1)[:, :5]
    assert (GROUPS[~is_new][near] == GROUPS[is_new][:, None]).mean() > 0.97
    np.testing.assert_array_equal(place_new(known, layout, new[3:4]), placed[3:4])


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_few_have_places_too(vectors: Vectors, n: int) -> None:
    layout = fit_layout(vectors[::7][:n], neighbors=30, seed=0)
    assert layout.shape == (n, 2)
    assert np.isfinite(layout).all()
    assert len(np.unique(layout, axis=0)) == n
    placed = place_new(vectors[::7][:n], layout, vectors[:2])
    assert np.isfinite(placed).all()


def test_trust_is_scikit_learns_where_all_are_looked_at(vectors: Vectors) -> None:
    layout = np.random.default_rng(0).standard_normal((len(vectors), 2))
    layout[:, 0] += GROUPS
    found = judge_layout(vectors, layout, np.arange(len(vectors)), n_neighbors=7)
    # Of distances that are equal to the last digit either may count as the nearer.
    assert found.trustworthiness.estimate == pytest.approx(
        trustworthiness(vectors, layout, n_neighbors=7), abs=2e-4
    )
    assert found.continuity.estimate == pytest.approx(
        trustworthiness(layout, vectors, n_neighbors=7), abs=2e-4
    )
    assert found.trustworthiness.low < found.trustworthiness.estimate < found.trustworthiness.high
    part = judge_layout(vectors, layout, np.arange(0, len(vectors), 2), n_neighbors=7)
    assert part.n_sample == len(vectors) // 2
    assert part.trustworthiness.low < found.trustworthiness.estimate < part.trustworthiness.high


def test_of_a_map_that_is_the_vectors_all_is_kept() -> None:
    angles = np.linspace(0, 1, 30)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = judge_layout(normalise_rows(circle), circle, np.arange(30), n_neighbors=4)
    assert found.trustworthiness.estimate == found.continuity.estimate == 1
    assert found.kept.estimate == 1


def test_without_the_library_it_is_said_how_to_get_it(
    vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(MissingExtraError, match=r"bioprobe\[map\]"):
        fit_layout(vectors, neighbors=10, seed=0)
