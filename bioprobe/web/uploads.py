"""Pictures that were sent to be asked about: their vectors, for a while."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bioprobe.errors import ImageReadError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bioprobe.face.encoder import Encoder

# A vector of 768 numbers takes 3 kB.
_KEPT = 4096
_LETTERS = 200


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
        self._turn = threading.Lock()

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
        read: dict[str, Any] = {}
        for name, data in sent:
            key = hashlib.sha256(data).hexdigest()[:32]
            known = self.find(key)
            if known is not None or key in found or key in read:
                continue
            try:
                read[key] = encoder.read(data, max_pixels=max_pixels)
            except ImageReadError as error:
                found[key] = Upload(key, _clean(name), problem=str(error))
        vectors = encoder.images(list(read.values()))
        for key, vector in zip(read, vectors, strict=True):
            found[key] = Upload(key, "", vector)
        answers = []
        for name, data in sent:
            key = hashlib.sha256(data).hexdigest()[:32]
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

    def _keep(self, one: Upload) -> None:
        with self._turn:
            self._kept[one.id] = one
            self._kept.move_to_end(one.id)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


def _clean(name: str) -> str:
    """Return a name as it can be shown in one line."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown.replace("\\", "/").rpartition("/")[2][-_LETTERS:] or "picture"
