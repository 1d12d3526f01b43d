"""Names of living things: ranks, taxa, and trees of taxa read from tables."""

from bioprobe.taxonomy.taxon import RANKS, Rank, Taxon
from bioprobe.taxonomy.taxonomy import Taxonomy

__all__ = ["RANKS", "Rank", "Taxon", "Taxonomy"]
