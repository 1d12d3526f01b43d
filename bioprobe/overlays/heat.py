"""Heat maps upon pictures: where much is, in colours that everybody reads alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.overlays.colours import FAINT_INK, INK, PLATE
from bioprobe.overlays.fonts import Fonts
from bioprobe.overlays.text import Line, draw_line, lay_line, wrap_text

if TYPE_CHECKING:
    from PIL.Image import Image

#: From little to much: even steps look even, also in grey and to the colour-blind.
COLOURS = "inferno"
"""Nuñez, Anderton and Renslow 2018, *Optimizing colormaps with consideration for color vision
deficiency*, on the maps of matplotlib that are even in lightness."""
# The darkest colours of the map are those of shadows.
_DARKEST = 0.12
# Share of the colour where there is most; the picture shines through.
_MOST_COLOUR = 0.72
# What the model did not see: share of its light that is left, and how far the lines are apart.
_UNSEEN_LIGHT, _HATCH_SHARE = 0.45, 0.02
_FRAME_COLOUR = (255, 255, 255)
# Sides of a picture as it is drawn.
LEAST_SIDE_PX, MOST_SIDE_PX = 360, 1200
_LEAST_COLUMN_PX = 240
_GAP_PX, _PAD_PX = 8, 8
_MOST_LINES = 3

Map = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Heat:
    """A heat map of a part of a picture.

    Parameters
    ----------
    values : ndarray of float32, shape (grid_height, grid_width)
        In [0, 1].
    seen : tuple of float
        Left, upper, right and lower edge of that part, in shares of the upright picture; beyond 0
        and 1 where there is a border around it.
    title : str
        What stands above it.
    lines : tuple of str
        Further lines, smaller.
    """

    values: Map
    seen: Box = (0.0, 0.0, 1.0, 1.0)
    title: str = ""
    lines: tuple[str, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Whether a part of the picture was not seen."""
        left, upper, right, lower = self.seen
        return max(left, upper, 1 - right, 1 - lower) > _LEAST_UNSEEN


# A hundredth of a side may be a matter of rounding.
_LEAST_UNSEEN = 0.01


def draw_heat(image: Image, heat: Heat) -> Image:
    """Return a picture in grey with a heat map on it; what was not seen is dark and hatched.

    Parameters
    ----------
    image : PIL.Image.Image
        Upright, of mode RGB; it is not changed.
    heat : Heat

    Returns
    -------
    PIL.Image.Image
        Of the same size.
    """
    from PIL import Image as PillowImage
    from PIL import ImageDraw

    grey = np.asarray(image.convert("L"), dtype=np.float32)
    ground = np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    left, upper, right, lower = _to_pixels(heat.seen, image.size)
    # A border that the model saw around the picture is no part of it.
    x, y = max(0, -round(heat.seen[0] * image.width)), max(0, -round(heat.seen[1] * image.height))
    size = (
        max(right - left + x, round((heat.seen[2] - heat.seen[0]) * image.width)),
        max(lower - upper + y, round((heat.seen[3] - heat.seen[1]) * image.height)),
    )
    values = PillowImage.fromarray(np.asarray(heat.values, dtype=np.float32), "F")
    spread = np.asarray(values.resize(size, PillowImage.Resampling.BICUBIC)).clip(0, 1)
    spread = spread[y : y + lower - upper, x : x + right - left]
    drawn = ground * _UNSEEN_LIGHT
    drawn[upper:lower, left:right] = _tint(ground[upper:lower, left:right], spread)
    shown = PillowImage.fromarray(drawn.round().clip(0, 255).astype(np.uint8), "RGB")
    if heat.is_partial:
        hatched = shown.copy()
        _hatch(hatched, max(6, round(_HATCH_SHARE * max(image.size))))
        hatched.paste(shown.crop((left, upper, right, lower)), (left, upper))
        width = max(1, round(max(image.size) / 400))
        ImageDraw.Draw(hatched).rectangle(
            (left, upper, right - 1, lower - 1), outline=_FRAME_COLOUR, width=width
        )
        shown = hatched
    return shown


def draw_beside(
    image: Image,
    heats: Sequence[Heat],
    fonts: Fonts,
    *,
    most_px: int = MOST_SIDE_PX,
) -> Image:
    """Return a picture and its heat maps side by side, each with its title, and a legend below.

    Parameters
    ----------
    image : PIL.Image.Image
        Upright, of mode RGB. A small one is enlarged, a large one made smaller.
    heats : sequence of Heat
        One at least.
    fonts : Fonts
        Of the titles.
    most_px : int
        Longer side of the picture at most, as it is drawn.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB.
    """
    from PIL import Image as PillowImage
    from PIL import ImageDraw

    picture = _resize(image, most_px)
    column_px = max(_LEAST_COLUMN_PX, picture.width)
    text_px = max(13, round(column_px / 34))
    columns: list[tuple[Image, str, tuple[str, ...]]] = [(picture, "", ())]
    columns += [(draw_heat(picture, one), one.title, one.lines) for one in heats]
    heads = [_lay_head(title, lines, fonts, text_px, column_px) for _, title, lines in columns]
    head_px = max(_measure(head) for head in heads) + 2 * _PAD_PX if any(heads) else 0
    width = len(columns) * column_px + (len(columns) - 1) * _GAP_PX
    is_partial = any(one.is_partial for one in heats)
    start_px = column_px + _GAP_PX
    legend = _lay_legend(fonts, text_px, width - start_px, has_unseen=is_partial)
    legend_px = max(row for row, _, _ in legend) + text_px + 2 * _PAD_PX
    sheet = PillowImage.new("RGB", (width, head_px + picture.height + legend_px), PLATE)
    draw = ImageDraw.Draw(sheet)
    for place, ((shown, _, _), head) in enumerate(zip(columns, heads, strict=True)):
        x, y = place * (column_px + _GAP_PX), _PAD_PX
        for line, ink in head:
            draw_line(draw, (x + _PAD_PX // 2, y), line, ink)
            y += line.height_px
        sheet.paste(shown, (x + (column_px - shown.width) // 2, head_px))
    for row, x, part in legend:
        at = (start_px + x, head_px + picture.height + _PAD_PX + row)
        if isinstance(part, Line):
            draw_line(draw, at, part, FAINT_INK)
        else:
            sheet.paste(part, at)
    return sheet


def _tint(ground: npt.NDArray[np.float32], values: Map) -> npt.NDArray[np.float32]:
    """Return a picture in grey with colours on it, the more the more there is."""
    import matplotlib as mpl

    colours = mpl.colormaps[COLOURS](_DARKEST + (1 - _DARKEST) * values)[..., :3] * 255
    share = _MOST_COLOUR * np.sqrt(values)[..., np.newaxis]
    return np.asarray(ground * (1 - share) + colours * share, dtype=np.float32)


def _to_pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    left, upper = (
        min(max(0, round(share * side)), side - 1)
        for share, side in zip(box[:2], size, strict=True)
    )
    right, lower = round(box[2] * width), round(box[3] * height)
    return left, upper, min(width, max(right, left + 1)), min(height, max(lower, upper + 1))


def _hatch(image: Image, step_px: int) -> None:
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    for start in range(-image.height, image.width, step_px):
        draw.line((start, image.height, start + image.height, 0), fill=(150, 150, 150), width=1)


def _resize(image: Image, most_px: int) -> Image:
    from PIL import Image as PillowImage

    longer = max(image.size)
    scale = min(max(longer, LEAST_SIDE_PX), most_px) / longer
    if scale == 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, PillowImage.Resampling.LANCZOS)


def _lay_head(
    title: str, lines: Sequence[str], fonts: Fonts, text_px: int, most_px: int
) -> list[tuple[Line, str]]:
    """Return the lines above a picture with their colours."""
    width = most_px - _PAD_PX
    head = [(one, INK) for one in wrap_text(title, fonts, text_px, width, _MOST_LINES)]
    small = max(11, round(0.82 * text_px))
    return head + [(lay_line(one, fonts, small, width), FAINT_INK) for one in lines]


def _measure(head: Sequence[tuple[Line, str]]) -> int:
    return sum(line.height_px for line, _ in head)


def _lay_legend(
    fonts: Fonts, text_px: int, most_px: int, *, has_unseen: bool
) -> list[tuple[int, int, Line | Image]]:
    """Return what says what the colours mean, as they look on medium grey, with where it stands.

    Returns
    -------
    list of (int, int, Line or Image)
        Upper edge, left edge, and what stands there.
    """
    from PIL import Image as PillowImage

    small = max(11, round(0.82 * text_px))
    bar_px = min(round(0.4 * most_px), 8 * text_px)
    values = np.tile(np.linspace(0, 1, bar_px, dtype=np.float32), (text_px, 1))
    bar = _tint(np.full((text_px, bar_px, 3), 110, dtype=np.float32), values)
    scale = PillowImage.fromarray(bar.round().astype(np.uint8), "RGB")
    entries: list[list[Line | Image]] = [
        [lay_line("looked at: least", fonts, small), scale, lay_line("most", fonts, small)]
    ]
    if has_unseen:
        swatch = PillowImage.new("RGB", (2 * text_px, text_px), (50, 50, 50))
        _hatch(swatch, 6)
        entries.append([swatch, lay_line("not seen by the model", fonts, small)])
    laid: list[tuple[int, int, Line | Image]] = []
    row, x = 0, _PAD_PX // 2
    for parts in entries:
        widths = [one.width_px if isinstance(one, Line) else one.width for one in parts]
        if laid and x + sum(widths) + len(parts) * _PAD_PX > most_px:
            row, x = row + text_px + _PAD_PX, _PAD_PX // 2
        for part, width in zip(parts, widths, strict=True):
            laid.append((row, x, part))
            x += width + _PAD_PX
        x += _PAD_PX
    return laid
