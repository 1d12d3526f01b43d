from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bioprobe as bp
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, SelectionError
from bioprobe.types import Vectors
from tests.conftest import alter_images


def _draw(n: int, seed: int) -> Vectors:
    return normalise_rows(np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32))


def _make(vectors: Vectors, prefix: str, folder: Path) -> bp.Store:
    table = {
        "path": [f"{prefix}{n}.jpg" for n in range(len(vectors))],
        "site": ["a" if n % 2 else "b" for n in range(len(vectors))],
    }
    return bp.from_vectors(vectors, table, model="mine", store=folder / prefix)


def test_answers_of_several_stores_are_those_of_one_with_all_rows(tmp_path: Path) -> None:
    first, second = _draw(12, 0), _draw(9, 1)
    ours, theirs = _make(first, "x", tmp_path), _make(second, "y", tmp_path)
    whole = bp.from_vectors(np.concatenate([first, second]), model="mine")
    for k in (1, 5, 20, 30):
        one = whole.search(row=3, k=k)
        several = ours.search(row=3, k=k, also=theirs.folder)
        frame = several.to_frame()
        assert len(frame) == min(k, 20)
        np.testing.assert_array_equal(several.similarities, one.similarities)
        offsets = np.where(frame["store"] == str(ours.folder), 0, len(first))
        assert (frame["row"] + offsets).tolist() == one.to_frame()["row"].tolist()
    named = ours.search(row=3, also=[theirs]).to_frame()
    assert all(
        Path(name).name.startswith("x" if store == str(ours.folder) else "y")
        for name, store in zip(named["file_name"], named["store"], strict=True)
    )


def test_of_equal_answers_that_of_the_first_store_stands_first(tmp_path: Path) -> None:
    vectors = _draw(8, 0)
    ours, theirs = _make(vectors, "x", tmp_path), _make(vectors[::-1], "y", tmp_path)
    frame = ours.search(row=3, k=16, also=theirs, exclude_query=False).to_frame()
    assert frame["store"].tolist() == [str(ours.folder), str(theirs.folder)] * 8
    first, second = frame["row"].to_numpy().reshape(8, 2).T
    assert (first + second).tolist() == [7] * 8


def test_conditions_hold_for_all_stores_and_copies_are_given_once(tmp_path: Path) -> None:
    ours, theirs = (_make(_draw(8, 0), name, tmp_path) for name in "xy")
    found = ours.where("site == 'a'").search(row=0, k=20, also=theirs)
    assert len(found.rows) == 8
    assert {row % 2 for row in found.to_frame()["row"]} == {1}
    one = ours.where("path == 'x1.jpg'")
    noted = one.search(row=0, also=theirs)
    assert "nothing of" in " ".join(map(str, noted.notes))
    for store in (ours, theirs):
        alter_images(store._view.store, sha256=[f"{n:064x}" for n in range(8)])
    twice, once = (
        ours.search(row=0, k=20, also=theirs, deduplicate=deduplicate, exclude_query=False)
        for deduplicate in (False, True)
    )
    assert (len(twice.rows), len(once.rows)) == (16, 8)


def test_thresholds_hold_for_all_stores(tmp_path: Path) -> None:
    first, second = _draw(12, 0), _draw(9, 1)
    ours, theirs = _make(first, "x", tmp_path), _make(second, "y", tmp_path)
    whole = bp.from_vectors(np.concatenate([first, second]), model="mine")
    one = whole.search(row=3, min_similarity=0.1)
    several = ours.search(row=3, min_similarity=0.1, also=theirs)
    np.testing.assert_array_equal(several.similarities, one.similarities)
    assert len(ours.search(row=3, min_similarity=0.1, also=theirs, k=2).rows) == 2
    for of_one in ({"share": 0.1}, {"save_mask": "searches/x"}):
        with pytest.raises(bp.MisuseError, match="is of one store"):
            ours.search(row=3, also=theirs, **of_one)


def test_stores_of_another_encoder_are_refused(tmp_path: Path) -> None:
    ours = _make(_draw(4, 0), "x", tmp_path)
    other = bp.from_vectors(_draw(4, 0), model="theirs")
    with pytest.raises(MismatchError, match="cannot be compared"):
        ours.search(row=0, also=other)
    with pytest.raises(SelectionError):
        ours.where("site == 'c'")


def test_a_store_that_is_named_twice_is_asked_once(tmp_path: Path) -> None:
    ours = _make(_draw(8, 0), "x", tmp_path)
    part = ours.where("site == 'a'")
    found = part.search(row=0, k=20, also=[ours.folder, ours.folder / ".." / "x"])
    assert len(found.rows) == 4
    assert "named more than once" in " ".join(map(str, found.notes))
