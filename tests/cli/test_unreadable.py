"""Each part of a store that cannot be read is named, with the reason, by whoever needs it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bioprobe.cli.app import run

Capture = pytest.CaptureFixture[str]

SHARD = "shards/00000"
VECTORS, IMAGES = f"{SHARD}/vectors.npy", f"{SHARD}/images.parquet"
# For each part, who cannot do without it.
NEEDED_BY = {
    "manifest.json": ["store info", "store verify --repair", "taxa add Prunella", "probe list"],
    "shards": ["store verify --repair", "search --row 0"],
    SHARD: ["store verify --repair", "describe"],
    VECTORS: ["store verify", "store verify --repair", "search --row 0", "dedupe"],
    IMAGES: ["store verify --repair", "taxa list", "split --level family", "store info"],
    "selections": ["split", "store masks", "describe --mask mine", "probe fit lda --level family"],
    "selections/splits": ["split", "store masks", "evaluate --level family --methods lda"],
    "selections/splits/default.parquet": ["evaluate --level family --methods lda"],
    "evaluations": ["report --output page.html"],
    "evaluations/family.json": ["report --output page.html"],
    "evaluations/family-*.parquet": ["report --output page.html"],
    "probes": ["probe list", "probe predict centroid", "probe remove centroid"],
    "probes/centroid": ["probe list", "probe show centroid"],
    "probes/centroid/probe.json": ["probe predict centroid"],
    "probes/centroid/probe-*.safetensors": ["probe predict centroid"],
    "taxa.csv": ["taxa list", "taxa add Prunella", "taxa remove Lynx", "zeroshot --level family"],
    "failures.parquet": ["store info"],
}
OPTIONAL = {"text": "search --text lion", "text/*/*.npy": "search --text lion"}
# What nobody may be told of what is there.
FALSE = (
    "--repair", "make one", "makes one", "Make it", "are: none", "embed again", "embed lists anew",
    "damaged", "missing", "no store", "Traceback", "fit it again", "remove it",
)  # fmt: skip


@pytest.fixture(scope="module")
def filled(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with one of everything."""
    folder = tmp_path_factory.mktemp("filled") / "store"
    shutil.copytree(drawn / "store", folder)
    picture = next((drawn / "photos" / "panthera-leo").iterdir())
    (folder.parent / "gone.csv").write_text(f"path\ngone.jpg\n{picture}\n")
    for command in (
        "split --level family",
        "evaluate --level family --methods centroid",
        "probe fit centroid --level family",
        "taxa add Lynx --lineage Animalia,Chordata,Mammalia,Carnivora,Felidae",
        "search --text lion",
        f"embed {folder.parent}/gone.csv",
    ):
        assert run([*command.split(), "--store", str(folder), "--quiet"]) in {0, 1}, command
    return folder


@pytest.fixture
def store(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(filled, tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIOPROBE_STORE", "store")
    return tmp_path / "store"


def _find(store: Path, part: str) -> Path:
    return next(iter(store.glob(part))) if "*" in part else store / part


def _refuse(part: Path) -> None:
    # A link to itself: nobody can read it, not even an administrator.
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink()
    part.symlink_to(part.name)


@pytest.mark.parametrize("part", NEEDED_BY)
def test_what_cannot_be_read_is_named_with_the_reason(
    store: Path, part: str, capsys: Capture
) -> None:
    manifest = (store / "manifest.json").read_bytes()
    path = _find(store, part)
    _refuse(path)
    for command in NEEDED_BY[part]:
        capsys.readouterr()
        assert run(command.split()) == 1, command
        said = "".join(capsys.readouterr())
        assert f"{store.name}/{path.relative_to(store)}" in said, (command, said)
        assert "too many levels of symbolic links" in said, (command, said)
        assert not [word for word in FALSE if word in said], (command, said)
    if part != "manifest.json":
        assert (store / "manifest.json").read_bytes() == manifest


@pytest.mark.parametrize("part", OPTIONAL)
def test_without_the_cache_of_texts_the_answer_is_the_same(
    store: Path, part: str, capsys: Capture
) -> None:
    assert run([*OPTIONAL[part].split(), "--quiet"]) == 0
    answer = capsys.readouterr().out
    for file in list(store.glob(part)):
        _refuse(file)
    assert run([*OPTIONAL[part].split(), "--quiet"]) == 0
    assert capsys.readouterr() == (answer, "")


@pytest.mark.parametrize("part", [".", *NEEDED_BY])
def test_the_word_is_permission(store: Path, part: str, capsys: Capture) -> None:
    command = "split" if part == "." else NEEDED_BY[part][0]
    path = _find(store, part)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("nothing is forbidden to an administrator")
    try:
        assert run(command.split()) == 1
    finally:
        path.chmod(0o700)
    said = "".join(capsys.readouterr())
    assert "permission denied; get the right to read it" in said
    assert not [word for word in FALSE if word in said]


def test_what_was_taken_out_is_put_back(store: Path, capsys: Capture) -> None:
    before = (store / "manifest.json").read_bytes()
    whole = (store / VECTORS).read_bytes()
    (store / VECTORS).write_bytes(whole[:-1])
    assert run(["store", "verify", "--repair"]) == 0
    assert run(["store", "verify", "--restore"]) == 1
    said = capsys.readouterr()
    assert "damaged/00000/vectors.npy: its SHA-256 is " in said.out
    assert "Error: not all was put back; restore these files from a copy" in said.err
    (store / "damaged/00000/vectors.npy").write_bytes(whole)
    assert run(["store", "verify", "--restore"]) == 0
    said = capsys.readouterr()
    assert said.out == "put back: shards/00000\n"
    assert "images in 1 shards put back\nstore is whole: " in said.err
    assert (store / "manifest.json").read_bytes() == before
    assert run(["store", "verify", "--restore", "--repair"]) == 2


def test_of_homonyms_the_one_that_is_meant_is_removed(store: Path, capsys: Capture) -> None:
    bird = "Animalia,Chordata,Aves,Passeriformes,Prunellidae"
    herb = "Plantae,Tracheophyta,Magnoliopsida,Lamiales,Lamiaceae"
    for lineage in (bird, herb):
        assert run(["taxa", "add", "Prunella", "--lineage", lineage, "--quiet"]) == 0
    assert run(["taxa", "remove", "Prunella"]) == 1
    said = capsys.readouterr().err
    assert "'Prunella' names 2 taxa" in said
    assert "Prunellidae > Prunella; Plantae > " in said
    assert run(["taxa", "check", "Prunella"]) == 1
    assert "say which with --lineage" in capsys.readouterr().err
    # No picture can be read: nothing is added, and nothing else is taken back.
    (store.parent / "none.png").write_bytes(b"")
    third = "Animalia,Mollusca,Gastropoda,Littorinimorpha,Prunellidae"
    add = ["taxa", "add", "Prunella", "--lineage", third, "--images", "none.png"]
    assert run(add) == 1
    for option, left in ((["--parent", "Lamiaceae"], 1), (["--lineage", bird], 0)):
        assert run(["taxa", "remove", "Prunella", *option, "--quiet"]) == 0
        capsys.readouterr()
        assert run(["taxa", "list", "--format", "csv", "--quiet"]) == 0
        assert capsys.readouterr().out.count(",Prunella,") == left
    assert run(["taxa", "remove", "Lynx", "--parent", "Canidae"]) == 1
    assert "added were: Animalia > Chordata > " in capsys.readouterr().err
