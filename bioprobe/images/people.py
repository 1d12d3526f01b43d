"""People in pictures: where they are, and pictures in which they cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.images.regions import DETECTION_CATEGORY, REGION, Region
from bioprobe.types import Mask

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

#: The whole of a picture, where it is not known where the person is.
WHOLE = Region(0.0, 0.0, 1.0, 1.0)
# What detectors and tools call a person, in small letters.
_WORDS = frozenset({"human", "person", "people", "homo sapiens"})
#: Columns of an image table that may say it.
PERSON_COLUMNS = (DETECTION_CATEGORY, "content")
# Blocks across a box: a face in it is one or two of them.
_BLOCKS = 6
# A detector's box may cut off a hand or hair.
_PAD = 0.05


def tell_people(frame: pd.DataFrame) -> Mask:
    """Tell which rows of an image table are a person's.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
    """
    is_person = np.zeros(len(frame), dtype=bool)
    for name in PERSON_COLUMNS:
        if name in frame.columns:
            is_person |= frame[name].astype(str).str.strip().str.casefold().isin(_WORDS).to_numpy()
    return is_person


def find_people(frame: pd.DataFrame) -> dict[tuple[str, str], tuple[Region, ...]]:
    """Find where people are: in a detector's boxes, or in a picture that holds a human.

    Parameters
    ----------
    frame : DataFrame
        Of an image table. A row is a person's where ``detection_category`` or ``content`` says
        human, or a word that means it; where its region is no box, the person may be anywhere.

    Returns
    -------
    dict of (str, str) to tuple of Region
        By root and path of each picture with people.
    """
    found: dict[tuple[str, str], tuple[Region, ...]] = {}
    names = ["root", "path", REGION]
    for root, path, region in frame.loc[tell_people(frame), names].itertuples(
        index=False, name=None
    ):
        box = Region.parse(str(region)) or WHOLE
        found[root, path] = (*found.get((root, path), ()), box)
    return found


def obscure(image: Image, regions: Sequence[Region]) -> Image:
    """Return a picture with regions as a few blocks each; the rest of it stays.

    Parameters
    ----------
    image : PIL.Image.Image
        Upright, of mode RGB.
    regions : sequence of Region
        Boxes of people; a twentieth more is obscured on each side.

    Returns
    -------
    PIL.Image.Image
        Another picture of the same size; the same where there is nobody.
    """
    from PIL import Image as PillowImage

    if not regions:
        return image
    hidden = image.copy()
    for region in regions:
        wider = Region(region.x, region.y, region.width, region.height, pad=_PAD)
        box = wider.to_pixels(*image.size)
        size = (box[2] - box[0], box[3] - box[1])
        longer = max(size)
        across, down = (max(1, round(_BLOCKS * side / longer)) for side in size)
        part = image.crop(box).resize((across, down), PillowImage.Resampling.BOX)
        hidden.paste(part.resize(size, PillowImage.Resampling.NEAREST), box)
    return hidden
