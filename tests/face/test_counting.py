"""Records of a store: labels and predictions together, and what other tools are given."""

from __future__ import annotations

import csv
import functools
import json
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.cli.app import run
from bioprobe.errors import MisuseError, SelectionError, SourceError
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

LYNX = {"kingdom": "Animalia", "family": "Felidae", "genus": "Lynx", "species": "Lynx lynx"}
DEER = {"kingdom": "Animalia", "family": "Cervidae", "genus": "Capreolus",
        "species": "Capreolus capreolus"}  # fmt: skip
OTTER = {"kingdom": "Animalia", "family": "Mustelidae", "genus": "Lutra",
         "species": "Lutra lutra"}  # fmt: skip
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
def store(tmp_path: Path, make_store: Callable[..., EmbeddingStore]) -> Store:
    frame = pd.DataFrame([
        {"path": f"{folder}/{file}", "sha256": f"{n}", **NOTHING, **label, "content": content,
         "labels_from": source, "captured_at": time, "count": count, "slope": "steep"}
        for n, (folder, file, label, source, content, time, count) in enumerate(ROWS)
    ])  # fmt: skip
    made = make_store(PlainEncoder())
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


def _check_page(found: Any, tmp_path: Path, *words: str) -> None:  # noqa: ANN401 - a result
    assert found.write_page(tmp_path / "page.html") > 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(word in text for word in (*words, 'src="data:image/svg+xml;base64,')), words


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
    predicts = types.SimpleNamespace(predict=lambda _, k: str(answers) if k == 1 else "")
    monkeypatch.setattr(Store, "probe", lambda _, name: {"mine": predicts}[name])
    by_probe = store.records(probe="mine", labels=False).to_frame()
    assert by_probe["file_name"].tolist() == ["B/2.jpg"]


def test_camtrapr_gets_records_stations_operation_and_histories(
    store: Store, tmp_path: Path
) -> None:
    deployments = tmp_path / "deployments.csv"
    found = store.records(deployments=deployments, occasion_days=2)
    _check_page(found, tmp_path, "Lynx lynx", "5.0", "1.0")
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
    other = store.records(
        deployments=deployments, occasion_days=3, occasion_start="station", occasion_counts=True,
        gap_minutes=5,
    )  # fmt: skip
    assert other.histories is not None
    assert list(other.histories.detections["Lynx lynx"].xs("A"))[:1] == [2]
    assert list(other.histories.effort.xs("B")) == [2.5, 1.5, 0]
    store.records(by="slope").write(tmp_path / "records.csv", "camtrapr")
    assert {row[0] for row in _read(tmp_path / "records.csv")[1:]} == {"steep"}


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
    assert guessed["classifiedBy"].startswith("bioprobe ")
    assert not first["classifiedBy"]
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


@pytest.fixture(scope="module")
def kept_years(make_once: Callable[..., Path]) -> Path:
    """Return four years of six places, at which deer come at dusk and lynx at night."""
    return make_once("years", _fill_years)


def _fill_years(folder: Path) -> None:
    rows, deployments = [], ["deploymentID,locationName,latitude,longitude,start,end"]
    for year in range(2020, 2024):
        for place in range(6):
            name = f"P{place}-{year}"
            deployments.append(
                f"{name},P{place},47.1,8.2,{year}-05-01 12:00:00,{year}-08-09 12:00:00"
            )
            for number in range(1 + (2023 - year) * (1 + place % 2)):
                for label, hour in ((DEER, 18), (LYNX, 23))[: 1 + number % 2]:
                    time = f"{year}-06-{1 + 3 * number:02d} {hour}:{7 * place:02d}:00"
                    rows.append({**label, "deployment_id": name, "captured_at": time})
    rows.append({**FAMILY, "deployment_id": "P0-2020", "captured_at": "2020-07-01 10:00:00"})
    frame = pd.DataFrame(rows).fillna("").assign(
        path=[f"{number}.jpg" for number in range(len(rows))],
    )  # fmt: skip
    vectors = np.random.default_rng(0).normal(size=(len(frame), 16))
    bp.from_vectors(vectors, frame, model="plain", store=folder / "store")
    (folder / "years.csv").write_text("\n".join(deployments), encoding="utf-8")


@pytest.fixture
def years(kept_years: Path, tmp_path: Path) -> Store:
    shutil.copy(kept_years / "years.csv", tmp_path)
    return open_store(kept_years / "store")


def test_activity_is_by_the_clock_or_the_sun(years: Store, tmp_path: Path) -> None:
    ask = functools.partial(years.activity, deployments=tmp_path / "years.csv", resamples=100)
    found = ask()
    _check_page(found, tmp_path, "Dhat1", "18:")
    assert "overlap of" in _said(found)
    assert "overlap of" not in (tmp_path / "page.html").read_text()
    assert [one.taxon for one in found.densities] == ["Capreolus capreolus", "Lynx lynx"]
    assert [round(one.peak) for one in found.densities] == [18, 23]
    assert found.to_frame().columns.tolist() == ["taxon", "hour", "n_records", "share", "low",
                                                 "high"]  # fmt: skip
    assert found.overlaps[0].value < 0.5
    assert "1 taxon has fewer than 10 records and no curve: Cervidae (1)" in _said(found)
    assert "are rough" in _said(found)
    other = ask(taxon="lynx lynx", seed=1)
    assert [one.taxon for one in other.densities] == ["Lynx lynx"]
    assert (other.densities[0].low != found.densities[1].low).any()
    with pytest.raises(MisuseError, match="take the time zone"):
        ask(hours="sun")
    pytest.importorskip("astral")
    by_sun = ask(hours="sun", time_zone="Europe/Zurich")
    # The sun sets after nine in June: six is well before it.
    assert 15 < by_sun.densities[0].peak < 16.5
    assert list(by_sun.sun) == [6, 18]
    average = ask(hours="sun-average", time_zone="Europe/Zurich")
    assert average.densities[0].peak == pytest.approx(18, abs=0.5)
    polar = (tmp_path / "years.csv").read_text().replace(",47.1,", ",78.2,")
    (tmp_path / "polar.csv").write_text(polar, encoding="utf-8")
    with pytest.raises(SelectionError, match=r"no taxon has 10 records.*the sun did not rise"):
        ask(deployments=tmp_path / "polar.csv", hours="sun", time_zone="Arctic/Longyearbyen")


def test_richness_leaves_out_what_is_known_above_the_rank_alone(
    years: Store, tmp_path: Path
) -> None:
    found = years.richness(deployments=tmp_path / "years.csv")
    assert (found.chao1.observed, found.chao1.once) == (2, 0)
    assert found.to_frame()["n_places"].tolist() == [1, 2, 3, 4, 5, 6]
    assert "1 records that no species is known of" in _said(found)
    with pytest.raises(SelectionError, match="no record with a time is of 'Lynx rufus'"):
        years.richness(taxon="Lynx rufus")


def test_richness_says_which_single_records_nobody_confirmed(store: Store, tmp_path: Path) -> None:
    answers = _write_answers(tmp_path / "answers.csv", ("B/2.jpg", DEER, 0.9))
    assert "1 taxon has a single record" in _said(store.richness(answers, taxon="Lynx lynx"))
    guessed = _said(store.richness(_write_answers(tmp_path / "one.csv", ("B/2.jpg", OTTER, 0.9))))
    assert "of these are answers that nobody confirmed" in guessed


def test_richness_is_apart_by_group_and_compared_at_as_many_places(
    years: Store, tmp_path: Path
) -> None:
    deployments = pd.read_csv(tmp_path / "years.csv")
    deployments["habitat"] = np.where(deployments["locationName"].isin(["P0", "P1"]), "wet", "dry")
    deployments.to_csv(tmp_path / "habitats.csv", index=False)
    found = years.richness(deployments=tmp_path / "habitats.csv", group="habitat")
    assert [(one.name, one.chao1.observed, len(one.accumulation.n_places))
            for one in found.groups] == [("dry", 2, 4), ("wet", 2, 2)]  # fmt: skip
    frame = found.to_frame()
    assert frame.columns[0] == "habitat"
    assert frame.groupby("habitat")["n_places"].max().to_dict() == {"(all)": 6, "dry": 4, "wet": 2}
    assert "compare groups at 2 places" in _said(found)
    _check_page(found, tmp_path, "By habitat", "in 2 places", "Chao1", "What to keep in mind")
    by_year = years.richness(group="year", taxon="Lynx lynx")
    assert by_year.counts["taxon"].tolist() == ["Lynx lynx"]
    assert [one.name for one in by_year.groups] == ["2020", "2021", "2022"]
    by_column = years.richness(group="deployment_id")
    assert {len(one.accumulation.n_places) for one in by_column.groups} == {1}
    with pytest.raises(SelectionError, match="habitat"):
        years.richness(group="habitat")


def test_places_of_sensitive_taxa_go_out_less_exactly(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("Lynx\n", encoding="utf-8")
    # C stands where A does, and would give it away; B is elsewhere.
    with (tmp_path / "deployments.csv").open("a", encoding="utf-8") as stream:
        stream.write("C,2024-05-03 12:00:00,2024-05-07 12:00:00,,,47.1234567,8.04\n")
    text = (tmp_path / "deployments.csv").read_text().replace(",47,8\n", ",47.1234567,8.04\n")
    (tmp_path / "deployments.csv").write_text(text)
    ask = functools.partial(store.records, deployments=tmp_path / "deployments.csv",
                            occasion_days=3)  # fmt: skip

    def read(found: Any, form: str, name: str) -> list[list[str]]:  # noqa: ANN401 - a result
        said = "\n".join(map(str, found.write(tmp_path / name, form)))
        assert ("rounded to" in said) == (found.grid and name != "plain")
        table = _read(tmp_path / name / ("stations.csv" if form == "camtrapr" else "Lynx_lynx.csv"))
        place = table[0].index("latitude")
        return [row[place : place + 2] for row in table[1:]]

    rough, exact = ["47.1", "8"], ["47.1234567", "8.04"]
    secret = ask(sensitive=tmp_path / "secret.txt")
    assert read(secret, "camtrapr", "rough") == [rough, ["47.1", "8.1"], rough]
    assert read(secret, "unmarked", "u") == [rough, ["47.1", "8.1"], rough]
    fine = ask(sensitive=tmp_path / "secret.txt", generalise="0.01")
    assert read(fine, "camtrapr", "fine")[0] == ["47.12", "8.04"]
    assert read(ask(), "unmarked", "plain") == [exact, ["47.1", "8.1"], exact]
    with pytest.raises(MisuseError, match="only where places are generalised"):
        ask(sensitive=tmp_path / "secret.txt", generalise="none")


def test_date_and_time_may_stand_in_two_columns_and_regions_are_counted(
    make_store: Callable[..., EmbeddingStore],
) -> None:
    region = "0.1000,0.1000,0.2000,0.2000"
    frame = pd.DataFrame(
        [
            {"path": "A/1.jpg", "sha256": "a", "image_region": region, **LYNX},
            {
                "path": "A/1.jpg",
                "sha256": "a",
                "image_region": region.replace("0.2", "0.3"),
                **LYNX,
            },
            {"path": "A/2.jpg", "sha256": "b", "image_region": "", **LYNX},
        ]
    ).assign(Date="13/05/2024", Time=["07:00:00", "07:00:00", "07:01:00"], howMany=[1, 1, 4])
    made = make_store(PlainEncoder())
    made.append(frame, np.random.default_rng(0).normal(size=(3, 16)))
    found = open_store(made.folder).records(gap_minutes=0.5).to_frame()
    assert found["start"].tolist() == ["2024-05-13T07:00:00", "2024-05-13T07:01:00"]
    assert found["count"].tolist() == [2, 4]


def test_trends_are_by_camera_days_within_places(years: Store, tmp_path: Path) -> None:
    pytest.importorskip("statsmodels")
    found = years.trend(deployments=tmp_path / "years.csv")
    _check_page(found, tmp_path, "rate ratio", "Lynx lynx, 2023")
    frame = found.to_frame()
    assert frame["taxon"].tolist() == ["Capreolus capreolus", "Lynx lynx"]
    assert (frame["high"] < 1).all()
    assert frame["camera_days"].tolist() == [2400, 2400]
    assert "no trend of Cervidae is told from 1 sites with records" in _said(found)
    assert found.trends[0].years["rate"].iloc[0] == 100 * found.trends[0].years[
        "n_records"].iloc[0] / 600  # fmt: skip
    with pytest.raises(SelectionError, match="no trend of Cervidae is told"):
        years.where("genus == ''").trend(deployments=tmp_path / "years.csv")
