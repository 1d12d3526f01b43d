from __future__ import annotations

import dataclasses
import math
import tracemalloc
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from bioprobe.errors import SelectionError
from bioprobe.evaluation.measured import measure
from bioprobe.evaluation.method_scores import draw_method_scores, find_chance_errors, find_intervals
from bioprobe.evaluation.metrics import N_BINS, score_rows
from bioprobe.intervals import Accuracy, Draws, Resamples, Score, draw_scores, find_interval
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


def test_a_group_that_is_named_by_a_number_is_no_image_on_its_own() -> None:
    groups = np.array(["3", "", "3", "", "0"])
    clusters = Resamples.of_groups(groups).clusters.tolist()
    assert clusters == [3, 0, 3, 1, 2]


def test_images_on_their_own_are_numbered_in_the_order_of_their_numbers_as_texts() -> None:
    clusters = Resamples.of_groups(np.full(1234, "")).clusters
    numbers = list(map(str, range(1234)))
    assert [numbers[place] for place in np.argsort(clusters)] == sorted(numbers)


@pytest.mark.parametrize("names", [[""], ["a", "b"]])
def test_numbering_groups_holds_a_few_numbers_an_image(names: list[str]) -> None:
    groups = np.resize(np.array(names, dtype=object), 50_000)
    tracemalloc.start()
    Resamples.of_groups(groups)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10 * 8 * len(groups)


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


def test_a_share_of_independent_images_has_wilsons_interval() -> None:
    for n, n_right in ((3, 3), (10, 8), (400, 301), (5, 0)):
        right = np.arange(n) < n_right
        draws = draw_scores(_mean_of(right.astype(float)), _alone(n))["mean"]
        interval = find_interval(draws, is_share=True)
        reference = stats.binomtest(n_right, n).proportion_ci(method="wilson")
        assert (interval.low, interval.high) == pytest.approx(tuple(reference), abs=1e-12)
        # Without being told that it is one its spread has to be found from them: it is the wider
        # the fewer they are, and of many the same.
        near = find_interval(draws)
        slack = 0.005 if n == 400 else 0.12
        assert (near.low, near.high) == pytest.approx(tuple(reference), abs=slack)
        assert n == 400 or near.high - near.low > interval.high - interval.low


def test_intervals_hold_their_estimate_have_a_width_and_end_where_the_figure_ends() -> None:
    random = np.random.default_rng(0)
    for n in (1, 2, 3, 20, 300):
        for values in (np.zeros(n), np.ones(n), random.random(n), np.full(n, 0.3)):
            draws = draw_scores(_mean_of(values), _alone(n, 200))["mean"]
            interval = find_interval(draws)
            assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
            assert interval.high - interval.low > 0.5 / n
            of_rank = find_interval(
                dataclasses.replace(
                    draws, estimate=7 * draws.estimate, resampled=7 * draws.resampled
                ),
                high=7,
            )
            assert of_rank.high == pytest.approx(7 * interval.high)


def test_the_interval_of_a_mean_of_many_is_that_of_theory() -> None:
    values = np.random.default_rng(0).beta(4, 2, size=2000)
    draws = draw_scores(_mean_of(values), _alone(2000, 2000))["mean"]
    interval, error = find_interval(draws), 1.96 * values.std() / np.sqrt(2000)
    assert interval.low == pytest.approx(values.mean() - error, abs=0.001)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.001)
    narrow = find_interval(draws, level=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high
    assert str(narrow).startswith(f"{values.mean():.3f} [")


@pytest.mark.parametrize("level", [0.95, 0.9])
def test_the_ends_lie_students_quantile_of_their_own_errors_away(level: float) -> None:
    # Resamples that are as far from the figure as those of a share, half of it by a shift.
    share, n, shift = 0.3, 12, 0.05
    rest = np.sqrt(share * (1 - share) / n - shift**2)
    draws = Draws(share, share + shift + np.array([-rest, rest]), n)
    quantile = stats.t.ppf((1 + level) / 2, n + 4 - 1)
    interval = find_interval(draws, level=level)
    for end in (interval.low, interval.high):
        assert abs(share - end) == pytest.approx(quantile * np.sqrt(end * (1 - end) / n))
    # What a figure is off by in the mean is taken back one and a half times.
    moved = find_interval(dataclasses.replace(draws, shift=0.1), level=level)
    assert moved.high == pytest.approx(interval.high)
    error = np.sqrt(moved.low * (1 - moved.low) / n)
    assert share - 0.15 - moved.low == pytest.approx(quantile * error)


@pytest.mark.parametrize(("n_images", "accuracy"), [(3, 0.9), (12, 0.6), (150, 0.8), (150, 0.99)])
def test_intervals_of_accuracy_cover_what_they_promise(n_images: int, accuracy: float) -> None:
    random = np.random.default_rng(0)
    right = random.binomial(n_images, accuracy, 4000)
    found = [Accuracy(1, int(n), n_images).interval for n in np.unique(right)]
    ends = dict(zip(np.unique(right).tolist(), found, strict=True))
    covered = np.mean([ends[n][0] <= accuracy <= ends[n][1] for n in right.tolist()])
    assert covered > 0.92


def test_only_intervals_by_group_cover_where_images_of_a_group_are_alike() -> None:
    n_groups, size, n_trials = 60, 8, 200
    groups = np.repeat(np.arange(n_groups).astype(str), size)
    random = np.random.default_rng(0)
    covered = {"grouped": 0, "alone": 0}
    for trial in range(n_trials):
        chances = random.beta(1.6, 0.4, n_groups)  # mean .8
        right = (random.random(n_groups * size) < np.repeat(chances, size)).astype(float)
        for name, of in {"grouped": groups, "alone": np.full(len(groups), "")}.items():
            resamples = Resamples.of_groups(of, 100, trial)
            draws = draw_scores(_mean_of(right), resamples)["mean"]
            interval = find_interval(draws, is_share=True)
            covered[name] += interval.low <= 0.8 <= interval.high
    assert 0.90 <= covered["grouped"] / n_trials <= 0.99
    assert covered["alone"] / n_trials < 0.75


def test_groups_that_are_few_tell_little() -> None:
    right = np.tile([1.0, 1.0, 1.0, 0.0], 30)
    widths = {}
    for n_groups in (1, 2, 4, 40):
        groups = np.repeat(np.arange(n_groups), 120 // n_groups).astype(str)
        draws = draw_scores(_mean_of(right), Resamples.of_groups(groups, 300))["mean"]
        assert (draws.n_units, draws.is_clustered) == (n_groups, True)
        interval = find_interval(draws)
        widths[n_groups] = interval.high - interval.low
    assert widths[1] == 1
    assert widths[1] > widths[2] > widths[4] > widths[40] > 0.05


@pytest.mark.parametrize(
    ("n_images", "n_classes", "is_even", "least"),
    [
        (6, 2, True, 0.88),
        (30, 5, False, 0.88),
        pytest.param(60, 20, True, 0.86, marks=pytest.mark.long),
        pytest.param(180, 60, True, 0.9, marks=pytest.mark.long),
    ],
)
def test_intervals_of_macro_f1_cover_what_they_promise(
    n_images: int, n_classes: int, is_even: bool, least: float
) -> None:
    random = np.random.default_rng(0)
    recalls = random.beta(5, 1.5, n_classes)
    chances = np.full((n_classes, n_classes), 0.0)
    for own, recall in enumerate(recalls):
        others = random.exponential(size=n_classes) ** 2
        others[own] = 0
        chances[own] = (1 - recall) * others / others.sum()
        chances[own, own] = recall
    shares = np.ones(n_classes) if is_even else 1 / np.arange(1, n_classes + 1)
    shares /= shares.sum()
    joint = shares[:, np.newaxis] * chances
    f1s = 2 * np.diag(joint) / (joint.sum(axis=0) + joint.sum(axis=1))
    covered, n_trials = 0, 100
    for trial in range(n_trials):
        truth = random.choice(n_classes, n_images, p=shares)
        draws = random.random((n_images, 1)) > chances[truth].cumsum(axis=1)
        answers = np.minimum(draws.sum(axis=1), n_classes - 1)
        measured = measure(truth, np.eye(n_classes, dtype=np.float32)[answers])
        asked = measured, _alone(n_images, 150, trial)
        interval = find_intervals(draw_method_scores(*asked), *asked)["macro_f1"]
        # It is a mean over the classes that were met.
        covered += interval.low <= f1s[np.unique(truth)].mean() <= interval.high
    assert covered / n_trials >= least


@pytest.mark.parametrize("shift", [0.1, -0.1])
def test_the_interval_of_a_calibration_error_takes_back_what_resampling_adds(shift: float) -> None:
    # Resamples as far from their mean as those of a share of 84 images.
    share, n = 0.3, 84
    normal = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    resampled = share + shift + normal / normal.std() * np.sqrt(share * (1 - share) / n)
    # Answers that are sure and right are never off by chance.
    sure = np.tile(np.array([1, 0], dtype=np.float32), (n, 1))
    draws = {"ece": Draws(share, resampled, n)}
    truth = np.zeros(n, dtype=np.int64)
    found = find_intervals(draws, measure(truth, sure), _alone(n))["ece"]
    quantile = stats.t.ppf(0.975, n + 4 - 1)
    # On the side to which it is not shifted it ends as if it were not shifted at all.
    plain, moved = (found.high, found.low) if shift > 0 else (found.low, found.high)
    assert abs(plain - share) == pytest.approx(quantile * np.sqrt(plain * (1 - plain) / n))
    assert moved == pytest.approx(2 * share - np.quantile(resampled, 0.975 if shift > 0 else 0.025))
    # All are right or none is: by chance alone an error is as large.
    as_one = Resamples.of_groups(np.full(n, "a"))
    unsure = measure(truth, np.full((n, 2), [0.7, 0.3], dtype=np.float32))
    chance = find_intervals(draws, unsure, as_one)
    assert (chance["ece"].low, chance["ece"].high) == (0, found.high)


# In 600 other draws the rule held the truth of the first .95 times, one of .6 of its width .745: so
# few trials fail the right one 2 times in 10,000, and pass the narrow one 4 times.
@pytest.mark.parametrize(
    ("n_images", "least_sure", "too_sure"),
    [
        (30, 0.5, 0.5),
        pytest.param(40, 0.6, 0.15, marks=pytest.mark.long),
        pytest.param(4, 0.6, 0.15, marks=pytest.mark.long),
        pytest.param(400, 0.6, 0.0, marks=pytest.mark.long),
        pytest.param(400, 0.6, 0.15, marks=pytest.mark.long),
    ],
)
def test_intervals_of_ece_cover_what_they_promise(
    n_images: int, least_sure: float, too_sure: float
) -> None:
    random = np.random.default_rng(0)
    many = random.uniform(least_sure, 1, 200_000)
    bins = np.clip(np.ceil(many * N_BINS) - 1, 0, N_BINS - 1).astype(int)
    true = np.abs(np.bincount(bins, np.full(len(many), -too_sure))).sum() / len(many)
    covered, n_trials = 0, 120
    for trial in range(n_trials):
        confidence = random.uniform(least_sure, 1, n_images)
        right = random.random(n_images) < confidence - too_sure
        # Of so many classes that no other is as probable.
        others = np.repeat((1 - confidence[:, np.newaxis]) / 40, 40, axis=1)
        probabilities = np.column_stack([confidence, others]).astype(np.float32)
        measured = measure(np.where(right, 0, 1), probabilities)
        score = partial(score_rows, measured.flat, metrics=["ece"])
        resamples = _alone(n_images, 150, trial)
        found = find_intervals(draw_scores(score, resamples), measured, resamples)["ece"]
        assert found.low <= found.estimate <= found.high
        covered += found.low <= true <= found.high
    assert covered / n_trials >= 0.88


def test_an_error_by_chance_is_that_of_groups() -> None:
    measured = measure(np.zeros(60, dtype=np.int64), np.full((60, 2), [0.7, 0.3], dtype=np.float32))
    together = find_chance_errors(measured, Resamples.of_groups(np.full(60, "a")))
    # All are right or none is.
    assert together["ece"] == pytest.approx(0.7)
    assert find_chance_errors(measured, _alone(60))["ece"] < 0.25


def test_no_image_has_no_interval() -> None:
    def score(weights: Scores) -> dict[str, Floats]:
        return {"mean": np.full(len(weights), np.nan)}

    interval = find_interval(draw_scores(score, _alone(0, 10))["mean"])
    assert math.isnan(interval.estimate)
    assert math.isnan(interval.low)


def test_resamples_that_measure_nothing_are_left_out() -> None:
    with_holes = Draws(0.5, np.array([0.4, np.nan, 0.6]), 50)
    assert find_interval(with_holes) == find_interval(Draws(0.5, np.array([0.4, 0.6]), 50))


def test_a_figure_is_of_as_many_images_as_it_is_said_to_be() -> None:
    right = np.ones(20)
    units = {"mean": np.arange(20) < 3}
    draws = draw_scores(_mean_of(right), _alone(20, 50), units)["mean"]
    assert find_interval(draws, is_share=True).low == pytest.approx(Accuracy(1, 3, 3).interval[0])
    three = draw_scores(_mean_of(np.ones(3)), _alone(3, 50))["mean"]
    assert find_interval(draws).low == pytest.approx(find_interval(three).low)


def test_misuse_is_refused() -> None:
    with pytest.raises(SelectionError, match="1 resample or more, got 0"):
        _alone(5, 0)


@pytest.mark.parametrize("smooth", [False, True])
def test_no_more_resamples_are_in_memory_than_are_asked_at_once(
    monkeypatch: pytest.MonkeyPatch, *, smooth: bool
) -> None:
    n_held = 1_000_000
    monkeypatch.setattr("bioprobe.intervals._WEIGHTS_AT_ONCE", n_held)
    resamples = _alone(5_000, 300)
    tracemalloc.start()
    for weights in resamples.iter_weights(smooth=smooth):
        assert weights.size <= n_held
        break
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.2 * 4 * n_held
