"""An encoder whose pictures are computed in 8 bits: another encoder than the exact one."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.cache import find_cache
from bioprobe.encoders.encoder import Encoder, Fingerprint, encode_images, normalise_rows
from bioprobe.encoders.families.fp8 import make_fp8
from bioprobe.encoders.families.quantising import check_quantisable, open_graph
from bioprobe.encoders.families.torch_encoder import TorchEncoder, describe_failure
from bioprobe.encoders.quantised import INT8, add_quantised
from bioprobe.errors import BioprobeError, MissingExtraError, ModelUnavailableError
from bioprobe.files import hash_file, read_json

if TYPE_CHECKING:
    from PIL.Image import Image

    from bioprobe.encoders.trials import Choice
    from bioprobe.types import Vectors

#: The least cosine similarity of any picture's vector with that of PyTorch in fp32.
LEAST_COSINE = 0.998
#: The graph of int8, and what was measured, in the folder of a model.
GRAPH_NAME, ABOUT_NAME = "model.onnx", "about.json"


def find_folder(exact: Fingerprint, precision: str) -> Path:
    """Return the folder where the quantised form of a model lies, or would."""
    return find_cache(precision) / exact.key[:32]


class QuantisedEncoder:
    """Encode pictures in 8 bits, texts by the exact encoder.

    Its vectors are near those of the exact encoder and not the same: the fingerprint is another, so
    that they are never mixed.

    Parameters
    ----------
    exact : Encoder
        In fp32.
    precision : str
        Of :data:`bioprobe.encoders.quantised.QUANTISED`.
    run : callable
        From pixels of a batch, shape (n_images, 3, height_px, width_px), to embeddings.
    weights_sha256 : str
        Of what computes them.
    """

    def __init__(
        self,
        exact: Encoder,
        precision: str,
        run: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
        weights_sha256: str,
    ) -> None:
        self._exact = exact
        self._run = run
        self.name = add_quantised(exact.name, precision)
        self.dim = exact.dim
        self.has_text_tower = exact.has_text_tower
        self.logit_scale = exact.logit_scale
        self.fingerprint: Fingerprint = dataclasses.replace(
            exact.fingerprint,
            model=add_quantised(exact.fingerprint.model, precision),
            weights_sha256=weights_sha256,
            precision=precision,
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

    @functools.cached_property
    def about(self) -> Mapping[str, Any]:
        """What was measured when it was quantised; empty before, and where that is lost."""
        file = find_folder(self._exact.fingerprint, self.fingerprint.precision) / ABOUT_NAME
        found: Mapping[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            found = read_json(file, dict)
        return found

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
        return encode_images(self, images)

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """Encode texts as the exact encoder does, in fp32."""
        return self._exact.encode_text(texts)


class Fp8Encoder(QuantisedEncoder):
    """Encode pictures with their MLPs in fp8, by any backend.

    Parameters
    ----------
    exact : TorchEncoder
        In fp32, on a device that multiplies fp8.

    Raises
    ------
    BioprobeError
        If the device does not, or nothing that computes pictures is an MLP.
    """

    def __init__(self, exact: TorchEncoder) -> None:
        self._images = make_fp8(exact)
        fingerprint = self._images.fingerprint
        run = self._images.encode_pixels
        super().__init__(exact, fingerprint.precision, run, fingerprint.weights_sha256)

    def count_rows(self) -> dict[str, int]:
        """Return how many images each backend has computed the vectors of."""
        return self._images.count_rows()

    def settle_backend(self, images: Sequence[Image]) -> Choice:
        """Choose what runs whole batches of images now, and return what was found."""
        return self._images.settle_backend(images)


def open_int8(exact: Encoder, graph: Path) -> QuantisedEncoder:
    """Return the encoder that runs a graph of :mod:`bioprobe.encoders.families.quantising`.

    Raises
    ------
    MissingExtraError
        If ONNX Runtime is not installed.
    """
    return QuantisedEncoder(exact, INT8, open_graph(graph), hash_file(graph))


def open_quantised(exact: Encoder, precision: str) -> QuantisedEncoder:
    """Return the quantised form of an encoder, which was made and measured before.

    Raises
    ------
    BioprobeError
        If its device does not compute in that precision.
    ModelUnavailableError
        If it never was quantised on this machine, or its file is damaged.
    """
    if precision == INT8 and exact.device != "cpu":
        msg = (
            f"{add_quantised(exact.name, INT8)} runs on processors only, got --device "
            f"{exact.device}; use --device cpu, or {exact.name} with --precision fp16"
        )
        raise BioprobeError(msg)
    folder = find_folder(exact.fingerprint, precision)
    if not (folder / (GRAPH_NAME if precision == INT8 else ABOUT_NAME)).is_file():
        msg = (
            f"{exact.name} has no {precision} form on this machine, which is measured on pictures "
            f"of yours: bioprobe models quantise {exact.name} PICTURES --precision {precision}"
        )
        raise ModelUnavailableError(msg)
    if precision == INT8:
        try:
            return open_int8(exact, folder / GRAPH_NAME)
        except MissingExtraError:
            raise
        except Exception as error:
            msg = (
                f"the int8 form of {exact.name} cannot be opened ({describe_failure(error)}); "
                f"remove {folder} and quantise it again: bioprobe models quantise {exact.name} "
                "PICTURES"
            )
            raise ModelUnavailableError(msg) from error
    return Fp8Encoder(check_quantisable(exact))
