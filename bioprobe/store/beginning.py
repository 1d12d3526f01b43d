"""What was there before a store: one that nothing came into can be taken away without a trace."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from bioprobe.access import is_absent
from bioprobe.encoders.taught import CARD_FILE, TAUGHT_FILE
from bioprobe.store.failures import FAILURES_NAME
from bioprobe.store.manifest import MANIFEST_NAME
from bioprobe.store.writing import LOCK_NAME


@dataclasses.dataclass(frozen=True)
class Before:
    """What was there before a store was made.

    Parameters
    ----------
    folder : Path
        Of the store.
    names : frozenset of str
        Files and folders that were in it.
    absent : tuple of Path
        It and those above it that had to be made, the innermost first.
    """

    folder: Path
    names: frozenset[str]
    absent: tuple[Path, ...]

    @classmethod
    def look(cls, folder: Path) -> Before:
        """Look at what is there now; the store is made after that."""
        names = os.listdir(folder) if folder.is_dir() else ()  # noqa: PTH208 - names, not paths
        absent = itertools.takewhile(is_absent, (folder, *folder.parents))
        return cls(folder, frozenset(names), tuple(absent))

    def restore(self, further: Iterable[str]) -> None:
        """Remove what a store that holds no image consists of, as far as it was not there before.

        Parameters
        ----------
        further : iterable of str
            Files and folders in it that are removed too.

        Raises
        ------
        OSError
            If the disk refuses.
        """
        from bioprobe.store.kept import KEPT_NAME
        from bioprobe.store.share_card import CARD_NAME

        # What a run writes before the first image is in. Without a manifest there is no store.
        written = (
            MANIFEST_NAME, FAILURES_NAME, CARD_NAME, CARD_FILE, TAUGHT_FILE, KEPT_NAME, "shards",
            LOCK_NAME, *further,
        )  # fmt: skip
        for name in written:
            if name in self.names:
                continue
            path = self.folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        # Whatever else is in a folder by now keeps it.
        with contextlib.suppress(OSError):
            for folder in self.absent:
                folder.rmdir()
