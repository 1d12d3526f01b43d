"""Of two classes the positive one, which is looked for: which it is, and from what score on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bioprobe.errors import MisuseError
from bioprobe.names import unify
from bioprobe.types import Doubles, Floats, Mask

# What a table says of a thing that is there, or is so; compared without regard to case.
AFFIRMATIVE = frozenset({
    "yes", "y", "true", "t", "1", "1.0", "positive", "present", "presence", "detected", "occupied",
    "threatened", "endangered", "infected", "invasive", "animal",
})  # fmt: skip
GIVEN, AFFIRMED, RARER = "given", "affirmed", "rarer"


@dataclasses.dataclass(frozen=True)
class Positive:
    """Which of two classes is looked for.

    Parameters
    ----------
    name, other : str
        The positive class, and the negative one.
    reason : {"given", "affirmed", "rarer"}
        A person said so; it alone reads as a yes; it has fewer training images, or of as many is
        the first.
    n_training : tuple of int, length 2
        Training images of the positive class, and of the other.
    n_judged : tuple of int, length 2
        Judged images of the positive class, and of all others.
    """

    name: str
    other: str
    reason: str
    n_training: tuple[int, int]
    n_judged: tuple[int, int] = (0, 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return dataclasses.asdict(self)


def find_positive(
    names: Sequence[str], n_training: Sequence[int], given: str | None = None
) -> Positive | None:
    """Choose the positive class of two; None where there are more or fewer.

    Parameters
    ----------
    names : sequence of str
        Of the classes, in their order.
    n_training : sequence of int
        Training images of each.
    given : str, optional
        The name that a person said; case is no difference where no name is written just so. By
        default the one name that reads as a yes (:data:`AFFIRMATIVE`); if neither does, or both,
        the rarer class among the training images, of equal ones the first.

    Raises
    ------
    MisuseError
        If a name is given and there are not two classes, or it is neither of the two.

    Examples
    --------
    >>> find_positive(["no", "yes"], [3, 5]).name, find_positive(["Aves", "Mammalia"], [9, 4]).name
    ('yes', 'Mammalia')
    """
    if len(names) != 2:
        if given is None:
            return None
        msg = (
            f"--positive says which of two classes is looked for, and there are {len(names)}; "
            "leave it out, or ask for what has two"
        )
        raise MisuseError(msg)
    folded = [_fold(name) for name in names]
    if given is not None:
        place, reason = _find_given(names, folded, str(given)), GIVEN
    elif sum(name in AFFIRMATIVE for name in folded) == 1:
        place, reason = int(folded[1] in AFFIRMATIVE), AFFIRMED
    else:
        place, reason = int(n_training[1] < n_training[0]), RARER
    counts = (int(n_training[place]), int(n_training[1 - place]))
    return Positive(names[place], names[1 - place], reason, counts)


def _fold(name: str) -> str:
    return unify(name).casefold()


def _find_given(names: Sequence[str], folded: Sequence[str], given: str) -> int:
    for wanted, among in ((given, names), (_fold(given), folded)):
        found = [place for place, name in enumerate(among) if name == wanted]
        if len(found) == 1:
            return found[0]
    msg = f"--positive is one of the two classes, {names[0]!r} or {names[1]!r}; got {given!r}"
    raise MisuseError(msg)


@dataclasses.dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """What each threshold of the positive class's probability would give.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (n_thresholds,)
        Ascending; an image is flagged from the threshold on, so the first flags all of them.
    precisions, recalls, f1s : ndarray of float64, shape (n_thresholds,)
        Of the positive class. Not a number where there is no positive image.
    false_positive_rates : ndarray of float64, shape (n_thresholds,)
        Fraction of the other images that are flagged: 1 less the specificity. Not a number where
        there is none.
    flagged : ndarray of float64, shape (n_thresholds,)
        Fraction of all images that are flagged.
    """

    thresholds: Doubles
    precisions: Doubles
    recalls: Doubles
    f1s: Doubles
    false_positive_rates: Doubles
    flagged: Doubles

    @property
    def best(self) -> float:
        """Threshold of the highest F1, half way to the next lower score; of equal ones the highest.

        Not a number where F1 is nowhere measured. It is to be chosen on images that neither taught
        nor judge.
        """
        if not np.isfinite(self.f1s).any():
            return math.nan
        place = len(self.f1s) - 1 - int(np.argmax(self.f1s[::-1]))
        below = self.thresholds[max(0, place - 1)]
        return float((self.thresholds[place] + below) / 2)


def trace_thresholds(is_positive: Mask, scores: Floats) -> ThresholdCurve:
    """Flag images from each score on.

    Parameters
    ----------
    is_positive : ndarray of bool, shape (n_images,)
        Whether each image is of the positive class.
    scores : ndarray of float, shape (n_images,)
        Its probability; every distinct one is a threshold.

    Examples
    --------
    >>> curve = trace_thresholds(np.array([True, False, True]), np.array([0.9, 0.4, 0.2]))
    >>> curve.recalls.tolist(), curve.false_positive_rates.tolist()
    ([1.0, 0.5, 0.5], [1.0, 1.0, 0.0])
    """
    thresholds, places = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
    n_steps, n_positive = len(thresholds), int(is_positive.sum())

    def count_from(chosen: Mask) -> Doubles:
        return np.cumsum(np.bincount(places[chosen], minlength=n_steps)[::-1])[::-1].astype(float)

    right, n_flagged = count_from(is_positive), count_from(np.ones(len(places), dtype=bool))
    with np.errstate(invalid="ignore", divide="ignore"):
        known = np.where(n_positive > 0, 1.0, np.nan)
        return ThresholdCurve(
            thresholds,
            known * right / n_flagged,
            right / n_positive,
            known * 2 * right / (n_positive + n_flagged),
            (n_flagged - right) / (len(places) - n_positive),
            n_flagged / len(places),
        )
