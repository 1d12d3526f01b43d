"""Which images learn, which choose, and which judge."""

from bioprobe.splits.making import METHODS, assign_folds, make_split
from bioprobe.splits.split import (
    PARTS,
    Split,
    list_splits,
    read_split,
    write_split,
)

__all__ = [
    "METHODS",
    "PARTS",
    "Split",
    "assign_folds",
    "list_splits",
    "make_split",
    "read_split",
    "write_split",
]
