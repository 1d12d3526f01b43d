"""Named selections of a store's images: masks, and the groups that go with them.

A selection is about images, not about row numbers: it knows each by the SHA-256 of its bytes, its
root, its path and its region. So it holds after an append, after a repair and after ``--prune``,
and an image that came later, or whose file has changed, is *not judged* rather than silently kept
or dropped.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import describe_absence, is_file, list_files, read_bytes
from bioprobe.errors import SelectionError, StoreError
from bioprobe.files import explaining_refusal, parse_json, replacing
from bioprobe.images.regions import REGION
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.gone import Changes, Gone, list_places

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SELECTIONS_NAME, _SUFFIX = "selections", ".parquet"
KEPT, GROUP = "kept", "group"
#: Which of near duplicates is kept, and in what group each is.
DUPLICATES_MASK = "filters/duplicates"
_IDENTITY = ("sha256", "root", "path", REGION)
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
    def judged(self) -> npt.NDArray[np.bool_]:
        """Whether each row of the store was judged, shape (n_rows,)."""
        return self.frame["judged"].to_numpy(dtype=bool)

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Whether each row of the store was judged and kept, shape (n_rows,)."""
        return self.frame[KEPT].to_numpy(dtype=bool)


def write_selection(
    store: EmbeddingStore,
    name: str,
    rows: npt.NDArray[np.int64],
    kept: npt.NDArray[np.bool_],
    *,
    columns: dict[str, npt.NDArray[Any]] | None = None,
    provenance: dict[str, Any] | None = None,
) -> None:
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

    Raises
    ------
    SelectionError
        If the name cannot be used, or rows and mask do not fit each other.
    StoreError
        If the disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _find_file(store.folder, name)
    if len(rows) != len(kept):
        msg = f"{len(rows)} rows were judged, got a mask of {len(kept)}"
        raise SelectionError(msg)
    frame = store.images.take(rows, _IDENTITY).reset_index(drop=True)
    frame = frame.assign(**{KEPT: np.asarray(kept, dtype=bool)}, **(columns or {}))
    # The newest of rows with the same bytes and place is the current one.
    frame = frame.drop_duplicates(list(_IDENTITY), keep="last")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    said = {**(table.schema.metadata or {}), b"provenance": json.dumps(provenance or {}).encode()}
    store.make_folder(SELECTIONS_NAME, *name.split("/")[:-1])
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(said), temporary)


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
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = _find_file(store.folder, name)
    if not is_file(path):
        maker = "bioprobe filter and dedupe write some"
        raise describe_absence(store.folder, "mask", name, list_selections(store), maker)
    try:
        data = read_bytes(path)
        table = pq.read_table(io.BytesIO(data))
        table.validate(full=True)
        provenance = parse_json((table.schema.metadata or {}).get(b"provenance", b"{}"))
        judged = table.to_pandas()
        if REGION not in judged:
            # Made when every row was a whole picture.
            judged[REGION] = ""
        known = _name_images(judged)
        judged[KEPT] = judged[KEPT].astype(bool)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        msg = f"{path} cannot be read ({error}); make the selection again"
        raise StoreError(msg) from error
    asked = _name_images(store.images.select(list(_IDENTITY)))
    positions = pc.index_in(asked, value_set=known).fill_null(-1).to_numpy()
    frame = judged.drop(columns=list(_IDENTITY)).reindex(positions).reset_index(drop=True)
    frame.insert(0, "judged", positions >= 0)
    frame[KEPT] = (positions >= 0) & (frame[KEPT] == True)  # noqa: E712 - holes are not kept
    return Selection(name, frame, provenance)


def _name_images(frame: pd.DataFrame) -> pa.ChunkedArray:
    """Return what each image is known by as one text, shape (n_images,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.Table.from_pandas(frame[list(_IDENTITY)], preserve_index=False)
    columns = [table[name].cast(pa.large_string()) for name in _IDENTITY]
    # No path holds a NUL.
    return pc.binary_join_element_wise(
        *columns, pa.scalar("\0", pa.large_string()), null_handling="replace", null_replacement=""
    )


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
            frame = table.select([one for one in _IDENTITY if one in table.column_names])
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
            scrubbed = {**scrubbed, "n_removed": _count_removed(provenance) + int((~stays).sum())}
        said[b"provenance"] = json.dumps(scrubbed).encode()
        rest = table.filter(pa.array(stays)).replace_schema_metadata(said)
        pq.write_table(rest, changes.replace(path))
        changes.counts["selections"] += 1


def _count_removed(provenance: dict[str, Any]) -> int:
    return int(provenance.get("n_removed", 0))


def _find_file(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        msg = (
            f"{name!r} cannot name a selection; use letters, digits, '_', '-' and '.', in parts "
            "separated by '/', such as filters/animal"
        )
        raise SelectionError(msg)
    return folder / SELECTIONS_NAME / f"{name}{_SUFFIX}"
