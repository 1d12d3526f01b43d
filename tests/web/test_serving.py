"""What listens lets in nobody unasked, waits for nobody for ever, and loses nothing it took."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

import bioprobe as bp
from bioprobe.errors import MisuseError
from bioprobe.store import EmbeddingStore
from bioprobe.web import listening, serving
from bioprobe.web.app import build_app
from bioprobe.web.desk import Settings

TOKEN = "a token of a field station"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Serve nothing, and keep the settings with which it would be served."""
    kept: list[Any] = []

    class Nobody:
        def __init__(self, app: FastAPI) -> None:
            self.settings = app.state.desk.settings

        def run(self, sockets: list[socket.socket]) -> None:
            kept.append(self.settings)
            for one in sockets:
                one.close()

    monkeypatch.setattr(listening, "make_server", Nobody)
    monkeypatch.setattr("bioprobe.web.desk.Desk.warm", lambda _: None)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    return kept


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "", "station.local"])
def test_others_are_let_in_by_a_token_alone(
    station: EmbeddingStore, served: list[Any], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIOPROBE_TOKEN", raising=False)
    with pytest.raises(MisuseError, match="lets in whoever reaches this machine"):
        bp.serve(station.folder, host=host, port=0)
    with pytest.raises(MisuseError, match="15 characters, it needs 16"):
        bp.serve(station.folder, host=host, port=0, token="x" * 15)
    assert not served


def test_a_name_of_this_machine_that_others_reach_needs_a_token(
    station: EmbeddingStore, served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = listening.bind
    monkeypatch.setattr(listening, "bind", lambda _, port: bind("0.0.0.0", port))
    with pytest.raises(MisuseError, match="lets in whoever reaches this machine"):
        bp.serve(station.folder, host="localhost", port=0)
    assert not served


def test_every_option_counts(
    station: EmbeddingStore, served: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    bp.serve(station.folder, port=0, tell=lines.append)
    plain = served.pop()
    assert (plain.token, plain.read_only, plain.model, plain.device) == (None, False, None, "auto")
    assert re.fullmatch(r"the page is at http://127\.0\.0\.1:\d+/; Ctrl-C ends it", lines[0])
    monkeypatch.setenv("BIOPROBE_TOKEN", TOKEN)
    bp.serve(
        station.folder, host="0.0.0.0", port=0, allow_host=["field.example"], read_only=True,
        max_upload=0.5, max_pictures=3, max_pixels=1000, rate=7, model="sketch", device="cpu",
        tell=lines.append,
    )  # fmt: skip
    given = served.pop()
    assert (plain.pictures, given.pictures) == (None, None)
    bp.serve(station.folder, port=0, pictures=tmp_path / "added", tell=lines.append)
    assert served.pop().pictures == tmp_path / "added"
    assert (tmp_path / "added").is_dir()
    with pytest.raises(MisuseError, match="pictures"):
        bp.serve(station.folder, port=0, pictures=tmp_path, read_only=True)
    assert (given.token, given.read_only, given.model, given.device) == (
        TOKEN, True, "sketch", "cpu",
    )  # fmt: skip
    assert (given.upload_bytes, given.upload_count, given.upload_pixels) == (2**19, 3, 1000)
    assert (given.requests_per_s, given.requests_at_once) == (7, 28)
    assert {"*", "field.example", "127.0.0.1"} <= set(given.hosts)
    # The token stands in no line.
    assert not any(TOKEN in line for line in lines)
    bp.serve(station.folder, port=0, token=TOKEN + "2")
    assert served.pop().token == TOKEN + "2"


def test_the_browser_is_opened_where_there_is_a_screen(
    station: EmbeddingStore, served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list[str]()
    seen = threading.Event()

    def note(address: str) -> None:
        opened.append(address)
        seen.set()

    monkeypatch.setattr("webbrowser.open", note)
    monkeypatch.setattr(sys, "platform", "linux")
    bp.serve(station.folder, port=0)
    monkeypatch.setenv("DISPLAY", ":0")
    bp.serve(station.folder, port=0, open_browser=False)
    assert not opened
    bp.serve(station.folder, port=0, token=TOKEN)
    assert seen.wait(5)
    # Behind # it is sent to no server.
    assert opened[0].endswith("/enter#a%20token%20of%20a%20field%20station")
    assert len(served) == 3


def test_a_port_that_is_taken_is_said(station: EmbeddingStore, served: list[Any]) -> None:
    with listening.bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MisuseError, match=f"--port {port} cannot be listened at"):
            bp.serve(station.folder, port=port)
    with pytest.raises(MisuseError, match="cannot be listened at"):
        bp.serve(station.folder, host="203.0.113.7", port=0, token=TOKEN)
    assert not served


def test_names_by_which_it_is_asked() -> None:
    own = ("127.0.0.1", "localhost", "[::1]")
    assert serving._list_hosts("localhost", []) == own
    assert serving._list_hosts("::1", []) == own
    assert serving._list_hosts("10.1.2.3", ["Camp"]) == (*own, "10.1.2.3", "camp")


@contextlib.contextmanager
def listen(folder: Path, **given: object) -> Iterator[tuple[str, int]]:
    """Serve a store in a thread.

    Yields
    ------
    tuple of str and int
        Its address.
    """
    settings = Settings(**given)  # type: ignore[arg-type]
    bound = listening.bind("127.0.0.1", 0)
    server = listening.make_server(build_app(folder, settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield bound.getsockname()
    finally:
        server.should_exit = True
        thread.join(10)


def test_who_brings_nothing_is_let_go(
    station: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_HEAD_S", 0.2)
    head = b"POST /api/v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with listen(station.folder, wait_s=0.2) as address:
        with socket.create_connection(address, timeout=60) as silent:
            assert silent.recv(100) == b""
        with socket.create_connection(address, timeout=60) as slow:
            slow.sendall(head[:40])
            assert slow.recv(100) == b""
        with socket.create_connection(address, timeout=60) as half:
            half.sendall(head + b"Content-Length: 100\r\n\r\n{")
            assert half.recv(4000).startswith(b"HTTP/1.1 408 ")
        with socket.create_connection(address, timeout=60) as gone:
            gone.sendall(head + b"Content-Length: 100\r\n\r\n{")
        with socket.create_connection(address, timeout=60) as large:
            large.sendall(head + b"Content-Length: 99999999\r\n\r\n{")
            assert large.recv(4000).startswith(b"HTTP/1.1 413 ")
        for junk in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
            with socket.create_connection(address, timeout=60) as odd:
                odd.sendall(junk)
                assert b" 400 " in odd.recv(4000)
        shown = urllib.request.urlopen(
            f"http://{address[0]}:{address[1]}/api/v1/session", timeout=60
        )
        assert shown.status == 200


def test_those_who_send_pictures_wait_for_each_other(station: EmbeddingStore) -> None:
    head = (
        b"POST /api/v1/pictures HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with listen(station.folder, most_uploading=1, turn_s=0.1) as address:
        with socket.create_connection(address, timeout=60) as slow:
            slow.sendall(head)
            time.sleep(0.05)
            with socket.create_connection(address, timeout=60) as other:
                other.sendall(head)
                said = other.recv(4000)
                assert said.startswith(b"HTTP/1.1 429 ")
                assert b"retry-after: " in said.lower()
            # Others are answered meanwhile, and pictures once there is room.
            ask = f"http://{address[0]}:{address[1]}/api/v1/session"
            assert urllib.request.urlopen(ask, timeout=60).status == 200
        with socket.create_connection(address, timeout=60) as later:
            later.sendall(head.replace(b"1000", b"5") + b"--x--")
            assert not later.recv(4000).startswith(b"HTTP/1.1 429 ")


def test_who_leaves_while_sending_is_no_fault_of_the_server(
    station: EmbeddingStore, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("uvicorn.error").addHandler(caplog.handler)
    head = (
        b"POST /api/v1/pictures HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    with listen(station.folder) as address:
        for _ in range(3):
            with socket.create_connection(address, timeout=60) as gone:
                gone.sendall(head)
                time.sleep(0.05)
        ask = f"http://{address[0]}:{address[1]}/api/v1/session"
        assert urllib.request.urlopen(ask, timeout=60).status == 200
    logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_no_more_are_connected_than_may_be(
    station: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_CONNECTIONS", 2)
    with listen(station.folder) as address, contextlib.ExitStack() as open_ones:
        for _ in range(2):
            one = open_ones.enter_context(socket.create_connection(address, timeout=60))
            one.sendall(b"GET /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert one.recv(4000).startswith(b"HTTP/1.1 200 ")
        with socket.create_connection(address, timeout=60) as third:
            assert third.recv(4000).startswith(b"HTTP/1.1 429 ")


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a server of a store, and return it with its address."""
    command = [sys.executable, "-m", "bioprobe", "serve", "--store", str(folder), "--port", "0",
               "--no-open"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"at (http://\S+/);", line):
            return process, found[1]
    msg = "the server did not start"
    raise AssertionError(msg)


def annotate(address: str, row: int, id: str) -> bool:
    """Tell whether an annotation was taken."""
    said = {"id": id, "row": row, "level": "family", "value": "Muridae"}
    body = json.dumps({"by": "anna", "annotations": [said]}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}api/v1/annotations", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def kill_under_load(folder: Path, seed: int, n_threads: int = 4) -> None:
    """Kill a server while several annotate, and find all that it took."""
    random = np.random.default_rng(seed)
    process, address = start(folder)
    taken = list[str]()

    def work(thread: int) -> None:
        for n in range(10_000):
            id = uuid.UUID(int=(seed << 64) + (thread << 32) + n).hex
            if not annotate(address, n % 40, id):
                return
            taken.append(id)

    threads = [threading.Thread(target=work, args=(one,)) for one in range(n_threads)]
    for one in threads:
        one.start()
    while len(taken) < 5:
        time.sleep(0.002)
    time.sleep(float(random.uniform(0, 0.3)))
    process.send_signal(signal.SIGKILL)
    for one in threads:
        one.join()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    kept = set(bp.open(folder).annotations().to_frame()["id"])
    assert set(taken) <= kept
    assert EmbeddingStore.open(folder).read_vectors().shape == (80, 16)


def test_a_killed_server_has_kept_what_it_took(families: EmbeddingStore) -> None:
    kill_under_load(families.folder, 7)


@pytest.mark.long
def test_a_server_that_is_killed_at_many_moments_has_kept_what_it_took(
    families: EmbeddingStore,
) -> None:
    for seed in range(20):
        kill_under_load(families.folder, seed)


def test_a_signal_ends_it_in_peace_and_nothing_it_asks_loads_torch(
    families: EmbeddingStore,
) -> None:
    process, address = start(families.folder)
    body = json.dumps({"row": 3, "k": 2}).encode()
    request = urllib.request.Request(
        f"{address}api/v1/search", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert len(json.load(answer)["rows"]) == 2
    if sys.platform == "linux":
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
        assert "libtorch" not in mapped
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert process.stderr is not None
    process.stderr.close()
    assert "BIOPROBE_TOKEN" not in os.environ
