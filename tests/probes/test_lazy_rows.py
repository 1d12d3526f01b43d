"""Rows that are read some at a time teach the same as those that lie in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import ProbeError
from bioprobe.learning.fit import measure_values
from bioprobe.probes import centroid, closed_form, never_held_out, objective
from bioprobe.probes.centroid import CentroidProbe
from bioprobe.probes.closed_form import LdaProbe, RidgeProbe
from bioprobe.probes.knn import KnnProbe
from bioprobe.probes.linear import LinearProbe, PromptedProbe
from bioprobe.task import lazy_rows
from bioprobe.task.lazy_rows import LazyRows, average_rows, stack_rows
from bioprobe.types import Places, Vectors

World = tuple[Vectors, npt.NDArray[np.object_]]
AT_ONCE = 100


@pytest.fixture(scope="module")
def worlds(shared_dir: Path) -> dict[str, World]:
    """Return real vectors with labels: families of the tree of life, and CIFAR-10."""
    import torch

    frame = pd.read_parquet(shared_dir / "data" / "tol200m-bioclip2-1k" / "example_1k.parquet")
    frame = frame[frame["family"].notna()]
    frame = frame[frame.groupby("family")["family"].transform("size") >= 3]
    tol = normalise_rows(np.stack(frame["emb"].tolist()).astype(np.float32))
    folder = shared_dir / "data" / "clip-vitb32-cached"
    cifar = torch.load(folder / "cifar10_500.image_embeddings.pt", weights_only=True).float()
    labels = np.load(folder / "cifar10_500.labels.npy").astype(str).astype(object)
    return {
        # Fewer coordinates than rows, as where rows are too many for memory.
        "tol200m": (normalise_rows(tol[:, :96]), frame["family"].to_numpy(dtype=object)),
        "cifar": (normalise_rows(cifar.numpy()[:, :64]), labels),
    }


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_rows, "ROWS_AT_ONCE", AT_ONCE)
    monkeypatch.setattr(objective, "ROWS_AT_ONCE", AT_ONCE)
    monkeypatch.setattr(closed_form, "_N_DRAWN", AT_ONCE)
    monkeypatch.setattr(centroid, "_N_DRAWN", AT_ONCE)
    monkeypatch.setattr(closed_form, "_LOGITS_AT_ONCE", 64 * AT_ONCE)
    monkeypatch.setattr(never_held_out, "_MOST_IMAGINED", AT_ONCE)


class Reader:
    """Reads rows of a matrix in half precision, and notes how many at once."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors, self.most = vectors.astype(np.float16), 0

    def __call__(self, places: Places) -> Vectors:
        self.most = max(self.most, len(places))
        return self.vectors[places].astype(np.float32)

    def open(self) -> LazyRows:
        return LazyRows(self, np.arange(len(self.vectors)), self.vectors.shape[1])


@pytest.mark.shared
@pytest.mark.parametrize("name", ["tol200m", "cifar"])
@pytest.mark.parametrize(
    ("made", "tolerance"),
    [
        (LdaProbe(), 1e-5), (LdaProbe(0.01), 1e-4), (RidgeProbe(), 1e-5), (CentroidProbe(), 1e-5),
        (LinearProbe(10.0), 2e-4), (LinearProbe(1.0, balance="class-weight"), 2e-4),
        (LinearProbe(1.0, balance="mixup"), 2e-4),
    ],
)  # fmt: skip
def test_a_fit_has_the_same_answers(
    worlds: dict[str, World], name: str, made: LdaProbe, tolerance: float
) -> None:
    vectors, y = worlds[name]
    reader = Reader(vectors)
    held = np.asarray(reader.open())
    in_memory = type(made)(**made.get_params()).fit(held, y)
    reader.most = 0
    lazy = type(made)(**made.get_params()).fit(reader.open(), y)
    if getattr(made, "balance", "") != "mixup":
        assert reader.most <= AT_ONCE
    assert lazy.classes_.tolist() == in_memory.classes_.tolist()
    np.testing.assert_allclose(
        lazy.predict_proba(held), in_memory.predict_proba(held), atol=tolerance
    )
    assert (lazy.predict(reader.open()) == in_memory.predict(held)).mean() > 0.998


@pytest.mark.shared
@pytest.mark.parametrize(
    ("kind", "name", "n_folds"),
    [
        ("lda", "tol200m", 1), ("lda", "cifar", 3), ("ridge", "tol200m", 3), ("ridge", "cifar", 1),
        pytest.param("linear", "tol200m", 1, marks=pytest.mark.long), ("linear", "cifar", 3),
    ],
)  # fmt: skip
def test_a_sweep_measures_and_chooses_the_same(
    worlds: dict[str, World], name: str, kind: str, n_folds: int
) -> None:
    vectors, y = worlds[name]
    reader, made = Reader(vectors), {"lda": LdaProbe, "ridge": RidgeProbe, "linear": LinearProbe}
    drawn = np.random.default_rng(0).permutation(len(y)) % 5
    folds = np.where(drawn < n_folds, drawn, -1)
    # A class that no row of which is held out: rows are imagined for it.
    folds[y == y[0]] = -1
    values = np.array(made[kind].values)[2:10:3]
    in_memory = measure_values(kind, {}, np.asarray(reader.open()), y, values, folds)
    reader.most = 0
    lazy = measure_values(kind, {}, reader.open(), y, values, folds)
    assert 0 < reader.most <= AT_ONCE
    assert lazy.best_value == in_memory.best_value
    assert lazy.remembered is not None
    assert in_memory.remembered is not None
    # No more than a row or two at the border between two classes.
    np.testing.assert_allclose(lazy.accuracies, in_memory.accuracies, atol=0.015)
    np.testing.assert_allclose(lazy.log_losses, in_memory.log_losses, rtol=2e-3, atol=1e-4)


@pytest.mark.shared
def test_texts_are_started_from_as_in_memory(worlds: dict[str, World]) -> None:
    vectors, y = worlds["cifar"]
    reader = Reader(vectors)
    classes = np.unique(y)
    texts = normalise_rows(np.stack([vectors[y == one].mean(axis=0) for one in classes]))
    prior: dict[str, Any] = {"texts": texts, "text_classes": classes, "scale": 20.0}
    held = np.asarray(reader.open())
    in_memory = PromptedProbe(1.0, **prior).fit(held, y)
    reader.most = 0
    lazy = PromptedProbe(1.0, **prior).fit(reader.open(), y)
    assert reader.most <= AT_ONCE
    np.testing.assert_allclose(lazy.coef_, in_memory.coef_, atol=2e-2)
    np.testing.assert_allclose(lazy.predict_proba(held), in_memory.predict_proba(held), atol=1e-4)


def _draw(n: int = 300, dim: int = 8) -> World:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, n)
    vectors = normalise_rows(random.normal(size=(3, dim))[y] + random.normal(size=(n, dim)))
    return vectors.astype(np.float32), np.array(["a", "b", "c"], dtype=object)[y]


def test_a_probe_that_takes_arrays_alone_reads_all_at_once() -> None:
    vectors, y = _draw()
    reader = Reader(vectors)
    held = np.asarray(reader.open())
    assert KnnProbe().fit(reader.open(), y).predict(held).tolist() == (
        KnnProbe().fit(held, y).predict(held).tolist()
    )
    assert reader.most == len(y)


def test_rows_are_taken_mapped_and_stacked_without_being_read() -> None:
    vectors, _ = _draw()
    reader = Reader(vectors)
    held, below = np.asarray(reader.open()), np.ones((2, 8), dtype=np.float32)
    reader.most = 0
    taken = reader.open()[::-1][np.arange(300) > 5]
    stacked = stack_rows(taken.map(lambda rows: 2 * rows), below)
    assert reader.most == 0
    assert isinstance(stacked, LazyRows)
    assert stacked.shape == (296, 8)
    expected = np.concatenate([2 * held[::-1][6:], below])
    np.testing.assert_array_equal(np.asarray(stacked), expected)
    np.testing.assert_array_equal(np.asarray(stacked[[295, 0]]), expected[[295, 0]])
    reader.most = 0
    np.testing.assert_allclose(average_rows(stacked), expected.mean(axis=0), rtol=1e-6)
    assert reader.most == AT_ONCE
    with pytest.raises(ValueError, match="only as a copy"):
        np.asarray(stacked, copy=False)


def test_rows_without_a_class_each_are_refused() -> None:
    vectors, y = _draw()
    with pytest.raises(ProbeError, match="300 images need a class each"):
        LdaProbe().fit(Reader(vectors).open(), y[:-1])


def test_vectors_that_are_no_numbers_are_refused() -> None:
    vectors, y = _draw()
    vectors[-1] = np.nan
    for probe in (LdaProbe(), LinearProbe()):
        with pytest.raises(ProbeError, match="finite"):
            probe.fit(Reader(vectors).open(), y)
