"""Taxa that a user added to a store by name or by text prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioprobe.errors import TaxonomyError
from bioprobe.files import replacing
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.write_errors import explaining_refusal
from bioprobe.taxonomy import Taxon, Taxonomy
from bioprobe.taxonomy.reading import read_taxonomy

if TYPE_CHECKING:
    from pathlib import Path

ADDED_TAXA_NAME = "taxa.csv"


def read_added_taxa(store: EmbeddingStore) -> Taxonomy:
    """Return the taxa that were added to a store, in the order of adding."""
    path = _find_file(store)
    return read_taxonomy(path) if path.is_file() else Taxonomy(())


def add_taxon(store: EmbeddingStore, taxon: Taxon) -> None:
    """Add a taxon to the list that a store keeps beside the labels of its images.

    Raises
    ------
    TaxonomyError
        If a taxon of that lineage was added before.
    """
    added = read_added_taxa(store)
    if any(taxon.lineage == known.lineage for known in added):
        msg = f"{taxon.name!r} was added before; remove it first with: bioprobe taxa remove"
        raise TaxonomyError(msg)
    _write(store, (*added, taxon))


def remove_taxon(store: EmbeddingStore, name: str) -> Taxon:
    """Remove an added taxon by its scientific or common name, and return it.

    Raises
    ------
    TaxonomyError
        If no such taxon was added.
    """
    added = read_added_taxa(store)
    taxon = added.find(name)
    if taxon is None:
        known = ", ".join(taxon.name for taxon in added) or "none"
        msg = f"no taxon {name!r} was added to {store.folder}; added were: {known}"
        raise TaxonomyError(msg)
    _write(store, tuple(other for other in added if other is not taxon))
    return taxon


def _write(store: EmbeddingStore, taxa: tuple[Taxon, ...]) -> None:
    import pandas as pd

    path = _find_file(store)
    if not taxa:
        with explaining_refusal(path):
            path.unlink(missing_ok=True)
        return
    rows = [
        {**taxon.to_names(), "common_name": taxon.common_name, "prompt": prompt}
        for taxon in taxa
        for prompt in (taxon.prompts or ("",))
    ]
    with explaining_refusal(path), replacing(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def _find_file(store: EmbeddingStore) -> Path:
    return store.folder / ADDED_TAXA_NAME
