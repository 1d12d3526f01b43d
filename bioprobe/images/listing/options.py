"""How sources are read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from bioprobe.taxonomy import Rank


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """How sources are read.

    Parameters
    ----------
    root : Path or None
        Folder to which the paths of a table or list are relative; by default the table's own
        folder, and for a list the current one.
    path_column : str or None
        Column of a table that names the file; by default the first found of ``path``,
        ``file_path``, ``file_name`` and their like. In a data set, the column of the pictures.
    rank_columns : mapping of Rank to str
        Columns that hold a rank under another name; ``""`` is no column, so that one of the
        rank's own name is kept as it is.
    folder_rank : Rank or None
        Rank of which the name of an image's folder is the label.
    """

    root: Path | None = None
    path_column: str | None = None
    rank_columns: Mapping[Rank, str] = dataclasses.field(default_factory=dict)
    folder_rank: Rank | None = None
