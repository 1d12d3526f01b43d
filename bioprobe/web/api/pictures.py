"""Pictures that are sent: to be asked about, or to be added to the store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from bioprobe.face.filling import embed
from bioprobe.result import Table
from bioprobe.web.api.build import PROBLEMS
from bioprobe.web.api.jobs import JobState, Once
from bioprobe.web.desk import Desk, check_writable, find_desk, find_store
from bioprobe.web.jobs import Advance
from bioprobe.web.problems import Refusal
from bioprobe.web.uploads import Kept, Upload, write_pictures

router = APIRouter(prefix="/api/v1", tags=["pictures"], responses=PROBLEMS)

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "Image files: JPEG, PNG, WebP, TIFF and their like.",
                        }
                    },
                }
            }
        },
    }
}


class SentPicture(BaseModel):
    """A picture that was sent."""

    id: str = Field(description="By which it is asked about; the same bytes have the same.")
    name: str = Field(description="Name of its file.")
    problem: str | None = Field(description="Why it cannot be read; null where it can.")


class SentPictures(BaseModel):
    """Pictures that were sent, in their order."""

    pictures: list[SentPicture] = Field(description="Each of them.")


@router.post("/pictures", response_model=SentPictures, openapi_extra=_FORM)
async def send_pictures(request: Request) -> Any:  # noqa: ANN401 - as the model says
    """Send pictures, to ask about them by their ids.

    Their vectors are kept for a while, and nothing else of them: no file, no row of the store.
    """
    desk = find_desk(request)
    sent = await _receive(request)
    # The store, whose encoder it is, is opened where that may take its time.
    await run_in_threadpool(find_store, request)
    found = await run_in_threadpool(_read, desk, sent)
    if all(one.vector is None for one in found):
        raise _refuse([(one.name, one.problem) for one in found])
    shown = [{"id": one.id, "name": one.name, "problem": one.problem or None} for one in found]
    return {"pictures": shown}


@router.post(
    "/jobs/add-pictures", response_model=JobState, status_code=202, openapi_extra=_FORM
)  # fmt: skip
async def begin_add_pictures(request: Request, once: Once = None) -> Any:  # noqa: ANN401
    """Add pictures to the store: their files are kept, and a job embeds those that are new.

    Only where the server was started with `--pictures FOLDER`. The same bytes are added once. The
    job says of each picture its row in the store, or why it has none.
    """
    check_writable(request)
    desk = find_desk(request)
    folder = desk.settings.pictures
    if folder is None:
        msg = "this server adds no pictures to its store; start it with --pictures FOLDER"
        raise Refusal(403, msg, kind="NoFolder")
    sent = await _receive(request)
    kept = await run_in_threadpool(write_pictures, sent, folder, desk.settings.upload_pixels)
    if not any(one.path for one in kept):
        raise _refuse([(one.name, one.problem) for one in kept])
    return desk.jobs.begin(
        "add-pictures", lambda told: _embed(desk, kept, told), id=once
    ).describe()


async def _receive(request: Request) -> list[tuple[str, bytes]]:
    """Return name and content of each file that is sent.

    Raises
    ------
    Refusal
        If they are too many, or none.
    """
    most = find_desk(request).settings.upload_count
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        msg = "pictures are sent as multipart/form-data, in the field files"
        raise Refusal(415, msg)
    try:
        async with request.form(max_files=most, max_fields=10) as form:
            files = [one for one in form.getlist("files") if isinstance(one, UploadFile)]
            sent = [(one.filename or "", await one.read()) for one in files]
    except HTTPException as error:
        if isinstance(error, Refusal):
            raise
        if "Too many files" in str(error.detail):
            msg = f"more than {most} pictures were sent at once; send them in parts"
            raise Refusal(413, msg, kind="TooLarge") from error
        msg = f"the pictures cannot be read as multipart/form-data: {error.detail}"
        raise Refusal(400, msg) from error
    if not sent:
        msg = "no picture was sent; send one or several files in the field files"
        raise Refusal(422, msg, kind="NoPicture")
    return sent


def _refuse(problems: list[tuple[str, str]]) -> Refusal:
    name, why = problems[0]
    msg = f"none of {len(problems)} pictures can be read; {name}: {why}"
    return Refusal(422, msg, kind="ImageRead")


def _read(desk: Desk, sent: list[tuple[str, bytes]]) -> list[Upload]:
    with desk.working():
        encoder = desk.load_encoder()
        return desk.uploads.add(sent, encoder, desk.settings.upload_pixels)


def _embed(desk: Desk, kept: list[Kept], told: Advance) -> Table:
    """Embed pictures that were written, and say of each where it is in the store."""
    import pandas as pd

    settings = desk.settings
    assert settings.pictures is not None
    paths = list(dict.fromkeys(one.path for one in kept if one.path))
    with tempfile.TemporaryDirectory(prefix="bioprobe-added-") as scratch:
        listed = Path(scratch) / "added.txt"
        listed.write_text("\n".join(paths), encoding="utf-8")
        filled = embed(
            listed, store=desk.folder, root=settings.pictures, device=settings.device,
            max_pixels=settings.upload_pixels, progress=told,
        )  # fmt: skip
    images, failures = filled.images, filled.failures
    added = images.loc[images["path"].isin(paths), "path"]
    placed = {path: row for row, path in added.items()}
    why = dict(zip(failures["path"], failures["reason"], strict=True))
    frame = pd.DataFrame(
        [(placed.get(one.path), one.name, one.problem or why.get(one.path, "")) for one in kept],
        columns=["row", "name", "problem"],
    )
    frame["row"] = frame["row"].astype("Int64")
    return Table(frame, notes=filled.notes)
