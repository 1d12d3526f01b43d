"""A server of one store: its page and its API."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from bioprobe.errors import MisuseError
from bioprobe.face.store import DEFAULT_STORE
from bioprobe.face.store import open as open_store
from bioprobe.files import check_target, explaining_refusal
from bioprobe.options import Device, Model, Option, StoreFolder, Without, list_given, question
from bioprobe.result import Notes, Record

#: Variable of the environment that holds a token, which other programs see in no list.
TOKEN_VARIABLE = "BIOPROBE_TOKEN"
_LEAST_LETTERS = 16
_MEGABYTE = 1 << 20


@dataclasses.dataclass(frozen=True, repr=False)
class Served(Record):
    """What was served, once it has ended.

    Parameters
    ----------
    address : str
        Where the page was.
    notes : tuple of Note
        What is to be said of it.
    """

    address: str
    notes: Notes = ()


@question
def serve(
    store: StoreFolder = DEFAULT_STORE,
    *,
    model: Model = None,
    device: Device = "auto",
    host: Annotated[
        str, Option("Address to listen at. Beyond this machine only with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, Option("Port; 0 takes one that is free.", least=0, most=65535)] = 8765,
    token: Annotated[
        str | None,
        Option(
            "What those who open the page must show, of 16 characters at least; or in "
            "$BIOPROBE_TOKEN, where no list of programs shows it."
        ),
    ] = None,
    allow_host: Annotated[
        str | Sequence[str] | None,
        Option(
            "Further name by which the page may be asked, such as one that a proxy gives it; may "
            "be given several times.",
            shell=list[str],
            metavar="NAME",
        ),
    ] = None,
    open_browser: Annotated[
        bool,
        Option("Open the page in the browser, where there is a screen.", ("--open/--no-open",)),
    ] = True,
    read_only: Annotated[
        bool, Option("Answer questions and write nothing: no annotation, no taxon, no cluster.")
    ] = False,
    pictures: Annotated[
        str | Path | None,
        Option(
            "Folder that pictures are written to which people add to the store; by default nobody "
            "can add any.",
            shell=Path,
            metavar="FOLDER",
            when=(Without("read_only"),),
        ),
    ] = None,
    max_upload: Annotated[
        float,
        Option("Megabytes of pictures that are taken at once.", least=0.001, most=4096),
    ] = 64.0,
    max_pictures: Annotated[
        int, Option("Pictures that are taken at once.", least=1, most=1000)
    ] = 32,
    max_pixels: Annotated[
        int, Option("Pictures of more pixels are not taken.", least=1)
    ] = 100_000_000,
    rate: Annotated[
        float,
        Option(
            "Requests a second that one address may make, four times as many at once; the others "
            "are told when to come again. A class behind one router is one address.",
            least=0.1,
            most=1_000_000,
        ),
    ] = 500.0,
    tell: Callable[[str], object] | None = None,
) -> Served:
    """Serve the page and the API of a store, until it is interrupted.

    Parameters
    ----------
    store : str or Path
        Folder of the store.
    model : str, optional
        Encoder of texts and pictures that are asked; by default the one that made the store.
    device : str
        Where it runs, loaded when a text or picture is new.
    host : str
        Address to listen at; one beyond this machine needs ``token``.
    port : int
        Port; 0 takes one that is free.
    token : str, optional
        What must be shown to be let in, of 16 characters at least; by default ``$BIOPROBE_TOKEN``.
    allow_host : str or sequence of str, optional
        Further names by which the server may be asked.
    open_browser : bool
        Whether the page is opened in the browser, where there is a screen.
    read_only : bool
        Whether nothing is written.
    pictures : str or Path, optional
        Folder that pictures are written to which are sent to be added to the store, made where
        there is none; by default none are added.
    max_upload : float
        Megabytes (2**20 bytes) of pictures that are taken at once.
    max_pictures : int
        Pictures that are taken at once.
    max_pixels : int
        Pixels of one, at most.
    rate : float
        Requests a second that one address may make, four times as many at once.
    tell : callable, optional
        Told the address as text.

    Raises
    ------
    StoreError
        If there is no store, or it cannot be read.
    MisuseError
        If others could come in unasked, or the address cannot be listened at.
    MissingExtraError
        If the extra ``serve`` is not installed.

    Examples
    --------
    >>> bp.serve("embeddings/all")  # doctest: +SKIP
    """
    token = token or os.environ.get(TOKEN_VARIABLE) or None
    _check_token(host, token)
    open_store(store)
    folder = None if pictures is None else Path(pictures).absolute()
    if folder is not None:
        with explaining_refusal(folder):
            folder.mkdir(exist_ok=True)
        check_target(folder, is_file=False)

    from bioprobe.web.app import build_app
    from bioprobe.web.desk import Settings

    settings = Settings(
        token=token, hosts=_list_hosts(host, list_given(allow_host)), read_only=read_only,
        pictures=folder, model=model, device=device, upload_bytes=round(max_upload * _MEGABYTE),
        upload_count=max_pictures, upload_pixels=max_pixels, requests_per_s=rate,
        requests_at_once=4 * rate,
    )  # fmt: skip
    app = build_app(store, settings)

    from bioprobe.web.listening import bind, make_server

    bound = bind(host, port)
    if token is None and not _is_own(bound.getsockname()[0]):
        bound.close()
        raise _refuse_others(host)
    # Whoever comes first need not wait for what all have to know.
    app.state.desk.warm()
    address = f"http://{_show_host(host)}:{bound.getsockname()[1]}/"
    if tell:
        tell(f"the page is at {address}; Ctrl-C ends it")
        if token:
            tell(f"it asks for the token, once; or open {address}enter#TOKEN")
    if open_browser and _has_screen():
        door = f"{address}enter#{quote(token)}" if token else address
        threading.Thread(target=webbrowser.open, args=(door,), daemon=True).start()
    make_server(app).run(sockets=[bound])
    return Served(address)


# People know it by the name of the face.
serve.__module__ = "bioprobe"


def _check_token(host: str, token: str | None) -> None:
    """Refuse to let in others unasked, or by what is soon guessed."""
    if token is None:
        if not _is_own(host):
            raise _refuse_others(host)
        return
    if len(token) < _LEAST_LETTERS or not token.isprintable():
        msg = (
            f"--token has {len(token)} characters, it needs {_LEAST_LETTERS} at least, all of them "
            "printable; such as: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
        raise MisuseError(msg)


def _refuse_others(host: str) -> MisuseError:
    return MisuseError(
        f"--host {host} lets in whoever reaches this machine; give --token TEXT as well, or put "
        f"it into ${TOKEN_VARIABLE}"
    )


def _is_own(host: str) -> bool:
    """Tell whether nobody beyond this machine reaches an address.

    Examples
    --------
    >>> _is_own("localhost"), _is_own("127.8.0.1"), _is_own("::1"), _is_own("0.0.0.0"), _is_own("")
    (True, True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _show_host(host: str) -> str:
    """Return a host as it stands in an address: of all addresses, this machine's own."""
    plain = host.strip("[]")
    if plain in {"", "0.0.0.0"}:
        return "127.0.0.1"
    if plain == "::":
        return "[::1]"
    return f"[{plain}]" if ":" in plain else plain


def _list_hosts(host: str, further: Sequence[str]) -> tuple[str, ...]:
    """Return the names by which a server may be asked.

    A page of somebody else may have its own name lead to this machine, but not an address.
    """
    names = ["127.0.0.1", "localhost", "[::1]", _show_host(host).lower()]
    if host.strip("[]") in {"", "0.0.0.0", "::"}:
        own = socket.gethostname().lower()
        names += ["*", own, own.partition(".")[0] + ".local"]
    return tuple(dict.fromkeys([*names, *(one.lower() for one in further)]))


def _has_screen() -> bool:
    """Tell whether a browser with windows can be opened."""
    if sys.platform in {"darwin", "win32"}:
        return "SSH_CONNECTION" not in os.environ
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
