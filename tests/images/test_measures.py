from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from sklearn.metrics import roc_auc_score

from bioprobe.images.measures import measure_picture
from bioprobe.images.reading import decode_image


def _draw(
    seed: int, side_px: int = 224, tint: tuple[float, float, float] = (1, 1, 1)
) -> Image.Image:
    """Draw a picture that has as much detail at each scale, as photographs do, in colours."""
    rng = np.random.default_rng(seed)
    frequencies = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(side_px)]))
    frequencies[0, 0] = 1
    layers = []
    for share in tint:
        noise = np.fft.fft2(rng.normal(size=(side_px, side_px))) / frequencies
        layer = np.fft.ifft2(noise).real
        layers.append(share * (128 + 50 * (layer - layer.mean()) / layer.std()))
    return Image.fromarray(np.clip(np.stack(layers, axis=2), 0, 255).astype(np.uint8))


def _measure(pictures: Iterable[Image.Image], name: str) -> npt.NDArray[np.float64]:
    return np.array([float(measure_picture(one)[name]) for one in pictures])


def _tell(
    pictures: list[Image.Image], alter: Callable[[Image.Image], Image.Image], name: str
) -> float:
    values = np.concatenate([_measure(pictures, name), _measure(map(alter, pictures), name)])
    return float(roc_auc_score(np.repeat([1, 0], len(pictures)), values))


ALTERED: dict[str, tuple[str, Callable[[Image.Image], Image.Image]]] = {
    "blur 1": ("sharpness", lambda one: one.filter(ImageFilter.GaussianBlur(1))),
    "blur 3": ("sharpness", lambda one: one.filter(ImageFilter.GaussianBlur(3))),
    "motion": ("sharpness", lambda one: one.resize((24, 224)).resize((224, 224))),
    "dark": ("brightness", lambda one: ImageEnhance.Brightness(one).enhance(0.4)),
    "flat": ("contrast", lambda one: ImageEnhance.Contrast(one).enhance(0.3)),
}


@pytest.mark.parametrize("how", ALTERED)
def test_what_was_altered_is_told_by_its_measure(how: str) -> None:
    name, alter = ALTERED[how]
    assert _tell([_draw(seed) for seed in range(8)], alter, name) == 1


@pytest.mark.shared
@pytest.mark.parametrize("how", ["blur 1", "blur 3", "dark"])
def test_altered_photographs_are_told_by_their_measure(shared_dir: Path, how: str) -> None:
    folder = shared_dir / "data" / "photos"
    paths = pd.read_csv(folder / "photos.csv")["path"].sample(60, random_state=0)
    name, alter = ALTERED[how]
    assert _tell([Image.open(folder / path).convert("RGB") for path in paths], alter, name) > 0.97


def test_a_large_picture_and_what_a_decoder_makes_of_it_measure_alike() -> None:
    large = _draw(1, 1200)
    stream = io.BytesIO()
    large.save(stream, "JPEG", quality=95)
    drafted = decode_image(stream.getvalue(), draft_side_px=224)
    assert drafted.size == (300, 300)
    whole, half = measure_picture(large), measure_picture(drafted)
    for name in ("sharpness", "brightness", "mean_brightness", "contrast"):
        assert float(half[name]) == pytest.approx(float(whole[name]), rel=0.06), name
    assert abs(float(half["entropy"]) - float(whole["entropy"])) < 0.1


def test_levels_are_measured_as_they_are_counted() -> None:
    grey = np.repeat(np.array([0, 51, 102, 255], dtype=np.uint8), 40)[None].repeat(160, axis=0)
    measured = measure_picture(Image.fromarray(grey))
    assert float(measured["mean_brightness"]) == pytest.approx(0.4)
    assert float(measured["brightness"]) == 1
    assert float(measured["entropy"]) == pytest.approx(2)
    assert float(measured["contrast"]) == pytest.approx(np.std([0, 0.2, 0.4, 1]))


def _by_flash(tint: tuple[float, float, float] = (1, 1, 1)) -> Image.Image:
    """Light the middle of a grey picture, with what a camera writes below it."""
    picture = np.asarray(ImageOps.grayscale(_draw(3)), dtype=np.float64)
    away = np.hypot(*np.meshgrid(*2 * [np.linspace(-1.6, 1.6, 224)]))
    lit = (picture * np.exp(-(away**2)))[..., None] * np.array(tint)
    lit[-14:] = (255, 255, 255)
    lit[-12:-4, 4:20] = (240, 120, 20)
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def test_night_is_told_by_its_colour_and_by_what_the_flash_does_not_reach() -> None:
    for tint in ((1, 1, 1), (1, 0.8, 0.95)):
        assert measure_picture(_by_flash(tint))["night"]
    day = _draw(4)
    assert not measure_picture(day)["night"]
    # A photograph that is too dark has colours still.
    assert not measure_picture(ImageEnhance.Brightness(day).enhance(0.25))["night"]
    # Grey, and light all over: a page or a photograph by day.
    assert not measure_picture(Image.new("L", (100, 80), 230))["night"]
    # Nothing is lit: a covered lens.
    assert not measure_picture(Image.new("RGB", (100, 80), (3, 3, 3)))["night"]


@pytest.mark.shared
def test_the_camera_traps_infrared_pictures_are_told(shared_dir: Path) -> None:
    told = {
        path.name
        for path in (shared_dir / "data" / "edge-cases").glob("*.jpg")
        if "truncated" not in path.name
        and measure_picture(decode_image(path.read_bytes(), draft_side_px=224))["night"]
    }
    assert told == {"american_black_bear.jpg", "blank3.jpg"}


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 300), (5000, 1), (3, 3)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "CMYK"])
def test_any_picture_has_measures(size: tuple[int, int], mode: str) -> None:
    measured = measure_picture(Image.new(mode, size))
    numbers = [float(measured[name]) for name in measured.dtype.names or ()]
    assert np.isfinite(numbers).all()
