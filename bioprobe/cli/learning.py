"""``bioprobe split``, ``evaluate`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli.build import command, write_answer
from bioprobe.cli.show import say, write_frame
from bioprobe.face.learning import Learns
from bioprobe.options import Option

if TYPE_CHECKING:
    from bioprobe.face.pages import Evaluation
    from bioprobe.result import Result

app = typer.Typer()


@command(
    app,
    Learns.split,
    instead={
        "show": (Option("Only show the split of that name."), Learns.show_split),
        "list_all": (Option("Only list the splits.", ("--list",)), Learns.splits),
    },
)
def split(counted: Result) -> None:
    """Split labelled images into train, validation and test, kept in the store by name.

    Example: bioprobe split --level family --group burst --seed 1
    """


def _write(found: Evaluation, output: str, file_format: str | None, *, quiet: bool) -> None:
    """Write all of an evaluation where JSON is asked for, else its table."""
    if file_format != "json" and (file_format or not output.lower().endswith(".json")):
        write_answer(found, output, file_format, quiet=quiet)
    elif output == "-":
        typer.echo(found.to_json(), nl=False)
    else:
        found.write_json(output)
        say(f"wrote {len(found.results)} results to {output}", quiet=quiet)


@command(app, Learns.evaluate, narrows=(), encodes=True, write=_write)
def evaluate(
    found: Evaluation,
    *,
    predictions: Annotated[
        Path | None, Option("Parquet file for the answers: one row an image and method.")
    ] = None,
) -> str:
    """Compare methods on images that none of them learnt from, with intervals and tests.

    Of --output FILE.json everything is written, in the shape of CLIP_benchmark's results.

    Example: bioprobe evaluate --level family --methods zeroshot,knn,linear --output results.json
    """
    if predictions is None:
        return ""
    frame = found.predictions
    write_frame(frame, str(predictions), "parquet", provenance=found.provenance, quiet=True)
    return f"wrote {len(frame):,} rows to {predictions}"


@command(app, Learns.report, narrows=(), shows=False)
def report(page: Result) -> None:
    """Write what an evaluation found as one page: data, methods, mistakes, what to do next.

    Example: bioprobe report --output report.html
    """
