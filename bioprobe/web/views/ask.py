"""Ask: what is in a picture that was sent, what in the store is like it or like a text."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from bioprobe.errors import BioprobeError
from bioprobe.options import RANK_NAMES
from bioprobe.web.desk import check_writable, explain, find_desk, find_store
from bioprobe.web.views.browse import list_shown

if TYPE_CHECKING:
    from bioprobe.face.identifying import Identification
    from bioprobe.face.store import Store
    from bioprobe.web.uploads import Upload

router = APIRouter(include_in_schema=False)
LINK = ("/ask", "Ask")

_Id = Annotated[str, Query(pattern="^[0-9a-f]{32}$")]
_Words = Annotated[str, Query(max_length=500)]
_Row = Annotated[int, Query(ge=0, le=2**31 - 1)]
# Summed probabilities that a person may call sure.
SURES = (0.5, 0.65, 0.8, 0.9, 0.95)
_FOUND, _NEAR = 24, 12
# Of several pictures each has fewer neighbours beside it.
_NEAR_EACH = 6


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked: pictures that were sent, texts and rows, to look for and to keep away from."""

    picture: tuple[str, ...] = ()
    minus_picture: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()
    row: tuple[int, ...] = ()
    minus_row: tuple[int, ...] = ()
    level: str = ""
    sure: float = 0.65
    probe: str = ""
    added: str = ""

    @classmethod
    def read(
        cls,
        picture: Annotated[list[_Id] | None, Query(max_length=32)] = None,
        minus_picture: Annotated[list[_Id] | None, Query(max_length=32)] = None,
        text: Annotated[list[_Words] | None, Query(max_length=16)] = None,
        minus: Annotated[list[_Words] | None, Query(max_length=16)] = None,
        row: Annotated[list[_Row] | None, Query(max_length=64)] = None,
        minus_row: Annotated[list[_Row] | None, Query(max_length=64)] = None,
        level: Annotated[str, Query(max_length=200)] = "",
        sure: Annotated[float, Query(gt=0, le=1)] = 0.65,
        probe: Annotated[str, Query(max_length=200)] = "",
        added: Annotated[str, Query(max_length=200)] = "",
    ) -> Asked:
        """Read what an address says."""
        return cls(
            tuple(picture or ()), tuple(minus_picture or ()), _keep_words(text),
            _keep_words(minus), tuple(row or ()), tuple(minus_row or ()), level, sure, probe, added,
        )  # fmt: skip

    @property
    def has_terms(self) -> bool:
        """Whether more is asked than what single pictures are."""
        return bool(self.text or self.minus or self.row or self.minus_row or self.minus_picture)

    @property
    def query(self) -> str:
        """What the address says after its question mark."""
        said: list[tuple[str, Any]] = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (tuple, list)):
                said += [(field.name, one) for one in value]
            elif value != field.default:
                said.append((field.name, value))
        return urlencode(said)

    def link(self, **changes: Any) -> str:  # noqa: ANN401 - as the fields are
        """Return the address of the same with changes."""
        query = dataclasses.replace(self, **changes).query
        return f"/ask?{query}" if query else "/ask"


Question = Annotated[Asked, Depends(Asked.read)]


@router.get("/")
@router.get("/ask")
def ask(request: Request, asked: Question) -> HTMLResponse:
    """Show what a picture is, at every rank, and what is like what was asked."""
    desk, store = find_desk(request), find_store(request)
    sent = {one: desk.uploads.find(one) for one in (*asked.picture, *asked.minus_picture)}
    missing = [key for key, one in sent.items() if one is None]
    here = [one for key in asked.picture if (one := sent[key]) is not None]
    cards: list[dict[str, Any]] = []
    found, check = None, None
    problem = ""
    probes = store.probe_names()
    if not missing and (here or asked.has_terms):
        with desk.working():
            if here:
                cards, problem = _identify(store, asked, here)
            if asked.has_terms:
                found, problem = _search(store, asked, sent, problem)
    if asked.added:
        try:
            check = store.check_taxon(asked.added)
        except BioprobeError as error:
            problem = problem or explain(error)
    added = store.added_taxa().to_frame()
    return desk.show(
        request, "ask.html.j2", asked=asked, cards=cards, found=found, missing=missing,
        problem=problem, check=check, probes=probes, ranks=RANK_NAMES[::-1], sures=SURES,
        store=store, rows=[store.look(one) for one in (*asked.row, *asked.minus_row)],
        added=added.to_dict("records"), may_write=not desk.settings.read_only,
        shown=list_shown(found.to_frame()) if found is not None else [],
    )  # fmt: skip


def _identify(store: Store, asked: Asked, sent: list[Upload]) -> tuple[list[dict[str, Any]], str]:
    """Return what is shown of each picture, and why nothing is known of what they are."""
    import numpy as np

    vectors = [one.vector for one in sent if one.vector is not None]
    held = store.hold(np.stack(vectors), [one.name for one in sent])
    problem = ""
    known: list[Identification | None] = [None] * len(sent)
    try:
        found = held.identify(asked.level or None, sure=asked.sure, probe=asked.probe or None)
        known = list(found.found)
    except BioprobeError as error:
        problem = explain(error)
    k = _NEAR if len(sent) == 1 else _NEAR_EACH
    cards = []
    for one, what in zip(sent, known, strict=True):
        near = store.search(vector=[one.vector], k=k) if len(store) else None
        shown = [] if near is None else list_shown(near.to_frame())
        cards.append({"id": one.id, "file": one.name, "what": what, "near": shown})
    return cards, problem


def _search(
    store: Store, asked: Asked, sent: dict[str, Upload | None], problem: str
) -> tuple[Any, str]:
    def read(keys: tuple[str, ...]) -> list[Any]:
        return [one.vector for key in keys if (one := sent[key]) is not None]

    try:
        found = store.search(
            text=list(asked.text) or None, minus_text=list(asked.minus) or None,
            row=list(asked.row) or None, minus_row=list(asked.minus_row) or None,
            vector=read(asked.picture) or None, minus_vector=read(asked.minus_picture) or None,
            k=_FOUND,
        )  # fmt: skip
    except BioprobeError as error:
        return None, problem or explain(error)
    return found, problem


@router.post("/ask/taxa")
def add_taxon(
    request: Request,
    name: Annotated[str, Form(min_length=1, max_length=200)],
    common: Annotated[str, Form(max_length=200)] = "",
    parent: Annotated[str, Form(max_length=200)] = "",
    prompt: Annotated[str, Form(max_length=500)] = "",
    back: Annotated[str, Form(max_length=8000)] = "",
) -> Response:
    """Add a species by its names, or by a text, and ask again with it."""
    check_writable(request)
    texts = (prompt.strip(),) if prompt.strip() else ()
    try:
        find_store(request).add_taxon(
            name.strip(), common=common.strip(), parent=parent.strip(), prompts=texts
        )
    except BioprobeError as error:
        return find_desk(request).tell(request, error)
    return _go_back(back, name.strip())


@router.post("/ask/taxa/remove")
def remove_taxon(
    request: Request,
    name: Annotated[str, Form(min_length=1, max_length=200)],
    back: Annotated[str, Form(max_length=8000)] = "",
) -> Response:
    """Remove a species that was added, and ask again without it."""
    check_writable(request)
    try:
        find_store(request).remove_taxon(name)
    except BioprobeError as error:
        return find_desk(request).tell(request, error)
    return _go_back(back, "")


def _go_back(query: str, added: str) -> Response:
    """Have the page ask the same again."""
    from urllib.parse import parse_qsl

    said = [(key, value) for key, value in parse_qsl(query) if key != "added"]
    if added:
        said.append(("added", added))
    return Response(status_code=204, headers={"HX-Redirect": f"/ask?{urlencode(said)}"})


def _keep_words(given: list[str] | None) -> tuple[str, ...]:
    return tuple(one.strip() for one in given or () if one.strip())
