"""Figures of plain logistic regression on real vectors, where the shared folder is at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.model_selection import StratifiedKFold

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.probes.linear import LinearProbe

pytestmark = pytest.mark.shared

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.object_]

N_FOLDS = 5
# What was measured with scikit-learn, and how far below counts as the same.
SLACK = 0.01
VALUES = np.array(LinearProbe.values)[4:-2:2]


def _assign(labels: Labels, seed: int = 0) -> npt.NDArray[np.int64]:
    folds = np.empty(len(labels), dtype=np.int64)
    kept = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    for fold, (_, out) in enumerate(kept.split(labels, labels)):
        folds[out] = fold
    return folds


def _measure(vectors: Vectors, labels: Labels) -> float:
    """Return the accuracy of five folds, C chosen inside the training rows of each."""
    folds = _assign(labels)
    right = 0
    for fold in range(N_FOLDS):
        out = folds == fold
        x, y = vectors[~out], labels[~out]
        # A class may have fewer rows than there are inner folds; one row then always trains.
        inner = np.random.default_rng(fold).permutation(len(y)) % N_FOLDS
        chosen = LinearProbe.sweep(x, y, VALUES, inner).best_value
        probe = LinearProbe(chosen, tol=1e-8).fit(x, y)
        right += int((probe.predict(vectors[out]) == labels[out]).sum())
    return right / len(labels)


@pytest.mark.parametrize(
    ("rank", "animals_only", "mark"),
    [
        pytest.param("kingdom", False, 0.956, marks=pytest.mark.long),
        pytest.param("phylum", True, 0.957, marks=pytest.mark.long),
        pytest.param("class", True, 0.898, marks=pytest.mark.long),
        pytest.param("order", True, 0.831, marks=pytest.mark.long),
        ("family", True, 0.776),
    ],
)
def test_bioclip_vectors_reach_the_marks(
    rank: str, animals_only: bool, mark: float, shared_dir: Path
) -> None:
    import pyarrow.parquet as pq

    path = shared_dir / "data" / "tol200m-bioclip2-1k" / "example_1k.parquet"
    frame = pq.read_table(path).to_pandas()
    names = frame[rank].fillna("").to_numpy(dtype=object)
    kept = names != ""
    if animals_only:
        kept &= frame["kingdom"].fillna("").to_numpy(dtype=object) == "Animalia"
    known, counts = np.unique(names[kept], return_counts=True)
    kept &= np.isin(names, known[counts >= N_FOLDS])
    vectors = normalise_rows(np.stack(frame["emb"].to_numpy()[kept]).astype(np.float32))
    assert _measure(vectors, names[kept]) >= mark - SLACK


def test_clip_vectors_of_cifar_reach_the_mark(shared_dir: Path) -> None:
    import torch

    folder = shared_dir / "data" / "clip-vitb32-cached"
    loaded = torch.load(folder / "cifar10_500.image_embeddings.pt", weights_only=True)
    vectors = normalise_rows(np.asarray(loaded, dtype=np.float32))
    labels = np.load(folder / "cifar10_500.labels.npy").astype(str).astype(object)
    assert _measure(vectors, labels) >= 0.914 - SLACK
