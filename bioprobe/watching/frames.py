"""Pictures out of a video: a camera on the network, one at this machine, or a file.

Of a camera that looks at one place most frames are alike. A frame is kept where enough of the
picture differs from the last one that was kept, at most one in a number of seconds, and none that
is one colour. It is written whole, under its time, into a folder, and from there on is a picture
like others.
"""

from __future__ import annotations

import dataclasses
import datetime
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MissingExtraError, MisuseError, SourceError
from bioprobe.files import replacing

if TYPE_CHECKING:
    Frame = npt.NDArray[np.uint8]

#: What begins an address of a stream, and the number of a camera at this machine.
STREAMS = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp")
DEVICE = "camera:"
# What a frame is compared as: small and grey, so that noise and leaves count for little.
_WIDTH_PX, _HEIGHT_PX = 64, 48
# How far a grey value must be from what it was, of 255, to count as changed.
_CHANGED = 20
# Of one colour: a lens cap, a lost signal.
_LEAST_SPREAD = 4.0
_QUALITY = 92
_ROUNDING_S = 1e-3
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
# Share of its frames with which a file was read, and how often one that breaks off is tried again.
_WHOLE, _TRIES_OF_FILE = 0.95, 3


@dataclasses.dataclass(frozen=True)
class FrameOptions:
    """Which frames are kept.

    Parameters
    ----------
    every_s : float
        Least seconds between two that are kept, ≥ 0.
    change : float
        Least share of the picture that differs from the last that was kept, in [0, 1]; at 0 every
        frame does.
    begins : datetime, optional
        When a file's first frame was taken; by default its last one when it was last written.
    """

    every_s: float = 1.0
    change: float = 0.02
    begins: datetime.datetime | None = None


def is_video(source: str) -> bool:
    """Tell whether a source is a stream or a camera.

    Examples
    --------
    >>> is_video("rtsp://10.0.0.7/live"), is_video("camera:0"), is_video("photos")
    (True, True, False)
    """
    return source.startswith(DEVICE) or ("://" in source and urlsplit(source).scheme in STREAMS)


class Changed:
    """Tells frames that are to be kept from those that are like the last one."""

    def __init__(self, options: FrameOptions) -> None:
        self._options = options
        self._kept: npt.NDArray[np.int16] | None = None
        self._kept_s = -np.inf

    def keeps(self, frame: Frame, at_s: float) -> bool:
        """Tell whether a frame is kept.

        Parameters
        ----------
        frame : ndarray of uint8, shape (height_px, width_px, 3)
        at_s : float
            When it was taken, in seconds since anything.
        """
        # Frames of a file are a rounding apart from a whole number of them.
        if at_s - self._kept_s < self._options.every_s - _ROUNDING_S:
            return False
        small = shrink(frame)
        if small.std() < _LEAST_SPREAD:
            return False
        if self._kept is not None and measure_change(self._kept, small) < self._options.change:
            return False
        self._kept, self._kept_s = small, at_s
        return True


def shrink(frame: Frame) -> npt.NDArray[np.int16]:
    """Return a frame small and grey, as frames are compared.

    Returns
    -------
    ndarray of int16, shape (48, 64)
    """
    import cv2

    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_WIDTH_PX, _HEIGHT_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.int16)


def measure_change(before: npt.NDArray[np.int16], after: npt.NDArray[np.int16]) -> float:
    """Return which share of a picture has changed, but for the light on all of it.

    Examples
    --------
    >>> before = np.zeros((2, 2), dtype=np.int16)
    >>> measure_change(before, before + 50), measure_change(before, np.array([[90, 0], [0, 0]]))
    (0.0, 0.25)
    """
    difference = after - before
    # A cloud makes all of it darker, and moves nothing.
    moved = np.abs(difference - np.median(difference)) > _CHANGED
    return float(moved.mean())


class FrameSource:
    """Reads a video in a thread of its own, and writes the frames that are kept.

    Parameters
    ----------
    source : str
        Address of a stream, ``camera:N``, or the path of a file.
    folder : Path
        Where frames are written.
    options : FrameOptions
    tell : callable
        Told in a sentence what is begun, lost, and at the end.
    clock : callable
        Seconds since 1970.

    Raises
    ------
    MissingExtraError
        If OpenCV is not installed.
    SourceError
        If a file is no video.
    """

    def __init__(
        self,
        source: str,
        folder: Path,
        options: FrameOptions,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source, self._folder, self._options = source, folder, options
        self._tell, self._clock = tell, clock
        self._is_file = not is_video(source)
        self._name = _name_source(source)
        self._stops = threading.Event()
        self._thread: threading.Thread | None = None
        self._changed = Changed(options)
        self._begins_s: float | None = None
        self._error: Exception | None = None
        #: How many frames were written.
        self.n_written = 0
        try:
            import cv2
        except ImportError as error:
            msg = 'video is read by an extra; install it: pip install "bioprobe[video]"'
            raise MissingExtraError(msg) from error
        if self._is_file:
            capture = cv2.VideoCapture(source)
            is_readable = capture.isOpened()
            capture.release()
            if not is_readable:
                msg = f"{source} cannot be read as a video; play it, or convert it to .mp4"
                raise SourceError(msg)

    @property
    def is_at_end(self) -> bool:
        """Whether a file was read to its end; a stream has none.

        Raises
        ------
        BioprobeError
            If a frame could not be written.
        """
        if self._error is not None:
            raise self._error
        return self._thread is not None and not self._thread.is_alive()

    def start(self) -> None:
        """Begin to read."""
        self._thread = threading.Thread(target=self._run, name="bioprobe-frames", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._stops.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        try:
            self.read()
        except Exception as error:  # noqa: BLE001 - raised where the watch looks
            self._error = error

    def read(self) -> None:
        """Read a file to its end, or a stream until it is stopped; what drops is opened again.

        Raises
        ------
        StoreError
            If a frame cannot be written.
        """
        n_failed = 0
        while not self._stops.is_set():
            n_read, n_frames = self._read_once()
            # What a file says of its length is a guess for some formats.
            if self._is_file and (n_read >= _WHOLE * n_frames or n_failed >= _TRIES_OF_FILE):
                self._tell(
                    f"{self._name}: {n_read:,} frames, {self.n_written:,} pictures -> "
                    f"{self._folder}"
                )
                return
            n_failed = 1 if n_read and not self._is_file else n_failed + 1
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(n_failed - 1, 10))
            if not self._stops.is_set() and n_failed & (n_failed - 1) == 0:
                of = f" of {n_frames:,}" if n_frames > 0 else ""
                what = f"ended after {n_read:,}{of} frames" if n_read else "cannot be opened"
                self._tell(f"{self._name} {what}; tried again in {pause_s:g} s")
            self.pause(pause_s)

    def pause(self, seconds_s: float) -> None:
        """Wait, unless it is stopped."""
        self._stops.wait(seconds_s)

    def _read_once(self) -> tuple[int, int]:
        """Read until the video ends or drops.

        Returns
        -------
        n_read : int
            Frames that were read.
        n_frames : int
            That it says it has, 0 or less where it does not.
        """
        import cv2

        device = self._source.removeprefix(DEVICE)
        capture = cv2.VideoCapture(int(device) if device != self._source else self._source)
        # A file begins anew, and the same frames are kept of it.
        changed = Changed(self._options) if self._is_file else self._changed
        n_read = 0
        try:
            if not capture.isOpened():
                return 0, 0
            if self._is_file and self._begins_s is None:
                self._begins_s = self._find_beginning(capture)
            for frame, at_s in self._iter_frames(capture):
                n_read += 1
                taken_s = self._clock() if self._begins_s is None else self._begins_s + at_s
                if changed.keeps(frame, taken_s):
                    self._write(frame, taken_s)
            return n_read, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if self._is_file else 0
        finally:
            capture.release()

    def _iter_frames(self, capture: Any) -> Iterator[tuple[Frame, float]]:  # noqa: ANN401 - OpenCV's
        """Read frame by frame.

        Yields
        ------
        frame : ndarray of uint8, shape (height_px, width_px, 3)
        at_s : float
            Seconds from the beginning.
        """
        import cv2

        while not self._stops.is_set():
            is_read, frame = capture.read()
            if not is_read:
                return
            yield frame, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def _find_beginning(self, capture: Any) -> float:  # noqa: ANN401 - OpenCV's
        """Return when a file begins, in seconds since 1970."""
        import cv2

        if self._options.begins is not None:
            return self._options.begins.timestamp()
        rate = capture.get(cv2.CAP_PROP_FPS) or 1.0
        duration_s = max(0.0, capture.get(cv2.CAP_PROP_FRAME_COUNT) / rate)
        return float(Path(self._source).stat().st_mtime - duration_s)

    def _write(self, frame: Frame, taken_s: float) -> None:
        """Write a frame under its time, with the time inside; one that is there stays."""
        from PIL import Image

        taken = datetime.datetime.fromtimestamp(taken_s).astimezone()
        text = taken.strftime("%Y-%m-%dT%H-%M-%S")
        milliseconds = f"{taken.microsecond // 1000:03d}"
        file = self._folder / f"{self._name}_{text}.{milliseconds}.jpg"
        if file.exists():
            return
        image = Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1]))
        exif = image.getexif()
        clock = taken.strftime("%Y:%m:%d %H:%M:%S")
        offset = taken.strftime("%z")
        block = exif.get_ifd(0x8769)
        block |= {0x9003: clock, 0x9291: milliseconds, 0x9011: f"{offset[:3]}:{offset[3:]}"}
        exif[0x0132] = clock
        with replacing(file) as temporary:
            image.save(temporary, "JPEG", quality=_QUALITY, exif=exif)
        self.n_written += 1


def _name_source(source: str) -> str:
    """Name a video in the names of its frames and in messages, without the key of an address."""
    if is_video(source) and "://" in source:
        parts = urlsplit(source)
        name = f"{parts.hostname or 'stream'}{parts.path}"
    else:
        name = Path(source).stem if not source.startswith(DEVICE) else source
    return "".join(one if one.isalnum() or one in "-." else "-" for one in name).strip("-.")


def read_beginning(text: str) -> datetime.datetime:
    """Read when a video begins, ISO 8601; without a zone it is of this machine.

    Raises
    ------
    MisuseError
        If it is no time.
    """
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"--begins is a time such as 2026-05-01T06:30:00, got {text!r}"
        raise MisuseError(msg) from error
