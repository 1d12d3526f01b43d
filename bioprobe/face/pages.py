"""Answers that are pictures: drawn in a notebook, written as a page that opens from disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from bioprobe import index
from bioprobe.page.sheets import (
    draw_pictures,
    show_answers,
    write_answer_sheet,
    write_copies_sheet,
    write_filter_sheet,
    write_repeats_sheet,
    write_search_sheet,
)
from bioprobe.quality import duplicates, noise, repeats
from bioprobe.task import decisions, pooling, predictions, sequences

if TYPE_CHECKING:
    from bioprobe.result import Note, Result
    from bioprobe.task.beside import Beside

# Pictures that a notebook draws.
_DRAWN = 24


class Neighbors(index.Neighbors):
    """Images nearest to one question, which a notebook draws; see the base for the fields."""

    def write_page(self, path: str | Path) -> int:
        """Write the pictures with similarities and labels as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.

        Returns
        -------
        int
            Answers on the page.
        """
        write_search_sheet(Path(path), self)
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Neighbors: {len(self.rows):,} images nearest to {self.question.text}>"

    def _repr_html_(self) -> str:
        drawn = show_answers(self)[:_DRAWN]
        rest = f"<p>… {len(self.rows) - _DRAWN:,} more</p>" if len(self.rows) > _DRAWN else ""
        return draw_pictures(drawn) + rest


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictions(predictions.Predictions):
    """The best classes of each image, with their page; see the base for the fields."""

    __module__ = "bioprobe"

    def write_page(self, path: str | Path, by: str = "answer") -> int:
        """Write the pictures with their best answers as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.
        by : str
            What the pictures are grouped by: ``answer``, or a column of the image table.

        Returns
        -------
        int
            Pictures on the page.

        Raises
        ------
        SelectionError
            If there is no such column.
        """
        return write_answer_sheet(Path(path), "Answers", self, by)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Decisions(decisions.Decisions):
    """One answer an image, or none, with its page; see the base for the fields."""

    __module__ = "bioprobe"

    def write_page(self, path: str | Path, by: str = "answer") -> int:
        """Write the pictures with their answers as :meth:`Predictions.write_page` does."""
        return write_answer_sheet(Path(path), "Answers", self, by)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Contents(pooling.Contents):
    """What is in each picture, with its page; see the base for the fields."""

    __module__ = "bioprobe"

    def write_page(self, path: str | Path, by: str = "answer") -> int:
        """Write the best regions of what was found, as :meth:`Predictions.write_page` does."""
        return write_answer_sheet(Path(path), "What is in each picture", self, by)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Duplicates(duplicates.Duplicates):
    """Copies among images, with their page; see the base for the fields."""

    def write_page(self, path: str | Path) -> int:
        """Write the groups of copies side by side as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.

        Returns
        -------
        int
            Pictures on the page.
        """
        return write_copies_sheet(Path(path), self)


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
    kept = [note for note in answers.notes if not is_of_rows(note)]
    if per == sequences.SEQUENCE:
        found = sequences.pool_sequences(answers, how)
        said = _describe_sequences(found, how)
        fields = {**read_fields(found.answers), "notes": tuple(kept)}
        if isinstance(answers, Decisions):
            return Decisions(**fields).say(said)
        return Predictions(**read_fields(Predictions(**fields).keep_best(k))).say(said)
    contents = Contents(**read_fields(pooling.pool(answers, per)))
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


def is_of_rows(note: Note) -> bool:
    """Tell whether a note is how often the answers to single rows are right."""
    return str(note).startswith(AGAINST_LABELS)


#: How a sentence begins that says how often answers are the labels.
AGAINST_LABELS = "against the labels of"


def _describe_contents(pooled: Contents) -> list[str]:
    frame, what = pooled.frame, "pictures" if pooled.by == pooling.IMAGE else f"of {pooled.by}"
    n_several = int((frame["answer"] == 2).sum())
    said = [f"{len(pooled):,} {what}; in {n_several:,} more than one class or a person with one"]
    if pooled.figures is not None:
        said.append(
            f"sets of classes {AGAINST_LABELS} {pooled.figures.n_units:,} {what}: {pooled.figures}"
        )
    return said


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NoiseFilter(noise.NoiseFilter):
    """What a filter says of each image, with its page; see the base for the other fields.

    Parameters
    ----------
    level : str
        Rank or column of the classes that the page may be grouped by.
    """

    level: str = "family"

    def write_page(self, path: str | Path, by: str = "reason") -> int:
        """Write what is dropped, with scores and reasons, as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.
        by : {"reason", "class"}
            What the pictures are grouped by.

        Returns
        -------
        int
            Pictures on the page.
        """
        return write_filter_sheet(Path(path), self, by, self.level)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Repeats(repeats.Repeats):
    """What stands in one place again and again, with its page; see the base for the fields."""

    def write_page(self, path: str | Path) -> int:
        """Write one picture of each group as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.

        Returns
        -------
        int
            Pictures on the page.
        """
        return write_repeats_sheet(Path(path), self)


def read_fields(found: Result) -> dict[str, Any]:
    """Return the fields of a result by name, to make one of its face of them."""
    fields: Any = dataclasses.fields(found)  # type: ignore[arg-type]
    return {field.name: getattr(found, field.name) for field in fields}
