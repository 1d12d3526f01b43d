"""When cameras worked: cases whose days can be counted on fingers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.counting.clocks import read_moments
from bioprobe.counting.effort import Effort, build_effort, read_effort
from bioprobe.errors import MisuseError, SourceError

NOW = np.datetime64("2025-06-01T00:00:00", "s")


def _build(rows: list[dict[str, str]], **given: object) -> Effort:
    return build_effort(pd.DataFrame(rows).fillna(""), now=NOW, **given)  # type: ignore[arg-type]


def _said(effort: Effort) -> str:
    return "\n".join(map(str, effort.notes))


def test_days_without_a_time_begin_and_end_at_noon_and_failures_take_whole_days() -> None:
    effort = _build([{
        "Station": "A", "Setup_date": "2024-01-01", "Retrieval_date": "2024-01-11",
        "Problem1_from": "2024-01-03", "Problem1_to": "2024-01-04",
    }])  # fmt: skip
    assert effort.days == 8
    assert effort.deployments["lost_days"].tolist() == [2]
    starts = effort.stints["start"].tolist()
    assert starts == [pd.Timestamp("2024-01-01 12:00"), pd.Timestamp("2024-01-05")]
    assert "2.0 camera-days of 1 are gaps or failures" in _said(effort)
    names = np.array(["A", "A", "A"], dtype=object)
    times = np.array(["2024-01-01T09:00", "2024-01-04T23:00", "2024-01-05T01:00"], "datetime64[s]")
    assert effort.fails(names, times).tolist() == [False, True, False]


def test_a_failure_with_times_takes_these_and_one_without_an_end_takes_the_rest() -> None:
    base = {"deploymentID": "d", "deploymentStart": "2024-01-01T00:00:00Z",
            "deploymentEnd": "2024-01-11T00:00:00Z"}  # fmt: skip
    timed = base | {"gap_from": "2024-01-02T06:00:00Z", "gap_to": "2024-01-02T18:00:00Z"}
    assert _build([timed]).days == 9.5
    broken = _build([base | {"gap_from": "2024-01-06T00:00:00Z", "gap_to": ""}])
    assert broken.days == 5
    assert "one end only" in _said(broken)


def test_days_are_counted_by_place_month_year_and_any_column() -> None:
    effort = _build([
        {"site": "A", "start": "2023-12-30", "end": "2024-01-02", "habitat": "forest"},
        {"site": "B", "start": "2024-01-01", "end": "2024-01-05", "habitat": "field"},
    ])  # fmt: skip
    assert effort.count_days()["camera_days"].tolist() == [7]
    months = effort.count_days(["place", "month"])
    assert months.values.tolist() == [
        ["A", "2023-12", 1.5, 1, 1], ["A", "2024-01", 1.5, 1, 1], ["B", "2024-01", 4.0, 1, 1],
    ]  # fmt: skip
    assert effort.count_days("year")["camera_days"].tolist() == [1.5, 5.5]
    assert effort.count_days(["year", "month"])["camera_days"].sum() == 7
    assert effort.count_days("habitat").values.tolist() == [
        ["field", 4.0, 1, 1], ["forest", 3.0, 1, 1],
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"no column 'biome'.*habitat.*year"):
        effort.count_days("biome")


def test_rows_of_one_deployment_count_once_and_cameras_at_one_place_each() -> None:
    twice = _build([
        {"deploymentID": "d", "start": "2024-01-01", "end": "2024-01-05"},
        {"deploymentID": "d", "start": "2024-01-03", "end": "2024-01-09"},
    ])  # fmt: skip
    assert twice.days == 8
    assert "2.0 days count once: d" in _said(twice)
    both = _build([
        {"Station": "S", "Camera": "1", "Setup_date": "2024-01-01", "Retrieval_date": "2024-01-05"},
        {"Station": "S", "Camera": "2", "Setup_date": "2024-01-03", "Retrieval_date": "2024-01-09"},
    ])  # fmt: skip
    assert both.days == 10
    assert both.deployments["deployment"].tolist() == ["S__CAM_1", "S__CAM_2"]
    assert "overlap another at the same place" in _said(both)


@pytest.mark.parametrize(
    ("start", "end", "said", "days"),
    [
        ("1970-01-01", "2024-01-05", "a start before 1990", 0),
        ("2031-01-01", "2031-01-05", "a start in the future", 0),
        ("2024-01-05", "2024-01-01", "an end before the start", 0),
        ("", "2024-01-01", "no start", 0),
        ("soon", "2024-01-01", "no time: 'soon'", 0),
        ("2024-01-01", "", "no end and no pictures", 0),
        ("2025-05-30", "2031-01-01", "end in the future", 1.5),
    ],
)
def test_a_deployment_that_cannot_be_is_said_and_kept(
    start: str, end: str, said: str, days: float
) -> None:
    effort = _build([{"deploymentID": "d", "start": start, "end": end}])
    assert effort.deployments["deployment"].tolist() == ["d"]
    assert effort.days == days
    assert said in _said(effort)
    assert "d" in _said(effort)


def test_a_camera_without_an_end_counts_until_its_last_picture() -> None:
    span = (np.datetime64("2024-01-02"), np.datetime64("2024-01-03T12:00:00"))
    effort = _build([{"site": "A", "start": "2024-01-01", "end": ""}], seen={"a": span})
    assert effort.days == 2
    assert "count until their last picture: A" in _said(effort)


def test_a_picture_finds_its_deployment_by_its_name_or_place_and_time() -> None:
    effort = _build([
        {"deploymentID": "d1", "locationID": "L1", "locationName": "ridge",
         "start": "2024-01-01", "end": "2024-01-05"},
        {"deploymentID": "d2", "locationID": "L1", "locationName": "ridge",
         "start": "2024-02-01", "end": "2024-02-05"},
    ])  # fmt: skip
    names = np.array(["d1", "Ridge", "ridge", "L1", "d1", "?"], dtype=object)
    times = np.array(["2024-01-02", "2024-01-05T23:00", "2024-02-03", "2024-01-02", "2024-02-03",
                      "2024-01-02"], dtype="datetime64[s]")  # fmt: skip
    found = effort.find(names, times)
    assert found.tolist() == ["d1", "d1", "d2", "d1", "", ""]


def test_an_offset_is_turned_into_the_zone_and_stays_without_one() -> None:
    row = {"deploymentID": "d", "start": "2024-06-30T23:00:00Z", "end": "2024-07-02T23:00:00Z"}
    assert _build([row]).count_days("month")["month"].tolist() == ["2024-06", "2024-07"]
    assert _build([row], time_zone="Europe/Zurich").count_days("month")["month"].tolist() == [
        "2024-07"
    ]
    own = _build([row | {"timezone": "+01:00"}], time_zone="America/Lima")
    assert own.count_days("month")["month"].tolist() == ["2024-07"]
    with pytest.raises(MisuseError, match="no time zone 'Zurich'"):
        _build([row | {"timezone": "Zurich"}])


def test_hours_that_come_twice_or_never_are_told() -> None:
    found = read_moments(
        np.array(["2024-03-31 02:30", "2024-10-27 02:30", "2024-07-01 12:00", "never"], object),
        "Europe/Zurich",
    )
    assert found.is_skipped.tolist() == [True, False, False, False]
    assert found.is_twice.tolist() == [False, True, False, False]
    assert found.instants.astype(str).tolist() == [
        "2024-03-31T01:00:00", "2024-10-27T00:30:00", "2024-07-01T10:00:00", "NaT",
    ]  # fmt: skip
    assert found.unread == {"never": 1}


def test_an_offset_is_how_far_a_clock_is_ahead_of_utc() -> None:
    written = np.array(["2024-05-13T10:00:00-03:00", "2024-05-13 10:00:00+0530"], object)
    for zone, local in (("", "2024-05-13T10:00:00"), ("Europe/Zurich", "2024-05-13T15:00:00")):
        found = read_moments(written, zone)
        assert found.instants.astype(str).tolist() == ["2024-05-13T13:00:00", "2024-05-13T04:30:00"]
        assert str(found.local[0]) == local


def test_a_table_without_a_camera_or_a_beginning_is_refused() -> None:
    with pytest.raises(SourceError, match=r"deploymentStart.*it has site, when"):
        _build([{"site": "A", "when": "2024"}])


def test_wildlife_insights_says_which_cameras_failed() -> None:
    effort = _build([{
        "deployment_id": "d", "placename": "p", "start_date": "2024-01-01 10:00:00",
        "end_date": "2024-01-03 10:00:00", "camera_functioning": "Vandalism/Theft",
    }])  # fmt: skip
    assert effort.days == 2
    assert "said to have failed" in _said(effort)


def test_a_table_is_read_from_a_file_or_a_package(tmp_path: Path) -> None:
    text = "deploymentID,deploymentStart,deploymentEnd\nd,2024-01-01T00:00:00Z,2024-01-03T00:00:00Z"
    (tmp_path / "deployments.csv").write_text(text, encoding="utf-8")
    assert read_effort(tmp_path).days == read_effort(tmp_path / "deployments.csv").days == 2


def test_sessions_of_a_station_are_found_by_time() -> None:
    effort = _build([
        {"Station": "S", "session": f"{n}", "Setup_date": f"202{n}-01-01",
         "Retrieval_date": f"202{n}-01-05"} for n in (3, 4)
    ])  # fmt: skip
    times = np.array(["2023-01-02", "2024-01-02", "2025-01-02"], dtype="datetime64[s]")
    found = effort.find(np.array(["S", "s", "S"], dtype=object), times)
    assert found.tolist() == ["S__SESS_3", "S__SESS_4", ""]
    assert effort.count_days("session").to_numpy().tolist() == [["3", 4, 1, 1], ["4", 4, 1, 1]]
    assert effort.count_days(["site", "year"]).columns.tolist()[:2] == ["site", "year"]


def test_columns_say_together_whether_the_day_stands_first() -> None:
    # The stations of camtrapR's own example; set up in April, by the dates of retrieval.
    effort = _build([
        {"Station": "A", "Setup_date": "02/04/2009", "Retrieval_date": "14/05/2009"},
        {"Station": "C", "Setup_date": "04/04/2009", "Retrieval_date": "17/05/2009",
         "Problem1_from": "12/05/2009", "Problem1_to": "17/05/2009"},
    ])  # fmt: skip
    assert effort.count_days("place")["camera_days"].tolist() == [42, 37.5]


def test_a_camera_that_worked_beside_one_that_failed_saw_what_it_saw() -> None:
    moments = {"start": np.datetime64("2024-01-02", "s"), "end": np.datetime64("2024-01-04", "s")}
    gaps = pd.DataFrame([{"deployment": one, **moments} for one in ("A", "B")])
    stints = gaps[gaps["deployment"] == "B"]
    names = np.array(["A", "B", "A"], dtype=object)
    local = np.array(["2024-01-03", "2024-01-03", "2024-01-05"], dtype="datetime64[s]")
    assert Effort(pd.DataFrame(), stints, gaps).fails(names, local).tolist() == [True, False, False]
