"""The map: where images lie, coloured by a rank or column, and what is chosen on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response

from bioprobe.face.mapping import PROBE
from bioprobe.web.desk import check_writable, find_desk, find_store

if TYPE_CHECKING:
    from bioprobe.face.store import Store
    from bioprobe.mapping.classes import MapClasses

router = APIRouter(include_in_schema=False)
LINK = ("/map", "Map")
# Pictures that are shown at once of those that are chosen.
SHOWN = 60

Name = Annotated[str, Query(max_length=200)]
Where = Annotated[str, Query(max_length=2000)]
Level = Annotated[str, Query(max_length=200)]


@router.get("/map")
def show(
    request: Request, name: Name = "default", where: Where = "", level: Level = ""
) -> HTMLResponse:
    """Show a map; its points come by themselves."""
    desk, store = find_desk(request), _narrow(request, where)
    maps = store.maps().to_frame()
    is_there = name in set(maps["name"])
    found = store.read_map(name) if is_there else None
    classes = _color(request, store, level, name) if is_there else None
    return desk.show(
        request, "map.html.j2", name=name, where=where, found=found, classes=classes,
        maps=maps["name"].tolist(), levels=store.map_levels().to_frame().to_dict("records"),
        may_write=not desk.settings.read_only,
    )  # fmt: skip


@router.get("/map/points")
def send_points(request: Request, name: Name = "default", where: Where = "") -> Response:
    """Send where images lie: x and y of each as float32, then the row of each as uint32."""
    found = _narrow(request, where).read_map(name)
    data = found.points.astype("<f4").tobytes() + found.rows.astype("<u4").tobytes()
    return Response(data, media_type="application/octet-stream")


@router.get("/map/classes")
def send_classes(
    request: Request, name: Name = "default", where: Where = "", level: Level = ""
) -> Response:
    """Send which class each image is of: the length of a JSON text, that, then a byte an image."""
    found = _color(request, _narrow(request, where), level, name)
    legend = found.to_frame().to_dict("records")
    text = json.dumps({"level": found.level, "legend": legend}).encode()
    data = len(text).to_bytes(4, "little") + text + found.codes.tobytes()
    return Response(data, media_type="application/octet-stream")


@router.get("/map/pictures")
def show_pictures(
    request: Request,
    rows: Annotated[str, Query(pattern=r"^\d{1,9}(,\d{1,9})*$", max_length=1000)],
    level: Level = "",
) -> HTMLResponse:
    """Show pictures by their rows, in their order: a part of the page."""
    desk, store = find_desk(request), find_store(request)
    asked = list(dict.fromkeys(int(one) for one in rows.split(",")))[:SHOWN]
    found = store.where(rows=asked)
    names = store.describe_rows(found.rows.tolist())["file_name"].tolist()
    labels = found.map_labels(level) if level else [""] * len(names)
    shown = list(zip(found.rows.tolist(), names, labels, strict=True))
    return desk.show(request, "map_pictures.html.j2", shown=shown, store=store)


@router.post("/map/masks")
async def keep_mask(request: Request, name: Name) -> JSONResponse:
    """Keep what is chosen as a mask, by which every question can be narrowed."""
    rows = await _read_chosen(request)
    done = await run_in_threadpool(find_store(request).keep_mask, name, rows)
    return JSONResponse({"said": [str(one) for one in done.notes]})


@router.post("/map/annotations")
async def annotate(
    request: Request,
    level: Level,
    value: Annotated[str, Query(max_length=500)],
    by: Annotated[str, Query(min_length=1, max_length=200)],
) -> JSONResponse:
    """Say of all that is chosen that it is one class."""
    rows = await _read_chosen(request)
    annotate = find_store(request).annotate_rows
    done = await run_in_threadpool(annotate, value, level=level, row=rows.tolist(), by=by)
    ids = done.to_frame()["id"].tolist()
    return JSONResponse({"said": [str(one) for one in done.notes], "ids": ids})


@router.post("/map/masks/removed")
def forget_mask(request: Request, name: Name) -> JSONResponse:
    """Forget a mask that was kept by mistake."""
    check_writable(request)
    done = find_store(request).remove_mask(name)
    return JSONResponse({"said": [str(one) for one in done.notes]})


@router.post("/map/annotations/retracted")
async def retract(
    request: Request, by: Annotated[str, Query(min_length=1, max_length=200)]
) -> JSONResponse:
    """Take back what was said of all that was chosen: 16 bytes for the id of each."""
    check_writable(request)
    data = (await request.body()).hex()
    ids = [data[at : at + 32] for at in range(0, len(data), 32)]
    done = await run_in_threadpool(find_store(request).retract, ids, by=by)
    return JSONResponse({"said": [str(one) for one in done.notes]})


async def _read_chosen(request: Request) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Read the rows that are chosen: a bit for each row of the store, the lowest first."""
    check_writable(request)
    data = await request.body()
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
    return np.flatnonzero(bits)


def _color(request: Request, store: Store, level: str, name: str) -> MapClasses:
    """Return the classes that colour a map; a probe is asked when it is one's turn."""
    if not level.startswith(PROBE):
        return store.map_classes(level or None, name=name)
    with find_desk(request).working():
        return store.map_classes(level, name=name)


def _narrow(request: Request, where: str) -> Store:
    return find_store(request).narrow(where.strip() or None)
