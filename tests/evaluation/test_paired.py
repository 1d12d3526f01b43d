from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from bioprobe.evaluation.paired import (
    compare_pairs,
    count_disagreements,
    find_accuracy_p_value,
    find_p_value,
    measure_mcnemar,
)
from bioprobe.intervals import Draws, Resamples, adjust_by_holm, draw_scores


@pytest.mark.parametrize(("first", "second"), [(0, 1), (3, 9), (12, 12), (40, 20), (0, 8)])
def test_mcnemar_is_the_binomial_sum_over_the_disagreements(first: int, second: int) -> None:
    n, fewer = first + second, min(first, second)
    both_tails = 2 * sum(math.comb(n, i) for i in range(fewer + 1)) / 2**n
    assert measure_mcnemar(first, second) == pytest.approx(min(1, both_tails))


def test_a_difference_of_heights_may_be_of_several_ranks() -> None:
    random = np.random.default_rng(0)
    draws = {name: Draws(mean, random.normal(mean, 0.2, 500), 50)
             for name, mean in (("a", 4.5), ("b", 1.5))}  # fmt: skip
    (found,) = compare_pairs("mistake_severity", draws)
    assert found.low < found.difference == 3 < found.high < 4


def test_methods_that_never_disagree_are_not_told_apart() -> None:
    assert measure_mcnemar(0, 0) == 1


def test_disagreements_are_counted_by_who_is_right() -> None:
    first, second = np.array([1, 1, 1, 0, 0]) == 1, np.array([1, 0, 0, 1, 0]) == 1
    assert count_disagreements(first, second) == (2, 1)


def test_holm_by_hand() -> None:
    # Times 4, 3, 2 and 1 in ascending order, and never less than the one before.
    p_values = [0.03, 0.005, 0.6, 0.02]
    assert adjust_by_holm(p_values) == pytest.approx([0.06, 0.02, 0.6, 0.06])
    assert adjust_by_holm([0.5, 0.9]) == [1.0, 1.0]
    assert adjust_by_holm([]) == []


def test_holm_passes_over_what_could_not_be_tested() -> None:
    adjusted = adjust_by_holm([0.02, math.nan, 0.01])
    assert (adjusted[0], adjusted[2]) == (0.02, 0.02)
    assert math.isnan(adjusted[1])


def test_the_p_value_is_the_level_at_which_the_interval_reaches_zero() -> None:
    values = np.random.default_rng(0).normal(1, 0.5, 9999)
    found = find_p_value(Draws(1, values, 400))
    assert found == pytest.approx(2 * stats.norm.cdf(-2), abs=0.006)
    assert find_p_value(Draws(-1, -values, 400)) == pytest.approx(found)


def test_the_p_value_is_never_0_nor_above_1() -> None:
    assert find_p_value(Draws(1, np.ones(999), 9)) == pytest.approx(2 / 1000)
    assert find_p_value(Draws(0, np.zeros(999), 9)) == 1
    assert math.isnan(find_p_value(Draws(math.nan, np.array([np.nan]), 9)))


def test_a_difference_that_no_resample_crosses_can_pass_the_correction_for_many_pairs() -> None:
    random = np.random.default_rng(0)
    between = Draws(-0.376, random.normal(-0.376, 0.015, 1000), 60)
    p_value = find_p_value(between)
    assert p_value < 1e-12 * 1.01
    # Of 1,000 resamples alone none is below 2 in 1,001, which 36 pairs make .072.
    assert adjust_by_holm([p_value] * 36)[0] < 0.001
    # Few groups tell less than many.
    few = find_p_value(Draws(-0.06, random.normal(-0.06, 0.015, 1000), 3))
    assert 0.001 < few < 0.06


def test_answers_that_are_the_same_have_a_difference_with_a_width() -> None:
    same = Draws(0.9, np.random.default_rng(0).normal(0.9, 0.03, 500), 100)
    (found,) = compare_pairs("accuracy", {"one": same, "other": same})
    assert found.low == pytest.approx(-found.high)
    assert 0.02 < found.high < 0.06


def _draw(right: dict[str, npt.NDArray[np.bool_]], n_resamples: int = 500) -> dict[str, Draws]:
    random = np.random.default_rng(0)
    rows = random.integers(len(next(iter(right.values()))), size=(n_resamples, 200))
    return {name: Draws(r.mean(), r[rows].mean(axis=1), 200) for name, r in right.items()}


def test_every_pair_is_compared_and_corrected_for_all_pairs() -> None:
    random = np.random.default_rng(0)
    good = random.random(200) < 0.9
    right = {"good": good, "same": good.copy(), "bad": good & (random.random(200) < 0.8)}
    found = compare_pairs("accuracy", _draw(right), right)
    assert [(one.first, one.second) for one in found] == [
        ("good", "same"), ("good", "bad"), ("same", "bad"),
    ]  # fmt: skip
    equal, better, _ = found
    assert (equal.difference, equal.p_value, equal.p_adjusted) == (0, 1, 1)
    n_only = int((good & ~right["bad"]).sum())
    assert (better.n_only_first, better.n_only_second) == (n_only, 0)
    assert better.difference == pytest.approx(n_only / 200)
    assert 0 < better.low < better.difference < better.high
    assert better.test == "mcnemar"
    assert better.p_value == pytest.approx(2 * 0.5**n_only)
    assert better.p_adjusted == pytest.approx(3 * better.p_value)


def test_figures_other_than_independent_accuracy_are_compared_by_the_bootstrap() -> None:
    random = np.random.default_rng(0)
    right = {"good": random.random(200) < 0.9, "bad": random.random(200) < 0.5}
    (found,) = compare_pairs("macro_f1", _draw(right))
    assert found.test == "bootstrap"
    assert found.p_value < 1e-6
    assert found.to_dict()["metric"] == "macro_f1"


def test_images_that_groups_hold_several_of_are_not_counted_one_by_one() -> None:
    # Four groups of 50 images that are right or wrong together: McNemar's would be sure of it.
    right = {"one": np.repeat([True, True, True, False], 50), "other": np.zeros(200, dtype=bool)}
    resamples = Resamples.of_groups(np.repeat([*"abcd"], 50), 200, 0)

    def draw(right: npt.NDArray[np.bool_]) -> Draws:
        return draw_scores(lambda w: {"accuracy": w @ right / w.sum(axis=1)}, resamples)["accuracy"]

    draws = {name: draw(one) for name, one in right.items()}
    (found,) = compare_pairs("accuracy", draws, right)
    assert (found.test, found.n_only_first) == ("bootstrap", 0)
    between = dataclasses.replace(draws["one"], is_clustered=True)
    assert found.p_value == find_p_value(between) > 1e-3
    assert find_accuracy_p_value(between, right["one"], right["other"]) == found.p_value
    alone = dataclasses.replace(between, is_clustered=False)
    mcnemar = find_accuracy_p_value(alone, right["one"], right["other"])
    assert mcnemar == measure_mcnemar(150, 0) < 1e-40


def test_the_paired_p_value_is_rarely_small_where_there_is_no_difference() -> None:
    random = np.random.default_rng(0)
    p_values = []
    for _ in range(300):
        right = {name: random.random(200) < 0.7 for name in ("one", "other")}
        rows = random.integers(200, size=(200, 200))
        draws = {name: Draws(r.mean(), r[rows].mean(axis=1), 200) for name, r in right.items()}
        p_values.append(compare_pairs("accuracy", draws)[0].p_value)
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.09


def test_one_method_has_nothing_to_be_compared_with() -> None:
    assert compare_pairs("accuracy", {"only": Draws(1, np.ones(3), 3)}) == []


def test_where_no_resample_crosses_zero_both_tails_of_student_tell() -> None:
    between = Draws(0.3, 0.3 + 0.1 * np.resize([-1, 1], 8), 10)
    assert find_p_value(between) == pytest.approx(2 * stats.t.sf(3, 9))
