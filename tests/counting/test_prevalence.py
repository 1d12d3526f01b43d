"""Shares under label shift: an answer that can be reckoned by hand, and draws that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from bioprobe.counting.prevalence import Adjusted, adjust_shares, estimate_prevalence
from bioprobe.errors import SelectionError


def _estimate(n_resamples: int = 40, share: float = 0.1, seed: int = 0) -> Adjusted:
    """Label 60 of each of two classes, and ask of 1,500 others, answered as too sure by a scale."""
    random = np.random.default_rng(seed)
    truths = np.r_[np.repeat([0, 1], 60), (random.random(1500) < share) * 1]
    evidence = np.where(truths == 1, 1.2, -1.2) + random.standard_normal(len(truths)) * 1.5
    # Calibrated where both are as frequent, it would be 2 * 1.2 / 1.5²; it is three times that.
    of_one = 1 / (1 + np.exp(-3 * 2 * 1.2 / 1.5**2 * evidence))
    answers = np.column_stack([1 - of_one, of_one])
    return estimate_prevalence(
        lambda at: answers[at], labelled=np.arange(120), truths=truths,
        units=np.full(len(truths), "", dtype=object), images=np.arange(120, len(truths)),
        classes=np.array([0, 1]), n_resamples=n_resamples,
    )  # fmt: skip


def test_the_adjustment_makes_the_answers_most_likely() -> None:
    random = np.random.default_rng(2)
    answers = random.dirichlet([1, 2, 3], 200)
    prior = np.array([0.2, 0.3, 0.5])
    found = adjust_shares(answers, prior)
    assert found.sum() == pytest.approx(1)

    def weigh(shares: np.ndarray) -> float:
        return float(np.log((answers / prior) @ shares).sum())

    for other in random.dirichlet([1, 1, 1], 300):
        assert weigh(other) <= weigh(found) + 1e-6
    np.testing.assert_allclose(adjust_shares(answers, prior, np.ones(3)), found, atol=1e-3)


def test_answers_that_are_too_sure_are_calibrated_before_and_the_interval_holds() -> None:
    found = _estimate()
    assert found.low[1] <= 0.1 <= found.high[1]
    assert found.low[1] <= found.estimate[1] <= found.high[1]
    assert 0.02 < found.high[1] - found.low[1] < 0.2
    assert found.estimate.sum() == pytest.approx(1)
    assert any("label shift" in str(note) for note in found.notes)
    assert np.isnan(found.alone).all()
    # The draws are seeded.
    np.testing.assert_array_equal(found.low, _estimate().low)


def test_images_that_are_counted_are_a_sample_too() -> None:
    # Answers that leave no doubt: what is uncertain is which 40 images there are.
    truths = np.r_[np.repeat([0, 1], 200), np.arange(40) < 12].astype(np.int64)
    answers = np.where(truths[:, np.newaxis] == [0, 1], 1 - 1e-9, 1e-9)
    found = estimate_prevalence(
        lambda at: answers[at], labelled=np.arange(400), truths=truths,
        units=np.full(440, "", dtype=object), images=np.arange(400, 440),
        classes=np.array([0, 1]), n_resamples=400,
    )  # fmt: skip
    assert found.estimate[1] == pytest.approx(0.3, abs=0.005)
    quantile = t.ppf(0.975, 40 + 4 - 1)
    for end in (found.low[1], found.high[1]):
        assert abs(0.3 - end) == pytest.approx(quantile * np.sqrt(end * (1 - end) / 40), rel=0.08)


def test_copies_of_labelled_images_tell_no_more_than_one() -> None:
    random = np.random.default_rng(0)
    truths = np.r_[np.repeat([0, 1], 60), np.zeros(1500)].astype(np.int64)
    # Of each class six images that differ, ten times each.
    evidence = np.r_[
        np.repeat(random.normal([[-1], [1]], 1.5, (2, 6)), 10), random.normal(-1, 1.5, 1500)
    ]
    of_one = 1 / (1 + np.exp(-evidence))
    answers = np.column_stack([1 - of_one, of_one])
    copies = np.array(
        [f"s{at // 10}" if at < 120 else "" for at in range(len(truths))], dtype=object
    )
    widths, spreads = [], []
    for units in (copies, np.full(len(truths), "", dtype=object)):
        found = estimate_prevalence(
            lambda at: answers[at], labelled=np.arange(120), truths=truths, units=units,
            images=np.arange(120, len(truths)), classes=np.array([0, 1]), n_resamples=40,
        )  # fmt: skip
        widths.append(found.high[1] - found.low[1])
        spreads.append(np.std([shifts[1] for shifts, _ in found.fits[1:]]))
    # Twelve pictures that differ say less of the calibration, and of the shares.
    assert widths[0] > 1.5 * widths[1]
    assert spreads[0] > 2 * spreads[1]


def test_images_that_are_counted_come_together_too() -> None:
    # Forty images, of which ten and ten are one sequence: four draws, not forty.
    truths = np.r_[np.repeat([0, 1], 200), np.arange(40) < 10].astype(np.int64)
    answers = np.where(truths[:, np.newaxis] == [0, 1], 1 - 1e-9, 1e-9)
    alone = np.full(440, "", dtype=object)
    together = alone.copy()
    together[400:] = [f"s{at // 10}" for at in range(40)]
    widths = []
    for units in (alone, together):
        found = estimate_prevalence(
            lambda at: answers[at], labelled=np.arange(400), truths=truths, units=units,
            images=np.arange(400, 440), classes=np.array([0, 1]), n_resamples=100,
        )  # fmt: skip
        assert found.estimate[1] == pytest.approx(0.25, abs=0.005)
        widths.append(found.high[1] - found.low[1])
    # By 1/√n of the draws it would be √10.
    assert widths[1] > 2 * widths[0]


def test_one_class_calibrates_nothing() -> None:
    with pytest.raises(SelectionError, match="two classes or more, got 1"):
        estimate_prevalence(
            lambda at: np.full((len(at), 2), 0.5), labelled=np.arange(3),
            truths=np.zeros(9, dtype=np.int64), units=np.full(9, "", dtype=object),
            images=np.arange(3, 9), classes=np.array([0, 1]),
        )  # fmt: skip
