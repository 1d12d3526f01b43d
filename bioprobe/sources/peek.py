"""What can be seen of a source before it is known what it is."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from bioprobe.access import is_file, is_folder, list_names
from bioprobe.errors import SourceError
from bioprobe.files import parse_json
from bioprobe.table_bounds import check_json

# As much of a file as its kind can be told from.
_HEAD_BYTES = 65_536


@dataclasses.dataclass(frozen=True)
class Peek:
    """What can be seen of a source before it is read; each view of it is taken once."""

    path: Path

    @functools.cached_property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return is_folder(self.path)

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Names of what lies in a folder; none for a file."""
        return frozenset(list_names(self.path)) if self.is_folder else frozenset()

    @functools.cached_property
    def head(self) -> bytes:
        """First bytes of a file; none of a folder."""
        if not is_file(self.path):
            return b""
        with self.path.open("rb") as file:
            return file.read(_HEAD_BYTES)

    @functools.cached_property
    def json(self) -> Any:  # noqa: ANN401 - whatever JSON says
        """Content of a JSON file; None of another file.

        Raises
        ------
        SourceError
            If it begins as JSON does and cannot be read.
        """
        start = self.head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        if start not in (b"{", b"["):
            return None
        check_json(self.path)
        try:
            return parse_json(self.path.read_bytes())
        except ValueError as error:
            if self.path.suffix.lower() != ".json":
                return None
            msg = f"{self.path} cannot be read as JSON: {error}"
            raise SourceError(msg) from error
