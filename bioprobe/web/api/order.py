"""Order without labels: clusters and maps that the store keeps; a job makes them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from bioprobe.web.api.build import PROBLEMS, Answer, show_answer, show_part
from bioprobe.web.desk import find_store
from bioprobe.web.problems import Refusal

router = APIRouter(prefix="/api/v1", tags=["clusters and maps"], responses=PROBLEMS)


class PointPage(Answer):
    """Where some images lie on a map."""

    n_images: int = Field(description="Images on the map.")
    next: int | None = Field(description="after of the next page, null on the last.")


@router.get("/clusters", response_model=Answer)
def list_clusters(request: Request) -> Response:
    """List the clusters that the store keeps; each is a column, by which images are narrowed."""
    return show_answer(find_store(request).clusters())


@router.get("/maps", response_model=Answer)
def list_maps(request: Request) -> Response:
    """List the maps that the store keeps."""
    return show_answer(find_store(request).maps())


@router.get("/maps/{name}", response_model=PointPage)
def show_map(
    request: Request,
    name: Annotated[str, Path(max_length=200, description="Of the map.")],
    limit: Annotated[int, Query(ge=1, le=10_000, description="Images, at most.")] = 1000,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="next of the page before.")] = 0,
) -> Response:
    """Give x and y of images on a map, some at a time."""
    store = find_store(request)
    if name not in store.maps().to_frame()["name"].tolist():
        msg = f"the store keeps no map {name!r}; see GET /api/v1/maps, a job makes one"
        raise Refusal(404, msg, kind="NoMap")
    found = store.read_map(name)
    frame = found.to_frame()
    return show_part(frame, after, limit, notes=found.notes, n_images=len(frame))
