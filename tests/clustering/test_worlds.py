"""Clusters and lines against labels: drawn kinds with copies, and real vectors of CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bioprobe.clustering.agreement import measure_agreement, measure_line, measure_nearest
from bioprobe.clustering.methods import Wish, group_vectors
from bioprobe.clustering.neighbors import average_neighbors
from bioprobe.clustering.order import order_alike
from bioprobe.types import Names, Places, Vectors


def _measure(vectors: Vectors, labels: Names, units: Places, n: int) -> tuple[float, float, float]:
    averaged = average_neighbors(vectors, 10, units)
    groups = group_vectors(averaged, units, Wish(n_clusters=n)).numbers
    codes = np.unique(labels.astype(str), return_inverse=True)[1].astype(np.int64)
    agreed = measure_agreement(groups, codes, units, n_resamples=20)["adjusted_rand"]
    line = order_alike(averaged)
    along = measure_line(labels[line], units[line]).estimate
    return agreed.estimate, along, measure_nearest(vectors, labels, units).estimate


def test_drawn_kinds_are_found_and_their_copies_are_no_merit() -> None:
    random = np.random.default_rng(0)
    kinds = np.repeat(np.arange(12), 20)
    drawn = random.normal(size=(12, 32))[kinds] + 0.6 * random.normal(size=(240, 32))
    places = np.append(np.arange(240), random.choice(240, 60))
    vectors = drawn[places] / np.linalg.norm(drawn[places], axis=1, keepdims=True)
    labels = kinds[places].astype(str).astype(object)
    vectors = vectors.astype(np.float32)
    rand, along, most = _measure(vectors, labels, places, 12)
    assert rand > 0.98
    assert 0.95 < along <= most
    # Labels that say nothing are as chance has it, although copies have the same.
    nothing = random.integers(12, size=240)[places].astype(str).astype(object)
    rand, along, most = _measure(vectors, nothing, places, 12)
    assert abs(rand) < 0.03
    assert along < 0.2
    assert most < 0.2


@pytest.mark.shared
def test_pictures_of_cifar_are_in_clusters_and_order(shared_dir: Path) -> None:
    torch = pytest.importorskip("torch")
    folder = shared_dir / "data/clip-vitb32-cached"
    vectors = torch.load(folder / "cifar10_500.image_embeddings.pt").float().numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = np.load(folder / "cifar10_500.labels.npy").astype(str).astype(object)
    rand, along, most = _measure(vectors, labels, np.arange(500), 10)
    assert rand > 0.5
    assert along > 0.79
    assert most == pytest.approx(0.834, abs=0.001)
    averaged = average_neighbors(vectors, 10)
    chosen = group_vectors(averaged, np.arange(500), Wish())
    assert len(np.unique(chosen.numbers)) == 10
