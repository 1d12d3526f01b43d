"""An encoder that sees a picture several times, flipped and cropped, and takes the mean."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import (
    Encoder,
    Fingerprint,
    count_rows,
    encode_images,
    encode_in_batches,
    hash_description,
    normalise_rows,
)
from bioprobe.errors import ModelUnavailableError

if TYPE_CHECKING:
    from PIL.Image import Image

    from bioprobe.types import Vectors

#: Numbers of views that there are. 2: the whole picture and its mirror image; 4: also the middle
#: four fifths of each side, and its mirror image; 10: the whole, four corners, and all mirrored.
VIEWS = (2, 4, 10)
_CROP_FRACTION = 0.8
_SUFFIX = re.compile(r"\+views(\d+)$")


def add_views(name: str, n_views: int) -> str:
    """Return the name of a model that sees each picture so many times.

    Examples
    --------
    >>> add_views("bioclip-2", 4), add_views("bioclip-2+views4", 2)
    ('bioclip-2+views4', 'bioclip-2+views2')
    """
    return f"{split_views(name)[0]}+views{n_views}"


def split_views(name: str) -> tuple[str, int]:
    """Return a model's name without its number of views, and that number; 1 where none is said.

    Raises
    ------
    ModelUnavailableError
        If there are not so many views.

    Examples
    --------
    >>> split_views("bioclip-2+views4"), split_views("bioclip-2")
    (('bioclip-2', 4), ('bioclip-2', 1))
    """
    found = _SUFFIX.search(name)
    if found is None:
        return name, 1
    n_views = int(found[1])
    if n_views not in VIEWS:
        known = ", ".join(map(str, VIEWS))
        msg = f"{name} says {n_views} views of a picture; there are {known}"
        raise ModelUnavailableError(msg)
    return name[: found.start()], n_views


def make_views(image: Image, n_views: int) -> list[Image]:
    """Return the views of a picture, the whole first.

    Parameters
    ----------
    image : PIL.Image.Image
    n_views : int
        One of :data:`VIEWS`.
    """
    from PIL import ImageOps

    width, height = image.size
    across, down = (max(1, round(_CROP_FRACTION * side)) for side in image.size)
    left, top = width - across, height - down
    starts = {
        2: (), 4: ((left // 2, top // 2),), 10: ((0, 0), (left, 0), (0, top), (left, top))
    }[n_views]  # fmt: skip
    seen = [image, *(image.crop((x, y, x + across, y + down)) for x, y in starts)]
    return [*seen, *map(ImageOps.mirror, seen)]


class ViewsEncoder:
    """Encode each picture as the mean of the vectors of its views, made unit again.

    Texts are those of the encoder itself. Vectors are of another preprocessing than the encoder's,
    and the fingerprint says so: they are never mixed with those of single views.

    Parameters
    ----------
    encoder : Encoder
        That sees each view.
    n_views : int
        One of :data:`VIEWS`.

    References
    ----------
    Krizhevsky et al. 2012, *ImageNet classification with deep convolutional neural networks* (ten
    views); Shanmugam et al. 2021, *Better aggregation in test-time augmentation* (what helps, and
    what does not).
    """

    def __init__(self, encoder: Encoder, n_views: int) -> None:
        self._encoder = encoder
        self._n_views = n_views
        self.name = add_views(encoder.name, n_views)
        self.dim = encoder.dim
        self.has_text_tower = encoder.has_text_tower
        self.logit_scale = encoder.logit_scale
        # A crop is seen at the size of the whole.
        self.draft_side_px = round(encoder.draft_side_px / _CROP_FRACTION)
        seen = {"views": n_views, "crop": _CROP_FRACTION} if n_views > 2 else {"views": n_views}
        base = encoder.fingerprint
        self.fingerprint: Fingerprint = dataclasses.replace(
            base,
            model=add_views(base.model, n_views),
            preprocessing_sha256=hash_description(seen | {"of": base.preprocessing_sha256}),
        )

    @property
    def device(self) -> str:
        """Kind of device that runs it."""
        return self._encoder.device

    @property
    def batch_size(self) -> int:
        """Images in one forward pass, each of several views."""
        return max(1, self._encoder.batch_size // self._n_views)

    def preprocess(self, image: Image) -> npt.NDArray[np.float32]:
        """Preprocess each view.

        Returns
        -------
        ndarray of float32, shape (3 * n_views, height_px, width_px)
            The channels of one view after those of another.
        """
        views = make_views(image, self._n_views)
        return np.concatenate([self._encoder.preprocess(view) for view in views])

    def encode_pixels(self, pixels: npt.NDArray[np.float32]) -> Vectors:
        """Encode preprocessed images.

        Parameters
        ----------
        pixels : ndarray of float32, shape (n_images, 3 * n_views, height_px, width_px)

        Returns
        -------
        ndarray of float32, shape (n_images, dim), unit rows
        """
        n_images = len(pixels)
        if not n_images:
            return np.zeros((0, self.dim), dtype=np.float32)
        views = pixels.reshape(n_images * self._n_views, -1, *pixels.shape[2:])
        vectors = encode_in_batches(self._encoder, views)
        return normalise_rows(vectors.reshape(n_images, self._n_views, -1).mean(axis=1))

    def encode_image(self, images: Sequence[Image]) -> Vectors:
        """Preprocess and encode decoded images; see :meth:`encode_pixels`."""
        return encode_images(self, images)

    def count_rows(self) -> dict[str, int]:
        """Return how many views each backend has computed the vectors of."""
        return count_rows(self._encoder)

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Encode texts as the encoder itself does."""
        return self._encoder.encode_text(texts)
