"""Reviews: pictures are proposed, answered, and what is proposed next is better for it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field

from bioprobe.face.store import Store
from bioprobe.result import Table
from bioprobe.web.api.annotations import GivenAnnotation, Person
from bioprobe.web.api.build import (
    PROBLEMS,
    Answer,
    Rows,
    Template,
    Text,
    Word,
    build_body,
    like,
    read_given,
    show_answer,
)
from bioprobe.web.desk import check_writable, find_desk
from bioprobe.web.problems import Refusal

# Who reviews writes what people say.
router = APIRouter(
    prefix="/api/v1", tags=["reviews"], responses=PROBLEMS, dependencies=[Depends(check_writable)]
)

_Key = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Of the review.")]
_Mix = Annotated[dict[Text, Annotated[float, Field(ge=0, le=1)]], Field(max_length=20)] | None

ReviewBody = build_body(
    "ReviewBody", Store.review,
    ("level", "mix", "batch", "method", "C", "of", "like", "overlap", "k", "taxa", "text_type",
     "templates", "seed"),
    most={"batch": 1000, "k": 100},
    kinds={"mix": _Mix, "taxa": Word | None, "templates": Template},
    fields={"by": (Person, Field(description="Who answers."))},
    example={"by": "anna", "level": "family", "batch": 10},
)  # fmt: skip


class Begun(BaseModel):
    """A review that was begun, or gone on with."""

    id: str = Field(description="By which it is asked; the same person and settings have the same.")
    level: str = Field(description="Rank or column that is asked for.")
    by: str = Field(description="Who answers.")
    n_images: int = Field(description="Images that it is of.")
    classes: list[str] = Field(description="Classes that are known.")


class Count(BaseModel):
    """How many."""

    model_config = like({"n": 10})

    n: int | None = Field(None, ge=1, le=1000, description="Pictures; by default a batch.")


class GivenAnswer(GivenAnnotation):
    """What is said of a picture that was shown."""

    level: Annotated[str, Field(max_length=500)] | None = Field(  # type: ignore[assignment]
        None, description="By default that of the review; content for blank pictures."
    )


class GivenAnswers(BaseModel):
    """What is said of pictures."""

    model_config = like({"answers": [{"row": 0, "value": "Felidae"}]})

    answers: list[GivenAnswer] = Field(
        min_length=1, max_length=1000, description="One a picture, or several."
    )


class Skipped(BaseModel):
    """Pictures that are passed over."""

    model_config = like({"rows": [0, 1]})

    rows: Annotated[Rows, Field(description="Their rows.")]


@router.post("/reviews", response_model=Begun)
def begin_review(request: Request, body: ReviewBody) -> Any:  # type: ignore[valid-type] # noqa: ANN401 - as the model says
    """Begin a review, or go on with that of the same person and settings."""
    desk = find_desk(request)
    given = read_given(body)
    with desk.working():
        key, review = desk.reviews.begin(given, lambda: desk.own.review(**given))
    return {
        "id": key, "level": review.level, "by": review.by, "n_images": len(review),
        "classes": list(review.classes),
    }  # fmt: skip


@router.post("/reviews/{id}/next", response_model=Answer)
def propose_next(request: Request, id: _Key, body: Count | None = None) -> Response:
    """Propose what to look at next; what was answered is learnt before."""
    review = _find(request, id)
    with find_desk(request).working():
        return show_answer(review.next(None if body is None else body.n))


@router.post("/reviews/{id}/answers", response_model=Answer)
def answer_review(request: Request, id: _Key, body: GivenAnswers) -> Response:
    """Write what is said of pictures; once this is answered it is on the disk."""
    review = _find(request, id)
    with find_desk(request).working():
        given = [one.model_dump(exclude_none=True) for one in body.answers]
        return show_answer(review.answer(given))


@router.post("/reviews/{id}/skip", response_model=Answer)
def skip_images(request: Request, id: _Key, body: Skipped) -> Response:
    """Pass over pictures, which the review does not show again."""
    import pandas as pd

    _find(request, id).skip(body.rows)
    return show_answer(Table(pd.DataFrame({"row": body.rows})))


@router.post("/reviews/{id}/undo", response_model=Answer)
def undo_answers(request: Request, id: _Key) -> Response:
    """Take back what was said last."""
    return show_answer(_find(request, id).undo())


@router.get("/reviews/{id}/progress", response_model=Answer)
def show_review(request: Request, id: _Key) -> Response:
    """Tell how far the review is."""
    return show_answer(_find(request, id).progress())


def _find(request: Request, key: str) -> Any:  # noqa: ANN401 - a Review
    review = find_desk(request).reviews.find(key)
    if review is None:
        msg = (
            f"there is no review {key}, or the server was started since; begin it again by "
            "POST /api/v1/reviews, all that was answered is kept"
        )
        raise Refusal(404, msg, kind="NoReview")
    return review
