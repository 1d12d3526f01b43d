"""Taxa of a published set of vectors into a store: only the row groups that hold them are read."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.access import exists, is_folder, list_names
from bioprobe.encoders.catalog import CARDS, DEFAULT_MODEL, is_same_model
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import MismatchError, MisuseError, SourceError
from bioprobe.interchange.arrow_tables import (
    find_dim,
    find_plain_columns,
    find_vector_columns,
    to_batch,
)
from bioprobe.interchange.draft import ImportSummary, Intake
from bioprobe.interchange.image_rows import IDENTITY_COLUMNS, RowNaming
from bioprobe.interchange.layouts import check_dim, check_target, find_known
from bioprobe.interchange.ranges import Place, RangedFile, open_place
from bioprobe.interchange.row_groups import Found, Outline, Sought, take_all
from bioprobe.interchange.saved_datasets import SUFFIXES, choose_vector_column
from bioprobe.interchange.vector_source import (
    KEY,
    ReadOptions,
    VectorBatch,
    VectorSource,
)
from bioprobe.progress import Progress, Step
from bioprobe.remote import find_address
from bioprobe.store import EmbeddingStore
from bioprobe.store.imported import Imported, note_import
from bioprobe.store.manifest import Manifest
from bioprobe.store.writing import holding
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import COMMON_NAME, find_rank_columns
from bioprobe.types import Mask

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

LAYOUT = "parquet"
#: Models whose published vectors are unit rows, by what their publisher says.
_UNIT_MODELS = {"bioclip-2.5"}
_PRECISIONS = ("_float16", "_float32")
_N_PEEKED = 64
# Rows that are made unit at once: of float64, a quarter of a shard.
_BATCH_ROWS = 4096


@dataclasses.dataclass(frozen=True)
class Reading:
    """What of a place was read.

    Parameters
    ----------
    n_files, n_groups : int
        Files of the model, and row groups in them.
    n_read : int
        Row groups of which vectors were read.
    n_unknown : int
        Row groups of which footers do not say which names they hold, so that all names were read.
    n_bytes : int
        Bytes that were read, footers and names included.
    all_bytes : int
        Bytes of the files of the model.
    n_retries : int
        Requests that failed and were made again.
    n_known : int
        Rows that were in the store already.
    """

    n_files: int
    n_groups: int
    n_read: int
    n_unknown: int
    n_bytes: int
    all_bytes: int
    n_retries: int
    n_known: int


@dataclasses.dataclass(frozen=True, repr=False)
class PartSummary(ImportSummary):
    """What came of an import in part.

    Parameters
    ----------
    reading : Reading
        What was read of the source.
    model : str
        Encoder of the vectors.
    others : tuple of str
        Models of which the source holds vectors too, where neither a person nor the store chose.
    changed : tuple of str
        Files of the source that are others than when rows of them were imported before.
    lacking : tuple of str
        Columns that some files of the source lack; they are empty in rows of these.
    """

    reading: Reading = dataclasses.field(kw_only=True)
    model: str = ""
    others: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


def is_read_in_part(source: str | Path) -> bool:
    """Tell whether a source is an address, or a folder laid out as published sets of vectors are.

    Such is a folder a model, named by the model and the precision (``bioclip-2_float16``), with
    Parquet files.
    """
    if find_address(source):
        return True
    folder = Path(source)
    if not is_folder(folder):
        return False
    folders = [folder.absolute(), *(folder / name for name in list_names(folder))]
    return any(
        name.endswith(SUFFIXES)
        for one in folders if _find_model(one.name) is not None and is_folder(one)
        for name in list_names(one)
    )  # fmt: skip


def import_in_part(
    source: str | Path,
    folder: Path,
    *,
    within: Sequence[str] = (),
    model: str | None = None,
    logit_scale: float | None = None,
    dtype: str | None = None,
    column: str | None = None,
    path_column: str | None = None,
    no_label: Sequence[str] = (),
    rank_columns: Mapping[Rank, str] | None = None,
    progress: Progress | None = None,
) -> PartSummary:
    """Import the rows of some taxa from Parquet files below an address or a folder.

    Footers say which row groups may hold a taxon, their columns of names which rows are of it;
    vectors are read of row groups that have any. The store has each shard as soon as it is whole;
    a row whose name it has is not read again, so that the same call goes on where another was
    ended, and another taxon adds what is new. In memory are one row group, or some rows of a
    large one, and a shard.

    Parameters
    ----------
    source : str or Path
        Address that fsspec knows, folder or file.
    folder : Path
        Folder of the store.
    within : sequence of str
        Taxa, as :meth:`~bioprobe.interchange.row_groups.Sought.parse` reads them; without any,
        all rows.
    model : str, optional
        Encoder of the vectors. Where folders are named by models it is one of these: by default
        the only one, else that of the store, else ``bioclip-2``.
    logit_scale : float, optional
        Factor from cosine similarity to logits; by default what is known of the model.
    dtype : str, optional
        How a new store keeps vectors; by default as the source has them, ``float16`` or
        ``float32``.
    column, path_column : str, optional
        Columns of the vectors, and of what tells the rows apart.
    no_label : sequence of str
        Labels that are none.
    rank_columns : mapping of Rank to str, optional
        Columns that hold a rank under another name.
    progress : callable, optional
        Told how many rows are done.

    Raises
    ------
    MisuseError
        If no model is named, and none is known by its folder.
    MismatchError
        If the vectors are of another model than is named, or the store is of another.
    SelectionError
        If a taxon is nowhere, or at two places.
    SourceError
        If the source cannot be read, has no vectors, or nothing tells its rows apart.
    StoreLockedError
        If another process is writing to the store.

    References
    ----------
    The layout of the data set imageomics/TreeOfLife-200M-Embeddings: a folder a model,
    ``train-00000-of-00666.parquet``, row groups of 50,000 rows that are sorted by source and
    taxonomy, ``uuid``, ``emb`` as a list of float16 of fixed size, ranks with the epithet alone at
    species, and what is known of the picture.
    """
    sought = [Sought.parse(one) for one in within]
    place = open_place(source, *SUFFIXES)
    stored = EmbeddingStore.open(folder).manifest if EmbeddingStore.exists(folder) else None
    chosen, files, others = _choose_model(place, model, stored)
    outline = Outline.read(place, files, lambda schema: _find_columns(schema, rank_columns))
    found = outline.find(sought) if sought else take_all(outline)
    options = ReadOptions(chosen, column)
    reader = _Reader(outline, found, options, path_column, progress or (lambda _: None))
    known = find_known(chosen, logit_scale)
    source_of = reader.open(is_unit=chosen in _UNIT_MODELS)
    check_dim(chosen, source_of, known.dim)
    wanted = Manifest(
        encoder=Fingerprint(model=chosen, backend="imported"),
        dim=source_of.dim,
        dtype=dtype or reader.dtype,
        logit_scale=1.0 if known.logit_scale is None else known.logit_scale,
        has_text_tower=known.has_text_tower,
    )
    with _open_target(folder, wanted, dtype=dtype, logit_scale=logit_scale) as target:
        imported = Imported(
            address=place.address, revision=place.revision, model=chosen, within=tuple(within),
            files={
                file.name: {"n_bytes": file.n_bytes, "tag": file.tag} for file in reader.files
            },
        )  # fmt: skip
        changed = note_import(folder, imported)
        naming = RowNaming(path_column, None, tuple(no_label), rank_columns or {})
        intake = Intake(target, source_of, naming)
        reader.skip(_Known(target))
        for batch in source_of.read():
            intake.add(batch)
        intake.finish()
    reading = Reading(
        n_files=len(files), n_groups=len(outline.groups), n_read=reader.n_read,
        n_unknown=outline.n_unknown if sought else 0, n_bytes=place.meter.n_bytes,
        all_bytes=sum(file.n_bytes for file in files), n_retries=place.meter.n_retries,
        n_known=reader.n_known,
    )  # fmt: skip
    counts = intake.summarise(LAYOUT)
    return PartSummary(
        **{one.name: getattr(counts, one.name) for one in dataclasses.fields(counts)},
        reading=reading, model=chosen, others=others, changed=tuple(changed),
        lacking=reader.lacking,
    )  # fmt: skip


def _find_model(folder: str) -> str | None:
    """Return the short name of the model that a folder of vectors is named by."""
    name = folder
    for precision in _PRECISIONS:
        name = name.removesuffix(precision)
    for card in CARDS:
        if name in {card.short_name, card.source.rsplit("/", 1)[-1]}:
            return card.short_name
    return None


def _choose_model(
    place: Place, named: str | None, stored: Manifest | None
) -> tuple[str, list[RangedFile], tuple[str, ...]]:
    """Return whose vectors are read, the files that hold them, and of which others there are."""
    by_model: dict[str, list[RangedFile]] = {}
    for file in place.files:
        above = file.path.rsplit("/", 2)[-2] if "/" in file.path else ""
        if (model := _find_model(above)) is not None:
            by_model.setdefault(model, []).append(file)
    if not by_model:
        if named is None and stored is not None:
            named = stored.encoder.model
        if named is None:
            msg = (
                f"nothing in {place.address} says whose vectors these are; name the encoder that "
                "made them: --model"
            )
            raise MisuseError(msg)
        return named, list(place.files), ()
    wish = named or (stored.encoder.model if stored is not None else None)
    if wish is not None:
        chosen = next((model for model in by_model if is_same_model(wish, model)), None)
        if chosen is None:
            whose = "--model" if named else "the store is of"
            msg = (
                f"{place.address} holds vectors of {' and '.join(by_model)}, {whose} {wish}; name "
                "one of these, and another --store"
            )
            raise MismatchError(msg)
    else:
        chosen = DEFAULT_MODEL if DEFAULT_MODEL in by_model else next(iter(by_model))
    others = () if wish else tuple(model for model in by_model if model != chosen)
    return chosen, by_model[chosen], others


def _find_columns(schema: pa.Schema, given: Mapping[Rank, str] | None) -> dict[Rank, str]:
    found = find_rank_columns(find_plain_columns(schema), given)
    return {Rank(rank): column for rank, column in found.items() if rank != COMMON_NAME}


class _Reader:
    """Reads the vectors of the rows that were found, and passes over those that a store has."""

    def __init__(
        self,
        outline: Outline,
        found: Sequence[Found],
        options: ReadOptions,
        path_column: str | None,
        progress: Progress,
    ) -> None:
        self._outline, self._found, self._progress = outline, found, progress
        self._schema = outline.schema
        address = outline.place.address
        if any(KEY.encode() in (part.schema.metadata or {}) for part in outline.parts):
            msg = (
                f"{address} was exported by bioprobe, which reads such files whole: copy them to "
                "this machine, import them without --within, and choose rows by --where"
            )
            raise SourceError(msg)
        self._column = choose_vector_column(self._schema, address, options)
        self._plain = find_plain_columns(self._schema)
        self._identity = self._find_identity(path_column)
        self._check_columns()
        self._known = _Known()
        self.n_read = self.n_known = 0

    def _find_identity(self, path_column: str | None) -> str:
        spelt = {name.lower(): name for name in reversed(self._plain)}
        names = [path_column] if path_column else IDENTITY_COLUMNS
        found = next((spelt[name.lower()] for name in names if name.lower() in spelt), None)
        if found is None:
            msg = (
                f"{self._outline.place.address} has no column {path_column or 'uuid'!r} that tells "
                f"the rows apart, but {', '.join(self._plain)}; name one: --path-column"
            )
            raise SourceError(msg)
        return found

    def _check_columns(self) -> None:
        """Refuse a file that lacks vectors, names of rows or a rank; other columns it may lack."""
        for part in self._outline.parts:
            present = {*find_vector_columns(part.schema), *find_plain_columns(part.schema)}
            for name in (self._column, self._identity, *self._outline.columns.values()):
                if name not in present:
                    msg = (
                        f"{part.file.path} has no column {name!r} as other files have, but "
                        f"{', '.join(part.schema.names)}; name one folder of files that are alike"
                    )
                    raise SourceError(msg)

    @property
    def lacking(self) -> tuple[str, ...]:
        """Columns that some of the files lack."""
        parts = self._outline.parts
        return tuple(
            name for name in self._plain if any(name not in part.schema.names for part in parts)
        )

    @property
    def files(self) -> list[RangedFile]:
        """Files that rows are read of."""
        return list(dict.fromkeys(one.group.part.file for one in self._found))

    @property
    def dtype(self) -> str:
        """How the source has its vectors, as a store says it."""
        import pyarrow.types as kinds

        is_half = all(
            kinds.is_float16(part.schema.field(self._column).type.value_type)
            for part in self._outline.parts
        )
        return "float16" if is_half else "float32"

    def open(self, *, is_unit: bool) -> VectorSource:
        """Return the source of these rows."""
        n_rows = sum(one.n_rows for one in self._found)
        return VectorSource(
            self._outline.place.address, n_rows, self._dim, None,
            tuple(n for n in self._schema.names if n not in (self._column, *self._plain)),
            self._read, is_unit,
        )  # fmt: skip

    def skip(self, known: _Known) -> None:
        """Pass over rows that are known by their names."""
        self._known = known

    @functools.cached_property
    def _dim(self) -> int:
        kind = self._schema.field(self._column).type
        if hasattr(kind, "list_size"):
            return int(kind.list_size)
        if not self._found:
            return 0
        import pyarrow as pa

        batches = self._outline.iter_batches(
            self._found[0].group, [self._column], _N_PEEKED, at_once=False
        )
        with contextlib.closing(batches):
            peeked = next(batches, None)
        return 0 if peeked is None else find_dim(pa.chunked_array([peeked.column(0)]))

    def _read(self) -> Iterator[VectorBatch]:
        import pyarrow as pa

        columns = [self._column, *self._plain]
        total = sum(one.n_rows for one in self._found)
        done = 0
        for one in self._found:
            wanted = one.mask
            if self._known:
                # Names are a small part of the bytes.
                names = self._outline.read_table(one.group, [self._identity]).column(0)
                wanted &= ~self._known.find(names)
            n_known = one.n_rows - int(wanted.sum())
            self.n_known += n_known
            done += n_known
            start = 0
            self.n_read += bool(wanted.any())
            batches = self._outline.iter_batches(one.group, columns, _BATCH_ROWS)
            for batch in batches if wanted.any() else ():
                mask = wanted[start : start + batch.num_rows]
                start += batch.num_rows
                if not mask.any():
                    continue
                table = pa.Table.from_batches([batch.filter(pa.array(mask))])
                new = self._known.add(table[self._identity])
                self.n_known += int((~new).sum())
                if new.any():
                    table = table if new.all() else table.filter(pa.array(new))
                    yield to_batch(table, self._column, self._plain, self._dim)
                done += int(mask.sum())
                self._progress(Step(done, total, "images"))


class _Known:
    """Names of rows, 16 bytes each.

    Parameters
    ----------
    store : EmbeddingStore, optional
        Whose current rows are known.
    """

    def __init__(self, store: EmbeddingStore | None = None) -> None:
        # Sorted runs, each less than half of the one before: so few that one more costs little.
        self._runs: list[npt.NDArray[np.bytes_]] = []
        if store is not None and len(store):
            self._runs.append(np.sort(_hash(store.given.column("path").iloc[store.rows])))

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def find(self, names: pa.ChunkedArray) -> Mask:
        """Tell which names are known."""
        return self._find(_hash(names.to_pylist()))

    def add(self, names: pa.ChunkedArray) -> Mask:
        """Tell which names are new, the first of equal ones, and know them from now on."""
        keys = _hash(names.to_pylist())
        firsts = np.zeros(len(keys), dtype=bool)
        firsts[np.unique(keys, return_index=True)[1]] = True
        new: Mask = firsts & ~self._find(keys)
        run = np.sort(keys[new])
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)
        return new

    def _find(self, keys: npt.NDArray[np.bytes_]) -> Mask:
        found = np.zeros(len(keys), dtype=bool)
        for run in filter(len, self._runs):
            places = np.searchsorted(run, keys)
            found |= run[np.minimum(places, len(run) - 1)] == keys
        return found


def _hash(names: Iterable[object]) -> npt.NDArray[np.bytes_]:
    # Half of the digest is enough that no two names ever share it.
    return np.array([hashlib.sha256(str(one).encode()).digest()[:16] for one in names], dtype="S16")


@contextlib.contextmanager
def _open_target(
    folder: Path, wanted: Manifest, *, dtype: str | None, logit_scale: float | None
) -> Iterator[EmbeddingStore]:
    """Open the store, or make it; one that has no row in the end is taken away again."""
    made = not exists(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with holding(folder):
            if EmbeddingStore.exists(folder):
                stored = EmbeddingStore.open(folder)
                check_target(stored, wanted, dtype=dtype, logit_scale=logit_scale)
                yield stored
            else:
                yield EmbeddingStore.create(
                    folder, wanted.encoder, dim=wanted.dim, logit_scale=wanted.logit_scale,
                    has_text_tower=wanted.has_text_tower, dtype=wanted.dtype,
                )  # fmt: skip
    except BaseException:
        if made and not (EmbeddingStore.exists(folder) and len(EmbeddingStore.open(folder))):
            shutil.rmtree(folder, ignore_errors=True)
        raise
