"""Pictures named by an address: where their copies are kept, and what to say where there is none.

The root of such a row is the address up to its last slash, and its path the rest. Nothing here
goes to a network; :mod:`bioprobe.sources.fetching` does, where a person asks for it, and
:mod:`bioprobe.remote` where they name a bucket or a hub themselves.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from bioprobe.cache import find_cache
from bioprobe.errors import SourceError
from bioprobe.remote import PROTOCOLS, find_address

#: What the root of a picture within an archive begins with, before the path of the archive.
ARCHIVE_PREFIX = "archive:"

_SCHEMES = "|".join(("https?", "ftp", *PROTOCOLS))
_ADDRESS = re.compile(rf"({_SCHEMES})://[^\s/]+", re.IGNORECASE)
_COLLAPSED = re.compile(rf"({_SCHEMES}):/{{1,2}}([^\s/].*)", re.IGNORECASE | re.DOTALL)
# Where the public objects of two stores of objects answer.
_PUBLIC = {
    "gs": "https://storage.googleapis.com/{bucket}/{key}",
    "s3": "https://{bucket}.s3.amazonaws.com/{key}",
}


def is_address(text: str) -> bool:
    """Tell whether a text is the address of something on a network.

    Examples
    --------
    >>> is_address("https://example.org/a.jpg"), is_address("gs://bucket/a.jpg")
    (True, True)
    >>> is_address("C:/a.jpg"), is_address("file:///a.jpg")
    (False, False)
    """
    return _ADDRESS.match(text) is not None


def refuse_address(named: str | Path) -> None:
    """Refuse an address where the name of a file or folder is wanted.

    Parameters
    ----------
    named : str or Path
        As a person gave it; of a Path, which holds no empty part, ``https:/`` is an address too.

    Raises
    ------
    SourceError
        If it is one, and no file of that name is there.

    Examples
    --------
    >>> refuse_address("photos/a.jpg")
    """
    found = _COLLAPSED.match(str(named))
    if found is None or os.path.lexists(named):
        return
    address = f"{found[1]}://{found[2]}"
    if find_address(named):
        msg = (
            f"{address} is an address, and a file or folder on this machine is wanted: bring it "
            f"into a store by bioprobe embed {address}, and ask that store"
        )
        raise SourceError(msg)
    msg = (
        f"{address} is an address, and a file or folder on this machine is wanted: download it and "
        "name the file; or write addresses into the column path of a table, bring them into a "
        "store by bioprobe embed TABLE.csv --fetch, and ask that store"
    )
    raise SourceError(msg)


def split_address(address: str) -> tuple[str, str]:
    """Return the root and the path by which a row of an image table names an address.

    Examples
    --------
    >>> split_address("https://example.org/photos/1.jpg?size=large/best")
    ('https://example.org/photos', '1.jpg?size=large/best')
    >>> split_address("https://example.org")
    ('https://example.org', '')
    """
    address = address.strip()
    bare = re.split("[?#]", address, maxsplit=1)[0]
    end = bare.rfind("/")
    if end <= bare.index("://") + 2:
        return address, ""
    return address[:end], address[end + 1 :]


def join_address(root: str, path: str) -> str:
    """Return the address of a row."""
    return f"{root}/{path}" if path else root


def find_copy(address: str) -> Path:
    """Return where the copy of what an address answers is kept, whether it is there or not."""
    key = hashlib.sha256(to_http(address).encode()).hexdigest()
    return find_cache("fetched") / key[:2] / key


def to_http(address: str) -> str:
    """Return the address at which the public objects of ``gs://`` and ``s3://`` answer.

    Examples
    --------
    >>> to_http("gs://public/a b.jpg")
    'https://storage.googleapis.com/public/a%20b.jpg'
    """
    from urllib.parse import quote

    scheme, _, rest = address.partition("://")
    public = _PUBLIC.get(scheme.lower())
    if public is None:
        return address
    bucket, _, key = rest.partition("/")
    return public.format(bucket=bucket, key=quote(key))
