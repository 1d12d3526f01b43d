"""Clusters of pictures, as an answer and as a column that a store keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bioprobe.clustering.methods import (
    Grouping,
    Stability,
    Wish,
    group_vectors,
    measure_stability,
    weigh_units,
)
from bioprobe.clustering.neighbors import average_neighbors
from bioprobe.errors import SelectionError
from bioprobe.images.image_table import ImageTable
from bioprobe.images.sequences import find_sequences
from bioprobe.progress import Progress, tell_nobody
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.splits.groups import find_groups, join_groups, number_groups
from bioprobe.store.columns import ORDERS
from bioprobe.store.computed import read_column, write_column
from bioprobe.store.view import View
from bioprobe.types import Doubles, Names, Places, Rows, Vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


# Share of a cluster's pictures that are less like its mean than what comes later may be.
_LEFT_OUT = 0.01


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Clusters(Result):
    """Groups of pictures that are alike.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store that were grouped.
    numbers : ndarray of int64, shape (n_images,)
        Cluster of each, from 1, the largest first; 0 where it is in none.
    similarities : ndarray of float64, shape (n_images,)
        Cosine similarity of each to the mean of its cluster; NaN where it is in none.
    units : ndarray of int64, shape (n_images,)
        Number of the unit of each: pictures of one sequence, and copies, are one.
    medoids : ndarray of int64, shape (n_clusters,)
        Row of the picture of each cluster that is nearest to its mean; -1 where it has none left.
    name : str
        Of the column.
    method : str
    stability : ndarray of float64, shape (n_clusters,)
        Of each cluster, in [0, 1]; NaN where it was not measured.
    rand : ndarray of float64, shape (n_draws,)
        Adjusted Rand index of each draw of the pictures, grouped again, and all.
    tried : mapping of int to float
        Mean silhouette of each number of clusters that was tried.
    names : tuple of str
        Proposed for each cluster, ``""`` where nothing was.
    scores : ndarray of float64, shape (n_clusters,)
        Probability of each, among what was proposed; NaN where nothing was.
    provenance : Provenance
    notes : tuple of Note
    """

    images: ImageTable
    rows: Rows
    numbers: Places
    similarities: Doubles
    units: Places
    medoids: Rows
    name: str
    method: str
    stability: Doubles
    rand: Doubles
    tried: Mapping[int, float]
    names: tuple[str, ...]
    scores: Doubles
    provenance: Provenance
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.medoids)

    @property
    def values(self) -> Names:
        """Value of the column for each picture, ``""`` where it is in no cluster."""
        return np.array([str(one) if one else "" for one in self.numbers.tolist()], dtype=object)

    @property
    def n_units(self) -> Places:
        """Pictures of each cluster, those of one unit as one, shape (n_clusters,)."""
        pairs = np.unique(self.units * (len(self) + 1) + self.numbers)
        return np.bincount(pairs % (len(self) + 1), minlength=len(self) + 1)[1:]

    def find_order(self) -> Places:
        """Return the order of the pictures by cluster, in each the nearest to its mean first."""
        last = np.where(self.numbers == 0, len(self) + 1, self.numbers)
        return np.lexsort((-np.nan_to_num(self.similarities), last)).astype(np.int64)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a picture: its file, cluster, similarity to its mean, and proposed name.

        Those of a cluster stand together, the nearest to its mean first.
        """
        import pandas as pd

        order = self.find_order()
        rows, numbers = self.rows[order], self.numbers[order]
        columns: dict[str, Any] = {
            **self.images.name_rows(rows),
            self.name: self.values[order],
            "similarity": np.round(self.similarities[order], 6),
        }
        if any(self.names):
            given = np.array(["", *self.names], dtype=object)
            columns["proposed"] = given[numbers]
        return pd.DataFrame({**columns, "row": rows})

    def to_lines(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return one row a cluster, as a terminal shows it."""
        _ = frame
        return self.summarise()

    def summarise(self, level: str | None = None) -> pd.DataFrame:
        """Return one row a cluster: how large, how stable, what it may be, and its medoid.

        Parameters
        ----------
        level : str, optional
            Rank or column whose most frequent label, and its share of what has one, are told.
        """
        import pandas as pd

        n = np.bincount(self.numbers, minlength=len(self) + 1)[1:]
        columns: dict[str, Any] = {
            self.name: np.arange(1, len(self) + 1).astype(str),
            "n_images": n,
            "n_independent": self.n_units,
            "stability": np.round(self.stability, 3),
        }
        if any(self.names):
            columns |= {"proposed": self.names, "score": np.round(self.scores, 3)}
        if level is not None:
            columns |= self._name_by_labels(self.images.labels(level)[self.rows])
        files = self.images.name_files(np.maximum(self.medoids, 0))
        files[self.medoids < 0] = ""
        return pd.DataFrame({**columns, "medoid": files, "row": self.medoids})

    def with_names(self, names: Sequence[str], scores: Doubles) -> Self:
        """Return the same clusters with a name proposed for each, and its probability."""
        changed: Any = dataclasses.replace(self, names=tuple(names), scores=scores)
        return changed  # type: ignore[no-any-return]

    def find_means(self, view: View) -> Vectors:
        """Return the unit mean of each cluster, each unit as one, shape (n_clusters, dim)."""
        weights = weigh_units(self.units)
        means = np.zeros((len(self), view.manifest.dim), dtype=np.float32)
        for number in range(1, len(self) + 1):
            inside = np.flatnonzero(self.numbers == number)
            vectors = view.read_vectors(self.rows[inside])
            means[number - 1] = find_mean(vectors, weights[inside])
        return means

    def _name_by_labels(self, labels: Names) -> dict[str, Any]:
        weights = weigh_units(self.units)
        found, shares = [], []
        for number in range(1, len(self) + 1):
            inside = (self.numbers == number) & (labels != "")
            names, places = np.unique(labels[inside].astype(str), return_inverse=True)
            sums = np.bincount(places, weights[inside], minlength=len(names))
            best = int(sums.argmax()) if len(sums) else -1
            found.append(str(names[best]) if len(sums) else "")
            shares.append(float(sums[best] / sums.sum()) if len(sums) else np.nan)
        return {"label": found, "label_share": np.round(shares, 3)}

    def write(self, view: View) -> None:
        """Keep the clusters in a store as a column, in place of one of that name."""
        facts = {
            "method": self.method,
            "stability": [None if np.isnan(one) else one for one in self.stability.tolist()],
            "rand": [None if np.isnan(one) else one for one in self.rand.tolist()],
            "tried": {str(number): mean for number, mean in self.tried.items()},
            "scores": [None if np.isnan(one) else one for one in self.scores.tolist()],
        }
        given = {str(at): name for at, name in enumerate(self.names, 1) if name}
        write_column(
            view.store, self.name, self.rows, self.values, numbers=self.similarities, names=given,
            provenance=self.provenance.to_dict(), facts=facts,
        )  # fmt: skip


def find_units(
    view: View, columns: Sequence[str] | None, sequence: str | None = None
) -> tuple[Places, str]:
    """Find which pictures count as one: those of a sequence, and copies.

    Parameters
    ----------
    view : View
    columns : sequence of str, optional
        Columns whose equal values count as one; by default sequences, by column or time, where
        the image table says any.
    sequence : str, optional
        Column of sequences.

    Returns
    -------
    units : ndarray of int64, shape (n_images,)
    by : str
        What tells sequences, for people; ``""`` where nothing does.
    """
    kinds = dict(find_groups(view.store, view.rows, columns or ()))
    by = ", ".join(columns or ())
    if columns is None:
        try:
            found = find_sequences(view.images, view.rows, column=sequence)
        except SelectionError:
            if sequence is not None:
                raise
        else:
            kinds["sequence"], by = found.names, found.by
    joined = join_groups(list(kinds.values()), len(view.rows))
    return number_groups(joined, len(view.rows)), by


def cluster_images(
    view: View,
    wish: Wish,
    units: Places,
    *,
    name: str,
    averaged: int,
    n_draws: int,
    points: Vectors | None = None,
    told: Progress = tell_nobody,
) -> Clusters:
    """Group the pictures of a view.

    Parameters
    ----------
    view : View
    wish : Wish
        How.
    units : ndarray of int64, shape (n_images,)
        From :func:`find_units`.
    name : str
        Of the column.
    averaged : int
        Nearest neighbours that each vector is averaged with first; 0 for none.
    n_draws : int
        Draws by which stability is measured; 0 for none.
    points : ndarray of float32, shape (n_images, 2), optional
        Places on a map, which are grouped in place of the vectors.
    told : callable
        Told how far it is. An error that it raises stops the work.
    """
    vectors = view.read_vectors()

    def prepare(places: Places, told: Progress = tell_nobody) -> Vectors:
        if points is not None:
            return points[places]
        return average_neighbors(vectors[places], averaged, units[places], told=told)

    found = group_vectors(prepare(np.arange(len(vectors)), told), units, wish, told)
    numbers = number_by_size(found.numbers, units)
    stability = Stability(np.zeros(0), np.full(int(numbers.max(initial=0)), np.nan), 0)
    if n_draws and len(np.unique(units)) > 2:
        stability = measure_stability(prepare, units, numbers - 1, wish, n_draws, told)
    return _build_clusters(view, vectors, numbers, units, found, stability, wish, name, averaged)


def read_clusters(view: View, name: str) -> Clusters:
    """Read clusters that a store keeps, as they apply to the pictures of a view.

    Raises
    ------
    StoreError
        If there is no such column, or it is damaged.
    SelectionError
        If its values are no numbers of clusters.
    """
    kept = read_column(view.store, name)
    values = kept.values[view.rows].tolist()
    odd = next((one for one in values if one and not one.isdecimal()), None)
    if odd is not None:
        msg = f"{name} has the value {odd!r}, which is no number of a cluster; make it again"
        raise SelectionError(msg)
    numbers = np.array([int(one or 0) for one in values], dtype=np.int64)
    facts = {key: _fill(kept.facts.get(key, [])) for key in ("stability", "scores", "rand")}
    n_clusters = max(int(numbers.max(initial=0)), len(facts["stability"]))
    similarities = np.where(numbers > 0, kept.numbers[view.rows], np.nan)
    medoids = np.full(n_clusters, -1, dtype=np.int64)
    order = np.argsort(np.nan_to_num(similarities, nan=-2), kind="stable")
    # The last of a cluster stays.
    medoids[numbers[order][numbers[order] > 0] - 1] = view.rows[order][numbers[order] > 0]
    padded = {
        key: np.append(facts[key], np.full(n_clusters, np.nan))[:n_clusters]
        for key in ("stability", "scores")
    }
    units, _ = find_units(view, None)
    tried = {int(number): mean for number, mean in kept.facts.get("tried", {}).items()}
    given = tuple(kept.names.get(str(at), "") for at in range(1, n_clusters + 1))
    return Clusters(
        view.images, view.rows, numbers, similarities, units, medoids, name,
        str(kept.facts.get("method", "")), padded["stability"], facts["rand"], tried, given,
        padded["scores"], Provenance(**kept.provenance),
    )  # fmt: skip


def _fill(values: Sequence[float | None]) -> Doubles:
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)


def assign_later(found: Clusters, view: View) -> tuple[Clusters, Places]:
    """Give pictures that came later the cluster whose mean is nearest; the others stay.

    One that is less like that mean than all but a hundredth of the pictures that the cluster had
    stays in none.

    Returns
    -------
    clusters : Clusters
    later : ndarray of int64
        Places of the pictures that were given one.
    """
    known, asked = found.numbers > 0, np.flatnonzero(found.numbers == 0)
    if not known.any() or not len(asked):
        return found, asked[:0]
    products = view.read_vectors(found.rows[asked]) @ found.find_means(view).T
    nearest = products.argmax(axis=1)
    similarities = products[np.arange(len(asked)), nearest].astype(np.float64)
    least = np.full(len(found), np.inf)
    for number in np.unique(found.numbers[known]).tolist():
        inside = found.similarities[found.numbers == number]
        least[number - 1] = np.quantile(inside, _LEFT_OUT)
    near = similarities >= least[nearest]
    later = asked[near]
    numbers, all_similarities = found.numbers.copy(), found.similarities.copy()
    numbers[later] = nearest[near] + 1
    all_similarities[later] = similarities[near]
    return dataclasses.replace(found, numbers=numbers, similarities=all_similarities), later


def number_by_size(numbers: Places, units: Places) -> Places:
    """Return numbers of groups from 1, the one of most units first; 0 where it was -1.

    Of equal ones that comes first that has more pictures, then the one of the first picture.
    """
    inside = numbers >= 0
    codes = np.full(len(numbers), -1, dtype=np.int64)
    known, first, codes[inside] = np.unique(numbers[inside], return_index=True, return_inverse=True)
    weights = np.bincount(codes[inside], weigh_units(units)[inside], minlength=len(known))
    sizes = np.bincount(codes[inside], minlength=len(known))
    order = np.lexsort((first, -sizes, -np.round(weights, 6)))
    place = np.zeros(len(known) + 1, dtype=np.int64)
    place[order] = np.arange(1, len(known) + 1)
    return place[codes] * inside


def _build_clusters(
    view: View, vectors: Vectors, numbers: Places, units: Places, found: Grouping,
    stability: Stability, wish: Wish, name: str, averaged: int,
) -> Clusters:  # fmt: skip
    """Return groups as an answer, with their medoids."""
    n_clusters = int(numbers.max(initial=0))
    weights = weigh_units(units)
    similarities = np.full(len(numbers), np.nan)
    medoids = np.zeros(n_clusters, dtype=np.int64)
    for number in range(1, n_clusters + 1):
        inside = np.flatnonzero(numbers == number)
        mean = find_mean(vectors[inside], weights[inside])
        similarities[inside] = vectors[inside] @ mean
        medoids[number - 1] = view.rows[inside[similarities[inside].argmax()]]
    options = {
        "method": wish.method, "n_clusters": n_clusters, "chosen": wish.n_clusters is None,
        "threshold": wish.threshold, "averaged": averaged,
        "least_size": wish.least_size, "seed": wish.seed,
        "n_units": len(np.unique(units)), "n_draws": len(stability.rand),
        "n_drawn": stability.n_drawn, "at_bound": found.at_bound, "column": name,
    }  # fmt: skip
    return Clusters(
        view.images, view.rows, numbers, similarities, units, medoids, name, wish.method,
        stability.jaccard, stability.rand, found.tried, ("",) * n_clusters,
        np.full(n_clusters, np.nan), view.describe(options),
    )  # fmt: skip


def find_mean(vectors: Vectors, weights: Doubles) -> Vectors:
    """Return the unit mean of vectors, float32 of shape (dim,); zeros where it has no direction."""
    mean = np.average(vectors, axis=0, weights=weights)
    norm = float(np.linalg.norm(mean))
    return (mean / norm if norm > 1e-12 else mean).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Order(Result):
    """Pictures along one line, so that neighbours are alike.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store along the line.
    similarities : ndarray of float64, shape (n_images,)
        Cosine similarity of each to the one before; NaN of the first.
    name : str
        Of the column that keeps the places.
    provenance : Provenance
    notes : tuple of Note
    """

    images: ImageTable
    rows: Rows
    similarities: Doubles
    name: str
    provenance: Provenance
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a picture along the line: its place, file and similarity to the last."""
        import pandas as pd

        places = {self.name: np.arange(1, len(self.rows) + 1)}
        named = self.images.name_rows(self.rows)
        rest = {"similarity": np.round(self.similarities, 6), "row": self.rows}
        return pd.DataFrame({**places, **named, **rest})

    def write(self, view: View) -> None:
        """Keep the places in a store as a column, in place of one of that name."""
        places = [str(place) for place in range(1, len(self.rows) + 1)]
        write_column(
            view.store, self.name, self.rows, places, folder=ORDERS, numbers=self.similarities,
            provenance=self.provenance.to_dict(),
        )  # fmt: skip
