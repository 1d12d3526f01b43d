"""Maps drawn upon the pictures that they are of."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe import __version__
from bioprobe.explanation.focus import Box
from bioprobe.files import replacing
from bioprobe.images.people import obscure
from bioprobe.images.reading import decode_image, ignore_pillow_warnings
from bioprobe.images.regions import Region
from bioprobe.overlays.heat import MOST_SIDE_PX, Heat, draw_beside

if TYPE_CHECKING:
    from PIL.Image import Image

    from bioprobe.explanation.result import Explanation
    from bioprobe.images.location import ImageLocation
    from bioprobe.overlays.fonts import Fonts

# How much of a picture is shown around a region, in sizes of the region.
_CONTEXT = 1.0
_SOFTWARE = f"bioprobe {__version__}"


def draw_explanations(
    location: ImageLocation,
    items: Sequence[Explanation],
    fonts: Fonts,
    most_px: int = MOST_SIDE_PX,
) -> Image:
    """Draw the maps of one picture beside it, upright and as a person sees it.

    People in it are obscured. Of a region its surroundings are shown; what the model did not see is
    dark.

    Raises
    ------
    ImageReadError, SourceError, OSError
        If the picture cannot be read any more.
    """
    with ignore_pillow_warnings():
        image = decode_image(location.read_bytes(), draft_side_px=most_px)
    image = obscure(image, location.people)
    shown = _find_shown(Region.parse(location.region))
    if shown is not None:
        left, upper, right, lower = shown
        image = image.crop((
            round(left * image.width), round(upper * image.height),
            max(round(left * image.width) + 1, round(right * image.width)),
            max(round(upper * image.height) + 1, round(lower * image.height)),
        ))  # fmt: skip
    heats = [
        Heat(one.relevance, _move(one.seen, shown), one.title, _describe(one)) for one in items
    ]
    return draw_beside(image, heats, fonts, most_px=most_px)


def _describe(one: Explanation) -> tuple[str, ...]:
    return (f"by {one.method}, logit {one.logit:.2f}",)


def _find_shown(region: Region | None) -> Box | None:
    if region is None:
        return None
    wide, high = _CONTEXT * region.width, _CONTEXT * region.height
    return (
        max(0.0, region.x - wide), max(0.0, region.y - high),
        min(1.0, region.x + region.width + wide), min(1.0, region.y + region.height + high),
    )  # fmt: skip


def _move(box: Box, shown: Box | None) -> Box:
    """Return a box of the whole picture as a box of what of it is shown."""
    if shown is None:
        return box
    left, upper, right, lower = shown
    width, height = right - left, lower - upper
    return (
        (box[0] - left) / width, (box[1] - upper) / height, (box[2] - left) / width,
        (box[3] - upper) / height,
    )  # fmt: skip


def write_png(image: Image, path: Path, said: str) -> None:
    """Write a drawn picture with a sentence about it inside."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", _SOFTWARE)
    info.add_itxt("Description", said)
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=info)
    with replacing(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def find_free(folder: Path, name: str) -> Path:
    """Return the file of a name below a folder, numbered where another file has it.

    A picture that was drawn here before gives way.
    """
    number, path = 1, folder / f"{name}.png"
    while path.exists() and not _is_ours(path):
        number += 1
        path = folder / f"{name}-{number}.png"
    return path


def _is_ours(path: Path) -> bool:
    from PIL import Image as PillowImage

    try:
        with PillowImage.open(path) as image:
            return str(image.info.get("Software", "")).startswith("bioprobe ")
    except OSError:
        return False
