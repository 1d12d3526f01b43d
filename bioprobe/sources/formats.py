"""Which formats of other tools are recognised, by what a file or folder holds, not by its name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.access import is_file, is_folder, list_names
from bioprobe.errors import SourceError
from bioprobe.files import parse_json
from bioprobe.sources import (
    archives,
    camtrap_dp,
    darwin_core,
    dwc_dp,
    inaturalist,
    timelapse,
    wildlife_insights,
)
from bioprobe.table_bounds import check_json

if TYPE_CHECKING:
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.listing import Part

# As much of a file as its kind can be told from.
_HEAD_BYTES = 65_536


@dataclasses.dataclass(frozen=True)
class Peek:
    """What can be seen of a source before it is read; each view of it is taken once.

    Parameters
    ----------
    path : Path
        A file or folder.
    """

    path: Path

    @functools.cached_property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return is_folder(self.path)

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Names of what lies in a folder; none for a file."""
        return frozenset(list_names(self.path)) if self.is_folder else frozenset()

    @functools.cached_property
    def head(self) -> bytes:
        """First bytes of a file; none of a folder."""
        if not is_file(self.path):
            return b""
        with self.path.open("rb") as file:
            return file.read(_HEAD_BYTES)

    @functools.cached_property
    def json(self) -> Any:  # noqa: ANN401 - whatever JSON says
        """Content of a JSON file; None of another file.

        Raises
        ------
        SourceError
            If it begins as JSON does and cannot be read.
        """
        start = self.head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        if start not in (b"{", b"["):
            return None
        check_json(self.path)
        try:
            return parse_json(self.path.read_bytes())
        except ValueError as error:
            if self.path.suffix.lower() != ".json":
                return None
            msg = f"{self.path} cannot be read as JSON: {error}"
            raise SourceError(msg) from error


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
        Whether a :class:`Peek` is of this format.
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
    Format("shards", "WebDataset shards: a folder of .tar, or NAME-{000..009}.tar",
           archives.is_shards, archives.list_shards),
    Format("archive", "zip and tar files of pictures; .json, .cls and .txt beside a picture",
           archives.is_archive, archives.list_archive),
)  # fmt: skip


def find_format(peek: Peek) -> Format | None:
    """Return the format of a source, or None where it has none of another tool."""
    return next((one for one in FORMATS if one.recognise(peek)), None)
