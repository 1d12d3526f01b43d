"""What went wrong, said so that a program and a person can act on it.

References
----------
RFC 9457, *Problem Details for HTTP APIs*.
"""

from __future__ import annotations

import html
import json
import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import HTTPException as Refused
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from bioprobe.errors import (
    BioprobeError,
    ImageReadError,
    MissingExtraError,
    ModelUnavailableError,
    NoTextTowerError,
    StoreError,
    StoreLockedError,
    UnreadableError,
)
from bioprobe.files import has_no_room, is_full
from bioprobe.options import write_plainly

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

API_PREFIX = "/api/"
MEDIA_TYPE = "application/problem+json"

# The first that an error is one of. What no line names is what was asked, which cannot be answered.
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (StoreLockedError, HTTPStatus.LOCKED),
    (UnreadableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreError, HTTPStatus.CONFLICT),
    (ModelUnavailableError, HTTPStatus.FAILED_DEPENDENCY),
    (MissingExtraError, HTTPStatus.FAILED_DEPENDENCY),
    (NoTextTowerError, HTTPStatus.CONFLICT),
    (ImageReadError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (BioprobeError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
# Of what passes by itself: seconds after which to ask again.
_AGAIN_S = {HTTPStatus.LOCKED: 2, HTTPStatus.SERVICE_UNAVAILABLE: 5}
_TITLES = {
    "StoreLockedError": "Somebody else is writing to the store",
    "UnreadableError": "The disk cannot be read just now",
    "StoreError": "The store does not allow it",
    "MismatchError": "These are of another encoder",
    "TaxonomyError": "These names contradict each other",
    "PromptError": "These texts cannot be used",
    "LongTextError": "The encoder does not read so long a text",
    "SourceError": "This cannot be used as a source",
    "SelectionError": "No such images",
    "ProbeError": "The probe cannot be fitted so",
    "MisuseError": "These options do not go together",
    "ImageReadError": "The picture cannot be read",
    "ModelUnavailableError": "The model is not on this machine",
    "NoTextTowerError": "This encoder reads no text",
    "MissingExtraError": "Something is not installed on this machine",
}
# Letters of a value that is quoted.
_SHOWN = 60
_log = logging.getLogger("bioprobe.web")


class Wrong(BaseModel):
    """One value that was sent and cannot be taken."""

    where: str = Field(description="Place of the value, such as body.k.")
    got: Any = Field(default=None, description="What was sent there, shortened.")
    expected: str = Field(description="What is taken.")


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(default="about:blank", description="Kind of the problem, by its address.")
    title: str = Field(description="The kind in words, the same each time.")
    status: int = Field(description="The status of the answer, again.")
    detail: str = Field(description="What happened, what was got, what is expected, the remedy.")
    instance: str = Field(description="What was asked.")
    errors: list[Wrong] = Field(default=[], description="Of values that cannot be taken, each.")


class Refusal(Refused):
    """A request that is not answered, and why.

    Parameters
    ----------
    status : int
    detail : str
        What happened, what was got, what is expected, the remedy.
    kind : str
        Name of the kind, from which its address is made.
    again_s : float, optional
        Seconds after which to ask again.
    headers : mapping of str to str, optional
        Further headers.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        again_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        further = dict(headers or {})
        if again_s is not None:
            further["Retry-After"] = str(max(1, round(again_s)))
        super().__init__(int(status), detail, further)
        self.said = detail
        self.kind = kind or HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def refuse_writing() -> Refusal:
    """Return why nothing is written by a server that only reads."""
    msg = "this server was started with --read-only, and writes nothing"
    return Refusal(403, msg, kind="ReadOnly")


def find_status(error: BioprobeError) -> int:
    """Return the status that says what kind of error it is.

    Examples
    --------
    >>> int(find_status(StoreLockedError("")))
    423
    """
    return int(next(status for kind, status in _STATUSES if isinstance(error, kind)))


def describe_error(error: BioprobeError, path: str) -> dict[str, Any]:
    """Return an error as a problem; options are called as a body names them."""
    name = type(error).__name__
    if is_full(error):
        return _describe_full(str(error), path)
    detail = write_plainly(str(error))
    return _describe(find_status(error), name, _TITLES.get(name, name), detail, path)


def describe_fault(error: Exception, path: str) -> dict[str, Any]:
    """Return an error that nobody foresaw as a problem."""
    if isinstance(error, OSError) and has_no_room(error):
        said = "there was no room for what was sent or is to be sent; free space, then ask again"
        return _describe_full(said, path)
    detail = f"{type(error).__name__}; this is a fault of bioprobe: its log says where"
    return _describe(500, "InternalServerError", "A fault of bioprobe", detail, path)


def _describe_full(detail: str, path: str) -> dict[str, Any]:
    title = "The disk of the server has no room"
    return _describe(HTTPStatus.INSUFFICIENT_STORAGE, "DiskFull", title, detail, path)


def answer_refusal(refusal: Refusal, path: str, *, accept: str = "") -> Response:
    """Return what a request that is not answered gets: a problem, or a page where one is read."""
    title = _name_refusal(refusal.kind, refusal.status_code)
    problem = _describe(refusal.status_code, refusal.kind, title, refusal.said, path)
    return _answer(problem, path, accept, refusal.headers)


def _name_refusal(kind: str, status: int) -> str:
    said = _REFUSALS.get(kind, (status, ""))[1] or _TITLES.get(f"{kind}Error", "")
    return said.rstrip(".") or HTTPStatus(status).phrase


def handle_problems(app: FastAPI) -> None:
    """Answer each error of an application by a problem, or on its pages by a page that says it."""

    @app.exception_handler(BioprobeError)
    async def _ours(request: Request, error: BioprobeError) -> Response:
        problem = describe_error(error, request.url.path)
        again_s = _AGAIN_S.get(HTTPStatus(problem["status"]))
        headers = {} if again_s is None else {"Retry-After": str(again_s)}
        return _answer(problem, request.url.path, request.headers.get("accept", ""), headers)

    @app.exception_handler(OSError)
    async def _system(request: Request, error: OSError) -> Response:
        if not has_no_room(error):
            raise error
        path = request.url.path
        return _answer(describe_fault(error, path), path, request.headers.get("accept", ""))

    @app.exception_handler(Refusal)
    async def _refused(request: Request, error: Refusal) -> Response:
        return answer_refusal(error, request.url.path, accept=request.headers.get("accept", ""))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = [_describe_wrong(one) for one in error.errors()]
        sent = request.headers.get("content-type", "")
        if [one["where"] for one in wrong] == ["body"] and "json" not in sent.lower():
            msg = f"a body is sent as application/json, got {sent[:200] or 'no Content-Type'}"
            accept = request.headers.get("accept", "")
            return answer_refusal(Refusal(415, msg), request.url.path, accept=accept)
        detail = "; ".join(map(_say_wrong, wrong))
        kind, title = "InvalidRequest", "What was sent cannot be taken"
        problem = _describe(422, kind, title, detail, request.url.path, wrong)
        return _answer(problem, request.url.path, request.headers.get("accept", ""))

    @app.exception_handler(HTTPException)
    async def _plain(request: Request, error: HTTPException) -> Response:
        phrase = HTTPStatus(error.status_code).phrase
        said = error.detail if error.detail not in {phrase, _UNREAD} else ""
        path = request.url.path
        detail = said or _explain(error.status_code, request.method, path)
        kind = phrase.title().replace(" ", "")
        title = _name_refusal(kind, error.status_code)
        problem = _describe(error.status_code, kind, title, detail, path)
        accept = request.headers.get("accept", "")
        return _answer(problem, path, accept, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> Response:
        path = request.url.path
        _log.error("%s %s failed", request.method, path, exc_info=error)
        return _answer(describe_fault(error, path), path, request.headers.get("accept", ""))


# What FastAPI says of a body that Python's reader of JSON gives up on.
_UNREAD = "There was an error parsing the body"


def _explain(status: int, method: str, path: str) -> str:
    if status == HTTPStatus.BAD_REQUEST:
        return (
            "the body cannot be read; expected JSON in UTF-8, no deeper than a thousand brackets, "
            "no number of thousands of digits"
        )
    if status == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {path}; see /api/v1/openapi.json"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{path} takes no {method}; see /api/v1/openapi.json"
    return HTTPStatus(status).phrase


def _describe(
    status: int, kind: str, title: str, detail: str, path: str, wrong: Sequence[Any] = ()
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": f"{API_PREFIX}v1/problems#{_name_anchor(kind)}",
        "title": title,
        "status": int(status),
        "detail": detail,
        "instance": path,
    }
    if wrong:
        found["errors"] = list(wrong)
    return found


def _name_anchor(kind: str) -> str:
    """Return the end of the address of a kind.

    Examples
    --------
    >>> _name_anchor("StoreLockedError"), _name_anchor("NoRow")
    ('store-locked', 'no-row')
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.removesuffix("Error")).lower()


def list_kinds() -> list[dict[str, Any]]:
    """Return each kind of problem: the end of its address, its status, its title, what it is."""
    found = [
        {"anchor": _name_anchor(name), "status": find_status(kind("")),
         "title": _TITLES.get(name, name), "said": (kind.__doc__ or "").partition("\n")[0]}
        for name, kind in _list_errors(BioprobeError)
    ]  # fmt: skip
    found += [
        {"anchor": _name_anchor(name), "status": status, "title": HTTPStatus(status).phrase,
         "said": said}
        for name, (status, said) in _REFUSALS.items()
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one["status"], one["anchor"]))


def _list_errors(kind: type[BioprobeError]) -> list[tuple[str, type[BioprobeError]]]:
    below = [one for child in kind.__subclasses__() for one in _list_errors(child)]
    return [(kind.__name__, kind), *below]


# What the server itself does not answer, by the kind that it names.
_REFUSALS: dict[str, tuple[int, str]] = {
    "BadRequest": (400, "The request cannot be read."),
    "UnknownHost": (400, "The server was asked by a name that is not its own."),
    "Unauthorized": (401, "No token was shown, or a wrong one."),
    "OtherOrigin": (403, "A page of another server asked."),
    "OldPage": (403, "A page of before the server was started asked, or one without its token."),
    "NoFolder": (403, "The server was started without --pictures, and adds none to the store."),
    "ReadOnly": (403, "The server was started with --read-only."),
    "NotFound": (404, "There is nothing at the address."),
    "NoRow": (404, "There is no such row, or it is no longer current; in a body 422."),
    "NoProbe": (404, "The store keeps no such probe."),
    "NoMap": (404, "The store keeps no such map."),
    "NoJob": (404, "There is no such job, or it is not known any more."),
    "NoPage": (404, "There is no such report."),
    "NoExport": (404, "Nothing of this name can be taken along."),
    "NoReview": (404, "There is no such review; begin it again, all that was answered is kept."),
    "MethodNotAllowed": (405, "The address takes no such request."),
    "RequestTimeout": (408, "What was announced did not come in time."),
    "Compacted": (409, "The store was compacted since, and rows have other numbers."),
    "NoTable": (409, "The job has no table, or not yet."),
    "NoFile": (409, "The job has no file, or not yet."),
    "NoAnswers": (409, "The job has no answers to images, or not yet."),
    "TooLarge": (413, "More was sent than is taken at once."),
    "UnsupportedMediaType": (
        415,
        "Pictures are sent as multipart/form-data, everything else as application/json.",
    ),
    "InvalidRequest": (422, "A value cannot be taken; errors says which."),
    "UnknownPicture": (422, "A picture that was sent is not known any more; send it again."),
    "NoPicture": (422, "No picture was sent."),
    "NoCursor": (422, "What should be next of the page before is not."),
    "TooManyImages": (422, "More images are asked than are answered at once; a job answers all."),
    "TooManyRequests": (429, "Too many requests; Retry-After says when to come again."),
    "InternalServerError": (500, "A fault of bioprobe."),
    "DiskFull": (507, "The disk of the server has no room; what was there before is whole."),
}


def _describe_wrong(error: Mapping[str, Any]) -> dict[str, Any]:
    where = ".".join(str(part) for part in error["loc"])
    got = error.get("input")
    try:
        shown = json.dumps(got)
    except (TypeError, ValueError, RecursionError):
        got, shown = None, ""
    if len(shown) > 200:
        got = shown[:200] + "…"
    return {"where": where, "got": got, "expected": error["msg"].removeprefix("Value error, ")}


def _say_wrong(wrong: Mapping[str, Any]) -> str:
    got = json.dumps(wrong["got"], ensure_ascii=False)
    shown = f"{got[:_SHOWN]}…" if len(got) > _SHOWN else got
    return f"{wrong['where']}: expected {wrong['expected']}, got {shown}"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · bioprobe</title><link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/page.css"><link rel="stylesheet" href="/static/app.css"></head>
<body><header class="top"><nav><a href="/">bioprobe</a></nav></header>
<main id="main"><h1>{title}</h1><p>{detail}</p>
<p class="buttons"><a class="button" href="/">To the start</a></p></main>
</body></html>
"""


def _answer(
    problem: Mapping[str, Any],
    path: str,
    accept: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a problem as JSON, or as a page to a browser that asked for one."""
    status = problem["status"]
    if not path.startswith(API_PREFIX) and "text/html" in accept:
        texts = {name: str(problem[name]) for name in ("title", "detail")}
        said = {name: html.escape(one[:1].upper() + one[1:]) for name, one in texts.items()}
        return HTMLResponse(_PAGE.format_map(said), status, headers=headers)
    # A name on the disk may hold what is no character.
    body = json.dumps(dict(problem), ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status, media_type=MEDIA_TYPE, headers=headers)
