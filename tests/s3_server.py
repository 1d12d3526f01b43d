"""A server of S3 on this machine that fails at seeded moments, as servers and networks do."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import pytest

_BUSY = (
    b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.'
    b"</Message></Error>"
)


@dataclasses.dataclass
class Faults:
    """What goes wrong with requests for objects.

    Parameters
    ----------
    share : float
        Of the requests, 0 to 1, that fail.
    seed : int
    never : str
        Objects whose key ends so are answered 503 whenever they are asked for.
    """

    share: float = 0.0
    seed: int = 0
    never: str = ""
    #: How often each kind of fault was met, and which objects were sent whole.
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    sent: list[str] = dataclasses.field(default_factory=list)
    _turn: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    _random: random.Random | None = None

    def draw(self, method: str, path: str) -> str:
        """Draw what becomes of a request."""
        with self._turn:
            self._random = self._random or random.Random(self.seed)
            fails = self._random.random() < self.share
            kind = self._random.choice(("reset", "busy", "error", "cut", "slow"))
            if self.never and path.endswith(self.never) and method == "GET":
                fails, kind = True, "busy"
            if not fails:
                if method == "GET":
                    self.sent.append(path)
                return ""
            self.counts[kind] = self.counts.get(kind, 0) + 1
            return kind


class FaultyServer:
    """A WSGI application of which some answers come late, cut off, or not at all."""

    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        self._inner = inner
        self.faults = Faults()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"].encode("latin-1").decode()
        kind = self.faults.draw(environ["REQUEST_METHOD"], path)
        connection = environ["werkzeug.socket"]
        if kind == "reset":
            _drop(connection)
        if kind in {"busy", "error"}:
            status = "503 Slow Down" if kind == "busy" else "500 Internal Server Error"
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(status, [("Content-Type", "application/xml")])
            return [_BUSY if kind == "busy" else _BUSY.replace(b"SlowDown", b"InternalError")]
        body = self._inner(environ, start_response)
        return _hold(body, connection, is_cut=kind == "cut") if kind else body


def _hold(body: Iterable[bytes], connection: socket.socket, *, is_cut: bool) -> Iterator[bytes]:
    """Send half of an answer, and the rest late or never."""
    data = b"".join(body)
    half = len(data) // 2
    yield data[:half]
    if is_cut and data:
        _drop(connection)
    time.sleep(0.05)
    yield data[half:]


def _drop(connection: socket.socket) -> NoReturn:
    # A connection that is only forgotten would be waited for.
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError


@contextlib.contextmanager
def serve_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Serve S3 on 127.0.0.1 with an empty bucket of the name ``bucket``.

    Yields
    ------
    FaultyServer
        Its ``faults`` may be replaced at any time.
    """
    import s3fs
    from moto import server as moto_server
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    app = FaultyServer(moto_server.DomainDispatcherApplication(moto_server.create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-nobody")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # What is tried is how we ask again, not how the library below does.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        system = s3fs.S3FileSystem()
        system.makedirs("bucket", exist_ok=True)
        # What moto holds is of the process, not of the server.
        for left in system.find("bucket"):
            system.rm_file(left)
        yield app
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.shutdown()
        server.server_close()
        thread.join()
