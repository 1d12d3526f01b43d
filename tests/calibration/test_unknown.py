from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score, roc_curve

from bioprobe.calibration import leave_out_species, measure_detection
from bioprobe.calibration.unknown import (
    score_distance,
    score_energy,
    score_mahalanobis,
    score_max_softmax,
)
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import SelectionError


def test_scores_of_logits_are_those_of_the_papers() -> None:
    logits = np.random.default_rng(0).normal(0, 30, (20, 7))
    assert np.allclose(score_energy(logits), -logsumexp(logits, axis=1), rtol=1e-5)
    assert score_max_softmax(np.array([[0.2, 0.8], [0.5, 0.5]])) == pytest.approx([0.2, 0.5])


@pytest.mark.parametrize("k", [1, 4, 5, 6])
def test_distance_is_that_to_the_kth_neighbour(k: int) -> None:
    random = np.random.default_rng(1)
    vectors, known = (normalise_rows(random.normal(size=(n, 6))) for n in (9, 5))
    expected = np.sort(cdist(vectors, known, "cosine"), axis=1)[:, min(k, 5) - 1]
    assert np.allclose(score_distance(vectors, known, k), expected, atol=1e-5)
    assert score_distance(vectors[:0], known, k).shape == (0,)


def test_mahalanobis_distance_is_that_to_the_nearest_mean() -> None:
    random = np.random.default_rng(2)
    known = random.normal(size=(60, 4)).astype(np.float32)
    classes = np.arange(60) % 3
    known += classes[:, np.newaxis]
    vectors = random.normal(size=(8, 4)).astype(np.float32)
    means = np.stack([known[classes == c].mean(axis=0) for c in range(3)])
    within = np.linalg.inv(ledoit_wolf(known - means[classes], assume_centered=True)[0])
    expected = cdist(vectors, means, "mahalanobis", VI=within).min(axis=1) ** 2
    found = score_mahalanobis(vectors, known, classes, relative=False)
    assert np.allclose(found, expected, rtol=1e-3)
    centre = known.mean(axis=0, keepdims=True)
    overall = np.linalg.inv(ledoit_wolf(known - centre, assume_centered=True)[0])
    taken_off = cdist(vectors, centre, "mahalanobis", VI=overall)[:, 0] ** 2
    relative = score_mahalanobis(vectors, known, classes)
    assert np.allclose(relative, expected - taken_off, atol=1e-2)


def test_fewer_images_than_dimensions_still_have_a_distance() -> None:
    known = np.random.default_rng(3).normal(size=(6, 32)).astype(np.float32)
    found = score_mahalanobis(known, known, np.arange(6) % 3)
    assert np.isfinite(found).all()


def test_figures_are_scikit_learns() -> None:
    random = np.random.default_rng(4)
    unknown = np.arange(500) % 3 == 0
    scores = random.normal(size=500) + unknown
    found = measure_detection("some", scores, unknown)
    assert found.auroc == pytest.approx(roc_auc_score(unknown, scores))
    # The known are accepted below a threshold: they are the positives of the negated score.
    false, true, _ = roc_curve(~unknown, -scores, drop_intermediate=False)
    assert found.false_accept_fraction == pytest.approx(false[np.argmax(true >= 0.95)])
    assert found.recall_fraction == pytest.approx(0.95, abs=0.004)
    assert (found.n_known, found.n_unknown, found.score) == (333, 167, "some")


def test_the_threshold_can_be_chosen_on_other_images() -> None:
    scores, unknown = np.array([0.1, 0.4, 0.3, 0.9]), np.array([False, False, True, True])
    chosen = measure_detection("s", scores, unknown, chosen_on=np.array([0.1, 0.2, 0.25]))
    assert chosen.threshold == 0.25
    assert (chosen.recall_fraction, chosen.false_accept_fraction) == (0.5, 0.0)
    half = measure_detection("s", scores, unknown, recall_fraction=0.5)
    assert (half.threshold, half.false_accept_fraction) == (0.1, 0.0)


@pytest.mark.parametrize(
    ("unknown", "recall"), [([True, True], 0.95), ([False, False], 0.95), ([True, False], 0)]
)
def test_without_known_or_unknown_nothing_is_measured(unknown: list[bool], recall: float) -> None:
    with pytest.raises(SelectionError, match="detection takes known and unknown images"):
        measure_detection("s", np.array([0.1, 0.2]), np.array(unknown), recall_fraction=recall)


def test_species_are_left_out_whole() -> None:
    species = np.array([f"s{i % 10}" for i in range(50)] + ["", ""], dtype=object)
    out = leave_out_species(species, 0.3, seed=1)
    assert len(np.unique(species[out])) == 3
    assert not np.isin(species[~out], np.unique(species[out])).any()
    assert not out[50:].any()
    assert not np.array_equal(out, leave_out_species(species, 0.3, seed=2))
    assert len(np.unique(species[leave_out_species(species, 0.0)])) == 1
    assert len(np.unique(species[leave_out_species(species, 1.0)])) == 9
    with pytest.raises(SelectionError, match="two or more, got 1"):
        leave_out_species(np.array(["a", "a", ""], dtype=object))
