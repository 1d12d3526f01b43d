from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bioprobe.errors import SelectionError
from bioprobe.splits.making import assign_parts


def _count(parts: object) -> tuple[int, int, int]:
    counts = Counter(np.asarray(parts).tolist())
    return counts["train"], counts["validation"], counts["test"]


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, {(1, 0, 0)}),
        (2, {(1, 0, 1)}),
        (3, {(1, 1, 1)}),
        (4, {(2, 1, 1)}),
        (10, {(8, 1, 1)}),
        (30, {(24, 3, 3)}),
        (31, {(25, 3, 3), (24, 4, 3), (24, 3, 4)}),
    ],
)
def test_a_class_is_in_as_many_parts_as_it_can_be(
    n: int, expected: set[tuple[int, int, int]]
) -> None:
    parts, small = assign_parts(np.array(["a"] * n))
    assert _count(parts) in expected
    assert [(one.name, one.n_images) for one in small] == ([("a", n)] if n < 3 else [])


def test_no_images_are_in_no_part() -> None:
    parts, small = assign_parts(np.array([], dtype=str))
    assert len(parts) == 0
    assert small == ()


def test_roundings_of_many_classes_do_not_add_up() -> None:
    # Each class of 14 has 1.4 images for test: rounded alone it would be 400 or 800 of 5,600.
    labels = np.repeat([f"c{i}" for i in range(400)], 14)
    parts, _ = assign_parts(labels)
    assert _count(parts) == (4480, 560, 560)


def test_a_part_of_nothing_stays_empty() -> None:
    labels = np.repeat(["a", "b"], [10, 2])
    parts, small = assign_parts(labels, (0.5, 0, 0.5))
    assert _count(parts) == (6, 0, 6)
    assert small == ()
    assert _count(assign_parts(labels, (0.5, 0.5, 0))[0]) == (6, 6, 0)
    assert _count(assign_parts(labels, (1, 0, 0))[0]) == (12, 0, 0)


def test_groups_stay_whole_and_the_smallest_fill_the_small_parts() -> None:
    # Of one class, groups of 20, 6, 2, 1 and 1 images: quotas are 24, 3 and 3.
    groups = np.repeat(["e", "d", "c", "b", "a"], [20, 6, 2, 1, 1])
    parts, _ = assign_parts(np.array(["x"] * 30), groups=groups)
    assert {g: set(parts[groups == g]) for g in "ed"} == {"e": {"train"}, "d": {"train"}}
    assert sorted(_count(parts)[1:]) == [1, 3] or _count(parts)[1:] == (2, 2)
    assert all(len(set(parts[groups == g])) == 1 for g in "abcde")


@pytest.mark.parametrize(
    ("n_groups", "expected"),
    [(1, {"train"}), (2, {"train", "test"}), (3, {"train", "validation", "test"})],
)
def test_a_class_of_few_large_groups_still_enters_each_part(
    n_groups: int, expected: set[str]
) -> None:
    groups = np.repeat([f"g{i}" for i in range(n_groups)], 10)
    parts, small = assign_parts(np.array(["x"] * len(groups)), groups=groups)
    assert set(parts) == expected
    if n_groups < 3:
        assert (small[0].n_groups, set(small[0].parts)) == (n_groups, expected)


def test_a_group_of_two_classes_stays_whole() -> None:
    labels = np.array(["a"] * 10 + ["b"] * 10)
    groups = np.array(["both" if i in {0, 10} else "" for i in range(20)], dtype=object)
    for seed in range(10):
        parts, _ = assign_parts(labels, seed=seed, groups=groups)
        assert parts[0] == parts[10]
        assert all(_count(parts[labels == name])[2] >= 1 for name in "ab")


def test_the_seed_decides_who_goes_where() -> None:
    labels = np.repeat(["a", "b"], 50)
    first, _ = assign_parts(labels, seed=1)
    assert np.array_equal(first, assign_parts(labels, seed=1)[0])
    assert not np.array_equal(first, assign_parts(labels, seed=2)[0])


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (0.8, 0.3, 0.1), (0, 0.5, 0.5), (1.1, -0.1, 0)])
def test_fractions_that_are_none_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(SelectionError, match="add up to 1"):
        assign_parts(np.array(["a"]), fractions)
