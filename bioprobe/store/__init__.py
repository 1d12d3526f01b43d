"""The store: vectors and their image table on disk, bound to one encoder."""

from typing import TYPE_CHECKING

from bioprobe.doors import open_door
from bioprobe.store.embedding_store import EmbeddingStore

if TYPE_CHECKING:
    from bioprobe.store.added_taxa import read_added_taxa
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

_OF_HEALTH = ("Problem", "Repair", "repair_store", "restore_store", "verify_store")
__getattr__ = open_door(
    __name__,
    {
        "TextCache": "text_cache", "read_added_taxa": "added_taxa",
        **dict.fromkeys(_OF_HEALTH, "health"),
    },
)  # fmt: skip
