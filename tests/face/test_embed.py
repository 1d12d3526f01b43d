from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bioprobe as bp
from bioprobe.progress import Step
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

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
    folders.pop("Empty")
    named_folders = {**folders, "": 1}
    assert store.images["label"].fillna("").value_counts().to_dict() == named_folders
    assert store.images["content"].fillna("").tolist().count("blank") == 1
    assert any("without ranks: 4 (American Robin" in str(note) for note in store.notes)
    found = store.resolve_taxa(names=tmp_path / "names.csv")
    table = found.to_frame().set_index("label")
    assert table["matched_by"].to_dict() == {
        "Tiger": "common name", "American Robin": "common name", "Elk": "",
    }  # fmt: skip
    assert table["n_images"].to_dict() == folders
    assert bp.open(tmp_path / "s").labels("family").tolist() == [""] * 5
    store.resolve_taxa(names=tmp_path / "names.csv", apply=True)
    again = bp.open(tmp_path / "s")
    named = {str(one): int(n) for one, n in again.images["species"].value_counts().items()}
    assert named == {"Panthera tigris": 2, "": 2, "Turdus migratorius": 1}
    labels = [one.images["label"].fillna("") for one in (again, store)]
    assert sorted(labels[0]) == sorted(labels[1])
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


def test_nothing_readable_leaves_no_store_behind(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    for store in (tmp_path / "store", tmp_path / "mine"):
        with pytest.raises(bp.SourceError, match=r"none of 1 images can be read, so that no store"):
            bp.embed(tmp_path / "bad.jpg", store=store, model="plain")
    assert not (tmp_path / "store").exists()
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def _list_all(folder: Path) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*"))


@pytest.mark.parametrize("shard", [None, "1/1"])
@pytest.mark.parametrize("broken", ["its first batch", "dim"])
def test_a_run_that_fails_before_an_image_is_in_leaves_nothing_where_nothing_was(
    write_pictures: Write, encoder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,  # noqa: ANN401
    broken: str, shard: str | None,
) -> None:  # fmt: skip
    folder, name = write_pictures(3), "store" if shard is None else "store-1-of-1"
    # There before: a file of the user's, one of the names of a store's, and half of a folder.
    mine = tmp_path / "mine" / name
    mine.mkdir(parents=True)
    for left in ("notes.txt", "failures.parquet"):
        (mine / left).write_text("mine")
    before = _list_all(tmp_path)
    encoder.batch_size = 2
    if broken == "dim":
        encoder.dim = 8

    def fail(_: object) -> None:
        msg = "its first batch"
        raise RuntimeError(msg)

    with monkeypatch.context() as patch:
        if broken != "dim":
            patch.setattr(encoder, "encode_pixels", fail)
        for store in ("new/and/deep/store", "mine/store"):
            with pytest.raises((RuntimeError, bp.StoreError), match=broken):
                bp.embed(folder, store=tmp_path / store, model="plain", shard=shard)
            assert _list_all(tmp_path) == before
    # Another model is welcome there.
    (mine / "failures.parquet").unlink()
    other = PlainEncoder(2)
    monkeypatch.setattr("bioprobe.embedding.encoder_choice.load_encoder", lambda *_, **__: other)
    assert len(bp.embed(folder, store=tmp_path / "mine/store", model="plain", shard=shard)) == 3


@pytest.mark.parametrize("when", ["while the model is loaded", "anew, after this run", "before"])
def test_a_run_that_fails_leaves_a_store_that_it_did_not_make(
    write_pictures: Write, encoder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,  # noqa: ANN401
    when: str,
) -> None:  # fmt: skip
    place = tmp_path / "store"

    def make() -> None:
        EmbeddingStore.create(place, encoder.fingerprint, dim=encoder.dim)

    def load(*_: object, **__: object) -> Any:  # noqa: ANN401
        if when == "while the model is loaded":
            make()
        return encoder

    def fail(_: object) -> None:
        if when == "anew, after this run":
            # As of another process that had looked before there was one.
            (place / "manifest.json").unlink()
            make()
        raise InterruptedError

    monkeypatch.setattr("bioprobe.embedding.encoder_choice.load_encoder", load)
    monkeypatch.setattr(encoder, "encode_pixels", fail)
    if when == "before":
        make()
    with pytest.raises(InterruptedError):
        bp.embed(write_pictures(3), store=place, model=None if when == "before" else "plain")
    assert len(EmbeddingStore.open(place)) == 0


def test_pictures_whose_first_batch_fails_leave_no_store(
    write_pictures: Write, encoder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,  # noqa: ANN401
) -> None:  # fmt: skip
    def fail(_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(encoder, "encode_pixels", fail)
    with pytest.raises(InterruptedError):
        bp.pictures(write_pictures(3), like=tmp_path / "kept", model="plain", keep=True)
    assert not (tmp_path / "kept").exists()


def test_nothing_readable_leaves_a_store_that_was_there(
    write_pictures: Write, tmp_path: Path
) -> None:
    bp.embed(write_pictures(1), store=tmp_path / "store", model="plain")
    (tmp_path / "t.csv").write_text("path\nnone.png\npictures/no.png\n")
    store = bp.embed(tmp_path / "t.csv", store=tmp_path / "store")
    assert len(store) == 1
    tried = ", ".join(str(tmp_path / name) for name in ("none.png", "pictures/no.png"))
    assert f"no such file or directory (for example {tried})" in str(store.notes[-1])


def test_where_most_fail_the_commonest_reason_is_said_with_two_files(
    write_pictures: Write, tmp_path: Path
) -> None:
    folder = write_pictures(1)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(b"")
    (folder / "d.jpg").write_text("no picture")
    store = bp.embed(folder, store=tmp_path / "store", model="plain")
    files = " and ".join(str(folder / name) for name in ("a.jpg", "b.jpg"))
    assert str(store.notes[-1]) == (f"most failed: the file is empty, 3 of 4, such as {files}")


def test_a_corrected_table_replaces_what_it_said_and_that_is_counted(
    write_pictures: Write, tmp_path: Path
) -> None:
    write_pictures(3)
    names = [f"pictures/{number:03d}.png" for number in range(3)]
    table = tmp_path / "t.csv"
    header = "path,genus,species,site\n"
    table.write_text(
        f"{header}{names[0]},Puma,Puma concolor,1\n{names[1]},Puma,,1\n{names[2]},Puma,,\n"
    )
    bp.embed(table, store=tmp_path / "store", model="plain")
    table.write_text(f"{header}{names[0]},Panthera,,2\n{names[1]},,,\n{names[2]},Puma,,3\n")
    store = bp.embed(table, store=tmp_path / "store")
    said = list(map(str, store.notes))
    assert said[0].startswith("0 embedded, 3 reused, 0 already there")
    assert said[1:] == [
        "labels of known images: 0 new, 1 changed, 1 withdrawn, 1 stayed",
        "other values of known images: 1 new, 1 changed, 1 withdrawn, 0 stayed",
    ]
    assert sorted(store.labels("genus")) == ["", "Panthera", "Puma"]
    assert set(store.labels("species")) == {""}


def test_a_folder_that_cannot_be_listed_is_a_failure_until_it_can(
    write_pictures: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    write_pictures(1, "photos/a")
    write_pictures(1, "photos/b", first=1)
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", refuse)
        store = bp.embed(tmp_path / "photos", store=tmp_path / "store", model="plain")
    assert store.summary is not None
    assert (len(store), store.summary.n_failed) == (1, 1)
    (failure,) = store.failures.to_dict("records")
    reason = "the folder cannot be listed: permission denied"
    assert (failure["path"], failure["reason"]) == ("b", reason)
    assert f"{tmp_path / 'photos' / 'b'}: {reason}" in map(str, store.notes)
    assert len(bp.embed(tmp_path / "photos", store=tmp_path / "store").failures) == 0


def test_what_is_pruned_is_said(write_pictures: Write, tmp_path: Path) -> None:
    folder = write_pictures(3)
    bp.embed(folder, store=tmp_path / "store", model="plain")
    (folder / "002.png").unlink()
    store = bp.embed(folder, store=tmp_path / "store", prune=True)
    assert "1 rows retired whose file is gone" in [str(note) for note in store.notes]
    assert len(store) == 2


LIST = (
    "kingdom,family,genus,species,common_name\n"
    "Animalia,Felidae,Panthera,Panthera tigris,tiger\nAnimalia,Cervidae,Alces,Alces alces,moose\n"
)


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize("later", [False, True])
def test_a_lineage_that_a_list_gave_stays_with_its_label_and_goes_with_it(
    write_pictures: Callable[..., Path], tmp_path: Path, later: bool
) -> None:
    folder = write_pictures(3)
    names = sorted(path.name for path in folder.glob("*.png"))
    (tmp_path / "list.csv").write_text(LIST)
    listed = tmp_path / "list.csv"

    def embed(*labels: str, **options: object) -> dict[str, str]:
        rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
        (folder / "table.csv").write_text("\n".join(["path,label", *rows]))
        given: dict[str, Any] = dict(options)
        if not (tmp_path / "store").exists():
            given["model"] = "plain"
        made = bp.embed(folder / "table.csv", store=tmp_path / "store", **given)
        return dict(zip(made.images["path"], made.labels("species"), strict=True))

    first = embed("Tiger", "Moose", "Stone", **({} if later else {"names": listed}))
    if later:
        assert set(first.values()) == {""}
        bp.open(tmp_path / "store").resolve_taxa(names=listed, apply=True)
    expected = ["Panthera tigris", "Alces alces", ""]
    assert [embed("Tiger", "Moose", "Stone")[name] for name in names] == expected
    # Corrected, the label has no lineage until the list is named again.
    again = embed("Tiger", "Tiger", "Stone")
    assert [again[name] for name in names] == ["Panthera tigris", "", ""]
    assert bp.open(tmp_path / "store").images["common_name"].tolist().count("moose") == 0
    bp.open(tmp_path / "store").resolve_taxa(names=listed, apply=True)
    mended = bp.open(tmp_path / "store")
    assert sorted(mended.labels("species").tolist()) == ["", "Panthera tigris", "Panthera tigris"]
    renewed = embed("Moose", "Tiger", "Tiger", names=listed)
    assert [renewed[name] for name in names] == ["Alces alces", *["Panthera tigris"] * 2]


@pytest.mark.usefixtures("loads")
def test_a_lineage_that_a_list_gave_stays_when_its_folder_is_listed_again(
    write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    pictures = write_pictures(2)
    folder = tmp_path / "photos" / "Tiger"
    folder.mkdir(parents=True)
    for path in sorted(pictures.glob("*.png")):
        path.rename(folder / path.name)
    (tmp_path / "list.csv").write_text(LIST)
    for options in ({"folder_rank": "species"}, {"folder_label": "label"}):
        store = tmp_path / next(iter(options))
        bp.embed(tmp_path / "photos", store=store, model="plain", **options)  # type: ignore[arg-type]
        bp.open(store).resolve_taxa(names=tmp_path / "list.csv", apply=True)
        again = bp.embed(tmp_path / "photos", store=store, **options)  # type: ignore[arg-type]
        assert again.labels("species").tolist() == ["Panthera tigris"] * 2
        assert "0 withdrawn, 2 stayed" in " ".join(map(str, again.notes))


def test_exif_fills_columns_also_of_known_pictures_and_a_table_wins(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(3):
        exif = Image.Exif()
        exif.get_ifd(0x8769).update({0x9003: f"2024:05:13 12:30:0{number}"} if number < 2 else {})
        exif[0x0110] = "HP2X"
        picture = Image.new("RGB", (8, 8), (40 * number, 90, 30))
        picture.save(tmp_path / f"{number}.jpg", exif=exif)
    (tmp_path / "t.csv").write_text("file,captured_at\n0.jpg,2024-05-13 12:30\n1.jpg,2023-01-01\n")
    store = bp.embed(tmp_path, store=tmp_path / "s", model="plain")
    assert "captured_at" not in store.images
    filled = bp.embed(tmp_path, store=tmp_path / "s", exif=True)
    assert filled.summary is not None
    assert (filled.summary.n_embedded, filled.summary.n_reused) == (0, 3)
    by_name = filled.images.set_index("path")
    assert by_name["captured_at"].fillna("").to_dict() == {
        "0.jpg": "2024-05-13T12:30:00", "1.jpg": "2024-05-13T12:30:01", "2.jpg": ""
    }  # fmt: skip
    assert set(by_name["camera"]) == {"HP2X (no serial number)"}
    assert any("captured_at 2 (said of 2)" in str(note) for note in filled.notes)
    again = bp.embed(tmp_path, store=tmp_path / "s", exif=True)
    assert again.summary is not None
    assert again.summary.n_kept == 3
    table = bp.embed(tmp_path / "t.csv", store=tmp_path / "s", path_column="file", exif=True)
    by_name = table.images.set_index("path")
    assert by_name["captured_at"].fillna("").to_dict() == {
        "0.jpg": "2024-05-13 12:30", "1.jpg": "2023-01-01", "2.jpg": ""
    }  # fmt: skip
    warned = [str(note) for note in table.notes if note.kind == "warning"]
    assert warned == [
        "1 pictures have another captured_at in EXIF than is written of them, which stays: such as "
        "'2023-01-01', and '2024-05-13T12:30:01' in EXIF"
    ]
