"""How near is near enough: a similarity, the best share, or more than a background of texts.

What reaches a threshold is found by comparing all rows that may be answers, never by an approximate
index, which would lose some and not say which.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from bioprobe.errors import MisuseError, SourceError
from bioprobe.index.exact import NUMBERS_HELD, StoredVectors, find_all
from bioprobe.index.question import Question
from bioprobe.types import Doubles, Mask, Rows, Scores, Vectors

#: How the place of a question among background texts is told.
FORMS = Z, PROBABILITY = ("z", "probability")
# A mean and a spread of fewer say little.
_LEAST_TEXTS = 5


@dataclasses.dataclass(frozen=True)
class Background:
    r"""Texts that an image may be like as well, and how far above them a question must be.

    For each image with the similarities :math:`s_q` to the question and :math:`s_t` to the
    question with each text :math:`t` in place of its own, the form ``z`` is

    .. math:: (s_q - \mathrm{mean}_t\, s_t) / \mathrm{std}_t\, s_t

    and ``probability`` is the softmax over question and background at the encoder's logit scale,

    .. math:: e^{\lambda s_q} / (e^{\lambda s_q} + \sum_t e^{\lambda s_t})

    Parameters
    ----------
    texts : sequence of str
        As the encoder read them.
    vectors : ndarray of float32, shape (n_texts, dim), unit rows
    names : sequence of str
        What they were named by, such as a set that ships.
    form : {"z", "probability"}
    least : float, optional
        Threshold; without one the value is only told.
    logit_scale : float
        Of the encoder.
    """

    texts: Sequence[str]
    vectors: Vectors
    names: Sequence[str] = ()
    form: str = Z
    least: float | None = None
    logit_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            msg = f"--background-as is {' or '.join(FORMS)}, got {self.form!r}"
            raise MisuseError(msg)
        if self.form == PROBABILITY and self.least is not None and not 0 <= self.least <= 1:
            msg = f"a probability is 0 to 1, got --over-background {self.least:g}"
            raise MisuseError(msg)

    def leave_out(self, texts: Sequence[str]) -> Background:
        """Return the background without texts that are asked for themselves.

        Raises
        ------
        SourceError
            If fewer texts are left than tell anything.
        """
        asked = {text.strip().casefold() for text in texts}
        kept = [place for place, text in enumerate(self.texts) if text.casefold() not in asked]
        least = _LEAST_TEXTS if self.form == Z else 1
        if len(kept) < least:
            msg = (
                f"a background has {least} texts or more, beside what is asked for, got "
                f"{len(kept)}; name a set that ships, a file with more, or more texts"
            )
            raise SourceError(msg)
        texts = [self.texts[place] for place in kept]
        return dataclasses.replace(self, texts=texts, vectors=self.vectors[kept])

    @property
    def column(self) -> str:
        """Name of the value in a table."""
        return f"{self.form}_over_background"

    def score(
        self, vectors: StoredVectors, question: Question, rows: Rows, similarities: Scores
    ) -> Doubles:
        """Return the place of a question among the background, for some images.

        Parameters
        ----------
        vectors : StoredVectors
        question : Question
            Whose texts the background takes the place of.
        rows : ndarray of int64, shape (n,)
        similarities : ndarray of float32, shape (n,)
            To the question.

        Returns
        -------
        ndarray of float64, shape (n,)
            To six digits, as a table has it.
        """
        others = question.put_texts(self.vectors).astype(np.float64)
        values = np.empty(len(rows))
        n_held = max(1, NUMBERS_HELD // max(others.shape))
        order = np.argsort(rows)
        for start in range(0, len(rows), n_held):
            part = order[start : start + n_held]
            near = vectors.take(rows[part]).astype(np.float64) @ others.T
            values[part] = self._compare(similarities[part].astype(np.float64), near)
        return np.round(values, 6)

    def _compare(self, own: Doubles, others: Doubles) -> Doubles:
        if self.form == Z:
            spread = np.maximum(others.std(axis=1), np.finfo(np.float32).eps)
            return np.asarray((own - others.mean(axis=1)) / spread)
        above = np.exp(self.logit_scale * (others - own[:, None])).sum(axis=1)
        return np.asarray(1 / (1 + above))

    def describe(self) -> dict[str, Any]:
        """Return what it is, JSON-ready."""
        facts: dict[str, Any] = {
            "names": list(self.names), "texts": list(self.texts), "form": self.form,
            "least": self.least,
        }  # fmt: skip
        return facts | ({"logit_scale": self.logit_scale} if self.form == PROBABILITY else {})


@dataclasses.dataclass(frozen=True)
class Enough:
    """What an image must reach to be an answer: all that is given.

    Parameters
    ----------
    min_similarity : float, optional
        Least cosine similarity, compared at the six digits that a table shows.
    share : float, optional
        Best share of the images that may be answers, in (0, 1], rounded up to whole images.
    background : Background, optional
    """

    min_similarity: float | None = None
    share: float | None = None
    background: Background | None = None

    def __post_init__(self) -> None:
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:
            msg = f"--min-similarity is a cosine, -1 to 1, got {self.min_similarity}"
            raise SourceError(msg)
        if self.share is not None and not 0 < self.share <= 1:
            msg = f"--share is more than 0 and at most 1, such as 0.01, got {self.share}"
            raise SourceError(msg)

    @property
    def is_threshold(self) -> bool:
        """Whether it leaves anything out."""
        is_above = self.background is not None and self.background.least is not None
        return self.min_similarity is not None or self.share is not None or is_above

    def count_share(self, n_images: int) -> int | None:
        """Return how many of so many images the share is, None where none is asked for.

        Examples
        --------
        >>> Enough(share=0.07).count_share(100), Enough(share=0.01).count_share(150)
        (7, 2)
        """
        if self.share is None:
            return None
        # In decimals, as it was written: 0.07 times 100 is more than 7 in binary.
        return math.ceil(Decimal(str(self.share)) * n_images)

    def find(
        self, vectors: StoredVectors, question: Question, allowed: Mask
    ) -> tuple[Rows, Scores, Doubles | None]:
        """Find all images that reach it.

        Parameters
        ----------
        vectors : StoredVectors
            Where to look.
        question : Question
        allowed : ndarray of bool, shape (n_rows,)
            Rows that may be answers.

        Returns
        -------
        rows : ndarray of int64, shape (n_hits,)
            Nearest first, of equal similarities the lower row first.
        similarities : ndarray of float32, shape (n_hits,)
        values : ndarray of float64, shape (n_hits,), or None
            Places among the background, where there is one.
        """
        most = self.count_share(int(allowed.sum()))
        rows, similarities = find_all(
            vectors, question.vector, allowed, least=self.min_similarity, most=most
        )
        if self.background is None:
            return rows, similarities, None
        values = self.background.score(vectors, question, rows, similarities)
        if self.background.least is None:
            return rows, similarities, values
        reached = values >= self.background.least
        return rows[reached], similarities[reached], values[reached]

    def describe(self) -> dict[str, Any]:
        """Return what is asked for, JSON-ready; what is not given is left out."""
        facts: dict[str, Any] = {"min_similarity": self.min_similarity, "share": self.share}
        if self.background is not None:
            facts["background"] = self.background.describe()
        return {name: value for name, value in facts.items() if value is not None}

    def explain(self) -> str:
        """Return the thresholds in words."""
        return describe_enough(self.describe())


def describe_enough(facts: Mapping[str, Any]) -> str:
    """Return thresholds in words, ``""`` where there are none."""
    words = []
    if "min_similarity" in facts:
        words.append(f"a similarity of {facts['min_similarity']:g} or more")
    if "share" in facts:
        words.append(f"the best {100 * facts['share']:g}%")
    above = facts.get("background")
    if above and above["least"] is not None:
        texts = f"{len(above['texts']):,} background texts"
        words.append(f"a {above['form']} of {above['least']:g} or more over {texts}")
    return " and ".join(words)
