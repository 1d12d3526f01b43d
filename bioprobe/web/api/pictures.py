"""Pictures that are sent to be asked about; they are not added to the store."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from bioprobe.web.api.build import PROBLEMS
from bioprobe.web.desk import Desk, find_desk, find_store
from bioprobe.web.problems import Refusal
from bioprobe.web.uploads import Upload

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
    most = desk.settings.upload_count
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
    # The store, whose encoder it is, is opened where that may take its time.
    await run_in_threadpool(find_store, request)
    found = await run_in_threadpool(_read, desk, sent)
    if all(one.vector is None for one in found):
        msg = f"none of {len(found)} pictures can be read; {found[0].name}: {found[0].problem}"
        raise Refusal(422, msg, kind="ImageRead")
    shown = [{"id": one.id, "name": one.name, "problem": one.problem or None} for one in found]
    return {"pictures": shown}


def _read(desk: Desk, sent: list[tuple[str, bytes]]) -> list[Upload]:
    with desk.working():
        encoder = desk.load_encoder()
        return desk.uploads.add(sent, encoder, desk.settings.upload_pixels)
