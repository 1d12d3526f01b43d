"""Review: pictures one by one or as a sheet, answered by keys, buttons or swipes."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse

from bioprobe.errors import BioprobeError, MisuseError, StoreError
from bioprobe.face.sitting import count_expected
from bioprobe.web.desk import check_writable, find_desk, find_store
from bioprobe.web.reviews import Session
from bioprobe.web.views.browse import list_levels

if TYPE_CHECKING:
    from bioprobe.face.store import Store

router = APIRouter(include_in_schema=False)
LINK = ("/review", "Review")
#: What may be shown, by the name of the choice: shares of strategies, and what is said of it.
MIXES = {
    "unsure": ("doubt=.8,audit=.2", "the least certain, some by chance"),
    "wrong": ("suspected=1", "labels that may be wrong"),
    "sure": ("confident=1", "the surest, to confirm many at once"),
    "new": ("coverage=1", "most unlike what has a label"),
    "chance": ("audit=1", "by chance, to tell how good all are"),
}
_ONE, _SHEET = "one", "sheet"
# Classes that a name is completed from, and alternatives that have a key.
_COMPLETED, _BESIDE = 12, 5
# Pictures after the one that is shown which a browser fetches before.
_AHEAD = 3

_Name = Annotated[str, Query(max_length=200)]
_Text = Annotated[str, Form(max_length=1000)]
_Path = Annotated[str, Form(min_length=1, max_length=8000)]


@dataclasses.dataclass(frozen=True)
class Asked:
    """Which review an address is of.

    Parameters
    ----------
    level : str
        Rank or column.
    by : str
        Who answers, ``""`` where nobody has said.
    way : str
        ``one`` picture at a time, or a ``sheet``.
    show : str
        Key of :data:`MIXES`.
    where : str
        Condition, ``""`` for all pictures.
    mask : str
        Mask that keeps them, such as one that was drawn on the map; ``""`` for none.
    """

    level: str
    by: str
    way: str
    show: str
    where: str
    mask: str = ""

    @classmethod
    def read(
        cls,
        level: _Name = "",
        by: _Name = "",
        way: Annotated[str, Query(pattern="^(one|sheet)$")] = _ONE,
        show: Annotated[str, Query(pattern=f"^({'|'.join(MIXES)})$")] = "unsure",
        where: Annotated[str, Query(max_length=2000)] = "",
        mask: _Name = "",
    ) -> Asked:
        """Read what an address says."""
        return cls(level, by.strip(), way, show, where.strip(), mask)

    def link(self, path: str = "/review") -> str:
        """Return the address of this review, or of a part of it."""
        return f"{path}?{urlencode(dataclasses.asdict(self))}"

    @property
    def settings(self) -> dict[str, object]:
        """What tells this review from others."""
        return {"page": "review", **dataclasses.asdict(self)}


Chosen = Annotated[Asked, Depends(Asked.read)]


@router.get("/review")
def show(request: Request, asked: Chosen) -> HTMLResponse:
    """Show what is to be looked at; or ask who looks, and for what."""
    desk, store = find_desk(request), find_store(request)
    content = {
        "asked": asked, "levels": list_levels(store),
        "mixes": {name: said for name, (_, said) in MIXES.items()},
    }  # fmt: skip
    # Who chooses pictures writes down which, so that nobody else is shown them.
    if not asked.by or not asked.level or desk.settings.read_only:
        return desk.show(request, "review_start.html.j2", **content)
    return desk.show(request, "review.html.j2", **{**content, **_work(request, asked)})


@router.get("/review/classes")
def complete(request: Request, asked: Chosen, start: _Name = "") -> JSONResponse:
    """Send the classes that begin so."""
    check_writable(request)
    session = _open(request, _narrow(request, asked), asked)
    return JSONResponse({"classes": session.review.find_classes(start)[:_COMPLETED]})


@router.post("/review/answers")
def answer(
    request: Request,
    asked: Chosen,
    say: _Text,
    file: _Path,
    id: Annotated[str, Form(pattern="^[0-9a-f]{32}$")],
    region: _Text = "",
    typed: _Text = "",
    suggestion: _Text = "",
) -> HTMLResponse:
    """Take what is said of one picture, and show the next."""

    def act(session: Session) -> None:
        if say == "skip":
            session.skip({(file, region)})
            return
        said = _read_said(say, typed, suggestion)
        # By its name: a row has another number once the store is compacted.
        session.answer([{"file_name": file, "image_region": region, "id": id, **said}])

    return _act(request, asked, act)


@router.post("/review/sheets")
def answer_sheet(
    request: Request,
    asked: Chosen,
    file: Annotated[list[str], Form(max_length=500)],
    region: Annotated[list[str], Form(max_length=500)],
    id: Annotated[list[str], Form(max_length=500)],
    suggestion: Annotated[list[str], Form(max_length=500)],
    wrong: Annotated[list[str], Form(max_length=500)] = [],  # noqa: B006 - fastapi copies it
) -> HTMLResponse:
    """Confirm a sheet but for the pictures that are marked, of which it is said that it is not."""

    def act(session: Session) -> None:
        if not len(file) == len(region) == len(id) == len(suggestion):
            msg = f"a sheet names each picture once, got {len(file)} files and {len(id)} ids"
            raise MisuseError(msg)
        lines = list(zip(file, region, id, suggestion, strict=True))
        # What nothing is suggested of is neither confirmed nor denied.
        said = [
            {"file_name": path, "image_region": box, "id": number, "value": one,
             "verdict": "is not" if number in wrong else "is"}
            for path, box, number, one in lines if one
        ]  # fmt: skip
        session.skip({(path, box) for path, box, _, one in lines if not one})
        session.answer(said)

    return _act(request, asked, act)


@router.post("/review/undone")
def undo(request: Request, asked: Chosen) -> HTMLResponse:
    """Take the last answer back, and show its picture again."""
    return _act(request, asked, Session.undo)


def _read_said(say: str, typed: str, suggestion: str) -> dict[str, str]:
    """Return value and verdict of an answer.

    Raises
    ------
    MisuseError
        If it is none.
    """
    kind, _, value = say.partition(":")
    if kind == "is" and value:
        return {"value": value, "verdict": "is"}
    if kind == "typed":
        if not typed.strip():
            msg = "a name was to be said, got nothing; type one, or choose another answer"
            raise MisuseError(msg)
        return {"value": typed.strip(), "verdict": "is"}
    if kind == "not" and suggestion:
        return {"value": suggestion, "verdict": "is not"}
    if kind == "unsure":
        return {"value": "", "verdict": "unsure"}
    msg = f"an answer is is:NAME, typed, not, unsure or skip, got {say!r}"
    raise MisuseError(msg)


def _narrow(request: Request, asked: Asked) -> Store:
    return find_store(request).narrow(asked.where or None, mask=asked.mask or None)


def _open(request: Request, store: Store, asked: Asked) -> Session:
    """Return the session of an address; a new one where there is none, or rows have changed."""
    mix, _ = MIXES[asked.show]
    return find_desk(request).reviews.open(
        asked.settings,
        # What is said counts in this object alone until it is opened again.
        lambda: copy.copy(store).review(asked.level, by=asked.by, mix=mix, k=_BESIDE + 1),
        len(store),
    )


def _work(request: Request, asked: Asked, problem: str = "") -> dict[str, Any]:
    """Return what the work area shows."""
    store = _narrow(request, asked)
    session = _open(request, store, asked)
    # A sheet is answered at once, of the others the first.
    waiting = session.look_at_sheet() if asked.way == _SHEET else session.look()
    shown = waiting if asked.way == _SHEET else waiting[:1]
    figures = session.review.progress()
    numbers = {one["figure"]: one for one in figures.to_frame().to_dict("records")}
    return {
        "asked": asked, "session": session, "shown": shown, "ahead": waiting[len(shown) :][:_AHEAD],
        "figures": numbers, "notes": figures.notes, "problem": problem, "beside": _BESIDE,
        "store": store, "n_expected": count_expected(shown),
    }  # fmt: skip


def _act(request: Request, asked: Asked, act: Callable[[Session], None]) -> HTMLResponse:
    """Do something in a session, and show what comes next; what is refused is said there."""
    check_writable(request)
    problem = ""
    try:
        act(_open(request, _narrow(request, asked), asked))
    except BioprobeError as error:
        problem = str(error)
        if isinstance(error, StoreError):
            # What is shown next is of the store as it is then.
            find_desk(request).reviews.close(asked.settings)
    work = _work(request, asked, problem)
    return find_desk(request).show(request, "review_work.html.j2", **work)
