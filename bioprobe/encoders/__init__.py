"""Encoders: what turns images and texts into unit vectors.

Importing this package imports no deep-learning library; :func:`load_encoder` imports the one
that the model needs.
"""

from typing import TYPE_CHECKING

from bioprobe.doors import open_door
from bioprobe.encoders.encoder import Encoder, Fingerprint, hash_description, normalise_rows

if TYPE_CHECKING:
    from bioprobe.encoders.loading import load_encoder, stamp_model

__all__ = [
    "Encoder",
    "Fingerprint",
    "hash_description",
    "load_encoder",
    "normalise_rows",
    "stamp_model",
]

__getattr__ = open_door(__name__, {"load_encoder": "loading", "stamp_model": "loading"})
