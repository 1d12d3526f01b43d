"""Maps that a store keeps: two coordinates for each image, ``maps/NAME.parquet``.

A map is about images, not about row numbers: it knows each by the SHA-256 of its bytes, its root,
its path and its region, as selections do. So it holds after an append, a repair and a compaction,
and an image that came later has no place yet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import re
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import describe_absence, is_file, list_files, read_bytes
from bioprobe.errors import SelectionError, StoreError, UnreadableError
from bioprobe.files import explaining_refusal, lay_aside, parse_json, replacing
from bioprobe.images.identity import IDENTITY
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.gone import Changes, Gone, list_places
from bioprobe.types import Mask, Rows

if TYPE_CHECKING:
    import pandas as pd

MAPS_NAME, _SUFFIX = "maps", ".parquet"
_COLUMNS = (*IDENTITY, "x", "y", "fitted")
_NAME = re.compile(r"\w[\w.-]*")


@dataclasses.dataclass(frozen=True, eq=False)
class KeptMap:
    """What a map says of the rows of a store.

    Parameters
    ----------
    name : str
    points : ndarray of float32, shape (n_rows, 2)
        Of every row of the store, retired ones included; NaN where a row has no place.
    fitted : ndarray of bool, shape (n_rows,)
        Whether the map was fitted to it; a row that was not and has a place was placed later.
    provenance : dict
        What it was computed from.
    """

    name: str
    points: npt.NDArray[np.float32]
    fitted: Mask
    provenance: dict[str, Any]

    @property
    def known(self) -> Mask:
        """Whether each row of the store has a place, shape (n_rows,)."""
        return ~np.isnan(self.points[:, 0])


def write_map(
    store: EmbeddingStore,
    name: str,
    rows: Rows,
    points: npt.NDArray[np.float32],
    fitted: Mask,
    provenance: dict[str, Any],
) -> None:
    """Keep a map in a store under a name, in place of one of that name: whole, or not at all.

    Parameters
    ----------
    store : EmbeddingStore
        Whose images have a place.
    name : str
        Letters, digits, ``_``, ``-`` and ``.``.
    rows : ndarray of int64, shape (n,)
        Rows of the store.
    points : ndarray of float32, shape (n, 2)
        Where each lies.
    fitted : ndarray of bool, shape (n,)
        Whether the map was fitted to it.
    provenance : dict
        JSON-ready; kept in the file's metadata.

    Raises
    ------
    SelectionError
        If the name cannot be used.
    StoreError
        If the disk refuses.
    """
    path = _find_map(store.folder, name)
    frame = store.images.take(rows, IDENTITY).reset_index(drop=True)
    frame = frame.astype(object).assign(
        x=points[:, 0].astype(np.float32), y=points[:, 1].astype(np.float32), fitted=fitted
    )
    # The newest of rows with the same bytes and place is the current one.
    frame = frame.drop_duplicates(list(IDENTITY), keep="last")
    store.make_folder(MAPS_NAME)
    _write(path, frame, provenance)


def _write(
    path: Path, frame: pd.DataFrame, provenance: dict[str, Any], to: Path | None = None
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    said = {
        **(table.schema.metadata or {}),
        b"provenance": json.dumps(provenance).encode(),
        b"sha256": _hash(frame).encode(),
    }
    table = table.replace_schema_metadata(said)
    if to is not None:
        pq.write_table(table, to)
        return
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def _hash(frame: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    for name in IDENTITY:
        digest.update("\0".join(frame[name].astype(str)).encode("utf-8", "surrogatepass") + b"\1")
    digest.update(frame[["x", "y"]].to_numpy(dtype="<f4").tobytes())
    digest.update(frame["fitted"].to_numpy(dtype=bool).tobytes())
    return digest.hexdigest()


def read_map(store: EmbeddingStore, name: str) -> KeptMap:
    """Read a map as it applies to the rows of a store now.

    Raises
    ------
    SelectionError
        If the name cannot be used.
    StoreError
        If there is no such map, or its file is damaged.
    UnreadableError
        If it cannot be read just now.
    """
    path = _find_map(store.folder, name)
    if not is_file(path):
        known = list_maps(store.folder)
        raise describe_absence(store.folder, "map", name, known, "bioprobe map makes one")
    with contextlib.suppress(OSError):
        # Who pages through a map asks for the same one again and again.
        state = path.stat()
        mark = (state.st_mtime_ns, state.st_size, state.st_ino)
        known_maps = _READ.setdefault(store, {})
        if name not in known_maps or known_maps[name][0] != mark:
            known_maps[name] = (mark, _join(store, path, name))
        return known_maps[name][1]
    return _join(store, path, name)


# What was read of a store that is open.
_READ: weakref.WeakKeyDictionary[EmbeddingStore, dict[str, tuple[tuple[int, ...], KeptMap]]] = (
    weakref.WeakKeyDictionary()
)


def _join(store: EmbeddingStore, path: Path, name: str) -> KeptMap:
    """Read a map, and find the place of each row of the store on it."""
    import pandas as pd

    frame, provenance = _read(path)
    asked = store.images.select(list(IDENTITY)).astype(object)
    n_same = min(len(frame), len(asked))
    found = np.arange(len(asked))
    if not all(np.array_equal(frame[one][:n_same], asked[one][:n_same]) for one in IDENTITY):
        n_same = 0
    # As it was written, only what came since is looked up: other pictures, or the same replaced.
    if n_same < len(asked):
        known = pd.MultiIndex.from_frame(frame[list(IDENTITY)])
        found[n_same:] = known.get_indexer(pd.MultiIndex.from_frame(asked[n_same:]))
    points = np.full((len(asked), 2), np.nan, dtype=np.float32)
    fitted = np.zeros(len(asked), dtype=bool)
    is_known = found >= 0
    points[is_known] = frame[["x", "y"]].to_numpy(dtype=np.float32)[found[is_known]]
    fitted[is_known] = frame["fitted"].to_numpy(dtype=bool)[found[is_known]]
    for one in (points, fitted):
        one.flags.writeable = False
    return KeptMap(name, points, fitted, provenance)


def _read(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    remedy = "make the map again: bioprobe map --refit"
    try:
        table = pq.read_table(io.BytesIO(read_bytes(path)))
        table.validate(full=True)
        said = table.schema.metadata or {}
        frame = table.select(list(_COLUMNS)).to_pandas()
        provenance = parse_json(said[b"provenance"], dict)
        is_whole = _hash(frame).encode() == said[b"sha256"]
        is_whole &= bool(np.isfinite(frame[["x", "y"]].to_numpy(dtype=np.float32)).all())
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        msg = f"{path} cannot be read ({error}); {remedy}"
        raise StoreError(msg) from error
    if not is_whole:
        msg = f"{path} is damaged: it does not hold what its SHA-256 says; {remedy}"
        raise StoreError(msg)
    return frame, provenance


def list_maps(folder: Path) -> list[str]:
    """Return the names of the maps that a store keeps, sorted.

    Raises
    ------
    UnreadableError
        If the folder of them may not be listed.
    """
    names = list_files(folder / MAPS_NAME, _SUFFIX)
    return sorted(name.removesuffix(_SUFFIX) for name in names if "/" not in name)


def count_places(folder: Path, name: str) -> tuple[int, int]:
    """Return how many images have a place on a map, and to how many of them it was fitted.

    Raises
    ------
    StoreError
        As :func:`read_map` does.
    """
    frame, _ = _read(_find_map(folder, name))
    return len(frame), int(frame["fitted"].sum())


def remove_map(folder: Path, name: str) -> None:
    """Forget a map; the images on it are not touched.

    Raises
    ------
    SelectionError
        If the name cannot be used.
    StoreError
        If there is no such map, or the disk refuses.
    """
    path = _find_map(folder, name)
    if not is_file(path):
        raise describe_absence(folder, "map", name, list_maps(folder))
    with explaining_refusal(path):
        path.unlink()


def _find_map(folder: Path, name: str) -> Path:
    """Return the file of a map, whether it is there or not."""
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name a map; use letters, digits, '_', '-' and '.', such as birds"
        raise SelectionError(msg)
    return folder / MAPS_NAME / f"{name}{_SUFFIX}"


def verify_maps(folder: Path) -> list[tuple[str, str, bool]]:
    """Return what is wrong with the maps of a store.

    Returns
    -------
    list of (str, str, bool)
        File relative to the store, what is wrong, and whether it is damage; False where it cannot
        be read just now.
    """
    found = []
    for name in list_maps(folder):
        try:
            _read(_find_map(folder, name))
        except StoreError as error:
            is_damage = not isinstance(error, UnreadableError)
            found.append((f"{MAPS_NAME}/{name}{_SUFFIX}", str(error), is_damage))
    return found


def repair_maps(folder: Path, aside: Path) -> list[str]:
    """Lay damaged maps aside, and return their names.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    moved = []
    for where, _, is_damage in verify_maps(folder):
        if not is_damage:
            continue
        name = Path(where).stem
        lay_aside(folder / where, aside, f"{MAPS_NAME}-{name}{_SUFFIX}")
        moved.append(name)
    return moved


def forget_gone(gone: Gone, changes: Changes) -> None:
    """Take out of every map of a store what it says of rows that go.

    A map of which no image stays that it was fitted to goes as a whole.
    """
    for name in list_maps(gone.folder):
        path = _find_map(gone.folder, name)
        frame, provenance = _read(path)
        stays = np.array([place not in gone.places for place in list_places(frame)], dtype=bool)
        scrubbed = gone.scrub(provenance)
        if stays.all() and scrubbed == provenance:
            continue
        rest = frame[stays]
        changes.counts["maps"] += 1
        if rest["fitted"].any():
            _write(path, rest, scrubbed, changes.replace(path))
            continue
        changes.said.append(f"the map {name} goes: no image stays that it was fitted to")
        changes.afterwards(functools.partial(path.unlink, missing_ok=True))
