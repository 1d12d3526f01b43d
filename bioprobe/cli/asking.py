"""``bioprobe zeroshot``, ``search``, ``filter``, ``dedupe`` and ``describe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli.build import command
from bioprobe.face.asking import Asks
from bioprobe.options import Option, With

if TYPE_CHECKING:
    from bioprobe.face.pages import Neighbors, NoiseFilter
    from bioprobe.quality import Duplicates
    from bioprobe.quality.description import Description
    from bioprobe.result import Result

app = typer.Typer()


@command(app, Asks.zeroshot, encodes=True, sources="-")
def zeroshot(answers: Result) -> None:
    """Label images by text prompts, at any rank.

    Example: bioprobe zeroshot --level family --output families.csv
    """


@command(app, Asks.search, encodes=True, sources="--in")
def search(
    found: Neighbors,
    *,
    html: Annotated[Path | None, Option("Also write the answers as a page of pictures.")] = None,
) -> str:
    """Find the images nearest to a picture, a text, a row, or several together.

    All terms add up, but for those of --minus-image, --minus-text and --minus-row: an image ranks
    by its similarity to the mean of what is looked for, less --minus-weight times that to the mean
    of what is not. At 1, little of what both have in common is left.

    Example: bioprobe search --image leopard.jpg --text "a spotted cat on snow" -k 10
    """
    return f"wrote {found.write_page(html):,} pictures to {html}" if html else ""


@command(app, Asks.filter, name="filter", encodes=True, sources="-")
def filter_images(
    found: NoiseFilter,
    *,
    html: Annotated[
        Path | None, Option("Also write what is dropped as a page of pictures.")
    ] = None,
    html_by: Annotated[
        str,
        Option(
            "What the page is grouped by: reason, or class (at --level).",
            choices=("reason", "class"),
            fixed=True,
            when=(With("html"),),
        ),
    ] = "reason",
) -> str:
    """Tell pictures of animals from others, and keep a mask of them; nothing is deleted.

    Example: bioprobe filter --keep animal --output animals.csv --html dropped.html
    """
    return f"wrote {found.write_page(html, html_by):,} pictures to {html}" if html else ""


@command(app, Asks.dedupe, sources="-")
def dedupe(found: Duplicates) -> None:
    """Find duplicate images, and keep a mask without them: filters/duplicates.

    Of each group the largest picture is kept; nothing is deleted.

    Example: bioprobe dedupe --threshold 0.97 --output duplicates.csv
    """


@command(app, Asks.describe, sources="-")
def describe(found: Description) -> None:
    """Describe the images before any learning: classes, imbalance, sizes, modes, copies, holes.

    Example: bioprobe describe --level family
    """
