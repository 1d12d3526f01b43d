from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection

ASKED = [
    ["zeroshot", "--level", "phylum", "-k", "1"],
    ["search", "--text", "a yellow fish", "-k", "1000"],
]


@pytest.mark.parametrize("command", ASKED, ids=lambda command: command[0])
def test_only_what_the_mask_keeps_is_answered(
    store: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    opened = EmbeddingStore.open(store)
    judged = opened.rows[:-3]
    write_selection(opened, "half", judged, judged % 2 == 0)
    assert run([*command, "--mask", "half", "--format", "csv"]) == 0
    captured = capsys.readouterr()
    frame = pd.read_csv(io.StringIO(captured.out))
    # What a mask leaves out is a row without an answer.
    rows = frame["row"][frame["answer"].notna()] if "answer" in frame else frame["row"]
    assert np.array_equal(np.sort(rows), judged[judged % 2 == 0])
    assert "3 not judged" in captured.err


@pytest.mark.parametrize("command", ASKED, ids=lambda command: command[0])
@pytest.mark.usefixtures("store")
def test_a_mask_that_is_not_there_fails(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert run([*command, "--mask", "none"]) == 1
    assert "no mask 'none'" in capsys.readouterr().err
