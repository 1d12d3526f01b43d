"""Sources of pictures: which kinds are read, and what one of them says before it is embedded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.face.lists import read_rank_columns
from bioprobe.options import (
    AllowOutside,
    Categories,
    MinConfidence,
    Option,
    RankColumns,
    question,
    split_names,
)
from bioprobe.result import Note, Table

if TYPE_CHECKING:
    from bioprobe.sources.source import SourceFacts


@question
def list_sources() -> Table:
    """List the kinds of sources that are read, and by what each is recognised.

    Examples
    --------
    >>> import bioprobe as bp
    >>> "megadetector" in set(bp.list_sources().to_frame()["name"])
    True
    """
    import pandas as pd

    from bioprobe.sources.source import list_kinds

    frame = pd.DataFrame(list_kinds(), columns=["name", "what", "recognised_by"], dtype=object)
    return Table(frame, notes=(Note("What a file is taken for: bioprobe sources show FILE"),))


@question
def show_source(
    source: Annotated[
        str | Path,
        Option("File, folder or data set, as embed takes them.", ("-",), shell=Path),
    ],
    *,
    rows: Annotated[int, Option("First rows that are shown.", ("--rows", "-n"), least=1)] = 10,
    root: Annotated[
        str | Path | None,
        Option("Folder that the paths in the source start from; by default its own.", shell=Path),
    ] = None,
    path_column: Annotated[
        str | None,
        Option("Column of a table that names the file; in a data set, the column of pictures."),
    ] = None,
    allow_outside: AllowOutside = False,
    rank_column: RankColumns = None,
    min_confidence: MinConfidence = 0.2,
    category: Categories = None,
) -> SourceFacts:
    """Show what a source is taken for, and what it says; nothing is embedded.

    Parameters
    ----------
    source : str or Path
        File, folder or data set.
    rows : int
        First rows that are shown.
    root : str or Path, optional
        Folder that its paths start from.
    path_column : str, optional
        Column of a table that names the file.
    allow_outside : bool
        Whether it may name files outside of its folder and ``root``.
    rank_column : mapping of str to str, or sequence of str, optional
        Rank to column, or ``rank=column``.
    min_confidence : float
        Of a detection to be a region.
    category : str or sequence of str, optional
        Only detections of these categories.

    Returns
    -------
    SourceFacts
        Its ``notes`` say what it was taken for, its columns, the ranks and the counts; its table
        has the first rows.

    Raises
    ------
    SourceError
        If there is nothing there, or it is of no kind that is read.

    Examples
    --------
    >>> bp.show_source("megadetector.json").to_frame()  # doctest: +SKIP
    """
    from bioprobe.sources.source import SourceOptions, describe_source

    read: list[Note] = []
    options = SourceOptions(
        root=None if root is None else Path(root),
        path_column=path_column,
        rank_columns=read_rank_columns(rank_column),
        allow_outside=allow_outside,
        min_confidence=min_confidence,
        categories=tuple(split_names(category or ())),
        tell=lambda text: read.append(Note(text)),
    )
    return describe_source(Path(source), options, n_shown=rows).say(read)


list_sources.__module__ = show_source.__module__ = "bioprobe"
