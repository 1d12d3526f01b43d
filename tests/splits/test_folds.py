from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from bioprobe.errors import SelectionError
from bioprobe.splits import assign_folds

Labels = npt.NDArray[np.object_]


def _draw(n: int, n_classes: int = 20, seed: int = 0) -> tuple[Labels, Labels]:
    """Draw labels of a long tail, and groups of about three."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, n_classes + 1)
    labels = random.choice(n_classes, size=n, p=shares / shares.sum())
    groups = np.char.add("g", random.integers(0, max(1, n // 3), n).astype(str))
    return labels.astype(str).astype(object), groups.astype(object)


@pytest.mark.parametrize("n", [0, 1, 2, 4, 5, 6])
def test_a_class_is_spread_as_evenly_as_it_can_be(n: int) -> None:
    folds = assign_folds(np.array(["a"] * n, dtype=object), 5)
    if n == 1:
        assert folds.tolist() == [-1]
        return
    sizes = np.bincount(folds, minlength=5) if n else np.zeros(5, dtype=int)
    assert sorted(sizes) == sorted(n // 5 + (fold < n % 5) for fold in range(5))


def test_folds_and_classes_are_as_even_as_without_groups() -> None:
    labels, _ = _draw(997)
    folds = assign_folds(labels, 5)
    held = folds >= 0
    assert np.ptp(np.bincount(folds[held])) <= 1
    for name in np.unique(labels[held]):
        sizes = np.bincount(folds[held & (labels == name)], minlength=5)
        assert np.ptp(sizes) <= 1


def test_classes_smaller_than_the_folds_do_not_all_go_to_the_first() -> None:
    labels = np.repeat([f"class {i}" for i in range(50)], 2)
    assert np.bincount(assign_folds(labels, 5)).tolist() == [20] * 5


def test_groups_are_whole_and_folds_no_less_even_than_scikit_learns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels, groups = _draw(2000)
    folds = assign_folds(labels, 5, seed=3, groups=groups)
    # However many groups are looked at together.
    monkeypatch.setattr("bioprobe.splits.groups._GROUPS_AT_ONCE", 100)
    assert assign_folds(labels, 5, seed=3, groups=groups).tolist() == folds.tolist()
    held = folds >= 0
    for name in np.unique(groups[held]):
        assert len(set(folds[held & (groups == name)])) == 1
    theirs = np.zeros(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=3)
    with np.errstate(all="ignore"):
        for fold, (_, test) in enumerate(splitter.split(labels, labels, groups)):
            theirs[test] = fold

    def measure_unevenness(folds: npt.NDArray[np.int64]) -> float:
        each = [np.bincount(folds[held & (labels == n)], minlength=5) for n in np.unique(labels)]
        return float(np.mean([np.std(sizes) for sizes in each]))

    assert measure_unevenness(folds) <= 1.05 * measure_unevenness(theirs)


def test_every_class_can_be_learnt_without_any_fold() -> None:
    # 40 classes of one to four groups of one to four images, each group of one class.
    random = np.random.default_rng(5)
    labels, groups = [], []
    for c in range(40):
        for g in range(1 + c % 4):
            size = int(random.integers(1, 5))
            labels += [f"c{c}"] * size
            groups += [f"c{c} g{g}"] * size
    names = np.array(labels)
    folds = assign_folds(names, 3, groups=np.array(groups))
    for name in np.unique(names):
        inside = set(folds[names == name])
        n_groups = int(name[1:]) % 4 + 1
        assert inside == {-1} if n_groups == 1 else len(inside) >= 2


def test_a_group_that_one_class_cannot_spare_always_trains_whole() -> None:
    labels, groups = np.array(list("aaaabb")), np.array(["1", "2", "3", "4", "4", "4"])
    folds = assign_folds(labels, 2, groups=groups)
    assert folds[3:].tolist() == [-1, -1, -1]
    assert set(folds[:3]) == {0, 1}


def test_the_seed_decides_who_goes_where() -> None:
    labels, groups = _draw(200)
    first = assign_folds(labels, 4, seed=1, groups=groups)
    assert np.array_equal(first, assign_folds(labels, 4, seed=1, groups=groups))
    assert not np.array_equal(first, assign_folds(labels, 4, seed=2, groups=groups))


def test_an_image_of_no_group_is_on_its_own() -> None:
    groups = np.array(["", "", "", ""], dtype=object)
    assert sorted(assign_folds(np.array(list("aabb")), 2, groups=groups)) == [0, 0, 1, 1]


def test_what_cannot_be_folded_is_refused() -> None:
    with pytest.raises(SelectionError, match="2 folds or more, got 1"):
        assign_folds(np.array(["a", "b"]), 1)
    with pytest.raises(SelectionError, match="2 labels were given, got 1 groups"):
        assign_folds(np.array(["a", "b"]), 2, groups=np.array(["g"]))


def test_a_class_of_two_groups_is_in_two_folds_wherever_their_other_class_would_go() -> None:
    # The six of one group fill the second fold: all room that is left for "y" is in the first.
    labels = np.array([*"yyyyyy", *"xyy", *"xyy", "y", "a"])
    groups = np.repeat(["1", "2", "3", "4", "5"], [6, 3, 3, 1, 1])
    folds = assign_folds(labels, 2, groups=groups)
    assert folds[[0, 12]].tolist() == [1, 0]
    assert sorted(folds[labels == "x"].tolist()) == [0, 1]
