"""Taxa that a user added by name or by text prompt: to one store, or for all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from bioprobe.access import is_file
from bioprobe.errors import TaxonomyError
from bioprobe.files import explaining_refusal, parse_json, write_text
from bioprobe.store.annotations import write_time
from bioprobe.store.writing import QUICK_WAIT_S, check_present, holding, locking
from bioprobe.taxonomy import Taxon, Taxonomy
from bioprobe.taxonomy.lists import read_taxonomy, write_taxonomy
from bioprobe.taxonomy.taxonomy import name_lineages


class InFolder(Protocol):
    """A store, of which no more is asked than where it lies."""

    folder: Path


ADDED_TAXA_NAME = "taxa.csv"
_HISTORY_NAME = "taxa-history.jsonl"
USER_TAXA_VARIABLE = "BIOPROBE_TAXA"


@dataclasses.dataclass(frozen=True)
class AddedList:
    """A list of added taxa on disk; one that is not there is empty.

    Parameters
    ----------
    file : Path
        CSV, as :func:`bioprobe.taxonomy.lists.write_taxonomy` writes it.
    store : Path or None
        Folder of the store whose list it is; None for the user's.
    """

    file: Path
    store: Path | None = None

    @classmethod
    def of_store(cls, store: InFolder) -> AddedList:
        """Return the list of a store."""
        return cls(store.folder / ADDED_TAXA_NAME, store.folder)

    @classmethod
    def of_user(cls) -> AddedList:
        """Return the list that counts in every store of this user.

        It lies where the system keeps a user's data, or where ``$BIOPROBE_TAXA`` says.

        References
        ----------
        XDG Base Directory Specification, ``XDG_DATA_HOME``.
        """
        named = os.environ.get(USER_TAXA_VARIABLE)
        return cls(Path(named) if named else _find_data_dir() / "bioprobe" / ADDED_TAXA_NAME)

    def read(self) -> Taxonomy:
        """Return the taxa in the order of adding."""
        if not is_file(self.file):
            return Taxonomy(())
        return read_taxonomy(self.file, allow_contradictions=True)

    def write(self, taxa: Iterable[Taxon]) -> None:
        """Replace the list, whole or not at all; hold :meth:`lock` meanwhile.

        Raises
        ------
        StoreError
            If the disk refuses.
        """
        listed = tuple(taxa)
        if listed:
            write_taxonomy(self.file, listed)
            return
        with explaining_refusal(self.file):
            self.file.unlink(missing_ok=True)

    def add(self, taxon: Taxon) -> None:
        """Add a taxon.

        Raises
        ------
        TaxonomyError
            If a taxon of that lineage was added before.
        """
        self.check_new(taxon)
        self.write((*self.read(), taxon))
        self.record("added", [], taxon.name)

    def check_new(self, taxon: Taxon) -> None:
        """Refuse a taxon that was added before.

        Raises
        ------
        TaxonomyError
            If one of its lineage was.
        """
        if any(taxon.lineage == known.lineage for known in self.read()):
            msg = f"{taxon.name!r} was added before; remove it first with: bioprobe taxa remove"
            raise TaxonomyError(msg)

    def remove(self, name: str, *, lineage: str = "", parent: str = "") -> Taxon:
        """Remove a taxon by its scientific or common name, and return it.

        Parameters
        ----------
        name : str
            Scientific or common name.
        lineage, parent : str
            What tells it from homonyms; see :meth:`bioprobe.taxonomy.Taxonomy.find_listed`.

        Raises
        ------
        TaxonomyError
            If no such taxon was added, or several were.
        """
        found = self.find(name, lineage=lineage, parent=parent)
        self.drop(found)
        self.record("removed", [found.name], "")
        return found

    def find(self, name: str, *, lineage: str = "", parent: str = "") -> Taxon:
        """Return the taxon of a name, as :meth:`remove` finds it."""
        added = self.read()
        found = added.find_listed(name, lineage=lineage, parent=parent)
        if len(found) > 1:
            msg = (
                f"{name!r} names {len(found)} taxa that were added to {self.describe()}: "
                f"{name_lineages(found)}; say which with --lineage or --parent"
            )
            raise TaxonomyError(msg)
        if not found:
            named = name_lineages(added.find_listed(name))
            known = named or ", ".join(taxon.name for taxon in added)
            known = known or "none; labels of pictures are no added taxa (see: bioprobe taxa add)"
            msg = f"no taxon {name!r} was added to {self.describe()}; added were: {known}"
            raise TaxonomyError(msg)
        return found[0]

    def drop(self, taxon: Taxon) -> None:
        """Remove the taxon of a lineage, if it was added."""
        self.write(other for other in self.read() if other.lineage != taxon.lineage)

    def record(self, what: str, before: Sequence[str], after: str) -> None:
        """Write what became of a taxon of a store; hold :meth:`lock` meanwhile."""
        if self.store is None:
            return
        path = self.store / _HISTORY_NAME
        line = {"at": write_time(), "what": what, "before": list(before), "after": after}
        with explaining_refusal(path), path.open("ab+") as file:
            torn = b""
            if file.tell():
                file.seek(-1, os.SEEK_END)
                # A line that a killed run tore does not take this one along.
                torn = b"" if file.read() == b"\n" else b"\n"
            file.write(torn + json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def read_history(self) -> list[dict[str, Any]]:
        """Return what became of the taxa, the oldest first; a line that is torn is none."""
        path = self.file.with_name(_HISTORY_NAME)
        found = list[dict[str, Any]]()
        for line in path.read_bytes().splitlines() if is_file(path) else ():
            with contextlib.suppress(ValueError):
                found.append(parse_json(line.decode(), dict))
        return found

    def take_over(self, others: Sequence[AddedList]) -> list[Taxon]:
        """Take over the taxa of other lists and what became of them, into one that is empty.

        Returns
        -------
        list of Taxon
            Those that an earlier list says otherwise, of the same lineage, which were left out.

        Raises
        ------
        StoreError
            If the disk refuses.
        """
        taken: dict[tuple[str, ...], Taxon] = {}
        differ = [
            taxon for one in others for taxon in one.read()
            if taken.setdefault(taxon.lineage, taxon) != taxon
        ]  # fmt: skip
        self.write(taken.values())
        history = sorted(
            (line for one in others for line in one.read_history()),
            key=lambda line: str(line.get("at", "")),
        )
        if history:
            lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in history]
            write_text(self.file.with_name(_HISTORY_NAME), "".join(lines))
        return differ

    def describe(self) -> str:
        """Say whose list it is."""
        return str(self.store) if self.store else f"the user-wide list {self.file}"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one who changes the list while the block runs.

        Others who write are waited for, :data:`~bioprobe.store.writing.QUICK_WAIT_S`.

        Raises
        ------
        StoreLockedError
            If another process holds it.
        StoreError
            If the folder cannot be written.
        """
        if self.store is not None:
            check_present(self.store)
            with holding(self.store, wait_s=QUICK_WAIT_S):
                yield
            return
        with explaining_refusal(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
        lock_file = self.file.with_name(f".{self.file.name}.lock")
        with locking(lock_file, QUICK_WAIT_S, f"changing {self.file}"):
            yield


def read_added_taxa(store: InFolder) -> Taxonomy:
    """Return the taxa that were added to a store, in the order of adding."""
    return AddedList.of_store(store).read()


def read_user_taxa() -> Taxonomy:
    """Return the taxa that this user added for all stores, in the order of adding."""
    return AddedList.of_user().read()


def find_added_taxa(store: InFolder) -> Taxonomy:
    """Find the taxa that are added to the classes of a store: its own first, then the user's."""
    return Taxonomy.merge((*read_added_taxa(store), *read_user_taxa()))


def _find_data_dir() -> Path:
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
