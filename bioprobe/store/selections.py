"""Named selections of a store's images: masks, and the groups that go with them.

A selection is about images, not about row numbers: it knows each by the SHA-256 of its bytes, its
root, its path and its region. So it holds after an append, after a repair and after ``--prune``,
and an image that came later, or whose file has changed, is *not judged* rather than silently kept
or dropped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import describe_absence, is_file, list_files, read_bytes, reading
from bioprobe.errors import SelectionError, StoreError
from bioprobe.files import explaining_refusal, parse_json, replacing
from bioprobe.images.identity import (
    IDENTITY,
    digest_rows,
    find_rows,
    number_rows,
    release_unused,
)
from bioprobe.images.regions import REGION
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.gone import Changes, Gone, list_places
from bioprobe.types import Mask, Rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq

SELECTIONS_NAME, _SUFFIX = "selections", ".parquet"
KEPT, GROUP = "kept", "group"
#: The names of those that are parts of splits begin so; all others are masks.
SPLITS = "splits/"
#: Which of near duplicates is kept, and in what group each is.
DUPLICATES_MASK = "filters/duplicates"
_ROWS_AT_ONCE = 65_536
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")


@dataclasses.dataclass(frozen=True)
class Selection:
    """What a named selection says of the rows of a store.

    Parameters
    ----------
    name : str
        Such as ``filters/animal``.
    frame : DataFrame
        One row for each row of the store: ``judged`` and ``kept`` (bool; an image that is not
        judged is not kept) and the columns that were written with the mask, such as ``group``,
        ``score`` and ``reason``, with holes where nothing was judged.
    provenance : dict
        What the selection was computed from.
    """

    name: str
    frame: pd.DataFrame
    provenance: dict[str, Any]

    @property
    def judged(self) -> Mask:
        """Whether each row of the store was judged, shape (n_rows,)."""
        return self.frame["judged"].to_numpy(dtype=bool)

    @property
    def kept(self) -> Mask:
        """Whether each row of the store was judged and kept, shape (n_rows,)."""
        return self.frame[KEPT].to_numpy(dtype=bool)


def write_selection(
    store: EmbeddingStore,
    name: str,
    rows: npt.NDArray[np.int64],
    kept: Mask,
    *,
    columns: dict[str, npt.NDArray[Any]] | None = None,
    provenance: dict[str, Any] | None = None,
) -> int:
    """Keep a mask in a store under a name, in place of one of that name.

    Parameters
    ----------
    store : EmbeddingStore
        Whose images are judged.
    name : str
        Letters, digits, ``_``, ``-`` and ``.``, in parts separated by ``/``.
    rows : ndarray of int64, shape (n_judged,)
        Rows of the store that were judged.
    kept : ndarray of bool, shape (n_judged,)
        Whether each is kept.
    columns : dict of str to ndarray, shape (n_judged,), optional
        What goes with each image: ``group``, ``score``, ``reason``.
    provenance : dict, optional
        JSON-ready; kept in the file's metadata.

    Returns
    -------
    int
        How many rows are kept: of those that do not differ the last alone, which all are read as.

    Raises
    ------
    SelectionError
        If the name cannot be used, or rows and mask do not fit each other.
    StoreError
        If the disk refuses.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _find_file(store.folder, name)
    if len(rows) != len(kept):
        msg = f"{len(rows)} rows were judged, got a mask of {len(kept)}"
        raise SelectionError(msg)
    order = np.argsort(rows, kind="stable")
    said = pd.DataFrame({KEPT: np.asarray(kept, dtype=bool), **(columns or {})}).iloc[order]
    beside = pa.Table.from_pandas(said, preserve_index=False)
    is_last = _find_last(store, rows[order])
    texts = pa.schema([(column, pa.large_string()) for column in IDENTITY])
    schema = pa.schema([*texts, *beside.schema.remove_metadata()])
    schema = schema.with_metadata({b"provenance": json.dumps(provenance or {}).encode()})
    store.make_folder(SELECTIONS_NAME, *name.split("/")[:-1])
    start = 0
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as file:
        for frame in store.images.iter_frames(IDENTITY, rows[order]):
            part = slice(start, start + len(frame))
            start = part.stop
            images = pa.Table.from_pandas(frame, texts, preserve_index=False)
            columns_of = [*images.columns, *beside.slice(part.start, len(frame)).columns]
            table = pa.table(columns_of, schema=schema)
            file.write_table(table.filter(pa.array(is_last[part])))
    return int(is_last.sum())


def _find_last(store: EmbeddingStore, rows: Rows) -> Mask:
    """Tell which of rows are the last with their bytes and place: the newest is the current one."""
    numbers = number_rows(store.images.identities.take(rows))
    last = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=np.int64)
    last[numbers] = np.arange(len(rows))
    return np.asarray(last[numbers] == np.arange(len(rows)))


def read_selection(store: EmbeddingStore, name: str) -> Selection:
    """Read a named selection as it applies to the rows of a store now.

    Raises
    ------
    SelectionError
        If the name cannot be used.
    StoreError
        If there is no such selection, or its file is damaged.
    UnreadableError
        If it cannot be read just now.
    """
    with _opening(store, name) as file:
        known = digest_rows(_iter_images(file))
        names = [name for name in file.schema_arrow.names if name not in IDENTITY]
        table = file.read(names)
        table.validate(full=True)
        provenance = _read_provenance(file)
        judged = table.to_pandas()
        judged[KEPT] = judged[KEPT].astype(bool)
    positions = find_rows(store.images.identities, known)
    frame = judged.reindex(positions).reset_index(drop=True)
    frame.insert(0, "judged", positions >= 0)
    frame[KEPT] = (positions >= 0) & (frame[KEPT] == True)  # noqa: E712 - holes are not kept
    del known, table, judged, positions
    release_unused()
    return Selection(name, frame, provenance)


def read_selection_provenance(store: EmbeddingStore, name: str) -> dict[str, Any]:
    """Return what a named selection was computed from, without reading what it says of rows.

    Raises
    ------
    SelectionError
        If the name cannot be used.
    StoreError
        If there is no such selection, or its file is damaged.
    UnreadableError
        If it cannot be read just now.
    """
    with _opening(store, name) as file:
        return _read_provenance(file)


@contextlib.contextmanager
def _opening(store: EmbeddingStore, name: str) -> Iterator[pq.ParquetFile]:
    """Open the file of a selection; what is wrong with it is said with what to do."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _find_file(store.folder, name)
    if not is_file(path):
        maker = "bioprobe filter and dedupe write some"
        raise describe_absence(store.folder, "mask", name, list_selections(store), maker)
    try:
        with reading(path), pq.ParquetFile(path) as file:
            yield file
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        msg = f"{path} cannot be read ({error}); make the selection again"
        raise StoreError(msg) from error


def _read_provenance(file: pq.ParquetFile) -> dict[str, Any]:
    found: dict[str, Any] = parse_json((file.schema_arrow.metadata or {}).get(b"provenance", b"{}"))
    return found


def _iter_images(file: pq.ParquetFile) -> Iterator[pd.DataFrame]:
    """Read what each image is known by, some rows at a time."""
    # There is no region where every row was a whole picture when it was made.
    names = [name for name in IDENTITY if name != REGION or name in file.schema_arrow.names]
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names):
        batch.validate(full=True)
        yield batch.to_pandas().reindex(columns=list(IDENTITY), fill_value="")


def stamp_selection(store: EmbeddingStore, name: str) -> tuple[int, int, int] | None:
    """Return what tells a selection from the next of its name; None where there is none.

    Raises
    ------
    SelectionError
        If the name cannot be used.
    """
    path = _find_file(store.folder, name)
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


def list_selections(store: EmbeddingStore) -> list[str]:
    """Return the names of the selections that a store keeps, sorted.

    Raises
    ------
    UnreadableError
        If a folder of them may not be listed.
    """
    names = list_files(store.folder / SELECTIONS_NAME, _SUFFIX)
    return sorted(name.removesuffix(_SUFFIX) for name in names)


def list_masks(store: EmbeddingStore) -> list[str]:
    """Return the names of those selections that are masks, and no parts of a split, sorted."""
    return [name for name in list_selections(store) if not name.startswith(SPLITS)]


def remove_selection(store: EmbeddingStore, name: str) -> None:
    """Forget a named selection; the images it is about are not touched.

    Raises
    ------
    SelectionError
        If the name cannot be used.
    StoreError
        If there is no such selection, or the disk refuses.
    """
    path = _find_file(store.folder, name)
    if not is_file(path):
        raise describe_absence(store.folder, "mask", name, list_selections(store))
    with explaining_refusal(path):
        path.unlink()


def forget_gone(gone: Gone, changes: Changes) -> None:
    """Take out of every selection of a store what it says of rows that go."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in list_files(gone.folder / SELECTIONS_NAME, _SUFFIX):
        path = gone.folder / SELECTIONS_NAME / name
        try:
            table = pq.read_table(io.BytesIO(read_bytes(path)))
            said = dict(table.schema.metadata or {})
            provenance = parse_json(said.get(b"provenance", b"{}"))
            frame = table.select([one for one in IDENTITY if one in table.column_names])
            judged = frame.to_pandas()
            judged = judged if REGION in judged else judged.assign(**{REGION: ""})
            stays = np.array(
                [place not in gone.places for place in list_places(judged)], dtype=bool
            )
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            msg = f"{path} cannot be read ({error}); remove it, or make the selection again"
            raise StoreError(msg) from error
        scrubbed = gone.scrub(provenance)
        if stays.all() and scrubbed == provenance:
            continue
        if not stays.all():
            n_removed = int(provenance.get("n_removed", 0)) + int((~stays).sum())
            scrubbed = {**scrubbed, "n_removed": n_removed}
        said[b"provenance"] = json.dumps(scrubbed).encode()
        rest = table.filter(pa.array(stays)).replace_schema_metadata(said)
        pq.write_table(rest, changes.replace(path))
        changes.counts["selections"] += 1


def _find_file(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        msg = (
            f"{name!r} cannot name a selection; use letters, digits, '_', '-' and '.', in parts "
            "separated by '/', such as filters/animal"
        )
        raise SelectionError(msg)
    return folder / SELECTIONS_NAME / f"{name}{_SUFFIX}"
