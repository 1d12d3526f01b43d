"""The API writes what people say and know, and does long work as jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

import bioprobe as bp
from bioprobe.progress import Step
from bioprobe.result import Table
from bioprobe.store import EmbeddingStore
from bioprobe.web.jobs import Jobs
from bioprobe.web.problems import Refusal
from tests.web.conftest import ask_server

if TYPE_CHECKING:
    from collections.abc import Sequence


def wait_for(asks: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    """Return how a job is once it has ended."""
    while True:
        state: dict[str, Any] = asks.get(f"/api/v1/jobs/{job['id']}").json()
        if state["status"] not in {"queued", "running"}:
            return state
        time.sleep(0.01)


def test_an_annotation_is_written_once_and_counts_at_once(families: EmbeddingStore) -> None:
    asks = ask_server(families)
    said = {"id": "a" * 32, "row": 3, "level": "family", "value": "Muridae", "score": 0.25}
    first = asks.post("/api/v1/annotations", json={"by": "anna", "annotations": [said]})
    again = asks.post("/api/v1/annotations", json={"by": "anna", "annotations": [said]})
    assert [one.json()["rows"][0]["is_new"] for one in (first, again)] == [True, False]
    assert asks.get("/api/v1/images/3").json()["rows"][0]["family"] == "Muridae"
    kept = bp.open(families.folder).annotations().to_frame()
    assert kept[["id", "value", "by", "score"]].to_numpy().tolist() == [
        ["a" * 32, "Muridae", "anna", 0.25]
    ]
    other = {**said, "row": 4}
    assert asks.post("/api/v1/annotations", json={"by": "b", "annotations": [other]}).is_error
    taken = asks.post("/api/v1/annotations/retract", json={"by": "anna", "ids": ["a" * 32]})
    assert taken.status_code == 200
    assert asks.get("/api/v1/images/3").json()["rows"][0]["family"] == "Felidae"
    assert asks.get("/api/v1/annotations?standing=true").json()["n_annotations"] == 0
    assert "Muridae,is,anna" in asks.get("/api/v1/annotations.csv").text


def test_annotations_are_listed_page_by_page_from_the_newest(families: EmbeddingStore) -> None:
    asks = ask_server(families)
    said = [{"row": row, "level": "family", "value": "Muridae", "id": f"{row:032x}"}
            for row in range(5)]  # fmt: skip
    asks.post("/api/v1/annotations", json={"by": "anna", "annotations": said})
    seen: list[int] = []
    before = 5
    while before:
        page = asks.get("/api/v1/annotations", params={"limit": 2, "before": before}).json()
        seen += [one["row"] for one in page["rows"]]
        before = page["next"] or 0
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_a_review_shows_learns_and_takes_back(families: EmbeddingStore) -> None:
    asks = ask_server(families)
    settings = {"by": "anna", "level": "family", "batch": 3, "method": "centroid",
                "mix": {"margin": 0.5, "audit": 0.5}}  # fmt: skip
    begun = asks.post("/api/v1/reviews", json=settings).json()
    assert asks.post("/api/v1/reviews", json=settings).json()["id"] == begun["id"]
    other = asks.post("/api/v1/reviews", json={**settings, "by": "ben"}).json()
    assert other["id"] != begun["id"]
    at = f"/api/v1/reviews/{begun['id']}"
    shown = asks.post(f"{at}/next", json={"n": 2}).json()["rows"]
    assert len({one["row"] for one in shown}) == 2
    answers = [{"row": one["row"], "value": one["suggestion"] or "Muridae"} for one in shown]
    written = asks.post(f"{at}/answers", json={"answers": answers}).json()["rows"]
    assert [one["by"] for one in written] == ["anna", "anna"]
    figures = {one["figure"]: one["value"] for one in asks.get(f"{at}/progress").json()["rows"]}
    assert str(figures["checked by people"]) == "2"
    assert len(asks.post(f"{at}/undo").json()["rows"]) == 2
    assert asks.post(f"{at}/skip", json={"rows": [shown[0]["row"]]}).status_code == 200
    assert asks.post(f"/api/v1/reviews/{'0' * 32}/undo").status_code == 404


def test_a_taxon_that_is_added_is_asked_at_once(families: EmbeddingStore) -> None:
    asks = ask_server(families)
    body = {"name": "Ursidae", "common": "bears",
            "lineage": "Animalia,Chordata,Mammalia,Carnivora,Ursidae"}  # fmt: skip
    assert asks.post("/api/v1/taxa", json=body).status_code == 200
    found = asks.get("/api/v1/taxa", params={"like": "BEAR"}).json()
    assert (found["n_taxa"], found["rows"][0]["family"]) == (1, "Ursidae")
    assert asks.get("/api/v1/taxa", params={"limit": 2}).json()["next"] == 2
    assert asks.delete("/api/v1/taxa/Ursidae").status_code == 200
    assert asks.get("/api/v1/taxa", params={"like": "bear"}).json()["n_taxa"] == 0
    assert asks.delete("/api/v1/taxa/Ursidae").status_code == 422


def test_long_work_is_a_job_whose_answer_waits(families: EmbeddingStore) -> None:
    asks = ask_server(families)
    body = {"method": "kmeans", "n_clusters": 5, "draws": 0, "name": "kind"}
    job = asks.post("/api/v1/jobs/cluster", params={"id": "b" * 32}, json=body)
    assert (job.status_code, job.json()["id"]) == (202, "b" * 32)
    again = asks.post("/api/v1/jobs/cluster", params={"id": "b" * 32}, json=body).json()
    assert again["id"] == "b" * 32
    with asks.stream("GET", f"/api/v1/jobs/{'b' * 32}/events") as events:
        lines = [line for line in events.iter_lines() if line.startswith("data: ")]
    assert json.loads(lines[-1][6:])["status"] == "done"
    # Who comes back later finds the same.
    assert len(asks.get("/api/v1/jobs").json()["jobs"]) == 1
    page = asks.get(f"/api/v1/jobs/{'b' * 32}/rows", params={"limit": 50}).json()
    rest = asks.get(f"/api/v1/jobs/{'b' * 32}/rows", params={"after": page["next"]}).json()
    assert (len(page["rows"]), len(rest["rows"]), rest["next"]) == (50, 30, None)
    assert asks.get("/api/v1/clusters").json()["rows"][0]["name"] == "kind"
    chosen = asks.get("/api/v1/images", params={"where": "kind == '1'"}).json()
    assert 0 < chosen["n_images"] < 80
    assert asks.get("/api/v1/maps/nothing").status_code == 404


def test_a_probe_is_fitted_and_asked(families: EmbeddingStore) -> None:
    asks = ask_server(families)
    body = {"kind": "centroid", "level": "family", "split": "none", "name": "by-mean"}
    assert wait_for(asks, asks.post("/api/v1/jobs/fit", json=body).json())["status"] == "done"
    assert asks.get("/api/v1/probes").json()["rows"][0]["name"] == "by-mean"
    rows = asks.post("/api/v1/probes/by-mean/predict", json={"rows": [0], "k": 1}).json()["rows"]
    assert rows[0]["family"] == "Felidae"
    done = wait_for(asks, asks.post("/api/v1/jobs/predict/by-mean", json={"k": 1}).json())
    assert done["n_rows"] == 80
    table = asks.get(f"/api/v1/jobs/{done['id']}/table.csv").text
    assert len(table.splitlines()) == 81
    assert asks.post("/api/v1/probes/none/predict", json={}).status_code == 404
    wrong = {"kind": "no such kind", "level": "family", "split": "none"}
    failed = wait_for(asks, asks.post("/api/v1/jobs/fit", json=wrong).json())
    assert (failed["status"], failed["problem"]["status"]) == ("failed", 422)
    nothing = asks.get(f"/api/v1/jobs/{failed['id']}/rows")
    assert (nothing.status_code, nothing.json()["type"]) == (409, "/api/v1/problems#no-table")


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("post", "annotations"), ("post", "annotations/retract"), ("post", "taxa"),
        ("delete", "taxa/Felidae"), ("post", "reviews"), ("post", "jobs/cluster"),
        ("post", "jobs/map"), ("post", "jobs/fit"),
    ],
)  # fmt: skip
def test_a_server_that_only_reads_writes_nothing(
    reading_client: TestClient, method: str, address: str
) -> None:
    bodies: dict[str, Any] = {
        "annotations": {"by": "a", "annotations": [{"row": 0, "level": "family", "value": "x"}]},
        "annotations/retract": {"by": "a", "ids": ["0" * 32]},
        "taxa": {"name": "Ursidae"}, "reviews": {"by": "a"}, "jobs/fit": {"kind": "linear"},
    }  # fmt: skip
    given = {} if method == "delete" else {"json": bodies.get(address, {})}
    answer = reading_client.request(method, f"/api/v1/{address}", **given)
    assert (answer.status_code, answer.json()["type"]) == (403, "/api/v1/problems#read-only")


@pytest.fixture(scope="module")
def reading_client(station: EmbeddingStore) -> TestClient:
    """Return a client of a server that writes nothing."""
    return ask_server(station, read_only=True)


def test_jobs_stop_when_they_are_asked_to_and_one_waits_for_another() -> None:
    jobs, order = Jobs(), list[str]()

    def count(told: Callable[[Step], None]) -> Table:
        order.append("first")
        for done in range(100_000):
            told(Step(done, 100_000, "steps"))
            time.sleep(0.001)
        return Table(pd.DataFrame())

    def answer(_: Callable[[Step], None]) -> Table:
        order.append("second")
        return Table(pd.DataFrame({"row": [1]}))

    def fail(_: Callable[[Step], None]) -> Table:
        order.append("third")
        return Table(pd.DataFrame({"row": [1 / 0]}))

    running = jobs.begin("count", count)
    waiting, failing = jobs.begin("answer", answer), jobs.begin("fail", fail)
    stopped = jobs.begin("never", answer)
    jobs.stop(stopped)
    while running.step is None:
        time.sleep(0.001)
    assert (waiting.status, stopped.status) == ("queued", "stopped")
    jobs.stop(running)
    while failing.status in {"queued", "running"}:
        time.sleep(0.001)
    assert [one.status for one in (running, waiting, failing)] == ["stopped", "done", "failed"]
    assert order == ["first", "second", "third"]
    assert failing.problem is not None
    assert "ZeroDivisionError" in failing.problem["detail"]
    jobs.end(5)


def test_no_more_jobs_wait_than_may() -> None:
    jobs = Jobs()

    def hang(told: Callable[[Step], None]) -> Table:
        while True:
            told(Step(0, 1, "steps"))
            time.sleep(0.001)

    first = jobs.begin("hang", hang)
    while first.status == "queued":
        time.sleep(0.001)
    for _ in range(16):
        jobs.begin("hang", hang)
    with pytest.raises(Refusal) as refused:
        jobs.begin("hang", hang)
    assert refused.value.status_code == 429
    jobs.end(5)
    assert {one.status for one in jobs.list_all()} == {"stopped"}


def test_what_is_asked_is_described_by_the_options_themselves(client: TestClient) -> None:
    described = client.get("/api/v1/openapi.json").json()
    shapes = described["components"]["schemas"]
    from bioprobe.options import read_options

    options = read_options(bp.Store.search)
    fields = shapes["SearchBody"]["properties"]
    assert fields["minus_weight"]["description"] == options["minus_weight"][1].help
    assert fields["min_similarity"]["anyOf"][0] == {"type": "number", "minimum": -1, "maximum": 1}
    assert fields["background_as"]["enum"] == list(options["background_as"][1].choices)
    assert "image" not in fields
    assert not shapes["SearchBody"]["additionalProperties"]
    # What a command calls --level is level here.
    assert "--" not in json.dumps([one.get("description", "") for one in fields.values()])
    paths: Sequence[str] = list(described["paths"])
    assert all(path.startswith("/api/v1/") for path in paths)


def test_numbers_that_are_none_are_null(families: EmbeddingStore) -> None:
    frame = pd.DataFrame({"path": ["odd"], "sha256": ["odd"], "height": [np.nan], "note": ["=1+1"]})
    families.append(frame, np.ones((1, 16)))
    shown = ask_server(families).get("/api/v1/images/80").json()["rows"][0]
    assert (shown["height"], shown["note"]) == (None, "=1+1")
