"""``bioprobe prompts``: which texts to ask by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bioprobe.cli.build import command
from bioprobe.face.prompts import Texts, shipped

if TYPE_CHECKING:
    from bioprobe.prompts import Shipped
    from bioprobe.zeroshot.comparison import ComparedPrompts

app = typer.Typer(
    no_args_is_help=True, help="Compare and list the texts that classes are asked by."
)


@command(app, Texts.prompts, encodes=True)
def compare(compared: ComparedPrompts) -> None:
    """Measure text types and template sets on labelled images, and recommend one.

    Example: bioprobe prompts compare --level family --split default:validation
    """


@command(app, shipped, name="list")
def list_sets(sets: Shipped) -> None:
    """List the template sets and taxon lists that ship with bioprobe.

    Example: bioprobe prompts list --format table
    """
