"""``bioprobe embed``."""

from __future__ import annotations

import typer

from bioprobe.cli.build import command
from bioprobe.face.store import Store
from bioprobe.face.store import embed as embed_sources

app = typer.Typer()


@command(app, embed_sources, shows=False)
def embed(store: Store) -> None:
    """Turn images into vectors in a store; only what is new is encoded.

    Example: bioprobe embed photos/ --model bioclip-2 --folder-rank species
    """
    summary = store.summary
    if summary is not None and summary.n_failed == summary.n_images:
        raise typer.Exit(1)
