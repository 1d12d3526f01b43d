"""What ``bioprobe zeroshot`` says of its answers, on standard error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bioprobe.cli import options
from bioprobe.cli.output import say

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bioprobe.prompts import PromptSet
    from bioprobe.store import EmbeddingStore
    from bioprobe.task.decisions import Decisions
    from bioprobe.task.predictions import Predictions
    from bioprobe.zeroshot.class_embeddings import ClassEmbeddings
    from bioprobe.zeroshot.seen_offset import SeenOffset
    from bioprobe.zeroshot.text_head import HeadClasses

_SHOWN = 3


def warn_of_labels(store: EmbeddingStore, *, quiet: bool) -> None:
    """Warn of labels that contradict each other."""
    from bioprobe.zeroshot.candidates import find_label_contradictions

    found = [] if quiet else find_label_contradictions(store)
    for one in found[:_SHOWN]:
        say(f"warning: in the labels, {one.describe()}")
    if len(found) > _SHOWN:
        say(f"warning: the labels contradict each other in {len(found) - _SHOWN} more names")


def warn_of_texts(prompts: PromptSet, *, quiet: bool) -> None:
    """Warn of classes whose texts are the same."""
    from bioprobe.zeroshot.likeness import find_same_texts

    for group in find_same_texts(prompts)[:_SHOWN]:
        names = ", ".join(taxon.name for taxon in group)
        say(
            f"warning: {len(group)} classes have the same text and cannot be told apart, the first "
            f"of the list is answered: {names}",
            quiet=quiet,
        )


def report_depths(answers: Decisions, *, mask: str | None = None, quiet: bool) -> None:
    """Say at which ranks images were answered, and how often rightly.

    Of images that a mask kept, the figure is said to be of these.
    """
    named = [
        f"{rank} {int((answers.depths == depth).sum()):,}"
        for depth, rank in enumerate(options.RANK_NAMES)
        if (answers.depths == depth).any()
    ]
    n_none = int((answers.depths < 0).sum())
    say(
        f"images: {len(answers):,}; answered at: {', '.join(named) or 'no rank'}; no answer: "
        f"{n_none:,}",
        quiet=quiet,
    )
    labels = answers.images.frame[list(options.RANK_NAMES)].iloc[answers.rows]
    labelled = (labels != "").any(axis=1).to_numpy() & (answers.depths >= 0)
    if labelled.any():
        fraction = answers.is_right[labelled].mean()
        say(
            f"of {int(labelled.sum()):,} answers to labelled images{_name_kept(mask)}, "
            f"{fraction:.3f} are the label or above it{_advise_quoting(mask)}",
            quiet=quiet,
        )


def measure_unknown(
    store: EmbeddingStore, predictions: Predictions, classes: ClassEmbeddings, *, quiet: bool
) -> Mapping[str, npt.NDArray[np.float32]]:
    """Return the columns of unknown scores, and say how well they tell where labels allow."""
    from bioprobe.calibration.unknown import find_unknown, measure_auroc
    from bioprobe.calibration.unknown import measure_unknown as measure

    columns = measure(store, predictions, classes.vectors, classes.offsets).to_columns()
    labelled, is_unknown = find_unknown(predictions)
    if is_unknown.any() and not is_unknown.all():
        figures = ", ".join(
            f"{name} {measure_auroc(scores[labelled], is_unknown):.3f}"
            for name, scores in columns.items()
        )
        said = (
            f"{int(is_unknown.sum()):,} of {len(labelled):,} labelled images are of no candidate; "
            f"AUROC: {figures}"
        )
    else:
        said = "no AUROC: labelled images both of candidates and of others are needed for it"
    say(said, quiet=quiet)
    return columns


def report_classes(
    predictions: Predictions, prompts: PromptSet, offset: SeenOffset | None, *, quiet: bool
) -> None:
    """Say what was asked of how many images."""
    n_classes = len(predictions.classes)
    said = [
        f"images: {len(predictions):,}; classes at {predictions.rank!s}: {n_classes:,}; "
        f"text type: {prompts.text_type.value}; templates: {len(prompts.templates)}"
    ]
    if n_classes == 1:
        said.append("there is only one class, so every image gets it; give more with --taxa")
    if prompts.unnamed:
        n_unnamed = len(prompts.unnamed)
        said.append(f"{n_unnamed} classes have no common name: their scientific name is used")
    pictured = predictions.provenance.options["with_pictures"]
    if pictured:
        said.append(f"classes made of example pictures: {', '.join(pictured)}")
    if offset is not None:
        n_new = int(offset.find_new(prompts.taxa).sum())
        said.append(f"{offset.value:.3f} subtracted from the logits of all but {n_new} new classes")
    for line in said:
        say(line, quiet=quiet)


def report_head(
    predictions: Predictions, classes: HeadClasses, name: str, pool: str, *, quiet: bool
) -> None:
    """Say what was asked of how many images, and for which classes a head has no text."""
    say(
        f"images: {len(predictions):,}; classes at {predictions.rank!s}: "
        f"{len(classes.taxa):,}; texts of the head {name}: {len(classes.rows):,}; pool: {pool}",
        quiet=quiet,
    )
    if classes.left_out:
        names = ", ".join(taxon.name for taxon in classes.left_out[:5])
        say(
            f"the head has no text for {len(classes.left_out)} classes, such as {names}",
            quiet=quiet,
        )


def report_accuracy(predictions: Predictions, *, mask: str | None = None, quiet: bool) -> None:
    """Say how often the answers are the labels, and how many are ties.

    Of images that a mask kept, the accuracy is said to be of these: what a filter drops is often
    what is hard to name.
    """
    from bioprobe.calibration.unknown import find_unknown
    from bioprobe.zeroshot.likeness import count_ties

    measured = [] if quiet else predictions.accuracy()
    if measured:
        figures = ", ".join(str(accuracy) for accuracy in measured)
        n_outside = int(find_unknown(predictions)[1].sum())
        outside = f"; {n_outside:,} are of no candidate and count as wrong" if n_outside else ""
        say(
            f"against the labels of {measured[0].n_images:,} images{_name_kept(mask)}: {figures} "
            f"(95% interval){outside}{_advise_quoting(mask)}"
        )
    n_ties = count_ties(predictions)
    if n_ties:
        say(
            f"{n_ties:,} images have two classes of equal score first; the order of the list "
            "decides",
            quiet=quiet,
        )


def _name_kept(mask: str | None) -> str:
    return f" that the mask {mask} keeps" if mask else ""


def _advise_quoting(mask: str | None) -> str:
    return "; not of all images: quote the accuracy without --mask" if mask else ""
