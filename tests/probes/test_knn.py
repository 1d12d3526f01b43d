from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.neighbors import KNeighborsClassifier

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import ProbeError
from bioprobe.probes.knn import KnnProbe

Vectors = npt.NDArray[np.float32]


def _draw(n: int, seed: int = 0) -> tuple[Vectors, npt.NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 6, n)
    rows = random.normal(size=(6, 12))[labels] + random.normal(size=(n, 12))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def test_the_vote_is_the_softmax_of_the_similarities() -> None:
    angles = np.deg2rad([0.0, 10.0, 20.0, 180.0])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    probe = KnnProbe(k=3, temperature=0.5).fit(vectors, np.array(["a", "b", "b", "c"]))
    weights = np.exp(np.cos(angles[:3]) / 0.5)
    votes = np.array([weights[0], weights[1] + weights[2], 0]) / weights.sum()
    expected = 0.99 * votes + 0.01 * np.array([0.25, 0.5, 0.25])
    np.testing.assert_allclose(probe.predict_proba(vectors[:1])[0], expected, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 9, 10, 11, 500])
def test_neighbours_are_those_of_scikit_learn_at_every_k(k: int) -> None:
    vectors, labels = _draw(300)
    asked, _ = _draw(50, seed=1)
    temperature = 0.1
    reference = KNeighborsClassifier(
        min(k, 300),
        metric="cosine",
        algorithm="brute",
        weights=lambda distances: np.exp((1 - distances) / temperature),
    ).fit(vectors, labels)
    ours = KnnProbe(k, temperature).fit(vectors, labels).predict_proba(asked)
    prior = np.bincount(labels) / 300
    expected = 0.99 * reference.predict_proba(asked) + 0.01 * prior
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_equal_votes_go_to_the_more_frequent_class_then_to_the_first() -> None:
    vectors = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=np.float32)
    asked = np.array([[0.5**0.5, 0.5**0.5]], dtype=np.float32)
    assert KnnProbe(k=2).fit(vectors, np.array(["b", "a", "c", "c"])).predict(asked) == ["a"]
    assert KnnProbe(k=2).fit(vectors, np.array(["b", "a", "b", "c"])).predict(asked) == ["b"]


@pytest.mark.parametrize("k", [1, 3])
def test_of_equally_similar_images_the_earlier_ones_vote(k: int) -> None:
    vectors = np.tile(np.array([[1, 0]], dtype=np.float32), (50, 1))
    labels = np.array(["first"] * k + ["later"] * (50 - k))
    votes = KnnProbe(k=k).fit(vectors, labels).predict_proba(vectors[:30])
    assert (votes[:, 0] > 0.98).all()


def test_a_sweep_measures_what_single_fits_on_each_fold_do() -> None:
    vectors, labels = _draw(200)
    folds = np.arange(200) % 4 - 1
    sweep = KnnProbe.sweep(vectors, labels, np.array([20.0, 5.0, 1.0]), folds, temperature=0.1)
    assert sweep.parameter == "k"
    for row, k in enumerate((20, 5, 1)):
        for fold in range(3):
            out = folds == fold
            probe = KnnProbe(k, temperature=0.1).fit(vectors[~out], labels[~out])
            accuracy = (probe.predict(vectors[out]) == labels[out]).mean()
            assert sweep.accuracies[row, fold] == pytest.approx(accuracy)
            own = probe.predict_proba(vectors[out])[np.arange(out.sum()), labels[out]]
            assert sweep.log_losses[row, fold] == pytest.approx(-np.log(own).mean(), rel=1e-4)


def test_what_was_kept_survives_as_arrays_in_half_the_space_where_nothing_is_lost() -> None:
    vectors, labels = _draw(40)
    probe = KnnProbe().fit(vectors, labels)
    arrays = probe.to_arrays()
    assert arrays["vectors"].dtype == np.float32
    again = KnnProbe().set_arrays(arrays, probe.classes_)
    assert np.array_equal(again.predict_proba(vectors), probe.predict_proba(vectors))
    halves = vectors.astype(np.float16).astype(np.float32)
    assert KnnProbe().fit(halves, labels).to_arrays()["vectors"].dtype == np.float16


def test_settings_out_of_range_are_refused() -> None:
    vectors, labels = _draw(10)
    for probe in (KnnProbe(k=0), KnnProbe(temperature=0.0)):
        with pytest.raises(ProbeError, match="knn takes"):
            probe.fit(vectors, labels)
    with pytest.raises(ProbeError, match="held out"):
        KnnProbe.sweep(vectors, labels, np.ones(1), np.full(10, -1))


def test_one_training_image_and_no_question_are_ordinary() -> None:
    vectors, labels = _draw(1)
    probe = KnnProbe(k=5).fit(vectors, labels)
    assert probe.predict_proba(vectors).tolist() == [[1.0]]
    assert probe.predict_proba(vectors[:0]).shape == (0, 1)


def test_balanced_votes_are_shares_of_the_neighbours_that_a_class_can_have() -> None:
    vectors = normalise_rows(np.array([[1, 0.0], [1, 0], [1, 0], [1, 0.2]]))
    y, asked = np.array(["many"] * 3 + ["one"]), normalise_rows(np.array([[1, 0.1]]))
    plain = KnnProbe(4, temperature=1e6).fit(vectors, y).predict_proba(asked)[0]
    np.testing.assert_allclose(plain, [0.75, 0.25], rtol=1e-4)
    fair = KnnProbe(4, temperature=1e6, balance="class-weight").fit(vectors, y)
    expected = 0.99 * np.array([0.5, 0.5]) + 0.01 * plain
    np.testing.assert_allclose(fair.predict_proba(asked)[0], expected, rtol=1e-4)
    # Of two neighbours, one each: of the many no more than two could be.
    two = KnnProbe(2, temperature=1e6, balance="class-weight").fit(vectors, y)
    expected = 0.99 * np.array([1 / 3, 2 / 3]) + 0.01 * plain
    np.testing.assert_allclose(two.predict_proba(asked)[0], expected, rtol=1e-3)
    sweep = KnnProbe.sweep(vectors, y, np.array([3.0]), np.array([0, -1, -1, -1]), balance="none")
    other = KnnProbe.sweep(
        vectors, y, np.array([3.0]), np.array([0, -1, -1, -1]), balance="class-weight"
    )
    assert other.log_losses[0, 0] != sweep.log_losses[0, 0]
    with pytest.raises(ProbeError, match="there are none, class-weight"):
        KnnProbe(balance="smote").fit(vectors, y)


@pytest.mark.parametrize("n_copies", [4, 60])
def test_of_many_equals_those_that_come_first_vote(
    n_copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import faiss

    search = faiss.knn

    def find_last(queries: Vectors, rows: Vectors, n: int, **how: Any) -> Any:  # noqa: ANN401
        # Which of equals it finds is its own affair: here those that come last.
        similarities, places = search(queries, np.ascontiguousarray(rows[::-1]), n, **how)
        return similarities, len(rows) - 1 - places

    monkeypatch.setattr(faiss, "knn", find_last)
    random = np.random.default_rng(0)
    kinds = normalise_rows(random.normal(size=(6, 64)).astype(np.float32))
    taught = kinds[random.integers(0, 6, 6 * n_copies)]
    probe = KnnProbe(k=3).fit(taught, np.arange(len(taught)))
    queries = normalise_rows(kinds.repeat(5, axis=0) + 0.01 * random.normal(size=(30, 64)))
    found, _ = probe._find(queries.astype(np.float32), 3)
    for query, labels in zip(queries, found.tolist(), strict=True):
        similarities = (taught.astype(np.float64) @ query).astype(np.float32)
        assert labels == np.argsort(-similarities, kind="stable")[:3].tolist()
