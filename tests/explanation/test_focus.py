from __future__ import annotations

import math

import numpy as np
import pytest

from bioprobe.explanation.focus import find_half, measure_inside, place_in


def test_half_of_a_map_lies_in_its_fewest_cells() -> None:
    relevance = np.array([[0, 0, 0, 0], [0, 3, 1, 0], [0, 1, 0, 1]], dtype=np.float32)
    assert find_half(relevance) == ((0.25, 1 / 3, 0.5, 2 / 3), 1 / 12)
    box, share = find_half(np.ones((2, 2), dtype=np.float32))
    assert (box, share) == ((0, 0, 1, 0.5), 0.5)


def test_a_map_of_nothing_is_nowhere() -> None:
    relevance = np.zeros((3, 3), dtype=np.float32)
    box, share = find_half(relevance, (0.2, 0.0, 0.8, 1.0))
    assert box == (0.2, 0.0, 0.8, 1.0)
    assert math.isnan(share)
    assert math.isnan(measure_inside(relevance, (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 0.5)))


def test_a_part_of_a_picture_is_placed_in_the_whole_and_its_border_is_none_of_it() -> None:
    relevance = np.array([[1, 0], [0, 0]], dtype=np.float32)
    assert find_half(relevance, (0.5, 0.0, 1.0, 1.0))[0] == (0.5, 0.0, 0.75, 0.5)
    assert find_half(relevance, (0.0, -0.5, 1.0, 1.5))[0] == (0.0, 0.0, 0.5, 0.5)
    assert place_in((0, 0, 1, 1), (0.1, 0.2, 0.3, 0.4)) == pytest.approx((0.1, 0.2, 0.3, 0.4))


def test_the_share_in_a_box_counts_parts_of_cells() -> None:
    relevance = np.array([[1, 3]], dtype=np.float32)
    seen = (0.0, 0.0, 1.0, 1.0)
    assert measure_inside(relevance, seen, (0.5, 0.0, 1.0, 1.0)) == pytest.approx(0.75)
    assert measure_inside(relevance, seen, (0.25, 0.0, 0.75, 0.5)) == pytest.approx(0.25)
    assert measure_inside(relevance, seen, seen) == pytest.approx(1.0)
    assert measure_inside(relevance, (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0)) == 0
