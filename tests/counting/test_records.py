"""Independent events: what parts them, whose clock is wrong, and what occasions hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.counting.effort import Effort, build_effort
from bioprobe.counting.records import RecordTable, Spans, make_histories, make_records
from bioprobe.errors import SelectionError
from bioprobe.exporting.event_records import write_records

NOW = np.datetime64("2025-06-01T00:00:00", "s")


def _see(*rows: tuple[object, ...]) -> pd.DataFrame:
    """Return sightings of (taxon, place, time) with what may follow: count."""
    made = []
    for number, (taxon, place, time, *rest) in enumerate(rows):
        made.append({
            "taxon": taxon, "common_name": "", "rank": "species", "content": "animal",
            "names": (place,), "group": "", "time": time, "zone": "", "count": [1, *rest][-1],
            "score": None, "source": "label", "file_name": f"{number}.jpg", "row": number,
            "latitude": "", "longitude": "", "is_sensitive": False,
        })  # fmt: skip
    return pd.DataFrame(made)


def _make(
    seen: pd.DataFrame,
    deployments: list[dict[str, str]] | None = None,
    *,
    by: str = "deployment",
    gap_minutes: float = 30,
    compare_to: str = "last-record",
    time_zone: str = "",
) -> RecordTable:
    def read(spans: Spans) -> Effort:
        frame = pd.DataFrame(deployments).fillna("")
        return build_effort(frame, now=NOW, seen=spans, time_zone=time_zone)

    return make_records(
        seen, by=by, gap_minutes=gap_minutes, compare_to=compare_to, time_zone=time_zone,
        read_effort=None if deployments is None else read, now=NOW,
    )  # fmt: skip


def _said(found: RecordTable) -> str:
    return "\n".join(map(str, found.notes))


def test_a_gap_parts_events_by_either_rule() -> None:
    seen = _see(*(("a", "p", f"2024-05-01 10:{m:02d}:00", n) for m, n in
                  ((0, 1), (20, 3), (40, 2), (55, 1))), ("b", "p", "2024-05-01 10:25:00"),
                ("a", "q", "2024-05-01 10:41:00"))  # fmt: skip
    last = _make(seen).records
    assert last[["taxon", "place", "n_pictures", "count"]].to_numpy().tolist() == [
        ["a", "p", 4, 3], ["b", "p", 1, 1], ["a", "q", 1, 1],
    ]  # fmt: skip
    assert (last["start"][0], last["end"][0]) == ("2024-05-01T10:00:00", "2024-05-01T10:55:00")
    first = _make(seen, compare_to="last-independent-record").records
    # The second event begins at 10:40, and the last picture is compared with that.
    assert first["n_pictures"].tolist() == [2, 1, 2, 1]
    # As long after as the gap is independent; each picture is without a gap.
    assert len(_make(seen, gap_minutes=20).records) == 5
    assert len(_make(seen, gap_minutes=20.1).records) == 3
    assert len(_make(seen, gap_minutes=0).records) == 6


def test_a_picture_of_two_rows_is_one_picture() -> None:
    seen = _see(*[("a", "p", "2024-05-01 10:00:00")] * 2).assign(file_name="0.jpg")
    assert _make(seen).records["n_pictures"].tolist() == [1]


def test_a_night_on_which_clocks_are_moved_is_no_hour_longer() -> None:
    # Half past two summer time, half past two winter time: an hour lies between.
    seen = _see(("a", "p", "2024-10-27T02:30:00+02:00"), ("a", "p", "2024-10-27T02:30:00+01:00"))
    assert len(_make(seen).records) == 2
    assert len(_make(seen, time_zone="Europe/Zurich").records) == 2
    # A quarter to two and a quarter past three on the clock are half an hour apart in spring.
    spring = _see(("a", "p", "2024-03-31 01:45:00"), ("a", "p", "2024-03-31 03:14:00"))
    assert len(_make(spring, time_zone="Europe/Zurich").records) == 1
    assert len(_make(spring, time_zone="+01:00").records) == 2
    skipped = _make(_see(("a", "p", "2024-03-31 02:30:00")), time_zone="Europe/Zurich")
    assert "never show; if the camera's clock is not moved" in _said(skipped)


@pytest.mark.parametrize(
    ("time", "trouble"),
    [
        ("", "no time"),
        ("yesterday", "not a time"),
        ("2024-05-02", "a date without a time of day"),
        ("1970-01-01 00:00:05", "a clock that was reset"),
        ("2000-01-03 08:00:00", "a clock that was reset"),
        ("2017-01-01 00:01:00", "a clock that was reset"),
        ("2025-06-02 00:00:01", "a time in the future"),
    ],
)
def test_a_clock_that_cannot_be_makes_no_event_and_loses_no_picture(
    time: str, trouble: str
) -> None:
    seen = _see(("a", "p", "2024-05-01 10:00:00"), ("a", "p", time))
    found = _make(seen)
    assert found.records["trouble"].tolist() == ["", trouble]
    assert found.records["start"].tolist() == ["2024-05-01T10:00:00", ""]
    assert found.records["n_pictures"].sum() == 2
    assert f"1 pictures have {trouble}" in _said(found)
    assert "1.jpg" in _said(found)
    assert len(found.timed) == 1


def test_a_clock_that_was_reset_stays_so_for_days() -> None:
    times = ["2024-05-01 10:00:00", "2017-01-01 00:01:00", "2017-01-03 07:00:00"]
    found = _make(_see(*(("a", "p", time) for time in times))).records
    assert found["trouble"].tolist() == ["", "a clock that was reset"]
    assert found["n_pictures"].tolist() == [1, 2]


def test_new_years_day_is_a_day_where_the_camera_worked() -> None:
    times = [f"2024-01-01 0{hour}:00:00" for hour in range(3)] + ["2024-01-20 10:00:00"]
    assert set(_make(_see(*(("a", "p", time) for time in times))).records["trouble"]) == {""}
    deployments = [{"site": "p", "start": "2023-12-30", "end": "2024-01-02"}]
    alone = _see(("a", "p", "2024-01-01 00:00:00"), ("a", "p", "2024-05-20 00:00:00"))
    found = _make(alone, deployments).records
    assert found["trouble"].tolist() == ["", "outside of the deployments of its place"]


def test_deployments_name_places_and_tell_what_lies_outside() -> None:
    deployments = [
        {"deploymentID": "d1", "locationName": "ridge", "deploymentStart": "2024-05-01T00:00:00Z",
         "deploymentEnd": "2024-05-10T00:00:00Z", "gap_from": "2024-05-04T00:00:00Z",
         "gap_to": "2024-05-05T00:00:00Z"},
    ]  # fmt: skip
    seen = _see(
        ("a", "d1", "2024-05-02T10:00:00Z"),
        ("a", "d1", "2024-05-04T10:00:00Z"),
        ("a", "d1", "2024-05-20T10:00:00Z"),
        ("a", "d9", "2024-05-02T10:00:00Z"),
    )
    found = _make(seen, deployments, by="place")
    assert found.records[["place", "deployment", "trouble"]].to_numpy().tolist() == [
        ["d9", "d9", "no deployment of the table"],
        ["ridge", "d1", ""],
        ["ridge", "d1", "while the camera was said not to work"],
        ["ridge", "d1", "outside of the deployments of its place"],
    ]
    said = _said(found)
    assert "1 pictures are of no deployment of the table" in said
    assert "times in UTC, and no time zone is known" in said
    zoned = _make(seen, [deployments[0] | {"timezone": "Africa/Nairobi"}])
    assert zoned.records["start"].tolist()[1] == "2024-05-02T13:00:00+03:00"


def test_pictures_without_a_zone_go_by_the_clock_of_their_deployment() -> None:
    deployments = [{"deploymentID": "d", "start": "2024-05-01T08:00:00+02:00",
                    "end": "2024-05-03T08:00:00+02:00"}]  # fmt: skip
    found = _make(_see(("a", "d", "2024-05-01 08:30:00")), deployments)
    assert found.records["trouble"].tolist() == [""]
    assert "by the same clock as the deployments'" in _said(found)


def test_occasions_hold_events_and_nothing_where_no_camera_worked() -> None:
    deployments = [
        {"site": "p", "start": "2024-05-01 00:00:00", "end": "2024-05-05 00:00:00"},
        {"site": "q", "start": "2024-05-03 00:00:00", "end": "2024-05-07 00:00:00",
         "Problem1_from": "2024-05-05 00:00:00", "Problem1_to": "2024-05-05 12:00:00"},
    ]  # fmt: skip
    seen = _see(("a", "p", "2024-05-01 10:00:00"), ("a", "p", "2024-05-02 10:00:00"),
                ("a", "q", "2024-05-06 23:00:00"), ("b", "q", "2024-05-09 00:00:00"))  # fmt: skip
    found = _make(seen, deployments)
    histories = make_histories(found, occasion_days=2)
    assert list(histories.effort.xs("p")) == [2, 2, 0]
    assert list(histories.effort.xs("q")) == [0, 2, 1.5]
    assert histories.detections["a"].fillna(-1).to_numpy().tolist() == [[1, 0, -1], [-1, 0, 1]]
    assert histories.detections["b"].fillna(-1).to_numpy().tolist() == [[0, 0, -1], [-1, 0, 0]]
    assert histories.n_without_effort == 1
    counted = make_histories(found, occasion_days=2, counts=True)
    assert list(counted.detections["a"].xs("p"))[:2] == [2, 0]
    by_station = make_histories(found, occasion_days=2, begin="station")
    assert list(by_station.effort.xs("q")) == [2, 1.5]
    assert list(by_station.detections["a"].xs("q")) == [0, 1]
    # Six days are an occasion of four and one of the two that are left.
    assert make_histories(found, occasion_days=4).effort.to_numpy().tolist() == [[4, 0], [2, 1.5]]
    # Nothing was seen where a picture is blank.
    blank = _make(seen.assign(content=["blank", *["animal"] * 3]), deployments)
    assert make_histories(blank, occasion_days=2, counts=True).detections["a"].loc["p", "1"] == 1
    with pytest.raises(SelectionError, match="--deployments FILE"):
        make_histories(_make(seen), occasion_days=2)


def test_what_no_camera_can_have_seen_is_in_no_history_and_what_began_in_time_is() -> None:
    deployments = [{
        "site": "p", "start": "2024-05-01 00:00:00", "end": "2024-05-05 00:00:00",
        "gap_from": "2024-05-02 00:00:00", "gap_to": "2024-05-03 00:00:00",
    }]  # fmt: skip
    # One in the gap alone, one that lasts into it, and one after the end.
    seen = _see(("a", "p", "2024-05-02 10:00:00"), ("b", "p", "2024-05-01 23:50:00"),
                ("b", "p", "2024-05-02 00:10:00"), ("c", "p", "2024-05-05 00:10:00"))  # fmt: skip
    found = _make(seen, deployments)
    histories = make_histories(found, occasion_days=4)
    assert [one.iloc[0, 0] for one in histories.detections.values()] == [0, 1, 0]
    assert histories.n_without_effort == 2
    assert found.timed["has_effort"].tolist() == [True, False, False]
    odd = _make(_see(("a", "p", "2024-05-02 23:50:00"), ("a", "p", "2024-05-05 00:10:00")),
                deployments, gap_minutes=6000)  # fmt: skip
    assert not odd.timed["has_effort"].any()


def test_time_since_the_record_before_is_as_events_were_made(tmp_path: Path) -> None:
    seen = _see(*(("a", "p", f"2024-05-01 22:{minute:02d}:00") for minute in (0, 4, 10)))
    for compare_to, seconds in (("last-record", "360"), ("last-independent-record", "600")):
        found = _make(seen, gap_minutes=5, compare_to=compare_to)
        write_records(tmp_path / "records.csv", found, "camtrapr")
        table = pd.read_csv(tmp_path / "records.csv", dtype=str)
        assert table["delta.time.secs"].tolist() == ["0", seconds]


def test_nothing_seen_is_no_record() -> None:
    found = _make(_see(("a", "p", "2024-05-01 10:00:00")).iloc[:0])
    assert len(found.to_frame()) == len(found.timed) == 0


def test_a_deployment_without_days_makes_no_clock_right_and_no_rate() -> None:
    deployments = [{"site": "p", "start": "1970-01-01", "end": "2024-06-01"}]
    seen = _see(("a", "p", "1970-01-02 00:00:00"), ("a", "p", "2024-05-01 10:00:00"))
    found = _make(seen, deployments)
    assert found.records["trouble"].tolist() == [
        "a deployment whose camera-days are not known", "a clock that was reset",
    ]  # fmt: skip
    assert "1 pictures are of a deployment whose camera-days are not known" in _said(found)
