from __future__ import annotations

import base64
import io
from pathlib import Path

import jinja2
import pytest
from PIL import Image

from bioprobe.page import make_thumbnail, render_page


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="n_images"):
        render_page("demo.html.j2", {"title": "Demonstration"})


@pytest.mark.parametrize(
    ("size_px", "expected"), [((400, 200), (160, 80)), ((90, 60), (90, 60))], ids=str
)
def test_a_thumbnail_is_no_larger_than_asked(
    tmp_path: Path, size_px: tuple[int, int], expected: tuple[int, int]
) -> None:
    Image.new("RGB", size_px, "teal").save(tmp_path / "picture.png")
    url = make_thumbnail(tmp_path / "picture.png", 160)
    kind, _, data = url.partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == expected


def test_a_picture_that_is_gone_has_no_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    assert make_thumbnail(tmp_path / "none.jpg") == ""
    assert make_thumbnail(tmp_path / "text.jpg") == ""
