"""The part of a run that threads do: from a listed image to pixels ready for the encoder."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.images.reading import decode_image, hash_bytes, read_facts

if TYPE_CHECKING:
    from PIL.Image import Image

Preprocess = Callable[["Image"], npt.NDArray[np.float32]]


@dataclasses.dataclass(frozen=True)
class Listed:
    """One row of a listing that is to be embedded.

    Parameters
    ----------
    root, path : str
        Folder, and path relative to it.
    labels : mapping
        Label and free columns.
    """

    root: str
    path: str
    labels: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A listed image after its file was read.

    Parameters
    ----------
    listed : Listed
        The row.
    facts : mapping
        The fact columns of the image table; empty where the file failed.
    pixels : ndarray of float32, shape (3, height_px, width_px), or None
        Input of the encoder; None where the store knows the bytes, or the file failed.
    reason : str
        Why the file failed, or ``""``.
    """

    listed: Listed
    facts: Mapping[str, Any]
    pixels: npt.NDArray[np.float32] | None = None
    reason: str = ""


def prepare(listed: Listed, known: Container[str], preprocess: Preprocess) -> Prepared:
    """Read one file, and decode it unless its bytes are known.

    Parameters
    ----------
    listed : Listed
        The row.
    known : container of str
        SHA-256 of files whose vector the store has.
    preprocess : callable
        From an upright RGB image to pixels.
    """
    try:
        data = Path(listed.root, listed.path).read_bytes()
        facts: dict[str, Any] = {"sha256": hash_bytes(data), "n_bytes": len(data)}
        facts |= dataclasses.asdict(read_facts(data))
        if facts["sha256"] in known:
            return Prepared(listed, facts)
        return Prepared(listed, facts, preprocess(decode_image(data)))
    except Exception as error:  # noqa: BLE001 - one bad image never stops a run
        return Prepared(listed, {}, reason=_explain(error))


def prepare_all(
    listing: Iterable[Listed],
    known: Container[str],
    preprocess: Preprocess,
    *,
    n_threads: int,
    n_ahead: int,
) -> Iterator[Prepared]:
    """Prepare images in threads and yield them in order.

    Parameters
    ----------
    listing : iterable of Listed
        Consumed no faster than results are taken.
    known, preprocess
        As for :func:`prepare`.
    n_threads : int
        Threads that read and decode.
    n_ahead : int
        Images that may be under way or waiting; this bounds the memory.

    Yields
    ------
    Prepared
    """
    waiting: collections.deque[Future[Prepared]] = collections.deque()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="bioprobe-read")
    try:
        for listed in listing:
            waiting.append(pool.submit(prepare, listed, known, preprocess))
            if len(waiting) >= n_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
