"""Pictures that were sent: the vectors of those that are asked about, files of those to keep."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bioprobe.errors import ImageReadError
from bioprobe.face.encoder import measure_picture
from bioprobe.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from bioprobe.face.encoder import Encoder

# A vector of 768 numbers takes 3 kB.
_KEPT = 4096
_LETTERS = 200
# What stands in the name of a file as it is, and how much of it.
_ODD, _FILE_LETTERS = re.compile(r"[^A-Za-z0-9._-]+"), 80
# Pixels that are held until they are encoded; a picture of more is read by itself.
_TOGETHER_PX = 24_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Upload:
    """A picture that was sent.

    Parameters
    ----------
    id : str
        By which it is asked about: of its bytes.
    name : str
        As it was sent.
    vector : ndarray of float32, shape (dim,), or None
        None where it could not be read.
    problem : str
        Why not.
    """

    id: str
    name: str
    vector: npt.NDArray[np.float32] | None = None
    problem: str = ""


class Uploads:
    """The last pictures that were sent; of each its vector, and nothing else."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._turn, self._large = threading.Lock(), threading.Lock()

    def add(
        self, sent: Sequence[tuple[str, bytes]], encoder: Encoder, max_pixels: int
    ) -> list[Upload]:
        """Encode pictures, those of the same bytes once, and keep their vectors.

        Parameters
        ----------
        sent : sequence of (str, bytes)
            Name and bytes of each.
        encoder : Encoder
        max_pixels : int
            Pixels of one, at most.
        """
        found: dict[str, Upload] = {}
        read: dict[str, Image] = {}

        def encode() -> None:
            vectors = encoder.images(list(read.values()))
            for key, vector in zip(read, vectors, strict=True):
                found[key] = Upload(key, "", vector)
            read.clear()

        for name, data in sent:
            key = _hash(data)[:32]
            if key in found or key in read or self.find(key) is not None:
                continue
            try:
                with self._have_room(data, max_pixels):
                    read[key] = encoder.read(data, max_pixels=max_pixels)
                    if sum(one.width * one.height for one in read.values()) > _TOGETHER_PX:
                        encode()
            except ImageReadError as error:
                found[key] = Upload(key, _clean(name), problem=str(error))
        encode()
        answers = []
        for name, data in sent:
            key = _hash(data)[:32]
            kept = found.get(key) or self.find(key)
            if kept is None:
                # It was put out meanwhile by others.
                kept = Upload(key, "", problem="too many pictures were sent; send it again")
            one = dataclasses.replace(kept, name=_clean(name))
            answers.append(one)
            if one.vector is not None:
                self._keep(one)
        return answers

    def find(self, key: str) -> Upload | None:
        """Return a picture that was sent, None where it is not known any more."""
        with self._turn:
            one = self._kept.get(key)
            if one is not None:
                self._kept.move_to_end(key)
            return one

    @contextlib.contextmanager
    def _have_room(self, data: bytes, max_pixels: int) -> Iterator[None]:
        """Let one large picture be decoded at a time, so that several do not fill the memory.

        Raises
        ------
        ImageReadError
            If it is none, or has too many pixels.
        """
        width_px, height_px = measure_picture(data)
        is_large = _TOGETHER_PX < width_px * height_px <= max_pixels
        with self._large if is_large else contextlib.nullcontext():
            yield

    def _keep(self, one: Upload) -> None:
        with self._turn:
            self._kept[one.id] = one
            self._kept.move_to_end(one.id)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


@dataclasses.dataclass(frozen=True)
class Kept:
    """A picture that was written to be added to the store.

    Parameters
    ----------
    name : str
        As it was sent.
    path : str
        Its file in the folder, ``""`` where it is none.
    problem : str
        Why not.
    """

    name: str
    path: str = ""
    problem: str = ""


def write_pictures(sent: Sequence[tuple[str, bytes]], folder: Path, max_pixels: int) -> list[Kept]:
    """Write pictures into a folder, those of the same bytes once.

    Parameters
    ----------
    sent : sequence of (str, bytes)
        Name and bytes of each. The name is kept as far as it is harmless, behind the beginning of
        the picture's SHA-256.
    folder : Path
        Which exists.
    max_pixels : int
        Pixels of one, at most.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    kept = []
    for given, data in sent:
        name = _clean(given)
        try:
            width_px, height_px = measure_picture(data)
        except ImageReadError as error:
            kept.append(Kept(name, problem=str(error)))
            continue
        n_pixels = width_px * height_px
        if n_pixels > max_pixels:
            problem = f"it has {n_pixels:,} pixels, at most {max_pixels:,} are taken"
            kept.append(Kept(name, problem=problem))
            continue
        harmless = _ODD.sub("_", name)[-_FILE_LETTERS:]
        path = f"{_hash(data)[:16]}-{harmless}"
        if not (folder / path).exists():
            with replacing(folder / path) as temporary:
                temporary.write_bytes(data)
        kept.append(Kept(name, path))
    return kept


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _clean(name: str) -> str:
    """Return a name as it can be shown in one line."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown.replace("\\", "/").rpartition("/")[2][-_LETTERS:] or "picture"
