"""Small pictures that live inside a page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from bioprobe.errors import ImageReadError, SourceError
from bioprobe.images.location import ImageLocation, read_file
from bioprobe.images.reading import decode_image, ignore_pillow_warnings


def make_thumbnail(file: Path | ImageLocation, size_px: int = 160) -> str:
    """Return a picture as a data URL, its longer side at most ``size_px``.

    Parameters
    ----------
    file : Path or ImageLocation
        Image file, or the place of an image that may be a row of a data set.
    size_px : int
        Longer side of the thumbnail.

    Returns
    -------
    str
        ``data:image/jpeg;base64,…``, or ``""`` when the file is gone or unreadable, which a page
        shows as an empty frame.
    """
    try:
        data = read_file(file) if isinstance(file, Path) else file.read_bytes()
        with ignore_pillow_warnings():
            # Twice the size is enough to be made smaller from, and quicker to decode.
            image = decode_image(data, draft_side_px=2 * size_px)
    except (ImageReadError, SourceError, OSError, ValueError):
        return ""
    image.thumbnail((size_px, size_px))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
