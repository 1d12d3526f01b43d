"""The application: what is served, by which parts."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.errors import MissingExtraError
from bioprobe.web.desk import Desk, Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

#: Modules with a ``router`` and, where they are pages, their ``LINK``: address and name.
PAGES = (
    "bioprobe.web.views.ask",
    "bioprobe.web.views.browse",
    "bioprobe.web.views.review",
    "bioprobe.web.views.map",
    "bioprobe.web.views.report",
    "bioprobe.web.views.store",
    "bioprobe.web.views.door",
    "bioprobe.web.views.phone",
)
#: Modules of the API, with a ``router`` each.
API = (
    "bioprobe.web.api.store",
    "bioprobe.web.api.images",
    "bioprobe.web.api.pictures",
    "bioprobe.web.api.asking",
    "bioprobe.web.api.annotations",
    "bioprobe.web.api.reviews",
    "bioprobe.web.api.taxa",
    "bioprobe.web.api.order",
    "bioprobe.web.api.jobs",
    "bioprobe.web.api.exports",
    "bioprobe.web.api.docs",
)
_HERE = Path(__file__).parent


def _find_link(name: str) -> tuple[str, str] | None:
    link: tuple[str, str] | None = getattr(importlib.import_module(name), "LINK", None)
    return link


def build_app(folder: str | Path, settings: Settings | None = None) -> FastAPI:
    """Return the application of one store, which any ASGI server runs.

    Parameters
    ----------
    folder : str or Path
        Folder of the store, which is opened when it is first asked.
    settings : Settings, optional
        What may be done; by default what is safe on a machine of one's own.

    Raises
    ------
    MissingExtraError
        If the extra ``serve`` is not installed.
    """
    try:
        from anyio.to_thread import current_default_thread_limiter
        from fastapi import FastAPI
        from fastapi.responses import FileResponse
        from fastapi.staticfiles import StaticFiles
    except ImportError as error:
        msg = f"the page needs {error.name}; install it with: pip install 'bioprobe[serve]'"
        raise MissingExtraError(msg) from error

    from bioprobe import __version__
    from bioprobe.web.guard import Guard
    from bioprobe.web.problems import handle_problems

    settings = settings or Settings()
    links = [link for name in PAGES if (link := _find_link(name))]
    desk = Desk(Path(folder), settings, links)

    @contextlib.asynccontextmanager
    async def live(_: FastAPI) -> AsyncIterator[None]:
        """Let threads go at the end.

        Yields
        ------
        None
        """
        # Whoever waits for their turn to compute holds a thread; others are answered meanwhile.
        waiting = settings.most_working + settings.most_waiting
        current_default_thread_limiter().total_tokens = 2 * waiting
        yield
        # Not in a thread: all of them may be at work.
        desk.end()

    app = FastAPI(
        title="bioprobe", version=__version__, docs_url=None, redoc_url=None,
        openapi_url="/api/v1/openapi.json", lifespan=live,
        # What clients that are generated call their functions.
        generate_unique_id_function=lambda route: route.name,
        description="Embed every image once, then ask everything of the embeddings.",
    )  # fmt: skip
    app.state.desk = desk
    for name in (*PAGES, *API):
        router = importlib.import_module(name).router
        for route in router.routes:
            route.summary = route.description.partition("\n")[0].rstrip(".")
        app.include_router(router)

    @app.get("/static/page.css", include_in_schema=False)
    def send_style() -> FileResponse:
        # What is written and what is served look alike.
        return FileResponse(_HERE.parent / "page" / "templates" / "page.css")

    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    handle_problems(app)
    app.add_middleware(Guard, settings=settings)
    return app
