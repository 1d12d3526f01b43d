"""Every odd file ends as embedded, or as one line of the failures, and the run goes on."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from bioprobe.embedding import EmbedSummary, embed_images
from bioprobe.embedding.preparation import Listed, prepare
from bioprobe.errors import SourceError
from bioprobe.images import decode_image, read_facts
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore, verify_store
from tests.conftest import PlainEncoder, draw_picture
from tests.images.test_reading import _write_png_header


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (9, 9), "navy").save(folder / "good.png")
    return folder


@pytest.fixture
def embed(
    photos: Path, tmp_path: Path, encoder: PlainEncoder
) -> Callable[..., tuple[EmbedSummary, dict[str, str]]]:
    """Embed the folder; return the summary, and the reason of each failure."""

    def run(**options: Any) -> tuple[EmbedSummary, dict[str, str]]:  # noqa: ANN401
        store = EmbeddingStore.open_for(tmp_path / "store", encoder)
        summary = embed_images(find_images([photos]), encoder, store, **options)
        store = EmbeddingStore.open(store.folder)
        assert verify_store(store) == []
        failures = store.read_failures()
        return summary, dict(zip(failures["path"], failures["reason"], strict=True))

    return run


Embed = Callable[..., tuple[EmbedSummary, dict[str, str]]]


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_every_kind_and_mode_is_embedded(photos: Path, embed: Embed) -> None:
    image = draw_picture(3, (24, 20))
    modes = {
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "JPEG": ("L", "RGB", "CMYK"),
        "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"),
        "WEBP": ("RGB", "RGBA"), "BMP": ("1", "L", "P", "RGB"), "GIF": ("P", "L"),
        "PPM": ("1", "L", "RGB"), "JPEG2000": ("L", "RGB", "RGBA"), "AVIF": ("RGB", "RGBA"),
    }  # fmt: skip
    suffixes = {"JPEG": ".JPG", "TIFF": ".tif", "JPEG2000": ".jp2"}
    n_written = 0
    for kind, names in modes.items():
        for mode in names:
            file = photos / f"{n_written}{suffixes.get(kind, '.' + kind.lower())}"
            source = image.convert("L") if mode in {"I", "F", "I;16"} else image
            if mode == "LAB":
                source = Image.merge("LAB", image.split())
            file.write_bytes(_save(source.convert(mode) if mode != "LAB" else source, kind))
            n_written += 1
    summary, failures = embed()
    assert failures == {}
    assert summary.n_embedded + summary.n_reused == n_written + 1


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_compressed_tiffs_are_read(compression: str) -> None:
    data = _save(draw_picture(1, (20, 16)), "TIFF", compression=compression)
    expected = np.asarray(draw_picture(1, (20, 16)), dtype=int)
    assert np.abs(np.asarray(decode_image(data), dtype=int) - expected).mean() < 12


def test_the_ending_does_not_matter(photos: Path, embed: Embed) -> None:
    for number, kind in enumerate(("PNG", "WEBP", "TIFF", "GIF")):
        (photos / f"{kind}.jpg").write_bytes(_save(draw_picture(number, (12, 10)), kind))
    (photos / "really.png").write_bytes(_save(draw_picture(7, (12, 10)), "JPEG"))
    summary, failures = embed()
    assert (summary.n_embedded, failures) == (6, {})


def test_what_cannot_be_read_has_a_clear_reason(photos: Path, embed: Embed) -> None:
    whole = _save(Image.effect_noise((60, 60), 90), "JPEG")
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.jpg").touch()
    (photos / "text.jpg").write_text("<html>404 not found</html>")
    (photos / "bomb.png").write_bytes(_write_png_header(60_000, 60_000))
    (photos / "gone.jpg").symlink_to(photos / "none.jpg")
    (photos / "self.jpg").symlink_to(photos / "self.jpg")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "zero.jpg").symlink_to("/dev/zero")
    (photos / "folder.jpg").mkdir()
    shutil.copy(photos / "good.png", photos / "folder.jpg" / "inside.png")
    (photos / "link.jpg").symlink_to(photos / "good.png")
    (photos / "linked-folder.jpg").symlink_to(photos / "folder.jpg")
    summary, failures = embed()
    assert (summary.n_embedded, summary.n_reused) == (1, 2)
    cut = failures.pop("cut.jpg")
    assert cut.startswith("damaged (no end marker")
    assert failures == {
        "empty.jpg": "the file is empty",
        "text.jpg": "not an image of a known kind",
        "bomb.png": "the image has more than 178,956,970 pixels; make it smaller, or allow more: "
        "--max-pixels",
        "gone.jpg": "no such file or directory",
        "self.jpg": "too many levels of symbolic links",
        "pipe.jpg": "a pipe, not a file",
        "zero.jpg": "a device, not a file",
    }


def test_a_link_to_a_folder_above_is_not_entered(photos: Path, embed: Embed) -> None:
    (photos / "up").symlink_to(photos.parent)
    (photos / "here").symlink_to(photos)
    assert find_images([photos]).file_names == ["good.png"]
    # Named itself, a link is a folder as any other.
    assert find_images([photos / "here"]).file_names == ["good.png"]
    assert embed()[0].n_images == 1


def test_a_file_that_may_not_be_read_has_a_reason(tmp_path: Path, encoder: PlainEncoder) -> None:
    (tmp_path / "secret.png").write_bytes(_save(Image.new("RGB", (9, 9)), "PNG"))
    listed = Listed(str(tmp_path), "secret.png", {})
    assert prepare(listed, set(), encoder).reason == ""
    (tmp_path / "secret.png").chmod(0o000)
    is_root = os.geteuid() == 0
    if is_root:  # who may read everything, and becomes somebody else for a moment
        os.seteuid(65534)
    try:
        assert prepare(listed, set(), encoder).reason == "permission denied"
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("max_pixels_px", [80, 81])
def test_the_limit_of_pixels_is_that_of_the_run(embed: Embed, max_pixels_px: int) -> None:
    summary, failures = embed(max_pixels_px=max_pixels_px)
    if max_pixels_px == 81:
        assert (summary.n_embedded, failures) == (1, {})
    else:
        reason = "the image has 9 x 9 pixels, more than 80; make it smaller, or allow more: "
        assert failures == {"good.png": reason + "--max-pixels 81"}


def test_a_higher_limit_lets_pillow_open_more(photos: Path, embed: Embed) -> None:
    (photos / "large.png").write_bytes(_write_png_header(20_000, 10_000))
    before = Image.MAX_IMAGE_PIXELS
    for max_pixels_px, reason in ((199_999_999, "the image has "), (200_000_000, "cannot be deco")):
        assert embed(max_pixels_px=max_pixels_px)[1]["large.png"].startswith(reason)
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_same_file_twice_is_one_image(photos: Path) -> None:
    file = photos / "good.png"
    assert len(find_images([file, file, photos, photos / ".." / "photos"])) == 1


def _write_heic(file: Path, image: Image.Image, **options: object) -> None:
    pillow_heif.from_pillow(image).save(file, **options)


def test_heic_is_read_and_set_upright(photos: Path, embed: Embed) -> None:
    image = Image.new("RGB", (64, 32), "red")
    image.paste("blue", (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    _write_heic(photos / "plain.heic", image, quality=90)
    _write_heic(photos / "lying.HEIC", image, quality=90, exif=exif.tobytes())
    summary, failures = embed()
    assert (summary.n_embedded, failures) == (3, {})
    data = (photos / "lying.HEIC").read_bytes()
    upright = decode_image(data)
    assert upright.size == (32, 64)
    assert np.abs(np.array(upright.getpixel((16, 8))) - (0, 0, 255)).max() < 12
    facts = read_facts(data)
    assert (facts.width_px, facts.height_px) == (32, 64)


def test_heic_without_the_extra_says_how_to_install_it(
    photos: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_heic(photos / "a.heic", Image.new("RGB", (32, 32), "red"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    reason = 'HEIC is read by an extra; install it: pip install "bioprobe[heif]"'
    assert embed()[1] == {"a.heic": reason}


def test_a_source_that_is_no_file_is_refused(photos: Path) -> None:
    os.mkfifo(photos / "pipe")
    with pytest.raises(SourceError, match=r"no plain file at .*pipe"):
        find_images([photos / "pipe"])
    (photos / "gone.jpg").symlink_to(photos / "none")
    with pytest.raises(SourceError, match=r"gone.jpg is a link to .*none, which"):
        find_images([photos / "gone.jpg"])
