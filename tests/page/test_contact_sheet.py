from __future__ import annotations

import base64
import html.parser
import io
from pathlib import Path

import pytest
from PIL import Image

from bioprobe.images.location import ImageLocation
from bioprobe.page import SheetGroup, SheetPicture, make_thumbnail, write_contact_sheet


class _Page(html.parser.HTMLParser):
    """What a browser would see of a page: texts by tag, pictures, and addresses of others."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.sources: list[str] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        if tag == "img":
            self.sources.append(str(named["src"]))
        self.links += [str(named[name]) for name in ("href", "src") if name in named]
        if tag not in {"img", "meta"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self._open:
            self.texts.setdefault(self._open[-1], []).append(data.strip())


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (800, 400), "teal").save(tmp_path / "teal.png")
    return tmp_path / "teal.png"


def test_headings_captions_and_lines_stand_in_their_order(tmp_path: Path, picture: Path) -> None:
    pictures = (SheetPicture(picture, "Felidae", ("0.91", "row 3")), SheetPicture(picture, "b"))
    groups = [SheetGroup("Near", "nearest first", pictures), SheetGroup("Far", "", pictures[:1])]
    write_contact_sheet(tmp_path / "sheet.html", "Search", "by text\nby picture", groups)
    page = _Page(tmp_path / "sheet.html")
    assert page.texts["title"] == page.texts["h1"] == ["Search"]
    assert page.texts["h2"] == ["Near", "Far"]
    assert page.texts["p"] == ["by text\nby picture", "nearest first"]
    assert page.texts["b"] == ["Felidae", "b", "Felidae"]
    assert page.texts["span"] == ["2", "0.91", "row 3", "1", "0.91", "row 3"]


def test_the_page_needs_no_other_file(tmp_path: Path, picture: Path) -> None:
    group = SheetGroup("", "", (SheetPicture(picture, "a"),))
    write_contact_sheet(tmp_path / "deep" / "sheet.html", "Sheet", "", [group])
    page = _Page(tmp_path / "deep" / "sheet.html")
    (source,) = page.sources
    assert page.links == [source]
    assert "script" not in page.tags
    shown = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    assert shown.size == (280, 140)


@pytest.mark.parametrize("groups", [[], [SheetGroup("None", "", ())]], ids=["no group", "empty"])
def test_a_sheet_without_pictures_says_so(tmp_path: Path, groups: list[SheetGroup]) -> None:
    write_contact_sheet(tmp_path / "sheet.html", "Sheet", "", groups)
    page = _Page(tmp_path / "sheet.html")
    assert page.texts["p"] == ["No pictures."]
    assert not page.sources


def test_pictures_that_are_gone_are_empty_frames_that_say_so(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    places: list[Path | ImageLocation] = [
        tmp_path / "none.jpg",
        tmp_path / "text.jpg",
        picture,
        ImageLocation("", ""),
    ]
    group = SheetGroup("", "", [SheetPicture(place, "a") for place in places])
    write_contact_sheet(tmp_path / "sheet.html", "Sheet", "", [group])
    page = _Page(tmp_path / "sheet.html")
    assert len(page.sources) == 1
    assert page.texts["div"] == 3 * ["picture not found or not readable"]
    assert page.texts["p"][0].startswith("3 of 4 pictures could not be read")


def test_names_cannot_write_html(tmp_path: Path, picture: Path) -> None:
    bad = "<script>alert('\"&')</script>"
    group = SheetGroup(bad, bad, (SheetPicture(picture, bad, (bad,)),))
    write_contact_sheet(tmp_path / "sheet.html", bad, bad, [group])
    page = _Page(tmp_path / "sheet.html")
    assert "script" not in page.tags
    assert page.texts["h1"] == page.texts["h2"] == page.texts["b"] == [bad]


def test_a_picture_that_pillow_warns_of_is_shown(tmp_path: Path) -> None:
    # An EXIF block that ends too early makes Pillow warn, and warnings are errors here.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x0f\x01\x02\0\xff\0\0\0\x1a\0\0\0"
    Image.new("RGB", (40, 20), "teal").save(tmp_path / "odd.jpg", exif=exif)
    assert make_thumbnail(tmp_path / "odd.jpg").startswith("data:image/jpeg")


def test_a_thumbnail_of_a_large_photograph_has_the_size_asked_for(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 2000), "teal").save(tmp_path / "large.jpg")
    data = base64.b64decode(make_thumbnail(tmp_path / "large.jpg", 160).partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (160, 107)
