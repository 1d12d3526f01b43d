"""The commands that open a page."""

from __future__ import annotations

import typer

from bioprobe.cli.build import command
from bioprobe.web.serving import Served
from bioprobe.web.serving import serve as serve_store

app = typer.Typer()


@command(app, serve_store, shows=False)
def serve(done: Served) -> None:
    """Open a store in the browser: look, ask and correct; and its API for programs.

    Example: bioprobe serve --store embeddings/default
    """
