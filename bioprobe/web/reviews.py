"""Reviews that are open: one registry for the page and for programs, held by the server's desk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from bioprobe.face.browsing import ALIKE

if TYPE_CHECKING:
    from bioprobe.face.review import Review
    from bioprobe.face.sitting import Shown
    from bioprobe.face.store import Store

# Reviews that are kept open, and pictures of all of them: of 100,000 one holds some 200 MB.
_MOST_OPEN, _MOST_IMAGES = 64, 1_600_000
_SHEET_SIZE = 24


class Session:
    """A review of one person, and the pictures that they are to look at."""

    def __init__(self, review: Review) -> None:
        self.review = review
        self.n_images = len(review)
        self._waiting: list[Shown] = []
        self._past: list[list[Shown]] = []
        self._lock = threading.RLock()

    @property
    def can_undo(self) -> bool:
        """Whether there is an answer of this session to take back."""
        return bool(self._past)

    def look(self) -> list[Shown]:
        """Return the next picture to look at, and those after it; none where none is left."""
        with self._lock:
            if not self._waiting:
                self._waiting = list(self.review.next().pictures)
            return self._waiting[:]

    def look_at_sheet(self) -> list[Shown]:
        """Return a sheet of pictures, those that are taken for the same beside each other.

        Within a class, and from class to class, they follow the line along which neighbours are
        alike: that of the store (``bioprobe cluster --order``), else one through the sheet.
        """
        with self._lock:
            if not self._waiting:
                shown = list(self.review.next(_SHEET_SIZE).pictures)
                self._waiting = _sort(shown, self._place([one.row for one in shown]))
            return self._waiting[:]

    def _place(self, rows: list[int]) -> dict[int, float]:
        """Return where each row lies on the line of the pictures that are alike."""
        store = cast("Store", self.review.store)
        known = store.describe_rows(rows)
        if ALIKE in known:
            return dict(zip(rows, known[ALIKE].astype(float).tolist(), strict=True))
        if len(rows) < 2:
            return dict.fromkeys(rows, 0.0)
        line = store.where(rows=rows).browse(order=ALIKE, size=len(rows)).to_frame()["row"]
        return {int(row): float(place) for place, row in enumerate(line)}

    def answer(self, said: Sequence[dict[str, Any]]) -> None:
        """Write what is said, and go on; what is there already is not written again."""
        with self._lock:
            self.review.answer([one for one in said if one])
            if done := self._take({(one["file_name"], one["image_region"]) for one in said}):
                self._past.append(done)

    def skip(self, names: Collection[tuple[str, str]]) -> None:
        """Pass over pictures, by their files and regions."""
        with self._lock:
            self.review.skip([one.row for one in self._take(names)])

    def _take(self, names: Collection[tuple[str, str]]) -> list[Shown]:
        """Take pictures out of those that wait, and return them."""
        taken = [one for one in self._waiting if (one.file_name, one.image_region) in names]
        self._waiting = [one for one in self._waiting if one not in taken]
        return taken

    def undo(self) -> None:
        """Take the last answer back, and show its pictures again."""
        with self._lock:
            if self._past:
                self.review.undo()
                # What is answered now is another annotation than what was taken back.
                again = [dataclasses.replace(one, id=uuid.uuid4().hex) for one in self._past.pop()]
                self._waiting = [*again, *self._waiting]


def _sort(shown: Sequence[Shown], places: Mapping[int, float]) -> list[Shown]:
    """Return pictures by class and place; classes come by the first of their pictures."""
    import math

    def place(one: Shown) -> float:
        found = places[one.row]
        return math.inf if math.isnan(found) else found

    first: dict[str, float] = {}
    for one in shown:
        first[one.suggestion] = min(first.get(one.suggestion, math.inf), place(one))
    return sorted(shown, key=lambda one: (first[one.suggestion], one.suggestion, place(one)))


class _Slot:
    """Room for one review, which one thread makes while others wait for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.session: Session | None = None


class Reviews:
    """The last reviews that were asked; what was answered is in the store, whatever is let go."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Slot] = OrderedDict()
        self._turn = threading.Lock()

    def open(
        self, settings: Mapping[str, Any], make: Callable[[], Review], n_images: int | None = None
    ) -> Session:
        """Return the session of these settings, a new one where there is none.

        Parameters
        ----------
        settings : mapping of str to object
            Who reviews what; the same ones have the same review.
        make : callable
            Begins it.
        n_images : int, optional
            Pictures that there are now: where they have become more or fewer, it is begun anew.
        """
        return self._open(_name(settings), make, n_images)

    def begin(self, settings: Mapping[str, Any], make: Callable[[], Review]) -> tuple[str, Review]:
        """Return the review of these settings, made where there is none, and its key."""
        key = _name(settings)
        return key, self._open(key, make, None).review

    def find(self, key: str) -> Review | None:
        """Return a review by its key, None where it is not known any more."""
        with self._turn:
            slot = self._kept.get(key)
            if slot is None or slot.session is None:
                return None
            self._kept.move_to_end(key)
            return slot.session.review

    def close(self, settings: Mapping[str, Any]) -> None:
        """Let a review go, as where the store has become another."""
        with self._turn:
            self._kept.pop(_name(settings), None)

    def _open(self, key: str, make: Callable[[], Review], n_images: int | None) -> Session:
        with self._turn:
            slot = self._kept.setdefault(key, _Slot())
            self._kept.move_to_end(key)
        # Others begin theirs meanwhile.
        with slot.lock:
            session = slot.session
            if session is None or n_images not in (None, session.n_images):
                session = slot.session = Session(make())
        with self._turn:
            self._let_go()
        return session

    def _let_go(self) -> None:
        """Close those that were not asked for longest, where too much is held."""
        sizes = [one.session.n_images if one.session else 0 for one in self._kept.values()]
        n_images = sum(sizes)
        while len(self._kept) > 1 and (len(self._kept) > _MOST_OPEN or n_images > _MOST_IMAGES):
            n_images -= sizes.pop(0)
            self._kept.popitem(last=False)


def _name(settings: Mapping[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
