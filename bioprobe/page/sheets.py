"""A contact sheet: small pictures under headings, on one page that opens from disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioprobe import __version__
from bioprobe.files import write_text
from bioprobe.images import ImageTable
from bioprobe.images.location import ImageLocation
from bioprobe.index import Neighbors, Question, Terms
from bioprobe.page.html import make_thumbnail, render_page
from bioprobe.taxonomy import RANKS

# A figure on the page is about 190 px wide; the rest is for screens with denser pixels.
_SIZE_PX = 280


@dataclasses.dataclass(frozen=True)
class SheetPicture:
    """One picture of a sheet.

    Parameters
    ----------
    location : Path or ImageLocation
        Image file, or the place of an image that may be a row of a data set.
    caption : str
        What stands below it first, such as a label or a file name.
    lines : tuple of str
        Further lines, such as a similarity or a reason.
    """

    location: Path | ImageLocation
    caption: str
    lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class SheetGroup:
    """Pictures under one heading.

    Parameters
    ----------
    heading : str
        ``""`` for none.
    note : str
        Sentence below the heading, or ``""``.
    pictures : sequence of SheetPicture
        In the order of the page; a group without any says so.
    """

    heading: str
    note: str
    pictures: Sequence[SheetPicture]


def write_contact_sheet(path: Path, title: str, intro: str, groups: Sequence[SheetGroup]) -> None:
    """Write pictures as one self-contained HTML page.

    Thumbnails lie inside the page, so it can be sent and opened anywhere. A picture that cannot
    be read is an empty frame that says so. All text is escaped.

    Parameters
    ----------
    path : Path
        HTML file; written whole or not at all, its folder is made.
    title : str
        Title and first heading.
    intro : str
        Text below the title; its line breaks are kept.
    groups : sequence of SheetGroup
        In the order of the page.

    Raises
    ------
    OSError
        If the page cannot be written.
    """
    shown = [_show_group(group) for group in groups]
    pictures = [picture for group in shown for picture in group["pictures"]]
    content = {
        "title": title,
        "intro": intro,
        "groups": shown,
        "n_pictures": len(pictures),
        "n_unread": sum(not picture["thumbnail"] for picture in pictures),
        "version": __version__,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page("contact_sheet.html.j2", content))


def _show_group(group: SheetGroup) -> dict[str, Any]:
    return {
        "heading": group.heading,
        "note": group.note,
        "pictures": [_show_picture(picture) for picture in group.pictures],
    }


def _show_picture(picture: SheetPicture) -> dict[str, Any]:
    place = picture.location
    return {
        "thumbnail": make_thumbnail(place, _SIZE_PX),
        "place": place.path if isinstance(place, ImageLocation) else str(place),
        "caption": picture.caption,
        "lines": picture.lines,
    }


def write_search_sheet(path: Path, found: Neighbors, question: Question) -> None:
    """Write the answers of a search with their similarities and labels as one HTML page.

    Parameters
    ----------
    path : Path
        HTML file.
    found : Neighbors
        The answers.
    question : Question
        What was asked; its pictures stand before the answers.

    Raises
    ------
    OSError
        If the page cannot be written.
    """
    groups = [
        SheetGroup(heading, "", _show_terms(terms, found.images))
        for heading, terms in (
            ("Looked for", question.plus_terms),
            ("Not looked for", question.minus_terms),
        )
    ]
    answers = [
        show_row(found.images, int(row), f"similarity {similarity:.3f}")
        for row, similarity in zip(found.rows, found.similarities, strict=True)
    ]
    groups = [group for group in groups if group.pictures]
    groups.append(SheetGroup("Found", "Nearest first, by cosine similarity.", answers))
    write_contact_sheet(path, f"Search: {question.text}", _introduce(found), groups)


def show_row(images: ImageTable, row: int, *lines: str) -> SheetPicture:
    """Return the picture of a row with its lowest label, and further lines.

    Parameters
    ----------
    images : ImageTable
    row : int
    *lines : str
        What stands before the common name, the higher labels and the file.
    """
    facts = images.frame.iloc[row]
    # From species up.
    labels = [str(facts[rank.value]) for rank in reversed(RANKS) if facts[rank.value]]
    names = [*labels[:1], str(facts["path"])]
    rest = (str(facts["common_name"]), " · ".join(labels[1:4]), f"row {row} · {facts['path']}")
    return SheetPicture(images.locate(row), names[0], (*lines, *(part for part in rest if part)))


def _show_terms(terms: Terms, images: ImageTable) -> list[SheetPicture]:
    given = [SheetPicture(file, file.name, ("picture given",)) for file in terms.images]
    return given + [show_row(images, row) for row in terms.rows]


def _introduce(found: Neighbors) -> str:
    source = found.provenance
    kind, recall = source.options["index"], source.options.get("recall")
    way = "exact search" if recall is None else f"index {kind}, measured recall {recall:.3f}"
    condition = f" where {source.condition}" if source.condition else ""
    return (
        f"{source.n_rows:,} images of {source.store}{condition}\n"
        f"{source.encoder['model']} · {way} · bioprobe {source.version} · {source.time}"
    )
