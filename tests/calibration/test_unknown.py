from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score, roc_curve

from bioprobe.calibration.unknown import (
    find_limit,
    measure_detection,
    measure_unknown,
    score_max_softmax,
)
from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import SelectionError
from bioprobe.store import EmbeddingStore


def test_the_score_is_what_the_best_class_leaves() -> None:
    assert score_max_softmax(np.array([[0.2, 0.8], [0.5, 0.5]])) == pytest.approx([0.2, 0.5])


def test_offsets_are_of_logits_and_of_cosines_in_the_same_measure(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors, classes = (normalise_rows(random.normal(size=(n, 5))) for n in (7, 3))
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    store = EmbeddingStore.create(tmp_path / "store", fingerprint, dim=5, logit_scale=20.0)
    store = store.append(pd.DataFrame({"path": [f"{n}.jpg" for n in range(7)]}), vectors)
    offsets, rows = np.array([0.0, 5.0, -2.0], dtype=np.float32), np.array([5, 0, 3])
    asked: Any = SimpleNamespace(rows=rows, scores=np.full((3, 1), 0.75, dtype=np.float32))
    found = measure_unknown(store, asked, classes, offsets)
    logits = 20 * store.read_vectors(rows) @ classes.T - offsets
    assert found["unknown_energy"] == pytest.approx(-logsumexp(logits, axis=1), abs=1e-4)
    assert found["unknown_distance"] == pytest.approx(1 - logits.max(axis=1) / 20, abs=1e-5)
    assert found["unknown_max_softmax"].tolist() == [0.25] * 3


def test_figures_are_scikit_learns() -> None:
    random = np.random.default_rng(4)
    unknown = np.arange(500) % 3 == 0
    scores = random.normal(size=500) + unknown
    limit = find_limit(scores[~unknown], 0.95)
    found = measure_detection(scores, unknown, limit)
    assert found.auroc == pytest.approx(roc_auc_score(unknown, scores))
    # The known are accepted below a threshold: they are the positives of the negated score.
    false, true, _ = roc_curve(~unknown, -scores, drop_intermediate=False)
    assert found.false_accept_fraction == pytest.approx(false[np.argmax(true >= 0.95)])
    assert (scores[~unknown] <= limit).mean() == pytest.approx(0.95, abs=0.004)
    assert found.n_unknown == 167


def test_no_more_of_the_known_pass_than_are_needed() -> None:
    known = np.array([0.4, 0.1, 0.3, 0.2])
    assert [find_limit(known, recall) for recall in (0.5, 0.51, 1)] == [0.2, 0.3, 0.4]


def test_one_unknown_class_says_nothing_of_others() -> None:
    scores, unknown = np.array([0.1, 0.2, 0.9]), np.array([False, False, True])
    found = measure_detection(scores, unknown, 0.3, np.arange(3))
    assert (found.n_classes, found.low, found.high) == (1, 0, 1)


def test_the_interval_is_of_unknown_classes_however_many_images_each_has() -> None:
    accepted = np.array([True, False, False, True, False, False])
    ends = []
    for n_images in (1, 25):
        scores = np.append(0.1, np.repeat(np.where(accepted, 0.2, 0.9), n_images))
        labels = np.append(6, np.repeat(np.arange(6), n_images))
        found = measure_detection(scores, labels < 6, 0.3, labels)
        assert (found.n_classes, found.n_unknown) == (6, 6 * n_images)
        ends.append((found.low, found.high))
    assert ends[0] == pytest.approx(ends[1])


@pytest.mark.parametrize(("n_known", "recall"), [(0, 0.95), (2, 0), (2, 1.1)])
def test_a_limit_takes_kngiven_and_a_share_of_them(n_known: int, recall: float) -> None:
    with pytest.raises(SelectionError, match="takes images of known classes and a recall"):
        find_limit(np.zeros(n_known, dtype=np.float32), recall)
