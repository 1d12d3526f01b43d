"""``bioprobe zeroshot``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bioprobe.cli import options
from bioprobe.cli.loading import open_with_texts, use_mask
from bioprobe.cli.output import say, write_frame

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from bioprobe.classify import Predictions
    from bioprobe.classify.abstention import BackedOff
    from bioprobe.prompts import PromptSet
    from bioprobe.provenance import Provenance
    from bioprobe.store import EmbeddingStore
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
    roll_up: Annotated[
        bool,
        typer.Option(
            "--roll-up",
            help="Score the lowest taxa of the list and sum their probabilities up the tree, "
            "instead of naming the classes of the rank.",
        ),
    ] = False,
    within: Annotated[
        str | None,
        typer.Option(
            help="Only candidates that are this taxon or lie below it: a name at any rank, or a "
            "taxon list (file)."
        ),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            help="Answer at the deepest rank whose summed probability reaches this (0 to 1), not "
            "below --level; one row an image, with the score at each rank and the reason."
        ),
    ] = None,
    open_set: Annotated[
        bool,
        typer.Option(
            "--open-set",
            help="Add columns that say how little an image is like any class: unknown_max_softmax, "
            "unknown_energy, unknown_distance.",
        ),
    ] = False,
    synonyms: Annotated[
        str | None,
        typer.Option(
            help="Table with the columns synonym and accepted; candidates and labels take the "
            "accepted names."
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
    from bioprobe.taxonomy import Rank

    rank = Rank.parse(level)
    _refuse_misuse(head, pool, roll_up=roll_up, abstain=abstain, open_set=open_set)
    question = _Question(store, rank, taxa, within, _read_synonyms(synonyms), where, mask, k, quiet)
    if head is not None:
        frame, provenance = _ask_head(question, head, pool)
    else:
        frame, provenance = _ask_texts(
            question, text_type, templates, pool, model, device,
            roll_up=roll_up, abstain=abstain, open_set=open_set,
        )  # fmt: skip
    write_frame(frame, output, file_format, provenance=provenance.to_dict(), quiet=quiet)


@dataclasses.dataclass(frozen=True)
class _Question:
    """What is asked of which images, however it is answered."""

    store: Path
    rank: Rank
    taxa: str | None
    within: str | None
    synonyms: dict[str, str]
    where: str | None
    mask: str | None
    k: int
    quiet: bool


def _refuse_misuse(
    head: str | None, pool: str | None, *, roll_up: bool, abstain: float | None, open_set: bool
) -> None:
    if head is not None and (abstain is not None or open_set):
        msg = "--abstain and --open-set ask by text prompts; leave --head out"
        raise typer.BadParameter(msg)
    if abstain is not None and (open_set or roll_up):
        msg = "--abstain sums up the tree already, one row an image; leave --roll-up and --open-set"
        raise typer.BadParameter(msg)
    if pool is not None and (abstain is not None or (roll_up and (head is None or pool != "sum"))):
        msg = "--roll-up and --abstain sum probabilities; leave --pool out"
        raise typer.BadParameter(msg)


def _read_synonyms(path: str | None) -> dict[str, str]:
    from bioprobe.taxonomy.synonyms import read_synonyms

    return read_synonyms(path) if path else {}


def _ask_texts(
    question: _Question, text_type: str, templates: str, pool: str | None, model: str | None,
    device: str, *, roll_up: bool, abstain: float | None, open_set: bool,
) -> tuple[pd.DataFrame, Provenance]:  # fmt: skip
    from bioprobe.classify.abstention import back_off
    from bioprobe.classify.candidates import find_candidates, find_known_taxa
    from bioprobe.classify.pooling import Pool
    from bioprobe.classify.zeroshot import zeroshot as label_images
    from bioprobe.classify.zeroshot import zeroshot_rolled_up
    from bioprobe.prompts import PromptSet, TextType, read_templates

    rank, where = question.rank, question.where
    opened, texts = open_with_texts(question.store, model, device)
    find = {"within": question.within, "synonyms": question.synonyms}
    candidates = find_candidates(opened, question.taxa, rank, **find)  # type: ignore[arg-type]
    if roll_up or abstain is not None:
        known = find_known_taxa(opened, question.taxa, **find)  # type: ignore[arg-type]
        candidates = known.leaves()
    prompts = PromptSet(candidates, TextType.parse(text_type), read_templates(templates))
    _warn_of_labels(question, opened)
    _warn_of_texts(question, prompts)
    asked = use_mask(opened, question.mask, quiet=question.quiet)
    if abstain is not None:
        backed_off = back_off(
            asked, prompts, texts.encode_text, threshold=abstain, rank=rank, condition=where
        )
        backed_off = _rename_labels(question, backed_off)
        _report_depths(question, backed_off)
        return backed_off.to_frame(), backed_off.provenance
    if roll_up:
        predictions = zeroshot_rolled_up(
            asked, prompts, texts.encode_text, rank=rank, k=question.k, condition=where
        )
    else:
        predictions = label_images(
            asked, prompts, texts.encode_text, rank=rank, k=question.k, condition=where,
            pool=Pool.parse(pool or "mean"),
        )  # fmt: skip
    predictions = _rename_labels(question, predictions)
    if not question.quiet:
        _summarise(predictions, prompts)
    _report_accuracy(question, predictions)
    frame = predictions.to_frame()
    if open_set:
        unknown = _measure_unknown(question, asked, predictions, prompts.embed(texts.encode_text))
        frame = frame.assign(
            **{name: scores.repeat(len(frame) // len(scores)) for name, scores in unknown.items()}
        )
    return frame, predictions.provenance


def _ask_head(question: _Question, name: str, pool: str | None) -> tuple[pd.DataFrame, Provenance]:
    from bioprobe.classify.candidates import find_candidates, find_parents
    from bioprobe.classify.head_classes import find_head_classes, zeroshot_by_head
    from bioprobe.classify.pooling import Pool
    from bioprobe.classify.text_head import read_head
    from bioprobe.store import EmbeddingStore

    rank, quiet, chosen = question.rank, question.quiet, Pool.parse(pool or "sum")
    opened = EmbeddingStore.open(question.store)
    head = read_head(opened, name)
    wanted = None
    if question.taxa:
        wanted = find_candidates(
            opened, question.taxa, rank, within=question.within, synonyms=question.synonyms
        )
    classes = find_head_classes(head, rank, wanted)
    if question.within and wanted is None:
        parents = find_parents(classes.taxa, question.within)
        classes = find_head_classes(head, rank, classes.taxa.below(parents))
    asked = use_mask(opened, question.mask, quiet=quiet)
    predictions = zeroshot_by_head(
        asked, head, classes, rank=rank, k=question.k, condition=question.where, pool=chosen
    )
    predictions = _rename_labels(question, predictions)
    say(
        f"images: {len(predictions):,}; classes at {rank.value}: {len(classes.taxa):,}; texts of "
        f"the head {name}: {len(classes.rows):,}; pool: {chosen.value}",
        quiet=quiet,
    )
    if classes.left_out:
        names = ", ".join(taxon.name for taxon in classes.left_out[:5])
        say(
            f"the head has no text for {len(classes.left_out)} classes, such as {names}",
            quiet=quiet,
        )
    _report_accuracy(question, predictions)
    return predictions.to_frame(), predictions.provenance


_Answers = TypeVar("_Answers", "Predictions", "BackedOff")


def _rename_labels(question: _Question, answers: _Answers) -> _Answers:
    from bioprobe.classify.candidates import accept_label_names

    if not question.synonyms:
        return answers
    images = accept_label_names(answers.images, question.synonyms)
    return dataclasses.replace(answers, images=images)


def _warn_of_labels(question: _Question, store: EmbeddingStore) -> None:
    from bioprobe.classify.candidates import find_label_contradictions

    found = [] if question.quiet else find_label_contradictions(store)
    for one in found[:3]:
        say(f"warning: in the labels, {one.describe()}")
    if len(found) > 3:
        say(f"warning: the labels contradict each other in {len(found) - 3} more names")


def _warn_of_texts(question: _Question, prompts: PromptSet) -> None:
    from bioprobe.classify.likeness import find_same_texts

    for group in find_same_texts(prompts)[:3]:
        names = ", ".join(taxon.name for taxon in group)
        say(
            f"warning: {len(group)} classes have the same text and cannot be told apart, the first "
            f"of the list is answered: {names}",
            quiet=question.quiet,
        )


def _report_depths(question: _Question, answers: BackedOff) -> None:
    n_images = len(answers)
    named = [
        f"{rank} {int((answers.depths == depth).sum()):,}"
        for depth, rank in enumerate(options.RANK_NAMES)
        if (answers.depths == depth).any()
    ]
    n_none = int((answers.depths < 0).sum())
    say(
        f"images: {n_images:,}; answered at: {', '.join(named) or 'no rank'}; no answer: "
        f"{n_none:,}",
        quiet=question.quiet,
    )
    labels = answers.images.frame[list(options.RANK_NAMES)].iloc[answers.rows]
    labelled = (labels != "").any(axis=1).to_numpy() & (answers.depths >= 0)
    if labelled.any():
        fraction = answers.is_right[labelled].mean()
        say(
            f"of {int(labelled.sum()):,} answers to labelled images, {fraction:.3f} are the label "
            "or above it",
            quiet=question.quiet,
        )


def _measure_unknown(
    question: _Question,
    store: EmbeddingStore,
    predictions: Predictions,
    embeddings: npt.NDArray[np.float32],
) -> Mapping[str, npt.NDArray[np.float32]]:
    from bioprobe.classify.unknown import find_unknown, measure_auroc, measure_unknown

    columns = measure_unknown(store, predictions, embeddings).to_columns()
    labelled, is_unknown = find_unknown(predictions)
    if is_unknown.any() and not is_unknown.all():
        figures = ", ".join(
            f"{name} {measure_auroc(scores[labelled], is_unknown):.3f}"
            for name, scores in columns.items()
        )
        say(
            f"{int(is_unknown.sum()):,} of {len(labelled):,} labelled images are of no candidate; "
            f"AUROC: {figures}",
            quiet=question.quiet,
        )
    else:
        say("no AUROC: labelled images both of candidates and of others are needed for it",
            quiet=question.quiet)  # fmt: skip
    return columns


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


def _report_accuracy(question: _Question, predictions: Predictions) -> None:
    from bioprobe.classify import measure_accuracy
    from bioprobe.classify.likeness import count_ties

    measured = [] if question.quiet else measure_accuracy(predictions)
    if measured:
        figures = ", ".join(str(accuracy) for accuracy in measured)
        say(f"against the labels of {measured[0].n_images:,} images: {figures} (95% interval)")
    n_ties = count_ties(predictions)
    if n_ties:
        say(
            f"{n_ties:,} images have two classes of equal score first; the order of the list "
            "decides",
            quiet=question.quiet,
        )
