from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.errors import SelectionError
from bioprobe.evaluation.curves import Efficiency, draw_images, measure_efficiency

Rows = npt.NDArray[np.int64]
CLASSES = np.array([0, 1, 2, 0, 1, 0, -1, 0, 1, 0])


@pytest.mark.parametrize(
    ("n_per_class", "drawn"), [(1, [1, 1, 1]), (2, [2, 2, 1]), (4, [4, 3, 1]), (9, [5, 3, 1])]
)
def test_so_many_of_each_class_are_drawn(n_per_class: int, drawn: list[int]) -> None:
    rows = draw_images(CLASSES, n_per_class, seed=0)
    assert np.bincount(CLASSES[rows]).tolist() == drawn
    assert (np.diff(rows) > 0).all()


def test_images_of_fewer_shots_are_among_those_of_more() -> None:
    few, more = draw_images(CLASSES, 2, seed=3), draw_images(CLASSES, 3, seed=3)
    assert set(few) < set(more)


def test_another_seed_draws_others_and_every_image_has_its_chance() -> None:
    drawn = [draw_images(CLASSES, 1, seed) for seed in range(40)]
    assert set(np.concatenate(drawn)) == set(np.flatnonzero(CLASSES >= 0))


def test_every_method_learns_from_the_same_images_of_each_seed() -> None:
    seen: dict[str, list[tuple[int, ...]]] = {"one": [], "other": []}

    def learn(method: str, rows: Rows) -> npt.NDArray[np.bool_]:
        seen[method].append(tuple(rows))
        return np.arange(10) < len(rows)

    found = list(
        measure_efficiency(
            CLASSES,
            {name: functools.partial(learn, name) for name in seen},
            shots=[2, 1],
            n_seeds=3,
        )
    )
    assert seen["one"] == seen["other"]
    assert len(set(seen["one"][:3])) > 1
    assert [(one.method, one.n_per_class, one.n_training, one.n_short) for one in found] == [
        ("one", 1, 3, 0), ("other", 1, 3, 0), ("one", 2, 5, 1), ("other", 2, 5, 1),
    ]  # fmt: skip
    assert found[2].accuracies == (0.5, 0.5, 0.5)


def test_shots_beyond_the_largest_class_are_passed_over_but_the_first() -> None:
    def answer(rows: Rows) -> npt.NDArray[np.bool_]:
        return np.ones(len(rows), dtype=bool)

    found = measure_efficiency(CLASSES, {"any": answer}, shots=[1, 4, 5, 6, 50], n_seeds=1)
    assert [one.n_per_class for one in found] == [1, 4, 5]
    found = measure_efficiency(CLASSES, {"any": answer}, shots=[4, 8, 50], n_seeds=1)
    assert [(one.n_per_class, one.n_training) for one in found] == [(4, 8), (8, 9)]


def test_the_mean_and_the_deviation_over_seeds() -> None:
    point = Efficiency("any", 1, 3, 0, (0.5, 0.7, 0.9))
    assert (point.mean, point.deviation) == pytest.approx((0.7, 0.2))
    assert point.to_dict()["mean"] == point.mean
    one = Efficiency("any", 1, 3, 0, (0.5,))
    assert math.isnan(one.deviation)
    assert one.to_dict()["deviation"] is None


@pytest.mark.parametrize(("shots", "n_seeds"), [([0], 5), ([1], 0)])
def test_nothing_is_not_drawn(shots: list[int], n_seeds: int) -> None:
    with pytest.raises(SelectionError, match="1 image a class or more"):
        list(measure_efficiency(CLASSES, {}, shots=shots, n_seeds=n_seeds))
