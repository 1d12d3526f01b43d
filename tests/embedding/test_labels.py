from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bioprobe.embedding.embedder import find_said, is_said


@pytest.mark.parametrize("value", ["", None, float("nan"), pd.NA, pd.NaT])
def test_what_is_missing_says_nothing(value: object) -> None:
    assert find_said({"x": value, "y": "z"}) == {"y": "z"}
    assert is_said({}, {"x": value})
    assert not is_said({"x": "a"}, {"x": value})
    assert not is_said({"x": "a"}, {})


@pytest.mark.parametrize(
    "value", ["Felidae", 0, False, 2.5, pd.Timestamp("2024-05-01"), [1, 2], {"lat": 1.5}, []]
)
def test_any_value_that_a_table_holds_is_compared(value: object) -> None:
    assert list(find_said({"x": value})) == ["x"]
    assert is_said({"x": value}, {"x": value, "y": "more"})
    assert not is_said({"x": value}, {"x": "other"})


def test_lists_are_compared_with_the_arrays_they_come_back_as() -> None:
    values = find_said({"emb": np.array([1.0, 2.0]), "parts": [{"n": [1, 2]}]})
    assert is_said(
        values, {"emb": np.array([1.0, 2.0]), "parts": np.array([{"n": np.array([1, 2])}])}
    )
    assert not is_said(values, {"emb": np.array([1.0, 2.5]), "parts": [{"n": [1, 2]}]})
    assert not is_said({"emb": [1.0, 2.0]}, {"emb": [1.0]})
