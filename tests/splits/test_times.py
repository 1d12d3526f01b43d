from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.images.times import read_span, read_times
from bioprobe.splits import make_split
from bioprobe.splits.times import assign_by_time
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank

LabelStore = Callable[..., EmbeddingStore]
FRACTIONS = (0.6, 0.2, 0.2)


def _days(*days: int) -> np.ndarray:
    return np.datetime64("2024-01-01", "ns") + np.array(days) * np.timedelta64(1, "D")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2024-05-13", "2024-05-13"),
        ("2024-05-13T12:30:01Z", "2024-05-13T12:30:01"),
        ("2024-05-13 14:30:01+02:00", "2024-05-13T12:30:01"),
        ("2024:05:13 12:30:01", "2024-05-13T12:30:01"),
        ("13.05.2024 12:30", "2024-05-13T12:30"),
        ("5/13/2024", "2024-05-13"),
        ("13 May 2024", "2024-05-13"),
        ("0000:00:00 00:00:00", ""),
        ("12:30", ""),
        ("unknown", ""),
        ("", ""),
    ],
)
def test_a_date_is_read_as_it_is_written(written: str, read: str) -> None:
    times, unread = read_times(np.array([written], dtype=object))
    assert np.isnat(times[0]) if not read else times[0] == np.datetime64(read)
    assert unread == ({written: 1} if written and not read else {})


def test_one_date_of_a_column_says_the_order_of_the_others() -> None:
    times, _ = read_times(np.array(["03/04/2024", "25/04/2024"], dtype=object))
    assert times[0] == np.datetime64("2024-04-03")
    times, _ = read_times(np.array(["03/04/2024", "04/25/2024"], dtype=object))
    assert times[0] == np.datetime64("2024-03-04")
    times, _ = read_times(np.array(["03/04/2024", "25/04/2024"], dtype=object), np.array([0]))
    assert times.tolist() == [np.datetime64("2024-04-03", "ns").item()]
    for others in ([], ["25/04/2024", "04/25/2024"]):
        with pytest.raises(SelectionError, match="the day or the month first"):
            read_times(np.array(["03/04/2024", *others], dtype=object))


@pytest.mark.parametrize("text", ["7", "d", "-1d", "7 years", ""])
def test_a_span_without_a_number_or_a_unit_is_misuse(text: str) -> None:
    with pytest.raises(MisuseError, match="such as 12h or 7d"):
        read_span(text)


def test_parts_follow_each_other_with_the_gap_between_at_each_site() -> None:
    random = np.random.default_rng(0)
    for _ in range(40):
        n = int(random.integers(1, 60))
        times = _days(*random.integers(0, 30, n))
        times[random.random(n) < 0.1] = np.datetime64("NaT")
        sites = random.integers(0, 3, n).astype(str)
        gap = np.timedelta64(int(random.integers(0, 5)), "D")
        made = assign_by_time(times, FRACTIONS, sites=sites, gap=gap)
        assert (made.parts[np.isnat(times)] == -1).all()
        assert made.n_undated == np.isnat(times).sum()
        assert made.n_undated + made.n_in_gap + (made.parts >= 0).sum() == n
        for site in np.unique(sites):
            own = [times[(sites == site) & (made.parts == part)] for part in range(3)]
            for earlier in range(3):
                for later in range(earlier + 1, 3):
                    if len(own[earlier]) and len(own[later]):
                        assert own[earlier].max() + gap <= own[later].min()
                        assert own[earlier].max() < own[later].min()


def test_without_a_gap_two_times_are_enough_to_learn_and_judge() -> None:
    assert assign_by_time(_days(1, 1, 1, 1, 2), FRACTIONS).parts.tolist() == [0, 0, 0, 0, 2]
    assert assign_by_time(_days(1, 2, 2, 2, 2), FRACTIONS).parts.tolist() == [0, 2, 2, 2, 2]
    assert assign_by_time(_days(1, 1, 1), FRACTIONS).parts.tolist() == [0, 0, 0]
    assert assign_by_time(_days(1, 2, 3, 4, 5), (0.8, 0, 0.2)).parts.tolist() == [0, 0, 0, 0, 2]
    assert assign_by_time(_days(1, 2, 3, 4, 5), (0.8, 0.2, 0)).parts.tolist() == [0, 0, 0, 0, 1]


def test_a_group_goes_where_its_earliest_image_is_and_what_is_late_is_counted() -> None:
    groups = np.array(["", "a", "", "", "a"], dtype=object)
    made = assign_by_time(_days(1, 2, 3, 4, 5), (0.6, 0, 0.4), groups)
    assert made.parts[1] == made.parts[4] == 0
    assert made.n_late == 1
    # Also what is of the very time at which a later part begins.
    begins = assign_by_time(_days(1, 2, 3, 3, 5), (0.6, 0, 0.4), groups[[0, 1, 2, 4, 3]])
    assert (begins.parts.tolist(), begins.n_late) == ([0, 0, 2, 0, 2], 1)


def test_a_split_by_time_says_what_is_in_no_part(label_store: LabelStore) -> None:
    taken = [f"2024:05:{day:02d} 12:00:00" for day in range(1, 21)] + ["", "no idea"]
    store = label_store(family=["Felidae", "Canidae"] * 11, taken_at=taken)
    split = make_split(
        store, Rank.FAMILY, method="chronological", column="taken_at", gap="36h",
        fractions=(0.5, 0.25, 0.25),
    )  # fmt: skip
    assert split.parts.tolist() == (
        ["train"] * 9 + [""] + ["validation"] * 4 + [""] + ["test"] * 5 + [""] * 2
    )
    about = split.provenance
    assert (about["n_undated"], about["n_in_gap"]) == (2, 2)
    assert about["unread_dates"] == {"no idea": 1}
    assert split.n_folds == 5


def test_a_date_column_without_a_date_is_refused(label_store: LabelStore) -> None:
    store = label_store(family=["Felidae", "Canidae"], taken_at=["x", ""])
    with pytest.raises(SelectionError, match=r"no date among .* it says 'x' \(1\)"):
        make_split(store, Rank.FAMILY, method="chronological", column="taken_at")


def test_times_of_a_table_are_read_too(label_store: LabelStore) -> None:
    taken = list(pd.date_range("2024-01-01", periods=10, tz="UTC"))
    store = label_store(family=["Felidae", "Canidae"] * 5, taken_at=taken)
    split = make_split(store, Rank.FAMILY, method="chronological", column="taken_at")
    assert split.parts.tolist() == ["train"] * 8 + ["validation", "test"]
