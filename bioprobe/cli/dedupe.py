"""``bioprobe dedupe``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import view_images
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    from bioprobe.quality import Duplicates


def dedupe(
    store: options.Store = options.DEFAULT_STORE,
    threshold: Annotated[
        float,
        typer.Option(min=-1, max=1, help="Cosine similarity from which two images are the same."),
    ] = 0.95,
    confirm: Annotated[
        bool,
        typer.Option(
            help="Whether near images must also look alike by a hash of their picture files, as "
            "far as these can be read."
        ),
    ] = True,
    where: options.Where = None,
    mask: options.Mask = None,
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Find duplicate images, and keep a mask without them: filters/duplicates.

    Of each group the largest picture is kept; nothing is deleted.

    Example: bioprobe dedupe --threshold 0.97 --output duplicates.csv
    """
    from bioprobe.quality import find_duplicates
    from bioprobe.store import EmbeddingStore

    opened = EmbeddingStore.open(store)
    asked = view_images(opened, where, mask, quiet=quiet)
    found = find_duplicates(asked, threshold=threshold, confirm=confirm)
    found.write(opened)
    _summarise(found, quiet=quiet)
    write_frame(
        found.to_frame(),
        output,
        file_format,
        provenance=found.provenance.to_dict(),
        quiet=quiet,
    )


def _summarise(found: Duplicates, *, quiet: bool) -> None:
    from bioprobe.store.selections import DUPLICATES_MASK

    n_dropped = int((~found.kept).sum())
    say(
        f"images: {len(found.rows):,}; groups of duplicates: {found.n_groups:,}; copies of an "
        f"image that is kept: {n_dropped:,} ({found.duplicate_fraction:.1%})",
        quiet=quiet,
    )
    if found.n_unread:
        say(
            f"{found.n_unread:,} near images could not be read to compare the pictures: their "
            "vectors alone decided",
            quiet=quiet,
        )
    say(f"kept as a mask; use it with: --mask {DUPLICATES_MASK}", quiet=quiet)
