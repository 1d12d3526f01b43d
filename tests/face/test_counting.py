"""Records of a store: labels and predictions together, and what other tools are given."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.cli.app import run
from bioprobe.errors import MisuseError, SourceError
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

LYNX = {"kingdom": "Animalia", "family": "Felidae", "genus": "Lynx", "species": "Lynx lynx"}
DEER = {"kingdom": "Animalia", "family": "Cervidae", "genus": "Capreolus",
        "species": "Capreolus capreolus"}  # fmt: skip
FAMILY = {"kingdom": "Animalia", "family": "Cervidae"}
NOTHING = dict.fromkeys(LYNX, "")
# Folder, file, label, who gave it, content, time, count.
ROWS = (
    ("A", "1.jpg", LYNX, "", "", "2024-05-01 22:00:00", 1),
    ("A", "2.jpg", LYNX, "", "", "2024-05-01 22:10:00", 2),
    ("A", "3.jpg", DEER, "machine: speciesnet", "", "2024-05-03 06:00:00", 1),
    ("A/100RECNX", "4.jpg", NOTHING, "", "blank", "2024-05-03 07:00:00", 0),
    ("B", "1.jpg", FAMILY, "", "", "2024-05-04 12:00:00", 3),
    ("B", "2.jpg", NOTHING, "", "", "2024-05-05 12:00:00", 0),
    ("B", "3.jpg", NOTHING, "", "human", "2024-05-05 13:00:00", 0),
)
DEPLOYMENTS = (
    "Station,Setup_date,Retrieval_date,Problem1_from,Problem1_to,lat,lon\n"
    "A,2024-05-01 12:00:00,2024-05-07 12:00:00,2024-05-02 00:00:00,2024-05-03 00:00:00,47,8\n"
    "B,2024-05-03 12:00:00,2024-05-07 12:00:00,,,47.1,8.1\n"
)


@pytest.fixture
def store(
    tmp_path: Path, make_store: Callable[..., EmbeddingStore], make_encoder: type[PlainEncoder]
) -> Store:
    frame = pd.DataFrame([
        {"path": f"{folder}/{file}", "sha256": f"{n}", **NOTHING, **label, "content": content,
         "labels_from": source, "captured_at": time, "count": count, "slope": "steep"}
        for n, (folder, file, label, source, content, time, count) in enumerate(ROWS)
    ])  # fmt: skip
    made = make_store(make_encoder())
    made.append(frame, np.random.default_rng(0).normal(size=(len(frame), 16)))
    (tmp_path / "deployments.csv").write_text(DEPLOYMENTS, encoding="utf-8")
    return open_store(made.folder)


def _write_answers(path: Path, *rows: tuple[str, dict[str, str], float]) -> Path:
    frame = pd.DataFrame(
        [{"file_name": name, **NOTHING, **label, "score": score} for name, label, score in rows]
    )
    frame.to_csv(path, index=False)
    return path


def _read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def _said(found: Any) -> str:  # noqa: ANN401 - a result
    return "\n".join(map(str, found.notes))


def test_labels_make_records_at_any_rank(store: Store) -> None:
    found = store.records()
    assert found.to_frame()[["taxon", "place", "count", "n_pictures"]].values.tolist() == [
        ["Lynx lynx", "A", 2, 2], ["Capreolus capreolus", "A", 1, 1], ["Cervidae", "B", 3, 1],
        ["human", "B", 1, 1],
    ]  # fmt: skip
    said = _said(found)
    assert "1 blank images are no records" in said
    assert "1 images are known above species only" in said
    assert "1 labels were given by a program" in said
    assert "1 images have no label" in said
    families = store.records(level="family", by="slope").to_frame()
    assert families["taxon"].tolist() == ["Felidae", "Cervidae", "Cervidae", "human"]


def test_a_label_wins_over_a_prediction_unless_a_program_gave_it(
    store: Store, tmp_path: Path
) -> None:
    answers = _write_answers(
        tmp_path / "answers.csv", ("A/1.jpg", DEER, 0.9), ("A/3.jpg", LYNX, 0.8),
        ("B/2.jpg", LYNX, 0.4), ("A/100RECNX/4.jpg", DEER, 0.7),
    )  # fmt: skip
    both = store.records(answers).to_frame()
    its = both.set_index("file_name")
    assert its["taxon"].to_dict() == {
        "A/1.jpg": "Lynx lynx", "A/3.jpg": "Lynx lynx", "B/1.jpg": "Cervidae",
        "B/2.jpg": "Lynx lynx", "B/3.jpg": "human",
    }  # fmt: skip
    assert its["source"].tolist() == ["label", "prediction", "label", "prediction", "label"]
    assert its.loc["A/3.jpg", "score"] == 0.8
    sure = store.records(answers, min_score=0.5)
    assert "B/2.jpg" not in set(sure.to_frame()["file_name"])
    assert "1 predictions below a score of 0.5" in _said(sure)
    alone = store.records(answers, labels=False).to_frame()
    # The picture that is said to be blank is, whatever is nearest to it.
    assert alone["taxon"].tolist() == ["Capreolus capreolus", "Lynx lynx", "Lynx lynx"]
    with pytest.raises(MisuseError, match="--min-score"):
        store.records(min_score=0.5)


def test_zero_shot_and_probes_are_asked(store: Store, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    answers = _write_answers(tmp_path / "answers.csv", ("B/2.jpg", DEER, 0.9))
    asked: list[str] = []

    def answer(_: Store, level: str, *, taxa: str, k: int) -> str:
        asked.append(f"{level} {taxa} {k}")
        return str(answers)

    monkeypatch.setattr(Store, "zeroshot", answer)
    found = store.records(zeroshot=True, level="genus", taxa="list.csv").to_frame()
    assert asked == ["genus list.csv 1"]
    assert found["taxon"].tolist() == ["Lynx", "Capreolus", "Cervidae", "Capreolus", "human"]


def test_camtrapr_gets_records_stations_operation_and_histories(
    store: Store, tmp_path: Path
) -> None:
    deployments = tmp_path / "deployments.csv"
    found = store.records(deployments=deployments, occasion_days=2)
    said = found.write(tmp_path / "out", "camtrapr")
    assert "8 files" in str(said[-1])
    table = _read(tmp_path / "out" / "records.csv")
    assert table[0][:7] == ["Station", "Species", "n", "DateTimeOriginal", "Date", "Time",
                            "delta.time.secs"]  # fmt: skip
    assert table[2][:7] == ["A", "Lynx lynx", "2", "2024-05-01 22:00:00", "2024-05-01", "22:00:00",
                            "0"]  # fmt: skip
    stations = _read(tmp_path / "out" / "stations.csv")
    assert stations[1] == ["A", "2024-05-01 12:00:00", "2024-05-07 12:00:00", "47", "8",
                           "2024-05-02 00:00:00", "2024-05-03 00:00:00"]  # fmt: skip
    operation = _read(tmp_path / "out" / "camera_operation.csv")
    assert operation[0][:3] == ["", "2024-05-01", "2024-05-02"]
    assert operation[1] == ["A", "0.5", "0", "1", "1", "1", "1", "0.5"]
    assert operation[2] == ["B", "NA", "NA", "0.5", "1", "1", "1", "0.5"]
    history = _read(tmp_path / "out" / "detection_history" / "Lynx_lynx.csv")
    assert history == [["", "o1", "o2", "o3", "o4"], ["A", "1", "0", "0", "0"],
                       ["B", "NA", "0", "0", "0"]]  # fmt: skip
    assert _read(tmp_path / "out" / "effort.csv")[1] == ["A", "0.5", "2", "2", "0.5"]
    store.records(by="slope").write(tmp_path / "records.csv", "camtrapr")
    assert {row[0] for row in _read(tmp_path / "records.csv")[1:]} == {"steep"}


def test_time_since_the_record_before_is_as_events_were_made(store: Store, tmp_path: Path) -> None:
    for compare_to, seconds in (("last-record", "600"), ("last-independent-record", "600")):
        found = store.records(gap_minutes=5, compare_to=compare_to)
        found.write(tmp_path / f"{compare_to}.csv", "camtrapr")
        table = _read(tmp_path / f"{compare_to}.csv")
        lynx = [row for row in table if row[1] == "Lynx lynx"]
        assert [row[6] for row in lynx] == ["0", seconds]


def test_unmarked_gets_a_table_a_taxon(store: Store, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="--occasion-days"):
        store.records(form="unmarked")
    found = store.records(deployments=tmp_path / "deployments.csv", occasion_days=3,
                          form="unmarked")  # fmt: skip
    found.write(tmp_path / "unmarked")
    assert _read(tmp_path / "unmarked" / "Lynx_lynx.csv") == [
        ["site", "y.1", "y.2", "y.3", "latitude", "longitude", "effort.1", "effort.2", "effort.3"],
        ["A", "1", "0", "0", "47", "8", "1.5", "3", "0.5"],
        ["B", "0", "0", "0", "47.1", "8.1", "0.5", "3", "0.5"],
    ]
    with pytest.raises(MisuseError, match="a new folder"):
        found.write(tmp_path / "one.csv")


def test_camtrap_dp_gets_observations_of_events(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="4 records have none; name the zone with --time-zone"):
        store.records().write(tmp_path / "observations.csv", "camtrap-dp")
    answers = _write_answers(tmp_path / "answers.csv", ("B/2.jpg", DEER, 0.75))
    found = store.records(answers, time_zone="Europe/Zurich")
    found.write(tmp_path / "observations.csv", "camtrap-dp")
    rows = [dict(zip(_read(tmp_path / "observations.csv")[0], row, strict=True))
            for row in _read(tmp_path / "observations.csv")[1:]]  # fmt: skip
    assert {row["observationLevel"] for row in rows} == {"event"}
    assert len({row["observationID"] for row in rows}) == len(rows) == 5
    first = rows[0]
    assert (first["deploymentID"], first["eventStart"], first["eventEnd"], first["count"]) == (
        "A", "2024-05-01T22:00:00+02:00", "2024-05-01T22:10:00+02:00", "2",
    )  # fmt: skip
    guessed = next(row for row in rows if row["classificationProbability"])
    assert (guessed["classificationMethod"], guessed["classificationProbability"]) == (
        "machine", "0.75",
    )  # fmt: skip
    human = next(row for row in rows if row["observationType"] == "human")
    assert human["scientificName"] == "Homo sapiens"


@pytest.mark.shared
def test_the_schema_takes_observations_of_events(
    store: Store, tmp_path: Path, shared_dir: Path
) -> None:
    frictionless = pytest.importorskip("frictionless")
    store.records(time_zone="+01:00").write(tmp_path / "observations.csv", "camtrap-dp")
    schemas = shared_dir / "data" / "schemas" / "camtrap-dp-1.0.2"
    schema = json.loads((schemas / "observations-table-schema.json").read_text())
    schema.pop("foreignKeys", None)
    resource = frictionless.Resource.from_descriptor(
        {"name": "observations", "path": "observations.csv", "schema": schema,
         "type": "table"}, basepath=str(tmp_path),
    )  # fmt: skip
    assert resource.validate().flatten(["title", "message"]) == []


def test_the_command_writes_a_table_or_what_another_tool_reads(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["records", "--store", str(store.folder), "--deployments",
            str(tmp_path / "deployments.csv")]  # fmt: skip
    assert run([*base, "--output", str(tmp_path / "plain.csv")]) == 0
    assert len(_read(tmp_path / "plain.csv")) == 5
    assert run([*base, "--as", "camtrapr", "--output", str(tmp_path / "folder")]) == 0
    assert (tmp_path / "folder" / "stations.csv").is_file()
    assert run([*base, "--as", "camtrapr"]) == 2
    assert "needs --output TARGET" in capsys.readouterr().err
