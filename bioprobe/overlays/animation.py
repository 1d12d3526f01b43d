"""Pictures after one another, as one file that moves: GIF, WebP or PNG."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.overlays.colours import FAINT_INK, INK, PLATE, parse_colour

if TYPE_CHECKING:
    from PIL.Image import Image

#: Kinds of file that move, each with its ending; ``png`` is what is called APNG.
KINDS = ("gif", "webp", "png")
_QUALITY = 82
# Of the 256 colours of a GIF.
_MOST_KEPT = 32


def write_animation(
    frames: Sequence[Image], kind: str, *, frame_ms: int, last_ms: int, colours: Iterable[str] = ()
) -> bytes:
    """Write pictures as an animation that begins again when it has ended.

    Smaller pictures stand in the middle of a ground as wide as the widest, at its upper edge.

    Parameters
    ----------
    frames : sequence of PIL.Image.Image
        RGB, ≥ 1 of them.
    kind : {"gif", "webp", "png"}
        Of the file. A GIF has 256 colours a picture.
    frame_ms, last_ms : int
        For how long each is shown, and the last one.
    colours : iterable of str
        That a GIF keeps as they are, such as those of statuses.
    """
    width = max(frame.width for frame in frames)
    height = max(frame.height for frame in frames)
    shown = [_fill(frame, width, height) for frame in frames]
    durations = [frame_ms] * (len(shown) - 1) + [last_ms]
    stream = io.BytesIO()
    options: dict[str, Any] = {
        "save_all": True, "append_images": shown[1:], "loop": 0, "duration": durations,
    }  # fmt: skip
    if kind == "gif":
        # Each with colours of its own: those of the first do not serve a night that follows.
        kept = [parse_colour(one) for one in dict.fromkeys((PLATE, INK, FAINT_INK, *colours))]
        quantised = [_quantise(frame, kept[:_MOST_KEPT]) for frame in shown]
        options["append_images"] = quantised[1:]
        quantised[0].save(stream, "GIF", **options, optimize=False, disposal=1)
    elif kind == "webp":
        shown[0].save(stream, "WEBP", **options, quality=_QUALITY, method=3)
    else:
        shown[0].save(stream, "PNG", **options)
    return stream.getvalue()


def _quantise(frame: Image, kept: Sequence[tuple[int, int, int]]) -> Image:
    """Return a picture of 256 colours, some of them given, which stand where they stood."""
    from PIL import Image as PillowImage

    own = frame.quantize(256 - len(kept)).getpalette() or []
    colours = [*(value for colour in kept for value in colour), *own]
    palette = PillowImage.new("P", (1, 1))
    palette.putpalette(colours)
    numbers, pixels = np.array(frame.quantize(palette=palette)), np.asarray(frame)
    for number, colour in enumerate(kept):
        # What is left over of a neighbour would change it.
        numbers[(pixels == colour).all(axis=2)] = number
    quantised = PillowImage.fromarray(numbers)
    quantised.putpalette(colours)
    return quantised


def _fill(frame: Image, width: int, height: int) -> Image:
    from PIL import Image as PillowImage

    ground = PillowImage.new("RGB", (width, height), PLATE)
    ground.paste(frame, ((width - frame.width) // 2, 0))
    return ground
