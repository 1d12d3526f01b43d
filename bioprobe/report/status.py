"""The conservation status of pictures, on a page of its own and as a part of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.conservation import (
    CODES,
    COLOURS,
    INKS,
    NAMES,
    THREATENED,
    Judged,
    Units,
    count_statuses,
    find_units,
    judge_stored,
)
from bioprobe.files import write_text
from bioprobe.page.html import render_page
from bioprobe.report.plots import plot_statuses
from bioprobe.report.section import Section
from bioprobe.result import Note
from bioprobe.store import EmbeddingStore

if TYPE_CHECKING:
    import pandas as pd

_SHOWN, _PLACES = 200, 60


def write_status_page(
    path: Path,
    judged: Judged,
    units: Units,
    counts: pd.DataFrame,
    taxa: pd.DataFrame,
    comparison: pd.DataFrame,
    *,
    source: str,
    asked: str,
    notes: Iterable[Note],
    provenance: Mapping[str, Any],
) -> None:
    """Write which statuses pictures have as one HTML file.

    Raises
    ------
    StoreError
        If the page cannot be written.
    """
    content = {
        "title": "Conservation status",
        "source": source,
        "asked": asked,
        "has_shares": not bool(np.isnan(judged.scores).all()),
        "notes": [str(note) for note in notes if note.kind != "fact"],
        "status": describe_status(judged, units, counts),
        "taxa": taxa.head(_SHOWN).to_dict("records"),
        "n_names": len(taxa),
        "comparison": comparison.to_dict("records"),
        "provenance": dict(provenance),
        "colours": COLOURS,
        "inks": INKS,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page("status.html.j2", content))


def describe_status(judged: Judged, units: Units, counts: pd.DataFrame) -> dict[str, Any]:
    """Return how many pictures have each status, for a page."""
    by = units.column
    whole = counts if not by else counts[counts[by] == ""]
    parts = counts[:0] if not by else counts[counts[by] != ""]
    codes = [code for code in CODES if code in set(counts["status"])]
    codes += [""] if (counts["status"] == "").any() else []
    names = list(dict.fromkeys(parts[by].tolist())) if by else []
    # Of many places those with most pictures.
    sizes = {name: int(parts[parts[by] == name]["of_images"].iloc[0]) for name in names}
    shown = sorted(names, key=lambda one: -sizes[one])[:_PLACES]
    shown = [name for name in names if name in set(shown)]
    bars = [("all", whole), *((name, parts[parts[by] == name]) for name in shown)]
    table = np.array([_count(frame, codes) for _, frame in bars], dtype=np.int64)
    threatened = whole[whole["status"] == THREATENED].iloc[0]
    rows = [_show_row(row) for row in whole.to_dict("records")]
    # A place of which nothing is known has none that is known to be threatened.
    unknown = Counter(units.name_values()[judged.threatened == ""].tolist())
    return {
        "rows": rows,
        "threatened": _show_row(threatened.to_dict()),
        "unit": units.unit,
        "by": units.by,
        "n_images": len(judged),
        "n_unknown": int((judged.threatened == "").sum()),
        "n_places": len(names),
        "n_shown": len(shown),
        "places": [
            {
                **_show_row(frame[frame["status"] == THREATENED].iloc[0].to_dict()),
                "name": name,
                "n_unknown": int(unknown[name]),
            }
            for name, frame in bars[1:]
        ],
        "plot": plot_statuses([name for name, _ in bars], table, codes) if len(judged) else "",
    }


def _count(frame: pd.DataFrame, codes: Sequence[str]) -> list[int]:
    n_of = dict(zip(frame["status"], frame["n_images"], strict=True))
    return [int(n_of.get(code, 0)) for code in codes]


def _show_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    code = str(row["status"])
    is_known = row["share"] == row["share"]
    taxa = [one for one in str(row["taxa"]).split("; ") if one]
    return {
        "code": code if code in NAMES else "",
        "name": row["name"],
        "n_images": int(row["n_images"]),
        "of_images": int(row["of_images"]),
        "share": f"{100 * row['share']:.1f}%" if is_known else "",
        "range": f"{100 * row['low']:.1f} to {100 * row['high']:.1f}" if is_known else "",
        "n_units": int(row["n_units"]),
        "n_taxa": int(row["n_taxa"]),
        "taxa": ", ".join(taxa[:4]) + (f", and {len(taxa) - 4:,} more" if len(taxa) > 4 else ""),
    }


def describe_stored(store: EmbeddingStore) -> list[Section]:
    """Return the part of a report about the column of statuses in a store, if it has one."""
    judged = judge_stored(store.images, store.rows)
    if judged is None:
        return []
    units = find_units(store.images, judged.rows)
    return [
        Section(
            "status", "Conservation status", "Conservation status",
            "Of the labels, by the column that bioprobe status --save-columns wrote.",
            describe_status(judged, units, count_statuses(judged, units)), is_open=True,
        )
    ]  # fmt: skip
