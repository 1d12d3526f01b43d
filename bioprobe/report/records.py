"""Pages of records, activity, richness and trends, and all of them as a part of the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from bioprobe import __version__
from bioprobe.files import write_text
from bioprobe.page.html import render_page
from bioprobe.page.words import EXPLANATIONS
from bioprobe.report.section import Section
from bioprobe.result import Notes


@dataclasses.dataclass(frozen=True)
class Part:
    """A heading with what stands below it."""

    heading: str
    text: str
    plot: str = ""
    alt: str = ""
    header: tuple[tuple[str, bool], ...] = ()
    rows: Sequence[Sequence[str]] = ()


@dataclasses.dataclass(frozen=True)
class Sheet:
    """What one count has to show.

    Parameters
    ----------
    title, intro : str
    facts : sequence of (str, str, str)
        What it is, the figure, and what is said of it.
    parts : sequence of Part
    notes : tuple of Note
    n : int
        Records or taxa that it tells of.
    """

    title: str
    intro: str
    facts: Sequence[tuple[str, str, str]]
    parts: Sequence[Part]
    notes: Notes
    n: int


def write_sheet(path: Path, sheet: Sheet) -> int:
    """Write a sheet as one self-contained HTML page, and return of how many it tells."""
    content = {"title": sheet.title, "sheet": sheet, "explained": EXPLANATIONS,
               "version": __version__}  # fmt: skip
    write_text(path, render_page("counts.html.j2", content))
    return sheet.n


def describe_records(sheets: Sequence[Sheet], left_out: Sequence[str] = ()) -> Section:
    """Return what was recorded, where and when."""
    first = sheets[0]
    lead = (
        f"Pictures of one animal that follow each other count once: {first.n:,} records, which are "
        "visits and not animals."
    )
    content = {"sheets": sheets, "left_out": left_out, "explained": EXPLANATIONS}
    return Section("records", "Where and when", "Where and when they were seen", lead, content)
