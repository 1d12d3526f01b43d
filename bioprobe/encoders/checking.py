"""Try an encoder on a drawn picture and a text, before hours are spent on it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from bioprobe.encoders.encoder import Encoder, Fingerprint
from bioprobe.encoders.loading import load_encoder
from bioprobe.encoders.trials import Bf16Trial, ChoosingEncoder, Trial
from bioprobe.errors import BioprobeError
from bioprobe.result import Notes, Record

_TEXT = "a photo of an animal."
_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class EncoderCheck(Record):
    """What an encoder did with the trial inputs.

    Parameters
    ----------
    encoder : Fingerprint
        Which it was.
    dim : int
        Length of a vector.
    image_norm : float
        Length of the picture's vector.
    text_norm : float or None
        Length of the text's vector, None without a text tower.
    images_per_s : float
        Speed on drawn pictures, preprocessing included, decoding not.
    load_s : float
        Time to load it, 0 where it was there.
    bf16_trial : Bf16Trial or None
        By what the precision was chosen, None where one was asked for, or there is nothing to
        choose.
    backend : str
        What ran the pictures.
    trials : tuple of Trial
        What each backend did when they were measured for these pictures and this machine; the one
        that was named, else; empty where the model runs in nothing else.
    trials_s : float
        How long that took, then or before; 0 where one was named.
    notes : tuple of Note
        What is to be said of it.
    """

    encoder: Fingerprint
    dim: int
    image_norm: float
    text_norm: float | None
    images_per_s: float
    load_s: float = 0.0
    bf16_trial: Bf16Trial | None = None
    backend: str = "torch"
    trials: tuple[Trial, ...] = ()
    trials_s: float = 0.0
    notes: Notes = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        encoder = {
            "model": self.encoder.describe(),
            "fingerprint": self.encoder.key,
            "revision": self.encoder.revision,
        }
        return encoder | {k: v for k, v in super().to_dict().items() if k != "encoder"}


def check_model(
    name: str, *, device: str = "auto", precision: str = "auto", backend: str = "auto"
) -> EncoderCheck:
    """Load an encoder, time that, and check it.

    Parameters
    ----------
    name, device, precision, backend : str
        As for :func:`bioprobe.encoders.load_encoder`; what ``auto`` chooses is measured if it never
        was.

    See Also
    --------
    check_encoder : what is checked.
    """
    started = time.perf_counter()
    encoder = load_encoder(name, device=device, precision=precision, backend=backend)
    load_s = time.perf_counter() - started
    return dataclasses.replace(check_encoder(encoder), load_s=load_s)


def check_encoder(encoder: Encoder) -> EncoderCheck:
    """Encode a drawn picture and a text, and time a few pictures.

    Raises
    ------
    BioprobeError
        If a vector has another length than 1 or another shape than the encoder says.
    """
    picture = draw_picture()
    image_norm = _measure_norm(encoder, encoder.encode_image([picture]))
    text_norm = None
    if encoder.has_text_tower:
        text_norm = _measure_norm(encoder, encoder.encode_text([_TEXT]))
    pictures = draw_pictures(encoder.batch_size)
    choice = encoder.settle_backend(pictures) if isinstance(encoder, ChoosingEncoder) else None
    started = time.perf_counter()
    encoder.encode_image(pictures)
    took_s = time.perf_counter() - started
    if choice is not None and isinstance(encoder, ChoosingEncoder):
        # What was chosen may have failed since.
        choice = encoder.settle_backend(pictures)
    return EncoderCheck(
        encoder=encoder.fingerprint,
        dim=encoder.dim,
        image_norm=image_norm,
        text_norm=text_norm,
        images_per_s=len(pictures) / took_s,
        bf16_trial=getattr(encoder, "bf16_trial", None),
        backend=encoder.fingerprint.backend if choice is None else choice.backend,
        trials=() if choice is None else choice.trials,
        trials_s=0.0 if choice is None else choice.seconds_s,
    ).say(_tell_measured(encoder))


def _tell_measured(encoder: Encoder) -> list[str]:
    """Say of a quantised encoder what was measured of it, on pictures and answers."""
    about: Mapping[str, Any] | None = getattr(encoder, "about", None)
    if about is None:
        return []
    if not about:
        return ["what quantising did to vectors and answers is not known: its record is lost"]
    said = (
        f"of {about['n_checked']:,} pictures when it was quantised: least cosine to fp32 "
        f"{about['least_cosine']:.4f}, mean {about['mean_cosine']:.4f}; "
        f"{about['same_neighbour_fraction']:.1%} keep their nearest neighbour"
    )
    return [said, *about.get("answers", ())]


def draw_picture() -> Image.Image:
    """Return a drawn bird over green hills, RGB, 320 by 240 pixels."""
    picture = Image.new("RGB", (320, 240), "lightblue")
    canvas = ImageDraw.Draw(picture)
    canvas.ellipse((-60, 150, 240, 330), fill="darkgreen")
    canvas.ellipse((140, 170, 400, 330), fill="green")
    canvas.ellipse((110, 80, 190, 130), fill="saddlebrown")
    canvas.ellipse((175, 65, 210, 95), fill="saddlebrown")
    canvas.polygon([(208, 76), (226, 82), (208, 88)], fill="orange")
    return picture


def draw_pictures(n_pictures: int) -> list[Image.Image]:
    """Return that bird in other colours, so that no two pictures are alike."""
    whole = np.asarray(draw_picture(), dtype=np.int16)
    random = np.random.default_rng(0)
    return [
        Image.fromarray(np.clip(whole + shift, 0, 255).astype(np.uint8))
        for shift in random.integers(-60, 60, (n_pictures, 1, 1, 3))
    ]


def _measure_norm(encoder: Encoder, vectors: np.ndarray) -> float:
    norm = float(np.linalg.norm(vectors[0]))
    if vectors.shape != (1, encoder.dim) or abs(norm - 1) > _TOLERANCE:
        msg = (
            f"{encoder.name} gave a vector of shape {vectors.shape} and length {norm:.4f}; "
            f"expected shape (1, {encoder.dim}) and length 1: the weights may be damaged"
        )
        raise BioprobeError(msg)
    return norm
