"""A share of the sources in a store of its own: what it says of itself from start to end."""

from __future__ import annotations

import numpy as np

from bioprobe.sources.listing import join
from bioprobe.sources.shares import Order, Share
from bioprobe.store import EmbeddingStore
from bioprobe.store.share_card import ShareCard


def begin_share(store: EmbeddingStore, share: Share, order: Order) -> None:
    """Say in a store that a run over a share has begun.

    Raises
    ------
    StoreError
        If the store is that of another share, or the disk refuses.
    """
    _describe(share, order).begin(store.folder)


def finish_share(store: EmbeddingStore, share: Share, order: Order) -> None:
    """Say in a store that all of a share was tried, and where its rows stand among all.

    Parameters
    ----------
    store : EmbeddingStore
        As it is after the run.
    share : Share
    order : Order
        In which the sources list all pictures.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    frame = store.images.select(["root", "path"])
    places = order.find(list(map(join, frame["root"], frame["path"])))
    _describe(share, order).finish(
        store.folder, np.asarray(places, dtype=np.int64), store.manifest.generation
    )


def _describe(share: Share, order: Order) -> ShareCard:
    return ShareCard(number=share.number, of=share.of, listing=order.digest, n_files=order.n_files)
