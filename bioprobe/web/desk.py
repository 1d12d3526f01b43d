"""What every request sees: the store, what may be done, and how pages are made."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request

from bioprobe.errors import BioprobeError
from bioprobe.face.store import open as open_store
from bioprobe.options import write_plainly
from bioprobe.result import say_time
from bioprobe.web.batching import Batcher
from bioprobe.web.jobs import Jobs
from bioprobe.web.problems import Refusal, describe_error, find_status, refuse_writing
from bioprobe.web.reviews import Reviews
from bioprobe.web.uploads import Uploads

if TYPE_CHECKING:
    from fastapi.responses import HTMLResponse

    from bioprobe.face.encoder import Encoder
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
        Names and addresses that the server answers to, without port; ``*`` for any address, which
        no page of somebody else can take as its name.
    read_only : bool
        Whether nothing may be written.
    pictures : Path, optional
        Folder that pictures are written to which are added to the store; None where none are.
    model, device : str, optional
        Encoder of pictures and texts, and where it runs.
    upload_bytes, body_bytes : int
        Most bytes of pictures that are sent at once, and of anything else.
    upload_count : int
        Most pictures that are sent at once.
    upload_pixels : int
        Most pixels of each.
    wait_s, upload_s : float
        How long a part of what is sent may be waited for, and all of it.
    requests_per_s, requests_at_once : float
        Of one address.
    most_inside, most_uploading : int
        Requests that are answered at one time, and those of them that send pictures; others of
        these wait.
    most_working, most_waiting : int
        Questions that are computed at one time, and that wait for it.
    turn_s : float
        How long one waits for its turn.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    read_only: bool = False
    pictures: Path | None = None
    model: str | None = None
    device: str = "auto"
    upload_bytes: int = 64 << 20
    body_bytes: int = 1 << 20
    upload_count: int = 32
    upload_pixels: int = 100_000_000
    wait_s: float = 15.0
    upload_s: float = 120.0
    requests_per_s: float = 500.0
    requests_at_once: float = 2000.0
    most_inside: int = 320
    most_uploading: int = 8
    most_working: int = 4
    most_waiting: int = 60
    turn_s: float = 20.0


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
        self._opening = threading.Lock()
        self._encoder: Encoder | None = None
        self._model = ""
        self._loading = threading.Lock()
        self.batcher = Batcher()
        self.uploads, self.jobs, self.reviews = Uploads(), Jobs(), Reviews()
        self._work = threading.BoundedSemaphore(settings.most_working)
        self._ends = False
        self._n_waiting = 0
        self._counting = threading.Lock()
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"plainly": write_plainly, "said": say_time}
        self.links = links

    @property
    def store(self) -> Store:
        """The store as it is on the disk now; of a request, ask :func:`find_store`."""
        with self._opening:
            if self._store is None:
                model, device = self.settings.model, self.settings.device
                self._store = open_store(
                    self.folder, model=model, device=device, encoder=self.load_encoder
                )
            model, self._store = self._store.model, self._store.reopen()
            if self._store.model != model:
                # Another store lies there by now; vectors of the old one's encoder are none of it.
                self.uploads = Uploads()
            return self._store

    @property
    def own(self) -> Store:
        """The store as it is now, for one who writes: what is said counts in this object alone."""
        return copy.copy(self.store)

    def warm(self) -> None:
        """Read the image table, so that whoever comes first need not wait for it."""
        # What is wrong is said to whoever asks.
        with contextlib.suppress(BioprobeError):
            store = self.store
            store.columns()
            store.list_images(n=1)
            store.browse(size=1)

    def end(self) -> None:
        """Let threads go: what runs stops at its next step."""
        self.hurry()
        self.jobs.end(1.0)
        self.batcher.end()

    def load_encoder(self) -> Encoder:
        """Return the encoder, which one thread runs for all; it is loaded when it is first asked.

        Raises
        ------
        ModelUnavailableError
            If the weights are not here.
        """
        from bioprobe.face.encoder import encoder

        with self._loading:
            store, settings = self._store, self.settings
            assert store is not None
            # Another store may lie in the folder by now.
            if self._encoder is None or self._model != store.model:
                # As every store has its texts.
                loaded = encoder(store.model, device=settings.device, precision="fp32")
                self._encoder, self._model = loaded.through(self.batcher.run), store.model
            return self._encoder

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Wait for one's turn to compute; where too many wait, the request is told to come again.

        Raises
        ------
        Refusal
            If too many wait.
        """
        with self._counting:
            if self._ends:
                msg = "the server ends; ask it again when it is back"
                raise Refusal(429, msg, again_s=10)
            if self._n_waiting >= self.settings.most_working + self.settings.most_waiting:
                msg = (
                    f"{self._n_waiting} questions are being answered or wait, which is as many as "
                    "there may be; ask again in a second"
                )
                raise Refusal(429, msg, again_s=1)
            self._n_waiting += 1
        try:
            # Nobody waits for an answer for ever, and who has gone is not answered.
            if not self._work.acquire(timeout=self.settings.turn_s) or self._ends:
                msg = (
                    f"others were answered for {self.settings.turn_s:g} s, and it was not this "
                    "question's turn; ask again"
                )
                raise Refusal(429, msg, again_s=2)
            try:
                yield
            finally:
                self._work.release()
        finally:
            with self._counting:
                self._n_waiting -= 1

    def hurry(self) -> None:
        """Answer what is being answered, and send away whoever waits."""
        self._ends = True

    def show(self, request: Request, template: str, **content: Any) -> HTMLResponse:  # noqa: ANN401
        """Return a page made from a template; what comes from names and files is escaped."""
        from fastapi.responses import HTMLResponse

        page = self._templates.get_template(template)
        here, csrf = request.url.path, request.state.csrf
        return HTMLResponse(
            page.render(desk=self, here=here, links=self.links, csrf=csrf, **content)
        )

    def tell(self, request: Request, error: BioprobeError) -> HTMLResponse:
        """Return, as a part of a page, what went wrong where something was to be written."""
        said = [{"kind": "problem", "text": explain(error)}]
        answer = self.show(request, "said.html.j2", said=said)
        answer.status_code = find_status(error)
        return answer

    @staticmethod
    def name_thumbnail(store: Store, row: int, size_px: int = 320, *, whole: bool = False) -> str:
        """Return the address of a thumbnail, which browsers keep as it names what it is of."""
        of = store.name_thumbnail(row, size_px=size_px, whole=whole)
        return _write_address(row, size_px, of, "&whole=true" if whole else "")

    @staticmethod
    def name_thumbnails(store: Store, rows: Sequence[int], size_px: int = 320) -> dict[int, str]:
        """Return the addresses of the thumbnails of several rows, by row."""
        named = zip(rows, store.name_thumbnails(rows, size_px=size_px), strict=True)
        return {row: _write_address(row, size_px, of) for row, of in named}


def _write_address(row: int, size_px: int, of: str, further: str = "") -> str:
    return f"/api/v1/images/{row}/thumbnail?size={size_px}{further}&of={of[:12]}"


def find_desk(request: Request) -> Desk:
    """Return what a request sees."""
    desk: Desk = request.app.state.desk
    return desk


def explain(error: BioprobeError) -> str:
    """Say what went wrong, as problems say it: in words of the page, not of the shell."""
    return str(describe_error(error, "")["detail"])


def check_writable(request: Request) -> None:
    """Refuse to write where the server does not.

    Raises
    ------
    Refusal
        If it was started with ``--read-only``.
    """
    if find_desk(request).settings.read_only:
        raise refuse_writing()


def find_store(request: Request) -> Store:
    """Return the store as a request sees it: the same from its beginning to its end.

    What the request writes counts in this object, and in none of another request's.
    """
    if not hasattr(request.state, "store"):
        request.state.store = find_desk(request).own
    store: Store = request.state.store
    return store
