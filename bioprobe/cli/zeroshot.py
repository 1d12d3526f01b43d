"""``bioprobe zeroshot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts, use_mask
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    from bioprobe.classify import Predictions
    from bioprobe.classify.pooling import Pool
    from bioprobe.prompts import PromptSet
    from bioprobe.taxonomy import Rank

_POOLS = ("max", "mean", "sum")


def zeroshot(
    store: options.Store = options.DEFAULT_STORE,
    level: options.Level = "species",
    taxa: options.Taxa = None,
    text_type: options.TextTypeName = "taxon_com",
    templates: options.Templates = "plain",
    head: Annotated[
        str | None,
        typer.Option(
            help="Text head in the store (see: bioprobe store import) to take text embeddings "
            "from, instead of --text-type and --templates. Its taxa are the classes unless --taxa "
            "says otherwise; no model is loaded."
        ),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            help="How several texts of a class become one score: max (the best text), mean (their "
            "mean embedding; default), sum (of their probabilities; default of a head).",
            autocompletion=lambda incomplete: [n for n in _POOLS if n.startswith(incomplete)],
        ),
    ] = None,
    k: options.NumberOfAnswers = 5,
    where: options.Where = None,
    mask: options.Mask = None,
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
    from bioprobe.classify.pooling import Pool
    from bioprobe.taxonomy import Rank

    rank, chosen = Rank.parse(level), Pool.parse(pool or ("sum" if head else "mean"))
    if head is not None:
        predictions = _ask_head(
            store, head, rank, taxa, k=k, where=where, mask=mask, pool=chosen, quiet=quiet
        )
    else:
        predictions = _ask_texts(
            store, rank, taxa, text_type, templates, k=k, where=where, mask=mask,
            pool=chosen, model=model, device=device, quiet=quiet,
        )  # fmt: skip
    if not quiet:
        _report_accuracy(predictions)
    write_frame(
        predictions.to_frame(),
        output,
        file_format,
        provenance=predictions.provenance.to_dict(),
        quiet=quiet,
    )


def _ask_texts(
    store: Path, rank: Rank, taxa: str | None, text_type: str, templates: str, *, k: int,
    where: str | None, mask: str | None, pool: Pool, model: str | None, device: str, quiet: bool,
) -> Predictions:  # fmt: skip
    from bioprobe.classify import zeroshot as label_images
    from bioprobe.classify.candidates import find_candidates
    from bioprobe.prompts import PromptSet, TextType, read_templates

    opened, texts = open_with_texts(store, model, device)
    classes = find_candidates(opened, taxa, rank)
    prompts = PromptSet(classes, TextType.parse(text_type), read_templates(templates))
    predictions = label_images(
        use_mask(opened, mask, quiet=quiet),
        prompts,
        texts.encode_text,
        rank=rank,
        k=k,
        condition=where,
        pool=pool,
    )
    if not quiet:
        _summarise(predictions, prompts)
    return predictions


def _ask_head(
    store: Path, name: str, rank: Rank, taxa: str | None, *, k: int, where: str | None,
    mask: str | None, pool: Pool, quiet: bool,
) -> Predictions:  # fmt: skip
    from bioprobe.classify.candidates import find_candidates
    from bioprobe.classify.head_classes import find_head_classes, zeroshot_by_head
    from bioprobe.classify.text_head import read_head
    from bioprobe.store import EmbeddingStore

    opened = EmbeddingStore.open(store)
    head = read_head(opened, name)
    classes = find_head_classes(head, rank, find_candidates(opened, taxa, rank) if taxa else None)
    predictions = zeroshot_by_head(
        use_mask(opened, mask, quiet=quiet),
        head,
        classes,
        rank=rank,
        k=k,
        condition=where,
        pool=pool,
    )
    say(
        f"images: {len(predictions):,}; classes at {rank.value}: {len(classes.taxa):,}; texts of "
        f"the head {name}: {len(classes.rows):,}; pool: {pool.value}",
        quiet=quiet,
    )
    if classes.left_out:
        names = ", ".join(taxon.name for taxon in classes.left_out[:5])
        say(
            f"the head has no text for {len(classes.left_out)} classes, such as {names}",
            quiet=quiet,
        )
    return predictions


def _summarise(predictions: Predictions, prompts: PromptSet) -> None:
    n_classes = len(predictions.classes)
    say(
        f"images: {len(predictions):,}; classes at {predictions.rank.value}: {n_classes:,}; "
        f"text type: {prompts.text_type.value}; templates: {len(prompts.templates)}"
    )
    if n_classes == 1:
        say("there is only one class, so every image gets it; give more with --taxa")
    if prompts.unnamed:
        say(f"{len(prompts.unnamed)} classes have no common name: their scientific name is used")


def _report_accuracy(predictions: Predictions) -> None:
    from bioprobe.classify import measure_accuracy

    measured = measure_accuracy(predictions)
    if measured:
        figures = ", ".join(str(accuracy) for accuracy in measured)
        say(f"against the labels of {measured[0].n_images:,} images: {figures} (95% interval)")
