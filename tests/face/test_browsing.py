"""Pictures are leafed through in groups and orders, a page at a time, and looked at one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.errors import SelectionError
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from tests.conftest import PlainEncoder, alter_images


def test_groups_count_what_is_asked_and_name_their_first_picture(families: EmbeddingStore) -> None:
    store = bp.open(families.folder)
    found = store.groups("family").to_frame()
    assert found["n_images"].tolist() == [16, 16, 16, 16, 14, 2]
    assert found["family"].tolist()[-2:] == ["Muridae", ""]
    assert store.labels("family")[found["row"]].tolist() == found["family"].tolist()
    cats = store.where("order == 'Carnivora'").groups("family", largest=False)
    assert cats.names == ["Canidae", "Felidae"]
    assert store.groups("family", like="VID").names == ["Bovidae", "Cervidae"]


def test_pages_hold_each_picture_once(families: EmbeddingStore) -> None:
    store = bp.open(families.folder)
    pages = [store.browse(page=at, size=32) for at in (1, 2, 3)]
    rows = np.concatenate([one.frame["row"] for one in pages])
    assert rows.tolist() == list(range(80))
    assert [one.n_pages for one in pages] == [3, 3, 3]
    with pytest.raises(SelectionError, match="no page 4: 80 are 3 pages of 32"):
        store.browse(page=4, size=32)
    assert store.groups("family", page=2, size=5).names == [""]


def test_a_group_is_those_of_its_value_alone(families: EmbeddingStore) -> None:
    store = bp.open(families.folder)
    assert store.browse(by="family", value="").frame["row"].tolist() == [78, 79]
    found = store.browse(by="family", value="Bovidae", order="-file", size=2)
    assert found.n_images == 16
    assert found.frame["file_name"].tolist() == ["Bovidae/15.jpg", "Bovidae/14.jpg"]
    for value in ("Bovida", "Ursidae", "zzz"):
        with pytest.raises(SelectionError, match=f"nothing in .* has '{value}' as its family"):
            store.browse(by="family", value=value)


@pytest.fixture
def counted(make_store: Callable[..., EmbeddingStore]) -> bp.Store:
    """Return pictures with numbers, holes, times, and two boxes of one of them."""
    rows = [
        {"path": "a.jpg", "count": 10, "captured_at": "2024-05-01 10:00:00"},
        {"path": "b.jpg", "count": 9, "captured_at": "2024-05-01 10:00:30"},
        {"path": "c.jpg", "count": None, "captured_at": "2024-05-01 12:00:00"},
        {"path": "d.jpg", "count": 100, "captured_at": "2024-05-02 12:00:00"},
        {"path": "d.jpg", "count": 9, "captured_at": "2024-05-02 12:00:00",
         "image_region": "0.5,0.5,0.25,0.5", "detection_category": "animal",
         "detection_confidence": 0.75},
    ]  # fmt: skip
    made = make_store(PlainEncoder()).append(
        pd.DataFrame(rows), np.random.default_rng(0).normal(size=(5, 16))
    )
    return bp.open(made.folder)


def test_numbers_are_ordered_as_numbers_and_holes_come_last(counted: bp.Store) -> None:
    def order(by: str) -> list[int]:
        return counted.browse(order=by).frame["row"].tolist()

    assert order("count") == [1, 4, 0, 3, 2]
    assert order("-count") == [3, 0, 1, 4, 2]
    assert (order("added"), order("-added")) == ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])
    assert order("-captured_at") == [3, 4, 2, 1, 0]


def test_bursts_group_pictures_where_only_times_are_known(counted: bp.Store) -> None:
    assert counted.groups("sequence").n_images.tolist() == [2, 2, 1]
    assert {"name": "sequence", "kind": "sequence"} in counted.columns().to_frame().to_dict(
        "records"
    )


def test_the_regions_of_a_picture_are_seen_from_each(counted: bp.Store) -> None:
    parts = counted.look(3).parts
    assert [part.row for part in parts] == [3, 4]
    assert parts[0].box is None
    assert parts[1].box is not None
    assert (parts[1].box.x, parts[1].box.height) == (0.5, 0.5)
    assert (parts[1].label, parts[1].confidence) == ("animal", 0.75)
    assert [part.row for part in counted.look(0).parts] == [0]


def test_a_condition_is_worked_out_once_and_a_mask_that_is_made_again_anew(
    families: EmbeddingStore,
) -> None:
    store = bp.open(families.folder)
    asked = "family == 'Felidae'"
    assert store.narrow(asked) is store.narrow(asked)
    assert len(store.narrow(asked)) == 16
    for n_kept in (3, 5):
        write_selection(families, "made", families.rows, families.rows < n_kept)
        assert len(store.narrow(mask="made")) == n_kept


def test_what_a_mask_says_groups_pictures(families: EmbeddingStore) -> None:
    rows = families.rows[:70]
    kept = rows < 60
    reasons = np.where(rows < 65, "", "blurred")
    write_selection(families, "filters/made", rows, kept, columns={"reason": reasons})
    store = bp.open(families.folder)
    found = store.groups("mask:filters/made", largest=False)
    assert dict(zip(found.names, found.n_images.tolist(), strict=True)) == {
        "blurred": 5, "dropped": 5, "kept": 60, "not judged": 10,
    }  # fmt: skip
    assert store.browse(by="mask:filters/made", value="blurred").frame["row"].tolist() == [
        65, 66, 67, 68, 69,
    ]  # fmt: skip
    assert "mask:filters/made" in store.columns().to_frame()["name"].tolist()


def test_the_ranks_below_a_group_are_said_with_its_condition(families: EmbeddingStore) -> None:
    store = bp.open(families.folder)
    found = store.narrow_further("order", "Carnivora", "part == 'train'").to_frame()
    assert found["name"].tolist() == ["family"]
    assert len(store.where(found["where"][0])) == 16
    assert len(store.narrow_further("part", "train").to_frame()) == 0


def test_a_look_says_what_is_known_and_what_stands_beside(families: EmbeddingStore) -> None:
    store = bp.open(families.folder)
    alter_images(store._view.store, share_present=np.full(80, np.nan, np.float32))
    found = store.look(17, by="family", value="Canidae")
    assert (found.file_name, found.label, found.facts) == (
        "Canidae/01.jpg",
        "Canidae",
        {"part": "validation"},
    )
    assert found.labels["order"] == "Carnivora"
    assert (found.before, found.after, found.place, found.n_images) == (16, 18, 2, 16)
    assert store.look(16, by="family", value="Canidae").before is None
    assert store.look(3, by="family", value="Canidae").place == 0
    with pytest.raises(SelectionError, match="no row 80 is in"):
        store.look(80)


def test_pictures_that_look_alike_stand_beside_each_other(families: EmbeddingStore) -> None:
    store = bp.open(families.folder)
    found = store.browse(order="alike", size=80)
    assert sorted(found.frame["row"]) == list(range(80))
    labels = found.frame["family"].to_numpy()
    assert np.mean(labels[1:] == labels[:-1]) > 0.6
    assert "alike" not in bp.open(families.folder).images
    cats = store.browse(by="family", value="Felidae", order="alike")
    assert sorted(cats.frame["row"]) == list(range(16))


def test_of_many_pictures_the_order_that_is_kept_counts(
    families: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.face.browsing.MOST_ALIKE", 10)
    with pytest.raises(SelectionError, match=r"80 pictures are too many .*cluster --order"):
        bp.open(families.folder).browse(order="alike")
    kept = bp.open(families.folder).order().rows
    found = bp.open(families.folder).browse(order="alike", size=80)
    assert found.frame["row"].tolist() == kept.tolist()
