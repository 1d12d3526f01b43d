"""``bioprobe zeroshot``, ``search``, ``filter``, ``dedupe`` and ``describe``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bioprobe.cli.build import command
from bioprobe.face.asking import Asks

if TYPE_CHECKING:
    from bioprobe.quality import Duplicates

app = typer.Typer()


@command(app, Asks.dedupe)
def dedupe(found: Duplicates) -> None:
    """Find duplicate images, and keep a mask without them: filters/duplicates.

    Of each group the largest picture is kept; nothing is deleted.

    Example: bioprobe dedupe --threshold 0.97 --output duplicates.csv
    """
