"""Cells of tables: a cell keeps what was written, whatever stands in the cells beside it.

Tables say with text what they hold, and pandas reads as much of it as numbers as it can: a column
of identifiers with one empty cell becomes floats of 15 digits, ``007`` becomes 7. Here a column is
of numbers only where each of its cells is written as Python writes that number; all else is text.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.names import unify

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: Up to here a float holds every whole number; what is larger is the name of something.
LARGEST = 2**53
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,15}")
_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")
# What frames of shards say of themselves that were written since cells keep what was written.
_MARK: dict[Hashable | None, Any] = {"bioprobe_cells": 1}


#: Words, in small letters, with which tables say that nothing is known. As labels they are names
#: until a person says that they are none: a class may be called unknown.
PLACEHOLDERS = (
    "nan", "na", "n/a", "n.a.", "<na>", "#n/a", "#na", "#value!", "#ref!", "#name?", "#null!",
    "null", "nil", "none", "-", "--", "?", "??", "???", ".", "tbd", "tba", "unknown",
    "unidentified", "undetermined", "not available", "missing", "-1", "-99", "-999", "-9999",
    "#nv", "#n/v", "#n/d", "#wert!", "#bezug!", "#valeur!", "k.a.", "n.d.", "s/d", "s.d.", "...",
    "\u2026", "\u2013", "\u2014",
)  # fmt: skip


def write_cell(value: object) -> str:
    """Return the text of a value, as a table that holds it shows it.

    Examples
    --------
    >>> write_cell(3), write_cell(0.5), write_cell(True), write_cell("007")
    ('3', '0.5', 'True', '007')
    """
    if isinstance(value, datetime.datetime) and value.time() == datetime.time.min:
        return str(value.date()) if value.tzinfo is None else str(value)
    return str(value)


def write_cells(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as text, None where it has a hole.

    Parameters
    ----------
    values : Series
        Of any dtype.

    Returns
    -------
    Series of object
    """
    import pandas as pd

    if isinstance(values.dtype, pd.StringDtype):
        return values.astype(object).where(values.notna(), None)
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "f":
        # By the array: float32 has no value in Python that is written as short.
        texts: Any = values.to_numpy().astype(str)
    else:
        texts = [write_cell(value) for value in values]
    out = np.array(texts, dtype=object)
    out[values.isna().to_numpy()] = None
    return pd.Series(out, index=values.index, name=values.name, dtype=object)


def number_cells(
    values: pd.Series[Any],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.object_]]:
    """Return the distinct cells of a column in the form in which names compare, and where each is.

    Returns
    -------
    numbers : ndarray of int64, shape (n_rows,)
        Place of each row's cell among the distinct ones, -1 where it is a hole.
    distinct : ndarray of object, shape (n_distinct,)
        Texts as :func:`bioprobe.names.unify` returns them.
    """
    import pandas as pd

    if values.dtype == object and find_kind(values) != "string":
        # What cannot be hashed, and what is equal and written otherwise: 1, 1.0 and True.
        values = write_cells(values)
    numbers, found = pd.factorize(values)
    written = write_cells(pd.Series(found)).tolist()
    texts = [unify(text) for text in written]
    if texts != written:
        again, distinct = pd.factorize(np.array(texts, dtype=object))
        return np.append(again, -1)[numbers].astype(np.int64), np.asarray(distinct, dtype=object)
    return numbers.astype(np.int64), np.array(texts, dtype=object)


def name_cells(values: pd.Series[Any]) -> npt.NDArray[np.object_]:
    """Return a column as texts in the one form in which names compare, ``""`` for holes.

    Returns
    -------
    ndarray of object, shape (n_rows,)
    """
    numbers, distinct = number_cells(values)
    return np.array([*distinct, ""], dtype=object)[numbers]


def read_cells(texts: pd.DataFrame) -> pd.DataFrame:
    """Return a table of texts with columns of numbers where nothing is lost by it.

    Parameters
    ----------
    texts : DataFrame of str
        Holes are missing values.

    Returns
    -------
    DataFrame
        Each column is ``int64``, or ``Int64`` where it has holes; ``float64``; ``bool``; or text,
        as soon as one of its cells is not written as Python writes the number: with a zero or
        plus before it, an exponent, or beyond 2^53.
    """
    import pandas as pd

    columns = {name: _read_column(texts[name]) for name in texts.columns}
    return pd.DataFrame(columns, index=texts.index, columns=texts.columns)


def _read_column(texts: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    distinct = texts.dropna().unique().tolist()
    if not distinct:
        return pd.Series(None, index=texts.index, dtype=object)
    for is_written, read in _READERS:
        if all(map(is_written, distinct)):
            # By hand: pandas' map makes floats of whole numbers beside holes.
            value_of = {text: read(text) for text in distinct}
            found = np.array([value_of.get(text) for text in texts], dtype=object)
            return settle(pd.Series(found, index=texts.index, dtype=object))
    return texts


def _is_integer(text: str) -> bool:
    return _INTEGER.fullmatch(text) is not None and abs(int(text)) <= LARGEST


def _is_decimal(text: str) -> bool:
    return _DECIMAL.fullmatch(text) is not None and str(float(text)) == text


_READERS: Sequence[tuple[Callable[[str], bool], Callable[[str], object]]] = (
    (_is_integer, int),
    (_is_decimal, float),
    ({"True", "False"}.__contains__, "True".__eq__),
)


def find_kind(values: pd.Series[Any]) -> str:
    """Tell what a column holds: ``integer``, ``boolean``, ``string``, ``empty`` and the like."""
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.cat.categories.to_series()
    if values.isna().all():
        return "empty"
    kind = values.dtype.kind
    if kind in "iu":
        return "integer"
    if kind == "f":
        return str(values.dtype).lower()
    if kind == "M":
        return f"datetime {getattr(values.dtype, 'tz', None)}"
    found = pd.api.types.infer_dtype(values, skipna=True)
    return {"floating": "float64"}.get(found, found)


def settle(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as one type that Parquet can hold, its cells as they are written.

    Whole numbers with holes are ``Int64``; values of several types are text.
    """
    import pandas as pd
    import pyarrow as pa

    if isinstance(values.dtype, pd.api.extensions.ExtensionDtype) and values.dtype.kind in "iu":
        return values if values.isna().any() else values.astype(values.dtype.numpy_dtype)  # type: ignore[attr-defined]
    if values.dtype != object:
        return values
    kind = find_kind(values)
    if kind in {"string", "empty"}:
        return values
    try:
        if kind == "integer":
            return values.astype("Int64" if values.isna().any() else "int64")
        if kind == "float64":
            return values.astype("float64")
        if kind == "boolean" and not values.isna().any():
            return values.astype(bool)
        if kind.startswith("datetime"):
            return values.infer_objects()
        if kind.startswith("mixed") and values.dropna().map(type).nunique() > 1:
            return write_cells(values)
        pa.array(values, from_pandas=True)
    except (OverflowError, TypeError, pa.ArrowInvalid, pa.ArrowTypeError):
        return write_cells(values)
    return values


def settle_frame(rows: Any) -> pd.DataFrame:  # noqa: ANN401 - whatever makes a DataFrame
    """Make a table of rows or columns of Python values, each column settled.

    Parameters
    ----------
    rows : list of mappings, mapping of columns, or DataFrame
        A whole number stays one beside a hole; in a DataFrame pandas may have made a float of it
        before, which is mended where all others of the column are whole too.
    """
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        frame = rows
    elif isinstance(rows, Mapping):
        # A typed column keeps its type; a list of numbers must not become floats by a hole.
        columns: dict[Any, Any] = {
            name: values if hasattr(values, "dtype") else pd.Series(list(values), dtype=object)
            for name, values in rows.items()
        }
        frame = pd.DataFrame(columns)
    else:
        frame = pd.DataFrame(rows, dtype=object)
    settled = {str(name): settle(_restore_whole(frame[name])) for name in frame.columns}
    return frame.rename(columns=str).assign(**settled)


def from_arrow(table: pa.Table, *, is_whole: bool = False) -> pd.DataFrame:
    """Return an Arrow table as a frame in which whole numbers stay such beside holes.

    Parameters
    ----------
    table : pa.Table
    is_whole : bool
        Whether these are all rows there are: then floats that are all whole, with a hole beside,
        are the whole numbers that pandas wrote so.
    """
    frame: pd.DataFrame = table.to_pandas(integer_object_nulls=True)
    for name in frame.columns:
        values = settle(frame[name])
        frame[name] = _restore_whole(values) if is_whole else values
    return frame


def _restore_whole(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return floats that are all whole, with a hole beside, as the whole numbers they were."""
    if values.dtype.kind != "f" or not isinstance(values.dtype, np.dtype):
        return values
    said = values.dropna().to_numpy(np.float64)
    if len(said) in {0, len(values)} or not _are_whole(said):
        return values
    return values.astype("Int64")


def _are_whole(values: npt.NDArray[np.float64]) -> bool:
    return bool(
        (np.isfinite(values) & (np.trunc(values) == values) & (np.abs(values) < 2**63)).all()
    )


def join_column(parts: Sequence[pd.Series[Any] | None], sizes: Sequence[int]) -> pd.Series[Any]:
    """Put the parts of one column below each other; parts of several types join as text.

    Parameters
    ----------
    parts : sequence of Series or None
        None where a table has no such column.
    sizes : sequence of int
        Rows of each part.
    """
    import pandas as pd

    kinds = [("empty" if part is None else find_kind(part)) for part in parts]
    several = set(kinds) - {"empty"}
    if not several:
        return pd.Series(None, index=range(sum(sizes)), dtype=object)
    said = [p for p, kind in zip(parts, kinds, strict=True) if p is not None and kind != "empty"]
    dtypes = {str(part.dtype) for part in said}
    if several == {"integer"} and (len(dtypes) > 1 or "empty" in kinds):
        try:
            said = [part.astype("Int64") for part in said]
        except (OverflowError, TypeError, ValueError):
            said = [write_cells(part) for part in said]
    elif len(several) > 1:
        said = [write_cells(part) for part in said]
    elif several == {"boolean"} and "empty" in kinds:
        said = [part.astype(object) for part in said]
    there = iter(said)
    pieces = [
        pd.Series([None] * size, dtype=said[0].dtype) if kind == "empty" else next(there)
        for kind, size in zip(kinds, sizes, strict=True)
    ]
    return pd.concat(pieces, ignore_index=True)


def mark(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame that says of itself, in Parquet too, that its cells keep what was written."""
    marked = frame.copy(deep=False)
    marked.attrs = dict(_MARK)
    return marked


def is_marked(attrs: Mapping[Any, Any]) -> bool:
    """Tell whether what a frame says of itself is that its cells keep what was written."""
    return attrs.get("bioprobe_cells") is not None


def mend_floats(frames: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Make whole numbers again of those that a hole once made floats.

    Before cells kept what was written, one empty cell in a table, or a shard without the column,
    made floats of whole numbers. A column is mended where every float of it is whole, and a hole or
    another type stands beside. Digits beyond the fifteenth are lost.

    Parameters
    ----------
    frames : sequence of DataFrame
        Shards of one table; those that :func:`mark` made are left as they are.
    """
    old = [frame for frame in frames if not is_marked(frame.attrs)]
    names = dict.fromkeys(
        name for frame in old for name in frame.columns if frame[name].dtype.kind == "f"
    )
    mended = {name for name in names if _was_whole(name, old, frames)}
    return [
        frame.assign(**{str(n): frame[n].astype("Int64") for n in mended if _is_float(frame, n)})
        if any(frame is one for one in old)
        else frame
        for frame in frames
    ]


def _is_float(frame: pd.DataFrame, name: Hashable) -> bool:
    return name in frame.columns and frame[name].dtype.kind == "f"


def _was_whole(name: Hashable, old: Sequence[pd.DataFrame], frames: Sequence[pd.DataFrame]) -> bool:
    values = np.concatenate([f[name].to_numpy(np.float64) for f in old if _is_float(f, name)])
    said = values[~np.isnan(values)]
    has_others = any(
        name not in frame.columns or find_kind(frame[name]) in {"integer", "string"}
        for frame in frames
    )
    beside = has_others or len(said) < len(values)
    return beside and _are_whole(said)
