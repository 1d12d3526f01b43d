from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from bioprobe.errors import SelectionError
from bioprobe.evaluation.metrics import score_flat
from bioprobe.intervals import INTERVALS, Draws, Resamples, Score, draw_scores, find_interval
from bioprobe.types import Scores

Floats = npt.NDArray[np.float64]


def _mean_of(values: Floats) -> Score:
    def score(weights: Scores) -> dict[str, Floats]:
        return {"mean": weights.astype(float) @ values / weights.sum(axis=1, dtype=float)}

    return score


def _alone(n_images: int, n_resamples: int = 1000, seed: int = 0) -> Resamples:
    return Resamples.of_groups(np.full(n_images, ""), n_resamples, seed)


def test_each_resample_draws_as_many_images_as_there_are() -> None:
    weights = np.concatenate(list(_alone(30, 50).iter_weights()))
    assert weights.shape == (50, 30)
    assert (weights.sum(axis=1) == 30).all()
    assert len(np.unique(weights, axis=0)) == 50


def test_images_of_a_group_are_drawn_together() -> None:
    groups = np.array(["a", "", "b", "a", "", "b", "b"])
    resamples = Resamples.of_groups(groups, 40)
    weights = np.concatenate(list(resamples.iter_weights()))
    assert resamples.n_clusters == 4
    assert resamples.is_clustered
    assert (weights[:, 0] == weights[:, 3]).all()
    assert (weights[:, [2, 2]] == weights[:, [5, 6]]).all()
    assert not (weights[:, 1] == weights[:, 4]).all()
    # Four clusters are drawn, whatever their sizes.
    assert (weights[:, [0, 1, 2, 4]].sum(axis=1) == 4).all()


def test_a_seed_draws_the_same_again_and_another_does_not() -> None:
    first, again, other = (next(_alone(20, 5, seed).iter_weights()) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_draws_do_not_depend_on_how_many_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    together = list(_alone(20, 7).iter_weights())
    monkeypatch.setattr("bioprobe.intervals._WEIGHTS_AT_ONCE", 60)
    apart = list(_alone(20, 7).iter_weights())
    assert [len(part) for part in apart] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(apart), np.concatenate(together))


def test_the_percentile_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(size=400)
    draws = draw_scores(_mean_of(values), _alone(400, 4000))["mean"]
    interval = find_interval(draws)
    error = 1.96 * values.std() / 20
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - error, abs=0.006)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.006)
    narrow = find_interval(draws, level=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high


def test_the_basic_interval_is_reflected_at_the_estimate() -> None:
    draws = Draws(0.5, np.array([0.3, 0.4, 0.45, 0.5, 0.6]))
    percentile, basic = (find_interval(draws, method=method, level=0.5) for method in INTERVALS)
    assert (percentile.low, percentile.high) == pytest.approx((0.4, 0.5))
    assert (basic.low, basic.high) == pytest.approx((0.5, 0.6))
    assert str(basic) == "0.500 [0.500, 0.600]"


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=60)
    draws = draw_scores(_mean_of(values), _alone(60, 8000))["mean"]
    for method in INTERVALS:
        reference = stats.bootstrap(
            (values,), np.mean, n_resamples=8000, method=method, rng=np.random.default_rng(0)
        ).confidence_interval
        interval = find_interval(draws, method=method)
        assert (interval.low, interval.high) == pytest.approx(tuple(reference), abs=0.012)


@pytest.mark.parametrize("method", INTERVALS)
def test_intervals_of_accuracy_cover_what_they_promise(method: str) -> None:
    n_images, accuracy, n_trials = 150, 0.8, 300
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(n_trials):
        right = (random.random(n_images) < accuracy).astype(float)
        draws = draw_scores(_mean_of(right), _alone(n_images, 300, trial))
        interval = find_interval(draws["mean"], method=method)
        covered += interval.low <= accuracy <= interval.high
    # Four standard errors of a coverage of .95 over 300 trials are .05.
    assert 0.90 <= covered / n_trials <= 0.99


def test_only_intervals_by_group_cover_where_images_of_a_group_are_alike() -> None:
    n_groups, size, n_trials = 60, 8, 200
    groups = np.repeat(np.arange(n_groups).astype(str), size)
    random = np.random.default_rng(0)
    covered = {"grouped": 0, "alone": 0}
    for trial in range(n_trials):
        chances = random.beta(1.6, 0.4, n_groups)  # mean .8
        right = (random.random(n_groups * size) < np.repeat(chances, size)).astype(float)
        for name, of in {"grouped": groups, "alone": np.full(len(groups), "")}.items():
            resamples = Resamples.of_groups(of, 300, trial)
            interval = find_interval(draw_scores(_mean_of(right), resamples)["mean"])
            covered[name] += interval.low <= 0.8 <= interval.high
    assert 0.89 <= covered["grouped"] / n_trials <= 0.99
    assert covered["alone"] / n_trials < 0.75


def test_intervals_of_balanced_accuracy_cover_what_they_promise() -> None:
    shares, recalls, n_trials = np.array([0.5, 0.3, 0.2]), np.array([0.9, 0.7, 0.5]), 200
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(n_trials):
        truth = random.choice(3, 200, p=shares)
        answers = np.where(random.random(200) < recalls[truth], truth, (truth + 1) % 3)
        probabilities = np.eye(3)[answers]

        def score(
            weights: Scores, truth: npt.NDArray[np.int64] = truth, answers: Floats = probabilities
        ) -> dict[str, Floats]:
            return score_flat(truth, answers, weights, metrics=["balanced_accuracy"])

        interval = find_interval(draw_scores(score, _alone(200, 300, trial))["balanced_accuracy"])
        covered += interval.low <= 0.7 <= interval.high
    assert 0.89 <= covered / n_trials <= 0.99


def test_one_image_has_an_interval_without_width() -> None:
    draws = draw_scores(_mean_of(np.array([1.0])), _alone(1, 10))["mean"]
    assert (find_interval(draws).low, find_interval(draws).high) == (1, 1)


def test_no_image_has_no_interval() -> None:
    def score(weights: Scores) -> dict[str, Floats]:
        return {"mean": np.full(len(weights), np.nan)}

    interval = find_interval(draw_scores(score, _alone(0, 10))["mean"])
    assert math.isnan(interval.estimate)
    assert math.isnan(interval.low)


def test_resamples_that_measure_nothing_are_left_out() -> None:
    draws = Draws(0.5, np.array([0.4, np.nan, 0.6]))
    interval = find_interval(draws, level=0.999999)
    assert (interval.low, interval.high) == pytest.approx((0.4, 0.6))


def test_misuse_is_refused() -> None:
    draws = Draws(0.5, np.array([0.4, 0.6]))
    with pytest.raises(SelectionError, match="percentile, basic, got 'normal'"):
        find_interval(draws, method="normal")
    with pytest.raises(SelectionError, match="1 resample or more, got 0"):
        _alone(5, 0)
