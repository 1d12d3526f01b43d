"""``bioprobe demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.show import say, show_progress


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for pictures, store and page.")
    ] = Path("demo"),
    per_species: Annotated[int, typer.Option(min=1, help="Pictures drawn of each species.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the drawings.")] = 0,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Draw pictures, embed them with the small model sketch, and ask; no network is used.

    Example: bioprobe demo --output demo
    """
    from bioprobe.demo import draw, run_demo
    from bioprobe.face.store import count_outcomes

    say(f"drawing pictures into {output / 'photos'} …", quiet=quiet)
    table = draw(output, n_per_species=per_species, seed=seed)
    say(f"embedding {len(table):,} pictures into {output / 'store'} …", quiet=quiet)
    with show_progress(quiet=quiet) as progress:
        advance = count_outcomes(progress, len(table))
        result = run_demo(output, table, seed=seed, advance=advance)
    say(
        f"{result.summary.n_embedded:,} embedded in {result.summary.seconds_s:.1f} s; ask more: "
        f"bioprobe zeroshot --level family --store {result.store}",
        quiet=quiet,
    )
    say("open this page:", quiet=quiet)
    typer.echo(result.page.absolute().as_uri())
