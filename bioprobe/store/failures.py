"""The list of images that could not be read, beside the shards of a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import StoreError
from bioprobe.files import replacing
from bioprobe.store.write_errors import explaining_refusal

if TYPE_CHECKING:
    import pandas as pd

FAILURES_NAME = "failures.parquet"
FAILURE_COLUMNS = ("root", "path", "reason")


def read_failures(folder: Path) -> pd.DataFrame:
    """Return the list in a store's folder: root, path, reason; without rows where there is none.

    Raises
    ------
    StoreError
        If the list is damaged.
    """
    import pandas as pd

    path = folder / FAILURES_NAME
    if not path.is_file():
        return pd.DataFrame(columns=list(FAILURE_COLUMNS), dtype=object)
    try:
        return pd.read_parquet(path)[list(FAILURE_COLUMNS)]
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path} is damaged ({error}); remove it, and embed lists anew what fails"
        raise StoreError(msg) from error


def write_failures(folder: Path, frame: pd.DataFrame) -> None:
    """Replace the list in a store's folder.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    path = folder / FAILURES_NAME
    with explaining_refusal(path), replacing(path) as temporary:
        frame[list(FAILURE_COLUMNS)].to_parquet(temporary, index=False)
