"""What ``bioprobe zeroshot`` asks the library, by text prompts or by a text head."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from bioprobe.cli.loading import open_with_texts, view_images
from bioprobe.cli.zeroshot_report import (
    measure_unknown,
    report_accuracy,
    report_classes,
    report_depths,
    report_head,
    warn_of_labels,
    warn_of_texts,
)

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.prompts import PromptSet
    from bioprobe.provenance import Provenance
    from bioprobe.store import EmbeddingStore, TextCache
    from bioprobe.store.view import View
    from bioprobe.task.decisions import Decisions
    from bioprobe.task.predictions import Predictions
    from bioprobe.taxonomy import Rank, Taxonomy
    from bioprobe.zeroshot.seen_offset import SeenOffset


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of which images, however it is answered; the options of the same names."""

    store: Path
    rank: Rank
    taxa: str | None
    within: str | None
    synonyms: dict[str, str]
    where: str | None
    mask: str | None
    k: int
    quiet: bool


@dataclasses.dataclass(frozen=True)
class Way:
    """How text prompts answer it; the options of the same names."""

    text_type: str
    templates: str
    pool: str | None
    model: str | None
    device: str
    roll_up: bool
    abstain: float | None
    open_set: bool
    offset: str | None

    def refuse_misuse(self, head: str | None) -> None:
        """Refuse options that contradict each other.

        Raises
        ------
        BadParameter
            If two do.
        """
        sums = self.abstain is not None or (self.roll_up and (head is None or self.pool != "sum"))
        offered = self.abstain is not None or self.open_set or self.offset is not None
        if head is not None and offered:
            msg = "--abstain, --open-set and --offset ask by text prompts; leave --head out"
        elif self.abstain is not None and (self.open_set or self.roll_up):
            msg = (
                "--abstain sums up the tree already, one row an image; leave --roll-up and "
                "--open-set out"
            )
        elif self.pool is not None and sums:
            msg = "--roll-up and --abstain sum probabilities; leave --pool out"
        else:
            return
        raise typer.BadParameter(msg)


def ask_texts(question: Question, way: Way) -> tuple[pd.DataFrame, Provenance]:
    """Answer by text prompts, and say what is to be said of it."""
    from bioprobe.prompts import PromptSet, TextType, read_templates
    from bioprobe.zeroshot.class_embeddings import embed_classes

    quiet = question.quiet
    opened, texts = open_with_texts(question.store, way.model, way.device)
    candidates = _find_candidates(question, opened, lowest=way.roll_up or way.abstain is not None)
    prompts = PromptSet(candidates, TextType.parse(way.text_type), read_templates(way.templates))
    offset = _find_offset(opened, way.offset)
    warn_of_labels(opened, quiet=quiet)
    warn_of_texts(prompts, quiet=quiet)
    asked = view_images(opened, question.where, question.mask, quiet=quiet)
    if way.abstain is not None:
        backed_off = _back_off(question, way.abstain, asked, prompts, texts, offset)
        report_depths(backed_off, mask=question.mask, quiet=quiet)
        return backed_off.to_frame(), backed_off.provenance
    predictions = _predict(question, way, asked, prompts, texts, offset)
    report_classes(predictions, prompts, offset, quiet=quiet)
    report_accuracy(predictions, mask=question.mask, quiet=quiet)
    frame = predictions.to_frame()
    if way.open_set:
        embedded = embed_classes(opened, prompts, texts.encode_text, seen_offset=offset)
        columns = measure_unknown(opened, predictions, embedded, quiet=quiet)
        k = predictions.scores.shape[1]
        frame = frame.assign(**{name: scores.repeat(k) for name, scores in columns.items()})
    return frame, predictions.provenance


def ask_head(question: Question, name: str, pool: str | None) -> tuple[pd.DataFrame, Provenance]:
    """Answer by a text head of the store, and say what is to be said of it."""
    from bioprobe.store import EmbeddingStore
    from bioprobe.task.scores import Pool
    from bioprobe.zeroshot.candidates import find_candidates, find_parents
    from bioprobe.zeroshot.text_head import find_head_classes, read_head, zeroshot_by_head

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
    asked = view_images(opened, question.where, question.mask, quiet=quiet)
    predictions = zeroshot_by_head(asked, head, classes, rank=rank, k=question.k, pool=chosen)
    predictions = _rename_labels(question, predictions)
    report_head(predictions, classes, name, chosen.value, quiet=quiet)
    report_accuracy(predictions, mask=question.mask, quiet=quiet)
    return predictions.to_frame(), predictions.provenance


def _find_candidates(question: Question, store: EmbeddingStore, *, lowest: bool) -> Taxonomy:
    from bioprobe.zeroshot.candidates import find_candidates, find_known_taxa

    taxa, within, synonyms = question.taxa, question.within, question.synonyms
    candidates = find_candidates(store, taxa, question.rank, within=within, synonyms=synonyms)
    if not lowest:
        return candidates
    return find_known_taxa(store, taxa, within=within, synonyms=synonyms).leaves()


def _find_offset(store: EmbeddingStore, given: str | None) -> SeenOffset | None:
    from bioprobe.zeroshot.added_taxa import find_new_taxa
    from bioprobe.zeroshot.seen_offset import SeenOffset, read_offset

    if given is None:
        return None
    measured = read_offset(store)
    if given == "auto" and measured is None:
        msg = "nothing was measured: run bioprobe taxa measure, or give --offset a number"
        raise typer.BadParameter(msg)
    known = measured.new if measured else ()
    new = (*find_new_taxa(store), *known)
    if given == "auto" and measured is not None:
        return SeenOffset(measured.value, new)
    try:
        return SeenOffset(float(given), new)
    except ValueError:
        msg = f"--offset is auto or a number, got {given!r}"
        raise typer.BadParameter(msg) from None


def _predict(
    question: Question, way: Way, view: View, prompts: PromptSet, texts: TextCache,
    offset: SeenOffset | None,
) -> Predictions:  # fmt: skip
    from bioprobe.task.scores import Pool
    from bioprobe.zeroshot.zeroshot import zeroshot, zeroshot_rolled_up

    if way.roll_up:
        predictions = zeroshot_rolled_up(
            view, prompts, texts.encode_text, rank=question.rank, k=question.k,
            seen_offset=offset,
        )  # fmt: skip
    else:
        predictions = zeroshot(
            view, prompts, texts.encode_text, rank=question.rank, k=question.k,
            pool=Pool.parse(way.pool or "mean"), seen_offset=offset,
        )  # fmt: skip
    return _rename_labels(question, predictions)


def _back_off(
    question: Question, threshold: float, view: View, prompts: PromptSet,
    texts: TextCache, offset: SeenOffset | None,
) -> Decisions:  # fmt: skip
    from bioprobe.zeroshot.zeroshot import back_off

    answers = back_off(
        view, prompts, texts.encode_text, threshold=threshold, rank=question.rank,
        seen_offset=offset,
    )  # fmt: skip
    return _rename_labels(question, answers)


_Answers = TypeVar("_Answers", "Predictions", "Decisions")


def _rename_labels(question: Question, answers: _Answers) -> _Answers:
    from bioprobe.zeroshot.candidates import accept_label_names

    if not question.synonyms:
        return answers
    images = accept_label_names(answers.images, question.synonyms)
    return dataclasses.replace(answers, images=images)
