"""The store: row *i* of the vectors is row *i* of the image table."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file, list_names
from bioprobe.encoders.encoder import Encoder, Fingerprint, normalise_rows
from bioprobe.encoders.taught import Training, read_training, read_training_of
from bioprobe.errors import BioprobeError, MismatchError, StoreError
from bioprobe.files import explaining_refusal
from bioprobe.images.image_table import ImageTable
from bioprobe.images.regions import REGION
from bioprobe.options import BOTH, GIVEN
from bioprobe.provenance import write_now
from bioprobe.remote import find_address
from bioprobe.result import Note
from bioprobe.store.added_taxa import find_added_taxa
from bioprobe.store.annotations import Log, find_log, read_log
from bioprobe.store.beginning import Before
from bioprobe.store.columns import FOLDERS, read_columns
from bioprobe.store.failures import (
    Failure,
    list_failures,
    read_failures,
    renew_failures,
    write_failures,
)
from bioprobe.store.gone import PLACE, list_places
from bioprobe.store.labels import Labels, Lineages, describe_labels
from bioprobe.store.lease import Lease, take_lease
from bioprobe.store.manifest import MANIFEST_NAME, Manifest, Removal
from bioprobe.store.shard import DTYPES, VECTORS_NAME, map_vectors, widen, write_shard
from bioprobe.store.stored_table import Columns, StoredTable
from bioprobe.store.writing import check_present, holding
from bioprobe.taxonomy import RANKS, Taxonomy
from bioprobe.taxonomy.columns import LABEL_COLUMNS, to_taxonomy
from bioprobe.taxonomy.contradictions import Contradiction, find_contradictions

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.store.kept import Kept
    from bioprobe.types import Names, Rows

# Rows of a shard whose labels are corrected.
_RELABELLED_ROWS = 4096


# Inode, time in nanoseconds and size of each file or folder that says what a store is now.
Stamp = tuple[tuple[int, int, int], ...]


class EmbeddingStore:
    """Vectors of one encoder with their image table, in append-only shards.

    Open one with :meth:`open`, make one with :meth:`create`. A store that was opened does not
    change while it is read: what a writer appends is seen by the next :meth:`open`.

    Parameters
    ----------
    folder : Path
        Folder of the store.
    manifest : Manifest
        What it holds.
    lease : Lease, optional
        Keeps its shards where they are while somebody has this object, or its image table; of one
        that was opened it does, whatever is compacted meanwhile.
    """

    def __init__(self, folder: Path, manifest: Manifest, lease: Lease | None = None) -> None:
        self.folder = folder
        self.manifest = manifest
        self.lease = lease or Lease()
        # What is known of the first of its shards already.
        self._known: StoredTable | None = None
        self._counts = GIVEN
        self._lineages: Lineages | None = None
        self._stamp: Stamp | None = None
        # Of one that this object made, what was there before, and the manifest that it wrote.
        self._made: tuple[Before, Stamp | None] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what opens the same state of it elsewhere, while this one keeps its shards."""
        return _reopen, (self.folder.absolute(), self.manifest, self._counts)

    def __len__(self) -> int:
        return self.manifest.n_images

    @classmethod
    def exists(cls, folder: str | Path) -> bool:
        """Tell whether a folder holds a store.

        Raises
        ------
        StoreError
            If no store can be there, as its name is not UTF-8.
        UnreadableError
            If that cannot be told, as of a folder that may not be entered.
        """
        _check_name(folder)
        if address := find_address(folder):
            from bioprobe.store.remote import holds_store

            return holds_store(address)
        return is_file(Path(folder) / MANIFEST_NAME)

    @classmethod
    def open(cls, folder: str | Path, *, after: EmbeddingStore | None = None) -> EmbeddingStore:
        """Open the store in a folder, or the copy of the one at an address.

        Parameters
        ----------
        folder : str or Path
        after : EmbeddingStore, optional
            The same store as it was opened before: of its shards nothing is read again.

        Raises
        ------
        StoreError
            If there is none or its manifest is damaged.
        UnreadableError
            If it is there and cannot be read just now.
        """
        _check_name(folder)
        place = Path(folder)
        if address := find_address(folder):
            from bioprobe.store.remote import open_copy

            place = open_copy(address)
        # What is written after it was looked is a change since.
        stamp, manifest = _look(place), Manifest.read(place)
        while True:
            try:
                opened = cls(place, manifest, take_lease(place, manifest))._know(after)
            except FileNotFoundError:
                stamp, again = _look(place), Manifest.read(place)
                if again != manifest:
                    manifest = again
                    continue
                # The shard is missing, which whoever reads it is told.
                opened = cls(place, manifest)._know(after)
            opened._stamp = stamp
            return opened

    def is_changed(self) -> bool:
        """Tell, by one look at the disk, whether the store may have changed since it was opened."""
        now = _look(self.folder)
        return now is None or now != self._stamp

    @classmethod
    def create(
        cls,
        folder: str | Path,
        encoder: Fingerprint,
        *,
        dim: int,
        logit_scale: float = 1.0,
        has_text_tower: bool = False,
        dtype: str = "float32",
    ) -> EmbeddingStore:
        """Make an empty store.

        Parameters
        ----------
        folder : str or Path
            New or empty folder.
        encoder : Fingerprint
            Encoder that every vector will come from.
        dim : int
            Length of a vector, ≥ 1.
        logit_scale : float
            The encoder's factor from cosine similarity to logits.
        has_text_tower : bool
            Whether the encoder can embed text.
        dtype : str
            ``float32``, or ``float16`` for half the space (worst cosine error 7e-5).

        Raises
        ------
        StoreError
            If the folder holds a store, or the shards of one, or cannot be written, or the dtype
            is another.
        """
        if address := find_address(folder):
            from bioprobe.store.remote import refuse_writing

            refuse_writing(address)
        path = Path(folder)
        if cls.exists(path):
            msg = f"{path} already holds a store; open it, or choose another folder"
            raise StoreError(msg)
        shards_dir = path / "shards"
        if any(is_file(shards_dir / name / VECTORS_NAME) for name in list_names(shards_dir)):
            msg = (
                f"{path} holds shards without the {MANIFEST_NAME} that names them; restore it from "
                "a copy, or choose another --store"
            )
            raise StoreError(msg)
        if dtype not in DTYPES:
            msg = f"vectors are stored as {' or '.join(DTYPES)}, got {dtype!r}"
            raise StoreError(msg)
        with explaining_refusal(path):
            before = Before.look(path)
            path.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(
            encoder=encoder,
            dim=dim,
            dtype=dtype,
            logit_scale=logit_scale,
            has_text_tower=has_text_tower,
        )
        if training := read_training_of(encoder.model):
            # Kept here too: the model's folder may be elsewhere when the store is asked.
            training.write(path)
        manifest.write(path)
        made = cls(path, manifest)
        made._made = before, _look(path)
        return made

    @property
    def is_new(self) -> bool:
        """Whether this object made the store, and did not open it."""
        return self._made is not None

    @cached_property
    def training(self) -> Training | None:
        """How its encoder was trained here, and from which pictures; None where nothing says so."""
        return read_training(self.folder) or read_training_of(self.manifest.encoder.model)

    @classmethod
    def open_for(
        cls, folder: str | Path, encoder: Encoder, *, dtype: str | None = None
    ) -> EmbeddingStore:
        """Open the store of an encoder, or make it if there is none.

        Raises
        ------
        MismatchError
            If the store is bound to another encoder or, where ``dtype`` is given, to another
            dtype.
        """
        if not cls.exists(folder):
            return cls.create(
                folder,
                encoder.fingerprint,
                dim=encoder.dim,
                logit_scale=encoder.logit_scale,
                has_text_tower=encoder.has_text_tower,
                dtype=dtype or "float32",
            )
        store = cls.open(folder)
        store.check_encoder(encoder.fingerprint)
        store.check_dtype(dtype)
        return store

    def check_dtype(self, dtype: str | None) -> None:
        """Refuse a dtype that is not the one in which the store keeps vectors; None is any.

        Raises
        ------
        MismatchError
            If it is another.
        """
        if dtype is not None and dtype != self.manifest.dtype:
            msg = (
                f"{self.folder} holds {self.manifest.dtype} vectors, got --dtype {dtype}; leave "
                "the option out, or choose another --store"
            )
            raise MismatchError(msg)

    def check_encoder(self, encoder: Fingerprint) -> None:
        """Refuse an encoder whose vectors may not be compared with those of the store.

        Raises
        ------
        MismatchError
            If weights, preprocessing or anything else that decides a vector differs.
        """
        stored = self.manifest.encoder
        if differences := stored.find_differences(encoder):
            remedy = f"Use --model {stored.model}, or another --store"
            if stored.backend == "imported":
                remedy = (
                    "Nobody here saw how imported vectors were made: ask them by text with "
                    f"--model {stored.model}, by a text head (bioprobe store import HEAD.npy), or "
                    "by images in the store; embed new images into another --store"
                )
            msg = (
                f"{self.folder} holds vectors of {stored.describe()}, got {encoder.describe()}: "
                f"they cannot be compared ({' and '.join(differences)} differ). {remedy}"
            )
            raise MismatchError(msg)

    def counting(self, labels: str) -> EmbeddingStore:
        """Return the same store as it is now, in whose image table other labels count.

        Parameters
        ----------
        labels : {"both", "given", "confirmed"}
            Those that came with the pictures, those that people gave, or these before those. What
            people said until now counts, and no more.
        """
        store = EmbeddingStore(self.folder, self.manifest, self.lease)
        store._counts = labels
        store._known = self._known
        store._stamp = self._stamp
        for name in ("given", "rows"):
            if name in self.__dict__:
                store.__dict__[name] = self.__dict__[name]
        store._lineages = self._lineages
        return store

    @property
    def counts(self) -> str:
        """Which labels count: ``both``, ``given`` or ``confirmed``."""
        return self._counts

    @cached_property
    def labels(self) -> Labels:
        """What people said of the rows, and the image table that comes of it."""
        if self._lineages is None:
            self._lineages = Lineages(self.given, find_added_taxa(self))
        return Labels(self.given, self.rows, self.annotations, self._counts, self._lineages)

    @cached_property
    def annotations(self) -> Log:
        """What people said, as it was when this was first asked for."""
        return read_log(self.folder)

    def tell_labels(self) -> list[Note]:
        """Say which labels count where people gave any, and what of these cannot be read."""
        return describe_labels(self.annotations, self._counts)

    @property
    def counts_given(self) -> bool:
        """Whether the labels that count are those that came with the pictures, and no others."""
        return self._counts == GIVEN or (self._counts == BOTH and not self.annotations.standing)

    @cached_property
    def images(self) -> ImageTable:
        """The image table of every row, retired ones too: labels that count, and columns."""
        table = self.given if self.counts_given else self.labels.images
        return table.with_derived(*read_columns(self.folder, self.manifest, self.given))

    def forget_columns(self) -> None:
        """See the columns that are kept beside the image table as they are now."""
        self.__dict__.pop("images", None)

    @cached_property
    def labelled(self) -> dict[str, Names]:
        """Distinct labels of the current rows by column, common names too, in their order."""
        # Labels of retired rows are those that somebody corrected.
        _, firsts = self.images.number_lineages(LABEL_COLUMNS, self.rows)
        return self.images.read_texts(self.rows[firsts], LABEL_COLUMNS)

    @cached_property
    def labelled_taxa(self) -> Taxonomy:
        """Taxa of the labels of the current rows, at all ranks."""
        return to_taxonomy(self.labelled)

    @cached_property
    def label_contradictions(self) -> list[Contradiction]:
        """Names that labels of the current rows place differently; they do not stop a question."""
        lineages = zip(*(self.labelled[rank.value] for rank in RANKS), strict=True)
        return find_contradictions(list(dict.fromkeys(lineages)))

    @cached_property
    def given(self) -> ImageTable:
        """The image table of every row as it came with the pictures: what shards hold."""
        records, known = self.manifest.present_shards, self._known
        self._known = None
        if known is not None and known.stored.records == records:
            return known
        before = None if known is None else known.stored
        return StoredTable(Columns(self.folder / "shards", records, before, self.lease))

    def _know(self, before: EmbeddingStore | None) -> EmbeddingStore:
        """Take over what a store that was opened before knows of its shards."""
        if before is not None and before.folder == self.folder:
            given = before.__dict__.get("given", before._known)
            self._known = given if isinstance(given, StoredTable) else None
        return self

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """Rows that are current: all but the retired ones, ascending."""
        if not self.manifest.retired:
            return np.arange(len(self), dtype=np.int64)
        is_current = np.ones(len(self), dtype=bool)
        is_current[list(self.manifest.retired)] = False
        return np.flatnonzero(is_current)

    def find_rows(self, files: Collection[str]) -> npt.NDArray[np.int64]:
        """Return the current rows of files by their whole paths, ascending."""
        found = self.images.find_rows(files)
        places = np.searchsorted(self.rows, found)
        places[places == len(self.rows)] = 0
        return found[self.rows[places] == found] if len(self.rows) else found[:0]

    def read_vectors(self, rows: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.float32]:
        """Read vectors into memory.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,), optional
            Rows in any order; all by default.

        Returns
        -------
        ndarray of float32, shape (n, dim), unit rows

        Raises
        ------
        StoreError
            If a row is not in the store, or a shard cannot be read.
        """
        wanted = np.arange(len(self)) if rows is None else np.asarray(rows, dtype=np.int64)
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if outside.size:
            msg = f"{self.folder} has {len(self)} rows, got row {outside[0]}; count from 0"
            raise StoreError(msg)
        out = np.empty((len(wanted), self.manifest.dim), dtype=np.float32)
        records = self.manifest.present_shards
        starts = np.cumsum([0, *(record.n_images for record in records)])
        shards = np.searchsorted(starts, wanted, side="right") - 1
        # A store that grew picture by picture has many shards, of which few are asked.
        for shard in np.flatnonzero(np.bincount(shards)).tolist():
            inside = shards == shard
            vectors = map_vectors(self.folder / "shards", records[shard], self.manifest.dim)
            out[inside] = widen(vectors[wanted[inside] - starts[shard]])
        return out

    def open_kept(self, kind: str) -> Kept | None:
        """Open what is kept of pictures beside their vectors; None where nothing of a kind is.

        Raises
        ------
        StoreError
            If it is damaged.
        """
        from bioprobe.store.kept import Kept

        return Kept.open(self.folder, kind)

    def append(
        self,
        frame: pd.DataFrame,
        vectors: npt.NDArray[Any],
        *,
        retired: Sequence[int] = (),
    ) -> EmbeddingStore:
        """Add a shard, and return the store with it.

        Parameters
        ----------
        frame : DataFrame
            Rows of an image table.
        vectors : ndarray of any real dtype, shape (n_images, dim)
            Made unit here; a row of zeros or of something not finite is refused.
        retired : sequence of int
            Rows that the new ones replace.

        Raises
        ------
        StoreError
            If table and vectors do not fit each other or the store, the store has grown since it
            was opened, or the disk refuses; the store is then as it was.
        """
        self._check_unchanged()
        if vectors.shape != (len(frame), self.manifest.dim):
            msg = (
                f"{len(frame)} images of dim {self.manifest.dim} were to be added, got vectors "
                f"of shape {vectors.shape}"
            )
            raise StoreError(msg)
        unit = normalise_rows(vectors)
        bad = np.flatnonzero(~(np.abs(np.linalg.norm(unit, axis=1) - 1) < 1e-3))
        if bad.size:
            name = frame["path"].iloc[int(bad[0])]
            msg = f"the vector of {name} has no direction (zeros, or not finite numbers)"
            raise StoreError(msg)
        if len(frame) == 0:
            return self
        name = self.manifest.next_shard_name
        stored = unit.astype(self.manifest.dtype)
        table = ImageTable.build(frame)
        # Where every row is a whole picture, older versions read the table as theirs.
        written = table.frame if table.has_regions else table.frame.drop(columns=REGION)
        record = write_shard(self.folder / "shards", name, stored, written)
        manifest = dataclasses.replace(
            self.manifest,
            shards=(*self.manifest.shards, record),
            retired=tuple(sorted({*self.manifest.retired, *map(int, retired)})),
            has_regions=self.manifest.has_regions or table.has_regions,
        )
        manifest.write(self.folder)
        return self._renew(manifest)

    def _renew(self, manifest: Manifest) -> EmbeddingStore:
        """Return the store as it is now; its shards are held as they were."""
        if not self.lease.is_locked:
            return EmbeddingStore.open(self.folder, after=self).counting(self._counts)
        renewed = EmbeddingStore(self.folder, manifest, self.lease)._know(self)
        return renewed.counting(self._counts)

    def retire(self, rows: Sequence[int]) -> EmbeddingStore:
        """Make rows no longer current, and return the store; nothing is deleted.

        Raises
        ------
        StoreError
            If the store has grown since it was opened, or the disk refuses.
        """
        self._check_unchanged()
        retired = tuple(sorted({*self.manifest.retired, *map(int, rows)}))
        if retired == self.manifest.retired:
            return self
        manifest = dataclasses.replace(self.manifest, retired=retired)
        manifest.write(self.folder)
        return self._renew(manifest)

    def remove(self, rows: Sequence[int], *, failed: Sequence[str] = ()) -> EmbeddingStore:
        """Retire rows that a person wants away, and return the store; undone until compaction.

        Parameters
        ----------
        rows : sequence of int
            Current rows of the store.
        failed : sequence of str
            Whole paths of pictures that could not be read, whose lines go with compaction.

        Raises
        ------
        StoreError
            If the store has grown since it was opened, a row is none of its current ones, or the
            disk refuses.
        """
        self._check_unchanged()
        unknown = np.setdiff1d(rows, self.rows)
        if unknown.size:
            msg = f"{self.folder} has no current row {unknown[0]}; see: bioprobe store removed"
            raise StoreError(msg)
        before = self.manifest.removals
        removal = Removal(
            number=max((one.number for one in before), default=0) + 1,
            time=write_now(),
            rows=tuple(sorted({*map(int, rows)})),
            failed=tuple(sorted(failed)),
        )
        manifest = dataclasses.replace(
            self.manifest,
            retired=tuple(sorted({*self.manifest.retired, *removal.rows})),
            removals=(*before, removal),
        )
        manifest.write(self.folder)
        return self._renew(manifest)

    def undo_removals(self, numbers: Collection[int]) -> EmbeddingStore:
        """Make rows current again that were removed, and return the store.

        What was embedded again since stays as it is; the row that was removed stays retired.

        Raises
        ------
        StoreError
            If there is no such removal, the store has grown since it was opened, or the disk
            refuses.
        """
        self._check_unchanged()
        known = [one.number for one in self.manifest.removals]
        unknown = sorted(set(numbers) - set(known))
        if unknown:
            there = ", ".join(map(str, known)) or "none"
            msg = (
                f"there is no removal {unknown[0]} in {self.folder} to undo; there are: {there}. "
                "What was compacted is gone"
            )
            raise StoreError(msg)
        back = {row for one in self.manifest.removals if one.number in numbers for row in one.rows}
        places = list_places(self.images.select(PLACE))
        taken = {places[row] for row in self.rows}
        manifest = dataclasses.replace(
            self.manifest,
            retired=tuple(
                row for row in self.manifest.retired if row not in back or places[row] in taken
            ),
            removals=tuple(one for one in self.manifest.removals if one.number not in numbers),
        )
        manifest.write(self.folder)
        return self._renew(manifest)

    def relabel(self, rows: Rows, labels: pd.DataFrame) -> EmbeddingStore:
        """Replace rows by new ones with other labels and the same vectors, and return the store.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            Current rows of the store; they are retired.
        labels : DataFrame
            Columns that change, one row for each of these.

        Raises
        ------
        StoreError
            If the store has grown since it was opened, or the disk refuses.
        """
        store, given = self, self.given
        for start in range(0, len(rows), _RELABELLED_ROWS):
            part = rows[start : start + _RELABELLED_ROWS]
            said = labels.iloc[start : start + _RELABELLED_ROWS].reset_index(drop=True)
            new = given.take(part).reset_index(drop=True).assign(**said)
            store = store.append(new, store.read_vectors(part), retired=part.tolist())
        return store

    def check_current(self) -> None:
        """Refuse to write what quotes rows, where there is no store any more or rows have moved.

        Raises
        ------
        StoreError
            If the store has gone, or was compacted since it was opened.
        """
        check_present(self.folder)
        # Rows have other numbers by then, or what is gone would be written again.
        if Manifest.read(self.folder).generation != self.manifest.generation:
            msg = f"{self.folder} was compacted since it was opened; open it again, then ask again"
            raise StoreError(msg)

    def _check_unchanged(self) -> None:
        if Manifest.read(self.folder) != self.manifest:
            msg = f"{self.folder} has changed since it was opened; open it again, then append"
            raise StoreError(msg)

    def make_folder(self, *names: str) -> Path:
        """Return a folder in the store, made where it is not there.

        Parameters
        ----------
        *names : str
            Of the folder and those above it, from the store on.

        Raises
        ------
        StoreError
            If there is no store any more, it was compacted since, or the disk refuses.
        """
        self.check_current()
        folder = self.folder.joinpath(*names)
        with explaining_refusal(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextlib.contextmanager
    def lock(self, *, wait_s: float = 0.0) -> Iterator[None]:
        """Hold the store for writing while the block runs.

        Parameters
        ----------
        wait_s : float
            Seconds to wait for another writer, ≥ 0. What writes for a moment waits
            :data:`~bioprobe.store.writing.QUICK_WAIT_S`; a long run refuses at once.

        Raises
        ------
        StoreLockedError
            If another process holds it.
        StoreError
            If there is no store any more, or the folder cannot be written.
        """
        check_present(self.folder)
        with holding(self.folder, wait_s=wait_s):
            yield

    @contextlib.contextmanager
    def filling(self) -> Iterator[None]:
        """Leave no store behind that this object made, if the block fails before an image is in it.

        It would bind its folder to the encoder. What ended the block is what is told.
        """
        try:
            yield
        except BaseException:
            if self.is_new:
                with contextlib.suppress(BioprobeError):
                    self.discard()
            raise

    def discard(self, *further: str) -> None:
        """Take away a store that this object made and nothing came into.

        What was in its folder before stays, and so do the folder and those above it that were
        there.

        Parameters
        ----------
        *further : str
            Files and folders in it, beside those of a store, of whoever made it.

        Raises
        ------
        StoreError
            If this object only opened it, another process has made it anew or put something into
            it, or the disk refuses.
        StoreLockedError
            If another process is writing to it.
        """
        if self._made is None:
            msg = f"{self.folder} was there before; only who made a store takes it away"
            raise StoreError(msg)
        before, stamp = self._made
        with self.lock(), explaining_refusal(self.folder):
            self._check_unchanged()
            if (now := _look(self.folder)) is None or stamp is None or now[0] != stamp[0]:
                msg = f"another process has made {self.folder} anew; it stays"
                raise StoreError(msg)
            before.restore(further)

    def read_failures(self) -> pd.DataFrame:
        """Return the images that could not be read: root, path, reason, source.

        Raises
        ------
        StoreError
            If the list is damaged.
        """
        return read_failures(self.folder)

    def list_failures(self) -> list[Failure]:
        """Return the same as a list.

        Raises
        ------
        StoreError
            If the list is damaged.
        """
        return list_failures(self.folder)

    def write_failures(self, frame: pd.DataFrame) -> None:
        """Replace the list of images that could not be read.

        Raises
        ------
        StoreError
            If the disk refuses.
        """
        write_failures(self.folder, frame)

    def renew_failures(
        self, failed: Iterable[Failure], *, read: Collection[str], listed: Collection[str] = ()
    ) -> None:
        """Bring that list up to date; see :func:`bioprobe.store.failures.renew_failures`.

        Raises
        ------
        StoreError
            If the list is damaged, or the disk refuses.
        """
        renew_failures(self.folder, failed, read=read, listed=listed)


def _reopen(folder: Path, manifest: Manifest, counts: str) -> EmbeddingStore:
    return EmbeddingStore(folder, manifest).counting(counts)


def _look(folder: Path) -> Stamp | None:
    """Return what tells a store from what it is later: None where there is none.

    A manifest takes the place of the one before, the log of annotations grows, and columns that are
    computed are files of their folders.
    """
    found = []
    for path in (folder / MANIFEST_NAME, find_log(folder), *(folder / one for one in FOLDERS)):
        try:
            facts = path.stat()
            found.append((facts.st_ino, facts.st_mtime_ns, facts.st_size))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found) if found[0][2] else None


def _check_name(folder: str | Path) -> None:
    """Refuse a name that the files of a store, which say where it lies, cannot hold."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        shown = str(folder).encode("utf-8", "backslashreplace").decode()
        msg = f"the name of the folder {shown} is not UTF-8; rename it, or choose another --store"
        raise StoreError(msg) from None
