"""What a table, a data set or a store of somebody else may name: nothing of the reader's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bioprobe as bp
from bioprobe.embedding import embed_images
from bioprobe.errors import SourceError, StoreError
from bioprobe.images.location import ImageLocation
from bioprobe.page.html import make_thumbnail
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder, draw_picture

ALLOWING = SourceOptions(allow_outside=True)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Return a data set's folder with a picture of its own, and a private picture beside it."""
    given, private = tmp_path / "given", tmp_path / "secret" / "private.png"
    for number, file in enumerate((given / "own.png", private)):
        file.parent.mkdir()
        draw_picture(number, (12, 10)).save(file)
    (given / "link.png").symlink_to(private)
    (given / "inner").symlink_to(private.parent)
    return given, private


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "named", ["../secret/private.png", "{private}", "link.png", "inner/private.png"]
)
def test_a_row_reads_no_file_outside_of_its_folder(
    places: tuple[Path, Path], encoder: PlainEncoder, tmp_path: Path, named: str, suffix: str
) -> None:
    given, private = places
    frame = pd.DataFrame({"path": ["own.png", named.format(private=private)]})
    table = given / f"t{suffix}"
    write: dict[str, Callable[..., object]] = {".csv": frame.to_csv, ".parquet": frame.to_parquet}
    write[suffix](table, index=False)
    listing = find_images([table])
    assert listing.file_names == ["own.png"]
    assert "1 rows of" in str(listing.notes[0])
    assert "--allow-outside" in str(listing.notes[0])
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    for _ in range(2):
        summary = embed_images(find_images([table]), encoder, store)
        assert (summary.n_images, summary.n_failed) == (2, 1)
        ((_, path, reason, source),) = EmbeddingStore.open(store.folder).read_failures().to_numpy()
        assert (path in {str(private), named}, source) == (True, str(table))
        assert reason == (
            "the file lies outside of the folders that were named; --allow-outside reads it"
        )
    assert embed_images(find_images([table], ALLOWING), encoder, store).n_failed == 0
    assert EmbeddingStore.open(store.folder).read_failures().empty


def test_what_a_person_names_may_be_named_by_a_table(places: tuple[Path, Path]) -> None:
    given, private = places
    table = given / "t.csv"
    table.write_text(f"path,family\n{private},Felidae\nlink.png,Canidae\n")
    listed = private.parent / "list.txt"
    listed.write_text(f"{private}\n")
    for sources in ([table, private.parent], [table, listed, given], [private, given, table]):
        listing = find_images(sources)
        assert not listing.unread
        assert set(listing.frame["family"]) >= {"Felidae", "Canidae"}
    assert find_images([table, private]).unread[0][1] == "link.png"
    below = find_images([table], SourceOptions(root=given.parent))
    assert not [file for file in below.unread if file[1] != "secret/private.png"]


def test_a_list_of_paths_is_of_the_persons_own_files(places: tuple[Path, Path]) -> None:
    given, private = places
    (given / "list.txt").write_text(f"{private}\n../secret/private.png\nlink.png\n")
    listing = find_images([given / "list.txt"])
    assert (len(listing), listing.unread) == (2, ())


def test_the_metadata_of_a_folder_names_no_file_elsewhere(places: tuple[Path, Path]) -> None:
    given, _ = places
    (given / "metadata.csv").write_text("file_name,family\nown.png,A\n../secret/private.png,B\n")
    (given / "link.png").unlink()
    listing = find_images([given])
    assert (listing.file_names, len(listing.unread)) == (["own.png"], 1)


def test_the_pictures_of_a_data_set_lie_in_its_folder(
    places: tuple[Path, Path], encoder: PlainEncoder, tmp_path: Path
) -> None:
    given, private = places
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    paths = ["own.png", "../secret/private.png", str(private), "link.png"]
    cells = pa.array([{"path": path} for path in paths], kind)
    pq.write_table(pa.table({"image": cells}), given / "t.parquet")
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    summary = embed_images(find_images([given / "t.parquet"]), encoder, store)
    assert (summary.n_embedded, summary.n_failed) == (1, 3)
    assert {why for _, why in summary.reasons} == {
        f"its picture {path} lies outside of the folders that were named; --allow-outside reads it"
        for path in paths[1:]
    }
    summary = embed_images(find_images([given / "t.parquet"], ALLOWING), encoder, store)
    assert (summary.n_embedded, summary.n_reused, summary.n_failed) == (1, 2, 0)
    images = EmbeddingStore.open(store.folder).images
    assert all(make_thumbnail(images.locate(row)) for row in range(len(images)))


def test_a_saved_data_set_names_no_table_elsewhere(tmp_path: Path) -> None:
    picture = draw_picture(0, (8, 8))
    rows = datasets.Dataset.from_dict({"image": [picture]}).cast_column("image", datasets.Image())
    rows.save_to_disk(tmp_path / "private")
    rows.save_to_disk(tmp_path / "given")
    state = tmp_path / "given" / "state.json"
    said = json.loads(state.read_text())
    said["_data_files"] = [{"filename": "../private/data-00000-of-00001.arrow"}]
    state.write_text(json.dumps(said))
    with pytest.raises(SourceError, match=r"names .*private.*; --allow-outside reads it"):
        find_images([tmp_path / "given"])
    assert len(find_images([tmp_path / "given"], ALLOWING)) == 1
    datasets.DatasetDict(a=rows).save_to_disk(tmp_path / "dict")
    (tmp_path / "dict" / "dataset_dict.json").write_text('{"splits": ["../private"]}')
    with pytest.raises(SourceError, match=r"--allow-outside reads it"):
        find_images([tmp_path / "dict"])


def test_a_store_shows_no_picture_but_those_it_was_made_of(
    places: tuple[Path, Path], encoder: PlainEncoder, tmp_path: Path
) -> None:
    given, private = places
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    embed_images(find_images([given / "own.png"]), encoder, store)
    images = EmbeddingStore.open(store.folder).images
    assert make_thumbnail(images.locate(0))
    for sha256 in ("", images.frame["sha256"].iloc[0]):
        brought = images.frame.assign(root=str(private.parent), path=private.name, sha256=sha256)
        vectors = np.ones((1, store.manifest.dim), dtype=np.float32)
        other = EmbeddingStore.open_for(tmp_path / f"brought{len(sha256)}", encoder)
        place = other.append(brought, vectors).images.locate(0)
        assert isinstance(place, ImageLocation)
        assert make_thumbnail(place) == ""
    shutil.copy(private, given / "own.png")
    assert make_thumbnail(images.locate(0)) == ""


def test_imported_vectors_show_the_pictures_below_the_root_that_is_named(
    places: tuple[Path, Path],
) -> None:
    given, private = places
    paths = ["own.png", "none.png", "../secret/private.png", "link.png"]
    table = {"path": paths}
    store = bp.from_vectors(np.eye(4), table, model="mine", root=given)
    images = EmbeddingStore.open(store.folder).images
    shown = [make_thumbnail(images.locate(row)) != "" for row in range(4)]
    assert shown == [True, False, False, False]
    assert store.images["width_px"].tolist() == [12, 0, 0, 0]
    store = bp.from_vectors(np.eye(1), {"path": [str(private)]}, model="mine")
    images = EmbeddingStore.open(store.folder).images
    assert make_thumbnail(images.locate(0)) == ""


@pytest.mark.parametrize("name", ["../other", "a/b", "..", ""])
def test_the_shards_of_a_store_lie_in_it(
    places: tuple[Path, Path], encoder: PlainEncoder, tmp_path: Path, name: str
) -> None:
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    embed_images(find_images([places[0] / "own.png"]), encoder, store)
    manifest = store.folder / "manifest.json"
    said = json.loads(manifest.read_text())
    said["shards"][0]["name"] = name
    manifest.write_text(json.dumps(said))
    with pytest.raises(StoreError, match="no folder below shards"):
        EmbeddingStore.open(store.folder)


def test_pictures_that_are_asked_without_a_store_keep_the_rule(places: tuple[Path, Path]) -> None:
    given, _ = places
    (given / "t.csv").write_text("path\n../secret/private.png\n")
    with pytest.raises(SourceError, match=r"none of 1 pictures can be read: 1 rows of .*--allow-o"):
        bp.pictures(given / "t.csv", model="sketch")
    assert len(bp.pictures(given / "t.csv", model="sketch", allow_outside=True)) == 1
