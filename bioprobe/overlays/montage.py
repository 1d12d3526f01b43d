"""Contact sheets: small pictures in rows, each with its label below it, under headings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bioprobe.overlays.colours import PLAIN, choose_ink
from bioprobe.overlays.fonts import Fonts
from bioprobe.overlays.text import Line, draw_line, lay_line, wrap_text

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

# Of the sheet, of what a small picture stands on, and of what is written.
_PAPER, _FRAME, _INK, _FAINT_INK = "#ffffff", "#eceff1", "#15181c", "#46505a"
# Higher sheets are more than viewers open at ease; a JPEG has 65,500 pixels at most.
_HIGHEST_PX = 16_000
_MOST_LINES = 2
_SMALLER = 0.85


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """One picture of a sheet.

    Parameters
    ----------
    image : PIL.Image.Image or None
        RGB; None where it cannot be shown.
    lines : tuple of str
        What stands below it; the first is the largest.
    colour : str
        Of the line between both.
    badge : tuple of str
        Text and colour behind the first line; empty for none.
    """

    image: Image | None
    lines: tuple[str, ...] = ()
    colour: str = PLAIN
    badge: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Pictures under one heading.

    Parameters
    ----------
    heading : str
        ``""`` for none.
    cells : iterable of Cell
        In their order; each is asked for once, when it is drawn.
    """

    heading: str
    cells: Iterable[Cell]


def draw_montage(
    groups: Sequence[Group], *, cell_px: int, n_columns: int, fonts: Fonts, text_scale: float = 1.0
) -> Iterator[Image]:
    """Draw contact sheets; a sheet that would grow too high is followed by another.

    Parameters
    ----------
    groups : sequence of Group
        In the order of the sheets.
    cell_px : int
        Longer side of a picture; smaller ones are enlarged to it.
    n_columns : int
        Pictures beside each other.
    fonts : Fonts
    text_scale : float
        Size of the letters, of what suits the cells.

    Yields
    ------
    PIL.Image.Image
        RGB, each of the same width.
    """
    gap = max(4, cell_px // 20)
    width = n_columns * (cell_px + gap) + gap
    text_px = max(6, round(max(12, cell_px / 16) * text_scale))
    parts: list[Image] = []
    height = gap
    for part in _draw_parts(groups, width, gap, cell_px, n_columns, fonts, text_px):
        if parts and height + part.height + gap > _HIGHEST_PX:
            yield _stack(parts, width, gap)
            parts, height = [], gap
        parts.append(part)
        height += part.height + gap
    if parts:
        yield _stack(parts, width, gap)


def _draw_parts(
    groups: Sequence[Group], width: int, gap: int, cell_px: int, n_columns: int, fonts: Fonts,
    text_px: int,
) -> Iterator[Image]:  # fmt: skip
    """Draw headings and rows of pictures, each as wide as the sheet.

    Yields
    ------
    PIL.Image.Image
    """
    for group in groups:
        heading = group.heading and lay_line(
            group.heading, fonts, round(text_px * 1.4), width - 2 * gap
        )
        row: list[Cell] = []
        for cell in group.cells:
            row.append(cell)
            if len(row) == n_columns:
                yield _draw_row(row, heading, width, gap, cell_px, fonts, text_px)
                row, heading = [], ""
        if row or heading:
            yield _draw_row(row, heading, width, gap, cell_px, fonts, text_px)


def _draw_row(
    row: Sequence[Cell], heading: Line | str, width: int, gap: int, cell_px: int, fonts: Fonts,
    text_px: int,
) -> Image:  # fmt: skip
    """Draw a row with the heading above it, so that no heading ends a sheet."""
    from PIL import Image as PillowImage
    from PIL import ImageDraw

    captions = [_lay_caption(cell, fonts, text_px, cell_px) for cell in row]
    above = heading.height_px + gap // 2 if isinstance(heading, Line) else 0
    edge = max(2, cell_px // 60)
    below = max((_sum_heights(lines) for lines, _ in captions), default=0)
    height = above + (cell_px + edge + below if row else 0)
    part = PillowImage.new("RGB", (width, max(1, height)), _PAPER)
    draw = ImageDraw.Draw(part)
    if isinstance(heading, Line):
        x = width - gap - heading.width_px if heading.is_rtl else gap
        draw_line(draw, (x, 0), heading, _INK)
    for number, (cell, (lines, badge)) in enumerate(zip(row, captions, strict=True)):
        left = gap + number * (cell_px + gap)
        frame = (left, above, left + cell_px - 1, above + cell_px - 1)
        draw.rectangle(frame, fill=_FRAME)
        if cell.image is not None:
            small = _fit(cell.image, cell_px)
            at = (left + (cell_px - small.width) // 2, above + (cell_px - small.height) // 2)
            part.paste(small, at)
        line_y = above + cell_px
        draw.rectangle((left, line_y, left + cell_px - 1, line_y + edge - 1), fill=cell.colour)
        _draw_caption(draw, lines, badge, cell, left, line_y + edge, cell_px)
    return part


def _fit(image: Image, side_px: int) -> Image:
    scale = side_px / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return image if size == image.size else image.resize((size[0], size[1]))


def _lay_caption(
    cell: Cell, fonts: Fonts, text_px: int, cell_px: int
) -> tuple[list[Line], Line | None]:
    small_px = max(6, round(text_px * _SMALLER))
    badge = lay_line(cell.badge[0], fonts, small_px, cell_px // 2) if cell.badge else None
    lines: list[Line] = []
    for number, text in enumerate(cell.lines):
        size_px = small_px if number else text_px
        taken = badge.width_px + text_px if badge is not None and not number else 0
        lines += wrap_text(text, fonts, size_px, max(1, cell_px - taken), _MOST_LINES)
    return lines, badge


def _sum_heights(lines: Sequence[Line]) -> int:
    return sum(line.height_px for line in lines)


def _draw_caption(
    draw: ImageDraw, lines: Sequence[Line], badge: Line | None, cell: Cell, left: int, y: int,
    cell_px: int,
) -> None:  # fmt: skip
    if badge is not None:
        ground, pad = cell.badge[1], max(2, badge.size_px // 4)
        width = badge.width_px + 2 * pad
        # Behind the text is where it ends.
        x = left if lines and lines[0].is_rtl else left + cell_px - 1 - width
        frame = (x, y, x + width, y + badge.height_px - 1)
        draw.rounded_rectangle(frame, radius=pad, fill=ground, outline=_FAINT_INK)
        draw_line(draw, (frame[0] + pad, y), badge, choose_ink(ground))
    for number, line in enumerate(lines):
        x = left + cell_px - line.width_px if line.is_rtl else left
        draw_line(draw, (x, y), line, _FAINT_INK if number else _INK)
        y += line.height_px


def _stack(parts: Sequence[Image], width: int, gap: int) -> Image:
    from PIL import Image as PillowImage

    height = gap + sum(part.height + gap for part in parts)
    sheet = PillowImage.new("RGB", (width, height), _PAPER)
    y = gap
    for part in parts:
        sheet.paste(part, (0, y))
        y += part.height + gap
    return sheet
