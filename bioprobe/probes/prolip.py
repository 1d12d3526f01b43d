"""ProLIP: the visual projection of an encoder, trained on what it is given, toward the texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.encoders.keeping import PROJECTION_INPUT
from bioprobe.errors import ProbeError
from bioprobe.probes.adapter import read_texts
from bioprobe.probes.probe import SEED, STRENGTH, Dimension, Limits, Probe
from bioprobe.types import Arrays, Doubles, Places, Vectors

_BALANCES = ("none", "class-weight")
# Full batch, from the encoder's own: the minimum, so that nothing depends on steps or their order.
_MOST_STEPS, _TOLERANCE = 300, 1e-9


def find_loss(
    moves: Doubles,
    inputs: Doubles,
    start: Doubles,
    texts: Doubles,
    labels: Places,
    weights: Doubles,
    scale: float,
    penalty: float,
) -> tuple[float, Doubles]:
    r"""Return the cross-entropy of moved embeddings with a penalty on the moves, and its gradient.

    Embeddings are unit rows along :math:`e_i + x_i M`, and the loss is the mean over weights of
    :math:`-\log p_{y_i}` of the softmax of the scaled cosines with the texts, and
    :math:`\lambda \|M\|_F^2`.

    Parameters
    ----------
    moves : ndarray of float64, shape (width, dim)
        M, what is added to the projection.
    inputs : ndarray of float64, shape (n_images, width)
        x.
    start : ndarray of float64, shape (n_images, dim)
        e, the embeddings without moves, not of unit length.
    texts : ndarray of float64, shape (n_classes, dim), unit rows
    labels : ndarray of int64, shape (n_images,)
    weights : ndarray of float64, shape (n_images,)
        Of each image; they add up to 1.
    scale : float
        From cosines to logits.
    penalty : float
        λ.

    Returns
    -------
    loss : float
    gradient : ndarray of float64, shape (width, dim)
    """
    embeddings = start + inputs @ moves
    lengths = np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    unit = embeddings / lengths
    log_shares = log_softmax(scale * (unit @ texts.T), axis=1)
    own = np.arange(len(labels)), labels
    loss = -float(weights @ log_shares[own]) + penalty * float((moves**2).sum())
    pull = np.exp(log_shares)
    pull[own] -= 1
    of_unit = scale * ((pull * weights[:, np.newaxis]) @ texts)
    # Of a unit vector only what is not along itself can change.
    along = (of_unit * unit).sum(axis=1, keepdims=True)
    of_embeddings = (of_unit - along * unit) / lengths
    return loss, inputs.T @ of_embeddings + 2 * penalty * moves


class ProlipProbe(Probe):
    r"""The encoder's visual projection, trained: full ProLIP.

    It learns from what the projection is given, which ``embed --keep projection-input`` keeps, and
    answers by :math:`s\, t_c \cdot u(W x + b)`, where u makes a vector unit and W is where

    .. math:: \frac1n \sum_i -\log p_{y_i}(x_i) + \frac{\lambda}{N} \|W - W_0\|_F^2

    is least, for the classes that have images. :math:`W_0` is the encoder's own, N the images a
    class in the mean: the paper's rule 1/N, for which no image is needed to choose on. The norm is
    a sum over all numbers of W, the loss a mean over images, and the minimum is found by L-BFGS
    from :math:`W_0`, where the authors take 300 steps of Adam on altered images.

    What is learnt is about pictures, not about classes: a class that has a text and no image is
    answered too. By itself, without a projection, W starts from the identity; without texts the
    unit means of the classes stand for them.

    Parameters
    ----------
    penalty : float
        λ, > 0: the larger, the nearer to zero-shot.
    texts : ndarray of float32, shape (n_texts, dim), unit rows, optional
        Class embeddings.
    text_classes : ndarray, shape (n_texts,), optional
        Class of each; those of ``y`` are among them.
    scale : float
        s, the encoder's factor from cosine similarity to logits.
    projection : ndarray of float32, shape (width, dim), optional
        :math:`W_0`, as rows are multiplied with it.
    projection_bias : ndarray of float32, shape (dim,), optional
        b, which stays.
    untrained_offset : float
        Added to the logits of classes without a training image.
    balance : str
        ``none``, or ``class-weight``: each class weighs the same.
    seed : int
        Nothing is drawn; there for all probes alike.

    Attributes
    ----------
    matrix_ : ndarray of float32, shape (width, dim)
        W.

    References
    ----------
    Fahes, Vu, Bursuc, Pérez and de Charette 2024, *CLIP's Visual Embedding Projector is a Few-shot
    Cornucopia* (arXiv 2410.05270).

    Examples
    --------
    >>> X = np.array([[2.0, 0.1, 0.0], [0.1, 3.0, 0.0]], dtype=np.float32)
    >>> names = np.array(["lion", "lynx", "puma"], dtype=object)
    >>> probe = ProlipProbe(texts=np.eye(3, dtype=np.float32), text_classes=names, scale=10.0)
    >>> puma = np.array([[0.0, 0.1, 1.0]], dtype=np.float32)
    >>> probe.fit(X, names[:2]).predict(puma).tolist()
    ['puma']
    """

    kind: ClassVar[str] = "prolip"
    summary: ClassVar[str] = "the encoder's visual projection, trained toward the texts"
    reads: ClassVar[str] = PROJECTION_INPUT
    needs_texts: ClassVar[bool] = True
    answers_untaught: ClassVar[bool] = True
    limits: ClassVar[Mapping[str, Limits]] = {
        "penalty": STRENGTH,
        "scale": Limits(-1e6, 1e6),
        "untrained_offset": Limits(),
        "seed": SEED,
    }
    space: ClassVar[tuple[Dimension, ...]] = (
        Dimension("penalty", (1.0, 0.1, 10.0, 0.01, 100.0)),
        Dimension("balance", _BALANCES),
    )

    def __init__(
        self,
        penalty: float = 1.0,
        *,
        texts: Vectors | None = None,
        text_classes: npt.NDArray[Any] | None = None,
        scale: float = 1.0,
        projection: npt.NDArray[np.float32] | None = None,
        projection_bias: npt.NDArray[np.float32] | None = None,
        untrained_offset: float = 0.0,
        balance: str = "none",
        seed: int = 0,
    ) -> None:
        self.penalty = penalty
        self.texts = texts
        self.text_classes = text_classes
        self.scale = scale
        self.projection = projection
        self.projection_bias = projection_bias
        self.untrained_offset = untrained_offset
        self.balance = balance
        self.seed = seed

    def _fit(self, X: Vectors, y: npt.NDArray[Any]) -> None:  # noqa: N803
        self._check_balance(self.balance, _BALANCES)
        trained, labels = np.unique(y, return_inverse=True)
        self._check_classes(trained)
        matrix, bias = self._read_projection(X.shape[1])
        inputs = X.astype(np.float64)
        start = inputs @ matrix + bias
        self.classes_, texts, places = read_texts(
            trained, labels, normalise_rows(start), self.texts, self.text_classes, self.kind
        )
        weights = np.ones(len(X))
        if self.balance == "class-weight":
            weights = 1 / np.bincount(labels)[labels]
        moves = self._solve(
            inputs, start, texts[places], labels, weights / weights.sum(),
            self.penalty * len(trained) / len(X),
        )  # fmt: skip
        self.matrix_ = (matrix + moves).astype(np.float32)
        self.bias_ = bias.astype(np.float32)
        self.texts_ = texts.astype(np.float32)
        self.scale_ = np.array([self.scale], dtype=np.float32)
        self.offsets_ = np.full(len(self.classes_), self.untrained_offset, dtype=np.float32)
        self.offsets_[places] = 0

    def _solve(
        self,
        inputs: Doubles,
        start: Doubles,
        texts: Doubles,
        labels: Places,
        weights: Doubles,
        penalty: float,
    ) -> Doubles:
        """Return what is added to the projection, shape (width, dim)."""
        from scipy.optimize import minimize

        # It lies in what the inputs span: with few images that is small, and as long.
        directions: Doubles | None = None
        if len(inputs) < inputs.shape[1]:
            _, lengths, spanned = np.linalg.svd(inputs, full_matrices=False)
            directions = spanned[lengths > 1e-10 * lengths.max(initial=0)].T
            inputs = inputs @ directions
        shape = inputs.shape[1], start.shape[1]

        def evaluate(flat: Doubles) -> tuple[float, Doubles]:
            loss, gradient = find_loss(
                flat.reshape(shape), inputs, start, texts, labels, weights, self.scale, penalty
            )
            return loss, gradient.ravel()

        found = minimize(
            evaluate, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B",
            options={"maxiter": _MOST_STEPS, "maxfun": 2 * _MOST_STEPS, "ftol": _TOLERANCE,
                     "gtol": 1e-8},
        )  # fmt: skip
        moves: Doubles = found.x.reshape(shape)
        return moves if directions is None else directions @ moves

    def _read_projection(self, width: int) -> tuple[Doubles, Doubles]:
        if self.projection is None:
            return np.eye(width), np.zeros(width)
        matrix = np.asarray(self.projection, dtype=np.float64)
        if matrix.ndim != 2 or len(matrix) != width:
            msg = f"{self.kind} projects rows of {width}, got a projection of {matrix.shape}"
            raise ProbeError(msg)
        bias = np.zeros(matrix.shape[1])
        if self.projection_bias is not None:
            bias = np.asarray(self.projection_bias, dtype=np.float64)
        return matrix, bias

    def _logits(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        unit = normalise_rows(X @ self.matrix_ + self.bias_)
        return np.asarray(self.scale_[0] * (unit @ self.texts_.T) + self.offsets_, np.float32)

    def to_arrays(self) -> Arrays:
        """Return the projection, the texts, and what the logits are scaled by."""
        return {
            "matrix": self.matrix_, "bias": self.bias_, "texts": self.texts_,
            "scale": self.scale_, "offsets": self.offsets_,
        }  # fmt: skip

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.classes_ = classes
        self.matrix_, self.bias_, self.texts_, self.scale_, self.offsets_ = (
            arrays[name] for name in ("matrix", "bias", "texts", "scale", "offsets")
        )
        self.n_features_in_ = len(self.matrix_)
        return self
