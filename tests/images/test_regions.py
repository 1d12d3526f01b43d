"""Boxes in pictures: their names, what is cut out, what lies outside."""

import math

import pytest

from bioprobe.images.regions import Region, get_box, number_regions


@pytest.mark.parametrize(
    "region",
    [
        Region(0, 0, 1, 1),
        Region(0.1234, 0.2, 0.000001, 0.3),
        Region(0.5, 0.25, 0.5, 0.75, pad=0.1),
        Region(0.5, 0.25, 0.5, 0.75, pad=0.15, square=True),
    ],
)
def test_a_region_is_made_again_from_its_name(region: Region) -> None:
    assert Region.parse(region.name) == region
    assert Region.parse(f"{region.name}#3") == region


@pytest.mark.parametrize("name", ["", "#2"])
def test_the_whole_picture_is_no_box(name: str) -> None:
    assert Region.parse(name) is None


@pytest.mark.parametrize("name", ["0,0,1", "a", "0,0,0,1", "0.5,0,0.6,1", "1,1,1,1,1", "..,0,1,1"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"no|could not"):
        Region.parse(name)


def test_what_lies_outside_is_cut_off() -> None:
    region, is_cut = Region.clip(-0.1, 0.5, 0.3, 0.7)
    assert (region, is_cut) == (Region(0, 0.5, 0.2, 0.5), True)
    assert Region.clip(0.1, 0.2, 0.3, 0.4) == (Region(0.1, 0.2, 0.3, 0.4), False)
    assert Region.clip(0.9, 0, 0.1000001, 1)[1] is False  # a detector's rounding


@pytest.mark.parametrize(
    "box", [(1.2, 0, 0.1, 1), (-0.5, 0, 0.4, 1), (0, 0, 0, 1), (0, 0, math.nan, 1)]
)
def test_what_has_no_part_inside_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="no box inside"):
        Region.clip(*box)


@pytest.mark.parametrize(
    ("region", "edges"),
    [
        (Region(0, 0, 1, 1), (0, 0, 400, 200)),
        (Region(0.25, 0.5, 0.5, 0.25), (100, 100, 300, 150)),
        (Region(0.25, 0.5, 0.5, 0.25, pad=0.1), (80, 95, 320, 155)),
        (Region(0, 0.5, 0.1, 0.5, pad=0.5), (0, 50, 60, 200)),
        (Region(0.25, 0.5, 0.25, 0.25, square=True), (100, 75, 200, 175)),
        (Region(0, 0, 0.05, 0.5, square=True), (0, 0, 100, 100)),  # moved into the picture
        (Region(0, 0, 1, 0.1, square=True), (0, 0, 400, 200)),  # no more than there is
        (Region(0.999, 0.999, 0.0001, 0.0001), (399, 199, 400, 200)),  # one pixel at least
    ],
)
def test_what_is_cut_out(region: Region, edges: tuple[int, int, int, int]) -> None:
    assert region.to_pixels(400, 200) == edges


def test_rows_of_one_picture_are_told_apart() -> None:
    names = number_regions([("a", ""), ("a", "0,0,1,1"), ("a", ""), ("a", "0,0,1,1"), ("b", "")])
    assert names == ["", "0,0,1,1", "#2", "0,0,1,1#2", ""]
    assert [get_box(name) for name in names] == ["", "0,0,1,1", "", "0,0,1,1", ""]
