"""Where a picture was taken, as exactly as may be told: sensitive taxa keep their secret."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from bioprobe.conservation import THREATENED, Category, read_category
from bioprobe.errors import MisuseError
from bioprobe.images.degrees import read_degrees
from bioprobe.names import fold
from bioprobe.taxonomy import Rank, Taxon

#: Columns that say how threatened the taxon of a row is, as they are written without ``_``.
STATUS_COLUMNS = (
    "threatened", "status", "threatstatus", "conservationstatus", "iucn", "iucnstatus",
    "iucncategory", "redlistcategory", "redliststatus",
)  # fmt: skip
# Words of a column of status that name no category.
_THREATENED = frozenset({"threatened", "true", "yes", "1"})
# Length of a degree of latitude on a sphere of the Earth's mean radius (6,371.0088 km).
_METRES = 111_195.08
# Near a pole a degree of longitude has no length to divide by.
_LEAST_COSINE = 0.01
_STEP = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>km|m|deg|degrees?|°)?")


@dataclasses.dataclass(frozen=True)
class Place:
    """A place on Earth, and how exactly it is told.

    Parameters
    ----------
    latitude, longitude : float
        Decimal degrees, WGS 84.
    uncertainty_m : float, optional
        Radius in which the place lies; None where nobody said.
    precision : float, optional
        Degrees to which the numbers are rounded, where they were; Darwin Core's
        ``coordinatePrecision``.
    generalisation : str
        How it was made less exact, ``""`` where it was not; Darwin Core's ``dataGeneralizations``.
    """

    latitude: float
    longitude: float
    uncertainty_m: float | None = None
    precision: float | None = None
    generalisation: str = ""


@dataclasses.dataclass(frozen=True)
class Grid:
    """How exact a place is told, at most: the middle of the nearest cell of a grid.

    Parameters
    ----------
    degrees, km : float
        Side of a cell; one of them is 0. Both 0: as exact as it is known.

    Examples
    --------
    >>> rough = Grid.parse("0.1").generalise(Place(47.123, 8.261))
    >>> rough.latitude, rough.longitude, rough.generalisation
    (47.1, 8.3, 'rounded to 0.1 degrees')
    """

    degrees: float = 0.0
    km: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Grid:
        """Read ``0.1``, ``0.1deg``, ``10km``, ``500m`` or ``none``.

        Raises
        ------
        MisuseError
            If it is none of these, or more than a grid over the Earth can be.
        """
        said = text.strip().lower()
        if said in {"none", "0"}:
            return cls()
        found = _STEP.fullmatch(said)
        number = float(found["number"]) if found else 0.0
        unit = (found["unit"] or "deg") if found else ""
        km = {"km": number, "m": number / 1000}.get(unit, 0.0)
        degrees = 0.0 if unit in {"km", "m"} else number
        if not found or not 0 < max(degrees, km * 1000 / _METRES) <= 10:
            msg = (
                "places are generalised to degrees or kilometres of at most 10 degrees, such as "
                f"0.1 or 10km, or none; got {text!r}"
            )
            raise MisuseError(msg)
        return cls(degrees, km)

    def __bool__(self) -> bool:
        return self.degrees > 0 or self.km > 0

    def generalise(self, place: Place) -> Place:
        """Return a place as the nearest point of the grid, with how far it may lie from there."""
        if not self:
            return place
        cosine = max(math.cos(math.radians(place.latitude)), _LEAST_COSINE)
        rows = self.degrees or self.km * 1000 / _METRES
        columns = self.degrees or rows / cosine
        latitude = min(max(_round(place.latitude, rows), -90.0), 90.0)
        longitude = (_round(place.longitude, columns) + 180) % 360 - 180
        # Half of the cell's diagonal, where the cell is widest.
        wide = max(math.cos(math.radians(abs(latitude) - rows / 2)), _LEAST_COSINE)
        reach = math.hypot(rows * _METRES / 2, columns * wide * _METRES / 2)
        said = f"{self.degrees:g} degrees" if self.degrees else f"a grid of {self.km:g} km"
        return Place(
            round(latitude, 6),
            round(longitude, 6),
            math.ceil(reach + (place.uncertainty_m or 0)),
            float(f"{max(rows, columns):.2g}"),
            f"rounded to {said}",
        )


def _round(value: float, step: float) -> float:
    return round(value / step) * step


@dataclasses.dataclass(frozen=True)
class Sensitive:
    """Taxa whose places are not told exactly.

    Parameters
    ----------
    names : frozenset of str
        Folded names at any rank; what lies below one of them is sensitive too.
    genera : frozenset of str
        Genera of the species among them: an answer that is only sure of such a genus may be one.
    grid : Grid
        How exact their places are told.
    """

    names: frozenset[str] = frozenset()
    genera: frozenset[str] = frozenset()
    grid: Grid = Grid()

    @classmethod
    def of(cls, names: Iterable[str], grid: Grid) -> Sensitive:
        """Make it of names as people write them: a species, or any rank above."""
        folded = frozenset(filter(None, map(fold, names)))
        genera = frozenset(name.split(" ")[0] for name in folded if " " in name)
        return cls(folded, genera, grid)

    def holds(self, taxon: Taxon | None) -> bool:
        """Tell whether a taxon is one of them, lies below one, or may be one of its genus."""
        if taxon is None or not self.grid or not self.names:
            return False
        own = {fold(name) for name in taxon.lineage if name}
        # A subspecies is its species too.
        own |= {" ".join(name.split(" ")[:2]) for name in own}
        own.add(fold(taxon.common_name))
        return bool(own & self.names) or (
            taxon.rank is Rank.GENUS and fold(taxon.name) in self.genera
        )


def is_threatened(status: str) -> bool:
    """Tell whether a cell of a column of status says that a taxon is threatened.

    What is extinct in the wild is too: its last places are worth as much.

    Examples
    --------
    >>> [is_threatened(word) for word in ("EN", "Vulnerable", "LC", "", "Endangered (EN)")]
    [True, True, False, False, True]
    """
    whole = read_category(status)
    if whole is not None and whole.code:
        return _is_of_threat(whole)
    words = [word.strip() for word in re.split(r"[();,/]", status.casefold().replace("_", " "))]
    found = filter(None, map(read_category, words))
    return any(word in _THREATENED for word in words) or any(map(_is_of_threat, found))


def _is_of_threat(category: Category) -> bool:
    return category.threat == THREATENED or category.code == "EW"


def read_place(cells: Mapping[str, str], of: str | Path) -> Place | None:
    """Read a place from cells of a table; None where there is none.

    Parameters
    ----------
    cells : mapping of str to str
        With ``latitude``, ``longitude`` and, where known, ``uncertainty`` in metres.
    of : str or Path
        Named in an error.

    Raises
    ------
    MisuseError
        If what stands there is no place on Earth.
    """
    said = cells.get("latitude", ""), cells.get("longitude", "")
    if not all(said):
        return None
    try:
        latitude, longitude = map(read_degrees, said, ("latitude", "longitude"))
        radius = float(cells["uncertainty"]) if cells.get("uncertainty") else None
    except ValueError:
        latitude = longitude = radius = math.nan
    if math.isnan(latitude + longitude):
        msg = (
            f"{of} lies at latitude {said[0]!r}, longitude {said[1]!r}; expected decimal degrees "
            "of at most 90 and 180, and an uncertainty in metres"
        )
        raise MisuseError(msg)
    return Place(latitude, longitude, radius)
