"""Latitudes and longitudes as people and receivers write them."""

from __future__ import annotations

import math
import re

#: What may stand for each, and the letters of its hemispheres; of O it is not known whether it
#: means east (Ost) or west (ouest, oeste).
_SIDES = {"latitude": (90.0, "N", "S"), "longitude": (180.0, "E", "W")}
_NUMBER = r"(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[-+]?\d+)?"
_FORM = re.compile(
    rf"(?P<before>[NSEW])?\s*(?P<sign>[-+\u2212])?\s*(?P<degrees>{_NUMBER})\s*"
    rf"(?:(?:[\u00b0\u00ba:d]|(?<=\s)(?=\d))\s*(?:(?P<minutes>{_NUMBER})\s*"
    rf"(?:(?:['\u2032\u2019:m]|(?<=\s)(?=\d))\s*(?:(?P<seconds>{_NUMBER})\s*"
    r"(?:[\"\u2033\u201ds]|'')?)?)?)?)?\s*(?P<after>[NSEW])?",
    re.IGNORECASE,
)


def read_degrees(text: str, side: str) -> float:
    """Return decimal degrees of a latitude or longitude.

    Parameters
    ----------
    text : str
        Decimal degrees, with a point or comma, or degrees, minutes and seconds; with a sign, or
        the letter of a hemisphere before or behind.
    side : str
        ``latitude`` or ``longitude``.

    Returns
    -------
    float
        Not a number where it is none, lies beyond 90 or 180, or its letter is of the other side.

    Examples
    --------
    >>> read_degrees("47 30 36 N", "latitude"), read_degrees("8,25 W", "longitude")
    (47.51, -8.25)
    >>> read_degrees("8.25 E", "latitude"), read_degrees("473000", "latitude")
    (nan, nan)
    """
    most, positive, negative = _SIDES[side]
    found = _FORM.fullmatch(text.strip())
    letters = ((found["before"] or "") + (found["after"] or "")).upper() if found else ""
    if found is None or letters not in {"", positive, negative}:
        return math.nan
    degrees, minutes, seconds = (
        float((found[part] or "0").replace(",", ".")) for part in ("degrees", "minutes", "seconds")
    )
    is_whole = (found["minutes"] is None or degrees.is_integer()) and (
        found["seconds"] is None or minutes.is_integer()
    )
    value = degrees + minutes / 60 + seconds / 3600
    is_south = letters == negative
    is_minus = found["sign"] in {"-", "\u2212"}
    if not is_whole or minutes >= 60 or seconds >= 60 or value > most or (
        is_minus and letters == positive
    ):  # fmt: skip
        return math.nan
    return -value if is_south or is_minus else value
