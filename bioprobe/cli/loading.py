"""What the asking commands share: the store, and texts encoded by its encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.cli.output import say

if TYPE_CHECKING:
    from bioprobe.encoders.encoder import Encoder
    from bioprobe.store import EmbeddingStore, TextCache


def open_with_texts(
    folder: Path, model: str | None, device: str
) -> tuple[EmbeddingStore, TextCache]:
    """Open a store and the cache of its text embeddings.

    The encoder is loaded only when a new text or picture asks for it: the one that the store
    names, or the one that the user names because it lies elsewhere now.
    """
    from bioprobe.encoders import load_encoder
    from bioprobe.store import EmbeddingStore, TextCache

    store = EmbeddingStore.open(folder)

    def load() -> Encoder:
        return load_encoder(model or store.manifest.encoder.model, device=device)

    return store, TextCache(store, load)


def use_mask(store: EmbeddingStore, name: str | None, *, quiet: bool) -> EmbeddingStore:
    """Return a store as a mask shows it, and say what the mask leaves out."""
    from bioprobe.store.selections import apply_mask

    if name is None:
        return store
    masked = apply_mask(store, name)
    said = f"mask {name}: {len(masked.rows):,} images kept, {masked.n_dropped:,} dropped"
    if masked.n_unjudged:
        said += f", {masked.n_unjudged:,} not judged and left out (make the mask again to judge)"
    say(said, quiet=quiet)
    return masked
