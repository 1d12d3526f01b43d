"""Which precision a model runs in when nobody asked for one."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import torch

from bioprobe.cache import find_cache
from bioprobe.encoders.encoder import hash_description
from bioprobe.encoders.families.batch_runner import AUTO, LOGGER, describe_machine
from bioprobe.encoders.families.runtime import Runtime, choose_runtime
from bioprobe.encoders.trials import TORCH, Bf16Trial
from bioprobe.errors import BioprobeError, StoreError
from bioprobe.files import read_json, write_text
from bioprobe.registry import BACKENDS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from bioprobe.encoders.catalog import ModelSource
    from bioprobe.encoders.encoder import LoadOptions
    from bioprobe.encoders.families.torch_encoder import TorchEncoder

# What bf16 may cost: the mean cosine similarity to fp32 on probe pictures. ViTs give .9999 and
# more, MobileNets .995.
_LEAST_COSINE = 0.9999
# What is hardly faster is not worth what is rounded.
_LEAST_GAIN = 1.05
# Of a batch on a processor, in which weights are brought into bf16's own order at each pass: of few
# pictures that takes as long as what is won. A whole batch may be another backend's.
_N_PROBES = 15
# Turns of both precisions, of which the quickest count; no third where one is so much faster.
_TURNS, _CLEAR = (2, 3), 1.3
# What this process has measured or read, also where nothing can be kept.
_MEASURED: dict[str, Bf16Trial] = {}


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

    Both are measured on probe pictures, once for a model on a kind of machine, and what was found
    is kept: a single measurement beside other work says now this and now that. The weights are
    cast: CPU autocast is slower than fp32.

    Parameters
    ----------
    encoder : TorchEncoder
        Just loaded, in fp32; changed in place.
    """
    if not _may_be_fast(encoder.runtime.device) or _is_for_fp32_only(encoder.runtime.backend):
        return
    # On a GPU fewer than fill it take as long in any precision.
    most = _N_PROBES if encoder.device == "cpu" else encoder.batch_size
    n_probes = max(1, min(most, encoder.batch_size - 1))
    said = {
        "machine": describe_machine(encoder.runtime.device, torch.get_num_threads()),
        "model": encoder.fingerprint.key,
        "settings": encoder.fingerprint.image_sha256,
        "pictures": n_probes,
    }
    key = hash_description(said)[:32]
    file = find_cache("precisions") / f"{key}.json"
    trial = _MEASURED.get(key) or _read(file)
    if trial is None:
        LOGGER.info("precision: measuring whether bf16 is faster …")
        trial = _measure(encoder, n_probes)
        with contextlib.suppress(OSError, StoreError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, json.dumps(dataclasses.asdict(trial) | said, indent=2))
    _MEASURED[key] = trial
    if trial.gain >= _LEAST_GAIN and trial.cosine >= _LEAST_COSINE:
        encoder.change_precision("bf16")
    encoder.bf16_trial = trial
    LOGGER.info("precision: %s; %s", encoder.runtime.precision, trial.describe())


def _is_for_fp32_only(backend: str) -> bool:
    """Tell whether a backend that is named runs fp32 alone; a broken one is refused later."""
    if backend in {AUTO, TORCH}:
        return False
    with contextlib.suppress(BioprobeError):
        # Others' may not say it.
        return bool(getattr(BACKENDS.load(backend), "is_fp32_only", False))
    return False


def _read(file: Path) -> Bf16Trial | None:
    """Return what is kept, None where there is nothing that can be read."""
    try:
        fields = read_json(file, dict)
        return Bf16Trial(gain=float(fields["gain"]), cosine=float(fields["cosine"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _measure(encoder: TorchEncoder, n_probes: int) -> Bf16Trial:
    """Time both precisions in turns; the encoder is left in fp32, with the weights it had."""
    shape = encoder.preprocess(PIL.Image.new("RGB", (64, 64), "grey")).shape
    probes = _draw_probes(shape, n_probes)
    kept = {name: tensor.clone() for name, tensor in encoder.module.state_dict().items()}
    exact_s, cast_s = math.inf, math.inf
    for turn in range(_TURNS[1]):
        exact, seconds_s = _time_encoding(encoder, probes, is_first=not turn)
        exact_s = min(exact_s, seconds_s)
        encoder.change_precision("bf16")
        cast, seconds_s = _time_encoding(encoder, probes, is_first=not turn)
        cast_s = min(cast_s, seconds_s)
        encoder.change_precision("fp32")
        # The cast has cut the weights off; these are whole.
        encoder.module.load_state_dict(kept)
        is_clear = not 1 / _CLEAR < exact_s / cast_s < _CLEAR
        if is_clear and turn + 1 >= _TURNS[0]:
            break
    return Bf16Trial(gain=exact_s / cast_s, cosine=float((exact * cast).sum(axis=1).mean()))


def _may_be_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # Private, so absent from some releases: then fp32 it is.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def _time_encoding(
    encoder: TorchEncoder, pixels: npt.NDArray[np.float32], *, is_first: bool
) -> tuple[npt.NDArray[np.float32], float]:
    if is_first:
        # Kernels are chosen and memory is taken.
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
