"""``bioprobe demo``."""

from __future__ import annotations

import typer

from bioprobe.cli.build import command
from bioprobe.demo import Demonstration, demonstrate

app = typer.Typer()


@command(app, demonstrate, shows=False)
def demo(done: Demonstration) -> None:
    """Draw pictures, embed them with the small model sketch, and ask; no network is used.

    Example: bioprobe demo --output demo
    """
    typer.echo(done.page.absolute().as_uri())
