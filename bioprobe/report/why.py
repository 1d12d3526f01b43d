"""Why the surest wrong answers were given: maps toward the answer, and toward the label."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.errors import BioprobeError, StoreError
from bioprobe.evaluation.result import Evaluation
from bioprobe.explanation.candidates import Candidates, from_phrases, from_probe, from_question
from bioprobe.explanation.explain import Teachers, Wanted, explain_pictures
from bioprobe.explanation.result import Explanation
from bioprobe.learning.fitted import FittedProbe
from bioprobe.page.explanations import HOW_TO_READ, show_explanations
from bioprobe.progress import Progress, Step
from bioprobe.prompts import PromptSet
from bioprobe.report.again import learn_again, list_rounds
from bioprobe.report.section import Section
from bioprobe.task.task import Task
from bioprobe.zeroshot.method import AskedTexts
from bioprobe.zeroshot.zeroshot import ask_prompts, embed_phrases

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.encoders.encoder import Encoder
    from bioprobe.task.method import Fitted
    from bioprobe.types import Rows

# Answers after the best that are named, and nearest pictures for and against.
_N_OTHERS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Why:
    """Maps of the surest wrong answers of the best method.

    Parameters
    ----------
    method : str
        That gave the answers.
    items : tuple of Explanation
        Surest first.
    n_wrong : int
        Wrong answers that there are.
    n_unread, n_changed : int
        Of those asked for, pictures that could not be read, and answers that the method does not
        give any more.
    problem : str
        Why there is no map at all, ``""`` where there may be.
    """

    method: str
    items: tuple[Explanation, ...] = ()
    n_wrong: int = 0
    n_unread: int = 0
    n_changed: int = 0
    problem: str = ""


def explain_mistakes(
    evaluation: Evaluation,
    task: Task,
    encoder: Encoder,
    n: int,
    progress: Progress | None = None,
) -> Why:
    """Explain the surest wrong answers of the best method of an evaluation.

    The method learns again what it had learnt, with the settings that were chosen then: a picture
    whose answer is another now is left out, and counted.

    Parameters
    ----------
    evaluation : Evaluation
    task : Task
        It was made of: its target, split and seed, and texts where the encoder reads any.
    encoder : Encoder
        Of the store.
    n : int
        Pictures at most.
    progress : callable, optional
        Told a step after each picture.
    """
    best, store = evaluation.best, task.store
    try:
        rounds = list_rounds(evaluation, task)
    except StoreError as error:
        return Why(best.method, problem=str(error))
    if evaluation.provenance["options"].get("per") == "sequence":
        return Why(best.method, problem="it judged sequences, and a map is of one picture")
    answers = evaluation.predictions
    wrong = answers[(answers["method"] == best.method) & ~answers["right"].astype(bool)]
    wrong = wrong.sort_values("probability", ascending=False, kind="stable")
    asked, found = wrong.head(n), dict[int, list[Explanation]]()
    n_unread = n_changed = 0
    for number, one in enumerate(rounds):
        rows = asked["row"].to_numpy(dtype=np.int64)
        rows = rows[np.isin(rows, one.judged.rows)]
        if not len(rows):
            continue
        try:
            candidates = _read_classes(learn_again(evaluation, one, number), one)
        except BioprobeError as error:
            return Why(best.method, n_wrong=len(wrong), problem=str(error))
        view = dataclasses.replace(one.view, rows=rows)
        given = candidates.ask(view, _N_OTHERS + 1)
        same, wanted = _plan(candidates, given.top_classes[:, 0].tolist(), asked, rows)
        n_changed += len(rows) - len(same)
        view = dataclasses.replace(view, rows=same)
        taught = np.zeros(len(store.images), dtype=bool)
        taught[one.training] = True
        for explained in explain_pictures(
            view, encoder, candidates, wanted, given,
            teachers=Teachers(store, candidates, taught), k=_N_OTHERS,
        ):  # fmt: skip
            if isinstance(explained, list):
                found[explained[0].row] = explained
            else:
                n_unread += 1
            if progress is not None:
                progress(Step(len(found) + n_unread + n_changed, len(asked), "pictures explained",
                              n_unread))  # fmt: skip
    items = [item for row in asked["row"].tolist() for item in found.get(int(row), ())]
    return Why(best.method, tuple(items), len(wrong), n_unread, n_changed)


def describe_why(why: Why, task: Task) -> Section:
    """Return what the page shows of maps."""
    images = task.store.images
    n_shown = len({one.row for one in why.items})
    said = [f"{n_shown:,} of the {why.n_wrong:,} wrong answers of {why.method}, the surest first."]
    if why.n_unread:
        said.append(f"{why.n_unread:,} more could not be read.")
    if why.n_changed:
        said.append(f"{why.n_changed:,} more are answered otherwise now, and left out.")
    content = {
        "said": " ".join(said) if not why.problem else "",
        "how": HOW_TO_READ,
        "problem": why.problem,
        "pictures": show_explanations(
            why.items, images, images, most=max(1, n_shown), size_px=_SIZE_PX
        ),
    }
    return Section(
        "why", "Why wrong", "Where the model looked when it was surely wrong",
        "Whether it looked at the animal, or at what stands around it.", content,
    )  # fmt: skip


# Longer side of each picture: three side by side are as wide as the page.
_SIZE_PX = 360


def _read_classes(fitted: Fitted, task: Task) -> Candidates:
    if isinstance(fitted, FittedProbe):
        return from_probe(fitted)
    if not isinstance(fitted, AskedTexts):
        msg = "a map is of texts or of a probe, and the best method is neither"
        raise BioprobeError(msg)
    classes, texts = fitted.classes, fitted.texts
    if classes.rank is None:
        embedded = embed_phrases(texts.list_phrases(classes), texts.templates, texts.encode_text)
        return from_phrases(classes, embedded, texts.logit_scale, texts.encode_text)
    prompts = PromptSet(classes.taxonomy, texts.text_type, texts.templates)
    question = ask_prompts(task.view, prompts, texts.encode_text, rank=classes.rank)
    return from_question(question, texts.encode_text)


def _plan(
    candidates: Candidates, best: list[int], asked: pd.DataFrame, rows: Rows
) -> tuple[Rows, dict[int, list[Wanted]]]:
    """Return the rows whose answer is what it was, and the maps of each: answer, then label."""
    said = asked.set_index("row")
    names = candidates.classes.names
    place_of = {name: place for place, name in enumerate(names)}
    wanted: dict[int, list[Wanted]] = {}
    for row, place in zip(rows.tolist(), best, strict=True):
        if names[place] != said.at[row, "predicted"]:
            continue
        truth = place_of.get(str(said.at[row, "truth"]))
        maps = [place] if truth is None else [place, truth]
        wanted[row] = [Wanted(candidates.get(one)) for one in maps]
    return np.array(list(wanted), dtype=np.int64), wanted
