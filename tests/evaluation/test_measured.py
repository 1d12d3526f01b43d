from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from bioprobe.evaluation.measured import Measured, Measuring, measure
from bioprobe.evaluation.method_scores import draw_method_scores, find_intervals
from bioprobe.intervals import Draws, Resamples
from bioprobe.probes.label_tree import LabelTree
from bioprobe.types import Places, Scores

N_CLASSES = 7
TREE = LabelTree.from_leaves(
    np.array([[f"order {c // 3}", f"family {c}"] for c in range(N_CLASSES)], dtype=object)
)


def _draw(n_images: int, n_classes: int = N_CLASSES) -> tuple[Places, Scores, Scores]:
    """Return classes, probabilities with ties, and others in place of calibrated ones."""
    random = np.random.default_rng(0)
    truth = random.integers(-1, n_classes, n_images)
    logits = random.normal(size=(n_images, n_classes))
    logits[np.arange(n_images), truth] += 1
    powers = np.round(np.exp(logits), 1) + 0.1
    plain = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    softer = np.sqrt(powers)
    return truth, plain, (softer / softer.sum(axis=1, keepdims=True)).astype(np.float32)


def _alone(n_images: int, n_resamples: int = 20) -> Resamples:
    return Resamples.of_groups(np.full(n_images, ""), n_resamples)


def _list_draws(measured: Measured, resamples: Resamples) -> dict[str, list[float]]:
    draws: dict[str, Draws] = draw_method_scores(measured, resamples)
    return {name: [one.estimate, *one.resampled, one.shift] for name, one in draws.items()}


@pytest.mark.parametrize("positive", [None, 1])
def test_images_that_come_in_parts_are_measured_as_all_at_once(positive: int | None) -> None:
    truth, plain, calibrated = _draw(60, 2 if positive else N_CLASSES)
    tree = None if positive else TREE
    whole = measure(truth, plain, calibrated, tree, positive)
    measuring = Measuring(truth, plain.shape[1], tree, positive)
    for part in np.array_split(np.random.default_rng(1).permutation(60), 4):
        measuring.add(part, plain[part], calibrated[part])
    parts = measuring.finish()
    expected, found = (_list_draws(one, _alone(60)) for one in (whole, parts))
    np.testing.assert_equal(found, expected)
    assert repr(find_intervals(draw_method_scores(parts, _alone(60)), parts, _alone(60))) == repr(
        find_intervals(draw_method_scores(whole, _alone(60)), whole, _alone(60))
    )
    np.testing.assert_array_equal(parts.top, whole.top)
    np.testing.assert_array_equal(parts.top_probabilities, whole.top_probabilities)
    np.testing.assert_array_equal(parts.top[:, 0], plain.argmax(axis=1))
    assert (parts.tree is None) == (positive is not None)


@pytest.mark.parametrize("positive", [None, 1])
def test_some_of_the_images_have_the_figures_of_these_alone(positive: int | None) -> None:
    truth, plain, calibrated = _draw(80, 2 if positive else N_CLASSES)
    # One class has no image among those that are kept.
    kept = (np.arange(80) % 3 > 0) & (truth != 0 if positive is None else True)
    tree = None if positive else TREE
    some = measure(truth, plain, calibrated, tree, positive).take(kept)
    alone = measure(truth[kept], plain[kept], calibrated[kept], tree, positive)
    resamples = _alone(int(kept.sum()))
    np.testing.assert_equal(_list_draws(some, resamples), _list_draws(alone, resamples))
    np.testing.assert_array_equal(some.top, alone.top)


def test_calibrated_answers_count_only_where_all_of_them_are() -> None:
    truth, plain, calibrated = _draw(40)
    measuring = Measuring(truth, N_CLASSES, TREE)
    measuring.add(np.arange(20), plain[:20], calibrated[:20])
    measuring.add(np.arange(20, 40), plain[20:])
    found = measuring.finish(is_calibrated=False)
    assert found.calibrated is None
    assert "ece_calibrated" not in draw_method_scores(found, _alone(40))


def test_ranks_are_given_up_when_all_is_weighed() -> None:
    truth, plain, _ = _draw(40)
    ranks = measure(truth, plain).flat.ranks
    assert len(list(ranks)) == len(np.unique(truth[truth >= 0]))
    ranks.clear()
    assert not list(ranks)


def _measure_peak(n_images: int, n_classes: int, n_met: int) -> float:
    """Return the most bytes an image that measuring and drawing take, some images at a time."""
    random = np.random.default_rng(0)
    truth = random.integers(0, n_met, n_images)
    resamples = _alone(n_images, 8)
    tree = LabelTree.from_leaves(
        np.array([[f"order {c // 9}", f"family {c}"] for c in range(n_classes)], dtype=object)
    )
    tracemalloc.start()
    measuring = Measuring(truth, n_classes, tree)
    for images in np.array_split(np.arange(n_images), n_images // 1000):
        plain = random.random((len(images), n_classes), dtype=np.float32)
        plain /= plain.sum(axis=1, keepdims=True)
        measuring.add(images, plain, plain)
    measured = measuring.finish()
    find_intervals(draw_method_scores(measured, resamples), measured, resamples)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@pytest.mark.parametrize(("n_classes", "n_met", "most"), [(200, 200, 1_500), (500, 10, 700)])
def test_an_image_takes_less_memory_than_two_copies_of_its_probabilities(
    n_classes: int, n_met: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Weights, and scores that are computed with, are no more for more images.
    monkeypatch.setattr("bioprobe.intervals._WEIGHTS_AT_ONCE", 40_000)
    monkeypatch.setattr("bioprobe.task.scores._SCORES_AT_ONCE", 100_000)
    peaks = [_measure_peak(n, n_classes, n_met) for n in (5_000, 15_000)]
    # Of 200 classes two copies have 1,600 bytes; classes that no image has take none.
    assert (peaks[1] - peaks[0]) / 10_000 < most
