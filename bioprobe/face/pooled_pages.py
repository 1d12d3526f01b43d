"""What belongs together as one answer, a picture or a sequence, with its page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.face.chosen import Pictures
from bioprobe.face.pages import Decisions, Predictions
from bioprobe.result import read_fields
from bioprobe.task import decisions, pooling, predictions, sequences
from bioprobe.task.units import SEQUENCE

if TYPE_CHECKING:
    from bioprobe.result import Note
    from bioprobe.task.units import Pooling

# How a sentence begins that says how often answers are the labels.
_AGAINST_LABELS = "against the labels of"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Contents(pooling.Contents, Pictures):
    """What is in each picture, with its page; see the base for the fields."""

    __module__ = "bioprobe"

    def write_page(self, path: str | Path, by: str = "answer", order: str | None = None) -> int:
        """Write the best regions of what was found, as :meth:`Predictions.write_page` does."""
        from bioprobe.page.sheets import write_answer_sheet

        return write_answer_sheet(Path(path), "What is in each picture", self, by, order)


#: Answers to rows, or to what belongs together.
Answers = Predictions | Decisions | Contents


def pool_answers(answers: Predictions | Decisions, per: str, how: Pooling, k: int = 5) -> Answers:
    """Return what answers to rows say of each unit.

    Parameters
    ----------
    answers : Predictions or Decisions
        With all that is to be said of them.
    per : str
        What belongs together, ``image`` or ``sequence``.
    how : Pooling
        How rows make sequences.
    k : int
        Answers to a sequence.
    """
    # How often rows are right is another figure than what is found in a picture.
    kept = [note for note in answers.notes if not _is_of_rows(note)]
    if per == SEQUENCE:
        found = sequences.pool_sequences(answers, how)
        said = _describe_sequences(found, how)
        fields = {**read_fields(found.answers), "notes": tuple(kept)}
        if isinstance(answers, Decisions):
            return Decisions(**fields).say(said)
        return Predictions(**read_fields(Predictions(**fields).keep_best(k))).say(said)
    contents = Contents(**read_fields(pooling.pool(answers, per, how.content)))
    return dataclasses.replace(contents, notes=tuple(kept)).say(_describe_contents(contents))


def _describe_sequences(found: sequences.Pooled, how: Pooling) -> list[str]:
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
            f"{_AGAINST_LABELS} {measured[0].n_images:,} sequences: {figures} (95% interval)"
            f"{several}"
        )
    return said


def _is_of_rows(note: Note) -> bool:
    """Tell whether a note is how often the answers to single rows are right."""
    return str(note).startswith(_AGAINST_LABELS)


def _describe_contents(pooled: Contents) -> list[str]:
    frame, what = pooled.frame, "pictures" if pooled.by == pooling.IMAGE else f"of {pooled.by}"
    single = frame[~frame["also"].eq(True)] if "also" in frame else frame
    if isinstance(pooled.answers, predictions.Predictions) and pooled.answers.above:
        single = single[single["rank"] == pooled.answers.level]
    n_several = int((single["answer"] == 2).sum())
    said = [f"{len(pooled):,} {what}; in {n_several:,} more than one class or a person with one"]
    if pooled.figures is not None:
        said.append(
            f"sets of classes {_AGAINST_LABELS} {pooled.figures.n_units:,} {what}: {pooled.figures}"
        )
    return said
