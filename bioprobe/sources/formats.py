"""Which formats of other tools are recognised, by what a file or folder holds, not by its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bioprobe.sources.archives import is_archive, is_shards, list_archive, list_shards
from bioprobe.sources.coco import is_coco, list_coco
from bioprobe.sources.detections import (
    is_megadetector,
    is_microsoft,
    list_megadetector,
    list_microsoft,
)
from bioprobe.sources.speciesnet import is_speciesnet, list_speciesnet

if TYPE_CHECKING:
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Part
    from bioprobe.sources.peek import Peek


@dataclasses.dataclass(frozen=True)
class Format:
    """A format in which another tool says what pictures there are.

    Parameters
    ----------
    name : str
        Short, as ``sources show`` and ``--as`` call it, such as ``camtrap-dp``.
    what : str
        For people, with the versions that are read.
    recognise : callable
        Whether a :class:`~bioprobe.sources.peek.Peek` is of this format.
    list : callable
        Returns the :class:`~bioprobe.sources.listing.Part` that it says, of a Peek and the
        :class:`~bioprobe.sources.files.SourceOptions`.
    """

    name: str
    what: str
    recognise: Callable[[Peek], bool]
    list: Callable[[Peek, SourceOptions], Sequence[Part]]


#: In the order in which they are looked for.
FORMATS: tuple[Format, ...] = (
    Format(
        "megadetector",
        "MegaDetector's output, format 1.0 to 1.6, also as image_recognition_file.json",
        is_megadetector,
        list_megadetector,
    ),
    Format(
        "megadetector-microsoft",
        "output of Microsoft's MegaDetector: a list, or PytorchWildlife's annotations",
        is_microsoft,
        list_microsoft,
    ),
    Format("speciesnet", "SpeciesNet's predictions, 4.x and 5.x", is_speciesnet, list_speciesnet),
    Format("coco", "COCO Camera Traps (LILA), with boxes or without", is_coco, list_coco),
    Format(
        "shards",
        "WebDataset shards: a folder of .tar, or NAME-{000..009}.tar",
        is_shards,
        list_shards,
    ),
    Format(
        "archive",
        "zip and tar files of pictures; .json, .cls and .txt beside a picture",
        is_archive,
        list_archive,
    ),
)


def find_format(peek: Peek) -> Format | None:
    """Return the format of a source, or None where it has none of another tool."""
    return next((one for one in FORMATS if one.recognise(peek)), None)
