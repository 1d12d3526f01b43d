"""An encoder that sees the colours of a small copy, named ``tint:SIDE``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from bioprobe.encoders.catalog import ModelSource
from bioprobe.encoders.encoder import (
    Fingerprint,
    LoadOptions,
    explain_no_text_tower,
    hash_description,
    normalise_rows,
)
from bioprobe.errors import ModelUnavailableError, NoTextTowerError

Vectors = npt.NDArray[np.float32]


def load_tint(source: ModelSource, options: LoadOptions) -> TintEncoder:
    """Make the encoder of ``tint:SIDE``."""
    if not source.target.isdigit() or not int(source.target):
        msg = f'model "{source.name}": SIDE is a number of pixels, such as tint:4'
        raise ModelUnavailableError(msg)
    return TintEncoder(int(source.target), options)


class TintEncoder:
    """Colours of a copy of ``side_px`` pixels a side, less their mean, as a unit vector."""

    has_text_tower = False
    logit_scale = 1.0
    device = "cpu"
    draft_side_px = 0

    def __init__(self, side_px: int, options: LoadOptions) -> None:
        self.name = f"tint:{side_px}"
        self.dim = 3 * side_px**2
        self.batch_size = options.batch_size or 64
        self.fingerprint = Fingerprint(
            model=self.name,
            weights_sha256=hashlib.sha256(self.name.encode()).hexdigest(),
            preprocessing_sha256=hash_description({"side_px": side_px}),
            decoding=options.decoding,
            backend="tint",
        )
        self._side_px = side_px

    def preprocess(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """Return the small copy, float32 of shape (3, side_px, side_px) in [-0.5, 0.51]."""
        small = np.asarray(image.convert("RGB").resize((self._side_px, self._side_px)), np.float32)
        # Middle grey would have no direction.
        return np.asarray(small.transpose(2, 0, 1) / 255 - 0.499, dtype=np.float32)

    def encode_pixels(self, pixels: npt.NDArray[np.float32]) -> Vectors:
        """Encode preprocessed images, shape (n_images, 3, side_px, side_px)."""
        return normalise_rows(pixels.reshape(len(pixels), self.dim))

    def encode_image(self, images: Sequence[Image.Image]) -> Vectors:
        """Preprocess and encode decoded images."""
        empty = np.zeros((0, 3, self._side_px, self._side_px), dtype=np.float32)
        return self.encode_pixels(np.stack([*map(self.preprocess, images)]) if images else empty)

    def encode_text(self, texts: Sequence[str]) -> Vectors:  # noqa: ARG002 - the contract's name
        """Refuse: there is no text tower."""
        raise NoTextTowerError(explain_no_text_tower(self.name))
