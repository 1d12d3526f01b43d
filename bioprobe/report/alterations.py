"""One page of what altering pictures does to vectors and answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.files import write_text
from bioprobe.page.html import encode_thumbnail, make_thumbnail, render_page
from bioprobe.report.plots import plot_strengths
from bioprobe.robustness.trial import read_workable
from bioprobe.types import Doubles

if TYPE_CHECKING:
    from bioprobe.robustness import Robustness

_N_TOUCHED, _SHOWN_PX = 12, 150


def write_robustness_page(path: Path, found: Robustness) -> int:
    """Write a figure of each alteration, its copies of one picture, and the pictures most touched.

    Parameters
    ----------
    path : Path
        HTML file; its folder is made.
    found : Robustness

    Returns
    -------
    int
        Pictures on the page.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = found.to_frame()
    shown = _choose_example(found)
    sections = [
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
        "title": "What altering pictures does",
        "asked": found.asked,
        "n_images": len(found.rows),
        "n_copies": len(found.altered),
        "sections": sections,
        "pictures": pictures,
        "n_unread": found.n_unread,
        "provenance": found.provenance.to_dict(),
    }
    write_text(path, render_page("robustness.html.j2", content))
    return len(pictures) + sum(len(one["copies"]) for one in sections)


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
