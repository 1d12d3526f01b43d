"""``bioprobe report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.output import say


def report(
    name: Annotated[
        str | None,
        typer.Argument(help="Evaluation to tell of; by default the newest in the store."),
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path(
        "report.html"
    ),
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Write what an evaluation found as one page: data, methods, mistakes, what to do next.

    Example: bioprobe report --output report.html
    """
    from bioprobe.evaluation.keeping import read_evaluation
    from bioprobe.report import find_newest, write_report
    from bioprobe.store import EmbeddingStore

    opened = EmbeddingStore.open(store)
    evaluation = read_evaluation(opened, name or find_newest(opened))
    write_report(opened, evaluation, output)
    n_bytes = output.stat().st_size
    say(f"evaluation {evaluation.name} -> {output} ({n_bytes / 1e6:.1f} MB)", quiet=quiet)
