"""Where those who have the token of a server show it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from bioprobe.web.desk import find_desk
from bioprobe.web.guard import DOOR

router = APIRouter(include_in_schema=False)


@router.get(DOOR)
def show(request: Request, next: str = "/") -> HTMLResponse:
    """Ask for the token."""
    return find_desk(request).show(request, "door.html.j2", next=_keep_here(next), wrong=False)


@router.post(DOOR)
def enter(
    request: Request,
    token: Annotated[str, Form(max_length=4096)] = "",
    next: Annotated[str, Form(max_length=4096)] = "/",
) -> Response:
    """Take a token, and give the cookie of a session for it."""
    where = _keep_here(next)
    if not request.state.guard.is_let_in(request.scope, token.strip()):
        page = find_desk(request).show(request, "door.html.j2", next=where, wrong=True)
        page.status_code = 401
        return page
    cookie = request.state.guard.open_session(request.scope)
    return RedirectResponse(where, 303, headers={"Set-Cookie": cookie})


def _keep_here(where: str) -> str:
    """Return an address of this server, whatever was named."""
    parts = urlsplit(where.replace("\\", "/"))
    is_ours = not parts.scheme and not parts.netloc and parts.path.startswith("/")
    is_ours = is_ours and not parts.path.startswith("//") and where.isprintable()
    return where if is_ours else "/"
