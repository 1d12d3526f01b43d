"""Who is looking at which picture just now, so that two people are not handed the same ones."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from bioprobe.errors import StoreError
from bioprobe.files import explaining_refusal, parse_json, write_text
from bioprobe.store.annotations import FOLDER_NAME, Unit
from bioprobe.store.writing import QUICK_WAIT_S, check_present, locking

T = TypeVar("T")

_CLAIMS_NAME, _LOCK_NAME = "shown.json", ".shown.lock"
#: A picture that nobody answered for so long is anybody's again.
CLAIM_S = 3600.0

Claims = dict[str, tuple[str, float]]


def name_unit(unit: Unit, level: str) -> str:
    """Return what stands for a picture and a question about it, however often rows change."""
    text = "\0".join((level, unit.root, unit.path, unit.region))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def claim(
    folder: Path,
    by: str,
    choose: Callable[[Collection[str]], tuple[Sequence[str], T]],
    given_back: Collection[str] = (),
) -> T:
    """Choose pictures that nobody else is looking at, and keep them for a person.

    Nobody else chooses meanwhile.

    Parameters
    ----------
    folder : Path
        Of the store.
    by : str
        Who looks at them.
    choose : callable
        Takes what others are looking at, as :func:`name_unit` names it; returns what is to be kept,
        and what to return.
    given_back : collection of str
        What this person is done with.

    Returns
    -------
    object
        What ``choose`` returned.

    Raises
    ------
    StoreLockedError
        If another process chooses all the time.
    StoreError
        If the disk refuses.
    """
    check_present(folder)
    place = folder / FOLDER_NAME
    with explaining_refusal(place):
        place.mkdir(exist_ok=True)
    with locking(place / _LOCK_NAME, QUICK_WAIT_S, f"choosing pictures of {folder} to look at"):
        now = time.time()
        claims = _read(place / _CLAIMS_NAME, now)
        others = {name for name, (who, _) in claims.items() if who != by}
        kept, found = choose(others)
        left = {
            name: one for name, one in claims.items()
            if one[0] != by or name not in given_back
        }  # fmt: skip
        left |= dict.fromkeys(kept, (by, now))
        if left or claims:
            with explaining_refusal(place):
                write_text(place / _CLAIMS_NAME, json.dumps(left, ensure_ascii=False))
        return found


def _read(path: Path, now: float) -> Claims:
    """Return what is looked at; what cannot be read is nothing, as it is of no lasting worth."""
    try:
        held = parse_json(path.read_bytes(), dict)
        return {
            str(name): (str(by), float(at)) for name, (by, at) in held.items()
            if 0 <= now - float(at) < CLAIM_S
        }  # fmt: skip
    except (OSError, ValueError, TypeError, StoreError):
        return {}
