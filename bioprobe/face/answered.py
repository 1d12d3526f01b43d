"""What a line of answers says, of a review as of a search: its picture, its id, and its gaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioprobe.images.image_table import ImageTable
    from bioprobe.types import Rows

#: What holds no taxon; it is said of the content.
NO_TAXON = frozenset({"blank", "human", "vehicle"})


def is_hole(value: object) -> bool:
    """Tell whether a cell of a table says nothing."""
    return value is None or value == "" or str(value) in {"nan", "<NA>", "NaT"}


def name_answer(said: Mapping[str, Any]) -> str:
    """Return the id of what a line of a table says: that of what was shown, with what is said."""
    import hashlib

    text = "\0".join(str(said[name]) for name in ("id", "row", "level", "value", "verdict"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def number_pictures(images: ImageTable, rows: Rows) -> dict[tuple[str, str], int]:
    """Return the row of each picture and region, as answers name it."""
    regions = images.column("image_region").to_numpy(dtype=object)
    return {(images.file_names[row], str(regions[row])): row for row in rows.tolist()}
