"""Pictures beside their maps, as files and on a page, with what speaks for and against."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe import __version__
from bioprobe.errors import ImageReadError, SourceError
from bioprobe.explanation.drawing import draw_explanations, find_free, write_png
from bioprobe.files import write_text
from bioprobe.overlays.fonts import Fonts
from bioprobe.page.html import make_thumbnail, render_page
from bioprobe.page.words import sign

if TYPE_CHECKING:
    from PIL.Image import Image

    from bioprobe.explanation.examples import Example
    from bioprobe.explanation.result import Explanation, Explanations
    from bioprobe.images import ImageTable

# Longer side of a picture on a page, beside which there are two maps or more.
SIZE_PX = 480
_EXAMPLE_PX = 150
_QUALITY = 82
# Pictures of a page: 200 are about 20 MB.
MOST_SHOWN = 200
_LEAST_NAME = re.compile(r"[^\w.-]+")


def write_overlays(folder: Path, found: Explanations) -> int:
    """Write each picture beside its maps as a PNG file.

    Parameters
    ----------
    folder : Path
        It is made where there is none. Files that are no such pictures are not replaced.
    found : Explanations

    Returns
    -------
    int
        Files that were written.

    Raises
    ------
    StoreError
        If one cannot be written.
    """
    fonts, n_written = Fonts(), 0
    for row, items in _group(found.items):
        image = _draw(found.images, row, items, fonts)
        if image is None:
            continue
        stem = _LEAST_NAME.sub("-", Path(found.images.file_names[row]).stem)[:80] or "picture"
        said = f"{found.images.name_row(row)}: {'; '.join(one.title for one in items)}"
        write_png(image, find_free(folder, f"{row:06d}-{stem}"), said)
        n_written += 1
    return n_written


def write_explanation_sheet(path: Path, found: Explanations) -> int:
    """Write pictures with their maps, answers and examples as one self-contained HTML page.

    Parameters
    ----------
    path : Path
        HTML file; written whole or not at all, its folder is made.
    found : Explanations
        The first 200 pictures are shown.

    Returns
    -------
    int
        Pictures on the page.

    Raises
    ------
    StoreError
        If the page cannot be written.
    """
    pictures = show_explanations(found.items, found.images, found.known, most=MOST_SHOWN)
    source = found.provenance
    condition = f" where {source.condition}" if source.condition else ""
    more = "" if len(pictures) == len(found.rows) else f" The first {len(pictures):,} are shown."
    content = {
        "title": "Why: where the model looked",
        "intro": (
            f"{len(found.rows):,} pictures of {source.store}{condition}.{more} {HOW_TO_READ}\n"
            f"{source.encoder['model']} · {sign(source)}"
        ),
        "pictures": pictures,
        "n_unread": sum(not one["image"] for one in pictures),
        "failures": found.failures.to_dict("records"),
        "version": __version__,
    }
    write_text(path, render_page("explanations.html.j2", content))
    return len(pictures)


#: For people who see such a map for the first time.
HOW_TO_READ = (
    "Bright yellow is where the picture speaks most for what stands above the map; where it stays "
    "grey, it says little. What is dark and hatched the model did not see. A map shows where the "
    "model looked, not whether it is right."
)


def show_explanations(
    items: Sequence[Explanation],
    images: ImageTable,
    known: ImageTable,
    *,
    most: int,
    size_px: int = SIZE_PX,
) -> list[dict[str, Any]]:
    """Return what a page shows of pictures that were explained."""
    fonts = Fonts()
    shown: list[dict[str, Any]] = []
    thumbnails: dict[int, str] = {}
    for row, of_picture in _group(items):
        if len(shown) == most:
            break
        image = _draw(images, row, of_picture, fonts, size_px)
        first = of_picture[0]
        shown.append({
            "heading": images.name_row(row),
            "image": "" if image is None else _to_url(image),
            "alt": f"Map toward {' and toward '.join(one.title for one in of_picture)}",
            "lines": _describe(first, of_picture),
            "examples": [
                {"heading": heading, "pictures": [_show(one, known, thumbnails) for one in named]}
                for heading, named in _list_examples(of_picture)
            ],
        })  # fmt: skip
    return shown


def _group(items: Sequence[Explanation]) -> Iterator[tuple[int, list[Explanation]]]:
    by_row: dict[int, list[Explanation]] = {}
    for one in items:
        by_row.setdefault(one.row, []).append(one)
    yield from by_row.items()


def _draw(
    images: ImageTable, row: int, items: Sequence[Explanation], fonts: Fonts,
    most_px: int | None = None,
) -> Image | None:  # fmt: skip
    """Draw the maps of a picture; None where it cannot be read any more."""
    size = {} if most_px is None else {"most_px": most_px}
    try:
        return draw_explanations(images.locate(row), items, fonts, **size)
    except (ImageReadError, SourceError, OSError, ValueError):
        return None


def _to_url(image: Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _describe(first: Explanation, items: Sequence[Explanation]) -> list[str]:
    """Return what is said of a picture: its answers, its label, and where its maps have most."""
    said = []
    if first.answers:
        (name, score), *rest = first.answers
        label = ""
        if first.truth:
            label = "; that is its label" if first.truth == name else f"; its label: {first.truth}"
        said.append(f"answer: {name}, probability {score:.3f}{label}")
        if rest:
            losing = ", ".join(f"{other} {value:.3f}" for other, value in rest)
            said.append(f"closest to lose against: {losing}")
    for one in items:
        where = "" if one.half_share != one.half_share else (
            f"half of the map lies on {one.half_share:.0%} of what the model saw"
        )  # fmt: skip
        boxes = ", ".join(
            f"{box.share:.0%} in the box of {box.label} ({box.area:.0%} of the area)"
            for box in one.inside
        )
        parts = [part for part in (where, boxes) if part]
        said.append(f"toward {one.title}: {'; '.join(parts) or 'nothing speaks for it'}")
    return said


def _list_examples(items: Sequence[Explanation]) -> list[tuple[str, Sequence[Example]]]:
    """Return the labelled pictures that speak for and against, each class once."""
    found: dict[str, tuple[str, Sequence[Example]]] = {}
    for one in items:
        for named, words in ((one.pictures_for, "for"), (one.pictures_against, "against")):
            if named and named[0].label not in found:
                said = f"nearest labelled pictures {words} it: {named[0].label}"
                found[named[0].label] = (said, named)
    return list(found.values())


def _show(one: Example, known: ImageTable, thumbnails: dict[int, str]) -> dict[str, str]:
    if one.row not in thumbnails:
        thumbnails[one.row] = make_thumbnail(known.locate(one.row), _EXAMPLE_PX)
    return {
        "thumbnail": thumbnails[one.row],
        "caption": one.label,
        "line": f"{one.similarity:.2f}",
    }
