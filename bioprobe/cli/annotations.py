"""``bioprobe annotations``: what people say of pictures, beside the labels that came with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bioprobe.cli.build import command
from bioprobe.face.annotations import Corrects

if TYPE_CHECKING:
    from bioprobe.result import Result

app = typer.Typer(
    no_args_is_help=True,
    help="Say what is on pictures, beside the labels that came with them; nothing is overwritten.",
)


@command(app, Corrects.annotate_rows, name="add", narrows=("where", "mask"))
def add(done: Result) -> None:
    """Say of pictures what they are, or are not; the log of the store keeps it.

    Example: bioprobe annotations add "Panthera leo" --row 12 --by anna
    """


@command(app, Corrects.annotations, name="show")
def show(found: Result) -> None:
    """List what people said, the newest first, with who took what back.

    Example: bioprobe annotations show --level species --standing
    """


@command(app, Corrects.retract, narrows=())
def retract(done: Result) -> None:
    """Take annotations back, by their ids; they stay in the log and do not count.

    Example: bioprobe annotations retract 0f8e2c51a4d94b0c8d5f1f6f0b7a3c21
    """
