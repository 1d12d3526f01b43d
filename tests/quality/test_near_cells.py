from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.progress import Step
from bioprobe.quality import near_cells
from bioprobe.quality.closest import ClosestPairs
from bioprobe.quality.near_cells import NearPairs, find_reach
from bioprobe.quality.near_pairs import find_nearest
from bioprobe.types import Vectors


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make cells of few rows, with every block smaller than they are."""
    for name, value in {
        "FEWEST_ROWS": 0, "MOST_COMPARED": np.inf, "_MOST_SHARE": np.inf, "_PLACED_AT_ONCE": 97,
        "_READ_AT_ONCE": 31, "_SAMPLED_ROWS": 150,
    }.items():  # fmt: skip
        monkeypatch.setattr(near_cells, name, value)


def _draw(n: int, dim: int = 12, noise: float = 0.25) -> Vectors:
    rng = np.random.default_rng(dim)
    centres = rng.normal(size=(max(1, n // 20), dim))
    near = centres[rng.integers(0, len(centres), n)] + noise * rng.normal(size=(n, dim))
    return normalise_rows(near)


def _brute(vectors: Vectors, threshold: float) -> set[tuple[int, int]]:
    first, second = np.nonzero(np.triu(vectors @ vectors.T >= threshold, 1))
    return set(zip(first.tolist(), second.tolist(), strict=True))


def _find(search: NearPairs) -> dict[tuple[int, int], float]:
    blocks = [pair for block in search.iter_blocks() for pair in zip(*block, strict=True)]
    return {(int(i), int(j)): float(similarity) for i, j, similarity in blocks}


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 0.7, 0.9, 0.97, 1.0])
@pytest.mark.parametrize("dim", [2, 12])
def test_no_pair_is_lost_across_the_borders_of_cells(dim: int, threshold: float) -> None:
    vectors = _draw(600, dim)
    search = NearPairs.choose(vectors, threshold, np.random.default_rng(0).permutation(600))
    assert search.centres is not None
    assert search.recall is None
    first, second, similarities = map(np.concatenate, zip(*search.iter_blocks(), strict=True))
    found = np.zeros((600, 600), dtype=bool)
    found[first, second] = True
    products = vectors @ vectors.T
    np.testing.assert_array_equal(found, np.triu(products >= threshold, 1))
    np.testing.assert_allclose(similarities, products[first, second], rtol=0, atol=1e-5)


def test_rows_a_little_too_long_as_halves_are_lose_no_pair() -> None:
    # On either side of the border, at an angle that two rows of length 1 may not be apart.
    angle, threshold = np.deg2rad(12.95), 0.9
    beside = np.array([np.cos(angle), np.sin(angle)])
    rows = (1.0005 * np.stack([beside, beside * [1, -1]])).astype(np.float32)
    assert np.cos(2 * angle) < threshold < rows[0] @ rows[1]
    centres = normalise_rows(np.array([[1.0, 1.0], [1.0, -1.0]]))
    assert set(_find(NearPairs(rows, threshold, centres, find_reach(threshold)))) == {(0, 1)}


def test_a_shorter_reach_loses_pairs() -> None:
    vectors = _draw(600)
    search = NearPairs.choose(vectors, 0.9, np.arange(600))
    assert search.reach == find_reach(0.9)
    halved = NearPairs(vectors, 0.9, search.centres, search.reach / 2)
    assert set(_find(halved)) < _brute(vectors, 0.9)


def test_fewer_rows_are_compared_where_all_near_ones_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(near_cells, "MOST_COMPARED", 0)
    asked: list[set[int]] = []
    measure = NearPairs._measure_pairs

    def remember(*told: Any, **how: Any) -> Any:  # noqa: ANN401 - whatever is passed on
        asked.append(set(told[2].tolist()))
        return measure(*told, **how)

    monkeypatch.setattr(NearPairs, "_measure_pairs", remember)
    vectors = _draw(2000, 32)
    search = NearPairs.choose(vectors, 0.9, np.random.default_rng(0).permutation(2000))
    assert 0 < search.reach < find_reach(0.9)
    assert search.recall is not None
    # Other rows measure than chose.
    assert [len(rows) for rows in asked] == [150, 150]
    assert not asked[0] & asked[1]
    expected, found = _brute(vectors, 0.9), set(_find(search))
    recall = len(found & expected) / len(expected)
    assert found <= expected
    assert recall > 0.995
    assert search.recall.low - 0.005 <= recall <= 1
    # A recall that is asked for is no more than is needed.
    monkeypatch.setattr(near_cells, "RECALL", 0.5)
    less = NearPairs.choose(vectors, 0.9, np.random.default_rng(0).permutation(2000))
    assert less.recall is not None
    assert less.recall.estimate < search.recall.estimate
    assert less.reach < search.reach


def test_all_rows_are_compared_where_cells_would_save_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(near_cells, "_MOST_SHARE", 0.25)
    vectors = normalise_rows(np.random.default_rng(0).normal(size=(300, 64)))
    search = NearPairs.choose(vectors, -1.0, np.arange(300))
    assert search.centres is None
    assert len(_find(search)) == 300 * 299 / 2


def test_equal_vectors_are_all_pairs() -> None:
    vectors = np.tile(_draw(1), (50, 1))
    search = NearPairs.choose(vectors, 0.999, np.arange(50))
    assert len(_find(search)) == 50 * 49 / 2


def test_progress_counts_the_rows() -> None:
    told: list[Step] = []
    search = NearPairs.choose(_draw(600), 0.9, np.arange(600))
    list(search.iter_blocks(told.append))
    assert (told[-1].done, told[-1].total) == (600, 600)


def test_the_nearest_are_those_of_a_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioprobe.quality.near_pairs._READ_AT_ONCE", 7)
    monkeypatch.setattr("bioprobe.quality.near_pairs._ASKED_AT_ONCE", 2)
    vectors = _draw(40)
    rows = np.array([3, 39, 0])
    nearest, similarities = find_nearest(vectors, rows, 5)
    products = vectors[rows] @ vectors.T
    products[np.arange(3), rows] = -2
    order = np.argsort(-products, axis=1)[:, :5]
    assert nearest.tolist() == order.tolist()
    assert np.allclose(similarities, np.take_along_axis(products, order, axis=1), atol=1e-6)
    assert find_nearest(vectors[:3], rows[2:], 5)[0].shape == (1, 2)


def test_a_pair_that_comes_twice_is_shown_once() -> None:
    closest = ClosestPairs.none(0.9)
    no = np.zeros(2, dtype=bool)
    first, second = np.array([1, 1]), np.array([5, 5])
    for _ in range(2):
        closest = closest.add(first, second, np.array([0.91, 0.9100001], np.float32), no, no)
    assert len(closest) == 1
