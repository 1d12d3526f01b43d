"""Of more vectors than are held, only some are in memory while a probe is fitted and judged."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.learning.calibrated import fit_calibration
from bioprobe.learning.fit import answer_held_out, fit_probe
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.task import lazy_rows
from bioprobe.task.lazy_rows import LazyRows
from bioprobe.task.task import Task


# That linear learns the same from such rows is shown in tests/probes/test_lazy_rows.py.
@pytest.mark.parametrize(
    "kind", ["lda", "ridge", "centroid", pytest.param("linear", marks=pytest.mark.long)]
)
def test_a_probe_of_a_store_is_the_same(
    families: EmbeddingStore,
    split: Split,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    def learn() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], dict[str, object]]:
        asked = Task.of(families, "family", split=split)
        fitted = fit_probe(asked, kind)
        answers = answer_held_out(asked, fitted, kind, left_out_fraction=0.4)
        calibration = fit_calibration(answers)
        probabilities = fitted.predict_vectors(families.read_vectors())
        return probabilities, calibration.probabilities, fitted.settings

    monkeypatch.setattr(lazy_rows, "ROWS_AT_ONCE", 16)
    expected = learn()
    held = Task.of(families, "family", split=split).inner(lazy=True)
    assert isinstance(held.vectors, np.ndarray)
    monkeypatch.setattr(lazy_rows, "_MOST_HELD_NUMBERS", 0)
    held = Task.of(families, "family", split=split).inner(lazy=True)
    assert isinstance(held.vectors, LazyRows)
    found = learn()
    assert found[2] == expected[2]
    np.testing.assert_allclose(found[0], expected[0], atol=2e-4)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-3)


def test_a_kind_that_takes_arrays_gets_one(
    families: EmbeddingStore, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_rows, "_MOST_HELD_NUMBERS", 0)
    asked = Task.of(families, "family", split=split)
    expected = families.read_vectors(asked.inner().labelled.rows)
    np.testing.assert_array_equal(asked.inner().vectors, expected)
    assert fit_probe(asked, "knn").held_out.n_images > 0
