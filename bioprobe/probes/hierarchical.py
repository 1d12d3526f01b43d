"""Leaves of a tree whose probabilities add up at every rank."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.files import parse_json
from bioprobe.probes.hierarchical_fit import (
    Eigenbasis,
    TreeLoss,
    fit_local,
    minimise_loss,
    multiply_paths,
)
from bioprobe.probes.label_tree import LabelTree
from bioprobe.probes.probe import STEPS, Dimension, Limits, Probe, Sweep, find_places, judge
from bioprobe.types import Arrays, Places, Vectors

_METHODS = ("softmax", "local")
_SMOOTHING = 0.2


class HierarchicalProbe(Probe):
    r"""Logistic regression over the leaves of a tree.

    ``softmax`` is one softmax over the leaves; a node above has the sum of its leaves, and the
    loss is taken at every rank. ``local`` is one softmax among the children of each parent, and
    a leaf has the product down its path. Either way the probability of a node is that of its
    leaves together.

    A row teaches what is known of it: one without a name at the lowest rank is used at the ranks
    where it has one, as far as a leaf lies below, and is taken for one of these leaves: rows that
    are known to be of no leaf are better left out. Holes are completed from other rows.

    Parameters
    ----------
    C : float
        Inverse strength of the L2 penalty, > 0, as in scikit-learn.
    method : str
        ``softmax`` or ``local``.
    smoothing : float, optional
        Spread of the targets over leaves by their height in the tree, ≥ 0; 0 is none. By default
        0.2. For ``softmax`` alone.
    rank_weights : sequence of float, optional
        Weight of the loss at each rank, from the broadest to the leaf, ≥ 0; they are scaled to
        add up to 1. By default the leaf has as much as all ranks above together. For ``softmax``
        alone.
    max_iter : int
        Steps of the search at most.
    tol : float
        The search ends when no scaled partial derivative is larger.

    Attributes
    ----------
    classes_ : ndarray, shape (n_leaves,)
        Names of the leaves, sorted; a homonym is followed by its parent in brackets. Of classes
        without ranks, these.
    tree_ : LabelTree
        Leaves in the order of ``classes_``, and the nodes above.
    n_iter_ : int
        Steps taken; of all classifiers together for ``local``.

    References
    ----------
    Bertinetto et al. 2020, *Making Better Mistakes* (smoothing); Valmadre 2022, *Hierarchical
    classification at multiple operating points* (sums of a softmax over leaves); Silla and
    Freitas 2011, *A survey of hierarchical classification* (local classifiers).

    Examples
    --------
    >>> X = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    >>> lineages = np.array([["cats", "lion"], ["cats", ""], ["cats", "lynx"], ["dogs", "wolf"]],
    ...                     dtype=object)
    >>> probe = HierarchicalProbe().fit(X, lineages)
    >>> probe.predict(X[2:]).tolist()
    ['lynx', 'wolf']
    """

    kind: ClassVar[str] = "hierarchical"
    takes_columns: ClassVar[bool] = True
    summary: ClassVar[str] = "losses at every rank of a chain, consistent"
    parameter: ClassVar[str] = "C"
    values: ClassVar[tuple[float, ...]] = (30, 100, 300, 1000)
    limits: ClassVar[Mapping[str, Limits]] = {
        "C": Limits(0, above=True),
        "smoothing": Limits(0),
        "rank_weights": Limits(0, several=True),
        "max_iter": STEPS,
        "tol": Limits(0),
    }
    space: ClassVar[tuple[Dimension, ...]] = (
        Dimension("method", ("softmax", "local")),
        Dimension("smoothing", (0.2, 0.0, 0.1, 0.4), ("method", "softmax")),
    )
    takes_lineages: ClassVar[bool] = True
    tree_: LabelTree
    weights_: Vectors
    biases_: npt.NDArray[np.float32]
    n_iter_: int

    def __init__(
        self,
        C: float = 300.0,  # noqa: N803 - scikit-learn's name
        *,
        method: str = "softmax",
        smoothing: float | None = None,
        rank_weights: Sequence[float] | None = None,
        max_iter: int = 300,
        tol: float = 1e-4,
    ) -> None:
        self.C = C
        self.method = method
        self.smoothing = smoothing
        self.rank_weights = rank_weights
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:  # noqa: N803
        """Learn from vectors and lineages.

        Parameters
        ----------
        X : array-like, shape (n_images, dim)
            Unit rows; read as float32.
        y : array-like, shape (n_images, n_ranks) or (n_images,)
            Names from the broadest rank to that of the classes, ``""`` is unknown; or classes
            without ranks, a tree of one level.

        Raises
        ------
        ProbeError
            If a parameter is out of range, or ``y`` is not one lineage a row.
        TaxonomyError
            If no row has a name at the lowest rank.
        """
        return self._learn(X, y)

    def _fit(self, X: Vectors, y: npt.NDArray[Any]) -> None:  # noqa: N803
        for _ in self._fit_path(X, y, np.array([self.C])):
            pass

    @classmethod
    def sweep(
        cls,
        X: Vectors,  # noqa: N803
        y: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
        *,
        method: str = "softmax",
        smoothing: float | None = None,
        rank_weights: Sequence[float] | None = None,
    ) -> Sweep:
        """Measure many values of ``C`` on each fold, each search starting from the last one's end.

        Held-out rows are judged at the lowest rank; those without a name there are not. One whose
        leaf has no row to learn from counts as wrong.

        Parameters
        ----------
        X : ndarray of float32, shape (n_images, dim), unit rows
        y : ndarray, shape (n_images, n_ranks) or (n_images,)
            As for :meth:`fit`.
        values : ndarray of float64, shape (n_values,)
            Values of ``C``, > 0, in any order.
        folds : ndarray of int64, shape (n_images,)
            Fold in which each row is held out, -1 for one that always trains.
        method, smoothing, rank_weights
            As for the probe.
        """
        ascending = np.sort(np.asarray(values, dtype=np.float64))
        for value in ascending.tolist():
            given = {"C": value, "smoothing": smoothing, "rank_weights": rank_weights}
            cls.check_settings(given)
        known = y[:, -1] != "" if y.ndim == 2 else np.ones(len(y), dtype=bool)
        judged = np.unique(folds[(folds >= 0) & known])
        marks = np.empty((2, len(ascending), len(judged)))
        for column, fold in enumerate(judged):
            probe = cls(method=method, smoothing=smoothing, rank_weights=rank_weights)
            held_out = np.flatnonzero((folds == fold) & known)
            rows = np.flatnonzero(folds != fold)
            path = probe._fit_path(X[rows], y[rows], ascending)
            for line, _ in enumerate(path):
                marks[:, line, column] = probe._judge(X[held_out], y[held_out])
        return Sweep("C", ascending, marks[0], marks[1])

    def _logits(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        """Return the logits of the leaves; those of ``local`` are logarithms of probabilities."""
        logits = X @ self.weights_ + self.biases_
        return multiply_paths(self.tree_, logits) if self.method == "local" else logits

    def to_arrays(self) -> Arrays:
        """Return what was learnt, but for ``classes_``, as arrays.

        Lineages are JSON in UTF-8, one byte a number, since the file holds numbers alone.
        """
        leaves = self.tree_.lineages[: self.tree_.n_leaves].tolist()
        text = json.dumps(leaves, ensure_ascii=False).encode()
        return {
            "weights": self.weights_,
            "biases": self.biases_,
            "lineages": np.frombuffer(text, dtype=np.uint8).copy(),
            "n_steps": np.array([self.n_iter_], dtype=np.int64),
        }

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned, so that predictions are the same again."""
        leaves = parse_json(arrays["lineages"].tobytes())
        self.tree_ = LabelTree.from_leaves(np.array(leaves, dtype=object))
        self.classes_ = classes
        self.weights_, self.biases_ = arrays["weights"], arrays["biases"]
        self.n_iter_ = int(arrays["n_steps"][0])
        self.n_features_in_ = len(self.weights_)
        return self

    def _takes_table(self, y: npt.ArrayLike) -> bool:
        # Several columns, or one of texts, are lineages; one of numbers is classes in a column.
        given = np.asarray(y)
        return given.ndim == 2 and (given.shape[1] > 1 or given.dtype.kind in "OU")

    def _plant(self, y: npt.NDArray[Any]) -> Places:
        """Check the settings, make the tree, and find the node of each row at each rank."""
        self._check()
        if y.ndim == 1:
            self.classes_ = np.unique(y)
            self.tree_ = LabelTree.flat(len(self.classes_))
        else:
            self.tree_ = LabelTree.from_lineages(y)
            self.classes_ = self.tree_.leaf_names
        return self._place(y)

    def _place(self, y: npt.NDArray[Any]) -> Places:
        """Find the node of each row at each rank, -1 where there is none."""
        if y.ndim == 1:
            return find_places(self.classes_, y)[:, np.newaxis]
        return self.tree_.place(y)

    def _check(self) -> None:
        if self.method not in _METHODS:
            msg = f"method of hierarchical is {' or '.join(_METHODS)}, got {self.method!r}"
            raise ProbeError(msg)
        if self.method == "local" and (self.smoothing or self.rank_weights is not None):
            msg = "method 'local' has no smoothing and no rank_weights; use method 'softmax'"
            raise ProbeError(msg)

    def _make_loss(self, labels: Places) -> TreeLoss:
        n_ranks = self.tree_.n_ranks
        weights = np.asarray(
            [*[1.0] * (n_ranks - 1), max(1, n_ranks - 1)]
            if self.rank_weights is None
            else self.rank_weights,
            dtype=np.float64,
        )
        if weights.shape != (n_ranks,) or not (weights >= 0).all() or not weights[-1] > 0:
            msg = (
                "rank_weights of hierarchical are one weight >= 0 for each of "
                f"{n_ranks} ranks, the last > 0; got {self.rank_weights}"
            )
            raise ProbeError(msg)
        smoothing = _SMOOTHING if self.smoothing is None else self.smoothing
        return TreeLoss(self.tree_, labels, weights / weights.sum(), smoothing)

    def _fit_path(
        self, vectors: Vectors, y: npt.NDArray[Any], values: npt.NDArray[np.float64]
    ) -> Iterator[None]:
        """Fit one value of ``C`` after the other.

        Yields
        ------
        None
            Each time the probe holds the next fit.
        """
        labels = self._plant(y)
        if self.method == "local":
            for c in values.tolist():
                self.weights_, self.biases_, self.n_iter_ = fit_local(
                    vectors, self.tree_, labels, c, max_iter=int(self.max_iter), tol=self.tol
                )
                yield
            return
        used = (labels >= 0).any(axis=1)
        basis, loss = Eigenbasis.of(vectors[used]), self._make_loss(labels[used])
        end = None
        for c in values.tolist():
            fit = minimise_loss(
                basis,
                loss,
                self.tree_.n_leaves,
                c,
                max_iter=int(self.max_iter),
                tol=self.tol,
                start=end,
            )
            end = fit.end
            self.weights_, self.biases_, self.n_iter_ = fit.weights, fit.biases, fit.n_steps
            yield

    def _judge(self, vectors: Vectors, y: npt.NDArray[Any]) -> tuple[float, float]:
        """Return accuracy and log-loss at the lowest rank."""
        return judge(self.predict_proba(vectors), self._place(y)[:, -1])
