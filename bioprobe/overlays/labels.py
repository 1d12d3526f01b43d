"""Boxes and labels upon a picture; numbers, and a legend below it, where there is no room."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bioprobe.overlays.colours import FAINT_INK, INK, PLAIN, PLATE, choose_edge, choose_ink
from bioprobe.overlays.fonts import Fonts
from bioprobe.overlays.placing import Rect, place_labels
from bioprobe.overlays.text import Line, draw_line, lay_line, wrap_text

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from bioprobe.images.regions import Region

#: How labels are given: beside what they are of, in part, as numbers of a legend, or below.
WHOLE_LABELS, FIRST_LINES, NUMBERS, BELOW = "labels", "first lines", "numbers", "below"
#: Longer side to which small pictures are enlarged, so that there is room for letters.
LEAST_SIDE_PX = 480
# Letters are as high as this share of the side of a square as large as the picture.
_TEXT_SHARE = 0.027
_LEAST_TEXT_PX = 12
# Lines below the first, of its size.
_SMALLER = 0.82
_LEAST_SMALL_PX = 11
# Share of the picture's width that a label beside a box has at most, and of its area that all
# labels cover together: a picture that is hidden shows nothing.
_WIDEST = 0.6
_MOST_COVERED = 0.3
_MOST_LINES = 3
# Width of a legend at least, in sizes of its letters.
_LEAST_LEGEND = 18


@dataclasses.dataclass(frozen=True)
class Badge:
    """A few letters on a colour of their own, such as a code.

    Parameters
    ----------
    text : str
    colour : str
        What they stand on; they are black or white, whichever is read better.
    """

    text: str
    colour: str


@dataclasses.dataclass(frozen=True)
class Mark:
    """What is said of a picture, or of a region in it.

    Parameters
    ----------
    lines : tuple of str
        The first is the largest; none for a box without a label.
    region : Region, optional
        Whose box is drawn.
    colour : str
        Of the box, and of the edge of the label.
    badge : Badge, optional
        Behind the first line.
    """

    lines: tuple[str, ...]
    region: Region | None = None
    colour: str = PLAIN
    badge: Badge | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Style:
    """How marks are drawn.

    Parameters
    ----------
    fonts : Fonts
    text_scale : float
        Size of the letters, of what suits the picture.
    least_side_px : int
        Longer side to which smaller pictures are enlarged; 0 leaves them as they are.
    boxes : bool
        Whether the boxes of regions are drawn.
    below : bool
        Whether labels stand below the picture, so that none covers it.
    """

    fonts: Fonts = dataclasses.field(default_factory=Fonts)
    text_scale: float = 1.0
    least_side_px: int = LEAST_SIDE_PX
    boxes: bool = True
    below: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """A picture with its marks.

    Parameters
    ----------
    image : PIL.Image.Image
        RGB; higher than what was given where labels stand below.
    plates : tuple of Rect
        Where labels, or their numbers, stand in the picture.
    way : {"labels", "first lines", "numbers", "below"}
        How the labels are given.
    scale : float
        By which the picture was enlarged.
    text_px : int
        Size of the letters of first lines.
    n_unplaced : int
        Boxes for whose number there is no place in the picture; the legend names them too.
    """

    image: Image
    plates: tuple[Rect, ...]
    way: str
    scale: float
    text_px: int
    n_unplaced: int = 0


def draw_marks(image: Image, marks: Sequence[Mark], style: Style) -> Drawn:
    """Draw boxes and labels upon a picture.

    Labels are whole where all of them find a place and have the width that their names need, else
    each is its first line, else numbers in the picture stand for lines of a legend below it. The
    label of a whole picture goes below too where it would cover much of it.

    Parameters
    ----------
    image : PIL.Image.Image
        Upright, RGB; it is not changed.
    marks : sequence of Mark
        The first are drawn last, above the others.
    style : Style
    """
    from PIL import ImageDraw

    picture, scale = _enlarge(image, style.least_side_px)
    text_px = measure_text(picture.size, style.text_scale)
    draw = ImageDraw.Draw(picture)
    boxes = [_find_box(mark, picture.size) for mark in marks]
    if style.boxes:
        for mark, box in reversed(list(zip(marks, boxes, strict=True))):
            if mark.region is not None:
                _draw_box(draw, box, mark.colour, text_px)
    said = [at for at, mark in enumerate(marks) if mark.lines or mark.badge]
    shown, shown_boxes = [marks[at] for at in said], [boxes[at] for at in said]
    if not style.below:
        for way, n_lines in ((WHOLE_LABELS, None), (FIRST_LINES, 1)):
            plates = [
                _lay_plate(mark, style.fonts, text_px, _find_widest(mark, picture.size), n_lines)
                for mark in shown
            ]
            places = _place(plates, shown_boxes, picture.size, text_px)
            # Of a whole picture nothing is left out that can stand below it.
            is_less = n_lines is not None and any(len(m.lines) > 1 for m in shown if not m.region)
            if places is not None and not is_less and not any(p.is_cramped for p in plates):
                _draw_plates(draw, plates, places, shown, shown_boxes, text_px)
                return Drawn(picture, tuple(places), way, scale, text_px)
    return _draw_below(picture, shown, shown_boxes, style, text_px, scale)


def measure_text(size_px: tuple[int, int], text_scale: float = 1.0) -> int:
    """Return the size of letters that suits a picture, in pixels.

    Examples
    --------
    >>> [measure_text(size) for size in ((64, 64), (640, 480), (6000, 4000))]
    [12, 15, 132]
    """
    side = math.sqrt(size_px[0] * size_px[1])
    return max(1, round(max(_LEAST_TEXT_PX, _TEXT_SHARE * side) * text_scale))


def _enlarge(image: Image, least_side_px: int) -> tuple[Image, float]:
    """Return a copy of a picture, enlarged where it is small, with the colours it says."""
    from PIL import Image as PillowImage

    scale = max(1.0, least_side_px / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if size == image.size:
        picture = image.convert("RGB") if image.mode != "RGB" else image.copy()
    else:
        picture = image.convert("RGB").resize(size, PillowImage.Resampling.LANCZOS)
    picture.info = dict(image.info)
    return picture, scale


def _find_box(mark: Mark, size_px: tuple[int, int]) -> Rect:
    if mark.region is None:
        return Rect(0, 0, *size_px)
    bare = dataclasses.replace(mark.region, pad=0.0, square=False)
    return Rect(*bare.to_pixels(*size_px))


def _find_widest(mark: Mark, size_px: tuple[int, int]) -> int:
    # A label of the whole picture has the whole width.
    return round(size_px[0] * (_WIDEST if mark.region is not None else 1))


def _draw_box(draw: ImageDraw, box: Rect, colour: str, text_px: int) -> None:
    """Draw a box that stands out of what is bright and of what is dark."""
    line = max(2, round(text_px / 8))
    halo = max(1, round(line / 2))
    right, lower = max(box.left, box.right - 1), max(box.upper, box.lower - 1)
    frame = (box.left, box.upper, right, lower)
    outer = (box.left - halo, box.upper - halo, right + halo, lower + halo)
    draw.rectangle(outer, outline=choose_edge(colour), width=line + 2 * halo)
    draw.rectangle(frame, outline=colour, width=line)


@dataclasses.dataclass(frozen=True)
class _Plate:
    """A label that was measured: lines on a dark ground, with a coloured edge.

    Parameters
    ----------
    lines : tuple of (Line, str)
        Each with its colour.
    badge : Line, optional
        Behind the first line.
    ground : str
        Colour of the badge.
    n_first : int
        Lines that are of the first text; the badge stands behind the last of them.
    pad_px, edge_px : int
        Around the lines, and the coloured edge at the left.
    size : tuple of int
        Width and height.
    """

    lines: tuple[tuple[Line, str], ...]
    badge: Line | None
    ground: str
    n_first: int
    pad_px: int
    edge_px: int
    size: tuple[int, int]

    @property
    def is_cramped(self) -> bool:
        """Whether the first text is shortened, or broken within a word, for want of width."""
        return any(line.is_short or line.is_split for line, _ in self.lines[: self.n_first])


def _lay_plate(
    mark: Mark, fonts: Fonts, text_px: int, most_px: int, n_lines: int | None = None,
    number: str = "",
) -> _Plate:  # fmt: skip
    pad, edge = max(2, round(text_px / 3)), max(2, round(text_px / 4))
    room = max(1, most_px - 2 * pad - edge)
    small_px = max(min(_LEAST_SMALL_PX, text_px), round(text_px * _SMALLER))
    badge = lay_line(mark.badge.text, fonts, small_px, room // 2) if mark.badge else None
    badge_px = 0 if badge is None else badge.width_px + 3 * pad
    first, *rest = (*mark.lines, "") if n_lines is None else (*mark.lines[:n_lines], "")
    head = " ".join(filter(None, (number, first)))
    firsts = wrap_text(head, fonts, text_px, max(1, room - badge_px), _MOST_LINES)
    lines = [(line, INK) for line in firsts]
    for text in filter(None, rest):
        lines += [(line, FAINT_INK) for line in wrap_text(text, fonts, small_px, room, _MOST_LINES)]
    widths = [line.width_px for line, _ in lines]
    if badge is not None:
        at = max(0, len(firsts) - 1)
        widths = [*widths, (widths[at] if widths else -pad) + badge_px]
    heights = [line.height_px for line, _ in lines]
    if not lines and badge is not None:
        heights = [badge.height_px]
    width = max(widths, default=0) + 2 * pad + edge
    ground = mark.badge.colour if mark.badge else ""
    return _Plate(
        tuple(lines), badge, ground, len(firsts), pad, edge, (width, sum(heights) + pad)
    )  # fmt: skip


def _place(
    plates: Sequence[_Plate], boxes: Sequence[Rect], size_px: tuple[int, int], text_px: int
) -> list[Rect] | None:  # fmt: skip
    """Return a place for each label; None where one has none, or the picture would be hidden."""
    covered = sum(plate.size[0] * plate.size[1] for plate in plates)
    if covered > _MOST_COVERED * size_px[0] * size_px[1]:
        return None
    found = place_labels(size_px, boxes, [plate.size for plate in plates], max(1, text_px // 8))
    places = [one for one in found if one is not None]
    return places if len(places) == len(found) else None


def _draw_plates(
    draw: ImageDraw, plates: Sequence[_Plate], places: Sequence[Rect], marks: Sequence[Mark],
    boxes: Sequence[Rect], text_px: int,
) -> None:  # fmt: skip
    for place, mark, box in zip(places, marks, boxes, strict=True):
        _draw_leader(draw, place, box, mark.colour, text_px)
    for plate, place, mark in zip(plates, places, marks, strict=True):
        _draw_plate(draw, plate, place, mark.colour)


def _draw_leader(draw: ImageDraw, place: Rect, box: Rect, colour: str, text_px: int) -> None:
    """Join a label to a box that it does not touch."""
    start = (_clip((box.left + box.right) // 2, place.left, place.right - 1),
             _clip((box.upper + box.lower) // 2, place.upper, place.lower - 1))  # fmt: skip
    end = (_clip(start[0], box.left, box.right - 1), _clip(start[1], box.upper, box.lower - 1))
    if math.dist(start, end) > text_px / 2:
        line = max(2, round(text_px / 10))
        draw.line([start, end], fill=choose_edge(colour), width=3 * line)
        draw.line([start, end], fill=colour, width=line)


def _clip(value: int, low: int, high: int) -> int:
    return min(max(value, low), max(low, high))


def _draw_plate(draw: ImageDraw, plate: _Plate, place: Rect, colour: str) -> None:
    draw.rectangle((place.left, place.upper, place.right - 1, place.lower - 1), fill=PLATE)
    edge = (place.left, place.upper, place.left + plate.edge_px - 1, place.lower - 1)
    draw.rectangle(edge, fill=colour, outline=_outline(colour))
    left, right = place.left + plate.edge_px + plate.pad_px, place.right - plate.pad_px
    y = place.upper + plate.pad_px // 2
    if not plate.lines and plate.badge is not None:
        _draw_badge(draw, plate, left, y, plate.badge)
    for number, (line, ink) in enumerate(plate.lines, start=1):
        has_badge = number == plate.n_first and plate.badge is not None
        x = right - line.width_px if line.is_rtl else left
        draw_line(draw, (x, y), line, ink)
        if has_badge and plate.badge is not None:
            top = y + line.ascent_px - plate.badge.ascent_px
            # Behind a text is where it ends.
            at = line.width_px + plate.pad_px
            at = -3 * plate.pad_px - plate.badge.width_px if line.is_rtl else at
            _draw_badge(draw, plate, x + at, top, plate.badge)
        y += line.height_px


def _outline(colour: str) -> str | None:
    """Return what frames a colour that does not stand out of a plate."""
    return FAINT_INK if choose_edge(colour) == INK else None


def _draw_badge(draw: ImageDraw, plate: _Plate, x: int, y: int, badge: Line) -> None:
    """Draw a badge with its left upper corner at a point."""
    frame = (x, y, x + badge.width_px + 2 * plate.pad_px - 1, y + badge.height_px - 1)
    outline = _outline(plate.ground)
    draw.rounded_rectangle(frame, radius=plate.pad_px, fill=plate.ground, outline=outline)
    draw_line(draw, (x + plate.pad_px, y), badge, choose_ink(plate.ground))


def _draw_below(
    picture: Image, marks: Sequence[Mark], boxes: Sequence[Rect], style: Style, text_px: int,
    scale: float,
) -> Drawn:  # fmt: skip
    """Draw numbers upon boxes and a legend below; of one label alone no number is needed."""
    from PIL import ImageDraw

    boxed = [at for at, mark in enumerate(marks) if mark.region is not None]
    numbers = {at: str(n) for n, at in enumerate(boxed, start=1)} if len(boxed) > 1 else {}
    draw = ImageDraw.Draw(picture)
    places: list[Rect] = []
    if numbers:
        shown = list(numbers)
        bare = [Mark((), colour=marks[at].colour) for at in shown]
        plates = [
            _lay_plate(one, style.fonts, text_px, picture.width, number=numbers[at])
            for one, at in zip(bare, shown, strict=True)
        ]
        where = [boxes[at] for at in shown]
        found = place_labels(picture.size, where, [plate.size for plate in plates], 1)
        kept = [n for n, place in enumerate(found) if place is not None]
        places = [place for place in found if place is not None]
        _draw_plates(draw, [plates[n] for n in kept], places, [bare[n] for n in kept],
                     [where[n] for n in kept], text_px)  # fmt: skip
    # A narrow picture has more room below than it is wide.
    width = max(picture.width, _LEAST_LEGEND * text_px)
    legend = _draw_legend(width, marks, numbers, style.fonts, text_px)
    if numbers and legend.height > picture.height:
        # A list that is longer than the picture is one of first lines.
        legend = _draw_legend(width, marks, numbers, style.fonts, text_px, 1)
    whole = _join_below(picture, legend)
    way = NUMBERS if numbers else BELOW
    return Drawn(whole, tuple(places), way, scale, text_px, len(numbers) - len(places))


def _draw_legend(
    width_px: int, marks: Sequence[Mark], numbers: dict[int, str], fonts: Fonts, text_px: int,
    n_lines: int | None = None,
) -> Image:  # fmt: skip
    """Draw labels below each other, in as many columns as there is room for."""
    from PIL import Image as PillowImage
    from PIL import ImageDraw

    def lay(most_px: int) -> list[_Plate]:
        return [
            _lay_plate(mark, fonts, text_px, most_px, n_lines, numbers.get(at, ""))
            for at, mark in enumerate(marks)
        ]

    widest = max((plate.size[0] for plate in lay(width_px)), default=width_px)
    n_columns = max(1, min(len(marks), width_px // max(1, widest)))
    column_px = width_px // n_columns
    plates = lay(column_px)
    rows = [plates[at : at + n_columns] for at in range(0, len(plates), n_columns)]
    heights = [max(plate.size[1] for plate in row) for row in rows]
    legend = PillowImage.new("RGB", (width_px, max(1, sum(heights))), PLATE)
    draw = ImageDraw.Draw(legend)
    y = 0
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        for column, plate in enumerate(row):
            left = column * column_px
            place = Rect(left, y, min(left + plate.size[0], width_px), y + plate.size[1])
            _draw_plate(draw, plate, place, marks[number * n_columns + column].colour)
        y += height
    return legend


def _join_below(picture: Image, legend: Image) -> Image:
    from PIL import Image as PillowImage

    size = (max(picture.width, legend.width), picture.height + legend.height)
    joined = PillowImage.new("RGB", size, PLATE)
    joined.paste(picture, (0, 0))
    joined.paste(legend, (0, picture.height))
    joined.info = dict(picture.info)
    return joined
