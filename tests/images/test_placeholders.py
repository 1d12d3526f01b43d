"""Labels that look like none are counted, and emptied where that is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.images import ImageTable
from bioprobe.images.placeholders import count_placeholders, find_placeholders


def _build(**columns: list[object]) -> ImageTable:
    return ImageTable.build(pd.DataFrame(columns))


PLACED = {
    "genus": ["Panthera", "Panthera", "", "?", "", ""],
    "species": ["Panthera #N/A", "Panthera leo", "TBD", "? leo", "#n/a", "Nanger dama"],
    "family": ["Felidae", "?", "n/a", "", "", ""],
}


def test_labels_that_look_like_none_are_counted_and_stay() -> None:
    table = _build(path=list("abcdef"), **PLACED)  # type: ignore[arg-type]
    found = find_placeholders(table.frame)
    assert found.n_rows == 5
    assert found.counts == {"?": 2, "#N/A": 1, "n/a": 1, "TBD": 1, "#n/a": 1}
    assert table.frame["family"].tolist() == PLACED["family"]


@pytest.mark.parametrize("label", [None, ["NA", "NA", "deer", None, "?", "na"]])
def test_of_rows_that_are_alike_one_is_looked_at(label: list[str | None] | None) -> None:
    columns: dict[str, Any] = PLACED | ({} if label is None else {"label": label})
    table = _build(path=list("abcdef"), **columns)
    rows = np.array([5, 0, 1, 1, 2, 3, 3, 3, 4])
    found = find_placeholders(table.frame.iloc[rows])
    assert count_placeholders(table, rows) == (found.n_rows, found.counts)
    assert count_placeholders(table, rows[:0]) == (0, {})


@pytest.mark.parametrize(
    ("given", "n_rows"), [(["#N/A", " tbd"], 3), (["?"], 2), ([], 0), ([""], 0)]
)
def test_labels_that_are_said_to_be_none_are_emptied(given: list[str], n_rows: int) -> None:
    table = _build(path=list("abcdef"), **PLACED)  # type: ignore[arg-type]
    found = find_placeholders(table.frame, given)
    assert found.n_rows == n_rows
    assert found.frame["species"].tolist() == [
        "" if given and given[0] in {"#N/A"} and label in {"Panthera #N/A", "TBD", "#n/a"}
        else "" if given == ["?"] and label == "? leo" else label
        for label in PLACED["species"]
    ]  # fmt: skip


def test_a_label_that_is_no_taxon_may_be_none_too() -> None:
    table = _build(path=list("abc"), label=["NA", "deer", None])
    assert find_placeholders(table.frame).counts == {"NA": 1}
    emptied = find_placeholders(table.frame, ["na"]).frame["label"]
    assert emptied.fillna("").tolist() == ["", "deer", ""]
    numbers = find_placeholders(_build(path=list("ab"), label=[-1, 3]).frame, ["-1"])
    assert numbers.frame["label"].astype(object).fillna("").tolist() == ["", 3]
