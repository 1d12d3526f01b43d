"""Which formats of other tools are recognised, by what a file or folder holds, not by its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bioprobe.sources import (
    archive_contents,
    archives,
    camtrap_dp,
    coco,
    darwin_core,
    detections,
    dwc_dp,
    inaturalist,
    speciesnet,
    timelapse,
    wildlife_insights,
)

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
        detections.is_megadetector,
        detections.list_megadetector,
    ),
    Format(
        "megadetector-microsoft",
        "output of Microsoft's MegaDetector: a list, or PytorchWildlife's annotations",
        detections.is_microsoft,
        detections.list_microsoft,
    ),
    Format("speciesnet", "SpeciesNet's predictions, 4.x and 5.x",
           speciesnet.is_speciesnet, speciesnet.list_speciesnet),
    Format("coco", "COCO Camera Traps (LILA), with boxes or without",
           coco.is_coco, coco.list_coco),
    Format("camtrap-dp", "Camtrap DP 1.0 to 1.0.2, a folder or a zip",
           camtrap_dp.is_camtrap_dp, camtrap_dp.list_camtrap_dp),
    Format("dwc-dp", "Darwin Core data packages (DwC-DP), a folder or a zip",
           dwc_dp.is_dwc_dp, dwc_dp.list_dwc_dp),
    Format("darwin-core-archive", "Darwin Core archives, a folder or a zip; GBIF's downloads",
           darwin_core.is_darwin_core_archive, darwin_core.list_darwin_core_archive),
    Format("wildlife-insights", "downloads of Wildlife Insights: images.csv, its folder or zip",
           wildlife_insights.is_wildlife_insights, wildlife_insights.list_wildlife_insights),
    Format("timelapse", "tables that Timelapse exports",
           timelapse.is_timelapse, timelapse.list_timelapse),
    Format("inaturalist", "exports of observations of iNaturalist",
           inaturalist.is_inaturalist_export, inaturalist.list_inaturalist_export),
    Format("inaturalist-open-data", "open data of iNaturalist: photos.csv beside others",
           inaturalist.is_inaturalist_open_data, inaturalist.list_inaturalist_open_data),
    Format(
        "zipped-export",
        "a zip with any of these, or with tables beside its pictures",
        archive_contents.is_zipped_export,
        lambda peek, options: archive_contents.list_zipped_export(peek, options, find_format),
    ),
    Format("shards", "WebDataset shards: a folder of .tar, or NAME-{000..009}.tar",
           archives.is_shards, archives.list_shards),
    Format("archive", "zip and tar files of pictures; .json, .cls and .txt beside a picture",
           archives.is_archive, archives.list_archive),
)  # fmt: skip


def find_format(peek: Peek) -> Format | None:
    """Return the format of a source, or None where it has none of another tool."""
    return next((one for one in FORMATS if one.recognise(peek)), None)
