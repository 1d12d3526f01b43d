"""What a camera wrote into its picture: when it was taken, by which camera, and where."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.cells import write_cell
from bioprobe.errors import ImageReadError, SelectionError
from bioprobe.images.reading import opened_exif
from bioprobe.images.times import read_times

if TYPE_CHECKING:
    from PIL.Image import Exif

#: When a picture was taken: ISO 8601, as exact as the camera says, with its zone where it says one.
CAPTURED_AT = "captured_at"
#: Make, model and serial number of the camera.
CAMERA = "camera"
#: Where it stood: degrees, north and east positive, WGS 84.
LATITUDE, LONGITUDE = "latitude", "longitude"
#: Free columns that are filled from EXIF.
CAMERA_COLUMNS = (CAPTURED_AT, CAMERA, LATITUDE, LONGITUDE)
#: What stands behind a camera that says its model alone, which does not tell it from others.
NO_SERIAL = "(no serial number)"

_MAKE, _MODEL, _EXIF, _GPS = 0x010F, 0x0110, 0x8769, 0x8825
_TAKEN, _SUBSECONDS, _OFFSET = 0x9003, 0x9291, 0x9011
# Of the body, as EXIF 2.3 has it, and as DNG and some older cameras write it.
_SERIALS = (0xA431, 0xC62F, 0xFDE9)
_GPS_STATUS, _VOID = 9, "V"
_WRITTEN = re.compile(r"(\d{4})[:\-/.](\d\d?)[:\-/.](\d\d?)[ T]+(\d\d?):(\d\d?)(?::(\d\d?))?")
_ZONE = re.compile(r"Z|[+-]\d\d:\d\d")
_CLOCK = re.compile(r"\d\d?:\d\d(?P<second>:\d\d)?(?P<fraction>\.\d+)?")
# A millionth of a degree is a tenth of a metre.
_DIGITS = 6


def read_camera(data: bytes) -> dict[str, Any]:
    """Read date, camera and place from the EXIF block of a picture; nothing is decoded.

    Returns
    -------
    dict
        Of :data:`CAMERA_COLUMNS` those that it says. The time is ``DateTimeOriginal``, when the
        shutter opened, with sub-seconds and the offset from UTC where they are there; never
        ``DateTime``, which programs that edit pictures change. What is no date (``0000:00:00``) and
        a place without a fix are not said; nor is anything that cannot be read.

    References
    ----------
    CIPA DC-008, *Exchangeable image file format for digital still cameras: Exif Version 2.32*.
    """
    found: dict[str, Any] = {}
    with contextlib.suppress(ImageReadError), opened_exif(data) as exif:
        found.update(_find(exif))
    return found


def _find(exif: Exif) -> Iterator[tuple[str, Any]]:
    inner: Mapping[int, Any] = {}
    place: Mapping[int, Any] = {}
    # Pillow raises whatever a broken block makes it raise.
    with contextlib.suppress(Exception):
        inner = exif.get_ifd(_EXIF)
    with contextlib.suppress(Exception):
        place = exif.get_ifd(_GPS)
    time = write_time(_text(inner, _TAKEN), _text(inner, _SUBSECONDS), _text(inner, _OFFSET))
    if time:
        yield CAPTURED_AT, time
    serial = next(filter(None, (_text(one, tag) for tag in _SERIALS for one in (inner, exif))), "")
    camera = _name_camera(_text(exif, _MAKE), _text(exif, _MODEL), serial)
    if camera:
        yield CAMERA, camera
    with contextlib.suppress(ArithmeticError, TypeError, ValueError, KeyError):
        latitude, longitude = _read_place(place)
        yield LATITUDE, latitude
        yield LONGITUDE, longitude


def write_time(taken: str, subseconds: str = "", offset: str = "") -> str:
    """Return a date of EXIF as ISO 8601, ``""`` where it is none.

    Examples
    --------
    >>> write_time("2024:05:13 12:30:45", "07", "+02:00"), write_time("0000:00:00 00:00:00")
    ('2024-05-13T12:30:45.07+02:00', '')
    """
    written = _WRITTEN.match(taken)
    if written is None:
        return ""
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in written.groups())
        time = datetime.datetime(year, month, day, hour, minute, second)
    except ValueError:
        return ""
    fraction = f".{subseconds}" if subseconds.isdecimal() and subseconds.isascii() else ""
    zone = offset if _ZONE.fullmatch(offset) else ""
    return f"{time.isoformat()}{fraction}{zone}"


def _name_camera(make: str, model: str, serial: str) -> str:
    """Return one text that tells a camera from others, or says that it does not.

    Examples
    --------
    >>> _name_camera("RECONYX", "HP2X", "H9HP123"), _name_camera("Canon", "Canon EOS R5", "")
    ('RECONYX HP2X H9HP123', 'Canon EOS R5 (no serial number)')
    """
    named = model if model.casefold().startswith(make.casefold()) and model else f"{make} {model}"
    if serial:
        return f"{named} {serial}".strip()
    return f"{named.strip()} {NO_SERIAL}" if named.strip() else ""


def _read_place(place: Mapping[int, Any]) -> tuple[float, float]:
    """Return latitude and longitude.

    Raises
    ------
    ValueError, TypeError, KeyError, ArithmeticError
        If they are not said, or are no place.
    """
    latitude = _to_degrees(place[2], _text(place, 1), "S")
    longitude = _to_degrees(place[4], _text(place, 3), "W")
    # Receivers without a fix write zeros.
    nowhere = latitude == longitude == 0 or _text(place, _GPS_STATUS) == _VOID
    if nowhere or not (abs(latitude) <= 90 and abs(longitude) <= 180):
        msg = "no place"
        raise ValueError(msg)
    return latitude, longitude


def _to_degrees(parts: Sequence[Any], side: str, negative: str) -> float:
    degrees, minutes, seconds = ([float(part) for part in parts] + [0.0, 0.0])[:3]
    value = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(value):
        msg = "no number"
        raise ValueError(msg)
    return round(-value if side.upper().startswith(negative) else value, _DIGITS)


def _text(block: Mapping[int, Any], tag: int) -> str:
    value: Any = None
    with contextlib.suppress(Exception):
        value = block.get(tag)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, (str, int)):
        return ""
    # Cameras fill the rest of a field with zero bytes, or with blanks.
    text = str(value).partition("\0")[0]
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


@dataclasses.dataclass(frozen=True)
class CameraCounts:
    """What EXIF said of the pictures of a run.

    Parameters
    ----------
    n_read : int
        Pictures that were read for it.
    n_said : dict of str to int
        Pictures of which it says each of :data:`CAMERA_COLUMNS`.
    n_filled : dict of str to int
        Those of which nothing else said it.
    n_conflicts : dict of str to int
        Those of which a source, or the store, says something else, and is believed.
    examples : dict of str to (str, str)
        Of each column in conflict what was believed, and what EXIF says.
    """

    n_read: int
    n_said: dict[str, int]
    n_filled: dict[str, int]
    n_conflicts: dict[str, int]
    examples: dict[str, tuple[str, str]]


class CameraTally:
    """Fill columns from EXIF where nothing else says them, and count what contradicts."""

    def __init__(self) -> None:
        self._n_read = 0
        self._said: collections.Counter[str] = collections.Counter()
        self._filled: collections.Counter[str] = collections.Counter()
        # How often each pair of texts that differ was met; one camera makes few.
        self._pairs: collections.Counter[tuple[str, str, str]] = collections.Counter()

    def fill(self, known: Mapping[str, Any], camera: Mapping[str, Any]) -> dict[str, Any]:
        """Return what EXIF says that is not known of a picture."""
        self._n_read += 1
        self._said.update(camera.keys())
        filled = {name: value for name, value in camera.items() if name not in known}
        self._filled.update(filled.keys())
        for name in camera.keys() - filled.keys():
            one, other = known[name], camera[name]
            if write_cell(one) != write_cell(other) and not _is_near(name, one, other):
                self._pairs[name, write_cell(one), write_cell(other)] += 1
        return filled

    def count(self) -> CameraCounts:
        """Return the counts; times are compared here, all of a column together."""
        n_conflicts: collections.Counter[str] = collections.Counter()
        examples: dict[str, tuple[str, str]] = {}
        times = [pair for pair in self._pairs if pair[0] == CAPTURED_AT]
        same = dict(zip(times, _are_same_times(times), strict=True))
        for pair, n in self._pairs.items():
            if not same.get(pair, False):
                n_conflicts[pair[0]] += n
                examples.setdefault(pair[0], pair[1:])
        return CameraCounts(
            self._n_read, dict(self._said), dict(self._filled), dict(n_conflicts), examples
        )


# A ten-thousandth of a degree is eleven metres: what a table rounds away.
_NEAR_DEGREES = 1e-4


def _is_near(name: str, one: object, other: object) -> bool:
    if name not in (LATITUDE, LONGITUDE):
        return False
    try:
        return abs(float(str(one)) - float(str(other))) <= _NEAR_DEGREES
    except ValueError:
        return False


def _are_same_times(pairs: Sequence[tuple[str, str, str]]) -> npt.NDArray[np.bool_]:
    """Tell which texts are one time, as far as the less exact of both says it."""
    if not pairs:
        return np.zeros(0, dtype=bool)
    try:
        (one, _), (other, _) = (
            read_times(np.array([pair[place] for pair in pairs], dtype=object)) for place in (1, 2)
        )
    except SelectionError:  # days and months that cannot be told apart
        return np.zeros(len(pairs), dtype=bool)
    spans = np.array([_find_exactness(pair[1]) for pair in pairs]).astype("timedelta64[ns]")
    gap = other - one
    return ~np.isnat(gap) & (gap >= np.timedelta64(0, "ns")) & (gap < spans)


def _find_exactness(text: str) -> int:
    """Return how long a time is that is written so, in nanoseconds: a day without a clock."""
    written = _CLOCK.search(text)
    if written is None:
        return 86_400_000_000_000
    return 1_000_000 if written["fraction"] else 1_000_000_000 * (1 if written["second"] else 60)
