"""Every probe is an estimator as scikit-learn has them."""

from __future__ import annotations

import ast
import inspect
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.estimator_checks import check_estimator

import bioprobe as bp
from bioprobe.errors import ProbeError
from bioprobe.registry import METHODS
from bioprobe.task.method import find_probe
from bioprobe.types import Vectors

KINDS = [name for name in METHODS.places if name != "zeroshot"]
# What learns step by step takes few of them here.
QUICK: dict[str, dict[str, Any]] = {"attentive": {"epochs": 2, "learning_rate": 0.1}}
# What is refused for a reason, by probe and check.
EXCUSED = {
    "linear": {
        "check_sample_weight_equivalence_on_dense_data": (
            "rows are rotated and answered in float32: weights equal repetition to within 1e-4 of "
            "a probability, not to within the 1e-7 that are asked of float64"
        )
    }
}


def draw(n_classes: int, n_each: int = 12) -> tuple[Vectors, list[str]]:
    rng = np.random.default_rng(n_classes)
    vectors = rng.normal(size=(n_classes * n_each, 6)).astype(np.float32)
    vectors += np.repeat(3 * np.eye(6, dtype=np.float32)[:n_classes], n_each, axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, [f"taxon {place}" for place in range(n_classes) for _ in range(n_each)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_finds_nothing_to_object_to(kind: str) -> None:
    estimator = find_probe(kind)(**QUICK.get(kind, {}))
    results = check_estimator(
        estimator, expected_failed_checks=EXCUSED.get(kind), on_skip=None, on_fail=None
    )
    failed = {one["check_name"]: one["exception"] for one in results if one["status"] == "failed"}
    assert failed == {}
    excused = {one["check_name"] for one in results if one["status"] == "xfail"}
    assert excused == set(EXCUSED.get(kind, {}))


def test_weights_of_rows_are_repetitions() -> None:
    vectors, names = draw(3)
    weights = np.random.default_rng(0).integers(0, 4, len(names))
    weighted = bp.probes.LinearProbe().fit(vectors, names, sample_weight=weights)
    repeated = bp.probes.LinearProbe().fit(vectors.repeat(weights, 0), np.repeat(names, weights))
    np.testing.assert_allclose(
        weighted.predict_proba(vectors), repeated.predict_proba(vectors), atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_classes_the_second_decides(kind: str) -> None:
    vectors, names = draw(2)
    probe = find_probe(kind)().fit(vectors, names)
    decided = probe.decision_function(vectors)
    assert decided.shape == (len(names),)
    np.testing.assert_array_equal(decided > 0, probe.predict(vectors) == "taxon 1")
    assert probe.logits(vectors).shape == (len(names), 2)
    assert cross_val_score(probe, vectors, names, scoring="roc_auc", cv=3).mean() > 0.8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_it_works_inside_what_scikit_learn_makes_of_estimators(kind: str, n_classes: int) -> None:
    vectors, names = draw(n_classes)
    probe = find_probe(kind)()
    parameter = probe.parameter or next(iter(probe.limits))
    step = type(probe).__name__.lower()
    values = [getattr(probe, parameter), list(probe.values)[-1] if probe.values else 2.0]
    search = GridSearchCV(
        make_pipeline(Normalizer(), clone(probe)),
        {f"{step}__{parameter}": values},
        cv=2,
    ).fit(pd.DataFrame(vectors.astype(np.float64)), names)
    assert search.best_score_ > 0.6
    calibrated = CalibratedClassifierCV(probe, cv=2).fit(vectors, names)
    np.testing.assert_allclose(calibrated.predict_proba(vectors).sum(axis=1), 1, rtol=1e-6)
    assert calibrated.score(vectors, names) > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_lists_frames_and_other_classes_give_the_same(kind: str) -> None:
    vectors, names = draw(3)
    probe = find_probe(kind)
    expected = probe().fit(vectors, np.array(names, dtype=object)).predict_proba(vectors)
    numbers = [int(name[-1]) for name in names]
    frame = pd.DataFrame(vectors, columns=list("abcdef"))
    for x, y in [(vectors.tolist(), names), (frame, pd.Series(names)), (vectors, numbers)]:
        fitted = pickle.loads(pickle.dumps(probe().fit(x, y)))
        np.testing.assert_array_equal(fitted.predict_proba(x), expected)
        answers = [str(answer)[-1] for answer in fitted.predict(x)]
        assert answers == [str(place) for place in expected.argmax(axis=1)]
    assert fitted.classes_.tolist() == [0, 1, 2]


def test_classes_without_ranks_are_a_tree_of_one_level() -> None:
    vectors, names = draw(3)
    flat = bp.probes.HierarchicalProbe().fit(vectors, names)
    column = np.array(names, dtype=object)[:, np.newaxis]
    deep = bp.probes.HierarchicalProbe().fit(vectors, column)
    np.testing.assert_array_equal(flat.predict_proba(vectors), deep.predict_proba(vectors))
    again = bp.probes.HierarchicalProbe().set_arrays(flat.to_arrays(), flat.classes_)
    np.testing.assert_array_equal(again.predict(vectors), flat.predict(vectors))
    folds = np.arange(len(names)) % 3
    values = np.array([10.0, 100.0])
    one, other = (
        bp.probes.HierarchicalProbe.sweep(vectors, y, values, folds)
        for y in (np.array(names), column)
    )
    np.testing.assert_array_equal(one.log_losses, other.log_losses)


def test_the_probes_are_named_by_the_package() -> None:
    assert dir(bp.probes) == bp.probes.__all__ == sorted(bp.probes.__all__)
    assert {getattr(bp.probes, name).kind for name in bp.probes.__all__} == set(KINDS)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bp.probes.nothing  # noqa: B018 - looked up to be refused
    tree = ast.parse(Path(bp.probes.__file__).read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: str(node.module).rpartition(".")[2]
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == bp.probes._HOMES


ODD: tuple[Any, ...] = (
    *(0, -1, 1, 2, 2**32, 10**400, 1e-300, -1e-300, 1e-30, 1e30, -1e30, 1e300, -1e300, 1e8),
    *(math.nan, math.inf, -math.inf, True, None, "text", [], [math.nan], [0.0], [1e300]),
)
# What else must be so for a setting to count.
BESIDE = {
    "tau": {"balance": "logit-adjustment"},
    "gamma": {"balance": "focal"},
    "alpha": {"balance": "mixup"},
    "seed": {"balance": "mixup"},
}


SHARED = {"scale", "untrained_offset", "seed"}


def find_beside(kind: str, setting: str) -> dict[str, Any]:
    if kind == "prompt+probe":
        return {"texts": np.eye(6, dtype=np.float32)[:4], "text_classes": [0, 1, 2, 3]}
    if kind != "linear":
        return {}
    # How near the minimum the answers are makes them no better numbers.
    steps = {} if setting == "max_iter" else {"max_iter": 20}
    return steps | BESIDE.get(setting, {})


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        (kind, setting)
        for kind in KINDS
        for setting in find_probe(kind).limits
        # Those that all adapters share count in all of them as in clap.
        if kind not in {"adapter", "tip-adapter"} or setting not in SHARED
    ],
)
@pytest.mark.filterwarnings("ignore:no convergence")
def test_odd_numbers_are_refused_or_answered_with_probabilities(kind: str, setting: str) -> None:
    vectors = draw(3)[0]
    classes, refusals = np.repeat([0, 1, 2], 12), []
    for value in ODD:
        probe = find_probe(kind)(**{**find_beside(kind, setting), setting: value})
        try:
            probabilities = probe.fit(vectors, classes).predict_proba(vectors)
        except ProbeError as error:
            refusals.append(str(error))
        else:
            assert (probabilities >= 0).all(), value
            np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-3, err_msg=str(value))
    assert len(refusals) >= 9  # of what is no number, or not finite
    assert all(kind in said and setting in said for said in refusals)


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_among_the_settings_has_limits(kind: str) -> None:
    probe = find_probe(kind)
    given = inspect.signature(probe).parameters.values()
    numeric = {one.name for one in given if isinstance(one.default, (int, float))}
    optional = {one.name for one in given if one.default is None}
    assert numeric <= set(probe.limits)
    starts = {"prior", "texts", "text_classes", "projection", "projection_bias"}
    assert optional - set(probe.limits) <= starts


@pytest.mark.parametrize("kind", ["knn", "lda", "ridge", "linear", "prompt+probe", "hierarchical"])
def test_a_sweep_refuses_what_a_fit_refuses(kind: str) -> None:
    vectors, names = draw(3)
    for value in (-1.0, math.nan, math.inf):
        with pytest.raises(ProbeError, match=f"{find_probe(kind).parameter} .*, got"):
            find_probe(kind).sweep(
                vectors, np.array(names), np.array([value]), np.arange(len(names)) % 3
            )
