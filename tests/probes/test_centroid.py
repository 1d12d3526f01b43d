from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.neighbors import NearestCentroid

from bioprobe.errors import ProbeError
from bioprobe.probes.centroid import CentroidProbe
from bioprobe.task.probabilities import fit_scale

Vectors = npt.NDArray[np.float32]


def _draw(n: int, seed: int = 0, noise: float = 1.0) -> tuple[Vectors, npt.NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(5), random.integers(0, 5, n - 5)])
    rows = random.normal(size=(5, 12))[labels] + noise * random.normal(size=(n, 12)) + 2
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def test_logits_are_minus_the_squared_distance_to_the_means_by_hand() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1], [0.6, 0.8]], dtype=np.float32)
    labels = np.array([0, 1, 1, 0])
    rows = vectors - np.array([0.4, 0.7])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    means = np.array([rows[[0, 3]].mean(axis=0), rows[[1, 2]].mean(axis=0)])
    expected = -3 * ((rows[:, np.newaxis] - means) ** 2).sum(axis=2)
    probe = CentroidProbe(scale=3.0).fit(vectors, labels)
    np.testing.assert_allclose(probe.logits(vectors), expected, atol=1e-5)


def test_answers_are_those_of_scikit_learn_on_centred_unit_rows() -> None:
    vectors, labels = _draw(200)
    asked, _ = _draw(80, seed=1)
    centre = vectors.mean(axis=0)

    def transform(rows: Vectors) -> Vectors:
        moved = rows - centre
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True))

    reference = NearestCentroid().fit(transform(vectors), labels)
    probe = CentroidProbe().fit(vectors, labels)
    assert probe.predict(asked).tolist() == reference.predict(transform(asked)).tolist()


def test_the_scale_is_the_likeliest_on_rows_left_out_of_their_own_mean() -> None:
    vectors, labels = _draw(40, noise=1.5)
    probe = CentroidProbe().fit(vectors, labels)
    rows = vectors - probe.centre_
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    distances = np.empty((40, 5))
    for row in range(40):
        rest = np.arange(40) != row
        means = np.stack([rows[rest & (labels == c)].mean(axis=0) for c in range(5)])
        distances[row] = ((rows[row] - means) ** 2).sum(axis=1)

    assert probe.scale_ == pytest.approx(fit_scale(-distances, labels), rel=1e-3)


def test_one_image_a_class_takes_the_scale_that_is_stated() -> None:
    vectors, labels = _draw(5)
    assert CentroidProbe().fit(vectors, labels).scale_ == 10
    assert CentroidProbe().fit(vectors, labels).predict(vectors).tolist() == labels.tolist()


def test_what_was_learnt_survives_as_arrays() -> None:
    vectors, labels = _draw(40)
    probe = CentroidProbe().fit(vectors, labels)
    again = CentroidProbe().set_arrays(probe.to_arrays(), probe.classes_)
    assert np.array_equal(again.predict_proba(vectors), probe.predict_proba(vectors))


def test_a_scale_of_nothing_is_refused() -> None:
    vectors, labels = _draw(10)
    with pytest.raises(ProbeError, match="> 0, got 0"):
        CentroidProbe(scale=0.0).fit(vectors, labels)
