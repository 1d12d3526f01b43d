from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bioprobe.overlays.fonts import Fonts
from bioprobe.overlays.heat import LEAST_SIDE_PX, Heat, draw_beside, draw_heat

GREY = Image.new("RGB", (120, 60), (120, 120, 120))


def _read(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(np.asarray(image)[y, x].tolist())


def test_much_is_bright_and_coloured_and_nothing_leaves_the_picture_grey() -> None:
    values = np.array([[0, 0, 0, 1]], dtype=np.float32)
    drawn = draw_heat(Image.new("RGB", (120, 60), (200, 40, 40)), Heat(values))
    assert drawn.size == (120, 60)
    grey = _read(drawn, 10, 30)
    assert len(set(grey)) == 1
    red, green, blue = _read(drawn, 110, 30)
    assert min(red, green) > 180 > blue


def test_more_is_always_lighter_on_one_ground() -> None:
    values = np.linspace(0.1, 1, 10, dtype=np.float32)[np.newaxis]
    drawn = np.asarray(draw_heat(Image.new("RGB", (100, 10), (60, 60, 60)), Heat(values)))
    weights = np.array([0.2126, 0.7152, 0.0722])
    lightness = drawn[5, 5::10] @ weights
    assert (np.diff(lightness) > 0).all()


def test_what_was_not_seen_is_dark_and_hatched_and_has_no_map() -> None:
    heat = Heat(np.ones((2, 2), dtype=np.float32), (0.25, 0.0, 0.75, 1.0))
    drawn = np.asarray(draw_heat(GREY, heat))
    outside, inside = drawn[:, :28], drawn[:, 32:88]
    assert np.array_equal(outside[..., 0], outside[..., 2])
    assert (outside < 120).mean() > 0.5
    assert len(np.unique(outside)) == 2
    assert (inside[..., 0] > 150).all()
    whole = np.asarray(draw_heat(GREY, Heat(np.ones((2, 2), dtype=np.float32))))
    assert (whole[..., 0] > 150).all()


def test_a_border_that_the_model_saw_around_the_picture_is_left_out_of_the_map() -> None:
    # The picture is the right half of what was seen.
    values = np.array([[1, 1, 0, 0]], dtype=np.float32)
    drawn = draw_heat(GREY, Heat(values, (-1.0, 0.0, 1.0, 1.0)))
    assert len(set(_read(drawn, 100, 30))) == 1
    values = np.array([[0, 0, 1, 1]], dtype=np.float32)
    drawn = draw_heat(GREY, Heat(values, (-1.0, 0.0, 1.0, 1.0)))
    assert len(set(_read(drawn, 100, 30))) == 3


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (1300, 900), (40, 30)])
def test_pictures_of_any_shape_stand_beside_their_maps(size: tuple[int, int]) -> None:
    heat = Heat(np.eye(3, dtype=np.float32), (0.0, 0.2, 1.0, 0.8), "Panthera pardus", ("a line",))
    picture = Image.new("RGB", size, (0, 90, 200))
    one = draw_beside(picture, [heat], Fonts())
    two = draw_beside(picture, [heat, heat], Fonts())
    assert one.width < two.width
    assert max(one.size) >= LEAST_SIDE_PX
    assert draw_beside(picture, [heat], Fonts(), most_px=400).height < 900


def test_titles_are_drawn_and_a_legend_says_what_was_not_seen() -> None:
    values = np.zeros((2, 2), dtype=np.float32)
    plain = draw_beside(GREY, [Heat(values)], Fonts())
    titled = draw_beside(GREY, [Heat(values, title="a striped tail")], Fonts())
    assert titled.height > plain.height
    partial = draw_beside(GREY, [Heat(values, (0.4, 0.0, 1.0, 1.0))], Fonts())
    legend, other = (np.asarray(one)[-25:] for one in (partial, plain))
    assert legend.shape != other.shape or (legend != other).any()
