"""What was compared, estimated or explained, each with its page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from bioprobe import agreement, robustness
from bioprobe.content import Content
from bioprobe.counting import estimates
from bioprobe.explanation import result as explained
from bioprobe.face.chosen import Paged, Pictures
from bioprobe.images.location import ImageLocation
from bioprobe.images.people import WHOLE
from bioprobe.options import KEEP, LEAVE_OUT
from bioprobe.types import Rows


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison(agreement.Comparison, Paged):
    """Two sets of answers with their page; see the base for the other fields.

    Parameters
    ----------
    places : mapping of int to ImageLocation
        Where the picture of a pair lies, by its position.
    people : {"leave-out", "obscure", "keep"}, optional
        What is done with people on the page; by default they are obscured.
    """

    __module__ = "bioprobe"

    places: Mapping[int, ImageLocation] = dataclasses.field(default_factory=dict)
    people: str | None = None

    def _write(self, path: Path) -> int:
        from bioprobe.agreement.sheet import write_comparison_sheet

        places = {at: self._show(at, place) for at, place in self.places.items()}
        return write_comparison_sheet(path, self, places)

    def with_people(self, people: str) -> Self:
        """Return the same answer, whose page shows people otherwise."""
        return dataclasses.replace(self, people=people)

    def _show(self, at: int, place: ImageLocation) -> ImageLocation:
        seen = [
            side.said[rows[at]].content == Content.HUMAN
            for side, rows in ((self.first, self.matches.first), (self.second, self.matches.second))
        ]
        people = place.people
        if any(seen) and not people:
            # Where the person is, is not said.
            people = (WHOLE,)
        if self.people == KEEP:
            people = ()
        elif self.people == LEAVE_OUT and people:
            people = (WHOLE,)
        return dataclasses.replace(place, people=people)


class Robustness(robustness.Robustness, Paged):
    """What altering pictures does, with its page; see the base for the fields."""

    def _write(self, path: Path) -> int:
        from bioprobe.report.alterations import write_robustness_page

        return write_robustness_page(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Estimates(estimates.Estimates, Paged):
    """Shares, counts and rates with intervals, with their page; see the base for the fields."""

    __module__ = "bioprobe"
    shows: ClassVar[tuple[str, ...]] = ("class", "classes")

    def _write(self, path: Path) -> int:
        from bioprobe.report.estimates import write_estimates

        return write_estimates(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanations(explained.Explanations, Pictures, Paged):
    """Why pictures have their answers, with their page; see the base for the fields."""

    __module__ = "bioprobe"

    def choose(self) -> tuple[Rows, None]:
        """Return the rows of the pictures."""
        return np.array(self.rows, dtype=np.int64), None

    def _write(self, path: Path) -> int:
        from bioprobe.page.explanations import write_explanation_sheet

        return write_explanation_sheet(path, self)

    def write_overlays(self, folder: str | Path) -> int:
        """Write each picture beside its maps as a PNG file, ``ROW-NAME.png``, into a folder.

        Other files there are not replaced; those that were drawn before are.

        Parameters
        ----------
        folder : str or Path
            It is made where there is none.

        Returns
        -------
        int
            Files that were written; a picture that is gone since has none.
        """
        from bioprobe.page.explanations import write_overlays

        return write_overlays(Path(folder), self)
