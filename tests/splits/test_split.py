from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bioprobe.errors import SelectionError, StoreError
from bioprobe.splits import list_splits, make_split, read_split, split, write_split
from bioprobe.splits.split import count_parts, describe_splits, hash_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import Selection, read_selection, write_selection
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank
from tests.splits.conftest import add_rows

LabelStore = Callable[..., EmbeddingStore]


@pytest.fixture
def store(label_store: LabelStore) -> EmbeddingStore:
    return label_store(family=["Felidae"] * 10 + ["Canidae"] * 10 + [""], burst=[0] * 5 + [1] * 16)


def test_what_is_written_is_read_again(store: EmbeddingStore) -> None:
    made = make_split(store, Rank.FAMILY, group_columns=["burst"], name="by-burst")
    write_split(store, made)
    read = read_split(store, "by-burst")
    assert read.parts.tolist() == made.parts.tolist()
    assert read.folds.tolist() == made.folds.tolist()
    assert read.groups.tolist() == made.groups.tolist()
    assert (read.hash, read.n_later) == (made.hash, 0)
    assert read.provenance == made.provenance
    assert list_splits(store) == ["by-burst"]


@pytest.mark.parametrize("twice", [False, True])
def test_what_is_written_is_returned_as_it_is_read_without_a_look_unless_rows_are_the_same(
    label_store: LabelStore, monkeypatch: pytest.MonkeyPatch, twice: bool
) -> None:
    # The values of four are no part: they are in no group of it either.
    names = ["0.jpg" if twice and row == 11 else f"{row}.jpg" for row in range(24)]
    store = label_store(
        family=["Felidae", "Canidae"] * 12, path=names, sha256=names, burst=[0] * 4 + [1] * 20,
        role=["train"] * 10 + ["test"] * 10 + ["?"] * 4,
    ).retire([2])  # fmt: skip
    made = make_split(store, Rank.FAMILY, method="imported", column="role", group_columns=["burst"])
    made.provenance["against"] = [{"pairs": [("a", "b", 0.5)]}]
    looked = list[str]()

    def look(of: EmbeddingStore, name: str) -> Selection:
        looked.append(name)
        return read_selection(of, name)

    monkeypatch.setattr(split, "read_selection", look)
    written = write_split(store, made)
    assert looked == ["splits/default"] * twice
    read = read_split(store)
    # The last of two rows that do not differ counts for both.
    assert read.parts[0] == ("test" if twice else "train")
    for name in ("parts", "folds", "groups"):
        assert getattr(written, name).tolist() == getattr(read, name).tolist()
    assert (written.provenance, written.n_later) == (read.provenance, read.n_later)


def test_a_split_is_read_once_until_its_file_is_another(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_split(store, make_split(store, Rank.FAMILY))
    names = list[str]()

    def count(of: EmbeddingStore, name: str) -> Selection:
        names.append(name)
        return read_selection(of, name)

    monkeypatch.setattr(split, "read_selection", count)
    first = read_split(store)
    with pytest.raises(ValueError, match="read-only"):
        first.parts[0] = "test"
    # What is said of one is not said of the next.
    first.provenance["rank"] = "order"
    assert read_split(store).provenance["rank"] == "family"
    assert len(names) == 1
    made = make_split(store, Rank.FAMILY, group_columns=["burst"])
    write_split(store, made)
    assert read_split(store).hash == made.hash != first.hash
    assert len(names) == 2
    # What a store was opened as is its own.
    assert read_split(store.retire([0])).parts[0] == ""
    assert read_split(store).parts.tolist() == made.parts.tolist()


def test_the_test_part_judges_and_folds_where_there_is_none(store: EmbeddingStore) -> None:
    split = make_split(store, Rank.FAMILY)
    assert split.judging.tolist() == split.rows("test").tolist()
    folds = make_split(store, Rank.FAMILY, method="kfold")
    assert folds.judging.tolist() == list(range(20))


def test_a_split_of_other_folds_is_another(store: EmbeddingStore) -> None:
    split = make_split(store, Rank.FAMILY)
    assert hash_split(store, split.parts, split.folds) == split.hash
    other = np.where(split.folds >= 0, (split.folds + 1) % 5, -1)
    assert hash_split(store, split.parts, other) != split.hash


def test_rows_of_a_part_are_ascending_and_parts_are_known(store: EmbeddingStore) -> None:
    split = make_split(store, Rank.FAMILY)
    rows = [split.rows(part) for part in ("train", "validation", "test")]
    assert [len(part) for part in rows] == [16, 2, 2]
    assert all((np.diff(part) > 0).all() for part in rows)
    assert sorted(np.concatenate(rows)) == list(range(20))
    with pytest.raises(StoreError, match="got 'dev'"):
        split.rows("dev")


def test_a_split_holds_after_an_append_and_says_what_came_later(store: EmbeddingStore) -> None:
    made = make_split(store, Rank.FAMILY)
    write_split(store, made)
    grown = add_rows(store, 21, {"family": ["Felidae"] * 3})
    read = read_split(grown)
    assert read.n_later == 3
    assert read.parts[:21].tolist() == made.parts.tolist()
    assert read.parts[21:].tolist() == ["", "", ""]
    assert read.hash == made.hash


def test_retired_and_masked_rows_are_in_no_part(store: EmbeddingStore) -> None:
    write_split(store, make_split(store, Rank.FAMILY))
    without = store.retire([0])
    assert read_split(without).parts[0] == ""
    assert sum(len(read_split(without).rows(p)) for p in ("train", "validation", "test")) == 19
    write_selection(store, "filters/some", store.rows, store.rows >= 10)
    masked = View.of(store, mask="filters/some")
    for part in ("train", "validation", "test"):
        assert (masked.take(read_split(store).rows(part)).rows >= 10).all()


def test_a_split_of_a_masked_store_judges_what_the_mask_left_out(store: EmbeddingStore) -> None:
    write_selection(store, "filters/some", store.rows, store.rows >= 10)
    masked = View.of(store, mask="filters/some")
    made = make_split(masked, Rank.FAMILY)
    assert made.provenance["mask"] == "filters/some"
    assert set(made.parts[:10]) == {""}
    write_split(store, made)
    assert read_split(store).n_later == 0


def test_the_hash_is_of_who_is_where_and_not_of_order_or_folder(label_store: LabelStore) -> None:
    labels: dict[str, Any] = {"family": ["a"] * 6, "root": ["/x"] * 6}
    names = [f"{i}.jpg" for i in range(6)]
    roles = ["train", "train", "train", "test", "test", "test"]
    one = label_store("one", **labels, path=names, sha256=names, role=roles)
    two = label_store(
        "two", **labels | {"root": ["/y"] * 6}, path=names[::-1], sha256=names[::-1],
        role=roles[::-1],
    )  # fmt: skip

    def hash_split(store: EmbeddingStore, seed: int = 0) -> str:
        # Every image in the one fold order that the seed gives would differ: parts alone here.
        split = make_split(store, Rank.FAMILY, method="imported", column="role", seed=seed)
        split.folds[:] = -1
        from bioprobe.splits.split import hash_split

        return hash_split(store, split.parts, split.folds)

    assert hash_split(one) == hash_split(two)
    first = make_split(one, Rank.FAMILY, seed=1).hash
    assert first == make_split(one, Rank.FAMILY, seed=1).hash
    assert len({make_split(one, Rank.FAMILY, seed=seed).hash for seed in range(5)}) > 1


def test_a_split_that_is_not_there_is_named_with_those_that_are(store: EmbeddingStore) -> None:
    with pytest.raises(StoreError, match=r"no split 'x' .* there are: none\. Make it: bioprobe"):
        read_split(store, "x")
    write_split(store, make_split(store, Rank.FAMILY))
    with pytest.raises(StoreError, match="there are: default"):
        read_split(store, "x")
    with pytest.raises(SelectionError, match="cannot name a selection"):
        write_split(store, make_split(store, Rank.FAMILY, name="a b"))


def test_counts_are_those_of_each_class_and_part(store: EmbeddingStore) -> None:
    made = make_split(store, Rank.FAMILY)
    counted = count_parts(store, made)
    assert counted.to_frame().to_dict("list") == {
        "family": ["Canidae", "Felidae"],
        "train": [8, 8],
        "validation": [1, 1],
        "test": [1, 1],
        "n_images": [10, 10],
    }
    assert counted.totals == {"train": 16, "validation": 2, "test": 2}
    assert describe_splits(store).empty
    write_split(store, made)
    row = describe_splits(store).iloc[0]
    assert (row["split"], row["method"], row["train"], row["folds"]) == (
        "default", "stratified", 16, 5,
    )  # fmt: skip
