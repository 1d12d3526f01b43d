"""What is said of answers by text: of what they are, and how often they are right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bioprobe.options import RANK_NAMES
from bioprobe.result import WARNING, Note, Notes, count, name_some

if TYPE_CHECKING:
    from bioprobe.prompts import PromptSet
    from bioprobe.store import EmbeddingStore
    from bioprobe.task.decisions import Decisions
    from bioprobe.task.predictions import Predictions
    from bioprobe.types import Scores
    from bioprobe.zeroshot.seen_offset import SeenOffset
    from bioprobe.zeroshot.text_head import HeadClasses, TextHead

# Contradictions and same texts that are named one by one.
_SHOWN = 3


def describe_classes(
    answers: Predictions, prompts: PromptSet, offset: SeenOffset | None
) -> list[str]:
    """Say by which classes and texts images were answered, and what stands for some of them."""
    n_classes = len(answers.classes)
    said = [
        f"images: {len(answers):,}; classes at {answers.rank}: {n_classes:,}; "
        f"text type: {prompts.text_type.value}; templates: {len(prompts.templates)}"
    ]
    if n_classes == 1:
        said.append("there is only one class, so every image gets it; give more with --taxa")
    if prompts.unnamed:
        n_unnamed = count(len(prompts.unnamed), "class has", "classes have")
        said.append(f"{n_unnamed} no common name: the scientific one is used")
    pictured = answers.provenance.options["with_pictures"]
    if pictured:
        said.append(f"classes made of example pictures: {', '.join(pictured)}")
    if offset is not None:
        n_new = int(offset.find_new(prompts.taxa).sum())
        said.append(f"{offset.value:.3f} subtracted from the logits of all but {n_new} new classes")
    return said


def describe_head(head: TextHead) -> Notes:
    """Say where a text head comes from, where it is none of the store's, and what it lacks."""
    said = []
    if "weights_sha256" in head.about:
        said.append(Note(f"texts: {len(head):,}, {head.origin}"))
    n_left_out, named = head.about["n_left_out"], head.about["left_out"]
    if n_left_out:
        more = ", …" if n_left_out > len(named) else ""
        shown = f" ({', '.join(named)}{more})" if named else ""
        text = f"texts of the head that are empty or no numbers, left out: {n_left_out:,}{shown}"
        said.append(Note(text, WARNING))
    return tuple(said)


def describe_head_answers(
    answers: Predictions, classes: HeadClasses, head: TextHead, pool: str
) -> list[str]:
    """Say by which rows of a head images were answered, and which classes have none."""
    kind, kinds = ("text", "texts") if head.made_of is None else ("prototype", "image prototypes")
    said = [
        f"images: {len(answers):,}; classes at {answers.rank}: {len(classes.taxa):,}; {kinds} "
        f"of the head {head.name}: {len(classes.rows):,}; pool: {pool}"
    ]
    if classes.left_out:
        names = ", ".join(taxon.name for taxon in classes.left_out[:5])
        said.append(f"the head has no {kind} for {len(classes.left_out)} classes, such as {names}")
    return said


def tell_added(store: EmbeddingStore) -> Notes:
    """Say which added taxa do not stand beside a head of pictures."""
    from bioprobe.store.added_taxa import find_added_taxa

    added = find_added_taxa(store)
    if not len(added):
        return ()
    names = name_some(taxon.name for taxon in added.taxa)
    text = (
        f"added taxa are asked by text, and do not stand among pictures alone: {names}; with "
        "--prototypes in place of --head they do"
    )
    return (Note(text),)


def warn_of_labels(store: EmbeddingStore) -> list[Note]:
    """Warn of names that the labels place differently."""
    found = store.label_contradictions
    said = [f"warning: in the labels, {one.describe()}" for one in found[:_SHOWN]]
    if len(found) > _SHOWN:
        n_more = len(found) - _SHOWN
        said.append(f"warning: the labels contradict each other in {n_more} more names")
    return [Note(text, WARNING) for text in said]


def warn_of_texts(prompts: PromptSet) -> list[Note]:
    """Warn of classes that cannot be told apart, as their texts are the same."""
    from bioprobe.zeroshot.likeness import find_same_texts

    return [
        Note(
            f"warning: {len(group)} classes have the same text and cannot be told apart, the first "
            f"of the list is answered: {', '.join(taxon.name for taxon in group)}",
            WARNING,
        )
        for group in find_same_texts(prompts)[:_SHOWN]
    ]


def describe_accuracy(answers: Predictions, *, mask: str = "") -> list[str]:
    """Say how often the answers are the labels, and how many are ties.

    Of images that a mask kept, the accuracy is said to be of these: what a filter drops is often
    what is hard to name.
    """
    from bioprobe.calibration.unknown import find_unknown
    from bioprobe.zeroshot.likeness import count_ties

    said = []
    measured = answers.accuracy()
    taught = 0 if answers.taught is None else int((answers.taught & (answers.truth != "")).sum())
    if taught and not measured:
        said.append(
            f"all {taught:,} labelled images taught the encoder or what stands beside it: how "
            "often the answers are right says nothing of others"
        )
    if measured:
        figures = ", ".join(str(accuracy) for accuracy in measured)
        n_outside = int(find_unknown(answers)[1].sum())
        none = "no candidate" if answers.listed is None else "what may not occur by the list"
        outside = f"; {n_outside:,} are of {none} and count as wrong" if n_outside else ""
        said.append(
            f"against the labels of {measured[0].n_images:,} images{_name_kept(mask)}: {figures} "
            f"(95% interval){outside}{_advise_quoting(mask)}"
        )
        if taught:
            said.append(
                f"{taught:,} labelled images taught the encoder or what stands beside it, and are "
                "left out of this"
            )
        said += answers.images.describe_several(answers.rows, answers.level)
    n_ties = count_ties(answers)
    if n_ties:
        said.append(
            f"{n_ties:,} images have two classes of equal score first; the order of the list "
            "decides"
        )
    return said


# Where half of the images have more than this outside of a list, it may be the wrong one.
_MUCH_OUTSIDE = 0.5


def describe_list(answers: Predictions | Decisions) -> list[Note]:
    """Say how much lies outside of what may occur, and how many answers the list changed."""
    import numpy as np

    from bioprobe.task.decisions import Decisions

    if "share_outside" not in answers.columns or not len(answers):
        return []
    median = float(np.median(answers.columns["share_outside"]))
    if isinstance(answers, Decisions):
        n_changed = 0 if answers.left_out is None else int((answers.left_out >= 0).sum())
    else:
        n_changed = int((answers.columns["reason"] != "").sum())
    said = [
        Note(
            f"the list changed the answer to {n_changed:,} of {len(answers):,} images; of the "
            f"probability a share of {median:.3f} (median) lies outside of it"
        )
    ]
    if median > _MUCH_OUTSIDE:
        text = (
            f"warning: half of the images have a share of {median:.3f} or more outside of the "
            "list: vagrants, introduced species, pictures of something else, or a wrong list; see "
            "the columns share_outside and best_outside"
        )
        said.append(Note(text, WARNING))
    return said


def describe_depths(answers: Decisions, *, mask: str = "") -> list[str]:
    """Say at which ranks images were answered, and how often rightly.

    Of images that a mask kept, the figure is said to be of these.
    """
    is_given = answers.depths >= 0
    n_none, right = int((~is_given).sum()), "the label"
    if answers.classes is not None:
        said = [
            f"images: {len(answers):,}; answered: {int(is_given.sum()):,}; no answer: {n_none:,}"
        ]
        is_labelled = answers.classes.read_labels(answers.images, answers.rows) != ""
    else:
        named = [
            f"{rank} {int((answers.depths == depth).sum()):,}"
            for depth, rank in enumerate(RANK_NAMES)
            if (answers.depths == depth).any()
        ]
        said = [
            f"images: {len(answers):,}; answered at: {', '.join(named) or 'no rank'}; no answer: "
            f"{n_none:,}"
        ]
        labels = answers.images.select(list(RANK_NAMES)).iloc[answers.rows]
        is_labelled, right = (labels != "").any(axis=1).to_numpy(), "the label or above it"
    judged, learnt_from = is_labelled & is_given, ""
    if answers.taught is not None and answers.taught.any():
        judged, learnt_from = judged & ~answers.taught, " that taught nothing"
    if judged.any():
        said.append(
            f"of {int(judged.sum()):,} answers to labelled images{learnt_from}{_name_kept(mask)}, "
            f"{answers.is_right[judged].mean():.3f} are {right}{_advise_quoting(mask)}"
        )
    return said


def describe_unknown(answers: Predictions, columns: Mapping[str, Scores]) -> str:
    """Say how well images of no candidate are told from the others."""
    from bioprobe.calibration.unknown import find_unknown, measure_auroc

    labelled, is_unknown = find_unknown(answers)
    if not is_unknown.any() or is_unknown.all():
        return "no AUROC: labelled images both of candidates and of others are needed for it"
    figures = ", ".join(
        f"{name} {measure_auroc(scores[labelled], is_unknown):.3f}"
        for name, scores in columns.items()
    )
    return (
        f"{int(is_unknown.sum()):,} of {len(labelled):,} labelled images are of no candidate; "
        f"AUROC: {figures}"
    )


def _name_kept(mask: str) -> str:
    return f" that the mask {mask} keeps" if mask else ""


def _advise_quoting(mask: str) -> str:
    return "; not of all images: quote the accuracy without --mask" if mask else ""
