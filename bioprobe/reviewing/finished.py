"""How good a collection is now, and when to stop: what would be handed over, by random draws.

Handed over are people's labels where they gave one, and answers elsewhere. What a person says is
right by definition; answers are judged by pictures that were drawn at random, each by what is
answered to it now by whoever did not learn from it. A label that came with a picture is an answer
too, a claim, and is judged as it stands; where it is trusted it counts as a person's.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property

import numpy as np

from bioprobe.errors import SelectionError
from bioprobe.intervals import Interval
from bioprobe.reviewing.confidence import LEVEL, Draws, bound_total
from bioprobe.reviewing.discovery import Discovery, count_needed
from bioprobe.types import Doubles, Mask, Places

#: Random draws below which a figure of a class is refused.
FEWEST = 5
#: Labels of a class up to which what the others answer is not fair, as the benchmark of coverage
#: (``benchmarks/review_coverage.py``) found.
FEW_LABELS = 3
#: What is wished where nobody says it: accuracy, and the chance of something new.
GOAL, UNSEEN = 0.95, 0.01
# How much of what is wrong is to be mended at least, of what may be left.
_LEFT_WRONG = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """A pool, what people said of it, and what is answered now.

    Parameters
    ----------
    draws : Draws
        What was looked at, and what of it was drawn at random.
    labels : ndarray of int64, shape (n_units,)
        Class of each unit by people, or by a trusted label that came with it; -1 for none.
    answers : ndarray of int64, shape (n_units,)
        Class that is answered: of a unit with a label what those answer who did not learn from it;
        of one with a claim what it claims. -1 where nothing answers.
    scores : ndarray of float64, shape (n_units,)
        Probability of the answer, of labelled units too as above; 1 of a claim.
    claims : ndarray of bool, shape (n_units,), optional
        Whether the answer is a label that came with the unit; by default none is.

    Raises
    ------
    SelectionError
        If these are not of one length, or a label was given to what nobody looked at.
    """

    draws: Draws
    labels: Places
    answers: Places
    scores: Doubles
    claims: Mask = dataclasses.field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        n = self.draws.n_units
        if not all(len(one) == n for one in (self.labels, self.answers, self.scores)):
            msg = (
                f"labels, answers and scores are of the {n:,} units of the pool, got "
                f"{len(self.labels):,}, {len(self.answers):,} and {len(self.scores):,}"
            )
            raise SelectionError(msg)
        if not len(self.claims):
            object.__setattr__(self, "claims", np.zeros(n, dtype=bool))
        if (self.labels[self.draws.left] >= 0).any():
            unit = int(np.flatnonzero(self.draws.left & (self.labels >= 0))[0])
            msg = f"unit {unit} has a label, and is not among those that were looked at"
            raise SelectionError(msg)

    @property
    def n_units(self) -> int:
        """Units of the pool."""
        return self.draws.n_units

    @cached_property
    def is_given(self) -> Mask:
        """Which units have a label that is handed over."""
        return self.labels >= 0

    @cached_property
    def handed_over(self) -> Places:
        """Class of each unit that is handed over: the label, else the answer; -1 for none."""
        return np.where(self.is_given, self.labels, self.answers)

    @cached_property
    def errors(self) -> tuple[Doubles, Doubles]:
        """Whether each answer is wrong, at least and at most; of what was looked at alone.

        Who did not learn from a picture of a class of few labels is nearly sure to be wrong, where
        who did may be right of others of it: such an answer counts as wrong for the lower end of
        the accuracy, and as right for the upper one. What nobody could tell does so too. A claim
        learns from nothing, and is wrong or right.
        """
        wrong = np.where(self.is_given, self.answers != self.labels, self._unsure)
        return (wrong & self._can_tell).astype(np.float64), wrong.astype(np.float64)

    @cached_property
    def _can_tell(self) -> Mask:
        taught = np.where(self.is_given, self.labels, np.where(self.claims, self.answers, -1))
        sizes = np.bincount(taught[taught >= 0], minlength=int(self.labels.max(initial=0)) + 1)
        is_of_many = sizes[np.maximum(self.labels, 0)] > FEW_LABELS
        return self.is_given & (is_of_many | self.claims)

    @cached_property
    def doubts(self) -> Doubles:
        """Chance that each answer is wrong, by itself."""
        return np.where(self.answers < 0, 1.0, 1.0 - np.clip(self.scores, 0.0, 1.0))

    @cached_property
    def _unsure(self) -> Mask:
        return ~self.draws.left & ~self.is_given

    def within(self, some: Mask) -> Judged:
        """Return the same of some units alone."""
        found = Judged(
            self.draws.within(some), self.labels[some], self.answers[some], self.scores[some],
            self.claims[some],
        )  # fmt: skip
        # How many labels a class has is known of the whole.
        found.__dict__["_can_tell"] = self._can_tell[some]
        return found


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Share of what would be handed over that is right, with an interval for every look.

    Parameters
    ----------
    share : Interval
        Not a number where nothing was drawn at random.
    wrong : Interval
        How many of the answers to what nobody looked at are wrong.
    n_units, n_given, n_left : int
        Units, those with a label, those that nobody has looked at.
    n_draws : int
        Random draws that the interval rests on.
    claimed : float
        What the answers' own probabilities say it is.
    """

    share: Interval
    wrong: Interval
    n_units: int
    n_given: int
    n_left: int
    n_draws: int
    claimed: float


def measure_accuracy(judged: Judged) -> Accuracy:
    """Measure how much of what would be handed over now is right.

    Examples
    --------
    >>> draws = Draws(400, np.arange(200), np.arange(200), np.zeros(200, dtype=np.int64))
    >>> labels = np.where(np.arange(400) < 200, 0, -1)
    >>> answers = np.zeros(400, dtype=np.int64)
    >>> found = measure_accuracy(Judged(draws, labels, answers, np.full(400, 0.9)))
    >>> print(found.share)
    1.000 [0.980, 1.000]
    """
    draws, n = judged.draws, judged.n_units
    n_left, n_given = int(draws.left.sum()), int(judged.is_given.sum())
    unsure = n - n_left - n_given
    expected = float(judged.doubts[~judged.is_given].sum())
    wrong = bound_total(draws, *judged.errors, judged.doubts)
    if not n:
        nothing = Interval(math.nan, math.nan, math.nan)
        return Accuracy(nothing, wrong, 0, 0, 0, 0, math.nan)
    guessed = float(judged.doubts[~draws.left & ~judged.is_given].sum())
    share = Interval(
        1 - (wrong.estimate + guessed) / n, 1 - (wrong.high + unsure) / n, 1 - wrong.low / n
    )
    return Accuracy(share, wrong, n, n_given, n_left, len(draws.units), 1 - expected / n)


def measure_claims(judged: Judged) -> Interval:
    """Measure how many of the labels that came with pictures are right, as they came.

    Parameters
    ----------
    judged : Judged
        Its draws have equal chances.

    Returns
    -------
    Interval
        Share of them; it holds at every look. Not a number where there is none.
    """
    own = judged.within(judged.claims)
    n = own.n_units
    if not n:
        return Interval(math.nan, math.nan, math.nan)
    looked = ~own.draws.left
    least, most = (float(one[looked].sum()) for one in own.errors)
    wrong = bound_total(own.draws, *own.errors, own.doubts)
    return Interval(
        1 - (most + wrong.estimate) / n, 1 - (most + wrong.high) / n, 1 - (least + wrong.low) / n
    )


@dataclasses.dataclass(frozen=True)
class OfClass:
    """How well a class is told in what would be handed over.

    Parameters
    ----------
    code : int
        The class.
    n_handed : int
        Units that would be handed over as it.
    n_given : int
        Those of them with a label.
    n_drawn : int
        Random draws that are of it.
    n_answered : int
        Random draws that are answered as it by those who did not learn from them.
    precision, recall : Interval
        Not a number where fewer than :data:`FEWEST` draws tell, unless all is known.
    """

    code: int
    n_handed: int
    n_given: int
    n_drawn: int
    n_answered: int
    precision: Interval
    recall: Interval


def measure_classes(judged: Judged) -> list[OfClass]:
    """Measure precision and recall of each class of what would be handed over, by the same draws.

    Precision is of the units that are handed over as the class; those of its answers that nobody
    looked at are judged by the draws that are answered so. Recall sets those that are right against
    what is missed: units of the class that are answered otherwise, by the draws of these. Each
    interval holds at every look; there are as many as classes, and some of many fail.

    Parameters
    ----------
    judged : Judged
        Its draws have equal chances.

    Raises
    ------
    SelectionError
        If chances differ.
    """
    handed = judged.handed_over
    known = judged.labels[judged.draws.order]
    codes = np.unique(np.concatenate([handed[handed >= 0], known[known >= 0]]))
    return [measure_class(judged, int(code)) for code in codes]


def measure_class(judged: Judged, code: int) -> OfClass:
    """Measure precision and recall of one class; see :func:`measure_classes`."""
    drawn = judged.draws.units
    n_handed = int((judged.handed_over == code).sum())
    n_given = int((judged.labels == code).sum())
    is_answer = judged.answers == code
    n_drawn, n_answered = int((judged.labels[drawn] == code).sum()), int(is_answer[drawn].sum())
    left = judged.draws.left
    of_answers = judged.within(is_answer)
    n_unknown = int((is_answer & ~judged.is_given).sum())
    nothing = Interval(math.nan, math.nan, math.nan)
    precision = recall = nothing
    one_each = 1 - (1 - LEVEL) / 2
    right = Interval(0.0, 0.0, 0.0)
    if n_handed and (n_answered >= FEWEST or not n_unknown):
        found = measure_accuracy(of_answers)
        wrong = (1 - found.share.estimate) * found.n_units
        precision = Interval(
            1 - wrong / n_handed,
            1 - (found.wrong.high + n_unknown - found.n_left) / n_handed,
            1 - found.wrong.low / n_handed,
        )
        both = bound_total(of_answers.draws, *of_answers.errors, of_answers.doubts, level=one_each)
        right = Interval(n_handed - wrong, n_given + found.n_left - both.high, n_handed - both.low)
    is_other = left & ~is_answer
    if (n_drawn >= FEWEST and not math.isnan(precision.estimate)) or not left.any():
        missed = _bound_missed(judged, code, one_each) if is_other.any() else Interval(0, 0, 0)
        recall = Interval(
            _divide(right.estimate, right.estimate + missed.estimate),
            _divide(right.low, right.low + missed.high),
            _divide(right.high, right.high + missed.low),
        )
    return OfClass(code, n_handed, n_given, n_drawn, n_answered, precision, recall)


def _bound_missed(judged: Judged, code: int, level: float) -> Interval:
    """Bound how many units that nobody looked at are of a class, and answered otherwise."""
    others = judged.within(judged.answers != code)
    is_it = others.labels == code
    low = (is_it & (others.errors[0] > 0)).astype(np.float64)
    high = (is_it | others._unsure).astype(np.float64)
    return bound_total(others.draws, low, high, level=level)


def _divide(above: float, below: float) -> float:
    return above / below if below > 0 else math.nan


@dataclasses.dataclass(frozen=True)
class Needed:
    """How many further labels are likely to be needed.

    Parameters
    ----------
    n_draws : float
        To be drawn at random; 0 where none are, infinite where that will not do.
    n_mended : float
        Of doubtful answers, that are to be looked at before it can be.
    """

    n_draws: float
    n_mended: float

    @property
    def n_labels(self) -> float:
        """Both together."""
        return self.n_draws + self.n_mended


def count_draws(accuracy: Accuracy, half_width: float) -> float:
    r"""Return how many further random draws are likely to bring the lower end so near.

    What is expected where the draws to come are like those there were: an interval of :math:`n`
    draws of which a share :math:`p` is wrong ends where :math:`n \, \mathrm{kl}(p, q) = \log(2 /
    \alpha) + \frac12 \log n`, and what this is off by now it is then.

    Parameters
    ----------
    accuracy : Accuracy
    half_width : float
        Of the estimate above the lower end of the interval, above 0.

    Returns
    -------
    float
        0 where it is as near already; the number of those that nobody has looked at at most.
    """
    n, left = accuracy.n_draws, accuracy.n_left
    if not left or accuracy.share.estimate - accuracy.share.low <= half_width:
        return 0.0
    if not n:
        return float(min(left, math.ceil(math.log(2 / (1 - LEVEL)) / half_width)))
    share = min(max(accuracy.wrong.estimate / left, 0.5 / (n + 1)), 1 - 0.5 / (n + 1))
    now = accuracy.share.estimate - accuracy.share.low
    factor = now / max(_find_half(share, n) * left / accuracy.n_units, 1e-12)

    def is_near(more: int) -> bool:
        rest = (left - more) / accuracy.n_units
        return factor * _find_half(share, n + more) * rest <= half_width

    low, high = 0, left
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_near(middle) else (middle, high)
    return float(high)


def count_for_width(accuracy: Accuracy, width: float) -> float:
    """Return how many further random draws are likely to make the interval so wide and no wider.

    Parameters
    ----------
    accuracy : Accuracy
    width : float
        Of the interval, in (0, 1).

    Returns
    -------
    float
        As :func:`count_draws`, of which both halves fall alike.

    Raises
    ------
    SelectionError
        If the width is out of range.
    """
    if not 0 < width < 1:
        msg = f"the width of an interval lies between 0 and 1, such as 0.1; got {width:g}"
        raise SelectionError(msg)
    share = accuracy.share
    now = share.high - share.low
    if now <= width:
        return 0.0
    if not accuracy.n_draws:
        return count_draws(accuracy, width / 2)
    half = share.estimate - share.low
    if half <= 0:
        return float(min(accuracy.n_left, math.ceil(accuracy.n_draws * ((now / width) ** 2 - 1))))
    return count_draws(accuracy, half * width / now)


def _find_half(share: float, n: int) -> float:
    """Return how far above a share the end of an interval of so many draws is."""
    limit = (math.log(2 / (1 - LEVEL)) + 0.5 * math.log(n + 1)) / n
    low, high = share, 1.0 - 1e-12
    for _ in range(50):
        middle = (low + high) / 2
        kl = share * math.log(share / middle) + (1 - share) * math.log((1 - share) / (1 - middle))
        low, high = (middle, high) if kl < limit else (low, middle)
    return high - share


def count_labels(judged: Judged, accuracy: Accuracy, goal: float) -> Needed:
    """Return how many further labels are likely to bring the lower end above a goal.

    Where more is wrong than may be, the most doubtful answers are looked at first, as many as leave
    half of what may be wrong, by the probabilities as they are borne out so far; a probe that
    learns from them needs fewer. Then as many random draws as show it.

    Parameters
    ----------
    judged : Judged
    accuracy : Accuracy
        Of it.
    goal : float
        That the lower end of the accuracy is to reach, in (0, 1).
    """
    if not accuracy.n_left or accuracy.share.low >= goal:
        return Needed(0.0, 0.0)
    if math.isnan(accuracy.share.estimate):
        wrong = (1 - accuracy.claimed) * accuracy.n_units
    else:
        wrong = (1 - accuracy.share.estimate) * accuracy.n_units
    allowed = (1 - goal) * accuracy.n_units
    n_mended = 0
    if wrong > _LEFT_WRONG * allowed:
        # A claim is as doubtful as all are in the mean.
        even = min(wrong / accuracy.n_left, 1.0)
        doubts = np.where(judged.claims, even, judged.doubts)[judged.draws.left]
        doubts = np.sort(doubts)[::-1]
        mended = np.cumsum(np.minimum(doubts * (wrong / max(float(doubts.sum()), 1e-9)), 1.0))
        n_mended = int(np.searchsorted(mended, wrong - _LEFT_WRONG * allowed)) + 1
        n_mended, wrong = min(n_mended, accuracy.n_left), _LEFT_WRONG * allowed
    n_left = accuracy.n_left - n_mended
    estimate = 1 - wrong / accuracy.n_units
    reached = dataclasses.replace(
        accuracy, n_left=n_left,
        wrong=dataclasses.replace(accuracy.wrong, estimate=min(wrong, n_left)),
        share=Interval(estimate, min(accuracy.share.low, estimate), 1.0),
    )  # fmt: skip
    return Needed(count_draws(reached, estimate - goal), float(n_mended))


@dataclasses.dataclass(frozen=True)
class Advice:
    """Whether to go on, why, and for how long.

    Parameters
    ----------
    stop : bool
        Whether both are reached.
    is_accurate, is_complete : bool
        Whether the lower end of the accuracy is at least what is wished, and the upper end of the
        chance of something new at most.
    text : str
        The same for people, in one sentence.
    n_labels : int
        Further labels that are likely to be needed, 0 where none are.
    n_draws : int
        Those of them that are to be drawn at random.
    """

    stop: bool
    is_accurate: bool
    is_complete: bool
    text: str
    n_labels: int
    n_draws: int


def advise(judged: Judged, accuracy: Accuracy, discovery: Discovery, *, goal: float = GOAL,
           unseen: float = UNSEEN) -> Advice:  # fmt: skip
    """Say whether to stop: when the accuracy is high enough, and nothing new is likely to come.

    A high accuracy alone comes long before the last rare species is found.

    Parameters
    ----------
    judged : Judged
    accuracy : Accuracy
    discovery : Discovery
    goal : float
        That the lower end of the accuracy is to reach, in (0, 1).
    unseen : float
        That the upper end of the chance of something new is not to exceed, in (0, 1).

    Raises
    ------
    SelectionError
        If either is out of range.

    References
    ----------
    arXiv 2606.03821 (stopping on held-out accuracy ends too early and loses rare species).
    """
    for name, value in (("an accuracy to reach", goal), ("a chance of something new", unseen)):
        if not 0 < value < 1:
            msg = f"{name} lies between 0 and 1, such as {GOAL if value is goal else UNSEEN}; "
            msg += f"got {value:g}"
            raise SelectionError(msg)
    if not accuracy.n_left:
        text = f"stop: all {accuracy.n_units:,} were looked at, or have a label that is trusted"
        return Advice(True, True, True, text, 0, 0)
    is_accurate = accuracy.share.low >= goal
    is_complete = discovery.unseen.high <= unseen
    if is_accurate and is_complete:
        text = (
            f"stop: at least {accuracy.share.low:.3f} of what would be handed over is right "
            f"({goal:g} is wished), and the next picture is of something new with a chance of at "
            f"most {discovery.unseen.high:.3f} ({unseen:g})"
        )
        return Advice(True, True, True, text, 0, 0)
    needed = count_labels(judged, accuracy, goal)
    new = count_needed(discovery.unseen, unseen, discovery.n_draws)
    n_draws = min(math.ceil(max(needed.n_draws, new)), accuracy.n_left)
    n_labels = min(n_draws + math.ceil(needed.n_mended), accuracy.n_left)
    reasons = []
    if not accuracy.n_draws:
        reasons.append(
            "nothing is known yet of how much is right, as no picture that was drawn at random is "
            "answered"
        )
    elif not is_accurate:
        reasons.append(
            f"of what would be handed over no more than {accuracy.share.low:.3f} is sure to be "
            f"right ({goal:g} is wished)"
        )
    if accuracy.n_draws and not is_complete:
        reasons.append(
            f"the next picture may be of something new with a chance of up to "
            f"{discovery.unseen.high:.3f} ({unseen:g} is wished)"
        )
    about = f"about {n_labels:,} more labels, {n_draws:,} of them of pictures drawn at random"
    if n_labels >= accuracy.n_left:
        about = f"about all {accuracy.n_left:,} that are left"
    elif needed.n_mended:
        about += ", fewer as answers get better"
    text = f"go on: {' and '.join(reasons)}; it takes {about}"
    return Advice(False, is_accurate, is_complete, text, n_labels, n_draws)
