"""What was read at addresses in earlier runs, so that what has not changed is not read again.

Of each object that was read the cache keeps its version, as its server tells it, with the facts of
the picture. Where a server tells no version, or the cache was emptied, pictures are read again, and
known by their content as those of a disk are.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioprobe import remote
from bioprobe.cache import find_cache
from bioprobe.files import parse_json
from bioprobe.images.addresses import join_address
from bioprobe.images.location import is_asked, read_name


class Versions:
    """What was read below one address."""

    def __init__(self, root: str, folder: Path) -> None:
        self._root = root
        self._file = folder / f"{hashlib.sha256(root.encode()).hexdigest()}.jsonl"
        self._turn = threading.Lock()
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}
        try:
            text = self._file.read_bytes()
        except OSError:
            text = b""
        for line in text.split(b"\n"):
            # A run that was killed leaves half a line.
            try:
                path, version, facts = parse_json(line)
            except ValueError:
                continue
            self._known[path] = version, facts

    def recall(self, path: str) -> tuple[str, dict[str, Any] | None]:
        """Return the version of an object now, and the facts that were read of it.

        Returns
        -------
        version : str
            ``""`` where it is not told, or nothing is there.
        facts : dict or None
            None where this version was not read yet.

        Raises
        ------
        OSError
            If it cannot be told.
        """
        found = remote.look(join_address(self._root, read_name(path)))
        version = found.version if found is not None else ""
        known = self._known.get(path)
        is_same = known is not None and version and known[0] == version
        return version, dict(known[1]) if known is not None and is_same else None

    def keep(self, path: str, version: str, facts: Mapping[str, Any]) -> None:
        """Keep what was read of an object; where the cache cannot be written it is read again.

        Parameters
        ----------
        path : str
        version : str
            As it was told before it was read: what has changed since is read again.
        facts : mapping
            Fact columns of the image table.
        """
        if not version:
            return
        self._known[path] = version, dict(facts)
        line = json.dumps([path, version, facts], ensure_ascii=False)
        with self._turn:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("ab") as file:
                    file.write(f"\n{line}\n".encode())
            except OSError:
                return


def open_versions(root: str) -> Versions | None:
    """Return what was read below a root; None where it is no address that a person named."""
    # Of one root there is one, however many threads ask for it at first.
    with _opening:
        return _open(root, find_cache("read")) if is_asked(root) else None


_opening = threading.Lock()


@functools.lru_cache(maxsize=8)
def _open(root: str, folder: Path) -> Versions:
    return Versions(root, folder)
