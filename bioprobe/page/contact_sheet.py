"""A contact sheet: small pictures under headings, on one page that opens from disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioprobe import __version__
from bioprobe.files import write_text
from bioprobe.images.location import ImageLocation
from bioprobe.page.html import render_page
from bioprobe.page.thumbnail import make_thumbnail

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
