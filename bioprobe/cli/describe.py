"""``bioprobe describe``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import view_images
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    from bioprobe.quality.description import Description


def describe(
    level: Annotated[
        str | None,
        typer.Option(
            "--level", "--rank", "-l", help="List the classes at a rank instead of the ranks."
        ),
    ] = None,
    where: options.Where = None,
    mask: options.Mask = None,
    store: options.Store = options.DEFAULT_STORE,
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Describe the images before any learning: classes, imbalance, sizes, modes, copies, holes.

    Example: bioprobe describe --level family
    """
    from bioprobe.quality.description import describe_images
    from bioprobe.store import EmbeddingStore
    from bioprobe.taxonomy import Rank

    opened = EmbeddingStore.open(store)
    found = describe_images(view_images(opened, where, mask, quiet=quiet))
    if not quiet:
        _summarise(found)
    frame = found.to_frame() if level is None else found.at(Rank.parse(level)).to_frame()
    write_frame(frame, output, file_format, provenance=found.to_dict(), quiet=quiet)


def _summarise(found: Description) -> None:
    say(f"images: {found.n_images:,}; files that could not be read: {found.n_failures:,}")
    if found.n_unsized < found.n_images:
        for side, sizes in zip(("width", "height"), found.sizes_px, strict=True):
            least, low, median, high, most = (f"{size:,.0f}" for size in sizes)
            say(f"{side}: median {median} px, half in {low} to {high}, all in {least} to {most}")
    if found.modes:
        say("modes: " + ", ".join(f"{mode} {n:,}" for mode, n in found.modes.items()))
    near = "not looked for (bioprobe dedupe)" if found.n_near is None else f"{found.n_near:,}"
    say(f"copies of the same bytes: {found.n_copies:,}; of exact and near duplicates: {near}")
    if found.missing:
        say("without a value: " + ", ".join(f"{name} {n:,}" for name, n in found.missing.items()))
