"""A label that no encoder reads is named and left out, and the other images are answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.errors import LongTextError
from bioprobe.sketch import draw_animal, read_species
from bioprobe.taxonomy import RANKS

LONG = "Longidae " + "x" * 100_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> bp.Store:
    folder = tmp_path_factory.mktemp("long")
    (folder / "photos").mkdir()
    rows = []
    for number, species in enumerate(read_species()[:6]):
        name = f"{number}.png"
        draw_animal(species, np.random.default_rng(number)).save(folder / "photos" / name)
        family = LONG if number < 2 else species.lineage[RANKS.index("family")]
        rows.append({"path": name, "family": family, "site": "AB"[number % 2]})
    rows[0]["site"] = LONG
    pd.DataFrame(rows).to_csv(folder / "photos" / "pictures.csv", index=False)
    return bp.embed(folder / "photos" / "pictures.csv", store=folder / "store", model="sketch")


def _find_note(answers: object) -> str:
    notes: list[object] = list(getattr(answers, "notes"))  # noqa: B009
    (said,) = [note for note in notes if "left out" in str(note)]
    assert getattr(said, "kind") == "problem"  # noqa: B009
    return str(said)


@pytest.mark.parametrize(
    ("ask", "n_images"),
    [
        (lambda store: store.zeroshot("family", k=1), 2),
        (lambda store: store.zeroshot("site", k=1), 1),
        (lambda store: store.filter("animal"), 2),
    ],
)
def test_the_rest_is_answered_and_the_name_is_said(
    store: bp.Store, ask: Callable[[bp.Store], object], n_images: int
) -> None:
    answers = ask(store)
    said = _find_note(answers)
    assert f"'{LONG[:60]}…' (100,009 characters, the label of {n_images} images)" in said
    assert f"; {n_images} images have such a label" in said
    assert len(said) < 400
    assert len(answers.to_frame()) == len(store)  # type: ignore[attr-defined]


def test_a_name_of_a_list_is_said_to_be_of_the_list(store: bp.Store, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"family\nFelidae\nCanidae\n{LONG.replace(' ', '')}\n")
    answers = store.zeroshot("family", taxa=tmp_path / "list.csv", k=1)
    assert "characters, of the list)" in _find_note(answers)
    assert set(answers.to_frame()["family"]) <= {"Felidae", "Canidae"}


def test_texts_that_are_too_long_are_told_at_once() -> None:
    texts = ["a cat", "x " * 500, "a dog", "y " * 500]
    with pytest.raises(LongTextError, match=r'text "x x .{50,60}…" has [0-9,]+ tokens') as raised:
        bp.encoder("sketch").texts(texts)
    assert raised.value.texts == (texts[1], texts[3])


def test_where_every_class_is_too_long_it_is_an_error(store: bp.Store) -> None:
    with pytest.raises(LongTextError, match="tokens"):
        store.zeroshot(classes=[LONG])
