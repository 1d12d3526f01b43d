"""Ways to alter a picture, each at several strengths: the same each time for a picture and seed."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MisuseError

if TYPE_CHECKING:
    from PIL import Image

#: Shorter side of the pictures that are altered: pixels of a strength are of one this size.
SIDE_PX = 224
Alter = Callable[["Image.Image", float, np.random.Generator], "Image.Image"]


@dataclasses.dataclass(frozen=True)
class Alteration:
    """One way to alter a picture.

    Parameters
    ----------
    name : str
        Such as ``blur``.
    what : str
        What its strength is, for people.
    strengths : tuple of float
        Those that are tried, the mildest first.
    alter : callable
        From an RGB picture, a strength and a generator of random numbers to another picture.
    words : tuple of str
        What the strengths are called, where they are no numbers.
    """

    name: str
    what: str
    strengths: tuple[float, ...]
    alter: Alter
    words: tuple[str, ...] = ()

    def name_strength(self, strength: float) -> str:
        """Return a strength as a person reads it."""
        if self.words:
            return self.words[self.strengths.index(strength)]
        return f"{strength:g}"

    def apply(self, image: Image.Image, strength: float, *, seed: int, content: str) -> Image.Image:
        """Alter a picture; all strengths of one picture draw the same random numbers.

        Parameters
        ----------
        image : PIL.Image.Image
            Upright, RGB.
        strength : float
            One of :attr:`strengths`, or another of the kind.
        seed : int
        content : str
            What tells the picture from others, such as the SHA-256 of its file.
        """
        told = hashlib.sha256(f"{seed} {content} {self.name}".encode()).digest()
        return self.alter(image, strength, np.random.default_rng(list(told)))


def _grey(image: Image.Image, strength: float, _: np.random.Generator) -> Image.Image:
    from PIL import Image

    return Image.blend(image, image.convert("L").convert("RGB"), strength)


def _enhance(kind: str) -> Alter:
    def alter(image: Image.Image, strength: float, _: np.random.Generator) -> Image.Image:
        from PIL import ImageEnhance

        enhancer = getattr(ImageEnhance, kind)
        return enhancer(image).enhance(strength)  # type: ignore[no-any-return]

    return alter


def _blur(image: Image.Image, strength: float, _: np.random.Generator) -> Image.Image:
    from PIL import ImageFilter

    return image.filter(ImageFilter.GaussianBlur(strength * min(image.size) / SIDE_PX))


def _add_noise(image: Image.Image, strength: float, random: np.random.Generator) -> Image.Image:

    pixels = np.asarray(image, dtype=np.float32)
    noise = random.standard_normal(pixels.shape, dtype=np.float32)
    return _round(pixels + 255 * strength * noise)


def _compress(image: Image.Image, strength: float, _: np.random.Generator) -> Image.Image:
    from PIL import Image

    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(strength))
    return Image.open(stream).convert("RGB")


def _rotate(image: Image.Image, strength: float, random: np.random.Generator) -> Image.Image:
    from PIL import Image

    angle = strength if random.random() < 0.5 else -strength
    mean = tuple(int(one) for one in np.asarray(image).reshape(-1, 3).mean(axis=0))
    # A quarter or half turn loses nothing.
    return image.rotate(
        angle, Image.Resampling.BICUBIC, expand=strength % 90 == 0, fillcolor=mean
    )  # fmt: skip


def _crop(image: Image.Image, strength: float, random: np.random.Generator) -> Image.Image:
    across, down = random.random(2)
    width, height = (max(1, round(side * strength)) for side in image.size)
    left, top = round(across * (image.width - width)), round(down * (image.height - height))
    return image.crop((left, top, left + width, top + height))


def _flip(image: Image.Image, strength: float, _: np.random.Generator) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.mirror(image) if strength else image


def _light_by_flash(
    image: Image.Image, strength: float, random: np.random.Generator
) -> Image.Image:
    """Take the colours away, light the middle alone, and add the noise of a long exposure."""
    grey = np.asarray(image.convert("L"), dtype=np.float32) / 255
    across, down = (np.linspace(-1, 1, side, dtype=np.float32) for side in grey.shape[::-1])
    away = across[None] ** 2 + down[:, None] ** 2
    lit = grey**1.2 * np.exp(-1.5 * away) + 0.02
    lit += 0.02 * random.standard_normal(lit.shape, dtype=np.float32)
    pixels = np.asarray(image, dtype=np.float32)
    mixed = (1 - strength) * pixels + strength * 255 * np.clip(lit, 0, 1)[..., None]
    return _round(mixed)


def _round(pixels: npt.NDArray[np.float32]) -> Image.Image:
    """Return a picture of levels of 0 to 255, to the nearest."""
    from PIL import Image

    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _resize(image: Image.Image, strength: float, _: np.random.Generator) -> Image.Image:
    from PIL import Image, ImageOps

    side = min(image.size)
    if strength == 0:
        return image.resize((side, side), Image.Resampling.BICUBIC)
    if strength == 1:
        return ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
    return ImageOps.pad(image, (side, side), Image.Resampling.BICUBIC, color=(0, 0, 0))


ALTERATIONS = {
    one.name: one
    for one in (
        Alteration("grey", "share of the colour taken away", (0.5, 1.0), _grey),
        Alteration("saturation", "times the colour", (1.5, 2.0, 4.0), _enhance("Color")),
        Alteration("contrast", "times the contrast", (1.5, 0.7, 0.5, 0.25), _enhance("Contrast")),
        Alteration(
            "brightness", "times the light", (1.5, 0.7, 0.5, 0.25), _enhance("Brightness")
        ),
        Alteration("blur", "pixels of 224", (1.0, 2.0, 4.0, 8.0), _blur),
        Alteration(
            "noise", "standard deviation, share of the range", (0.02, 0.05, 0.1, 0.2), _add_noise
        ),
        Alteration("jpeg", "quality", (50, 20, 10, 5), _compress),
        Alteration("rotation", "degrees", (5, 15, 45, 90, 180), _rotate),
        Alteration("crop", "share of each side kept", (0.9, 0.75, 0.5), _crop),
        Alteration("flip", "left for right", (1.0,), _flip),
        Alteration("night", "look of infrared flash", (0.5, 1.0), _light_by_flash),
        Alteration(
            "resize", "how it becomes square", (0, 1, 2), _resize, ("stretch", "crop", "pad")
        ),
    )
}  # fmt: skip


def choose_alterations(names: Sequence[str] | None) -> tuple[Alteration, ...]:
    """Return alterations by name, all where none is named.

    Raises
    ------
    MisuseError
        If there is none of a name.

    Examples
    --------
    >>> [one.name for one in choose_alterations(["blur", "jpeg"])]
    ['blur', 'jpeg']
    """
    chosen = []
    for name in dict.fromkeys(names or ALTERATIONS):
        if name not in ALTERATIONS:
            msg = f"no alteration {name!r}; there are {', '.join(ALTERATIONS)}"
            raise MisuseError(msg)
        chosen.append(ALTERATIONS[name])
    return tuple(chosen)


def make_workable(image: Image.Image) -> Image.Image:
    """Return a picture as it is altered: its shorter side at most twice what strengths are told of.

    Parameters
    ----------
    image : PIL.Image.Image
        Upright, RGB.
    """
    from PIL import Image

    scale = 2 * SIDE_PX / min(image.size)
    if scale >= 1:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC)
