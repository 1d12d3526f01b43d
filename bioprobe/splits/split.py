"""A split: which images learn, which choose, which judge; kept in the store by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MisuseError, SelectionError, StoreError
from bioprobe.files import parse_json
from bioprobe.images.identity import hash_sorted, name_contents
from bioprobe.images.regions import REGION
from bioprobe.names import suggest
from bioprobe.result import Notes, Result
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import (
    SPLITS,
    list_selections,
    read_selection,
    stamp_selection,
    write_selection,
)
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd


PARTS = ("train", "validation", "test")
# The last split that each store was asked for, and the file that it was read from.
_READ: weakref.WeakKeyDictionary[EmbeddingStore, tuple[tuple[Any, ...], Split]] = (
    weakref.WeakKeyDictionary()
)


@dataclasses.dataclass(frozen=True)
class Split:
    """Parts, folds and groups of the images of a store.

    Parameters
    ----------
    name : str
        Such as ``default``.
    parts : ndarray of object, shape (n_store_rows,)
        ``train``, ``validation`` or ``test``; ``""`` is in none.
    folds : ndarray of int64, shape (n_store_rows,)
        Fold in which a training image is held out; -1 is in none and always trains.
    groups : ndarray of object, shape (n_store_rows,)
        Group of images that stay together, ``""`` where an image is on its own.
    provenance : dict
        JSON-ready: ``hash``, ``method``, ``rank``, ``seed``, ``leakage``, ``small_classes`` …
    n_later : int
        Current rows of the store that came after the split was made; they are in no part.
    """

    name: str
    parts: npt.NDArray[np.object_]
    folds: npt.NDArray[np.int64]
    groups: npt.NDArray[np.object_]
    provenance: dict[str, Any]
    n_later: int = 0

    @property
    def hash(self) -> str:
        """SHA-256 of which image was put where when the split was made."""
        return str(self.provenance["hash"])

    @property
    def n_folds(self) -> int:
        """Number of folds; 0 where there are none."""
        return int(self.folds.max(initial=-1)) + 1

    @property
    def judging(self) -> Rows:
        """Rows that judge: the part test, or, where it is empty, what is held out in folds."""
        in_test = self.parts == "test"
        return np.flatnonzero(in_test if in_test.any() else self.folds >= 0)

    def rows(self, part: str) -> npt.NDArray[np.int64]:
        """Return the current rows of a part, ascending.

        Raises
        ------
        StoreError
            If there is no such part.
        """
        if part not in PARTS:
            msg = f"the parts of a split are {', '.join(PARTS)}; got {part!r}"
            raise StoreError(msg)
        return np.flatnonzero(self.parts == part).astype(np.int64)


def hash_split(
    store: EmbeddingStore, parts: npt.NDArray[np.object_], folds: npt.NDArray[np.int64]
) -> str:
    """Return the SHA-256 of which image is in which part and fold.

    Images are known by bytes and path, so neither their order in the store nor the folder that
    they lie in matters.
    """
    import pandas as pd

    rows = np.flatnonzero(parts != "")
    start = 0

    def write(frame: pd.DataFrame) -> pd.Series[str]:
        nonlocal start
        here = rows[start : start + len(frame)]
        start += len(frame)
        places = zip(name_contents(frame), frame["path"], parts[here], folds[here], strict=True)
        return pd.Series(["\t".join(map(str, place)) for place in places], dtype="str")

    return hash_sorted(map(write, store.images.iter_frames(["sha256", REGION, "path"], rows)))


def write_split(store: EmbeddingStore, split: Split) -> Split:
    """Keep a split in a store, in place of one of its name.

    Returns
    -------
    Split
        As it is read from now on, which takes no look at what was written where all rows differ.

    Raises
    ------
    SelectionError
        If the name cannot be used.
    StoreError
        If the disk refuses.
    """
    rows = store.rows
    columns = {"part": split.parts[rows], "fold": split.folds[rows], "group": split.groups[rows]}
    n_kept = write_selection(
        store,
        SPLITS + split.name,
        rows,
        split.parts[rows] != "",
        columns=columns,
        provenance=split.provenance,
    )
    if n_kept < len(rows):
        return read_split(store, split.name)
    is_in_part = np.zeros(len(store), dtype=bool)
    is_in_part[rows] = split.parts[rows] != ""
    return dataclasses.replace(
        split,
        parts=np.where(is_in_part, split.parts, "").astype(object),
        folds=np.where(is_in_part, split.folds, -1),
        groups=np.where(is_in_part, split.groups, "").astype(object),
        provenance=parse_json(json.dumps(split.provenance)),
    )


def read_split(store: EmbeddingStore, name: str = "default") -> Split:
    """Read a split as it applies to the rows of a store now.

    What was retired, and what came later, is in no part. The last one that a store was asked for is
    kept, and read anew once its file is another: its arrays may not be written to.

    Raises
    ------
    SelectionError
        If the name cannot be used.
    StoreError
        If there is no such split, or its file is damaged.
    """
    known = list_splits(store)
    if name not in known:
        msg = (
            f"no split {name!r} in {store.folder}{suggest(name, known)}; there are: "
            f"{', '.join(known) or 'none'}. Make it: bioprobe split --name {name}"
        )
        raise StoreError(msg)
    # Before it is read: what is written meanwhile is another file.
    stamp = (name, stamp_selection(store, SPLITS + name))
    read = _READ.get(store)
    if read is None or read[0] != stamp:
        read = _READ[store] = stamp, _read(store, name)
    split = read[1]
    return dataclasses.replace(split, provenance=copy.deepcopy(split.provenance))


def _read(store: EmbeddingStore, name: str) -> Split:
    selection = read_selection(store, SPLITS + name)
    frame = selection.frame
    inside = np.zeros(len(store), dtype=bool)
    inside[store.rows] = True
    inside &= selection.judged
    parts = np.where(inside, _share_texts(frame["part"]), "").astype(object)
    folds = np.where(parts != "", frame["fold"].fillna(-1).to_numpy(dtype=np.int64), -1)
    groups = np.where(parts != "", _share_texts(frame["group"]), "").astype(object)
    for shared in (parts, folds, groups):
        shared.flags.writeable = False
    return Split(
        name,
        parts,
        folds,
        groups,
        selection.provenance,
        int((~selection.judged[store.rows]).sum()),
    )


def _share_texts(column: pd.Series[Any]) -> Names:
    """Return texts of which equal ones are one object, so that a row takes 8 bytes."""
    import pandas as pd

    numbers, distinct = pd.factorize(column)
    return np.array([*distinct, ""], dtype=object)[numbers]


def read_part(store: EmbeddingStore, text: str) -> Rows:
    """Return the rows of a part of a split, named as every command names it: ``NAME:PART``.

    Raises
    ------
    MisuseError
        If it is not so written.
    SelectionError
        If no image is in the part.
    StoreError
        If there is no such split.
    """
    name, _, part = (one.strip() for one in text.partition(":"))
    if not name or part not in PARTS:
        msg = (
            f"a part of a split is NAME:PART, such as default:test ({', '.join(PARTS)}); got "
            f"{text!r}. To choose by a column, give a condition: --where \"column == 'value'\""
        )
        raise MisuseError(msg)
    rows = read_split(store, name).rows(part)
    if not len(rows):
        msg = f"no image is in the part {part} of the split {name!r}; choose another part"
        raise SelectionError(msg)
    return rows


_NAMED_FILES = 5


def find_held(
    store: EmbeddingStore, rows: Rows, other: EmbeddingStore
) -> tuple[dict[str, Any], Rows]:
    """Count the images that another store holds too, such as that which an encoder learnt from.

    Parameters
    ----------
    store : EmbeddingStore
        Of the rows.
    rows : ndarray of int64, shape (n_images,)
        Images that judge.
    other : EmbeddingStore
        What it has retired counts too: it may have been learnt from before.

    Returns
    -------
    about : dict
        JSON-ready: ``store``, the folder of the other; ``n_images`` asked; ``n_held``, those of
        which the other has the same bytes, by SHA-256; ``n_unhashed``, those without a hash, of
        which nothing is known; ``files``, the names of the first few that are held.
    held : ndarray of int64, shape (n_held,)
        The rows that are held.
    """
    frame = store.images.select(["path", "sha256"]).iloc[rows]
    hashes = frame["sha256"].astype(str)
    held = hashes.isin(set(other.images.column("sha256").astype(str)) - {""})
    about = {
        "store": str(other.folder),
        "n_images": len(rows),
        "n_held": int(held.sum()),
        "n_unhashed": int((hashes == "").sum()),
        "files": [str(path) for path in frame["path"][held].iloc[:_NAMED_FILES]],
    }
    return about, rows[held.to_numpy(dtype=bool)]


def list_splits(store: EmbeddingStore) -> list[str]:
    """Return the names of the splits that a store keeps, sorted."""
    names = list_selections(store)
    return [name.removeprefix(SPLITS) for name in names if name.startswith(SPLITS)]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PartCounts(Result):
    """Images by class and part.

    Parameters
    ----------
    level : str
        Rank or column of the classes.
    names : tuple of str
        Classes, sorted.
    counts : ndarray of int64, shape (n_classes, 3)
        Images in train, validation and test.
    split : Split
        That they are of.
    notes : tuple of Note
        What is to be said of it.
    """

    level: str
    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    split: Split
    notes: Notes = ()

    @property
    def provenance(self) -> dict[str, Any]:
        """What the split was made from, its hash and its leaks."""
        return self.split.provenance

    @property
    def totals(self) -> dict[str, int]:
        """Images of each part."""
        return dict(zip(PARTS, self.counts.sum(axis=0).tolist(), strict=True))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a class: its name, the parts, and ``n_images``."""
        import pandas as pd

        frame = pd.DataFrame({self.level: list(self.names)})
        for part, counts in zip(PARTS, self.counts.T, strict=True):
            frame[part] = counts
        return frame.assign(n_images=self.counts.sum(axis=1))


def count_parts(store: EmbeddingStore, split: Split) -> PartCounts:
    """Count the images of each class in each part, at the level of the split."""
    level = str(split.provenance["rank"])
    numbers, names = store.images.number_labels(level)
    counts = np.stack(
        [np.bincount(numbers[split.parts == part], minlength=len(names)) for part in PARTS], axis=1
    ).astype(np.int64)
    is_there = (names != "") & counts.any(axis=1)
    return PartCounts(level, tuple(map(str, names[is_there])), counts[is_there], split)


def describe_splits(store: EmbeddingStore) -> pd.DataFrame:
    """Return one row for each split that a store keeps."""
    import pandas as pd

    splits = [read_split(store, name) for name in list_splits(store)]
    columns = ["split", "method", "rank", "seed", *PARTS, "folds", "later", "hash"]
    rows = [
        (split.name, *(split.provenance[key] for key in ("method", "rank", "seed")),
         *(len(split.rows(part)) for part in PARTS), split.n_folds, split.n_later, split.hash)
        for split in splits
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
