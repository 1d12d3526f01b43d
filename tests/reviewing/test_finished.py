"""How good what would be handed over is: by hand, and in a review that is played."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from benchmarks.review_coverage import MIXES, World, find_misses, play
from bioprobe.errors import SelectionError
from bioprobe.intervals import Interval
from bioprobe.reviewing import finished
from bioprobe.reviewing.confidence import LEVEL, Draws, bound_total
from bioprobe.reviewing.discovery import measure_discovery
from bioprobe.reviewing.finished import (
    FEW_LABELS,
    FEWEST,
    Advice,
    Judged,
    advise,
    count_draws,
    count_for_width,
    count_labels,
    measure_accuracy,
    measure_classes,
)


def _judge(n: int = 400, n_draws: int = 100, n_wrong: int = 0, n_classes: int = 2) -> Judged:
    """Return draws from a pool of equal classes, some of which are answered wrongly."""
    labels = np.arange(n) % n_classes
    answers = labels.copy()
    wrong = np.linspace(n_draws / 20, n_draws - 1, n_wrong).astype(int)
    answers[wrong] = (labels[wrong] + 1) % n_classes
    drawn = np.arange(n_draws)
    draws = Draws(n, drawn, drawn, np.zeros(n_draws, dtype=np.int64))
    shown = np.where(np.arange(n) < n_draws, labels, -1)
    return Judged(draws, shown, answers, np.full(n, 0.9))


def test_labels_are_right_and_answers_are_judged_by_the_draws() -> None:
    found = measure_accuracy(_judge(n_wrong=20))
    assert (found.n_units, found.n_given, found.n_left, found.n_draws) == (400, 100, 300, 100)
    # A fifth of the draws is wrong, and a quarter of all has a label: 1 - 0.75 * 0.2.
    assert found.share.estimate == pytest.approx(0.85, abs=0.01)
    assert 0.7 < found.share.low < 0.85 < found.share.high < 0.95
    assert found.claimed == pytest.approx(1 - 0.75 * 0.1)
    everything = measure_accuracy(_judge(n_draws=400, n_wrong=20))
    assert (everything.share.estimate, everything.share.low, everything.share.high) == (1, 1, 1)


def test_what_nobody_could_tell_counts_for_neither_end() -> None:
    sure = _judge(n_wrong=0)
    labels = sure.labels.copy()
    labels[:10] = -1
    found = measure_accuracy(dataclasses.replace(sure, labels=labels))
    before = measure_accuracy(sure)
    assert found.n_given == 90
    assert found.share.high == before.share.high
    assert found.share.low < before.share.low - 10 / 400
    everything = _judge(n_draws=400)
    labels = everything.labels.copy()
    labels[:10] = -1
    share = measure_accuracy(dataclasses.replace(everything, labels=labels)).share
    # Of the ten their scores say that one is wrong.
    assert (share.low, share.high) == (1 - 10 / 400, 1)
    assert share.estimate == pytest.approx(1 - 1 / 400)


def test_an_error_of_a_class_of_few_labels_lowers_the_lower_end_alone() -> None:
    judged = _judge(n_wrong=0)
    labels, answers = judged.labels.copy(), judged.answers.copy()
    labels[:FEW_LABELS] = 2
    few = measure_accuracy(dataclasses.replace(judged, labels=labels))
    clean, same = measure_accuracy(judged), judged.labels.copy()
    answers[:FEW_LABELS] = 1 - same[:FEW_LABELS]
    many = measure_accuracy(dataclasses.replace(judged, answers=answers))
    assert few.share.high == clean.share.high
    low, high = dataclasses.replace(judged, labels=labels).errors
    assert (low.sum(), high.sum()) == (0, FEW_LABELS)
    labels[FEW_LABELS] = 2
    low, high = dataclasses.replace(judged, labels=labels).errors
    assert low.sum() == high.sum() == FEW_LABELS + 1
    assert few.share.low == pytest.approx(many.share.low)
    assert many.share.low < clean.share.low


def test_precision_and_recall_of_all_that_was_looked_at_are_exact() -> None:
    judged = _judge(n=60, n_draws=60, n_wrong=10)
    for found in measure_classes(judged):
        assert found.precision.estimate == found.precision.low == found.precision.high == 1
        assert found.recall.estimate == found.recall.low == found.recall.high == 1


def test_both_ends_of_recall_hold_together(monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[float] = []

    def remember(*told: Any, level: float = LEVEL) -> Interval:  # noqa: ANN401 - whatever is passed on
        levels.append(level)
        return bound_total(*told, level=level)

    monkeypatch.setattr(finished, "bound_total", remember)
    finished.measure_class(_judge(n_wrong=20), 0)
    # What is right and what is missed are each wrong with half of the chance.
    assert levels == [0.95, 0.975, 0.975]


def test_precision_and_recall_hold_what_is_true_and_are_refused_of_few() -> None:
    # Of class 0 a tenth is answered 1; class 2 has four draws.
    random = np.random.default_rng(0)
    truth = np.where(random.random(1000) < 0.02, 2, random.integers(2, size=1000))
    truth[:300][truth[:300] == 2] = 0
    truth[:4] = 2
    missed = (truth == 0) & (random.random(1000) < 0.1)
    answers = np.where(missed, 1, truth)
    drawn = np.arange(300)
    draws = Draws(1000, drawn, drawn, np.zeros(300, dtype=np.int64))
    labels = np.where(np.arange(1000) < 300, truth, -1)
    judged = Judged(draws, labels, answers, np.full(1000, 0.9))
    handed = judged.handed_over
    found = {one.code: one for one in measure_classes(judged)}
    assert found[2].n_drawn == FEWEST - 1
    assert math.isnan(found[2].precision.estimate)
    assert math.isnan(found[2].recall.high)
    for code in (0, 1):
        both = ((handed == code) & (truth == code)).sum()
        precision, recall = both / (handed == code).sum(), both / (truth == code).sum()
        assert found[code].precision.low <= precision <= found[code].precision.high
        assert found[code].recall.low <= recall <= found[code].recall.high
        assert found[code].precision.estimate == pytest.approx(precision, abs=0.04)
        assert found[code].recall.estimate == pytest.approx(recall, abs=0.04)
    assert found[0].precision.low > 0.9
    assert found[0].recall.high < 1
    assert found[1].precision.high < 1


def test_half_the_width_takes_more_draws_and_what_is_reached_takes_none() -> None:
    found = measure_accuracy(_judge(n=5000, n_draws=200, n_wrong=10))
    now = found.share.estimate - found.share.low
    assert count_draws(found, now) == 0
    half, third = count_draws(found, now / 2), count_draws(found, now / 3)
    assert 200 < half < 700 < third
    # And so it comes, of draws as there were.
    then = measure_accuracy(_judge(n=5000, n_draws=200 + int(half), n_wrong=10 + int(half / 20)))
    assert then.share.estimate - then.share.low == pytest.approx(now / 2, rel=0.35)


def test_a_wished_width_takes_so_many_draws() -> None:
    found = measure_accuracy(_judge(n=5000, n_draws=200, n_wrong=10))
    now = found.share.high - found.share.low
    assert count_for_width(found, now) == 0
    half = count_for_width(found, now / 2)
    assert 200 < half < 700 < count_for_width(found, now / 3)
    then = measure_accuracy(_judge(n=5000, n_draws=200 + int(half), n_wrong=10 + int(half / 20)))
    assert then.share.high - then.share.low == pytest.approx(now / 2, rel=0.35)
    # Without a draw a guess is made of none that is wrong.
    none = np.zeros(0, dtype=np.int64)
    blank = Judged(Draws(900, none, none, none), np.full(900, -1), np.zeros(900, dtype=np.int64),
                   np.ones(900))  # fmt: skip
    assert 50 < count_for_width(measure_accuracy(blank), 0.1) < 100
    with pytest.raises(SelectionError, match="width of an interval lies between 0 and 1"):
        count_for_width(found, 5)


def test_more_wrong_than_may_be_is_mended_first() -> None:
    judged = _judge(n=2000, n_draws=200, n_wrong=20)
    accuracy = measure_accuracy(judged)
    assert count_labels(judged, accuracy, 0.5).n_labels == 0
    near, far = (count_labels(judged, accuracy, goal) for goal in (0.88, 0.97))
    assert near.n_mended > 0
    assert near.n_draws > 0
    assert far.n_mended > max(500, near.n_mended)
    # Who is sure where it is right has the wrong ones first in line.
    sure = dataclasses.replace(judged, scores=np.where(np.arange(2000) % 10 == 3, 0.2, 0.99))
    assert count_labels(sure, measure_accuracy(sure), 0.97).n_mended < far.n_mended


def test_stop_needs_both() -> None:
    def ask(judged: Judged, goal: float, unseen: float) -> Advice:
        new = measure_discovery(judged.draws, judged.labels)
        return advise(judged, measure_accuracy(judged), new, goal=goal, unseen=unseen)

    judged = _judge(n=2000, n_draws=500)
    good = ask(judged, 0.95, 0.05)
    assert good.stop
    assert good.text.startswith("stop: at least 0.9")
    assert good.n_labels == 0
    new = ask(judged, 0.95, 0.001)
    assert (new.stop, new.is_accurate, new.is_complete) == (False, True, False)
    assert "the next picture may be of something new" in new.text
    assert "wished); it takes about" in new.text
    wrong = ask(judged, 0.999, 0.05)
    assert (wrong.is_accurate, wrong.is_complete) == (False, True)
    assert "0.999 is wished" in wrong.text
    assert wrong.n_labels > 0
    none = np.zeros(0, dtype=np.int64)
    blank = Judged(Draws(9, none, none, none), np.full(9, -1), np.zeros(9, dtype=np.int64),
                   np.ones(9))  # fmt: skip
    assert ask(blank, 0.95, 0.01).text == (
        "go on: nothing is known yet of how much is right, as no picture that was drawn at "
        "random is answered; it takes about all 9 that are left"
    )
    everything = ask(_judge(n=30, n_draws=30), 0.95, 0.01)
    assert everything.text == "stop: all 30 were looked at, or have a label that is trusted"
    with pytest.raises(SelectionError, match="an accuracy to reach lies between 0 and 1"):
        ask(judged, 1.0, 0.01)
    with pytest.raises(SelectionError, match="a chance of something new lies between 0 and 1"):
        ask(judged, 0.9, 0.0)


def test_arrays_that_do_not_fit_are_refused() -> None:
    judged = _judge()
    with pytest.raises(SelectionError, match="of the 400 units of the pool, got 399"):
        dataclasses.replace(judged, labels=judged.labels[1:])
    labels = judged.labels.copy()
    labels[300] = 1
    with pytest.raises(SelectionError, match="unit 300 has a label"):
        dataclasses.replace(judged, labels=labels)


def test_intervals_hold_at_all_looks_of_a_review_that_learns() -> None:
    """A small, seeded version of benchmarks/review_coverage.py."""
    misses = np.zeros(7)
    for trial in range(6):
        random = np.random.default_rng(trial)
        world = World.of_draws(random, n=240, n_classes=12)
        looks = play(world, random, MIXES["mixed"], n_looks=7, batch=15)
        missed, course = find_misses(looks, [0])
        misses += missed
        assert course[-1][1] < course[1][1]
    assert (misses[:5] <= 1).all()
    # What is usual does not hold.
    assert misses[5] >= 3
