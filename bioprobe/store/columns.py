"""Columns that were computed, such as clusters: kept in the store, and read with the image table.

No shard is written anew for one. A file says of each row what it is, by the shard that the row is
in and, where shards have changed since, by what the row is: SHA-256, root, path and region. A row
that came later has ``""``. Where the sources have a column of the same name, theirs is read.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from bioprobe.access import list_files, read_bytes
from bioprobe.errors import SelectionError, StoreError, UnreadableError
from bioprobe.files import explaining_refusal, parse_json
from bioprobe.images.identity import IDENTITY
from bioprobe.images.image_table import ImageTable
from bioprobe.store.gone import Changes, Gone, list_places
from bioprobe.store.manifest import Manifest
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: Folders of a store that hold such columns: groups of pictures, and places along a line.
CLUSTERS, ORDERS = "clusters", "orders"
FOLDERS = (CLUSTERS, ORDERS)
_SUFFIX = ".parquet"
#: Of each row of a file its row when that was written, and what it says.
ROW, VALUE, NUMBER = "row", "value", "number"
#: A word that a condition can name without backticks.
COLUMN_NAME = re.compile(r"[^\W\d]\w*")
#: What conditions have beside the names of columns.
CONDITION_WORDS = frozenset(
    {"and", "or", "not", "in", "is", "True", "False", "None", "if", "else", "for"}
)
#: Ends the name of the column that has the names of groups.
NAMED = "_name"


@dataclasses.dataclass(frozen=True, eq=False)
class KeptColumn:
    """What a store keeps under the name of a column.

    Parameters
    ----------
    name : str
    folder : str
        :data:`CLUSTERS` or :data:`ORDERS`.
    values : ndarray of object, shape (n_rows,)
        Text of each row of the store, ``""`` where nothing is said of it.
    numbers : ndarray of float64, shape (n_rows,)
        A number that stands beside it, such as how like its group a row is; NaN where there is
        none.
    names : mapping of str to str
        What values are called, where that is more than the value.
    provenance : dict
        What it was computed from.
    facts : dict
        What else is known of it, JSON-ready.
    """

    name: str
    folder: str
    values: Names
    numbers: Any
    names: Mapping[str, str]
    provenance: dict[str, Any]
    facts: dict[str, Any]

    @property
    def columns(self) -> dict[str, Names]:
        """The column by its name, and that of the names where it has any."""
        found = {self.name: self.values}
        if self.names:
            given = [self.names.get(value, "") for value in self.values.tolist()]
            found[self.name + NAMED] = np.array(given, dtype=object)
        return found


def write_column_file(path: Path, frame: pd.DataFrame, said: Mapping[str, Any]) -> None:
    """Write the file of a column.

    Parameters
    ----------
    path : Path
    frame : DataFrame
        With :data:`IDENTITY`, :data:`ROW`, :data:`VALUE` and :data:`NUMBER`.
    said : mapping
        JSON-ready; ``shards`` as :func:`list_shards` has them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = {**(table.schema.metadata or {}), b"bioprobe": json.dumps(said).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path, write_page_checksum=True)


def list_shards(manifest: Manifest) -> list[list[Any]]:
    """Return name, SHA-256 of the image table and rows of each shard that is there."""
    return [[one.name, one.images_sha256, one.n_images] for one in manifest.present_shards]


def list_columns(folder: Path, kind: str | None = None) -> list[tuple[str, str]]:
    """Return the folder and name of each column that a store keeps, sorted."""
    kinds = FOLDERS if kind is None else (kind,)
    found = [(one, name) for one in kinds for name in list_files(folder / one, _SUFFIX)]
    return sorted((one, name.removesuffix(_SUFFIX)) for one, name in found)


def read_columns(
    folder: Path, manifest: Manifest, images: ImageTable
) -> tuple[dict[str, Names], dict[str, str]]:
    """Read all columns that a store keeps, but those that its sources have.

    Returns
    -------
    columns : dict of str to ndarray of object, shape (n_rows,)
    unread : dict of str to str
        Why others could not be read, by name.
    """
    columns: dict[str, Names] = {}
    unread: dict[str, str] = {}
    for kind, name in list_columns(folder):
        try:
            found = read_kept_column(folder, kind, name, manifest, images).columns
        except StoreError as error:
            unread[name] = str(error)
            continue
        columns |= {one: values for one, values in found.items() if one not in images.columns}
    return columns, unread


def verify_columns(folder: Path) -> list[tuple[str, str, bool]]:
    """Return what is wrong with columns: file, what, and whether it is damage."""
    problems = []
    for kind, name in list_columns(folder):
        path = find_column_file(folder, kind, name)
        try:
            _load(path)
        except UnreadableError as error:
            problems.append((f"{kind}/{path.name}", str(error), False))
        except StoreError as error:
            problems.append((f"{kind}/{path.name}", str(error), True))
    return problems


def repair_columns(folder: Path, aside: Path) -> list[str]:
    """Lay columns aside that are damaged, and return their files, relative to the store."""
    moved = [where for where, _, is_damage in verify_columns(folder) if is_damage]
    for where in moved:
        with explaining_refusal(aside):
            aside.mkdir(exist_ok=True)
            (folder / where).replace(aside / where.replace("/", "-"))
    return moved


def forget_gone(manifest: Manifest, gone: Gone, changes: Changes) -> None:
    """Take out of every column what it says of rows that go, and give the others their new rows."""
    for kind, name in list_columns(gone.folder):
        path = find_column_file(gone.folder, kind, name)
        frame, said = _load(path)
        places = list_places(frame)
        hashes = frame["sha256"].tolist()
        stays = np.array(
            [
                place not in gone.places and sha256 not in gone.hashes
                for place, sha256 in zip(places, hashes, strict=True)
            ],
            dtype=bool,
        )
        frame[ROW] = [gone.row_of_place.get(place, -1) for place in places]
        kept = gone.kept.frame["sha256"].to_numpy(dtype=object)
        # Of a file that has changed since, nothing is said.
        is_same = np.array(
            [row >= 0 and kept[row] == one for row, one in zip(frame[ROW], hashes, strict=True)],
            dtype=bool,
        )
        frame.loc[~is_same, ROW] = -1
        scrubbed = {**gone.scrub(said), "shards": list_shards(manifest)}
        write_column_file(changes.replace(path), frame[stays].reset_index(drop=True), scrubbed)
        if not stays.all() or scrubbed["provenance"] != said["provenance"]:
            changes.counts["columns"] += 1


def find_column_file(folder: Path, kind: str, name: str) -> Path:
    """Return where a store keeps a column of a name.

    Raises
    ------
    SelectionError
        If it is no name of one.
    """
    if not COLUMN_NAME.fullmatch(name):
        msg = f"{name!r} is no name of a column; see: bioprobe store clusters"
        raise SelectionError(msg)
    return folder / kind / f"{name}{_SUFFIX}"


def _load(path: Path, columns: Sequence[str] | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a file whole, or some of its columns, with what its metadata say."""
    table = _load_table(path, columns)
    return table.to_pandas(), _read_said(path, table)


def _load_table(path: Path, columns: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(
            io.BytesIO(read_bytes(path)),
            columns=None if columns is None else list(columns),
            page_checksum_verification=True,
        )
        table.validate(full=True)
        missing = {*(columns or (*IDENTITY, ROW, VALUE, NUMBER))} - {*table.column_names}
        if missing:
            _refuse(path, f"it lacks {', '.join(sorted(missing))}")
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        _refuse(path, str(error))
    return table


def _read_said(path: Path, table: pa.Table) -> dict[str, Any]:
    try:
        said: dict[str, Any] = parse_json((table.schema.metadata or {})[b"bioprobe"])
        shards = [(str(name), str(sha256), int(n)) for name, sha256, n in said["shards"]]
    except (ValueError, KeyError, TypeError) as error:
        _refuse(path, f"its metadata are not those of a column: {error!r}")
    return {"facts": {}, "names": {}, "provenance": {}, **said, "shards": shards}


def _refuse(path: Path, reason: str) -> NoReturn:
    again = f"bioprobe cluster --name {path.stem}"
    msg = (
        f"{path} cannot be read ({reason}); make it again with {again}, or lay it aside with "
        "bioprobe store verify --repair"
    )
    raise StoreError(msg)


def read_kept_column(
    folder: Path, kind: str, name: str, manifest: Manifest, images: ImageTable
) -> KeptColumn:
    """Read a column as it applies to the rows of a store.

    Raises
    ------
    StoreError
        If it is damaged.
    UnreadableError
        If it cannot be read just now.
    """
    path = find_column_file(folder, kind, name)
    frame, said = _load(path, (ROW, VALUE, NUMBER))
    rows = _place(said["shards"], frame[ROW].to_numpy(dtype=np.int64), manifest)
    values = np.full(manifest.n_images, "", dtype=object)
    numbers = np.full(manifest.n_images, np.nan)
    known = rows >= 0
    written = frame[VALUE].to_numpy(dtype=object), frame[NUMBER].to_numpy(dtype=np.float64)
    values[rows[known]], numbers[rows[known]] = written[0][known], written[1][known]
    others = _list_others(said["shards"], manifest)
    if len(others):
        where = _find_same(path, images, others)
        found = where >= 0
        values[others[found]] = written[0][where[found]]
        numbers[others[found]] = written[1][where[found]]
    return KeptColumn(name, kind, values, numbers, said["names"], said["provenance"], said["facts"])


def _place(shards: Sequence[tuple[str, str, int]], rows: Rows, manifest: Manifest) -> Rows:
    """Return where rows of shards are now, -1 where their shard is not there."""
    starts, start = dict[tuple[str, str], int](), 0
    for record in manifest.present_shards:
        starts[record.name, record.images_sha256] = start
        start += record.n_images
    ends = np.cumsum([n for _, _, n in shards], dtype=np.int64)
    shifts = np.array(
        [
            starts[name, sha256] - (end - n) if (name, sha256) in starts else -1 - end
            for (name, sha256, n), end in zip(shards, ends.tolist(), strict=True)
        ],
        dtype=np.int64,
    )
    inside = (rows >= 0) & (rows < (ends[-1] if len(ends) else 0))
    placed = np.full(len(rows), -1, dtype=np.int64)
    placed[inside] = rows[inside] + shifts[np.searchsorted(ends, rows[inside], side="right")]
    return np.maximum(placed, -1)


def _list_others(shards: Sequence[tuple[str, str, int]], manifest: Manifest) -> Rows:
    """Return the rows that are in none of some shards."""
    known = {(name, sha256) for name, sha256, _ in shards}
    found, start = list[Rows](), 0
    for record in manifest.present_shards:
        if (record.name, record.images_sha256) not in known:
            found.append(np.arange(start, start + record.n_images))
        start += record.n_images
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, dtype=np.int64)


def _find_same(path: Path, images: ImageTable, rows: Rows) -> Rows:
    """Return which line of a file is of the same picture as each of some rows, -1 where none is."""
    frame, _ = _load(path, IDENTITY)
    asked = images.take(rows, IDENTITY)
    names = asked["path"].astype(str)
    near = np.flatnonzero(frame["path"].isin(set(names)).to_numpy())
    lines = frame.iloc[near][list(IDENTITY)].itertuples(index=False, name=None)
    # The newest of rows with the same bytes and place is the current one.
    place = dict(zip(lines, near.tolist(), strict=True))
    wanted = asked[list(IDENTITY)].itertuples(index=False, name=None)
    return np.array([place.get(one, -1) for one in wanted], dtype=np.int64)
