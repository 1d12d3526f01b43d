"""``bioprobe sources``: which kinds of sources are read, and what one of them says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bioprobe.cli.build import command
from bioprobe.face.sources import list_sources, show_source

if TYPE_CHECKING:
    from bioprobe.result import Result

app = typer.Typer(
    no_args_is_help=True,
    help="See which sources of pictures are read, and what one says, before it is embedded.",
)


@command(app, list_sources, name="list")
def list_kinds(kinds: Result) -> None:
    """List the kinds of sources that are read, and by what each is recognised.

    Example: bioprobe sources list --format table
    """


@command(app, show_source)
def show(facts: Result) -> None:
    """Show what a source is taken for, its columns, ranks and counts, and its first rows.

    Nothing is embedded. The facts are messages; JSON and Parquet carry them too.

    Example: bioprobe sources show photos/ -n 3
    """
