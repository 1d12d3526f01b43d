from __future__ import annotations

import math

import pytest

from bioprobe.images.degrees import read_degrees


@pytest.mark.parametrize(
    ("text", "side", "degrees"),
    [
        ("47.5", "latitude", 47.5), ("-8,25", "longitude", -8.25),
        ("\u22128.25", "longitude", -8.25),
        ("47\u00b030\u203236\u2033 N", "latitude", 47.51), ("S 47 30 36", "latitude", -47.51),
        ("47\u00b030.6'", "latitude", 47.51), ("8:15:00W", "longitude", -8.25),
        ("47\u00b030'36''N", "latitude", 47.51), ("-8.25 W", "longitude", -8.25),
        ("-5e-05", "longitude", -5e-5), ("47.", "latitude", 47.0), (".5", "latitude", 0.5),
        ("8.25E", "longitude", 8.25),
    ],
)  # fmt: skip
def test_degrees_are_read_as_people_write_them(text: str, side: str, degrees: float) -> None:
    assert read_degrees(text, side) == pytest.approx(degrees, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("", "latitude"), ("x", "latitude"), ("nan", "latitude"), ("95.1", "latitude"),
        ("181", "longitude"), ("8.25 E", "latitude"), ("47.5 N", "longitude"),
        ("8.25 O", "longitude"), ("-47.5 N", "latitude"), ("47\u00b060'", "latitude"),
        ("47.5\u00b030'", "latitude"), ("473000", "latitude"), ("1.234,5", "latitude"),
    ],
)  # fmt: skip
def test_what_is_no_place_on_its_side_is_none(text: str, side: str) -> None:
    assert math.isnan(read_degrees(text, side))
