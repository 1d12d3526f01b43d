"""What zero-shot asks of the library, by text prompts or by a text head."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bioprobe.errors import MisuseError, PromptError, SelectionError
from bioprobe.face.answered import (
    describe_accuracy,
    describe_classes,
    describe_depths,
    describe_head,
    describe_head_answers,
    describe_list,
    describe_unknown,
    tell_added,
    warn_of_labels,
    warn_of_texts,
)
from bioprobe.face.pictured import Pictured, fuse_head, fuse_texts
from bioprobe.options import RANK_NAMES
from bioprobe.result import Note, Notes, name_some

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bioprobe.learning.fitted import FittedProbe
    from bioprobe.prompts import PromptSet
    from bioprobe.store import EmbeddingStore, TextCache
    from bioprobe.store.view import View
    from bioprobe.task.also import Wanted
    from bioprobe.task.decisions import Decisions
    from bioprobe.task.listed import Listed
    from bioprobe.task.predictions import Predictions
    from bioprobe.task.prior import Prior, Weighed
    from bioprobe.task.target import Classes, Phrases
    from bioprobe.task.tree import Tree
    from bioprobe.taxonomy import Rank, Taxonomy
    from bioprobe.types import Mask, Scores, Vectors
    from bioprobe.zeroshot.candidates import ClassNames
    from bioprobe.zeroshot.question import Question
    from bioprobe.zeroshot.seen_offset import SeenOffset
    from bioprobe.zeroshot.text_head import HeadClasses, TextHead

_Answers = TypeVar("_Answers", "Predictions", "Decisions")


def _mark(answers: _Answers, taught: Mask | None) -> _Answers:
    """Mark images that taught what is asked, beside those that are marked already."""
    before = answers.taught
    if taught is not None and before is not None:
        taught = taught | before
    return dataclasses.replace(answers, taught=before if taught is None else taught)


@dataclasses.dataclass(frozen=True, eq=False)
class Adapter:
    """What a probe of the kind adapter learnt of the vectors: any text can be asked through it.

    Parameters
    ----------
    name : str
        Of the probe.
    probe : FittedProbe
    matrix : ndarray of float32, shape (dim, dim)
    """

    name: str
    probe: FittedProbe
    matrix: Vectors

    @classmethod
    def of(cls, store: EmbeddingStore, name: str | None) -> Adapter | None:
        """Read one by its name; None where none is named."""
        if name is None:
            return None
        from bioprobe.learning.keeping import read_adapter

        return cls(name, *read_adapter(store, name))

    @property
    def key(self) -> str:
        """Name and what it was learnt from."""
        return f"{self.name}:{self.probe.rows_hash}"

    def describe(self) -> dict[str, str]:
        """Return what answers depend on, JSON-ready."""
        return {"adapter": self.key}

    def find_taught(self, store: EmbeddingStore) -> Mask | None:
        """Return which rows of a store taught it, shape (n_rows,)."""
        import numpy as np

        return self.probe.find_taught(store.images, np.arange(len(store.images)))

    def mark(self, answers: _Answers) -> _Answers:
        """Mark the images that taught it, which judge nothing, and say how many they are."""
        taught = self.probe.find_taught(answers.images, answers.rows)
        probe, n_taught = self.probe, 0 if taught is None else int(taught.sum())
        left_out = f"; the {n_taught:,} of them that are asked judge nothing" if n_taught else ""
        said = (
            f"seen through the adapter {self.name}, which learnt {len(probe.classes):,} classes at "
            f"{probe.level} from {probe.n_rows:,} images{left_out}"
        )
        return _mark(answers, taught).say([said])


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked of which images, however it is answered; the options of the same names.

    Parameters
    ----------
    view : View
        The images.
    notes : tuple of Note
        What is to be said of how they were chosen.
    place : mapping of str to str
        Country, admin1 and site of all images, as far as they are given.
    whole : bool
        Whether the best classes are wanted of all, whatever may occur: answers are then pooled.
    prior : Prior, optional
        How frequent taxa are where and when the images were taken.
    sums : callable, optional
        What of the lowest classes is summed, in place of ``also``; it is told what may occur.
    adapter : Adapter, optional
        What images are seen through.
    """

    view: View
    notes: Notes
    rank: Rank
    taxa: str | Taxonomy | None
    within: str | Path | Sequence[str | Path] | None
    synonyms: Mapping[str, str]
    k: int
    abstain: float | None = None
    place: Mapping[str, str] = dataclasses.field(default_factory=dict)
    whole: bool = False
    also: str | Path | Sequence[str | Path] | None = None
    every_rank: bool = False
    prior: Prior | None = None
    sums: Callable[[Tree, Listed | None], Wanted] | None = None
    adapter: Adapter | None = None

    @property
    def store(self) -> EmbeddingStore:
        """Store that holds the images."""
        return self.view.store


@dataclasses.dataclass(frozen=True)
class Wording:
    """How classes are written, as texts or by the rows of a head; the options of the same names."""

    text_type: str
    templates: str
    head: TextHead | None
    pool: str | None
    roll_up: bool
    open_set: bool
    offset: float | str | None
    pictured: Pictured | None = None


@dataclasses.dataclass(frozen=True)
class _Put:
    """A question as it is put, with what is to be said of it.

    Parameters
    ----------
    question : Question
        The lowest classes with what stands for each.
    notes : tuple of Note
        Said before the answers.
    known : callable
        Returns all taxa that a list may name.
    describe : callable
        Says of answers what they were asked by.
    unknown : callable, optional
        Measures how little images are like any class.
    marks : ndarray of uint64, optional
        Of the pictures that taught what is asked, as :func:`bioprobe.task.target.mark_rows` has
        them.
    """

    question: Question
    notes: Notes
    known: Callable[[], Taxonomy]
    describe: Callable[[Predictions], list[str]]
    unknown: Callable[[Predictions], Mapping[str, Scores]] | None = None
    marks: npt.NDArray[np.uint64] | None = None

    def mark(self, answers: _Answers) -> _Answers:
        """Mark the images that taught what is asked, which judge nothing, and say how many."""
        import numpy as np

        from bioprobe.task.target import mark_rows

        if self.marks is None:
            return answers
        taught = np.isin(mark_rows(answers.images, answers.rows), self.marks)
        if not taught.any():
            return answers
        return _mark(answers, taught).say(
            [
                f"{int(taught.sum()):,} of the images asked made the prototypes, or chose what a "
                "text counts beside them, and judge nothing"
            ]
        )


def ask_taxa(
    asked: Asked, wording: Wording, find_texts: Callable[[], TextCache]
) -> Predictions | Decisions:
    """Answer by taxa, whether texts or the rows of a head stand for them.

    For a head a model is loaded only where an added taxon stands beside it that is new.
    """
    from bioprobe.zeroshot.question import answer_at_rank, answer_deepest, answer_every_rank

    if wording.head is None:
        asked = _name_taxa(_add_pictured(asked, wording.pictured))
        put = _put_texts(asked, wording, find_texts())
    else:
        put = _put_head(asked, wording.head, wording, find_texts)
    question = put.question if asked.abstain is not None else put.question.named()
    tree, weighed = question.tree, None
    if asked.prior is not None:
        weighed = asked.prior.weigh_taxa(tree.taxa, asked.view)
    question, allowed = _restrict(asked, question.with_prior(weighed), put.known)
    question, wanted = _want(asked, question)
    if asked.adapter is not None:
        question = question.with_options(**asked.adapter.describe())
        question = dataclasses.replace(question, matrix=asked.adapter.matrix)
    weights = weighed.list_notes([taxon.name for taxon in tree.taxa]) if weighed else []
    put = dataclasses.replace(put, notes=(*put.notes, *allowed, *wanted))
    if asked.abstain is not None:
        decisions = _rename_labels(asked, answer_deepest(asked.view, question, asked.abstain))
        decisions = put.mark(decisions)
        if asked.adapter is not None:
            decisions = asked.adapter.mark(decisions)
        if weighed is not None:
            decisions = weighed.complete_decisions(decisions, tree.places)
        depths = describe_depths(decisions, mask=asked.view.mask)
        return decisions.say((*put.notes, *weights, *depths, *describe_list(decisions)))
    answer = answer_every_rank if asked.every_rank else answer_at_rank
    answers = answer(asked.view, question, asked.k, whole=asked.whole)
    answers = put.mark(_rename_labels(asked, answers))
    if asked.adapter is not None:
        answers = asked.adapter.mark(answers)
    if weighed is not None:
        answers = _weigh(answers, weighed, tree)
    said: list[Note | str] = [
        *weights, *put.describe(answers), *describe_list(answers),
        *describe_accuracy(answers, mask=asked.view.mask),
    ]  # fmt: skip
    if put.unknown is not None:
        columns = put.unknown(answers)
        answers = dataclasses.replace(answers, columns={**answers.columns, **columns})
        said.append(describe_unknown(answers, columns))
    return answers.say((*put.notes, *said))


def put_taxa(
    asked: Asked, wording: Wording, find_texts: Callable[[], TextCache]
) -> tuple[Question, Notes]:
    """Return the question of taxa as :func:`ask_taxa` puts it, and what is to be said of it.

    Raises
    ------
    PromptError
        If no taxon has a name at the rank.
    """
    if wording.head is not None:
        put = _put_head(asked, wording.head, wording, find_texts)
    else:
        put = _put_texts(_name_taxa(asked), wording, find_texts())
    return put.question, put.notes


def _weigh(answers: Predictions, weighed: Weighed, tree: Tree) -> Predictions:
    """Return answers, at every rank that there is, with the weights that they had before."""
    by_rank = dict(zip(RANK_NAMES, tree.places, strict=False)) if answers.above else {}
    above = tuple(
        weighed.group(by_rank[one.level], len(one.classes)).complete(one) for one in answers.above
    )
    lowest = weighed.group(tree.place_of, len(tree.classes)).complete(answers)
    return dataclasses.replace(lowest, above=above)


def _restrict(
    asked: Asked, question: Question, known: Callable[[], Taxonomy]
) -> tuple[Question, Notes]:
    """Keep from answering what may not occur by a list, and say what that is."""
    if not asked.within:
        return question, ()
    from bioprobe.task.listed import restrict
    from bioprobe.taxonomy.checklists import read_checklists

    lists = read_checklists(asked.within)
    listed, notes = restrict(asked.view, lists, question.tree, known(), place=asked.place)
    sources = [one.source for one in lists]
    said = {"within": sources if sources != ["--within"] else str(asked.within)}
    question = dataclasses.replace(question.with_options(**said, **asked.place), listed=listed)
    return question, tuple(notes)


def _want(asked: Asked, question: Question) -> tuple[Question, Notes]:
    """Give the scores of some taxa always, and say which names are of no candidate."""
    if asked.sums is not None:
        return dataclasses.replace(question, wanted=asked.sums(question.tree, question.listed)), ()
    if not asked.also:
        return question, ()
    from bioprobe.task.also import Wanted
    from bioprobe.taxonomy.checklists import read_checklists

    wanted, notes = Wanted.of(read_checklists(asked.also, "--also"), question.tree)
    question = question.with_options(also=[taxon.name for taxon in wanted.taxa])
    return dataclasses.replace(question, wanted=wanted), tuple(notes)


def _put_texts(asked: Asked, wording: Wording, texts: TextCache) -> _Put:
    from bioprobe.prompts import PromptSet, TextType, read_templates
    from bioprobe.task.text_pooling import Pool
    from bioprobe.zeroshot.candidates import find_known_taxa
    from bioprobe.zeroshot.zeroshot import ask_prompts

    is_summed = wording.roll_up or asked.every_rank or asked.abstain is not None
    candidates = _find_candidates(asked, lowest=is_summed)
    text_type = TextType.parse(wording.text_type)
    prompts = PromptSet(candidates, text_type, read_templates(wording.templates))
    prompts, left_out = _leave_out_long(asked.view, prompts, texts)
    offset = _find_offset(asked.store, wording.offset, asked.adapter)
    pool = Pool.parse(wording.pool or "mean")
    question = ask_prompts(
        asked.view, prompts, texts.encode_text, rank=asked.rank, pool=pool, seen_offset=offset
    )
    if asked.abstain is not None:
        question = question.with_options(abstain=asked.abstain)
    elif is_summed:
        question = question.with_options(n_leaves=question.n_leaves)
    else:
        question = question.with_options(pool=pool.value)
    beside = None
    if wording.pictured is not None:
        beside = fuse_texts(wording.pictured, asked.store, asked.rank, question)
        question = beside.question

    def measure(answers: Predictions) -> Mapping[str, Scores]:
        return _measure_unknown(asked.store, answers, prompts, texts, offset)

    return _Put(
        question,
        (
            *left_out, *warn_of_labels(asked.store), *warn_of_texts(prompts), *asked.notes,
            *(beside.notes if beside is not None else ()),
        ),
        lambda: find_known_taxa(asked.store, asked.taxa, synonyms=asked.synonyms),
        lambda answers: describe_classes(answers, prompts, offset),
        measure if wording.open_set else None,
        None if beside is None else beside.marks,
    )  # fmt: skip


def _put_head(
    asked: Asked, head: TextHead, wording: Wording, find_texts: Callable[[], TextCache]
) -> _Put:
    from bioprobe.task.text_pooling import Pool
    from bioprobe.zeroshot.candidates import find_candidates, find_known_taxa
    from bioprobe.zeroshot.head_recipe import Beside, put_beside
    from bioprobe.zeroshot.text_head import ask_rows, find_head_classes, find_head_leaves

    rank, chosen, store = asked.rank, Pool.parse(wording.pool or "sum"), asked.store
    # A list is of species mostly: these are scored, and summed up to the rank.
    lowest = asked.every_rank or asked.abstain is not None
    lowest |= bool(asked.within) and asked.taxa is None and chosen is Pool.SUM
    synonyms = asked.synonyms
    if head.made_of is not None:
        # No text stands beside pictures where nothing says how far each is from images.
        beside = Beside(head, tell_added(asked.store))
    else:
        beside = put_beside(
            store, head, None if lowest else rank, lambda: find_texts().encode_means,
            synonyms=synonyms,
        )  # fmt: skip
    head, wanted = beside.head, None
    if asked.taxa:
        known = find_known_taxa(store, asked.taxa, synonyms=synonyms)
        wanted = known.leaves() if lowest else find_candidates(
            store, asked.taxa, rank, synonyms=synonyms
        )  # fmt: skip
        wanted = beside.name_rows(wanted)
    find = find_head_leaves if lowest else partial(find_head_classes, rank=rank)

    def ask(head: TextHead) -> tuple[HeadClasses, Question]:
        classes = find(head, taxa=wanted)
        return classes, ask_rows(asked.view, head, classes, rank=rank, pool=chosen)

    notes, marks = beside.notes, None if head.made_of is None else head.made_of.marks
    if wording.pictured is None:
        classes, question = ask(head)
    else:
        fused = fuse_head(
            wording.pictured, asked.store, asked.rank, head, lambda head: ask(head)[1]
        )
        head, question, marks = fused.head, fused.question, fused.marks
        classes, notes = ask(head)[0], (*notes, *fused.notes)
    if asked.abstain is not None:
        question = question.with_options(abstain=asked.abstain)

    def find_known() -> Taxonomy:
        if asked.taxa:
            return known
        return classes.taxa if lowest else find_head_leaves(head).taxa

    return _Put(
        question, (*asked.notes, *notes), find_known,
        lambda answers: describe_head_answers(answers, classes, head, chosen.value), marks=marks,
    )  # fmt: skip


def _add_pictured(asked: Asked, pictured: Pictured | None) -> Asked:
    """Ask for the taxa of prototypes too, where no list says what is asked."""
    from bioprobe.taxonomy import Taxonomy
    from bioprobe.zeroshot.candidates import find_known_taxa

    if pictured is None or asked.taxa is not None:
        return asked
    known = find_known_taxa(asked.store, None)
    return dataclasses.replace(asked, taxa=Taxonomy.merge((*known, *pictured.taxa)))


# Model that knows the taxa of one list that ships and no others.
_SKETCH = "sketch"


def _name_taxa(asked: Asked) -> Asked:
    """Ask for the list of the embedded model where nothing names a taxon.

    Raises
    ------
    PromptError
        If no label, no added taxon and no list names one, and the model is another.
    """
    from bioprobe.zeroshot.candidates import find_known_taxa

    if asked.taxa is not None or len(find_known_taxa(asked.store, None)):
        return asked
    from bioprobe.encoders.text_heads import name_published
    from bioprobe.zeroshot.heads import advise_lists

    if asked.view.manifest.encoder.model == _SKETCH:
        said = f"no label names a taxon: the candidates are those of the list {_SKETCH}"
        return dataclasses.replace(asked, taxa=_SKETCH, notes=(*asked.notes, Note(said)))
    msg = (
        f"no label of {asked.view.origin or asked.view.folder} names a taxon that could be asked "
        f"for; name classes with --classes cat,bird,bear, or {advise_lists(asked.view)}. The tree "
        f"of life has texts for {name_published()}, and for no other model"
    )
    raise PromptError(msg)


def _leave_out_long(view: View, prompts: PromptSet, texts: TextCache) -> tuple[PromptSet, Notes]:
    """Leave out the classes that the encoder cannot be asked for, and say which."""
    from bioprobe.prompts import describe_long, find_long, name_longest
    from bioprobe.taxonomy import Taxonomy

    is_long = find_long(prompts.texts, texts.encode_text)
    if not any(is_long):
        return prompts, ()
    pairs = list(zip(prompts.taxa, is_long, strict=True))
    names, counts = [], []
    for taxon in (taxon for taxon, long in pairs if long):
        names.append(name_longest(taxon))
        counts.append(int((view.labels(taxon.rank.value) == taxon.name).sum()))
    kept = Taxonomy(tuple(taxon for taxon, long in pairs if not long))
    return dataclasses.replace(prompts, taxa=kept), describe_long(names, counts)


def find_head(
    view: View, taxa: object, head: str | None, model: str | None
) -> tuple[TextHead | None, Notes]:
    """Open the text head that is asked for, or that a question without candidates falls to.

    That is the published one of the model, where no label names a taxon.

    Parameters
    ----------
    view : View
        The images.
    taxa : object
        Option of that name.
    head, model : str, optional
        Options of these names.

    Returns
    -------
    head : TextHead or None
        None where texts are to be asked.
    notes : tuple of Note
        What is to be said of it.

    Raises
    ------
    MisuseError
        If pictures that are in no store are asked by a head of one.

    See Also
    --------
    bioprobe.zeroshot.heads.open_head : what it raises besides.
    """
    if head is None and taxa is None and len(view.store.labelled_taxa):
        return None, ()
    from bioprobe.zeroshot.heads import find_published_of, names_head, open_head

    said = []
    if head is not None:
        name: object = head
    elif names_head(taxa):
        name = taxa
    elif taxa is None and find_published_of(view, model) is not None:
        name = "treeoflife"
        said.append(Note("no label names a taxon: the classes are those of the tree of life"))
    else:
        return None, ()
    if view.origin and not names_head(name):
        msg = "--head is a text head that a store keeps; embed the pictures into that store"
        raise MisuseError(msg)
    opened = open_head(view, str(name), model=model)
    return opened, (*said, *describe_head(opened))


def refuse_for_head(head: TextHead, **given: object) -> None:
    """Refuse options of texts where a text head answers.

    Raises
    ------
    MisuseError
        If one is given.
    """
    named = _name_given(given)
    if named:
        msg = (
            f"{', '.join(named)} count only where texts are written, and the classes are those of "
            f"the text head {head.name} ({head.origin}), whose texts are made; give a taxon list "
            "with --taxa, or leave that out"
        )
        raise MisuseError(msg)


def _name_given(options: Mapping[str, object]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name, value in options.items() if value]


def refuse_for_values(level: str, **given: object) -> None:
    """Refuse options that are for taxa where classes are the values of a column.

    Raises
    ------
    MisuseError
        If one is given.
    """
    named = _name_given(given)
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
    prior: Prior | None,
    adapter: Adapter | None,
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
    answers = zeroshot_named(
        view, classes, written, k=len(classes) if prior else k,
        matrix=None if adapter is None else adapter.matrix,
    )  # fmt: skip
    if adapter is not None:
        answers = adapter.mark(answers)
        options = {**answers.provenance.options, **adapter.describe()}
        provenance = dataclasses.replace(answers.provenance, options=options)
        answers = dataclasses.replace(answers, provenance=provenance)
    if prior is not None:
        weighed = prior.weigh(classes, view)
        answers = weighed.reweigh(answers, k).say(weighed.list_notes(classes.names))
    n_texts = sum(map(len, written.list_phrases(classes)))
    of = f" of {classes.level}" if classes.level else ""
    several = f"texts: {n_texts:,}; " if n_texts > len(classes) else ""
    said = [
        f"images: {len(answers):,}; classes{of}: {len(classes):,}; {several}templates: {len(read)}"
    ]
    if len(classes) == 1:
        said.append("there is only one class, so every image gets it; give more with --classes")
    if given is None:
        shown = name_some(classes.names)
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


def _find_candidates(asked: Asked, *, lowest: bool) -> Taxonomy:
    from bioprobe.zeroshot.candidates import find_candidates, find_known_taxa

    store, taxa, synonyms = asked.store, asked.taxa, asked.synonyms
    candidates = find_candidates(store, taxa, asked.rank, synonyms=synonyms)
    return find_known_taxa(store, taxa, synonyms=synonyms).leaves() if lowest else candidates


def _find_offset(
    store: EmbeddingStore, given: float | str | None, adapter: Adapter | None
) -> SeenOffset | None:
    if given is None:
        return None
    from bioprobe.zeroshot.added_taxa import find_new_taxa
    from bioprobe.zeroshot.seen_offset import SeenOffset, read_offset

    measured = read_offset(store)
    if given == "auto" and measured is None:
        msg = "nothing was measured: run bioprobe taxa measure, or give --offset a number"
        raise MisuseError(msg)
    known = measured.new if measured else ()
    new = (*find_new_taxa(store), *known)
    if given == "auto" and measured is not None:
        if measured.adapter != (adapter.key if adapter else ""):
            through = measured.adapter.partition(":")[0]
            how = f"through the adapter {through} as it was then" if through else "without one"
            asked = f"through {adapter.name}" if adapter else "without an adapter"
            option = f" --adapter {adapter.name}" if adapter else ""
            msg = (
                f"pictures are asked {asked}, and the offset was measured {how}; measure it again: "
                f"bioprobe taxa measure{option}, or give --offset a number"
            )
            raise MisuseError(msg)
        return SeenOffset(measured.value, new)
    try:
        return SeenOffset(float(given), new)
    except ValueError:
        msg = f"--offset is auto or a number, got {given!r}"
        raise MisuseError(msg) from None


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
    import numpy as np

    from bioprobe.calibration.unknown import measure_unknown
    from bioprobe.taxonomy import Taxonomy
    from bioprobe.zeroshot.class_embeddings import embed_classes

    if answers.listed is not None:
        # What may occur nowhere is no class that an image could be like.
        may = np.flatnonzero(answers.listed.leaves.max(axis=0)).tolist()
        inside = {answers.listed.tree.taxa.taxa[place].lineage for place in may}
        kept = tuple(taxon for taxon in prompts.taxa if taxon.lineage in inside)
        prompts = dataclasses.replace(prompts, taxa=Taxonomy(kept))
    classes = embed_classes(store, prompts, texts.encode_text, seen_offset=offset)
    return measure_unknown(store, answers, classes.vectors, classes.offsets)
