"""When images were taken: dates and times as people, cameras and programs write them."""

from __future__ import annotations

import collections
import datetime
import re
import zoneinfo
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MisuseError, SelectionError
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd

Times = npt.NDArray[np.datetime64]

_EXIF = re.compile(r"(\d{4}):(\d\d):(\d\d)")
_DAY_OR_MONTH = re.compile(r"(\d{1,2})[/.\-](\d{1,2})[/.\-](?:\d{4}|\d\d)(?!\d)")
_CLOCK_FORM = (
    r"(?:\d{1,2}[:h.]\d{1,2}(?:[:.]\d{1,2}(?:\.\d+)?)?|\d{1,2}h\d{1,2}m\d{1,2}s|\d{6}"
    r"|\d{1,2}(?=\s*[ap]))\s*(?:[ap]\.?m\.?)?"
    r"\s*(?:Z|UTC|GMT)?\s*(?:[+-]\d{1,2}(?::?\d\d)?)?"
)
_ENGLISH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_NUMBERED = r"\d{1,2}(?:st|nd|rd|th)?"
# One date, and a time of day at most, which no reader takes for anything else: of two dates, or a
# number too many, one that guesses makes some date.
_ONE_DATE = re.compile(
    rf"(?:(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:\d{{4}}|\d\d)"
    rf"|(?:[a-z]+,?\s+)?(?:{_NUMBERED}[\s/-]?(?:of\s)?{_ENGLISH}[\s/,-]*(?:\d{{4}}|\d\d)"
    rf"|{_ENGLISH}[\s/-]+{_NUMBERED},?[\s/-]+\d{{4}}|\d{{4}}[\s/-]{_ENGLISH}[\s/-]{_NUMBERED}))"
    rf"(?:(?:[T\s,;]+|\s(?:at|-)\s){_CLOCK_FORM})?"
    rf"|\d{{4}}/\d{{1,2}}|\d{{1,2}}/\d{{4}}|{_ENGLISH}\s+\d{{4}}"
    rf"|(?:[a-z]+\s+)?{_ENGLISH}\s+{_NUMBERED}\s+{_CLOCK_FORM}\s+\d{{4}})",
    re.IGNORECASE,
)
# Before a date: 10:30 13/05/2021, Thu 13/05/2021.
_CLOCK_FIRST = re.compile(
    r"^(\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s?[ap]\.?m\.?)?),?\s+(.+)$", re.IGNORECASE
)
_WEEKDAY = re.compile(
    r"^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+(?=\d+[/.-]\d)", re.IGNORECASE
)
_SHORT_YEAR = (
    r"^(?:[A-Za-z]+,?\s+)?(?:\d{1,2}[/.-]\d{1,2}[/.-]"
    r"|\d{1,2}(?:st|nd|rd|th)?[\s/-]?(?:of\s)?[A-Za-z]{3,9}\.?[\s/,-]*)\d\d(?![\d:])"
)
# As names of files and some programs write them: 20240513_123045, 2024-05-13 12.30.45.
_RUN_TOGETHER = re.compile(r"(\d{8})[_ -](\d{6})")
_FOUR = re.compile(r"\d{4}(?!\d)")
_POINTS = re.compile(
    r"(\d{4}[:-]\d\d[:-]\d\d)(?:[T _](\d\d)([.-])(\d\d)\3|[ _](\d\d)[.-](?=\d\d$))(\d\d)"
)
_FRACTION = re.compile(r"(:\d\d),(\d+)")
# Offsets as people write them, which POSIX reads the other way round: GMT+2.
_OFFSET = re.compile(r"\s*(?:GMT|UTC)\s*([+-])(\d{1,2})(?::?(\d\d))?(?:\s\(\w+\))?$", re.IGNORECASE)
# A day of a month that is none of English: 1. Mai 2021, 1 de mayo de 2021.
_DAY_OF_MONTH = re.compile(r"(?<!\d)(\d{1,2})\.?[ -](?:de )?([^\W\d_]{3,})\.?,?[ -](?:de )?(?=\d)")
_MONTHS = {
    name: f"{number:02}"
    for number, names in enumerate(
        (
            "januar jan janvier janv enero ene janeiro gennaio gen januari",
            "februar feb februari f\u00e9vrier f\u00e9vr febrero fevereiro fev febbraio",
            "m\u00e4rz m\u00e4r mrz mars marzo mar\u00e7o maart mrt",
            "april avril avr abril abr aprile",
            "mai mayo maio maggio mag mei",
            "juni juin junio junho jun giugno giu",
            "juli juillet juil julio julho luglio lug jul",
            "august aug ao\u00fbt agosto ago augustus",
            "september sept sep septembre septiembre setembro set settembre",
            "oktober okt octobre octubre outubro out ottobre ott",
            "november nov novembre noviembre novembro",
            "dezember dez d\u00e9cembre d\u00e9c diciembre dic dezembro dicembre december",
        ),
        start=1,
    )
    for name in names.split()
}
_CLOCK = re.compile(r"\d[:h]\d\d|\d[T ]\d{6}|\dT\d{4}|\d\s*[ap]\.?m\b", re.IGNORECASE)
# Nanoseconds in 64 bits reach a little further.
_FIRST_YEAR, _LAST_YEAR = 1678, 2261
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(min|h|d|w)")
_SECONDS = {"min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def read_span(text: str) -> np.timedelta64:
    """Return a span of time that is written as a number and a unit.

    Raises
    ------
    MisuseError
        If it is not so written.

    Examples
    --------
    >>> bool(read_span("12h") == read_span("0.5d"))
    True
    """
    found = _SPAN.fullmatch(str(text).strip().lower())
    if not found:
        msg = f"a span of time is a number and min, h, d or w, such as 12h or 7d; got {text!r}"
        raise MisuseError(msg)
    return np.timedelta64(round(float(found[1]) * _SECONDS[found[2]] * 1e9), "ns")


def read_zone(text: str) -> datetime.tzinfo:
    """Return the time zone that a name or an offset from UTC stands for.

    Raises
    ------
    MisuseError
        If there is no such zone.

    Examples
    --------
    >>> str(read_zone("Europe/Zurich")), str(read_zone("-0330"))
    ('Europe/Zurich', 'UTC-03:30')
    """
    try:
        if text[:1] in {"+", "-"}:
            # A time with an offset that was read has it.
            return datetime.datetime.strptime(text, "%z").tzinfo or datetime.UTC
        return zoneinfo.ZoneInfo(text)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        msg = (
            f"no time zone {text!r}; expected a name such as Europe/Zurich, or an offset from "
            "UTC such as +02:00"
        )
        raise MisuseError(msg) from None


def read_times(values: Names, rows: Rows | None = None) -> tuple[Times, dict[str, int]]:
    """Read dates and times: ISO 8601, as EXIF writes them, or with the month in words.

    Parameters
    ----------
    values : ndarray of object, shape (n_images,)
        Text of a whole column, which says together whether the day or the month stands first;
        ``""`` where nothing is said. A time without a zone counts as UTC.
    rows : ndarray of int64, shape (n_rows,), optional
        Those that are asked for; all by default.

    Returns
    -------
    times : ndarray of datetime64[ns], shape (n_rows,)
        Not a time where nothing, or no date, is said.
    unread : dict of str to int
        Values that are no date, with the number of their images, the most frequent first.

    Raises
    ------
    SelectionError
        If days and months of the column cannot be told apart: 03/04/2024.

    Examples
    --------
    >>> times, unread = read_times(np.array(["2024:05:13 12:30:01", "13/05/2024", "?"], object))
    >>> times[:2].astype("datetime64[s]").tolist() == [
    ...     np.datetime64("2024-05-13T12:30:01").item(), np.datetime64("2024-05-13T00").item()]
    True
    >>> unread
    {'?': 1}
    """
    import pandas as pd

    stripped = np.array([str(value).strip() for value in values], dtype=object)
    names, places = np.unique(stripped, return_inverse=True)
    written = pd.Series([_mend(name) for name in names], dtype=object)
    read = _parse(written, "ISO8601")
    short = {place: one for place, text in enumerate(written)
             if pd.isna(read[place]) and (one := _DAY_OR_MONTH.match(text))}  # fmt: skip
    day_first = _find_order(list(short.values())) if short else False
    rest = [place for place, text in enumerate(written)
            if (place in short or pd.isna(read[place])) and _ONE_DATE.fullmatch(text)]  # fmt: skip
    for is_short in (False, True):
        some = [place for place in rest if (place in short) is is_short]
        if some:
            read.iloc[some] = _parse(written.iloc[some], "mixed", day_first=is_short and day_first)
    times = read.dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    places = places if rows is None else places[rows]
    times = times[places]
    lost = names[places][np.isnat(times)]
    unread = collections.Counter(str(one) for one in lost if one)
    return times, dict(unread.most_common())


def has_clock(text: str) -> bool:
    """Tell whether a text says a time of day, and not only a date.

    Examples
    --------
    >>> [has_clock(one) for one in ("2024:05:13", "2024:05:13 00:00", "20240513_123045", "1 PM")]
    [False, True, True, True]
    """
    return _CLOCK.search(_mend(text.strip())) is not None


def _mend(text: str) -> str:
    """Return a time as ISO 8601 writes it, where it is written almost so."""
    text = _CLOCK_FIRST.sub(r"\2 \1", text.removesuffix(" Uhr"), count=1)
    text = _WEEKDAY.sub("", _OFFSET.sub(_write_offset, text, count=1), count=1)
    day = _DAY_OF_MONTH.search(text)
    # Of two days, as in 1-3 Sept 2021, neither is the date.
    is_one = day is not None and not re.search(r"\d", text[: day.start()])
    if day is not None and is_one and (month := _MONTHS.get(day[2].lower())):
        rest = text[day.end() :]
        text = f"{rest[:4]}-{month}-{day[1]:0>2}{rest[4:]}" if _FOUR.match(rest) else text
    text = _POINTS.sub(_write_clock, _FRACTION.sub(r"\1.\2", text, count=1), count=1)
    run = _RUN_TOGETHER.fullmatch(text)
    return f"{run[1]}T{run[2]}" if run else _EXIF.sub(r"\1-\2-\3", text, count=1)


def _write_offset(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]:0>2}:{found[3] or '00'}"


def _write_clock(found: re.Match[str]) -> str:
    date, *parts = (found[part] for part in (1, 2, 4, 5, 6))
    return f"{date} {':'.join(filter(None, parts))}"


def _parse(written: pd.Series[Any], form: str, *, day_first: bool = False) -> pd.Series[Any]:
    """Return times in nanoseconds, whatever unit pandas takes for these; none where it is none."""
    import pandas as pd

    read = pd.to_datetime(written, format=form, dayfirst=day_first, errors="coerce", utc=True)
    if form == "mixed":
        # A year of two digits is none to come.
        is_short = written.str.contains(_SHORT_YEAR) & (read.dt.year > datetime.date.today().year)
        read = read.mask(is_short, read - pd.DateOffset(years=100))
    # What programs write for no date, the year 1 or 9999, is none, and has no nanoseconds.
    inside = read.dt.year.between(_FIRST_YEAR, _LAST_YEAR)
    return read.where(inside).dt.as_unit("ns")


def _find_order(dates: Sequence[re.Match[str]]) -> bool:
    """Tell whether the day stands first, by the dates of a column that leave no choice."""
    # What is none either way, such as 99/99/9999, tells nothing.
    pairs = [sorted((int(one[1]), int(one[2]))) for one in dates]
    dates = [
        one for one, pair in zip(dates, pairs, strict=True) if 1 <= pair[0] <= 12 and pair[1] <= 31
    ] or dates
    first, second = (max(int(one[place]) for one in dates) for place in (1, 2))
    if (first > 12) == (second > 12):
        msg = (
            f"dates such as {dates[0][0]!r} can be read with the day or the month first, and no "
            "other of the column says which; write them as 2024-05-13"
        )
        raise SelectionError(msg)
    return first > 12
