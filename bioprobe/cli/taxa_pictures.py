"""What ``bioprobe taxa`` asks the library of texts and pictures of added taxa."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.cli.loading import open_with_texts
from bioprobe.cli.output import say

if TYPE_CHECKING:
    from bioprobe.store.added_taxa import AddedList
    from bioprobe.taxonomy import Taxon
    from bioprobe.zeroshot.blending import Blend


def add_pictures(
    store: Path, taxon: Taxon, images: Sequence[Path], taxa: str | None, text_type: str,
    templates: str, model: str | None, device: str, *, no_text: bool,
) -> Blend:  # fmt: skip
    """Add a taxon with example pictures."""
    from bioprobe.prompts import PromptSet, TextType, read_templates
    from bioprobe.taxonomy import Taxonomy
    from bioprobe.zeroshot.added_taxa import add_pictured
    from bioprobe.zeroshot.blending import WEIGHT_FRACTIONS
    from bioprobe.zeroshot.candidates import find_known_taxa
    from bioprobe.zeroshot.examples import embed_examples

    opened, texts = open_with_texts(store, model, device)
    known = find_known_taxa(opened, taxa).at(taxon.rank)
    classes = Taxonomy.merge((taxon, *known))
    prompts = PromptSet(classes, TextType.parse(text_type), read_templates(templates))
    pictures = embed_examples(opened, texts, images)
    weights = (1.0,) if no_text else WEIGHT_FRACTIONS
    return add_pictured(
        opened, taxon, pictures, prompts, texts.encode_text, weight_fractions=weights
    )


def report_blend(blend: Blend, *, quiet: bool) -> None:
    """Say what was chosen, how, and what it does to the other classes."""
    said = [
        f"pictures count {blend.weight_fraction:g}, its text {1 - blend.weight_fraction:g}; "
        f"{blend.offset:.3f} subtracted from its logit ({blend.rule})"
    ]
    if blend.own is not None:
        said.append(f"of {blend.own.n_images:,} images of it, {blend.own.fraction:.3f} go to it")
    if blend.others_before is not None and blend.others_after is not None:
        said.append(
            f"of {blend.others_before.n_images:,} labelled images of other classes, "
            f"{blend.others_before.fraction:.3f} were right before, "
            f"{blend.others_after.fraction:.3f} are now"
        )
    for line in said:
        say(line, quiet=quiet)


def write_added(
    target: Path, store: Path, only: AddedList | None, text_type: str, templates: str,
    model: str | None, device: str,
) -> int:  # fmt: skip
    """Write added taxa as a CSV or a text head, and return how many there are."""
    from bioprobe.errors import SourceError
    from bioprobe.interchange.treeoflife import export_text_head
    from bioprobe.prompts import PromptSet, TextType, read_templates
    from bioprobe.taxonomy.lists import write_taxonomy
    from bioprobe.zeroshot.added_taxa import find_added_taxa

    if target.suffix not in {".csv", ".npy"}:
        msg = f"added taxa are written as .csv or .npy, got {target}; name it so"
        raise SourceError(msg)
    opened, texts = open_with_texts(store, model, device)
    taxa = only.read() if only is not None else find_added_taxa(opened)
    if not len(taxa):
        msg = f"no taxon was added to {store}; add one with: bioprobe taxa add"
        raise SourceError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".csv":
        write_taxonomy(target, taxa)
    else:
        prompts = PromptSet(taxa, TextType.parse(text_type), read_templates(templates))
        export_text_head(target, taxa, prompts.embed(texts.encode_text))
    return len(taxa)
