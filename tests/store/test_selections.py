from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import SelectionError, StoreError
from bioprobe.images import identity
from bioprobe.index import search
from bioprobe.store import EmbeddingStore, selections, stored_table
from bioprobe.store.selections import (
    list_selections,
    read_selection,
    remove_selection,
    write_selection,
)
from bioprobe.store.view import View

MakeStore = Callable[..., EmbeddingStore]


def _frame(first: int, n: int) -> pd.DataFrame:
    numbers = range(first, first + n)
    names = {"path": [f"{i}.jpg" for i in numbers], "sha256": [f"{i:064d}" for i in numbers]}
    return pd.DataFrame({"root": "/photos", **names})


def _add(store: EmbeddingStore, first: int, n: int, **kwargs: Any) -> EmbeddingStore:  # noqa: ANN401
    vectors = np.random.default_rng(first).normal(size=(n, store.manifest.dim))
    return store.append(_frame(first, n), vectors, **kwargs)


@pytest.fixture
def store(make_store: MakeStore, encoder: Any) -> EmbeddingStore:  # noqa: ANN401
    return _add(make_store(encoder), 0, 4)


def _mask(store: EmbeddingStore, kept: list[int], name: str = "filters/some") -> None:
    mask = np.isin(store.rows, kept)
    groups = np.arange(len(mask)) // 2
    write_selection(
        store, name, store.rows, mask, columns={"group": groups}, provenance={"seed": 3}
    )


def test_what_was_written_is_read_again(store: EmbeddingStore) -> None:
    _mask(store, [0, 3])
    selection = read_selection(store, "filters/some")
    assert selection.kept.tolist() == [True, False, False, True]
    assert selection.judged.all()
    assert selection.frame["group"].tolist() == [0, 0, 1, 1]
    assert selection.provenance == {"seed": 3}


def test_later_images_are_not_judged(store: EmbeddingStore) -> None:
    _mask(store, [0, 3])
    grown = _add(store, 4, 2)
    selection = read_selection(grown, "filters/some")
    assert selection.judged.tolist() == [True] * 4 + [False] * 2
    assert selection.kept.tolist() == [True, False, False, True, False, False]
    masked = View.of(grown, mask="filters/some")
    assert masked.rows.tolist() == [0, 3]
    assert (masked.n_dropped, masked.n_unjudged) == (2, 2)


def test_a_file_that_was_replaced_is_not_judged(store: EmbeddingStore) -> None:
    _mask(store, [0, 1])
    changed = _frame(0, 1).assign(sha256="f" * 64)
    grown = store.append(changed, np.ones((1, store.manifest.dim)), retired=[0])
    masked = View.of(grown, mask="filters/some")
    assert masked.rows.tolist() == [1]
    assert masked.n_unjudged == 1


def test_a_mask_follows_its_images_when_rows_move(store: EmbeddingStore) -> None:
    grown = _add(store, 4, 3)
    _mask(grown, [1, 5])
    grown.manifest.take_out({grown.manifest.shards[0].name}).write(grown.folder)
    moved = EmbeddingStore.open(grown.folder)
    masked = View.of(moved, mask="filters/some")
    assert moved.images.frame["path"].iloc[masked.rows].tolist() == ["5.jpg"]
    assert masked.n_unjudged == 0


def test_rows_of_the_same_file_share_the_newest_judgement(store: EmbeddingStore) -> None:
    again = store.append(_frame(0, 1), np.ones((1, store.manifest.dim)), retired=[0])
    write_selection(again, "m", np.array([0, 4]), np.array([False, True]))
    assert View.of(again, mask="m").rows.tolist() == [4]


def test_only_kept_rows_are_answers(store: EmbeddingStore) -> None:
    _mask(store, [1, 2])
    question = store.read_vectors(np.array([0]))
    found = search(View.of(store, mask="filters/some"), question, k=10)
    assert sorted(found.rows) == [1, 2]
    assert len(search(store, question, k=10).rows) == 4


def test_nothing_but_the_mask_is_written(store: EmbeddingStore) -> None:
    before = {p: p.read_bytes() for p in store.folder.rglob("*") if p.is_file()}
    _mask(store, [])
    remove_selection(store, "filters/some")
    assert {p: p.read_bytes() for p in store.folder.rglob("*") if p.is_file()} == before
    assert EmbeddingStore.open(store.folder).rows.tolist() == [0, 1, 2, 3]


def test_selections_are_listed_by_name(store: EmbeddingStore) -> None:
    assert list_selections(store) == []
    _mask(store, [0], "splits/default")
    _mask(store, [0], "mine")
    assert list_selections(store) == ["mine", "splits/default"]


def test_a_mask_that_keeps_nothing_is_an_error(store: EmbeddingStore) -> None:
    _mask(store, [])
    with pytest.raises(SelectionError, match=r"keeps none of the 4 images .*4 dropped"):
        View.of(store, mask="filters/some")


def test_a_missing_mask_is_named_with_those_there_are(store: EmbeddingStore) -> None:
    _mask(store, [0], "mine")
    for ask in (read_selection, remove_selection):
        with pytest.raises(StoreError, match=r"no mask 'other' .*there are: mine"):
            ask(store, "other")


@pytest.mark.parametrize("name", ["", "../x", "/x", "a//b", "a b", "a/", ".hidden"])
def test_a_name_cannot_leave_the_folder(store: EmbeddingStore, name: str) -> None:
    with pytest.raises(SelectionError, match="cannot name a selection"):
        _mask(store, [0], name)


def test_a_mask_of_another_length_is_refused(store: EmbeddingStore) -> None:
    with pytest.raises(SelectionError, match="4 rows were judged, got a mask of 1"):
        write_selection(store, "m", store.rows, np.array([True]))


def test_a_damaged_file_is_named(store: EmbeddingStore) -> None:
    _mask(store, [0], "mine")
    (store.folder / "selections" / "mine.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"mine\.parquet cannot be read"):
        read_selection(store, "mine")


def test_a_file_whose_places_are_no_text_is_named_too(store: EmbeddingStore) -> None:
    _mask(store, [0], "mine")
    path = store.folder / "selections" / "mine.parquet"
    path.write_bytes(path.read_bytes().replace(b"3.jpg", b"3\xffjpg"))
    with pytest.raises(StoreError, match=r"mine\.parquet cannot be read"):
        read_selection(store, "mine")


def test_a_selection_is_written_and_read_some_rows_at_a_time(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(4, 20, 4):
        store = _add(store, first, 4)
    rows = store.rows[::-1]
    sizes: list[int] = []
    digest = identity._digest

    def count(frame: pd.DataFrame) -> bytes:
        sizes.append(len(frame))
        return digest(frame)

    monkeypatch.setattr(identity, "_digest", count)
    monkeypatch.setattr(stored_table, "_FEW_ROWS", 0)
    monkeypatch.setattr(stored_table, "ROWS_AT_ONCE", 4)
    monkeypatch.setattr(selections, "_ROWS_AT_ONCE", 4)
    written = {"score": rows / 10, "group": np.array([f"g{row}" for row in rows], dtype=object)}
    write_selection(store, "filters/some", rows, rows % 3 == 0, columns=written)
    found = read_selection(_add(store, 20, 1), "filters/some")
    assert found.kept.tolist() == [*(row % 3 == 0 for row in range(20)), False]
    assert found.judged.tolist() == [True] * 20 + [False]
    assert found.frame["group"].tolist()[:20] == [f"g{row}" for row in range(20)]
    assert found.frame["score"].tolist()[:20] == [row / 10 for row in range(20)]
    # To write it, of what it keeps, and of the store: no more at once than are read at once.
    assert (max(sizes), sum(sizes)) == (4, 20 + 20 + 21)
