"""Which formats of other tools are recognised, by what a file or folder holds, not by its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bioprobe.registry import FIELD_FORMATS

if TYPE_CHECKING:
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Part
    from bioprobe.sources.peek import Peek


@dataclasses.dataclass(frozen=True)
class Format:
    """A format in which another tool says what pictures there are.

    Parameters
    ----------
    name : str
        Short, as ``sources show`` and ``--as`` call it, such as ``camtrap-dp``.
    what : str
        For people, with the versions that are read.
    recognise : callable
        Whether a :class:`~bioprobe.sources.peek.Peek` is of this format.
    list : callable
        Returns the :class:`~bioprobe.sources.listing.Part` that it says, of a Peek and the
        :class:`~bioprobe.sources.files.SourceOptions`.
    """

    name: str
    what: str
    recognise: Callable[[Peek], bool]
    list: Callable[[Peek, SourceOptions], Sequence[Part]]


def list_formats() -> list[Format]:
    """Return the formats that are read, in the order in which they are looked for.

    What another package adds comes before our own.
    """
    ours = FIELD_FORMATS.places
    names = [*FIELD_FORMATS.added, *ours]
    return [FIELD_FORMATS.load(name) for name in names]


def find_format(peek: Peek) -> Format | None:
    """Return the format of a source, or None where it has none of another tool."""
    return next((one for one in list_formats() if one.recognise(peek)), None)
