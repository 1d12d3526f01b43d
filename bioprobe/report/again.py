"""The best method of an evaluation as it was: it learns again what it had learnt, and is asked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.errors import StoreError
from bioprobe.evaluation.result import Evaluation
from bioprobe.learning.fit import fit
from bioprobe.prompts import TextType
from bioprobe.report.data import find_split, take_answers
from bioprobe.result import WARNING, Note
from bioprobe.store.selections import read_selection
from bioprobe.task.task import Task

if TYPE_CHECKING:
    from bioprobe.store.view import View
    from bioprobe.task.method import Fitted
    from bioprobe.task.predictions import Predictions

# Answers of a picture that count: the rest of a long list tells nothing.
_DEPTH = 20


def list_rounds(evaluation: Evaluation, task: Task) -> list[Task]:
    """Return what was learnt from and judged in each round, as the evaluation had it.

    Parameters
    ----------
    evaluation : Evaluation
    task : Task
        It was made of: its target, split and seed, and texts where the encoder reads any.

    Raises
    ------
    StoreError
        If its split is gone, or was made anew.
    """
    if find_split(task.store, evaluation) is None:
        msg = "its split is gone, or was made anew; evaluate again"
        raise StoreError(msg)
    mask = evaluation.provenance["options"]["mask"]
    try:
        kept = read_selection(task.store, mask).kept if mask else None
    except StoreError:
        kept = None
    return task.rounds(kept)


def learn_again(evaluation: Evaluation, task: Task, number: int = 0) -> Fitted:
    """Return the best method as it answered in a round, with the settings that were chosen then."""
    best = evaluation.best
    settings = best.settings[number] if number < len(best.settings) else {}
    if best.method == "zeroshot":
        beside: dict[str, Any] = {
            name: settings[name] for name in ("prototypes", "text_worth") if name in settings
        }
        return fit(_write(task, settings), best.method, beside)
    return fit(task, best.method, settings or None)


def ask_again(evaluation: Evaluation, task: Task, view: View) -> Predictions:
    """Return what the best method answers to all pictures of a view, learnt in the first round.

    Pictures that taught it are marked; it says where test pictures are answered otherwise than when
    it was evaluated, as where columns or a prior were beside the vectors then.

    Raises
    ------
    StoreError
        If its split is gone, or was made anew.
    """
    first = list_rounds(evaluation, task)[0]
    found = learn_again(evaluation, first).ask(view, _DEPTH)
    judging = take_answers(evaluation, evaluation.best.method)
    then = dict(zip(judging["row"].tolist(), judging["predicted"].tolist(), strict=True))
    judged = set(first.judged.rows.tolist()) & then.keys()
    asked = np.isin(found.rows, list(judged))
    now = zip(found.rows[asked].tolist(), found.take(asked).best_names.tolist(), strict=True)
    n_other = sum(name != then[row] for row, name in now)
    if not n_other:
        return found
    text = (
        f"{n_other:,} of {len(judged):,} test pictures are answered otherwise now than when "
        f"{evaluation.best.method} was evaluated"
    )
    return found.say([Note(text, WARNING)])


def _write(task: Task, settings: dict[str, Any]) -> Task:
    """Return the task with its classes written as they were."""
    if task.texts is None:
        return task
    return task.write(
        dataclasses.replace(
            task.texts, text_type=TextType.parse(settings.get("text_type", "taxon_com")),
            templates=tuple(settings.get("templates", task.texts.templates)),
            phrases={name: tuple(of) for name, of in settings.get("phrases", {}).items()},
        )
    )  # fmt: skip
