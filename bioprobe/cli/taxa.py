"""``bioprobe taxa``: species added by name or by text prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts
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
    parent: Annotated[
        str,
        typer.Option(
            help="Name of a known taxon above it, such as its family; the lineage is completed "
            "from the labels, the added taxa and the lists that ship."
        ),
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
    from bioprobe.classify.additions import check_additions
    from bioprobe.classify.candidates import find_parent
    from bioprobe.store import EmbeddingStore, add_taxon, read_added_taxa
    from bioprobe.taxonomy.lineage import complete_taxon

    if parent and lineage:
        msg = "--parent completes the lineage; leave --lineage out"
        raise typer.BadParameter(msg)
    opened = EmbeddingStore.open(store)
    if parent:
        above = find_parent(opened, parent)
        lineage = ",".join(above.lineage[: above.depth + 1])
    taxon = complete_taxon(name, lineage, common_name=common, prompts=tuple(prompt or ()))
    with opened.lock():
        check_additions((*read_added_taxa(opened), taxon))
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


@app.command("import")
def import_list(
    file: Annotated[
        str,
        typer.Argument(
            help="Taxon list: CSV, TSV, Parquet, JSON, Darwin Core, SpeciesNet or TreeOfLife "
            "file, a text file with a name a line, or a list that ships."
        ),
    ],
    synonyms: Annotated[
        str | None, typer.Option(help="Table with the columns synonym and accepted.")
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Add every taxon of a list to a store.

    Example: bioprobe taxa import rare-species
    """
    from bioprobe.classify.additions import import_taxa
    from bioprobe.store import EmbeddingStore
    from bioprobe.taxonomy.reading import read_taxonomy
    from bioprobe.taxonomy.synonyms import read_synonyms, replace_synonyms

    opened, taxa = EmbeddingStore.open(store), read_taxonomy(file)
    if synonyms:
        taxa = replace_synonyms(taxa, read_synonyms(synonyms))
    with opened.lock():
        n_new = import_taxa(opened, taxa)
    say(f"added {n_new:,} taxa to {store}; {len(taxa) - n_new:,} were there", quiet=quiet)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="Scientific name, known here or not.")],
    common: Annotated[str, typer.Option(help="Common name.")] = "",
    lineage: Annotated[
        str, typer.Option(help="Names from kingdom down, separated by commas; leave holes empty.")
    ] = "",
    taxa: options.Taxa = None,
    text_type: options.TextTypeName = "taxon_com",
    templates: options.Templates = "plain",
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Classes to show.")] = 5,
    store: options.Store = options.DEFAULT_STORE,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Show the classes whose texts are nearest to that of a taxon; warn of confusion.

    Example: bioprobe taxa check "Panthera uncia" --common "snow leopard"
    """
    import pandas as pd

    from bioprobe.classify.candidates import find_candidates, find_known_taxa
    from bioprobe.classify.likeness import find_neighbours
    from bioprobe.prompts import PromptSet, TextType, read_templates
    from bioprobe.taxonomy.lineage import complete_taxon

    opened, texts = open_with_texts(store, model, device)
    known = find_known_taxa(opened, taxa).find(name) if not (common or lineage) else None
    taxon = known or complete_taxon(name, lineage, common_name=common)
    classes = find_candidates(opened, taxa, taxon.rank)
    prompts = PromptSet(classes, TextType.parse(text_type), read_templates(templates))
    found = find_neighbours(taxon, prompts, texts.encode_text, k=k)
    if found.is_confusing:
        say(
            f"warning: {taxon.name} will be confused with {found.taxa[0].name}: their texts have "
            f"similarity {found.similarities[0]:.3f}, nine in ten classes stay below "
            f"{found.usual:.3f} with their nearest; describe it with: bioprobe taxa add --prompt",
            quiet=quiet,
        )
    rows = [
        {"name": one.name, "common_name": one.common_name, "similarity": float(similarity)}
        for one, similarity in zip(found.taxa, found.similarities, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["name", "common_name", "similarity"])
    write_frame(frame, output, file_format, quiet=quiet)


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
