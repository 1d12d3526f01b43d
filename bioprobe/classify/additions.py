"""Whole taxon lists added to a store, and lineages completed from what is known there."""

from __future__ import annotations

from collections.abc import Iterable

from bioprobe.errors import TaxonomyError
from bioprobe.store import EmbeddingStore, read_added_taxa
from bioprobe.store.added_taxa import ADDED_TAXA_NAME
from bioprobe.store.write_errors import explaining_refusal
from bioprobe.taxonomy import Taxon, Taxonomy
from bioprobe.taxonomy.contradictions import find_contradictions
from bioprobe.taxonomy.writing import write_taxonomy


def import_taxa(store: EmbeddingStore, taxa: Iterable[Taxon]) -> int:
    """Add taxa to those that a store keeps beside the labels of its images.

    A taxon that was added before is completed; hold :meth:`EmbeddingStore.lock` meanwhile.

    Returns
    -------
    int
        How many are new.

    Raises
    ------
    TaxonomyError
        If they contradict the taxa that were added before.
    StoreError
        If the disk refuses.
    """
    added = read_added_taxa(store)
    merged = Taxonomy.merge((*added, *taxa))
    check_additions(merged)
    path = store.folder / ADDED_TAXA_NAME
    with explaining_refusal(path):
        write_taxonomy(path, merged)
    return len(merged) - len(added)


def check_additions(taxa: Iterable[Taxon]) -> None:
    """Refuse taxa that contradict each other.

    Raises
    ------
    TaxonomyError
        If two of them do.
    """
    found = find_contradictions([taxon.lineage for taxon in taxa])
    if found:
        msg = f"among the added taxa, {found[0].describe()}; see: bioprobe taxa list"
        raise TaxonomyError(msg)
