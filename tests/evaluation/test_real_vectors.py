"""The evaluation over folds, against scikit-learn on the same real vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from sklearn.neighbors import NearestCentroid

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.evaluation import evaluate
from bioprobe.splits import make_split
from bioprobe.store import EmbeddingStore
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import read_labels
from tests.conftest import PlainEncoder

pytestmark = pytest.mark.shared


def test_class_means_over_folds_are_those_of_scikit_learn(
    shared_dir: Path, make_store: Callable[..., EmbeddingStore]
) -> None:
    read = pd.read_parquet(shared_dir / "data" / "tol200m-bioclip2-1k" / "example_1k.parquet")
    vectors = np.stack(read["emb"].to_list()).astype(np.float32)
    frame = read_labels(read).assign(path=read["uuid"].astype(str), sha256=read["uuid"].astype(str))
    store = make_store(PlainEncoder(dim=vectors.shape[1])).append(frame, vectors)
    split = make_split(store, Rank.PHYLUM, method="kfold", n_folds=5)
    found = evaluate(Task.of(store, Rank.PHYLUM, split=split), ["centroid"], n_resamples=200)
    labels = store.images.labels(Rank.PHYLUM)
    unit = store.read_vectors()
    truth, answers = [], []
    for fold in range(5):
        training = (split.folds != fold) & (split.parts == "train")
        out = split.folds == fold
        centre = unit[training].mean(axis=0)
        near = NearestCentroid().fit(normalise_rows(unit[training] - centre), labels[training])
        truth.append(labels[out])
        answers.append(near.predict(normalise_rows(unit[out] - centre)))
    joined, answered = np.concatenate(truth).astype(str), np.concatenate(answers).astype(str)
    metrics = found.results[0].metrics
    assert metrics["accuracy"].estimate == pytest.approx((joined == answered).mean(), abs=0.002)
    expected = f1_score(
        joined, answered, average="macro", labels=np.unique(joined), zero_division=0
    )
    assert metrics["macro_f1"].estimate == pytest.approx(expected, abs=0.005)
    accuracy = metrics["accuracy"]
    error = 1.96 * np.sqrt(accuracy.estimate * (1 - accuracy.estimate) / len(joined))
    assert accuracy.high - accuracy.low == pytest.approx(2 * error, rel=0.3)
