"""What is computed for every class of every image goes by blocks of rows."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.calibration.calibrators import KINDS, find_calibrator, fit_judged
from bioprobe.task import scores
from bioprobe.task.probabilities import fit_scale
from bioprobe.task.scores import find_top, split_rows


@pytest.fixture
def logits() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(230, 7)).astype(np.float32) * 3


@pytest.fixture
def truth(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    random = np.random.default_rng(1)
    found = np.where(random.random(230) < 0.6, logits.argmax(axis=1), random.integers(0, 7, 230))
    found[::9] = -1
    return np.asarray(found, dtype=np.int64)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_change_no_calibrator(
    kind: str,
    logits: npt.NDArray[np.float32],
    truth: npt.NDArray[np.int64],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = find_calibrator(kind).fit(logits, truth)
    judged = fit_judged(kind, logits, truth)
    monkeypatch.setattr(scores, "_SCORES_AT_ONCE", 7 * 32)
    assert len(list(split_rows(230, 7))) == 8
    in_blocks = find_calibrator(kind).fit(logits, truth)
    for name, values in whole.to_arrays().items():
        np.testing.assert_allclose(in_blocks.to_arrays()[name], values, rtol=1e-6, atol=1e-9)
    calibrator, left = fit_judged(kind, logits, truth)
    assert left == judged[1]
    np.testing.assert_allclose(
        calibrator.calibrate(logits), judged[0].calibrate(logits), rtol=1e-5, atol=1e-8
    )


def test_rows_of_no_class_play_no_part_in_the_scale(
    logits: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]
) -> None:
    known = truth >= 0
    assert fit_scale(logits, truth) == pytest.approx(fit_scale(logits[known], truth[known]))
    assert fit_scale(logits, np.full(230, -1)) == 1


@pytest.mark.parametrize("k", [1, 3, 7, 9])
def test_the_best_are_those_of_a_stable_sort(k: int) -> None:
    values = np.random.default_rng(2).integers(0, 4, size=(300, 7)).astype(np.float32)
    top, best = find_top(values, k)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(top, expected)
    np.testing.assert_array_equal(best, np.take_along_axis(values, expected, axis=1))
    assert find_top(values[:0], k)[0].shape == (0, min(k, 7))


_PROGRAM = """
import sys
import numpy as np
from bioprobe.calibration.calibrators import fit_judged
logits = np.random.default_rng(0).standard_normal((800, 20000), dtype=np.float32)
truth = np.where(np.arange(800) % 3, logits.argmax(axis=1), 0)
def measure_mb():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l[:5] == "VmHWM") // 1024

before = measure_mb()
fit_judged("temperature", logits, truth)
print(measure_mb() - before)
"""


def test_many_classes_are_calibrated_in_little_memory_beside_the_logits() -> None:
    command = [sys.executable, "-c", _PROGRAM]
    grown_mb = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert 0 < grown_mb < 250
