"""Who may ask, and what a browser may do with what it gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

    from bioprobe.web.desk import Settings

#: What a page may load and run: its own files and nothing of anybody else, no script in the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
    "frame-ancestors 'self'; frame-src 'self'; base-uri 'none'"
)


def guard(app: FastAPI, settings: Settings) -> None:
    """Put the checks around an application.

    Parameters
    ----------
    app : FastAPI
        What is asked.
    settings : Settings
        What may be done.
    """
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    @app.middleware("http")
    async def _add_headers(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        answer = await call_next(request)
        answer.headers.setdefault("Content-Security-Policy", POLICY)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Referrer-Policy"] = "same-origin"
        return answer

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts))
