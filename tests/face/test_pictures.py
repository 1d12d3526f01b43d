from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
import bioprobe.embedding.preparation
from bioprobe.progress import Step
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder, draw_picture

Encoder = Any
Write = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("loads")


def test_pictures_answer_as_a_store_of_them_does(opened: bp.Store, labelled: Path) -> None:
    pictures = bp.pictures(labelled, model="plain")
    # What comes out of the cache is made unit once more, which may change the last digit.
    assert np.allclose(pictures.X, opened.X, atol=1e-6)
    assert pictures.images.equals(opened.images)
    asks: list[Callable[[bp.Store], Any]] = [
        lambda one: one.zeroshot("kingdom", k=2),
        lambda one: one.zeroshot("family", k=2),
        lambda one: one.filter(),
        lambda one: one.dedupe(-1, confirm=False),
        lambda one: one.search(row=3),
        lambda one: one.describe(),
    ]
    for ask in asks:
        pd.testing.assert_frame_equal(
            ask(pictures).to_frame(), ask(opened).to_frame(), rtol=1e-4, atol=1e-5
        )


def test_pictures_are_asked_in_the_order_in_which_they_are_named(
    write_pictures: Write, encoder: Encoder
) -> None:
    folder = write_pictures(4)
    files = [folder / f"{number:03d}.png" for number in (2, 0, 3)]
    pictures = bp.pictures(files, model="plain")
    assert pictures.images["path"].tolist() == ["002.png", "000.png", "003.png"]
    alone = [bp.pictures(file, model="plain").X[0] for file in files]
    assert np.array_equal(pictures.X, np.stack(alone))
    assert encoder.n_images_seen == 3


def test_the_second_time_nothing_is_decoded(
    write_pictures: Write, encoder: Encoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = bp.pictures(write_pictures(3), model="plain")
    first.filter()
    n_texts = len(encoder.texts_seen)

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("decoded again")

    monkeypatch.setattr(bioprobe.embedding.preparation, "decode_marked", refuse)
    again = bp.pictures(tmp_path / "pictures", model="plain")
    assert np.array_equal(again.X, first.X)
    again.filter()
    assert len(encoder.texts_seen) == n_texts
    # Neither where the same bytes have another name.
    (tmp_path / "pictures" / "000.png").rename(tmp_path / "other.png")
    assert np.array_equal(bp.pictures(tmp_path / "other.png", model="plain").X[0], first.X[0])


def test_a_file_that_changed_is_encoded_anew(write_pictures: Write) -> None:
    folder = write_pictures(1)
    before = bp.pictures(folder, model="plain").X
    draw_picture(7, (20, 30)).save(folder / "000.png")
    after = bp.pictures(folder, model="plain").X
    assert len(after) == 1
    assert not np.allclose(before, after)


def test_labels_masks_and_columns_are_those_of_each_run(labelled: Path) -> None:
    first = bp.pictures(labelled, model="plain")
    assert first.labels("family").tolist() == ["Felidae", "Canidae", ""] * 2
    first.dedupe(-1, confirm=False)
    first.filter()
    table = pd.read_csv(labelled, keep_default_na=False)
    table.assign(family="Ursidae").drop(columns=["site", "kingdom"]).to_csv(labelled, index=False)
    second = bp.pictures(labelled, model="plain")
    assert set(second.labels("family")) == {"Ursidae"}
    assert set(second.labels("kingdom")) == {""}
    assert "site" not in second.images
    with pytest.raises(bp.StoreError, match="no mask 'filters/animal'"):
        second.where(mask="filters/animal")
    assert second.describe().n_near is None
    bare = bp.pictures(sorted(labelled.parent.glob("*.png")), model="plain")
    assert set(bare.labels("family")) == {""}
    with pytest.raises(bp.PromptError, match="give a taxon list with --taxa"):
        bare.zeroshot("family")
    # Within one run a mask can be used.
    assert len(first.where(mask="filters/duplicates")) == 1


def test_a_picture_that_cannot_be_read_stops_nothing(write_pictures: Write) -> None:
    folder = write_pictures(2)
    for number in range(12):
        (folder / f"bad-{number:02d}.jpg").write_text("no picture")
    pictures = bp.pictures(folder, model="plain")
    assert len(pictures) == 2
    assert len(pictures.failures) == 12
    said = [str(note) for note in pictures.describe().notes]
    assert said[0] == "skipped bad-00.jpg: not an image of a known kind"
    assert said[10] == "… and 2 more could not be read"
    assert said[11] == "images: 2; files that could not be read: 12"
    assert {note.kind for note in pictures.notes} == {"problem"}
    # A file that was readable once is not answered by what it was.
    (folder / "001.png").write_text("no picture any more")
    assert bp.pictures(folder, model="plain").images["path"].tolist() == ["000.png"]
    with pytest.raises(bp.SourceError, match=r"none of 1 pictures can be read; the first, bad-00"):
        bp.pictures(folder / "bad-00.jpg", model="plain")


def test_failures_of_another_run_are_not_told(write_pictures: Write, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    good = write_pictures(1)
    assert len(bp.pictures([good, tmp_path / "bad.jpg"], model="plain").failures) == 1
    assert len(bp.pictures(good, model="plain").failures) == 0


def test_the_model_is_that_of_a_store_that_is_there(
    opened: bp.Store, labelled: Path, loads: list[str], tmp_path: Path
) -> None:
    pictures = bp.pictures(labelled, like=opened.folder)
    assert loads == ["plain-1"]
    assert np.allclose(pictures.X, opened.X, atol=1e-6)
    bp.pictures(labelled, like=tmp_path / "none")
    bp.pictures(labelled, like=opened.folder, model="mine")
    assert loads[1:] == ["bioclip-2", "mine"]


def test_encoders_do_not_share_a_cache(
    write_pictures: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(2)
    first = bp.pictures(folder, model="plain").X
    other = PlainEncoder(2)
    monkeypatch.setattr(bioprobe.encoders, "load_encoder", lambda *_, **__: other)
    # The same name, but other weights.
    assert not np.allclose(bp.pictures(folder, model="plain").X, first)
    assert other.n_images_seen == 2


def test_a_store_of_pictures_goes_with_the_last_that_holds_it(write_pictures: Write) -> None:
    pictures = bp.pictures(write_pictures(2), model="plain")
    folder = pictures.folder
    some = pictures.where(rows=[1])
    del pictures
    gc.collect()
    assert folder.is_dir()
    assert some.search(row=0).rows.tolist() == [1]
    del some
    gc.collect()
    assert not folder.parent.exists()


def test_provenance_names_the_sources_not_a_folder_that_goes(labelled: Path) -> None:
    found = bp.pictures(labelled, model="plain").search(row=0)
    assert found.provenance.store == str(labelled)


def test_another_process_is_waited_for(
    write_pictures: Write, no_pictures_of_the_user: Path
) -> None:
    folder = write_pictures(1)
    bp.pictures(folder, model="plain")
    (lock,) = no_pictures_of_the_user.glob("*.lock")
    done: list[float] = []

    def ask() -> None:
        bp.pictures(folder, model="plain")
        done.append(time.monotonic())

    with filelock.FileLock(lock):
        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.5)
        assert not done
        free_s = time.monotonic()
    thread.join(timeout=60)
    assert done
    assert done[0] >= free_s


def test_a_cache_that_cannot_be_written_is_done_without(
    write_pictures: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path / "file"))
    pictures = bp.pictures(write_pictures(2), model="plain")
    assert len(pictures.filter().to_frame()) == 2


def test_a_damaged_cache_is_named(write_pictures: Write, no_pictures_of_the_user: Path) -> None:
    folder = write_pictures(1)
    bp.pictures(folder, model="plain")
    (manifest,) = no_pictures_of_the_user.glob("*/manifest.json")
    manifest.write_text("{")
    with pytest.raises(bp.StoreError, match="is a cache: it may be removed"):
        bp.pictures(folder, model="plain")


def test_progress_is_told_and_keeps_what_was_read(
    write_pictures: Write, encoder: Encoder, no_pictures_of_the_user: Path
) -> None:
    folder = write_pictures(3)

    def stop(step: Step) -> None:
        if step.done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        bp.pictures(folder, model="plain", progress=stop)
    (manifest,) = no_pictures_of_the_user.glob("*/manifest.json")
    assert len(EmbeddingStore.open(manifest.parent)) == 2
    steps: list[Step] = []
    bp.pictures(folder, model="plain", progress=steps.append)
    assert [step.done for step in steps] == [1, 2, 3]
    assert encoder.n_images_seen == 3


def test_a_head_of_a_store_is_not_asked_of_pictures(labelled: Path) -> None:
    with pytest.raises(bp.MisuseError, match="--head is a text head that a store keeps"):
        bp.pictures(labelled, model="plain").zeroshot(head="x")


def test_folders_are_kept_in_a_store_and_asked_of_it(
    write_pictures: Write, opened: bp.Store, encoder: Encoder, tmp_path: Path
) -> None:
    folder = write_pictures(3, "more", first=5)
    (folder / "bad.jpg").write_text("no picture")
    n_seen = encoder.n_images_seen
    found = bp.pictures(folder, like=opened.folder, keep=True)
    # One of them is known under another name.
    assert encoder.n_images_seen == n_seen + 2
    assert found.folder == opened.folder
    assert found.rows.tolist() == [6, 7, 8]
    assert found.failures["path"].tolist() == ["bad.jpg"]
    assert len(bp.open(opened.folder)) == 9
    assert found.describe().n_failures == 1
    assert len(found.search(text="a text that nobody asked", k=1).rows) == 1
    assert "a text that nobody asked" in encoder.texts_seen
    # Elsewhere what is named is no folder, and is not kept.
    alone = bp.pictures(folder / "005.png", like=opened.folder, keep=True)
    assert alone.folder != opened.folder
    assert len(bp.open(opened.folder)) == 9
    new = bp.pictures(folder, model="plain", like=tmp_path / "new", keep=True)
    assert len(bp.open(tmp_path / "new")) == len(new) == 3


def test_imported_vectors_get_no_pictures_beside_them(
    write_pictures: Write, tmp_path: Path
) -> None:
    kept = bp.from_vectors(np.eye(3), model="plain-1", store=tmp_path / "imported")
    found = bp.pictures(write_pictures(2), like=kept.folder, keep=True)
    assert "kept in the cache, as the store" in str(found.notes[0])
    assert "holds imported vectors" in str(found.notes[0])
    assert len(bp.open(kept.folder)) == 3
