from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore

Capture = pytest.CaptureFixture[str]


def test_a_damaged_shard_is_named_taken_out_and_embedded_again(
    store: Path, drawn: Path, capsys: Capture
) -> None:
    images = EmbeddingStore.open(store).images
    names = images.file_names
    before = [str(images.find_file(row)) for row in range(len(images))]
    file = store / "shards" / "00000" / "vectors.npy"
    file.write_bytes(file.read_bytes()[:-1])
    assert run(["store", "verify"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("shards/00000/vectors.npy: its SHA-256 is ")
    assert said.err.endswith("or run: bioprobe store verify --repair\n")

    assert run(["store", "verify", "--repair"]) == 0
    said = capsys.readouterr()
    lost = [line.removeprefix("lost: ") for line in said.out.splitlines()[1:]]
    assert lost == before
    assert f"{len(before)} images in 1 damaged shards taken out, which now lie in store" in said.err
    assert "store is whole: 0 images in 0 shards" in said.err

    assert run(["embed", str(drawn / "photos" / "pictures.csv"), "--quiet"]) == 0
    again = EmbeddingStore.open(store)
    assert sorted(again.images.file_names) == sorted(names)
    assert run(["store", "verify", "--quiet"]) == 0


def test_what_a_damaged_image_table_listed_is_counted(store: Path, capsys: Capture) -> None:
    n_images = len(EmbeddingStore.open(store))
    (store / "shards" / "00000" / "images.parquet").write_bytes(b"")
    assert run(["store", "verify", "--repair", "--quiet"]) == 0
    assert f"lost: {n_images} images of a damaged image table\n" in capsys.readouterr().out


def test_every_question_names_a_damaged_image_table(store: Path, capsys: Capture) -> None:
    assert run(["split", "--level", "family", "--quiet"]) == 0
    assert run(["evaluate", "--level", "family", "--methods", "centroid", "--quiet"]) == 0
    file = store / "shards" / "00000" / "images.parquet"
    assert b"width_px" in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(b"width_px", b"w\xffdth_px"))
    for command in (
        ["report", "--output", "report.html"],
        ["describe"],
        ["search", "--row", "0"],
        ["dedupe"],
        ["split", "--level", "family", "--name", "other"],
        ["evaluate", "--level", "family", "--methods", "centroid"],
        ["probe", "fit", "lda", "--level", "family"],
        ["taxa", "list"],
        ["store", "info"],
        ["store", "export", "vectors.npy", "--layout", "npy"],
    ):
        capsys.readouterr()
        assert run(command) == 1, command
        said = capsys.readouterr().err
        assert "00000/images.parquet cannot be read (its SHA-256 is not" in said, command
        assert "run: bioprobe store verify --repair" in said, command


def test_a_whole_store_is_said_to_be_whole(store: Path, capsys: Capture) -> None:
    manifest = (store / "manifest.json").read_bytes()
    assert run(["store", "verify", "--repair"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("store is whole: ")
    assert (store / "manifest.json").read_bytes() == manifest


def test_prune_retires_what_is_gone_and_says_how_many(
    store: Path, drawn: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(drawn / "photos", tmp_path / "photos")
    n_lions = len(list((tmp_path / "photos" / "panthera-leo").iterdir()))
    embed = ["embed", str(tmp_path / "photos"), "--prune"]
    assert run(embed) == 0
    assert "\n0 rows retired whose file is gone\n" in capsys.readouterr().err
    n_current = len(EmbeddingStore.open(store).rows)
    shutil.rmtree(tmp_path / "photos" / "panthera-leo")
    assert run(embed[:-1]) == 0
    assert len(EmbeddingStore.open(store).rows) == n_current
    assert run(embed) == 0
    assert f"\n{n_lions} rows retired whose file is gone\n" in capsys.readouterr().err
    assert len(EmbeddingStore.open(store).rows) == n_current - n_lions


def test_without_its_disk_nothing_is_pruned(
    store: Path, drawn: Path, tmp_path: Path, capsys: Capture
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(drawn / "photos", photos)
    assert run(["embed", str(photos / "panthera-leo"), "--quiet"]) == 0
    before = EmbeddingStore.open(store).manifest
    shutil.rmtree(photos / "panthera-leo")
    embed = ["embed", str(photos / "panthera-leo"), "--prune", "--quiet"]
    assert run(embed) == 1
    assert "no file or folder at" in capsys.readouterr().err
    (photos / "panthera-leo").mkdir()
    assert run(embed) == 1
    assert "holds no image" in capsys.readouterr().err
    assert EmbeddingStore.open(store).manifest == before
    assert run(["embed", str(photos), "--prune", "--quiet"]) == 0
    assert " files lie in folders that are missing, empty or forbidden; their" in (
        capsys.readouterr().err
    )
    assert EmbeddingStore.open(store).manifest.retired == before.retired
