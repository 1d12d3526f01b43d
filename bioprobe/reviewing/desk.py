"""A desk at which pictures are reviewed: what is looked at next, and what the answers change."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MisuseError
from bioprobe.names import suggest
from bioprobe.registry import STRATEGIES
from bioprobe.reviewing.learner import LINEAR, ClassTexts, Learner
from bioprobe.reviewing.nearest import Nearest
from bioprobe.reviewing.pool import Pool, Ranked, find_best_two
from bioprobe.types import Doubles, Places

AUDIT = "audit"
#: What a review is made of where nobody says it.
DEFAULT_MIX: Mapping[str, float] = {"doubt": 0.8, AUDIT: 0.2}

Opinion = tuple[str, Places, Doubles]


def read_mix(given: Mapping[str, float] | str | None) -> dict[str, float]:
    """Read the shares of strategies, which are made to add up to 1.

    Parameters
    ----------
    given : mapping of str to float, or str, optional
        ``margin=.5,audit=.5``; a name alone is all of it.

    Raises
    ------
    MisuseError
        If a name is no strategy, or a share is no number above 0.

    Examples
    --------
    >>> read_mix("margin=3,audit=1")
    {'margin': 0.75, 'audit': 0.25}
    """
    if given is None:
        return dict(DEFAULT_MIX)
    if isinstance(given, Mapping):
        pairs = [(str(name), str(share)) for name, share in given.items()]
    else:
        parts = [one.strip().partition("=") for one in given.split(",") if one.strip()]
        pairs = [(name.strip(), share if between else "1") for name, between, share in parts]
    shares: dict[str, float] = {}
    for name, text in pairs:
        if name not in STRATEGIES.names:
            known = STRATEGIES.names
            msg = f"no strategy {name!r}{suggest(name, known)}; there are {', '.join(known)}"
            raise MisuseError(msg)
        try:
            share = float(text)
        except ValueError:
            share = float("nan")
        if not np.isfinite(share) or share < 0 or name in shares:
            msg = (
                f"a mix gives each strategy once a share of 0 or more, such as "
                f"doubt=.8,audit=.2; got {name}={text}"
            )
            raise MisuseError(msg)
        shares[name] = share
    total = sum(shares.values())
    if not total:
        msg = f"a mix needs a share above 0, such as doubt=.8,audit=.2; got {given!r}"
        raise MisuseError(msg)
    return {name: share / total for name, share in shares.items() if share}


@dataclasses.dataclass(frozen=True)
class Pick:
    """A picture to look at.

    Parameters
    ----------
    place : int
        In the pool.
    strategy : str
        Why it is shown.
    reason : str
        The same for people.
    chance : float
        Probability with which it was drawn for that, NaN where it was not drawn by chance.
    """

    place: int
    strategy: str
    reason: str
    chance: float


class Desk:
    """A pool of pictures with what answers them, and what of it is looked at next.

    Parameters
    ----------
    pool : Pool
    mix : mapping of str to float
        Share of each strategy, as :func:`read_mix` returns them.
    kind, settings, texts
        As for :class:`bioprobe.reviewing.learner.Learner`.
    seed : int or sequence of int
        Of whatever is drawn.
    wanted : int, optional
        Class that ``confident`` is of.
    shown : ndarray of float32, shape (dim,), unit row, optional
        Vector of the picture that ``nearest`` is of.
    """

    def __init__(
        self,
        pool: Pool,
        mix: Mapping[str, float] = DEFAULT_MIX,
        *,
        kind: str = LINEAR,
        settings: dict[str, Any] | None = None,
        texts: ClassTexts | None = None,
        seed: int | Sequence[int] = 0,
        wanted: int | None = None,
        shown: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.pool, self.mix = pool, dict(mix)
        self.wanted, self.shown, self.texts = wanted, shown, texts
        self.random = np.random.default_rng(seed)
        numbers = [seed] if isinstance(seed, int) else list(seed)
        self.learner = Learner(pool, kind, settings, texts, numbers[0])
        #: Pictures that each strategy was asked for; what it is owed is counted over batches. What
        #: one lacked is not owed later: it would push the others out, the random sample too.
        self.n_asked: dict[str, int] = dict.fromkeys(self.mix, 0)
        #: Strategies that had less than was asked of them in the last batch.
        self.short: dict[str, int] = {}
        self._near: Nearest | None = None
        self._by_texts: Opinion | None = None
        self._is_stale = True

    @property
    def nearest(self) -> Nearest:
        """Nearest pictures of each that teach; compared when they are first asked for."""
        if self._near is None:
            self._near = Nearest(self.pool.vectors)
            self._is_stale = True
        if self._is_stale:
            self._near.update(self.learner.teaching)
            self._is_stale = False
        return self._near

    @property
    def auditable(self) -> Places:
        """Pictures that a random sample may hold: nobody has said what they are.

        A label that came with a picture is a claim, which the sample checks, unless it is trusted.
        """
        pool = self.pool
        return np.flatnonzero(~pool.is_checked & ~pool.is_trusted & ~pool.is_out)

    def learn(self) -> None:
        """Fit what answers again, after labels have changed."""
        self._is_stale = True
        self.learner.learn()

    def list_opinions(self) -> list[Opinion]:
        """Return what each method says of every picture: its name, the classes, the scores."""
        pool = self.pool
        said: list[Opinion] = []
        if pool.has_answers:
            scores = pool.scores[:, 0].astype(np.float64)
            said.append((self.learner.answering, pool.best[:, 0], scores))
        if pool.n_taught_classes >= 2:
            said.append(("nearest", *self.nearest.vote(pool.labels)))
        if self.texts is not None and self.learner.answering != "zeroshot":
            if self._by_texts is None:
                none = np.zeros(len(self.texts.classes), dtype=np.float32)
                best, found = find_best_two(pool.vectors, self.texts.coefficients, none)
                classes = np.where(best[:, 0] >= 0, self.texts.classes[best[:, 0]], -1)
                self._by_texts = ("texts", classes, found[:, 0].astype(np.float64))
            said.append(self._by_texts)
        return said

    def propose(self, n: int) -> list[Pick]:
        """Return the next n pictures, fewer where there are no more, each by one strategy.

        Each strategy has its share over all batches. The random sample is drawn first, so that no
        other choice changes its chances. What a strategy lacks the others fill, and
        :attr:`short` says so. The pictures count as shown, and are not shown
        again.
        """
        wanted = self._share(n)
        self.short = {}
        picked: dict[str, list[Pick]] = {}
        for name in sorted(wanted, key=lambda one: one != AUDIT):
            picked[name] = self._take(name, wanted[name])
            if len(picked[name]) < wanted[name]:
                self.short[name] = wanted[name] - len(picked[name])
        missing = n - sum(map(len, picked.values()))
        # Those of the mix fill up, then what needs nothing; a random sample never does unasked.
        fillers = [one for one in self.mix if one != AUDIT and one not in self.short]
        for name in dict.fromkeys([*fillers, "doubt"]):
            if missing > 0:
                more = self._take(name, missing)
                picked.setdefault(name, []).extend(more)
                missing -= len(more)
        return _interleave(picked)

    def _take(self, name: str, n: int) -> list[Pick]:
        if n <= 0:
            return []
        ranked: Ranked = STRATEGIES.load(name)(self, n)
        self.pool.is_out[ranked.places] = True
        return [
            Pick(int(place), name, reason, float(chance))
            for place, reason, chance in zip(
                ranked.places, ranked.reasons, ranked.chances, strict=True
            )
        ]

    def _share(self, n: int) -> dict[str, int]:
        """Return how many of the next n are each strategy's, which is owed most first."""
        asked = self.n_asked
        total = sum(asked.values())
        counts = dict.fromkeys(self.mix, 0)
        for one in range(n):
            owed = {
                name: share * (total + one + 1) - asked[name] for name, share in self.mix.items()
            }
            chosen = max(owed, key=lambda name: owed[name])
            asked[chosen] += 1
            counts[chosen] += 1
        return counts


def _interleave(picked: Mapping[str, Sequence[Pick]]) -> list[Pick]:
    """Put the pictures of the strategies in turn, each spread over the whole."""
    placed = [
        ((at + 0.5) / len(own), order, one)
        for order, own in enumerate(picked.values())
        for at, one in enumerate(own)
    ]
    return [one for _, _, one in sorted(placed, key=lambda item: item[:2])]
