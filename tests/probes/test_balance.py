"""What each balance does to weights, logits and rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.utils.class_weight import compute_class_weight

from bioprobe.errors import ProbeError
from bioprobe.probes.linear import (
    BALANCES,
    Balance,
    Rows,
    make_rows,
)


def _draw(counts: list[int], dim: int = 4) -> Rows:
    targets = np.repeat(np.arange(len(counts)), counts)
    vectors = np.random.default_rng(0).normal(size=(len(targets), dim)).astype(np.float32)
    return Rows(vectors, targets, np.ones(len(targets)))


def _counts(rows: Rows) -> list[int]:
    return [int(count) for count in np.bincount(rows.targets)]


def test_class_weights_are_those_of_scikit_learn() -> None:
    rows = _draw([5, 2, 1])
    factors, _ = Balance("class-weight").weigh(np.bincount(rows.targets).astype(np.float64))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=rows.targets)
    np.testing.assert_allclose(factors, expected)


def test_a_class_without_rows_is_not_counted_in_class_weights() -> None:
    factors, _ = Balance("class-weight").weigh(np.array([6.0, 0, 2]))
    np.testing.assert_allclose(factors, [8 / 12, 1, 2])


def test_logit_adjustment_is_the_log_of_the_share_times_tau() -> None:
    _, summands = Balance("logit-adjustment", tau=0.5).weigh(np.array([6.0, 0, 2]))
    np.testing.assert_allclose(summands, [0.5 * np.log(0.75), 0, 0.5 * np.log(0.25)])


@pytest.mark.parametrize("name", ["none", "focal", "smote", "mixup"])
def test_others_leave_weights_and_logits_alone(name: str) -> None:
    factors, summands = Balance(name).weigh(np.array([6.0, 2]))
    assert factors.tolist() == [1, 1]
    assert summands.tolist() == [0, 0]


def test_only_focal_has_a_focus() -> None:
    assert [Balance(name, gamma=3).focus for name in BALANCES] == [0, 0, 0, 3, 0, 0]


@pytest.mark.parametrize("name", ["none", "class-weight", "logit-adjustment", "focal"])
def test_only_smote_and_mixup_make_rows(name: str) -> None:
    rows = _draw([3, 1])
    assert make_rows(rows, Balance(name)) is rows
    assert not Balance(name).makes_rows


def test_smote_fills_classes_of_any_size_but_leaves_one_row_alone() -> None:
    made = make_rows(_draw([9, 1, 2, 3, 5, 6, 7]), Balance("smote"))
    assert _counts(made) == [9, 1, 9, 9, 9, 9, 9]


def test_smote_keeps_the_rows_it_was_given_first() -> None:
    rows = _draw([9, 3])
    made = make_rows(rows, Balance("smote"))
    np.testing.assert_array_equal(made.vectors[:12], rows.vectors)
    np.testing.assert_array_equal(made.weights, 1)


def test_smote_draws_between_rows_of_the_class() -> None:
    rows = _draw([6, 2])
    made = make_rows(rows, Balance("smote")).vectors[8:]
    first, second = np.asarray(rows.vectors)[6:]
    share = ((made - first) @ (second - first)) / ((second - first) @ (second - first))
    np.testing.assert_allclose(made, first + share[:, None] * (second - first), atol=1e-6)
    assert ((share >= 0) & (share <= 1)).all()


@pytest.mark.parametrize("counts", [[4, 4], [1, 1], [5, 1], [3]])
def test_smote_makes_nothing_where_nothing_can_be_made(counts: list[int]) -> None:
    assert _counts(make_rows(_draw(counts), Balance("smote"))) == counts


def test_mixup_keeps_the_total_weight_and_lies_between_rows() -> None:
    rows = _draw([5, 3])
    made = make_rows(rows, Balance("mixup"))
    assert made.weights.sum() == pytest.approx(8)
    assert made.targets[:8].tolist() == rows.targets.tolist()
    assert sorted(made.targets[8:].tolist()) == rows.targets.tolist()
    np.testing.assert_array_equal(made.vectors[:8], made.vectors[8:])
    share = made.weights[:8]
    partner = np.random.default_rng(0).permutation(8)
    expected = share[:, None] * rows.vectors + (1 - share[:, None]) * rows.vectors[partner]
    np.testing.assert_allclose(made.vectors[:8], expected, atol=1e-6)


def test_a_mixture_weighs_what_its_rows_do_by_their_shares() -> None:
    rows = dataclasses.replace(_draw([5, 3]), weights=np.arange(1.0, 9.0))
    first, second = make_rows(rows, Balance("mixup")).weights.reshape(2, 8)
    share, partner = first / (first + second), np.random.default_rng(0).permutation(8)
    expected = share * rows.weights + (1 - share) * rows.weights[partner]
    np.testing.assert_allclose(first + second, expected)


def test_alpha_says_how_far_mixtures_lie_from_rows() -> None:
    def nearest(alpha: float) -> float:
        shares = make_rows(_draw([200]), Balance("mixup", alpha=alpha)).weights[:200]
        return float(np.minimum(shares, 1 - shares).mean())

    assert nearest(0.1) < 0.1 < 0.3 < nearest(10)


@pytest.mark.parametrize("name", ["smote", "mixup"])
def test_the_seed_decides_the_rows(name: str) -> None:
    def make(seed: int) -> npt.NDArray[np.float32]:
        return np.asarray(make_rows(_draw([7, 3]), Balance(name, seed=seed)).vectors)

    np.testing.assert_array_equal(make(1), make(1))
    assert not np.array_equal(make(1), make(2))


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ProbeError, match="no balance 'smoted'; there are none, class-weight"):
        Balance("smoted")


@pytest.mark.parametrize("wrong", [{"tau": -1.0}, {"gamma": -0.1}, {"alpha": 0.0}])
def test_strengths_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ProbeError, match="at least 0 and alpha above 0"):
        Balance("none", **wrong)  # type: ignore[arg-type]
