"""What was looked at and drawn, as the log has it, and who answers who did not learn from it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bioprobe.reviewing.learner import Learner
from bioprobe.reviewing.looks import Said, judge, read_looks
from bioprobe.reviewing.pool import Pool

_NOT = math.nan


def _read(n: int, said: list[Said], given: int = 0) -> tuple[list[int], list[int], list[int], int]:
    looks = read_looks(n, np.arange(n) < given, said)
    draws = looks.draws
    return draws.order.tolist(), draws.units.tolist(), draws.before.tolist(), looks.n_left_out


def test_a_batch_was_drawn_from_what_was_left_before_it() -> None:
    # Two with a label; a batch of two draws and two choices, shown in turn; another of the same.
    said = [
        Said(7, "margin", _NOT), Said(4, "audit", 1 / 18), Said(9, "margin", _NOT),
        Said(5, "audit", 1 / 17), Said(11, "audit", 1 / 14), Said(12, "margin", _NOT),
        Said(13, "margin", _NOT), Said(14, "audit", 1 / 13),
    ]  # fmt: skip
    order, units, before, n_left_out = _read(20, said, given=2)
    assert order == [0, 1, 7, 4, 9, 5, 11, 12, 13, 14]
    assert units == [4, 5, 11, 14]
    assert before == [2, 2, 6, 6]
    assert n_left_out == 0


def test_only_the_first_look_at_a_picture_is_a_draw() -> None:
    said = [
        Said(3, "margin", _NOT), Said(3, "audit", 1 / 9), Said(4, "audit", 1 / 9),
        Said(4, "overlap", 1 / 2), Said(5, "audit", _NOT), Said(0, "audit", 1 / 8),
    ]  # fmt: skip
    order, units, before, _ = _read(10, said, given=1)
    assert order == [0, 3, 4, 5]
    assert units == [4]
    assert before == [1]


def test_answers_may_come_in_another_order_than_they_were_drawn() -> None:
    said = [Said(5, "audit", 1 / 9), Said(6, "audit", 1 / 10), Said(7, "audit", 1 / 8)]
    _, units, before, _ = _read(10, said)
    assert units == [6, 5, 7]
    assert before == [0, 0, 0]


def test_what_was_passed_over_counts_as_chosen_before_it_was_answered() -> None:
    # One of ten was skipped, which nobody writes down; three are said since.
    said = [Said(1, "margin", _NOT), Said(2, "audit", 1 / 38), Said(3, "audit", 1 / 37)]
    _, units, before, n_left_out = _read(40, said)
    assert (units, before, n_left_out) == ([2, 3], [1, 1], 0)


def test_draws_from_fewer_pictures_than_there_are_do_not_count() -> None:
    # 50 pictures came after the first two draws.
    said = [Said(1, "audit", 1 / 50), Said(2, "audit", 1 / 49), Said(60, "audit", 1 / 98)]
    order, units, before, n_left_out = _read(100, said)
    assert order == [1, 2, 60]
    assert (units, before, n_left_out) == ([60], [2], 2)


def test_of_a_part_of_what_was_reviewed_draws_are_of_what_was_left_of_it() -> None:
    # Of 1,000 pictures 30 are asked now, and of their answers these are left.
    said = [
        Said(4, "audit", 1 / 980), Said(9, "margin", _NOT), Said(7, "audit", 1 / 940),
        Said(8, "audit", 1 / 939),
    ]  # fmt: skip
    _, units, before, n_left_out = _read(30, said)
    assert (units, before, n_left_out) == ([4, 7, 8], [0, 2, 2], 0)


def test_two_people_who_draw_at_once_draw_from_what_the_other_left() -> None:
    said = [
        Said(1, "audit", 1 / 20), Said(2, "margin", _NOT), Said(3, "audit", 1 / 19),
        Said(4, "audit", 1 / 20), Said(5, "audit", 1 / 19),
    ]  # fmt: skip
    order, units, before, _ = _read(20, said)
    assert order == [1, 2, 3, 4, 5]
    assert sorted(units) == [1, 3, 4, 5]
    places = {unit: place for place, unit in enumerate(order)}
    assert all(places[unit] >= at for unit, at in zip(units, before, strict=True))
    assert max(before) >= 2


def test_labelled_pictures_are_answered_by_the_others() -> None:
    random = np.random.default_rng(0)
    kinds = np.arange(60) % 3
    centres = random.normal(size=(3, 8))
    vectors = (centres[kinds] + 0.3 * random.normal(size=(60, 8))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.where(np.arange(60) < 30, kinds, -1)
    # Two are labelled as what they are not, of which one is alone: by the others neither is right.
    labels[0], labels[1] = (kinds[0] + 1) % 3, 3
    pool = Pool.of(vectors, list("abcd"), labels)
    learner = Learner(pool)
    learner.learn()
    said = [Said(one, "audit", 1 / (60 - one)) for one in range(30)]
    judged = judge(learner, read_looks(60, np.zeros(60, dtype=bool), said).draws)
    assert judged.answers[0] == kinds[0] != judged.labels[0]
    assert judged.answers[1] == kinds[1] != 3
    assert (judged.answers[2:30] == kinds[2:30]).mean() > 0.9
    assert (judged.answers[30:] == pool.best[30:, 0]).all()
    assert judged.scores[30:] == pytest.approx(pool.scores[30:, 0])
    assert judged.errors[1].sum() == (judged.answers[:30] != labels[:30]).sum() >= 2
    assert (judged.handed_over[:30] == labels[:30]).all()
