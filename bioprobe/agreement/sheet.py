"""The page of two sets of answers: how far they agree, what moved, and pictures to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bioprobe import __version__
from bioprobe.agreement.comparison import ANSWER, DIFFERENT, Comparison
from bioprobe.files import write_text
from bioprobe.images.location import ImageLocation
from bioprobe.intervals import Interval
from bioprobe.page.html import make_thumbnail, render_page
from bioprobe.result import count

_SIZE_PX = 280
# Groups of pictures, pictures of each, and lines of the table of moves.
_GROUPS, _OF_A_GROUP, _MOVES = 60, 12, 50


def write_comparison_sheet(
    path: Path, found: Comparison, places: Mapping[int, ImageLocation]
) -> int:
    """Write two sets of answers side by side as one self-contained HTML page.

    Parameters
    ----------
    path : Path
        HTML file.
    found : Comparison
    places : mapping of int to ImageLocation
        Where the picture of a pair lies, by its position; the others are empty frames.

    Returns
    -------
    int
        Pictures on the page: of the commonest disagreements the first 12 each.
    """
    groups, n_moves = _group(found, places)
    pictures = [picture for group in groups for picture in group["pictures"]]
    moves = found.moves
    content = {
        "title": "Where two sets of answers disagree",
        "first": found.first.name,
        "second": found.second.name,
        "facts": [str(note) for note in found.notes if note.kind != "fact"],
        "counts": found.counts,
        "n_pictures": len(found),
        "agreements": [
            {
                "level": "any rank" if one.level == ANSWER else one.level,
                "n_pictures": one.n_pictures,
                "n_agree": one.n_agree,
                "share": _write(one.share),
                "kappa": _write(one.kappa),
            }
            for one in found.agreements
        ],
        "shift": _write(found.shift),
        "moves": moves.head(_MOVES).to_dict("records"),
        "n_moves": len(moves),
        "groups": groups,
        "n_groups": n_moves,
        "n_shown": len(pictures),
        "n_unread": sum(not picture["thumbnail"] for picture in pictures),
        "n_disagreeing": int(found.disagreeing.sum()),
        "version": __version__,
    }
    write_text(path, render_page("comparison.html.j2", content))
    return len(pictures)


def _write(found: Interval) -> tuple[str, str]:
    """Return a figure and its range, as a table shows them."""
    if math.isnan(found.estimate):
        return "", ""
    return f"{found.estimate:.3f}", f"{found.low:.3f} to {found.high:.3f}"


def _group(
    found: Comparison, places: Mapping[int, ImageLocation]
) -> tuple[list[dict[str, Any]], int]:
    """Return the pictures of each kind of disagreement, commonest first, and how many there are."""
    of_move: dict[tuple[str, str], list[int]] = {}
    pairs = found.pairs
    lines: list[dict[str, Any]] = [
        dict(zip(pairs.columns, one, strict=True)) for one in pairs.itertuples(index=False)
    ]
    for at in found.order.tolist():
        line = lines[at]
        of_move.setdefault((line["first"], line["second"]), []).append(at)
    commonest = sorted(
        of_move.items(),
        key=lambda one: (lines[one[1][0]]["relation"] != DIFFERENT, -len(one[1])),
    )
    groups = []
    for (first, second), at_pairs in commonest[:_GROUPS]:
        common = lines[at_pairs[0]]["common"]
        n_shown = min(len(at_pairs), _OF_A_GROUP)
        note = count(len(at_pairs), "picture")
        note += f", both in {common}" if common else ""
        note += f"; the first {n_shown} of the queue are shown." if n_shown < len(at_pairs) else "."
        shown = [_show(lines[at], places.get(at)) for at in at_pairs[:n_shown]]
        heading = f"{first or 'no answer'} or {second or 'no answer'}"
        groups.append({"heading": heading, "note": note, "pictures": shown})
    return groups, len(of_move)


def _show(line: Mapping[str, Any], place: ImageLocation | None) -> dict[str, Any]:
    told = [
        f"{which}: {line[which] or 'no answer'}{_write_score(line[f'{which}_score'])}"
        for which in ("first", "second")
    ]
    return {
        "thumbnail": "" if place is None else make_thumbnail(place, _SIZE_PX),
        "caption": f"{line['first'] or 'no answer'} or {line['second'] or 'no answer'}",
        "lines": [*told, str(line["file_name"])],
    }


def _write_score(score: float) -> str:
    return "" if math.isnan(score) else f", {score:.3f}"
