"""Pictures in groups and in a grid, and one by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from bioprobe.errors import BioprobeError, MisuseError
from bioprobe.options import RANK_NAMES
from bioprobe.web.desk import check_writable, find_desk, find_store
from bioprobe.web.views.choice import SIZES, Choice

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.face.store import Store

router = APIRouter(include_in_schema=False)
LINK = ("/browse", "Browse")
_NEIGHBOURS = 12
_RANKS = RANK_NAMES[::-1]

Chosen = Annotated[Choice, Depends(Choice.read)]
Person = Annotated[str, Form(min_length=1, max_length=200)]


@router.get("/browse")
def browse(
    request: Request,
    choice: Chosen,
    like: Annotated[str, Query(max_length=200)] = "",
    sort: Annotated[str, Query(pattern="^(size|name)$")] = "size",
) -> HTMLResponse:
    """Show groups of pictures, or a grid of them."""
    desk, store = find_desk(request), choice.open(request)
    columns = store.columns().to_frame().to_dict("records")
    content = {
        "choice": choice,
        "columns": columns,
        "masks": [one["name"][len("mask:") :] for one in columns if one["kind"] == "mask"],
        "sizes": SIZES,
        "like": like,
        "sort": sort,
        "groups": None,
        "sheet": None,
        "shown": [],
        "store": store,
        "further": [],
    }
    if choice.by and choice.value is None:
        content["groups"] = store.groups(
            choice.by, like=like, largest=sort == "size", page=choice.page, size=choice.size
        )
    else:
        sheet = store.browse(**choice.listed, page=choice.page, size=choice.size)
        content |= {"sheet": sheet, "shown": list_shown(sheet.to_frame())}
        if choice.value is not None:
            further = store.narrow_further(choice.by, choice.value, choice.where)
            content["further"] = further.to_frame().to_dict("records")
    return desk.show(request, "browse.html.j2", **content)


@router.get("/pictures/{row}")
def show_picture(request: Request, row: int, choice: Chosen) -> HTMLResponse:
    """Show one picture, and what is known of it."""
    desk = find_desk(request)
    store = find_store(request)
    found = choice.open(request).look(row, **choice.listed)
    boxes = [part for part in found.parts if part.box is not None]
    said = store.where(rows=[row]).annotations().to_frame().to_dict("records")
    return desk.show(
        request, "picture.html.j2", choice=choice, look=found, boxes=boxes, store=store, said=said,
        levels=list_levels(store), may_write=not desk.settings.read_only,
    )  # fmt: skip


@router.post("/pictures/{row}/annotations")
def annotate(
    request: Request,
    row: int,
    choice: Chosen,
    by: Person,
    level: Annotated[str, Form(max_length=200)],
    value: Annotated[str, Form(max_length=500)] = "",
    verdict: Annotated[str, Form(pattern="^(is|is not|unsure)$")] = "is",
) -> Response:
    """Write what somebody says of a picture, and show it again."""
    check_writable(request)
    name = "" if verdict == "unsure" else value.strip()
    given = {"row": row, "level": level, "value": name, "verdict": verdict}
    try:
        find_store(request).add_annotations(given, by=by.strip())
    except BioprobeError as error:
        return find_desk(request).tell(request, error)
    return _show_again(row, choice)


@router.post("/pictures/{row}/annotations/{id}/retracted")
def retract(request: Request, row: int, id: str, choice: Chosen, by: Person) -> Response:
    """Take back what one said of a picture, and show it again."""
    check_writable(request)
    store = find_store(request)
    said = store.where(rows=[row]).annotations().to_frame()
    own = said["id"][said["by"] == by.strip()].tolist()
    try:
        if id not in own:
            msg = f"{by.strip()} said nothing of this kind; whoever said it takes it back"
            raise MisuseError(msg)
        store.retract(id, by=by.strip())
    except BioprobeError as error:
        return find_desk(request).tell(request, error)
    return _show_again(row, choice)


def _show_again(row: int, choice: Choice) -> Response:
    address = choice.link(f"/pictures/{row}", page=choice.page)
    return Response(status_code=204, headers={"HX-Redirect": address})


def list_levels(store: Store) -> list[str]:
    """Return what may be said of a picture: ranks, the lowest first, then columns."""
    columns = store.columns().to_frame()
    levels = columns["name"][columns["kind"].isin(["rank", "column"])].tolist()[::-1]
    ranks = columns["name"][columns["kind"] == "rank"].tolist()[::-1]
    return list(dict.fromkeys(["species", *ranks, *levels]))


@router.get("/pictures/{row}/neighbours")
def show_neighbours(request: Request, row: int, choice: Chosen) -> HTMLResponse:
    """Show the pictures nearest to one; as a part of its page, or by themselves."""
    desk = find_desk(request)
    store = find_store(request)
    found = store.search(row=row, k=_NEIGHBOURS)
    near = list_shown(found.to_frame())
    whole = "hx-request" not in request.headers
    look = store.look(row)
    template = "neighbours.html.j2" if whole else "neighbours_part.html.j2"
    return desk.show(
        request, template, choice=choice, look=look, near=near, notes=found.notes, store=store
    )


def list_shown(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what a grid shows of pictures: what is known of each in few words.

    Parameters
    ----------
    frame : DataFrame
        With the columns ``row``, ``file_name`` and what is known.
    """
    shown = list[dict[str, Any]]()
    for one in frame.to_dict("records"):
        ranks = [str(one[rank]) for rank in _RANKS if one.get(rank)]
        name = ranks[0] if ranks else ""
        lines = [str(one.get("common_name") or ""), str(one["file_name"]) if not name else ""]
        shown.append(
            {
                **{str(key): value for key, value in one.items()},
                "name": name or "no label",
                "lines": lines,
            }
        )
    return shown
