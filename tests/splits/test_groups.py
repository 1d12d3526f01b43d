from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bioprobe.cells import name_cells
from bioprobe.splits.groups import join_groups


def _names(*names: str) -> np.ndarray:
    return np.array(names, dtype=object)


def test_groups_of_several_kinds_join_all_that_links_reach() -> None:
    bursts = _names("1", "1", "", "2", "2", "")
    animals = _names("", "x", "x", "x", "", "")
    assert join_groups([bursts, animals], 6).tolist() == ["g1", "g1", "g1", "g1", "g1", ""]


def test_equal_names_of_different_kinds_are_different_groups() -> None:
    assert join_groups([_names("1", "1", "", ""), _names("", "", "1", "1")], 4).tolist() == [
        "g1", "g1", "g2", "g2",
    ]  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, 3])
def test_without_groups_every_image_is_on_its_own(n: int) -> None:
    assert join_groups([], n).tolist() == [""] * n
    assert join_groups([_names(*[""] * n)], n).tolist() == [""] * n
    assert join_groups([_names(*"abc"[:n])], n).tolist() == [""] * n


def test_groups_are_named_as_their_cells_are_written() -> None:
    assert name_cells(pd.Series([3, 4])).tolist() == ["3", "4"]
    assert name_cells(pd.Series([3, None], dtype="Int64")).tolist() == ["3", ""]
    assert name_cells(pd.Series([3.0, None, 0.5])).tolist() == ["3.0", "", "0.5"]
    assert name_cells(pd.Series(["a", None, ""])).tolist() == ["a", "", ""]
    assert name_cells(pd.Series(["20240513123045001", "7", "007"])).tolist() == [
        "20240513123045001", "7", "007",
    ]  # fmt: skip


def test_one_name_in_two_forms_is_one_group() -> None:
    names = name_cells(pd.Series(["Mu\u0308ller", "M\u00fcller ", "M\u00fcller\u200b", "Muller"]))
    assert names.tolist() == ["Müller", "Müller", "Müller", "Muller"]
