"""Pictures at addresses: from a server of this machine, as hosts answer."""

import collections
import http.server
import io
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.cache import CACHE_VARIABLE
from bioprobe.errors import SourceError
from bioprobe.images.addresses import find_copy, split_address
from bioprobe.images.image_table import ImageTable
from bioprobe.sources.fetching import FetchOptions, fetch
from bioprobe.sources.listing import Listing, Part

ASKED = FetchOptions(per_second=1000, timeout_s=0.5, retries=2, allow_private=True)


def _draw(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(file, "JPEG")
    return file.getvalue()


PICTURE = _draw("red")


class Host(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[collections.Counter[str]] = collections.Counter()
    agents: ClassVar[set[str]] = set()
    answers: ClassVar[dict[str, tuple[int, bytes, str, dict[str, str]]]] = {
        "/a.jpg": (200, PICTURE, "image/jpeg", {}),
        "/b.jpg": (200, PICTURE, "image/jpeg", {}),
        "/busy.jpg": (200, PICTURE, "image/jpeg", {}),
        "/plain": (200, PICTURE, "application/octet-stream", {}),
        "/page.jpg": (200, b"<html>log in</html>", "text/html; charset=utf-8", {}),
        "/empty.jpg": (200, b"", "image/jpeg", {}),
        "/broken.jpg": (503, b"", "text/plain", {"Retry-After": "0"}),
        "/moved.jpg": (302, b"", "text/plain", {"Location": "/a.jpg"}),
        "/circle.jpg": (302, b"", "text/plain", {"Location": "/circle.jpg"}),
        "/large.jpg": (200, PICTURE, "image/jpeg", {"Content-Length": str(1 << 40)}),
        "/cut.jpg": (200, PICTURE[:40], "image/jpeg", {"Content-Length": "4000"}),
    }

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        Host.asked[path] += 1
        Host.agents.add(self.headers["User-Agent"])
        if path == "/silent.jpg":
            threading.Event().wait(1.2)
        elif path == "/busy.jpg" and Host.asked[path] < 3:
            self._answer(429, b"", "text/plain", {"Retry-After": "0"})
        elif path == "/growing.jpg":  # of a length that it does not say
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.end_headers()
            self.wfile.write(PICTURE * 200)
        else:
            self._answer(*Host.answers.get(path, (404, b"", "text/plain", {})))

    def _answer(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        said = {"Content-Type": kind, "Content-Length": str(len(body)), **headers}
        for name, value in said.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    Host.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["a.jpg", "plain", "busy.jpg", "moved.jpg", "a.jpg?size=large"])
def test_a_picture_is_fetched_once(host: str, name: str) -> None:
    address = f"{host}/{name}"
    assert fetch([address, address], ASKED) == {}
    assert find_copy(address).read_bytes() == PICTURE
    asked = sum(Host.asked.values())
    assert fetch([address], ASKED) == {}
    assert sum(Host.asked.values()) == asked
    assert all(agent.startswith("bioprobe/") for agent in Host.agents)


@pytest.mark.parametrize(
    ("name", "reason", "n_asked"),
    [
        ("nothing.jpg", "answers 404 Not Found", 1),
        ("page.jpg", "answers text/html, expected a picture", 1),
        ("empty.jpg", "answers nothing", 1),
        ("broken.jpg", "answers 503", 3),
        ("circle.jpg", "cannot be read: too many redirects", 6),
        ("large.jpg", "more than 100,000 bytes", 1),
        ("growing.jpg", "more than 100,000 bytes", 1),
        ("cut.jpg", "cannot be read: .*IncompleteRead", 1),
        ("silent.jpg", "does not answer in time", 3),
    ],
)
def test_what_is_no_picture_says_why(host: str, name: str, reason: str, n_asked: int) -> None:
    options = FetchOptions(1000, timeout_s=0.2, retries=2, allow_private=True, most_bytes=100_000)
    address = f"{host}/{name}"
    why = fetch([address], options)[address]
    assert re.search(reason, why), why
    assert Host.asked[f"/{name}"] == n_asked
    assert not find_copy(address).exists()


def test_a_machine_that_is_not_public_is_not_asked(host: str) -> None:
    address = f"{host}/a.jpg"
    why = fetch([address], FetchOptions(1000))[address]
    assert "127.0.0.1, which is not on the public internet" in why
    assert "--allow-private" in why
    assert not Host.asked


@pytest.mark.parametrize("address", ["ftp://example.org/a.jpg", "http://127.0.0.1:1/a.jpg"])
def test_what_cannot_be_asked_says_why(host: str, address: str) -> None:
    assert host
    assert fetch([address], ASKED)[address]


def test_a_host_is_not_asked_too_often(host: str) -> None:
    start_s = time.monotonic()
    names = [f"{host}/{name}" for name in ("a.jpg", "b.jpg", "plain")]
    assert not fetch(names, FetchOptions(per_second=5, allow_private=True))
    assert time.monotonic() - start_s >= 0.4


def test_steps_are_told(host: str) -> None:
    told: list[tuple[int, int, int]] = []
    names = [f"{host}/a.jpg", f"{host}/nothing.jpg"]
    fetch(names, ASKED, progress=lambda step: told.append((step.done, step.total, step.n_failed)))
    assert told == [(1, 2, 0), (2, 2, 1)] or told == [(1, 2, 1), (2, 2, 1)]


def _list(host: str, *names: str) -> Listing:
    places = [split_address(f"{host}/{name}") for name in names]
    frame = pd.DataFrame(places, columns=["root", "path"])
    return Listing.merge([Part(frame.assign(family="Felidae"), "t.csv")])


def test_rows_of_addresses_are_embedded(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = _list(host, "a.jpg", "nothing.jpg")
    monkeypatch.setattr("bioprobe.sources.source.find_images", lambda *_: listed)
    folder = tmp_path / "store"
    with pytest.raises(SourceError, match="nothing is fetched unless asked"):
        bp.embed("t.csv", model="sketch", store=folder)
    assert not Host.asked
    store = bp.embed("t.csv", model="sketch", store=folder, fetch=True, allow_private=True)
    assert store.summary is not None
    assert (store.summary.n_embedded, store.summary.n_failed) == (1, 1)
    assert "404" in store.failures["reason"].iloc[0]
    assert ImageTable(store.images).file_names == ["a.jpg"]
