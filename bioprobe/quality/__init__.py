"""The quality of a collection before anything is learnt from it: duplicates and noise."""

from bioprobe.quality.against import Others, Overlap, find_overlap
from bioprobe.quality.duplicates import Duplicates, find_duplicates

__all__ = ["Duplicates", "Others", "Overlap", "find_duplicates", "find_overlap"]
