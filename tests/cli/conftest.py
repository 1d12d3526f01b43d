"""A small store of drawn pictures, embedded once by the real model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bioprobe.cli.app import run
from bioprobe.sketch import write_pictures
from bioprobe.taxonomy import RANKS


@pytest.fixture(scope="session")
def drawn(make_once: Callable[..., Path]) -> Path:
    """Return a folder with ``photos/pictures.csv`` and a store of them."""
    return make_once("drawn", _draw)


def _draw(folder: Path) -> None:
    write_pictures(folder / "photos", 1, 2, 5)
    code = run(
        ["embed", str(folder / "photos" / "pictures.csv"), "--model", "sketch", "--store",
         str(folder / "store"), "--quiet"]
    )  # fmt: skip
    assert code == 0
    _ask_once(folder)


def _ask_once(folder: Path) -> None:
    """Let the store keep the embeddings of the texts that most tests ask, and nothing else."""
    asked = Path(shutil.copytree(folder / "store", folder / "asked"))
    told = ["--store", str(asked), "--output", str(folder / "told.csv"), "--quiet"]
    assert run(["filter", "--keep", "animal,plant", *told]) == 0
    for level in RANKS:
        assert run(["zeroshot", "--level", level, *told]) == 0
    (asked / "text").rename(folder / "store" / "text")
    shutil.rmtree(asked)


@pytest.fixture(autouse=True)
def shared_embeddings(request: pytest.FixtureRequest) -> None:
    """Let every test that asks the drawn pictures share what a model computes of them."""
    if "drawn" in request.fixturenames:
        request.getfixturevalue("each_input_once")


@pytest.fixture
def store(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the store that a test may change, in a folder of its own."""
    shutil.copytree(drawn / "store", tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIOPROBE_STORE", "store")
    return tmp_path / "store"
