"""Workbooks: which sheet is meant, which row is its header, and what its cells say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.errors import SourceError
from bioprobe.result import Note, Notes
from bioprobe.table_bounds import Merged, check_shape, check_workbook
from bioprobe.table_headers import (
    MOST_TITLES,
    find_wider,
    names_columns,
    tell_doubled,
    tell_title,
)

if TYPE_CHECKING:
    import pandas as pd


def read_workbook(
    path: Path, wanted: str | None, prefers: Callable[[pd.DataFrame], bool] | None
) -> tuple[pd.DataFrame, Callable[[int], str], Notes]:
    """Read a sheet of a workbook.

    Parameters
    ----------
    path : Path
    wanted : str or None
        Name of the sheet; by default the first that holds something, or the first that is
        preferred.
    prefers : callable or None
        Tells which sheet is meant, and which row below a title is its header.

    Returns
    -------
    frame : DataFrame
    place : callable
        Says where a row, from 0, stands.
    notes : tuple of Note

    Raises
    ------
    SourceError
        If it cannot be read, has no such sheet or nothing in it, or what reads it is not installed.
    """
    try:
        import python_calamine
    except ImportError as error:
        msg = (
            f"{path} is a workbook, and reading one needs the extra excel: pip install "
            '"bioprobe[excel]", or save the sheet as CSV'
        )
        raise SourceError(msg) from error
    merged = check_workbook(path)
    try:
        workbook = python_calamine.CalamineWorkbook
        if merged is None and path.suffix.lower() != ".ods":
            return _read_sheets(workbook.from_path(path), path, wanted, prefers, {})
        # Of a path the library believes the ending, of a stream the content.
        with path.open("rb") as stream:
            return _read_sheets(workbook.from_filelike(stream), path, wanted, prefers, merged or {})
    except (python_calamine.CalamineError, python_calamine.PasswordError) as error:
        msg = f"{path} cannot be read as a workbook: {error}; save the sheet as CSV"
        raise SourceError(msg) from error
    except BaseException as error:
        # What the library did not foresee in a damaged file is no Exception of Python.
        if type(error).__name__ != "PanicException":
            raise
        msg = f"{path} cannot be read as a workbook: it is damaged; save the sheet as CSV"
        raise SourceError(msg) from error


def _read_sheets(
    workbook: Any,  # noqa: ANN401 - of a library without types
    path: Path,
    wanted: str | None,
    prefers: Callable[[pd.DataFrame], bool] | None,
    merged: Mapping[str, Sequence[Merged]],
) -> tuple[pd.DataFrame, Callable[[int], str], Notes]:
    # A sheet that its author hid is the last to be meant.
    hidden = {one.name for one in workbook.sheets_metadata
              if not str(one.visible).endswith("Visible")}  # fmt: skip
    names = sorted(workbook.sheet_names, key=hidden.__contains__)
    if wanted is not None and wanted not in names:
        msg = f"{path} has no sheet {wanted!r}; it has {', '.join(names)}"
        raise SourceError(msg)
    chosen: tuple[str, pd.DataFrame, int] | None = None
    above, header = 0, list[object]()
    for name in names if wanted is None else [wanted]:
        sheet = workbook.get_sheet_by_name(name)
        check_shape(path, sheet.height, sheet.width)
        rows = _fill_merged(sheet, merged.get(name) or sheet.merged_cell_ranges or ())
        if not rows or (wanted is None and chosen and prefers is None):
            continue
        first = (sheet.start or (0, 0))[0] + 2
        at = _find_header(rows, prefers)
        frame = _read_sheet(rows[at or 0 :])
        is_meant = at is not None
        if chosen is None or is_meant:
            chosen = name, frame, first + (at or 0)
            header = rows[at or 0]
            above = first + at - 2 if at else 0
        if is_meant:
            break
    if chosen is None:
        what = f"the sheet {wanted!r}" if wanted is not None else "its sheets"
        msg = f"{path} cannot be read as a table: {what} hold nothing"
        raise SourceError(msg)
    name, frame, first = chosen
    said = tell_doubled(path, header)
    if above:
        said = (*said, tell_title(path, above))
    if len(names) > 1 and wanted is None:
        others = ", ".join(one for one in names if one != name)
        said = (*said, Note(f"{path}: the sheet {name!r} is read, not {others}; --sheet names one"))
    return frame, lambda row: f"row {row + first} of sheet {name!r}", said


def _find_header(
    rows: Sequence[Sequence[object]], prefers: Callable[[pd.DataFrame], bool] | None
) -> int | None:
    """Return the row of a sheet that is its header; None where none is as preferred."""
    if prefers is None:
        return 0
    below = (0, *find_wider(rows[:MOST_TITLES]))
    found = next((number for number in below if prefers(_read_sheet(rows[number:]))), None)
    if found is not None and found + 1 in below:
        # Names of groups of columns, with the columns' own below them.
        has_holes = any(cell in (None, "") for cell in rows[found])
        below_it = _read_sheet(rows[found + 1 :])
        if has_holes and names_columns(below_it.columns) and prefers(below_it.head(0)):
            return found + 1
    return found


def _fill_merged(
    sheet: Any,  # noqa: ANN401 - of a library without types
    merged: Iterable[Merged],
) -> list[list[object]]:
    """Return the rows of a sheet; what is merged over several rows stands in each of them."""
    rows: list[list[object]] = sheet.to_python(skip_empty_area=True)
    top, left = sheet.start or (0, 0)
    for (first, column), (last, _) in merged:
        for row in range(first - top + 1, min(last - top + 1, len(rows))):
            if first >= top and 0 <= column - left < len(rows[row]):
                rows[row][column - left] = rows[first - top][column - left]
    return rows


def _read_sheet(rows: Sequence[Sequence[object]]) -> pd.DataFrame:
    """Return the rows below a header; a date is the text that ISO 8601 has for it."""
    import pandas as pd

    from bioprobe.cells import settle_frame

    header = [str(_read_value(cell) or f"Unnamed: {n}").strip() for n, cell in enumerate(rows[0])]
    names: list[str] = []
    for name in header:
        n_same = sum(one == name or one.startswith(f"{name}.") for one in names)
        names.append(f"{name}.{n_same}" if name in names else name)
    columns = map(_read_column, zip(*rows[1:], strict=True))
    frame = pd.DataFrame(list(zip(*columns, strict=True)), columns=names, dtype=object)
    is_empty = [name for name in names if name.startswith("Unnamed: ") and frame[name].isna().all()]
    return settle_frame(frame.drop(columns=is_empty))


def _read_column(cells: Sequence[Any]) -> list[object]:
    """Return the cells of a column: of numbers alone, not all of them whole, none is."""
    values = [_read_value(cell) for cell in cells]
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int, float}:
        return [
            value if value is None else float(cell)
            for value, cell in zip(values, cells, strict=True)
        ]
    return values


def _read_value(cell: object) -> object:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**63:
        return int(cell)
    if isinstance(cell, bool | int | float):
        return cell
    return str(cell) or None
