"""Answers as a page: self-contained HTML that opens from disk."""

from bioprobe.page.html import render_page
from bioprobe.page.thumbnail import make_thumbnail

__all__ = ["make_thumbnail", "render_page"]
