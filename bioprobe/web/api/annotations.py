"""What people say of pictures: listed, added once each, taken back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from bioprobe.result import Table
from bioprobe.web.api.build import (
    PROBLEMS,
    Answer,
    Plain,
    Row,
    SafeCsv,
    Text,
    answer_csv,
    like,
    show_answer,
)
from bioprobe.web.desk import check_writable, find_desk, find_store

router = APIRouter(prefix="/api/v1", tags=["annotations"], responses=PROBLEMS)

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Person = Annotated[Plain, Field(min_length=1, max_length=200)]
_Short = Annotated[Plain, Field(max_length=500)]
_Share = Annotated[float, Field(ge=0, le=1)]


class GivenAnnotation(BaseModel):
    """What one person says of one image or region."""

    model_config = ConfigDict(extra="forbid")

    id: Id | None = Field(
        None,
        description="32 hexadecimal digits that who asks chooses: what is sent twice is written "
        "once. Without one a new one is made.",
    )
    row: Row | None = Field(None, description="Row of the store; or path and region.")
    path: Text | None = Field(None, description="As the image table or an answer names it.")
    region: _Short | None = Field(None, description="Of the picture; none for the whole.")
    level: _Short = Field(description="A rank, or a column.")
    value: _Short | None = Field(None, description="Class, as written; none if unsure.")
    verdict: Literal["is", "is not", "unsure"] | None = Field(
        None, description="By default is; without a value unsure."
    )
    suggestion: _Short | None = Field(None, description="Class that was proposed.")
    suggested_by: _Short | None = Field(None, description="Model or probe that proposed it.")
    score: _Share | None = Field(None, description="Its probability.")
    shown_for: _Short | None = Field(None, description="Why it was shown.")
    chance: _Share | None = Field(None, description="Probability with which it was drawn.")


_SAID = {"id": "0" * 31 + "1", "row": 0, "level": "family", "value": "Felidae"}


class GivenAnnotations(BaseModel):
    """What one person says."""

    model_config = like({"by": "anna", "annotations": [_SAID]})

    by: Person = Field(description="Who says it.")
    annotations: list[GivenAnnotation] = Field(
        min_length=1, max_length=1000, description="Written all, or none of them."
    )


class Retraction(BaseModel):
    """Annotations that are taken back."""

    model_config = like({"by": "anna", "ids": [_SAID["id"]]})

    by: Person = Field(description="Who takes them back.")
    ids: list[Id] = Field(min_length=1, max_length=1000, description="Of annotations.")


class AnnotationPage(Answer):
    """Some annotations, the newest first."""

    n_annotations: int = Field(description="Annotations in all.")
    next: int | None = Field(description="before of the next page, null on the last.")


@router.get("/annotations", response_model=AnnotationPage)
def list_annotations(
    request: Request,
    level: Annotated[str | None, Query(max_length=500, description="Only of this level.")] = None,
    standing: Annotated[bool, Query(description="Leave out what was taken back.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000, description="Annotations, at most.")] = 100,
    before: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="next of the page before.")
    ] = None,
) -> Response:
    """List what people said of the pictures, the newest first."""
    found = find_store(request).annotations(level, standing=standing)
    frame = found.to_frame()
    # Counted from the oldest, so that what is added meanwhile moves no page.
    n, stop = len(frame), len(frame) if before is None else min(before, len(frame))
    start = max(stop - limit, 0)
    part = frame.iloc[n - stop : n - start]
    answer = Table(part, notes=found.notes)
    return show_answer(answer, n_annotations=n, next=start or None)


@router.post("/annotations", response_model=Answer)
def add_annotations(request: Request, body: GivenAnnotations) -> Response:
    """Write annotations, each id once; when this is answered they are on the disk."""
    check_writable(request)
    given: list[dict[str, Any]] = [one.model_dump(exclude_none=True) for one in body.annotations]
    return show_answer(find_desk(request).own.add_annotations(given, by=body.by))


@router.post("/annotations/retract", response_model=Answer)
def retract_annotations(request: Request, body: Retraction) -> Response:
    """Take annotations back; they stay in the log, and do not count."""
    check_writable(request)
    return show_answer(find_desk(request).own.retract(body.ids, by=body.by))


@router.get(
    "/annotations.csv", response_class=Response,
    responses={200: {"content": {"text/csv": {}}, "description": "All of them"}},
)  # fmt: skip
def download_annotations(
    request: Request,
    level: Annotated[str | None, Query(max_length=500, description="Only of this level.")] = None,
    *,
    safe_csv: SafeCsv = False,
) -> Response:
    """Give all annotations as CSV."""
    frame = find_store(request).annotations(level).to_frame()
    return answer_csv(frame, "annotations.csv", safe=safe_csv)
