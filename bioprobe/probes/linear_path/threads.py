"""How many threads small products are worth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread meanwhile.

    A product of a millisecond is over before a second thread has begun; beside other work, the
    wait for it takes longer than the product.

    Yields
    ------
    None
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
