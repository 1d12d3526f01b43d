"""What a data set is like before anything is learnt from it."""

from __future__ import annotations

import collections
import dataclasses
import math
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import explain_unreadable
from bioprobe.content import CONTENT, Content
from bioprobe.errors import StoreError
from bioprobe.files import parse_json
from bioprobe.images.identity import join_texts
from bioprobe.images.image_table import DAMAGE_COLUMNS, ImageTable, read_level
from bioprobe.images.placeholders import count_placeholders
from bioprobe.images.regions import REGION, get_box
from bioprobe.options import RANK_NAMES
from bioprobe.quality.flaws import Looks, describe_looks
from bioprobe.result import WARNING, Note, Notes, Record, Result, count
from bioprobe.sources.listing import name_reason
from bioprobe.store import EmbeddingStore
from bioprobe.store.added_taxa import read_added_taxa
from bioprobe.store.columns import ORDERS, list_columns
from bioprobe.store.computed import read_column
from bioprobe.store.failures import Failure
from bioprobe.store.imported import read_imports
from bioprobe.store.kept import list_kept
from bioprobe.store.lease import list_outdated
from bioprobe.store.maps import count_places, list_maps
from bioprobe.store.selections import DUPLICATES_MASK, list_selections, read_selection
from bioprobe.store.view import View
from bioprobe.taxonomy import RANKS, Rank
from bioprobe.taxonomy.columns import LABEL
from bioprobe.types import Rows

if TYPE_CHECKING:
    import pandas as pd

# Pairs of copies that a note names.
_SHOWN_COPIES = 3


@dataclasses.dataclass(frozen=True)
class ClassCounts:
    """Labelled images of each class at a rank or of a column.

    Parameters
    ----------
    level : str
        Rank or column of the labels.
    names : tuple of str
        Classes, the one of most images first.
    n_images : ndarray of int64, shape (n_classes,)
        Images of each.
    n_missing : int
        Images without a label there.
    """

    level: str
    names: tuple[str, ...]
    n_images: npt.NDArray[np.int64]
    n_missing: int

    @property
    def imbalance(self) -> float:
        """Images of the largest class for each of the smallest; not a number without classes."""
        return float(self.n_images[0] / self.n_images[-1]) if len(self.names) else math.nan

    @property
    def n_effective(self) -> float:
        """Number of equal classes that would be as even as these: the exponential of the entropy.

        References
        ----------
        Hill 1973, *Diversity and evenness: a unifying notation* (order 1).
        """
        if not len(self.names):
            return 0.0
        shares = self.n_images / self.n_images.sum()
        return float(np.exp(-(shares * np.log(shares)).sum()))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a class: its name, images, and their share of those labelled."""
        import pandas as pd

        share = self.n_images / max(1, int(self.n_images.sum()))
        columns = {self.level: list(self.names), "n_images": self.n_images, "fraction": share}
        return pd.DataFrame(columns)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Description(Result):
    """Facts of the images of a store.

    Parameters
    ----------
    n_images : int
        Current images that meet the condition.
    ranks : tuple of ClassCounts
        One for each rank, from kingdom down.
    sizes_px : ndarray of float64, shape (2, 5)
        Least, first quartile, median, third quartile and most of width and height; not numbers
        where no size is known.
    n_unsized : int
        Images whose size is not known, as of what was imported.
    modes : dict of str to int
        Images of each PIL mode, the most frequent first.
    n_copies : int
        Images beyond the first of the same bytes.
    n_near : int or None
        Images that the mask of duplicates drops; None where nobody looked for them.
    n_failures : int
        Files of the store that could not be read.
    missing : dict of str to int
        Images without a value, by further column, where there are any.
    columns : tuple of str
        Further columns, which may be asked at too.
    n_placeholders : int
        Images with a label that looks like none, such as ``#N/A``.
    placeholders : dict of str to int
        Images of each such label.
    n_damaged : int
        Images that are not whole.
    damage : dict of str to int
        Images of each kind of damage; one may be of several.
    looks : Looks, optional
        How the pictures were taken.
    listed : ClassCounts, optional
        Rank or column whose classes the table lists; by default it lists the ranks.
    notes : tuple of Note
        What is to be said of it.
    """

    n_images: int
    ranks: tuple[ClassCounts, ...]
    sizes_px: npt.NDArray[np.float64]
    n_unsized: int
    modes: dict[str, int]
    n_copies: int
    n_near: int | None
    n_failures: int
    missing: dict[str, int]
    columns: tuple[str, ...] = ()
    n_placeholders: int = 0
    placeholders: dict[str, int] = dataclasses.field(default_factory=dict)
    n_damaged: int = 0
    damage: dict[str, int] = dataclasses.field(default_factory=dict)
    looks: Looks | None = None
    listed: ClassCounts | None = None
    notes: Notes = ()

    @property
    def provenance(self) -> dict[str, Any]:
        """The facts that the table leaves out, as :meth:`to_dict` has them."""
        return self.to_dict()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a rank: how much is labelled, how many classes, how even they are.

        Where the classes of a rank are listed it is one row a class.
        """
        import pandas as pd

        if self.listed is not None:
            return self.listed.to_frame()
        columns = [
            "rank", "n_labelled", "n_missing", "n_classes", "n_single", "smallest", "median",
            "largest", "imbalance", "n_effective",
        ]  # fmt: skip
        return pd.DataFrame([_summarise(counts) for counts in self.ranks], columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the single classes as a JSON-ready mapping."""
        ranks = dataclasses.replace(self, listed=None).to_frame()
        facts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del facts["listed"], facts["notes"]
        return {
            **facts,
            "looks": None if self.looks is None else self.looks.to_dict(),
            "ranks": parse_json(ranks.to_json(orient="records")),
            "sizes_px": {
                side: None if math.isnan(values[0]) else values.tolist()
                for side, values in zip(("width", "height"), self.sizes_px, strict=True)
            },
        }


def describe_images(asked: EmbeddingStore | View, level: str | None = None) -> Description:
    """Describe the images of a store: classes, sizes, modes, copies, holes.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose current rows are described.
    level : str, optional
        Rank or column whose classes the table lists; by default it lists the ranks.

    Raises
    ------
    SelectionError
        If there is no image, or no such rank or column.
    """
    view = View.of(asked)
    store, rows = view.store, view.rows
    images = store.images
    sides = images.select(["width_px", "height_px"]).to_numpy(dtype=np.float64)[rows]
    sides = sides[(sides > 0).all(axis=1)]
    sizes = np.full((2, 5), np.nan)
    if len(sides):
        sizes = np.quantile(sides, [0, 0.25, 0.5, 0.75, 1], axis=0).T
    modes = images.column("mode").iloc[rows]
    modes = modes[modes != ""].value_counts()
    # A picture that is whole lacks nothing by having no mark of damage.
    further = [name for name in images.free_columns if name not in DAMAGE_COLUMNS]
    n_placeholders, placeholders = count_placeholders(images, rows)
    damage: list[str] = []
    if DAMAGE_COLUMNS[1] in images.columns:
        damage = images.column(DAMAGE_COLUMNS[1]).iloc[rows].fillna("").tolist()
    return Description(
        n_images=len(rows),
        ranks=tuple(_count(store, rank.value, rows) for rank in Rank),
        sizes_px=sizes,
        n_unsized=len(rows) - len(sides),
        modes={str(mode): int(n) for mode, n in modes.items()},
        n_copies=_count_copies(images, rows),
        n_near=_count_near(store, rows),
        n_failures=len(view.read_failures()),
        missing={name: n for name in further if (n := _count_holes(images.column(name), rows))},
        columns=tuple(images.free_columns),
        n_placeholders=n_placeholders,
        placeholders=placeholders,
        n_damaged=sum(said != "" for said in damage),
        damage=dict(
            collections.Counter(
                one for said in damage for one in str(said).split(", ") if one
            ).most_common()
        ),
        looks=describe_looks(view),
        listed=None if level is None else _count(store, read_level(level, store.images), rows),
    )


def _count(store: EmbeddingStore, level: str, rows: npt.NDArray[np.int64]) -> ClassCounts:
    numbers, names = store.images.number_labels(level)
    counts = np.bincount(numbers[rows], minlength=len(names)).astype(np.int64)
    n_images = np.where(names == "", 0, counts)
    order = np.argsort(-n_images, kind="stable")[: np.count_nonzero(n_images)]
    ordered = tuple(map(str, names[order].tolist()))
    return ClassCounts(level, ordered, n_images[order], int(counts[names == ""].sum()))


def _count_copies(images: ImageTable, rows: Rows) -> int:
    """Count the pictures beyond the first of the same bytes; rows of one picture are no copies."""
    import pyarrow.compute as pc

    if images.has_regions:
        _, first = np.unique(images.number_files(rows), return_index=True)
        rows = rows[np.sort(first)]
    hashes = join_texts(frame["sha256"] for frame in images.iter_frames(["sha256"], rows))
    n_unhashed = pc.sum(pc.equal(hashes, "")).as_py() or 0
    n_distinct = pc.count_distinct(hashes).as_py() - bool(n_unhashed)
    return int(len(hashes) - n_unhashed - n_distinct)


def _count_holes(column: pd.Series[Any], rows: Rows) -> int:
    own = column.iloc[rows]
    return int((own.isna() | (own == "")).sum())


def _count_near(store: EmbeddingStore, rows: npt.NDArray[np.int64]) -> int | None:
    if DUPLICATES_MASK not in list_selections(store):
        return None
    mask = read_selection(store, DUPLICATES_MASK)
    return int((mask.judged[rows] & ~mask.kept[rows]).sum())


def _summarise(
    counts: ClassCounts,
) -> tuple[str, int, int, int, int, int, float, int, float, float]:
    n = counts.n_images
    return (
        counts.level,
        int(n.sum()),
        counts.n_missing,
        len(n),
        int((n == 1).sum()),
        int(n.min(initial=n.max(initial=0))),
        float(np.median(n)) if len(n) else math.nan,
        int(n.max(initial=0)),
        counts.imbalance,
        counts.n_effective,
    )


@dataclasses.dataclass(frozen=True, repr=False)
class StoreFacts(Record):
    """What a store holds.

    Parameters
    ----------
    facts : dict
        As :func:`describe_store` returns them.
    notes : tuple of Note
        What is to be said of it.
    """

    facts: dict[str, Any]
    notes: Notes = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as a JSON-ready mapping."""
        return dict(self.facts)


def describe_store(store: EmbeddingStore) -> dict[str, Any]:
    """Return the facts of a store as a JSON-ready mapping.

    Returns
    -------
    dict
        Encoder, dim, dtype, counts, what was removed and when, and shards that go once nobody
        reads them, where there are any, size in bytes, what was imported in part, what is kept
        beside the vectors, maps, labelled images and taxa per rank, free columns, those that were
        computed, added taxa, and of failures the number, that of each reason, the commonest first,
        and up to five examples, of different reasons where there are;
        ``not_measured``, where folders could not be looked into, which the size lacks.
    """
    manifest, labels = store.manifest, {}
    counts = store.images.count_labels(RANK_NAMES, store.rows)
    for rank, (n_rows, names) in counts.items():
        given = n_rows[names != ""]
        if given.any():
            labels[rank] = f"{(given > 0).sum()} in {given.sum()} images"
    n_bytes, unread = _measure(store.folder)
    return {
        "store": str(store.folder),
        "encoder": manifest.encoder.describe(),
        "dim": manifest.dim,
        "dtype": manifest.dtype,
        "images": len(store.rows),
        "retired_rows": len(manifest.retired),
        **_describe_removals(store),
        "shards": len(manifest.present_shards),
        "n_bytes": n_bytes,
        **({"imported": brought} if (brought := _describe_imports(store)) else {}),
        **({"kept": kept} if (kept := _describe_kept(store)) else {}),
        **({"maps": maps} if (maps := _describe_maps(store)) else {}),
        "labels": labels,
        **({"annotations": said} if (said := _describe_annotations(store)) else {}),
        "other_columns": store.given.free_columns,
        **({"computed_columns": computed} if (computed := _describe_computed(store)) else {}),
        "added_taxa": [taxon.name for taxon in read_added_taxa(store)],
        "failures": _describe_failures(store.list_failures()),
        **({"not_measured": unread} if unread else {}),
    }


def _describe_imports(store: EmbeddingStore) -> list[str]:
    return [one.describe() for one in read_imports(store.folder)]


def _describe_computed(store: EmbeddingStore) -> dict[str, str]:
    """Return of each column that is kept beside the image table of how many rows it says what."""
    found = {}
    for kind, name in list_columns(store.folder):
        if name in store.images.not_derived:
            found[name] = store.images.not_derived[name]
            continue
        values = read_column(store, name, kind).values[store.rows]
        given = values[values != ""]
        what = "places" if kind == ORDERS else f"{len(set(given.tolist())):,} clusters"
        found[name] = f"{what} of {len(given):,} images"
    return found


def _describe_annotations(store: EmbeddingStore) -> str:
    log = store.annotations
    if not log.annotations:
        return ""
    people = {one.by for one in log.standing}
    n_pictures = len({one.unit for one in log.standing})
    of = count(n_pictures, "image")
    said = f"{len(log.standing):,} of {of} by {count(len(people), 'person', 'people')}"
    taken = [one for one in log.annotations if not one.retracts and one.id in log.retracted]
    return said + (f"; {len(taken):,} taken back" if taken else "")


def _describe_kept(store: EmbeddingStore) -> dict[str, str]:
    """Return of each kind that is kept beside the vectors how much, and of how many rows."""
    cards, found = list_kept(store.folder), dict[str, str]()
    if not cards:
        return found
    contents = store.images.contents[store.rows]
    for card in cards:
        kept = store.open_kept(card.kind)
        if kept is not None:
            n_rows = int((kept.find(contents) >= 0).sum())
            found[card.kind] = (
                f"{n_rows:,} of {len(contents):,} images, {kept.n_bytes:,} bytes of {card.dtype}: "
                f"{card.description}"
            )
    return found


def _describe_maps(store: EmbeddingStore) -> dict[str, str]:
    """Return of each map how many images have a place on it."""
    found = {}
    for name in list_maps(store.folder):
        try:
            n_placed, n_fitted = count_places(store.folder, name)
        except StoreError as error:
            found[name] = f"cannot be read: {error}"
            continue
        found[name] = f"{n_placed:,} images, fitted to {n_fitted:,} of them"
    return found


def _describe_removals(store: EmbeddingStore) -> dict[str, Any]:
    """Return what was removed and is not compacted yet; nothing where nothing was."""
    facts: dict[str, Any] = {}
    manifest = store.manifest
    if manifest.removals:
        facts["removed_rows"] = len(manifest.removed)
        facts["removals"] = {str(one.number): one.time for one in manifest.removals}
    if outdated := list_outdated(store.folder, manifest):
        facts["outdated_shards"] = len(outdated)
    return facts


# Examples of what could not be read.
_SHOWN = 5


def _describe_failures(failures: Sequence[Failure]) -> dict[str, Any]:
    reasons = [name_reason(one.reason) for one in failures]
    counts = collections.Counter(reasons)
    # The first of each reason, then the second.
    n_before, order = collections.Counter[str](), list[tuple[int, int, int]]()
    for place, reason in enumerate(reasons):
        order.append((n_before[reason], -counts[reason], place))
        n_before[reason] += 1
    return {
        "images": len(failures),
        "reasons": dict(counts.most_common()),
        "examples": [failures[place]._asdict() for *_, place in sorted(order)[:_SHOWN]],
    }


def _measure(folder: Path) -> tuple[int, list[str]]:
    """Return the size of what lies below a folder, in bytes, and what could not be looked into."""
    n_bytes, errors = 0, list[OSError]()
    for parent, _, names in os.walk(folder, onerror=errors.append):
        for name in names:
            try:
                n_bytes += os.lstat(Path(parent, name)).st_size
            except FileNotFoundError:  # a writer's temporary file
                continue
            except OSError as error:
                errors.append(error)
    return n_bytes, [explain_unreadable(Path(one.filename), one) for one in errors]


def find_contradicting_copies(images: ImageTable, rows: Rows) -> list[tuple[int, int]]:
    """Find images of the same bytes whose labels cannot both be right.

    A picture may have several observations, and boxes that each have a label of their own: these
    do not contradict each other, nor a copy that agrees with one of them.

    Parameters
    ----------
    images : ImageTable
    rows : ndarray of int64, shape (n,)
        Those that are looked at.

    Returns
    -------
    list of (int, int)
        Rows of the first image of the bytes and of the one that contradicts it.
    """
    # Few tables have copies, and all their columns are much to read.
    hashes = images.column("sha256").iloc[rows].fillna("").astype(str)
    is_copy = (hashes != "").to_numpy() & hashes.duplicated(keep=False).to_numpy()
    if not is_copy.any():
        return []
    columns = images.columns
    if REGION in columns:
        regions = images.take(rows, [REGION])[REGION]
        is_copy &= np.array([not get_box(str(name)) for name in regions], dtype=bool)
    copied = np.asarray(rows)[is_copy]
    names = [name for name in (*RANKS, LABEL, CONTENT) if name in columns]
    copies = images.take(copied, ["root", "path", *names])
    said = copies[names].fillna("").to_dict("records")
    files = zip(copies["root"], copies["path"], strict=True)
    places = zip(copied.tolist(), hashes[is_copy], files, said, strict=True)
    # Of a file with several labels one that another file has too is enough.
    by_file: dict[str, dict[tuple[str, str], list[tuple[int, dict[Hashable, Any]]]]] = {}
    for row, digest, file, labels in places:
        by_file.setdefault(digest, {}).setdefault(file, []).append((row, labels))
    found = []
    for first, *others in map(list, (files.values() for files in by_file.values())):
        found += [
            (first[0][0], other[0][0])
            for other in others
            if all(_contradict(mine, known) for _, mine in other for _, known in first)
        ]
    return found


def _contradict(one: Mapping[Hashable, Any], other: Mapping[Hashable, Any]) -> bool:
    if any(one[name] and other.get(name) and one[name] != other[name] for name in one):
        return True
    empty = {Content.BLANK, Content.HUMAN, Content.VEHICLE}
    named = [[x[name] for name in x if name != CONTENT and x[name]] for x in (one, other)]
    is_empty = [x.get(CONTENT, "") in empty for x in (one, other)]
    return bool((is_empty[0] and named[1]) or (is_empty[1] and named[0]))


def describe_contradicting_copies(images: ImageTable, rows: Rows) -> Notes:
    """Say which images of the same bytes have labels that cannot both be right, and which."""
    found = find_contradicting_copies(images, rows)
    if not found:
        return ()
    shown = np.array(found[:_SHOWN_COPIES], dtype=np.int64)
    names = images.name_files(shown.ravel()).tolist()
    pairs = [f"{names[2 * n + 1]} = {names[2 * n]}" for n in range(len(shown))]
    more = ", …" if len(found) > _SHOWN_COPIES else ""
    text = (
        f"{len(found):,} images are copies of another with another label; look at them, one of the "
        f"two is wrong: {', '.join(pairs)}{more}"
    )
    return (Note(text, WARNING),)
