"""What listens: connections that bring nothing are let go, and a signal ends it in peace."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bioprobe.errors import MisuseError

# How long the head of a request may take, and answers that are on their way when it ends.
_HEAD_S, _END_S = 15.0, 5
# Connections at one time; each is a file of the process, of which it has a thousand or so.
_CONNECTIONS = 400
_BUSY = (
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Patient(H11Protocol):
    """One connection, which is closed where the head of a request does not come."""

    _head: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > _CONNECTIONS:
            transport.write(_BUSY)
            transport.close()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._wait()
        else:
            self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._rest()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(_HEAD_S, self.transport.close)

    def _rest(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


class Server(uvicorn.Server):
    """A server that a signal ends without ending the program."""

    #: Told that it ends.
    ending: Callable[[], None] | None = None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End once what is being answered is; what waits is sent away."""
        if self.ending is not None:
            self.ending()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End at Ctrl-C or SIGTERM, once what is being answered is."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wanted = (signal.SIGINT, signal.SIGTERM)
        before = {one: signal.signal(one, self.handle_exit) for one in wanted}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def make_server(app: Any) -> Server:  # noqa: ANN401 - an ASGI application
    """Return what serves an application on a socket that is bound."""
    listening = uvicorn.Config(
        app, http=Patient, ws="none", log_level="warning", access_log=False, server_header=False,
        timeout_keep_alive=5, timeout_graceful_shutdown=_END_S, h11_max_incomplete_event_size=65536,
    )  # fmt: skip
    server = Server(listening)
    server.ending = app.state.desk.hurry
    return server


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    MisuseError
        If the host is none of this machine's, or the port is taken or forbidden.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=256)
    except OSError as error:
        msg = (
            f"--host {host} --port {port} cannot be listened at ({error.strerror or error}); "
            "choose another --port (0 takes one that is free), or a --host of this machine"
        )
        raise MisuseError(msg) from error
