"""What people hold in memory is encoded as files are, and told apart by names at hand."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.progress import Step
from bioprobe.zeroshot.zeroshot import find_top_classes
from tests.conftest import draw_picture

pytestmark = pytest.mark.usefixtures("loads")

Encoder = Any
Write = Callable[..., Path]


@pytest.fixture
def folder(write_pictures: Write) -> Path:
    return write_pictures(5)


def test_all_that_holds_a_picture_gives_the_vector_that_embed_gives(
    folder: Path, tmp_path: Path
) -> None:
    expected = bp.embed(folder, store=tmp_path / "store", model="plain").X[:1]
    file = folder / "000.png"
    opened = Image.open(file)
    with file.open("rb") as stream:
        held: list[Any] = [
            str(file), file, file.read_bytes(), bytearray(file.read_bytes()), stream, opened,
            io.BytesIO(file.read_bytes()), np.asarray(opened),
        ]  # fmt: skip
        found = bp.encoder("plain").images(held)
    assert found.dtype == np.float32
    assert found.shape == (len(held), 16)
    np.testing.assert_allclose(found, expected.repeat(len(held), axis=0), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_one_picture_need_not_be_a_list(folder: Path) -> None:
    encoder = bp.encoder("plain")
    file = folder / "001.png"
    alone = encoder.images([file])
    for one in (file, str(file), file.read_bytes(), Image.open(file), np.asarray(Image.open(file))):
        assert np.array_equal(encoder.images(one), alone)
    assert encoder.images([]).shape == (0, 16)
    same_size = np.stack([np.asarray(Image.open(file))] * 3)
    np.testing.assert_allclose(encoder.images(same_size), alone.repeat(3, axis=0), atol=1e-6)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "LA"])
def test_other_modes_are_read_as_embed_reads_them(tmp_path: Path, mode: str) -> None:
    image = draw_picture(3, (20, 30)).convert(mode)
    if "A" in mode:
        image.putalpha(Image.linear_gradient("L").resize((20, 30)))
    image.save(tmp_path / "a.png")
    expected = bp.embed(tmp_path / "a.png", store=tmp_path / "store", model="plain").X
    encoder = bp.encoder("plain")
    np.testing.assert_allclose(encoder.images(image), expected, atol=1e-6)
    if mode in {"RGBA", "L"}:
        np.testing.assert_allclose(encoder.images(np.asarray(image)), expected, atol=1e-6)


def test_a_picture_that_lies_on_its_side_is_put_upright(tmp_path: Path) -> None:
    image = draw_picture(3, (20, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    expected = bp.embed(tmp_path / "a.png", store=tmp_path / "store", model="plain").X
    encoder = bp.encoder("plain")
    found = encoder.images([tmp_path / "a.png", Image.open(tmp_path / "a.png")])
    np.testing.assert_allclose(found, expected.repeat(2, axis=0), atol=1e-6)
    assert not np.allclose(found[0], encoder.images(image)[0])


@pytest.mark.parametrize(("batch_size", "done"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_batches_change_no_vector_and_each_is_told(
    folder: Path,
    encoder: Encoder,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
    done: list[int],
) -> None:
    files = sorted(folder.glob("*.png"))
    whole = bp.encoder("plain").images(files)
    monkeypatch.setattr(type(encoder), "batch_size", batch_size)
    encoder.batch_sizes.clear()
    steps: list[Step] = []
    found = bp.encoder("plain").images(files, progress=steps.append)
    np.testing.assert_allclose(found, whole, atol=1e-6)
    assert [step.done for step in steps] == done
    assert {(step.total, step.what) for step in steps} == {(5, "images")}
    assert len(encoder.batch_sizes) == len(done)


def test_what_is_no_picture_is_named(folder: Path) -> None:
    encoder = bp.encoder("plain")
    (folder / "bad.jpg").write_text("no picture")
    good = folder / "000.png"
    with pytest.raises(bp.ImageReadError, match=r"^picture 1 \(.*bad.jpg\): not an image of a"):
        encoder.images([good, folder / "bad.jpg"])
    with pytest.raises(bp.ImageReadError, match=r"^picture 0 \(none.jpg\): .*No such file"):
        encoder.images("none.jpg")
    with pytest.raises(bp.ImageReadError, match=r"^picture 1 \(1\): the file is empty"):
        encoder.images([good, b""])
    cut = io.BytesIO(good.read_bytes()[:200])
    with pytest.raises(bp.ImageReadError, match=r"^picture 0 \(0\): cannot be decoded"):
        encoder.images(Image.open(cut))
    with pytest.raises(bp.SourceError, match="got float64 of shape"):
        encoder.images(np.zeros((4, 4, 3)))
    with pytest.raises(bp.SourceError, match="int is no picture; give a file's name"):
        encoder.images([good, 3])  # type: ignore[list-item]


def test_texts_are_encoded_as_they_are(encoder: Encoder) -> None:
    found = bp.encoder("plain").texts(["a photo of a lion", "a cat"])
    assert np.array_equal(found, encoder.encode_text(["a photo of a lion", "a cat"]))
    assert bp.encoder("plain").texts("a cat").shape == (1, 16)
    assert bp.encoder("plain").texts([]).shape == (0, 16)


def test_names_at_hand_are_told_apart(folder: Path, encoder: Encoder) -> None:
    files: list[Any] = [str(folder / "000.png"), folder / "001.png"]
    answers = bp.encoder("plain").classify(files, ["cat", "bird", "bear"], k=2)
    frame = answers.to_frame()
    assert list(frame.columns[:3]) == ["file_name", "classification", "score"]
    assert frame["file_name"].tolist() == [str(file) for file in files for _ in range(2)]
    texts = encoder.encode_text([f"a photo of {name}." for name in ("cat", "bird", "bear")])
    images = bp.encoder("plain").images(files)
    top, scores = find_top_classes(images, texts, k=2, logit_scale=20.0)
    names = np.array(["cat", "bird", "bear"])[top]
    assert frame["classification"].tolist() == names.ravel().tolist()
    assert frame["score"].to_numpy() == pytest.approx(scores.ravel())
    assert answers.provenance.encoder["model"] == "plain-1"


def test_pictures_without_a_name_are_numbered(folder: Path) -> None:
    images: list[Any] = [Image.open(folder / "000.png"), np.asarray(Image.open(folder / "001.png"))]
    frame = bp.encoder("plain").classify(images, "cat, dog", k=1).to_frame()
    assert frame["file_name"].tolist() == ["0", "1"]


@pytest.mark.parametrize(("k", "n"), [(1, 1), (2, 2), (3, 3), (4, 3), (50, 3)])
def test_no_more_answers_come_than_classes(folder: Path, k: int, n: int) -> None:
    frame = bp.encoder("plain").classify(folder / "000.png", "cat,bird,bear", k=k).to_frame()
    assert len(frame) == n
    if n == 3:
        assert frame["score"].sum() == pytest.approx(1)
        assert frame["score"].is_monotonic_decreasing


def test_templates_are_averaged(folder: Path, encoder: Encoder) -> None:
    held = bp.encoder("plain")
    (folder / "t.txt").write_text("a {}\nno {}\n")
    both = held.classify(folder / "000.png", "cat,dog", templates=str(folder / "t.txt"))
    texts = [
        encoder.encode_text([f"a {name}", f"no {name}"]).mean(axis=0) for name in ("cat", "dog")
    ]
    unit = np.stack([text / np.linalg.norm(text) for text in texts])
    logits = 20.0 * held.images(folder / "000.png") @ unit.T
    odds = np.exp(logits - logits.max())[0]
    expected = np.sort(odds / odds.sum())[::-1]
    assert both.scores[0] == pytest.approx(expected, abs=1e-5)


def test_classes_are_named_once_each(folder: Path) -> None:
    held = bp.encoder("plain")
    with pytest.raises(bp.PromptError, match="the class 'cat' is named twice"):
        held.classify(folder / "000.png", ["cat", "dog", "cat"])
    with pytest.raises(bp.PromptError, match="no class is named"):
        held.classify(folder / "000.png", "")
    with pytest.raises(bp.PromptError, match=r"no list of classes at none\.txt"):
        held.classify(folder / "000.png", "none.txt")
    (folder / "names.txt").write_text("# mine\ncat\n\nbrown bear\n")
    frame = held.classify(folder / "000.png", str(folder / "names.txt")).to_frame()
    assert set(frame["classification"]) == {"cat", "brown bear"}
    with pytest.raises(bp.MisuseError, match="-k is 1 or more, got 0"):
        held.classify(folder / "000.png", "cat,dog", k=0)


def test_the_answer_is_json_ready(folder: Path) -> None:
    answers = bp.encoder("plain").classify(folder / "000.png", "cat,dog")
    assert json.loads(json.dumps(answers.provenance.to_dict()))["options"]["classes"] == [
        "cat",
        "dog",
    ]
    assert repr(answers) == "<Predictions: images: 1; classes: 2>"
    assert repr(bp.encoder("plain")) == "<Encoder plain-1: dim 16, on cpu>"


def test_classes_that_are_no_taxa_are_asked_of_a_store(opened: bp.Store) -> None:
    answers = opened.zeroshot(classes="cat,bird,bear", k=2)
    files = [opened._view.images.find_file(row) for row in opened.rows]
    alone = bp.encoder("plain").classify(files, "cat,bird,bear", k=2)
    assert answers.to_frame()["classification"].tolist() == list(alone.to_frame()["classification"])
    assert answers.to_frame()["score"].to_numpy() == pytest.approx(
        alone.to_frame()["score"].to_numpy(), abs=1e-5
    )
    assert [str(note) for note in answers.notes] == ["images: 6; classes: 3; templates: 1"]
    assert answers.provenance.options["classes"] == ["cat", "bird", "bear"]
    one = opened.where("family == 'Felidae'").zeroshot(classes=["cat"])
    assert [str(note) for note in one.notes] == [
        "images: 2; classes: 1; templates: 1",
        "there is only one class, so every image gets it; give more with --classes",
    ]
    with pytest.raises(bp.MisuseError, match="--taxa counts only with no --classes"):
        opened.zeroshot(classes="cat,bird", taxa="sketch")
