"""Counts with intervals: a page of their own, and a part of the report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.counting.drawing import AUDIT, is_drawn
from bioprobe.counting.estimates import ALL, LABEL_SHIFT, OTHER
from bioprobe.evaluation.result import Evaluation
from bioprobe.files import write_text
from bioprobe.page import render_page
from bioprobe.report.data import find_split
from bioprobe.report.plots import Curve, plot_counts
from bioprobe.report.section import Section
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import list_selections
from bioprobe.types import Rows

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.counting.estimates import Estimates
    from bioprobe.task.predictions import Predictions

# Classes of the first figure, and classes and groups of those by group.
_N_CLASSES, _N_APART, _N_GROUPS = 30, 6, 40
# Score from which answers count, where nothing is estimated.
_SURE = 0.95
_NAMES = {"ppi": "prediction-powered inference (PPI++)", "regression": "the regression estimator",
          "ratio": "the ratio estimator", "labelled": "the labelled pictures alone",
          LABEL_SHIFT: "prevalence adjustment (Saerens), under label shift"}  # fmt: skip


def write_estimates(path: Path, found: Estimates) -> int:
    """Write counts as one self-contained page.

    Returns
    -------
    int
        Classes on the page.

    Raises
    ------
    OSError
        If the page cannot be written.
    """
    shown = _describe_estimates(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "title": f"How many of each {found.level}" + (f", by {found.by}" if found.by else ""),
        "it": {"problem": "", "raw": (), "assumes": (), "tables": (shown,)},
        "command": shown["command"],
        "version": str(found.provenance.get("version", "")),
        "time": str(found.provenance.get("time", "")),
    }
    write_text(path, render_page("estimates.html.j2", content))
    return int(shown["n_classes"])


@dataclasses.dataclass(frozen=True)
class Counted:
    """Which pictures are counted, and by which of them.

    Parameters
    ----------
    rows : ndarray of int64, shape (n_images,)
    labelled : str or None
        The random sample among them, as ``estimate`` takes it.
    n_outside : int
        Pictures that are not counted: the sample was not drawn from them.
    """

    rows: Rows
    labelled: str | None
    n_outside: int = 0


def choose_counted(
    store: EmbeddingStore, evaluation: Evaluation, labelled: str | None, assume: str | None
) -> Counted:
    """Choose the random sample: that which is named, one that was drawn, or the test pictures.

    The test part of a split was drawn from labelled pictures alone, label by label: counted are the
    pictures of labels that have a test picture.
    """
    if labelled is None and assume is None:
        drawn = [name for name in list_selections(store) if is_drawn(store, name)]
        labelled = AUDIT if AUDIT in drawn else next(iter(drawn), None)
    if labelled is not None or assume is not None:
        return Counted(store.rows, labelled)
    name = evaluation.provenance["options"]["split"]
    split = find_split(store, evaluation)
    assert split is not None  # what is asked again has its split
    numbers, labels = store.images.number_labels(evaluation.level)
    parts, of = split.parts[store.rows], numbers[store.rows]
    is_tested = np.bincount(of[parts == "test"], minlength=len(labels)) > 0
    counted = store.rows[(parts != "") & (is_tested & (labels != ""))[of]]
    return Counted(counted, f"{name}:test", len(store.rows) - len(counted))


def list_assumptions(found: Estimates, counted: Counted) -> list[str]:
    """Return what an estimate takes to be so, a sentence each."""
    options, n = found.provenance["options"], len(counted.rows)
    said = ["Pictures are counted, not animals: one animal may be on many pictures, and a picture "
            "counts for one class."]  # fmt: skip
    if found.how.estimator == LABEL_SHIFT:
        said.append("Pictures of one class look alike among the labelled ones and the others; only "
                    "how many there are of each differs.")  # fmt: skip
    else:
        said.append(
            f"The {options['n_labelled']:,} labelled pictures of {options['labelled']} were drawn "
            f"at random from the {n:,} that are counted"
            + (", on your word" if options["assume"] else "")
            + ": whoever labels the easy ones alone gets counts that are off."
        )
        said.append("The pictures are one draw of pictures like these, as by the same cameras in "
                    "the same time: of all such pictures an interval speaks.")  # fmt: skip
    if counted.n_outside:
        said.append(
            f"{counted.n_outside:,} pictures are not counted: they have no label, or one of which "
            "no test picture was drawn. To count all: bioprobe estimate --draw 200 draws a sample "
            "to label; report --assume random takes the labelled ones for one."
        )
    return said


def describe_counts(
    found: Sequence[Estimates], *, assumes: Sequence[str] = (), problem: str = "",
    answers: Predictions | None = None,
) -> Section:  # fmt: skip
    """Return how many of each class there are.

    Parameters
    ----------
    found : sequence of Estimates
        Of all pictures, by place, by month; empty where nothing could be estimated.
    assumes : sequence of str
        What is taken to be so, a sentence each.
    problem : str
        Why there is no estimate.
    answers : Predictions, optional
        Whose raw counts are shown where there is none.
    """
    tables = [_describe_estimates(one, _N_APART) for one in found]
    raw = [] if answers is None else _count_raw(answers)
    brief = None
    lead = "What a classifier says, counted; nothing is known of how far these counts are off."
    if found:
        lead = (
            f"A count of answers is wrong as far as answers are: here it is mended by "
            f"{tables[0]['n_labelled']:,} pictures that a person labelled, and says how far it may "
            "be off."
        )
        most = [one for one in tables[0]["lines"] if one["name"] != OTHER and one["count"][1]]
        line, n = next(iter(most), None), tables[0]["n_images"]
        brief = line and {
            "label": "How many",
            "large": f"{line['name']}: {line['count'][0]}",
            "said": f"of {n:,} pictures, the most frequent {found[0].level}; with the errors of "
            f"answers it may be {line['count'][1]}. Answers alone say {line['raw']:,}.",
        }
    return Section(
        "counts", "How many", "How many there are of each",
        lead, {"tables": tables, "assumes": assumes, "problem": problem, "raw": raw, "over": _SURE},
        is_open=True, brief=brief,
    )  # fmt: skip


def _count_raw(answers: Predictions) -> list[dict[str, Any]]:
    """Return how many pictures got each answer, and with a score over the threshold."""
    best, sure = answers.best_names.astype(str), answers.scores[:, 0] >= _SURE
    names, counts = np.unique(best, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_N_CLASSES]
    return [
        {"name": str(names[at]), "raw": int(counts[at]), "over": int(sure[best == names[at]].sum())}
        for at in order.tolist()
    ]


def _describe_estimates(found: Estimates, n_apart: int | None = None) -> dict[str, Any]:
    """Return figures and the table of an estimate, for a page."""
    frame = found.frame
    whole = frame if not found.by else frame[frame[found.by] == ALL]
    ranked = whole.assign(most=whole[["count", "raw"]].max(axis=1))
    ranked = ranked.sort_values(["count", "most"], ascending=False, kind="stable")
    shown, apart = ranked.head(_N_CLASSES), []
    if found.by:
        for name in ranked[found.level].head(_N_APART):
            of_it = frame[(frame[found.level] == name) & (frame[found.by] != ALL)]
            groups = of_it.head(_N_GROUPS)
            said = f"the first {len(groups)} of {len(of_it)}" if len(groups) < len(of_it) else ""
            plot = _plot(groups, groups[found.by], f"pictures by {found.by}")
            apart.append({"heading": str(name), "plot": plot, "said": said})
    listed = ranked[found.level].head(len(ranked) if n_apart is None else n_apart)
    groups = frame[:0] if not found.by else (
        frame[(frame[found.by] != ALL) & frame[found.level].isin(listed)]
    )  # fmt: skip
    return {
        "level": found.level, "by": found.by, "apart": apart, "n_listed": len(listed),
        "plot": _plot(shown, shown[found.level], f"pictures of each {found.level}"),
        "n_shown": len(shown), "n_classes": len(whole), "threshold": found.how.threshold,
        "notes": [str(note) for note in found.notes],
        "method": _NAMES[found.how.estimator], "has_rates": "rate" in frame,
        "n_images": int(whole["n_images"].iloc[0]), "n_labelled": int(whole["n_labelled"].iloc[0]),
        "width": found.how.width, "lines": _list_lines(ranked, found),
        "groups": _list_lines(groups, found), "command": str(found.provenance.get("command", "")),
    }  # fmt: skip


def _plot(frame: pd.DataFrame, names: pd.Series[Any], label: str) -> str:
    values = {
        name: frame[name].to_numpy(dtype=np.float64)
        for name in ("count", "count_low", "count_high", "raw", "sure")
    }
    count = Curve("estimate, with its 95% interval", values["count"], values["count"],
                  values["count_low"], values["count_high"])  # fmt: skip
    marks = {"raw count": values["raw"], "count over the threshold": values["sure"]}
    return plot_counts([str(one) for one in names], count, marks, label=label)


def _list_lines(frame: pd.DataFrame, found: Estimates) -> list[dict[str, Any]]:
    lines = []
    for row in frame.to_dict("records"):
        line = {
            "group": str(row.get(found.by, "")), "name": str(row[found.level]),
            "n_labelled": int(row["n_labelled"]), "n_seen": int(row["n_seen"]),
            "raw": int(row["raw"]), "over": int(row["sure"]),
            "is_off": not row["count_low"] <= row["raw"] <= row["count_high"],
            "more": int(row.get("n_more", 0)),
        }  # fmt: skip
        for name, form in (("count", "{:,.0f}"), ("share", "{:.3f}"), ("rate", "{:.2f}")):
            value, low, high = (row.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high"))
            ends = "" if math.isnan(low) else f"{form.format(low)} to {form.format(high)}"
            line[name] = ("?" if math.isnan(value) else form.format(value), ends)
        lines.append(line)
    return lines
