"""Taxa that the store knows: listed, added by text and asked at once, checked, removed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from bioprobe.face.store import Store
from bioprobe.web.api.build import (
    PROBLEMS,
    Answer,
    Template,
    Word,
    build_body,
    read_given,
    show_answer,
    show_part,
)
from bioprobe.web.desk import check_writable, find_desk, find_store

router = APIRouter(prefix="/api/v1", tags=["taxa"], responses=PROBLEMS)


class TaxonPage(Answer):
    """Some taxa."""

    n_taxa: int = Field(description="Taxa in all.")
    next: int | None = Field(description="after of the next page, null on the last.")


TaxonBody = build_body(
    "TaxonBody", Store.add_taxon, ("name", "common", "lineage", "parent", "prompts"),
    example={"name": "Lynx lynx", "common": "Eurasian lynx",
             "lineage": "Animalia,Chordata,Mammalia,Carnivora,Felidae,Lynx,Lynx lynx"},
)  # fmt: skip
CheckBody = build_body(
    "CheckBody", Store.check_taxon,
    ("name", "common", "lineage", "taxa", "text_type", "templates", "k"),
    most={"k": 100}, kinds={"taxa": Word | None, "templates": Template}, needed=("name",),
    example={"name": "Lynx lynx", "k": 3},
)  # fmt: skip


@router.get("/taxa", response_model=TaxonPage)
def list_taxa(
    request: Request,
    like: Annotated[
        str, Query(max_length=200, description="Only with this in a name, in any case.")
    ] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="Taxa, at most.")] = 100,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="next of the page before.")] = 0,
) -> Response:
    """List the taxa that were added, and those of the labels."""
    found = find_store(request).taxa()
    frame = found.to_frame()
    if like:
        folded = frame.astype(str).apply(lambda column: column.str.casefold())
        frame = frame[folded.apply(lambda row: any(like.casefold() in one for one in row), axis=1)]
    return show_part(frame, after, limit, notes=found.notes, n_taxa=len(frame))


@router.post("/taxa", response_model=Answer)
def add_taxon(request: Request, body: TaxonBody) -> Response:  # type: ignore[valid-type]
    """Add a taxon by its names; the next question has it among its classes."""
    check_writable(request)
    with find_desk(request).working():
        return show_answer(find_desk(request).own.add_taxon(**read_given(body)))


@router.delete("/taxa/{name}", response_model=Answer)
def remove_taxon(
    request: Request,
    name: Annotated[str, Path(max_length=500, description="Scientific or common name.")],
    lineage: Annotated[str, Query(max_length=2000, description="Tells it from homonyms.")] = "",
) -> Response:
    """Remove a taxon that was added."""
    check_writable(request)
    return show_answer(find_desk(request).own.remove_taxon(name, lineage=lineage))


@router.post("/taxa/check", response_model=Answer)
def check_taxon(request: Request, body: CheckBody) -> Response:  # type: ignore[valid-type]
    """Find the classes nearest to a taxon, and warn of confusion."""
    with find_desk(request).working():
        return show_answer(find_store(request).check_taxon(**read_given(body)))
