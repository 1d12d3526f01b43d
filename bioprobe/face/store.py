"""A store as people hold it: opened, filled, and asked everything."""

from __future__ import annotations

from bioprobe.face.asking import Asks
from bioprobe.face.keeping import Keeps
from bioprobe.face.prompts import Texts
from bioprobe.face.taxa import Names
from bioprobe.options import Device, Model, StoreFolder


class Store(Asks, Names, Texts, Keeps):
    """Embeddings of images with their table, open to every question. See :func:`bioprobe.open`."""


def open_store(
    store: StoreFolder = "embeddings/default", *, model: Model = None, device: Device = "auto"
) -> Store:
    """Open a store.

    Parameters
    ----------
    store : str or Path
        Its folder.
    model : str, optional
        Encoder of texts and pictures that are asked; by default the one that made the store.
    device : str
        Where the encoder runs, loaded when a text or picture is new.

    Raises
    ------
    StoreError
        If there is no store, or it cannot be read.

    Examples
    --------
    >>> store = open_store("embeddings/all")  # doctest: +SKIP
    """
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.view import View

    return Store(View.all(EmbeddingStore.open(store)), model=model, device=device)
