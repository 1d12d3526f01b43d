"""What is taken along through the API is what the face writes, and nothing of it stays behind."""

from __future__ import annotations

import io
import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

import bioprobe as bp
from bioprobe.store import EmbeddingStore
from bioprobe.store.writing import holding
from bioprobe.web.jobs import Jobs, Written
from tests.web.conftest import ask_server


def do(asks: TestClient, kind: str, **given: Any) -> dict[str, Any]:  # noqa: ANN401 - as sent
    """Begin a job, and return how it is once it has ended."""
    begun = asks.post(f"/api/v1/jobs/{kind}", **given)
    assert begun.status_code == 202, begun.text
    while True:
        state: dict[str, Any] = asks.get(f"/api/v1/jobs/{begun.json()['id']}").json()
        if state["status"] not in {"queued", "running"}:
            return state
        time.sleep(0.005)


def take(asks: TestClient, kind: str, **body: Any) -> bytes:  # noqa: ANN401 - as sent
    """Return the file that a job comes to."""
    state = do(asks, kind, json=body)
    assert state["status"] == "done", state["problem"]
    answer = asks.get(f"/api/v1/jobs/{state['id']}/file")
    assert state["file"] in answer.headers["content-disposition"]
    assert answer.headers["content-disposition"].startswith("attachment")
    assert (answer.headers["cache-control"], answer.headers["content-security-policy"]) == (
        "no-store", "sandbox",
    )  # fmt: skip
    # Where it lay on this machine is said nowhere.
    assert "/tmp" not in json.dumps(state)
    return answer.content


@pytest.fixture(scope="module")
def shared(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the store, for all tests of the module: no two write the same to it."""
    return Path(shutil.copytree(drawn, tmp_path_factory.mktemp("exports") / "own"))


@pytest.fixture(scope="module")
def asks(shared: Path) -> Iterator[TestClient]:
    """Ask a server of a store of drawn pictures."""
    client = ask_server(EmbeddingStore.open(shared))
    yield client
    client.app.state.desk.end()  # type: ignore[attr-defined]


def test_tables_and_vectors_are_those_of_the_images_that_are_asked(
    asks: TestClient, shared: Path
) -> None:
    store, mine = bp.open(shared), "species == 'Panthera tigris'"
    rows = store.where(mine).rows.tolist()
    table = pd.read_csv(io.BytesIO(take(asks, "export-table", where=mine)))
    assert table["row"].tolist() == rows
    parquet = pd.read_parquet(io.BytesIO(take(asks, "export-table", form="parquet", rows=[2, 1])))
    assert sorted(parquet["row"]) == [1, 2]
    with zipfile.ZipFile(io.BytesIO(take(asks, "export-vectors", layout="npy", where=mine))) as got:
        assert sorted(got.namelist()) == ["vectors.csv", "vectors.json", "vectors.npy"]
        vectors = np.load(io.BytesIO(got.read("vectors.npy")))
    assert np.allclose(vectors, store.where(mine).X, atol=1e-6)
    emb = pd.read_parquet(io.BytesIO(take(asks, "export-vectors", layout="emb-explorer")))
    assert len(emb) == len(store)
    with zipfile.ZipFile(io.BytesIO(take(asks, "export-text-head", level="family"))) as head:
        assert sorted(head.namelist()) == ["head.json", "head.npy"]


def test_labels_and_answers_go_out_in_the_formats_of_other_tools(asks: TestClient) -> None:
    coco = json.loads(take(asks, "export-answers", form="coco"))
    assert len(coco["images"]) == 12
    # What people say of their package is sent, not named as a file.
    when = {"deploymentStart": "2024-01-01", "deploymentEnd": "2024-02-01"}
    sites = [{"deploymentID": f"site {at}", "latitude": 1.25 + at, "longitude": 2.5} | when
             for at in range(3)]  # fmt: skip
    body = {"form": "camtrap-dp", "placeholders": True, "about": {"title": "Our valley"},
            "deployments": sites, "sensitive": ["Panthera pardus"]}  # fmt: skip
    with zipfile.ZipFile(io.BytesIO(take(asks, "export-answers", **body))) as package:
        said = json.loads(package.read("camtrap-dp/datapackage.json"))
        places = pd.read_csv(package.open("camtrap-dp/deployments.csv"))
    assert said["title"] == "Our valley"
    # Leopards were seen at each site, so that its place is told by a tenth of a degree.
    assert sorted(places["latitude"].round(3)) == [1.2, 2.2, 3.2]
    answered = do(asks, "zeroshot", json={"level": "species", "k": 1})
    assert answered["status"] == "done", answered["problem"]
    found = json.loads(take(asks, "export-answers", form="speciesnet", answers=answered["id"]))
    assert len(found["predictions"]) == 12
    sheet = take(asks, "sheet", answers=answered["id"]).decode()
    assert "Answers" in sheet
    assert "data:image/" in sheet
    assert b"Our pictures" in take(asks, "report", level="species", title="Our pictures")
    # A format that needs more than is known says so, and a file of the server is none of it.
    failed = do(asks, "export-answers", json={"form": "camtrap-dp"})
    assert (failed["status"], failed["problem"]["status"], failed["file"]) == ("failed", 422, None)
    gone = asks.get(f"/api/v1/jobs/{failed['id']}/file")
    assert (gone.status_code, gone.json()["type"]) == (409, "/api/v1/problems#no-file")
    table = do(asks, "export-table", json={})
    none = asks.post("/api/v1/jobs/sheet", json={"answers": table["id"]})
    assert (none.status_code, none.json()["type"]) == (409, "/api/v1/problems#no-answers")
    for wrong in ({"form": "coco", "package": "/etc"}, {"form": "coco", "people": "keep"}):
        assert asks.post("/api/v1/jobs/export-answers", json=wrong).status_code == 422


def test_what_people_said_goes_out_and_comes_in_elsewhere(
    asks: TestClient, shared: Path, tmp_path: Path
) -> None:
    nobody = do(asks, "export-annotations", json={})
    assert nobody["problem"]["detail"].startswith("nobody said anything")
    said = {"row": 3, "level": "species", "value": "=1+1"}
    asks.post("/api/v1/annotations", json={"by": "anna", "annotations": [said]})
    assert "'=1+1" not in asks.get("/api/v1/annotations.csv").text
    assert "'=1+1" in asks.get("/api/v1/annotations.csv?safe_csv=true").text
    (tmp_path / "said.csv").write_bytes(take(asks, "export-annotations", form="csv"))
    other = bp.open(shutil.copytree(shared, tmp_path / "other"))
    other.retract(other.annotations().to_frame()["id"].tolist(), by="ben")
    assert len(bp.open(shared).annotations().to_frame()) == 1
    assert "=1+1" in (tmp_path / "said.csv").read_text()


def test_no_more_files_are_kept_than_may_be() -> None:
    jobs = Jobs()

    def write(_: object, folder: Path) -> Written:
        (folder / "a.txt").write_text("a")
        return Written(folder)

    def write_two(_: object, folder: Path) -> Written:
        (folder / "b.txt").write_text("b")
        return write(_, folder)

    def fail(_: object, folder: Path) -> Written:
        raise OSError(28, f"No space left on device: {folder}")

    begun = [jobs.begin_file("one", write) for _ in range(10)]
    begun += [jobs.begin_file("two", write_two), jobs.begin_file("none", fail)]
    while begun[-1].status in {"queued", "running"}:
        time.sleep(0.001)
    assert [jobs.find(one.id) is None for one in begun] == [True] * 3 + [False] * 9
    files = [one.file for one in begun[:-1]]
    assert [file is not None and file.exists() for file in files] == [False] * 3 + [True] * 8
    assert [file.name for file in files[-2:] if file] == ["a.txt", "two.zip"]
    home = files[-1].parent.parent  # type: ignore[union-attr]
    # Of work that failed nothing stays.
    assert len(list(home.iterdir())) == 8
    assert begun[-1].problem is not None
    assert begun[-1].problem["status"] == 507
    jobs.end(5)
    assert not home.exists()


def send(asks: TestClient, *files: tuple[str, bytes]) -> Any:  # noqa: ANN401 - an answer
    """Send pictures to be added."""
    return asks.post("/api/v1/jobs/add-pictures", files=[("files", one) for one in files])


def test_pictures_are_added_once_each_where_a_folder_is_given(
    own: Path, drawn: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "added"
    folder.mkdir()
    store = EmbeddingStore.open(own)
    asks = ask_server(store, pictures=folder)
    picture = next(drawn.parent.glob("Danaus*.jpg")).read_bytes()
    # Of other bytes than what the store has, and the same picture.
    picture += b"\0"
    files = [("files", ("../../so?.jpg", picture)), ("files", ("again.jpg", picture)),
             ("files", ("page.svg", b"<svg onload='alert(1)'/>"))]  # fmt: skip
    state = do(asks, "add-pictures", files=files)
    assert state["status"] == "done", state["problem"]
    rows = asks.get(f"/api/v1/jobs/{state['id']}/rows").json()["rows"]
    n = len(store)
    assert [one["row"] for one in rows][::2] == [n, None]
    assert "not an image" in rows[2]["problem"]
    names = sorted(path.name for path in folder.iterdir())
    assert all(".." not in name and "?" not in name for name in names)
    assert asks.get("/api/v1/store").json()["n_images"] == n + len(names)
    assert asks.get(f"/api/v1/images/{n}/thumbnail").status_code == 200
    before = asks.get("/api/v1/store").json()["n_images"]
    assert do(asks, "add-pictures", files=files)["status"] == "done"
    assert asks.get("/api/v1/store").json()["n_images"] == before
    assert send(asks, ("page.svg", b"<svg/>")).status_code == 422
    # One writer at a time; what was sent is sent again.
    new = picture + b"\0"
    with holding(own):
        locked = do(asks, "add-pictures", files=[("files", ("b.jpg", new))])
    assert (locked["status"], locked["problem"]["status"]) == ("failed", 423)
    assert do(asks, "add-pictures", files=[("files", ("b.jpg", new))])["status"] == "done"
    assert asks.get("/api/v1/store").json()["n_images"] == before + 1
    for settings, kind in (({}, "no-folder"), ({"read_only": True}, "read-only")):
        refused = send(ask_server(store, **settings), ("b.jpg", new))
        assert (refused.status_code, refused.json()["type"]) == (403, f"/api/v1/problems#{kind}")
    asks.app.state.desk.end()  # type: ignore[attr-defined]
