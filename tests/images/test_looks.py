from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from bioprobe.images.looks import look_at

CATALOGUE = "MUS-00017\nPanthera leo"


def _draw_label(
    text: str, size_px: tuple[int, int], font_px: int, ink: str = "black", paper: str = "white"
) -> Image.Image:
    picture = Image.new("RGB", size_px, paper)
    pen = ImageDraw.Draw(picture)
    pen.multiline_text((10, 8), text, fill=ink, font=ImageFont.load_default(font_px))
    return picture


def _save_worse(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=60)
    return Image.open(stream)


@pytest.mark.parametrize("size_px", [(224, 224), (400, 120), (640, 400), (1200, 800)])
@pytest.mark.parametrize(
    ("ink", "paper"), [("black", "white"), ("#222", "#f0e4be"), ("white", "#222")]
)
def test_a_label_is_text(size_px: tuple[int, int], ink: str, paper: str) -> None:
    label = _draw_label(CATALOGUE, size_px, size_px[1] // 6, ink, paper)
    framed = label.copy()
    ImageDraw.Draw(framed).rectangle((3, 3, size_px[0] - 4, size_px[1] - 4), outline=ink, width=2)
    noise = np.random.default_rng(0).normal(0, 8, (size_px[1], size_px[0], 3))
    scanned = Image.fromarray(np.clip(np.asarray(label) + noise, 0, 255).astype(np.uint8))
    for picture in (label, framed, scanned, _save_worse(label)):
        assert look_at(picture)["is_text"]


def test_pictures_of_things_are_no_text() -> None:
    shade = Image.linear_gradient("L")
    noise = Image.effect_noise((200, 150), 60)
    blob = Image.new("L", (200, 200), "white")
    ImageDraw.Draw(blob).ellipse((40, 60, 150, 140), fill="black")
    for picture in (
        shade,
        noise,
        blob,
        Image.new("RGB", (50, 50), "white"),
        Image.new("L", (1, 1)),
    ):
        assert not look_at(picture)["is_text"]


@pytest.mark.shared
def test_hardly_any_photograph_is_text(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "photos"
    with (folder / "photos.csv").open() as stream:
        paths = [row["path"] for row in csv.DictReader(stream) if row["role"] != "train"][::5]
    # Measured: .4 %, of which half are plates and charts.
    shares = [bool(look_at(Image.open(folder / path))["is_text"]) for path in paths]
    assert np.mean(shares) <= 0.015
