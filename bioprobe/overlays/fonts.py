"""Fonts of this machine, chosen by the letters that they have.

A text in a script that the first font lacks is drawn in one that has it; where no font of the
machine does, that is remembered to be said, and no empty boxes are drawn.
"""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SourceError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

#: What stands for a letter that no font has.
UNKNOWN_LETTER = "?"
# Fonts that have an empty box for every letter there is, are no outlines of one colour, or whose
# letters stand under other numbers.
_NO_FONTS = ("lastresort", "notdef", "adobeblank", "coloremoji", "cmex", "cmsy", "cmmi", "cmr10",
             "cmb10", "cmss10", "cmtt10", "cmti10")  # fmt: skip
# Fonts of symbols, for what no other has.
_SYMBOLS = ("emoji", "symbol", "math", "stix", "dingbat", "icon", "awesome", "musical")
# Styles that are read less well on a picture than the plain one, the plain one first.
_STYLES = ("mono", "serif", "condensed", "narrow", "bold", "italic", "oblique", "light", "thin",
           "black", "medium", "slanted", "rounded", "display", "kufi", "nastaliq",
           "looped")  # fmt: skip
# What a script is called where the first word of its letters' names does not say it, and the
# package of Debian and Ubuntu that has a font for it.
_CJK, _SYMBOL = "fonts-noto-cjk", "symbol"
_SCRIPTS = {
    "CJK": ("Chinese characters", _CJK),
    "HANGUL": ("letters of Korean", _CJK),
    **dict.fromkeys(("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"), ("letters of Japanese", _CJK)),
    _SYMBOL: ("symbols", "fonts-symbola"),
}
_OTHERS = "fonts-noto-core"
# Scripts whose letters change with what stands beside them, or go from right to left: without
# libraqm Pillow draws them one by one as they are stored.
_SHAPED = frozenset({
    "ARABIC", "HEBREW", "SYRIAC", "THAANA", "NKO", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI",
    "ORIYA", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "THAI", "LAO", "TIBETAN",
    "MYANMAR", "KHMER", "MONGOLIAN",
})  # fmt: skip
# Characters that are never seen: joiners, marks of direction, choosers of a variant.
_UNSEEN = frozenset({0x00AD, 0x034F, 0x061C, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF,
                     *range(0xFE00, 0xFE10)})  # fmt: skip


@dataclasses.dataclass(eq=False)
class Fonts:
    """Finds a font for each text, and remembers what none was found for.

    Parameters
    ----------
    first : Path, optional
        Font file that is taken for all letters that it has.

    Raises
    ------
    SourceError
        If it is no font that can be read.
    """

    first: Path | None = None
    missing: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    unshaped: set[str] = dataclasses.field(default_factory=set)

    def __post_init__(self) -> None:
        if self.first is not None:
            try:
                _read_letters(str(self.first))
                open_font(str(self.first), 12)
            except (OSError, RuntimeError, ValueError) as error:
                msg = (
                    f"{self.first} cannot be read as a font: {error}; expected a TrueType or "
                    "OpenType file that can be scaled: .ttf, .otf or .ttc"
                )
                raise SourceError(msg) from error
        self._checked: set[str] = set()
        self._assigned: dict[str, list[tuple[str, str]]] = {}
        self._used: list[str] = [*([str(self.first)] if self.first else []), _own_font()]

    def choose(self, text: str) -> str | None:
        """Return the file of a font that has all letters of a text, None where none has them."""
        wanted = _list_wanted(text)
        for file in self._used:
            if _covers(file, wanted):
                return file
        for file in list_fonts():
            if file not in self._used and _covers(file, wanted):
                self._used.append(file)
                return file
        return None

    def assign(self, text: str) -> list[tuple[str, str]]:
        """Return a text in parts, each with the file of a font that has its letters.

        Letters that no font has are replaced by :data:`UNKNOWN_LETTER`.

        Parameters
        ----------
        text : str
            Cleaned, as :func:`bioprobe.overlays.text.clean_text` returns it.
        """
        if text not in self._assigned:
            self._assigned[text] = self._assign(text)
        return self._assigned[text]

    def _assign(self, text: str) -> list[tuple[str, str]]:
        whole, first = self.choose(text), None if self.first is None else str(self.first)
        clusters = split_clusters(text)
        if whole is not None and (whole == first or not self._has_any(first, clusters)):
            self._note_shaping(text)
            return [(text, whole)]
        parts: list[tuple[str, str]] = []
        for cluster in clusters:
            shown, file = cluster, first
            if first is None or not _covers(first, _list_wanted(cluster)):
                # What stands before it may have it too.
                stays = parts and _covers(parts[-1][1], _list_wanted(cluster))
                file = parts[-1][1] if stays else self.choose(cluster)
            if file is None:
                file, shown = self._used[0], UNKNOWN_LETTER
                if not _covers(file, _list_wanted(shown)):
                    file = _own_font()
            if parts and parts[-1][1] == file:
                parts[-1] = (parts[-1][0] + shown, file)
            else:
                parts.append((shown, file))
        self._note_shaping("".join(part for part, _ in parts))
        return parts

    def _has_any(self, file: str | None, clusters: Sequence[str]) -> bool:
        return file is not None and any(
            _covers(file, _list_wanted(one)) for one in clusters if not one.isspace()
        )

    def check(self, text: str) -> None:
        """Remember which scripts of a text have no font here; parts of one that was are not."""
        if text in self._checked:
            return
        self._checked.add(text)
        if self.choose(text) is not None:
            return
        lacking = [one for one in split_clusters(text) if self.choose(one) is None]
        for script in dict.fromkeys(map(_find_first_script, lacking)):
            self.missing.setdefault(script, []).append(text)

    def _note_shaping(self, text: str) -> None:
        if not can_shape():
            self.unshaped |= {script for c in text if (script := _find_script(c)) in _SHAPED}

    def describe(self) -> list[str]:
        """Say which scripts have no font here, in which texts, and what to do about it."""
        said = []
        for script, texts in self.missing.items():
            name, package = _SCRIPTS.get(script, (f"letters of {script.capitalize()}", _OTHERS))
            said.append(
                f"no font of this machine has all {name} of {len(texts):,} texts, such "
                f"as {texts[0]!r}: these are drawn as {UNKNOWN_LETTER}; install one (Debian, "
                f"Ubuntu: apt install {package}; elsewhere Noto Sans from fonts.google.com/noto), "
                "or name one with --font FILE"
            )
        if self.unshaped:
            names = ", ".join(sorted(one.capitalize() for one in self.unshaped))
            said.append(
                f"letters of {names} are drawn one by one, from left to right, as Pillow here is "
                "without libraqm; install Pillow's own wheel: pip install --force-reinstall pillow"
            )
        return said


@functools.cache
def can_shape() -> bool:
    """Tell whether text is shaped and ordered as its script asks: whether Pillow has libraqm."""
    from PIL import features

    return bool(features.check("raqm"))


@functools.lru_cache(maxsize=256)
def open_font(file: str, size_px: int) -> FreeTypeFont:
    """Open a font at a size, in pixels from one line to the next without a space between them."""
    from PIL import ImageFont

    engine = ImageFont.Layout.RAQM if can_shape() else ImageFont.Layout.BASIC
    return ImageFont.truetype(file, size_px, layout_engine=engine)


@functools.cache
def list_fonts() -> tuple[str, ...]:
    """Return the files of fonts for text on this machine, those that are read best first."""
    from matplotlib import font_manager

    files = {*font_manager.findSystemFonts(), *font_manager.findSystemFonts(_own_folder())}
    known = [one for one in files if not any(word in Path(one).stem.lower() for word in _NO_FONTS)]
    return tuple(sorted(known, key=_rate))


def _rate(file: str) -> tuple[int, str]:
    name = Path(file).stem.lower()
    n_odd = sum(style in name for style in _STYLES)
    is_symbols = any(word in name for word in _SYMBOLS)
    return 100 * is_symbols + 2 * n_odd - ("sans" in name) - ("regular" in name), file


def _own_folder() -> str:
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf")


def _own_font() -> str:
    """Return the font that comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew."""
    return str(Path(_own_folder()) / "DejaVuSans.ttf")


@functools.cache
def _read_letters(file: str) -> npt.NDArray[np.int32]:
    """Return the code points of a font's letters, sorted; none of one that cannot be scaled."""
    from matplotlib.ft2font import FT2Font

    font = FT2Font(file)
    if not font.scalable:
        msg = "it has pictures of one size alone"
        raise ValueError(msg)
    return np.array(sorted(font.get_charmap()), dtype=np.int32)


def _covers(file: str, wanted: Sequence[int]) -> bool:
    try:
        known = _read_letters(file)
    except (OSError, RuntimeError, ValueError):
        return False
    if not len(known):
        return False
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return bool((known[at] == wanted).all())


def _list_wanted(text: str) -> list[int]:
    return sorted({ord(char) for char in text} - _UNSEEN)


def _find_first_script(cluster: str) -> str:
    return _find_script(next((char for char in cluster if ord(char) not in _UNSEEN), cluster[0]))


def _find_script(char: str) -> str:
    """Return the script of a letter: the first word of its name in Unicode."""
    if unicodedata.category(char)[0] not in "LMN":
        return _SYMBOL
    return unicodedata.name(char, "other").partition(" ")[0]


def split_clusters(text: str) -> list[str]:
    """Split a text into what a reader takes for one letter each.

    Marks stay with the letter that they stand on, and letters that are joined with each other.

    References
    ----------
    Unicode Standard Annex 29, *Unicode Text Segmentation*, in its main rules.

    Examples
    --------
    >>> [len(one) for one in split_clusters("ni\u0303o")]
    [1, 2, 1]
    """
    if text.isascii():
        return list(text)
    clusters: list[str] = []
    for char in text:
        joins = clusters and (
            unicodedata.category(char) in {"Mn", "Mc", "Me"}
            or ord(char) in _UNSEEN
            or clusters[-1][-1] == "\u200d"
            # After a virama the next letter of an Indian script is a part of the same one.
            or (unicodedata.combining(clusters[-1][-1]) == 9 and unicodedata.category(char) == "Lo")
        )
        if joins:
            clusters[-1] += char
        else:
            clusters.append(char)
    return clusters
