"""Columns that were computed and are kept in a store: written, read, and forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bioprobe.access import is_file
from bioprobe.errors import SelectionError, StoreError
from bioprobe.files import explaining_refusal, replacing
from bioprobe.images.identity import IDENTITY
from bioprobe.images.image_table import COLUMNS
from bioprobe.store.columns import (
    CLUSTERS,
    COLUMN_NAME,
    CONDITION_WORDS,
    FOLDERS,
    NAMED,
    NUMBER,
    ROW,
    VALUE,
    KeptColumn,
    find_column_file,
    list_columns,
    list_shards,
    read_kept_column,
    write_column_file,
)
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.types import Names, Rows


def check_name(store: EmbeddingStore, name: str) -> None:
    """Refuse a name that no column can be kept under.

    Raises
    ------
    SelectionError
        If it is no word, or the image table has a column of that name.
    """
    if not COLUMN_NAME.fullmatch(name) or name in CONDITION_WORDS:
        msg = (
            f"{name!r} cannot name a column; use letters, digits and '_', a letter first, such as "
            "cluster"
        )
        raise SelectionError(msg)
    for taken in (name, name + NAMED):
        if taken in COLUMNS or taken in store.given.columns:
            msg = (
                f"the pictures of {store.folder} have a column {taken!r} already, which stays as "
                "it is; choose another --name"
            )
            raise SelectionError(msg)


def write_column(
    store: EmbeddingStore,
    name: str,
    rows: Rows,
    values: Sequence[str] | Names,
    *,
    folder: str = CLUSTERS,
    numbers: Any = None,  # noqa: ANN401 - an array of any real dtype
    names: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Keep a column in a store, in place of one of that name.

    Parameters
    ----------
    store : EmbeddingStore
    name : str
        A word, as :func:`check_name` has it.
    rows : ndarray of int64, shape (n,)
        Rows of the store that something is said of.
    values : sequence of str
        What each is; ``""`` where it is in no group.
    folder : str
        One of :data:`FOLDERS`.
    numbers : ndarray of float, shape (n,), optional
        Stands beside each.
    names : mapping of str to str, optional
        What values are called.
    provenance, facts : mapping, optional
        JSON-ready; kept in the file's metadata.

    Raises
    ------
    SelectionError
        If the name cannot be used.
    StoreError
        If rows have other numbers by now, or the disk refuses.
    """
    check_name(store, name)
    for other in FOLDERS:
        if other != folder and is_file(find_column_file(store.folder, other, name)):
            msg = f"{store.folder} keeps {other}/{name} already; choose another --name"
            raise SelectionError(msg)
    frame = store.given.take(rows, IDENTITY).reset_index(drop=True)
    beside = np.full(len(rows), np.nan) if numbers is None else np.asarray(numbers, np.float64)
    frame = frame.assign(
        **{
            ROW: np.asarray(rows, dtype=np.int64),
            VALUE: np.asarray(values, dtype=object),
            NUMBER: beside,
        }
    )
    said = {
        "provenance": dict(provenance or {}),
        "names": dict(names or {}),
        "facts": dict(facts or {}),
        "shards": list_shards(store.manifest),
    }
    store.make_folder(folder)
    with replacing(find_column_file(store.folder, folder, name)) as temporary:
        write_column_file(temporary, frame, said)
    store.forget_columns()


def read_column(store: EmbeddingStore, name: str, kind: str = CLUSTERS) -> KeptColumn:
    """Read a column that a store keeps, as it applies to its rows now.

    Raises
    ------
    StoreError
        If there is none of that name, or it is damaged.
    UnreadableError
        If it cannot be read just now.
    """
    path = find_column_file(store.folder, kind, name)
    if not is_file(path):
        known = ", ".join(one for _, one in list_columns(store.folder, kind)) or "none"
        msg = f"no {kind}/{name} in {store.folder}; there are: {known}; run: bioprobe cluster"
        raise StoreError(msg)
    return read_kept_column(store.folder, kind, name, store.manifest, store.given)


def remove_column(store: EmbeddingStore, name: str) -> None:
    """Forget a column of clusters; the pictures that it is about are not touched.

    Raises
    ------
    StoreError
        If there is none of that name, or the disk refuses.
    """
    path = find_column_file(store.folder, CLUSTERS, name)
    if not is_file(path):
        known = ", ".join(one for _, one in list_columns(store.folder, CLUSTERS)) or "none"
        msg = f"no {CLUSTERS}/{name} in {store.folder}; there are: {known}"
        raise StoreError(msg)
    with explaining_refusal(path):
        path.unlink()
    store.forget_columns()
