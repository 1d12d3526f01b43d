"""What is sent to do harm does none, and what goes wrong around a server loses nothing."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import bioprobe as bp
from bioprobe.face.encoder import Encoder
from bioprobe.store import EmbeddingStore
from bioprobe.store import annotations as annotation_log
from bioprobe.web import uploads
from bioprobe.web.app import build_app
from bioprobe.web.desk import Settings
from tests.conftest import PlainEncoder
from tests.web.conftest import ask_server
from tests.web.test_pictures import send, write_picture

JSON = {"Content-Type": "application/json"}
TURNED = "gnp.\N{RIGHT-TO-LEFT OVERRIDE}"
SAID = {"row": 0, "level": "family", "value": "Felidae"}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"[" * 500_000, JSON, 400),
        (b'{"row": ' + b"9" * 5000 + b"}", JSON, 400),
        (b'{"text": "\xff"}', JSON, 400),
        (b'{"row": ', JSON, 422),
        (b'{"row": 1, "min_similarity": NaN}', JSON, 422),
        (b'{"row": 1e999}', JSON, 422),
        (b'{"text": "\\ud800"}', JSON, 422),
        (b'{"text": "a\\u001b[2J"}', JSON, 422),
        (b'{"row": 1}', {"Content-Type": "text/plain"}, 415),
        (b'{"row": 1}', {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"", {}, 415),
        (b'{"row": 1}', JSON | {"Origin": "http://["}, 403),
        (b'{"row": 1}', JSON | {"Cookie": 'bioprobe_session=\\"; a'}, 403),
    ],
)
def test_bodies_that_do_harm_are_problems(
    client: TestClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/api/v1/search", content=content, headers=headers)
    assert answer.status_code == status
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert len(problem["detail"]) > 20


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/api/v1/nothing", 404), ("GET", "/nothing", 404), ("PUT", "/api/v1/search", 405),
        ("GET", "/static/%2e%2e/serving.py", 404), ("GET", "/static/..%2f..%2fserving.py", 404),
        ("GET", "/store/export/..%2fmanifest.json", 404), ("GET", "/report/pages/..%2fx", 404),
        ("GET", "/api/v1/images/-1", 422), ("GET", "/api/v1/images/0/thumbnail?size=5000", 422),
        ("GET", "/api/v1/images?where=" + "(" * 1000, 422),
        ("GET", "/api/v1/images?where=" + "not%20" * 300 + "family", 422),
        ("GET", "/api/v1/jobs/..%2f..%2fmanifest.json/file", 404),
    ],
)  # fmt: skip
def test_addresses_that_lead_nowhere_are_problems(
    client: TestClient, method: str, address: str, status: int
) -> None:
    answer = client.request(method, address)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.json()["title"]
    assert len(answer.json()["detail"]) > 10


@pytest.mark.parametrize("text", ["a\x1b[31m", "a\nb", TURNED, "a\0", "\u0085"])
def test_nobody_is_called_what_a_terminal_would_obey(client: TestClient, text: str) -> None:
    for given in ({"by": text, "annotations": [SAID]},
                  {"by": "anna", "annotations": [SAID | {"value": text}]}):  # fmt: skip
        answer = client.post("/api/v1/annotations", json=given)
        assert answer.status_code == 422
        assert "without control characters" in answer.json()["detail"]


def test_names_are_shown_as_they_are_and_run_nothing(families: EmbeddingStore) -> None:
    asks, name = ask_server(families), "<script>alert(1)</script>"
    said = SAID | {"value": name}
    body = {"by": name, "annotations": [said]}
    assert asks.post("/api/v1/annotations", json=body).status_code == 200
    assert asks.post("/api/v1/taxa", json={"name": "Lynx", "common": name}).status_code == 200
    for page in ("/browse?by=family", "/browse/0", "/store", "/ask", "/api/v1/docs"):
        answer = asks.get(page, follow_redirects=True)
        assert name not in answer.text, page
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy


def test_a_server_that_only_reads_takes_no_write_whatever_route_it_has(
    families: EmbeddingStore,
) -> None:
    """Each route of the API either refuses, or leaves every byte of the store as it was."""
    asks = ask_server(families, read_only=True, requests_at_once=1e6)
    described = asks.get("/api/v1/openapi.json").json()
    before, wrote = read_bytes(families.folder), []
    for path, ways in described["paths"].items():
        for method, route in ways.items():
            if method == "get":
                continue
            address = path.replace("{id}", "0" * 32).replace("{name}", "Felidae")
            content = route.get("requestBody", {}).get("content", {})
            given: dict[str, Any] = {}
            if "multipart/form-data" in content:
                given = {"files": [("files", ("a.png", b"no picture"))]}
            elif content:
                given = {"json": find_example(content["application/json"]["schema"], described)}
            answer = asks.request(method.upper(), address, **given)
            if answer.status_code == 403:
                assert answer.json()["type"] == "/api/v1/problems#read-only", address
                wrote.append(f"{method} {path}")
    jobs = asks.app.state.desk.jobs  # type: ignore[attr-defined]
    while any(one.status in {"queued", "running"} for one in jobs.list_all()):
        time.sleep(0.005)
    assert read_bytes(families.folder) == before
    assert {"post /api/v1/annotations", "post /api/v1/taxa", "delete /api/v1/taxa/{name}",
            "post /api/v1/reviews", "post /api/v1/jobs/cluster", "post /api/v1/jobs/fit",
            "post /api/v1/jobs/add-pictures"} <= set(wrote)  # fmt: skip
    for path in ("/review", "/report", "/ask"):
        assert asks.post(path, headers={"X-CSRF-Token": "x"}).status_code in {403, 405}
    jobs.end(5)


def read_bytes(folder: Path) -> dict[str, str]:
    """Return what is in a folder: but texts, whose vectors are kept for the next question."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "text" not in str(path.relative_to(folder))
    }


def find_example(shape: dict[str, Any], described: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return the example of a body."""
    for one in (shape, *shape.get("anyOf", [])):
        if "$ref" in one:
            name = one["$ref"].rpartition("/")[2]
            return described["components"]["schemas"][name]["examples"][0]
    raise AssertionError(shape)


def test_large_pictures_are_encoded_one_after_the_other(
    station: EmbeddingStore, encoder: PlainEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.face.encoder.encoder", lambda *_, **__: Encoder(encoder))
    monkeypatch.setattr(uploads, "_TOGETHER_PX", 4000)
    sizes = [(40, 30), (40, 30), (100, 80), (90, 80), (40, 30)]
    data = [write_picture(n, size) for n, size in enumerate(sizes)]
    sent = send(ask_server(station), *data).json()["pictures"]
    assert [one["problem"] for one in sent] == [None] * 5
    assert encoder.batch_sizes == [3, 1, 1]
    vectors = Encoder(encoder).images(data)
    near = ask_server(station)
    again = send(near, *data).json()["pictures"]
    found = near.post("/api/v1/search", json={"picture": again[2]["id"], "k": 1}).json()["rows"]
    assert found[0]["row"] == int(np.argmax(station.read_vectors() @ vectors[2]))


def test_a_full_disk_is_said_and_loses_nothing(
    families: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks, write = ask_server(families), os.fsync
    first = {"by": "anna", "annotations": [SAID]}
    assert asks.post("/api/v1/annotations", json=first).status_code == 200
    log = annotation_log.find_log(families.folder)
    before = log.read_bytes()

    def refuse(file: int) -> None:
        if os.fstat(file).st_size > len(before):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file)

    monkeypatch.setattr("bioprobe.store.annotations.os.fsync", refuse)
    second = {"by": "anna", "annotations": [SAID | {"row": 1}]}
    full = asks.post("/api/v1/annotations", json=second)
    assert (full.status_code, full.json()["type"]) == (507, "/api/v1/problems#disk-full")
    assert "free space" in full.json()["detail"]
    assert log.read_bytes() == before
    assert asks.get("/api/v1/annotations").json()["n_annotations"] == 1
    monkeypatch.setattr("bioprobe.store.annotations.os.fsync", write)
    assert asks.post("/api/v1/annotations", json=second).status_code == 200
    assert len(bp.open(families.folder).annotations().to_frame()) == 2


def test_a_store_that_goes_and_comes_back_is_said_and_served(
    families: EmbeddingStore,
    tmp_path: Path,
    make_store: Callable[..., EmbeddingStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asks, folder = ask_server(families), families.folder
    monkeypatch.setattr("bioprobe.face.encoder.encoder", lambda *_, **__: Encoder(PlainEncoder()))
    ids = [send(asks, write_picture(0)).json()["pictures"][0]["id"]]
    kept = shutil.move(folder, tmp_path / "kept")
    gone = asks.get("/api/v1/store")
    assert (gone.status_code, gone.headers["content-type"]) == (409, "application/problem+json")
    assert asks.post("/api/v1/annotations", json={"by": "a", "annotations": [SAID]}).is_error
    assert not folder.exists()
    shutil.move(kept, folder)
    assert asks.post("/api/v1/search", json={"picture": ids[0], "k": 1}).status_code == 200
    # Another one of another model: what the old one's encoder made is none of its.
    shutil.rmtree(folder)
    other = PlainEncoder()
    other.fingerprint = dataclasses.replace(other.fingerprint, model="another")
    make_store(other)
    assert asks.get("/api/v1/store").json()["model"] == "another"
    stale = asks.post("/api/v1/search", json={"picture": ids[0], "k": 1})
    assert (stale.status_code, stale.json()["type"]) == (422, "/api/v1/problems#unknown-picture")


def test_two_servers_of_one_store_lose_nothing_of_each_other(families: EmbeddingStore) -> None:
    servers = [
        TestClient(build_app(families.folder, Settings(requests_at_once=1e6)),
                   base_url="http://127.0.0.1")
        for _ in range(2)
    ]  # fmt: skip

    # The first question makes the routes of FastAPI, which only one thread at a time can.
    for one in servers:
        assert one.get("/api/v1/annotations").json()["n_annotations"] == 0

    def work(at: int) -> None:
        for n in range(20):
            said = SAID | {"id": f"{at:016x}{n:016x}", "row": n}
            body = {"by": f"person {at}", "annotations": [said]}
            assert servers[at % 2].post("/api/v1/annotations", json=body).status_code == 200

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    counts = [one.get("/api/v1/annotations").json()["n_annotations"] for one in servers]
    assert counts == [80, 80]
