"""Reports: those that lie beside the store, and those that are made here, shown as they are."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from bioprobe.options import RANK_NAMES
from bioprobe.web.desk import Desk, check_writable, find_desk, find_store
from bioprobe.web.jobs import DONE, ENDED
from bioprobe.web.problems import Refusal

router = APIRouter(include_in_schema=False)
LINK = ("/report", "Report")
# Our pages hold their styles and pictures, and no script; they get nothing else here.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'; sandbox allow-same-origin allow-popups"
)
# Of a page that this program wrote, within its first bytes.
_MARK, _HEAD_BYTES = b'<meta name="generator" content="bioprobe">', 2000

_Name = Annotated[str, Query(max_length=255)]


@router.get("/report")
def show(request: Request, page: _Name = "", job: _Name = "") -> HTMLResponse:
    """Show a report, or which there are and how another is made."""
    desk = find_desk(request)
    pages = _list_pages(desk)
    if page and page not in pages:
        raise Refusal(404, f"there is no page {page}; see /report", kind="NoPage")
    columns = find_store(request).columns().to_frame()
    known = set(columns["name"])
    return desk.show(
        request, "report.html.j2", page=page, pages=sorted(pages), job=job,
        levels=[one for one in RANK_NAMES[::-1] if one in known],
    )  # fmt: skip


@router.get("/report/pages/{name}")
def send_page(request: Request, name: str) -> FileResponse:
    """Send a report as it is."""
    found = _list_pages(find_desk(request)).get(name)
    if found is None:
        raise Refusal(404, f"there is no page {name}; see /report", kind="NoPage")
    return FileResponse(found, media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@router.post("/report")
def make(request: Request, level: Annotated[str, Form(max_length=200)] = "") -> Response:
    """Begin to make a report: of the newest evaluation, or at a level of what zero-shot finds."""
    check_writable(request)
    desk = find_desk(request)
    name = f"report-{level}.html" if level in RANK_NAMES else "report-evaluation.html"
    target = _find_folder(desk.folder) / name
    chosen = level if level in RANK_NAMES else None
    begun = desk.jobs.begin(
        "report", lambda told: desk.own.report(level=chosen, output=target, progress=told)
    )
    query = urlencode({"page": name})
    return _tell(request, begun.id, query)


@router.get("/report/jobs/{id}")
def watch(request: Request, id: str, page: _Name = "") -> Response:
    """Say how far a report is; once it is there, show it."""
    return _tell(request, id, urlencode({"page": page}))


def _tell(request: Request, id: str, query: str) -> Response:
    desk = find_desk(request)
    job = desk.jobs.find(id)
    if job is None:
        raise Refusal(404, "this report is not being made any more; make it again", kind="NoJob")
    if job.status == DONE:
        return Response(status_code=204, headers={"HX-Redirect": f"/report?{query}"})
    said = "" if job.problem is None else str(job.problem.get("detail", ""))
    return desk.show(
        request, "report_job.html.j2", job=job, query=query, ended=job.status in ENDED, said=said
    )


def _list_pages(desk: Desk) -> dict[str, Path]:
    """Return our pages by name: those beside the store, and those that were made here."""
    found: dict[str, Path] = {}
    for folder in (desk.folder.absolute().parent, _find_folder(desk.folder)):
        for path in sorted(folder.glob("*.html")):
            try:
                with path.open("rb") as file:
                    is_ours = _MARK in file.read(_HEAD_BYTES)
            except OSError:
                continue
            if is_ours:
                found[path.name] = path
    return found


@cache
def _find_folder(store: Path) -> Path:
    """Return where pages are written that are made here, while the program runs."""
    del store  # each has its own
    made = tempfile.TemporaryDirectory(prefix="bioprobe-pages-")
    _MADE.append(made)
    return Path(made.name)


# They go when the program ends.
_MADE: list[tempfile.TemporaryDirectory[str]] = []
