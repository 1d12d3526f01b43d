"""Answers that are pictures: drawn in a notebook, written as a page that opens from disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from bioprobe.face.chosen import Paged, Pictures
from bioprobe.result import Result, read_fields
from bioprobe.task import decisions, predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bioprobe.conservation import Judged, Units
    from bioprobe.images import ImageTable
    from bioprobe.provenance import Provenance
    from bioprobe.result import Notes
    from bioprobe.task.beside import Beside
    from bioprobe.types import Rows


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictions(predictions.Predictions, Pictures):
    """The best classes of each image, with their page; see the base for the fields."""

    __module__ = "bioprobe"

    def choose(self) -> tuple[Rows, Sequence[str]]:
        """Return the rows that were asked, and the best answer of each."""
        return self.rows, self.best_names.tolist()

    def write_page(self, path: str | Path, by: str = "answer", order: str | None = None) -> int:
        """Write the pictures with their best answers as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.
        by : str
            What the pictures are grouped by: ``answer``, or a column of the image table.
        order : str, optional
            Column that those of a group are sorted by, such as ``alike``, which
            :meth:`Store.order` keeps; by default the surest stand first.

        Returns
        -------
        int
            Pictures on the page.

        Raises
        ------
        SelectionError
            If there is no such column.
        """
        from bioprobe.page.sheets import write_answer_sheet

        lowest = dataclasses.replace(self, above=())
        return write_answer_sheet(Path(path), "Answers", lowest, by, order)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Decisions(decisions.Decisions, Pictures):
    """One answer an image, or none, with its page; see the base for the fields."""

    __module__ = "bioprobe"

    def choose(self) -> tuple[Rows, Sequence[str]]:
        """Return the rows that were asked, and the answer of each, ``""`` where there is none."""
        return self.rows, self.names

    def write_page(self, path: str | Path, by: str = "answer", order: str | None = None) -> int:
        """Write the pictures with their answers as :meth:`Predictions.write_page` does."""
        from bioprobe.page.sheets import write_answer_sheet

        return write_answer_sheet(Path(path), "Answers", self, by, order)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StatusAnswers(Result, Pictures, Paged):
    """The conservation status of images, and how many have each.

    Parameters
    ----------
    images : ImageTable
        Of the store.
    judged : Judged
        Status, threat and shares of probability of each image.
    units : Units
        What images are counted by, and which belong together.
    counts : DataFrame
        How many images have each status, with intervals.
    comparison : DataFrame
        A probe of the threat beside the status that follows from a probe of species, empty where
        none was asked.
    table : str
        Which of :data:`bioprobe.face.conservation.TABLES` :meth:`to_frame` returns.
    source : str
        Of the statuses.
    asked : str
        What was judged: ``labels``, ``zero-shot`` …
    provenance : Provenance
    notes : tuple of Note
    """

    images: ImageTable
    judged: Judged
    units: Units
    counts: pd.DataFrame
    comparison: pd.DataFrame
    table: str
    source: str
    asked: str
    provenance: Provenance
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.judged)

    @property
    def taxa(self) -> pd.DataFrame:
        """One row a name: what it covers, the status of each, and how many images have it."""
        import pandas as pd

        rows: dict[str, list[Any]] = {}
        for name, one in zip(self.judged.answers.tolist(), self.judged.covered, strict=True):
            row = rows.setdefault(name, [name, one.category.label, one.threat, 0,
                                         len(one.statuses) + len(one.unlisted), one.by,
                                         one.describe(50)])  # fmt: skip
            row[3] += 1
        columns = ["name", "status", "threat", "n_images", "n_taxa", "found_by", "covers"]
        frame = pd.DataFrame(list(rows.values()), columns=columns)
        return frame.sort_values(["n_images", "name"], ascending=[False, True], ignore_index=True)

    def to_frame(self) -> pd.DataFrame:
        """Return the table that was asked for: one row an image, status, name or metric."""
        if self.table == "counts":
            return self.counts
        if self.table == "taxa":
            return self.taxa
        if self.table == "comparison":
            return self.comparison
        frame = self.judged.to_frame()
        if self.units.by and self.units.by not in frame:
            frame[self.units.column] = self.units.values
        return frame

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the columns that are read in a terminal."""
        frame = self.to_frame() if frame is None else frame
        if self.table == "images":
            left_out = {"p_not_threatened", "p_neither", "found_by", "row"}
            return frame[[one for one in frame if one not in left_out]]
        return frame

    def choose(self) -> tuple[Rows, Sequence[str]]:
        """Return the rows of the pictures, each with its status as the folder of a copy."""
        kept = self.judged.rows >= 0
        codes = self.judged.codes[kept].tolist()
        return self.judged.rows[kept], [one or "no status" for one in codes]

    def _write(self, path: Path) -> int:
        from bioprobe.report.status import write_status_page

        write_status_page(
            path, self.judged, self.units, self.counts, self.taxa, self.comparison,
            source=self.source, asked=self.asked, notes=self.notes,
            provenance=self.provenance.to_dict(),
        )  # fmt: skip
        return len(self.judged)


@overload
def show_answers_of(answers: predictions.Predictions, beside: Beside) -> Predictions: ...
@overload
def show_answers_of(answers: decisions.Decisions, beside: Beside) -> Decisions: ...
def show_answers_of(
    answers: predictions.Predictions | decisions.Decisions, beside: Beside
) -> Predictions | Decisions:
    """Return answers as people hold them: with what stands beside them, and their page."""
    fields = {**read_fields(answers), "beside": beside}
    if isinstance(answers, decisions.Decisions):
        return Decisions(**fields)
    return Predictions(**fields)
