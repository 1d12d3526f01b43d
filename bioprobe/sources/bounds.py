"""Which files rows may name: tables and data sets come from others, and say what is read.

A file that a person names, or finds by naming its folder or a list of paths, is theirs to read. A
row of a table, of a metadata file or of a data set may name such a file, or one below the folder
that its paths start from or below another folder that was named, links resolved. What lies
elsewhere could be anything of the reader's own, and would stand on a page that is passed on: it is
not read, unless that is allowed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bioprobe.images.addresses import ARCHIVE_PREFIX, is_address
from bioprobe.images.location import DATASET_PREFIX, OUTSIDE, Bounds, read_name
from bioprobe.result import PROBLEM, Note
from bioprobe.sources.listing import Part, join

# Files that a note names one by one.
_SHOWN = 3


def confine(parts: Sequence[tuple[Part, Path]], named: Iterable[Path]) -> list[Part]:
    """Take out the rows that name files outside of what a person named; they are failures.

    Parameters
    ----------
    parts : sequence of (Part, Path)
        What each source lists, and the folder that its paths start from.
    named : iterable of Path
        Folders that the person named.

    Returns
    -------
    list of Part
        Rows that were taken out stand in ``unread``, with the reason.
    """
    folders = [folder for folder in named if folder.is_dir()]
    listed = {file for part, _ in parts if part.is_named for file in _join(part)}
    return [
        part if part.is_named else _confine(part, Bounds.below(home, *folders), listed)
        for part, home in parts
    ]


def _confine(part: Part, bounds: Bounds, listed: set[str]) -> Part:
    files = _join(part)
    # Of a picture there may be many regions.
    outside = {
        file
        for file in dict.fromkeys(files)
        if not file.startswith((DATASET_PREFIX, ARCHIVE_PREFIX))
        and not is_address(file)
        and file not in listed
        and file not in part.reasons  # there is none to read
        and not bounds.hold(read_name(file))
    }
    is_outside = np.array([file in outside for file in files], dtype=bool)
    if not is_outside.any():
        return part
    rows = np.flatnonzero(is_outside)
    taken = part.frame[["root", "path"]].iloc[rows].itertuples(index=False, name=None)
    shown = ", ".join(dict.fromkeys(files[row] for row in rows[:_SHOWN]))
    text = (
        f"{len(rows):,} rows of {part.name or 'a source'} name files {OUTSIDE} "
        f"({shown}{', …' if len(rows) > _SHOWN else ''}); they are not read. Name that folder too, "
        "or say --allow-outside"
    )
    return dataclasses.replace(
        part,
        frame=part.frame[~is_outside],
        unread=(*part.unread, *((root, path, REASON) for root, path in taken)),
        notes=(*part.notes, Note(text, PROBLEM)),
    )


#: Why a row was not read.
REASON = f"the file lies {OUTSIDE}; --allow-outside reads it"


def _join(part: Part) -> list[str]:
    return [join(*place) for place in zip(part.frame["root"], part.frame["path"], strict=True)]
