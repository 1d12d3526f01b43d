from __future__ import annotations

import unittest.mock

import numpy as np
import pytest
import torch

from bioprobe.cores import limit_products
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.quality import near_pairs
from bioprobe.quality.near_pairs import SpanningForest, bound_bf16_error, iter_near_pairs
from bioprobe.splits.groups import find_components
from bioprobe.types import Vectors


def _draw(n: int, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(1, n // 4), 8))
    return normalise_rows(centres[rng.integers(0, len(centres), n)] + 0.2 * rng.normal(size=(n, 8)))


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look coarsely first, however few rows there are and however slow that is here."""
    monkeypatch.setattr(near_pairs, "_FEWEST_ROWS", 0)
    monkeypatch.setattr(near_pairs, "_is_bf16_faster", lambda _: True)


def _find_pairs(vectors: Vectors, threshold: float) -> dict[tuple[int, int], float]:
    blocks = iter_near_pairs(vectors, threshold)
    found = [pair for block in blocks for pair in zip(*block, strict=True)]
    pairs = {(int(i), int(j)): float(similarity) for i, j, similarity in found}
    assert len(pairs) == len(found)
    return pairs


@pytest.mark.parametrize("way", ["plain", "coarse"])
@pytest.mark.parametrize("n", [0, 1, 2, 6, 7, 8, 15, 50])
@pytest.mark.parametrize("threshold", [-1.0, 0.5, 0.9])
def test_all_pairs_of_a_brute_force_are_found(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    n: int,
    threshold: float,
    way: str,
) -> None:
    if way == "coarse":
        request.getfixturevalue("coarse")
    for kind in ("BLOCK", "THREAD"):
        monkeypatch.setattr(near_pairs, f"_{kind}_ROWS", 7)
        monkeypatch.setattr(near_pairs, f"_{kind}_COLUMNS", 11)
    vectors = _draw(n) if n else np.zeros((0, 8), np.float32)
    expected = {
        (i, j) for i in range(n) for j in range(i + 1, n) if vectors[i] @ vectors[j] >= threshold
    }
    found = _find_pairs(vectors, threshold)
    assert set(found) == expected
    assert all(abs(s - vectors[i] @ vectors[j]) < 1e-5 and s <= 1 for (i, j), s in found.items())


def test_pairs_do_not_depend_on_how_many_threads_look_for_them() -> None:
    vectors = _draw(1500)

    def find(n_threads: int) -> list[bytes]:
        with limit_products(n_threads):
            return [part.tobytes() for block in iter_near_pairs(vectors, 0.9) for part in block]

    assert find(1) == find(2) == find(3)
    assert len(find(1)) == 3 * 3


@pytest.mark.usefixtures("coarse")
def test_pairs_a_hair_above_the_threshold_are_found_by_looking_coarsely_first() -> None:
    rng = np.random.default_rng(3)
    first = normalise_rows(rng.normal(size=(400, 64)))
    beside = rng.normal(size=(400, 64))
    beside -= (beside * first).sum(axis=1, keepdims=True) * first
    # Cosines of 0.9 and a little more or less, down to steps that bf16 does not know.
    cosines = 0.9 + np.repeat([2e-6, 1e-5, 1e-4, 1e-3], 100) * np.tile([1, -1], 200)
    second = cosines[:, None] * first + np.sqrt(1 - cosines**2)[:, None] * normalise_rows(beside)
    vectors = np.concatenate([first, second]).astype(np.float32)
    expected = {(i, i + 400) for i in range(400) if cosines[i] > 0.9}
    assert set(_find_pairs(vectors, 0.9)) == expected
    product = torch.from_numpy(vectors).bfloat16() @ torch.from_numpy(vectors).bfloat16().T
    # Without the margin some of them would be lost.
    assert any(float(product[pair]) < 0.9 for pair in expected)


@pytest.mark.skipif(
    not torch.backends.mkl.is_available(),  # type: ignore[no-untyped-call]
    reason="other libraries round otherwise",
)
def test_looking_coarsely_first_gives_the_same_to_the_last_digit(
    request: pytest.FixtureRequest,
) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(2500, 512))
    # One row of the first block, and some of the last.
    vectors[2200] = vectors[5] + 0.1 * rng.normal(size=512)
    vectors[2400:2420] = vectors[2300:2320] + 0.1 * rng.normal(size=(20, 512))
    plain = _find_pairs(normalise_rows(vectors), 0.9)
    request.getfixturevalue("coarse")
    assert _find_pairs(normalise_rows(vectors), 0.9) == plain
    assert len(plain) == 21


@pytest.mark.parametrize("dim", [1, 2, 7, 64, 768])
def test_the_error_of_bf16_is_within_its_bound(dim: int) -> None:
    drawn = torch.from_numpy(np.random.default_rng(dim).normal(size=(200, dim)).astype(np.float32))
    # A hair below half a step above 1: every factor is rounded down as far as can be.
    worst = torch.full((1, dim), 1 + 2**-8 - 2**-20)
    for tensor in (drawn / torch.linalg.vector_norm(drawn, dim=1, keepdim=True), worst):
        coarse = (tensor.bfloat16() @ tensor.bfloat16().T).double()
        error = float((tensor.double() @ tensor.double().T - coarse).max())
        assert error <= bound_bf16_error(tensor)
        assert bound_bf16_error(3 * tensor) == pytest.approx(9 * bound_bf16_error(tensor), rel=1e-4)
    assert error > 0.5 * bound_bf16_error(worst)
    assert bound_bf16_error(drawn[:0]) == 0


@pytest.mark.parametrize(
    ("n", "seconds", "threshold", "is_coarse"),
    [
        (50, {torch.bfloat16: 1.0, torch.float32: 2.1}, 0.5, True),
        (50, {torch.bfloat16: 1.0, torch.float32: 1.9}, 0.5, False),
        (49, {torch.bfloat16: 1.0, torch.float32: 2.1}, 0.5, False),
        (50, {torch.bfloat16: 1.0, torch.float32: 2.1}, 0.01, False),
    ],
    ids=["faster", "not much faster", "few rows", "low threshold"],
)
def test_many_rows_are_looked_at_coarsely_where_that_is_much_faster(
    monkeypatch: pytest.MonkeyPatch,
    n: int,
    seconds: dict[torch.dtype, float],
    threshold: float,
    is_coarse: bool,
) -> None:
    monkeypatch.setattr(near_pairs, "_FEWEST_ROWS", 50)
    monkeypatch.setattr(near_pairs, "_measure_product", lambda factor: seconds[factor.dtype])
    with unittest.mock.patch.object(
        near_pairs, "_search_coarsely", wraps=near_pairs._search_coarsely
    ) as search:
        assert _find_pairs(_draw(n), threshold)
    assert search.called is is_coarse


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


def test_of_a_pair_that_comes_twice_the_forest_keeps_the_nearest() -> None:
    for similarities in ([0.8, 0.9], [0.9, 0.8]):
        forest = SpanningForest(3)
        forest.add(np.array([0, 0]), np.array([2, 2]), np.array(similarities, dtype=np.float32))
        assert forest.links[2].tolist() == [pytest.approx(0.9)]


def test_a_forest_without_pairs_has_no_links() -> None:
    assert [len(part) for part in SpanningForest(3).links] == [0, 0, 0]
