"""The method ``zeroshot``: it learns nothing, and asks by the texts of classes."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np

from bioprobe.errors import ProbeError
from bioprobe.prompts import PromptSet
from bioprobe.store.view import View
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Classes, Texts
from bioprobe.task.task import Task
from bioprobe.task.text_pooling import Pool
from bioprobe.taxonomy import Rank
from bioprobe.types import Mask, Settings, Vectors
from bioprobe.zeroshot.fusion import (
    TextRows,
    Worth,
    choose_worth_among,
    describe_fused,
    get_made_of,
)
from bioprobe.zeroshot.question import Question, answer_at_rank
from bioprobe.zeroshot.text_head import TextHead, read_head
from bioprobe.zeroshot.zeroshot import ask_prompts, zeroshot_named

# Image prototypes beside the texts, and what a text counts beside them.
_SETTINGS = ("prototypes", "text_worth")


class ZeroShot:
    """Which text is nearest to an image.

    With the setting ``prototypes``, a head of image prototypes in the store, these stand beside the
    texts. A text counts as ``text_worth`` pictures; where that is not given, as many as the part
    ``validation`` chooses, or counts and spread say where no image of it is left.
    """

    needs_texts = True
    answers_untaught = True

    def fit(self, task: Task, settings: Settings | None = None) -> AskedTexts:
        """Return what asks by the texts of the classes of a task.

        Raises
        ------
        ProbeError
            If a setting is unknown, there are no texts, or prototypes are to stand beside classes
            that are no taxa.
        StoreError
            If the store has no such head.
        PromptError
            If it is of texts, or too few classes have a prototype.
        """
        given = dict(settings or {})
        if unknown := [name for name in given if name not in _SETTINGS]:
            msg = f"zeroshot has no setting {unknown[0]!r}; it has {', '.join(_SETTINGS)}"
            raise ProbeError(msg)
        if task.texts is None:
            msg = "zeroshot asks by text; give texts"
            raise ProbeError(msg)
        if "prototypes" not in given:
            return AskedTexts(task.classes, task.texts)
        return _fuse(task, task.texts, read_head(task.store, given["prototypes"]), given)


@dataclasses.dataclass(frozen=True, eq=False)
class AskedTexts:
    """Classes with their texts, ready to be asked."""

    classes: Classes
    texts: Texts
    beside: Beside | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """How classes are written."""
        return {**self.texts.describe(), **(self.beside.settings if self.beside else {})}

    @property
    def n_rows(self) -> int:
        """None of the images taught anything."""
        return 0

    def ask(self, view: View, k: int = 5) -> Predictions:
        """Label the images of a view; those that made prototypes are marked."""
        if self.classes.rank is None:
            return zeroshot_named(view, self.classes, self.texts, k=k)
        question = _write(view, self.classes, self.texts, self.classes.rank)
        if self.beside is None:
            return answer_at_rank(view, question, k)
        answers = answer_at_rank(view, self.beside.put(question), k)
        made = self.beside.find_taught(view)
        before = answers.taught
        return dataclasses.replace(answers, taught=made if before is None else made | before)


@dataclasses.dataclass(frozen=True, eq=False)
class Beside:
    """Image prototypes beside the texts of classes.

    Parameters
    ----------
    head : TextHead
        Of image prototypes.
    rows : TextRows
        The texts, with those of a prototype.
    worth : Worth
        What a text counts beside one.
    """

    head: TextHead
    rows: TextRows
    worth: Worth

    @property
    def settings(self) -> dict[str, Any]:
        """Which prototypes, and what a text counts, JSON-ready."""
        return describe_fused(self.head, self.worth)

    @cached_property
    def fused(self) -> Vectors:
        """What stands for each text."""
        return self.rows.fuse(self.worth.value)

    def put(self, question: Question) -> Question:
        """Return the question of the same texts with the prototypes beside them."""
        leaves = dataclasses.replace(question.leaves, texts=self.fused)
        return dataclasses.replace(question, leaves=leaves).with_options(**self.settings)

    def find_taught(self, view: View) -> Mask:
        """Tell which images made the prototypes."""
        return get_made_of(self.head).find_taught(view.images, view.rows)


def _write(view: View, classes: Classes, texts: Texts, rank: Rank) -> Question:
    prompts = PromptSet(classes.taxonomy, texts.text_type, texts.templates)
    return ask_prompts(
        view, prompts, texts.encode_text, rank=rank, options={"pool": Pool.MEAN.value}
    )


def _fuse(task: Task, texts: Texts, head: TextHead, given: Settings) -> AskedTexts:
    """Have prototypes stand beside the texts of the classes of a task."""
    classes, made_of = task.classes, get_made_of(head)
    if classes.rank is None:
        msg = f"image prototypes are of taxa, and {task.target.name} is no rank; leave them out"
        raise ProbeError(msg)
    question = _write(task.view, classes, texts, classes.rank)
    rows = TextRows.of_classes(
        head, question.tree.taxa.taxa, question.leaves.texts, question.leaves.classes,
        own=question.options["with_pictures"],
    )  # fmt: skip

    def put(worth: float) -> Question:
        return Beside(head, rows, Worth(worth, "")).put(question)

    worth = Worth(rows.fusion.worth, rows.fusion.rule)
    if (said := given.get("text_worth")) is not None:
        worth = Worth(float(said), "as was said")
    elif task.split is not None:
        validation = np.intersect1d(task.split.rows("validation"), task.view.rows)
        judged = task.view.take(validation)
        worth = choose_worth_among(judged, classes.rank, made_of, rows.fusion, put) or worth
    return AskedTexts(classes, texts, Beside(head, rows, worth))
