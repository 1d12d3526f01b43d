"""The quality of a collection before anything is learnt from it: duplicates and noise."""

from bioprobe.quality.duplicates import Duplicates, find_duplicates

__all__ = ["Duplicates", "find_duplicates"]
