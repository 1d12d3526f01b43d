from __future__ import annotations

import numpy as np
import pytest

from bioprobe.calibration.calibrators import to_probabilities
from bioprobe.calibration.conformal import KINDS, _score, fit_conformal, measure_sets
from bioprobe.errors import SelectionError
from tests.calibration.logits import draw_logits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_sets_hold_the_true_class_as_often_as_was_asked(kind: str, coverage: float) -> None:
    # The probabilities are wrong on purpose: the promise does not need them right.
    held = []
    for seed in range(200):
        logits, truth = draw_logits(300, 6, temperature=2.0, seed=seed)
        probabilities = to_probabilities(logits)
        fitted = fit_conformal(probabilities[:100], truth[:100], coverage, kind)
        sets = fitted.find_sets(probabilities[100:], allow_empty=True)
        held.append(measure_sets(sets, truth[100:]).coverage.fraction)
    # Exactly ⌈101 · coverage⌉ / 101 on average; 200 repeats leave a standard error of .003, and
    # the random share, which is the same in all of them, some more.
    assert np.mean(held) == pytest.approx(np.ceil(101 * coverage) / 101, abs=0.015)


def test_what_chose_the_limit_and_is_asked_again_has_another_random_share() -> None:
    probabilities = np.full((200, 2), 0.5)
    fitted = fit_conformal(probabilities, np.zeros(200, dtype=np.int64), 0.5, "aps")
    chosen = _score(probabilities, "aps", 0)[:, 0] <= fitted.limit
    asked = fitted.find_sets(probabilities, allow_empty=True)[:, 0]
    assert chosen.sum() == 101
    # Two coins of 200 throws that have nothing to do with each other.
    assert 0.35 < (chosen == asked).mean() < 0.65


def test_raps_charges_classes_from_the_sixth_on() -> None:
    probabilities = np.array([[0.3, 0.2, 0.15, 0.12, 0.1, 0.06, 0.04, 0.03]])
    aps, raps = (_score(probabilities, kind, 1) for kind in ("aps", "raps"))
    assert (raps - aps)[0] == pytest.approx([0, 0, 0, 0, 0, 0.01, 0.02, 0.03])


def test_lac_by_hand() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]])
    fitted = fit_conformal(probabilities, np.array([0, 0, 1, 1]), 0.8)
    # Scores .5, .4, .2, .6: of four the ⌈5 · .8⌉ = fourth.
    assert fitted.limit == pytest.approx(0.6)
    assert fitted.find_sets(np.array([[0.45, 0.41, 0.14], [0.36, 0.34, 0.30]])).tolist() == [
        [True, True, False],
        [True, False, False],
    ]
    empty = fitted.find_sets(np.array([[0.36, 0.34, 0.30]]), allow_empty=True)
    assert not empty.any()


def test_a_rank_that_comes_out_even_is_no_higher() -> None:
    # 25 · 0.56 is 14, which float64 has a little above.
    own = 1 - np.arange(1, 25) / 100
    fitted = fit_conformal(np.stack([own, 1 - own], axis=1), np.zeros(24, dtype=np.int64), 0.56)
    assert fitted.limit == pytest.approx(0.14)


@pytest.mark.parametrize(("n", "is_finite"), [(1, False), (8, False), (9, True), (10, True)])
def test_too_few_images_promise_only_the_set_of_all_classes(n: int, is_finite: bool) -> None:
    probabilities = np.tile([0.7, 0.2, 0.1], (n, 1))
    fitted = fit_conformal(probabilities, np.zeros(n, dtype=np.int64), 0.9)
    assert np.isfinite(fitted.limit) == is_finite
    assert fitted.find_sets(probabilities).all() != is_finite


def test_sets_grow_with_coverage_and_raps_charges_for_length() -> None:
    logits, truth = draw_logits(4000, 12, spread=2.0)
    probabilities = to_probabilities(logits)

    def size(coverage: float, kind: str) -> float:
        fitted = fit_conformal(probabilities[:2000], truth[:2000], coverage, kind)
        return measure_sets(fitted.find_sets(probabilities[2000:]), truth[2000:]).mean_size

    for kind in KINDS:
        assert size(0.7, kind) < size(0.8, kind) < size(0.95, kind)
    # A charge for length leaves sets shorter than without it.
    assert size(0.9, "lac") < size(0.9, "raps") < size(0.9, "aps")


def test_quality_counts_only_images_of_known_class() -> None:
    sets = np.array([[True, False], [True, True], [False, True], [True, True]])
    found = measure_sets(sets, np.array([0, 1, 0, -1]))
    assert (found.coverage.n_correct, found.coverage.n_images) == (2, 3)
    assert found.mean_size == pytest.approx(4 / 3)
    assert found.single_fraction == pytest.approx(2 / 3)
    assert np.isnan(measure_sets(sets[:1], np.array([-1])).mean_size)


def test_no_images_have_no_sets() -> None:
    fitted = fit_conformal(np.array([[0.7, 0.3]]), np.array([0]))
    assert fitted.find_sets(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(("coverage", "kind"), [(0.0, "lac"), (1.0, "lac"), (0.9, "cqr")])
def test_what_is_not_offered_is_refused(coverage: float, kind: str) -> None:
    with pytest.raises(SelectionError, match="lac, aps, raps for a coverage"):
        fit_conformal(np.array([[0.7, 0.3]]), np.array([0]), coverage, kind)
