"""Two answers to the same pictures, with no truth at hand: where they agree, and where not."""

from bioprobe.agreement.comparison import Comparing, Comparison, compare_sides
from bioprobe.agreement.matching import match_files
from bioprobe.agreement.sides import Said, Side, read_side, take_column, take_labels, take_table

__all__ = [
    "Comparing",
    "Comparison",
    "Said",
    "Side",
    "compare_sides",
    "match_files",
    "read_side",
    "take_column",
    "take_labels",
    "take_table",
]
