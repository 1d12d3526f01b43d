from __future__ import annotations

import numpy as np
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.quality import near_pairs
from bioprobe.quality.near_pairs import SpanningForest, find_components, iter_near_pairs


def _draw(n: int, seed: int = 0) -> near_pairs.Vectors:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(1, n // 4), 8))
    return normalise_rows(centres[rng.integers(0, len(centres), n)] + 0.2 * rng.normal(size=(n, 8)))


@pytest.mark.parametrize("n", [0, 1, 2, 6, 7, 8, 15, 50])
@pytest.mark.parametrize("threshold", [-1.0, 0.5, 0.9])
def test_all_pairs_of_a_brute_force_are_found(
    monkeypatch: pytest.MonkeyPatch, n: int, threshold: float
) -> None:
    monkeypatch.setattr(near_pairs, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(near_pairs, "_BLOCK_COLUMNS", 11)
    vectors = _draw(n) if n else np.zeros((0, 8), np.float32)
    expected = {
        (i, j) for i in range(n) for j in range(i + 1, n) if vectors[i] @ vectors[j] >= threshold
    }
    found = [
        (int(i), int(j), float(similarity))
        for block in iter_near_pairs(vectors, threshold)
        for i, j, similarity in zip(*block, strict=True)
    ]
    assert len(found) == len(expected)
    assert {(i, j) for i, j, _ in found} == expected
    assert all(abs(s - vectors[i] @ vectors[j]) < 1e-5 and s <= 1 for i, j, s in found)


def test_components_are_numbered_by_their_first_image() -> None:
    assert find_components(np.array([3, 1]), np.array([4, 3]), 6).tolist() == [0, 1, 2, 1, 1, 3]
    nothing = np.zeros(0, np.int64)
    assert find_components(nothing, nothing, 2).tolist() == [0, 1]


@pytest.mark.parametrize("at_once", [1, 5, 10**6])
def test_the_forest_gives_the_groups_of_all_pairs_at_every_threshold(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(near_pairs, "_PAIRS_AT_ONCE", at_once)
    vectors = _draw(40)
    forest = SpanningForest(40)
    pairs = list(iter_near_pairs(vectors, 0.0))
    for block in (*pairs, *pairs):
        forest.add(*block)
    first, second, similarities = (np.concatenate(part) for part in zip(*pairs, strict=True))
    a, b, strengths = forest.links
    assert len(a) < 40 < len(first)
    for threshold in map(np.float32, (0.0, 0.3, 0.6, 0.9, 0.99)):
        every, kept = similarities >= threshold, strengths >= threshold
        expected = find_components(first[every], second[every], 40)
        assert np.array_equal(find_components(a[kept], b[kept], 40), expected)


def test_a_forest_without_pairs_has_no_links() -> None:
    assert [len(part) for part in SpanningForest(3).links] == [0, 0, 0]
