"""Stores and encoders as people ask for them, with the plain encoder behind every name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bioprobe as bp
import bioprobe.embedding.encoder_choice
import bioprobe.encoders

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
def store(labelled: Path, tmp_path: Path, loads: list[str]) -> bp.Store:
    """Return a store of these pictures."""
    made = bp.embed(labelled, store=tmp_path / "store", model="plain")
    loads.clear()
    return bp.open(made.folder)
