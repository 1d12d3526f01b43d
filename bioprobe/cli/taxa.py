"""``bioprobe taxa``: species added by name or by text prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    from bioprobe.taxonomy import Taxon

app = typer.Typer(no_args_is_help=True, help="Add taxa by name or by text prompt.")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Scientific name, such as 'Panthera uncia'.")],
    common: Annotated[str, typer.Option(help="Common name.")] = "",
    lineage: Annotated[
        str, typer.Option(help="Names from kingdom down, separated by commas; leave holes empty.")
    ] = "",
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Text that describes it, used instead of its names; may be given more than once."
        ),
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Add a taxon to a store; the next question has it among its classes.

    Example: bioprobe taxa add "Panthera uncia" --common "snow leopard"
    --lineage "Animalia,Chordata,Mammalia,Carnivora,Felidae,Panthera"
    """
    from bioprobe.store import EmbeddingStore, add_taxon
    from bioprobe.taxonomy.lineage import complete_taxon

    opened = EmbeddingStore.open(store)
    taxon = complete_taxon(name, lineage, common_name=common, prompts=tuple(prompt or ()))
    with opened.lock():
        add_taxon(opened, taxon)
    say(f"added {_show(taxon)} to {store}", quiet=quiet)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Scientific or common name of an added taxon.")],
    store: options.Store = options.DEFAULT_STORE,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Remove an added taxon from a store.

    Example: bioprobe taxa remove "Panthera uncia"
    """
    from bioprobe.store import EmbeddingStore, remove_taxon

    opened = EmbeddingStore.open(store)
    with opened.lock():
        taxon = remove_taxon(opened, name)
    say(f"removed {_show(taxon)} from {store}", quiet=quiet)


@app.command("list")
def list_taxa(
    store: options.Store = options.DEFAULT_STORE,
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """List the taxa of a store: those of its labels, and those that were added.

    Example: bioprobe taxa list --format csv
    """
    import pandas as pd

    from bioprobe.store import EmbeddingStore, read_added_taxa

    opened = EmbeddingStore.open(store)
    origins = {"added": read_added_taxa(opened), "labels": opened.images.taxa}
    rows = [
        {**taxon.to_names(), "common_name": taxon.common_name, "from": origin,
         "prompts": " | ".join(taxon.prompts)}
        for origin, taxa in origins.items()
        for taxon in taxa
    ]  # fmt: skip
    columns = [*options.RANK_NAMES, "common_name", "from", "prompts"]
    write_frame(pd.DataFrame(rows, columns=columns), output, file_format, quiet=quiet)


def _show(taxon: Taxon) -> str:
    lineage = " > ".join(name for name in taxon.lineage if name)
    return f"{lineage} ({taxon.common_name})" if taxon.common_name else lineage
