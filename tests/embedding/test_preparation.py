from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bioprobe.embedding.preparation import Listed, Prepared, prepare, prepare_all
from tests.conftest import PlainEncoder

Preprocess = Callable[[Image.Image], npt.NDArray[np.float32]]


def _preprocessing_by(preprocess: Preprocess, *, device: str = "cpu") -> PlainEncoder:
    """Return an encoder that preprocesses in another way, or claims another device."""
    made = type("OddEncoder", (PlainEncoder,), {"device": device})()
    made.preprocess = preprocess
    return made  # type: ignore[no-any-return]


@pytest.fixture
def pictures(write_pictures: Callable[..., Path]) -> list[Listed]:
    folder = write_pictures(7)
    return [Listed(str(folder), path.name, {}) for path in sorted(folder.iterdir())]


def test_a_new_file_is_read_and_decoded(pictures: list[Listed], encoder: PlainEncoder) -> None:
    prepared = prepare(pictures[2], set(), encoder)
    path = Path(pictures[2].root, pictures[2].path)
    assert prepared.facts == {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "n_bytes": path.stat().st_size,
        "width_px": 22,
        "height_px": 30,
        "mode": "RGB",
    }
    assert prepared.pixels is not None
    np.testing.assert_array_equal(prepared.pixels, encoder.preprocess(Image.open(path)))
    assert prepared.reason == ""


def test_a_known_file_is_not_decoded(pictures: list[Listed], encoder: PlainEncoder) -> None:
    known = prepare(pictures[0], set(), encoder).facts["sha256"]
    prepared = prepare(pictures[0], {known}, encoder)
    assert prepared.pixels is None
    assert prepared.reason == ""
    assert prepared.facts["sha256"] == known


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("none.jpg", None, "no such file or directory"),
        ("empty.jpg", b"", "the file is empty"),
        ("text.jpg", b"some text", "not an image of a known kind"),
    ],
)
def test_what_fails_has_a_reason(
    tmp_path: Path, encoder: PlainEncoder, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    prepared = prepare(Listed(str(tmp_path), name, {}), set(), encoder)
    assert (prepared.reason, prepared.pixels, prepared.facts) == (reason, None, {})


def test_a_folder_named_as_a_picture_has_a_reason(tmp_path: Path, encoder: PlainEncoder) -> None:
    (tmp_path / "folder.jpg").mkdir()
    prepared = prepare(Listed(str(tmp_path), "folder.jpg", {}), set(), encoder)
    assert prepared.reason == "is a directory"


def test_whatever_preprocessing_raises_is_a_reason(pictures: list[Listed]) -> None:
    def refuse(_: Image.Image) -> npt.NDArray[np.float32]:
        raise ZeroDivisionError

    assert prepare(pictures[0], set(), _preprocessing_by(refuse)).reason == "ZeroDivisionError"


@pytest.mark.parametrize("n_images", [0, 1, 6, 7])
@pytest.mark.parametrize(("n_threads", "n_ahead"), [(1, 1), (3, 6), (2, 7), (4, 100)])
def test_order_does_not_depend_on_the_threads(
    pictures: list[Listed], encoder: PlainEncoder, n_images: int, n_threads: int, n_ahead: int
) -> None:
    def preprocess(image: Image.Image) -> npt.NDArray[np.float32]:
        # The first pictures are the slowest.
        time.sleep(0.002 * (27 - image.width))
        return encoder.preprocess(image)

    prepared = prepare_all(
        pictures[:n_images],
        set(),
        _preprocessing_by(preprocess),
        n_threads=n_threads,
        n_ahead=n_ahead,
    )
    assert [image.listed for image in prepared] == pictures[:n_images]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_so_many_threads_decode(
    pictures: list[Listed], encoder: PlainEncoder, n_threads: int
) -> None:
    names = set()
    meeting = threading.Barrier(n_threads)

    def preprocess(image: Image.Image) -> npt.NDArray[np.float32]:
        names.add(threading.current_thread().name)
        if image.width < 20 + n_threads:
            # The first pictures wait for each other, so each has a thread of its own.
            meeting.wait(timeout=20)
        return encoder.preprocess(image)

    busy = _preprocessing_by(preprocess)
    list(prepare_all(pictures, set(), busy, n_threads=n_threads, n_ahead=7))
    assert len(names) == n_threads
    assert all(name.startswith("bioprobe-read") for name in names)


def _count_taken(
    pictures: list[Listed], encoder: PlainEncoder
) -> tuple[list[Listed], Iterator[Prepared]]:
    taken: list[Listed] = []

    def listing() -> Iterator[Listed]:
        for listed in pictures:
            taken.append(listed)
            yield listed

    return taken, prepare_all(listing(), set(), encoder, n_threads=2, n_ahead=3)


def test_beside_an_accelerator_reading_goes_on_while_the_model_runs(
    pictures: list[Listed], encoder: PlainEncoder
) -> None:
    taken, prepared = _count_taken(pictures, _preprocessing_by(encoder.preprocess, device="cuda"))
    assert taken == []
    n_taken = []
    for _ in range(4):
        next(prepared)
        n_taken.append(len(taken))
    assert n_taken == [3, 4, 5, 6]
    prepared.close()  # type: ignore[attr-defined]


def test_on_a_cpu_nothing_is_read_while_the_model_runs(
    pictures: list[Listed], encoder: PlainEncoder
) -> None:
    under_way = threading.Semaphore(0)

    def preprocess(image: Image.Image) -> npt.NDArray[np.float32]:
        under_way.release()
        return encoder.preprocess(image)

    taken, prepared = _count_taken(pictures, _preprocessing_by(preprocess))
    n_taken, n_preprocessed = [], 0
    for _ in range(7):
        next(prepared)
        n_taken.append(len(taken))
        while under_way.acquire(blocking=False):
            n_preprocessed += 1
        # Whatever was begun has ended: the model has all cores to itself.
        assert n_preprocessed == len(taken)
    assert n_taken == [3, 3, 3, 6, 6, 6, 7]


def test_a_large_jpeg_is_decoded_no_further_than_the_encoder_needs(
    tmp_path: Path, encoder: PlainEncoder
) -> None:
    Image.new("RGB", (400, 300), "teal").save(tmp_path / "large.jpg")
    sizes_px = []

    def preprocess(image: Image.Image) -> npt.NDArray[np.float32]:
        sizes_px.append(image.size)
        return encoder.preprocess(image)

    for draft_side_px in (0, 74, 76, 200, 300):
        reader = _preprocessing_by(preprocess)
        reader.draft_side_px = draft_side_px
        prepared = prepare(Listed(str(tmp_path), "large.jpg", {}), set(), reader)
        assert (prepared.facts["width_px"], prepared.facts["height_px"]) == (400, 300)
    assert sizes_px == [(400, 300), (100, 75), (200, 150), (400, 300), (400, 300)]
