"""A folder that is watched, by the face: each round of it does what a test says in between."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.face.watching import Watched
from bioprobe.store import EmbeddingStore

TAXA = "class,order,family,genus,species,common_name\n" + "\n".join(
    f"Mammalia,Carnivora,{family},{species.split()[0]},{species},{common}"
    for family, species, common in (
        ("Felidae", "Panthera leo", "lion"),
        ("Felidae", "Lynx lynx", "lynx"),
        ("Canidae", "Canis lupus", "wolf"),
    )
)


class Round:
    """A watch whose rounds are steps of a test, with all that it said."""

    def __init__(self, folder: Path) -> None:
        self.inbox, self.store = folder / "inbox", folder / "store"
        self.answers = folder / "answers.csv"
        self.taxa = folder / "taxa.csv"
        self.taxa.write_text(TAXA)
        self.inbox.mkdir()
        self.said: list[str] = []
        self.alerts: list[str] = []

    def watch(
        self,
        *steps: Callable[[], object],
        **options: Any,  # noqa: ANN401 - whatever an option takes
    ) -> Watched:
        """Watch, doing one step before each look, until there is none."""
        left: list[Callable[[], object]] = [dict, *steps, dict]

        def ends() -> bool:
            if not left:
                return True
            left.pop(0)()
            return False

        asked: dict[str, Any] = {
            "store": self.store, "model": "plain", "taxa": self.taxa, "output": self.answers,
            "settle": 0, "wait": 0, "patience": 0, "rescan": 0.05, "until": ends,
        }  # fmt: skip
        return bp.watch(self.inbox, tell=self.tell, **{**asked, **options})

    def tell(self, line: str) -> None:
        (self.alerts if line.startswith("ALERT") else self.said).append(line)

    def draw(self, *numbers: int, folder: str = "", at_s: float | None = None) -> None:
        """Draw pictures by their number; the same number is the same bytes."""
        for number in numbers:
            file = self.inbox / folder / f"{number:03d}.png"
            file.parent.mkdir(exist_ok=True)
            noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((20, 20)).save(file)
            if at_s is not None:
                os.utime(file, (at_s, at_s))

    @property
    def rows(self) -> Sequence[str]:
        """Files of the current rows of the store."""
        opened = EmbeddingStore.open(self.store)
        return sorted(opened.images.frame["path"].iloc[opened.rows])

    @property
    def lines(self) -> list[str]:
        """Files that were answered, in the order of the lines."""
        with self.answers.open() as stream:
            return [row["file_name"] for row in csv.DictReader(stream)]


@pytest.fixture
def day(tmp_path: Path, loads: list[str]) -> Round:
    assert not loads
    return Round(tmp_path)


def test_what_was_there_comes_first_and_what_arrives_after_it(day: Round) -> None:
    day.draw(1, 2)
    found = day.watch(lambda: day.draw(3, folder="below"))
    assert day.rows == ["001.png", "002.png", "below/003.png"]
    assert day.lines == ["001.png", "002.png", "below/003.png"]
    assert (found.n_embedded, found.n_answered, found.n_failed) == (3, 3, 0)
    batches = [line for line in day.said if "embedded" in line]
    assert [line[:10] for line in batches] == ["2 embedded", "1 embedded"]
    with day.answers.open() as stream:
        first = next(csv.DictReader(stream))
    asked = bp.open(day.store, model="plain").zeroshot(taxa=day.taxa, k=1, columns="none")
    best = asked.to_frame().iloc[0]
    assert first["species"] == best["species"]
    assert float(first["score"]) == pytest.approx(best["score"], rel=1e-6)
