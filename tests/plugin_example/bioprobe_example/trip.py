"""Diaries of trips: files ``*.trip`` with a picture and its family a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import SourceError
from bioprobe.sources.files import SourceOptions
from bioprobe.sources.listing import Part
from bioprobe.sources.tables import list_rows

if TYPE_CHECKING:
    pass


def list_trip(source: Path, options: SourceOptions) -> Part:
    """List the pictures of ``name.trip`` or ``trip:name``."""
    import pandas as pd

    diary = Path(str(source).removeprefix("trip:"))
    if not diary.is_file():
        msg = f"no diary at {diary}; check the path"
        raise SourceError(msg)
    lines = diary.read_text(encoding="utf-8").splitlines()
    rows = [[part.strip() for part in line.partition("|")[::2]] for line in lines if line]
    frame = pd.DataFrame(rows, columns=["path", "family"], dtype=object)
    return list_rows(frame, "path", diary, options, root=options.root or diary.parent)
