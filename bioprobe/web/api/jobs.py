"""Long work: begun, watched, and its answer, which waits for whoever comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

from bioprobe.face.store import Store
from bioprobe.web.api.asking import Name, PredictBody, ZeroShotBody, narrow, spell_classes
from bioprobe.web.api.build import (
    PROBLEMS,
    Answer,
    SafeCsv,
    Said,
    Template,
    Word,
    answer_csv,
    build_body,
    read_given,
    show_part,
)
from bioprobe.web.desk import check_writable, find_desk
from bioprobe.web.jobs import ENDED, Job, Jobs, Work
from bioprobe.web.problems import Problem, Refusal

if TYPE_CHECKING:
    import pandas as pd

router = APIRouter(prefix="/api/v1", tags=["jobs"], responses=PROBLEMS)

# How often it is looked whether a job has gone on, how often a line is sent that says nothing, so
# that a proxy does not end what is silent, and who may watch at one time.
_LOOK_S, _BEAT_S, _MOST_WATCHING = 0.2, 10.0, 48
_ID = Path(pattern=r"^[0-9a-f]{32}$", description="Id of the job.")
#: Id that who asks gives a job.
Once = Annotated[
    str | None,
    Query(
        alias="id", pattern=r"^[0-9a-f]{32}$",
        description="Id of the job, given by who asks: asked again, it is the same job.",
    ),
]  # fmt: skip


class JobState(BaseModel):
    """How a job is."""

    id: str = Field(description="By which it is found again.")
    kind: str = Field(description="What is done.")
    status: Literal["queued", "running", "done", "failed", "stopped"] = Field(
        description="The last three are its end."
    )
    done: int | None = Field(description="How much is done, where that is counted.")
    total: int | None = Field(description="Of how much.")
    what: str | None = Field(description="What is counted.")
    seconds: float = Field(description="For how long it runs, or ran.")
    notes: list[Said] = Field(description="What is to be said of what came of it.")
    problem: Problem | None = Field(description="Why it failed.")
    n_rows: int | None = Field(description="Rows of its table, see /rows.")
    file: str | None = Field(description="Name of its file, see /file.")


class JobStates(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobState] = Field(description="Each of them.")


class RowPage(Answer):
    """Some rows of a table."""

    n_rows: int = Field(description="Rows in all.")
    next: int | None = Field(description="after of the next page, null on the last.")


ClusterBody = build_body(
    "ClusterBody", Store.cluster,
    ("method", "n_clusters", "threshold", "averaged", "group", "level", "draws", "seed", "name"),
    most={"n_clusters": 10_000, "averaged": 1000, "draws": 100},
    kinds={"name": Word},
    example={"method": "kmeans", "n_clusters": 2, "draws": 0, "name": "alike"},
)  # fmt: skip
MapBody = build_body("MapBody", Store.map, ("name", "neighbors", "sample", "seed", "refit"),
                     most={"sample": 10_000_000}, kinds={"name": Word},
                     example={"name": "default", "neighbors": 5})  # fmt: skip
FitBody = build_body(
    "FitBody", Store.fit,
    ("kind", "level", "split", "name", "C", "balance", "calibration", "leave_out", "seed"),
    kinds={"kind": Word, "name": Word | None, "split": Word | None, "templates": Template},
    example={"kind": "centroid", "level": "family", "split": "none", "name": "by-mean"},
)  # fmt: skip


@router.get("/jobs", response_model=JobStates)
def list_jobs(request: Request) -> Any:  # noqa: ANN401 - as the model says
    """List the jobs of this server, the newest first."""
    return {"jobs": [one.describe() for one in find_desk(request).jobs.list_all()]}


@router.post("/jobs/cluster", response_model=JobState, status_code=202)
def begin_cluster(request: Request, body: ClusterBody, once: Once = None) -> Any:  # type: ignore[valid-type] # noqa: ANN401
    """Group pictures that are alike, and keep the groups as a column of the store."""
    check_writable(request)
    given = read_given(body)
    return _begin(
        request, "cluster", once,
        lambda told: find_desk(request).own.telling(told).cluster(**given, progress=told),
    )  # fmt: skip


@router.post("/jobs/map", response_model=JobState, status_code=202)
def begin_map(request: Request, body: MapBody, once: Once = None) -> Any:  # type: ignore[valid-type] # noqa: ANN401
    """Lay the images out on a map, which the store keeps."""
    check_writable(request)
    given = read_given(body)
    return _begin(
        request, "map", once, lambda told: find_desk(request).own.map(**given, progress=told)
    )


@router.post("/jobs/fit", response_model=JobState, status_code=202)
def begin_fit(request: Request, body: FitBody, once: Once = None) -> Any:  # type: ignore[valid-type] # noqa: ANN401
    """Learn a probe from the labelled images, which the store keeps."""
    check_writable(request)
    given = read_given(body)
    return _begin(
        request, "fit", once, lambda told: find_desk(request).own.fit(**given, progress=told)
    )


@router.post("/jobs/zeroshot", response_model=JobState, status_code=202)
def begin_zeroshot(request: Request, body: ZeroShotBody, once: Once = None) -> Any:  # type: ignore[valid-type] # noqa: ANN401
    """Label many images by text prompts."""
    given = read_given(body)
    spell_classes(given)
    store = narrow(request, given)
    return _begin(request, "zeroshot", once, lambda told: store.telling(told).zeroshot(**given))


@router.post("/jobs/predict/{name}", response_model=JobState, status_code=202)
def begin_predict(
    request: Request,
    name: Name,
    body: PredictBody,  # type: ignore[valid-type]
    once: Once = None,
) -> Any:  # noqa: ANN401
    """Label many images by a probe that the store keeps."""
    given = read_given(body)
    store = narrow(request, given)
    return _begin(request, "predict", once, lambda told: store.telling(told).predict(name, **given))


@router.get("/jobs/{id}", response_model=JobState)
def show_job(request: Request, id: Annotated[str, _ID]) -> Any:  # noqa: ANN401
    """Tell how a job is."""
    return find_job(request, id).describe()


@router.delete("/jobs/{id}", response_model=JobState)
def stop_job(request: Request, id: Annotated[str, _ID]) -> Any:  # noqa: ANN401
    """Ask a job to stop: at once where it waits, else at its next step; then nothing is kept of it.

    A step may take a while: of one way to cluster (kmeans, evoc) a whole draw or number of clusters
    is one, of a fit all that is learnt.
    """
    job = find_job(request, id)
    find_desk(request).jobs.stop(job)
    return job.describe()


@router.get("/jobs/{id}/rows", response_model=RowPage)
def list_job_rows(
    request: Request,
    id: Annotated[str, _ID],
    limit: Annotated[int, Query(ge=1, le=10_000, description="Rows, at most.")] = 1000,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="next of the page before.")] = 0,
) -> Response:
    """Give the table that came of a job, some rows at a time."""
    frame = _find_table(request, id)
    return show_part(frame, after, limit, n_rows=len(frame))


@router.get("/jobs/{id}/table.csv", response_class=Response,
            responses={200: {"content": {"text/csv": {}}, "description": "The table"}})  # fmt: skip
def download_job_table(
    request: Request, id: Annotated[str, _ID], *, safe_csv: SafeCsv = False
) -> Response:
    """Give the table that came of a job as CSV."""
    return answer_csv(_find_table(request, id), "table.csv", safe=safe_csv)


_FILE = {"content": {"application/octet-stream": {}},
         "description": "The file; an archive where they are several"}  # fmt: skip


@router.get("/jobs/{id}/file", response_class=FileResponse, responses={200: _FILE})
def download_job_file(request: Request, id: Annotated[str, _ID]) -> FileResponse:
    """Give the file that came of a job, as of an export."""
    job = find_job(request, id)
    if job.file is None or not job.file.exists():
        msg = f"the job is {job.status} and has no file; watch /api/v1/jobs/{id}/events"
        raise Refusal(409, msg, kind="NoFile")
    # What is taken along is opened by no page of this server.
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": "sandbox"}
    return FileResponse(
        job.file, media_type="application/octet-stream", filename=job.file.name, headers=headers
    )


@router.get("/jobs/{id}/events", response_class=StreamingResponse,
            responses={200: {"content": {"text/event-stream": {}}, "description": "Events: each "
                             "has how the job is, as GET /jobs/{id} says it; the last is its "
                             "end"}})  # fmt: skip
def watch_job(request: Request, id: Annotated[str, _ID]) -> StreamingResponse:
    """Watch a job: how it is at once, and whenever it has gone on, until it has ended."""
    job, jobs = find_job(request, id), find_desk(request).jobs
    if jobs.n_watching >= _MOST_WATCHING:
        msg = f"{jobs.n_watching} watch already; ask GET /api/v1/jobs/{id} now and then"
        raise Refusal(429, msg, again_s=5)
    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    return StreamingResponse(_follow(job, jobs), media_type="text/event-stream", headers=headers)


async def _follow(job: Job, jobs: Jobs) -> AsyncIterator[str]:
    """Say how a job is whenever that has changed.

    Yields
    ------
    str
        Server-sent events.
    """
    jobs.n_watching += 1
    try:
        seen, silent_s = -1, 0.0
        while True:
            version, is_over = job.version, job.status in ENDED
            if version != seen:
                seen, silent_s = version, 0.0
                name = "end" if is_over else "step"
                yield f"id: {version}\nevent: {name}\ndata: {json.dumps(job.describe())}\n\n"
            if is_over:
                return
            await asyncio.sleep(_LOOK_S)
            silent_s += _LOOK_S
            if silent_s >= _BEAT_S:
                silent_s = 0.0
                yield ": still at it\n\n"
    finally:
        jobs.n_watching -= 1


def find_job(request: Request, id: str) -> Job:
    """Return a job.

    Raises
    ------
    Refusal
        If it is not known, or not any more.
    """
    job = find_desk(request).jobs.find(id)
    if job is None:
        msg = f"there is no job {id}, or it is not known any more; see GET /api/v1/jobs"
        raise Refusal(404, msg, kind="NoJob")
    return job


def _find_table(request: Request, id: str) -> pd.DataFrame:
    job = find_job(request, id)
    if job.frame is None:
        msg = f"the job is {job.status} and has no table; watch /api/v1/jobs/{id}/events"
        raise Refusal(409, msg, kind="NoTable")
    return job.frame


def _begin(request: Request, kind: str, once: str | None, work: Work) -> dict[str, Any]:
    return find_desk(request).jobs.begin(kind, work, id=once).describe()
