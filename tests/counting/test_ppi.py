"""Shares mended by a sample: against the published package, by hand, and where truth is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import binom, norm, t

from bioprobe.counting.ppi import (
    ESTIMATORS,
    Sample,
    Shares,
    _measure,
    estimate_shares,
    find_needed,
)
from bioprobe.errors import SelectionError
from bioprobe.intervals import find_wilson
from bioprobe.types import Doubles, Floats

N, N_ALL = 40, 340


def _draw() -> tuple[Doubles, Doubles, Doubles]:
    """Return the numbers that the reference was asked."""
    random = np.random.default_rng(7)
    labels: Doubles = (random.random(N) < 0.3).astype(np.float64)
    answers: Doubles = np.clip(0.7 * labels + 0.3 * random.random(N), 0, 1).astype(np.float64)
    others = 0.7 * (random.random(N_ALL - N) < 0.3)
    everything = np.clip(others + 0.3 * random.random(N_ALL - N), 0, 1)
    return labels, answers, everything.astype(np.float64)


def _sample(
    labels: Floats,
    answers: Floats,
    everything: Floats,
    units: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> Sample:
    n = len(labels)
    both = np.array([labels, answers], dtype=np.float64)[:, :, np.newaxis]
    return Sample(
        both[0], both[1], np.array([everything.mean()]),
        np.array([everything.var(ddof=1)]), len(everything),
        np.arange(n) if units is None else units, np.ones(n) if weights is None else weights,
        np.zeros(n, dtype=np.int64) if strata is None else strata,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flipped", "expected"),
    # ppi-python 0.2.3: ppi_mean_pointestimate. Answers that say the opposite count for nothing.
    [(False, 0.30912227), (True, 0.35)],
)
def test_ppi_is_that_of_its_authors(flipped: bool, expected: float) -> None:
    labels, answers, others = _draw()
    if flipped:
        answers, others = 1 - answers, 1 - others
    shares = estimate_shares(_sample(labels, answers, np.r_[answers, others]))
    np.testing.assert_allclose(shares.estimate[0], expected, atol=5e-9)
    assert shares.low[0] < shares.estimate[0] < shares.high[0]


def test_regression_ratio_and_labels_alone_are_what_surveys_say() -> None:
    labels, answers, others = _draw()
    everything = np.r_[answers, others]
    sample = _sample(labels, answers, everything)
    slope = np.polyfit(answers, labels, 1)[0]
    expected = {
        "regression": labels.mean() + slope * (everything.mean() - answers.mean()),
        "ratio": labels.mean() / answers.mean() * everything.mean(),
        "labelled": labels.mean(),
    }
    for name, value in expected.items():
        assert estimate_shares(sample, name).estimate[0] == pytest.approx(value)
    alone = estimate_shares(sample, "labelled")
    ends = find_wilson(labels.mean(), N, 1.959963984540054)
    assert (alone.low[0], alone.high[0]) == pytest.approx(ends)
    with pytest.raises(SelectionError, match=r"ppi, regression, ratio, labelled; got 'best'"):
        estimate_shares(sample, "best")


def test_what_is_labelled_is_known_of_these_images_and_not_of_their_like() -> None:
    labels, answers, _ = _draw()
    whole = _sample(labels, answers, answers)
    found = estimate_shares(whole, "regression")
    assert found.low[0] == found.high[0] == labels.mean()
    like = estimate_shares(whole, "ppi")
    assert like.low[0] < labels.mean() < like.high[0]
    half = _sample(labels, answers, np.r_[answers, answers])
    part = estimate_shares(half, "regression")
    # Half are labelled, and of them 35% are it: no fewer and no more can be.
    assert part.low[0] >= 0.175
    assert part.high[0] <= 0.675


@pytest.mark.parametrize(("estimator", "left"), [("regression", 0.75), ("ppi", 1.0)])
def test_answers_that_tell_nothing_leave_the_score_interval_of_a_survey(
    estimator: str, left: float
) -> None:
    # A quarter of these images is known, and nothing of their like.
    labels = (np.arange(100) < 30) * 1.0
    found = estimate_shares(_sample(labels, np.zeros(100), np.zeros(400)), estimator)
    quantile = t.ppf(0.975, 98)
    for end in (found.low[0], found.high[0]):
        assert abs(0.3 - end) == pytest.approx(quantile * np.sqrt(end * (1 - end) / 100 * left))


def test_a_stratum_takes_a_degree_of_freedom() -> None:
    labels, answers, others = _draw()
    sample = _sample(labels, answers, np.r_[answers, others], strata=np.arange(N) % 3)
    wide, narrow = (estimate_shares(sample, level=level).n_effective[0] for level in (0.95, 0.5))
    # Of the four that stand for what few units do not show, one is left.
    stretches = [(t.isf(tail, N + 4 - 3) / norm.isf(tail)) ** 2 for tail in (0.025, 0.25)]
    assert wide / narrow == pytest.approx(stretches[1] / stretches[0])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_interval_is_empty_or_leaves_zero_and_one(estimator: str) -> None:
    random = np.random.default_rng(0)
    everything = random.random(200)
    for n in (0, 1, 2, 3, 10):
        for labels in (np.zeros(n), np.ones(n), (np.arange(n) < 1) * 1.0):
            for answers in (everything[:n], np.zeros(n), labels):
                found = estimate_shares(_sample(labels, answers, everything), estimator)
                low, high = found.low[0], found.high[0]
                assert 0 <= low < high <= 1
                assert not n or low <= found.estimate[0] <= high
                # Nothing that was not seen is shown to be there, nor more than the rule of three.
                if n and not labels.any():
                    assert low == 0
                    assert 2 / (n + 2) < high < 6 / (n + 2)


def test_of_a_class_that_few_units_show_little_is_explained() -> None:
    """Answers are right each time: how sure that is depends on how often it was seen."""
    truths = np.zeros(1000)
    explained = []
    for n_seen in (1, 3, 10, 50):
        truths[:] = 0
        truths[:n_seen] = 1
        found = estimate_shares(_sample(truths[:500], truths[:500], np.r_[truths, truths]))
        explained.append(found.explained[0])
    assert explained[0] < 0.3 < explained[1] < 0.7 < explained[2] < explained[3] < 1


def test_units_that_are_alike_count_once() -> None:
    random = np.random.default_rng(1)
    labels = np.repeat((random.random(20) < 0.4) * 1.0, 10)
    answers, everything = np.full(200, 0.4), np.full(2000, 0.4)
    units = np.arange(200) // 10
    clustered = estimate_shares(_sample(labels, answers, everything, units=units))
    alone = estimate_shares(_sample(labels, answers, everything))
    width = (clustered.high - clustered.low)[0] / (alone.high - alone.low)[0]
    # Ten of each are one: the root of ten, and Student's quantile.
    assert 2.5 < width < 3.5
    assert clustered.alone_high[0] > alone.alone_high[0]
    one = estimate_shares(_sample(labels[:10], answers[:10], everything, units=units[:10]))
    assert (one.high - one.low)[0] > 0.7


def test_strata_that_were_drawn_more_densely_count_less() -> None:
    """Of 100 images that are it 100 were drawn, and 100 of 900 that are not."""
    strata = np.repeat([0, 1], 100)
    labels = 1.0 - strata
    weights = np.where(strata == 0, 1.0, 9.0)
    everything = np.repeat([0.9, 0.2], [100, 900])
    answers = np.where(strata == 0, 0.9, 0.2)
    found = estimate_shares(
        _sample(labels, answers, everything, weights=weights, strata=strata), "regression"
    )
    assert found.estimate[0] == pytest.approx(0.1)
    blind = estimate_shares(_sample(labels, answers, everything), "labelled")
    assert blind.estimate[0] == 0.5
    assert found.low[0] <= 0.1 <= found.high[0] < 0.16


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_is_not_of_a_class_is_known_as_well_as_what_is(estimator: str) -> None:
    strata = np.repeat([0, 1, 2], [20, 30, 10])
    labels = np.r_[np.ones(20), np.zeros(30), np.arange(10) % 2]
    answers, everything = 0.2 + 0.6 * labels, np.tile([0.2, 0.8, 0.3], 200)
    weights = np.array([1.0, 8.0, 3.0])[strata]
    ends = []
    for truths, said, of_all in (
        (labels, answers, everything), (1 - labels, 1 - answers, 1 - everything),
    ):  # fmt: skip
        found = estimate_shares(
            _sample(truths, said, of_all, weights=weights, strata=strata), estimator
        )
        # A ratio is of the class itself.
        ends.append((found.alone_low if estimator == "ratio" else found.low,
                     found.alone_high if estimator == "ratio" else found.high))  # fmt: skip
    assert ends[0][0] == pytest.approx(1 - ends[1][1])
    assert ends[0][1] == pytest.approx(1 - ends[1][0])


def test_the_variance_of_strata_is_that_of_surveys() -> None:
    labels, answers, others = _draw()
    strata = np.repeat([0, 1, 2], [20, 15, 5])
    sample = _sample(labels, answers, np.r_[answers, others], strata=strata)
    parts = [labels[strata == one] for one in range(3)]
    expected = sum((len(part) / N) ** 2 * part.var(ddof=1) / len(part) for part in parts)
    assert _measure(sample, labels[:, np.newaxis])[0] == pytest.approx(expected)


def test_a_group_takes_the_slope_of_all_where_it_has_few() -> None:
    labels, answers, others = _draw()
    everything = np.r_[answers, others]
    whole = estimate_shares(_sample(labels, answers, everything))
    few = _sample(labels[:3], answers[:3], everything)
    alone, helped = estimate_shares(few), estimate_shares(few, like=whole)
    assert abs(helped.slopes[0] - whole.slopes[0]) < abs(alone.slopes[0] - whole.slopes[0]) or (
        alone.slopes[0] == whole.slopes[0]
    )
    assert helped.n_effective[0] > alone.n_effective[0]
    nothing = estimate_shares(_sample(labels[:0], answers[:0], everything), like=whole)
    assert np.isnan(nothing.estimate[0])
    assert (nothing.low[0], nothing.high[0]) == (0, 1)


@pytest.mark.parametrize(("share", "width"), [(0.5, 0.1), (0.01, 0.02), (0, 0.05), (1, 0.2)])
def test_so_many_labels_give_the_wished_width(share: float, width: float) -> None:
    needed = find_needed(share, 100, 50, width)
    low, high = find_wilson(share, needed * 2, 1.959963984540054)
    assert high - low == pytest.approx(width)
    assert find_needed(share, 100, 50, 1.0) == 1


@pytest.mark.parametrize("estimator", ["ppi", "regression"])
def test_what_strata_do_not_show_is_in_the_interval(estimator: str) -> None:
    """As many of each answer are labelled, and answers miss one in five of a class of .05."""
    random, n, n_held, n_trials = np.random.default_rng(0), 200, 0, 80
    for _ in range(n_trials):
        truths = random.random(3000) < 0.05
        said = np.where(truths, random.random(3000) < 0.8, random.random(3000) < 0.05)
        answers = np.clip(0.15 + 0.65 * said + 0.1 * random.standard_normal(3000), 0, 1)
        of = [np.flatnonzero(said == one)[: n // 2] for one in (0, 1)]
        drawn = np.concatenate(of)
        weights = [np.count_nonzero(said == one) / (n // 2) for one in (0, 1)]
        plain = _sample(truths[drawn] * 1.0, answers[drawn], answers)
        found = estimate_shares(
            dataclasses.replace(
                plain, weights=np.repeat(weights, n // 2), strata=np.repeat([0, 1], n // 2)
            ),
            estimator,
        )
        share = 0.05 if estimator == "ppi" else truths.mean()
        n_held += bool(found.low[0] <= share <= found.high[0])
    assert n_held >= 0.95 * n_trials


@pytest.mark.parametrize(("share", "n"), [(0.01, 50), (0.06, 3), (0.99, 50)])
def test_an_interval_of_few_that_are_seen_holds_where_wilsons_does_not(
    share: float, n: int
) -> None:
    held, wilson = 0.0, 0.0
    for seen in range(n + 1):
        truths = (np.arange(n) < seen) * 1.0
        found = estimate_shares(_sample(truths, np.zeros(n), np.zeros(10 * n)))
        chance = float(binom.pmf(seen, n, share))
        held += chance * (found.alone_low[0] <= share <= found.alone_high[0])
        low, high = find_wilson(seen / n, n, 1.959964)
        wilson += chance * (low <= share <= high)
        assert 0 <= found.low[0] <= found.estimate[0] <= found.high[0] <= 1
    assert held >= 0.95
    assert wilson < 0.92


@pytest.mark.parametrize(("share", "n"), [(0.3, 50), (0.05, 50), (0.02, 150)])
def test_intervals_hold_and_are_narrower_than_those_of_labels_alone(share: float, n: int) -> None:
    """A small version of benchmarks/estimates.py, with answers of which one in five is wrong."""
    random = np.random.default_rng(n)
    n_held, ratios = 0, []
    for _ in range(150):
        truths = (random.random(1500) < share) * 1.0
        right = np.where(random.random(1500) < 0.8, truths, random.random(1500) < share)
        answers = np.clip(right * 0.8 + 0.1 + 0.1 * random.standard_normal(1500), 0, 1)
        found: Shares = estimate_shares(_sample(truths[:n], answers[:n], answers))
        n_held += bool(found.low[0] <= share <= found.high[0])
        ratios.append((found.high - found.low)[0] / (found.alone_high - found.alone_low)[0])
    # 93% of 150, less two standard errors of it.
    assert n_held >= 133
    assert np.median(ratios) < 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_classes_are_measured_some_at_a_time(
    estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(3)
    n, n_classes = 60, 7
    truths = random.integers(n_classes, size=n)[:, np.newaxis] == np.arange(n_classes)
    answers = random.dirichlet(np.ones(n_classes), n).astype(np.float32)
    sample = Sample(
        truths, answers, answers.mean(axis=0, dtype=np.float64), np.full(n_classes, 0.02), 500,
        np.arange(n) // 2, random.uniform(1, 3, n), np.arange(n) // 30,
    )  # fmt: skip
    whole = estimate_shares(sample, estimator)
    part = dataclasses.replace(sample, n_images=90)
    in_whole = estimate_shares(part, estimator, like=whole)
    monkeypatch.setattr("bioprobe.counting.ppi._NUMBERS_AT_ONCE", 2 * n)
    assert len(list(sample.split())) == 4
    for one, other in (
        (whole, estimate_shares(sample, estimator)),
        (in_whole, estimate_shares(part, estimator, like=whole)),
    ):
        for field in dataclasses.fields(Shares):
            expected = getattr(one, field.name)
            np.testing.assert_allclose(getattr(other, field.name), expected, rtol=1e-12)
