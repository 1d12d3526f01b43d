"""One part of a report: what it is called, what it means in a sentence, and what it shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report.

    Parameters
    ----------
    id : str
        Anchor of the part; ``report/ID.html.j2`` below the templates shows it.
    name : str
        In the list of contents.
    heading : str
    lead : str
        What it means, in one sentence that needs no other.
    content : dict
        What its template shows, by which it is named ``it``.
    is_open : bool
        Whether it is read without being unfolded.
    brief : dict of str to str, optional
        ``label``, ``large`` and ``said`` of what it adds to the first screen.
    """

    id: str
    name: str
    heading: str
    lead: str
    content: dict[str, Any]
    is_open: bool = False
    brief: dict[str, str] | None = None


def describe_provenance(
    encoder: str, commands: Sequence[str], depends: dict[str, Any] | None = None
) -> Section:
    """Return the part that says by what figures can be had again."""
    return Section(
        "provenance", "Provenance", "Where the figures come from",
        "By what these figures can be had again.",
        {"encoder": encoder, "depends": depends, "commands": commands},
    )  # fmt: skip


#: In which order parts are read: what was found, what it rests on, how it was found.
ORDER = ("next", "pictures", "why", "places", "found", "counts", "records", "status", "clusters",
         "map", "review", "looks", "robustness", "data", "split", "methods", "positive", "errors",
         "certainty", "labels", "effects", "time", "provenance")  # fmt: skip


def arrange(sections: Iterable[Section]) -> list[Section]:
    """Return parts in the order in which they are read."""
    return sorted(sections, key=lambda one: ORDER.index(one.id))
