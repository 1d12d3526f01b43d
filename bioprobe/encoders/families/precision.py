"""Which precision a model runs in when nobody asked for one."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import torch

from bioprobe.encoders.families.runtime import Runtime, choose_runtime

if TYPE_CHECKING:
    import numpy.typing as npt

    from bioprobe.encoders.catalog import ModelSource
    from bioprobe.encoders.encoder import LoadOptions
    from bioprobe.encoders.families.torch_encoder import TorchEncoder

# What bf16 may cost: the mean cosine similarity to fp32 on probe pictures. ViTs give .9999 and
# more, MobileNets .995.
_LEAST_COSINE = 0.9999
_N_PROBES = 4


def runs_in_torch(
    load: Callable[[ModelSource, Runtime], TorchEncoder],
) -> Callable[[ModelSource, LoadOptions], TorchEncoder]:
    """Make a family of what loads a model into a runtime: the options choose the runtime."""

    @functools.wraps(load)
    def load_by_options(source: ModelSource, options: LoadOptions) -> TorchEncoder:
        first = "fp32" if options.precision == "auto" else options.precision
        runtime = choose_runtime(
            options.device, first, options.batch_size, options.decoding, options.backend
        )
        encoder = load(source, runtime)
        if options.precision == "auto":
            settle_precision(encoder)
        return encoder

    return load_by_options


def settle_precision(encoder: TorchEncoder) -> None:
    """Cast a model from fp32 to bf16 where that is faster here and the vectors stay the same.

    Both are measured on probe pictures. The weights are cast: CPU autocast is slower than fp32.

    Parameters
    ----------
    encoder : TorchEncoder
        Just loaded, in fp32; changed in place.
    """
    if not _may_be_fast(encoder.runtime.device):
        return
    shape = encoder.preprocess(PIL.Image.new("RGB", (64, 64), "grey")).shape
    # A whole batch may be another backend's. On a GPU few pictures take as long in any precision.
    most = encoder.batch_size - 1
    n_probes = min(_N_PROBES, most) if encoder.device == "cpu" else most
    probes = _draw_probes(shape, max(1, n_probes))
    exact, exact_s = _time_encoding(encoder, probes)
    kept = {name: tensor.clone() for name, tensor in encoder.module.state_dict().items()}
    encoder.change_precision("bf16")
    cast, cast_s = _time_encoding(encoder, probes)
    cosine = float((exact * cast).sum(axis=1).mean())
    if cast_s >= exact_s or cosine < _LEAST_COSINE:
        encoder.change_precision("fp32")
        # The cast has cut the weights off; these are whole.
        encoder.module.load_state_dict(kept)


def _may_be_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # Private, so absent from some releases: then fp32 it is.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def _time_encoding(
    encoder: TorchEncoder, pixels: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], float]:
    # The first pass chooses kernels.
    encoder.encode_pixels(pixels)
    start_s = time.perf_counter()
    vectors = encoder.encode_pixels(pixels)
    return vectors, time.perf_counter() - start_s


def _draw_probes(shape: tuple[int, ...], n_probes: int) -> npt.NDArray[np.float32]:
    # Coarse noise with fine noise on it, in the range of normalised pixels.
    rng = np.random.default_rng(0)
    channels, height_px, width_px = shape
    coarse = rng.normal(size=(n_probes, channels, 8, 8))
    rows = np.arange(height_px) * 8 // height_px
    columns = np.arange(width_px) * 8 // width_px
    blocks = coarse[:, :, rows][:, :, :, columns]
    return np.asarray(blocks + 0.3 * rng.normal(size=blocks.shape), dtype=np.float32)
