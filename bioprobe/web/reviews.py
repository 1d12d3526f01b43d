"""Reviews that go on, one for each person and what they review."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioprobe.face.review import Review

# A review of 100,000 vectors holds some 200 MB.
_KEPT = 16


class Reviews:
    """The last reviews that were asked; what was answered is in the store, whatever is let go."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Review] = OrderedDict()
        self._turn = threading.Lock()

    def begin(self, settings: Mapping[str, Any], make: Callable[[], Review]) -> tuple[str, Review]:
        """Return the review of these settings, made where there is none, and its key."""
        text = json.dumps(settings, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        with self._turn:
            if key not in self._kept:
                self._kept[key] = make()
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return key, self._kept[key]

    def find(self, key: str) -> Review | None:
        """Return a review by its key, None where it is not known any more."""
        with self._turn:
            review = self._kept.get(key)
            if review is not None:
                self._kept.move_to_end(key)
            return review
