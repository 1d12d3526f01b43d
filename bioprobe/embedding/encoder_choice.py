"""The encoder that a store goes on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from bioprobe.encoders import load_encoder
from bioprobe.encoders.catalog import DEFAULT_MODEL, parse_name
from bioprobe.encoders.encoder import Encoder, count_rows
from bioprobe.encoders.quantised import (
    QUANTISED,
    add_quantised,
    check_precision,
    find_quantised,
)
from bioprobe.store import EmbeddingStore


def load_encoder_for(
    folder: str | Path,
    *,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    batch_size: int | None = None,
    decoding: str | None = None,
    backend: str = "auto",
) -> Encoder:
    """Load the encoder of a store as it ran before, so that new vectors are made like the old.

    Parameters
    ----------
    folder : str or Path
        Folder of the store, which need not exist.
    model : str or None
        Name of the encoder; None is the store's own, or the default for a new one.
    device : str
        As for :func:`bioprobe.encoders.load_encoder`.
    precision, decoding : str or None
        As for :func:`bioprobe.encoders.load_encoder`; None is what the store was begun with, and
        ``auto`` and ``fast`` for a new one.
    batch_size : int or None
        Images in one forward pass; None chooses by device.
    backend : str
        As for :func:`bioprobe.encoders.load_encoder`; it may be another in every run, as vectors
        agree.
    """
    choice = choose_encoder(folder, model=model, precision=precision, decoding=decoding)
    return load_encoder(
        choice.model,
        device=device,
        precision=choice.precision,
        batch_size=batch_size,
        decoding=choice.decoding,
        backend=backend,
    )


@dataclasses.dataclass(frozen=True)
class EncoderChoice:
    """Which encoder is to be loaded, and how; as for :func:`bioprobe.encoders.load_encoder`."""

    model: str
    precision: str
    decoding: str


def choose_encoder(
    folder: str | Path | None,
    *,
    model: str | None = None,
    precision: str | None = None,
    decoding: str | None = None,
) -> EncoderChoice:
    """Choose the encoder of a store as it ran before, without loading it.

    Parameters
    ----------
    folder : str, Path or None
        Folder of the store, which need not exist; None is no store.
    model, precision, decoding : str or None
        As for :func:`load_encoder_for`.

    Raises
    ------
    BioprobeError
        If a quantised model is asked for in another precision.
    """
    asked = precision
    if folder is not None and EmbeddingStore.exists(folder):
        stored = EmbeddingStore.open(folder).manifest.encoder
        model = model or stored.model
        decoding = decoding or stored.decoding
        # The precision of an ONNX file is its own and cannot be asked for.
        if stored.backend not in {"onnx", "imported"}:
            precision = precision or stored.precision
    named = model or DEFAULT_MODEL
    if asked is not None:
        check_precision(named, asked)
    if stated := find_quantised(named):
        precision = stated
    elif precision in QUANTISED:
        named = add_quantised(named, precision)
    return EncoderChoice(named, precision or "auto", decoding or "fast")


class OnDemandEncoder:
    """Load an encoder at its first use, and refuse one that is not that of the store.

    Parameters
    ----------
    store : EmbeddingStore
        Store whose vectors its own will stand beside.
    load : callable
        Loads the encoder; called at most once.
    """

    def __init__(self, store: EmbeddingStore, load: Callable[[], Encoder]) -> None:
        self._store = store
        self._load = load
        self._encoder: Encoder | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the encoder is there already."""
        return self._encoder is not None

    def count_rows(self) -> dict[str, int]:
        """Return how many images each of its backends has computed."""
        return {} if self._encoder is None else count_rows(self._encoder)

    def get(self) -> Encoder:
        """Return the encoder.

        Raises
        ------
        MismatchError
            If it is not that of the store.
        """
        if self._encoder is None:
            encoder = self._load()
            self._store.check_encoder(encoder.fingerprint)
            self._encoder = encoder
        return self._encoder


def open_on_demand(
    folder: str | Path,
    load: Callable[[], Encoder],
    *,
    model: str | None = None,
    dtype: str | None = None,
) -> tuple[EmbeddingStore, OnDemandEncoder]:
    """Open the store that images go into, or make it, and load its encoder no sooner than needed.

    At once the encoder is loaded for a new store, which is bound to it; for one of imported
    vectors; and where the user names another model than the store does, which may still be the
    same weights or else is refused.

    Parameters
    ----------
    folder : str or Path
        Folder of the store.
    load : callable
        Loads the encoder.
    model : str or None
        Name that the user gave it; None is the store's own.
    dtype : str or None
        As for :meth:`bioprobe.store.EmbeddingStore.open_for`.

    Raises
    ------
    MismatchError
        If the store is bound to another encoder or dtype.
    """
    if EmbeddingStore.exists(folder):
        store = EmbeddingStore.open(folder)
        if names_encoder_of(store, model):
            store.check_dtype(dtype)
            return store, OnDemandEncoder(store, load)
    encoder = load()
    store = EmbeddingStore.open_for(folder, encoder, dtype=dtype)
    loaded = OnDemandEncoder(store, lambda: encoder)
    loaded.get()
    return store, loaded


def names_encoder_of(store: EmbeddingStore, model: str | None) -> bool:
    """Tell whether a name is that of the encoder which a store was made by; None is."""
    stored = store.manifest.encoder
    if stored.backend == "imported":
        return False
    return model is None or parse_name(model).name == stored.model
