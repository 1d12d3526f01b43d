"""The image table: one row an image."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError, SourceError, TaxonomyError
from bioprobe.images.conditions import match_rows
from bioprobe.images.location import ImageLocation, find_file
from bioprobe.names import unify
from bioprobe.taxonomy import RANKS, Rank, Taxonomy
from bioprobe.taxonomy.columns import COMMON_NAME, LABEL_COLUMNS, fill_holes, to_taxonomy

if TYPE_CHECKING:
    import pandas as pd

LOCATION_COLUMNS = ("root", "path")
FACT_COLUMNS = ("sha256", "n_bytes", "width_px", "height_px", "mode")
#: Column that tells labels which somebody wrote from those made of a folder's name.
LABELS_FROM = "labels_from"
FROM_FOLDER = "folder"
COLUMNS: tuple[str, ...] = (*LOCATION_COLUMNS, *FACT_COLUMNS, *LABEL_COLUMNS, LABELS_FROM)


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """Images with their facts, labels and whatever else their source said of them.

    Parameters
    ----------
    frame : DataFrame
        One row an image, with the columns

        - ``root`` and ``path``: a folder, and the image's path relative to it; or a data set,
          ``dataset:SOURCE#SPLIT``, and the name of the row;
        - ``sha256`` of the file's bytes, ``n_bytes``, ``width_px`` and ``height_px`` when
          upright, ``mode`` as PIL names it before conversion;
        - the seven ranks and ``common_name``, ``""`` where unknown;
        - ``labels_from``: ``folder`` where these were made from the name of the image's folder,
          else ``""``;
        - any further columns, as the source had them.

    Raises
    ------
    SourceError
        If one of these columns is missing.
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [column for column in COLUMNS if column not in self.frame.columns]
        if missing:
            msg = f"an image table lacks the columns {', '.join(missing)}"
            raise SourceError(msg)

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def build(cls, frame: pd.DataFrame) -> ImageTable:
        """Complete a table of images with the columns it lacks.

        Parameters
        ----------
        frame : DataFrame
            Any subset of the columns; facts that are missing are 0 or ``""``. A free column
            whose values have several types is made text.
        """
        import pandas as pd

        completed = frame.reset_index(drop=True).rename(columns=str)
        for column in COLUMNS:
            if column not in completed:
                number = column.startswith("n_") or column.endswith("_px")
                completed[column] = 0 if number else ""
            elif column in {*LABEL_COLUMNS, LABELS_FROM}:
                completed[column] = fill_holes(completed[column])
        free = [column for column in completed.columns if column not in COLUMNS]
        for column in free:
            completed[column] = _make_one_type(completed[column])
        return cls(pd.DataFrame(completed[[*COLUMNS, *free]]))

    @property
    def free_columns(self) -> list[str]:
        """Columns that bioprobe gives no meaning to."""
        return [str(column) for column in self.frame.columns if column not in COLUMNS]

    @cached_property
    def file_names(self) -> list[str]:
        """Names of the files, as answers name the images.

        The path relative to the root. Where files of several roots have the same, theirs start
        from the nearest folder that these files have in common.
        """
        paths = [str(path) for path in self.frame["path"]]
        root_of: dict[str, str] = {}
        twice = {
            path for root, path in zip(self.frame["root"], paths, strict=True)
            if root_of.setdefault(path, root) != root
        }  # fmt: skip
        if not twice:
            return paths
        rows = [row for row, path in enumerate(paths) if path in twice]
        files = [os.path.join(self.frame["root"].iloc[row], paths[row]) for row in rows]  # noqa: PTH118
        names = _name_from_common(files)
        if not set(names).isdisjoint(set(paths) - twice):
            names = files
        for row, name in zip(rows, names, strict=True):
            paths[row] = name
        return paths

    def name_files(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
        """Return the names of the files of rows, as answers name them."""
        return np.array(self.file_names, dtype=object)[rows]

    def find_file(self, row: int) -> Path:
        """Return where the file of a row was when it was embedded.

        The row of a data set has no file; :meth:`locate` serves both.
        """
        place = self.locate(row)
        return find_file(place.root, place.path)

    def locate(self, row: int) -> ImageLocation:
        """Return the place of a row's image, from which its bytes can be read."""
        return ImageLocation(str(self.frame["root"].iloc[row]), str(self.frame["path"].iloc[row]))

    def labels(self, level: str) -> npt.NDArray[np.object_]:
        """Return the label of every row at a rank, or its value in any column, as text.

        Parameters
        ----------
        level : str
            Name of a rank or a column, as :func:`read_level` returns it.

        Returns
        -------
        ndarray of object, shape (n_images,)
            ``""`` where unknown.
        """
        if level in LABEL_COLUMNS:
            return self.frame[level].to_numpy(dtype=object)
        if level not in self._texts:
            self._texts[level] = write_cells(self.frame[read_level(level, self)])
        return self._texts[level]

    @cached_property
    def _texts(self) -> dict[str, npt.NDArray[np.object_]]:
        """Columns as text, by name; read once."""
        return {}

    @property
    def taxa(self) -> Taxonomy:
        """Distinct taxa of the labels."""
        return to_taxonomy(self.frame)

    def match(self, condition: str) -> npt.NDArray[np.int64]:
        """Return the rows that meet a condition, such as ``family == 'Felidae'``.

        Parameters
        ----------
        condition : str
            In the language of :mod:`bioprobe.images.conditions`, over the columns.

        Raises
        ------
        SelectionError
            If the condition cannot be read, or names no column of the table.
        """
        return np.flatnonzero(match_rows(self.frame, condition)).astype(np.int64)


def read_level(level: str, images: ImageTable | None = None) -> str:
    """Read what a person calls a level: a rank, or any column of an image table.

    Parameters
    ----------
    level : str
        A rank in any case, or the name of a column.
    images : ImageTable, optional
        Whose column it must be, if it is no rank.

    Returns
    -------
    str
        Value of the rank, or name of the column.

    Raises
    ------
    SelectionError
        If it is neither; the error names what there is.

    Examples
    --------
    >>> read_level("Family"), read_level("cls"), read_level("life_stage")
    ('family', 'class', 'life_stage')
    """
    try:
        return Rank.parse(level).value
    except TaxonomyError:
        if images is None or level in images.frame.columns:
            return level
    columns = [COMMON_NAME, *images.free_columns]
    spelt = {unify(name).casefold(): name for name in columns}
    near = difflib.get_close_matches(unify(level).casefold(), [*spelt, *RANKS], n=1)
    hint = f"; did you mean {spelt.get(near[0], near[0])}?" if near else ""
    msg = (
        f"no rank and no column {level!r}{hint} Ranks are {', '.join(RANKS)}; columns are "
        f"{', '.join(columns)}"
    )
    raise SelectionError(msg)


def write_cells(values: pd.Series[Any]) -> npt.NDArray[np.object_]:
    """Return the cells of a column as the text of what was written, ``""`` for holes."""
    import pandas as pd

    codes, distinct = pd.factorize(values)
    texts = np.array([*(unify(str(one)) for one in distinct.tolist()), ""], dtype=object)
    return np.asarray(texts[codes], dtype=object)


def concatenate(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join frames of image tables; free columns that a frame lacks are empty in its rows."""
    import pandas as pd

    if len(tables) == 1:
        return tables[0].reset_index(drop=True)
    return pd.concat(tables, ignore_index=True)


def concatenate_columns(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put frames of the same rows side by side."""
    import pandas as pd

    return pd.concat([frame.reset_index(drop=True) for frame in frames], axis=1)


def _name_from_common(files: Sequence[str]) -> list[str]:
    try:
        common = os.path.commonpath([os.path.dirname(file) for file in files])  # noqa: PTH120
    except ValueError:  # files and rows of data sets
        return list(files)
    return [file.removeprefix(common.rstrip(os.sep) + os.sep) if common else file for file in files]


def _make_one_type(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column that Parquet can hold."""
    import pyarrow as pa

    if values.dtype != object:
        return values
    try:
        pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return values.map(str, na_action="ignore").astype(object)
    return values
