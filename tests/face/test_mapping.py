from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MisuseError, SelectionError, StoreError
from bioprobe.store import EmbeddingStore
from bioprobe.store.maps import verify_maps
from tests.conftest import PlainEncoder

KINDS = ("cat", "dog", "bird")


def _append(store: EmbeddingStore, first: int, n: int) -> EmbeddingStore:
    """Add pictures of three kinds by turns, each around a direction of its own."""
    numbers = np.arange(first, first + n)
    noise = np.random.default_rng(first).standard_normal((n, store.manifest.dim))
    vectors = np.eye(3, store.manifest.dim)[numbers % 3] + 0.1 * noise
    frame = pd.DataFrame(
        {
            "root": "photos",
            "path": [f"{number}.jpg" for number in numbers],
            "sha256": [f"{number:064x}" for number in numbers],
            "kind": [KINDS[number % 3] for number in numbers],
        }
    )
    return store.append(frame, normalise_rows(vectors))


@pytest.fixture
def folder(make_once: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a store of 60 pictures with a map of them."""

    def fill(place: Path) -> None:
        _append(EmbeddingStore.open_for(place / "store", PlainEncoder(dim=8)), 0, 60)
        bp.open(place / "store").map(neighbors=8)

    return Path(shutil.copytree(make_once("mapped", fill) / "store", tmp_path / "store"))


def test_a_map_is_kept_and_read_again_with_its_trust(folder: Path) -> None:
    store = bp.open(folder)
    found = store.map()
    assert found.rows.tolist() == list(range(60))
    assert found.fitted.all()
    assert "fitted to 60" in str(found.notes[0])
    assert "60 images that were drawn" in str(found.notes[1])
    assert found.faith.trustworthiness.estimate > 0.8
    frame = found.to_frame()
    assert list(frame.columns[:4]) == ["file_name", "x", "y", "fitted"]
    assert frame["kind"].tolist()[:3] == list(KINDS)
    near = np.square(found.points[:, None] - found.points).sum(axis=2).argsort(axis=1)[:, 1:4]
    assert (near % 3 == np.arange(60)[:, None] % 3).mean() > 0.95
    # The same settings fit the same map, wherever it is kept.
    np.testing.assert_array_equal(store.map("other", neighbors=8).points, found.points)
    few = store.where("kind == 'dog'").map()
    np.testing.assert_array_equal(few.points, found.points[1::3])
    assert store.maps().to_frame()["name"].tolist() == ["default", "other"]
    store.remove_map("other")
    assert store.maps().to_frame()["neighbors"].tolist() == [8]
    with pytest.raises(StoreError, match="there are: default"):
        store.remove_map("other")
    with pytest.raises(SelectionError, match="cannot name a map"):
        store.map("../other")


def test_what_came_later_is_placed_and_all_else_stays(folder: Path) -> None:
    before = bp.open(folder).map()
    _append(EmbeddingStore.open(folder), 60, 9)
    store = bp.open(folder)
    assert store.maps().to_frame()["not_placed"].tolist() == [9]
    found = store.map()
    np.testing.assert_array_equal(found.points[:60], before.points)
    assert "9 placed on it since" in str(found.notes[0])
    assert found.fitted.sum() == 60
    gaps = np.square(found.points[60:, None] - found.points[:60]).sum(axis=2).argsort(axis=1)
    assert (gaps[:, :3] % 3 == np.arange(60, 69)[:, None] % 3).all()
    # They are kept, and have a place in the figures of trust.
    again = store.map()
    np.testing.assert_array_equal(again.points, found.points)
    assert again.faith.n_sample == 69
    refitted = store.map(refit=True)
    assert refitted.fitted.all()
    assert refitted.provenance.options["neighbors"] == 8
    assert not np.array_equal(refitted.points[:60], before.points)


def test_pictures_whose_table_was_changed_keep_their_places(folder: Path) -> None:
    before, store = bp.open(folder).map(), EmbeddingStore.open(folder)
    frame = store.images.frame.iloc[:9].assign(kind="horse")
    store.append(frame, store.read_vectors(np.arange(9)), retired=range(9))
    found = bp.open(folder).map()
    assert found.to_frame()["kind"].tolist()[-9:] == ["horse"] * 9
    np.testing.assert_array_equal(found.points, np.roll(before.points, -9, axis=0))


def test_settings_of_a_map_are_not_changed_unsaid(folder: Path) -> None:
    store = bp.open(folder)
    with pytest.raises(MisuseError, match=r"--neighbors 8, got 9; .* --refit"):
        store.map(neighbors=9)
    with pytest.raises(MisuseError, match="--seed 0, got 1"):
        store.map(seed=1)
    assert len(store.map(neighbors=8, seed=0).rows) == 60
    drawn = store.map("drawn", sample=40, neighbors=8, seed=1)
    assert drawn.fitted.sum() == 40
    assert np.isfinite(drawn.points).all()
    other = store.map("drawn", sample=40, seed=2, refit=True)
    assert other.fitted.tolist() != drawn.fitted.tolist()
    few = store.map("few", sample=20)
    assert "fitted to fewer images than were placed" in str(few.notes[-1])
    assert "says little" in str(store.where("kind == 'cat'").map("cats").notes[-1])


def test_verification_finds_damage_and_repair_lays_it_aside(folder: Path) -> None:
    path = folder / "maps" / "default.parquet"
    whole = path.read_bytes()
    assert bp.open(folder).verify().is_whole
    at = whole.index(np.float32(pd.read_parquet(path)["x"][3]).tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    found = bp.open(folder).verify()
    assert [one.where for one in found.problems] == ["maps/default.parquet"]
    with pytest.raises(StoreError, match="make the map again"):
        bp.open(folder).map()
    assert "cannot be read" in bp.open(folder).info().to_dict()["maps"]["default"]
    repaired = bp.open(folder).verify(repair=True)
    assert repaired.is_whole
    assert "the maps default are damaged" in str(repaired.notes[0])
    assert (folder / "damaged" / "maps-default.parquet").is_file()
    assert verify_maps(folder) == []
    path.write_bytes(whole)
    assert bp.open(folder).info().to_dict()["maps"] == {
        "default": "60 images, fitted to 60 of them"
    }


def test_a_map_that_cannot_be_read_is_made_again_by_refit(folder: Path) -> None:
    before = bp.open(folder).map()
    (folder / "maps" / "default.parquet").write_bytes(b"PAR1")
    again = bp.open(folder).map(neighbors=8, refit=True)
    np.testing.assert_array_equal(again.points, before.points)
    assert "was damaged" in " ".join(map(str, again.notes))


def test_removed_rows_leave_the_map_with_a_compaction(folder: Path) -> None:
    store = bp.open(folder)
    before = store.map()
    removed = store.where("kind == 'cat' and path != '0.jpg'").remove()
    assert "map default: 19 of them" in " ".join(map(str, removed.notes))
    assert len(bp.open(folder).map().rows) == 41
    bp.open(folder).remove(undo="all")
    assert len(bp.open(folder).map().rows) == 60
    bp.open(folder).where("kind == 'cat' and path != '0.jpg'").remove()
    done = bp.open(folder).compact()
    assert done.counts["maps"] == 1
    after = bp.open(folder).map()
    kept = [row for row in range(60) if row % 3 or row == 0]
    np.testing.assert_array_equal(after.points, before.points[kept])
    assert "photos/3.jpg" not in pd.read_parquet(folder / "maps" / "default.parquet").to_string()
    # Where none is left that it was fitted to, no other can be placed.
    bp.open(folder).where("path == '0.jpg'").map("lone")
    bp.open(folder).remove(row=0)
    done = bp.open(folder).compact()
    assert "the map lone goes" in " ".join(map(str, done.notes))
    assert bp.open(folder).maps().to_frame()["name"].tolist() == ["default"]


def test_the_command_writes_places_beside_labels(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "map.csv"
    assert run(["map", "--store", str(folder), "--where", "kind == 'dog'", "-o", str(target)]) == 0
    assert "trustworthiness" in capsys.readouterr().err
    frame = pd.read_csv(target)
    assert frame["kind"].unique().tolist() == ["dog"]
    assert frame[["x", "y"]].notna().all(axis=None)
    said = json.loads((tmp_path / "map.csv.provenance.json").read_text())
    assert said["options"]["method"] == "t-SNE"
    assert run(["store", "maps", "--store", str(folder)]) == 0
    assert "default" in capsys.readouterr().out
    assert run(["store", "remove-map", "default", "--store", str(folder)]) == 0
    assert run(["map", "--seed", "-1", "--store", str(folder)]) == 2
