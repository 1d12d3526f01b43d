"""A folder of JPEGs that cost what photographs cost to read and decode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

# What a field station has: mostly resized pictures, one in five as the camera wrote it.
SIZES_PX = ((1024, 768), (1024, 768), (1024, 768), (1024, 768), (3000, 2000))


def write_pictures(folder: Path, n_images: int, *, seed: int = 0) -> None:
    """Write pictures of mixed sizes; what is there already is kept.

    A picture is noise whose amplitude falls with frequency as in photographs of nature, with
    grain on top, so that quality 85 gives about two bits a pixel.

    Parameters
    ----------
    folder : Path
        Where to write.
    n_images : int
        Number of pictures.
    seed : int
        Seed of the noise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    scenes = [_draw_scene(rng) for _ in range(8)]
    for number in range(n_images):
        path = folder / f"{number:05d}.jpg"
        if path.exists():
            continue
        rng = np.random.default_rng([seed, number])
        size_px = SIZES_PX[number % len(SIZES_PX)]
        scene = np.roll(scenes[number % len(scenes)], rng.integers(0, 512, 2), axis=(0, 1))
        image = Image.fromarray(scene).resize(size_px, Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (*size_px[::-1], 1)).astype(np.float32)
        pixels = np.clip(np.asarray(image, dtype=np.float32) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=85)


def _draw_scene(rng: np.random.Generator) -> np.ndarray:
    size_px = 1024
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size_px), np.fft.rfftfreq(size_px),
                                      indexing="ij"))  # fmt: skip
    channels = []
    for _ in range(3):
        spectrum = np.fft.rfft2(rng.normal(size=(size_px, size_px))) / np.maximum(frequency, 1e-3)
        channel = np.fft.irfft2(spectrum, s=(size_px, size_px))
        channels.append(128 + 48 * channel / channel.std())
    scene: np.ndarray = np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)
    return scene
