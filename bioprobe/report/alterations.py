"""What altering pictures does to answers: a page of its own, and a part of the report."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.encoders.encoder import Encoder
from bioprobe.errors import BioprobeError
from bioprobe.evaluation.result import Evaluation
from bioprobe.files import write_text
from bioprobe.page.html import encode_thumbnail, make_thumbnail, render_page
from bioprobe.progress import Progress
from bioprobe.report.again import learn_again, list_rounds
from bioprobe.report.plots import plot_intervals, plot_strengths
from bioprobe.report.section import Section
from bioprobe.robustness.alterations import choose_alterations
from bioprobe.robustness.trial import Answered, read_answers, read_workable, try_alterations
from bioprobe.store.view import View
from bioprobe.task.task import Task
from bioprobe.types import Doubles

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.robustness import Robustness

_N_TOUCHED, _SHOWN_PX = 12, 150


def try_best(
    evaluation: Evaluation,
    task: Task,
    encoder: Encoder,
    n: int,
    progress: Progress | None = None,
) -> Robustness:
    """Alter pictures that judged the best method of an evaluation, and ask it again.

    The method learns again what it had learnt; of several rounds the first is tried.

    Raises
    ------
    StoreError
        If its split is gone, or was made anew.
    """
    first = list_rounds(evaluation, task)[0]
    fitted, best = learn_again(evaluation, first), evaluation.best.method

    def ask(view: View) -> Answered:
        return read_answers(fitted.ask(view, 1))

    asked = f"{'zero-shot' if best == 'zeroshot' else best} at {evaluation.level}"
    return try_alterations(
        dataclasses.replace(first.view, rows=first.judged.rows), encoder, choose_alterations(None),
        ask, asked=asked, sample=n, seed=task.seed, progress=progress,
    )  # fmt: skip


def write_robustness_page(path: Path, found: Robustness) -> int:
    """Write a figure of each alteration, its copies of one picture, and the pictures most touched.

    Returns
    -------
    int
        Pictures on the page.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = describe_robustness(found)
    content = {"title": "What altering pictures does", "lead": shown.lead, "it": shown.content,
               "provenance": found.provenance.to_dict()}  # fmt: skip
    write_text(path, render_page("robustness.html.j2", content))
    of = shown.content
    return len(of["pictures"]) + sum(len(one["copies"]) for one in of["alterations"])


def describe_robustness(found: Robustness) -> Section:
    """Return what altering pictures did."""
    frame = found.to_frame()
    shown = _choose_example(found)
    alterations = [
        _describe_alteration(found, frame[frame["alteration"] == name], name, shown)
        for name in dict.fromkeys(frame["alteration"])
    ]
    touched = found.find_most_touched(_N_TOUCHED).to_dict("records")
    pictures = [
        {
            "thumbnail": make_thumbnail(found.images.locate(int(one["row"]))),
            "caption": one["file_name"],
            "lines": [
                f"mean cosine {one['cosine']:.3f}, least by {one['most_by']}",
                f"{one['n_changed']} of {one['n_copies']} answers change" if found.asked else "",
            ],
        }
        for one in touched
    ]  # fmt: skip
    content = {
        "problem": "",
        "asked": found.asked,
        "n_images": len(found.rows),
        "n_copies": len(found.altered),
        "worst": _plot_worst(frame) if found.asked else "",
        "alterations": alterations,
        "pictures": pictures,
        "n_unread": found.n_unread,
    }
    lead, brief = _tell(found, frame)
    return Section("robustness", "If pictures change", "What becomes of answers if pictures change",
                   lead, content, brief=brief)  # fmt: skip


def describe_untried(problem: BioprobeError) -> Section:
    """Return the part that says why nothing was altered."""
    return Section("robustness", "If pictures change", "What becomes of answers if pictures change",
                   "Pictures were to be altered and asked again.",
                   {"problem": str(problem)})  # fmt: skip


def _tell(found: Robustness, frame: pd.DataFrame) -> tuple[str, dict[str, str] | None]:
    """Return what is said first of all, and on the first screen."""
    if not found.asked:
        least = frame.iloc[int(frame["cosine"].argmin())]
        return (f"Vectors move most by {least['alteration']} ({least['strength']}): to a mean "
                f"cosine of {least['cosine']:.2f}."), None  # fmt: skip
    rates = frame["flip_rate"].to_numpy(dtype=np.float64)
    worst, mildest = frame.iloc[int(rates.argmax())], frame.iloc[int(rates.argmin())]
    said = (
        f"{100 * worst['flip_rate']:.0f} of 100 become another by {worst['alteration']} "
        f"({worst['strength']}: {worst['strength_is']}), {100 * mildest['flip_rate']:.0f} by "
        f"{mildest['alteration']} ({mildest['strength']}: {mildest['strength_is']})"
    )
    lead = f"An answer that changes with the light or the size of a picture is frail: {said}."
    if not worst["flip_rate"]:
        lead = said = "No answer became another by any alteration"
    return lead, {
        "label": "If pictures change",
        "large": f"{100 * worst['flip_rate']:.0f} of 100 answers",
        "said": f"So many become another at worst ({100 * worst['flip_rate_low']:.0f} to "
        f"{100 * worst['flip_rate_high']:.0f} of 100 pictures like these), of "
        f"{len(found.rows):,} that were altered: {said}.",
    }


def _plot_worst(frame: pd.DataFrame) -> str:
    """Plot the flip rate of each alteration at the strength that changes most answers."""
    worst = frame.loc[frame.groupby("alteration", sort=False)["flip_rate"].idxmax()]
    return plot_intervals(
        [f"{one['alteration']} {one['strength']}" for one in worst.to_dict("records")],
        *(worst[name].to_numpy(dtype=np.float64)
          for name in ("flip_rate", "flip_rate_low", "flip_rate_high")),
        label="share of answers that become another",
    )  # fmt: skip


def _choose_example(found: Robustness) -> Any:  # noqa: ANN401 - an image, or None
    """Return the picture that is touched as much as most, as it is altered."""
    order = np.argsort(found.touched, kind="stable")
    row = int(found.rows[order[len(order) // 2]])
    image = read_workable(found.images.locate(row), 0)
    return None if image is None else (image, str(found.images.contents[row]), row)


def _describe_alteration(
    found: Robustness,
    rows: Any,  # noqa: ANN401 - a frame
    name: str,
    shown: Any,  # noqa: ANN401 - an image with what it is, or None
) -> dict[str, Any]:
    tried = [one for one in found.altered if one.alteration.name == name]
    lines: dict[str, tuple[Doubles, Doubles | None, Doubles | None]] = {
        "cosine": (rows["cosine"].to_numpy(dtype=np.float64), None, None)
    }
    for column in ("flip_rate", "accuracy"):
        if column in rows and rows[column].notna().any():
            values, low, high = (
                rows[one].to_numpy(dtype=np.float64)
                for one in (column, f"{column}_low", f"{column}_high")
            )
            lines[column.replace("_", " ")] = values, low, high
    before = float(rows["accuracy_unaltered"].iloc[0]) if "accuracy" in lines else None
    copies = []
    if shown is not None:
        image, content, row = shown
        seed = found.provenance.options["seed"]
        told = content or found.images.name_row(row)
        for one in tried:
            copy = one.alteration.apply(image, one.strength, seed=seed, content=told)
            copies.append({"thumbnail": encode_thumbnail(copy, _SHOWN_PX), "caption": one.named})
    names, what = [one.named for one in tried], tried[0].alteration.what
    return {
        "name": name,
        "what": what,
        "plot": plot_strengths(names, lines, what, before),
        "copies": copies,
        "rows": rows.to_dict("records"),
    }
