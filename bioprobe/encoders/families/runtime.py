"""On which device a model runs, in which precision and in what batches."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from bioprobe.devices import choose_device
from bioprobe.encoders.quantised import FP8, QUANTISED
from bioprobe.errors import BioprobeError
from bioprobe.registry import BACKENDS

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Eager ViT-B/16 on CPU cores is fastest at 8-16 images; an accelerator wants more at once, and a
# large one, which computes 64 in the time that it takes to begin, more again.
_CPU_BATCH_SIZE = 16
_ACCELERATOR_BATCH_SIZE = 64
_LARGE_BATCH_SIZE, _LARGE_BYTES = 256, 40e9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """Where and how a model runs.

    Parameters
    ----------
    device : torch.device
        Device that holds the weights.
    precision : str
        ``fp32``, ``bf16`` or ``fp16``: the type the weights are cast to; or ``fp8``, of some of
        them (:mod:`bioprobe.encoders.families.fp8`).
    batch_size : int
        Images or texts in one forward pass.
    decoding : str
        ``exact`` or ``fast``: how images are read.
    backend : str
        ``auto``, ``torch``, or a name of :data:`bioprobe.registry.BACKENDS`: what runs whole
        batches.
    """

    device: torch.device
    precision: str
    batch_size: int
    decoding: str
    backend: str = "torch"

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights and the pixels; of fp8 that of what is not."""
        if self.precision == FP8:
            return torch.float32 if self.device.type == "cpu" else torch.bfloat16
        return _DTYPES[self.precision]

    def place(self, module: torch.nn.Module) -> torch.nn.Module:
        """Cast and move a module, and make it ready for inference."""
        placed = module.to(device=self.device, dtype=self.dtype).eval().requires_grad_(False)
        n_convolutions = sum(isinstance(part, torch.nn.Conv2d) for part in placed.modules())
        if self.device.type == "cuda" and n_convolutions > 1:
            # The layout that NVIDIA's kernels for convolutions in half precision want.
            placed = placed.to(memory_format=torch.channels_last)
        return placed

    def send(self, pixels: npt.NDArray[np.float32]) -> torch.Tensor:
        """Return pixels on the device, in the dtype of the weights."""
        if self.device.type != "cuda":
            return torch.tensor(pixels).to(self.device, self.dtype)
        # Cast on the way into memory that the GPU reads by itself, while it computes.
        pinned = torch.empty(pixels.shape, dtype=self.dtype, pin_memory=True)
        pinned.copy_(torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()))
        return pinned.to(self.device, non_blocking=True)


def choose_runtime(
    device: str,
    precision: str,
    batch_size: int | None,
    decoding: str,
    backend: str = "torch",
) -> Runtime:
    """Resolve the options given by a user.

    Parameters
    ----------
    device : str
        ``auto`` (CUDA, else MPS, else CPU) or a PyTorch device such as ``cpu`` or ``cuda:1``.
    precision : str
        ``fp32``, ``bf16`` or ``fp16``.
    batch_size : int or None
        Images in one forward pass; None chooses by device.
    decoding : str
        ``exact`` or ``fast``.
    backend : str
        ``auto``, ``torch``, or a name of :data:`bioprobe.registry.BACKENDS`.

    Raises
    ------
    BioprobeError
        If an option has no such value, or the device is not on this machine.
    """
    if precision not in _DTYPES:
        known = ", ".join(("auto", *_DTYPES, *QUANTISED))
        msg = f'precision "{precision}" is not known; choose one of {known}'
        raise BioprobeError(msg)
    backends = ("auto", "torch", *BACKENDS.names)
    if backend not in backends:
        msg = f'backend "{backend}" is not known; choose one of {", ".join(backends)}'
        raise BioprobeError(msg)
    chosen = choose_device(device)
    return Runtime(
        device=chosen,
        precision=precision,
        batch_size=batch_size or _choose_batch_size(chosen),
        decoding=decoding,
        backend=backend,
    )


def _choose_batch_size(device: torch.device) -> int:
    if device.type == "cpu":
        return _CPU_BATCH_SIZE
    is_large = (
        device.type == "cuda"
        and torch.cuda.get_device_properties(device).total_memory >= _LARGE_BYTES
    )
    return _LARGE_BATCH_SIZE if is_large else _ACCELERATOR_BATCH_SIZE
