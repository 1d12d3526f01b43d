"""Pictures at addresses, fetched where a person asks for it: once, politely, and nothing private.

What an address answers is kept in the cache under the address, so that an interrupted run goes on
where it was. No host is asked by more than a few connections at once, or more often than a rate; a
host that says that it is busy is waited for. Only what is called a picture is kept, or what the
host has no name for, and nothing larger than a picture.

An address in a table may come from somebody else, who could name a machine that only this one
reaches. One that is not on the public internet is therefore refused, by the number that the
connection has, whatever the name stands for, redirections too.
"""

from __future__ import annotations

import collections
import dataclasses
import ipaddress
import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bioprobe.files import replacing
from bioprobe.images.addresses import find_copy, to_http
from bioprobe.progress import Progress, Step

if TYPE_CHECKING:
    import urllib3

# No picture that people put on the web is larger.
MOST_BYTES = 512 << 20
_CHUNK_BYTES = 1 << 16
_REDIRECTIONS = 5
# What hosts answer for a file that they have no kind for.
_NAMELESS = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/binary"})


@dataclasses.dataclass(frozen=True)
class FetchOptions:
    """How addresses are asked.

    Parameters
    ----------
    per_second : float
        Pictures that are asked of one host in a second, > 0.
    connections : int
        Connections to one host at one time, ≥ 1.
    timeout_s : float
        Seconds that a host may be silent.
    retries : int
        How often a host that is busy, or a connection that breaks, is tried again; the waiting
        doubles each time, and is as long as the host says, where it says so.
    allow_private : bool
        Whether machines that are not on the public internet may be asked.
    most_bytes : int
        What answers with more is refused.
    """

    per_second: float = 10.0
    connections: int = 4
    timeout_s: float = 30.0
    retries: int = 4
    allow_private: bool = False
    most_bytes: int = MOST_BYTES


def fetch(
    addresses: Iterable[str],
    options: FetchOptions | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Fetch what addresses answer into the cache; what is there already is not asked again.

    Parameters
    ----------
    addresses : iterable of str
        ``http``, ``https``, and public objects of ``gs`` and ``s3``.
    options : FetchOptions, optional
    progress : callable, optional
        Told after each.

    Returns
    -------
    dict of str to str
        Why an address was not fetched, by the address; what is not here, is there.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    options = options or FetchOptions()
    missing = [one for one in dict.fromkeys(addresses) if not find_copy(one).is_file()]
    reasons: dict[str, str] = {}
    hosts: dict[str, _Host] = collections.defaultdict(lambda: _Host(options))
    asker = _Asker(options)
    with ThreadPoolExecutor(4 * options.connections, thread_name_prefix="bioprobe-fetch") as pool:
        try:
            tasks = {
                pool.submit(asker.fetch, one, hosts[_name_host(one)]): one
                for one in _alternate(missing)
            }
            for n_done, task in enumerate(as_completed(tasks), start=1):
                if reason := task.result():
                    reasons[tasks[task]] = reason
                if progress is not None:
                    progress(Step(n_done, len(missing), "pictures fetched", len(reasons)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return reasons


class _Host:
    """One host, which is asked by few at one time, and not too often."""

    def __init__(self, options: FetchOptions) -> None:
        self._free = threading.Semaphore(options.connections)
        self._lock = threading.Lock()
        self._pause_s = 1 / options.per_second
        self._next_s = 0.0

    def __enter__(self) -> None:
        self._free.acquire()
        with self._lock:
            now_s = time.monotonic()
            start_s = max(now_s, self._next_s)
            self._next_s = start_s + self._pause_s
        time.sleep(start_s - now_s)

    def __exit__(self, *_: object) -> None:
        self._free.release()


class _RefusedError(Exception):
    """An address that is not fetched, and why."""


class _Asker:
    """Ask one address after the other, by threads."""

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._pool = _make_pool(options)

    def fetch(self, address: str, host: _Host) -> str:
        """Fetch one address; return why not, ``""`` where it is there."""
        import urllib3

        try:
            with host:
                self._fetch(address)
        except _RefusedError as error:
            return str(error)
        except urllib3.exceptions.HTTPError as error:
            return _explain(error)
        return ""

    def _fetch(self, address: str) -> None:
        url = to_http(address)
        if urlsplit(url).scheme.lower() not in ("http", "https"):
            msg = "addresses that begin with http, https, gs or s3 are fetched, and no others"
            raise _RefusedError(msg)
        response = self._pool.request("GET", url, preload_content=False)
        try:
            _check(response, self._options.most_bytes)
            with replacing(find_copy(address)) as temporary:
                self._save(response, temporary)
        finally:
            response.release_conn()

    def _save(self, response: urllib3.BaseHTTPResponse, temporary: Path) -> None:
        n_bytes = 0
        with temporary.open("wb") as file:
            for chunk in response.stream(_CHUNK_BYTES, decode_content=True):
                n_bytes += len(chunk)
                if n_bytes > self._options.most_bytes:
                    raise _RefusedError(_TOO_LARGE.format(self._options.most_bytes))
                file.write(chunk)
        if not n_bytes:
            msg = "the address answers nothing"
            raise _RefusedError(msg)


_TOO_LARGE = "the address answers more than {:,} bytes, more than any picture"


def _check(response: urllib3.BaseHTTPResponse, most_bytes: int) -> None:
    if response.status != 200:
        reason = f" {response.reason}" if response.reason else ""
        msg = f"the address answers {response.status}{reason}"
        raise _RefusedError(msg)
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in _NAMELESS and not kind.startswith("image/"):
        msg = f"the address answers {kind}, expected a picture (image/…)"
        raise _RefusedError(msg)
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > most_bytes:
        raise _RefusedError(_TOO_LARGE.format(most_bytes))


def _make_pool(options: FetchOptions) -> Any:  # noqa: ANN401 - urllib3 is loaded where it is used
    import urllib3
    from urllib3.connection import HTTPConnection, HTTPSConnection

    from bioprobe import __version__

    def check(connection: HTTPConnection) -> None:
        if options.allow_private:
            return
        number = ipaddress.ip_address(connection.sock.getpeername()[0].partition("%")[0])
        mapped = getattr(number, "ipv4_mapped", None)
        if not (mapped or number).is_global:
            connection.close()
            raise _RefusedError(_PRIVATE.format(connection.host, number))

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            check(self)

    class Safe(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            check(self)

    retries = urllib3.Retry(
        total=options.retries + _REDIRECTIONS,
        connect=options.retries, read=options.retries, status=options.retries, other=0,
        redirect=_REDIRECTIONS, status_forcelist=(429, 500, 502, 503, 504), backoff_factor=0.5,
        raise_on_status=False,
    )  # fmt: skip
    pool = urllib3.PoolManager(
        num_pools=32,
        maxsize=options.connections,
        headers={"User-Agent": f"bioprobe/{__version__}", "Accept": "image/*,*/*;q=0.1"},
        retries=retries,
        timeout=urllib3.Timeout(options.timeout_s),
    )
    classes: dict[str, Any] = {"http": Plain, "https": Safe}
    pool.pool_classes_by_scheme = {
        scheme: _with_connection(base, classes[scheme])
        for scheme, base in pool.pool_classes_by_scheme.items()
    }
    return pool


def _with_connection(pool: Any, connection: Any) -> Any:  # noqa: ANN401 - classes
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


_PRIVATE = (
    "{} is {}, which is not on the public internet; a table may come from somebody else, so that "
    "it is not asked unless --allow-private says so"
)


def _explain(error: Exception) -> str:
    import urllib3

    cause = error
    while isinstance(cause, urllib3.exceptions.MaxRetryError) and cause.reason is not None:
        cause = cause.reason
    if isinstance(cause, urllib3.exceptions.ResponseError):
        return f"the address cannot be read: {cause}"
    if isinstance(cause, urllib3.exceptions.TimeoutError):
        return "the address does not answer in time"
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return "the address cannot be read: no machine has that name, or there is no network"
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return "the address cannot be read: no machine answers there"
    return f"the address cannot be read: {' '.join(str(cause).split())}"


def _name_host(address: str) -> str:
    return urlsplit(to_http(address)).netloc.lower()


def _alternate(addresses: Sequence[str]) -> Iterator[str]:
    """Take the addresses of each host in turn, so that a slow one keeps no other waiting."""
    by_host: dict[str, list[str]] = {}
    for one in addresses:
        by_host.setdefault(_name_host(one), []).append(one)
    for turn in itertools.zip_longest(*by_host.values()):
        yield from (one for one in turn if one is not None)
