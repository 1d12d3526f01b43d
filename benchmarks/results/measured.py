"""What was measured of a part, kept in a file as soon as it is known.

A run that was ended goes on from these, and tells from them how long it will take.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import Row
from bioprobe.files import write_text


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a figure belongs: it says nothing of another machine, nor of other versions."""

    machine: tuple[str, ...]
    versions: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """The rows of a part, and what they belong to.

    Parameters
    ----------
    part : str
        Name of the benchmark.
    is_quick : bool
        Whether sizes were small.
    revision : str
        Commit that was measured.
    place : Place
        Machine and versions.
    begun : datetime
        When.
    took_s : float
        How long all of it took.
    others : float, optional
        Share of the cores that other work took meanwhile, where the system says.
    rows : tuple of Row
        What came of it.
    """

    part: str
    is_quick: bool
    revision: str
    place: Place
    begun: datetime
    took_s: float
    others: float | None
    rows: tuple[Row, ...]

    def write(self, folder: Path) -> None:
        """Keep it in a folder, in place of what was kept of this part at these sizes."""
        fields = dataclasses.asdict(self) | {"begun": self.begun.isoformat()}
        folder.mkdir(parents=True, exist_ok=True)
        file = _find_file(folder, self.part, is_quick=self.is_quick)
        write_text(file, json.dumps(fields, indent=1))

    @classmethod
    def read(cls, folder: Path, part: str, *, is_quick: bool) -> Measured | None:
        """Return what is kept of a part; None where nothing is, or it was not written whole."""
        try:
            fields: dict[str, Any] = json.loads(
                _find_file(folder, part, is_quick=is_quick).read_text(encoding="utf-8")
            )
            return cls(**{
                **fields,
                "place": Place(*(tuple(one) for one in fields["place"].values())),
                "begun": datetime.fromisoformat(fields["begun"]),
                "rows": tuple(map(Row.from_dict, fields["rows"])),
            })  # fmt: skip
        except (OSError, ValueError, TypeError, KeyError):
            return None


def _find_file(folder: Path, part: str, *, is_quick: bool) -> Path:
    return folder / f"{part}-{'quick' if is_quick else 'whole'}.json"
