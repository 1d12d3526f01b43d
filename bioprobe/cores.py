"""How work is shared among the cores: each thread by itself, with matrix products of its own.

Threads that share a product wait for each other a hundred times a second. Where other programs run,
that takes several times as long, and what is done beside the products keeps one core busy alone.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


class _Products:
    """The threads of numpy's matrix products, one as long as anybody asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_asking, self._n_threads = 0, 1
        self._limits: Any = None

    def __enter__(self) -> int:
        with self._lock:
            if not self._n_asking:
                self._limits = limit_products(1)
                said = self._limits.get_original_num_threads()
                self._n_threads = said["blas"] or 1
            self._n_asking += 1
            return self._n_threads

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_asking -= 1
            if not self._n_asking:
                self._limits.restore_original_limits()


_PRODUCTS = _Products()


# Each brings a library of products of its own.
_WITH_PRODUCTS = {"faiss", "numpy", "scipy.linalg", "torch"}


@functools.cache
def _find_blas(_loaded: frozenset[str]) -> Any:  # noqa: ANN401 - threadpoolctl has no types
    """Find what makes products, which takes as long as many a piece of work."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def limit_products(n_threads: int | None) -> Any:  # noqa: ANN401 - threadpoolctl has no types
    """Have matrix products run in so many threads, until the context manager returned is left.

    Parameters
    ----------
    n_threads : int or None
        None leaves them as they are.
    """
    loaded = frozenset(_WITH_PRODUCTS & sys.modules.keys())
    return _find_blas(loaded).limit(limits=n_threads, user_api="blas")


def each_alone() -> contextlib.AbstractContextManager[int]:
    """Have numpy's matrix products run in the thread that asks for them, here and in all threads.

    Whoever asks for it meanwhile shares it, and the last one to leave puts things back.

    Returns
    -------
    context manager
        Of the number of threads that a product had before.
    """
    return _PRODUCTS


class _TorchThreads:
    """How many threads torch has, put back after each who tells some threads otherwise.

    What a thread is told holds for all that begin later: asked of torch meanwhile, another thread
    would take it for what there was before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_asking, self._n_threads = 0, 1

    def __enter__(self) -> int:
        import torch

        with self._lock:
            if not self._n_asking:
                self._n_threads = torch.get_num_threads()
            self._n_asking += 1
            return self._n_threads

    def __exit__(self, *_: object) -> None:
        import torch

        with self._lock:
            self._n_asking -= 1
            torch.set_num_threads(self._n_threads)


_TORCH_THREADS = _TorchThreads()


def keep_torch_threads() -> contextlib.AbstractContextManager[int]:
    """Let threads be told how many threads torch has there, and put back what there were before.

    Returns
    -------
    context manager
        Of that number.
    """
    return _TORCH_THREADS


def map_alone(
    work: Callable[[_Part], _Result],
    parts: Iterable[_Part],
    *,
    n_threads: int | None = None,
    begin: Callable[[], None] | None = None,
) -> Iterator[_Result]:
    """Do a piece of work for each part, in threads that have their products to themselves.

    Parameters
    ----------
    work : callable
        From a part to its result.
    parts : iterable
        No more are taken than threads are free.
    n_threads : int, optional
        As many as a matrix product had by default.
    begin : callable, optional
        Called in each thread before it works.

    Yields
    ------
    object
        The results, in the order of the parts.
    """
    ahead = iter(parts)
    with each_alone() as n_products:
        n = n_threads or n_products
        if n == 1 and begin is None:
            yield from map(work, ahead)
            return
        with ThreadPoolExecutor(n, initializer=begin) as pool:
            # What was chosen for this thread, such as the device of products, holds in those too.
            submits = (pool.submit(copy_context().run, work, part) for part in ahead)
            waiting = deque(itertools.islice(submits, n))
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(itertools.islice(submits, 1))
                yield found


def count_cores() -> int:
    """Return how many cores this process may use: on a shared machine fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_threads() -> int:
    """Return as many as ``OMP_NUM_THREADS`` says, else :func:`count_cores`."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else count_cores()
