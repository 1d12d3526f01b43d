from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import SelectionError
from bioprobe.images import ImageTable
from bioprobe.images.sequences import find_sequences
from bioprobe.images.times import read_times


def _table(**columns: Sequence[object]) -> ImageTable:
    n = len(next(iter(columns.values())))
    given = {"root": ["/p"] * n, "path": [f"{row}.jpg" for row in range(n)]}
    return ImageTable.build(pd.DataFrame({**given, **columns}))


def _group(table: ImageTable, **options: object) -> list[int]:
    found = find_sequences(table, np.arange(len(table)), **options)  # type: ignore[arg-type]
    return [int(one) for one in found.numbers]


def test_pictures_of_a_camera_make_a_sequence_as_long_as_the_gap_is_small() -> None:
    times = [f"2024:05:13 12:{clock}" for clock in ("00:00", "01:00", "01:59", "03:00", "01:30")]
    table = _table(captured_at=times, camera=["a", "a", "a", "a", "b"])
    assert _group(table, gap_seconds=60) == [0, 0, 0, 1, 2]
    assert _group(table, gap_seconds=61) == [0, 0, 0, 0, 1]
    assert _group(table) == [0, 0, 0, 1, 2]
    names = find_sequences(table, np.arange(5)).names
    assert names[3] == "a 2024-05-13T12:03:00"


def test_times_are_read_as_cameras_and_programs_write_them() -> None:
    same = [
        "2024:05:13 12:30:45", "2024-05-13T12:30:45", "2024-05-13 14:30:45+02:00",
        "2024-05-13T12:30:45.250Z", "13-May-2024 12:30:45", "13-May-24 12:30:45",
        "20240513_123045", "2024-05-13 12.30.45", "2024/05/13 12:30:45", "2024-05-13T12:30:45,5",
        "2024-05-13_12-30-45", "2024-5-13 12:30:45 PM", "Mon May 13 12:30:45 2024",
        "2024-05-13 14:30:45 GMT+2", "Mon May 13 2024 14:30:45 GMT+0200 (CEST)",
        "13. Mai 2024 12:30:45", "13 de mayo de 2024 12:30:45", "2024-05-13 12:30:45 Uhr",
        "12:30:45 2024-05-13", "12:30:45 PM, 13 Mai 2024", "Mon 13/05/2024 12h30m45s",
        "13MAY2024 12:30:45", "13/05/2024 - 12:30:45", "13th of May 2024 at 12:30:45",
        "13/05/2024 123045",
    ]  # fmt: skip
    assert _group(_table(captured_at=same), gap_seconds=1) == [0] * len(same)
    times, unread = read_times(np.array(["0001-01-01T00:00:00", "9999-12-31"], dtype=object))
    assert np.isnat(times).all()
    assert unread == {"0001-01-01T00:00:00": 1, "9999-12-31": 1}


def test_what_is_no_one_date_is_none_and_tells_no_order() -> None:
    none = [
        "2024-05-01/2024-05-05", "2024-05-01 - 2024-05-03", "12:30 2024-05-01 13:30", "99/99/9999",
        "30/02/2024", "2024-W18-6", "45413", "1714550400", "1-3 May 2024",
        "1-3 Sept 2024", "May 5 - 1 Sept 2024",
    ]  # fmt: skip
    known = ["13/05/2024", "01/02/2024", "2024-05-01 03:00 PM", "13/05/69", "13/05/69 03:00 +0200"]
    times, unread = read_times(np.array([*none, *known], dtype=object))
    assert set(unread) == set(none)
    assert [str(one) for one in times[len(none) :].astype("datetime64[h]")] == [
        "2024-05-13T00", "2024-02-01T00", "2024-05-01T15", "1969-05-13T00",
        "1969-05-13T01",
    ]  # fmt: skip


def test_a_row_without_a_time_of_day_is_its_own_and_is_counted() -> None:
    table = _table(captured_at=["2024-05-13", "2024-05-13", "", "soon", "2024-05-13 00:00"])
    found = find_sequences(table, np.arange(5), gap_seconds=60)
    assert found.numbers.tolist() == [0, 1, 2, 3, 4]
    assert (found.n_alone, found.unread) == (4, {"2024-05-13": 2, "soon": 1})
    assert "4 rows are each their own sequence" in found.describe()[1]
    assert "'2024-05-13' (2), 'soon' (1)" in found.describe()[1]


def test_places_are_told_apart_by_all_that_is_said_of_them_and_else_by_folder() -> None:
    now = ["2024-05-13 12:00:00"] * 4
    two = _table(captured_at=now, camera=["1", "1", "1", "1"], location=["A", "B", "A", ""])
    assert _group(two) == [0, 1, 0, 2]
    paths = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]
    assert _group(_table(captured_at=now, path=paths)) == [0, 0, 1, 1]
    roots = ["/x", "/y", "/x", "/y"]
    assert _group(_table(captured_at=now, root=roots)) == [0, 1, 0, 1]
    model = _table(captured_at=now, path=paths, camera=["HP2X (no serial number)"] * 4)
    assert _group(model) == [0, 0, 1, 1]
    assert _group(_table(captured_at=now, path=paths, camera=["HP2X 77"] * 4)) == [0] * 4


def test_a_column_makes_sequences_and_a_hole_is_its_own() -> None:
    table = _table(burst=["b", "", "b", "", "0.jpg"], sequence_id=["1", "1", "2", "2", "2"])
    assert _group(table, column="burst") == [0, 1, 0, 2, 3]
    assert _group(table) == [0, 0, 1, 1, 1]
    same = _table(path=["x.jpg", "y.jpg", "z.jpg"], burst=["", "x.jpg", "x.jpg"])
    assert _group(same, column="burst") == [0, 1, 1]


def test_what_makes_no_sequence_is_said() -> None:
    with pytest.raises(SelectionError, match="name one with --sequence, or read times with"):
        _group(_table(site=["a"]))
    with pytest.raises(SelectionError, match="no column 'burst'"):
        _group(_table(site=["a"]), column="burst")
