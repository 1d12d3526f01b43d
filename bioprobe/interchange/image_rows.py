"""Rows of foreign tables as rows of an image table, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.images.image_table import COLUMNS, LOCATION_COLUMNS, ImageTable
from bioprobe.images.regions import REGION
from bioprobe.interchange.vector_source import Declaration
from bioprobe.sources.source import concatenate_columns
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import LABEL_COLUMNS, split_columns

if TYPE_CHECKING:
    import pandas as pd

#: Columns that tell the rows of a foreign table apart, in order of preference.
IDENTITY_COLUMNS = (
    "uuid", "image_path", "path", "file_path", "filepath", "file_name", "filename", "file",
    "url", "image_url", "img_url", "identifier", "image",
)  # fmt: skip
_KEPT_IDENTITY = "uuid"


@dataclasses.dataclass(frozen=True)
class RowNaming:
    """How the rows of a foreign table become images.

    Parameters
    ----------
    path_column : str or None
        Column that names the image; by default the first of :data:`IDENTITY_COLUMNS`, and where
        there is none, a name is made of the file's name and the row.
    root : Path or None
        Folder that these names are relative to, where they are files.
    no_label : tuple of str
        Labels that are none.
    rank_columns : mapping of Rank to str
        Columns that hold a rank under another name; ``""`` is none.
    """

    path_column: str | None = None
    root: Path | None = None
    no_label: tuple[str, ...] = ()
    rank_columns: Mapping[Rank, str] = dataclasses.field(default_factory=dict)


def read_image_rows(
    table: pd.DataFrame,
    source: Path | str,
    first_row: int,
    naming: RowNaming,
    declaration: Declaration | None,
) -> pd.DataFrame:
    """Return the rows of an image table for those of a source.

    What bioprobe exported comes back as it was. In another table the ranks and common names are
    found by name, ``uuid`` or a path or URL becomes the path, and all other columns are kept.

    Parameters
    ----------
    table : DataFrame
        Columns of the source but the vectors.
    source : Path or str
        Named in messages and in made-up names.
    first_row : int
        Row of the source in which the table starts.
    naming : RowNaming
        Which column names an image.
    declaration : Declaration or None
        What bioprobe wrote of the source.

    Raises
    ------
    SourceError
        If the column of names is missing, or a row has none.
    """
    if declaration is not None and naming.path_column is None and not naming.rank_columns:
        frame = _restore(table, source, declaration)
    else:
        frame = _read_foreign(table, source, first_row, naming)
    if naming.root is not None:
        frame["root"] = str(naming.root.absolute())
    return ImageTable.build(frame).frame


def name_columns(
    frame: pd.DataFrame, *, taken: tuple[str, ...], is_uuid_free: bool = False
) -> dict[str, str]:
    """Choose the column of the file for each column of the image table.

    Parameters
    ----------
    frame : DataFrame
        Image table.
    taken : tuple of str
        Names that the layout gives a meaning.
    is_uuid_free : bool
        Whether ``uuid`` of the image table may stand as the layout's own, because it tells the
        rows apart.
    """
    names = {str(name): str(name) for name in frame.columns}
    for name in taken:
        stays = name == _KEPT_IDENTITY and is_uuid_free and _tells_apart(frame)
        if name in names and not stays:
            other = f"store_{name}"
            while other in names:
                other = f"store_{other}"
            names[name] = other
    return names


def name_rows(frame: pd.DataFrame) -> list[str]:
    """Return a name for each row that tells it from the others: its uuid, or path and region."""
    if _tells_apart(frame):
        return [str(value) for value in frame[_KEPT_IDENTITY]]
    regions = frame[REGION] if REGION in frame else [""] * len(frame)
    paths = frame["path"] if _are_named(frame) else list_files(frame)
    return [
        f"{path}#{region}" if region else str(path)
        for path, region in zip(paths, regions, strict=True)
    ]


def list_files(frame: pd.DataFrame) -> list[str]:
    """Return the path of each image with its root."""
    return [str(Path(*place)) for place in zip(frame["root"], frame["path"], strict=True)]


def blank_to_null(frame: pd.DataFrame) -> pd.DataFrame:
    """Return an image table with missing names as nulls, as other tools expect them."""
    labels = frame[list(LABEL_COLUMNS)].astype(object)
    return frame.assign(**labels.where(labels != "", None))


def _are_named(frame: pd.DataFrame) -> bool:
    """Tell whether a path is of one picture alone."""
    return bool(frame[list(LOCATION_COLUMNS)].drop_duplicates()["path"].is_unique)


def _tells_apart(frame: pd.DataFrame) -> bool:
    if _KEPT_IDENTITY not in frame:
        return False
    values = frame[_KEPT_IDENTITY]
    texts = values.map(lambda value: isinstance(value, str) and value != "")
    return bool(texts.all() and values.is_unique)


def _restore(table: pd.DataFrame, source: Path | str, declaration: Declaration) -> pd.DataFrame:
    missing = [name for name in declaration.columns.values() if name not in table]
    if missing:
        msg = (
            f"{source} lacks the columns {', '.join(missing)} that it was exported with; name the "
            "one that tells the rows apart: --path-column"
        )
        raise SourceError(msg)
    frame = table[list(declaration.columns.values())].copy()
    frame.columns = list(declaration.columns)
    blanks = [
        name
        for name in (*LOCATION_COLUMNS, REGION, *LABEL_COLUMNS, "sha256", "mode")
        if name in frame
    ]
    for name in blanks:
        frame[name] = frame[name].astype(object).where(frame[name].notna(), "")
    return frame


def _read_foreign(
    table: pd.DataFrame, source: Path | str, first_row: int, naming: RowNaming
) -> pd.DataFrame:
    identity = _find_identity(table, source, naming.path_column)
    labels, free = split_columns(table, naming.rank_columns)
    if identity is not None and identity != _KEPT_IDENTITY:
        free = free.drop(columns=[name for name in free.columns if name == identity])
    # A column of a name that bioprobe gives a meaning stays, under another name.
    free = free.rename(columns={name: f"source_{name}" for name in free.columns if name in COLUMNS})
    places = _read_places(table, source, first_row, identity)
    return concatenate_columns([places, labels, free])


def _find_identity(table: pd.DataFrame, source: Path | str, given: str | None) -> str | None:
    columns = [str(column) for column in table.columns]
    if given is not None:
        if given in columns:
            return given
        msg = f"{source} has no column {given!r}; it has {', '.join(columns) or 'none'}"
        raise SourceError(msg)
    by_spelling = {column.lower(): column for column in reversed(columns)}
    return next((by_spelling[name] for name in IDENTITY_COLUMNS if name in by_spelling), None)


def _read_places(
    table: pd.DataFrame, source: Path | str, first_row: int, identity: str | None
) -> pd.DataFrame:
    import pandas as pd

    if identity is None:
        paths = [
            f"{Path(source).stem}-{row:08d}" for row in range(first_row, first_row + len(table))
        ]
    else:
        values = table[identity]
        empty = (values.isna() | (values.astype(str).str.strip() == "")).to_numpy()
        if empty.any():
            row = first_row + int(empty.argmax())
            msg = (
                f"{source} row {row}: nothing in column {identity!r}, which tells the rows apart; "
                "fill it in, or name another column: --path-column"
            )
            raise SourceError(msg)
        paths = [str(value) for value in values]
    return pd.DataFrame({"root": "", "path": paths}, dtype=object)
