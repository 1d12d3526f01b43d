"""Attentive pooling: which tokens of a picture count is learnt with what they say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from bioprobe.encoders.keeping import TOKENS
from bioprobe.errors import ProbeError
from bioprobe.probes.probe import (
    SEED,
    Dimension,
    Limits,
    Probe,
    Sweep,
    find_places,
    judge,
)
from bioprobe.store.kept import KeptRows
from bioprobe.types import Arrays, Places, Rows, Vectors

if TYPE_CHECKING:
    import torch

_BALANCES = ("none", "class-weight")
# Pictures of which the tokens are in memory together: 64 of 257 tokens of 1,024 are 67 MB.
_AT_ONCE = 64
# Pictures of one step.
_BATCH = 16
_LEAST_SPREAD = 1e-3


class AttentiveProbe(Probe):
    r"""A linear classifier of tokens that are pooled by attention, which is learnt with it.

    It learns from what ``embed --keep tokens`` keeps. Each token :math:`z_t` is first brought to
    mean 0 and variance 1. Each of M learnt queries pools a share of the channels:
    :math:`h_m = \sum_t \mathrm{softmax}_t(q_m \cdot z_t / \sqrt{D})\, z_{t,m}`; what is pooled is
    centred and scaled by how the mean of the tokens varies over the training images, and a linear
    layer answers. Queries and coefficients start from zero: from the mean of the tokens. AdamW
    takes so many epochs as is best on held-out images; the same seed gives the same probe.

    Tokens are read some pictures at a time, never all. An array of shape (n_images, dim) is taken
    for one token a picture.

    Parameters
    ----------
    epochs : int
        Times that each image is learnt from, ≥ 1; chosen on held-out images where a task does it.
    queries : int
        M, ≥ 1: the share of channels that each pools is 1/M.
    learning_rate : float
        Of AdamW, > 0.
    weight_decay : float
        Of AdamW, ≥ 0, on queries and coefficients.
    balance : str
        ``none``, or ``class-weight``: each class weighs the same.
    seed : int
        Of the order in which images come.

    References
    ----------
    Chen et al. 2024, *Context Autoencoder for Self-Supervised Representation Learning* (attentive
    probing by learnt queries); Psomas et al. 2025, *Attention, Please! Revisiting Attentive Probing
    Through the Lens of Efficiency* (several queries, each of its own channels); here without the
    projection of values that both have.

    Examples
    --------
    >>> X = np.repeat(np.eye(2, 4, dtype=np.float32), 8, axis=0)
    >>> y = np.repeat(["a", "b"], 8)
    >>> AttentiveProbe(queries=1, learning_rate=0.1).fit(X, y).predict(X[[0, 8]]).tolist()
    ['a', 'b']
    """

    kind: ClassVar[str] = "attentive"
    summary: ClassVar[str] = "linear on tokens, pooled by attention that is learnt"
    reads: ClassVar[str] = TOKENS
    parameter: ClassVar[str] = "epochs"
    values: ClassVar[tuple[float, ...]] = (1, 2, 3, 5, 8, 12, 16, 20)
    limits: ClassVar[Mapping[str, Limits]] = {
        "epochs": Limits(1, 10_000, whole=True),
        "queries": Limits(1, 1_000, whole=True),
        "learning_rate": Limits(0, 10, above=True),
        "weight_decay": Limits(0, 100),
        "seed": SEED,
    }
    space: ClassVar[tuple[Dimension, ...]] = (
        Dimension("queries", (4, 1, 16)),
        Dimension("balance", _BALANCES),
    )

    def __init__(
        self,
        epochs: int = 10,
        *,
        queries: int = 4,
        learning_rate: float = 1e-2,
        weight_decay: float = 0.05,
        balance: str = "none",
        seed: int = 0,
    ) -> None:
        self.epochs = epochs
        self.queries = queries
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.balance = balance
        self.seed = seed

    def _fit(self, X: Any, y: npt.NDArray[Any]) -> None:  # noqa: N803, ANN401 - tokens
        for _ in self._train(X, y, int(self.epochs)):
            pass

    def _train(
        self,
        X: Any,  # noqa: N803, ANN401 - tokens
        y: npt.NDArray[Any],
        n_epochs: int,
    ) -> Iterator[int]:
        """Learn epoch by epoch, and stop after each, where this can answer.

        Yields
        ------
        int
            Epochs so far.
        """
        import torch

        self._check_balance(self.balance, _BALANCES)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._check_classes(self.classes_)
        self.centre_, self.spread_ = _measure(X)
        dim, n_classes = len(self.centre_), len(self.classes_)
        n_queries = min(int(self.queries), dim)
        queries, coef, intercept = (
            torch.zeros(shape, requires_grad=True)
            for shape in ((n_queries, dim), (n_classes, dim), (n_classes,))
        )
        weights = None
        if self.balance == "class-weight":
            counts = np.bincount(labels).astype(np.float32)
            weights = torch.from_numpy(len(labels) / (n_classes * counts))
        decay = float(self.weight_decay)
        steps = _AdamW(
            [(queries, decay), (coef, decay), (intercept, 0.0)], float(self.learning_rate)
        )
        random, targets = np.random.default_rng(int(self.seed)), torch.from_numpy(labels)
        for epoch in range(1, n_epochs + 1):
            order = random.permutation(len(labels))
            for start in range(0, len(order), _BATCH):
                rows = np.sort(order[start : start + _BATCH])
                with torch.enable_grad():
                    logits = self._classify(_read(X, rows), queries, coef, intercept)
                    loss = torch.nn.functional.cross_entropy(logits, targets[rows], weights)
                    gradients = torch.autograd.grad(loss, (queries, coef, intercept))
                steps.step(gradients)
            self.queries_, self.coef_, self.intercept_ = (
                one.detach().numpy().copy() for one in (queries, coef, intercept)
            )
            yield epoch

    def _classify(
        self,
        tokens: torch.Tensor,
        queries: torch.Tensor,
        coef: torch.Tensor,
        intercept: torch.Tensor,
    ) -> torch.Tensor:
        """Return the logits of tokens of mean 0 and variance 1, shape (n, n_tokens, dim)."""
        import torch

        dim = tokens.shape[2]
        shares = torch.softmax(tokens @ queries.T / math.sqrt(dim), dim=1)
        # Each query's own channels of what all of them pool: one product is quicker than parts.
        owner = torch.arange(dim) * len(queries) // dim
        own = owner == torch.arange(len(queries))[:, None]
        pooled = (shares.transpose(1, 2) @ tokens * own).sum(dim=1)
        centred = (pooled - torch.from_numpy(self.centre_)) / torch.from_numpy(self.spread_)
        return centred @ coef.T / math.sqrt(dim) + intercept

    def _logits(self, X: Any) -> npt.NDArray[np.float32]:  # noqa: N803, ANN401 - tokens
        import torch

        learnt = [torch.from_numpy(one) for one in (self.queries_, self.coef_, self.intercept_)]
        parts = [np.zeros((0, len(self.classes_)), dtype=np.float32)]
        with torch.no_grad():
            for start in range(0, len(X), _AT_ONCE):
                rows = np.arange(start, min(start + _AT_ONCE, len(X)))
                parts.append(self._classify(_read(X, rows), *learnt).numpy())
        return np.concatenate(parts)

    @classmethod
    def sweep(
        cls,
        X: Any,  # noqa: N803, ANN401 - tokens
        y: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
        *,
        queries: int = 4,
        learning_rate: float = 1e-2,
        weight_decay: float = 0.05,
        balance: str = "none",
        seed: int = 0,
    ) -> Sweep:
        """Measure many numbers of epochs on all folds, of one training each.

        Parameters
        ----------
        X : KeptRows, or ndarray of shape (n_images, n_tokens, dim)
        y : ndarray, shape (n_images,)
        values : ndarray of float64, shape (n_values,)
            Numbers of epochs.
        folds : ndarray of int64, shape (n_images,)
            Fold in which each row is held out, -1 for one that always trains.
        queries, learning_rate, weight_decay, balance, seed
            As the arguments of the class.
        """
        numbers = np.unique(folds[folds >= 0])
        accuracies, log_losses = (np.zeros((len(values), len(numbers))) for _ in range(2))
        wanted = {int(value): place for place, value in enumerate(values)}
        for column, fold in enumerate(numbers):
            out = folds == fold
            probe = cls(
                max(wanted), queries=queries, learning_rate=learning_rate,
                weight_decay=weight_decay, balance=balance, seed=seed,
            )  # fmt: skip
            for epoch in probe._train(X[~out], y[~out], max(wanted)):
                if epoch in wanted:
                    shares = softmax(probe._logits(X[out]), axis=1)
                    places = find_places(probe.classes_, y[out])
                    judged = judge(shares, places)
                    accuracies[wanted[epoch], column], log_losses[wanted[epoch], column] = judged
        return Sweep(cls.parameter, np.asarray(values), accuracies, log_losses)

    def _check_training(self, X: Any, y: npt.ArrayLike) -> tuple[Any, npt.NDArray[Any]]:  # noqa: N803, ANN401
        if getattr(X, "ndim", 0) != 3:
            return super()._check_training(X, y)
        self.check_settings(self.get_params(deep=False))
        classes = np.asarray(y)
        if classes.shape != (len(X),) or not len(X):
            msg = f"{len(X)} images need a class each, got classes of the shape {classes.shape}"
            raise ProbeError(msg)
        self.n_features_in_ = X.shape[2]
        return X, classes

    def _check_asked(self, X: Any) -> Any:  # noqa: N803, ANN401
        if getattr(X, "ndim", 0) != 3:
            return super()._check_asked(X)
        if X.shape[2] != self.n_features_in_:
            msg = f"{self.kind} learnt from tokens of {self.n_features_in_}, got {X.shape}"
            raise ProbeError(msg)
        return X

    def to_arrays(self) -> Arrays:
        """Return queries, coefficients, and how what is pooled is centred and scaled."""
        return {
            "queries": self.queries_, "coef": self.coef_, "intercept": self.intercept_,
            "centre": self.centre_, "spread": self.spread_,
        }  # fmt: skip

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.classes_ = classes
        self.queries_, self.coef_, self.intercept_, self.centre_, self.spread_ = (
            arrays[name] for name in ("queries", "coef", "intercept", "centre", "spread")
        )
        self.n_features_in_ = len(self.centre_)
        return self


class _AdamW:
    """AdamW as torch has it, whose own takes two seconds to import.

    Parameters
    ----------
    points : sequence of (Tensor, float)
        What is moved, and the weight decay of each.
    rate : float
        Learning rate.

    References
    ----------
    Loshchilov and Hutter 2019, *Decoupled Weight Decay Regularization*.
    """

    _BETAS = (0.9, 0.999)
    _LEAST = 1e-8

    def __init__(self, points: Sequence[tuple[torch.Tensor, float]], rate: float) -> None:
        self._points = points
        self._rate = rate
        self._means = [one.detach().clone().zero_() for one, _ in points]
        self._squares = [one.detach().clone().zero_() for one, _ in points]
        self._n_steps = 0

    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        """Move each by its gradient."""
        import torch

        self._n_steps += 1
        first, second = self._BETAS
        length = self._rate / (1 - first**self._n_steps)
        root = math.sqrt(1 - second**self._n_steps)
        moved = zip(self._points, gradients, self._means, self._squares, strict=True)
        with torch.no_grad():
            for (point, decay), gradient, mean, square in moved:
                point.mul_(1 - self._rate * decay)
                mean.lerp_(gradient, 1 - first)
                square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
                point.addcdiv_(mean, (square.sqrt() / root).add_(self._LEAST), value=-length)


def _read(X: Any, rows: Places | Rows) -> torch.Tensor:  # noqa: N803, ANN401 - tokens
    """Read the tokens of some pictures, each of mean 0 and variance 1; (n, n_tokens, dim)."""
    import torch

    values = X.read(rows) if isinstance(X, KeptRows) else np.ascontiguousarray(X[rows])
    tokens = torch.from_numpy(values).float()
    if tokens.ndim == 2:
        return tokens[:, None]
    return torch.nn.functional.layer_norm(tokens, tokens.shape[2:])


def _measure(X: Any) -> tuple[Vectors, Vectors]:  # noqa: N803, ANN401 - tokens
    """Return the mean over pictures of the mean of their tokens, and how much that varies."""
    total = squares = np.zeros(X.shape[-1])
    for start in range(0, len(X), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(X)))
        means = _read(X, rows).mean(dim=1).numpy().astype(np.float64)
        total, squares = total + means.sum(axis=0), squares + (means**2).sum(axis=0)
    centre = total / len(X)
    spread = np.sqrt(np.maximum(squares / len(X) - centre**2, 0))
    least = _LEAST_SPREAD * max(float(spread.max(initial=0)), 1e-12)
    return centre.astype(np.float32), np.maximum(spread, least).astype(np.float32)
