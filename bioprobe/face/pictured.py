"""Image prototypes beside the texts of zero-shot: which are asked for, and what a text counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.result import Note, Notes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bioprobe.store import EmbeddingStore
    from bioprobe.store.view import View
    from bioprobe.taxonomy import Rank, Taxonomy
    from bioprobe.zeroshot.fusion import Fusion
    from bioprobe.zeroshot.question import Question
    from bioprobe.zeroshot.text_head import TextHead

# Labelled images that say what a text counts beside a prototype; more change no choice.
_CHOSEN_ON = 2000


@dataclasses.dataclass(frozen=True)
class Pictured:
    """Image prototypes beside the texts; the options of the same names.

    Parameters
    ----------
    head : TextHead
        Of image prototypes.
    text_worth : float, optional
        Pictures that a text counts as; by default it is found.
    worth_where : str, optional
        Condition on the labelled images on which it is chosen.
    """

    head: TextHead
    text_worth: float | None = None
    worth_where: str | None = None

    @classmethod
    def of(
        cls, view: View, name: str | None, text_worth: float | None, worth_where: str | None
    ) -> Pictured | None:
        """Open a head of prototypes by its name; None where none is named.

        Raises
        ------
        PromptError
            If it is a text head.
        MisuseError
            If both ways to say what a text counts are given.
        """
        from bioprobe.zeroshot.fusion import get_made_of
        from bioprobe.zeroshot.text_head import read_head

        if name is None:
            return None
        if text_worth is not None and worth_where is not None:
            msg = "--text-worth says what --worth-where would choose; leave one of them out"
            raise MisuseError(msg)
        head = read_head(view.store, name)
        get_made_of(head)
        return cls(head, text_worth, worth_where)

    @property
    def taxa(self) -> Taxonomy:
        """Taxa of the prototypes."""
        from bioprobe.taxonomy.columns import to_taxonomy

        return to_taxonomy(self.head.taxa)


@dataclasses.dataclass(frozen=True)
class Fused:
    """A question in which prototypes stand beside texts.

    Parameters
    ----------
    question : Question
    notes : tuple of Note
    marks : ndarray of uint64
        Of the pictures that made the prototypes, or chose what a text counts.
    head : TextHead
        What is asked, where that is a head.
    """

    question: Question
    notes: Notes
    marks: npt.NDArray[np.uint64]
    head: TextHead


def fuse_texts(pictured: Pictured, store: EmbeddingStore, rank: Rank, question: Question) -> Fused:
    """Have prototypes stand beside the texts of a question.

    Parameters
    ----------
    pictured : Pictured
    store : EmbeddingStore
        That is asked.
    rank : Rank
        At which its labels say what a text counts, where they are to.
    question : Question
        By texts alone.

    Raises
    ------
    PromptError
        If no class has a prototype, or too few have.
    SelectionError
        If no image says what a text counts, where some are to.
    """
    from bioprobe.zeroshot.fusion import TextRows

    leaves, taxa = question.leaves, question.tree.taxa
    rows = TextRows.of_classes(
        pictured.head, tuple(taxa), leaves.texts, leaves.classes,
        own=question.options["with_pictures"],
    )  # fmt: skip

    def put(worth: float) -> Question:
        return dataclasses.replace(question, leaves=dataclasses.replace(
            leaves, texts=rows.fuse(worth)
        ))  # fmt: skip

    chosen = _choose(pictured, store, rank, rows.fusion, put)
    n_text = len(taxa) - rows.n_classes
    said = f"{rows.n_classes:,} classes by text and pictures, {n_text:,} by text alone"
    return _finish(pictured, pictured.head, put(chosen.worth), said, chosen)


def fuse_head(
    pictured: Pictured,
    store: EmbeddingStore,
    rank: Rank,
    head: TextHead,
    ask: Callable[[TextHead], Question],
) -> Fused:
    """Have prototypes stand beside the rows of a text head.

    Parameters
    ----------
    pictured : Pictured
    store : EmbeddingStore
        That is asked.
    rank : Rank
        At which its labels say what a text counts, where they are to.
    head : TextHead
    ask : callable
        Returns what is asked of a head.

    Raises
    ------
    MisuseError
        If the head is of prototypes itself.
    PromptError
        If too few taxa have both.
    SelectionError
        If no image says what a text counts, where some are to.
    """
    from bioprobe.zeroshot.fusion import HeadRows

    if head.made_of is not None:
        msg = (
            f"the head {head.name} is of image prototypes itself; name a text head with --head, or "
            "leave --prototypes out"
        )
        raise MisuseError(msg)
    rows = HeadRows.of_head(head, pictured.head)
    chosen = _choose(pictured, store, rank, rows.fusion, lambda worth: ask(rows.fuse(worth)))
    fused = rows.fuse(chosen.worth)
    said = (
        f"{rows.n_classes:,} taxa of the head {head.name} by text and pictures, "
        f"{len(rows.alone):,} by pictures alone"
    )
    if rows.n_left_out:
        said += f", {rows.n_left_out:,} left out that the head divides further"
    return _finish(pictured, fused, ask(fused), said, chosen)


@dataclasses.dataclass(frozen=True)
class _Worth:
    """What a text counts beside a prototype, how that was found, and on which images."""

    worth: float
    rule: str
    marks: npt.NDArray[np.uint64] | None = None


def _choose(
    pictured: Pictured,
    store: EmbeddingStore,
    rank: Rank,
    fusion: Fusion,
    put: Callable[[float], Question],
) -> _Worth:
    """Say how many pictures a text counts as: as is said, by labelled images, or by counts."""
    import numpy as np

    from bioprobe.store.view import View
    from bioprobe.task.target import mark_rows
    from bioprobe.zeroshot.fusion import choose_worth, get_made_of
    from bioprobe.zeroshot.question import answer_at_rank

    if pictured.text_worth is not None:
        return _Worth(pictured.text_worth, "as was said")
    if pictured.worth_where is None:
        return _Worth(fusion.worth, fusion.rule)
    view = View.of(store, pictured.worth_where)
    new = ~get_made_of(pictured.head).find_taught(view.images, view.rows)
    rows = view.rows[new & (view.labels(rank) != "")]
    if not len(rows):
        msg = (
            f"no labelled image that meets {pictured.worth_where!r} is another than those that "
            f"made the prototypes {pictured.head.name}; choose others with --worth-where"
        )
        raise SelectionError(msg)
    if len(rows) > _CHOSEN_ON:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, _CHOSEN_ON).astype(np.int64))]
    judged = View(store, rows)

    def measure(worth: float) -> tuple[int, int]:
        (top, *_) = answer_at_rank(judged, put(worth).named(), 1).accuracy()
        return top.n_correct, top.n_images

    worth, rule = choose_worth(fusion, measure)
    return _Worth(worth, rule, np.unique(mark_rows(store.images, rows)))


def _finish(
    pictured: Pictured, head: TextHead, question: Question, said: str, chosen: _Worth
) -> Fused:
    import numpy as np

    from bioprobe.zeroshot.fusion import get_made_of

    made_of = get_made_of(pictured.head)
    marks = np.asarray(made_of.marks)
    if chosen.marks is not None:
        marks = np.union1d(marks, chosen.marks)
    question = question.with_options(
        prototypes=pictured.head.name, prototypes_sha256=pictured.head.about["vectors_sha256"],
        text_worth=round(chosen.worth, 4), text_worth_rule=chosen.rule,
        **({"worth_where": pictured.worth_where} if pictured.worth_where else {}),
    )  # fmt: skip
    text = (
        f"image prototypes {pictured.head.name} of {len(made_of.marks):,} pictures: {said}; a text "
        f"counts as {chosen.worth:.3g} pictures ({chosen.rule})"
    )
    return Fused(question, (Note(text),), marks, head)
