"""``bioprobe embed``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.output import say
from bioprobe.cli.progress import count_images

if TYPE_CHECKING:
    from bioprobe.taxonomy import Rank

# That of bioprobe.images, which the command line does not import to show its help.
MAX_PIXELS_PX = 178_956_970


def embed(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Folders; image files; CSV, TSV or Parquet tables that name files; - for a list "
            "of paths on standard input; folders of save_to_disk and Parquet files that hold "
            "pictures; dataset:ORG/NAME[@REVISION][#SPLIT] on the Hugging Face hub."
        ),
    ],
    store: options.Store = options.DEFAULT_STORE,
    model: options.Model = None,
    device: options.Device = "auto",
    precision: options.Precision = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images that the encoder sees at once; by default by device."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads that read and decode; by default one a core."),
    ] = None,
    decoding: Annotated[
        str | None,
        typer.Option(
            help="fast: large JPEGs are decoded at a fraction of their size, at least twice what "
            "the model sees. exact: whole, as the model's own library does. By default as the "
            "store was begun, a new one fast."
        ),
    ] = None,
    max_pixels: Annotated[
        int,
        typer.Option(min=1, help="Images of more pixels fail before they fill the memory."),
    ] = MAX_PIXELS_PX,
    dtype: Annotated[
        str | None,
        typer.Option(help="How a new store keeps vectors: float32, or float16 for half the space."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the paths of a table or list start from; by default the table's own, "
            "for a list the current one."
        ),
    ] = None,
    path_column: Annotated[
        str | None,
        typer.Option(
            help="Column of a table that names the file; in a data set, the column of pictures."
        ),
    ] = None,
    rank_column: Annotated[
        list[str] | None,
        typer.Option(
            help="RANK=COLUMN: a column of a table that holds a rank under another name. RANK=: "
            "no column holds it; one of that name is kept as source_RANK."
        ),
    ] = None,
    folder_rank: Annotated[
        str | None, typer.Option(help="Rank of which the name of an image's folder is the label.")
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Retire rows whose file is gone from the folders that the sources start from, or "
            "whose row is gone from a data set.",
        ),
    ] = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Turn images into vectors in a store; only what is new is encoded.

    Example: bioprobe embed photos/ --model bioclip-2 --folder-rank species
    """
    from bioprobe.embedding import embed_images, load_encoder_for, open_on_demand
    from bioprobe.sources.source import SourceOptions, find_images

    source_options = SourceOptions(
        root, path_column, _parse_rank_columns(rank_column), _parse_rank(folder_rank)
    )
    table = find_images(sources, source_options)
    load = functools.partial(
        load_encoder_for,
        store,
        model=model,
        device=device,
        precision=precision,
        batch_size=batch_size,
        decoding=decoding,
    )
    opened, encoder = open_on_demand(store, load, model=model, dtype=dtype)
    with count_images(len(table), quiet=quiet) as advance:
        summary = embed_images(
            table, encoder, opened, n_threads=threads, max_pixels_px=max_pixels, advance=advance,
            prune=prune,
        )  # fmt: skip
    say(
        f"{summary.n_embedded:,} embedded, {summary.n_reused:,} reused, {summary.n_kept:,} already "
        f"there, {summary.n_failed:,} failed in {summary.seconds_s:.1f} s "
        f"({summary.images_per_s:.1f} images/s) -> {store}",
        quiet=quiet,
    )
    if prune:
        say(f"{summary.n_pruned:,} rows retired whose file is gone", quiet=quiet)
    if summary.n_out_of_reach:
        say(
            f"{summary.n_out_of_reach:,} files lie in folders that are missing, empty or "
            "forbidden; their rows stay. Mount the disk, or remove the empty folders"
        )
    if summary.n_failed:
        say(f"What failed and why: {store / 'failures.parquet'}, or bioprobe store info")
    if summary.n_failed == summary.n_images:
        raise typer.Exit(1)


def _parse_rank(text: str | None) -> Rank | None:
    from bioprobe.taxonomy import Rank

    return None if text is None else Rank.parse(text)


def _parse_rank_columns(texts: list[str] | None) -> dict[Rank, str]:
    from bioprobe.taxonomy import Rank

    columns = {}
    for text in texts or []:
        rank, equals, column = text.partition("=")
        if not equals:
            msg = (
                f"--rank-column is RANK=COLUMN, such as species=label, or RANK= where no column "
                f"holds the rank; got {text!r}"
            )
            raise typer.BadParameter(msg)
        columns[Rank.parse(rank)] = column
    return columns
