"""A page is served to who may see it, with nothing of anybody else in it."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from bioprobe.store import EmbeddingStore
from bioprobe.web.app import PAGES, build_app
from bioprobe.web.desk import Settings
from tests.conftest import PlainEncoder
from tests.web.conftest import ask_server

TOKEN = "a token of a field station"


@pytest.fixture
def pictures(tmp_path: Path, make_store: Callable[..., EmbeddingStore]) -> EmbeddingStore:
    """Return a store of three pictures on the disk, the second with a person in its left half."""
    import hashlib

    rows = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (90, 120, 3), dtype=np.uint8)
        file = tmp_path / f"{number}.jpg"
        image, exif = Image.fromarray(pixels), Image.Exif()
        exif[0x010E] = "secret place"
        image.save(file, exif=exif, comment=b"secret place", quality=95)
        rows.append({
            "root": str(tmp_path), "path": file.name, "family": "Felidae",
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "content": "human" if number == 1 else "animal",
        })  # fmt: skip
    vectors = np.random.default_rng(0).normal(size=(3, 16))
    return make_store(PlainEncoder()).append(pd.DataFrame(rows), vectors)


def test_the_page_of_a_store_says_what_is_in_it(station: EmbeddingStore) -> None:
    answer = ask_server(station).get("/store")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "40" in answer.text


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1.nip.io", "", "10.0.0.1"])
def test_another_host_is_refused(station: EmbeddingStore, host: str) -> None:
    answer = ask_server(station).get("/store", headers={"Host": host})
    assert answer.status_code == 400
    assert "ask it by 127.0.0.1" in answer.json()["detail"]


def test_any_address_is_taken_where_all_are_listened_at(station: EmbeddingStore) -> None:
    asks = ask_server(station, hosts=("*", "station.local"))
    hosts = {"10.0.0.1:8765": 200, "[fe80::1]:80": 200, "station.local": 200, "evil.example": 400}
    for host, status in hosts.items():
        assert asks.get("/store", headers={"Host": host}).status_code == status


def test_nothing_is_shown_without_the_token(station: EmbeddingStore) -> None:
    asks = ask_server(station, token=TOKEN)
    page = asks.get("/store?x=1", follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/enter?next=/store%3Fx%3D1")
    assert "set-cookie" not in asks.get("/enter").headers
    refused = asks.get("/api/v1/store")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert asks.get("/enterprise", follow_redirects=False).status_code == 303
    # In an address it would stand in logs.
    assert asks.get(f"/api/v1/store?token={TOKEN}").status_code == 401


def test_who_shows_the_token_gets_a_cookie_that_no_script_reads(station: EmbeddingStore) -> None:
    asks = ask_server(station, token=TOKEN)
    wrong = asks.post("/enter", data={"token": "another"})
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    form = {"token": TOKEN, "next": "/store"}
    entered = asks.post("/enter", data=form, follow_redirects=False)
    assert (entered.status_code, entered.headers["location"]) == (303, "/store")
    assert "HttpOnly; SameSite=Strict" in entered.headers["set-cookie"]
    page = asks.get("/store")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    again = TestClient(build_app(station.folder, Settings(token=TOKEN)), cookies=asks.cookies,
                       base_url="http://127.0.0.1")  # fmt: skip
    assert again.get("/api/v1/store").status_code == 200
    other = TestClient(build_app(station.folder, Settings(token=TOKEN + "2")),
                       cookies=asks.cookies, base_url="http://127.0.0.1")  # fmt: skip
    assert other.get("/api/v1/store").status_code == 401


@pytest.mark.parametrize(
    "where", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1", "x"]
)
def test_the_door_leads_nowhere_else(station: EmbeddingStore, where: str) -> None:
    form = {"token": TOKEN, "next": where}
    entered = ask_server(station, token=TOKEN).post("/enter", data=form, follow_redirects=False)
    assert entered.headers["location"] == "/"


def test_who_guesses_has_to_wait(station: EmbeddingStore) -> None:
    asks = ask_server(station, token=TOKEN)
    headers = {"Authorization": "Bearer guess"}
    found = [asks.get("/api/v1/store", headers=headers).status_code for _ in range(12)]
    assert found == [401] * 10 + [429] * 2
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert asks.get("/api/v1/store", headers=right).status_code == 200


def test_a_page_writes_by_what_it_was_given(station: EmbeddingStore) -> None:
    asks, body = ask_server(station), {"row": 3, "k": 1}
    # A program on this machine that is no browser.
    assert asks.post("/api/v1/search", json=body).status_code == 200
    csrf = asks.get("/api/v1/session").json()["csrf"]
    assert csrf in asks.get("/store").text
    assert asks.post("/api/v1/search", json=body).status_code == 403
    for shown in ("", "0" * 64, csrf[:-1]):
        headers = {"X-CSRF-Token": shown}
        assert asks.post("/api/v1/search", json=body, headers=headers).status_code == 403
    headers = {"X-CSRF-Token": csrf}
    assert asks.post("/api/v1/search", json=body, headers=headers).status_code == 200
    # That of another session.
    asks.cookies.clear()
    asks.get("/store")
    assert asks.post("/api/v1/search", json=body, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"}, {"Referer": "https://evil.example/"},
    ],
)  # fmt: skip
def test_a_page_of_another_server_writes_nothing(
    station: EmbeddingStore, headers: dict[str, str]
) -> None:
    asks = ask_server(station)
    csrf = asks.get("/api/v1/session").json()["csrf"]
    body = {"row": 3, "k": 1}
    ours = {"X-CSRF-Token": csrf, "Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert asks.post("/api/v1/search", json=body, headers=ours).status_code == 200
    assert asks.post("/api/v1/search", json=body, headers=headers).status_code == 403


def test_a_server_that_only_reads_refuses_whatever_a_page_writes(station: EmbeddingStore) -> None:
    asks = ask_server(station, read_only=True)
    before = sorted((one, one.stat().st_mtime_ns) for one in station.folder.rglob("*"))
    asked = []
    for name in PAGES:
        for route in importlib.import_module(name).router.routes:
            if "POST" in route.methods and route.path != "/enter":
                path = route.path.format(row=0, id="0" * 32)
                answer = asks.post(path, data={"by": "anna", "name": "x", "level": "family"})
                assert (answer.status_code, answer.json()["type"]) == (
                    403, "/api/v1/problems#read-only",
                )  # fmt: skip
                asked.append(route.path)
    assert len(asked) >= 12
    # Nor is anything offered that would be refused.
    for path in ("/ask", "/pictures/0", "/review", "/map", "/report", "/store"):
        page = asks.get(path)
        assert page.status_code == 200
        assert "hx-post" not in page.text
    # What is taken along is read.
    assert asks.get("/store/export/images.csv").status_code == 200
    assert sorted((one, one.stat().st_mtime_ns) for one in station.folder.rglob("*")) == before


def test_a_page_of_another_server_loads_no_picture(station: EmbeddingStore) -> None:
    asks = ask_server(station)
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert asks.get("/api/v1/images", headers=image).status_code == 403
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = asks.get("/store", headers=followed)
    assert answer.status_code == 200
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_thumbnail_holds_pixels_alone_and_is_made_once(
    pictures: EmbeddingStore, tmp_path: Path
) -> None:
    asks = ask_server(pictures)
    answer = asks.get("/api/v1/images/0/thumbnail", params={"size": 96})
    assert answer.status_code == 200
    assert b"secret" not in answer.content
    shown = Image.open(io.BytesIO(answer.content))
    assert (shown.format, shown.size, dict(shown.getexif())) == ("JPEG", (96, 72), {})
    (tmp_path / "0.jpg").unlink()
    again = asks.get("/api/v1/images/0/thumbnail", params={"size": 96})
    assert again.content == answer.content
    headers = {"If-None-Match": answer.headers["etag"]}
    same = asks.get("/api/v1/images/0/thumbnail", params={"size": 96}, headers=headers)
    assert (same.status_code, same.content) == (304, b"")
    gone = asks.get("/api/v1/images/0/thumbnail", params={"size": 160})
    assert (gone.status_code, gone.json()["type"]) == (422, "/api/v1/problems#image-read")
    for row, size in ((3, 96), (-1, 96), (0, 97)):
        assert asks.get(f"/api/v1/images/{row}/thumbnail?size={size}").status_code in {404, 422}


def test_a_thumbnail_obscures_people(pictures: EmbeddingStore, tmp_path: Path) -> None:
    asks = ask_server(pictures)
    seen = [
        np.asarray(Image.open(io.BytesIO(asks.get(f"/api/v1/images/{row}/thumbnail").content)))
        for row in (1, 2)
    ]
    # Blocks of one colour, beside noise.
    changes = [np.abs(np.diff(one.astype(int), axis=1)).mean() for one in seen]
    assert changes[0] < changes[1] / 5
    assert sorted(path.name for path in tmp_path.glob("*.jpg")) == ["0.jpg", "1.jpg", "2.jpg"]


def test_images_are_listed_page_by_page(station: EmbeddingStore) -> None:
    asks = ask_server(station)
    params: dict[str, str | int] = {"where": "family == 'Felidae'", "limit": 6}
    seen: list[int] = []
    while True:
        page = asks.get("/api/v1/images", params=params).json()
        seen += [row["row"] for row in page["rows"]]
        assert page["n_images"] == 10
        assert "root" not in page["rows"][0]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert seen == list(range(10))
    assert asks.get("/api/v1/images", params={"cursor": "7.3"}).status_code == 409
    assert asks.get("/api/v1/images", params={"cursor": "x"}).status_code == 422


def test_a_store_that_has_grown_is_seen(families: EmbeddingStore) -> None:
    asks = ask_server(families)
    before = asks.get("/api/v1/store").json()["n_images"]
    frame = pd.DataFrame({"path": ["new.jpg"], "sha256": ["new"]})
    families.append(frame, np.ones((1, 16)))
    assert asks.get("/api/v1/store").json()["n_images"] == before + 1


def test_search_answers_what_the_face_answers(client: TestClient, station: EmbeddingStore) -> None:
    import bioprobe as bp

    body = {"row": [3, "35::-1"], "k": 4, "where": "order == 'Carnivora'"}
    found = client.post("/api/v1/search", json=body).json()
    expected = bp.open(station.folder).where("order == 'Carnivora'")
    rows = expected.search(row=[3, "35::-1"], k=4).to_frame()["row"].tolist()
    assert [row["row"] for row in found["rows"]] == rows


@pytest.mark.parametrize(
    ("address", "body", "status", "said"),
    [
        ("search", {}, 422, "nothing to search by"),
        ("search", {"row": 3, "k": 0}, 422, "body.k"),
        ("search", {"row": 3, "exact": "maybe"}, 422, "body.exact"),
        ("search", {"row": 3, "image": "/etc/passwd"}, 422, "body.image"),
        ("search", {"row": 3, "background": "/etc/passwd"}, 422, "not a file"),
        ("search", {"row": 3, "where": "__import__('os')"}, 422, "condition"),
        ("search", {"row": 3, "background_as": "z"}, 200, ""),
        ("search", {"row": 3, "minus_weight": 0.1}, 422, "minus_weight counts only with"),
        ("zeroshot", {"rows": [0], "templates": "/etc/passwd"}, 422, "not a file"),
        ("zeroshot", {"rows": [0], "taxa": "pyproject.toml"}, 422, "not a file"),
        ("zeroshot", {"rows": [0], "within": ["Felidae", "../x"]}, 422, "not a file"),
        ("zeroshot", {"rows": [0, 999]}, 422, "no row 999"),
        ("zeroshot", {"rows": []}, 422, "a row in rows"),
    ],
)
def test_what_cannot_be_taken_is_said(
    client: TestClient, address: str, body: dict[str, object], status: int, said: str
) -> None:
    answer = client.post(f"/api/v1/{address}", json=body)
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert said in problem["detail"]
        assert set(problem) >= {"type", "title", "status", "detail", "instance"}


def test_too_much_is_refused_however_it_is_sent(station: EmbeddingStore) -> None:
    asks = ask_server(station, body_bytes=1000)
    whole = asks.post("/api/v1/search", content=b"x" * 1001)
    parts = asks.post("/api/v1/search", content=iter([b"x" * 600, b"x" * 600]))
    assert (whole.status_code, parts.status_code) == (413, 413)
    # Who has not been let in sends no more, however it is called.
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    door = ask_server(station, body_bytes=1000, token=TOKEN)
    assert door.post("/enter", content=b"x" * 1001, headers=form).status_code == 413


def test_who_asks_too_often_is_told_when_to_come_again(station: EmbeddingStore) -> None:
    asks = ask_server(station, requests_per_s=0.01, requests_at_once=3)
    answers = [asks.get("/api/v1/session") for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert 50 <= int(answers[-1].headers["retry-after"]) <= 100
