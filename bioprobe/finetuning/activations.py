"""What the frozen part of an encoder gives of each picture, kept on disk in half precision."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import Encoder, hash_description
from bioprobe.encoders.views import make_views
from bioprobe.errors import BioprobeError, StoreError
from bioprobe.files import explaining_refusal, read_json, replacing, write_text
from bioprobe.images.reading import decode_region, ignore_pillow_warnings
from bioprobe.progress import Progress, Step
from bioprobe.store import EmbeddingStore
from bioprobe.types import Mask, Places, Rows

Activations = npt.NDArray[np.floating[Any]]
#: From pixels of several pictures to what the frozen part gives of each.
RunFrozen = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]

# Written to disk, and counted as done, so many pictures at a time.
_AT_ONCE = 32


class _TooLarge(Exception):  # noqa: N818 - begins anew in another precision
    """Raised where a number is more than half precision holds."""


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """Activations on disk.

    Parameters
    ----------
    rows : ndarray of int64, shape (n_rows,)
        Of the store, ascending.
    values : memory-mapped ndarray of float16 or float32, shape (n_rows, n_views, …)
        The whole picture first; zeros where it could not be read.
    reasons : dict of int to str
        By row, why its picture could not be read.
    """

    rows: Rows
    values: Activations
    reasons: dict[int, str]

    @property
    def n_views(self) -> int:
        """Views of each picture."""
        return int(self.values.shape[1])

    @property
    def is_read(self) -> Mask:
        """Whether the picture of each row could be read."""
        return ~np.isin(self.rows, list(self.reasons))

    def place(self, rows: Rows) -> Places:
        """Return where rows of the store stand here."""
        return np.searchsorted(self.rows, rows)

    def take(self, places: Places, views: Places | None = None) -> Activations:
        """Return the activations of one view of each of some pictures, by default the whole."""
        if views is None:
            views = np.zeros(len(places), dtype=np.int64)
        return np.asarray(self.values[places, views])


@contextlib.contextmanager
def holding_drafts(folder: Path) -> Iterator[None]:
    """Let no other run write activations and checkpoints into a folder while the block runs.

    Raises
    ------
    StoreError
        If another run is at work there, or the system refuses.
    """
    import filelock

    with explaining_refusal(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            msg = f"another run is at work in {folder}; wait for it, or say another --to"
            raise StoreError(msg) from None
    try:
        yield
    finally:
        lock.release()


def keep_activations(
    folder: Path,
    store: EmbeddingStore,
    rows: Rows,
    encoder: Encoder,
    run: RunFrozen,
    *,
    part: str,
    n_views: int = 1,
    progress: Progress | None = None,
) -> Kept:
    """Run the frozen part over pictures, or go on where a run was stopped.

    Parameters
    ----------
    folder : Path
        That keeps them; those of another model, cut or choice of pictures lie beside.
    store : EmbeddingStore
    rows : ndarray of int64, shape (n_rows,)
        Whose pictures are read.
    encoder : Encoder
        That prepares them.
    run : callable
        The frozen part.
    part : str
        Which that is: two are the same where it and the encoder are.
    n_views : int
        1, or one of :data:`bioprobe.encoders.views.VIEWS`, each kept apart.
    progress : callable, optional
        Told a step after each few pictures; an error that it raises stops the work, which keeps
        what is done.

    Raises
    ------
    StoreError
        If the disk has no room for them, or refuses.
    BioprobeError
        If no picture can be read.
    """
    rows = np.unique(rows)
    described = {
        "encoder": encoder.fingerprint.key, "part": part, "n_views": n_views,
        "pictures": store.images.contents[rows].tolist(), "decoding": encoder.fingerprint.decoding,
    }  # fmt: skip
    key = hash_description(described)[:16]
    for dtype in ("float16", "float32"):
        draft = _Draft(folder, f"activations-{key}-{dtype}", dtype)
        try:
            return draft.fill(store, rows, encoder, run, n_views, progress)
        except _TooLarge:
            draft.remove()
    msg = f"{encoder.name} gave values that are not finite before the blocks that learn"
    raise BioprobeError(msg)


@dataclasses.dataclass
class _Draft:
    """A file of activations that is being filled, and the card that says how far it is."""

    folder: Path
    name: str
    dtype: str

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.npy"

    @property
    def card(self) -> Path:
        return self.folder / f"{self.name}.json"

    def remove(self) -> None:
        for path in (self.card, self.file):
            path.unlink(missing_ok=True)

    def fill(
        self,
        store: EmbeddingStore,
        rows: Rows,
        encoder: Encoder,
        run: RunFrozen,
        n_views: int,
        progress: Progress | None,
    ) -> Kept:
        n_done, reasons = self._read_card()
        values: Activations | None = self._open() if n_done else None
        done = n_done
        for places, pixels, failed in _iter_pixels(store, rows, encoder, n_views, n_done):
            reasons.update(failed)
            if len(places):
                found = _run(run, pixels, encoder.batch_size)
                found = found.reshape(len(places), n_views, *found.shape[1:])
                if values is None:
                    values = self._create((len(rows), *found.shape[1:]))
                with np.errstate(over="ignore"):
                    values[places] = found.astype(self.dtype)
                if not np.isfinite(values[places]).all():
                    raise _TooLarge
            done = min(done + _AT_ONCE, len(rows))
            if values is not None:
                values.flush()  # type: ignore[attr-defined] # of a memory-mapped array
                said = {"n_done": done, "reasons": {str(k): v for k, v in reasons.items()}}
                write_text(self.card, json.dumps(said))
            if progress is not None:
                progress(Step(done, len(rows), "pictures through the frozen part", len(reasons)))
        if values is None:
            first = next(iter(reasons.values()), "there are none")
            msg = f"none of the {len(rows):,} pictures can be read: {first}"
            raise BioprobeError(msg)
        return Kept(rows, self._open(), reasons)

    def _read_card(self) -> tuple[int, dict[int, str]]:
        try:
            said = read_json(self.card, dict) if self.file.exists() else {}
            return int(said.get("n_done", 0)), {int(k): v for k, v in said["reasons"].items()}
        except (OSError, ValueError, KeyError):
            return 0, {}

    def _open(self) -> Activations:
        mapped: Activations = np.load(self.file, mmap_mode="r+")
        return mapped

    def _create(self, shape: tuple[int, ...]) -> Activations:
        needed = int(np.prod(shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            msg = (
                f"what enters the blocks that learn takes {needed / 1e9:,.1f} GB on disk, and "
                f"{self.folder} has {free / 1e9:,.1f} GB left; choose another disk with --to, "
                "fewer images with --where, or fewer views"
            )
            raise StoreError(msg)
        with explaining_refusal(self.file), replacing(self.file) as temporary:
            mapped = np.lib.format.open_memmap(temporary, "w+", dtype=self.dtype, shape=shape)
            mapped.flush()
            del mapped
        return self._open()


def _iter_pixels(
    store: EmbeddingStore, rows: Rows, encoder: Encoder, n_views: int, first: int
) -> Iterator[tuple[Places, npt.NDArray[np.float32], dict[int, str]]]:
    """Read and prepare pictures in threads, some at a time.

    Yields
    ------
    places : ndarray of int64, shape (n,)
        In the rows, of those that could be read.
    pixels : ndarray of float32, shape (n * n_views, 3, height_px, width_px)
    failed : dict of int to str
        By row, why others could not.
    """

    def prepare(row: int) -> npt.NDArray[np.float32] | str:
        try:
            place = store.images.locate(row)
            draft_px = encoder.draft_side_px * (2 if n_views > 1 else 1)
            with ignore_pillow_warnings():
                image = decode_region(place.read_bytes(), place.region, draft_side_px=draft_px)
        except (BioprobeError, OSError, ValueError) as error:
            return str(error)
        seen: Sequence[Any] = make_views(image, n_views) if n_views > 1 else [image]
        return np.stack([encoder.preprocess(one) for one in seen])

    with ThreadPoolExecutor() as pool:
        for start in range(first, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            found = list(pool.map(prepare, part.tolist()))
            read = [at for at, one in enumerate(found) if not isinstance(one, str)]
            pixels = [one for one in found if not isinstance(one, str)]
            failed = {
                int(row): one for row, one in zip(part, found, strict=True) if isinstance(one, str)
            }
            joined = np.concatenate(pixels) if pixels else np.zeros((0, 3, 1, 1), np.float32)
            yield start + np.array(read, dtype=np.int64), joined, failed


def _run(run: RunFrozen, pixels: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    parts = [run(pixels[start : start + size]) for start in range(0, len(pixels), size)]
    return np.concatenate(parts)
