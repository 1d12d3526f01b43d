"""What is in the store, whether it is whole, and what it can be taken along as."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from bioprobe.web.desk import find_desk, find_store

router = APIRouter(include_in_schema=False)
LINK = ("/store", "Store")


@router.get("/store")
def show(request: Request) -> HTMLResponse:
    """Show what is in the store."""
    desk = find_desk(request)
    store = find_store(request)
    found = store.info()
    facts = found.to_frame().to_dict("records")[0]
    return desk.show(
        request, "store.html.j2", facts=facts, notes=found.notes, store=store,
        columns=store.columns().to_frame().to_dict("records"),
        masks=store.masks().to_frame().to_dict("records"),
        probes=store.probes().to_frame().to_dict("records"),
        splits=store.splits().to_frame().to_dict("records"),
        failures=store.failures.head(_SHOWN).to_dict("records"), n_failures=len(store.failures),
    )  # fmt: skip


@router.get("/store/health")
def check(request: Request) -> HTMLResponse:
    """Check every byte, and say what was found."""
    desk = find_desk(request)
    found = find_store(request).verify()
    problems = found.to_frame().to_dict("records")
    return desk.show(request, "health.html.j2", notes=found.notes, problems=problems)


# Pictures that could not be read and are named.
_SHOWN = 50
