"""What the pictures of a store look like, and their measures, kept by content.

None is decoded for it again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import StoreError
from bioprobe.files import replacing, save_array
from bioprobe.images.looks import LOOK
from bioprobe.images.measures import MEASURE
from bioprobe.types import Mask

if TYPE_CHECKING:
    from bioprobe.store.gone import Changes, Gone


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is kept of pictures.

    Parameters
    ----------
    folder : str
        Name of its folder in a store.
    value : dtype
        What there is of each.
    """

    folder: str
    value: np.dtype[Any]

    @property
    def kept(self) -> np.dtype[Any]:
        """What a file holds: the content, and its value."""
        return np.dtype([("sha256", "S64"), ("look", self.value)])


LOOKS, MEASURES = Kind("looks", LOOK), Kind("measures", MEASURE)
_VIEWS = "views"
# Each batch leaves a file: so many small ones are searched at once, and joined by compaction.
_BYTES_AT_ONCE, _MANY = 1 << 26, 16


def describe_views(n_views: int, dim: int) -> Kind:
    """Return what is kept of the views of pictures: the vector of each but the whole."""
    vectors = np.dtype([("vectors", "f4", (n_views - 1, dim))])
    return Kind(f"{_VIEWS}{n_views}", vectors)


def list_views(folder: Path, dim: int) -> list[Kind]:
    """Return what a store keeps of views of pictures."""
    found = sorted(folder.glob(f"{_VIEWS}[0-9]*"))
    return [describe_views(int(one.name.removeprefix(_VIEWS)), dim) for one in found]


class LookCache:
    """Looks or measures of pictures, by the SHA-256 of their files.

    They lie in ``looks/`` and ``measures/`` of the store. Each batch adds a file; one that is
    damaged, or of before another thing was measured, is ignored, and its pictures are read again. A
    store that cannot be written answers without.
    """

    def __init__(self, folder: Path, kind: Kind = LOOKS) -> None:
        self._folder = folder / kind.folder
        self.kind = kind

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return next(self._folder.glob("*.npy"), None) is None

    def read(self, contents: npt.NDArray[np.str_ | np.bytes_]) -> tuple[npt.NDArray[np.void], Mask]:
        """Return what is kept of pictures.

        Parameters
        ----------
        contents : ndarray of str or bytes, shape (n,)
            SHA-256 of their files; ``""`` is never known.

        Returns
        -------
        looks : ndarray of the kind's dtype, shape (n,)
            Zeros where not known.
        known : ndarray of bool, shape (n,)
        """
        wanted = np.asarray(contents, dtype="S64")
        looks, known = (
            np.zeros(len(wanted), dtype=self.kind.value),
            np.zeros(len(wanted), dtype=bool),
        )
        for kept in _iter_kept(sorted(self._folder.glob("*.npy")), self.kind):
            order = np.argsort(kept["sha256"], kind="stable")
            places = np.searchsorted(kept["sha256"], wanted, side="right", sorter=order) - 1
            places = order[np.maximum(places, 0)]
            found = (kept["sha256"][places] == wanted) & (wanted != b"")
            looks[found] = kept["look"][places[found]]
            known |= found
        return looks, known

    def write(self, contents: Sequence[str], looks: npt.NDArray[np.void]) -> None:
        """Keep what was seen of pictures.

        Parameters
        ----------
        contents : sequence of str
            SHA-256 of their files; those that are ``""`` are passed over.
        looks : ndarray of the kind's dtype, shape (n,)
        """
        kept = np.zeros(len(looks), dtype=self.kind.kept)
        kept["sha256"], kept["look"] = np.asarray(contents, dtype="S64"), looks
        kept = kept[kept["sha256"] != b""]
        if not len(kept):
            return
        name = hashlib.sha256(kept["sha256"].tobytes()).hexdigest()[:16]
        # Without it the files are read again.
        with (
            contextlib.suppress(OSError, StoreError),
            replacing(self._folder / f"{name}.npy") as temporary,
        ):
            save_array(temporary, kept)


def forget_gone(gone: Gone, changes: Changes) -> None:
    """Take out what the store keeps of the looks of pictures that it has no longer."""
    for kind in (LOOKS, MEASURES, *list_views(gone.folder, gone.manifest.dim)):
        _forget_gone(gone.folder, kind, gone, changes)


def _forget_gone(folder: Path, kind: Kind, gone: Gone, changes: Changes) -> None:
    files = sorted((folder / kind.folder).glob("*.npy"))
    if not files:
        return
    parts = [_read_file(file, kind) for file in files]
    kept = np.concatenate(parts)
    # Sorted, and each once: an interrupted compaction may have left what it replaced.
    _, first = np.unique(kept["sha256"], return_index=True)
    has_copies, kept = len(first) < len(kept), kept[first]
    stays = np.isin(kept["sha256"], gone.contents)
    is_tidy = len(files) < _MANY and all(len(part) for part in parts)
    if stays.all() and not has_copies and is_tidy:
        return
    changes.counts[kind.folder.rstrip("0123456789")] += int((~stays).sum())
    rest, name = kept[stays], ""
    if len(rest):
        name = f"{hashlib.sha256(rest['sha256'].tobytes()).hexdigest()[:16]}.npy"
        save_array(changes.replace(folder / kind.folder / name), rest)
    for file in files:
        if file.name != name:
            changes.afterwards(functools.partial(file.unlink, missing_ok=True))


def _iter_kept(files: Sequence[Path], kind: Kind) -> Iterator[npt.NDArray[np.void]]:
    """Read files, many small ones together.

    Yields
    ------
    ndarray of the kind's ``kept``, shape (n ≥ 1,)
    """
    parts, n_bytes = list[npt.NDArray[np.void]](), 0
    for file in files:
        parts.append(_read_file(file, kind))
        n_bytes += parts[-1].nbytes
        if n_bytes > _BYTES_AT_ONCE:
            yield np.concatenate(parts)
            parts, n_bytes = [], 0
    if n_bytes:
        yield np.concatenate(parts)


def _read_file(file: Path, kind: Kind) -> npt.NDArray[np.void]:
    try:
        kept: npt.NDArray[np.void] = np.load(file)
    except (OSError, ValueError, EOFError):
        return np.zeros(0, dtype=kind.kept)
    return kept if kept.dtype == kind.kept else np.zeros(0, dtype=kind.kept)
