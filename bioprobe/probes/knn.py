"""The vote of the nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from bioprobe.devices import find_gpu
from bioprobe.errors import ProbeError
from bioprobe.index.on_device import find_nearest
from bioprobe.probes.probe import Dimension, Limits, Probe, Sweep, find_places, judge
from bioprobe.task.lazy_rows import iter_parts
from bioprobe.types import Arrays, Doubles, Rows, Vectors

# Weight of the class frequencies beside the votes: what no neighbour is of has some probability.
_PRIOR_FRACTION = 0.01
# So many neighbours more are found, of which those with equal similarities are ordered.
_MARGIN = 16
# Similarities that are held at once where these were too few: 128 MB in double precision.
_TIED_AT_ONCE = 1 << 24
_BALANCES = ("none", "class-weight")


class KnnProbe(Probe):
    """Classes of the k most similar training images, which vote by similarity.

    A neighbour's vote is the softmax of the k cosine similarities over ``temperature``. The
    frequencies of the classes among the training rows have a weight of 1% beside the votes, so
    they order the classes that no neighbour is of, and decide between equal votes; what is equal
    then stands in the order of the classes. Of images that are equally similar at the k-th
    place, one that comes earlier in training votes.

    Parameters
    ----------
    k : int
        Neighbours, ≥ 1; all where there are fewer.
    temperature : float
        > 0; the smaller, the more the nearest count.
    balance : str
        ``none``, or ``class-weight``: votes of a class are divided by as many neighbours as it can
        have, k or its training rows, so that classes of few rows are not outvoted.

    See Also
    --------
    sklearn.neighbors.KNeighborsClassifier : The same neighbours, with other weights.

    References
    ----------
    Wu et al. 2018, *Unsupervised Feature Learning via Non-Parametric Instance Discrimination*:
    the vote and its temperature of .07. Loftsgaarden and Quesenberry 1965, *A Nonparametric
    Estimate of a Multivariate Density Function*: neighbours over rows as the density of a class.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=np.float32)
    >>> probe = KnnProbe(k=2).fit(X, np.array(["a", "b", "b"]))
    >>> probe.predict(np.array([[0.0, 1.0]], dtype=np.float32)).tolist()
    ['b']
    """

    kind: ClassVar[str] = "knn"
    summary: ClassVar[str] = "vote of the nearest neighbours, by similarity"
    parameter: ClassVar[str] = "k"
    values: ClassVar[tuple[float, ...]] = (200, 100, 50, 30, 20, 15, 10, 7, 5, 3, 1)
    limits: ClassVar[Mapping[str, Limits]] = {
        "k": Limits(1, whole=True),
        "temperature": Limits(0, above=True),
    }
    space: ClassVar[tuple[Dimension, ...]] = (
        Dimension("temperature", (0.07, 0.02, 0.04, 0.12, 0.2)),
    )

    def __init__(self, k: int = 10, temperature: float = 0.07, balance: str = "none") -> None:
        self.k = k
        self.temperature = temperature
        self.balance = balance

    def _fit(self, X: Vectors, y: npt.NDArray[Any]) -> None:  # noqa: N803
        self._check_balance(self.balance, _BALANCES)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self.vectors_, self.labels_ = X, labels.astype(np.int64)

    def _probabilities(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        labels, similarities = self._find(X, int(self.k))
        return self._vote(labels, similarities, self.temperature)

    def _logits(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        """Return the logarithms of the probabilities."""
        return np.asarray(np.log(self._probabilities(X)), dtype=np.float32)

    def to_arrays(self) -> Arrays:
        """Return the training vectors and their classes.

        Vectors that came from float16 are returned as float16: nothing is lost.
        """
        halves = self.vectors_.astype(np.float16)
        lossless = np.array_equal(halves.astype(np.float32), self.vectors_)
        return {"vectors": halves if lossless else self.vectors_, "labels": self.labels_}

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.classes_ = classes
        self.vectors_, self.labels_ = arrays["vectors"].astype(np.float32), arrays["labels"]
        self.n_features_in_ = self.vectors_.shape[1]
        return self

    @classmethod
    def sweep(
        cls,
        X: Vectors,  # noqa: N803 - scikit-learn's name
        y: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
        *,
        temperature: float = 0.07,
        balance: str = "none",
    ) -> Sweep:
        """Measure many numbers of neighbours by one search a fold.

        Parameters
        ----------
        X : ndarray of float32, shape (n_images, dim), unit rows
        y : ndarray, shape (n_images,)
        values : ndarray of float64, shape (n_values,)
            From the largest, which is the smoothest.
        folds : ndarray of int64, shape (n_images,)
            Fold in which each row is held out, -1 for one that always trains.
        temperature, balance
            As the arguments of the class.
        """
        asked = np.asarray(values, dtype=np.float64)
        for k in asked:
            cls.check_settings({"k": k, "temperature": temperature})
        numbers = np.unique(folds[folds >= 0])
        if not len(numbers):
            msg = "no row is held out in a fold; give folds from 0"
            raise ProbeError(msg)
        marks = np.empty((2, len(asked), len(numbers)))
        for column, fold in enumerate(numbers):
            out = folds == fold
            probe = cls(balance=balance).fit(X[~out], y[~out])
            labels, similarities = probe._find(X[out], int(asked.max(initial=1)))
            places = find_places(probe.classes_, y[out])
            for line, k in enumerate(np.minimum(asked, len(X)).astype(np.int64)):
                votes = probe._vote(labels[:, :k], similarities[:, :k], temperature)
                marks[:, line, column] = judge(votes, places)
        return Sweep("k", asked, marks[0], marks[1])

    def _find(self, X: Vectors, k: int) -> tuple[Rows, Vectors]:  # noqa: N803
        """Return the classes of the nearest neighbours and their similarities."""
        import faiss

        queries, taught = np.ascontiguousarray(X), np.ascontiguousarray(self.vectors_)
        k, n = min(k, len(taught)), min(k + _MARGIN, len(taught))
        device = find_gpu(taught.size, len(queries))
        if device is None:
            similarities, rows = faiss.knn(queries, taught, n, metric=faiss.METRIC_INNER_PRODUCT)
        else:
            rows, similarities = find_nearest(device, queries, partial(_read, taught), n)
        order = np.lexsort((rows, -similarities), axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
        similarities = np.take_along_axis(similarities, order, axis=1)
        if n < len(taught):
            # Which of so many equals were found is not by their place.
            tied = np.flatnonzero(similarities[:, k - 1] == similarities[:, -1])
            for part in iter_parts(len(tied), max(1, _TIED_AT_ONCE // len(taught))):
                at = tied[part]
                rows[at, :k], similarities[at, :k] = _rank_all(queries[at], taught, k)
        return self.labels_[rows[:, :k]], similarities[:, :k]

    def _vote(
        self, labels: Rows, similarities: Vectors, temperature: float
    ) -> npt.NDArray[np.float32]:
        n_images, n_classes = len(labels), len(self.classes_)
        votes = softmax(similarities / np.float32(temperature), axis=1)
        places = labels + n_classes * np.arange(n_images)[:, np.newaxis]
        sums = np.bincount(places.ravel(), votes.ravel(), minlength=n_images * n_classes)
        shares: Doubles = np.asarray(sums, dtype=np.float64).reshape(n_images, n_classes)
        sizes = np.bincount(self.labels_, minlength=n_classes)
        if self.balance == "class-weight":
            shares = shares / np.clip(sizes, 1, max(1, labels.shape[1]))
            shares = shares / shares.sum(axis=1, keepdims=True)
        # A class whose images have all gone since keeps a probability, the least of one image.
        counted = np.maximum(sizes, 1)
        frequencies = counted / max(1, counted.sum())
        votes_and_prior = (1 - _PRIOR_FRACTION) * shares
        return np.asarray(votes_and_prior + _PRIOR_FRACTION * frequencies, dtype=np.float32)


def _rank_all(queries: Vectors, taught: Vectors, k: int) -> tuple[Rows, Vectors]:
    """Find the nearest by double precision, in which equal vectors are equally similar."""
    asked = queries.astype(np.float64).T
    products = [np.asarray(one.astype(np.float64) @ asked) for _, one in _read(taught)]
    similarities = np.concatenate(products).T.astype(np.float32)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(similarities, order, axis=1)


def _read(taught: Vectors) -> Iterator[tuple[Rows, Vectors]]:
    """Take vectors some at a time, with their places."""
    return ((np.arange(part.start, part.stop), taught[part]) for part in iter_parts(len(taught)))
