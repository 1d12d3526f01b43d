from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bioprobe as bp
from bioprobe.progress import Step
from bioprobe.store import EmbeddingStore

pytestmark = pytest.mark.usefixtures("loads")
Write = Callable[..., Path]


def test_a_store_says_what_was_done_and_answers_do_not_repeat_it(
    write_pictures: Write, tmp_path: Path
) -> None:
    folder = write_pictures(3)
    (folder / "bad.jpg").write_text("no picture")
    store = bp.embed(folder, store=tmp_path / "store", model="plain")
    assert [note.kind for note in store.notes] == ["fact", "problem"]
    said = [str(note) for note in store.notes]
    assert said[0].startswith("3 embedded, 0 reused, 0 already there, 1 failed in ")
    assert said[0].endswith(f"-> {tmp_path / 'store'}")
    assert said[1].startswith("What failed and why: ")
    assert store.failures["path"].tolist() == ["bad.jpg"]
    assert store.summary is not None
    assert (store.summary.n_embedded, store.summary.n_failed) == (3, 1)
    assert len(store) == 3
    assert str(store.describe().notes[0]).startswith("images: 3; ")
    assert bp.open(tmp_path / "store").notes == ()


def test_labels_come_from_columns_and_folders(write_pictures: Write, tmp_path: Path) -> None:
    folder = write_pictures(2, "Felidae")
    (tmp_path / "t.csv").write_text("file,kin\n000.png,Canidae\n")
    by_folder = bp.embed([folder], store=tmp_path / "a", model="plain", folder_rank="family")
    assert by_folder.labels("family").tolist() == ["Felidae", "Felidae"]
    ways: list[dict[str, str] | list[str] | str] = [{"family": "kin"}, ["family=kin"], "family=kin"]
    for number, columns in enumerate(ways):
        store = bp.embed(
            tmp_path / "t.csv", store=tmp_path / f"b{number}", model="plain", root=folder,
            path_column="file", rank_column=columns,
        )  # fmt: skip
        assert store.labels("family").tolist() == ["Canidae"]
    with pytest.raises(bp.MisuseError, match="or RANK= where no column holds the rank; got 'kin'"):
        bp.embed(folder, store=tmp_path / "c", model="plain", rank_column="kin")


def _name_folders(write_pictures: Write, tmp_path: Path, **folders: int) -> Path:
    """Write pictures that all differ into folders of these names."""
    (tmp_path / "photos").mkdir()
    first = 0
    for name, n in folders.items():
        write_pictures(n, f"photos/{name}", first=first)
        first += n
    return tmp_path / "photos"


NAMES = (
    "family,Latin name,Common Name\nFelidae,Panthera tigris,tiger\nCervidae,Alces alces,elk\n"
    "Cervidae,Cervus elaphus,elk\nTurdidae,Turdus migratorius,American robin\n"
)


def test_folders_of_common_names_are_labels_until_a_list_says_what_they_are(
    write_pictures: Write, tmp_path: Path
) -> None:
    folders = {"Tiger": 2, "American Robin": 1, "Elk": 1, "Empty": 1}
    photos = _name_folders(write_pictures, tmp_path, **folders)
    (tmp_path / "names.csv").write_text(NAMES)
    embed = functools.partial(bp.embed, photos, store=tmp_path / "s", folder_rank="species")
    store = embed(model="plain")
    assert set(store.labels("genus")) == set(store.labels("species")) == {""}
    assert sorted(set(store.images["label"])) == sorted(folders)
    assert "5 (American Robin" in str(store.notes[-1])
    found = store.resolve_taxa(names=tmp_path / "names.csv")
    table = found.to_frame().set_index("label")
    assert table["matched_by"].to_dict() == {
        "Tiger": "common name", "American Robin": "common name", "Elk": "", "Empty": "",
    }  # fmt: skip
    assert table["n_images"].to_dict() == folders
    assert bp.open(tmp_path / "s").labels("family").tolist() == [""] * 5
    store.resolve_taxa(names=tmp_path / "names.csv", apply=True)
    again = bp.open(tmp_path / "s")
    named = {str(one): int(n) for one, n in again.images["species"].value_counts().items()}
    assert named == {"Panthera tigris": 2, "": 2, "Turdus migratorius": 1}
    assert sorted(again.images["label"]) == sorted(store.images["label"])
    same = np.isclose(again.X[:, None], store.X).all(axis=2)
    assert same.sum(axis=1).tolist() == [1] * 5
    assert str(again.resolve_taxa(names=tmp_path / "names.csv").notes[-1]).startswith("0 images")
    # At embedding the same, also for pictures that are there.
    (tmp_path / "names.csv").write_text(NAMES.replace("Cervus elaphus,elk", "Cervus elaphus,"))
    store = embed(names=tmp_path / "names.csv")
    assert sorted(store.labels("family")) == ["", "Cervidae", "Felidae", "Felidae", "Turdidae"]


def test_folder_names_go_into_a_column_as_they_are_written(
    write_pictures: Write, tmp_path: Path
) -> None:
    photos = _name_folders(write_pictures, tmp_path, Tiger=1, station_7=1)
    (tmp_path / "names.csv").write_text(NAMES)
    store = bp.embed(
        photos, store=tmp_path / "s", model="plain", folder_label="where",
        names=tmp_path / "names.csv",
    )  # fmt: skip
    assert sorted(store.images["where"]) == ["Tiger", "station_7"]
    assert sorted(store.labels("species")) == ["", "Panthera tigris"]
    with pytest.raises(bp.MisuseError, match="--folder-rank for taxa"):
        bp.embed(photos, store=tmp_path / "s", model="plain", folder_label="species")


def test_progress_is_told_each_image_and_can_stop_the_run(
    write_pictures: Write, tmp_path: Path
) -> None:
    folder = write_pictures(4)
    (folder / "003.png").write_text("no picture")
    steps: list[Step] = []
    bp.embed(folder, store=tmp_path / "all", model="plain", progress=steps.append)
    assert [(step.done, step.total, step.what) for step in steps] == [
        (number, 4, "images") for number in (1, 2, 3, 4)
    ]
    assert steps[-1].n_failed == 1

    def stop(step: Step) -> None:
        if step.done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        bp.embed(folder, store=tmp_path / "some", model="plain", progress=stop)
    assert len(EmbeddingStore.open(tmp_path / "some")) == 2


def test_nothing_readable_leaves_an_empty_store_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    store = bp.embed(tmp_path / "bad.jpg", store=tmp_path / "store", model="plain")
    assert len(store) == 0
    assert str(store.notes[0]).startswith("0 embedded, 0 reused, 0 already there, 1 failed")


def test_what_is_pruned_is_said(write_pictures: Write, tmp_path: Path) -> None:
    folder = write_pictures(3)
    bp.embed(folder, store=tmp_path / "store", model="plain")
    (folder / "002.png").unlink()
    store = bp.embed(folder, store=tmp_path / "store", prune=True)
    assert "1 rows retired whose file is gone" in [str(note) for note in store.notes]
    assert len(store) == 2
