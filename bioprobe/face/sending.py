"""Stores at addresses: sent there, and copied from there to be written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bioprobe.errors import MisuseError
from bioprobe.face.opened import Opened
from bioprobe.options import Option, StoreFolder, question
from bioprobe.progress import Progress

if TYPE_CHECKING:
    from bioprobe.store.remote import Moved

Address = Annotated[
    str,
    Option(
        "Where the store lies, or is to lie: s3://BUCKET/STORE, gs://, hf:// and others.", ("-",)
    ),
]


class Sends(Opened):
    """Where else a store lies."""

    @question
    def push(self, address: Address, *, progress: Progress | None = None) -> Moved:
        """Send the store to an address, from which others read it by ``--store ADDRESS``.

        Shards are sent first and once, then all other files that have changed, and the manifest
        last: who reads there sees the store as it was before, or all of it. What was interrupted
        goes on where it was. What lies there is replaced only where it is what this store last saw
        there; files that this store no longer has are removed.

        Parameters
        ----------
        address : str
            Such as ``s3://bucket/stores/photos``. Who asks, and where the server is, is taken from
            the environment, as the library that reads it does.
        progress : callable, optional
            Told after each file.

        Raises
        ------
        StoreError
            If somebody else sent theirs there meanwhile, or it is of another store: it stays.
        UnreadableError
            If the address cannot be read or written just now.
        """
        from bioprobe.store.remote import push

        done = push(self.folder, _read(address), progress)
        text = (
            f"{done.n_moved:,} files ({done.n_bytes:,} bytes) of {self.folder} sent to {address}, "
            f"{done.n_kept:,} were there already, {done.n_removed:,} removed there"
        )
        return done.say([text])


@question
def pull(address: Address, *, store: StoreFolder, progress: Progress | None = None) -> Moved:
    """Copy the store at an address into a folder, or bring what was copied up to date.

    Each shard is compared with its checksum in the manifest. What was changed in the folder alone
    stays, and is sent by :meth:`Store.push`.

    Parameters
    ----------
    address : str
    store : str or Path
        Folder: new, empty, or of a store that came from there or was sent there.
    progress : callable, optional
        Told after each file.

    Raises
    ------
    StoreError
        If no store is there, it is damaged, or a file was changed both here and there.
    UnreadableError
        If the address cannot be read just now.
    """
    from bioprobe.store.remote import pull as copy

    done = copy(_read(address), Path(store), progress)
    text = (
        f"{done.n_moved:,} files ({done.n_bytes:,} bytes) of {address} copied to {store}, "
        f"{done.n_kept:,} were there already, {done.n_removed:,} removed here"
    )
    return done.say([text])


pull.__module__ = "bioprobe"


def _read(address: str) -> str:
    from bioprobe.remote import PROTOCOLS, find_address

    found = find_address(address)
    if not found:
        known = ", ".join(PROTOCOLS)
        msg = f"{address!r} is no address of a bucket or hub; before :// stands one of {known}"
        raise MisuseError(msg)
    return found
