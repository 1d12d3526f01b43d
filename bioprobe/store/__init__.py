"""The store: vectors and their image table on disk, bound to one encoder."""

from bioprobe.store.added_taxa import read_added_taxa
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.health import Problem, Repair, repair_store, restore_store, verify_store
from bioprobe.store.text_cache import TextCache

__all__ = [
    "EmbeddingStore",
    "Problem",
    "Repair",
    "TextCache",
    "read_added_taxa",
    "repair_store",
    "restore_store",
    "verify_store",
]
