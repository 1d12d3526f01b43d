"""Where a result comes from: what every result carries with it."""

from __future__ import annotations

import dataclasses
import datetime
import shlex
import sys
from pathlib import Path
from typing import Any

from bioprobe import __version__
from bioprobe.devices import name_used


def _write_command() -> str:
    """Return the command line of this process, ours as one would type it on any machine."""
    program, *rest = sys.argv or [""]
    is_ours = Path(program).stem == "bioprobe" or Path(program).parts[-2:] == _AS_MODULE
    return shlex.join(["bioprobe" if is_ours else program, *rest])


_AS_MODULE = ("bioprobe", "__main__.py")


def write_now() -> str:
    """Return this moment in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a result was computed from.

    Parameters
    ----------
    encoder : mapping of str to str
        Fingerprint of the encoder.
    store : str
        Folder of the store.
    n_rows : int
        Rows of the store that took part.
    condition : str
        Condition on these rows, or ``""``.
    options : mapping
        Everything else that the result depends on.
    command : str
        Exact command line.
    version : str
        Version of bioprobe.
    time : str
        Time of the run in UTC, ISO 8601.
    device : str
        GPU that made large products; "" where the processor made all.
    """

    encoder: dict[str, str]
    store: str
    n_rows: int
    condition: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    command: str = dataclasses.field(default_factory=_write_command)
    version: str = __version__
    time: str = dataclasses.field(default_factory=write_now)
    device: str = dataclasses.field(default_factory=name_used)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return dataclasses.asdict(self)
