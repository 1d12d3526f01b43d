from __future__ import annotations

import dataclasses
import unittest.mock
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import bioprobe as bp
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, SelectionError
from bioprobe.interchange.others import open_others
from bioprobe.quality import Others, find_overlap
from bioprobe.quality import against as overlaps
from bioprobe.quality.duplicates import DEFAULT_THRESHOLD
from bioprobe.store.selections import read_selection
from bioprobe.store.view import View
from bioprobe.types import Names, Rows, Vectors
from tests.conftest import alter_images


def _draw(n: int, seed: int) -> Vectors:
    return normalise_rows(np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32))


@pytest.fixture
def ours() -> View:
    return bp.from_vectors(_draw(30, 0), model="mine")._view


def _make_others(vectors: Vectors, contents: Sequence[str] = (), block: int = 7) -> Others:
    hashes = np.array([*contents, *[""] * (len(vectors) - len(contents))], dtype=object)

    def read() -> Iterator[tuple[Rows, Vectors, Names]]:
        for start in range(0, len(vectors), block):
            rows = np.arange(start, min(start + block, len(vectors)), dtype=np.int64)
            yield rows, vectors[rows], hashes[rows]

    key = str(vectors.sum())
    return Others("others", key, len(vectors), read, lambda rows: [f"o{r}" for r in rows.tolist()])


@pytest.mark.parametrize("block", [1, 7, 100])
@pytest.mark.parametrize("n", [1, 5, 40])
def test_all_pairs_of_a_brute_force_are_found(ours: View, n: int, block: int) -> None:
    theirs = _draw(n, 1)
    products = ours.read_vectors() @ theirs.T
    found = find_overlap(ours, _make_others(theirs, block=block), threshold=0.6)
    # Of more than eight the nearest are kept.
    best = np.sort(products, axis=1)[:, ::-1][:, :8]
    assert len(found.first) == (best >= found.floor).sum()
    np.testing.assert_allclose(found.similarities, products[found.first, found.second], atol=1e-6)
    np.testing.assert_array_equal(found.is_copy, products.max(axis=1) >= 0.6)
    frame = found.to_frame()
    assert frame["other_row"].tolist() == products[frame["row"]].argmax(axis=1).tolist()
    assert frame["similarity"].is_monotonic_decreasing


def test_pairs_that_wait_are_sorted_out_before_they_are_too_many(
    ours: View, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    others = _make_others(_draw(60, 1), block=4)
    whole = find_overlap(ours, others, threshold=0.1).to_frame()
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(overlaps, "_PAIRS_AT_ONCE", 5)
    monkeypatch.setattr(overlaps, "_BLOCK_ROWS", 4)
    assert find_overlap(ours, others, threshold=0.1).to_frame().equals(whole)


def test_what_is_kept_is_of_the_rows_that_were_asked(ours: View) -> None:
    others = _make_others(_draw(40, 1))
    whole = find_overlap(ours, others, threshold=0.6)
    half = find_overlap(dataclasses.replace(ours, rows=ours.rows[::2]), others, threshold=0.6)
    np.testing.assert_array_equal(half.is_copy, whole.is_copy[::2])


def test_another_threshold_is_answered_by_what_is_kept(ours: View) -> None:
    others = _make_others(_draw(40, 1))
    low = find_overlap(ours, others, threshold=0.5)
    with unittest.mock.patch.object(overlaps, "_search") as search:
        high = find_overlap(ours, others, threshold=0.8)
    search.assert_not_called()
    assert high.is_copy.sum() < low.is_copy.sum()
    np.testing.assert_array_equal(low.at(0.8).is_copy, high.is_copy)
    # Down to a little below, too; from there on again.
    assert low.at(low.floor).is_copy.sum() >= low.is_copy.sum()
    with pytest.raises(SelectionError, match="search again"):
        low.at(low.floor - 0.01)
    # Where none is given it is chosen, and not that of before.
    assert find_overlap(ours, others).alone == DEFAULT_THRESHOLD
    lower = find_overlap(ours, others, threshold=0.2)
    assert lower.floor < low.floor
    assert len(lower.first) > len(low.first)
    with pytest.raises(SelectionError, match=r"\[-1, 1\]"):
        find_overlap(ours, others, threshold=1.5)


def test_the_pairs_nearest_to_the_threshold_are_told(ours: View) -> None:
    found = find_overlap(ours, _make_others(_draw(40, 1)), threshold=0.7)
    shown = found.closest
    near = np.abs(found.similarities - 0.7)
    above = found.similarities >= np.float32(0.7)
    assert (shown.similarities >= np.float32(0.7)).sum() == min(6, above.sum())
    assert np.abs(shown.similarities - 0.7).min() == near.min()
    assert shown.explain(0) == "taken for copies by their vectors alone"
    np.testing.assert_array_equal(shown.same, shown.similarities >= np.float32(0.7))


def test_the_same_bytes_are_found_however_far_their_vectors() -> None:
    ours = bp.from_vectors(_draw(5, 0), {"path": [f"{n}.jpg" for n in range(5)]}, model="mine")
    view = ours._view
    alter_images(view.store, sha256=[f"{n:064x}" for n in range(5)])
    far = -view.read_vectors()
    others = _make_others(far, [f"{n:064x}" for n in (3, 9)])
    found = find_overlap(view, others, threshold=0.99)
    frame = found.to_frame()
    assert frame[["row", "other_row", "kind"]].to_numpy().tolist() == [[3, 0, "exact"]]
    found.write(view.store)
    assert read_selection(view.store, "filters/against").kept.tolist() == [1, 1, 1, 0, 1]


def test_other_encoders_are_refused(ours: View, tmp_path: Path) -> None:
    bp.from_vectors(_draw(4, 0), model="theirs", store=tmp_path / "theirs")
    with pytest.raises(MismatchError, match="weights or preprocessing"):
        find_overlap(ours, open_others(tmp_path / "theirs", ours))
    np.save(tmp_path / "longer.npy", np.eye(7, dtype=np.float32))
    with pytest.raises(MismatchError, match="dim 7"):
        open_others(tmp_path / "longer.npy", ours)


def test_a_file_of_vectors_is_read_in_place_of_a_store(tmp_path: Path) -> None:
    mine = bp.from_vectors(_draw(6, 0), {"path": list("abcdef")}, model="mine")
    bp.from_vectors(
        3 * _draw(6, 0)[:2], {"path": ["x.jpg", "y.jpg"]}, model="mine", store=tmp_path / "s"
    )
    bp.open(tmp_path / "s").export(tmp_path / "two.parquet", "emb-explorer")
    found = mine.dedupe(0.99, against=tmp_path / "two.parquet")
    assert found.to_frame()["row"].tolist() == [0, 1]
    assert [Path(one).name for one in found.to_frame()["other"]] == ["x.jpg", "y.jpg"]
    raw = 2 * _draw(6, 0)[:3]
    raw[1] = 0
    np.save(tmp_path / "raw.npy", raw)
    found = mine.dedupe(0.99, against=tmp_path / "raw.npy")
    assert found.to_frame()[["row", "other_row"]].to_numpy().tolist() == [[0, 0], [2, 2]]
    assert "is your word" in " ".join(map(str, found.notes))
    assert "is your word" not in " ".join(map(str, mine.dedupe(against=tmp_path / "s").notes))
