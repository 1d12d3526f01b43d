"""Stores as people hold them, of vectors that are written down or of the plain encoder's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import bioprobe as bp
import bioprobe.embedding.encoder_choice
import bioprobe.encoders
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

Vectors = npt.NDArray[np.float32]
Teach = Callable[[dict[str, list[float]]], None]

CAT = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
DOG = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae")
SPECIES = ("Panthera leo", "Panthera leo", "Lynx lynx", "Canis lupus")
VECTORS: Sequence[Sequence[float]] = ([1, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0])


@dataclasses.dataclass
class Dictionary:
    """An encoder of texts whose embeddings are written down; pictures are a plain encoder's."""

    plain: PlainEncoder
    texts: dict[str, list[float]]

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        return normalise_rows(np.array([self.texts[text] for text in texts]))

    def __getattr__(self, name: str) -> object:
        return getattr(self.plain, name)


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore]) -> Store:
    lineages = (CAT, CAT, CAT, DOG)
    frame = pd.DataFrame(
        {
            "root": "photos",
            "path": [f"{number}.jpg" for number in range(4)],
            "family": [lineage[-1] for lineage in lineages],
            "genus": [name.split()[0] for name in SPECIES],
            "species": SPECIES,
            "common_name": ["lion", "lion", "lynx", "wolf"],
            "sha256": [f"{number:064x}" for number in range(4)],
        }
    )
    made = make_store(PlainEncoder(dim=4)).append(frame, normalise_rows(np.array(VECTORS)))
    return open_store(made.folder)


@pytest.fixture
def teach(monkeypatch: pytest.MonkeyPatch) -> Teach:
    """Make the store's encoder one that knows these texts alone."""

    def teach_texts(texts: dict[str, list[float]]) -> None:
        encoder = Dictionary(PlainEncoder(dim=4), texts)
        monkeypatch.setattr("bioprobe.encoders.load_encoder", lambda *_, **__: encoder)

    return teach_texts


FAMILIES = ("Felidae", "Canidae", "")


@pytest.fixture
def loads(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:  # noqa: ANN401
    """Let every name load the plain encoder, and return the names that were asked for."""
    named: list[str] = []

    def load(name: str, **_: object) -> Any:  # noqa: ANN401
        named.append(name)
        return encoder

    monkeypatch.setattr(bioprobe.encoders, "load_encoder", load)
    monkeypatch.setattr(bioprobe.embedding.encoder_choice, "load_encoder", load)
    return named


@pytest.fixture
def labelled(write_pictures: Callable[..., Path]) -> Path:
    """Write six pictures with a table of families: two of each of two, two unknown."""
    folder = write_pictures(6)
    families = [FAMILIES[number % 3] for number in range(6)]
    kingdoms = ["Animalia" if family else "" for family in families]
    names = [f"{number:03d}.png" for number in range(6)]
    table = pd.DataFrame({"path": names, "kingdom": kingdoms, "family": families, "site": "north"})
    table.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


@pytest.fixture
def opened(labelled: Path, tmp_path: Path, loads: list[str]) -> bp.Store:
    """Return a store of these pictures."""
    made = bp.embed(labelled, store=tmp_path / "store", model="plain")
    loads.clear()
    return bp.open(made.folder)
