"""What a label or free column of one image says, and whether it says it already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def find_said(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are neither empty nor missing.

    Parameters
    ----------
    values : mapping
        Column to value, of any type that a table may hold.

    Examples
    --------
    >>> find_said({"family": "Felidae", "genus": "", "site": None, "count": 0})
    {'family': 'Felidae', 'count': 0}
    """
    return {name: value for name, value in values.items() if _says(value)}


def is_said(values: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Tell whether a row of the store has every one of the values.

    Parameters
    ----------
    values : mapping
        As :func:`find_said` returns it.
    row : mapping
        Column to value.
    """
    said = find_said(row)
    return all(name in said and _plain(said[name]) == _plain(values[name]) for name in values)


def _says(value: object) -> bool:
    import pandas as pd

    if not pd.api.types.is_scalar(value):
        return value is not None
    return not (pd.isna(value) or value == "")  # type: ignore[call-overload]


def _plain(value: object) -> object:
    # A list comes back from Parquet as an array, which compares element by element.
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value
