from __future__ import annotations

import numpy as np
import pytest

from bioprobe.errors import SelectionError
from bioprobe.splits.making import import_parts


def _names(*names: str) -> np.ndarray:
    return np.array(names, dtype=object)


def test_the_usual_names_are_read_in_any_case() -> None:
    values = _names("train", "Training", "VAL", "valid", "validation", "dev", " test ", "testing")
    parts, unknown = import_parts(values)
    assert parts.tolist() == ["train"] * 2 + ["validation"] * 4 + ["test"] * 2
    assert unknown == {}


def test_values_that_are_no_part_are_counted_and_holes_are_not() -> None:
    parts, unknown = import_parts(_names("train", "extra", "", "extra", "query"))
    assert parts.tolist() == ["train", "", "", "", ""]
    assert unknown == {"extra": 2, "query": 1}


def test_names_given_replace_the_usual_ones() -> None:
    parts, unknown = import_parts(_names("A", "B", "test"), {"A": "train", "B": "test"})
    assert parts.tolist() == ["train", "test", ""]
    assert unknown == {"test": 1}


def test_a_column_without_train_is_refused_with_what_it_says() -> None:
    with pytest.raises(SelectionError, match=r"the column says: A \(2\), B \(1\)\. Say which"):
        import_parts(_names("A", "A", "B", "test"))
    with pytest.raises(SelectionError, match="got learn"):
        import_parts(_names("A"), {"A": "learn"})
