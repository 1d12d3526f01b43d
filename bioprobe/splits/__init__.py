"""Which images learn, which choose, and which judge."""

from bioprobe.splits.folds import assign_folds
from bioprobe.splits.making import METHODS, make_split
from bioprobe.splits.split import PARTS, Split, list_splits, read_split, write_split

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
