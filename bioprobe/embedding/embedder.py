"""Embed what is new of a listing into a store."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe import remote
from bioprobe.cores import count_cores
from bioprobe.embedding.encoder_choice import OnDemandEncoder
from bioprobe.embedding.preparation import Listed, MemoryBudget, Prepared, prepare_on_demand
from bioprobe.embedding.shard_buffer import (
    Changes,
    EmbedSummary,
    Outcome,
    ShardBuffer,
    count_kept,
)
from bioprobe.encoders.encoder import Encoder
from bioprobe.encoders.keeping import KEPT_KINDS, need_keeping
from bioprobe.images.addresses import ARCHIVE_PREFIX, join_address
from bioprobe.images.archives import is_whole
from bioprobe.images.camera import CameraTally
from bioprobe.images.image_table import (
    DAMAGE_COLUMNS,
    FACT_COLUMNS,
    LOCATION_COLUMNS,
    ImageTable,
)
from bioprobe.images.location import DATASET_PREFIX, find_file, is_asked, read_name
from bioprobe.images.placeholders import find_placeholders
from bioprobe.images.reading import MAX_PIXELS_PX, allow_pixels, ignore_pillow_warnings
from bioprobe.images.regions import (
    BOX_COLUMNS,
    DETECTION_CATEGORY,
    DETECTION_CONFIDENCE,
    DETECTOR,
    REGION,
    get_box,
    name_content,
)
from bioprobe.sources.files import locate
from bioprobe.sources.listing import (
    Listing,
    Said,
    find_said,
    get_lineage,
    is_same,
    join,
    name_of_region,
)
from bioprobe.store import EmbeddingStore
from bioprobe.store.failures import Failure
from bioprobe.store.kept import list_kept
from bioprobe.taxonomy.columns import COMMON_NAME, LABEL_COLUMNS, LABELS_FROM

if TYPE_CHECKING:
    import pandas as pd


class Presence(enum.Enum):
    """What is known of a file."""

    PRESENT = enum.auto()
    GONE = enum.auto()
    OUT_OF_REACH = enum.auto()


@dataclasses.dataclass(frozen=True)
class Gone:
    """Rows whose file is not there.

    Parameters
    ----------
    rows : tuple of int
        Rows whose file is gone from a folder that is there.
    out_of_reach : tuple of Path
        Files of rows whose folder is missing, empty or forbidden, as when a disk is not mounted.
    """

    rows: tuple[int, ...] = ()
    out_of_reach: tuple[Path, ...] = ()


def find_gone(rows: Iterable[tuple[int, Path, Path]], below: Collection[Path]) -> Gone:
    """Look for the files of rows below some folders.

    Parameters
    ----------
    rows : iterable of (int, Path, Path)
        Row, the folder it was listed from, and its file.
    below : collection of Path
        Folders; rows of files elsewhere are not looked at, nor are folders that are relative.
    """
    folders = {folder for folder in below if folder.is_absolute()}
    gone: list[int] = []
    out_of_reach: list[Path] = []
    for row, root, file in rows:
        listed = next((parent for parent in file.parents if parent in folders), None)
        if listed is None:
            continue
        presence = look_for(file, root=root, listed=listed)
        if presence is Presence.GONE:
            gone.append(row)
        elif presence is Presence.OUT_OF_REACH:
            out_of_reach.append(file)
    return Gone(tuple(gone), tuple(out_of_reach))


def look_for(file: Path, *, root: Path, listed: Path) -> Presence:
    """Tell whether a file is there, was removed, or cannot be told.

    A file is gone where the folder it was listed from is still there, and the nearest folder
    above it holds something: the place where a disk is mounted is empty while the disk is away.
    """
    try:
        if _is_there(file):
            return Presence.PRESENT
        folder = next(parent for parent in file.parents if _is_there(parent))
        is_inside = folder.is_relative_to(listed) and root.is_absolute() and root.is_dir()
        holds_some = any(not entry.name.startswith(".") for entry in folder.iterdir())
    except OSError:
        return Presence.OUT_OF_REACH
    return Presence.GONE if is_inside and holds_some else Presence.OUT_OF_REACH


def _is_there(path: Path) -> bool:
    # A link whose target is away is there. An error other than these two tells nothing.
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _find_gone_objects(rows: Iterable[tuple[int, str, str]]) -> tuple[list[int], list[Path]]:
    """Return the rows of addresses at which nothing is any more, and what cannot be told."""
    gone, unknown = list[int](), list[Path]()
    for row, root, path in rows:
        if not is_asked(root):
            continue
        try:
            if remote.look_again(join_address(root, read_name(path))) is None:
                gone.append(row)
        except OSError:
            unknown.append(find_file(root, path))
    return gone, unknown


# Columns that no source says, and those that count as one label.
_GIVEN = {*LOCATION_COLUMNS, *FACT_COLUMNS, REGION}
_LABELS = {*LABEL_COLUMNS, LABELS_FROM}
# What is said of one box, and goes to no other.
_OF_BOX = {*BOX_COLUMNS, DETECTION_CATEGORY, DETECTION_CONFIDENCE, DETECTOR}
_NO_DIRECTION = "the encoder gave a vector of zeros, or of numbers that are not finite"


def embed_images(
    table: ImageTable,
    encoder: Encoder | OnDemandEncoder,
    store: EmbeddingStore,
    *,
    n_threads: int | None = None,
    max_pixels_px: int = MAX_PIXELS_PX,
    memory_bytes: int | None = None,
    advance: Callable[[Outcome], None] | None = None,
    prune: bool = False,
    no_label: Collection[str] = (),
    damaged: str = "mark",
    reads_camera: bool = False,
    alongside: bool = False,
    keep: Sequence[str] | None = None,
    only_named: bool = False,
) -> EmbedSummary:
    """Embed the images of a listing that a store does not have.

    An image is known by the SHA-256 of its file: what is in the store unchanged is not decoded,
    the same bytes under another name take the vector they have, and a file whose content changed
    is embedded and its old row retired. A known image of which the sources now say something else
    gets a new row with that, by the rule of :mod:`bioprobe.sources.listing`. What cannot be read
    is listed in the store's failures, and the run goes on. An interrupted run keeps every shard
    that was closed, and on Ctrl-C also what was read.

    Of a picture of which regions are listed, all other rows of the store are retired, the whole
    picture too: what all of these say goes to the regions. What is listed of a whole picture is
    said of each of its regions in the store. Boxes of one picture are cut out of one decoding.

    Parameters
    ----------
    table : ImageTable
        Listing; its facts are not used. Of one that no source listed, what is filled is said.
    encoder : Encoder or OnDemandEncoder
        Encoder of the store; one on demand is loaded only when an image is new.
    store : EmbeddingStore
        Store to append to; open it again to see the result.
    n_threads : int or None
        Threads that read and decode, ≥ 1; None is one a core, for pictures at addresses at least
        16.
    max_pixels_px : int
        Images of more pixels fail before they are decoded.
    memory_bytes : int or None
        Memory for what the threads decode at one time; a larger image is decoded alone. None is
        half of this machine's.
    advance : callable, optional
        Told the outcome of each image, for a progress bar.
    prune : bool
        Whether rows are retired whose file is gone from the folders that the listing starts
        from, or whose row is gone from a data set that is listed. Where such a folder is missing
        or empty, as when a disk is not mounted, they stay.
    no_label : collection of str
        Labels that are none: where a listed image has one in the store, it is emptied.
    damaged : {"mark", "keep", "refuse"}
        What becomes of new pictures that are not whole: of those that are taken the columns
        ``share_present`` and ``damage`` say what is there and what is wrong.
    reads_camera : bool
        Whether the columns of :data:`bioprobe.images.camera.CAMERA_COLUMNS` are filled from EXIF
        where neither the sources nor the store say them.
    alongside : bool
        Whether the rows of a picture that are not listed stay, whole and regions beside each other,
        as in a cache.
    keep : sequence of str, optional
        What is kept beside the vectors, of :data:`bioprobe.encoders.keeping.KEPT_KINDS`; by default
        what the store keeps already. Known images of which it is not kept are read again, and their
        rows stay as they are.
    only_named : bool
        Whether nothing else is kept, whatever the store keeps already, as in a cache.

    Raises
    ------
    MismatchError
        If the encoder is not that of the store.
    ModelUnavailableError
        If the encoder does not give what is to be kept.
    StoreLockedError
        If another process is writing to the store.
    StoreError
        If the disk refuses; every shard that was closed before is kept.
    """
    source = _bind(encoder, store)
    start_s = time.monotonic()
    computed = collections.Counter(source.count_rows())
    with store.lock(), ignore_pillow_warnings(), allow_pixels(max_pixels_px):
        known = [card.kind for card in list_kept(store.folder)]
        wanted = {*(() if only_named else known), *(keep or ())}
        kinds = [kind for kind in KEPT_KINDS if kind in wanted]
        if not set(kinds) <= set(known):
            # What cannot be kept is said before anything is read.
            need_keeping(source.get(), kinds)
        buffer = ShardBuffer(EmbeddingStore.open(store.folder, after=store), source, kinds)
        listing = table if isinstance(table, Listing) else Listing(table.frame)
        run = _Run(buffer, listing, no_label, alongside=alongside)
        prepared = prepare_on_demand(
            run.list_rows(reads_camera=reads_camera),
            run.buffer,
            source,
            n_threads=n_threads or _count_threads(table.frame),
            max_pixels_px=max_pixels_px,
            memory=MemoryBudget(memory_bytes),
            damaged=damaged,
        )
        with _closing(run):
            for image in prepared:
                outcome = run.take(image)
                if advance is not None:
                    advance(outcome)
        gone = run.prune(set(table.frame["root"])) if prune else Gone()
    counts = run.counts
    return EmbedSummary(
        n_embedded=counts[Outcome.EMBEDDED],
        n_reused=counts[Outcome.REUSED],
        n_kept=counts[Outcome.KEPT],
        n_failed=counts[Outcome.FAILED],
        seconds_s=time.monotonic() - start_s,
        n_pruned=len(gone.rows),
        n_out_of_reach=len(gone.out_of_reach),
        n_damaged=run.n_damaged,
        n_regions=run.n_regions,
        n_pictures=run.n_pictures,
        n_given_way=run.n_given_way,
        n_regions_retired=run.n_regions_retired,
        n_unassigned=run.n_unassigned,
        labels=run.labels,
        values=run.values,
        reasons=tuple((join(one.root, one.path), one.reason) for one in run.failures),
        camera=run.camera.count() if reads_camera else None,
        n_filled=run.buffer.n_filled,
        kept=count_kept(run.buffer.store) if kinds else (),
        computed_by=collections.Counter(source.count_rows()) - computed,
    )


def _bind(encoder: Encoder | OnDemandEncoder, store: EmbeddingStore) -> OnDemandEncoder:
    """Return the encoder as one on demand, one that is there already checked."""
    if isinstance(encoder, OnDemandEncoder):
        return encoder
    bound = OnDemandEncoder(store, lambda: encoder)
    bound.get()
    return bound


@contextlib.contextmanager
def _closing(run: _Run) -> Iterator[None]:
    """Keep what was read also when a run ends early; what ended it is then what is told."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            run.close(is_whole=False)
        raise
    run.close(is_whole=True)


class _Run:
    """Decide for each prepared image what the store needs of it."""

    def __init__(
        self,
        buffer: ShardBuffer,
        listing: Listing,
        no_label: Collection[str],
        *,
        alongside: bool = False,
    ) -> None:
        self.buffer = buffer
        self.counts: collections.Counter[Outcome] = collections.Counter()
        self._current = buffer.store.rows.tolist()
        self.labels, self.values = Changes(), Changes()
        self.n_damaged = 0
        self.camera = CameraTally()
        self.n_given_way = self.n_regions_retired = 0
        self._alongside = alongside
        stored = find_placeholders(buffer.store.given.frame, no_label)
        self._stored, self._is_emptied = stored.frame, stored.rows
        # A row of a frame takes many times as long as one cell of each column.
        self._columns = {str(name): values.array for name, values in self._stored.items()}
        # What was found when the same bytes were decoded.
        self._damage = _read_damage(self._stored)
        # By the whole path: a listing may start from another root than the store did.
        files = set(map(join, listing.frame["root"], listing.frame["path"]))
        rows = buffer.store.find_rows(files)
        names = ("root", "path", REGION)
        frame = self._stored[list(names)].iloc[rows]
        self._rows_of_file: dict[str, dict[str, int]] = {}
        for row, root, path, region in zip(
            rows.tolist(), *(frame[name].tolist() for name in names), strict=True
        ):
            self._rows_of_file.setdefault(join(root, path), {})[region] = row
        spread = listing.spread({} if alongside else self._find_several())
        self._listing, self._only_of = spread.listing, spread.only_of
        self._unassigned = spread.n_unassigned
        self._left = set[str]()
        unread = [(join(root, path), root, why) for root, path, why in listing.unread]
        self._failures: dict[str, Failure] = {}
        for file, root, why in unread:
            self._fail(file, Failure(*locate(file, root), why, listing.listed_by.get(file, root)))
        self.counts[Outcome.FAILED] = len(unread)
        #: Of each file that could be read the regions that were taken.
        self._read: dict[str, set[str]] = {}

    @property
    def n_regions(self) -> int:
        """Number of boxes that were taken."""
        return sum(sum(map(bool, map(get_box, regions))) for regions in self._read.values())

    @property
    def n_pictures(self) -> int:
        """Number of pictures that boxes were taken of."""
        return sum(any(map(get_box, regions)) for regions in self._read.values())

    @property
    def n_unassigned(self) -> int:
        """Number of pictures with several labels that could not be said of regions."""
        return self._unassigned + len(self._left)

    def list_rows(self, *, reads_camera: bool = False) -> Iterator[Listed]:
        """List what is to be prepared, the rows of one file together."""
        rows = _iter_listing(self._listing.frame, self._only_of)
        if not reads_camera:
            return rows
        return (dataclasses.replace(one, reads_camera=True) for one in rows)

    def take(self, image: Prepared) -> Outcome:
        """Add one prepared image to the store, or to the failures, or leave it as it is."""
        listed = image.listed
        file = join(listed.root, listed.path)
        if image.reason:
            reason = self._listing.reasons.get(file, image.reason)
            source = self._listing.listed_by.get(file, "")
            self._fail(file, Failure(listed.root, listed.path, reason, source))
            outcome = Outcome.FAILED
        else:
            self._read.setdefault(file, set()).add(listed.region)
            outcome = self._take_readable(image, self._rows_of_file.get(file, {}))
        self.counts[outcome] += 1
        return outcome

    def close(self, *, is_whole: bool) -> None:
        """Append what waits, and bring the list of failures up to date."""
        self.buffer.close_shard()
        for rejected in self.buffer.rejected:
            root, path = rejected.row["root"], rejected.row["path"]
            reason = name_of_region(rejected.row[REGION], _NO_DIRECTION)
            source = self._listing.listed_by.get(join(root, path), "")
            self._fail(join(root, path), Failure(root, path, reason, source))
            self.counts[rejected.outcome] -= 1
            self.counts[Outcome.FAILED] += 1
        listed = self._listing.sources if is_whole else ()
        self.buffer.store.renew_failures(self.failures, read=self._read, listed=listed)
        if is_whole and not self._alongside:
            self._retire_others()

    def _retire_others(self) -> None:
        """Retire the rows of pictures that are listed otherwise now."""
        rows: list[int] = []
        for file, regions in self._read.items():
            others = {n: r for n, r in self._rows_of_file.get(file, {}).items() if n not in regions}
            rows += others.values()
            self.n_given_way += "" in others and any(map(get_box, regions))
            self.n_regions_retired += sum(map(bool, map(get_box, others)))
        self.buffer.store = self.buffer.store.retire(rows)

    def _find_several(self) -> dict[str, tuple[str, list[str]]]:
        """Return the rows of the files of which the store has a box, or more than one row."""
        hashes = self._columns["sha256"]
        return {
            file: (str(hashes[next(iter(rows.values()))]), list(rows))
            for file, rows in self._rows_of_file.items()
            if any(rows)
        }

    def prune(self, roots: Collection[str]) -> Gone:
        """Retire the rows whose file, or row of a data set, is gone; call it after closing."""
        stored_roots, paths = self._stored["root"].tolist(), self._stored["path"].tolist()
        stored = [(join(stored_roots[row], paths[row]), row) for row in self._current]
        unread = [
            (row, find_file(stored_roots[row], ""), find_file(stored_roots[row], paths[row]))
            for file, row in stored
            if file not in self._read
        ]
        gone = find_gone(unread, below={find_file(root, "") for root in roots})
        # A data set is always listed whole, and so is an archive unless it was cut off.
        data_sets = {
            root
            for root in roots
            if root.startswith(DATASET_PREFIX)
            or (root.startswith(ARCHIVE_PREFIX) and is_whole(read_name(root)))
        }
        listed = self._read.keys() | self._failures.keys()
        rows = [
            row for file, row in stored if stored_roots[row] in data_sets and file not in listed
        ]
        away, unknown = _find_gone_objects(
            (row, stored_roots[row], paths[row])
            for file, row in stored
            if stored_roots[row] in roots and file not in self._read
        )
        gone = Gone((*gone.rows, *rows, *away), (*gone.out_of_reach, *unknown))
        self.buffer.store = self.buffer.store.retire(gone.rows)
        return gone

    @property
    def failures(self) -> list[Failure]:
        """What could not be read."""
        return list(self._failures.values())

    def _fail(self, file: str, failure: Failure) -> None:
        # Of one picture several boxes may be wrong.
        before = self._failures.get(file)
        if before is not None and failure.reason not in before.reason:
            failure = failure._replace(reason=f"{before.reason}; {failure.reason}")
        self._failures[file] = failure

    def _take_readable(self, image: Prepared, others: Mapping[str, int]) -> Outcome:
        listed = image.listed
        root, path = listed.root, listed.path
        said = self._listing.says.get(join(root, path)) or Said.infer(listed.labels)
        old_row = others.get(listed.region)
        stored = {} if old_row is None else self._get_row(old_row)
        is_same_file = stored.get("sha256") == image.facts["sha256"]
        before = find_said({name: stored[name] for name in stored if name not in _GIVEN})
        if old_row is None and not self._alongside:
            # What was said of the picture is said of its regions.
            known = said.replace(self._find_said(image, others), listed.labels)
        else:
            # What was said of a file is not said of another that has its name.
            known = said.replace(before if is_same_file else {}, listed.labels)
        sha256 = image.facts["sha256"]
        if image.damage is not None:
            self.n_damaged += 1
            found = image.damage.share_present, str(image.damage)
            self._damage[sha256] = dict(zip(DAMAGE_COLUMNS, found, strict=True))
        known |= self._damage.get(sha256, {})
        if listed.reads_camera:
            filled = self.camera.fill(known, image.camera)
            said |= Said(columns=frozenset(filled))
            known |= filled
        if old_row is not None:
            self._count_changes(before, known, said)
            is_known = _are_same(known, before) and not self._is_emptied[old_row]
            if is_same_file and is_known:
                self.buffer.fill(name_content(sha256, listed.region), image.pixels)
                return Outcome.KEPT
        stored_root = next((str(self._columns["root"][row]) for row in others.values()), root)
        if root != stored_root and root.startswith(stored_root.rstrip(os.sep) + os.sep):
            # The outermost of the folders that it was listed from, in whatever order.
            root, path = locate(join(root, path), stored_root)
        row = {"root": root, "path": path, REGION: listed.region, **image.facts, **known}
        return self.buffer.add(
            row, image.pixels, look=image.look, measured=image.measured, replaces=old_row
        )

    def _get_row(self, row: int) -> dict[str, Any]:
        return {name: column[row] for name, column in self._columns.items()}

    def _find_said(self, image: Prepared, others: Mapping[str, int]) -> dict[str, Any]:
        """Return what the store's rows of a picture say of a region that is new to it.

        The whole picture says it, or the same box cut out in another way; of other boxes what all
        of them say in free columns. Several labels of a picture go to no region.
        """
        rows = {
            name: self._get_row(row)
            for name, row in others.items()
            if self._columns["sha256"][row] == image.facts["sha256"]
        }
        of_box = _strip(image.listed.region)
        whole = [row for name, row in rows.items() if not get_box(name)]
        same = [row for name, row in rows.items() if get_box(name) and _strip(name) == of_box]
        chosen = same or whole or list(rows.values())
        said = [
            find_said({n: row[n] for n in row if n not in _GIVEN and n not in _OF_BOX})
            for row in chosen
        ]
        if not said:
            return {}
        alike = {
            name: value
            for name, value in said[0].items()
            if all(name in one and is_same(one[name], value) for one in said[1:])
        }
        lineages = {get_lineage(one) for one in said}
        if len(lineages) > 1 or not (same or whole):
            if whole and not same:
                self._left.add(join(image.listed.root, image.listed.path))
            alike = {name: value for name, value in alike.items() if name not in _LABELS}
        return alike

    def _count_changes(
        self, before: Mapping[str, Any], after: Mapping[str, Any], said: Said
    ) -> None:
        old, new = get_lineage(before), get_lineage(after)
        if said.lineage or said.derives or COMMON_NAME in said.columns or old != new:
            self.labels.count(old if any(old) else None, new if any(new) else None)
        for name in (said.columns | before.keys()) - _LABELS:
            if name in said.columns or name not in after:
                self.values.count(before.get(name), after.get(name))


def _read_damage(stored: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return what is known to be damaged, by the SHA-256 of the file."""
    if not set(DAMAGE_COLUMNS) <= set(stored.columns):
        return {}
    marked = stored[stored[DAMAGE_COLUMNS[1]].notna() & (stored[DAMAGE_COLUMNS[1]] != "")]
    found = marked[list(DAMAGE_COLUMNS)].to_dict("records")
    return {
        str(sha256): {str(name): value for name, value in one.items()}
        for sha256, one in zip(marked["sha256"], found, strict=True)
        if sha256
    }


def _are_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)


# Of pictures at addresses: each is waited for, which takes no core.
_REMOTE_THREADS = 16


def _count_threads(frame: pd.DataFrame) -> int:
    """Return how many threads read and decode the pictures of a listing."""
    n_cores = count_cores()
    is_remote = any(map(is_asked, frame["root"].unique()))
    return max(n_cores, _REMOTE_THREADS) if is_remote else n_cores


def _strip(region: str) -> str:
    """Return the box of a region's name, however it is cut out."""
    return get_box(region).partition("+")[0].rstrip("s")


def _iter_listing(frame: pd.DataFrame, only_of: Sequence[str]) -> Iterator[Listed]:
    """List the rows of a listing, those of one file together."""
    labels = [c for c in frame.columns if c not in _GIVEN]
    places = [
        (str(root), str(path)) for root, path in zip(frame["root"], frame["path"], strict=True)
    ]
    n_more = [0] * len(places)
    if frame[REGION].any():
        # The file that is named first comes first, and its rows in their order.
        first: dict[tuple[str, str], int] = {}
        numbers = [first.setdefault(place, len(first)) for place in places]
        order = np.argsort(numbers, kind="stable")
        frame = frame.take(order)
        places = [places[row] for row in order]
        only_of = [only_of[row] for row in order]
        for at in range(len(places) - 2, -1, -1):
            n_more[at] = n_more[at + 1] + 1 if places[at] == places[at + 1] else 0
    values = frame[labels].itertuples(index=False, name=None)
    rows = zip(places, frame[REGION], only_of, n_more, values, strict=True)
    for (root, path), region, sha256, n_after, row in rows:
        by_name: Mapping[str, Any] = dict(zip(labels, row, strict=True))
        yield Listed(root, path, by_name, str(region), sha256, n_after)
