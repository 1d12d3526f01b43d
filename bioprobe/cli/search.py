"""``bioprobe search``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts, use_mask
from bioprobe.cli.output import write_frame


def search(
    image: Annotated[
        list[Path] | None, typer.Option(help="Picture to look for; may be given several times.")
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="Text to look for; may be given several times.")
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    k: options.NumberOfAnswers = 10,
    where: options.Where = None,
    mask: options.Mask = None,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Find the images nearest to a picture, a text, or both together.

    Example: bioprobe search --image leopard.jpg --text "a spotted cat on snow" -k 10
    """
    import numpy as np

    from bioprobe.index import embed_query_image
    from bioprobe.index import search as find_neighbors

    opened, texts = open_with_texts(store, model, device)
    parts = [embed_query_image(opened, texts, file) for file in image or []]
    parts.append(texts.encode_text(text or []))
    asked = use_mask(opened, mask, quiet=quiet)
    found = find_neighbors(asked, np.concatenate(parts), k=k, condition=where)
    write_frame(found.to_frame(), output, file_format, quiet=quiet)
