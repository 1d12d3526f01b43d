"""Boxes and labels: they are read on any picture, cover no other, and stay in it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from bioprobe.errors import MisuseError
from bioprobe.images.regions import Region
from bioprobe.overlays.colours import FAINT_INK, choose_ink, measure_contrast, parse_colour
from bioprobe.overlays.fonts import Fonts
from bioprobe.overlays.labels import (
    BELOW,
    FIRST_LINES,
    NUMBERS,
    WHOLE_LABELS,
    Badge,
    Drawn,
    Mark,
    Style,
    draw_marks,
    measure_text,
)
from bioprobe.overlays.placing import Rect

STATUS_COLOURS = ("#000000", "#542344", "#9b4f96", "#d81e05", "#fc7f3f", "#f9e814", "#cce226",
                  "#60c659", "#d1d1c6", "#ffffff")  # fmt: skip
BOX = Region(0.3, 0.3, 0.4, 0.4)
LABEL = ("Panthera pardus 0.93", "leopard")


def _fill(size: tuple[int, int], colour: str = "#808080") -> Image.Image:
    return Image.new("RGB", size, colour)


def _overlap(one: Rect, other: Rect) -> bool:
    return (
        one.left < other.right and other.left < one.right
        and one.upper < other.lower and other.upper < one.lower
    )  # fmt: skip


def _check_places(drawn: Drawn, size: tuple[int, int]) -> None:
    assert not any(_overlap(one, other) for one, other in combinations(drawn.plates, 2))
    for one in drawn.plates:
        assert min(one.left, one.upper) >= 0
        assert one.right <= size[0]
        assert one.lower <= size[1]


def _read_contrast(image: Image.Image, place: Rect) -> float:
    """Return the contrast of a label's ground and of its letters, as their pixels have it."""
    # Without the coloured edge.
    inner = np.asarray(image)[place.upper : place.lower, place.left + 8 : place.right]
    colours, counts = np.unique(inner.reshape(-1, 3), axis=0, return_counts=True)
    ground = colours[counts.argmax()].tolist()
    return max(measure_contrast(ground, one) for one in colours.tolist())


@pytest.mark.parametrize(
    ("colour", "size"),
    [("#ffffff", (120, 90)), ("#000000", (640, 480)), ("#808080", (480, 200)),
     ("#15181c", (120, 90)), ("#ffd400", (120, 90))],
)  # fmt: skip
def test_a_label_is_read_on_bright_and_on_dark(colour: str, size: tuple[int, int]) -> None:
    drawn = draw_marks(_fill(size, colour), [Mark(LABEL, BOX)], Style())
    (place,) = drawn.plates
    assert _read_contrast(drawn.image, place) >= 4.5
    # The box stands out of what it is on: one of its two lines does.
    x, y = (round(side * share) for side, share in zip(drawn.image.size, (0.3, 0.5), strict=True))
    across = np.asarray(drawn.image)[y, x - 8 : x + 8].tolist()
    assert max(measure_contrast(parse_colour(colour), one) for one in across) >= 3


@pytest.mark.parametrize("colour", ["#000000", "#542344"])
def test_dark_colours_are_seen_on_the_dark(colour: str) -> None:
    mark = Mark(LABEL, BOX, colour, Badge("EX", colour))
    drawn = draw_marks(_fill((640, 480), "#000000"), [mark], Style())
    (place,) = drawn.plates
    across = np.asarray(drawn.image)[240, 180:200].tolist()
    assert max(measure_contrast((0, 0, 0), one) for one in across) >= 3
    # Its badge and edge have a line around them.
    inside = np.asarray(drawn.image)[place.upper : place.lower, place.left : place.right]
    framed = (inside == parse_colour(FAINT_INK)).all(axis=2)
    assert framed[:, 0].all()
    assert framed[:, inside.shape[1] // 2 :].any()


def test_letters_on_any_colour_are_read() -> None:
    for colour in STATUS_COLOURS:
        assert measure_contrast(parse_colour(colour), parse_colour(choose_ink(colour))) >= 4.5


@pytest.mark.parametrize("colour", ["#d81e05", "#f9e814"])
def test_a_badge_stands_on_its_colour(colour: str) -> None:
    plain = draw_marks(_fill((320, 200)), [Mark(LABEL, BOX)], Style())
    drawn = draw_marks(_fill((320, 200)), [Mark(LABEL, BOX, badge=Badge("EN", colour))], Style())
    counts = Counter(drawn.image.get_flattened_data())
    ink = parse_colour(choose_ink(colour))
    assert counts[parse_colour(colour)] > 50
    assert counts[ink] > Counter(plain.image.get_flattened_data())[ink]


def test_what_is_no_colour_is_refused() -> None:
    with pytest.raises(MisuseError, match="'reddish' is no colour"):
        parse_colour("reddish")


def _draw_boxes(n: int, seed: int) -> list[Mark]:
    drawn = np.random.default_rng(seed)
    marks = []
    for number in range(n):
        width, height = drawn.uniform(0.03, 0.2, 2)
        x, y = drawn.uniform(0, 1 - width), drawn.uniform(0, 1 - height)
        region = Region(round(x, 4), round(y, 4), round(width, 4), round(height, 4))
        marks.append(Mark((f"Turdus migratorius 0.{number:02}", "American robin"), region))
    return marks


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("size", [(1600, 1200), (640, 480), (300, 900)])
def test_of_thirty_labels_none_covers_another_nor_leaves_the_picture(
    size: tuple[int, int], seed: int
) -> None:
    drawn = draw_marks(_fill(size), _draw_boxes(30, seed), Style(least_side_px=0))
    assert len(drawn.plates) == 30
    assert drawn.n_unplaced == 0
    _check_places(drawn, size)
    if drawn.way == NUMBERS:
        assert drawn.image.height > size[1]
    else:
        assert drawn.image.size == size


def test_a_crowd_in_one_place_is_numbered_and_named_below() -> None:
    marks = [
        Mark((f"Panthera leo {at}",), Region(0.4 + at / 1000, 0.4, 0.05, 0.05)) for at in range(40)
    ]
    drawn = draw_marks(_fill((300, 300)), marks, Style(least_side_px=0))
    assert drawn.way == NUMBERS
    _check_places(drawn, (300, 300))
    assert len(drawn.plates) + drawn.n_unplaced == 40
    # Every one of them is named there.
    assert drawn.image.height >= 300 + 40 * 14 / 2
    # A list that would be longer than the picture is one of first lines.
    wordy = [dataclasses.replace(mark, lines=(*mark.lines, "lion")) for mark in marks]
    assert draw_marks(_fill((300, 300)), wordy, Style(least_side_px=0)).image.size == (
        drawn.image.size
    )


def test_where_whole_labels_have_no_room_first_lines_stand_alone() -> None:
    more = ("Turdus migratorius", *(["a line that says more and takes room"] * 9))
    marks = [Mark(more, Region(0.1 + 0.4 * (at % 2), 0.05 + 0.3 * (at // 2), 0.3, 0.2))
             for at in range(6)]  # fmt: skip
    drawn = draw_marks(_fill((640, 480)), marks, Style())
    assert drawn.way == FIRST_LINES
    assert len(drawn.plates) == 6
    _check_places(drawn, (640, 480))


@pytest.mark.parametrize(
    ("name", "size"), [("Pseudocercospora", (60, 900)), ("x" * 90, (640, 480))]
)
def test_a_name_is_not_broken_where_there_is_room_below(name: str, size: tuple[int, int]) -> None:
    for region in (None, BOX):
        drawn = draw_marks(_fill(size), [Mark((name,), region)], Style(least_side_px=0))
        assert drawn.way == BELOW
        assert drawn.image.height <= size[1] + 3 * 1.3 * drawn.text_px


def test_the_label_of_a_picture_covers_little_of_it() -> None:
    lines = (
        "Panthera pardus tulliana",
        "Anatolian leopard",
        "Chordata \u203a Mammalia \u203a Carnivora",
    )
    large = draw_marks(_fill((1200, 900)), [Mark(lines)], Style())
    assert large.way == WHOLE_LABELS
    assert large.image.size == (1200, 900)
    small = draw_marks(_fill((160, 120)), [Mark(lines)], Style(least_side_px=0))
    assert small.way == BELOW
    assert np.array_equal(np.asarray(small.image)[:120, :160], np.asarray(_fill((160, 120))))
    asked = draw_marks(_fill((1200, 900)), [Mark(lines)], Style(below=True))
    assert asked.way == BELOW
    assert np.array_equal(np.asarray(asked.image)[:900], np.asarray(_fill((1200, 900))))


@pytest.mark.parametrize("side", [1, 64])
def test_small_pictures_are_enlarged_until_letters_fit(side: int) -> None:
    drawn = draw_marks(_fill((side, side)), [Mark(LABEL, BOX if side > 1 else None)], Style())
    assert drawn.scale == pytest.approx(480 / side)
    assert drawn.image.size == (480, 480)
    kept = draw_marks(_fill((side, side)), [Mark(LABEL)], Style(least_side_px=0))
    assert kept.scale == 1
    # There is room below for the longest name of one word.
    assert kept.image.width == max(side, 18 * 12)


def test_letters_grow_with_the_picture_and_by_choice() -> None:
    assert [measure_text(size) for size in ((64, 64), (640, 480), (6000, 4000))] == [12, 15, 132]
    heights = [
        draw_marks(_fill(size), [Mark(LABEL[:1], BOX)], Style(text_scale=scale)).plates[0].size[1]
        for size, scale in (((640, 480), 1.0), ((640, 480), 2.0), ((1920, 1440), 1.0))
    ]
    assert 1.7 < heights[1] / heights[0] < 2.3
    assert 2.5 < heights[2] / heights[0] < 3.5


def test_boxes_are_where_regions_are_and_can_be_left_out() -> None:
    ground = _fill((400, 200))
    wide = Region(0.25, 0.25, 0.5, 0.5, pad=0.1, square=True)
    style = Style(least_side_px=0)
    drawn = draw_marks(ground, [Mark((), wide, "#ff0000")], style)
    red = np.argwhere((np.asarray(drawn.image) == (255, 0, 0)).all(axis=2))
    # The box itself, not what was embedded of it.
    assert (red.min(axis=0).tolist(), red.max(axis=0).tolist()) == ([50, 100], [149, 299])
    bare = draw_marks(ground, [Mark((), wide)], Style(least_side_px=0, boxes=False))
    assert np.array_equal(np.asarray(bare.image), np.asarray(ground))
    assert np.array_equal(np.asarray(ground), np.asarray(_fill((400, 200))))


def test_right_to_left_labels_stand_at_the_right_of_their_plate() -> None:
    lines = ("נמר", "a longer line of Latin letters")
    drawn = draw_marks(_fill((640, 480)), [Mark(lines, BOX)], Style(Fonts()))
    (place,) = drawn.plates
    inner = np.asarray(drawn.image)[
        place.upper + 2 : place.upper + 18, place.left + 8 : place.right
    ]
    inked = np.flatnonzero((inner.min(axis=2) > 200).any(axis=0))
    assert inked.min() > inner.shape[1] / 2
    # A badge stands behind the text, which is at its left.
    mark = Mark(("נמר",), BOX, badge=Badge("CR", "#d81e05"))
    drawn = draw_marks(_fill((640, 480)), [mark], Style(Fonts()))
    (place,) = drawn.plates
    inner = np.asarray(drawn.image)[place.upper + 8, place.left + 8 : place.right].astype(int)
    is_red = (inner[:, 0] > 150) & (inner[:, 1] < 80)
    is_ink = inner.min(axis=1) > 200
    assert np.flatnonzero(is_red).max() < np.flatnonzero(is_ink).max()
