"""What was found and what is left: by hand, and that only random draws tell of it."""

from __future__ import annotations

import numpy as np
import pytest

from bioprobe.reviewing.confidence import Draws
from bioprobe.reviewing.discovery import count_needed, measure_discovery
from bioprobe.types import Places


def _draw(labels: Places, n: int) -> tuple[Draws, Places]:
    drawn = np.arange(n)
    shown = np.where(np.arange(len(labels)) < n, labels, -1)
    return Draws(len(labels), drawn, drawn, np.zeros(n, dtype=np.int64)), shown


def test_the_curve_counts_each_class_once_in_the_order_of_the_labels() -> None:
    found = measure_discovery(*_draw(np.array([2, 2, 0, 2, 5, 0, 1, 1]), 6))
    assert found.curve.tolist() == [1, 1, 2, 2, 3, 3]
    assert (found.n_labels, found.n_found, found.n_draws, found.once) == (6, 3, 6, 1)


def test_the_chance_of_something_new_is_that_of_good_and_turing() -> None:
    # 100 of 100,000: what is left is as what was drawn from.
    labels = np.concatenate([np.repeat(np.arange(6), 15), np.arange(6, 16), np.zeros(99_900)])
    labels = np.random.default_rng(0).permutation(labels[:100]).tolist() + labels[100:].tolist()
    found = measure_discovery(*_draw(np.array(labels, dtype=np.int64), 100))
    assert found.once == 10
    assert found.unseen.estimate == pytest.approx(0.1, abs=0.002)
    assert found.unseen.low == 0
    assert found.unseen.estimate < found.unseen.high < 1


def test_what_was_chosen_is_no_sample_and_enlarges_what_was_found() -> None:
    # 60 draws of one class; then twenty of classes of their own are chosen.
    labels = np.concatenate([np.zeros(60), np.arange(1, 21), np.zeros(400)]).astype(np.int64)
    order, drawn = np.arange(80), np.arange(60)
    shown = np.where(np.arange(480) < 80, labels, -1)
    chosen = measure_discovery(Draws(480, order, drawn, np.zeros(60, dtype=np.int64)), shown)
    assert chosen.n_found == 21
    assert (chosen.n_draws, chosen.once, chosen.chao1.observed) == (60, 0, 1)
    # As if all had been drawn, 20 of 80 would be found once.
    taken = measure_discovery(Draws(480, order, order, np.zeros(80, dtype=np.int64)), shown)
    assert taken.once == 20
    assert taken.unseen.estimate > 0.2
    assert chosen.unseen.estimate == 0
    assert chosen.unseen.high < 0.1


def test_the_upper_end_holds_at_all_looks_together() -> None:
    n_held = 0
    for trial in range(15):
        random = np.random.default_rng(trial)
        shares = np.arange(1, 61) ** -1.3
        labels = random.choice(60, 400, p=shares / shares.sum())
        holds = True
        for n in range(40, 220, 60):
            draws, shown = _draw(labels, n)
            truth = np.mean(~np.isin(labels[n:], labels[:n]))
            holds &= bool(truth <= measure_discovery(draws, shown).unseen.high)
        n_held += holds
    assert n_held >= 14


def test_more_draws_without_anything_new_lower_the_end_to_what_they_can_tell() -> None:
    ends = [
        measure_discovery(*_draw(np.zeros(5000, dtype=np.int64), n)).unseen.high
        for n in (50, 200, 800)
    ]
    assert ends[0] > 2.5 * ends[1] > 6 * ends[2]
    # No rule of three is beaten, and half of the draws at most are lost.
    assert 3 / 800 < ends[2] < 8 / 800


def test_a_site_is_judged_by_its_own_draws() -> None:
    labels = np.array([0, 1, 0, 2, 0, 3] * 40)
    draws, shown = _draw(labels, 60)
    here = np.arange(240) % 2 == 0
    found = measure_discovery(draws, shown, here)
    assert (found.n_labels, found.n_draws, found.n_found) == (30, 30, 1)
    assert measure_discovery(draws, shown, ~here).n_found == 3


def test_what_nobody_can_tell_is_no_class() -> None:
    labels = np.array([0, -1, 0, 1, -1, 0, -1, -1])
    draws = Draws(8, np.arange(6), np.arange(6), np.zeros(6, dtype=np.int64))
    found = measure_discovery(draws, labels)
    assert (found.n_labels, found.n_draws, found.n_found) == (4, 4, 2)
    none = np.zeros(0, dtype=np.int64)
    nothing = measure_discovery(Draws(3, none, none, none), np.full(3, -1))
    assert (nothing.n_found, nothing.unseen.high, len(nothing.curve)) == (0, 1, 0)


def test_as_many_draws_are_needed_as_bound_the_chance_if_nothing_new_comes() -> None:
    found = measure_discovery(*_draw(np.zeros(5000, dtype=np.int64), 100))
    assert count_needed(found.unseen, 0.5, 100) == 0
    more = count_needed(found.unseen, 0.01, 100)
    assert 200 < more < 600
    assert count_needed(found.unseen, 0.005, 100) > 1.5 * more


def test_pictures_of_nothing_are_no_discovery() -> None:
    labels = np.array([3, 0, 3, 1, 3, 1, 3, 0])
    draws, shown = _draw(labels, 6)
    found, every = measure_discovery(draws, shown, aside=[3]), measure_discovery(draws, shown)
    assert (found.n_labels, found.n_found, every.n_found) == (6, 2, 3)
    assert found.curve.tolist() == [0, 1, 1, 2, 2, 2]
    assert (found.chao1.observed, found.chao1.n_records) == (2, 3)
    assert found.once == 1
    # A class that nobody labelled yet may be named too.
    assert measure_discovery(draws, shown, aside=[3, 9]).n_found == 2
