"""What a phone needs to install the page, and to take pictures without a connection."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from bioprobe.web.desk import find_desk

router = APIRouter(include_in_schema=False)

_STATIC = Path(__file__).parents[1] / "static"
#: What the service worker keeps: no page of the store, and no picture of it.
SHELL = (
    "offline.html", "app.css", "app.js", "waiting.js", "offline.js", "icon.svg", "icon-192.png",
)  # fmt: skip


@router.get("/manifest.webmanifest")
def send_manifest(request: Request) -> JSONResponse:
    """Tell what is installed: name, icons, where it opens."""
    name = find_desk(request).folder.name
    said = {
        "name": f"bioprobe: {name}" if not find_desk(request).settings.token else "bioprobe",
        "short_name": "bioprobe",
        "description": "Look, ask and correct",
        "id": "/",
        "start_url": "/ask",
        "scope": "/",
        "display": "standalone",
        "background_color": "#fbfcfa",
        "theme_color": "#256b42",
        "icons": [
            {"src": "/static/icon-192.png", "sizes": "192x192", "type": "image/png"},
            {"src": "/static/icon-512.png", "sizes": "512x512", "type": "image/png"},
            {
                "src": "/static/icon-mask-512.png", "sizes": "512x512", "type": "image/png",
                "purpose": "maskable",
            },
        ],
        "shortcuts": [{"name": "Ask", "url": "/ask"}, {"name": "Browse", "url": "/browse"}],
    }  # fmt: skip
    return JSONResponse(said, media_type="application/manifest+json")


@router.get("/sw.js")
def send_worker() -> Response:
    """Send the service worker; another one where what it keeps is another."""
    files = ["/static/page.css", *(f"/static/{name}" for name in SHELL)]
    listed = ", ".join(f'"{name}"' for name in files)
    text = f'const SHELL = "bioprobe-{_stamp_shell()}";\nconst FILES = [{listed}];\n'
    text += (_STATIC / "worker.js").read_text(encoding="utf-8")
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@cache
def _stamp_shell() -> str:
    style = _STATIC.parents[1] / "page" / "templates" / "page.css"
    digest = hashlib.sha256()
    for path in (style, *(_STATIC / name for name in SHELL)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
