"""Where large products run: on the processor, or on a GPU where there is one and it pays.

A question says it by ``--device``, as for the encoder; whoever multiplies asks :func:`find_gpu`.
Only CUDA counts here: PyTorch's "cuda", NVIDIA's and AMD's. Apple's GPUs have no double precision
and share their memory with cores that multiply well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import BioprobeError

if TYPE_CHECKING:
    import torch

#: Multiplications and additions from which a product goes to a GPU, and how many of them each
#: number that is sent there takes part in. To load PyTorch and to begin takes seconds, and numbers
#: get there a hundred times slower than they are multiplied. Reckoned, not measured yet:
#: ``benchmarks/gpu.sh`` prints both ways.
LEAST_WORK, LEAST_USES = 1e12, 256


@dataclasses.dataclass(frozen=True)
class _Choice:
    device: str = "auto"
    always: bool = False
    used: list[str] = dataclasses.field(default_factory=list)


_CHOICE: ContextVar[_Choice | None] = ContextVar("products", default=None)


@contextlib.contextmanager
def products_on(device: str, *, always: bool = False) -> Iterator[None]:
    """Choose where large products run meanwhile, in this thread and in those of ``cores``.

    Parameters
    ----------
    device : str
        As :func:`choose_device` takes it; ``auto`` leaves what was chosen before.
    always : bool
        Whether all go to that device of PyTorch's, small ones and if it is the processor, too: for
        measurements and tests.
    """
    before = _CHOICE.get() or _Choice()
    chosen = _Choice(before.device if device == "auto" else device, always or before.always)
    token = _CHOICE.set(chosen)
    try:
        yield
    finally:
        _CHOICE.reset(token)
        before.used.extend(chosen.used)


def name_used() -> str:
    """Return the GPU that products ran on since the device was chosen; "" for none."""
    chosen = _CHOICE.get() or _Choice()
    return ", ".join(dict.fromkeys(chosen.used))


def find_gpu(n_sent: float, n_uses: float) -> torch.device | None:
    """Return the GPU for a product, or None where the processor is to make it.

    Without a GPU, and of little work, PyTorch is not imported.

    Parameters
    ----------
    n_sent : float
        Numbers that would be sent there.
    n_uses : float
        With how many others each is multiplied.

    Raises
    ------
    BioprobeError
        If a GPU was asked for by name that is not on this machine.
    """
    chosen = _CHOICE.get() or _Choice()
    if not chosen.always and (n_uses < LEAST_USES or n_sent * n_uses < LEAST_WORK):
        return None
    device = choose_device(chosen.device) if chosen.always else _find_gpu(chosen.device)
    if device is not None:
        chosen.used.append(_name(device))
    return device


def _find_gpu(name: str) -> torch.device | None:
    if name.partition(":")[0] not in {"auto", "cuda"} or (name == "auto" and not _may_have_gpu()):
        return None
    device = choose_device(name)
    return device if device.type == "cuda" else None


def _name(device: torch.device) -> str:
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return f"{device} {name}".rstrip()


def choose_device(name: str) -> torch.device:
    """Return the PyTorch device of a name.

    Parameters
    ----------
    name : str
        ``auto`` (CUDA, else MPS, else CPU) or a PyTorch device such as ``cpu`` or ``cuda:1``.

    Raises
    ------
    BioprobeError
        If the device is not on this machine.
    """
    import torch

    present = [kind for kind in ("cuda", "mps") if _is_present(kind)] + ["cpu"]
    if name == "auto":
        return torch.device(present[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in present or (device.index or 0) >= _count(device):
        msg = f'device "{name}" is not on this machine; choose auto or {" or ".join(present)}'
        raise BioprobeError(msg)
    return device


def _count(device: torch.device) -> int:
    import torch

    return torch.cuda.device_count() if device.type == "cuda" else 1


def _is_present(kind: str) -> bool:
    import torch

    return torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()


@functools.cache
def _may_have_gpu() -> bool:
    """Tell whether a driver is there, without PyTorch, which takes seconds to load.

    NVIDIA's driver brings a library of its own on every system, and containers that are lent a GPU
    get it with that. AMD's is part of the kernel.
    """
    if "torch" in sys.modules or Path("/dev/kfd").exists():
        return True
    import ctypes

    with contextlib.suppress(OSError):
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        return True
    return False


@contextlib.contextmanager
def multiplying(device: torch.device | None) -> Iterator[None]:
    """Have a GPU's products in single precision be that, and say what to do where memory is short.

    The setting is PyTorch's for all threads. Of None, nothing is done.

    Raises
    ------
    BioprobeError
        If the memory of the GPU is not enough.
    """
    if device is None:
        yield
        return
    import torch

    # Of TF32, which somebody may have allowed, 10 bits of each factor would be left.
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    except torch.OutOfMemoryError as error:
        msg = f"the memory of {device} is full; wait for what else runs there, or: --device cpu"
        raise BioprobeError(msg) from error
    finally:
        torch.set_float32_matmul_precision(before)
