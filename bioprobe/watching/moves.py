"""Pictures that were moved or renamed: the same bytes under a new path, none under the old."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from bioprobe.files import hash_file
from bioprobe.images.location import read_name, write_name
from bioprobe.images.regions import REGION
from bioprobe.sources.files import locate
from bioprobe.sources.listing import join
from bioprobe.store import EmbeddingStore


@dataclasses.dataclass(frozen=True)
class Move:
    """A picture that has another path.

    Parameters
    ----------
    before, after : str
        Whole paths, as an image table writes them.
    sha256 : str
        Of its bytes.
    rows : tuple of int
        Its rows in the store.
    regions : tuple of str
        Of each row.
    """

    before: str
    after: str
    sha256: str
    rows: tuple[int, ...]
    regions: tuple[str, ...]


def find_moves(
    store: EmbeddingStore,
    paths: Sequence[str],
    present: Collection[str],
    folder: Path,
    is_gone: Callable[[Path, Path], bool],
) -> list[Move]:
    """Find which new files are pictures of the store whose file is gone from below the folder.

    A file is read only where a picture of its size is gone.

    Parameters
    ----------
    store : EmbeddingStore
    paths : sequence of str
        New files.
    present : collection of str
        All files below the folder.
    folder : Path
        That is watched.
    is_gone : callable
        Tells of a file and the folder that it was listed from whether it was removed, and is not
        only out of reach.
    """
    frame = store.images.frame
    rows = store.rows
    named = {write_name(path): path for path in paths}
    there = store.find_rows(named)
    known = set(map(join, frame["root"].iloc[there], frame["path"].iloc[there]))
    new = {name: path for name, path in named.items() if name not in known}
    sizes = {size for path in new.values() if (size := _measure(path))}
    if not sizes:
        return []
    alike = rows[np.isin(frame["n_bytes"].to_numpy()[rows].astype(np.int64), list(sizes))]
    below = write_name(f"{folder}/")
    gone: dict[str, dict[str, list[int]]] = {}
    for row in alike.tolist():
        root = str(frame["root"].iloc[row])
        name = join(root, str(frame["path"].iloc[row]))
        if not name.startswith(below) or read_name(name) in present:
            continue
        if is_gone(Path(read_name(name)), Path(read_name(root))):
            sha256 = str(frame["sha256"].iloc[row])
            gone.setdefault(sha256, {}).setdefault(name, []).append(row)
    moves = []
    lost_sizes = {
        int(frame["n_bytes"].iloc[rows[0]]) for one in gone.values() for rows in one.values()
    }
    for after, path in new.items():
        if _measure(path) not in lost_sizes:
            continue
        try:
            sha256 = hash_file(Path(path))
        except OSError:
            continue
        lost = gone.get(sha256)
        if lost:
            before = _choose(lost, after)
            mine = lost.pop(before)
            regions = tuple(str(frame[REGION].iloc[row]) for row in mine)
            moves.append(Move(before, after, sha256, tuple(mine), regions))
    return moves


def _choose(lost: Collection[str], after: str) -> str:
    """Return of several copies that are gone the one with the same name, else the first."""
    name = after.rpartition("/")[2]
    return min(lost, key=lambda one: (one.rpartition("/")[2] != name, one))


def _measure(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def move_rows(store: EmbeddingStore, moves: Sequence[Move]) -> EmbeddingStore:
    """Give rows new paths, with all that is known of them and the vectors that they have.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    current = set(store.rows.tolist())
    rows = [row for one in moves for row in one.rows if row in current]
    if not rows:
        return store
    frame = store.given.frame.iloc[rows].copy().reset_index(drop=True)
    after = {row: one.after for one in moves for row in one.rows}
    places = [
        locate(after[row], str(root)) if after[row].startswith(f"{str(root).rstrip('/')}/")
        else tuple(after[row].rpartition("/")[::2])
        for row, root in zip(rows, frame["root"], strict=True)
    ]  # fmt: skip
    frame["root"] = [root for root, _ in places]
    frame["path"] = [path for _, path in places]
    return store.append(frame, store.read_vectors(np.array(rows, dtype=np.int64)), retired=rows)
