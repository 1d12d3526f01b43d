"""Whether bf16 products are quicker than float32 ones on this machine."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_SIDE = 1024
# bf16 has to win clearly: its products are rounded, and steps of a solver are lost to that.
_LEAST_SPEED_UP = 2.0


@functools.cache
def choose_dtype() -> torch.dtype:
    """Return torch.bfloat16 where the CPU has units for it and they are measured faster.

    Returns
    -------
    torch.dtype
        bfloat16 or float32.
    """
    import torch

    # Private, so absent from some releases: then float32 it is.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    if not any(getattr(torch.cpu, check, lambda: False)() for check in checks):
        return torch.float32
    exact_s, short_s = _time_product(torch.float32), _time_product(torch.bfloat16)
    return torch.bfloat16 if exact_s > _LEAST_SPEED_UP * short_s else torch.float32


def _time_product(dtype: torch.dtype) -> float:
    import torch

    square = torch.ones(_SIDE, _SIDE, dtype=dtype)
    times_s = []
    # The first passes choose kernels and fetch memory.
    for _ in range(4):
        start_s = time.perf_counter()
        torch.mm(square, square)
        times_s.append(time.perf_counter() - start_s)
    return min(times_s)
