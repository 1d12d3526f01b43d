"""Answers that are pictures: drawn in a notebook, written as a page that opens from disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from bioprobe.face.chosen import Paged, Pictures
from bioprobe.result import Result, read_fields
from bioprobe.task import decisions, pooling, predictions, sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bioprobe.conservation import Judged, Units
    from bioprobe.images import ImageTable
    from bioprobe.provenance import Provenance
    from bioprobe.result import Note, Notes
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
class Contents(pooling.Contents, Pictures):
    """What is in each picture, with its page; see the base for the fields."""

    __module__ = "bioprobe"

    def write_page(self, path: str | Path, by: str = "answer", order: str | None = None) -> int:
        """Write the best regions of what was found, as :meth:`Predictions.write_page` does."""
        from bioprobe.page.sheets import write_answer_sheet

        return write_answer_sheet(Path(path), "What is in each picture", self, by, order)


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


#: Answers to rows, or to what belongs together.
Answers = Predictions | Decisions | Contents


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


def pool_answers(
    answers: Predictions | Decisions, per: str | None, how: sequences.Pooling, k: int = 5
) -> Answers:
    """Return answers to rows as they are, or what they say of each unit.

    Parameters
    ----------
    answers : Predictions or Decisions
        With all that is to be said of them.
    per : str or None
        What belongs together, ``image`` or ``sequence``.
    how : Pooling
        How rows make sequences.
    k : int
        Answers to a sequence.
    """
    if per is None:
        return answers
    # How often rows are right is another figure than what is found in a picture.
    kept = [note for note in answers.notes if not _is_of_rows(note)]
    if per == sequences.SEQUENCE:
        found = sequences.pool_sequences(answers, how)
        said = _describe_sequences(found, how)
        fields = {**read_fields(found.answers), "notes": tuple(kept)}
        if isinstance(answers, Decisions):
            return Decisions(**fields).say(said)
        return Predictions(**read_fields(Predictions(**fields).keep_best(k))).say(said)
    contents = Contents(**read_fields(pooling.pool(answers, per, how.content)))
    return dataclasses.replace(contents, notes=tuple(kept)).say(_describe_contents(contents))


def _describe_sequences(found: sequences.Pooled, how: sequences.Pooling) -> list[str]:
    """Say what was pooled, how, and how often it is right."""
    said = found.sequences.describe()
    if isinstance(found.answers, decisions.Decisions):
        said.append(
            f"of each sequence the answer of most rows; {found.n_gave_way:,} rows whose answer "
            "stands above another of their sequence gave way to it"
        )
        return said
    said.append(f"answers are pooled by the rule {how.rule}")
    measured = found.answers.accuracy()
    if measured:
        figures = ", ".join(map(str, measured))
        several = f"; {found.n_several:,} of several labels are left out" * bool(found.n_several)
        said.append(
            f"{AGAINST_LABELS} {measured[0].n_images:,} sequences: {figures} (95% interval)"
            f"{several}"
        )
    return said


def _is_of_rows(note: Note) -> bool:
    """Tell whether a note is how often the answers to single rows are right."""
    return str(note).startswith(AGAINST_LABELS)


#: How a sentence begins that says how often answers are the labels.
AGAINST_LABELS = "against the labels of"


def _describe_contents(pooled: Contents) -> list[str]:
    frame, what = pooled.frame, "pictures" if pooled.by == pooling.IMAGE else f"of {pooled.by}"
    single = frame[~frame["also"].eq(True)] if "also" in frame else frame
    if isinstance(pooled.answers, predictions.Predictions) and pooled.answers.above:
        single = single[single["rank"] == pooled.answers.level]
    n_several = int((single["answer"] == 2).sum())
    said = [f"{len(pooled):,} {what}; in {n_several:,} more than one class or a person with one"]
    if pooled.figures is not None:
        said.append(
            f"sets of classes {AGAINST_LABELS} {pooled.figures.n_units:,} {what}: {pooled.figures}"
        )
    return said
