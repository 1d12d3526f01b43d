"""A share of the sources in a store of its own: what it says of itself from start to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bioprobe.embedding.embedder import embed_images
from bioprobe.embedding.encoder_choice import open_on_demand
from bioprobe.embedding.shard_buffer import EmbedSummary
from bioprobe.encoders.encoder import Encoder
from bioprobe.sources.listing import Listing, join
from bioprobe.sources.shares import Order, Share
from bioprobe.store import EmbeddingStore
from bioprobe.store.share_card import ShareCard


def embed_share(
    listing: Listing,
    share: Share,
    order: Order,
    store: str | Path,
    load: Callable[[], Encoder],
    *,
    model: str | None = None,
    dtype: str | None = None,
    options: Mapping[str, str],
    **run: Any,  # noqa: ANN401 - what embed_images takes
) -> EmbedSummary:
    """Embed a share into a store of its own, which says so from start to end."""
    folder = share.name_store(store)
    opened, encoder = open_on_demand(folder, load, model=model, dtype=dtype)
    card = ShareCard(
        number=share.number, of=share.of, listing=order.digest, n_files=order.n_files,
        options=options,
    )  # fmt: skip
    with opened.filling():
        card.begin(opened.folder)
        summary = embed_images(listing, encoder, opened, **run)
        _finish_share(EmbeddingStore.open(folder), card, order)
    return summary


def _finish_share(store: EmbeddingStore, card: ShareCard, order: Order) -> None:
    """Say in a store that all of a share was tried, and where its rows stand among all."""
    frame = store.images.select(["root", "path"])
    places = order.find(list(map(join, frame["root"], frame["path"])))
    card.finish(store.folder, np.asarray(places, dtype=np.int64), store.manifest.generation)
