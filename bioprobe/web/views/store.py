"""What is in the store."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from bioprobe.web.desk import find_desk

router = APIRouter(include_in_schema=False)
LINK = ("/store", "Store")


@router.get("/store")
def show(request: Request) -> HTMLResponse:
    """Show what is in the store."""
    desk = find_desk(request)
    facts = desk.store.info().to_frame()
    return desk.show(request, "store.html.j2", facts=facts.to_dict("records"), store=desk.store)
