from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioprobe.errors import MisuseError, SourceError
from bioprobe.images.camera import read_camera
from bioprobe.watching.frames import (
    Changed,
    FrameOptions,
    FrameSource,
    measure_change,
    read_beginning,
    shrink,
)

cv2 = pytest.importorskip("cv2")

SIZE_PX = (96, 64)
RATE = 10
BEGINS = datetime.datetime(2026, 5, 1, 6, 30, tzinfo=datetime.UTC)


def _draw(animal: int | None, light: int = 0) -> np.ndarray:
    """Draw a place, with an animal at a number of pixels from the left."""
    noise = np.random.default_rng(0).integers(60, 160, (8, 12, 3), dtype=np.uint8)
    place = cv2.resize(noise, SIZE_PX, interpolation=cv2.INTER_NEAREST)
    if animal is not None:
        place[20:44, animal : animal + 24] = 250
    return np.asarray(np.clip(place.astype(int) + light, 0, 255), dtype=np.uint8)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Write four seconds: black, an empty place that gets darker, an animal that stops."""
    file = tmp_path / "passage.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), RATE, SIZE_PX)
    frames = [np.zeros_like(_draw(None))] * 5 + [_draw(None)] * 5 + [_draw(None, -15)] * 10
    frames += [_draw(x) for x in range(0, 60, 6)] + [_draw(54)] * 10
    for frame in frames:
        writer.write(frame)
    writer.release()
    return file


def _read(video: Path, folder: Path, options: FrameOptions) -> tuple[FrameSource, list[str]]:
    said: list[str] = []
    source = FrameSource(str(video), folder, options, said.append)
    source.read()
    return source, said


def test_frames_are_taken_where_something_moves_with_their_time(
    video: Path, tmp_path: Path
) -> None:
    source, said = _read(video, tmp_path / "frames", FrameOptions(0.3, 0.02, BEGINS))
    files = sorted((tmp_path / "frames").iterdir())
    times = [read_camera(file.read_bytes())["captured_at"] for file in files]
    begun = [datetime.datetime.fromisoformat(one) - BEGINS for one in times]
    # The first that is not black, the animal as it walks, and none once it stands.
    seconds = [one.total_seconds() for one in begun]
    assert seconds[0] == pytest.approx(0.5)
    assert seconds[1] == pytest.approx(2.0)
    assert max(seconds) <= 3.3
    assert np.diff(seconds[1:]).min() >= 0.3 - 1e-6
    assert 3 <= len(files) <= 5
    assert source.n_written == len(files)
    assert said == [f"passage: 40 frames, {len(files)} pictures -> {tmp_path / 'frames'}"]
    with Image.open(files[1]) as image:
        assert image.size == SIZE_PX
        assert np.asarray(image)[30, 12].min() > 200  # the animal, and in colours as they were


def test_a_video_that_is_read_again_writes_nothing_twice(video: Path, tmp_path: Path) -> None:
    options = FrameOptions(0.3, 0.02)
    first, _ = _read(video, tmp_path / "frames", options)
    again, _ = _read(video, tmp_path / "frames", options)
    assert (first.n_written > 0, again.n_written) == (True, 0)


def test_how_much_and_how_often_is_chosen(video: Path, tmp_path: Path) -> None:
    counts = [
        _read(video, tmp_path / name, options)[0].n_written
        for name, options in (
            ("all", FrameOptions(0, 0)),
            ("change", FrameOptions(0, 0.02)),
            ("seldom", FrameOptions(2, 0)),
            ("much", FrameOptions(0, 0.9)),
        )
    ]
    assert counts == [35, counts[1], 2, 1]
    assert 3 < counts[1] < 15


def test_light_on_all_of_it_moves_nothing() -> None:
    day, dusk = shrink(_draw(None)), shrink(_draw(None, -30))
    assert measure_change(day, dusk) == 0
    assert measure_change(day, shrink(_draw(30))) > 0.05
    changed = Changed(FrameOptions(0, 0.01))
    assert [changed.keeps(_draw(x), t) for t, x in enumerate((None, None, 20))] == [
        True, False, True,
    ]  # fmt: skip


def test_a_video_that_breaks_off_is_opened_again(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    source = FrameSource(str(video), tmp_path / "frames", FrameOptions(0, 0, BEGINS), said.append)
    opened: list[str] = []
    real = cv2.VideoCapture

    class Dropping:
        """A connection that drops after eight frames the first time."""

        def __init__(self, named: str) -> None:
            self._inner, self._n_read = real(named), 0
            opened.append(named)

        def read(self) -> tuple[bool, object]:
            self._n_read += 1
            if len(opened) == 1 and self._n_read > 8:
                return False, None
            found: tuple[bool, object] = self._inner.read()
            return found

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    monkeypatch.setattr(cv2, "VideoCapture", Dropping)
    monkeypatch.setattr(source, "pause", lambda _seconds: None)
    source.read()
    assert len(opened) == 2
    assert len(list((tmp_path / "frames").iterdir())) == 35
    assert said[0] == "passage ended after 8 of 40 frames; tried again in 1 s"


def test_what_is_no_video_and_no_time_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(SourceError, match="cannot be read as a video"):
        FrameSource(str(tmp_path / "a.mp4"), tmp_path, FrameOptions(), print)
    with pytest.raises(MisuseError, match="--begins is a time"):
        read_beginning("yesterday")
