"""What an aim may name: classes, the taxa above them, and texts; and what stands for each."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.errors import MisuseError
from bioprobe.explanation.aims import ClassAim, Logits, ProbeLogits, StackLogits, TextLogits
from bioprobe.result import name_some
from bioprobe.taxonomy import RANKS

if TYPE_CHECKING:
    from bioprobe.learning.fitted import FittedProbe
    from bioprobe.learning.stack import FittedStack
    from bioprobe.probes.probe import Probe
    from bioprobe.store import EmbeddingStore
    from bioprobe.store.view import View
    from bioprobe.task.predictions import Predictions
    from bioprobe.task.target import Classes
    from bioprobe.types import EncodeText, Places, Scores, Vectors
    from bioprobe.zeroshot.question import Question

#: What a name was taken for, where it is no rank.
TEXT, CLASS = "text", "class"
# Names that a message or a note lists.
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Named:
    """Something that an aim is toward or against.

    Parameters
    ----------
    name : str
        As it is shown.
    kind : str
        ``text``, ``class``, or the rank of a taxon.
    members : tuple of int
        What stands for it, among :attr:`Candidates.logits`.
    place : int
        Its place among the classes, -1 where it is none of them.
    """

    name: str
    kind: str
    members: tuple[int, ...]
    place: int = -1


@dataclasses.dataclass(frozen=True, eq=False)
class _Level:
    """Classes of one rank, with what stands for each."""

    kind: str
    names: tuple[str, ...]
    of_logit: Places


class Candidates:
    """Classes that may be answered, and what stands for each.

    Parameters
    ----------
    classes : Classes
        At the level that is asked for.
    of_logit : ndarray of int64, shape (n_logits,)
        Class of each logit, -1 for none.
    above : sequence of (str, sequence of str, ndarray of int64)
        Ranks above: the name of each, its classes, and the class of each logit there.
    ask : callable
        Answers a view with so many classes.
    texts : Texts, optional
        Texts that stand for the classes; None where a probe answers.
    probe : FittedProbe, optional
        That answers.
    find_beside : callable, optional
        Returns what stands beside the vector of a row of a view, where the probe learnt from more.
    """

    def __init__(
        self,
        classes: Classes,
        of_logit: Places,
        above: Sequence[tuple[str, Sequence[str], Places]],
        ask: Callable[[View, int], Predictions],
        *,
        texts: Texts | None = None,
        probe: FittedProbe | None = None,
        find_beside: Callable[[View, int], tuple[Vectors, ...]] | None = None,
    ) -> None:
        self.classes = classes
        self.ask = ask
        self._own = _Level(_name_kind(classes), classes.short_names, of_logit)
        self._above = [_Level(kind, tuple(names), places) for kind, names, places in above]
        self._texts, self._probe, self._find_beside = texts, probe, find_beside

    @property
    def probe(self) -> FittedProbe | None:
        """The probe that answers, if one does."""
        return self._probe

    @property
    def is_same_for_all(self) -> bool:
        """Whether an aim is the same for all pictures: nothing of one stands beside its vector."""
        return self._find_beside is None

    def find_beside(self, view: View, row: int) -> tuple[Vectors, ...]:
        """Return what stands beside the vector of a picture, for :meth:`make_aim`."""
        return () if self._find_beside is None else self._find_beside(view, row)

    def get(self, place: int) -> Named:
        """Return the class at a place."""
        own = self._own
        return Named(own.names[place], own.kind, _find(own.of_logit, place), place)

    def find(self, name: str) -> tuple[Named, tuple[str, ...]]:
        """Find what a name is of: a class, a taxon above, or else a text, if texts can be asked.

        Parameters
        ----------
        name : str
            Case does not matter but in a text.

        Returns
        -------
        named : Named
        near : tuple of str
            Names of classes that a text is nearly written as: it may be a slip.

        Raises
        ------
        MisuseError
            If it is the name of several taxa, or of none where no text can be asked.
        """
        key = name.strip().casefold()
        if not key:
            msg = "what is looked for has no name; give a taxon, a class or a text"
            raise MisuseError(msg)
        found = self._by_name.get(key, [])
        if len(found) > 1:
            kinds = ", ".join(f"{level.kind} {level.names[place]}" for level, place in found)
            msg = (
                f"{name!r} is the name of {len(found)} taxa that may be answered ({kinds}); name "
                "one below or above it, or give a list with --taxa that has one of them"
            )
            raise MisuseError(msg)
        if found:
            level, place = found[0]
            at = place if level is self._own else -1
            return Named(level.names[place], level.kind, _find(level.of_logit, place), at), ()
        near = difflib.get_close_matches(key, self._by_name, n=_SHOWN, cutoff=0.8)
        shown = tuple(self._by_name[one][0][0].names[self._by_name[one][0][1]] for one in near)
        if self._texts is None:
            msg = f"the probe has no class {name!r}; {self._list_names(shown)}"
            raise MisuseError(msg)
        return Named(name, TEXT, (self._texts.add(name),)), shown

    def make_aim(
        self,
        toward: Named,
        against: Sequence[Named] = (),
        alpha: float = 1.0,
        beside: tuple[Vectors, ...] = (),
    ) -> ClassAim:
        """Return the aim toward something, against others.

        Parameters
        ----------
        toward : Named
        against : sequence of Named
        alpha : float
            How much these count.
        beside : tuple of ndarray
            What stands beside the vector of the picture; see :meth:`find_beside`.
        """
        groups = [toward.members, *(one.members for one in against)]
        logits: Logits
        if self._probe is not None:
            logits = _read_logits(self._probe.estimator, beside)
        else:
            used = np.unique(np.concatenate([np.asarray(one, dtype=np.int64) for one in groups]))
            logits = self._need_texts().take(used)
            groups = [tuple(np.searchsorted(used, one).tolist()) for one in groups]
        return ClassAim(logits, groups[0], tuple(groups[1:]), alpha)

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[_Level, int]]]:
        found: dict[str, list[tuple[_Level, int]]] = {}
        for level in (self._own, *self._above):
            for place, name in enumerate(level.names):
                found.setdefault(name.casefold(), []).append((level, place))
        return found

    def _need_texts(self) -> Texts:
        if self._texts is None:
            msg = "neither texts nor a probe stand for these classes"
            raise MisuseError(msg)
        return self._texts

    def _list_names(self, near: Sequence[str]) -> str:
        if near:
            return f"did you mean {' or '.join(near)}?"
        names = self._own.names
        return f"it has {name_some(names, _SHOWN)} ({len(names):,})"


class Texts:
    """Texts that stand for classes, and further ones that a person wrote.

    Parameters
    ----------
    vectors : ndarray of float32 or float16, shape (n_rows, dim), unit rows
    rows : ndarray of int64, shape (n_texts,)
        Rows that take part.
    offsets : ndarray of float32, shape (n_texts,), or None
        Subtracted from their logits.
    logit_scale : float
    encode_text : callable
        From texts to unit vectors.
    """

    def __init__(
        self, vectors: Vectors, rows: Places, offsets: Scores | None, logit_scale: float,
        encode_text: EncodeText,
    ) -> None:  # fmt: skip
        self._vectors, self._rows, self._offsets = vectors, rows, offsets
        self._logit_scale, self._encode = logit_scale, encode_text
        self._added: dict[str, Vectors] = {}

    def add(self, text: str) -> int:
        """Return the number of a text, which is encoded where it is new."""
        if text not in self._added:
            self._added[text] = self._encode([text])[0]
        return len(self._rows) + list(self._added).index(text)

    def take(self, which: Places) -> TextLogits:
        """Return the logits of some texts, by their numbers."""
        own = which[which < len(self._rows)]
        added = list(self._added.values())
        further = [added[one - len(self._rows)] for one in which[len(own) :].tolist()]
        vectors = [self._vectors[self._rows[own]].astype(np.float32)] if len(own) else []
        vectors += [one[np.newaxis] for one in further]
        offsets = None
        if self._offsets is not None:
            offsets = np.append(self._offsets[own], np.zeros(len(further))).astype(np.float64)
        return TextLogits(np.concatenate(vectors), self._logit_scale, offsets)


def from_question(question: Question, encode_text: EncodeText) -> Candidates:
    """Return the taxa of a question that texts, or the rows of a head, stand for.

    The classes are those of the rank that is asked for; the taxa above them may be named too, and
    each is what all the lowest ones below it are together.
    """
    from bioprobe.task.target import Classes
    from bioprobe.zeroshot.question import answer_at_rank

    named = question.named()
    tree, leaves = named.tree, named.leaves
    above = [
        (RANKS[depth].value, [taxon.name for taxon in level], places[leaves.classes])
        for depth, (level, places) in enumerate(zip(tree.levels[:-1], tree.places, strict=False))
    ]
    texts = Texts(leaves.texts, leaves.rows, leaves.offsets, named.logit_scale, encode_text)
    return Candidates(
        Classes.of(tree.classes, tree.rank), tree.place_of[leaves.classes], above,
        lambda view, k: answer_at_rank(view, named, k), texts=texts,
    )  # fmt: skip


def from_phrases(
    classes: Classes, embedded: tuple[Vectors, Places], logit_scale: float, encode_text: EncodeText
) -> Candidates:
    """Return classes that are no taxa, and the texts of each.

    Parameters
    ----------
    classes : Classes
    embedded : tuple of ndarray
        The texts, and the class of each, as :func:`bioprobe.zeroshot.zeroshot.embed_phrases`
        returns them.
    logit_scale : float
    encode_text : callable
    """
    from bioprobe.task.predictions import Predictions, answer_in_chunks
    from bioprobe.zeroshot.zeroshot import find_top_named

    vectors, of_text = embedded
    texts = Texts(vectors, np.arange(len(vectors)), None, logit_scale, encode_text)

    def ask(view: View, k: int) -> Predictions:
        top, scores = answer_in_chunks(
            view, lambda _, asked: find_top_named(
                vectors, of_text, asked, k=k, logit_scale=logit_scale
            ),
        )  # fmt: skip
        return Predictions(view.images, view.rows, classes, top, scores, view.describe({}))

    return Candidates(classes, of_text, (), ask, texts=texts)


def from_probe(probe: FittedProbe) -> Candidates:
    """Return the classes of a probe; of taxa, those above them may be named too."""
    block = probe.block

    def encode(view: View, row: int) -> tuple[Vectors, ...]:
        return () if block is None else (block.encode(view.images, np.array([row]))[0],)

    return Candidates(
        probe.classes, np.arange(len(probe.classes)), _list_above(probe.classes), probe.ask,
        probe=probe, find_beside=None if block is None else encode,
    )  # fmt: skip


def from_stack(stack: FittedStack, others: Sequence[EmbeddingStore]) -> Candidates:
    """Return the classes of a stack of several encoders, of which the first is explained.

    Parameters
    ----------
    stack : FittedStack
    others : sequence of EmbeddingStore
        Stores of the same images by the other encoders, in any order; their vectors are held.

    Raises
    ------
    MismatchError
        If one is missing, or of an encoder that the stack did not learn from.
    """
    from bioprobe.learning.stack import find_shared_images

    def arrange(view: View) -> list[EmbeddingStore]:
        return stack.arrange([view.store, *others])

    def ask(view: View, k: int) -> Predictions:
        return stack.predict(find_shared_images(arrange(view), view.rows), k)

    def read(view: View, row: int) -> tuple[Vectors, ...]:
        shared = find_shared_images(arrange(view), np.array([row]))
        return tuple(one[0] for one in shared.read_vectors()[1:])

    return Candidates(
        stack.classes, np.arange(len(stack.classes)), _list_above(stack.classes), ask,
        probe=stack.probe, find_beside=read,
    )  # fmt: skip


def _read_logits(estimator: Probe, beside: tuple[Vectors, ...]) -> Logits:
    from bioprobe.probes.stacked import StackProbe

    if isinstance(estimator, StackProbe) and not estimator.is_shared_:
        return StackLogits(estimator, beside)
    return ProbeLogits(estimator, beside[0] if beside else None)


def _list_above(classes: Classes) -> list[tuple[str, Sequence[str], Places]]:
    """Return the ranks above classes: the taxa there, and that of each class."""
    above: list[tuple[str, Sequence[str], Places]] = []
    if classes.rank is not None:
        for rank in RANKS[: classes.rank.depth]:
            broader, places = classes.group(rank)
            above.append((rank.value, broader.short_names, places))
    return above


def from_texts(logit_scale: float, encode_text: EncodeText) -> Candidates:
    """Return no classes at all: whatever is named is a text."""
    from bioprobe.task.predictions import Predictions
    from bioprobe.task.target import Classes

    classes = Classes(())
    texts = Texts(
        np.zeros((0, 0), dtype=np.float32), np.zeros(0, dtype=np.int64), None, logit_scale,
        encode_text,
    )  # fmt: skip

    def ask(view: View, _: int) -> Predictions:
        empty = np.zeros((len(view), 0))
        return Predictions(
            view.images, view.rows, classes, empty.astype(np.int64), empty.astype(np.float32),
            view.describe({}),
        )  # fmt: skip

    return Candidates(classes, np.zeros(0, dtype=np.int64), (), ask, texts=texts)


def _find(of_logit: Places, place: int) -> tuple[int, ...]:
    return tuple(np.flatnonzero(of_logit == place).tolist())


def _name_kind(classes: Classes) -> str:
    return CLASS if classes.rank is None else classes.rank.value
