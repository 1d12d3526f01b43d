from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
