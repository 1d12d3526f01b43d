"""The encoder noun: what turns images and texts into unit vectors, and how it is told apart."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from bioprobe.settings import TEXT_BY_NAME, check_fields

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from bioprobe.types import Vectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Identity of an encoder: two vectors may be compared only if theirs are compatible.

    Parameters
    ----------
    model : str
        Name by which the encoder can be loaded again, such as ``bioclip-2`` or
        ``local-dir:models/mine``.
    revision : str
        Revision at the hub, or ``""`` where there is none.
    weights_sha256 : str
        SHA-256 of the weights as 64 hexadecimal digits, or ``""`` for imported vectors whose
        weights nobody saw.
    preprocessing_sha256 : str
        SHA-256 of the description of every step from decoded image to tensor, or ``""`` for
        imported vectors.
    image_sha256 : str
        SHA-256 of what else decides the vector of an image: the settings that say how the weights
        are computed with, and what further files of weights a graph names. ``""`` in fingerprints
        older than this field, and where there is nothing else.
    text_sha256 : str
        SHA-256 of what else decides the vector of a text: its tokenizer and the settings of its
        tower. ``""`` in older fingerprints, and of an encoder that cannot read text.
    precision : str
        ``fp32``, ``bf16``, ``fp16``, ``int8`` or ``fp8``.
    decoding : str
        ``exact``, or ``fast`` where large JPEGs are decoded at a fraction of their size and only
        the crop is resampled.
    backend : str
        Library that ran the model: ``open_clip``, ``transformers``, ``timm``, ``onnx`` or
        ``imported``; else the name of the family that another package adds.
    """

    model: str
    revision: str = ""
    weights_sha256: str = ""
    preprocessing_sha256: str = ""
    image_sha256: str = ""
    text_sha256: str = ""
    precision: str = "fp32"
    decoding: str = "exact"
    backend: str

    @property
    def key(self) -> str:
        """Identity of weights and preprocessing: 64 hexadecimal digits.

        Vectors of the same weights and preprocessing in another precision are compatible.
        Imported vectors have no weights to hash, so their key is that of the given name.
        """
        parts = (
            [self.weights_sha256, self.preprocessing_sha256]
            if self.weights_sha256
            else ["imported", self.model, self.revision]
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def has_exact_texts(self) -> bool:
        """Whether texts are computed in fp32, as every store has them."""
        return self.precision in {"fp32", "int8", "fp8"}

    def is_compatible(self, other: Fingerprint) -> bool:
        """Tell whether vectors of both encoders may be compared with each other."""
        return not self.find_differences(other)

    def find_differences(self, other: Fingerprint) -> list[str]:
        """Return what makes vectors of both encoders incomparable, in words; nothing if they are.

        Examples
        --------
        >>> stored = Fingerprint(model="m", weights_sha256="ab", text_sha256="cd", backend="onnx")
        >>> stored.find_differences(dataclasses.replace(stored, text_sha256="ef"))
        ['tokenizer or settings of texts']
        >>> stored.find_differences(dataclasses.replace(stored, text_sha256=""))
        []
        """
        if self.key != other.key:
            return ["weights or preprocessing"]
        further = {
            "settings of the model, or further files of weights": "image_sha256",
            "tokenizer or settings of texts": "text_sha256",
        }
        # What one of both does not know is no difference.
        return [
            words
            for words, field in further.items()
            if (ours := getattr(self, field))
            and (theirs := getattr(other, field))
            and ours != theirs
        ]

    def describe(self) -> str:
        """Return the identity as one short phrase for messages and provenance."""
        weights = self.weights_sha256[:12] or "unknown"
        return f"{self.model} (weights {weights}, {self.precision}, {self.backend})"

    def to_dict(self) -> dict[str, str]:
        """Return the fields as a JSON-ready mapping."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, str]) -> Fingerprint:
        """Build a fingerprint from what :meth:`to_dict` returned.

        Raises
        ------
        ValueError
            If it is no table of texts.
        """
        check_fields({"encoder": fields}, {"encoder": TEXT_BY_NAME})
        return cls(**fields)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is to run; :func:`bioprobe.encoders.load_encoder` says what each takes.

    Parameters
    ----------
    device : str
        ``auto``, or a PyTorch device such as ``cpu`` or ``cuda:1``.
    precision : str
        ``auto``, ``fp32``, ``bf16`` or ``fp16``.
    batch_size : int or None
        Images or texts in one forward pass, 1 or more; None is for the family to choose.
    decoding : str
        ``exact`` or ``fast``.
    backend : str
        ``auto``, ``torch``, or a name of :data:`bioprobe.registry.BACKENDS`.
    """

    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    decoding: str = "exact"
    backend: str = "torch"


@runtime_checkable
class Encoder(Protocol):
    """What every encoder family offers.

    Attributes
    ----------
    name : str
        Name by which the encoder can be loaded again.
    dim : int
        Length of a vector.
    has_text_tower : bool
        Whether :meth:`encode_text` works.
    logit_scale : float
        Factor that turns cosine similarity into logits (already exponentiated); 1.0 where the
        encoder has none.
    fingerprint : Fingerprint
        Identity, checked wherever vectors meet.
    device : str
        Kind of device that runs it: ``cpu``, ``cuda`` or ``mps``.
    batch_size : int
        Images in one forward pass.
    draft_side_px : int
        An image whose sides are longer may be decoded at a fraction of its size down to this
        shorter side; 0 where it must be decoded whole.
    """

    name: str
    dim: int
    has_text_tower: bool
    logit_scale: float
    fingerprint: Fingerprint

    @property
    def device(self) -> str: ...  # noqa: D102

    @property
    def batch_size(self) -> int: ...  # noqa: D102

    @property
    def draft_side_px(self) -> int: ...  # noqa: D102

    def preprocess(self, image: Image) -> npt.NDArray[np.float32]:
        """Apply the checkpoint's own preprocessing to one decoded image.

        Safe to call from several threads at once.

        Parameters
        ----------
        image : PIL.Image.Image
            Upright RGB image.

        Returns
        -------
        ndarray of float32, shape (3, height_px, width_px)
        """
        ...

    def encode_pixels(self, pixels: npt.NDArray[np.float32]) -> Vectors:
        """Encode preprocessed images.

        Parameters
        ----------
        pixels : ndarray of float32, shape (n_images, 3, height_px, width_px)
            Stacked results of :meth:`preprocess`; ``n_images`` may be 0.

        Returns
        -------
        ndarray of float32, shape (n_images, dim), unit rows
        """
        ...

    def encode_image(self, images: Sequence[Image]) -> Vectors:
        """Preprocess and encode decoded images.

        Returns
        -------
        ndarray of float32, shape (n_images, dim), unit rows
        """
        ...

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Tokenise and encode texts in batches.

        Parameters
        ----------
        texts : sequence of str
            Whole texts; templates are already filled in.

        Returns
        -------
        ndarray of float32, shape (n_texts, dim), unit rows

        Raises
        ------
        NoTextTowerError
            If the encoder is image-only.
        PromptError
            If a text is longer than the context; names the text and the limit.
        """
        ...


def count_rows(encoder: Encoder) -> dict[str, int]:
    """Return how many images each backend of an encoder has computed, empty where it has one."""
    count = getattr(encoder, "count_rows", None)
    return {} if count is None else dict(count())


def encode_in_batches(encoder: Encoder, pixels: npt.NDArray[np.float32]) -> Vectors:
    """Return the vectors of preprocessed images, as many at once as the encoder sees together."""
    size = encoder.batch_size
    starts = range(0, len(pixels), size)
    return np.concatenate([encoder.encode_pixels(pixels[at : at + size]) for at in starts])


def encode_images(encoder: Encoder, images: Sequence[Image]) -> Vectors:
    """Preprocess and encode decoded images; no more pixels are held than of one batch."""
    size = encoder.batch_size
    parts = [
        encoder.encode_pixels(np.stack([encoder.preprocess(one) for one in images[at : at + size]]))
        for at in range(0, len(images), size)
    ]
    return np.concatenate([np.empty((0, encoder.dim), dtype=np.float32), *parts])


def explain_no_text_tower(name: str) -> str:
    """Return the message for a text given to an image-only encoder."""
    return (
        f"{name} is image-only and cannot encode text; use it for search by image, "
        "or choose a model with a text tower such as bioclip-2"
    )


def explain_no_tokenizer(name: str, folder: Path, source: str = "") -> str:
    """Return the message for a text given to an encoder whose tokenizer is not in its folder."""
    origin = source or "the model's origin"
    return (
        f"{name} can encode images but no text: its tokenizer is not in {folder}; copy "
        f"tokenizer.json and tokenizer_config.json (or what it has instead) of {origin} there"
    )


def hash_description(description: dict[str, Any]) -> str:
    """Return the SHA-256 of a JSON-ready description, the same for any order of keys."""
    text = json.dumps(description, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def normalise_rows(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scale each row to unit length in float32; rows of zeros stay zeros, of NaN stay NaN.

    Parameters
    ----------
    vectors : ndarray of any real dtype, shape (n, dim)

    Returns
    -------
    ndarray of float32, shape (n, dim), unit rows

    Examples
    --------
    >>> normalise_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    rows = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = np.divide(
        rows, norms, out=np.zeros_like(rows), where=norms != 0
    )
    return unit
