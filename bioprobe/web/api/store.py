"""What is in the store, and who asks."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from bioprobe import __version__
from bioprobe.web.api.build import PROBLEMS, Answer, show_answer
from bioprobe.web.desk import find_desk, find_store

router = APIRouter(prefix="/api/v1", tags=["store"], responses=PROBLEMS)


class StoreState(BaseModel):
    """A store in short."""

    name: str = Field(description="Name of its folder.")
    n_images: int = Field(description="Images that are current.")
    model: str = Field(description="Encoder that made its vectors.")
    dim: int = Field(description="Length of a vector.")
    columns: list[str] = Field(description="Columns of the image table.")
    read_only: bool = Field(description="Whether this server writes nothing.")
    version: str = Field(description="Of bioprobe.")


class Session(BaseModel):
    """What pages of this server show when they write."""

    csrf: str = Field(description="Value of the header X-CSRF-Token.")


@router.get("/session", response_model=Session)
def show_session(request: Request) -> Any:  # noqa: ANN401 - as the model says
    """Give what a page shows when it writes, as one that waited for the server to come back."""
    return {"csrf": request.state.csrf}


@router.get("/store", response_model=StoreState)
def show_store(request: Request) -> Any:  # noqa: ANN401
    """Tell what the store is, in short."""
    store, settings = find_store(request), find_desk(request).settings
    return {
        "name": store.folder.name, "n_images": len(store), **store.describe_columns(),
        "read_only": settings.read_only, "version": __version__,
    }  # fmt: skip


@router.get("/store/facts", response_model=Answer)
def show_facts(request: Request) -> Response:
    """Tell the encoder, the counts, the labels and the failures of the store."""
    return show_answer(find_store(request).info())
