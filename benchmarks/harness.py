"""What every benchmark gives to the table: ways that were run in turn, and what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bioprobe.encoders.encoder import Fingerprint

#: What made the vectors of stores that are drawn.
DRAWN = Fingerprint(
    model="drawn", weights_sha256="0" * 64, preprocessing_sha256="0" * 64, precision="fp32",
    backend="numpy",
)  # fmt: skip
#: From nothing to nothing: what is timed.
Way = Callable[[], object]


def alternate(
    ways: Mapping[str, Way], n_rounds: int, *, warm: bool = True
) -> dict[str, list[float]]:
    """Run ways in turn, and return the seconds of each round.

    Parameters
    ----------
    ways : mapping of str to callable
        Of one process, so that what else the machine does falls on all of them alike.
    n_rounds : int
        How often each is timed.
    warm : bool
        Whether each runs once before, untimed.
    """
    if warm:
        for way in ways.values():
            way()
    took_s: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(n_rounds):
        for name, way in ways.items():
            start_s = time.perf_counter()
            way()
            took_s[name].append(time.perf_counter() - start_s)
    return took_s


def find_peak_mb() -> float:
    """Return the most memory that this process has held, in megabytes.

    What ``getrusage`` says begins with the memory of the process that started this one.
    """
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    work : str
        What is done.
    size : str
        On how much.
    unit : str
        Of ``ours``, ``theirs`` and ``best``; what ends in ``/s``, and ``found``, a share, is better
        when larger, all else when smaller.
    ours : sequence of float
        Of each round; none where it could not be had, which ``size`` says.
    peer : str
        What was run beside, ``""`` for nothing.
    theirs : sequence of float
        Of the same rounds; none where it could not be had, which ``peer`` says.
    limit : str
        What the machine allows, ``""`` where that is not known.
    best : float
        What it would be at the limit.
    wanted : float, optional
        The least ratio to the peer that is good enough.
    most : float, optional
        The most that is good enough, in the unit; of a rate, or a share, the least.
    n : int
        Pictures, for curves of growth; 0 for none.
    """

    work: str
    size: str
    unit: str
    ours: tuple[float, ...]
    peer: str = ""
    theirs: tuple[float, ...] = ()
    limit: str = ""
    best: float = math.nan
    wanted: float | None = None
    most: float | None = None
    n: int = 0

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Row:
        """Build a row from ``dataclasses.asdict`` of it, by way of JSON."""
        return cls(**{
            **fields, "ours": tuple(fields["ours"]), "theirs": tuple(fields["theirs"])
        })  # fmt: skip

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit.endswith("/s") or self.unit == "found"

    @property
    def misses(self) -> bool:
        """Whether what is wanted of it, by ratio or in the unit, is not reached."""
        if self.most is not None and self.ours:
            middle = statistics.median(self.ours)
            if middle < self.most if self.is_rate else middle > self.most:
                return True
        return self.wanted is not None and self.ratio < self.wanted

    @property
    def ratios(self) -> list[float]:
        """How many times as good as the peer it was in each round."""
        pairs = zip(self.ours, self.theirs, strict=False)
        return [own / other if self.is_rate else other / own for own, other in pairs]

    @property
    def ratio(self) -> float:
        """Their median, not a number where there is no peer."""
        return statistics.median(self.ratios) if self.ratios else math.nan

    @property
    def share(self) -> float:
        """Share of the limit that was reached."""
        middle = statistics.median(self.ours)
        return middle / self.best if self.is_rate else self.best / middle


def tell_openblas(instructions: str) -> None:
    """Tell FAISS's BLAS, before FAISS is loaded, what the processor has, if nobody did.

    It does not know recent ones, and then multiplies ten times as slowly as it could.

    Parameters
    ----------
    instructions : str
        As ``torch.backends.cpu.get_cpu_capability`` says.
    """
    kind = {"AVX512": "SkylakeX", "AVX2": "Haswell"}.get(instructions, "")
    os.environ.setdefault("OPENBLAS_CORETYPE", kind)


def make_rows(
    work: str, size: str, took_s: Mapping[str, list[float]], *, own: str, n_done: float = 0,
    unit: str = "s", peers: tuple[str, ...] | None = None, **more: Any,  # noqa: ANN401
) -> list[Row]:  # fmt: skip
    """Make a row for each peer of what :func:`alternate` returned.

    Parameters
    ----------
    work, size, unit
        As in :class:`Row`.
    took_s : mapping of str to list of float
        Seconds by way.
    own : str
        Which of them is ours.
    n_done : float
        What is done in a round, where the unit is a rate.
    peers : tuple of str, optional
        The others, in their order, by default all.
    more
        What else :class:`Row` takes, of every row.
    """

    def turn(seconds: list[float]) -> tuple[float, ...]:
        return tuple(n_done / one if unit.endswith("/s") else one for one in seconds)

    others = [one for one in took_s if one != own] if peers is None else peers
    return [
        Row(work=work, size=size, unit=unit, ours=turn(took_s[own]),
            peer=one, theirs=turn(took_s[one]) if one else (), **more)
        for one in others or ("",)
    ]  # fmt: skip


def tell_absent(row: Row, peer: str, why: str) -> list[Row]:
    """Make a row that says why a peer is not beside ours."""
    return [dataclasses.replace(row, peer=f"{peer}: {why}", theirs=(), wanted=None)]
