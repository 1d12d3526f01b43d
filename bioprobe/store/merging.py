"""The rows of several stores in one: shares of one run in the order of that run, others one by one.

Only current rows are taken. A picture that stands in several stores is taken once, with what all of
them say of it, and of the same bytes there is one vector. Shards are written one at a time; beside
it some 90 bytes a row are in memory, of its store, its place and what stands twice, and what was
read of the image tables.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MismatchError, MisuseError, StoreError
from bioprobe.images.image_table import COLUMNS, ImageTable, concatenate
from bioprobe.images.regions import REGION
from bioprobe.progress import Progress, Step
from bioprobe.result import Notes
from bioprobe.sources.listing import find_filled, join
from bioprobe.store.compaction import count_shard_rows, drop_unused
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.gone import PLACE
from bioprobe.store.manifest import Manifest
from bioprobe.store.said_twice import SaidTwice
from bioprobe.store.shard import check_vectors, map_vectors, write_shard
from bioprobe.store.share_card import ShareCard
from bioprobe.types import Rows

if TYPE_CHECKING:
    import pandas as pd

_CONTENT = ("sha256", REGION)


@dataclasses.dataclass(frozen=True, eq=False)
class MergedRows:
    """Which row of which store each row of the merged one is.

    Parameters
    ----------
    stores : tuple of EmbeddingStore
        In their order.
    of_store : ndarray of int32, shape (n_rows,)
        Place of the store.
    rows : ndarray of int64, shape (n_rows,)
        Row of it.
    vectors : ndarray of int64, shape (n_rows,)
        Merged row whose vector each has: that of the first of the same bytes.
    twice : tuple of (ndarray of int32, ndarray of int64, ndarray of int64), each shape (n_twice,)
        Rows left out, as an earlier store has the same picture: place of the store, row of it, and
        the merged row that stands for it.
    are_shares : bool
        Whether all stores are shares of a run.
    """

    stores: tuple[EmbeddingStore, ...]
    of_store: npt.NDArray[np.int32]
    rows: Rows
    vectors: Rows
    twice: tuple[npt.NDArray[np.int32], Rows, Rows]
    are_shares: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def find(self, place: int) -> tuple[Rows, Rows]:
        """Return the rows of the store at a place, and the merged row that each is."""
        mine = np.flatnonzero(self.of_store == place)
        of_store, rows, stand_in = self.twice
        also = of_store == place
        return (
            np.concatenate([self.rows[mine], rows[also]]),
            np.concatenate([mine, stand_in[also]]),
        )


def check_alike(stores: Sequence[EmbeddingStore]) -> None:
    """Refuse stores whose vectors cannot stand in one.

    Raises
    ------
    MismatchError
        If they are of other encoders, dims or dtypes.
    """
    first = stores[0].manifest
    for store in stores[1:]:
        if differences := first.encoder.find_differences(store.manifest.encoder):
            msg = (
                f"{stores[0].folder} holds vectors of {first.encoder.describe()}, {store.folder} "
                f"of {store.manifest.encoder.describe()}: they cannot be compared "
                f"({' and '.join(differences)} differ). Embed one of them again, with the --model "
                "of the other"
            )
            raise MismatchError(msg)
        pairs = (
            ("dim", first.dim, store.manifest.dim),
            ("dtype", first.dtype, store.manifest.dtype),
            ("logit scale", first.logit_scale, store.manifest.logit_scale),
        )
        for name, one, other in pairs:
            if one != other:
                msg = (
                    f"{stores[0].folder} has {name} {one}, {store.folder} {other}; one "
                    "store has one: embed one of them again as the other was"
                )
                raise MismatchError(msg)


def find_missing(stores: Sequence[EmbeddingStore]) -> list[str]:
    """Say what is missing of the shares that stores hold, each in words; nothing if all is there.

    Raises
    ------
    MisuseError
        If one share is given twice, or shares are of two runs.
    """
    cards = {store.folder: card for store in stores if (card := ShareCard.read(store.folder))}
    if not cards:
        return []
    counts = sorted({card.of for card in cards.values()})
    if len(counts) > 1:
        runs = " and of ".join(map(str, counts))
        msg = f"these are shares of {runs}, so of several runs; merge each run, then these stores"
        raise MisuseError(msg)
    by_number: dict[int, Path] = {}
    for folder, card in cards.items():
        if (known := by_number.setdefault(card.number, folder)) != folder:
            msg = f"{known} and {folder} are both the share {card.number}/{card.of}; name one"
            raise MisuseError(msg)
    (n_shares,) = counts
    said = [f"{n}/{n_shares} is missing" for n in range(1, n_shares + 1) if n not in by_number]
    in_order = sorted(cards.items(), key=lambda one: one[1].number)
    by_listing = collections.Counter(card.listing for _, card in in_order)
    usual = next(c for _, c in in_order if by_listing[c.listing] == max(by_listing.values()))
    by_options = collections.Counter(tuple(sorted(card.options.items())) for _, card in in_order)
    options = dict(by_options.most_common(1)[0][0])
    for folder, card in in_order:
        name = f"{card.number}/{card.of} ({folder})"
        unlike = [
            f"{option} {card.options.get(option) or 'not given'}, others {value or 'not given'}"
            for option, value in options.items()
            if card.options.get(option, "") != value
        ]
        if not card.is_finished:
            said.append(f"{name} is unfinished")
        elif card.listing != usual.listing:
            said.append(
                f"{name} saw other sources, or other labels, than most of them did "
                f"({card.n_files:,} pictures; they {usual.n_files:,})"
            )
        elif unlike:
            said.append(f"{name} was embedded with other options: {'; '.join(unlike)}")
    return said


def order_rows(stores: Sequence[EmbeddingStore]) -> MergedRows:
    """Find the order in which the rows of stores stand in one.

    Shares stand where the first of them is given, in the order in which their sources list the
    pictures; the rows of every other store as they stand there.

    Raises
    ------
    StoreError
        If two of them have different pictures under one name, or the order of a share is not
        known any more.
    """
    cards = [ShareCard.read(store.folder) for store in stores]
    first_share = next((at for at, card in enumerate(cards) if card), 0)
    parts = list[tuple[int, npt.NDArray[np.int64], int, Rows]]()
    for at, (store, card) in enumerate(zip(stores, cards, strict=True)):
        rows = store.rows
        places = np.zeros(len(rows), dtype=np.int64)
        if card is not None:
            places = _read_places(store, card)[rows]
        parts.append((at if card is None else first_share, places, at, rows))
    groups = np.concatenate([np.full(len(rows), group) for group, _, _, rows in parts])
    places = np.concatenate([one for _, one, _, _ in parts])
    of_store = np.concatenate([np.full(len(rows), at, np.int32) for _, _, at, rows in parts])
    rows = np.concatenate([rows for *_, rows in parts])
    numbers = np.array([0 if card is None else card.number for card in cards])
    order = np.lexsort((rows, numbers[of_store], places, groups))
    of_store, rows = of_store[order], rows[order]
    firsts = _find_firsts(stores, of_store, rows, PLACE)
    twice = np.flatnonzero(firsts != np.arange(len(rows)))
    _check_same_bytes(stores, of_store, rows, firsts, twice)
    merged_row = np.arange(len(rows)) - np.searchsorted(twice, np.arange(len(rows)))
    left_out = of_store[twice], rows[twice], merged_row[firsts[twice]]
    of_store, rows = np.delete(of_store, twice), np.delete(rows, twice)
    vectors = _find_firsts(stores, of_store, rows, _CONTENT)
    return MergedRows(tuple(stores), of_store, rows, vectors, left_out, all(cards))


def write_rows(merged: MergedRows, folder: Path, progress: Progress | None = None) -> Notes:
    """Write the shards and the manifest of a merged store.

    Returns
    -------
    tuple of Note
        What stores say otherwise of one picture.

    Raises
    ------
    StoreError
        If a shard is damaged, or the disk refuses.
    """
    first = merged.stores[0].manifest
    target = EmbeddingStore.create(
        folder, first.encoder, dim=first.dim, logit_scale=first.logit_scale,
        has_text_tower=first.has_text_tower, dtype=first.dtype,
    )  # fmt: skip
    sources = [_Vectors(store) for store in merged.stores]
    manifest, has_regions, twice = target.manifest, False, SaidTwice()
    at_once = count_shard_rows(manifest)
    for start in range(0, len(merged), at_once):
        chosen = np.arange(start, min(start + at_once, len(merged)))
        table = _take_table(merged, chosen, twice)
        vectors = _take_vectors(merged, sources, chosen, manifest)
        frame = table.frame if table.has_regions else table.frame.drop(columns=REGION)
        record = write_shard(folder / "shards", manifest.next_shard_name, vectors, frame)
        has_regions |= table.has_regions
        manifest = dataclasses.replace(
            manifest, shards=(*manifest.shards, record), has_regions=has_regions
        )
        if progress is not None:
            progress(Step(int(chosen[-1]) + 1, len(merged), "rows"))
    manifest.write(folder)
    return twice.notes


class _Vectors:
    """Vectors of a store, whose shards are compared with their checksums before they are read."""

    def __init__(self, store: EmbeddingStore) -> None:
        self._dir, self._dim = store.folder / "shards", store.manifest.dim
        self._records = store.manifest.present_shards
        self._starts = np.cumsum([0, *(one.n_images for one in self._records)])
        self._checked = set[int]()

    def read(self, rows: Rows, out: npt.NDArray[Any], places: Rows) -> None:
        """Copy the vectors of some rows into an array."""
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for shard in np.unique(shards).tolist():
            inside = shards == shard
            vectors = map_vectors(self._dir, self._records[shard], self._dim)
            if shard not in self._checked:
                remedy = f"bioprobe store verify --repair --store {self._dir.parent}"
                check_vectors(self._dir, self._records[shard], "merged", remedy)
                self._checked.add(shard)
            out[places[inside]] = vectors[rows[inside] - self._starts[shard]]


def _read_places(store: EmbeddingStore, card: ShareCard) -> npt.NDArray[np.int64]:
    if not card.is_finished:
        return np.full(len(store), card.n_files, dtype=np.int64)
    if card.generation != store.manifest.generation:
        msg = (
            f"{store.folder} was compacted since its share was finished, so that the order of its "
            f"rows is not known; run the embed command of {card.number}/{card.of} again"
        )
        raise StoreError(msg)
    return card.read_places(store.folder, len(store))


def _find_firsts(
    stores: Sequence[EmbeddingStore],
    of_store: npt.NDArray[np.int32],
    rows: Rows,
    names: Sequence[str],
) -> Rows:
    """Return for each merged row the first that is the same in some columns; nothing known, itself.

    Rows are told apart by 64-bit hashes; those that have one are then compared.
    """
    import pandas as pd

    hashes = np.zeros(len(rows), dtype=np.uint64)
    for at, store in enumerate(stores):
        mine = np.flatnonzero(of_store == at)
        if len(mine):
            frame = store.given.take(rows[mine], names).astype(str)
            hashes[mine] = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    firsts = np.arange(len(rows))
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    near = np.flatnonzero(counts[inverse] > 1)
    seen: dict[tuple[str, ...], int] = {}
    frame = _take(stores, of_store[near], rows[near], names)
    cells = zip(*(frame[name].astype(str).tolist() for name in names), strict=True)
    for row, key in zip(near.tolist(), cells, strict=True):
        if key[0] or "sha256" not in names:
            firsts[row] = seen.setdefault(key, row)
    return firsts


def _check_same_bytes(
    stores: Sequence[EmbeddingStore],
    of_store: npt.NDArray[np.int32],
    rows: Rows,
    firsts: Rows,
    twice: Rows,
) -> None:
    names = ("root", "path", "sha256")
    one = _take(stores, of_store[firsts[twice]], rows[firsts[twice]], names)
    other = _take(stores, of_store[twice], rows[twice], names)
    differs = np.flatnonzero(one["sha256"].to_numpy() != other["sha256"].to_numpy())
    if len(differs):
        at = int(differs[0])
        folders = (stores[of_store[row]].folder for row in (firsts[twice[at]], twice[at]))
        msg = (
            f"{len(differs):,} pictures are others in one store than in another under the same "
            f"name, such as {join(one['root'].iloc[at], one['path'].iloc[at])} in "
            f"{' and '.join(map(str, folders))}; embed the older one again, then merge"
        )
        raise StoreError(msg)


def _take(
    stores: Sequence[EmbeddingStore],
    of_store: npt.NDArray[np.int32],
    rows: Rows,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return rows of the image tables of stores, in their order."""
    import pandas as pd

    frames, places = list[pd.DataFrame](), list[Rows]()
    for at, store in enumerate(stores):
        mine = np.flatnonzero(of_store == at)
        if len(mine):
            frames.append(store.given.take(rows[mine], names))
            places.append(mine)
    if not frames:
        return pd.DataFrame({name: np.array([], dtype=object) for name in names or ()})
    order = np.argsort(np.concatenate(places), kind="stable")
    return concatenate(frames).iloc[order].reset_index(drop=True)


def _take_table(merged: MergedRows, chosen: Rows, twice: SaidTwice) -> ImageTable:
    frame = _take(merged.stores, merged.of_store[chosen], merged.rows[chosen])
    of_store, rows, stands_in = merged.twice
    also = np.flatnonzero((stands_in >= chosen[0]) & (stands_in <= chosen[-1]))
    if len(also):
        others = _take(merged.stores, of_store[also], rows[also])
        frame = twice.fill(frame, others, stands_in[also] - chosen[0])
    if merged.are_shares:
        frame = frame[_order_columns(merged, chosen, frame)]
    drop_unused(frame)
    return ImageTable.build(frame)


def _order_columns(merged: MergedRows, chosen: Rows, frame: pd.DataFrame) -> list[str]:
    """Return free columns in the order in which rows come to fill them, as in one run."""
    free = [name for name in frame.columns if name not in COLUMNS]
    own = [store.given.columns for store in merged.stores]
    places = dict[str, tuple[int, int]]()
    for name in free:
        filled = find_filled(frame[name])
        row = int(filled.argmax()) if filled.any() else len(frame) - 1
        of_store = own[merged.of_store[chosen[row]]]
        places[name] = (row, of_store.index(name) if name in of_store else len(of_store))
    return [name for name in frame.columns if name not in places] + sorted(
        free, key=lambda name: places[name]
    )


def _take_vectors(
    merged: MergedRows, sources: Sequence[_Vectors], chosen: Rows, manifest: Manifest
) -> npt.NDArray[Any]:
    out = np.empty((len(chosen), manifest.dim), dtype=manifest.dtype)
    wanted = merged.vectors[chosen]
    for at, source in enumerate(sources):
        places = np.flatnonzero(merged.of_store[wanted] == at)
        source.read(merged.rows[wanted[places]], out, places)
    return out
