"""Pictures of species that no class stands for: which ones, in what groups, below which taxon.

A picture is strange where it, averaged with the few that are most like it, is less like the mean of
every known class than all but a few of the known pictures are, each of these compared with means
that it is not in. Strange ones are grouped, and each group is a provisional taxon, a morphospecies:
it stands below the deepest rank that its nearest known pictures agree on, and how far they must
agree is learnt from the known classes, each taken for an unknown one in turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bioprobe.calibration.unknown import find_limit
from bioprobe.clustering.methods import weigh_units
from bioprobe.clustering.neighbors import find_neighbors
from bioprobe.errors import SelectionError
from bioprobe.types import Doubles, Mask, Names, Places, Scores, Vectors

#: Share of the known pictures that are taken for known.
RECALL_FRACTION = 0.95
#: Pictures below which a group is none.
LEAST_IMAGES = 3
#: How often a parent must be right, of known classes taken for unknown.
SURE_FRACTION = 0.9
# Nearest pictures of the same kind, known or asked, that each is averaged with.
_AVERAGED = 3
# Known pictures that say what an unknown one is near to.
_NEAREST = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Known:
    """Known classes, and what is too little like them.

    Parameters
    ----------
    centre : ndarray of float32, shape (dim,)
        Mean of the known pictures, which is taken off.
    means : ndarray of float32, shape (n_classes, dim), unit rows
        Of the classes, less the centre.
    limit : float
        One less the cosine similarity to the nearest mean above which a picture is strange.
    own : ndarray of float32, shape (n_images,)
        That of each known picture, to means of other pictures; NaN where its class has none.
    """

    centre: Vectors
    means: Vectors
    limit: float
    own: Scores

    def score(self, vectors: Vectors, units: Places) -> Scores:
        """Return how little each picture is like any class: one less the highest similarity.

        Each is averaged with its nearest ones first: what is alike is strange together.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n_images, dim), unit rows
        units : ndarray of int64, shape (n_images,)
            Number of the unit of each, such as a burst.
        """
        alike = _average(_take_off(vectors, self.centre), units) @ self.means.T
        return np.asarray(1 - alike.max(axis=1), dtype=np.float32)

    def find_strange(self, vectors: Vectors, units: Places) -> Mask:
        """Tell which pictures are like no class."""
        return self.score(vectors, units) > self.limit


def learn_known(
    vectors: Vectors, codes: Places, units: Places, recall_fraction: float = RECALL_FRACTION
) -> Known:
    """Learn what known pictures are like, each half of them against the means of the other.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    codes : ndarray of int64, shape (n_images,)
        Class of each, from 0 without a gap.
    units : ndarray of int64, shape (n_images,)
        Number of the unit of each, such as a burst: all of one are in one half.
    recall_fraction : float
        Share of them that is to be taken for known, in (0, 1].

    Raises
    ------
    SelectionError
        If no class has pictures of two units.
    """
    weights = weigh_units(units)
    centre = np.average(vectors, axis=0, weights=weights).astype(np.float32)
    away = _take_off(vectors, centre)
    n = int(codes.max(initial=-1)) + 1
    halves = _halve(codes, units)
    own = np.full(len(codes), np.nan, dtype=np.float32)
    for half in (0, 1):
        inside = halves == half
        means = _find_means(away[~inside], codes[~inside], weights[~inside], n)
        has_mean = np.isin(codes, codes[~inside]) & inside
        if has_mean.any():
            kept = Known(centre, means, 0.0, own)
            own[has_mean] = kept.score(vectors[has_mean], units[has_mean])
    known = own[np.isfinite(own)]
    if not len(known):
        msg = (
            "no known class has two pictures that are independent of each other, so that nothing "
            "says how far apart pictures of one species are; label more of them"
        )
        raise SelectionError(msg)
    return Known(
        centre, _find_means(away, codes, weights, n), find_limit(known, recall_fraction), own
    )


def _average(vectors: Vectors, units: Places) -> Vectors:
    """Return each with the mean of its nearest of other units, by their similarities, made unit."""
    k = min(_AVERAGED, len(vectors) - 1)
    if k < 1:
        return vectors
    near, similarities = find_neighbors(vectors, k, units)
    weights = np.maximum(similarities, 0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-12))
    return _make_unit(vectors + np.einsum("ij,ijk->ik", weights, vectors[near]))


def _halve(codes: Places, units: Places) -> Places:
    """Return the half of each picture: the units of a class go to one and the other in turn."""
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    order = np.argsort(codes[first], kind="stable")
    half = np.empty(len(first), dtype=np.int64)
    half[order] = np.arange(len(first)) % 2
    return half[unit]


def _find_means(vectors: Vectors, codes: Places, weights: Doubles, n: int) -> Vectors:
    """Return the unit mean of each class; zeros of one without pictures."""
    sums = np.zeros((n, vectors.shape[1]))
    np.add.at(sums, codes, vectors * weights[:, np.newaxis])
    return _make_unit(sums)


def _take_off(vectors: Vectors, centre: Vectors) -> Vectors:
    return _make_unit(vectors - centre)


def _make_unit(rows: Doubles | Vectors) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Parents:
    """What stands above an unknown group: by the known pictures that are nearest to it.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
        Known pictures.
    lineages : sequence of ndarray of object, each of shape (n_images,)
        Their names at each rank above the class that is asked for, from the highest down, ``""``
        where there is none.
    shares : tuple of float
        Least share of the votes at each rank that is sure; above 1 where none is.
    """

    vectors: Vectors
    lineages: Sequence[Names]
    shares: tuple[float, ...]

    def find(self, group: Vectors) -> tuple[str, ...]:
        """Return the names above a group, down to the deepest rank that is sure."""
        votes = _vote(group @ self.vectors.T, self.lineages)
        depth = max(
            (at for at, (name, share) in enumerate(votes) if name and share >= self.shares[at]),
            default=-1,
        )
        if depth < 0:
            return ()
        name = votes[depth][0]
        # The lineage is that of the deepest name, not of each rank's own vote.
        row = int(np.flatnonzero(self.lineages[depth] == name)[0])
        return tuple(str(names[row]) for names in self.lineages[: depth + 1])


def learn_parents(
    vectors: Vectors,
    codes: Places,
    lineages: Sequence[Names],
    sure_fraction: float = SURE_FRACTION,
) -> Parents:
    """Learn how far the nearest known pictures must agree before a rank is sure.

    Each known class is taken for an unknown one: only pictures of other classes vote. Of a rank
    the least share of votes is taken at which, and above which, the winner was right for so many of
    the classes that have a name there.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    codes : ndarray of int64, shape (n_images,)
        Class of each, from 0 without a gap.
    lineages : sequence of ndarray of object, each of shape (n_images,)
        Names at each rank above the class, from the highest down.
    sure_fraction : float
        Of the classes, in (0, 1].
    """
    found: list[list[tuple[float, bool]]] = [[] for _ in lineages]
    for code in range(int(codes.max(initial=-1)) + 1):
        inside = codes == code
        others = [names[~inside] for names in lineages]
        if inside.all():
            continue
        votes = _vote(vectors[inside] @ vectors[~inside].T, others)
        for at, (name, share) in enumerate(votes):
            truth = str(lineages[at][inside][0])
            if truth and name:
                found[at].append((share, name == truth))
    return Parents(vectors, lineages, tuple(_find_share(one, sure_fraction) for one in found))


def _vote(similarities: Scores, lineages: Sequence[Names]) -> list[tuple[str, float]]:
    """Return at each rank the name that most of the nearest known pictures have, and its share."""
    k = min(_NEAREST, similarities.shape[1])
    near = np.argpartition(-similarities, k - 1, axis=1)[:, :k].ravel()
    votes = []
    for names in lineages:
        given, counts = np.unique(names[near].astype(str), return_counts=True)
        counts = np.where(given == "", 0, counts)
        best = int(counts.argmax())
        votes.append((str(given[best]) if counts[best] else "", float(counts[best] / len(near))))
    return votes


def _find_share(found: list[tuple[float, bool]], sure_fraction: float) -> float:
    best, n_right = 2.0, 0
    for number, (share, right) in enumerate(sorted(found, reverse=True), start=1):
        n_right += right
        if n_right >= sure_fraction * number:
            best = share
    return best


def name_groups(parents: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Return a provisional name for each group: the taxon above it, sp., and a number.

    Parameters
    ----------
    parents : sequence of str
        Name of the taxon above each, ``""`` where none is sure.
    taken : sequence of str
        Names that there are; their numbers are not given again.

    Examples
    --------
    >>> name_groups(["Noctuidae", "", "Noctuidae"], ["Noctuidae sp. 1"])
    ['Noctuidae sp. 2', 'Unknown sp. 1', 'Noctuidae sp. 3']
    """
    used = set(taken)
    named = []
    for parent in parents:
        stem, number = f"{parent or 'Unknown'} sp.", 1
        while f"{stem} {number}" in used:
            number += 1
        used.add(f"{stem} {number}")
        named.append(f"{stem} {number}")
    return named
