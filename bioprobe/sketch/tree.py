"""The small tree of life that the sketch model is taught."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bioprobe.errors import TaxonomyError
from bioprobe.files import prompts_dir

#: Red, green and blue of each colour that an animal may have.
RGB: dict[str, tuple[int, int, int]] = {
    "white": (242, 240, 234),
    "black": (38, 36, 40),
    "grey": (146, 148, 152),
    "brown": (120, 76, 42),
    "red": (205, 38, 40),
    "orange": (240, 130, 28),
    "yellow": (246, 212, 52),
    "green": (72, 158, 66),
    "blue": (46, 102, 214),
    "purple": (134, 62, 168),
    "pink": (246, 148, 178),
}
COLOURS = tuple(RGB)
PATTERNS = ("plain", "spots", "stripes", "bands", "patches", "edges")
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


@dataclass(frozen=True)
class Look:
    """Say how an animal looks, apart from its pose.

    Parameters
    ----------
    form : str
        Name of the body plan, a key of ``bioprobe.sketch.drawing.FORMS``.
    colour : str
        Ground colour, one of ``COLOURS``.
    second_colour : str
        Colour of the pattern, one of ``COLOURS``; empty where the pattern is ``plain``.
    pattern : str
        One of ``PATTERNS``.

    Raises
    ------
    TaxonomyError
        If a colour or pattern is unknown, or a plain animal has a second colour.
    """

    form: str
    colour: str
    second_colour: str
    pattern: str

    def __post_init__(self) -> None:
        for colour in (self.colour, self.second_colour or self.colour):
            if colour not in COLOURS:
                msg = f"colour {colour!r} is unknown; use one of {', '.join(COLOURS)}"
                raise TaxonomyError(msg)
        if self.pattern not in PATTERNS:
            msg = f"pattern {self.pattern!r} is unknown; use one of {', '.join(PATTERNS)}"
            raise TaxonomyError(msg)
        if (self.pattern == "plain") != (self.second_colour == ""):
            msg = (
                f"pattern {self.pattern!r} with second colour {self.second_colour!r}; "
                "only a plain animal has no second colour"
            )
            raise TaxonomyError(msg)


@dataclass(frozen=True)
class SketchSpecies:
    """Hold one row of ``prompts/taxonomies/sketch.csv``.

    Parameters
    ----------
    lineage : tuple of str
        Kingdom, phylum, class, order, family, genus and species (the full binomial).
    common_name : str
        English name.
    look : Look
        How the renderer draws it.
    description : str
        A plain phrase, such as ``"a white cat with black spots"``.
    role : {"trained", "unseen"}
        Whether pictures of this species were used in training.
    """

    lineage: tuple[str, ...]
    common_name: str
    look: Look
    description: str
    role: Literal["trained", "unseen"]

    @property
    def name(self) -> str:
        """Return the binomial."""
        return self.lineage[-1]

    def at(self, rank: str) -> str:
        """Return the taxon's name at a rank.

        Parameters
        ----------
        rank : str
            One of ``RANKS``.

        Returns
        -------
        str
            For example ``"Felidae"``.
        """
        return self.lineage[RANKS.index(rank)]


def read_species(path: Path | None = None) -> list[SketchSpecies]:
    """Read the species that can be drawn.

    Parameters
    ----------
    path : Path, optional
        A table with the columns of ``prompts/taxonomies/sketch.csv``, which is the default.

    Returns
    -------
    list of SketchSpecies
        In the order of the file.

    Examples
    --------
    >>> read_species()[0].name
    'Panthera pardus'
    """
    path = path or prompts_dir() / "taxonomies" / "sketch.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [_species_of(row) for row in csv.DictReader(file)]


def _species_of(row: dict[str, str]) -> SketchSpecies:
    role = row["role"]
    if role not in ("trained", "unseen"):
        msg = f"{row['species']}: role {role!r}; expected trained or unseen"
        raise TaxonomyError(msg)
    return SketchSpecies(
        lineage=tuple(row[rank] for rank in RANKS),
        common_name=row["common_name"],
        look=Look(row["form"], row["colour"], row["second_colour"], row["pattern"]),
        description=row["description"],
        role="trained" if role == "trained" else "unseen",
    )
