"""Which image a row is: the same however many rows are read at once."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from bioprobe.images import ImageTable, image_table
from bioprobe.images.identity import (
    IDENTITY,
    digest_rows,
    find_rows,
    hash_sorted,
    name_contents,
    number_rows,
)
from bioprobe.images.regions import REGION, name_content


def _frame(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(IDENTITY), dtype="str")


def test_rows_that_do_not_differ_have_one_digest() -> None:
    first = _frame(("aa", "/r", "1.jpg", ""), ("aa", "/r", "1.jpg", "0,0,1,1"))
    second = _frame(("aa", "/r", "ü.jpg", ""), ("aa", "/r1", ".jpg", ""), ("aa", "/r", "1.jpg", ""))
    known = digest_rows([first, second])
    assert number_rows(known).tolist() == [0, 1, 2, 3, 0]
    holes = first.assign(**{REGION: pd.Series([None, "0,0,1,1"], dtype="str")})
    asked = digest_rows([holes, _frame(("ab", "/r", "1.jpg", ""))])
    assert find_rows(asked, known).tolist() == [0, 1, -1]
    assert find_rows(digest_rows([]), known).tolist() == []


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_hash_is_of_sorted_lines_however_they_come(size: int) -> None:
    names = [f"{number * 37 % 100:02d} é\t{number % 3}" for number in range(100)] + ["", "2 é"]
    parts = (pd.Series(names[at : at + size], dtype="str") for at in range(0, len(names), size))
    expected = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
    assert hash_sorted(parts) == expected
    assert hash_sorted([]) == hashlib.sha256().hexdigest()


def test_contents_are_those_of_the_table() -> None:
    rows = [("aa", ""), ("aa", "0,0,1,0.5#2"), ("", "0,0,1,0.5"), ("", "")]
    frame = pd.DataFrame(rows, columns=["sha256", REGION], dtype="str")
    assert name_contents(frame).tolist() == [name_content(*row) for row in rows]
    assert name_contents(frame[:1]).tolist() == ["aa"]


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_rows_are_in_the_order_of_bytes_then_places(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_table, "ROWS_AT_ONCE", at_once)
    random = np.random.default_rng(0)
    draws = {"sha256": 9, "root": 2, "path": 2, REGION: 2}
    columns = {name: random.integers(n, size=40).astype(str) for name, n in draws.items()}
    images = ImageTable.build(pd.DataFrame(columns))
    rows = random.permutation(40)[:30].astype(np.int64)
    keys = [columns[name][rows] for name in (REGION, "root", "path", "sha256")]
    assert images.order(rows).tolist() == np.lexsort(keys).tolist()
    assert images.order(rows[:1]).tolist() == [0]
    assert images.order(rows[:0]).tolist() == []


def test_a_hash_holds_texts_as_arrow_has_them() -> None:
    def draw() -> Iterator[pd.Series[str]]:
        for start in range(0, 40_000, 4_000):
            names = [f"{number * 7919 % 40_000:0100d}" for number in range(start, start + 4_000)]
            yield pd.Series(names, dtype="str")

    tracemalloc.start()
    hash_sorted(draw())
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # As Python has them all would be 6 MB, twice so while they are sorted; a part is 0.6 MB.
    assert peak_bytes < 5e6
