"""``bioprobe sources``: which kinds of sources are read, and what one of them says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioprobe.cli.build import command
from bioprobe.cli.groups import Commands

if TYPE_CHECKING:
    from bioprobe.result import Result

app = Commands("See which sources of pictures are read, and what one says, before it is embedded.")


@command(app, "face.sources:list_sources", name="list")
def list_kinds(kinds: Result) -> None:
    """List the kinds of sources that are read, and by what each is recognised.

    Example: bioprobe sources list --format table
    """


@command(app, "face.sources:show_source")
def show(facts: Result) -> None:
    """Show what a source is taken for, its columns, ranks and counts, and its first rows.

    Nothing is embedded. The facts are messages; JSON and Parquet carry them too.

    Example: bioprobe sources show photos/ -n 3
    """
