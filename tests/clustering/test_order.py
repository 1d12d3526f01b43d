"""Pictures along a line: a permutation whose neighbours are alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bioprobe.clustering import order
from bioprobe.clustering.order import order_alike
from bioprobe.types import Rows, Vectors


def _draw(n: int, dim: int = 8, seed: int = 0) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _measure(vectors: Vectors, line: Rows | list[int]) -> float:
    along = vectors[np.asarray(line, dtype=np.int64)]
    return float((along[1:] * along[:-1]).sum())


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 13, 14, 200])
def test_each_picture_stands_once(n: int) -> None:
    line = order_alike(_draw(n))
    assert sorted(line.tolist()) == list(range(n))
    assert line.dtype == np.int64
    assert (line == order_alike(_draw(n))).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_short_line_is_nearly_the_best_of_all(seed: int) -> None:
    vectors = _draw(7, dim=3, seed=seed)
    products = vectors @ vectors.T
    lines = np.array(list(itertools.permutations(range(7))))
    best = float(products[lines[:, 1:], lines[:, :-1]].sum(axis=1).max())
    assert _measure(vectors, order_alike(vectors)) > best - 0.2


def test_points_of_a_curve_stand_in_its_order() -> None:
    at = np.random.default_rng(1).permutation(np.linspace(0, 3, 300))
    curve = np.stack([np.cos(at), np.sin(at)], axis=1).astype(np.float32)
    along = at[order_alike(curve)]
    assert (np.diff(along) > 0).all() or (np.diff(along) < 0).all()


def test_kinds_stand_together() -> None:
    kinds = np.random.default_rng(2).permutation(np.repeat(np.arange(20), 15))
    vectors = _draw(20, dim=16)[kinds] + 0.2 * _draw(300, dim=16, seed=3)
    line = order_alike(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    same = kinds[line[1:]] == kinds[line[:-1]]
    # The fewest changes between 20 kinds are 19.
    assert (~same).sum() < 24


def test_copies_stand_side_by_side() -> None:
    vectors = np.repeat(_draw(30), 3, axis=0)
    line = order_alike(vectors)
    assert ((line[1:] // 3) == (line[:-1] // 3)).sum() == 60
    assert sorted(order_alike(np.ones((40, 1), dtype=np.float32)).tolist()) == list(range(40))


def test_what_is_turned_and_moved_is_bounded_on_long_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = _draw(400, dim=4)
    whole = _measure(vectors, order_alike(vectors))
    monkeypatch.setattr(order, "_LONGEST", 20)
    monkeypatch.setattr(order, "_FEW_ENDS", 50)
    line = order_alike(vectors)
    assert sorted(line.tolist()) == list(range(400))
    assert whole - 8 < _measure(vectors, line) < whole


def test_stretches_of_which_nothing_is_known_are_joined_as_they_come() -> None:
    stretches = order._Stretches(6)
    stretches.join(4, 1)
    order._join_rest(stretches, stretches.list_ends())
    assert stretches.walk() == [0, 1, 4, 2, 3, 5]


def test_a_line_gets_better_by_turns_and_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = _draw(300, dim=4)
    better = _measure(vectors, order_alike(vectors))
    monkeypatch.setattr(order._Line, "_move", lambda _self, _one: ())
    turned = _measure(vectors, order_alike(vectors))
    monkeypatch.setattr(order._Line, "_turn", lambda _self, _one: ())
    greedy = _measure(vectors, order_alike(vectors))
    assert greedy + 1 < turned < better
