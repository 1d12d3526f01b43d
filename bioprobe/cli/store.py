"""``bioprobe store``: what a store holds, whether it is whole, and its exchange with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.output import say
from bioprobe.cli.store_index import index

if TYPE_CHECKING:
    from bioprobe.interchange import ImportSummary
    from bioprobe.store import Repair

app = typer.Typer(
    no_args_is_help=True, help="Look into a store, and exchange its vectors with other tools."
)

app.command()(index)

_LAYOUTS = ("clip-retrieval", "datasets", "emb-explorer", "hpc-inference", "npy", "treeoflife")
Layout = Annotated[
    str | None,
    typer.Option(
        help=f"Layout of the file: {', '.join(_LAYOUTS)}. Recognised when it is read.",
        autocompletion=lambda incomplete: [n for n in _LAYOUTS if n.startswith(incomplete)],
    ),
]


@app.command()
def info(
    store: options.Store = options.DEFAULT_STORE,
    file_format: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Show the encoder, the counts, the labels and the failures of a store.

    Example: bioprobe store info --store embeddings/default
    """
    from bioprobe.quality.description import describe_store
    from bioprobe.store import EmbeddingStore

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
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Take damaged shards out and lay them aside; nothing is deleted."
        ),
    ] = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Check every byte of a store against its manifest; exit 1 if something is wrong.

    Example: bioprobe store verify --repair
    """
    from bioprobe.store import EmbeddingStore, repair_store, verify_store

    if repair:
        _report_repair(repair_store(store), store)
    opened = EmbeddingStore.open(store)
    problems = verify_store(opened)
    for problem in problems:
        typer.echo(f"{problem.where}: {problem.what}")
    if problems:
        say(
            f"Error: {len(problems)} problem(s) in {store}; restore these files from a copy, or "
            "run: bioprobe store verify --repair"
        )
        raise typer.Exit(1)
    say(
        f"{store} is whole: {len(opened):,} images in {len(opened.manifest.present_shards)} shards",
        quiet=quiet,
    )


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="File or folder of vectors, or a text head.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Encoder that made them, on your word.")
    ],
    store: options.Store = options.DEFAULT_STORE,
    layout: Layout = None,
    column: Annotated[str | None, typer.Option(help="Column of the vectors.")] = None,
    path_column: Annotated[str | None, typer.Option(help="Column that names the image.")] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder that the names of the images start from.")
    ] = None,
    logit_scale: Annotated[
        float | None,
        typer.Option(
            help="Factor from similarity to logits; known for BioCLIP, CLIP and models that are "
            "on this machine."
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="How a new store keeps vectors: float32 or float16.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of a text head in the store; by default the file's.")
    ] = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Bring vectors that another tool made into a store, or a text head into one that is there.

    Example: bioprobe store import vectors.parquet --store embeddings/copy --model sketch
    """
    from bioprobe.interchange import import_text_head, import_vectors, recognise_layout
    from bioprobe.store import EmbeddingStore

    if (layout or recognise_layout(source)) == "treeoflife":
        head = import_text_head(source, EmbeddingStore.open(store), model=model, name=name)
        say(
            f"{head.n_imported:,} texts as the head {head.name}, {head.n_left_out:,} without a "
            f"direction left out -> {store}; ask: bioprobe zeroshot --head {head.name}",
            quiet=quiet,
        )
        return
    summary = import_vectors(
        source, store, model=model, layout=layout, logit_scale=logit_scale, dtype=dtype,
        root=root, column=column, path_column=path_column,
    )  # fmt: skip
    _report_import(summary, quiet=quiet)


@app.command("export")
def export_command(
    target: Annotated[Path, typer.Argument(help="File or folder to write.")],
    layout: Layout = None,
    store: options.Store = options.DEFAULT_STORE,
    where: options.Where = None,
    level: options.Level = "species",
    taxa: options.Taxa = None,
    text_type: options.TextTypeName = "taxon_com",
    templates: options.Templates = "plain",
    model: options.Model = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Write the vectors of a store for another tool, with all that is known of the images.

    With --layout treeoflife the classes that zeroshot would ask for are written instead, as a
    text head; --level, --taxa, --text-type, --templates, --model and --device are for that.

    Example: bioprobe store export vectors.parquet --layout emb-explorer
    """
    from bioprobe.interchange import export_store
    from bioprobe.store import EmbeddingStore

    if layout is None:
        msg = f"say which layout to write: --layout {' | '.join(_LAYOUTS)}"
        raise typer.BadParameter(msg)
    if layout == "treeoflife":
        n_classes = _export_head(target, store, level, taxa, text_type, templates, model, device)
        say(f"{n_classes:,} classes -> {target}", quiet=quiet)
        return
    summary = export_store(EmbeddingStore.open(store), target, layout, condition=where)
    say(f"{summary.n_exported:,} vectors of dim {summary.dim} ({layout}) -> {target}", quiet=quiet)


def _report_repair(repair: Repair, store: Path) -> None:
    for problem in repair.problems:
        typer.echo(f"{problem.where}: {problem.what}")
    for file in repair.lost:
        typer.echo(f"lost: {file}")
    if repair.n_unlisted:
        typer.echo(f"lost: {repair.n_unlisted:,} images of a damaged image table")
    if repair.shards:
        say(
            f"{repair.n_lost:,} images in {len(repair.shards)} damaged shards taken out, which now "
            f"lie in {store / 'damaged'}; run bioprobe embed on the same sources again"
        )


def _report_import(summary: ImportSummary, *, quiet: bool) -> None:
    low, high = summary.norms
    was = "were unit" if summary.is_normalised else f"had norms {low:.3g} to {high:.3g}, now 1"
    say(
        f"{summary.n_imported:,} vectors of dim {summary.dim} ({summary.layout}; they {was}), "
        f"{summary.n_unlabelled:,} without a label, {summary.n_failed:,} failed -> {summary.store}",
        quiet=quiet,
    )
    if summary.left_out:
        say(
            f"columns that a table of images cannot hold: {', '.join(summary.left_out)}",
            quiet=quiet,
        )
    if summary.logit_scale == 1:
        say(
            "the logit scale is not known, so probabilities are flat: give --logit-scale",
            quiet=quiet,
        )
    if summary.n_failed:
        say(f"What failed and why: {summary.store / 'failures.parquet'}, or bioprobe store info")


def _export_head(
    target: Path, store: Path, level: str, taxa: str | None, text_type: str, templates: str,
    model: str | None, device: str,
) -> int:  # fmt: skip
    from bioprobe.cli.loading import open_with_texts
    from bioprobe.interchange.treeoflife import export_text_head
    from bioprobe.prompts import PromptSet, TextType, read_templates
    from bioprobe.taxonomy import Rank
    from bioprobe.zeroshot.candidates import find_candidates

    opened, texts = open_with_texts(store, model, device)
    classes = find_candidates(opened, taxa, Rank.parse(level))
    prompts = PromptSet(classes, TextType.parse(text_type), read_templates(templates))
    export_text_head(target, classes, prompts.embed(texts.encode_text))
    return len(classes)
