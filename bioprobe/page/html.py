"""HTML from the templates that ship with bioprobe."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from bioprobe.errors import ImageReadError, SourceError
from bioprobe.images.location import ImageLocation, read_file
from bioprobe.images.people import obscure
from bioprobe.images.reading import decode_image, ignore_pillow_warnings


def render_page(template: str, content: dict[str, Any]) -> str:
    """Fill a template; what comes from names and files is escaped.

    Parameters
    ----------
    template : str
        File name below ``bioprobe/page/templates``.
    content : dict
        What the template asks for; a missing value is an error, never a blank.

    Returns
    -------
    str
        One HTML document.
    """
    import jinja2

    from bioprobe.page.words import Words, name_anchor

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bioprobe.page", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"word": Words(), "anchor": name_anchor}
    return environment.get_template(template).render(content)


def make_thumbnail(file: Path | ImageLocation, size_px: int = 160) -> str:
    """Return a picture as a data URL, its longer side at most ``size_px``.

    Parameters
    ----------
    file : Path or ImageLocation
        Image file, or the place of an image that may be a row of a data set; people in it are
        obscured.
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
    if isinstance(file, ImageLocation) and file.people:
        image = obscure(image, file.people)
    image.thumbnail((size_px, size_px))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
