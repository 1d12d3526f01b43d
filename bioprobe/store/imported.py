"""Where the rows of a store came from that were imported in part: address, revision and files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioprobe import __version__
from bioprobe.access import is_file, reading
from bioprobe.errors import StoreError
from bioprobe.files import read_json, write_text
from bioprobe.provenance import write_now
from bioprobe.settings import TEXT, TEXTS, Kind, check_fields

IMPORTS_NAME = "imports.json"
_FIELDS = {
    "address": TEXT, "revision": TEXT, "model": TEXT, "within": TEXTS, "time": TEXT,
    "version": TEXT,
    "files": Kind("an object of files", lambda value: isinstance(value, dict)),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Imported:
    """One import.

    Parameters
    ----------
    address : str
        Address or folder.
    revision : str
        Commit that was read, ``""`` where there is no such thing.
    model : str
        Encoder of the vectors.
    within : tuple of str
        Taxa that were asked for; none where all was.
    files : mapping of str to mapping
        Below the address: ``n_bytes`` and ``tag`` (ETag, hash or time) of each that rows are of.
    time : str
        When it began, ISO 8601, UTC.
    version : str
        Of bioprobe.
    """

    address: str
    revision: str
    model: str
    within: tuple[str, ...]
    files: Mapping[str, Mapping[str, Any]]
    time: str = dataclasses.field(default_factory=write_now)
    version: str = __version__

    def find_changed(self, other: Imported) -> list[str]:
        """Return the files of the same address that are others in another import."""
        if self.address != other.address:
            return []
        both = self.files.keys() & other.files.keys()
        return sorted(name for name in both if self.files[name] != other.files[name])

    def describe(self) -> str:
        """Say it on a line."""
        revision = f" at {self.revision}" if self.revision else ""
        within = f" within {', '.join(self.within)}" if self.within else ""
        return f"{self.address}{revision}{within}: {len(self.files):,} files ({self.time})"


def read_imports(folder: Path) -> list[Imported]:
    """Return what was imported into a store, the oldest first.

    Raises
    ------
    StoreError
        If the list is damaged.
    """
    path = folder / IMPORTS_NAME
    if not is_file(path):
        return []
    try:
        with reading(path):
            entries = read_json(path, list)
        for fields in entries:
            check_fields(fields, _FIELDS, needed=list(_FIELDS))
        return [Imported(**{**fields, "within": tuple(fields["within"])}) for fields in entries]
    except (ValueError, TypeError, AttributeError) as error:
        msg = f"{path} is damaged ({error}); restore it from a copy, or remove it: no row is lost"
        raise StoreError(msg) from error


def note_import(folder: Path, imported: Imported) -> list[str]:
    """Add an import to the list of a store; the same one again takes the place of the first.

    Returns
    -------
    list of str
        Files of the address that have changed since an earlier import.
    """
    earlier = read_imports(folder)
    changed = {name for one in earlier for name in one.find_changed(imported)}
    key = (imported.address, imported.revision, imported.model, imported.within)
    kept = [one for one in earlier if (one.address, one.revision, one.model, one.within) != key]
    entries = [dataclasses.asdict(one) for one in (*kept, imported)]
    write_text(folder / IMPORTS_NAME, json.dumps(entries, indent=2) + "\n")
    return sorted(changed)
