"""Questions of the vectors: search and zero-shot."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from bioprobe.face.store import Store
from bioprobe.web.api.build import (
    PROBLEMS,
    Answer,
    Row,
    Rows,
    Template,
    Text,
    Word,
    build_body,
    read_given,
    show_answer,
)
from bioprobe.web.desk import find_desk, find_store
from bioprobe.web.problems import Refusal

router = APIRouter(prefix="/api/v1", tags=["questions"], responses=PROBLEMS)

# Images that one question is answered at once; a job answers more.
MOST_IMAGES = 1000

_Term = Row | Text
_Terms = _Term | Annotated[list[_Term], Field(max_length=64)] | None
_Classes = (
    Annotated[list[Text], Field(max_length=2000)]
    | Annotated[dict[Text, Text | Annotated[list[Text], Field(max_length=100)]],
                Field(max_length=2000)]
    | None
)  # fmt: skip
_Names = Word | Annotated[list[Word], Field(max_length=2000)] | None

_NARROWS: dict[str, Any] = {
    "where": (Text | None, Field(None, description="Only images that meet a condition.")),
    "mask": (Text | None, Field(None, description="Only images that a named mask keeps.")),
    "split": (Text | None, Field(None, description="Only images of a part, NAME:PART.")),
}
SearchBody = build_body(
    "SearchBody", Store.search,
    ("text", "row", "minus_text", "minus_row", "minus_weight", "weight", "min_similarity", "share",
     "over_background", "background", "background_as", "deduplicate", "exclude_query", "exact",
     "k"),
    most={"k": MOST_IMAGES, "minus_weight": 1000},
    kinds={"row": _Terms, "minus_row": _Terms, "background": _Names},
    fields=_NARROWS,
)  # fmt: skip
ZeroShotBody = build_body(
    "ZeroShotBody", Store.zeroshot,
    ("level", "classes", "taxa", "text_type", "templates", "head", "pool", "roll_up", "within",
     "country", "admin1", "also", "every_rank", "abstain", "open_set", "adapter", "k"),
    most={"k": 100},
    kinds={"classes": _Classes, "taxa": Word | None, "templates": Template, "head": Word | None,
           "within": _Names, "also": _Names},
    fields={"rows": (Rows | None, Field(None, description="Rows of the store.")), **_NARROWS},
)  # fmt: skip


@router.post("/search", response_model=Answer)
def search(request: Request, body: SearchBody) -> Response:  # type: ignore[valid-type]
    """Find the images nearest to texts and rows; with `minus_`, away from others."""
    given = read_given(body)
    store = narrow(request, given)
    given.setdefault("k", 10)
    with find_desk(request).working():
        return show_answer(store.search(**given))


@router.post("/zeroshot", response_model=Answer)
def zeroshot(request: Request, body: ZeroShotBody) -> Response:  # type: ignore[valid-type]
    """Label images of the store by text prompts, at any rank."""
    given = read_given(body)
    store = narrow(request, given, most=MOST_IMAGES)
    spell_classes(given)
    with find_desk(request).working():
        return show_answer(store.zeroshot(**given))


def spell_classes(given: dict[str, Any]) -> None:
    """Write classes as a mapping from each to its texts, which names no file."""
    if isinstance(given.get("classes"), list):
        names = given["classes"]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            msg = f"the class {twice!r} is named twice; name it once"
            raise Refusal(422, msg, kind="Prompt")
        given["classes"] = {name: name for name in names}


def narrow(request: Request, given: dict[str, Any], most: int | None = None) -> Store:
    """Take from a body which images it asks, and return the store with these.

    Raises
    ------
    Refusal
        If they are more than ``most``, or a row is not there.
    """
    rows = given.pop("rows", None)
    chosen = [given.pop(name, None) for name in ("where", "mask", "split")]
    store = find_desk(request).choose(find_store(request), *chosen)
    if rows is not None:
        missing = [row for row in rows if not store.has_row(row)]
        if missing or not rows:
            named = f"row {missing[0]}" if missing else "a row in rows"
            msg = f"there is no {named} among these images; see GET /api/v1/images"
            raise Refusal(422, msg, kind="NoRow")
        store = store.where(rows=rows)
    if most is not None and len(store) > most:
        msg = (
            f"{len(store):,} images are asked, at most {most:,} are answered at once; name rows, "
            "or narrow them by where, mask or split"
        )
        raise Refusal(422, msg, kind="TooManyImages")
    return store
