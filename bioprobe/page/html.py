"""HTML from the templates that ship with bioprobe."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.errors import ImageReadError, SourceError
from bioprobe.images.location import ImageLocation, read_file
from bioprobe.images.people import obscure
from bioprobe.images.reading import decode_image, ignore_pillow_warnings, read_facts
from bioprobe.images.regions import Region, find_draft_side
from bioprobe.result import count, say_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import BytecodeCache
    from jinja2.bccache import Bucket
    from PIL.Image import Image


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
        bytecode_cache=_compiled(),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"word": Words(), "anchor": name_anchor, "count": count}
    environment.filters["said"] = say_time
    return environment.get_template(template).render(content)


@functools.cache
def _compiled() -> BytecodeCache:
    """Return what keeps the templates that were compiled, for as long as the process runs."""
    import jinja2

    class Compiled(jinja2.BytecodeCache):
        def __init__(self) -> None:
            self._codes: dict[str, bytes] = {}

        def load_bytecode(self, bucket: Bucket) -> None:
            if (code := self._codes.get(f"{bucket.key} {bucket.checksum}")) is not None:
                bucket.bytecode_from_string(code)

        def dump_bytecode(self, bucket: Bucket) -> None:
            self._codes[f"{bucket.key} {bucket.checksum}"] = bucket.bytecode_to_string()

    return Compiled()


# How much of a picture is shown around a region, in sizes of the region.
_CONTEXT = 1.0
_FRAME_COLOUR, _FRAME_PX = "#ffd400", 3


def _show_region(data: bytes, region: Region, people: Sequence[Region], size_px: int) -> Image:
    """Return the surroundings of a region, its box drawn, no larger than a thumbnail."""
    from PIL import ImageDraw

    shown = Region.clip(
        region.x - _CONTEXT * region.width, region.y - _CONTEXT * region.height,
        (1 + 2 * _CONTEXT) * region.width, (1 + 2 * _CONTEXT) * region.height,
    )[0]  # fmt: skip
    facts = read_facts(data)
    draft_px = find_draft_side([shown], (facts.width_px, facts.height_px), size_px)
    image = obscure(decode_image(data, draft_side_px=draft_px), people)
    left, upper, right, lower = shown.to_pixels(*image.size)
    view = image.crop((left, upper, right, lower))
    width_px, height_px = view.size
    scale = size_px / max(view.size)
    # A small region is shown as large as others are.
    view = view.resize((max(1, round(width_px * scale)), max(1, round(height_px * scale))))
    box = dataclasses.replace(region, pad=0.0, square=False).to_pixels(*image.size)
    offsets = (left, upper, left, upper)
    frame = [round((at - offset) * scale) for at, offset in zip(box, offsets, strict=True)]
    draw = ImageDraw.Draw(view)
    # A dark line inside of a bright one stands out of any picture.
    draw.rectangle(frame, outline="black", width=_FRAME_PX + 2)
    draw.rectangle(frame, outline=_FRAME_COLOUR, width=_FRAME_PX)
    return view


def make_thumbnail(file: Path | ImageLocation, size_px: int = 160) -> str:
    """Return a picture as a data URL, its longer side at most ``size_px``.

    A region is shown framed, with as much of its picture around it on each side as it is large.

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
        region, people = None, tuple[Region, ...]()
        if isinstance(file, ImageLocation):
            region, people = Region.parse(file.region), file.people
        with ignore_pillow_warnings():
            # Twice the size is enough to be made smaller from, and quicker to decode.
            if region is None:
                image = obscure(decode_image(data, draft_side_px=2 * size_px), people)
            else:
                image = _show_region(data, region, people, size_px)
    except (ImageReadError, SourceError, OSError, ValueError):
        return ""
    return encode_thumbnail(image, size_px)


def encode_thumbnail(image: Image, size_px: int) -> str:
    """Return a picture that is at hand as a data URL, its longer side at most ``size_px``."""
    image.thumbnail((size_px, size_px))
    # What a camera or a person wrote beside the pixels stays where it is.
    image.info.clear()
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
