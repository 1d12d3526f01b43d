"""The encoder that a store goes on with."""

from __future__ import annotations

from pathlib import Path

from bioprobe.encoders import load_encoder
from bioprobe.encoders.catalog import DEFAULT_MODEL
from bioprobe.encoders.encoder import Encoder
from bioprobe.store import EmbeddingStore


def load_encoder_for(
    folder: str | Path,
    *,
    model: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    batch_size: int | None = None,
    decoding: str | None = None,
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
    """
    if EmbeddingStore.exists(folder):
        stored = EmbeddingStore.open(folder).manifest.encoder
        model = model or stored.model
        decoding = decoding or stored.decoding
        # The precision of an ONNX file is its own and cannot be asked for.
        if stored.backend not in {"onnx", "imported"}:
            precision = precision or stored.precision
    return load_encoder(
        model or DEFAULT_MODEL,
        device=device,
        precision=precision or "auto",
        batch_size=batch_size,
        decoding=decoding or "fast",
    )
