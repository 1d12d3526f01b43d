"""The part of a run that threads do: from a listed image to pixels ready for the encoder."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import ctypes
import dataclasses
import functools
import itertools
import os
import sys
import threading
from collections.abc import Container, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.embedding.encoder_choice import OnDemandEncoder
from bioprobe.encoders.encoder import Encoder
from bioprobe.images.camera import read_camera
from bioprobe.images.location import read_image_bytes
from bioprobe.images.looks import look_at
from bioprobe.images.reading import MAX_PIXELS_PX, decode_image, hash_bytes, read_facts

# Images that are under way in threads while no encoder is needed.
_HASHED_AHEAD = 64
# Images that are read ahead of the encoder, in batches; this bounds the memory.
_BATCHES_AHEAD = 4


# A pixel is three bytes once it is decoded, more in other modes, and is copied when it is made
# upright, converted and resized.
_BYTES_PER_PIXEL = 12
# From here on, giving memory back takes no time beside decoding.
_LARGE_BYTES = 64_000_000


class MemoryBudget:
    """Memory that the pictures which are decoded at one time may take together.

    Parameters
    ----------
    n_bytes : int or None
        By default half of the memory of this machine.
    """

    def __init__(self, n_bytes: int | None = None) -> None:
        self._n_bytes = n_bytes or find_memory_bytes() // 2
        self._used = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def holding(self, n_bytes: int) -> Iterator[None]:
        """Wait until there is as much; what needs more than all is alone while the block runs.

        Yields
        ------
        None
        """
        taken = min(n_bytes, self._n_bytes)
        with self._changed:
            self._changed.wait_for(lambda: self._used + taken <= self._n_bytes)
            self._used += taken
        try:
            yield
        finally:
            if n_bytes >= _LARGE_BYTES:
                _give_back()
            with self._changed:
                self._used -= taken
                self._changed.notify_all()

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Wait until no other picture is decoded."""
        return self.holding(self._n_bytes)


def _give_back() -> None:
    # The C library of Linux keeps what a thread freed for that thread: sixteen that decoded a large
    # picture each, one after the other, would hold as much as sixteen at one time.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def find_memory_bytes() -> int:
    """Return the memory of this machine, or of the container that runs this, in bytes."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError, ValueError):
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))
    return min(found)


@dataclasses.dataclass(frozen=True)
class Listed:
    """One row of a listing that is to be embedded.

    Parameters
    ----------
    root, path : str
        Folder, and path relative to it; or data set, and name of the row.
    labels : mapping
        Label and free columns.
    reads_camera : bool
        Whether what the camera wrote beside the picture is read too.
    """

    root: str
    path: str
    labels: Mapping[str, Any]
    reads_camera: bool = False


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
    look : ndarray of LOOK, shape (), or None
        What the picture looks like, where there are pixels.
    camera : mapping
        What the camera wrote beside the picture, where it was to be read.
    """

    listed: Listed
    facts: Mapping[str, Any]
    pixels: npt.NDArray[np.float32] | None = None
    reason: str = ""
    look: npt.NDArray[np.void] | None = None
    camera: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def prepare(
    listed: Listed,
    known: Container[str],
    encoder: Encoder | None,
    *,
    max_pixels_px: int = MAX_PIXELS_PX,
    memory: MemoryBudget | None = None,
) -> Prepared:
    """Read one file, and decode it unless its bytes are known.

    Parameters
    ----------
    listed : Listed
        The row.
    known : container of str
        SHA-256 of files whose vector the store has.
    encoder : Encoder or None
        Says how images are preprocessed, and how small they may be decoded; with None, none is.
    max_pixels_px : int
        Larger images fail.
    memory : MemoryBudget, optional
        Shared by the threads of a run. Where memory is short all the same, the picture is read
        once more, alone.
    """
    budget = memory or MemoryBudget()
    try:
        data = read_image_bytes(listed.root, listed.path)
        facts: dict[str, Any] = {"sha256": hash_bytes(data), "n_bytes": len(data)}
        facts |= dataclasses.asdict(read_facts(data))
        camera = read_camera(data) if listed.reads_camera else {}
        if encoder is None or facts["sha256"] in known:
            return Prepared(listed, facts, camera=camera)
        n_pixels = facts["width_px"] * facts["height_px"]
        try:
            # What is larger is refused before it is decoded.
            with budget.holding(_BYTES_PER_PIXEL * min(n_pixels, max_pixels_px)):
                pixels, look = _decode(data, encoder, max_pixels_px)
        except MemoryError:
            with budget.alone():
                pixels, look = _decode(data, encoder, max_pixels_px)
        return Prepared(listed, facts, pixels, look=look, camera=camera)
    except MemoryError:
        return Prepared(listed, {}, reason=_SHORT_OF_MEMORY)
    except Exception as error:  # noqa: BLE001 - one bad image never stops a run
        return Prepared(listed, {}, reason=_explain(error))


_SHORT_OF_MEMORY = (
    "this machine has too little memory for it now, though it was read alone; free memory, then "
    "run the same command again"
)


def _decode(
    data: bytes, encoder: Encoder, max_pixels_px: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.void]]:
    image = decode_image(data, draft_side_px=encoder.draft_side_px, max_pixels_px=max_pixels_px)
    return encoder.preprocess(image), look_at(image)


def prepare_on_demand(
    listing: Iterable[Listed],
    known: Container[str],
    encoder: OnDemandEncoder,
    *,
    n_threads: int,
    max_pixels_px: int = MAX_PIXELS_PX,
    memory: MemoryBudget | None = None,
) -> Iterator[Prepared]:
    """Prepare images in order, and load the encoder when the first comes whose bytes are new.

    Parameters
    ----------
    listing, known, n_threads, max_pixels_px, memory
        As for :func:`prepare_all`.
    encoder : OnDemandEncoder
        Encoder of the store.

    Yields
    ------
    Prepared
    """
    if not encoder.is_loaded:
        unsettled = yield from _prepare_known(
            iter(listing), known, n_threads=n_threads, max_pixels_px=max_pixels_px
        )
        first = next(unsettled, None)
        if first is None:
            return
        listing = itertools.chain([first], unsettled)
    loaded = encoder.get()
    yield from prepare_all(
        listing,
        known,
        loaded,
        n_threads=n_threads,
        n_ahead=_BATCHES_AHEAD * loaded.batch_size,
        max_pixels_px=max_pixels_px,
        memory=memory,
    )


def _prepare_known(
    listing: Iterator[Listed], known: Container[str], *, n_threads: int, max_pixels_px: int
) -> Generator[Prepared, None, Iterator[Listed]]:
    """Prepare what needs no encoder up to the first image that does; return that and the rest.

    Yields
    ------
    Prepared
    """
    waiting: collections.deque[tuple[Listed, Future[Prepared]]] = collections.deque()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="bioprobe-hash")
    read = functools.partial(prepare, known=known, encoder=None, max_pixels_px=max_pixels_px)
    try:
        while True:
            for listed in itertools.islice(listing, _HASHED_AHEAD - len(waiting)):
                waiting.append((listed, pool.submit(read, listed)))
            if not waiting:
                return iter(())
            listed, reading = waiting.popleft()
            prepared = reading.result()
            if not prepared.reason and prepared.facts["sha256"] not in known:
                # A few are read a second time; the first that is new is only hashed so far.
                return itertools.chain([listed], [later for later, _ in waiting], listing)
            yield prepared
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def prepare_all(
    listing: Iterable[Listed],
    known: Container[str],
    encoder: Encoder,
    *,
    n_threads: int,
    n_ahead: int,
    max_pixels_px: int = MAX_PIXELS_PX,
    memory: MemoryBudget | None = None,
) -> Iterator[Prepared]:
    """Prepare images in threads and yield them in order.

    Beside an accelerator, threads read on while the model runs. On a CPU they would take its
    cores away in the middle of a matrix product, which waits for the slowest of its threads: there
    a group of images is read with all threads, then all cores go to the model (1.3 times faster
    on two cores).

    Parameters
    ----------
    listing : iterable of Listed
        Consumed no faster than results are taken, so memory is bounded.
    known, encoder
        As for :func:`prepare`.
    n_threads : int
        Threads that read and decode.
    n_ahead : int
        Images that may be under way or waiting; this bounds the memory.
    max_pixels_px : int
        Larger images fail.
    memory : MemoryBudget, optional
        What the threads may decode at one time.

    Yields
    ------
    Prepared
    """
    waiting: collections.deque[Future[Prepared]] = collections.deque()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="bioprobe-read")
    read = functools.partial(
        prepare, known=known, encoder=encoder, max_pixels_px=max_pixels_px,
        memory=memory or MemoryBudget(),
    )  # fmt: skip
    n_kept_waiting = 0 if encoder.device == "cpu" else n_ahead - 1
    try:
        for listed in listing:
            waiting.append(pool.submit(read, listed))
            if len(waiting) == n_ahead:
                if encoder.device == "cpu":
                    concurrent.futures.wait(waiting)
                while len(waiting) > n_kept_waiting:
                    yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    # One line of text that any table can hold, whatever a damaged file made a decoder say.
    text = " ".join(str(error).encode("utf-8", "replace").decode().split())
    return text or type(error).__name__
