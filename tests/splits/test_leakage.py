from __future__ import annotations

import numpy as np

from bioprobe.splits.making import Leak, find_leaks


def _names(*names: str) -> np.ndarray:
    return np.array(names, dtype=object)


def test_groups_across_parts_are_counted_with_their_images() -> None:
    parts = _names("train", "train", "validation", "test", "test", "", "train", "")
    bursts = _names("a", "a", "a", "b", "b", "b", "", "a")
    hashes = _names("1", "2", "3", "1", "1", "2", "9", "8")
    assert find_leaks(parts, {"burst": bursts, "same bytes": hashes}) == (
        # a is in train and validation, b in test, and both besides in no part.
        Leak("burst", n_groups=1, n_images=3, n_test=0),
        Leak("same bytes", n_groups=1, n_images=3, n_test=2),
    )


def test_images_without_a_group_never_leak() -> None:
    (leak,) = find_leaks(_names("train", "test"), {"burst": _names("", "")})
    assert leak == Leak("burst", 0, 0, 0)


def test_nothing_leaks_where_there_is_nothing() -> None:
    (leak,) = find_leaks(_names(), {"burst": _names()})
    assert leak.n_groups == 0
    assert find_leaks(_names("train"), {}) == ()
