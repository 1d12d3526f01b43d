"""Which classes a question is about."""

from __future__ import annotations

from bioprobe.errors import PromptError
from bioprobe.store import EmbeddingStore, read_added_taxa
from bioprobe.taxonomy import Rank, Taxonomy
from bioprobe.taxonomy.columns import to_taxonomy
from bioprobe.taxonomy.reading import read_taxonomy


def find_candidates(store: EmbeddingStore, taxa: str | None, rank: Rank) -> Taxonomy:
    """Find the classes at a rank: those of a taxon list or of the labels, and the added ones.

    Parameters
    ----------
    store : EmbeddingStore
        Its labels are the candidates where no list is given, and the taxa that were added to it
        are candidates always.
    taxa : str or None
        File, or name of a shipped taxonomy.
    rank : Rank
        Rank of the classes.

    Raises
    ------
    PromptError
        If no taxon has a name at the rank.
    """
    known = read_taxonomy(taxa) if taxa else _find_labels(store)
    # Added taxa first: their common names and prompts are the user's own word.
    merged = Taxonomy.merge((*read_added_taxa(store), *known))
    classes = merged.at(rank)
    if not len(classes):
        where = taxa or f"the labels of {store.folder}"
        named = [level.value for level in Rank if len(merged.at(level))]
        msg = (
            f"no taxon in {where} has a name at {rank.value} (there are names at "
            f"{', '.join(named) or 'no rank'}); give a taxon list with --taxa, or another --level"
        )
        raise PromptError(msg)
    return classes


def _find_labels(store: EmbeddingStore) -> Taxonomy:
    # Labels of retired rows are those that somebody corrected.
    return to_taxonomy(store.images.frame.iloc[store.rows])
