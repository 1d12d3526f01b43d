"""Boxes that a table says of pictures, relative to these."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.images.regions import (
    BOX_COLUMNS,
    DETECTION_CATEGORY,
    DETECTION_CONFIDENCE,
    REGION,
    Region,
    number_regions,
)
from bioprobe.result import FACT, WARNING, Note
from bioprobe.sources.listing import Part, join, name_of_region

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.sources.files import SourceOptions


def cut_boxes(part: Part, options: SourceOptions, lines: Sequence[int] | None = None) -> Part:
    """Make regions of rows that have a box; a part without columns of boxes stays as it is.

    Parameters
    ----------
    part : Part
        With ``box_x``, ``box_y``, ``box_width`` and ``box_height``, of the upright picture, 0 to 1;
        a row with none of them is of the whole picture.
    options : SourceOptions
        ``min_confidence``, ``categories``, ``pad`` and ``square`` are used.
    lines : sequence of int, optional
        Of each row in its file, for what is said of it; by default from 2 on.

    Returns
    -------
    Part
        With the column ``image_region``. A box that leaves its picture is clipped and counted; one
        that lies outside, or is none, is no row, and is in ``unread``.
    """
    frame = part.frame
    if not set(BOX_COLUMNS) <= set(frame.columns):
        return part
    counts: Counter[str] = Counter()
    kept, names, unread, clipped = [], list[str](), list(part.unread), list[tuple[float, ...]]()
    columns = [frame[name].tolist() for name in (*BOX_COLUMNS, "root", "path")]
    for row, (*values, root, path) in enumerate(zip(*columns, strict=True)):
        sides = [_read_number(value) for value in values]
        if all(_is_empty(value) for value in values):
            kept.append(row)
            names.append("")
            clipped.append((math.nan,) * 4)
        elif reason := _choose(frame, row, options):
            counts[reason] += 1
        else:
            try:
                region, is_cut = Region.clip(*sides, pad=options.pad, square=options.square)
            except ValueError:
                entry = row + 2 if lines is None else lines[row]
                where = ",".join(map(str, values))
                unread.append((root, path, name_of_region(f"{where} (line {entry})", _OUTSIDE)))
                continue
            counts["cut"] += is_cut
            kept.append(row)
            names.append(region.name)
            clipped.append((region.x, region.y, region.width, region.height))
    listed = frame.take(kept).reset_index(drop=True)
    files = [join(*place) for place in zip(listed["root"], listed["path"], strict=True)]
    numbered = number_regions(zip(files, names, strict=True))
    # Rows of a whole picture are put together by whoever lists them.
    listed[REGION] = [name if own else "" for name, own in zip(numbered, names, strict=True)]
    sides_in = np.array(clipped, dtype=np.float64).reshape(-1, 4)
    listed = listed.assign(**dict(zip(BOX_COLUMNS, sides_in.T, strict=True)))
    notes = [
        Note(f"{n:,} boxes of {part.name} {_SAID[what]}", WARNING if what == "cut" else FACT)
        for what, n in counts.items()
        if n
    ]
    return dataclasses.replace(
        part, frame=listed, unread=tuple(unread), notes=(*part.notes, *notes), has_detections=True
    )


_OUTSIDE = "no part of it lies in the picture, expected x, y, width and height from 0 to 1"
_SAID = {
    "cut": "leave their picture and were clipped",
    "confidence": "are left out, as they are less sure than --min-confidence",
    "category": "are left out, as they are of another --category",
}


def _choose(frame: pd.DataFrame, row: int, options: SourceOptions) -> str:
    """Say why the options leave a box out, ``""`` where they do not."""
    if DETECTION_CONFIDENCE in frame:
        confidence = _read_number(frame[DETECTION_CONFIDENCE].iloc[row])
        if confidence < options.min_confidence:
            return "confidence"
    if options.categories and DETECTION_CATEGORY in frame:
        category = str(frame[DETECTION_CATEGORY].iloc[row]).casefold()
        if category not in {one.casefold() for one in options.categories}:
            return "category"
    return ""


def _is_empty(value: object) -> bool:
    import pandas as pd

    return bool(pd.isna(value) or value == "")  # type: ignore[call-overload]


def _read_number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
