"""Lines of text: measured, shortened, wrapped and drawn, in any script and direction."""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bioprobe.overlays.fonts import Fonts, can_shape, open_font, split_clusters

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

ELLIPSIS = "…"
# Marks by which one text could turn the letters of another around.
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_RIGHT = frozenset({"R", "AL"})
# Directions that text between two others takes from them.
_STRONG = frozenset({"L", "R", "AL"})
# Letters between which a line may be broken, as their words have no spaces between them.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


@dataclasses.dataclass(frozen=True)
class Run:
    """A part of a line in one font and direction.

    Parameters
    ----------
    text : str
        In the order in which it is read.
    file : str
        Of the font.
    is_rtl : bool
        Whether it is read from right to left.
    """

    text: str
    file: str
    is_rtl: bool


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of text that was measured.

    Parameters
    ----------
    runs : tuple of Run
        From left to right, as they are drawn.
    size_px : int
        Of the fonts.
    width_px, ascent_px, descent_px : int
        Of what is drawn, above and below the line that letters stand on.
    is_rtl : bool
        Whether the line begins at the right.
    is_short : bool
        Whether a part of the text was left out.
    is_split : bool
        Whether it ends within a word.
    """

    runs: tuple[Run, ...]
    size_px: int
    width_px: int
    ascent_px: int
    descent_px: int
    is_rtl: bool
    is_short: bool = False
    is_split: bool = False

    @property
    def height_px(self) -> int:
        """Height of the line."""
        return self.ascent_px + self.descent_px

    @property
    def text(self) -> str:
        """What is drawn, each part in the order in which it is read, from left to right."""
        return "".join(run.text for run in self.runs)


def clean_text(text: str) -> str:
    r"""Return a text as one line: composed, without control characters or marks that turn others.

    Examples
    --------
    >>> clean_text(" Panthera\n\tpardus ")
    'Panthera pardus'
    """
    composed = unicodedata.normalize("NFC", text)
    kept = (
        " " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c
        for c in composed if c not in _OVERRIDES and unicodedata.category(c) not in {"Cs", "Cn"}
    )  # fmt: skip
    return " ".join("".join(kept).split())


def is_rtl(text: str) -> bool:
    """Tell whether a text begins at the right: whether its first letter of a direction does.

    References
    ----------
    Unicode Standard Annex 9, *Unicode Bidirectional Algorithm*, rules P2 and P3.
    """
    kinds = (unicodedata.bidirectional(char) for char in text)
    return next((kind in _RIGHT for kind in kinds if kind in _STRONG), False)


def lay_line(text: str, fonts: Fonts, size_px: int, most_px: int | None = None) -> Line:
    """Measure a text as one line, shortened by an ellipsis where it is too long.

    Parameters
    ----------
    text : str
    fonts : Fonts
    size_px : int
        Of the font, ≥ 1.
    most_px : int, optional
        Greatest width; of less than an ellipsis takes, the ellipsis alone is drawn.
    """
    text = clean_text(text)
    fonts.check(text)
    return _shorten(text, fonts, size_px, most_px)


def _shorten(text: str, fonts: Fonts, size_px: int, most_px: int | None) -> Line:
    line = _measure(text, fonts, size_px)
    if most_px is None or line.width_px <= most_px:
        return line
    clusters = split_clusters(text)
    low, high = 0, len(clusters) - 1
    while low < high:
        middle = (low + high + 1) // 2
        shown = "".join(clusters[:middle]).rstrip() + ELLIPSIS
        if _measure(shown, fonts, size_px).width_px <= most_px:
            low = middle
        else:
            high = middle - 1
    shown = "".join(clusters[:low]).rstrip() + ELLIPSIS
    return dataclasses.replace(_measure(shown, fonts, size_px), is_short=True)


def wrap_text(
    text: str, fonts: Fonts, size_px: int, most_px: int, most_lines: int = 2
) -> list[Line]:
    """Measure a text as lines of no more than a width, the last shortened where it must be.

    Lines are broken at spaces, and between any letters of scripts that write none; a word that is
    longer than a line is broken too.

    Parameters
    ----------
    text : str
    fonts : Fonts
    size_px : int
        Of the font.
    most_px : int
        Greatest width of a line.
    most_lines : int
        ≥ 1.

    Returns
    -------
    list of Line
        None where the text is empty.
    """
    rest = clean_text(text)
    fonts.check(rest)
    lines: list[Line] = []
    while rest:
        if len(lines) == most_lines - 1:
            return [*lines, _shorten(rest, fonts, size_px, most_px)]
        whole = _measure(rest, fonts, size_px)
        if whole.width_px <= most_px:
            return [*lines, whole]
        taken, is_split = _find_break(rest, fonts, size_px, most_px)
        line = _measure(rest[:taken].rstrip(), fonts, size_px)
        lines.append(dataclasses.replace(line, is_split=is_split))
        rest = rest[taken:].lstrip()
    return lines


def _find_break(text: str, fonts: Fonts, size_px: int, most_px: int) -> tuple[int, bool]:
    """Return how many characters of a text fit on a line, and whether that is within a word."""
    clusters = split_clusters(text)
    low, high = 1, len(clusters)
    while low < high:
        middle = (low + high + 1) // 2
        if _measure("".join(clusters[:middle]), fonts, size_px).width_px <= most_px:
            low = middle
        else:
            high = middle - 1
    places = [
        n for n in range(1, low + 1)
        if n == len(clusters) or clusters[n].isspace() or clusters[n - 1].isspace()
        or (_is_unspaced(clusters[n - 1]) and _is_unspaced(clusters[n]))
    ]  # fmt: skip
    # A word alone that is too long is broken where it ends.
    return len("".join(clusters[: places[-1] if places else low])), not places


def _is_unspaced(cluster: str) -> bool:
    return unicodedata.name(cluster[0], "").startswith(_UNSPACED)


def _measure(text: str, fonts: Fonts, size_px: int) -> Line:
    parts = fonts.assign(text)
    right = is_rtl(text)
    # Of one font libraqm orders what is read from left and from right in it.
    runs = [Run(*parts[0], right)] if len(parts) == 1 else _order_runs(parts, right)
    width, ascent, descent = 0, 0, 0
    for run in runs:
        font = open_font(run.file, size_px)
        above, below = font.getmetrics()
        width += _measure_run(run, size_px)
        ascent, descent = max(ascent, above), max(descent, below)
    return Line(tuple(runs), size_px, width, ascent, descent, right)


@functools.lru_cache(maxsize=4096)
def _measure_run(run: Run, size_px: int) -> int:
    font = open_font(run.file, size_px)
    length = font.getlength(run.text, direction=_name_direction(run))
    # Slanted or swashed letters reach beyond their own width.
    right = font.getbbox(run.text, direction=_name_direction(run), anchor="ls")[2]
    return int(max(length, right) + 0.999)


def _name_direction(run: Run) -> str | None:
    if not can_shape():
        return None
    return "rtl" if run.is_rtl else "ltr"


def _order_runs(parts: Sequence[tuple[str, str]], right: bool) -> list[Run]:
    """Return parts of several fonts from left to right, each of one direction.

    Embedded texts of the other direction keep their own order; of such within such nobody makes a
    label.

    References
    ----------
    Unicode Standard Annex 9, rules N1, N2 and L2 for two levels.
    """
    # Of each character its font and direction; what has none takes that of its neighbours.
    chars = [(char, file) for part, file in parts for char in part]
    turned = _find_directions("".join(char for char, _ in chars), right)
    runs: list[Run] = []
    for (char, file), is_right in zip(chars, turned, strict=True):
        if runs and (runs[-1].file, runs[-1].is_rtl) == (file, is_right):
            runs[-1] = Run(runs[-1].text + char, file, is_right)
        else:
            runs.append(Run(char, file, is_right))
    ordered: list[Run] = []
    at = 0
    while at < len(runs):
        end = at
        while end < len(runs) and runs[end].is_rtl == runs[at].is_rtl:
            end += 1
        # Runs of the other direction follow each other in that direction.
        same = runs[at:end]
        ordered += same if runs[at].is_rtl == right else same[::-1]
        at = end
    return ordered[::-1] if right else ordered


def _find_directions(text: str, right: bool) -> list[bool]:
    """Tell of each character whether it is read from the right."""
    kinds = [unicodedata.bidirectional(char) for char in text]
    found: list[bool | None] = []
    last = right
    for kind in kinds:
        if kind in _STRONG:
            last = kind in _RIGHT
            found.append(last)
        elif kind in {"NSM", "BN"}:
            # A mark goes with its letter.
            found.append(found[-1] if found else right)
        elif kind in {"EN", "AN"}:
            # A number is read from the left, and stands where the text around it puts it.
            found.append(last)
        else:
            found.append(None)
    for at, one in enumerate(found):
        if one is None:
            before = next((x for x in reversed(found[:at]) if x is not None), right)
            after = next((x for x in found[at:] if x is not None), right)
            found[at] = before if before == after else right
    return [bool(one) for one in found]


def draw_line(draw: ImageDraw, at: tuple[int, int], line: Line, fill: str) -> None:
    """Draw a line of text."""
    x, y = at
    for run in line.runs:
        font = open_font(run.file, line.size_px)
        draw.text(
            (x, y + line.ascent_px), run.text, fill=fill, font=font, anchor="ls",
            direction=_name_direction(run),
        )  # fmt: skip
        x += _measure_run(run, line.size_px)
