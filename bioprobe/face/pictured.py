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
    from bioprobe.zeroshot.fusion import Fusion, Worth
    from bioprobe.zeroshot.question import Question
    from bioprobe.zeroshot.text_head import TextHead


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
        cls,
        view: View,
        name: str | None,
        text_worth: float | None = None,
        worth_where: str | None = None,
    ) -> Pictured | None:
        """Open a head of prototypes by its name; None where none is named.

        Raises
        ------
        PromptError
            If it is a text head.
        MisuseError
            If both ways to say what a text counts are given.
        """
        if name is None:
            return None
        from bioprobe.zeroshot.fusion import get_made_of
        from bioprobe.zeroshot.text_head import read_head

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
    return _finish(pictured, store, pictured.head, put(chosen.value), said, chosen)


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
    fused = rows.fuse(chosen.value)
    said = (
        f"{rows.n_classes:,} taxa of the head {head.name} by text and pictures, "
        f"{len(rows.alone):,} by pictures alone"
    )
    if rows.n_left_out:
        said += f", {rows.n_left_out:,} left out that the head divides further"
    return _finish(pictured, store, fused, ask(fused), said, chosen)


def _choose(
    pictured: Pictured,
    store: EmbeddingStore,
    rank: Rank,
    fusion: Fusion,
    put: Callable[[float], Question],
) -> Worth:
    """Say how many pictures a text counts as: as is said, by labelled images, or by counts."""
    from bioprobe.store.view import View
    from bioprobe.zeroshot.fusion import Worth, choose_worth_among, get_made_of

    if pictured.text_worth is not None:
        return Worth(pictured.text_worth, "as was said")
    if pictured.worth_where is None:
        return Worth(fusion.worth, fusion.rule)
    view = View.of(store, pictured.worth_where)
    chosen = choose_worth_among(view, rank, get_made_of(pictured.head), fusion, put)
    if chosen is None:
        msg = (
            f"no labelled image that meets {pictured.worth_where!r} is another than those that "
            f"made the prototypes {pictured.head.name}; choose others with --worth-where"
        )
        raise SelectionError(msg)
    return chosen


def _finish(
    pictured: Pictured,
    store: EmbeddingStore,
    head: TextHead,
    question: Question,
    said: str,
    chosen: Worth,
) -> Fused:
    import numpy as np

    from bioprobe.task.target import mark_rows
    from bioprobe.zeroshot.fusion import describe_fused, get_made_of

    made_of = get_made_of(pictured.head)
    marks = np.asarray(made_of.marks)
    if chosen.rows is not None:
        marks = np.union1d(marks, mark_rows(store.images, chosen.rows))
    question = question.with_options(
        **describe_fused(pictured.head, chosen),
        **({"worth_where": pictured.worth_where} if pictured.worth_where else {}),
    )
    text = (
        f"image prototypes {pictured.head.name} of {len(made_of.marks):,} pictures: {said}; a text "
        f"counts as {chosen.value:.3g} pictures ({chosen.rule})"
    )
    return Fused(question, (Note(text),), marks, head)
