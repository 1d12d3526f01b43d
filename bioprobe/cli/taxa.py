"""``bioprobe taxa``: species added by name, by text prompt or by example pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.output import say, write_frame
from bioprobe.cli.taxa_check import check
from bioprobe.cli.taxa_measure import measure

if TYPE_CHECKING:
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.added_taxa import AddedList
    from bioprobe.taxonomy import Taxon

app = typer.Typer(no_args_is_help=True, help="Add taxa by name, by text or by example pictures.")

UserWide = Annotated[
    bool,
    typer.Option(
        "--user-wide",
        help="The list that counts in every store of yours, instead of the store's: a file among "
        "your data, or where $BIOPROBE_TAXA says.",
    ),
]


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
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Example picture, or a folder of them; may be given more than once. The class is "
            "made of them and of its text, with a weight and an offset chosen on labelled images."
        ),
    ] = None,
    no_text: Annotated[
        bool, typer.Option("--no-text", help="With --images: of the pictures alone.")
    ] = False,
    taxa: options.Taxa = None,
    text_type: options.TextTypeName = "taxon_com",
    templates: options.Templates = "plain",
    user_wide: UserWide = False,
    store: options.Store = options.DEFAULT_STORE,
    model: options.Model = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Add a taxon to a store; the next question has it among its classes.

    --taxa, --text-type, --templates, --model and --device are for --images: the weight is chosen
    among these classes, with texts written so.

    Example: bioprobe taxa add "Panthera uncia" --common "snow leopard"
    --lineage "Animalia,Chordata,Mammalia,Carnivora,Felidae,Panthera"
    """
    from bioprobe.cli.taxa_pictures import add_pictures, report_blend
    from bioprobe.taxonomy.taxon import complete_taxon
    from bioprobe.zeroshot.added_taxa import add_one

    if parent and lineage:
        msg = "--parent completes the lineage; leave --lineage out"
        raise typer.BadParameter(msg)
    if (no_text and not images) or (images and user_wide):
        msg = (
            "--images belongs to a store, whose encoder made the vectors; leave --user-wide out"
            if images
            else "--no-text needs --images"
        )
        raise typer.BadParameter(msg)
    place, opened = _open_list(store, user_wide=user_wide)
    if parent:
        lineage = _complete_lineage(opened, store, parent)
    taxon = complete_taxon(name, lineage, common_name=common, prompts=tuple(prompt or ()))
    with place.lock():
        if images:
            asked = (taxa, text_type, templates, model, device)
            blend = add_pictures(store, taxon, images, *asked, no_text=no_text)
            report_blend(blend, quiet=quiet)
        else:
            add_one(place, taxon)
    say(f"added {_show(taxon)} to {place.describe()}", quiet=quiet)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Scientific or common name of an added taxon.")],
    user_wide: UserWide = False,
    store: options.Store = options.DEFAULT_STORE,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Remove an added taxon, and its example pictures, from a store.

    Example: bioprobe taxa remove "Panthera uncia"
    """
    from bioprobe.zeroshot.added_taxa import remove_one

    place, opened = _open_list(store, user_wide=user_wide)
    with place.lock():
        taxon = remove_one(place, name, opened)
    say(f"removed {_show(taxon)} from {place.describe()}", quiet=quiet)


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
    user_wide: UserWide = False,
    store: options.Store = options.DEFAULT_STORE,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Add every taxon of a list to a store.

    Example: bioprobe taxa import rare-species
    """
    from bioprobe.taxonomy.lists import read_taxonomy
    from bioprobe.taxonomy.synonyms import read_synonyms, replace_synonyms
    from bioprobe.zeroshot.added_taxa import import_taxa

    place, _ = _open_list(store, user_wide=user_wide)
    taxa = read_taxonomy(file)
    if synonyms:
        taxa = replace_synonyms(taxa, read_synonyms(synonyms))
    with place.lock():
        n_new = import_taxa(place, taxa)
    n_known = len(taxa) - n_new
    say(f"added {n_new:,} taxa to {place.describe()}; {n_known:,} were there", quiet=quiet)


@app.command("export")
def export_list(
    target: Annotated[
        Path,
        typer.Argument(
            help="A .csv that bioprobe taxa import and --taxa read, or a .npy: TreeOfLife's form, "
            "text embeddings of shape (dim, n) with a .json of names beside them."
        ),
    ],
    text_type: options.TextTypeName = "taxon_com",
    templates: options.Templates = "plain",
    user_wide: UserWide = False,
    store: options.Store = options.DEFAULT_STORE,
    model: options.Model = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Write the added taxa, the store's and the user's, for another store or tool.

    Example pictures are not written. --text-type, --templates, --model and --device are for .npy.

    Example: bioprobe taxa export mine.csv
    """
    from bioprobe.cli.taxa_pictures import write_added
    from bioprobe.store.added_taxa import AddedList

    only = AddedList.of_user() if user_wide else None
    n_taxa = write_added(target, store, only, text_type, templates, model, device)
    say(f"{n_taxa:,} taxa -> {target}", quiet=quiet)


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

    from bioprobe.zeroshot.added_taxa import list_known

    columns = [*options.RANK_NAMES, "common_name", "from", "prompts", "pictures"]
    rows = [
        {**one.taxon.to_names(), "common_name": one.taxon.common_name, "from": one.origin,
         "prompts": " | ".join(one.taxon.prompts), "pictures": one.n_pictures}
        for one in list_known(_open(store))
    ]  # fmt: skip
    write_frame(pd.DataFrame(rows, columns=columns), output, file_format, quiet=quiet)


app.command()(check)
app.command()(measure)


def _open(store: Path) -> EmbeddingStore:
    from bioprobe.store import EmbeddingStore

    return EmbeddingStore.open(store)


def _open_list(store: Path, *, user_wide: bool) -> tuple[AddedList, EmbeddingStore | None]:
    """Return the list that is meant, and its store; the user's list needs none."""
    from bioprobe.store.added_taxa import AddedList

    if user_wide:
        return AddedList.of_user(), None
    opened = _open(store)
    return AddedList.of_store(opened), opened


def _complete_lineage(opened: EmbeddingStore | None, store: Path, parent: str) -> str:
    from bioprobe.zeroshot.candidates import find_parent

    above = find_parent(opened or _open(store), parent)
    return ",".join(above.lineage[: above.depth + 1])


def _show(taxon: Taxon) -> str:
    lineage = " > ".join(name for name in taxon.lineage if name)
    return f"{lineage} ({taxon.common_name})" if taxon.common_name else lineage
