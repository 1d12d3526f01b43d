"""Who may ask, how much and how often, and what a browser may do with what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse

from bioprobe.web.problems import API_PREFIX, Refusal, answer_refusal, refuse_writing

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from bioprobe.web.desk import Settings

#: What a page may load and run: its own files and nothing of anybody else, no script in the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
    "frame-ancestors 'self'; frame-src 'self'; base-uri 'none'"
)
#: Where those who have a token show it, and get a cookie for it.
DOOR = "/enter"
#: Name of the cookie of a session, and of the header that a page's writes carry.
COOKIE, CSRF_HEADER = "bioprobe_session", "X-CSRF-Token"
_SAFE = {"GET", "HEAD", "OPTIONS"}
# What is no secret, and the door needs: styles and scripts of the pages, and what a browser asks
# for without its cookies where a page is installed.
_OPEN = (DOOR, "/manifest.webmanifest", "/sw.js")
_SESSION_S = 30 * 24 * 3600
# Attempts at a token that one address has in a minute.
_ATTEMPTS = 10
# Addresses that are remembered; whoever asks from more starts anew.
_CLIENTS = 4096
# What a browser says of itself: a program that is none says nothing of it.
_BROWSER = ("origin", "referer", "sec-fetch-site", "cookie")


class Bucket:
    """So much at once, and so much a second after it.

    Parameters
    ----------
    rate : float
        In a second.
    burst : float
        At once.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one for a client, and return 0; or the seconds until there is one."""
        now = time.monotonic()
        left, then = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        wait_s = 0.0 if left >= 1 else (1 - left) / self._rate
        self._left[client] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return wait_s


class Sessions:
    """Cookies of those who were let in, and what their pages show when they write.

    Nothing is kept: a cookie is a name with a signature over it. Its key comes of the token, so
    that a server that starts again knows them; without a token, of chance.
    """

    def __init__(self, token: str | None) -> None:
        seed = secrets.token_bytes(32) if token is None else token.encode()
        self._key = hashlib.scrypt(seed, salt=b"bioprobe session", n=2**12, r=8, p=1)
        self._token = None if token is None else hashlib.sha256(token.encode()).digest()

    def is_token(self, shown: str) -> bool:
        """Tell whether it is the token, in the same time whatever is shown."""
        given = hashlib.sha256(shown.encode("utf-8", "surrogateescape")).digest()
        return self._token is not None and hmac.compare_digest(given, self._token)

    def make(self) -> str:
        """Return a new cookie."""
        name = f"{int(time.time())}.{secrets.token_hex(16)}"
        return f"{name}.{self._sign('session', name)}"

    def is_ours(self, cookie: str) -> bool:
        """Tell whether a cookie was made here, and not too long ago."""
        name, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", name).encode()):
            return False
        began = int(name.partition(".")[0])
        return time.time() - began < _SESSION_S

    def make_csrf(self, cookie: str) -> str:
        """Return what the pages of a session show when they write."""
        return self._sign("csrf", cookie)

    def is_csrf(self, cookie: str, shown: str) -> bool:
        """Tell whether that was shown."""
        return hmac.compare_digest(shown.encode(), self.make_csrf(cookie).encode())

    def _sign(self, what: str, name: str) -> str:
        return hmac.new(self._key, f"{what}\0{name}".encode(), hashlib.sha256).hexdigest()


class Guard:
    """The checks around an application; what passes them finds its session in ``state``."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self.sessions = Sessions(settings.token)
        self._requests = Bucket(settings.requests_per_s, settings.requests_at_once)
        self._attempts = Bucket(_ATTEMPTS / 60, _ATTEMPTS)
        self._n_inside = 0
        self._uploading = asyncio.Semaphore(settings.most_uploading)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), str(scope["path"])
        state = scope.setdefault("state", {})
        answer: Answering = Answering(send, self._settings, path)
        try:
            self._check_host(headers)
            self._check_rate(scope)
            cookie = self._let_in(scope, headers, path)
            if cookie is None:
                cookie = self.sessions.make()
                answer.cookie = self._write_cookie(cookie, scope)
            state["csrf"] = self.sessions.make_csrf(cookie)
            state["sessions"] = self.sessions
            state["guard"] = self
            # Where who asked has left, nobody is left to answer, and nothing went wrong here.
            with self._inside(), contextlib.suppress(ClientDisconnect):
                if _is_upload(headers) and path not in _OPEN:
                    async with self._taking_pictures():
                        body = Body(receive, headers, self._settings.upload_bytes, self._settings)
                        await self._app(scope, body.receive, answer.send)
                else:
                    body = Body(receive, headers, self._settings.body_bytes, self._settings)
                    await self._app(scope, body.receive, answer.send)
        except _EnterFirstError:
            query = scope["query_string"].decode("latin-1")
            where = quote(f"{path}?{query}" if query else path)
            await RedirectResponse(f"{DOOR}?next={where}", 303)(scope, receive, answer.send)
        except Refusal as refusal:
            if not answer.has_begun:
                accept = headers.get("accept", "")
                await answer_refusal(refusal, path, accept=accept)(scope, receive, answer.send)

    def _check_host(self, headers: Headers) -> None:
        named = [value for name, value in headers.items() if name == "host"]
        host = _read_host(named[0]) if len(named) == 1 else ""
        allowed = self._settings.hosts
        if host in allowed or ("*" in allowed and _is_address(host)):
            return
        known = ", ".join(one for one in allowed if one != "*")
        msg = (
            f"this server is not {host or 'without a name'}; ask it by {known}, or start it with "
            "--host or --allow-host"
        )
        raise Refusal(400, msg, kind="UnknownHost")

    def _check_rate(self, scope: Scope) -> None:
        if wait_s := self._requests.take(_name_client(scope)):
            msg = f"too many requests; ask again in {wait_s:.1f} s"
            raise Refusal(429, msg, again_s=wait_s)

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        """Count a request while it is answered."""
        if self._n_inside >= self._settings.most_inside:
            msg = (
                f"{self._n_inside} requests are being answered, which is as many as there may be; "
                "ask again in a second"
            )
            raise Refusal(429, msg, again_s=1)
        self._n_inside += 1
        try:
            yield
        finally:
            self._n_inside -= 1

    @contextlib.asynccontextmanager
    async def _taking_pictures(self) -> AsyncIterator[None]:
        """Wait until there is memory for what is sent; it stays with who sends it meanwhile.

        Yields
        ------
        None
        """
        turn_s = self._settings.turn_s
        try:
            await asyncio.wait_for(self._uploading.acquire(), turn_s)
        except TimeoutError:
            msg = f"others sent pictures for {turn_s:g} s; send these again"
            raise Refusal(429, msg, again_s=2, headers={"Connection": "close"}) from None
        try:
            yield
        finally:
            self._uploading.release()

    def _let_in(self, scope: Scope, headers: Headers, path: str) -> str | None:
        """Return the cookie of the session, None where there is none and none is needed.

        Raises
        ------
        Refusal
            If whoever asks may not.
        """
        writes = scope["method"] not in _SAFE
        self._check_origin(headers, writes=writes)
        cookie = _read_cookie(headers)
        if cookie is not None and not self.sessions.is_ours(cookie):
            cookie = None
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        is_open = path in _OPEN or path.startswith("/static/")
        if shown and self._settings.token is not None and not is_open:
            return self._read_bearer(scope, scheme, shown.strip())
        if self._settings.token is not None and cookie is None and not is_open:
            if path.startswith(API_PREFIX) or writes:
                msg = "this server has a token; send it as: Authorization: Bearer TOKEN"
                headers_ = {"WWW-Authenticate": 'Bearer realm="bioprobe"'}
                raise Refusal(401, msg, headers=headers_)
            raise _EnterFirstError
        if writes and not is_open:
            self._check_csrf(headers, cookie)
            if self._settings.read_only and not path.startswith(API_PREFIX):
                # A page asks by GET; the API says of each of its routes whether it writes.
                raise refuse_writing()
        return cookie

    def _read_bearer(self, scope: Scope, scheme: str, shown: str) -> str | None:
        if scheme.lower() == "bearer" and self.is_let_in(scope, shown):
            return ""
        msg = "this is not the token of this server; send it as: Authorization: Bearer TOKEN"
        raise Refusal(401, msg, headers={"WWW-Authenticate": 'Bearer realm="bioprobe"'})

    def is_let_in(self, scope: Scope, shown: str) -> bool:
        """Tell whether a token that is shown is the right one; who guesses has to wait.

        Raises
        ------
        Refusal
            If wrong ones came from the same address too often.
        """
        if self.sessions.is_token(shown):
            return True
        if wait_s := self._attempts.take(_name_client(scope)):
            msg = f"too many wrong tokens; try again in {wait_s:.0f} s"
            raise Refusal(429, msg, again_s=wait_s)
        return False

    def _check_origin(self, headers: Headers, *, writes: bool) -> None:
        """Refuse what a page of somebody else had a browser ask."""
        site = headers.get("sec-fetch-site", "none")
        mode = headers.get("sec-fetch-mode", "navigate")
        if site in {"cross-site", "same-site"} and (writes or mode != "navigate"):
            msg = "a page of another server asked this; open the page of this one"
            raise Refusal(403, msg, kind="OtherOrigin")
        origin = headers.get("origin")
        if not writes or origin is None:
            return
        scheme, _, host = origin.lower().partition("://")
        if scheme not in {"http", "https"} or host != headers.get("host", "").lower():
            msg = f"a page of {origin} asked this to be written; open the page of this server"
            raise Refusal(403, msg, kind="OtherOrigin")

    def _check_csrf(self, headers: Headers, cookie: str | None) -> None:
        shown = headers.get(CSRF_HEADER)
        if cookie is not None and shown and self.sessions.is_csrf(cookie, shown):
            return
        is_browser = any(name in headers for name in _BROWSER)
        if self._settings.token is None and not is_browser:
            return
        msg = (
            f"the header {CSRF_HEADER} is missing, or of a page from before the server was "
            "started; load the page again, or ask GET /api/v1/session"
        )
        raise Refusal(403, msg, kind="OldPage")

    def _write_cookie(self, cookie: str, scope: Scope) -> str:
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        return f"{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={_SESSION_S}{secure}"

    def open_session(self, scope: Scope) -> str:
        """Return the header of a cookie for somebody who has shown the token."""
        return self._write_cookie(self.sessions.make(), scope)


class _EnterFirstError(Exception):
    """Somebody asks for a page who has not shown the token."""


class Answering:
    """Adds to each answer what browsers must know."""

    def __init__(self, send: Send, settings: Settings, path: str) -> None:
        self._send = send
        self._is_private = settings.token is not None
        self._path = path
        self.cookie: str | None = None
        self.has_begun = False

    async def send(self, message: Message) -> None:
        """Send one part of an answer."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            headers.setdefault("Content-Security-Policy", POLICY)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            if self._is_private and not self._path.startswith("/static/"):
                headers.setdefault("Cache-Control", "no-store")
            else:
                headers.setdefault("Cache-Control", "no-cache")
            is_page = headers.get("content-type", "").startswith("text/html")
            # A session without a token begins with a page, which shows what its writes carry.
            if (
                self.cookie is not None
                and not self._is_private
                and (is_page or self._path == f"{API_PREFIX}v1/session")
            ):
                headers.append("Set-Cookie", self.cookie)
        await self._send(message)


class Body:
    """What is sent, no more of it than may be and no slower."""

    def __init__(
        self, receive: Receive, headers: Headers, limit_bytes: int, settings: Settings
    ) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._n_bytes = 0
        self._wait_s = settings.wait_s
        self._until = time.monotonic() + settings.upload_s
        self._is_whole = False
        said = headers.get("content-length", "0")
        if said.isdigit() and int(said) > limit_bytes:
            self._refuse(int(said))

    async def receive(self) -> Message:
        """Receive one part of a request.

        Raises
        ------
        Refusal
            If it is too large, or takes too long.
        """
        if self._is_whole:
            # All that comes is that whoever asked has gone, for which an answer may wait.
            return await self._receive()
        left_s = min(self._wait_s, self._until - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(left_s, 0.001))
        except TimeoutError:
            msg = (
                f"{self._n_bytes:,} bytes came and no more within {self._wait_s:g} s, or all of it "
                "took too long; send less at once"
            )
            raise Refusal(408, msg, headers={"Connection": "close"}) from None
        if message["type"] == "http.request":
            self._n_bytes += len(message.get("body", b""))
            if self._n_bytes > self._limit_bytes:
                self._refuse(self._n_bytes)
            self._is_whole = not message.get("more_body", False)
        return message

    def _refuse(self, n_bytes: int) -> None:
        msg = (
            f"{n_bytes:,} bytes were sent or announced, at most {self._limit_bytes:,} are taken; "
            "send less at once"
        )
        raise Refusal(413, msg, kind="TooLarge", headers={"Connection": "close"})


def _is_upload(headers: Headers) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def _read_host(value: str) -> str:
    """Return the host of a header without its port, in small letters.

    Examples
    --------
    >>> _read_host("LocalHost:8765"), _read_host("[::1]:80"), _read_host("10.0.0.1")
    ('localhost', '[::1]', '10.0.0.1')
    """
    if value.startswith("["):
        return value.partition("]")[0].lower() + "]"
    return value.partition(":")[0].lower().rstrip(".")


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.strip("[]"))
        return True
    return False


def _read_cookie(headers: Headers) -> str | None:
    try:
        jar = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return jar[COOKIE].value if COOKIE in jar else None


def _name_client(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
