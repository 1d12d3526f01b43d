"""What the asking commands share: the store, and texts encoded by its encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.cli.output import say

if TYPE_CHECKING:
    from bioprobe.encoders.encoder import Encoder
    from bioprobe.store import EmbeddingStore, TextCache
    from bioprobe.store.view import View


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


def view_images(
    store: EmbeddingStore, condition: str | None, mask: str | None, *, quiet: bool
) -> View:
    """Return the images that are asked about, and say what a mask leaves out."""
    from bioprobe.store.view import View

    view = View.of(store, mask=mask)
    if mask is not None:
        said = f"mask {mask}: {len(view):,} images kept, {view.n_dropped:,} dropped"
        if view.n_unjudged:
            said += f", {view.n_unjudged:,} not judged and left out (make the mask again to judge)"
        say(said, quiet=quiet)
    return View.of(view, condition)
