from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection

Capture = pytest.CaptureFixture[str]


def _ask(capsys: Capture, *arguments: str) -> pd.DataFrame:
    capsys.readouterr()
    assert run(["describe", *arguments, "--quiet", "--format", "csv"]) == 0
    return pd.read_csv(io.StringIO(capsys.readouterr().out))


@pytest.mark.usefixtures("store")
def test_ranks_are_listed_and_the_rest_is_said(capsys: Capture) -> None:
    assert run(["describe", "--output", "ranks.json"]) == 0
    said = capsys.readouterr().err
    assert "width: median" in said
    assert "modes: RGB" in said
    assert "not looked for (bioprobe dedupe)" in said
    written = json.loads(Path("ranks.json").read_text())
    assert [row["rank"] for row in written["rows"]][:2] == ["kingdom", "phylum"]
    assert written["provenance"]["n_copies"] == 0


def test_level_where_and_mask_change_what_is_counted(store: Path, capsys: Capture) -> None:
    counted = _ask(capsys)
    by_class = counted["rank"] == "class"
    classes = _ask(capsys, "--level", "class")
    assert [len(classes)] == counted["n_classes"][by_class].tolist()
    assert [classes["n_images"].sum()] == counted["n_labelled"][by_class].tolist()
    fewer = _ask(capsys, "--level", "class", "--where", "phylum == 'Chordata'")
    assert 0 < len(fewer) < len(classes)
    opened = EmbeddingStore.open(store)
    write_selection(opened, "half", opened.rows, opened.rows % 2 == 0)
    assert (_ask(capsys, "--mask", "half")["n_labelled"] < counted["n_labelled"]).all()
