"""A cache of labelled images beside the texts, whose keys are learnt: Tip-Adapter-F."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.probes.adapter import read_texts
from bioprobe.probes.probe import SEED, Dimension, Limits, Probe
from bioprobe.task.scores import split_rows
from bioprobe.types import Arrays, Doubles, Places, Vectors

# As published: AdamW with this rate and epsilon, in batches of so many images; and what PyTorch
# takes where nothing is said.
_RATE, _EPSILON, _BATCH = 1e-3, 1e-4, 256
_FADE, _DECAY = (0.9, 0.999), 0.01
_BALANCES = ("none", "class-weight")


class TipAdapterProbe(Probe):
    r"""Zero-shot, and votes of labelled images by how near they are to learnt keys: Tip-Adapter-F.

    Logits are :math:`s\, t_c \cdot x + \alpha \sum_i e^{-\beta (1 - x \cdot k_i)} [y_i = c]`. The
    keys k begin as the vectors of the labelled images, one each, and are learnt: AdamW of a rate
    of .001 that falls to nothing by a cosine, in batches of 256 images drawn by ``seed``. α and β
    are the published defaults: the authors choose them for each data set on its validation part,
    which is more images than a class has. For comparison: each image is a key, so that a thousand
    images a class are as many keys, all of them asked for every answer.

    Parameters
    ----------
    alpha : float
        ≥ 0; of 0 it is zero-shot.
    beta : float
        > 0; the larger, the more the nearest keys count.
    n_epochs : int
        ≥ 1, passes over the images.
    texts, text_classes, scale, untrained_offset
        As for :class:`bioprobe.probes.adapter.AdapterProbe`.
    balance : str
        ``none``, or ``class-weight``: classes weigh the same while keys are learnt.
    seed : int
        Of the order of the images.

    Attributes
    ----------
    keys_ : ndarray of float32, shape (n_images, dim)
    labels_ : ndarray of int64, shape (n_images,)
        Place of each key's class.

    References
    ----------
    Zhang et al. 2022, *Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification*.

    Examples
    --------
    >>> X = np.array([[0.8, 0.6, 0.0], [0.6, 0.8, 0.0]], dtype=np.float32)
    >>> names = np.array(["lion", "lynx", "puma"], dtype=object)
    >>> probe = TipAdapterProbe(texts=np.eye(3, dtype=np.float32), text_classes=names, scale=10.0)
    >>> probe.fit(X, names[:2]).predict(np.eye(3, dtype=np.float32)).tolist()
    ['lion', 'lynx', 'puma']
    """

    kind: ClassVar[str] = "tip-adapter"
    summary: ClassVar[str] = "zero-shot and votes of learnt keys (Tip-Adapter-F)"
    needs_texts: ClassVar[bool] = True
    answers_untaught: ClassVar[bool] = True
    limits: ClassVar[Mapping[str, Limits]] = {
        "alpha": Limits(0, 1e30),
        "beta": Limits(0, 1e30, above=True),
        "n_epochs": Limits(1, 10_000, whole=True),
        "scale": Limits(-1e6, 1e6),
        "untrained_offset": Limits(),
        "seed": SEED,
    }
    space: ClassVar[tuple[Dimension, ...]] = (
        Dimension("alpha", (1.0, 3.0, 0.3)),
        Dimension("beta", (5.5, 1.0, 2.5)),
    )
    keys_: Vectors
    labels_: Places

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 5.5,
        *,
        n_epochs: int = 20,
        texts: Vectors | None = None,
        text_classes: npt.NDArray[Any] | None = None,
        scale: float = 1.0,
        untrained_offset: float = 0.0,
        balance: str = "none",
        seed: int = 0,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.n_epochs = n_epochs
        self.texts = texts
        self.text_classes = text_classes
        self.scale = scale
        self.untrained_offset = untrained_offset
        self.balance = balance
        self.seed = seed

    def _fit(self, X: Vectors, y: npt.NDArray[Any]) -> None:  # noqa: N803
        self._check_balance(self.balance, _BALANCES)
        trained, targets = np.unique(y, return_inverse=True)
        self.classes_, texts, places = read_texts(
            trained, targets, X, self.texts, self.text_classes, self.kind
        )
        zeroshot = self.scale * texts
        start = zeroshot[places]
        self.intercept_ = np.zeros(len(self.classes_), dtype=np.float32)
        self.intercept_[np.setdiff1d(np.arange(len(self.classes_)), places)] = self.untrained_offset
        self.coef_ = zeroshot.astype(np.float32)
        # Keys of a class lie side by side.
        order = np.argsort(targets, kind="stable")
        self.labels_ = places[targets[order]]
        self.keys_ = self._learn_keys(X[order], targets[order], X[order] @ start.T)

    def _learn_keys(self, X: Vectors, targets: Places, zeroshot: Doubles) -> Vectors:  # noqa: N803
        random = np.random.default_rng(int(self.seed))
        sizes = np.bincount(targets)
        weights = np.ones(len(X))
        if self.balance == "class-weight":
            weights = len(X) / (len(sizes) * sizes[targets])
        starts, rows = np.cumsum(sizes) - sizes, normalise_rows(X)
        keys = rows.copy()
        first, second = np.zeros_like(keys), np.zeros_like(keys)
        n_steps, step = int(self.n_epochs) * -(-len(X) // _BATCH), 0
        for _ in range(int(self.n_epochs)):
            order = random.permutation(len(X))
            for begin in range(0, len(X), _BATCH):
                batch = order[begin : begin + _BATCH]
                near = self._find_near(rows[batch], keys)
                logits = zeroshot[batch] + np.add.reduceat(near, starts, axis=1)
                pull = softmax(logits, axis=1)
                pull[np.arange(len(batch)), targets[batch]] -= 1
                pull *= (weights[batch] / weights[batch].sum())[:, np.newaxis]
                gradient = self.beta * (near * pull[:, targets]).T.astype(np.float32) @ rows[batch]
                rate = _RATE * (1 + np.cos(np.pi * step / n_steps)) / 2
                step += 1
                first += (1 - _FADE[0]) * (gradient - first)
                second += (1 - _FADE[1]) * (gradient**2 - second)
                length = np.sqrt(second / (1 - _FADE[1] ** step)) + _EPSILON
                keys *= 1 - rate * _DECAY
                keys -= rate / (1 - _FADE[0] ** step) * first / length
        return keys

    def _find_near(self, rows: Vectors, keys: Vectors) -> Vectors:
        """Return what each key says to each image, shape (n_images, n_keys)."""
        return np.asarray(self.alpha * np.exp(-self.beta * (1 - rows @ keys.T)), dtype=np.float32)

    def _logits(self, X: Vectors) -> npt.NDArray[np.float32]:  # noqa: N803
        logits = np.asarray(X @ self.coef_.T + self.intercept_, dtype=np.float32)
        places, starts = np.unique(self.labels_, return_index=True)
        for part in split_rows(len(X), len(self.keys_)):
            near = self._find_near(normalise_rows(X[part]), self.keys_)
            logits[part, places] += np.add.reduceat(near, starts, axis=1)
        return logits

    def to_arrays(self) -> Arrays:
        """Return the texts as coefficients, the intercepts, the keys and their classes."""
        return {
            "coef": self.coef_,
            "intercept": self.intercept_,
            "keys": self.keys_,
            "labels": self.labels_,
        }

    def set_arrays(self, arrays: Arrays, classes: npt.NDArray[Any]) -> Self:
        """Take what :meth:`to_arrays` returned."""
        self.classes_ = classes
        self.coef_, self.intercept_ = arrays["coef"], arrays["intercept"]
        self.keys_, self.labels_ = arrays["keys"], arrays["labels"]
        self.n_features_in_ = self.coef_.shape[1]
        return self
