"""The loss at every rank against sums written out, and its gradient against differences."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import log_softmax

from bioprobe.probes.hierarchical_fit import (
    Eigenbasis,
    TreeLoss,
    measure_leaf_heights,
    minimise_loss,
    soften_targets,
)
from bioprobe.probes.label_tree import LabelTree

ROWS = [
    ["A", "Felidae", "lion"],
    ["A", "Felidae", "lynx"],
    ["A", "Canidae", "wolf"],
    ["P", "Poaceae", "wheat"],
    ["A", "Felidae", ""],
    ["A", "", ""],
    ["A", "Felidae", "lion"],
    ["P", "", "moss"],
]
LINEAGES = np.array(ROWS, dtype=object)
TREE = LabelTree.from_lineages(LINEAGES)
LABELS = TREE.place(LINEAGES)
LOGITS = np.random.default_rng(0).normal(size=(len(ROWS), TREE.n_leaves)) * 3
WEIGHTS = np.array([0.5, 1.0, 2.0])


def measure(
    loss: TreeLoss, logits: npt.NDArray[np.float64]
) -> tuple[float, npt.NDArray[np.float64]]:
    value, gradient = loss.measure(logits.copy())
    return value, gradient.astype(np.float64)


def test_the_loss_is_the_sum_over_the_ranks_that_are_known() -> None:
    probabilities = np.exp(log_softmax(LOGITS, axis=1))
    lion, lynx, moss, wheat, wolf = range(5)
    assert TREE.leaf_names.tolist() == ["lion", "lynx", "moss", "wheat", "wolf"]
    animals, cats, plants = [lion, lynx, wolf], [lion, lynx], [moss, wheat]
    asked = [
        (animals, cats, [lion]),
        (animals, cats, [lynx]),
        (animals, [wolf], [wolf]),
        (plants, [wheat], [wheat]),
        (animals, cats, None),
        (animals, None, None),
        (animals, cats, [lion]),
        (plants, None, [moss]),
    ]
    expected = -sum(
        weight * np.log(probabilities[row, leaves].sum())
        for row, sets in enumerate(asked)
        for weight, leaves in zip(WEIGHTS, sets, strict=True)
        if leaves is not None
    )
    value, _ = measure(TreeLoss(TREE, LABELS, WEIGHTS, 0.0), LOGITS)
    assert value == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weights", [(0.5, 1.0, 2.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0)])
def test_the_gradient_is_that_of_differences(smoothing: float, weights: tuple[float, ...]) -> None:
    loss = TreeLoss(TREE, LABELS, np.array(weights), smoothing)
    _, gradient = measure(loss, LOGITS)
    step = 1e-6
    for place in np.ndindex(*LOGITS.shape):
        ends = []
        for sign in (1, -1):
            moved = LOGITS.copy()
            moved[place] += sign * step
            ends.append(measure(loss, moved)[0])
        assert gradient[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)


def test_a_constant_added_to_the_logits_changes_nothing() -> None:
    loss = TreeLoss(TREE, LABELS, WEIGHTS, 0.2)
    one, other = measure(loss, LOGITS), measure(loss, LOGITS + 1000)
    assert one[0] == pytest.approx(other[0])
    np.testing.assert_allclose(one[1], other[1], atol=1e-9)


def test_logits_far_apart_stay_finite_in_float32() -> None:
    loss = TreeLoss(TREE, LABELS, WEIGHTS, 0.0)
    value, gradient = loss.measure((LOGITS * 1000).astype(np.float32))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_targets_fall_off_with_the_height_of_the_common_node() -> None:
    heights = measure_leaf_heights(TREE)
    assert heights[0].tolist() == [0, 1, 3, 3, 2]  # lion: itself, lynx, moss, wheat, wolf
    soft = soften_targets(TREE, 0.5)
    expected = np.exp(-np.array([0, 1, 3, 3, 2]) / (3 * 0.5))
    np.testing.assert_allclose(soft[0], expected / expected.sum())
    assert soften_targets(TREE, 0.0).tolist() == np.eye(5).tolist()


def test_the_search_ends_where_the_gradient_by_the_weights_is_zero() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(len(ROWS), 3)) + 1
    loss = TreeLoss(TREE, LABELS, WEIGHTS, 0.1)
    fit = minimise_loss(Eigenbasis.of(vectors), loss, TREE.n_leaves, 2.0, max_iter=500, tol=1e-9)
    _, by_logits = measure(loss, vectors @ fit.weights + fit.biases)
    np.testing.assert_allclose(vectors.T @ by_logits + fit.weights / 2.0, 0, atol=1e-4)
    np.testing.assert_allclose(by_logits.sum(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize("shape", [(5, 20), (20, 5), (6, 6), (1, 4)])
def test_the_eigenbasis_holds_the_rows(shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(2).normal(size=shape)
    basis = Eigenbasis.of(vectors)
    np.testing.assert_allclose(basis.mean + basis.rows @ basis.directions.T, vectors, atol=1e-9)
    np.testing.assert_allclose(
        basis.directions.T @ basis.directions, np.eye(len(basis.variances)), atol=1e-9
    )
    np.testing.assert_allclose((basis.rows**2).mean(axis=0), basis.variances, rtol=1e-6)
