"""One thread holds the encoder, and takes together what several people ask it at a time."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bioprobe.web.problems import Refusal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]
    Encode = Callable[[Sequence[Any]], Vectors]

# For how long others are waited for, and how many pictures or texts go through at once.
_GATHER_S, _TOGETHER = 0.003, 64


@dataclasses.dataclass(eq=False)
class _Pass:
    """What one request has encoded."""

    encode: Encode
    items: Sequence[Any]
    done: threading.Event = dataclasses.field(default_factory=threading.Event)
    vectors: Any = None
    error: BaseException | None = None


class Batcher:
    """A thread in which an encoder runs; requests that come together are one pass of it.

    Parameters
    ----------
    most_waiting : int
        Pictures and texts that may wait; who brings more is told to come again.
    """

    def __init__(self, most_waiting: int = 4096) -> None:
        self._most_waiting = most_waiting
        self._waiting: collections.deque[_Pass] = collections.deque()
        self._n_items = 0
        self._some = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ends = False
        #: Passes of the encoder so far, and requests that they answered.
        self.n_passes = self.n_requests = 0

    def run(self, encode: Encode, items: Sequence[Any]) -> Vectors:
        """Return the vectors of pictures or texts, which a pass of the encoder makes.

        Raises
        ------
        Refusal
            If too much waits already.
        """
        if not len(items):
            return encode(items)
        one = _Pass(encode, items)
        with self._some:
            if self._ends or self._n_items + len(items) > max(self._most_waiting, len(items)):
                msg = f"{self._n_items} pictures and texts wait for the encoder; ask again soon"
                raise Refusal(429, msg, again_s=2)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
                self._thread.start()
            self._waiting.append(one)
            self._n_items += len(items)
            self._some.notify()
        one.done.wait()
        if one.error is not None:
            raise one.error
        vectors: Vectors = one.vectors
        return vectors

    def end(self) -> None:
        """Let the thread go, once what waits is done."""
        with self._some:
            self._ends = True
            self._some.notify()

    def _work(self) -> None:
        while True:
            with self._some:
                while not self._waiting:
                    if self._ends:
                        return
                    self._some.wait()
                taken = self._gather()
            self._encode(taken)

    def _gather(self) -> list[_Pass]:
        """Take what waits and goes through the same encoder; wait a moment for others."""
        taken = [self._take(0)]
        until = time.monotonic() + _GATHER_S
        while sum(len(one.items) for one in taken) < _TOGETHER:
            room = _TOGETHER - sum(len(one.items) for one in taken)
            place = next(
                (
                    at
                    for at, one in enumerate(self._waiting)
                    if one.encode == taken[0].encode and len(one.items) <= room
                ),
                None,
            )
            if place is not None:
                taken.append(self._take(place))
                continue
            left_s = until - time.monotonic()
            if left_s <= 0 or self._ends or not self._some.wait(left_s):
                break
        return taken

    def _take(self, place: int) -> _Pass:
        one = self._waiting[place]
        del self._waiting[place]
        self._n_items -= len(one.items)
        return one

    def _encode(self, taken: Sequence[_Pass]) -> None:
        self.n_passes += 1
        self.n_requests += len(taken)
        items = [item for one in taken for item in one.items]
        try:
            vectors = taken[0].encode(items)
        except BaseException as error:  # noqa: BLE001 - whoever asked is told
            if len(taken) > 1:
                # What is wrong with one is none of the others' business.
                for one in taken:
                    self._encode([one])
                return
            taken[0].error = error
            taken[0].done.set()
            return
        start = 0
        for one in taken:
            one.vectors = vectors[start : start + len(one.items)]
            start += len(one.items)
            one.done.set()
