"""What an encoder can give beside the vector of a picture: what is kept of what it computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import Encoder
from bioprobe.encoders.quantised import split_quantised
from bioprobe.encoders.views import split_views
from bioprobe.errors import ModelUnavailableError
from bioprobe.types import Arrays, Vectors

#: What the visual projection of the encoder takes, one row a picture.
PROJECTION_INPUT = "projection-input"
#: What the last block of the encoder gives, several rows a picture.
TOKENS = "tokens"
KEPT_KINDS = (PROJECTION_INPUT, TOKENS)


@dataclasses.dataclass(frozen=True, eq=False)
class KeptForm:
    """What an encoder gives of one kind.

    Parameters
    ----------
    kind : str
        One of :data:`KEPT_KINDS`.
    shape : tuple of int
        Of what there is of one picture: (width,), or (n_tokens, width).
    description : str
        What it is, in words.
    n_prefix : int
        Of tokens those before the ones of places: the class token and registers.
    grid : tuple of int
        Of tokens the places from top to bottom and from left to right; () of others.
    projection : ndarray of float32, shape (width, dim), optional
        What is multiplied with it, of ``projection-input``.
    bias : ndarray of float32, shape (dim,), optional
        What is added then; zeros where nothing is.
    """

    kind: str
    shape: tuple[int, ...]
    description: str
    n_prefix: int = 0
    grid: tuple[int, ...] = ()
    projection: npt.NDArray[np.float32] | None = None
    bias: npt.NDArray[np.float32] | None = None


@runtime_checkable
class KeepingEncoder(Encoder, Protocol):
    """An encoder that can give more than the vector."""

    def find_form(self, kind: str) -> KeptForm:
        """Return what is given of a kind.

        Raises
        ------
        ModelUnavailableError
            If the model has no such thing.
        """
        ...

    def encode_keeping(
        self, pixels: npt.NDArray[np.float32], kinds: Sequence[str]
    ) -> tuple[Vectors, Arrays]:
        """Encode preprocessed images once, and return what is kept too.

        Parameters
        ----------
        pixels : ndarray of float32, shape (n_images, 3, height_px, width_px)
        kinds : sequence of str
            Of :data:`KEPT_KINDS`.

        Returns
        -------
        vectors : ndarray of float32, shape (n_images, dim), unit rows
            As :meth:`~bioprobe.encoders.encoder.Encoder.encode_pixels` gives them.
        kept : dict of str to ndarray of float32, shape (n_images, *shape of the form)
        """
        ...


def need_keeping(encoder: Encoder, kinds: Sequence[str]) -> KeepingEncoder:
    """Return an encoder that gives what is to be kept.

    Raises
    ------
    ModelUnavailableError
        If it gives nothing but vectors, or has nothing of such a kind.
    """
    if not isinstance(encoder, KeepingEncoder):
        raise ModelUnavailableError(_explain(encoder, kinds))
    for kind in kinds:
        encoder.find_form(kind)
    return encoder


def _explain(encoder: Encoder, kinds: Sequence[str]) -> str:
    named = " and ".join(kinds)
    plain, n_views = split_views(encoder.name)
    if n_views > 1:
        return (
            f"{encoder.name} gives the mean of {n_views} views of a picture, which has no {named} "
            f"of its own; keep it in a store of --model {plain}, without --views"
        )
    plain, precision = split_quantised(plain)
    if precision:
        return (
            f"{encoder.name} gives nothing but the vector of a picture, no {named}; keep it in a "
            f"store of --model {plain}"
        )
    return (
        f"{encoder.name} runs in {encoder.fingerprint.backend}, which gives nothing but the vector "
        f"of a picture, no {named}; leave --keep out, or use the model as open_clip, transformers "
        "or timm load it"
    )
