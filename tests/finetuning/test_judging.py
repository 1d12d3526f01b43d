"""What finetuning bought, where the answer is seen by eye."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bioprobe.finetuning.judging import HARMONIC, LEARNT, UNLEARNT, Answered, _join, judge
from bioprobe.finetuning.training import Epoch, Trainer
from bioprobe.intervals import Draws


def test_classes_learnt_and_not_learnt_are_judged_among_their_own() -> None:
    truth = np.array([0, 1, 2, 3])
    learnt = np.array([True, True, False, False])
    # Each before the one on its right: the last two pictures are taken for a class learnt.
    was = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [9, 0, 2, 1], [9, 0, 1, 2]], dtype=np.float32)
    now = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [9, 0, 1, 2], [9, 0, 1, 2]], dtype=np.float32)
    answered = [Answered("zeroshot", was), Answered("finetuned", now)]
    answered.append(Answered("linear", now, reads=False))
    groups = np.full(4, "", dtype=object)
    found = {(one.pictures, one.method): one for one in judge(answered, truth, learnt, groups)}
    shares = {key: one.accuracy.estimate for key, one in found.items()}
    assert (shares["all", "zeroshot"], shares["all", "finetuned"]) == (0.25, 0.5)
    assert (shares[LEARNT, "zeroshot"], shares[LEARNT, "finetuned"]) == (0.5, 1.0)
    assert (shares[UNLEARNT, "zeroshot"], shares[UNLEARNT, "finetuned"]) == (1.0, 0.5)
    assert shares[HARMONIC, "finetuned"] == pytest.approx(2 / 3)
    assert (UNLEARNT, "linear") not in found
    gain = found[UNLEARNT, "finetuned"].gain
    assert gain is not None
    assert (gain.estimate, gain.low < -0.5 < gain.high) == (-0.5, True)
    assert found["all", "zeroshot"].gain is None


def test_pictures_that_come_together_make_the_interval_wider() -> None:
    random = np.random.default_rng(2)
    truth = np.repeat(np.arange(2), 40)
    scores = random.normal(size=(80, 2)).astype(np.float32)
    alone = judge([Answered("zeroshot", scores)], truth, np.ones(2, bool), np.full(80, ""))
    groups = np.array([f"site {n // 20}" for n in range(80)], dtype=object)
    grouped = judge([Answered("zeroshot", scores)], truth, np.ones(2, bool), groups)
    width = alone[0].accuracy.high - alone[0].accuracy.low
    assert grouped[0].accuracy.high - grouped[0].accuracy.low > width


def test_a_harmonic_mean_is_known_as_well_as_the_fewer_pictures() -> None:
    many, few = (Draws(share, np.full(5, share), n) for share, n in ((0.9, 60), (0.6, 7)))
    joined = _join(many, few)
    assert joined.estimate == pytest.approx(0.72)
    assert joined.n_units == _join(few, many).n_units == 7


def test_of_epochs_that_are_as_right_the_likeliest_is_kept_then_the_first() -> None:
    trainer = object.__new__(Trainer)
    trainer.__dict__ |= {
        "_plan": SimpleNamespace(choose="held-out"), "_lesson": SimpleNamespace(held_out=[0]),
        "history": [Epoch(number, 0.0, accuracy, log_loss) for number, accuracy, log_loss in (
            (0, 1.0, 0.1), (1, 0.9, 0.5), (2, 0.9, 0.3), (3, 0.9, 0.3), (4, 0.8, 0.1),
        )],
    }  # fmt: skip
    assert trainer.best.number == 2
