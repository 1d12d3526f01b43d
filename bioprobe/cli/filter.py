"""``bioprobe filter``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts, view_images
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    from bioprobe.quality.noise import NoiseFilter
    from bioprobe.taxonomy import Rank


def filter_images(
    keep: Annotated[
        str, typer.Option(help="What is kept: animal, plant, or a .toml file of noise prompts.")
    ] = "animal",
    store: options.Store = options.DEFAULT_STORE,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Column that says of some images whether they are kept (animal or 1) or not (not "
            "animal or 0). The threshold is chosen on them; from 50 on, they replace the texts."
        ),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Least share of the labelled images to keep. Default: best F1."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Log-odds from which an image is kept. Default: by labels, else 0."),
    ] = None,
    level: options.Level = "family",
    taxa: Annotated[
        str | None,
        typer.Option(
            help="Taxon list (as for zeroshot): an image without a label is also kept by the best "
            "text of any of its classes."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write what is dropped as a page of pictures.")
    ] = None,
    html_by: Annotated[
        str, typer.Option(help="What the page is grouped by: reason, or class (at --level).")
    ] = "reason",
    seed: Annotated[int, typer.Option(help="Seed of the folds that measure the filter.")] = 0,
    where: options.Where = None,
    mask: options.Mask = None,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Tell pictures of animals from others, and keep a mask of them; nothing is deleted.

    Example: bioprobe filter --keep animal --output animals.csv --html dropped.html
    """
    from bioprobe.quality.noise import filter_noise, read_noise_prompts
    from bioprobe.taxonomy import Rank
    from bioprobe.taxonomy.lists import read_taxonomy

    if html_by not in {"reason", "class"}:
        msg = f"--html-by is reason or class, got {html_by!r}"
        raise typer.BadParameter(msg)
    rank, prompts = Rank.parse(level), read_noise_prompts(keep)
    listed = read_taxonomy(taxa).at(rank) if taxa else None
    opened, texts = open_with_texts(store, model, device)
    found = filter_noise(
        view_images(opened, where, mask, quiet=quiet), prompts, texts.encode_text, labels=labels,
        threshold=threshold, recall=recall, seed=seed,
        taxa=listed,
    )  # fmt: skip
    found.write(opened)
    if html is not None:
        from bioprobe.cli.filter_sheet import write_filter_sheet

        say(
            f"wrote {write_filter_sheet(html, found, html_by, rank):,} pictures to {html}",
            quiet=quiet,
        )
    if not quiet:
        _summarise(found, rank)
    write_frame(
        found.to_frame(), output, file_format, provenance=found.provenance.to_dict(), quiet=quiet
    )


def _summarise(found: NoiseFilter, rank: Rank) -> None:
    n_dropped = int((~found.kept).sum())
    say(
        f"images: {len(found.rows):,}; dropped: {n_dropped:,} ({n_dropped / len(found.rows):.1%}); "
        f"by {found.method}, threshold {found.threshold:.3g}; use it with: "
        f"--mask filters/{found.name}"
    )
    if found.quality:
        q = found.quality
        say(
            f"on {q.n_labels} labelled images, each by what was learnt from others: AUROC "
            f"{q.auroc:.3f}; dropping: precision {q.precision_fraction:.3f}, recall "
            f"{q.recall_fraction:.3f}, F1 {q.f1_fraction:.3f}; kept of those to keep: "
            f"{q.kept_fraction:.3f}"
        )
    rates = found.count_drops(rank)
    for row in rates[rates["dropped_fraction"] > 0].head(10).to_dict("records"):
        warning = "  WARNING: over three times the overall rate" if row["suspicious"] else ""
        name = row["class"] or f"(no {rank.value})"
        say(f"  {name}: {row['dropped_fraction']:.1%} of {row['n_images']:,} dropped{warning}")
