"""One form of a name, whatever keyboard, spreadsheet or file system it came through."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

# Characters of no width that copying from pages and documents leaves in a cell: the zero-width
# space, joiners, the word joiner, the byte-order mark and the soft hyphen.
_NO_WIDTH = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")


def unify(text: str) -> str:
    r"""Return a text in the one form in which names compare.

    Composed (NFC; macOS and the zips made there write letters and accents apart), without
    characters of no width, with single blanks and none at its ends. Case is kept.

    References
    ----------
    Unicode Standard Annex 15, *Unicode Normalization Forms*.

    Examples
    --------
    >>> unify("Ru\u0308sselk\u00e4fer\u200b "), unify("Panthera \u00a0 leo")
    ('Rüsselkäfer', 'Panthera leo')
    """
    if text.isascii():
        return " ".join(text.split())
    return " ".join(_NO_WIDTH.sub("", unicodedata.normalize("NFC", text)).split())


def fold(text: str) -> str:
    """Return the form in which names and values compare: case, blanks and ``_`` do not count.

    Examples
    --------
    >>> fold("Panthera_leo ") == fold("panthera leo")
    True
    """
    # Of ASCII there is one form, and of a million names the long way takes most of the time.
    plain = text if text.isascii() else unify(text)
    return " ".join(plain.replace("_", " ").split()).casefold()


def shorten(text: str, most: int = 60) -> str:
    r"""Return a text as a message shows it: on one line, and cut where it is longer.

    Examples
    --------
    >>> shorten("Panthera\nleo"), shorten("x" * 100, 4)
    ('Panthera leo', 'xxxx…')
    """
    line = " ".join(text[: 2 * most].split())
    return line if len(line) <= most and len(text) <= 2 * most else f"{line[:most]}…"


def find_nearest(name: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """Return the known name that is nearest to a misspelt one, whatever the case of either.

    Of known names that differ in case alone, the last is returned; of those whose share of common
    letters (:class:`difflib.SequenceMatcher`) is below ``least``, none.

    Examples
    --------
    >>> find_nearest("Famly", ["genus", "family"]), find_nearest("x", ["genus"])
    ('family', None)
    """
    spelt = {unify(one).casefold(): one for one in known}
    near = difflib.get_close_matches(unify(name).casefold(), spelt, n=1, cutoff=least)
    return spelt[near[0]] if near else None


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a question for the known name that is nearest to a misspelt one, else ``""``.

    Examples
    --------
    >>> suggest("Threatned", ["label", "threatened"]), suggest("x", ["label"])
    (' (did you mean threatened?)', '')
    """
    near = find_nearest(name, known)
    return "" if near is None else f" (did you mean {near}?)"
