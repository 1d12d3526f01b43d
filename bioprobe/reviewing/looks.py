"""What people looked at, in which order, and what of it was drawn at random: read from the log."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.reviewing.confidence import Draws
from bioprobe.reviewing.desk import AUDIT
from bioprobe.reviewing.finished import Judged
from bioprobe.reviewing.learner import ZERO_SHOT
from bioprobe.types import Doubles, Mask, Places

if TYPE_CHECKING:
    from bioprobe.reviewing.learner import Learner

# A draw counts where at least this share of what nobody had looked at could have been drawn.
_MOST = 0.95


@dataclasses.dataclass(frozen=True)
class Said:
    """That somebody said something of a picture; in the order in which it was written.

    Parameters
    ----------
    place : int
        Of the picture in the pool.
    shown_for : str
        Why it was shown.
    chance : float
        With which it was drawn for that, NaN where it was not drawn by chance.
    """

    place: int
    shown_for: str
    chance: float


@dataclasses.dataclass(frozen=True, eq=False)
class Looks:
    """Who looked at what, as :class:`bioprobe.reviewing.confidence.Draws`.

    Parameters
    ----------
    draws : Draws
    n_left_out : int
        Random draws that do not count, since they were of fewer pictures than there are.
    n_trusted : int
        Pictures whose label came with them and is trusted: the first of the order.
    """

    draws: Draws
    n_left_out: int
    n_trusted: int


def read_looks(n_units: int, trusted: Mask, said: Sequence[Said]) -> Looks:
    """Read what was looked at, and what of it was drawn at random from all that was left.

    Pictures that came with a label which is trusted are first: nobody draws these. A picture is
    drawn by the first that is said of it; its chance is one in the pictures that were left then,
    those of its batch before it left out. So the chance says how much had been looked at when the
    batch was drawn.

    Parameters
    ----------
    n_units : int
        Pictures of the pool.
    trusted : ndarray of bool, shape (n_units,)
        Which have a label that came with them and counts as right.
    said : sequence of Said

    Examples
    --------
    >>> said = [Said(4, "audit", 1 / 5), Said(2, "margin", float("nan")), Said(0, "audit", 1 / 4)]
    >>> draws = read_looks(5, np.zeros(5, dtype=bool), said).draws
    >>> draws.order.tolist(), draws.units.tolist(), draws.before.tolist()
    ([4, 2, 0], [4, 0], [0, 0])
    """
    order = np.flatnonzero(trusted).tolist()
    seen, drawn = set(order), list[tuple[int, int, int]]()
    for one in said:
        if one.place in seen:
            continue
        if one.shown_for == AUDIT and one.chance > 0:
            drawn.append((round(1 / one.chance), len(order), one.place))
        seen.add(one.place)
        order.append(one.place)
    n_trusted = int(trusted.sum())
    units, before, n_left_out = _find_batches(n_units, drawn, n_trusted)
    draws = Draws(n_units, np.array(order, dtype=np.int64), units, before)
    return Looks(draws, n_left_out, n_trusted)


def _find_batches(
    n_units: int, drawn: Sequence[tuple[int, int, int]], n_trusted: int
) -> tuple[Places, Places, int]:
    """Return which draws count, in their order, and how much had been looked at before each."""
    batches: list[list[tuple[int, int, int]]] = []
    # From what was left later fewer are left; of a batch each is drawn from one less.
    for one in sorted(drawn, key=lambda one: (-one[0], one[1])):
        if batches and batches[-1][-1][0] - 1 == one[0]:
            batches[-1].append(one)
        else:
            batches.append([one])
    kept: list[tuple[int, int]] = []
    n_left_out, latest = 0, n_trusted
    for batch in batches:
        n_from, first = batch[0][0], min(place for _, place, _ in batch)
        before = n_units - n_from
        # Where it was drawn from more than are asked now, or beside another person's batch, it is
        # as if it had been drawn from what was left when it was answered.
        before = min(before if before >= latest else first, first)
        latest = max(latest, *(place + 1 for _, place, _ in batch))
        if n_from < _MOST * (n_units - before):
            n_left_out += len(batch)
            continue
        kept += [(before, unit) for _, _, unit in batch]
    kept.sort(key=lambda one: one[0])
    units = np.array([unit for _, unit in kept], dtype=np.int64)
    return units, np.array([before for before, _ in kept], dtype=np.int64), n_left_out


def judge(learner: Learner, draws: Draws, came: Places | None = None) -> Judged:
    """Return what people said and what is answered now, by who did not learn from it.

    A label that came with a picture is its answer, until a person says that it is not.

    Parameters
    ----------
    learner : Learner
        That has learnt from what has a label by now.
    draws : Draws
        Of the pictures of its pool.
    came : ndarray of int64, shape (n_units,), optional
        Class of the label that came with each picture and is a claim, -1 for none; by default such
        labels are trusted, and those that have one are the first of the draws' order.
    """
    pool = learner.pool
    answers = pool.best[:, 0].copy()
    scores: Doubles = pool.scores[:, 0].astype(np.float64)
    # Texts learnt from no picture: their answer is one of who did not.
    if learner.answering != ZERO_SHOT:
        answers[learner.teaching] = -1
        places, classes, found = learner.predict_left_out(alone=True)
        if len(places):
            best = found.argmax(axis=1)
            answers[places] = classes[best]
            scores[places] = found[np.arange(len(places)), best]
    if came is None:
        # Who has a label without having been looked at got it since the log was read.
        return Judged(draws, np.where(draws.left, -1, pool.labels), answers, scores)
    claims = (came >= 0) & (pool.labels >= 0)
    answers, scores = np.where(claims, came, answers), np.where(claims, 1.0, scores)
    labels = np.where(draws.left | ~pool.is_checked, -1, pool.labels)
    return Judged(draws, labels, answers, scores, claims)
