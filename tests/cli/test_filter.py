from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import read_selection


def test_a_filter_keeps_a_mask_with_reasons(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["filter", "--keep", "animal", "--output", "animals.csv"]) == 0
    said = capsys.readouterr().err
    frame = pd.read_csv("animals.csv", keep_default_na=False)
    selection = read_selection(EmbeddingStore.open(store), "filters/animal")
    assert selection.kept.tolist() == frame["kept"].tolist()
    assert (frame["reason"] != "").tolist() == (~frame["kept"]).tolist()
    assert "--mask filters/animal" in said
    assert len(EmbeddingStore.open(store).rows) == len(frame)


@pytest.mark.parametrize(
    "change",
    [("--threshold", "1000"), ("--keep", "plant"), ("--where", "family == 'Canidae'")],
    ids=lambda change: change[0],
)
@pytest.mark.usefixtures("store")
def test_every_option_changes_the_answer(change: tuple[str, str]) -> None:
    assert run(["filter", "--quiet", "--output", "a.csv"]) == 0
    assert run(["filter", "--quiet", "--output", "b.csv", *change]) == 0
    assert Path("a.csv").read_text() != Path("b.csv").read_text()
