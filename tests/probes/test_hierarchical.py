"""The hierarchical probe: consistent at every rank, and every setting with its effect."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from bioprobe.errors import ProbeError, TaxonomyError
from bioprobe.probes.hierarchical import HierarchicalProbe
from bioprobe.probes.hierarchical_fit import measure_leaf_heights
from bioprobe.task.method import find_probe, make_probe
from bioprobe.types import Vectors

Lineages = npt.NDArray[np.object_]

# Two orders; Ursidae holds one species, and Poales has one child.
TREE = [
    ("Carnivora", "Felidae", "lion"),
    ("Carnivora", "Felidae", "lynx"),
    ("Carnivora", "Ursidae", "bear"),
    ("Poales", "Poaceae", "rice"),
    ("Poales", "Poaceae", "wheat"),
]
METHODS = ("softmax", "local")


def draw(
    n_rows: int, *, dim: int = 12, spread: float = 0.5, seed: int = 0
) -> tuple[Vectors, Lineages]:
    """Draw unit rows about a mean for each species that is near those of its family and order."""
    rng = np.random.default_rng(7)
    parts: dict[str, npt.NDArray[np.float64]] = {
        name: rng.normal(size=dim) for path in TREE for name in path
    }
    rng = np.random.default_rng(seed)
    which = np.arange(n_rows) % len(TREE)
    means = np.array([sum(parts[name] for name in path) for path in TREE])
    rows = means[which] + spread * rng.normal(size=(n_rows, dim)) * np.sqrt(3)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    lineages = np.array(TREE, dtype=object)[which]
    return rows.astype(np.float32), lineages


def sum_orders(probe: HierarchicalProbe, vectors: Vectors) -> npt.NDArray[np.float32]:
    """Return the probabilities of Carnivora and of Poales."""
    orders = probe.tree_.paths[: probe.tree_.n_leaves, 0]
    leaves = probe.predict_proba(vectors)
    return np.stack([leaves[:, orders == one].sum(axis=1) for one in np.unique(orders)], axis=1)


@pytest.mark.parametrize("method", METHODS)
def test_probabilities_of_the_leaves_add_up_to_one(method: str) -> None:
    vectors, lineages = draw(60)
    probe = HierarchicalProbe(method=method).fit(vectors, lineages)
    leaves = probe.predict_proba(vectors)
    np.testing.assert_allclose(leaves.sum(axis=1), 1, atol=1e-5)
    assert probe.classes_.tolist() == ["bear", "lion", "lynx", "rice", "wheat"]
    assert leaves.dtype == np.float32


@pytest.mark.parametrize("method", METHODS)
def test_species_are_learnt(method: str) -> None:
    vectors, lineages = draw(100)
    probe = HierarchicalProbe(method=method).fit(vectors, lineages)
    others, truth = draw(100, seed=1)
    assert (probe.predict(others) == truth[:, -1]).mean() > 0.9


def test_losses_at_the_leaf_alone_are_those_of_logistic_regression() -> None:
    vectors, lineages = draw(60)
    probe = HierarchicalProbe(10.0, rank_weights=(0, 0, 1), smoothing=0.0, tol=1e-7)
    probe.fit(vectors, lineages)
    reference = LogisticRegression(C=10.0, tol=1e-10, max_iter=5000).fit(vectors, lineages[:, -1])
    np.testing.assert_allclose(
        probe.predict_proba(vectors), reference.predict_proba(vectors), atol=2e-4
    )


def test_local_classifiers_are_logistic_regressions_multiplied_down_the_path() -> None:
    vectors, lineages = draw(60)
    probe = HierarchicalProbe(10.0, method="local", tol=1e-7).fit(vectors, lineages)

    def ask(rank: int, above: str) -> tuple[list[str], npt.NDArray[np.float64]]:
        rows = lineages[:, rank - 1] == above if above else np.ones(len(lineages), dtype=bool)
        model = LogisticRegression(C=10.0, tol=1e-10, max_iter=5000)
        model.fit(vectors[rows], lineages[rows, rank])
        # scikit-learn's model of two classes has one weight vector, half as much penalised.
        if len(model.classes_) == 2:
            twin = LogisticRegression(C=20.0, tol=1e-10, max_iter=5000)
            model = twin.fit(vectors[rows], lineages[rows, rank])
        return model.classes_.tolist(), model.predict_proba(vectors)

    orders, of_order = ask(0, "")
    families, of_family = ask(1, "Carnivora")
    cats, of_cat = ask(2, "Felidae")
    lynx = (
        of_order[:, orders.index("Carnivora")]
        * of_family[:, families.index("Felidae")]
        * of_cat[:, cats.index("lynx")]
    )
    np.testing.assert_allclose(probe.predict_proba(vectors)[:, 2], lynx, atol=5e-4)
    bear = of_order[:, orders.index("Carnivora")] * of_family[:, families.index("Ursidae")]
    np.testing.assert_allclose(probe.predict_proba(vectors)[:, 0], bear, atol=5e-4)


@pytest.mark.parametrize("method", METHODS)
def test_rows_known_to_a_higher_rank_teach_that_rank(method: str) -> None:
    vectors, lineages = draw(200, spread=2.5)
    few = np.arange(len(vectors)) < 10
    partial = lineages.copy()
    partial[~few, 1:] = ""
    others, truth = draw(500, spread=2.5, seed=1)

    def measure(rows: npt.NDArray[np.bool_]) -> float:
        probe = HierarchicalProbe(method=method).fit(vectors[rows], partial[rows])
        is_plant = sum_orders(probe, others).argmax(axis=1) == 1
        return float((is_plant == (truth[:, 0] == "Poales")).mean())

    assert measure(few | True) > measure(few) + 0.02


@pytest.mark.parametrize("method", METHODS)
def test_holes_homonyms_and_unlabelled_rows_are_taken(method: str) -> None:
    vectors, lineages = draw(60)
    lineages = lineages.copy()
    lineages[::7, 0] = ""
    lineages[::11, 1] = ""
    lineages[lineages[:, 2] == "wheat", 2] = "lion"
    lineages[lineages[:, 1] == "", 1:] = ""
    lineages[3] = ""
    probe = HierarchicalProbe(method=method).fit(vectors, lineages)
    assert probe.classes_.tolist() == ["bear", "lion (Felidae)", "lion (Poaceae)", "lynx", "rice"]
    assert probe.predict_proba(vectors).shape == (60, 5)


@pytest.mark.parametrize("method", METHODS)
def test_one_class_is_certain(method: str) -> None:
    vectors, lineages = draw(5)
    only = np.repeat(lineages[:1], 5, axis=0)
    probe = HierarchicalProbe(method=method).fit(vectors, only)
    assert probe.predict_proba(vectors).tolist() == [[1.0]] * 5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_rows", [0, 1])
def test_few_rows_are_answered_as_among_many(method: str, n_rows: int) -> None:
    vectors, lineages = draw(30)
    probe = HierarchicalProbe(method=method).fit(vectors, lineages)
    few, many = (probe.predict_proba(vectors[:n]) for n in (n_rows, 30))
    np.testing.assert_allclose(few, many[:n_rows], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_one_row_a_class_is_enough(method: str) -> None:
    vectors, lineages = draw(5)
    probe = HierarchicalProbe(method=method).fit(vectors, lineages)
    assert probe.predict(vectors).tolist() == lineages[:, -1].tolist()


@pytest.mark.parametrize("method", METHODS)
def test_arrays_give_the_same_predictions(method: str) -> None:
    vectors, lineages = draw(60)
    probe = HierarchicalProbe(method=method).fit(vectors, lineages)
    arrays = probe.to_arrays()
    assert all(array.dtype.kind in "fiu" for array in arrays.values())
    again = HierarchicalProbe(method=method).set_arrays(arrays, probe.classes_)
    np.testing.assert_array_equal(again.predict_proba(vectors), probe.predict_proba(vectors))
    assert again.tree_.lineages.tolist() == probe.tree_.lineages.tolist()


def test_smoothing_moves_probability_to_the_near_leaves() -> None:
    vectors, lineages = draw(100)
    mean_heights = []
    for smoothing in (0.0, 0.2, 0.5):
        probe = HierarchicalProbe(smoothing=smoothing).fit(vectors, lineages)
        heights = measure_leaf_heights(probe.tree_)
        found = probe.predict_proba(vectors)
        lion = found[lineages[:, -1] == "lion"].mean(axis=0)
        assert (lion[2] > lion[3]) or not smoothing  # lynx before rice
        mean_heights.append(float(lion @ heights[1]))
    assert mean_heights == sorted(mean_heights)


def test_rank_weights_choose_the_rank_that_is_fitted_best() -> None:
    vectors, lineages = draw(150, spread=3.0)

    def order_loss(weights: tuple[float, ...]) -> float:
        probe = HierarchicalProbe(10.0, rank_weights=weights, smoothing=0.0)
        probe.fit(vectors, lineages)
        orders = sum_orders(probe, vectors)
        own = np.where(lineages[:, 0] == "Carnivora", orders[:, 0], orders[:, 1])
        return float(-np.log(own).mean())

    assert order_loss((10, 0, 1)) < order_loss((1, 0, 1)) < order_loss((0, 0, 1))


def test_only_the_ratios_of_rank_weights_count() -> None:
    vectors, lineages = draw(30)
    one, other = (
        HierarchicalProbe(rank_weights=weights).fit(vectors, lineages).predict_proba(vectors)
        for weights in ((1, 1, 2), (2.0, 2.0, 4.0))
    )
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_smaller_c_shrinks_the_weights() -> None:
    vectors, lineages = draw(60)
    sizes = [
        float(np.abs(HierarchicalProbe(c).fit(vectors, lineages).weights_).sum())
        for c in (0.1, 10, 1000)
    ]
    assert sizes == sorted(sizes)


def test_the_search_stops_at_its_limits() -> None:
    vectors, lineages = draw(60)
    steps = [
        HierarchicalProbe(max_iter=max_iter, tol=tol).fit(vectors, lineages).n_iter_
        for max_iter, tol in ((3, 1e-4), (300, 1e-1), (300, 1e-6))
    ]
    assert steps[0] == 3
    assert steps[1] < steps[2]


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "softmax"},
        {"method": "softmax", "smoothing": 0.5},
        {"method": "softmax", "rank_weights": (5, 5, 1)},
        {"method": "local"},
    ],
)
def test_a_sweep_is_a_loop_of_fits(settings: dict[str, Any]) -> None:
    vectors, lineages = draw(60, spread=1.0)
    lineages = lineages.copy()
    lineages[::9, 2] = ""
    folds = np.arange(60) // 5 % 3
    folds[:5] = -1
    values = np.array([100.0, 1.0])
    sweep = HierarchicalProbe.sweep(vectors, lineages, values, folds, **settings)
    assert sweep.parameter == "C"
    assert sweep.values.tolist() == [1.0, 100.0]
    for fold in range(3):
        held_out = (folds == fold) & (lineages[:, 2] != "")
        for place, c in enumerate(sweep.values):
            probe = HierarchicalProbe(float(c), **settings, tol=1e-6)
            probe.fit(vectors[folds != fold], lineages[folds != fold])
            found = probe.predict_proba(vectors[held_out])
            truth = np.searchsorted(probe.classes_, lineages[held_out, 2].astype(str))
            accuracy = (found.argmax(axis=1) == truth).mean()
            loss = -np.log(found[np.arange(len(truth)), truth]).mean()
            assert sweep.accuracies[place, fold] == pytest.approx(accuracy, abs=0.07)
            assert sweep.log_losses[place, fold] == pytest.approx(loss, rel=0.02)


def test_a_leaf_that_no_training_row_has_counts_as_wrong() -> None:
    vectors, lineages = draw(20)
    folds = np.where(lineages[:, 2] == "bear", 0, -1)
    sweep = HierarchicalProbe.sweep(vectors, lineages, np.array([10.0]), folds)
    assert sweep.accuracies.tolist() == [[0.0]]
    assert sweep.log_losses[0, 0] == pytest.approx(-np.log(np.finfo(np.float32).eps))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "flat"}, "softmax or local, got 'flat'"),
        ({"C": 0.0}, "C > 0"),
        ({"smoothing": -0.1}, "smoothing >= 0"),
        ({"method": "local", "smoothing": 0.1}, "use method 'softmax'"),
        ({"method": "local", "rank_weights": (1, 1, 1)}, "use method 'softmax'"),
        ({"rank_weights": (1, 1)}, "one weight >= 0 for each of 3 ranks"),
        ({"rank_weights": (1, 1, 0)}, "the last > 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], said: str) -> None:
    vectors, lineages = draw(10)
    with pytest.raises(ProbeError, match=said):
        make_probe("hierarchical", settings).fit(vectors, lineages)


def test_labels_that_are_no_lineages_are_refused() -> None:
    vectors, lineages = draw(10)
    with pytest.raises(ProbeError, match="inconsistent numbers of samples: \\[10, 9\\]"):
        HierarchicalProbe().fit(vectors, lineages[:9])
    nothing = np.full((10, 3), "", dtype=object)
    with pytest.raises(TaxonomyError, match="none of 10 rows"):
        HierarchicalProbe().fit(vectors, nothing)


def test_the_probe_is_known_by_name() -> None:
    probe = make_probe("hierarchical", {"C": 3.0})
    assert isinstance(probe, HierarchicalProbe)
    assert find_probe("hierarchical").takes_lineages


def test_decisions_are_logits() -> None:
    vectors, lineages = draw(20)
    probe = HierarchicalProbe().fit(vectors, lineages)
    np.testing.assert_allclose(
        softmax(probe.logits(vectors), axis=1), probe.predict_proba(vectors), atol=1e-6
    )


def test_a_thousand_rows_are_fitted_in_few_steps() -> None:
    rng = np.random.default_rng(0)
    leaves = [(f"o{leaf % 7}", f"f{leaf % 31}", f"s{leaf}") for leaf in range(100)]
    which = rng.integers(0, 100, 1000)
    means = rng.normal(size=(100, 768))
    vectors = (means[which] + rng.normal(size=(1000, 768))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lineages = np.array(leaves, dtype=object)[which]
    probe = HierarchicalProbe().fit(vectors, lineages)
    assert probe.predict(vectors).tolist() == lineages[:, -1].tolist()
    # 26 on every processor tried; each is some hundredths of a second.
    assert 5 < probe.n_iter_ < 60
