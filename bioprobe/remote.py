"""What lies at addresses such as ``s3://bucket/photos``: looked at, listed, read and written.

The one place where bytes of a bucket or a hub come from and go to. Each address is opened by the
library that fsspec has for it, with what that library takes from the environment: where the server
is, and who asks. None of that is kept or shown here.

A request that fails for a reason that may pass – a connection that breaks, a server that is busy,
an answer that is cut off – is made again after a pause that doubles: :data:`TRIES` times at most,
and no more once :data:`PATIENCE_S` have gone by. What is not there, or not allowed, is said at
once.

An address in a table or a store may come from somebody else. So that nothing is asked of a place
that only they named, :func:`is_named` tells what a person has named on this machine.
"""

from __future__ import annotations

import dataclasses
import datetime
import errno
import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bioprobe.cache import find_cache
from bioprobe.errors import MissingExtraError, MisuseError

#: Names of the libraries' protocols that may stand before ``://``.
PROTOCOLS = (
    "abfs", "abfss", "adl", "az", "gcs", "gs", "hf", "memory", "oci", "oss", "s3", "s3a", "sftp",
    "smb", "ssh", "webdav",
)  # fmt: skip
#: How often a request is made, and for how long one that fails is made again.
TRIES = 5
PATIENCE_S = 60.0
_FIRST_PAUSE_S = 0.25
_MOST_PAUSE_S = 8.0
# Most that is put in one request; more goes in parts.
_AT_ONCE_BYTES = 32 << 20

# A Path holds no empty part, so that one slash is enough.
_WRITTEN = re.compile(rf"({'|'.join(PROTOCOLS)}):/{{1,2}}(.*)", re.IGNORECASE | re.DOTALL)
_WITH_PASSWORD = re.compile(r"[a-z0-9+.-]+://[^/@]*:[^/@]*@", re.IGNORECASE)
# What each protocol is read by, where fsspec itself does not.
_LIBRARIES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
    "abfss": "adlfs", "adl": "adlfs", "oci": "ocifs", "oss": "ossfs", "sftp": "paramiko",
    "ssh": "paramiko", "smb": "smbprotocol", "webdav": "webdav4",
}  # fmt: skip
_OF_THE_EXTRA = {"gcsfs", "s3fs"}
# What is told of an object that changes with its content; if none is, when it was written.
_MARKS = ("ETag", "etag", "generation", "xet_hash", "blob_id", "md5Hash")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
_FINAL = (PermissionError, IsADirectoryError, NotADirectoryError,
          FileExistsError, NotImplementedError, MisuseError, MissingExtraError)  # fmt: skip
# Answers of a server below 500 that another try may change.
_PASSING = {408, 425, 429}
# Characters of a library's words that a message repeats.
_SAID = 300
# What the disk here refuses, where a copy is written to it.
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True)
class Found:
    """An object at an address.

    Parameters
    ----------
    n_bytes : int
        Its size; -1 where the address does not tell.
    version : str
        Another one where the content may be another; ``""`` where the address tells none.
    mark : str
        By which a server compares, its ETag; ``""`` where there is none.
    """

    n_bytes: int
    version: str
    mark: str = ""


class ChangedError(Exception):
    """What lies at an address is not what was expected there."""


def find_address(named: str | Path | None) -> str:
    """Return the address that a person wrote, ``""`` where it is the name of a file or folder.

    Parameters
    ----------
    named : str, Path or None
        Of a Path, which holds no empty part, ``s3:/`` is an address too.

    Raises
    ------
    MisuseError
        If it holds a password.

    Examples
    --------
    >>> find_address(Path("s3://bucket/photos/")), find_address("photos/s3")
    ('s3://bucket/photos', '')
    """
    found = _WRITTEN.match(str(named)) if named is not None else None
    if found is None:
        return ""
    protocol, rest = found[1].lower(), found[2]
    address = f"{protocol}://{rest.strip('/') if protocol == 'memory' else rest.rstrip('/')}"
    if _WITH_PASSWORD.match(address):
        msg = (
            f"an address of {protocol}:// with a password in it was given; it would stand in "
            "tables and reports. Leave it out, and say it as the library reads it: in its "
            "variables of the environment, or its file of settings"
        )
        raise MisuseError(msg)
    return address


def name(address: str) -> None:
    """Remember that a person named an address on this machine; below it may be read."""
    _named.add(address)
    file = _find_mark(address)
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{address}\n", encoding="utf-8")
    except OSError:
        # In this process it counts all the same.
        return


def is_named(address: str) -> bool:
    """Tell whether a person named an address, or one above it, on this machine."""
    if ".." in address.split("/"):
        # Some servers follow it.
        return False
    for place in _iter_above(address):
        if place in _named or _find_mark(place).exists():
            _named.add(place)
            return True
    return False


_named: set[str] = set()


def _iter_above(address: str) -> Iterator[str]:
    start = address.index("://") + 3
    while True:
        yield address
        end = address.rfind("/")
        if end < start:
            return
        address = address[:end]


def _find_mark(address: str) -> Path:
    return find_cache("named") / hashlib.sha256(address.encode()).hexdigest()


def look(address: str) -> Found | None:
    """Tell what lies at an address; None where no object does.

    Raises
    ------
    OSError
        If it cannot be told, or is not allowed.
    """

    def ask(system: Any, path: str) -> Found | None:  # noqa: ANN401 - fsspec has no types
        info = system.info(path)
        return describe(info) if info["type"] == "file" else None

    try:
        return _try(address, ask)
    except FileNotFoundError:
        return None


def list_below(address: str) -> dict[str, Found]:
    """List all objects below an address, by their paths from it, as they are now.

    Raises
    ------
    OSError
        If it cannot be listed.
    """

    def ask(system: Any, path: str) -> dict[str, Found]:  # noqa: ANN401
        # What was listed before may be another now.
        system.invalidate_cache()
        start = f"{path.rstrip('/')}/"
        found = system.find(path, detail=True)
        return {
            one.removeprefix(start): describe(info)
            for one, info in sorted(found.items())
            if info["type"] == "file" and one.startswith(start) and not one.endswith("/")
        }

    return _try(address, ask)


def read(address: str, *, most_bytes: int | None = None) -> bytes:
    """Return what lies at an address, all of it.

    Parameters
    ----------
    address : str
    most_bytes : int, optional
        What is larger is refused before it is read.

    Raises
    ------
    FileNotFoundError
        If nothing lies there.
    OSError
        If it cannot be read, or is larger.
    """

    def ask(system: Any, path: str) -> bytes:  # noqa: ANN401
        n_bytes = describe(system.info(path)).n_bytes
        if most_bytes is not None and n_bytes > most_bytes:
            raise _TooLargeError(n_bytes)
        data: bytes = system.cat_file(path)
        if n_bytes >= 0 and len(data) != n_bytes:
            system.invalidate_cache()
            msg = f"{len(data):,} of {n_bytes:,} bytes came"
            raise ConnectionError(msg)
        return data

    try:
        return _try(address, ask)
    except _TooLargeError as error:
        msg = f"{address} has {error.args[0]:,} bytes, expected {most_bytes:,} at most"
        raise OSError(msg) from None


def fetch(address: str, file: Path) -> None:
    """Write what lies at an address to a file, without having all of it in memory.

    Raises
    ------
    FileNotFoundError
        If nothing lies there.
    OSError
        If it cannot be read, or the disk refuses.
    """

    def ask(system: Any, path: str) -> None:  # noqa: ANN401
        n_bytes = describe(system.info(path)).n_bytes
        system.get_file(path, str(file))
        if n_bytes >= 0 and file.stat().st_size != n_bytes:
            system.invalidate_cache()
            msg = f"{file.stat().st_size:,} of {n_bytes:,} bytes came"
            raise ConnectionError(msg)

    _try(address, ask)


def send(content: bytes | Path, address: str, expected: Found | None) -> Found:
    """Write bytes or a file to an address where that is still what is expected, or still empty.

    It is written whole or not at all. The servers of ``s3://`` compare and write in one step, for
    all but large files that replace others; elsewhere it is looked at right before.

    Parameters
    ----------
    content : bytes or Path
    address : str
    expected : Found or None
        What lies there; None where nothing does.

    Returns
    -------
    Found
        What lies there now.

    Raises
    ------
    ChangedError
        If something else lies there; it stays.
    OSError
        If it cannot be written.
    """
    n_bytes = len(content) if isinstance(content, bytes) else content.stat().st_size
    is_small = n_bytes <= _AT_ONCE_BYTES
    if isinstance(content, Path) and is_small:
        content = content.read_bytes()
    condition: dict[str, str] = {"mode": "create"} if expected is None else {}
    if expected is not None and is_small and address.startswith(("s3://", "s3a://")):
        condition = {"IfMatch": expected.mark}
    elif expected is not None and (now := look_again(address)) != expected:
        msg = f"{address}: {now} instead of {expected}"
        raise ChangedError(msg)

    def ask(system: Any, path: str) -> None:  # noqa: ANN401
        if isinstance(content, bytes):
            system.pipe_file(path, content, **condition)
        else:
            system.put_file(str(content), path, **condition)

    try:
        _try(address, ask)
    except FileExistsError as error:
        # Of a first try that was done, and whose answer was lost, there is nothing to say.
        data = content if isinstance(content, bytes) else content.read_bytes()
        if read(address) != data:
            raise ChangedError(str(error)) from error
    found = look_again(address)
    if found is None:
        msg = f"{address} is gone again"
        raise ChangedError(msg)
    return found


def look_again(address: str) -> Found | None:
    """Tell what lies at an address now, whatever was known of it before."""
    open_system(address)[0].invalidate_cache()
    return look(address)


def remove(address: str) -> None:
    """Remove what lies at an address, if anything does."""
    try:
        _try(address, lambda system, path: system.rm_file(path))
    except FileNotFoundError:
        return


class _TooLargeError(Exception):
    """An object that is not read."""


def describe(info: Mapping[str, Any]) -> Found:
    """Return what a file system tells of an object."""
    size = info.get("size")
    told = [(key, info[key]) for key in _MARKS if info.get(key)]
    told = told or [(key, _spell_time(info[key])) for key in _TIMES if info.get(key)]
    mark = str(info.get("ETag") or "")
    # The size alone says nothing of the content.
    version = " ".join(f"{key}={value}" for key, value in told)
    return Found(-1 if size is None else int(size), f"{version} {size}" if version else "", mark)


def _spell_time(told: object) -> str:
    # A library may say one time in two ways, by what it was asked.
    if isinstance(told, datetime.datetime):
        told = told.timestamp()
    return f"{told:.6f}" if isinstance(told, int | float) else str(told)


def open_system(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Raises
    ------
    MissingExtraError
        If its library is not installed.
    """
    import fsspec

    protocol = address.partition("://")[0] if "://" in address else "file"
    try:
        # Not by url_to_fs, to which :: within a name begins another address.
        kind = fsspec.get_filesystem_class(protocol)
        system = fsspec.filesystem(protocol, **kind._get_kwargs_from_urls(address))
    except ImportError as error:
        library = _LIBRARIES.get(protocol, "")
        wanted = "'bioprobe[remote]'" if library in _OF_THE_EXTRA else library
        remedy = f"pip install {wanted}" if library else str(error)
        msg = f"{protocol}:// is read by {library or 'a library'}, which is not here; {remedy}"
        raise MissingExtraError(msg) from error
    return system, kind._strip_protocol(address)


def _try(address: str, ask: Callable[[Any, str], Answer]) -> Answer:
    """Ask until there is an answer, or an error that stays."""
    system, path = open_system(address)
    return retry(address, lambda: ask(system, path))


def retry(
    address: str, ask: Callable[[], Answer], *, tell: Callable[[], None] = lambda: None
) -> Answer:
    """Ask until there is an answer, or an error that stays.

    Raises
    ------
    FileNotFoundError
        If nothing lies there.
    PermissionError
        If it is not allowed, or needs who asks to say who they are.
    ChangedError
        If who asks says so.
    OSError
        If it cannot be done; a ConnectionError if another time it may be.
    """
    start_s, pause_s = time.monotonic(), _FIRST_PAUSE_S
    for n_tries in range(1, TRIES + 1):
        try:
            return ask()
        except FileNotFoundError as error:
            # Libraries say it in words of their own.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), address) from error
        except (*_FINAL, ChangedError, _TooLargeError):
            raise
        except Exception as error:
            _raise_if_final(address, error)
            if n_tries == TRIES or time.monotonic() - start_s > PATIENCE_S:
                msg = (
                    "the address does not answer as it should; a later run tries again "
                    f"({address}, asked {n_tries} times: {_spell_error(error)})"
                )
                raise ConnectionError(msg) from error
        tell()
        time.sleep(random.uniform(0.5, 1) * pause_s)
        pause_s = min(2 * pause_s, _MOST_PAUSE_S)
    raise AssertionError


def _raise_if_final(address: str, error: Exception) -> None:
    """Raise what another try cannot change, as an error of the system."""
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        raise error
    if type(error).__name__.endswith("CredentialsError"):
        raise PermissionError(_NO_CREDENTIALS.format(address)) from error
    if "PreconditionFailed" in str(error) or "pre-conditions" in str(error):
        raise FileExistsError(str(error)) from error
    status = _find_status(error)
    if status in {401, 403}:
        msg = f"{address}: {_spell_error(error)}"
        raise PermissionError(msg) from error
    if status == 404:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), address) from error
    if status is not None and 400 <= status < 500 and status not in _PASSING:
        msg = f"{address}: {_spell_error(error)}"
        raise OSError(msg) from error


def _find_status(error: Exception) -> int | None:
    """Return the status of the answer that an error of a library of HTTP is about."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    status = getattr(error, "status", None) if status is None else status
    return status if isinstance(status, int) else None


def _spell_error(error: Exception) -> str:
    said = " ".join(str(error).split())[:_SAID]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


_NO_CREDENTIALS = (
    "there are no credentials for {}; set them as the library reads them (for s3:// "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile), or for what is public "
    "FSSPEC_S3_ANON=true"
)
