"""A server of one store: its page and its API."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated

from bioprobe.errors import MissingExtraError, MisuseError
from bioprobe.face.store import DEFAULT_STORE
from bioprobe.face.store import open as open_store
from bioprobe.options import Option, StoreFolder, question
from bioprobe.result import Notes, Record

_OWN = ("127.0.0.1", "localhost", "::1")


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
    host: Annotated[
        str, Option("Address to listen at. Beyond this machine only with --token.")
    ] = "127.0.0.1",
    port: Annotated[int, Option("Port; 0 takes one that is free.", least=0, most=65535)] = 8765,
    token: Annotated[
        str | None,
        Option("What those who open the page must show, of 16 characters at least."),
    ] = None,
    tell: Callable[[str], object] | None = None,
) -> Served:
    """Serve the page and the API of a store, until it is interrupted.

    Parameters
    ----------
    store : str or Path
        Folder of the store.
    host : str
        Address to listen at; one beyond this machine needs ``token``.
    port : int
        Port.
    token : str, optional
        What must be shown to be let in.
    tell : callable, optional
        Told the address as text.

    Raises
    ------
    StoreError
        If there is no store, or it cannot be read.
    MisuseError
        If others could come in unasked.
    MissingExtraError
        If the extra ``serve`` is not installed.

    Examples
    --------
    >>> bp.serve("embeddings/all")  # doctest: +SKIP
    """
    if host not in _OWN and not token:
        msg = f"--host {host} lets in whoever reaches this machine; give --token TEXT as well"
        raise MisuseError(msg)
    open_store(store)
    try:
        import uvicorn
    except ImportError as error:
        msg = "the page needs uvicorn; install it with: pip install 'bioprobe[serve]'"
        raise MissingExtraError(msg) from error

    from bioprobe.web.app import build_app
    from bioprobe.web.desk import Settings

    app = build_app(store, Settings(token=token))
    listening = uvicorn.Config(app, host=host, port=port, log_level="warning")
    bound = listening.bind_socket()
    address = f"http://{host}:{bound.getsockname()[1]}/"
    if tell:
        tell(f"the page is at {address}; Ctrl-C ends it")
    uvicorn.Server(listening).run(sockets=[bound])
    return Served(address)


# People know it by the name of the face.
serve.__module__ = "bioprobe"
