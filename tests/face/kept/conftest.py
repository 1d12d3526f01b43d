"""A store of four labelled images whose vectors, and those of texts, are written down."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import bioprobe.embedding  # noqa: F401 - binds its load_encoder before a test teaches another
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from bioprobe.store import EmbeddingStore

if TYPE_CHECKING:
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
def store(make_store: Callable[..., EmbeddingStore], make_encoder: type[PlainEncoder]) -> Store:
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
    made = make_store(make_encoder(dim=4)).append(frame, normalise_rows(np.array(VECTORS)))
    return open_store(made.folder)


@pytest.fixture
def teach(monkeypatch: pytest.MonkeyPatch, make_encoder: type[PlainEncoder]) -> Teach:
    """Make the store's encoder one that knows these texts alone."""

    def teach_texts(texts: dict[str, list[float]]) -> None:
        encoder = Dictionary(make_encoder(dim=4), texts)
        monkeypatch.setattr("bioprobe.encoders.load_encoder", lambda *_, **__: encoder)

    return teach_texts
