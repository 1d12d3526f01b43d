"""What an aim may name: classes, the taxa above them, and texts; and what stands for each."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.errors import MisuseError
from bioprobe.explanation.aims import ClassAim, Logits, ProbeLogits, TextLogits
from bioprobe.taxonomy import RANKS

if TYPE_CHECKING:
    from bioprobe.learning.fitted import FittedProbe
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
    ) -> None:
        self.classes = classes
        self.ask = ask
        self._own = _Level(_name_kind(classes), classes.short_names, of_logit)
        self._above = [_Level(kind, tuple(names), places) for kind, names, places in above]
        self._texts, self._probe = texts, probe

    @property
    def probe(self) -> FittedProbe | None:
        """The probe that answers, if one does."""
        return self._probe

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
        beside: Vectors | None = None,
    ) -> ClassAim:
        """Return the aim toward something, against others.

        Parameters
        ----------
        toward : Named
        against : sequence of Named
        alpha : float
            How much these count.
        beside : ndarray of float32, shape (width,), optional
            What stands beside the vector of the picture, for a probe that learnt from such columns.
        """
        groups = [toward.members, *(one.members for one in against)]
        logits: Logits
        if self._probe is not None:
            logits = ProbeLogits(self._probe.estimator, beside)
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
        more = ", …" if len(names) > _SHOWN else ""
        return f"it has {', '.join(names[:_SHOWN])}{more} ({len(names):,})"


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
            view, lambda asked: find_top_named(
                vectors, of_text, asked, k=k, logit_scale=logit_scale
            ),
        )  # fmt: skip
        return Predictions(view.images, view.rows, classes, top, scores, view.describe({}))

    return Candidates(classes, of_text, (), ask, texts=texts)


def from_probe(probe: FittedProbe) -> Candidates:
    """Return the classes of a probe; of taxa, those above them may be named too.

    Raises
    ------
    MisuseError
        If it is a stack of several encoders, of which no one saw the whole answer.
    """
    from bioprobe.probes.stacked import StackProbe

    if isinstance(probe.estimator, StackProbe) and not probe.estimator.is_shared_:
        msg = (
            "the probe is a stack of several encoders, and a map is of one; explain a probe of one "
            "of them: bioprobe probe fit lda, then --probe lda"
        )
        raise MisuseError(msg)
    classes, above = probe.classes, []
    if classes.rank is not None:
        for rank in RANKS[: classes.rank.depth]:
            broader, places = classes.group(rank)
            above.append((rank.value, broader.short_names, places))
    return Candidates(classes, np.arange(len(classes)), above, probe.ask, probe=probe)


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
