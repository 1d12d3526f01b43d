"""``bioprobe store``: what a store holds, and whether it is whole."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.output import say

app = typer.Typer(no_args_is_help=True, help="Look into a store.")


@app.command()
def info(
    store: options.Store = options.DEFAULT_STORE,
    file_format: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Show the encoder, the counts, the labels and the failures of a store.

    Example: bioprobe store info --store embeddings/default
    """
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.description import describe_store

    facts = describe_store(EmbeddingStore.open(store))
    if file_format == "json":
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    failures = facts.pop("failures")
    for name, value in facts.items():
        typer.echo(f"{name:<16} {value}")
    for failure in failures:
        typer.echo(f"{'failed':<16} {failure['path']}: {failure['reason']}")


@app.command()
def verify(
    store: options.Store = options.DEFAULT_STORE,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Check every byte of a store against its manifest; exit 1 if something is wrong.

    Example: bioprobe store verify --store embeddings/default
    """
    from bioprobe.store import EmbeddingStore, verify_store

    opened = EmbeddingStore.open(store)
    problems = verify_store(opened)
    for problem in problems:
        typer.echo(f"{problem.where}: {problem.what}")
    if problems:
        say(f"Error: {len(problems)} problem(s) in {store}; restore these files from a copy")
        raise typer.Exit(1)
    say(
        f"{store} is whole: {len(opened):,} images in {len(opened.manifest.shards)} shards",
        quiet=quiet,
    )
