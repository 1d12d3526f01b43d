"""Questions of the vectors: search and zero-shot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from bioprobe.face.store import Store
from bioprobe.options import list_given
from bioprobe.result import Result, Table
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
from bioprobe.web.uploads import Upload

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

_Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
_SentTerm = Annotated[str, Field(pattern=r"^[0-9a-f]{32}(::-?[0-9]{1,6}(\.[0-9]{1,6})?)?$")]
_Sent = _SentTerm | Annotated[list[_SentTerm], Field(min_length=1, max_length=64)]
Name = Annotated[str, Path(max_length=200, description="Name in the store.")]

#: Which images of the store are asked.
NARROWS: dict[str, Any] = {
    "where": (Text | None, Field(None, description="Only images that meet a condition.")),
    "mask": (Text | None, Field(None, description="Only images that a named mask keeps.")),
    "split": (Text | None, Field(None, description="Only images of a part, NAME:PART.")),
}
_ASKED: dict[str, Any] = {
    "rows": (Rows | None, Field(None, description="Rows of the store.")),
    "pictures": (
        Annotated[list[_Id], Field(min_length=1, max_length=256)] | None,
        Field(None, description="Pictures that were sent, by their ids; not beside rows."),
    ),
    **NARROWS,
}
SearchBody = build_body(
    "SearchBody", Store.search,
    ("text", "row", "minus_text", "minus_row", "minus_weight", "weight", "min_similarity", "share",
     "over_background", "background", "background_as", "deduplicate", "exclude_query", "exact",
     "k"),
    most={"k": MOST_IMAGES, "minus_weight": 1000},
    kinds={"row": _Terms, "minus_row": _Terms, "background": _Names},
    fields={
        "picture": (_Sent | None, Field(None, description="Picture that was sent, or ID::WEIGHT.")),
        "minus_picture": (_Sent | None, Field(None, description="Picture to keep away from.")),
        **NARROWS,
    },
    example={"row": [3, "5::-0.5"], "where": "family == 'Felidae'", "k": 5},
)  # fmt: skip
ZeroShotBody = build_body(
    "ZeroShotBody",
    Store.zeroshot,
    (
        "level",
        "classes",
        "taxa",
        "text_type",
        "templates",
        "head",
        "pool",
        "roll_up",
        "within",
        "country",
        "admin1",
        "also",
        "every_rank",
        "abstain",
        "open_set",
        "adapter",
        "k",
    ),
    most={"k": 100},
    kinds={
        "classes": _Classes,
        "taxa": Word | None,
        "templates": Template,
        "head": Word | None,
        "within": _Names,
        "also": _Names,
    },
    fields=_ASKED,
    example={"rows": [0, 1], "level": "family", "k": 3},
)
IdentifyBody = build_body(
    "IdentifyBody", Store.identify, ("level", "sure", "taxa", "probe", "k"),
    most={"k": 100}, kinds={"taxa": Word | None, "probe": Word | None}, fields=_ASKED,
    example={"rows": [0], "level": "family"},
)  # fmt: skip
PredictBody = build_body(
    "PredictBody", Store.predict,
    ("k", "calibrate", "abstain", "accuracy", "sets", "set_kind", "unknown"),
    most={"k": 100}, fields=_ASKED, example={"rows": [0, 1], "k": 3},
)  # fmt: skip


@router.post("/search", response_model=Answer)
def search(request: Request, body: SearchBody) -> Response:  # type: ignore[valid-type]
    """Find the images nearest to pictures, texts and rows; with `minus_`, away from others."""
    given = read_given(body)
    for sent, asked in (("picture", "vector"), ("minus_picture", "minus_vector")):
        terms = given.pop(sent, None)
        if terms is not None:
            given[asked] = [_read_term(request, one) for one in list_given(terms)]
    store = narrow(request, given)
    given.setdefault("k", 10)
    with find_desk(request).working():
        return show_answer(store.search(**given))


@router.post("/zeroshot", response_model=Answer)
def zeroshot(request: Request, body: ZeroShotBody) -> Response:  # type: ignore[valid-type]
    """Label images of the store, or pictures that were sent, by text prompts, at any rank."""
    given = read_given(body)
    ids = given.get("pictures")
    store = narrow(request, given, most=MOST_IMAGES)
    spell_classes(given)
    with find_desk(request).working():
        return show_answer(name_pictures(store.zeroshot(**given), ids))


@router.post("/identify", response_model=Answer)
def identify(request: Request, body: IdentifyBody) -> Response:  # type: ignore[valid-type]
    """Say what is in pictures at every rank, how far down that is sure, and where nothing fits."""
    given = read_given(body)
    ids = given.get("pictures")
    store = narrow(request, given, most=MOST_IMAGES)
    with find_desk(request).working():
        return show_answer(name_pictures(store.identify(**given), ids))


@router.post("/probes/{name}/predict", response_model=Answer)
def predict(request: Request, name: Name, body: PredictBody) -> Response:  # type: ignore[valid-type]
    """Label images of the store, or pictures that were sent, by a probe that the store keeps."""
    given = read_given(body)
    ids = given.get("pictures")
    whole = find_store(request)
    if name not in whole.probes().to_frame()["name"].tolist():
        msg = f"there is no probe {name!r}; see GET /api/v1/probes"
        raise Refusal(404, msg, kind="NoProbe")
    store = narrow(request, given, most=MOST_IMAGES)
    with find_desk(request).working():
        return show_answer(name_pictures(whole.probe(name).predict(store, **given), ids))


@router.get("/probes", response_model=Answer)
def list_probes(request: Request) -> Response:
    """List the probes that the store keeps."""
    return show_answer(find_store(request).probes())


def _read_term(request: Request, term: str) -> tuple[Any, float]:
    """Return the vector of a picture that was sent, and its weight."""
    key, _, weight = term.partition("::")
    return find_sent(request, [key])[0].vector, float(weight or 1)


def find_sent(request: Request, ids: Sequence[str]) -> list[Upload]:
    """Return pictures that were sent.

    Raises
    ------
    Refusal
        If one is not known, or not any more.
    """
    uploads = find_desk(request).uploads
    found = [uploads.find(one) for one in ids]
    missing = [key for key, one in zip(ids, found, strict=True) if one is None]
    if missing:
        msg = (
            f"no picture {missing[0]} is known, or it is not any more; send it again, by "
            "POST /api/v1/pictures"
        )
        raise Refusal(422, msg, kind="UnknownPicture")
    return [one for one in found if one is not None]


def name_pictures(answer: Result, ids: Sequence[str] | None) -> Result:
    """Return an answer to pictures that were sent, which says their ids in place of rows."""
    if ids is None:
        return answer
    frame = answer.to_frame()
    frame.insert(0, "picture", [ids[row] for row in frame.pop("row")])
    return Table(frame, notes=answer.notes)


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
    rows, ids = given.pop("rows", None), given.pop("pictures", None)
    chosen = [given.pop(name, None) for name in ("where", "mask", "split")]
    where, mask, split = chosen
    store = find_store(request).narrow(where, mask=mask, split=split)
    if ids is not None:
        if rows is not None or any(chosen):
            msg = (
                "pictures are asked, or images of the store: leave rows, where, mask and split out"
            )
            raise Refusal(422, msg, kind="Misuse")
        sent = find_sent(request, ids)
        vectors = [one.vector for one in sent if one.vector is not None]
        return store.hold(np.stack(vectors), [one.name for one in sent])
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
