"""Counts and shares of a collection, reckoned by hand and by scipy."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, t

from bioprobe.counting.estimates import (
    ALL,
    Collection,
    Estimating,
    check_random,
    estimate_groups,
    sample_images,
)
from bioprobe.counting.ppi import LABELLED

CAT, DOG = 0, 1


def _collect(top: list[int], scores: list[float], truths: list[int], known: int) -> Collection:
    """Make a collection of which the first are known and the others with a truth are drawn."""
    n = len(top)
    truth = np.array(truths)
    is_known = np.arange(n) < known
    nowhere = np.full(n, "", dtype=object)
    return Collection(
        ("cat", "dog"), np.array(top)[:, np.newaxis], np.array(scores)[:, np.newaxis],
        truth[:, np.newaxis], is_known, (truth >= 0) & ~is_known, nowhere, nowhere, nowhere,
        np.ones(n),
    )  # fmt: skip


def _collect_many() -> Collection:
    # 400 cats taught, half of 200 that were drawn are cats, and of 1,400 nothing is known.
    truths = [CAT] * 400 + [CAT, DOG] * 100 + [-1] * 1400
    return _collect([CAT] * 1500 + [DOG] * 500, [0.95] * 10 + [0.9] * 1990, truths, 400)


def test_what_taught_is_counted_and_the_rest_is_estimated() -> None:
    how = Estimating(LABELLED, threshold=0.95)
    found = estimate_groups(_collect_many(), how, level="species", days={ALL: 50.0})
    cats: Any = found.to_frame().set_index("species").loc["cat"]
    assert cats[["n_images", "n_labelled", "n_seen", "n_known"]].tolist() == [2000, 200, 100, 400]
    assert cats[["raw", "sure"]].tolist() == [1500, 10]
    assert cats["share"] == pytest.approx((400 + 1600 * 0.5) / 2000)
    assert cats["count"] == pytest.approx(1200)
    assert cats["rate"] == pytest.approx(100 * 1200 / 50)
    ends = binomtest(100, 200).proportion_ci(method="wilson")
    assert cats["count_low"] == pytest.approx(400 + 1600 * ends.low)
    assert cats["count_high"] == pytest.approx(400 + 1600 * ends.high)
    assert cats["rate_high"] == pytest.approx(2 * cats["count_high"])


@pytest.mark.parametrize(("width", "n_more"), [(0.1, 43), (0.3, 0), (0.01, 1400)])
def test_the_wished_width_is_that_of_the_share_of_all(width: float, n_more: int) -> None:
    # Of a share of one half Wilson's interval of n has the width z / sqrt(n + z²): of the 1,600
    # that are not known an eighth takes 3.84 (64 - 1) = 242.
    how = Estimating(LABELLED, width=width)
    frame = estimate_groups(_collect_many(), how, level="species").to_frame()
    assert frame["n_more"].tolist() == [n_more, n_more]


def test_what_is_answered_to_all_has_its_mean_and_variance() -> None:
    asked = _collect([CAT, DOG, CAT, -1, CAT], [0.9, 0.5, 0.4, np.nan, 1.0], [-1] * 5, 0)
    everything = np.arange(5)
    sample = sample_images(asked, everything, everything[:0], np.array([CAT, DOG]))
    dense = np.array([[0.9, 0], [0, 0.5], [0.4, 0], [0, 0], [1, 0]])
    assert sample.means == pytest.approx(dense.mean(axis=0))
    assert sample.variances == pytest.approx(dense.var(axis=0, ddof=1))


def test_answers_are_added_up_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).random(50).tolist()
    asked = _collect([CAT, DOG, CAT, -1, DOG] * 10, scores, [CAT, DOG] * 25, 0)
    everything, classes = np.arange(50), np.array([DOG, CAT])
    whole = sample_images(asked, everything, everything[:20], classes)
    monkeypatch.setattr("bioprobe.counting.estimates.ROWS_AT_ONCE", 7)
    found = sample_images(asked, everything, everything[:20], classes)
    # To the last digit: one answer after the other, however many are read at once.
    np.testing.assert_array_equal(found.means, whole.means)
    np.testing.assert_array_equal(found.variances, whole.variances)
    dense = asked.densify(everything, np.arange(2))
    np.testing.assert_array_equal(whole.answers, dense[:20, ::-1])


def test_pooled_images_are_as_sure_as_the_surest_and_labelled_where_all_are() -> None:
    asked = _collect([CAT, CAT, DOG, DOG], [0.3, 0.8, 0.6, 0.2], [CAT, -1, DOG, DOG], 0)
    pooled, n_partly = asked.pool(np.array(["a", "a", "b", "b"], dtype=object))
    assert n_partly == 1
    assert pooled.is_drawn.tolist() == [False, True]
    assert pooled.top.tolist() == [[CAT], [DOG]]
    assert pooled.scores.ravel().tolist() == [0.8, 0.6]


def test_a_sample_that_is_not_random_is_told_by_its_answers() -> None:
    asked = _collect([CAT, DOG] * 100, [1.0] * 200, [-1] * 200, 0)
    # 30 of 50 are answered cat, of all one half: one test of each class, at either side.
    drawn = np.r_[np.arange(0, 60, 2), np.arange(1, 41, 2)]
    sample = sample_images(asked, np.arange(200), drawn, np.array([CAT, DOG]))
    error = np.sqrt(np.repeat([1.0, 0.0], 100).var(ddof=1) / 50 * (1 - 50 / 200))
    p_value, text = check_random(sample, ["cat", "dog"])
    assert p_value == pytest.approx(2 * 2 * t.sf(0.1 / error, 49))
    assert text == "cat is answered to 60.0% of them and 50.0% of all"
    assert check_random(dataclasses.replace(sample, n_images=50), ["cat", "dog"]) == (1.0, "")
