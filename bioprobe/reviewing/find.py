"""A search that learns: from one question to all images of a collection that show what is sought.

Nobody has labelled anything. The first images are the nearest to the question; after each batch of
answers a head of one class ranks the rest anew (:mod:`bioprobe.reviewing.find_head`), and images
drawn at random say how many there are in all (:mod:`bioprobe.reviewing.find_total`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MisuseError
from bioprobe.reviewing.find_head import TEXT_WEIGHT, Head, Rest, fit_head
from bioprobe.reviewing.find_total import Draw, Total, bound_total, count_needed, find_chances
from bioprobe.types import Doubles, Places, Rows, Vectors

#: What was said of an image, or that nothing was.
UNSEEN, IS_NOT, IS, UNSURE = -1, 0, 1, 2
#: Why an image is shown.
TOP, MARGIN, BAND, AUDIT = "top", "margin", "band", "audit"
WHYS = (TOP, MARGIN, BAND, AUDIT)
# Images at the top of which it is counted how many show what is sought; before the first is found.
_RECENT, _MOST_RECENT = 20, 100
# Where more of them do, the least is drawn at random; where none does, the most.
_RICH_FRACTION, _LEAST_AUDIT, _MOST_AUDIT = 0.2, 0.05, 0.5
_BAND_SHARE = 0.5
# Images that say how all of them spread.
_MOST_REST = 50_000
# Finds that are taken as read on both sides before promises are compared with finds.
_DOUBT = 0.5
# No draw: of an image that can still be drawn.
_NEVER = np.iinfo(np.int64).max
# Numbers of vectors that are kept in memory: 1 GiB.
_MOST_HELD = 1 << 28


class Pool(Protocol):
    """Images that are searched, such as a :class:`bioprobe.store.view.View`."""

    @property
    def rows(self) -> Rows:
        """Their numbers, int64, shape (n_images,)."""

    def read_vectors(self, rows: Rows | None = None) -> Vectors:
        """Read the vectors of all images, or of some by their numbers in ``rows``."""

    def iter_vectors(self) -> Iterator[Vectors]:
        """Read the vectors some at a time."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Images to look at next.

    Parameters
    ----------
    places : ndarray of int64, shape (n,)
        In the pool.
    whys : tuple of str
        One of :data:`WHYS` each.
    chances : ndarray of float64, shape (n,)
        With which one was drawn at random from all that were left; not a number for the others.
    scores : ndarray of float64, shape (n,)
        Probability that an image shows what is sought, by the head; before there are answers its
        cosine similarity to the question.
    """

    places: Places
    whys: tuple[str, ...]
    chances: Doubles
    scores: Doubles

    def __len__(self) -> int:
        return len(self.places)


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A random draw: which image, its chance, and the lowest of any."""

    place: int
    chance: float
    least: float


@dataclasses.dataclass(frozen=True)
class _Step:
    """What answers changed, so that they can be taken back."""

    places: Places
    verdicts: npt.NDArray[np.int8]
    gone: npt.NDArray[np.int64]
    n_drawn: int
    n_tops: int


class Finder:
    """A search of one class.

    Parameters
    ----------
    pool : Pool
        Where it is sought.
    question : ndarray of float32, shape (dim,), unit
        What is sought: a text, a picture, a row.
    verdicts : ndarray of int8, shape (n_images,), optional
        What is known before: :data:`IS`, :data:`IS_NOT`, :data:`UNSURE` or :data:`UNSEEN`.
    mix : mapping of str to float, optional
        Share of each of :data:`WHYS` in a batch. By default images are drawn at random the more
        often the fewer of the last ones from the top are it.
    band : (float, float), optional
        Probabilities between which images are shown at random.
    question_weight : float
        Of the question as an example, :data:`~bioprobe.reviewing.find_head.PICTURE_WEIGHT` or
        :data:`~bioprobe.reviewing.find_head.TEXT_WEIGHT`.
    seed : int
        Of all draws.

    Raises
    ------
    MisuseError
        If shares or a band are out of range, or a band has a share and no ends.

    Examples
    --------
    >>> class Line:
    ...     rows = np.arange(100)
    ...     vectors = np.column_stack([np.linspace(0, 1, 100), np.linspace(1, 0, 100)])
    ...     def read_vectors(self, rows=None):
    ...         return self.vectors if rows is None else self.vectors[rows]
    ...     def iter_vectors(self):
    ...         yield self.vectors
    >>> finder = Finder(Line(), np.array([1.0, 0.0]), mix={"top": 1})
    >>> batch = finder.propose(3)
    >>> batch.places.tolist()
    [99, 98, 97]
    >>> finder.answer(batch.places, [IS, IS, IS_NOT])
    >>> finder.n_found
    2
    """

    def __init__(
        self,
        pool: Pool,
        question: Vectors,
        verdicts: npt.NDArray[np.int8] | None = None,
        *,
        mix: Mapping[str, float] | None = None,
        band: tuple[float, float] | None = None,
        question_weight: float = TEXT_WEIGHT,
        seed: int = 0,
    ) -> None:
        n = len(pool.rows)
        self.pool = pool
        self.question = np.asarray(question, dtype=np.float32).ravel()
        self.mix = _read_mix(mix, band)
        self.band = band
        self._question_weight = question_weight
        self._seed = seed
        self._random = np.random.default_rng(seed)
        known = np.full(n, UNSEEN, dtype=np.int8) if verdicts is None else verdicts
        self.verdicts = np.array(known, dtype=np.int8)
        self._held = pool.read_vectors() if n * len(self.question) <= _MOST_HELD else None
        self.rest = Rest.of(self._read_some())
        self.similarities = np.concatenate([part @ self.question for part in self._iter()])
        self.scores = self.similarities
        self.head: Head | None = None
        self._drawn: list[_Drawn] = []
        # Before which draw an image had left the pool: drawn itself, or looked at.
        self._gone = np.where(self.verdicts == UNSEEN, _NEVER, 0)
        self._tops: list[int] = []
        self._passed: set[int] = set()
        self._past: list[_Step] = []
        self._refit()

    def __len__(self) -> int:
        return len(self.verdicts)

    @property
    def n_found(self) -> int:
        """Images that show what is sought, of those that were looked at."""
        return int((self.verdicts == IS).sum())

    @property
    def n_looked(self) -> int:
        """Images of which somebody said something."""
        return int((self.verdicts != UNSEEN).sum())

    @property
    def n_drawn(self) -> int:
        """Images that were drawn at random and are answered."""
        return len(self._read_draws())

    @property
    def n_waiting(self) -> int:
        """Images that were drawn at random and are not answered."""
        return len(self._list_waiting())

    @property
    def tops(self) -> list[int]:
        """Places that were looked at and not drawn at random, in the order of the answers."""
        return list(self._tops)

    @property
    def probabilities(self) -> Doubles:
        """Probability of each image to show what is sought; of the looked at what was said."""
        if self.head is None:
            return np.full(len(self), math.nan)
        return self.head.tell(self.scores)

    def propose(self, n: int = 20, without: Collection[int] = ()) -> Batch:
        """Return what to look at next: draws that were not answered first.

        Parameters
        ----------
        n : int
            Images at most, ≥ 1; fewer where fewer are left.
        without : collection of int
            Places that are passed over this time. One that was drawn at random and never answered
            leaves the interval as wide as it was at its draw.

        Raises
        ------
        MisuseError
            If it is below 1.
        """
        if n < 1:
            msg = f"a batch has 1 image or more, got {n}"
            raise MisuseError(msg)
        self._passed = set(without)
        waiting = [one for one in self._list_waiting() if one.place not in self._passed][:n]
        chosen: dict[int, tuple[str, float]] = {one.place: (AUDIT, one.chance) for one in waiting}
        n_each = self._share(n - len(chosen))
        self._draw(n_each[AUDIT], chosen)
        self._take_band(n_each[BAND], chosen)
        self._take_margin(n_each[MARGIN], chosen)
        self._take_top(n - len(chosen), chosen)
        places = np.fromiter(chosen, dtype=np.int64, count=len(chosen))
        order = np.argsort(-self.scores[places], kind="stable")
        places = places[order]
        whys = tuple(chosen[place][0] for place in places.tolist())
        chances = np.array([chosen[place][1] for place in places.tolist()])
        scores = self.scores[places]
        told = scores.astype(np.float64) if self.head is None else self.head.tell(scores)
        return Batch(places, whys, chances, told)

    def answer(
        self, places: Sequence[int] | Places, verdicts: Sequence[int] | npt.NDArray[np.integer]
    ) -> None:
        """Take in what was said of images, and rank the rest anew.

        Parameters
        ----------
        places : sequence of int
            In the pool; one that was answered before is answered anew.
        verdicts : sequence of int
            :data:`IS`, :data:`IS_NOT` or :data:`UNSURE` each.

        Raises
        ------
        MisuseError
            If a verdict is none of these.
        """
        told = np.asarray(verdicts, dtype=np.int8)
        where = np.asarray(places, dtype=np.int64)
        if not np.isin(told, (IS, IS_NOT, UNSURE)).all():
            msg = f"an answer is {IS} (is it), {IS_NOT} (is not) or {UNSURE} (unsure), got {told}"
            raise MisuseError(msg)
        step = _Step(
            where, self.verdicts[where], self._gone[where], len(self._drawn), len(self._tops)
        )
        self._past.append(step)
        drawn = {one.place for one in self._drawn}
        new = where[step.verdicts == UNSEEN].tolist()
        self._tops += [place for place in new if place not in drawn]
        self.verdicts[where] = told
        self._gone[where] = np.minimum(self._gone[where], len(self._drawn))
        self._refit()

    def undo(self) -> Places:
        """Take back the last answers, and return the images that they were of.

        What was drawn since then is drawn anew.

        Raises
        ------
        MisuseError
            If there are none.
        """
        if not self._past:
            msg = "there is nothing to undo; no answer was given yet"
            raise MisuseError(msg)
        step = self._past.pop()
        later = [one.place for one in self._drawn[step.n_drawn :]]
        self._gone[later] = np.where(self.verdicts[later] == UNSEEN, _NEVER, self._gone[later])
        del self._drawn[step.n_drawn :], self._tops[step.n_tops :]
        self.verdicts[step.places[::-1]] = step.verdicts[::-1]
        self._gone[step.places[::-1]] = step.gone[::-1]
        self._refit()
        return step.places

    def learn(self, verdicts: npt.NDArray[np.int8]) -> None:
        """Take in what is known of all images by now, such as what others said meanwhile.

        Parameters
        ----------
        verdicts : ndarray of int8, shape (n_images,)
        """
        if (verdicts == self.verdicts).all():
            return
        self.verdicts = np.array(verdicts, dtype=np.int8)
        drawn = [one.place for one in self._drawn]
        is_open = self.verdicts == UNSEEN
        # What was looked at and is no longer said to be anything had left the pool all the same.
        self._gone = np.where(is_open, self._gone, np.minimum(self._gone, len(self._drawn)))
        self._gone[drawn] = np.arange(1, len(drawn) + 1)
        self._refit()

    def save(self) -> dict[str, Any]:
        """Return what is to be kept of the random draws, JSON-ready; the answers are not in it."""
        gone = np.flatnonzero(self._gone != _NEVER)
        return {
            "drawn": [[one.place, one.chance, one.least] for one in self._drawn],
            "gone": [[place, self._gone[place].item()] for place in gone.tolist()],
            "tops": self._tops,
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on where :meth:`save` was called, with the answers that are known now."""
        self._drawn = [_Drawn(int(one[0]), float(one[1]), float(one[2])) for one in saved["drawn"]]
        gone = np.full(len(self), _NEVER)
        for place, number in saved["gone"]:
            gone[place] = number
        # What was looked at elsewhere could be drawn here until now.
        is_known = self.verdicts != UNSEEN
        self._gone = np.where(is_known, np.minimum(gone, len(self._drawn)), gone)
        self._tops = [int(place) for place in saved["tops"]]
        self._random = np.random.default_rng([self._seed, len(self._drawn), self.n_looked])

    def count(self, level: float = 0.95) -> Total:
        """Return how many show what is sought, with an interval that holds at every look.

        The estimate adds up the probabilities of the images that nobody has looked at, times how
        many of the random draws were it against how many the probabilities promised, each draw
        weighted by one over its chance. Where the interval does not hold that, it is its nearer
        end.

        Parameters
        ----------
        level : float
            Chance that the interval holds the number at all looks together, in (0, 1).
        """
        n_left = len(self) - self.n_looked
        draws = self._read_draws()
        low, high = bound_total(draws, self.n_found, n_left, level=level)
        # What somebody took back cannot be drawn any more, and may be it.
        drawn = {one.place for one in self._drawn}
        aside = np.flatnonzero((self.verdicts == UNSEEN) & (self._gone != _NEVER)).tolist()
        high = min(high + len(set(aside) - drawn), self.n_found + n_left)
        left = 0.0
        if self.head is not None:
            left = float(self.head.tell(self.scores[self.verdicts == UNSEEN]).sum())
            left *= self._weigh_promises(draws, self.head)
        return Total(self.n_found, min(max(self.n_found + left, low), high), low, high)

    def count_needed(self, recall: float, level: float = 0.95) -> int:
        """Return how many random draws, none of them it, make sure that a share was found."""
        n_left = len(self) - self.n_looked
        return count_needed(self._read_draws(), self.n_found, n_left, recall, level=level)

    def _weigh_promises(self, draws: Sequence[Draw], head: Head) -> float:
        """Return how many of the random draws were it, over how many were promised."""
        told = np.zeros(len(self))
        told[self._find_taught()] = head.left_out
        weights = np.array([1 / one.chance for one in draws]) / len(self)
        promised = told[[one.place for one in self._drawn[: len(draws)]]]
        found = np.array([one.is_it for one in draws], dtype=np.float64)
        return float((weights @ found + _DOUBT) / (weights @ promised + _DOUBT))

    def _read_draws(self) -> list[Draw]:
        """Return the draws up to the first that is not answered."""
        is_it = self.verdicts == IS
        gone = np.sort(self._gone[is_it])
        draws = []
        for number, one in enumerate(self._drawn):
            if self.verdicts[one.place] == UNSEEN:
                break
            n_before = int(np.searchsorted(gone, number, side="right"))
            draws.append(Draw(bool(is_it[one.place]), one.chance, one.least, n_before))
        return draws

    def _list_waiting(self) -> list[_Drawn]:
        return [one for one in self._drawn if self.verdicts[one.place] == UNSEEN]

    def _share(self, n: int) -> dict[str, int]:
        """Return how many images of a batch each way gives; the rest is from the top."""
        mix = self.mix or self._mix_by_itself()
        counts, owed = {}, 0.0
        for why in (AUDIT, BAND, MARGIN):
            # A share that is no whole number of images is rounded at random, and right in the mean.
            owed = mix.get(why, 0.0) * n
            counts[why] = int(owed) + int(self._random.random() < owed - int(owed))
        return counts

    def _mix_by_itself(self) -> dict[str, float]:
        """Return shares that go by how many of the last images from the top were it."""
        window = _RECENT if self.n_found else _MOST_RECENT
        recent, rich = self._tops[-window:], 1.0
        if len(recent) == window:
            rich = min(1.0, float((self.verdicts[recent] == IS).mean()) / _RICH_FRACTION)
        mix = {AUDIT: _MOST_AUDIT - (_MOST_AUDIT - _LEAST_AUDIT) * rich}
        if self.band is not None:
            mix[BAND] = _BAND_SHARE * (1 - mix[AUDIT])
        return mix

    def _draw(self, n: int, chosen: dict[int, tuple[str, float]]) -> None:
        """Draw images at random, one after the other, each from all that are left."""
        is_left = self._gone == _NEVER
        is_left[list(self._passed)] = False
        left = np.flatnonzero(is_left)
        chances = find_chances(self.scores[left]) if n else np.zeros(0)
        for _ in range(min(n, len(left))):
            sums = np.cumsum(chances)
            at = int(np.searchsorted(sums, self._random.random() * sums[-1], side="right"))
            at = min(at, int(np.flatnonzero(chances)[-1]))
            chance, place = float(chances[at] / sums[-1]), int(left[at])
            least = float(chances[chances > 0].min() / sums[-1])
            self._drawn.append(_Drawn(place, chance, least))
            # The others keep their chances in proportion.
            chances[at] = 0.0
            self._gone[place] = len(self._drawn)
            chosen[place] = (AUDIT, chance)

    def _list_free(self, chosen: Mapping[int, object]) -> Places:
        is_free = self.verdicts == UNSEEN
        is_free[[one.place for one in self._list_waiting()]] = False
        is_free[[*chosen, *self._passed]] = False
        return np.flatnonzero(is_free)

    def _take_band(self, n: int, chosen: dict[int, tuple[str, float]]) -> None:
        if not n or self.band is None or self.head is None:
            return
        free = self._list_free(chosen)
        told = self.head.tell(self.scores[free])
        inside = free[(told >= self.band[0]) & (told <= self.band[1])]
        for place in self._random.permutation(inside)[:n].tolist():
            chosen[place] = (BAND, math.nan)

    def _take_margin(self, n: int, chosen: dict[int, tuple[str, float]]) -> None:
        if not n or self.head is None:
            return
        free = self._list_free(chosen)
        unsure = np.abs(self.head.tell(self.scores[free]) - 0.5)
        for place in free[_find_highest(-unsure, n)].tolist():
            chosen[place] = (MARGIN, math.nan)

    def _take_top(self, n: int, chosen: dict[int, tuple[str, float]]) -> None:
        free = self._list_free(chosen)
        for place in free[_find_highest(self.scores[free], n)].tolist():
            chosen[place] = (TOP, math.nan)

    def _refit(self) -> None:
        looked = self._find_taught()
        if not len(looked):
            self.head, self.scores = None, self.similarities
            return
        vectors = self._read(looked)
        self.head = fit_head(
            self.rest, self.question, vectors, self.verdicts[looked] == IS,
            question_weight=self._question_weight,
        )  # fmt: skip
        self.scores = np.concatenate([self.head.score(part) for part in self._iter()])

    def _find_taught(self) -> Places:
        return np.flatnonzero((self.verdicts == IS) | (self.verdicts == IS_NOT))

    def _iter(self) -> Iterator[Vectors]:
        return self.pool.iter_vectors() if self._held is None else iter((self._held,))

    def _read(self, places: Places) -> Vectors:
        if self._held is not None:
            return self._held[places]
        return self.pool.read_vectors(self.pool.rows[places])

    def _read_some(self) -> Vectors:
        n = len(self.pool.rows)
        return self._read(np.unique(np.linspace(0, n - 1, min(n, _MOST_REST)).astype(np.int64)))


def _find_highest(values: npt.NDArray[np.floating], n: int) -> Places:
    """Return the places of the highest values, highest first; of equal ones the first."""
    n = min(n, len(values))
    if not n:
        return np.zeros(0, dtype=np.int64)
    least = np.partition(values, len(values) - n)[len(values) - n]
    among = np.flatnonzero(values >= least)
    return among[np.argsort(-values[among], kind="stable")][:n]


def _read_mix(
    mix: Mapping[str, float] | None, band: tuple[float, float] | None
) -> dict[str, float]:
    if band is not None and not 0 <= band[0] < band[1] <= 1:
        msg = (
            "a band lies between two probabilities, the lower first, such as 0.2,0.6; got "
            f"{band[0]:g},{band[1]:g}"
        )
        raise MisuseError(msg)
    if mix is None:
        return {}
    unknown = [why for why in mix if why not in WHYS]
    total = sum(mix.values())
    if unknown or not all(math.isfinite(one) and one >= 0 for one in mix.values()) or not total:
        said = ", ".join(f"{why}={share:g}" for why, share in mix.items())
        msg = f"a mix gives shares of 0 or more to {', '.join(WHYS)}; got {said or 'none'}"
        raise MisuseError(msg)
    if mix.get(BAND) and band is None:
        msg = "images of a band have a share, and its ends are not said; give --band LOW,HIGH"
        raise MisuseError(msg)
    if band is not None and not mix.get(BAND):
        msg = "a band is given and has no share of the mix; add band=0.3, or leave one of both out"
        raise MisuseError(msg)
    return {why: share / total for why, share in mix.items()}
