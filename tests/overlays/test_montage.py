"""Contact sheets, and pictures after one another."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bioprobe.overlays import montage
from bioprobe.overlays.animation import write_animation
from bioprobe.overlays.fonts import Fonts
from bioprobe.overlays.montage import Cell, Group, draw_montage


def _fill(colour: str, size: tuple[int, int] = (80, 60)) -> Image.Image:
    return Image.new("RGB", size, colour)


def _draw(groups: list[Group], *, n_columns: int = 3, scale: float = 1.0) -> list[Image.Image]:
    return list(
        draw_montage(groups, cell_px=100, n_columns=n_columns, fonts=Fonts(), text_scale=scale)
    )


def test_each_picture_of_a_group_is_on_the_sheet() -> None:
    cells = [Cell(_fill(colour), ("lion",)) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    (sheet,) = _draw([Group("cats", cells), Group("", [Cell(_fill("#ff00ff"))])])
    pixels = np.asarray(sheet)
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255)):
        # Enlarged to the cell.
        assert (pixels == colour).all(axis=2).sum() == 100 * 75
    (narrow,) = _draw([Group("cats", cells)], n_columns=1)
    assert narrow.width < sheet.width / 2
    assert narrow.height > sheet.height


def test_captions_make_rows_higher_and_grow_by_choice() -> None:
    heights = [
        _draw([Group(heading, [Cell(_fill("red"), lines)])], scale=scale)[0].height
        for heading, lines, scale in (
            ("", (), 1.0), ("", ("lion",), 1.0), ("", ("lion", "Felidae"), 1.0),
            ("cats", ("lion", "Felidae"), 1.0), ("cats", ("lion", "Felidae"), 2.0),
        )
    ]  # fmt: skip
    assert heights == sorted(set(heights))


def test_a_badge_stands_behind_the_text_in_its_direction() -> None:
    for name, at_right in (("lion", True), ("נמר", False)):
        cell = Cell(None, (name,), "#00ff00", ("VU", "#ff0000"))
        (sheet,) = _draw([Group("", [cell])], n_columns=1)
        red = np.argwhere((np.asarray(sheet) == (255, 0, 0)).all(axis=2))[:, 1]
        assert (red.min() > sheet.width / 2) == at_right
        assert (red.max() < sheet.width / 2) != at_right


def test_what_cannot_be_shown_is_an_empty_frame() -> None:
    (sheet,) = _draw([Group("", [Cell(None, ("cannot be read",))])])
    assert sheet.size > (100, 100)


def test_a_high_sheet_goes_on_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(montage, "_HIGHEST_PX", 300)
    cells = [Cell(_fill("#ff0000"), ("lion",)) for _ in range(12)]
    sheets = _draw([Group("cats", cells)])
    assert len(sheets) == 2
    assert all(sheet.height <= 300 for sheet in sheets)
    red = sum(int((np.asarray(one) == (255, 0, 0)).all(axis=2).sum()) for one in sheets)
    assert red == 12 * 100 * 75


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_pictures_move_in_their_order_and_time(kind: str) -> None:
    frames = [_fill("#ff0000"), _fill("#00ff00", (40, 60)), _fill("#0000ff")]
    frames[0].info["comment"] = b"GPS 47.1 8.2"
    data = write_animation(frames, kind, frame_ms=200, last_ms=600)
    assert b"GPS" not in data
    with Image.open(io.BytesIO(data)) as moving:
        assert moving.n_frames == 3  # type: ignore[attr-defined]
        assert moving.size == (80, 60)
        times, colours = [], []
        for at in range(3):
            moving.seek(at)
            moving.load()
            times.append(moving.info["duration"])
            colours.append(moving.convert("RGB").getpixel((40, 30)))
    assert times == [200, 200, 600]
    near = [tuple(round(value / 255) for value in colour) for colour in colours]  # type: ignore[union-attr]
    assert near == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_alike_pictures_are_each_shown() -> None:
    data = write_animation([_fill("#808080")] * 3, "gif", frame_ms=100, last_ms=300)
    with Image.open(io.BytesIO(data)) as moving:
        total = 0
        for at in range(moving.n_frames):  # type: ignore[attr-defined]
            moving.seek(at)
            total += moving.info["duration"]
    assert total == 500


def test_a_gif_keeps_the_colours_that_stand_for_something() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    noise[4, :9] = (252, 127, 63)
    noise[4, -9:] = (252, 127, 63)
    frames = [Image.fromarray(noise), Image.fromarray(noise[:, ::-1])]
    data = write_animation(frames, "gif", frame_ms=100, last_ms=300, colours=["#fc7f3f"])
    with Image.open(io.BytesIO(data)) as moving:
        for at in range(2):
            moving.seek(at)
            row = np.asarray(moving.convert("RGB"))[4]
            assert (row[:9] == (252, 127, 63)).all()
            assert (row[-9:] == (252, 127, 63)).all()
