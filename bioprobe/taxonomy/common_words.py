"""Words that common names are made of, and scientific ones are not."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from bioprobe.files import prompts_dir, read_lines

# Endings of English words that no Latin word has: of first words, of last ones, and of any.
_ENGLISH_FIRST = re.compile(r"(?:[^aeiou]y|ing|ed|ish|ern|ese|ck|sh|ow|ght)$")
_ENGLISH_LAST = re.compile(
    r"(?:ish|ck|sh|ght|ow|ee|wort|weed|berry|grass|tail|bird|fly|back|bill|head|lea[fv]|worm|bane"
    r"|tree|nut|moth|hopper|throat|neck|eye|foot|eer)$"
)
_ENGLISH = re.compile(r"['\u2019]s$|^[a-z]+-[a-z]+(?:ed|er)$|^(?:of|the|with|or|and)$")


@functools.cache
def _read_words(name: str) -> frozenset[str]:
    lines = read_lines(prompts_dir() / "words" / f"{name}.txt")
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def has_common_words(words: Sequence[str]) -> bool:
    """Tell whether words, in lower case, are those of a common name.

    Examples
    --------
    >>> has_common_words(["red", "fox"]), has_common_words(["vulpes", "vulpes"])
    (True, False)
    """
    first, last = _read_words("first"), _read_words("last")
    ends = {words[-1], words[-1].removesuffix("s"), words[-1].removesuffix("es")}
    if len(words) == 1:
        return bool(ends & last)
    # Genera that English took over have species of nearly their own name: Gekko gecko.
    is_tautonym = len(words) == 2 and words[0][:2] == words[1][:2]
    return (
        words[0] in first
        or words[0].partition("-")[0] in first
        or (not is_tautonym and (words[0] in last or bool(ends & last)))
        or _ENGLISH_FIRST.search(words[0]) is not None
        or _ENGLISH_LAST.search(words[-1]) is not None
        or any(_ENGLISH.search(word) for word in words)
    )
