"""The method ``zeroshot``: it learns nothing, and asks by the texts of classes."""

from __future__ import annotations

import dataclasses
from typing import Any

from bioprobe.errors import ProbeError
from bioprobe.prompts import PromptSet
from bioprobe.store.view import View
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Classes, Texts
from bioprobe.task.task import Task
from bioprobe.types import Settings
from bioprobe.zeroshot.zeroshot import zeroshot, zeroshot_named


class ZeroShot:
    """Which text is nearest to an image."""

    needs_texts = True
    answers_untaught = True

    def fit(self, task: Task, settings: Settings | None = None) -> AskedTexts:
        """Return what asks by the texts of the classes of a task."""
        if settings:
            msg = f"zeroshot has no setting {next(iter(settings))!r}; it has none"
            raise ProbeError(msg)
        if task.texts is None:
            msg = "zeroshot asks by text; give texts"
            raise ProbeError(msg)
        return AskedTexts(task.classes, task.texts)


@dataclasses.dataclass(frozen=True, eq=False)
class AskedTexts:
    """Classes with their texts, ready to be asked.

    Parameters
    ----------
    classes : Classes
        What may be answered.
    texts : Texts
        How they are written.
    """

    classes: Classes
    texts: Texts

    @property
    def settings(self) -> dict[str, Any]:
        """How classes are written."""
        return self.texts.describe()

    @property
    def n_rows(self) -> int:
        """None of the images taught anything."""
        return 0

    def ask(self, view: View, k: int = 5) -> Predictions:
        """Label the images of a view."""
        rank = self.classes.rank
        if rank is None:
            return zeroshot_named(view, self.classes, self.texts, k=k)
        prompts = PromptSet(self.classes.taxonomy, self.texts.text_type, self.texts.templates)
        return zeroshot(view, prompts, self.texts.encode_text, rank=rank, k=k)
