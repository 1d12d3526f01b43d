"""``bioprobe taxa check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    from bioprobe.store import EmbeddingStore
    from bioprobe.taxonomy import Taxon
    from bioprobe.zeroshot.likeness import Neighbours

_COLUMNS = ("by", "name", "common_name", "similarity")


def check(
    name: Annotated[str, typer.Argument(help="Scientific name, known here or not.")],
    common: Annotated[str, typer.Option(help="Common name.")] = "",
    lineage: Annotated[
        str, typer.Option(help="Names from kingdom down, separated by commas; leave holes empty.")
    ] = "",
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Picture of it, or a folder of them; may be given more than once. By default "
            "those it was added with, or the images that are labelled with it."
        ),
    ] = None,
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
    """Show the classes nearest to a taxon by text and by image; warn of confusion.

    Example: bioprobe taxa check "Panthera uncia" --common "snow leopard"
    """
    import pandas as pd

    from bioprobe.prompts import PromptSet, TextType, read_templates
    from bioprobe.zeroshot.candidates import find_candidates
    from bioprobe.zeroshot.examples import embed_examples
    from bioprobe.zeroshot.likeness import find_neighbours, find_neighbours_by_image

    opened, texts = open_with_texts(store, model, device)
    taxon = _find_taxon(opened, taxa, name, common, lineage)
    classes = find_candidates(opened, taxa, taxon.rank)
    pictures = embed_examples(opened, texts, images)[0] if images else None
    found = {"image": find_neighbours_by_image(taxon, opened, classes, pictures=pictures, k=k)}
    if opened.manifest.has_text_tower:
        prompts = PromptSet(classes, TextType.parse(text_type), read_templates(templates))
        found = {"text": find_neighbours(taxon, prompts, texts.encode_text, k=k), **found}
    rows = [
        (by, one.name, one.common_name, float(similarity))
        for by, near in found.items()
        if near is not None
        for one, similarity in zip(near.taxa, near.similarities, strict=True)
    ]
    for by, near in found.items():
        _warn(taxon, by, near, quiet=quiet)
    write_frame(pd.DataFrame(rows, columns=list(_COLUMNS)), output, file_format, quiet=quiet)


def _find_taxon(
    store: EmbeddingStore, taxa: str | None, name: str, common: str, lineage: str
) -> Taxon:
    from bioprobe.taxonomy.taxon import complete_taxon
    from bioprobe.zeroshot.candidates import find_known_taxa

    known = find_known_taxa(store, taxa).find(name) if not (common or lineage) else None
    return known or complete_taxon(name, lineage, common_name=common)


def _warn(taxon: Taxon, by: str, near: Neighbours | None, *, quiet: bool) -> None:
    if near is None:
        say(
            f"no images of {taxon.name} and of other classes to compare: give --images, and label "
            "images of the others",
            quiet=quiet,
        )
    elif near.is_confusing:
        remedy = "--prompt" if by == "text" else "--images of what tells them apart"
        say(
            f"warning: {taxon.name} will be confused with {near.taxa[0].name}: their {by}s have "
            f"similarity {near.similarities[0]:.3f}, nine in ten classes stay below "
            f"{near.usual:.3f} with their nearest; describe it with: bioprobe taxa add {remedy}",
            quiet=quiet,
        )
