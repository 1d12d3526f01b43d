"""The page of counts with intervals: figures, and the table behind them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.counting.estimates import ALL, LABEL_SHIFT
from bioprobe.files import write_text
from bioprobe.page import render_page
from bioprobe.report.plots import Curve, plot_counts

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.counting.estimates import Estimates

# Classes of the first figure, and classes and groups of those by group.
_N_CLASSES, _N_APART, _N_GROUPS = 30, 6, 40
_NAMES = {"ppi": "prediction-powered inference (PPI++)", "regression": "the regression estimator",
          "ratio": "the ratio estimator", "labelled": "the labelled pictures alone",
          LABEL_SHIFT: "prevalence adjustment (Saerens), under label shift"}  # fmt: skip


def write_estimates(path: Path, found: Estimates) -> int:
    """Write counts as one self-contained page.

    Parameters
    ----------
    path : Path
        HTML file.
    found : Estimates
        Counts by class, and by group where there are groups.

    Returns
    -------
    int
        Classes on the page.

    Raises
    ------
    OSError
        If the page cannot be written.
    """
    frame = found.frame
    whole = frame if not found.by else frame[frame[found.by] == ALL]
    ranked = whole.assign(most=whole[["count", "raw"]].max(axis=1))
    ranked = ranked.sort_values(["count", "most"], ascending=False, kind="stable")
    shown = ranked.head(_N_CLASSES)
    figures = [
        {
            "heading": "All pictures" if found.by else "",
            "plot": _plot(shown, shown[found.level], f"pictures of each {found.level}"),
            "said": f"the {len(shown)} most frequent of {len(ranked)}"
            if len(shown) < len(ranked)
            else "",
        }
    ]
    if found.by:
        for name in ranked[found.level].head(_N_APART):
            of_it = frame[(frame[found.level] == name) & (frame[found.by] != ALL)]
            groups = of_it.head(_N_GROUPS)
            said = f"the first {len(groups)} of {len(of_it)}" if len(groups) < len(of_it) else ""
            plot = _plot(groups, groups[found.by], f"pictures by {found.by}")
            figures.append({"heading": str(name), "plot": plot, "said": said})
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "title": f"How many of each {found.level}" + (f", by {found.by}" if found.by else ""),
        "level": found.level, "by": found.by, "figures": figures,
        "notes": [str(note) for note in found.notes],
        "method": _NAMES[found.how.estimator], "threshold": found.how.threshold,
        "n_images": int(whole["n_images"].iloc[0]), "n_labelled": int(whole["n_labelled"].iloc[0]),
        "has_rates": "rate" in frame, "width": found.how.width, "lines": _list_lines(found),
        "command": str(found.provenance.get("command", "")),
        "version": str(found.provenance.get("version", "")),
        "time": str(found.provenance.get("time", "")),
    }  # fmt: skip
    write_text(path, render_page("estimates.html.j2", content))
    return len(whole)


def _plot(frame: pd.DataFrame, names: pd.Series[Any], label: str) -> str:
    values = {
        name: frame[name].to_numpy(dtype=np.float64)
        for name in ("count", "count_low", "count_high", "raw", "sure")
    }
    count = Curve("estimate, with its 95% interval", values["count"], values["count"],
                  values["count_low"], values["count_high"])  # fmt: skip
    marks = {"raw count": values["raw"], "count over the threshold": values["sure"]}
    return plot_counts([str(one) for one in names], count, marks, label=label)


def _list_lines(found: Estimates) -> list[dict[str, Any]]:
    lines = []
    for row in found.frame.to_dict("records"):
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
