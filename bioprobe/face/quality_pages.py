"""What filters found in a collection: copies, stones, blurred pictures, each with its page."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bioprobe.face.chosen import Paged, Pictures
from bioprobe.quality import against, duplicates, flaws, noise, repeats
from bioprobe.types import Rows


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Duplicates(duplicates.Duplicates, Pictures, Paged):
    """Copies among images, with their page; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows of copies: those that the mask leaves out."""
        return self.rows[~self.kept], None

    def _write(self, path: Path) -> int:
        from bioprobe.page.sheets import write_copies_sheet

        return write_copies_sheet(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Overlap(against.Overlap, Pictures, Paged):
    """Images that another collection has too, with their page; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows of images that the other collection has too."""
        return self.rows[self.is_copy], None

    def _write(self, path: Path) -> int:
        from bioprobe.page.sheets import write_overlap_sheet

        return write_overlap_sheet(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NoiseFilter(noise.NoiseFilter, Pictures):
    """What a filter says of each image, with its page; see the base for the other fields.

    Parameters
    ----------
    level : str
        Rank or column of the classes that the page may be grouped by.
    """

    level: str = "family"

    def choose(self) -> tuple[Rows, None]:
        """Return the rows that are kept."""
        return self.rows[self.kept], None

    def write_page(self, path: str | Path, by: str = "reason", order: str | None = None) -> int:
        """Write what is dropped, with scores and reasons, as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.
        by : {"reason", "class"}
            What the pictures are grouped by.
        order : str, optional
            Column that those of a group are sorted by, as for :meth:`Predictions.write_page`.

        Returns
        -------
        int
            Pictures on the page.
        """
        from bioprobe.page.sheets import write_filter_sheet

        return write_filter_sheet(Path(path), self, by, self.level, order)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Repeats(repeats.Repeats, Pictures, Paged):
    """What stands in one place again and again, with its page; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows that are kept."""
        return self.rows[self.kept], None

    def _write(self, path: Path) -> int:
        from bioprobe.page.sheets import write_repeats_sheet

        return write_repeats_sheet(path, self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Flaws(flaws.Flaws, Pictures, Paged):
    """Which pictures were taken badly, with their page; see the base for the fields."""

    def choose(self) -> tuple[Rows, None]:
        """Return the rows that are kept."""
        return self.rows[self.kept], None

    def _write(self, path: Path) -> int:
        from bioprobe.page.sheets import write_flaws_sheet

        return write_flaws_sheet(path, self)
