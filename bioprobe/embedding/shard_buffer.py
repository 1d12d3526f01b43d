"""Rows on their way into the next shard of a store."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.cells import settle_frame
from bioprobe.embedding.encoder_choice import OnDemandEncoder
from bioprobe.encoders.keeping import KEPT_KINDS, need_keeping
from bioprobe.images.camera import CameraCounts
from bioprobe.images.regions import REGION, name_content
from bioprobe.sources.listing import is_same
from bioprobe.store import EmbeddingStore
from bioprobe.store.kept import PART_BYTES, KeptWriter, choose_dtype, round_values
from bioprobe.store.look_cache import LOOKS, MEASURES, LookCache


class Outcome(enum.StrEnum):
    """What a run did with one image."""

    EMBEDDED = "embedded"
    REUSED = "reused"  # its bytes are in the store under another name, or with other labels
    KEPT = "kept"
    FAILED = "failed"


@dataclasses.dataclass
class Changes:
    """Counts of what became of something that is said of known images.

    Parameters
    ----------
    n_new : int
        Said for the first time.
    n_changed : int
        Replaced by something else.
    n_withdrawn : int
        No longer said.
    n_stayed : int
        Said again as it was.
    """

    n_new: int = 0
    n_changed: int = 0
    n_withdrawn: int = 0
    n_stayed: int = 0

    def count(self, before: object, after: object) -> None:
        """Count one of them; None is not said."""
        if before is None:
            self.n_new += after is not None
        elif after is None:
            self.n_withdrawn += 1
        elif is_same(before, after):
            self.n_stayed += 1
        else:
            self.n_changed += 1

    def __str__(self) -> str:
        return (
            f"{self.n_new:,} new, {self.n_changed:,} changed, {self.n_withdrawn:,} withdrawn, "
            f"{self.n_stayed:,} stayed"
        )


@dataclasses.dataclass(frozen=True)
class KeptCount:
    """Of how many current rows of a store something is kept beside the vector.

    Parameters
    ----------
    kind : str
        One of :data:`bioprobe.encoders.keeping.KEPT_KINDS`.
    description : str
        What it is, in words.
    n_rows, n_missing : int
        Current rows that have it, and those that have not.
    n_bytes : int
        That it takes.
    """

    kind: str
    description: str
    n_rows: int
    n_missing: int
    n_bytes: int


def count_kept(store: EmbeddingStore) -> tuple[KeptCount, ...]:
    """Return of how many current rows what is kept."""
    found = []
    contents = store.images.contents[store.rows]
    for kind in KEPT_KINDS:
        kept = store.open_kept(kind)
        if kept is not None:
            n_rows = int((kept.find(contents) >= 0).sum())
            found.append(
                KeptCount(kind, kept.card.description, n_rows, len(contents) - n_rows, kept.n_bytes)
            )
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class EmbedSummary:
    """Counts of a run.

    Parameters
    ----------
    n_embedded : int
        Images that the encoder saw.
    n_reused : int
        Rows added with a vector that the store already had: the same bytes under another name,
        or new labels for a known image.
    n_kept : int
        Images that were already in the store and are unchanged.
    n_failed : int
        Images that could not be read; the store lists them.
    seconds_s : float
        Duration.
    n_pruned : int
        Rows that were retired because their file is gone.
    n_out_of_reach : int
        Rows whose file may be gone or on a disk that is away; they stay.
    n_damaged : int
        New images that are damaged and were taken, with a mark.
    n_regions, n_pictures : int
        Listed rows that are a box in a picture, and pictures that these are in.
    n_given_way : int
        Whole pictures of the store that were retired for their regions.
    n_regions_retired : int
        Regions of the store that were retired, as they are no longer listed.
    n_unassigned : int
        Pictures with several labels in the store, or several that are listed, of which it is not
        known which region each is of: none of them was taken.
    labels : Changes
        What became of the labels of known images, a lineage and its common name being one.
    values : Changes
        What became of their values in other columns.
    reasons : tuple of (str, str)
        Path of each file, or folder, that could not be read, and why.
    camera : CameraCounts, optional
        What EXIF said, where it was read.
    n_filled : int
        Known images that were read again, for what is kept beside their vectors.
    kept : tuple of KeptCount
        Of each kind that is kept, how many rows have it.
    computed_by : mapping of str to int
        How many of the pictures each backend computed, where there is more than one.
    """

    n_embedded: int
    n_reused: int
    n_kept: int
    n_failed: int
    seconds_s: float
    n_pruned: int = 0
    n_out_of_reach: int = 0
    n_damaged: int = 0
    n_regions: int = 0
    n_pictures: int = 0
    n_given_way: int = 0
    n_regions_retired: int = 0
    n_unassigned: int = 0
    labels: Changes = dataclasses.field(default_factory=Changes)
    values: Changes = dataclasses.field(default_factory=Changes)
    reasons: tuple[tuple[str, str], ...] = ()
    camera: CameraCounts | None = None
    n_filled: int = 0
    kept: tuple[KeptCount, ...] = ()
    computed_by: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def n_images(self) -> int:
        """Number of images that were listed."""
        return self.n_embedded + self.n_reused + self.n_kept + self.n_failed

    @property
    def images_per_s(self) -> float:
        """Images a second that were embedded or reused, 0 where there was none."""
        n_added = self.n_embedded + self.n_reused
        return n_added / self.seconds_s if self.seconds_s > 0 else 0.0


def _name_content(row: Mapping[str, Any]) -> str:
    return name_content(row["sha256"], row.get(REGION, ""))


# A shard is closed after so many images or so much time, whichever comes first: the most that a
# crash can lose.
SHARD_IMAGES = 4096
SHARD_SECONDS_S = 60.0


@dataclasses.dataclass(frozen=True)
class Waiting:
    """One row on its way.

    Parameters
    ----------
    row : mapping
        Columns of the image table.
    outcome : Outcome
        ``embedded`` or ``reused``.
    replaces : int or None
        Row that this one retires.
    """

    row: Mapping[str, Any]
    outcome: Outcome
    replaces: int | None


# Batches under way beside an accelerator: it computes one while the next is sent there.
_MOST_SENT = 2


@dataclasses.dataclass(frozen=True)
class _Batch:
    """Pictures on their way through the encoder.

    Parameters
    ----------
    contents : list of str
        What they are.
    new : set of str
        Those whose vectors are wanted; of the others it is what is kept beside them.
    take : callable
        Returns what came of them, or raises what went wrong.
    """

    contents: list[str]
    new: set[str]
    take: Callable[[], tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[Any]]]]


class ShardBuffer:
    """Collect rows, encode their pixels in batches, and append them to the store as shards.

    Parameters
    ----------
    store : EmbeddingStore
        Store to append to; the attribute of that name is always the newest.
    encoder : OnDemandEncoder
        Encoder of the store.
    kinds : sequence of str
        What is kept beside the vectors, of :data:`bioprobe.encoders.keeping.KEPT_KINDS`.
    """

    def __init__(
        self, store: EmbeddingStore, encoder: OnDemandEncoder, kinds: Sequence[str] = ()
    ) -> None:
        self.store = store
        self._encoder = encoder
        self._kinds = tuple(kinds)
        #: Known images that were read again for what is kept of them.
        self.n_filled = 0
        #: Row of each known content (:func:`bioprobe.images.regions.name_content`).
        self.row_of_content: dict[str, int] = {
            content: row for row, content in enumerate(store.images.contents.tolist()) if content
        }
        self._lacking = self._find_lacking()
        self._writers: dict[str, KeptWriter] = {}
        self._kept: dict[str, dict[str, npt.NDArray[Any]]] = {kind: {} for kind in self._kinds}
        #: Rows whose vector is all zeros or not finite: no store takes them.
        self.rejected: list[Waiting] = []
        self._begin_shard()

    def __contains__(self, content: object) -> bool:
        """Tell whether nothing is wanted of a content: whoever prepares images asks it."""
        return content in self.row_of_content and content not in self._lacking

    def fill(self, content: str, pixels: npt.NDArray[np.float32] | None) -> None:
        """Take the pixels of a known content of which something is to be kept, once."""
        if pixels is None or content not in self._lacking:
            return
        self._lacking.discard(content)
        self._fills[content] = pixels
        self.n_filled += 1
        if len(self._pixels) + len(self._fills) >= self._encoder.get().batch_size:
            self._encode()

    def _find_lacking(self) -> set[str]:
        """Return the contents of current rows of which something is to be kept that is not."""
        contents = np.unique(self.store.images.contents[self.store.rows])
        contents = contents[contents != ""]
        lacking = np.zeros(len(contents), dtype=bool)
        for kind in self._kinds:
            kept = self.store.open_kept(kind)
            lacking |= True if kept is None else kept.find(contents) < 0
        return set(contents[lacking].tolist())

    def knows(self, content: str) -> bool:
        """Tell whether the vector of a content is in the store or on its way."""
        waiting = content in self._pixels or content in self._vectors
        waiting |= any(content in batch.new for batch in self._sent)
        return waiting or content in self.row_of_content

    def add(
        self,
        row: Mapping[str, Any],
        pixels: npt.NDArray[np.float32] | None,
        *,
        look: npt.NDArray[np.void] | None = None,
        measured: npt.NDArray[np.void] | None = None,
        replaces: int | None = None,
    ) -> Outcome:
        """Add one row of the image table.

        Parameters
        ----------
        row : mapping
            Columns of the image table.
        pixels : ndarray of float32, shape (3, height_px, width_px), or None
            Not needed when :meth:`knows` says that the content is known.
        look : ndarray of LOOK, shape (), optional
            What the picture looks like, which the store keeps.
        measured : ndarray of MEASURE, shape (), optional
            How sharp, how light it is, which the store keeps too.
        replaces : int, optional
            Row that this one retires.

        Returns
        -------
        Outcome
            Whether the encoder is needed for the row; it is among :attr:`rejected` later if
            nothing comes of it.
        """
        content = _name_content(row)
        outcome = Outcome.REUSED if self.knows(content) else Outcome.EMBEDDED
        if outcome is Outcome.EMBEDDED and pixels is not None:
            self._pixels[content] = pixels
        else:
            self.fill(content, pixels)
        if look is not None:
            self._looks[content] = look
        if measured is not None:
            self._measured[content] = measured
        self._rows.append(Waiting(row, outcome, replaces))
        n_waiting = len(self._pixels) + len(self._fills)
        if n_waiting and n_waiting >= self._encoder.get().batch_size:
            self._encode()
        age_s = time.monotonic() - self._start_s
        if len(self._rows) >= SHARD_IMAGES or age_s > SHARD_SECONDS_S:
            self.close_shard()
        return outcome

    def close_shard(self) -> None:
        """Encode what waits and append it; nothing happens when nothing waits.

        Raises
        ------
        StoreError
            If the disk refuses. What waited is let go: a second call does not try it again.
        """
        failed: Exception | None = None
        try:
            self._encode()
            self._collect()
        except Exception as error:  # noqa: BLE001 - raised below: what is left is kept first
            failed = error
        try:
            self._append()
        except Exception:
            self._begin_shard()
            raise
        self._begin_shard()
        if failed is not None:
            raise failed

    def _append(self) -> None:
        self._read_known()
        kept = [waiting for waiting in self._rows if self._has_direction(waiting)]
        for waiting in self._rows:
            if not self._has_direction(waiting):
                for of_kind in self._kept.values():
                    of_kind.pop(_name_content(waiting.row), None)
        # First: a row that is there has what is kept of it.
        self._write_kept()
        self.rejected += [waiting for waiting in self._rows if not self._has_direction(waiting)]
        if kept:
            vectors = np.stack([self._vectors[_name_content(waiting.row)] for waiting in kept])
            first_row = len(self.store)
            frame = settle_frame([waiting.row for waiting in kept])
            retired = [waiting.replaces for waiting in kept if waiting.replaces is not None]
            self.store = self.store.append(frame, vectors, retired=retired)
            for kind, seen in ((LOOKS, self._looks), (MEASURES, self._measured)):
                if seen:
                    values = np.stack(list(seen.values()))
                    LookCache(self.store.folder, kind).write(list(seen), values)
            for row, waiting in enumerate(kept, start=first_row):
                self.row_of_content.setdefault(_name_content(waiting.row), row)

    def _encode(self) -> None:
        """Encode what waits, beside an accelerator in threads, while the next are taken."""
        waiting = self._pixels | self._fills
        if not waiting:
            return
        work = functools.partial(self._encode_pixels, list(waiting.values()))
        is_apart = self._encoder.get().device != "cpu"
        take = self._pool.submit(work).result if is_apart else work
        self._sent.append(_Batch(list(waiting), set(self._pixels), take))
        self._pixels.clear()
        self._fills.clear()
        self._collect(n_left=_MOST_SENT if is_apart else 0)

    def _collect(self, *, n_left: int = 0) -> None:
        """Take the vectors of batches, the oldest first, until so many are left under way."""
        failed: Exception | None = None
        while len(self._sent) > (0 if failed else n_left):
            # There until its vectors are: who interrupts this may ask again.
            batch = self._sent[0]
            try:
                vectors, kept = batch.take()
            except Exception as error:  # noqa: BLE001 - raised below
                # The rest of the shard can still be kept; these would only fail again.
                self._rows[:] = [w for w in self._rows if _name_content(w.row) not in batch.new]
                failed = failed or error
            else:
                self._keep(batch, vectors, kept)
            self._sent.popleft()
            # What the disk refuses now is not encoded again.
            if sum(map(_count_bytes, self._kept.values())) >= PART_BYTES:
                self._write_kept()
        if failed is not None:
            raise failed

    def _keep(
        self,
        batch: _Batch,
        vectors: npt.NDArray[np.float32],
        kept: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        # The vectors of known ones stay as they are.
        self._vectors.update(
            (content, vector)
            for content, vector in zip(batch.contents, vectors, strict=True)
            if content in batch.new
        )
        for kind, values in kept.items():
            self._kept[kind].update(zip(batch.contents, values, strict=True))

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_MOST_SENT, thread_name_prefix="bioprobe-encode")

    def _encode_pixels(
        self, pictures: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[Any]]]:
        """Return vectors, and what is kept in the dtype in which it is."""
        pixels = np.stack(pictures)
        encoder = self._encoder.get()
        if not self._kinds:
            return encoder.encode_pixels(pixels), {}
        vectors, kept = need_keeping(encoder, self._kinds).encode_keeping(pixels, self._kinds)
        dtype = self.store.manifest.dtype
        rounded = {
            kind: round_values(values, choose_dtype(kind, dtype), f"{kind} of {encoder.name}")
            for kind, values in kept.items()
        }
        return vectors, rounded

    def _write_kept(self) -> None:
        """Write what is kept of pictures and waits; of what is there already nothing."""
        for kind, values in self._kept.items():
            if not values:
                continue
            if kind not in self._writers:
                form = need_keeping(self._encoder.get(), [kind]).find_form(kind)
                dtype = self.store.manifest.dtype
                self._writers[kind] = KeptWriter(self.store.folder, form, dtype)
            there = self.store.open_kept(kind)
            contents = [one for one in values if one]
            if there is not None:
                places = there.find(contents)
                contents = [one for one, at in zip(contents, places, strict=True) if at < 0]
            if contents:
                self._writers[kind].add(contents, np.stack([values[one] for one in contents]))
            values.clear()

    def _read_known(self) -> None:
        contents = {_name_content(waiting.row) for waiting in self._rows} - self._vectors.keys()
        known = sorted(contents)
        rows = np.array([self.row_of_content[content] for content in known], dtype=np.int64)
        self._vectors.update(zip(known, self.store.read_vectors(rows), strict=True))

    def _has_direction(self, waiting: Waiting) -> bool:
        norm = np.linalg.norm(self._vectors[_name_content(waiting.row)])
        return bool(np.isfinite(norm) and norm > 0)

    def _begin_shard(self) -> None:
        self._rows: list[Waiting] = []
        self._sent = collections.deque[_Batch]()
        self._pixels: dict[str, npt.NDArray[np.float32]] = {}
        self._fills: dict[str, npt.NDArray[np.float32]] = {}
        self._vectors: dict[str, npt.NDArray[np.float32]] = {}
        self._looks: dict[str, npt.NDArray[np.void]] = {}
        self._measured: dict[str, npt.NDArray[np.void]] = {}
        self._start_s = time.monotonic()


def _count_bytes(kept: Mapping[str, npt.NDArray[Any]]) -> int:
    return sum(values.nbytes for values in kept.values())
