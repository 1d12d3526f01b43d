"""Answers as a page: self-contained HTML that opens from disk."""

from bioprobe.page.html import make_thumbnail, render_page
from bioprobe.page.sheets import SheetGroup, SheetPicture, write_contact_sheet

__all__ = [
    "SheetGroup",
    "SheetPicture",
    "make_thumbnail",
    "render_page",
    "write_contact_sheet",
]
