"""How far long work is, told to whoever wants to know, and that it is to end.

Importing this module imports no library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Step(NamedTuple):
    """How far work is.

    Parameters
    ----------
    done, total : int
        Of what is counted.
    what : str
        What that is, such as ``images``.
    n_failed : int
        How many of those done failed.
    """

    done: int
    total: int
    what: str
    n_failed: int = 0


#: Told every step. An error that it raises stops the work, which keeps what is done.
Progress = Callable[[Step], None]


def tell_nobody(_: Step) -> None:
    """Take a step that nobody wants to know of."""


class Stopped(SystemExit):
    """The system asks this process to end: no failure of whatever runs just then."""
