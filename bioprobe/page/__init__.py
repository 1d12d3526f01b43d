"""Answers as a page: self-contained HTML that opens from disk."""

from bioprobe.page.contact_sheet import SheetGroup, SheetPicture, write_contact_sheet
from bioprobe.page.html import render_page
from bioprobe.page.thumbnail import make_thumbnail

__all__ = [
    "SheetGroup",
    "SheetPicture",
    "make_thumbnail",
    "render_page",
    "write_contact_sheet",
]
