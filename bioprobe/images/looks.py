"""What a picture looks like, in a kilobyte: enough to tell whether two files show the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.types import Mask

if TYPE_CHECKING:
    from PIL import Image

#: Pixels of a side of the thumbnail.
SIDE_PX = 32
#: A look: the picture in grey, whatever its shape, and whether it is mostly writing.
LOOK = np.dtype([("grey", "u1", (SIDE_PX, SIDE_PX)), ("is_text", "?")])

# Strokes are looked for in a picture of at most this side: finer ones are those of a page.
_LONGEST_PX = 512
#: As small as a JPEG may be decoded for its look.
DRAFT_SIDE_PX = 224
# Chosen on drawn labels, sharp, small and recompressed, and on photographs of the training role.
_PAPER_LEVELS, _PAPER_FRACTION = 24, 0.9
_INK_FRACTIONS = (0.0015, 0.35)
_LEAST_CONTRAST = 50
_STROKE_FRACTION = 0.035
_STROKES_A_LINE, _LINE_FRACTION = 4, 0.4
_LARGEST_FRACTION = 0.3
_FRAME_FRACTION, _FRAME_FILL = 0.25, 0.12


def look_at(image: Image.Image, grey: Image.Image | None = None) -> npt.NDArray[np.void]:
    """Return the look of a picture.

    Parameters
    ----------
    image : PIL.Image.Image
        In any mode and size.
    grey : PIL.Image.Image, optional
        The same in mode ``L``, where that is at hand.

    Returns
    -------
    ndarray of :data:`LOOK`, shape ()

    Examples
    --------
    >>> from PIL import Image
    >>> look = look_at(Image.new("RGB", (40, 30), "white"))
    >>> int(look["grey"].min()), bool(look["is_text"])
    (255, False)
    """
    from PIL import Image

    grey = image.convert("L") if grey is None else grey
    look = np.zeros((), dtype=LOOK)
    look["grey"] = np.asarray(grey.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX))
    if max(grey.size) > _LONGEST_PX:
        grey = grey.copy()
        grey.thumbnail((_LONGEST_PX, _LONGEST_PX), Image.Resampling.BOX)
    look["is_text"] = is_text(np.asarray(grey))
    return look


def is_text(pixels: npt.NDArray[np.uint8]) -> bool:
    """Tell whether a picture is mostly writing or print: thin dark strokes on even paper.

    Two labels differ in a few strokes, which no likeness of the whole picture sees.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height_px, width_px)
        Brightness.

    Notes
    -----
    Ink and paper are told by the threshold of Otsu 1979. Most of the paper has one brightness, ink
    is a small share, its runs along a line are short, and most lines that have any have several.
    """
    counts = np.bincount(pixels.ravel(), minlength=256)
    levels = np.arange(256)
    below = np.cumsum(counts)
    total = np.cumsum(counts * levels)
    n, whole = below[-1], total[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (whole * below / n - total) ** 2 / (below * (n - below))
    cut = int(np.nanargmax(np.where(np.isfinite(between), between, -1.0)))
    dark = pixels <= cut
    ink = dark if 2 * below[cut] <= n else ~dark
    n_ink = int(ink.sum())
    if not _INK_FRACTIONS[0] <= n_ink / n <= _INK_FRACTIONS[1]:
        return False
    paper_counts = np.where((levels <= cut) == (ink is dark), 0, counts)
    mode = int(np.argmax(paper_counts))
    near = slice(max(0, mode - _PAPER_LEVELS), mode + _PAPER_LEVELS + 1)
    if paper_counts[near].sum() < _PAPER_FRACTION * (n - n_ink):
        return False
    if abs(float(pixels[ink].mean()) - mode) < _LEAST_CONTRAST:
        return False
    starts = ink.copy()
    starts[:, 1:] &= ~ink[:, :-1]
    n_strokes = starts.sum(axis=1)
    # A frame around the writing is two strokes in every line.
    lines = n_strokes > 2
    is_thin = n_ink / n_strokes.sum() <= max(3.0, _STROKE_FRACTION * pixels.shape[1])
    has_letters = lines.any() and (n_strokes[lines] >= _STROKES_A_LINE).mean() >= _LINE_FRACTION
    return bool(is_thin and has_letters and _measure_largest(ink) <= _LARGEST_FRACTION)


def _measure_largest(ink: Mask) -> float:
    """Return the share of the ink in its largest piece, frames left out: small in letters."""
    from scipy import ndimage

    pieces, n_pieces = ndimage.label(ink, structure=np.ones((3, 3)))
    areas = np.bincount(pieces.ravel(), minlength=n_pieces + 1)[1:]
    boxes = ndimage.find_objects(pieces)
    sizes = np.array([(y.stop - y.start) * (x.stop - x.start) for y, x in boxes])
    is_frame = (sizes > _FRAME_FRACTION * ink.size) & (areas < _FRAME_FILL * sizes)
    left = areas[~is_frame]
    return float(left.max() / left.sum()) if len(left) else 1.0
