"""What could not be read: one line a picture, that of the newest try."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bioprobe.access import is_file, read_bytes
from bioprobe.errors import StoreError
from bioprobe.files import replacing
from bioprobe.store.shard import READ_ERRORS

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.store.gone import Changes, Gone

FAILURES_NAME = "failures.parquet"


class Failure(NamedTuple):
    """A picture, or a folder, that could not be read.

    Attributes
    ----------
    root, path : str
        Where it was looked for.
    reason : str
    source : str
        Table, list, folder or data set that names it; empty where it was named itself.
    """

    root: str
    path: str
    reason: str
    source: str = ""


def read_failures(folder: Path) -> pd.DataFrame:
    """Return the list in a store's folder as a frame; see :func:`list_failures`."""
    return _make_frame(list_failures(folder))


def list_failures(folder: Path) -> list[Failure]:
    """Return what is in the list in a store's folder; nothing where there is no list.

    Raises
    ------
    StoreError
        If the list is damaged.
    UnreadableError
        If it cannot be read just now.
    """
    path = folder / FAILURES_NAME
    if not is_file(path):
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # As Python's own texts, which are decoded here and now.
        listed = pq.read_table(io.BytesIO(read_bytes(path))).to_pydict()
        sources = listed.get("source", [""] * len(listed["path"]))
        rows = zip(listed["root"], listed["path"], listed["reason"], sources, strict=True)
        return [Failure(*row) for row in rows]
    except (*READ_ERRORS, pa.ArrowException) as error:
        msg = f"{path} is damaged ({error}); remove it, and embed lists anew what fails"
        raise StoreError(msg) from error


def write_failures(folder: Path, frame: pd.DataFrame) -> None:
    """Replace the list in a store's folder: in the order of paths, however it came about.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    path = folder / FAILURES_NAME
    with replacing(path) as temporary:
        _complete(frame).sort_values(["root", "path"]).to_parquet(temporary, index=False)


def renew_failures(
    folder: Path, failed: Iterable[Failure], *, read: Collection[str], listed: Collection[str] = ()
) -> None:
    """Bring the list in a store's folder up to date with what was tried.

    A picture that was tried is struck, and so is what sources named that were tried whole: where
    such a table was looked up below a wrong folder, its pictures stand in the list under paths
    that nobody will try again. What failed is added, each picture once.

    Raises
    ------
    StoreError
        If the list is damaged, or the disk refuses.
    """
    from bioprobe.sources.listing import is_mended, join

    earlier = list_failures(folder)
    newest = {join(one.root, one.path): one for one in failed}
    rows = [
        one
        for one in earlier
        if (file := join(one.root, one.path)) not in newest
        and file not in read
        and one.source not in listed
        and not is_mended(one.root, one.path, one.reason)
    ]
    rows += newest.values()
    if rows or earlier:
        write_failures(folder, _make_frame(rows))


def forget_gone(gone: Gone, changes: Changes) -> None:
    """Take pictures that are gone out of the list in a store's folder."""
    from bioprobe.sources.listing import join

    earlier = list_failures(gone.folder)
    rows = [
        one._replace(reason=gone.scrub(one.reason), source=gone.scrub(one.source))
        for one in earlier
        if join(one.root, one.path) not in gone.files
    ]
    if rows != earlier:
        _make_frame(rows).to_parquet(changes.replace(gone.folder / FAILURES_NAME), index=False)
        changes.counts["failures"] += len(earlier) - len(rows)


def _make_frame(rows: list[Failure]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(Failure._fields), dtype=object)


def _complete(frame: pd.DataFrame) -> pd.DataFrame:
    columns = list(Failure._fields)
    return (frame if "source" in frame.columns else frame.assign(source=""))[columns]
