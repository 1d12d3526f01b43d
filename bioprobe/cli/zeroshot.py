"""``bioprobe zeroshot``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    from bioprobe.classify import Predictions
    from bioprobe.prompts import PromptSet


def zeroshot(
    store: options.Store = options.DEFAULT_STORE,
    level: options.Level = "species",
    taxa: options.Taxa = None,
    text_type: options.TextTypeName = "taxon_com",
    templates: options.Templates = "plain",
    k: options.NumberOfAnswers = 5,
    where: options.Where = None,
    model: options.Model = None,
    device: options.Device = "auto",
    output: options.Output = "-",
    file_format: options.Format = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 - read by the program's outermost frame
) -> None:
    """Label images by text prompts, at any rank.

    Example: bioprobe zeroshot --level family --output families.csv
    """
    from bioprobe.classify import zeroshot as label_images
    from bioprobe.classify.candidates import find_candidates
    from bioprobe.prompts import PromptSet, TextType, read_templates
    from bioprobe.taxonomy import Rank

    opened, texts = open_with_texts(store, model, device)
    rank = Rank.parse(level)
    classes = find_candidates(opened, taxa, rank)
    prompts = PromptSet(classes, TextType.parse(text_type), read_templates(templates))
    predictions = label_images(opened, prompts, texts.encode_text, rank=rank, k=k, condition=where)
    if not quiet:
        _summarise(predictions, prompts)
    write_frame(
        predictions.to_frame(),
        output,
        file_format,
        provenance=predictions.provenance.to_dict(),
        quiet=quiet,
    )


def _summarise(predictions: Predictions, prompts: PromptSet) -> None:
    from bioprobe.classify import measure_accuracy

    n_classes = len(predictions.classes)
    say(
        f"images: {len(predictions):,}; classes at {predictions.rank.value}: {n_classes:,}; "
        f"text type: {prompts.text_type.value}; templates: {len(prompts.templates)}"
    )
    if n_classes == 1:
        say("there is only one class, so every image gets it; give more with --taxa")
    if prompts.unnamed:
        say(f"{len(prompts.unnamed)} classes have no common name: their scientific name is used")
    measured = measure_accuracy(predictions)
    if measured:
        figures = ", ".join(str(accuracy) for accuracy in measured)
        say(f"against the labels of {measured[0].n_images:,} images: {figures} (95% interval)")
