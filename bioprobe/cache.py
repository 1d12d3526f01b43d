"""Where what can be made again is kept between runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: Variable of the environment that names another folder.
CACHE_VARIABLE = "BIOPROBE_CACHE"


def find_cache(part: str) -> Path:
    """Return the folder of one part of the cache, such as ``pictures``.

    References
    ----------
    XDG Base Directory Specification, ``XDG_CACHE_HOME``.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named) / part
    home = Path.home()
    if sys.platform == "darwin":
        caches = home / "Library" / "Caches"
    elif sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return caches / "bioprobe" / part
