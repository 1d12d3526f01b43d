"""Text in any script: which font it has, how it is ordered, shortened and wrapped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw

from bioprobe.errors import SourceError
from bioprobe.overlays import fonts as font_rooms
from bioprobe.overlays.fonts import Fonts, split_clusters
from bioprobe.overlays.text import clean_text, draw_line, is_rtl, lay_line, wrap_text

_OWN = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
# Latin and Greek alone, so that other letters come from another font.
_FEW = _OWN / "cmr10.ttf"


@pytest.fixture
def only_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without fonts but that of matplotlib."""
    monkeypatch.setattr(font_rooms, "list_fonts", tuple)


@pytest.fixture
def make_font(tmp_path: Path) -> Callable[[str], Path]:
    """Make a font whose letters are full squares."""

    def make(letters: str) -> Path:
        names = [".notdef", *(f"u{ord(one):04X}" for one in letters)]
        builder = FontBuilder(1000, isTTF=True)
        builder.setupGlyphOrder(names)
        builder.setupCharacterMap({ord(one): f"u{ord(one):04X}" for one in letters})
        pen = TTGlyphPen(None)
        for at in ((50, 0), (50, 800), (950, 800), (950, 0)):
            (pen.moveTo if at == (50, 0) else pen.lineTo)(at)
        pen.closePath()
        square = pen.glyph()
        builder.setupGlyf(dict.fromkeys(names, square))
        builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 50)))
        builder.setupHorizontalHeader(ascent=800, descent=-200)
        builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
        builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
        builder.setupPost()
        file = tmp_path / f"Squares{len(letters)}.ttf"
        builder.save(file)
        return file

    return make


def _draw(text: str, size_px: int = 40) -> npt.NDArray[np.uint8]:
    line = lay_line(text, Fonts(), size_px)
    image = Image.new("L", (line.width_px + 8, line.height_px), 0)
    draw_line(ImageDraw.Draw(image), (4, 0), line, "#ffffff")
    pixels = np.asarray(image)
    inked = np.flatnonzero(pixels.any(axis=0))
    assert len(inked)
    return pixels[:, inked[0] : inked[-1] + 1]


@pytest.mark.usefixtures("only_own")
@pytest.mark.parametrize(
    "text",
    ["Ñandú ĝčşő", "Леопард", "Λεοπάρδαλη", "نمر عربي", "נמר פרסי", "Pallas\u2019s \u203a cat…"],
)
def test_most_alphabets_have_a_font_on_every_machine(text: str) -> None:
    fonts = Fonts()
    assert lay_line(text, fonts, 20).text == text
    assert not fonts.describe()


@pytest.mark.usefixtures("only_own")
@pytest.mark.parametrize(
    ("text", "said", "package"),
    [
        ("豹 Panthera", "Chinese characters", "fonts-noto-cjk"),
        ("ヒョウ", "Japanese", "fonts-noto-cjk"),
        ("표범", "Korean", "fonts-noto-cjk"),
        ("तेंदुआ", "Devanagari", "fonts-noto-core"),
        ("เสือดาว", "Thai", "fonts-noto-core"),
        ("\U0001f406", "all symbols of", "fonts-symbola"),
    ],
)
def test_letters_without_a_font_are_no_boxes_and_are_said(
    text: str, said: str, package: str
) -> None:
    fonts = Fonts()
    line = lay_line(text, fonts, 20)
    wrap_text(text, fonts, 20, 40)
    assert set(line.text.replace("Panthera", "").strip()) == {"?"}
    lay_line(text, fonts, 20)
    (note,) = fonts.describe()
    assert said in note
    assert package in note
    assert "of 1 texts" in note
    assert "--font FILE" in note


def test_a_font_of_the_machine_is_taken_for_its_letters(
    make_font: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_font("豹子")
    monkeypatch.setattr(font_rooms, "list_fonts", lambda: (str(file),))
    fonts = Fonts()
    line = lay_line("Panthera 豹子 3", fonts, 20)
    assert [(run.text, Path(run.file).name) for run in line.runs] == [
        ("Panthera ", "DejaVuSans.ttf"), ("豹子", file.name), (" 3", "DejaVuSans.ttf"),
    ]  # fmt: skip
    assert not fonts.describe()


@pytest.mark.usefixtures("only_own")
def test_a_font_that_is_named_comes_first(make_font: Callable[[str], Path]) -> None:
    file = make_font("lion")
    runs = lay_line("lion lynx", Fonts(file), 20).runs
    assert [run.text for run in runs if Path(run.file) == file] == ["lion", "l", "n"]
    assert [run.text for run in runs if Path(run.file) != file] == [" ", "y", "x"]
    assert lay_line("lion", Fonts(file), 20).width_px == 80


@pytest.mark.parametrize("content", [b"", b"no font", None])
def test_what_is_no_font_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "font.ttf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SourceError, match=r"font\.ttf cannot be read as a font: .*\.otf"):
        Fonts(file)


def test_hebrew_stands_from_right_to_left() -> None:
    first, second = _draw("\u05d0"), _draw("\u05d3")
    both = _draw("\u05d0\u05d3")
    assert is_rtl("\u05d0\u05d3")
    assert np.array_equal(both[:, -first.shape[1] :], first)
    assert np.array_equal(both[:, : second.shape[1]], second)


def test_arabic_letters_are_joined() -> None:
    joined, apart = _draw("\u0639\u0639\u0639"), _draw("\u0639 \u0639 \u0639")
    # No column between the letters is empty.
    assert joined.any(axis=0).all()
    assert not apart.any(axis=0).all()


@pytest.mark.usefixtures("only_own")
def test_texts_of_several_fonts_and_directions_stand_in_their_order() -> None:
    fonts = Fonts(_FEW)
    alef, dalet = "\u05d0", "\u05d3"
    line = lay_line(f"a {alef}{dalet} 3 b", fonts, 20)
    shown = [run.text.strip() for run in line.runs if run.text.strip()]
    assert (shown[0], shown[-1]) == ("a", "b")
    line = lay_line(f"{alef}{dalet} lion {alef}", fonts, 20)
    shown = [run.text.strip() for run in line.runs if run.text.strip()]
    # The line begins at the right, and the Latin word in it is read from the left.
    assert shown == [alef, "lion", f"{alef}{dalet}"]
    assert line.is_rtl


@pytest.mark.parametrize(("text", "clusters"), [
    ("ni\u0303o", 3), ("\u0915\u094d\u0937\u093f", 1), ("\u0e17\u0e35\u0e48", 1), ("ab", 2),
    ("\U0001f468\u200d\U0001f33e", 1),
])  # fmt: skip
def test_no_letter_is_torn(text: str, clusters: int) -> None:
    assert len(split_clusters(text)) == clusters


def test_marks_that_turn_other_text_are_taken_out() -> None:
    assert clean_text("a\u202eb\u2066\x00\tc\ud800") == "ab c"


@pytest.mark.parametrize("text", ["Panthera pardus tulliana", "נמר פרסי גדול מאוד", "豹" * 20])
@pytest.mark.parametrize("most_px", [1, 80, 10_000])
def test_a_long_line_is_shortened_at_a_letter(text: str, most_px: int) -> None:
    line = lay_line(text, Fonts(), 20, most_px)
    least = lay_line("…", Fonts(), 20).width_px
    assert line.width_px <= max(most_px, least)
    assert line.is_short == (most_px < 10_000)
    assert line.text.count("…") == line.is_short


@pytest.mark.parametrize("most_px", [40, 200])
def test_long_text_is_wrapped_at_spaces(most_px: int) -> None:
    text = "Panthera pardus tulliana the Anatolian leopard"
    lines = wrap_text(text, Fonts(), 16, most_px, 20)
    assert all(line.width_px <= most_px for line in lines)
    shown = [line.text for line in lines]
    if most_px == 200:
        assert " ".join(shown) == text
    assert "".join(shown).replace(" ", "") == text.replace(" ", "")
    assert wrap_text(text, Fonts(), 16, most_px, 1)[0].is_short
    assert wrap_text("", Fonts(), 16, most_px) == []


def test_scripts_without_spaces_are_wrapped_between_letters(
    make_font: Callable[[str], Path],
) -> None:
    lines = wrap_text("豹子豹子豹", Fonts(make_font("豹子")), 20, 45, 5)
    assert [line.text for line in lines] == ["豹子", "豹子", "豹"]


def test_without_libraqm_it_is_said_what_is_not_shaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(font_rooms, "can_shape", lambda: False)
    fonts = Fonts()
    fonts.assign("נמר")
    fonts.assign("lion")
    (note,) = fonts.describe()
    assert "Hebrew" in note
    assert "libraqm" in note
