"""Adapters: what a few labelled images move about the texts of classes, on vectors as they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.probes.closed_form import AffineProbe
from bioprobe.probes.lbfgs import Stop
from bioprobe.probes.linear import Balance, Rows, make_prior, make_rows, pose
from bioprobe.probes.path import EigenBasis, solve_about
from bioprobe.probes.probe import SEED, STRENGTH, Dimension, Limits
from bioprobe.types import Arrays, Doubles, Places, Vectors

# Full batch, from the texts: the minimum itself, so that nothing depends on steps or their order.
_STOP = Stop(tolerance=1e-8, max_iter=300, noise=0.0)


class TextAdapter(AffineProbe):
    """What adapters share: classes with texts, those with images among them.

    The classes are those of ``text_classes``; those that have images are told apart while
    learning. By itself, without texts, the unit means of the classes' images stand for them.
    """

    needs_texts: ClassVar[bool] = True
    answers_untaught: ClassVar[bool] = True
    space: ClassVar[tuple[Dimension, ...]] = (
        Dimension("penalty", (1.0, 0.1, 10.0, 0.01, 100.0)),
        Dimension("balance", ("none", "class-weight", "logit-adjustment")),
    )

    def __init__(
        self,
        penalty: float = 1.0,
        *,
        texts: Vectors | None = None,
        text_classes: npt.NDArray[Any] | None = None,
        scale: float = 1.0,
        untrained_offset: float = 0.0,
        balance: str = "none",
        seed: int = 0,
    ) -> None:
        self.penalty = penalty
        self.texts = texts
        self.text_classes = text_classes
        self.scale = scale
        self.untrained_offset = untrained_offset
        self.balance = balance
        self.seed = seed

    def _fit(self, X: Vectors, y: npt.NDArray[Any]) -> None:  # noqa: N803
        trained, targets = np.unique(y, return_inverse=True)
        self._check_classes(trained)
        self.classes_, texts, places = read_texts(
            trained, targets, X, self.texts, self.text_classes, self.kind
        )
        zeroshot = self.scale * texts
        start = zeroshot[places]
        self.intercept_ = np.zeros(len(self.classes_), dtype=np.float32)
        self.intercept_[np.setdiff1d(np.arange(len(self.classes_)), places)] = self.untrained_offset
        self.coef_ = self._adapt(X, targets, start, zeroshot, places).astype(np.float32)

    @abstractmethod
    def _adapt(
        self,
        X: Vectors,  # noqa: N803
        targets: Places,
        start: Doubles,
        zeroshot: Doubles,
        places: Places,
    ) -> Doubles:
        """Return the coefficients of all classes.

        Parameters
        ----------
        X : ndarray of float32, shape (n_images, dim)
        targets : ndarray of int64, shape (n_images,)
            Class of each among those with images.
        start : ndarray of float64, shape (n_trained, dim)
            Coefficients of these in zero-shot.
        zeroshot : ndarray of float64, shape (n_classes, dim)
            Those of all classes.
        places : ndarray of int64, shape (n_trained,)
            Classes with images among all.
        """

    def _solve(
        self,
        X: Vectors,  # noqa: N803
        targets: Places,
        start: Doubles,
        codes: Doubles,
        penalties: Doubles,
    ) -> tuple[Doubles, EigenBasis]:
        """Return moves and their basis; penalties stand beside the mean of the loss over images."""
        n_classes = len(start)
        balance = Balance(self.balance, seed=int(self.seed))
        rows = make_rows(Rows(X, targets, np.ones(len(X))), balance)
        basis = EigenBasis.of(rows.vectors, centred=False)
        problems = pose(basis, rows, rows.weights[:, np.newaxis], n_classes, balance)
        costs = penalties * rows.weights.sum()
        moves = solve_about(problems, basis, start @ basis.directions, codes, costs, _STOP)
        return moves, basis


class AdapterProbe(TextAdapter):
    r"""A square matrix upon the vectors, from the identity: ProLIP's regularised linear adapter.

    Logits are :math:`s\, t_c \cdot W x`, and W is where

    .. math:: \frac1n \sum_i -\log p_{y_i}(x_i) + \frac{\lambda}{N} \|W - I\|_F^2

    is least: the cross-entropy of the labelled images among the classes that have some, and a
    penalty on what W changes. N is the images a class in the mean: the paper's rule 1/N, for which
    no image is needed to choose on. Taken so: the norm is a sum over all numbers of W, the loss a
    mean over all images, and :math:`W x` is not made unit again. That makes the problem convex, so
    that its one minimum is found, where the authors take 300 steps of Adam from W = I with
    augmented images.

    What was learnt is about the vectors, not the classes. Any text can be asked by it, so that
    classes without images are answered by :math:`s\, t \cdot W x`, now or later.

    Parameters
    ----------
    penalty : float
        λ, > 0: the larger, the nearer to zero-shot.
    texts : ndarray of float32, shape (n_texts, dim), unit rows, optional
        Class embeddings; without them the unit means of the classes' images.
    text_classes : ndarray, shape (n_texts,), optional
        Class of each; those of ``y`` are among them.
    scale : float
        s, the encoder's factor from cosine similarity to logits.
    untrained_offset : float
        Added to the logits of classes without a training image.
    balance : str
        As for ``linear``.
    seed : int
        Of rows that ``balance`` makes up.

    Attributes
    ----------
    matrix_ : ndarray of float32, shape (dim, dim)
        W.

    References
    ----------
    Fahes, Vu, Bursuc, Pérez and de Charette 2024, *CLIP's Visual Embedding Projector is a Few-shot
    Cornucopia* (arXiv 2410.05270).

    Examples
    --------
    >>> X = np.array([[0.8, 0.6, 0.0], [0.6, 0.8, 0.0]], dtype=np.float32)
    >>> names = np.array(["lion", "lynx", "puma"], dtype=object)
    >>> probe = AdapterProbe(texts=np.eye(3, dtype=np.float32), text_classes=names, scale=10.0)
    >>> probe.fit(X, names[:2]).predict(np.eye(3, dtype=np.float32)).tolist()
    ['lion', 'lynx', 'puma']
    """

    kind: ClassVar[str] = "adapter"
    summary: ClassVar[str] = "linear map of the vectors towards the texts (ProLIP's adapter)"
    limits: ClassVar[Mapping[str, Limits]] = {
        "penalty": STRENGTH,
        "scale": Limits(-1e6, 1e6),
        "untrained_offset": Limits(),
        "seed": SEED,
    }
    matrix_: npt.NDArray[np.float32]

    def _adapt(
        self,
        X: Vectors,  # noqa: N803
        targets: Places,
        start: Doubles,
        zeroshot: Doubles,
        places: Places,  # noqa: ARG002 - W is the same for all classes
    ) -> Doubles:
        # What the loss knows of W lies between the images and what parts the texts: what all texts
        # share moves all logits alike.
        axes = EigenBasis.of(start)
        codes: Doubles = np.asarray(axes.rotate(start), dtype=np.float64)
        cost = self.penalty * len(start) / len(X)
        moves, basis = self._solve(X, targets, start, codes, np.full(codes.shape[1], cost))
        change = axes.directions @ moves @ basis.directions.T
        self.matrix_ = (np.eye(X.shape[1]) + change).astype(np.float32)
        return zeroshot + zeroshot @ change

    def to_arrays(self) -> Arrays:
        """Return coefficients, intercepts and W."""
        return {**super().to_arrays(), "matrix": self.matrix_}

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.matrix_ = arrays["matrix"]
        return super().set_arrays(arrays, classes)


class ClapProbe(TextAdapter):
    r"""A linear probe from the texts, each class held as fast as zero-shot knows it: CLAP.

    Logits are :math:`s\, w_c \cdot x`, and the :math:`w_c` are where

    .. math:: \frac1n \sum_i -\log p_{y_i}(x_i) + \frac{\lambda}{C} \sum_c \lambda_c \|w_c - t_c\|^2

    is least, over the C classes that have images. The multiplier :math:`\lambda_c` is what
    zero-shot gives the class on its own images in the mean, as a probability among these classes,
    and stays as it is; nothing is chosen. Taken so: sums as the authors' code has them, and
    :math:`w_c` is not made unit again, which makes the problem convex; they take 300 steps of SGD.
    A class without images keeps its text.

    Parameters
    ----------
    penalty : float
        λ, ≥ 0; of 0 it is a linear probe without intercepts that nothing holds.
    texts, text_classes, scale, untrained_offset, balance, seed
        As for :class:`AdapterProbe`.

    Attributes
    ----------
    multipliers_ : ndarray of float32, shape (n_trained,)
        λ of each class that has images, in their order.

    References
    ----------
    Silva-Rodríguez, Hajimiri, Ben Ayed and Dolz 2024, *A Closer Look at the Few-Shot Adaptation of
    Large Vision-Language Models*, CVPR.

    Examples
    --------
    >>> X = np.array([[0.8, 0.6, 0.0], [0.6, 0.8, 0.0]], dtype=np.float32)
    >>> names = np.array(["lion", "lynx", "puma"], dtype=object)
    >>> probe = ClapProbe(texts=np.eye(3, dtype=np.float32), text_classes=names, scale=10.0)
    >>> probe.fit(X, names[:2]).predict(np.eye(3, dtype=np.float32)).tolist()
    ['lion', 'lynx', 'puma']
    """

    kind: ClassVar[str] = "clap"
    summary: ClassVar[str] = "linear probe held to the texts, class by class (CLAP)"
    limits: ClassVar[Mapping[str, Limits]] = {**AdapterProbe.limits, "penalty": Limits(0)}
    multipliers_: npt.NDArray[np.float32]

    def _adapt(
        self,
        X: Vectors,  # noqa: N803
        targets: Places,
        start: Doubles,
        zeroshot: Doubles,
        places: Places,
    ) -> Doubles:
        own = softmax(X @ start.T, axis=1)[np.arange(len(X)), targets]
        sizes = np.bincount(targets, minlength=len(start))
        multipliers = np.bincount(targets, own, len(start)) / sizes
        self.multipliers_ = multipliers.astype(np.float32)
        # In logits w is s times as long, and its square s² times as large.
        costs = self.penalty * multipliers / len(start)
        moves, basis = self._solve(X, targets, start, self.scale * np.eye(len(start)), costs)
        coefficients = zeroshot.copy()
        coefficients[places] += self.scale * moves @ basis.directions.T
        return coefficients

    def to_arrays(self) -> Arrays:
        """Return coefficients, intercepts and multipliers."""
        return {**super().to_arrays(), "multipliers": self.multipliers_}

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.multipliers_ = arrays["multipliers"]
        return super().set_arrays(arrays, classes)


def read_texts(
    trained: npt.NDArray[Any],
    targets: Places,
    unit: Vectors | Doubles,
    texts: Vectors | None,
    text_classes: npt.NDArray[Any] | None,
    kind: str,
) -> tuple[npt.NDArray[Any], Doubles, Places]:
    """Return the classes that are answered, the text of each, and which of them have images.

    Parameters
    ----------
    trained : ndarray, shape (n_trained,)
        Those that have images, sorted.
    targets : ndarray of int64, shape (n_images,)
        Class of each image among them.
    unit : ndarray, shape (n_images, dim), unit rows
        The images: without texts the unit means of the classes stand for these.
    texts, text_classes
        As the arguments of a probe.
    kind : str
        Probe that asks.

    Returns
    -------
    classes : ndarray, shape (n_classes,)
        Sorted.
    texts : ndarray of float64, shape (n_classes, dim)
    places : ndarray of int64, shape (n_trained,)

    Raises
    ------
    ProbeError
        If a class that has images has no text.
    """
    if make_prior(trained, texts, text_classes, 1.0, kind) is None:
        return trained, find_means(unit, targets), np.arange(len(trained))
    classes, first = np.unique(np.asarray(text_classes), return_index=True)
    given = np.asarray(texts, dtype=np.float64)[first]
    return classes, given, np.searchsorted(classes, trained)


def find_means(X: Vectors | Doubles, targets: Places) -> Doubles:  # noqa: N803 - scikit-learn's name
    """Return the unit mean of each class, float64 of shape (n_classes, dim).

    Parameters
    ----------
    X : ndarray of float32, shape (n_images, dim)
    targets : ndarray of int64, shape (n_images,)
        Class of each row, from 0.
    """
    totals = np.zeros((int(targets.max()) + 1, X.shape[1]))
    np.add.at(totals, targets, X)
    return normalise_rows(totals).astype(np.float64)
