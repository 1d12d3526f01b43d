"""Regions: the whole of a picture, or a box in it that a detector found.

A row of a store is a region. In the column ``image_region`` it has a name that tells it from the
others of its picture: ``""`` for the whole, else its box. Where several labels were given to one
box, or to the whole, the second row's name ends in ``#2``, the third's in ``#3``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Iterable

#: Core column that tells the rows of one picture apart.
REGION = "image_region"
#: Columns of a region that is a box, relative to the upright picture, 0 to 1.
BOX_COLUMNS = ("box_x", "box_y", "box_width", "box_height")
#: What a detector says of its box.
DETECTION_CATEGORY, DETECTION_CONFIDENCE, DETECTOR = (
    "detection_category",
    "detection_confidence",
    "detector",
)
_NAME = re.compile(
    r"(?P<x>[\d.]+),(?P<y>[\d.]+),(?P<width>[\d.]+),(?P<height>[\d.]+)"
    r"(?:\+(?P<pad>[\d.]+))?(?P<square>s?)"
)


@dataclasses.dataclass(frozen=True)
class Region:
    """A box in an upright picture, and how it is cut out.

    Parameters
    ----------
    x, y : float
        Upper left corner, relative to the picture's width and height, 0 to 1.
    width, height : float
        Size, relative as well, > 0.
    pad : float
        What is added on each side, as a share of the box's own width and height.
    square : bool
        Whether the shorter side is made as long as the longer one, in pixels.

    Raises
    ------
    ValueError
        If the box has no area inside of the picture.

    Examples
    --------
    >>> box = Region(0.25, 0.5, 0.5, 0.25)
    >>> box.name, Region.parse(box.name) == box, box.to_pixels(400, 200)
    ('0.25,0.5,0.5,0.25', True, (100, 100, 300, 150))
    """

    x: float
    y: float
    width: float
    height: float
    pad: float = 0.0
    square: bool = False

    def __post_init__(self) -> None:
        numbers = (self.x, self.y, self.width, self.height, self.pad)
        inside = self.x >= 0 and self.y >= 0 and self.x + self.width <= 1 + _SLACK
        inside = inside and self.y + self.height <= 1 + _SLACK and self.pad >= 0
        if not all(map(math.isfinite, numbers)) or min(self.width, self.height) <= 0 or not inside:
            msg = f"no box inside of a picture: {numbers[:4]}"
            raise ValueError(msg)

    @classmethod
    def clip(
        cls, x: float, y: float, width: float, height: float, *, pad: float = 0.0,
        square: bool = False,
    ) -> tuple[Region, bool]:  # fmt: skip
        """Return the part of a box that lies inside of the picture, and whether any lay outside.

        Raises
        ------
        ValueError
            If none of it lies inside.
        """
        right, lower = min(x + width, 1.0), min(y + height, 1.0)
        left, upper = max(x, 0.0), max(y, 0.0)
        left, upper, right, lower = (round(n, _DIGITS) for n in (left, upper, right, lower))
        width_in, height_in = round(right - left, _DIGITS), round(lower - upper, _DIGITS)
        is_cut = min(x, y) < -_SLACK or max(x + width, y + height) > 1 + _SLACK
        return cls(left, upper, width_in, height_in, pad, square), is_cut

    @property
    def name(self) -> str:
        """Text of the column ``image_region``, from which :meth:`parse` makes it again."""
        sides = ",".join(_write(side) for side in (self.x, self.y, self.width, self.height))
        return f"{sides}{f'+{_write(self.pad)}' if self.pad else ''}{'s' if self.square else ''}"

    @classmethod
    def parse(cls, name: str) -> Region | None:
        """Return the region of a name in the column ``image_region``; None for the whole picture.

        Raises
        ------
        ValueError
            If it is no such name.
        """
        box = get_box(name)
        if not box:
            return None
        found = _NAME.fullmatch(box)
        if found is None:
            msg = f"no region is called {name!r}; expected x,y,width,height of 0 to 1"
            raise ValueError(msg)
        x, y, width, height = (float(found[side]) for side in ("x", "y", "width", "height"))
        return cls(x, y, width, height, float(found["pad"] or 0), bool(found["square"]))

    def to_pixels(self, width_px: int, height_px: int) -> tuple[int, int, int, int]:
        """Return what is cut out of a picture: padded, made square, and no more than there is.

        A square that would leave the picture is moved into it, as far as the picture is as large.

        Returns
        -------
        tuple of int
            Left, upper, right and lower edge, of at least one pixel, as Pillow's ``crop`` takes
            them.
        """
        width, height = self.width * width_px, self.height * height_px
        centre_x, centre_y = self.x * width_px + width / 2, self.y * height_px + height / 2
        width, height = width * (1 + 2 * self.pad), height * (1 + 2 * self.pad)
        if self.square:
            side = max(width, height)
            centre_x = _move(centre_x, side, width_px)
            centre_y = _move(centre_y, side, height_px)
            width = height = side
        left = max(0, math.floor(centre_x - width / 2 + _SLACK))
        upper = max(0, math.floor(centre_y - height / 2 + _SLACK))
        right = min(width_px, math.ceil(centre_x + width / 2 - _SLACK))
        lower = min(height_px, math.ceil(centre_y + height / 2 - _SLACK))
        left, upper = min(left, width_px - 1), min(upper, height_px - 1)
        return left, upper, max(right, left + 1), max(lower, upper + 1)


# Digits after the point: a hundredth of a pixel of the largest cameras.
_DIGITS = 6
_SLACK = 1e-5


def _write(side: float) -> str:
    return f"{side:.{_DIGITS}f}".rstrip("0").rstrip(".") or "0"


def _move(centre: float, side: float, length: int) -> float:
    if side >= length:
        return length / 2
    return min(max(centre, side / 2), length - side / 2)


def find_draft_side(boxes: Iterable[Region], size_px: tuple[int, int], draft_side_px: int) -> int:
    """Return how small a picture may be decoded for the boxes that are cut out of it.

    Parameters
    ----------
    boxes : iterable of Region
        ≥ 1 of them.
    size_px : tuple of int
        Width and height of the upright picture.
    draft_side_px : int
        Least shorter side of what is cut out, 0 for no limit to what is needed.

    Returns
    -------
    int
        Least shorter side of the picture, so that the smallest cut has its own; 0 is whole.

    Examples
    --------
    >>> find_draft_side([Region(0, 0, 0.25, 0.5)], (4000, 3000), 448)
    1344
    """
    shortest = min(
        min(right - left, lower - upper)
        for left, upper, right, lower in (box.to_pixels(*size_px) for box in boxes)
    )
    return math.ceil(draft_side_px * min(size_px) / shortest)


def get_box(name: str) -> str:
    """Return the part of a region's name that says where it is; ``""`` for the whole picture.

    Examples
    --------
    >>> get_box("#2"), get_box("0.1,0.2,0.3,0.4#2")
    ('', '0.1,0.2,0.3,0.4')
    """
    return name.partition("#")[0]


def get_number(name: str) -> int:
    """Return which of the rows of one box, or of the whole picture, a region's name stands for.

    Examples
    --------
    >>> get_number(""), get_number("0.1,0.2,0.3,0.4#2")
    (1, 2)
    """
    number = name.partition("#")[2]
    return int(number) if number.isdigit() else 1


def name_content(sha256: str, region: str) -> str:
    """Return what tells one thing that a vector is of from all others, as 64 hexadecimal digits.

    Parameters
    ----------
    sha256 : str
        Of the bytes of the picture; ``""`` where nobody knows them.
    region : str
        Name of the region; rows that differ in their number alone have one vector.

    Returns
    -------
    str
        ``sha256`` itself for a whole picture, ``""`` where that is not known.

    Examples
    --------
    >>> name_content("ab", ""), name_content("ab", "#2"), name_content("", "0,0,1,0.5")
    ('ab', 'ab', '')
    >>> name_content("ab", "0,0,1,0.5") == name_content("ab", "0,0,1,0.5#2")
    True
    """
    box = get_box(region)
    if not sha256 or not box:
        return sha256
    return hashlib.sha256(f"{sha256} {box}".encode()).hexdigest()


def number_regions(keys: Iterable[tuple[str, str]]) -> list[str]:
    """Return names of regions that tell the rows of one picture apart.

    Parameters
    ----------
    keys : iterable of (str, str)
        Of each row its picture, and its box or ``""``.

    Examples
    --------
    >>> number_regions([("a.jpg", ""), ("b.jpg", ""), ("a.jpg", "")])
    ['', '', '#2']
    """
    counts: dict[tuple[str, str], int] = {}
    names = []
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
        names.append(key[1] if counts[key] == 1 else f"{key[1]}#{counts[key]}")
    return names
