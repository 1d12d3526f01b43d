"""What a file of settings, or a card, may hold: kinds of values, and what is said of others."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bioprobe.names import suggest

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the value of a setting may be.

    Parameters
    ----------
    words : str
        In words, such as ``a list of texts``.
    holds : callable
        Tells whether a value is one.
    """

    words: str
    holds: Callable[[Any], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


TEXT = Kind("a text", _is_text)
NUMBER = Kind("a number", _is_number)
COUNT = Kind("a whole number, 0 or more", lambda value: type(value) is int and 0 <= value < 2**63)
COUNTS = Kind("a list of whole numbers, each 0 or more", _is_list_of(COUNT.holds))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TABLE = Kind("a table", lambda value: isinstance(value, dict))
TEXTS = Kind("a list of texts", _is_list_of(_is_text))
NUMBERS = Kind(
    "a number, a list of numbers, or a text of numbers separated by commas",
    lambda value: _is_text(value) or _is_number(value) or _is_list_of(_is_number)(value),
)
TEXT_BY_NAME = Kind(
    "a table of texts", lambda value: isinstance(value, dict) and all(map(_is_text, value.values()))
)
#: A text is no list: read as one it would be one of letters.
TEXTS_BY_NAME = Kind(
    'a table of lists of texts, such as bird = ["a bird", "a wild bird"]',
    lambda value: (
        isinstance(value, dict)
        and all(map(_is_text, value))
        and all(one and _is_list_of(_is_text)(one) for one in value.values())
        and bool(value)
    ),
)


def find_wrong_setting(
    settings: object, known: Mapping[str, Kind], *, needed: Collection[str] = ()
) -> str:
    """Say what is wrong with the settings of a file; ``""`` where nothing is.

    Parameters
    ----------
    settings : object
        As TOML or JSON gave them.
    known : mapping of str to Kind
        What each may be.
    needed : collection of str
        Those that must be there.

    Examples
    --------
    >>> find_wrong_setting({"templates": "a {}", "kept": {}}, {"templates": TEXTS})
    'templates is "a {}", expected a list of texts'
    >>> find_wrong_setting({"template": []}, {"templates": TEXTS})
    'template is not known (did you mean templates?); it takes templates'
    """
    if not isinstance(settings, dict):
        return f"it holds {_show(settings)}, expected settings: {', '.join(known)}"
    for name, value in settings.items():
        if name in known and not known[name].holds(value):
            return f"{name} is {_show(value)}, expected {known[name].words}"
    for name in settings:
        if name not in known:
            return f"{name} is not known{suggest(name, known)}; it takes {', '.join(known)}"
    missing = [name for name in needed if name not in settings]
    return f"{' and '.join(missing)} is missing" if missing else ""


def check_fields(
    fields: Mapping[str, Any], known: Mapping[str, Kind], *, needed: Collection[str] = ()
) -> None:
    """Refuse what a card holds under names that are known; what else it holds is not looked at.

    Raises
    ------
    ValueError
        By :func:`find_wrong_setting`.
    """
    asked = {name: value for name, value in fields.items() if name in known}
    if problem := find_wrong_setting(asked, known, needed=needed):
        raise ValueError(problem)


_KINDS = {
    "str": TEXT,
    "int": COUNT,
    "float": Kind("a number", lambda value: type(value) in {int, float}),
    "bool": FLAG,
    "dict": TABLE,
}


def check_types(made: T) -> T:
    """Return a dataclass made of a card, if its fields have the plain types of its annotations.

    A number need not be finite; a whole one is 0 or more.

    Raises
    ------
    ValueError
        If a field is of another type.
    """
    known = {
        field.name: _KINDS[name]
        for field in dataclasses.fields(made)  # type: ignore[arg-type]
        if (name := str(field.type).partition("[")[0]) in _KINDS
    }
    check_fields(vars(made), known)
    return made


def _show(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return textwrap.shorten(text, 60, placeholder=" …")


#: A settings file of more bytes is none: what a person writes is thousands of times smaller.
MOST_SETTINGS_BYTES = 1_000_000


def read_settings_text(path: Path) -> str:
    """Read a file of settings, in UTF-8 with or without a mark of it.

    Raises
    ------
    ValueError
        If it is not text, or larger than settings are.
    """
    if path.stat().st_size > MOST_SETTINGS_BYTES:
        msg = f"it has {path.stat().st_size:,} bytes, expected {MOST_SETTINGS_BYTES:,} at most"
        raise ValueError(msg)
    return path.read_text(encoding="utf-8-sig")
