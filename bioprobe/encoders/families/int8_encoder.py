"""An encoder whose pictures are computed in 8-bit integers: another encoder than the exact one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.cache import find_cache
from bioprobe.encoders.encoder import Encoder, Fingerprint, normalise_rows
from bioprobe.encoders.families.quantising import open_graph
from bioprobe.encoders.int8 import INT8, add_int8
from bioprobe.errors import BioprobeError, ModelUnavailableError
from bioprobe.files import hash_file

if TYPE_CHECKING:
    from PIL.Image import Image

    from bioprobe.types import Vectors

#: The least cosine similarity of any picture's vector with that of PyTorch in fp32.
LEAST_COSINE = 0.998
#: The graph and what was measured of it, in the folder of its model.
GRAPH_NAME, ABOUT_NAME = "model.onnx", "about.json"


def find_folder(exact: Fingerprint) -> Path:
    """Return the folder where the int8 form of a model lies, or would."""
    return find_cache(INT8) / exact.key[:32]


class Int8Encoder:
    """Encode pictures by a quantised graph, texts by the exact encoder.

    Its vectors are near those of the exact encoder and not the same: the fingerprint is that of the
    graph, so that they are never mixed.

    Parameters
    ----------
    exact : Encoder
        In fp32.
    graph : Path
        What :func:`bioprobe.encoders.families.quantising.quantise` wrote of it.

    Raises
    ------
    MissingExtraError
        If ONNX Runtime is not installed.
    """

    def __init__(self, exact: Encoder, graph: Path) -> None:
        self._exact = exact
        self._run = open_graph(graph)
        self.name = add_int8(exact.name)
        self.dim = exact.dim
        self.has_text_tower = exact.has_text_tower
        self.logit_scale = exact.logit_scale
        self.fingerprint: Fingerprint = dataclasses.replace(
            exact.fingerprint,
            model=add_int8(exact.fingerprint.model),
            weights_sha256=hash_file(graph),
            precision=INT8,
        )

    @property
    def device(self) -> str:
        """Kind of device that runs it."""
        return self._exact.device

    @property
    def batch_size(self) -> int:
        """Images in one forward pass."""
        return self._exact.batch_size

    @property
    def draft_side_px(self) -> int:
        """Shorter side that a large image may be decoded at, 0 for whole images."""
        return self._exact.draft_side_px

    def preprocess(self, image: Image) -> npt.NDArray[np.float32]:
        """Preprocess a picture as the exact encoder does."""
        return self._exact.preprocess(image)

    def encode_pixels(self, pixels: npt.NDArray[np.float32]) -> Vectors:
        """Encode preprocessed images.

        Parameters
        ----------
        pixels : ndarray of float32, shape (n_images, 3, height_px, width_px)

        Returns
        -------
        ndarray of float32, shape (n_images, dim), unit rows
        """
        size = self.batch_size
        parts = [self._run(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        return normalise_rows(np.concatenate([np.empty((0, self.dim), np.float32), *parts]))

    def encode_image(self, images: Sequence[Image]) -> Vectors:
        """Preprocess and encode images; holds one batch of pixels at a time.

        Returns
        -------
        ndarray of float32, shape (n_images, dim), unit rows
        """
        size = self.batch_size
        parts = [
            self.encode_pixels(np.stack([self.preprocess(one) for one in images[at : at + size]]))
            for at in range(0, len(images), size)
        ]
        return np.concatenate([np.empty((0, self.dim), np.float32), *parts])

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Encode texts as the exact encoder does, in fp32."""
        return self._exact.encode_text(texts)


def open_int8(exact: Encoder) -> Int8Encoder:
    """Return the int8 form of an encoder, which was quantised before.

    Raises
    ------
    BioprobeError
        If the encoder is not on a processor.
    ModelUnavailableError
        If it never was quantised on this machine.
    """
    if exact.device != "cpu":
        msg = (
            f"{add_int8(exact.name)} runs on processors only, got --device {exact.device}; use "
            f"--device cpu, or {exact.name} with --precision fp16"
        )
        raise BioprobeError(msg)
    graph = find_folder(exact.fingerprint) / GRAPH_NAME
    if not graph.is_file():
        msg = (
            f"{exact.name} has no int8 form on this machine, which is made of pictures of yours: "
            f"bioprobe models quantise {exact.name} PICTURES"
        )
        raise ModelUnavailableError(msg)
    return Int8Encoder(exact, graph)
