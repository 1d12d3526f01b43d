"""What every request sees: the store, what may be done, and how pages are made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import Request
    from fastapi.responses import HTMLResponse

    from bioprobe.face.store import Store

_HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a server may do.

    Parameters
    ----------
    token : str, optional
        What must be shown to be let in; without one everybody who reaches the address is.
    hosts : tuple of str
        Names and addresses that the server answers to, without port.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")


class Desk:
    """What every request sees: the store, as it is on the disk now, and how pages are made.

    Parameters
    ----------
    folder : Path
        Folder of the store.
    settings : Settings
        What may be done.
    links : list of (str, str)
        Address and name of each page that there is.
    """

    def __init__(self, folder: Path, settings: Settings, links: list[tuple[str, str]]) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self.folder = folder
        self.settings = settings
        self._store: Store | None = None
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.links = links

    @property
    def store(self) -> Store:
        """The store, opened when it is first asked."""
        from bioprobe.face.store import open as open_store

        if self._store is None:
            self._store = open_store(self.folder)
        return self._store

    def show(self, request: Request, template: str, **content: Any) -> HTMLResponse:  # noqa: ANN401
        """Return a page made from a template; what comes from names and files is escaped."""
        from fastapi.responses import HTMLResponse

        page = self._templates.get_template(template)
        here = request.url.path
        return HTMLResponse(page.render(desk=self, here=here, links=self.links, **content))


def find_desk(request: Request) -> Desk:
    """Return what a request sees."""
    desk: Desk = request.app.state.desk
    return desk
