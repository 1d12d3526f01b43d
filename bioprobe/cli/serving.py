"""The commands that open a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioprobe.cli.build import command
from bioprobe.cli.groups import Commands

if TYPE_CHECKING:
    from bioprobe.web.serving import Served

app = Commands()


@command(app, "web.serving:serve", shows=False)
def serve(done: Served) -> None:
    """Open a store in the browser: look, ask and correct; and its API for programs.

    Example: bioprobe serve --store embeddings/default
    """
