from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.errors import ProbeError
from bioprobe.probes.linear import LinearProbe, PromptedProbe

NAMES = np.array(["puma", "lion", "lynx"], dtype=object)
TEXTS = np.eye(3, 4, dtype=np.float32)


def _draw(n: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.object_]]:
    random = np.random.default_rng(0)
    places = 1 + np.arange(n) % 2
    rows = TEXTS[places] + 0.3 * random.normal(size=(n, 4))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), NAMES[places]


def _make(c: float) -> PromptedProbe:
    return PromptedProbe(c, texts=TEXTS, text_classes=NAMES, scale=10.0)


def test_a_strong_penalty_leaves_the_logits_of_zero_shot() -> None:
    vectors, names = _draw(20)
    probe = _make(1e-6).fit(vectors, names)
    assert probe.classes_.tolist() == ["lion", "lynx", "puma"]
    logits = probe.logits(vectors) - probe.intercept_
    np.testing.assert_allclose(logits, 10 * vectors @ TEXTS[[1, 2, 0]].T, atol=1e-3)


def test_trained_classes_are_those_of_the_linear_probe_with_that_prior() -> None:
    vectors, names = _draw(20)
    probe = _make(5.0).fit(vectors, names)
    linear = LinearProbe(5.0, prior=10.0 * TEXTS[1:]).fit(vectors, names)
    np.testing.assert_allclose(probe.coef_[:2], linear.coef_, atol=1e-5)
    gap = linear.intercept_ - linear.intercept_.mean()
    np.testing.assert_allclose(probe.intercept_[:2], gap, atol=1e-5)


def test_what_training_adds_sums_to_zero_beside_the_class_without_an_image() -> None:
    vectors, names = _draw(20)
    probe = _make(100.0).fit(vectors, names)
    added = probe.coef_[:2] - 10 * TEXTS[1:]
    np.testing.assert_allclose(added.sum(axis=0), 0, atol=1e-3)
    assert probe.coef_[2].tolist() == (10 * TEXTS[0]).tolist()
    assert probe.intercept_[2] == 0
    assert probe.predict(TEXTS[:1]).tolist() == ["puma"]


def test_a_sweep_is_that_of_the_linear_probe() -> None:
    vectors, names = _draw(40)
    values, folds = np.array([0.1, 10.0]), np.arange(40) // 2 % 4
    ours = PromptedProbe.sweep(
        vectors, names, values, folds, texts=TEXTS, text_classes=NAMES, scale=10.0
    )
    linear = LinearProbe.sweep(vectors, names, values, folds, prior=10.0 * TEXTS[1:])
    assert np.array_equal(ours.accuracies, linear.accuracies)


def test_the_seed_of_made_up_rows_counts() -> None:
    vectors, names = _draw(20)

    def fit(seed: int) -> list[float]:
        probe = PromptedProbe(5.0, balance="mixup", seed=seed).fit(vectors, names)
        return probe.coef_.ravel().tolist()

    assert fit(1) == fit(1) != fit(2)


def test_classes_without_a_text_are_refused() -> None:
    vectors, names = _draw(10)
    with pytest.raises(ProbeError, match="1 classes have no text, such as lynx"):
        PromptedProbe(texts=TEXTS[:2], text_classes=NAMES[:2]).fit(vectors, names)
    with pytest.raises(ProbeError, match="starts from texts"):
        PromptedProbe(texts=TEXTS).fit(vectors, names)


def test_without_texts_it_is_the_linear_probe() -> None:
    vectors, names = _draw(10)
    ours, linear = (made.fit(vectors, names) for made in (PromptedProbe(3.0), LinearProbe(3.0)))
    np.testing.assert_array_equal(ours.predict_proba(vectors), linear.predict_proba(vectors))
