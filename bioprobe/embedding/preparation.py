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
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.embedding.encoder_choice import OnDemandEncoder
from bioprobe.encoders.encoder import Encoder
from bioprobe.errors import ImageReadError
from bioprobe.images.camera import read_camera
from bioprobe.images.damage import Damage
from bioprobe.images.location import read_image_bytes
from bioprobe.images.looks import look_at
from bioprobe.images.measures import measure_picture
from bioprobe.images.raw import is_raw, is_raw_name
from bioprobe.images.reading import MAX_PIXELS_PX, decode_marked, hash_bytes, read_facts
from bioprobe.images.regions import Region, find_draft_side, get_box, name_content
from bioprobe.images.versions import open_versions
from bioprobe.sources.listing import name_of_region

if TYPE_CHECKING:
    from PIL.Image import Image

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
        self._n_bytes = n_bytes or _find_memory_bytes() // 2
        self._used = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def holding(self, n_bytes: int) -> Iterator[None]:
        """Wait until there is as much; what needs more than all is alone while the block runs."""
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


def _find_memory_bytes() -> int:
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
    region : str
        Name of the part of the image that is embedded, ``""`` for the whole.
    only_of : str
        SHA-256 of the bytes that the region was found in by an earlier run; of other bytes the
        whole image is taken. ``""`` where the region is listed itself.
    n_more : int
        How many of the rows that come after it are of the same image, and are read with it.
    reads_camera : bool
        Whether what the camera wrote beside the picture is read too.
    """

    root: str
    path: str
    labels: Mapping[str, Any]
    region: str = ""
    only_of: str = ""
    n_more: int = 0
    reads_camera: bool = False


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A listed image, or region of one, after its file was read.

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
    measured : ndarray of MEASURE, shape (), or None
        How sharp, how light it is, where there are pixels.
    damage : Damage or None
        What is wrong with the picture, where it was decoded and something is.
    camera : mapping
        What the camera wrote beside the picture, where it was to be read.
    """

    listed: Listed
    facts: Mapping[str, Any]
    pixels: npt.NDArray[np.float32] | None = None
    reason: str = ""
    look: npt.NDArray[np.void] | None = None
    measured: npt.NDArray[np.void] | None = None
    damage: Damage | None = None
    camera: Mapping[str, Any] = dataclasses.field(default_factory=dict)


# Of one decoding; each is 0.6 MB of input for the usual encoder.
_MOST_REGIONS = 128


def group_rows(listing: Iterable[Listed]) -> Iterator[tuple[Listed, ...]]:
    """Put rows together of which the file is read once.

    Yields
    ------
    tuple of Listed
        Of one file, some hundred at most: what is cut out of it waits in memory together.
    """
    rows = iter(listing)
    for first in rows:
        n_more = min(first.n_more, _MOST_REGIONS - 1)
        yield first, *itertools.islice(rows, n_more)


def prepare_picture(
    listed: Sequence[Listed],
    known: Container[str],
    encoder: Encoder | None,
    *,
    max_pixels_px: int = MAX_PIXELS_PX,
    memory: MemoryBudget | None = None,
    damaged: str = "mark",
) -> list[Prepared]:
    """Read one file, and decode it once for all of its regions that are not known.

    Parameters
    ----------
    listed : sequence of Listed
        Rows of one file, ≥ 1.
    known : container of str
        Contents whose vector the store has: a region is known by its picture's bytes and its box.
    encoder : Encoder or None
        Says how images are preprocessed, and how small they may be decoded; with None, none is.
    max_pixels_px : int
        Larger images fail.
    memory : MemoryBudget, optional
        Shared by the threads of a run. Where memory is short all the same, the picture is read
        once more, alone.
    damaged : {"mark", "keep", "refuse"}
        What becomes of pictures that are not whole.

    Returns
    -------
    list of Prepared
        In the order of the rows. A region that cannot be read fails alone; where the bytes are
        not those in which regions were found, there is one row, of the whole picture.
    """
    try:
        facts, data = _learn(listed[0].root, listed[0].path)
        listed = _drop_old(listed, facts["sha256"])
        rows, wanted = _find_wanted(listed, facts, known)
        if data is None and ((wanted and encoder is not None) or listed[0].reads_camera):
            data = _read_again(listed[0], facts)
        if listed[0].reads_camera and data is not None:
            camera = read_camera(data)
            rows = [dataclasses.replace(row, camera=camera) for row in rows]
        if encoder is None or not wanted or data is None:
            return rows
        n_pixels = facts["width_px"] * facts["height_px"]
        budget = memory or MemoryBudget()
        try:
            # What is larger is refused before it is decoded.
            with budget.holding(_BYTES_PER_PIXEL * min(n_pixels, max_pixels_px)):
                found, damage = _decode(data, facts, wanted, encoder, max_pixels_px, damaged)
        except MemoryError:
            with budget.alone():
                found, damage = _decode(data, facts, wanted, encoder, max_pixels_px, damaged)
    except MemoryError:
        return [Prepared(one, {}, reason=_SHORT_OF_MEMORY) for one in listed]
    except Exception as error:  # noqa: BLE001 - one bad image never stops a run
        return [Prepared(one, {}, reason=_explain(error)) for one in listed]
    return [_give(row, found, damage) for row in rows]


def _learn(root: str, path: str) -> tuple[dict[str, Any], bytes | None]:
    """Return the facts of a picture, and its bytes if they had to be read for them."""
    versions, version = open_versions(root), ""
    if versions is not None:
        version, facts = versions.recall(path)
        if facts is not None:
            return facts, None
    data = read_image_bytes(root, path)
    _check_kind(path, data)
    facts = {"sha256": hash_bytes(data), "n_bytes": len(data)}
    facts |= dataclasses.asdict(read_facts(data))
    if versions is not None:
        versions.keep(path, version, facts)
    return facts, data


def _read_again(listed: Listed, facts: Mapping[str, Any]) -> bytes:
    """Read the bytes of a picture whose facts an earlier run kept."""
    data = read_image_bytes(listed.root, listed.path)
    if hash_bytes(data) != facts["sha256"]:
        msg = "it was replaced while it was read; a later run tries again"
        raise ImageReadError(msg)
    return data


def prepare(listed: Listed, known: Container[str], encoder: Encoder | None) -> Prepared:
    """Read one file for one row, as :func:`prepare_picture` does."""
    (prepared,) = prepare_picture([listed], known, encoder)
    return prepared


_SHORT_OF_MEMORY = (
    "this machine has too little memory for it now, though it was read alone; free memory, then "
    "run the same command again"
)


def _check_kind(path: str, data: bytes) -> None:
    """Refuse a TIFF that is named as a raw photograph and holds none that is known."""
    if is_raw_name(path) and data[:2] in {b"II", b"MM"} and not is_raw(data):
        msg = (
            "named as a raw photograph, of which it holds none that is known: what picture there "
            "is may be its thumbnail; export it as JPEG, TIFF or DNG"
        )
        raise ImageReadError(msg)


# What the encoder takes, look and measures by what was cut out; a reason where that failed.
_Seen = tuple[npt.NDArray[np.float32], npt.NDArray[np.void], npt.NDArray[np.void]]
_Found = dict[str, _Seen | str]


def _drop_old(listed: Sequence[Listed], sha256: str) -> Sequence[Listed]:
    """Return the rows, or the first as the whole picture where they are of other bytes."""
    if not listed[0].only_of or listed[0].only_of == sha256:
        return listed
    return [dataclasses.replace(listed[0], region="", only_of="")]


def _find_wanted(
    listed: Sequence[Listed], facts: Mapping[str, Any], known: Container[str]
) -> tuple[list[Prepared], dict[str, Region | None]]:
    """Return the rows with their facts or failures, and the boxes whose vectors are not known."""
    rows, wanted = [], dict[str, Region | None]()
    for one in listed:
        try:
            region = Region.parse(one.region)
        except ValueError as error:
            rows.append(Prepared(one, {}, reason=name_of_region(one.region, _explain(error))))
            continue
        rows.append(Prepared(one, facts))
        if name_content(facts["sha256"], one.region) not in known:
            wanted[get_box(one.region)] = region
    return rows, wanted


def _give(row: Prepared, found: _Found, damage: Damage | None) -> Prepared:
    """Return a row with what was cut out for it."""
    given = None if row.reason else found.get(get_box(row.listed.region))
    if given is None:
        return row
    if isinstance(given, str):
        return Prepared(row.listed, {}, reason=given)
    pixels, look, measured = given
    return dataclasses.replace(row, pixels=pixels, look=look, measured=measured, damage=damage)


def _see(image: Image, encoder: Encoder) -> _Seen:
    grey = image.convert("L")
    return encoder.preprocess(image), look_at(image, grey), measure_picture(image, grey)


def _decode(
    data: bytes,
    facts: Mapping[str, Any],
    wanted: Mapping[str, Region | None],
    encoder: Encoder,
    max_pixels_px: int,
    damaged: str,
) -> tuple[_Found, Damage | None]:
    """Decode a picture once for the whole of it, and once for all boxes in it."""
    found: _Found = {}
    damage = None
    decode = functools.partial(decode_marked, data, max_pixels_px=max_pixels_px, damaged=damaged)
    if "" in wanted:
        image, damage = decode(draft_side_px=encoder.draft_side_px)
        found[""] = _see(image, encoder)
    boxes = {name: box for name, box in wanted.items() if box is not None}
    if boxes:
        size_px = facts["width_px"], facts["height_px"]
        draft_px = find_draft_side(boxes.values(), size_px, encoder.draft_side_px)
        image, damage = decode(draft_side_px=draft_px)
        for name, box in boxes.items():
            try:
                crop = image.crop(box.to_pixels(*image.size))
                found[name] = _see(crop, encoder)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - one bad box never stops a run
                found[name] = name_of_region(name, _explain(error))
    return found, damage


def prepare_on_demand(
    listing: Iterable[Listed],
    known: Container[str],
    encoder: OnDemandEncoder,
    *,
    n_threads: int,
    max_pixels_px: int,
    memory: MemoryBudget,
    damaged: str,
) -> Iterator[Prepared]:
    """Prepare images in order, and load the encoder when the first comes whose bytes are new."""
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
        damaged=damaged,
    )


Group = tuple[Listed, ...]


def _name_content(prepared: Prepared) -> str:
    return name_content(prepared.facts["sha256"], prepared.listed.region)


def _prepare_known(
    listing: Iterator[Listed], known: Container[str], *, n_threads: int, max_pixels_px: int
) -> Generator[Prepared, None, Iterator[Listed]]:
    """Prepare what needs no encoder up to the first image that does; return that and the rest.

    Yields
    ------
    Prepared
    """
    waiting: collections.deque[tuple[Group, Future[list[Prepared]]]] = collections.deque()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="bioprobe-hash")
    read = functools.partial(
        prepare_picture, known=known, encoder=None, max_pixels_px=max_pixels_px
    )
    groups = group_rows(listing)
    try:
        while True:
            for group in itertools.islice(groups, _HASHED_AHEAD - len(waiting)):
                waiting.append((group, pool.submit(read, group)))
            if not waiting:
                return iter(())
            group, reading = waiting.popleft()
            prepared = reading.result()
            if any(not one.reason and _name_content(one) not in known for one in prepared):
                # A few are read a second time; the first that is new is only hashed so far.
                later = itertools.chain([group], [one for one, _ in waiting], groups)
                return itertools.chain.from_iterable(later)
            yield from prepared
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
    damaged: str = "mark",
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
        As for :func:`prepare_picture`.
    n_threads : int
        Threads that read and decode.
    n_ahead : int
        Images that may be under way or waiting; this bounds the memory.
    max_pixels_px : int
        Larger images fail.
    memory : MemoryBudget, optional
        What the threads may decode at one time.
    damaged : {"mark", "keep", "refuse"}
        As for :func:`prepare_picture`.
    """
    waiting: collections.deque[tuple[int, Future[list[Prepared]]]] = collections.deque()
    n_waiting = 0
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="bioprobe-read")
    read = functools.partial(
        prepare_picture, known=known, encoder=encoder, max_pixels_px=max_pixels_px,
        memory=memory or MemoryBudget(), damaged=damaged,
    )  # fmt: skip
    n_kept_waiting = 0 if encoder.device == "cpu" else n_ahead - 1
    try:
        for group in group_rows(listing):
            waiting.append((len(group), pool.submit(read, group)))
            n_waiting += len(group)
            if n_waiting >= n_ahead:
                if encoder.device == "cpu":
                    concurrent.futures.wait([reading for _, reading in waiting])
                while waiting and n_waiting > n_kept_waiting:
                    n_rows, reading = waiting.popleft()
                    n_waiting -= n_rows
                    yield from reading.result()
        while waiting:
            yield from waiting.popleft()[1].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    # One line of text that any table can hold, whatever a damaged file made a decoder say.
    text = " ".join(str(error).encode("utf-8", "replace").decode().split())
    return text or type(error).__name__
