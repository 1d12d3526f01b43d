"""The images of the store, some at a time, and small copies of them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, Field

from bioprobe.face.showing import THUMBNAIL_SIZES_PX
from bioprobe.web.api.build import PROBLEMS, Answer, show_answer
from bioprobe.web.desk import find_store
from bioprobe.web.problems import Refusal

router = APIRouter(prefix="/api/v1", tags=["images"], responses=PROBLEMS)

_CURSOR = re.compile(r"(\d{1,9})\.(\d{1,18})")
_ROW = Path(ge=0, le=2**31 - 1, description="Row of the store.")
_CONDITION = Query(
    max_length=2000, description="Only images that meet a condition, such as family == 'Felidae'."
)
_MASK = Query(max_length=200, description="Only images that a named mask keeps.")
_PART = Query(max_length=200, description="Only images of a part of a split, NAME:PART.")
_LIMIT = Query(ge=1, le=1000, description="Images, at most.")
_ANCHOR = Query(max_length=40, description="next of the page before.")
_WEEK_S = 7 * 24 * 3600
_SIZES: list[Any] = list(THUMBNAIL_SIZES_PX)


def _check_size(size: int) -> int:
    if size not in _SIZES:
        msg = f"one of {', '.join(map(str, _SIZES))}"
        raise ValueError(msg)
    return size


class ImagePage(Answer):
    """Some images, in the order of their rows."""

    n_images: int = Field(description="Images that there are of this choice.")
    next: str | None = Field(description="Cursor of the next page, null on the last.")


@router.get("/images", response_model=ImagePage)
def list_images(
    request: Request,
    where: Annotated[str | None, _CONDITION] = None,
    mask: Annotated[str | None, _MASK] = None,
    split: Annotated[str | None, _PART] = None,
    limit: Annotated[int, _LIMIT] = 100,
    cursor: Annotated[str | None, _ANCHOR] = None,
) -> Response:
    """List images, some at a time: what is known of each, and its row."""
    store = find_store(request)
    after = _read_cursor(cursor, store.generation)
    chosen = store.narrow(where, mask=mask, split=split)
    found = chosen.list_images(after=after, n=limit)
    frame = found.to_frame()
    last = int(frame["row"].iloc[-1]) if len(frame) else after
    is_last = not len(frame) or last == int(chosen.rows.max())
    further = None if is_last else f"{store.generation}.{last}"
    return show_answer(found, n_images=len(chosen), next=further)


@router.get("/images/{row}", response_model=Answer)
def show_image(request: Request, row: Annotated[int, _ROW]) -> Response:
    """Tell what is known of an image."""
    store = find_store(request)
    _check_row(store.has_row(row), row)
    return show_answer(store.list_images(after=row - 1, n=1))


@router.get(
    "/images/{row}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "A JPEG"},
               304: {"description": "The same as before"}},
)  # fmt: skip
def show_thumbnail(
    request: Request,
    row: Annotated[int, _ROW],
    size: Annotated[
        int,
        Query(description="Longer side, in pixels.", json_schema_extra={"enum": _SIZES}),
        AfterValidator(_check_size),
    ] = 320,
    *,
    whole: Annotated[
        bool, Query(description="Of a region, the whole picture, not framed.")
    ] = False,
    of: Annotated[
        str | None, Query(max_length=40, description="What it is of, as a page names it.")
    ] = None,
) -> Response:
    """Give a small copy of a picture, people obscured; never the file itself."""
    store = find_store(request)
    _check_row(store.has_row(row), row)
    name = store.name_thumbnail(row, size_px=size, whole=whole)
    lasts = of is not None and name.startswith(of) and len(of) >= 12
    headers = {
        "ETag": f'"{name}"',
        "Cache-Control": f"private, max-age={_WEEK_S}, immutable" if lasts else "private, no-cache",
    }
    if f'"{name}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    data = store.thumbnail(row, size_px=size, whole=whole)
    return Response(data, media_type="image/jpeg", headers=headers)


def _check_row(is_there: bool, row: int) -> None:
    if not is_there:
        msg = f"there is no row {row}, or it is no longer current; see GET /api/v1/images"
        raise Refusal(404, msg, kind="NoRow")


def _read_cursor(cursor: str | None, generation: int) -> int:
    """Return the row after which a page begins.

    Raises
    ------
    Refusal
        If it is no cursor, or rows have other numbers since.
    """
    if cursor is None:
        return -1
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        msg = f"{cursor!r} is no cursor; send next of the page before, or none to begin"
        raise Refusal(422, msg, kind="NoCursor")
    if int(found[1]) != generation:
        msg = "the store was compacted since the page before, and rows have moved; begin anew"
        raise Refusal(409, msg, kind="Compacted")
    return int(found[2])
