"""What zero-shot asks of the library, by text prompts or by a text head, and what is said of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from bioprobe.errors import MisuseError, PromptError, SelectionError
from bioprobe.options import RANK_NAMES
from bioprobe.result import WARNING, Note, Notes

if TYPE_CHECKING:
    from bioprobe.prompts import PromptSet
    from bioprobe.store import EmbeddingStore, TextCache
    from bioprobe.store.view import View
    from bioprobe.task.decisions import Decisions
    from bioprobe.task.predictions import Predictions
    from bioprobe.task.target import Classes, Phrases
    from bioprobe.taxonomy import Rank, Taxonomy
    from bioprobe.types import Scores
    from bioprobe.zeroshot.candidates import ClassNames
    from bioprobe.zeroshot.seen_offset import SeenOffset
    from bioprobe.zeroshot.text_head import HeadClasses

# Contradictions and same texts that are named one by one.
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked of which images, however it is answered; the options of the same names.

    Parameters
    ----------
    view : View
        The images.
    notes : tuple of Note
        What is to be said of how they were chosen.
    """

    view: View
    notes: Notes
    rank: Rank
    taxa: str | Taxonomy | None
    within: str | None
    synonyms: Mapping[str, str]
    k: int

    @property
    def store(self) -> EmbeddingStore:
        """Store that holds the images."""
        return self.view.store


@dataclasses.dataclass(frozen=True)
class Wording:
    """How text prompts answer it; the options of the same names."""

    text_type: str
    templates: str
    pool: str | None
    roll_up: bool
    abstain: float | None
    open_set: bool
    offset: float | str | None


def ask_texts(asked: Asked, wording: Wording, texts: TextCache) -> Predictions | Decisions:
    """Answer by text prompts."""
    from bioprobe.prompts import PromptSet, TextType, read_templates

    asked = _name_taxa(asked)
    lowest = wording.roll_up or wording.abstain is not None
    candidates = _find_candidates(asked, lowest=lowest)
    text_type = TextType.parse(wording.text_type)
    prompts = PromptSet(candidates, text_type, read_templates(wording.templates))
    prompts, left_out = _leave_out_long(asked.view, prompts, texts)
    offset = _find_offset(asked.store, wording.offset)
    notes = (*left_out, *_warn_of_labels(asked.store), *_warn_of_texts(prompts), *asked.notes)
    if wording.abstain is not None:
        backed_off = _back_off(asked, wording.abstain, prompts, texts, offset)
        return backed_off.say((*notes, *describe_depths(backed_off, mask=asked.view.mask)))
    answers = _predict(asked, wording, prompts, texts, offset)
    said = [
        *_describe_classes(answers, prompts, offset),
        *describe_accuracy(answers, mask=asked.view.mask),
    ]
    if wording.open_set:
        columns = _measure_unknown(asked.store, answers, prompts, texts, offset)
        answers = dataclasses.replace(answers, columns=columns)
        said.append(_describe_unknown(answers, columns))
    return answers.say((*notes, *said))


# Model that knows the taxa of one list that ships and no others.
_SKETCH = "sketch"


def _name_taxa(asked: Asked) -> Asked:
    """Ask for the list of the embedded model where nothing names a taxon.

    Raises
    ------
    PromptError
        If no label, no added taxon and no list names one, and the model is another.
    """
    from bioprobe.taxonomy.lists import shipped_taxonomies
    from bioprobe.zeroshot.candidates import find_known_taxa

    if asked.taxa is not None or len(find_known_taxa(asked.store, None)):
        return asked
    if asked.view.manifest.encoder.model == _SKETCH:
        said = f"no label names a taxon: the candidates are those of the list {_SKETCH}"
        return dataclasses.replace(asked, taxa=_SKETCH, notes=(*asked.notes, Note(said)))
    msg = (
        f"no label of {asked.view.origin or asked.view.folder} names a taxon that could be asked "
        "for; name classes with --classes cat,bird,bear, or give a taxon list with --taxa: a file, "
        f"or one that ships ({', '.join(shipped_taxonomies())})"
    )
    raise PromptError(msg)


def _leave_out_long(view: View, prompts: PromptSet, texts: TextCache) -> tuple[PromptSet, Notes]:
    """Leave out the classes that the encoder cannot be asked for, and say which."""
    from bioprobe.prompts import describe_long, find_long
    from bioprobe.taxonomy import Taxonomy

    is_long = find_long(prompts.texts, texts.encode_text)
    if not any(is_long):
        return prompts, ()
    pairs = list(zip(prompts.taxa, is_long, strict=True))
    names, counts = [], []
    for taxon in (taxon for taxon, long in pairs if long):
        names.append(max((*taxon.lineage, taxon.common_name, *taxon.prompts), key=len))
        counts.append(int((view.labels(taxon.rank.value) == taxon.name).sum()))
    kept = Taxonomy(tuple(taxon for taxon, long in pairs if not long))
    return dataclasses.replace(prompts, taxa=kept), describe_long(names, counts)


def ask_head(
    asked: Asked, name: str, pool: str | None, find_texts: Callable[[], TextCache]
) -> Predictions:
    """Answer by a text head of the store; a model is loaded for new added taxa alone."""
    from bioprobe.task.scores import Pool
    from bioprobe.zeroshot.candidates import find_candidates, find_parents
    from bioprobe.zeroshot.head_recipe import put_beside
    from bioprobe.zeroshot.text_head import find_head_classes, read_head, zeroshot_by_head

    rank, chosen, store = asked.rank, Pool.parse(pool or "sum"), asked.store
    beside = put_beside(
        store, read_head(store, name), rank, lambda: find_texts().encode_means,
        synonyms=asked.synonyms,
    )  # fmt: skip
    head, wanted = beside.head, None
    if asked.taxa:
        wanted = find_candidates(
            store, asked.taxa, rank, within=asked.within, synonyms=asked.synonyms
        )
        wanted = beside.name_rows(wanted)
    classes = find_head_classes(head, rank, wanted)
    if asked.within and wanted is None:
        parents = find_parents(classes.taxa, asked.within)
        classes = find_head_classes(head, rank, classes.taxa.below(parents))
    answers = zeroshot_by_head(asked.view, head, classes, rank=rank, k=asked.k, pool=chosen)
    answers = _rename_labels(asked, answers)
    said = (*_describe_head(answers, classes, name, chosen.value),
            *describe_accuracy(answers, mask=asked.view.mask))  # fmt: skip
    return answers.say((*asked.notes, *beside.notes, *said))


def refuse_for_values(level: str, **given: object) -> None:
    """Refuse options that are for taxa where classes are the values of a column.

    Raises
    ------
    MisuseError
        If one is given.
    """
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if named:
        msg = (
            f"{', '.join(named)} speak of taxa, and the classes are values of {level}, written as "
            "they are; say their texts with --classes FILE"
        )
        raise MisuseError(msg)


def ask_named(
    view: View,
    notes: Notes,
    texts: TextCache,
    given: ClassNames | None,
    level: str,
    templates: str,
    k: int,
) -> Predictions:
    """Answer by classes that are no taxa: those that are given, or the values of a column."""
    from bioprobe.prompts import describe_long, find_long, read_templates
    from bioprobe.task.target import Texts
    from bioprobe.zeroshot.zeroshot import zeroshot_named

    classes, phrases = find_named(view, given, level)
    read = read_templates(templates)
    written = Texts(texts.encode_text, view.manifest.logit_scale, templates=read, phrases=phrases)
    is_long = find_long([written.write(one) for one in written.list_phrases(classes)],
                        texts.encode_text)  # fmt: skip
    left_out = [name for name, long in zip(classes.names, is_long, strict=True) if long]
    kept = [place for place, long in enumerate(is_long) if not long]
    classes = dataclasses.replace(
        classes, names=tuple(classes.names[place] for place in kept),
        meant=tuple(classes.meant[place] for place in kept) if classes.meant else (),
    )  # fmt: skip
    answers = zeroshot_named(view, classes, written, k=k)
    n_texts = sum(map(len, written.list_phrases(classes)))
    of = f" of {classes.level}" if classes.level else ""
    several = f"texts: {n_texts:,}; " if n_texts > len(classes) else ""
    said = [
        f"images: {len(answers):,}; classes{of}: {len(classes):,}; {several}templates: {len(read)}"
    ]
    if len(classes) == 1:
        said.append("there is only one class, so every image gets it; give more with --classes")
    if given is None:
        shown = ", ".join(classes.names[:_SHOWN]) + (", …" if len(classes) > _SHOWN else "")
        said.append(
            f"the texts are the values as they are written: {shown}; say what they look like with "
            "--classes FILE"
        )
    elif level not in RANK_NAMES and not classes.level:
        said.append(f"none of the classes is a value of {level}: the answers are not judged by it")
    labels = view.labels(level)
    told = describe_long(left_out, [int((labels == name).sum()) for name in left_out])
    return answers.say((*told, *notes, *said, *describe_accuracy(answers)))


def find_named(view: View, given: ClassNames | None, level: str) -> tuple[Classes, Phrases]:
    """Return classes that are no taxa, and their texts.

    Names that are given are compared with the labels at the level if one label there is such a
    name; else by the taxa that they stand for, if any.

    Raises
    ------
    SelectionError
        If no image has a value.
    """
    from bioprobe.task.target import Classes
    from bioprobe.zeroshot.candidates import read_classes

    labels = set(view.labels(level).tolist()) - {""}
    if given is None:
        if not labels:
            msg = f"none of the {len(view):,} images has a value of {level}; say another --level"
            raise SelectionError(msg)
        return Classes(tuple(sorted(labels)), level=level), {}
    classes, phrases = read_classes(given)
    if labels.intersection(classes.names):
        classes = dataclasses.replace(classes, level=level)
    return classes, phrases


def describe_accuracy(answers: Predictions, *, mask: str = "") -> list[str]:
    """Say how often the answers are the labels, and how many are ties.

    Of images that a mask kept, the accuracy is said to be of these: what a filter drops is often
    what is hard to name.
    """
    from bioprobe.calibration.unknown import find_unknown
    from bioprobe.zeroshot.likeness import count_ties

    said = []
    measured = answers.accuracy()
    if measured:
        figures = ", ".join(str(accuracy) for accuracy in measured)
        n_outside = int(find_unknown(answers)[1].sum())
        outside = f"; {n_outside:,} are of no candidate and count as wrong" if n_outside else ""
        said.append(
            f"against the labels of {measured[0].n_images:,} images{_name_kept(mask)}: {figures} "
            f"(95% interval){outside}{_advise_quoting(mask)}"
        )
        said += answers.images.describe_several(answers.rows, answers.level)
    n_ties = count_ties(answers)
    if n_ties:
        said.append(
            f"{n_ties:,} images have two classes of equal score first; the order of the list "
            "decides"
        )
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
        labels = answers.images.frame[list(RANK_NAMES)].iloc[answers.rows]
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


def _find_candidates(asked: Asked, *, lowest: bool) -> Taxonomy:
    from bioprobe.zeroshot.candidates import find_candidates, find_known_taxa

    store, taxa, within, synonyms = asked.store, asked.taxa, asked.within, asked.synonyms
    candidates = find_candidates(store, taxa, asked.rank, within=within, synonyms=synonyms)
    if not lowest:
        return candidates
    return find_known_taxa(store, taxa, within=within, synonyms=synonyms).leaves()


def _find_offset(store: EmbeddingStore, given: float | str | None) -> SeenOffset | None:
    from bioprobe.zeroshot.added_taxa import find_new_taxa
    from bioprobe.zeroshot.seen_offset import SeenOffset, read_offset

    if given is None:
        return None
    measured = read_offset(store)
    if given == "auto" and measured is None:
        msg = "nothing was measured: run bioprobe taxa measure, or give --offset a number"
        raise MisuseError(msg)
    known = measured.new if measured else ()
    new = (*find_new_taxa(store), *known)
    if given == "auto" and measured is not None:
        return SeenOffset(measured.value, new)
    try:
        return SeenOffset(float(given), new)
    except ValueError:
        msg = f"--offset is auto or a number, got {given!r}"
        raise MisuseError(msg) from None


def _predict(
    asked: Asked, wording: Wording, prompts: PromptSet, texts: TextCache, offset: SeenOffset | None
) -> Predictions:
    from bioprobe.task.scores import Pool
    from bioprobe.zeroshot.zeroshot import zeroshot, zeroshot_rolled_up

    if wording.roll_up:
        answers = zeroshot_rolled_up(
            asked.view, prompts, texts.encode_text, rank=asked.rank, k=asked.k, seen_offset=offset
        )
    else:
        answers = zeroshot(
            asked.view, prompts, texts.encode_text, rank=asked.rank, k=asked.k,
            pool=Pool.parse(wording.pool or "mean"), seen_offset=offset,
        )  # fmt: skip
    return _rename_labels(asked, answers)


def _back_off(
    asked: Asked, threshold: float, prompts: PromptSet, texts: TextCache, offset: SeenOffset | None
) -> Decisions:
    from bioprobe.zeroshot.zeroshot import back_off

    answers = back_off(
        asked.view, prompts, texts.encode_text, threshold=threshold, rank=asked.rank,
        seen_offset=offset,
    )  # fmt: skip
    return _rename_labels(asked, answers)


_Answers = TypeVar("_Answers", "Predictions", "Decisions")


def _rename_labels(asked: Asked, answers: _Answers) -> _Answers:
    from bioprobe.zeroshot.candidates import accept_label_names

    if not asked.synonyms:
        return answers
    images = accept_label_names(answers.images, asked.synonyms)
    return dataclasses.replace(answers, images=images)


def _measure_unknown(
    store: EmbeddingStore,
    answers: Predictions,
    prompts: PromptSet,
    texts: TextCache,
    offset: SeenOffset | None,
) -> Mapping[str, Scores]:
    from bioprobe.calibration.unknown import measure_unknown
    from bioprobe.zeroshot.class_embeddings import embed_classes

    classes = embed_classes(store, prompts, texts.encode_text, seen_offset=offset)
    return measure_unknown(store, answers, classes.vectors, classes.offsets)


def _describe_unknown(answers: Predictions, columns: Mapping[str, Scores]) -> str:
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


def _describe_classes(
    answers: Predictions, prompts: PromptSet, offset: SeenOffset | None
) -> list[str]:
    n_classes = len(answers.classes)
    said = [
        f"images: {len(answers):,}; classes at {answers.rank}: {n_classes:,}; "
        f"text type: {prompts.text_type.value}; templates: {len(prompts.templates)}"
    ]
    if n_classes == 1:
        said.append("there is only one class, so every image gets it; give more with --taxa")
    if prompts.unnamed:
        n_unnamed = len(prompts.unnamed)
        said.append(f"{n_unnamed} classes have no common name: their scientific name is used")
    pictured = answers.provenance.options["with_pictures"]
    if pictured:
        said.append(f"classes made of example pictures: {', '.join(pictured)}")
    if offset is not None:
        n_new = int(offset.find_new(prompts.taxa).sum())
        said.append(f"{offset.value:.3f} subtracted from the logits of all but {n_new} new classes")
    return said


def _describe_head(answers: Predictions, classes: HeadClasses, name: str, pool: str) -> list[str]:
    said = [
        f"images: {len(answers):,}; classes at {answers.rank}: {len(classes.taxa):,}; texts "
        f"of the head {name}: {len(classes.rows):,}; pool: {pool}"
    ]
    if classes.left_out:
        names = ", ".join(taxon.name for taxon in classes.left_out[:5])
        said.append(f"the head has no text for {len(classes.left_out)} classes, such as {names}")
    return said


def _warn_of_labels(store: EmbeddingStore) -> list[Note]:
    from bioprobe.zeroshot.candidates import find_label_contradictions

    found = find_label_contradictions(store)
    said = [f"warning: in the labels, {one.describe()}" for one in found[:_SHOWN]]
    if len(found) > _SHOWN:
        n_more = len(found) - _SHOWN
        said.append(f"warning: the labels contradict each other in {n_more} more names")
    return [Note(text, WARNING) for text in said]


def _warn_of_texts(prompts: PromptSet) -> list[Note]:
    from bioprobe.zeroshot.likeness import find_same_texts

    return [
        Note(
            f"warning: {len(group)} classes have the same text and cannot be told apart, the first "
            f"of the list is answered: {', '.join(taxon.name for taxon in group)}",
            WARNING,
        )
        for group in find_same_texts(prompts)[:_SHOWN]
    ]


def _name_kept(mask: str) -> str:
    return f" that the mask {mask} keeps" if mask else ""


def _advise_quoting(mask: str) -> str:
    return "; not of all images: quote the accuracy without --mask" if mask else ""
