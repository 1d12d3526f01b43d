"""Logistic regression that starts from the texts of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.probes.closed_form import AffineProbe
from bioprobe.probes.linear import LinearProbe
from bioprobe.probes.probe import SEED, STRENGTH, Dimension, Limits, Sweep, space_values
from bioprobe.types import Vectors


class PromptedProbe(AffineProbe):
    """Logistic regression whose penalty draws coefficients to the texts instead of to nothing.

    With few images a class the answers are nearly those of zero-shot, with many those of
    ``linear``. A class that has a text and no training image keeps the text as its coefficients:
    its logit is the zero-shot one, beside those of the trained classes. What training adds to
    these sums to zero over them at every vector, so it favours neither side as a whole. Without
    texts it is ``linear``.

    Parameters
    ----------
    C : float
        Inverse strength of the penalty, > 0: the larger, the less the texts count.
    texts : ndarray of float32, shape (n_texts, dim), unit rows, optional
        Class embeddings.
    text_classes : ndarray, shape (n_texts,), optional
        Class of each; those of ``y`` are among them.
    scale : float
        The encoder's factor from cosine similarity to logits.
    untrained_offset : float
        Added to the logits of classes without a training image.
    balance : str
        As for ``linear``.
    seed : int
        Of rows that ``balance`` makes up.

    References
    ----------
    Gao et al. 2023, *CLIP-Adapter*, and Silva-Rodríguez et al. 2024, *A Closer Look at the
    Few-Shot Adaptation of Large Vision-Language Models*: probes that start from text.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32)
    >>> names = np.array(["lion", "lynx", "puma"], dtype=object)
    >>> probe = PromptedProbe(texts=np.eye(3, dtype=np.float32), text_classes=names, scale=10.0)
    >>> puma = np.array([[0.0, 0.0, 1.0]], dtype=np.float32)
    >>> probe.fit(X, names[:2]).predict(puma).tolist()
    ['puma']
    """

    kind: ClassVar[str] = "prompt+probe"
    summary: ClassVar[str] = "logistic regression that starts from the texts"
    parameter: ClassVar[str] = "C"
    values: ClassVar[tuple[float, ...]] = space_values(1e-3, 1e3, 7)
    limits: ClassVar[Mapping[str, Limits]] = {
        "C": STRENGTH,
        "scale": Limits(-1e6, 1e6),
        "untrained_offset": Limits(),
        "seed": SEED,
    }
    space: ClassVar[tuple[Dimension, ...]] = (
        Dimension("balance", ("none", "class-weight", "logit-adjustment")),
    )
    needs_texts: ClassVar[bool] = True
    answers_untaught: ClassVar[bool] = True

    def __init__(
        self,
        C: float = 10.0,  # noqa: N803 - scikit-learn's name
        *,
        texts: Vectors | None = None,
        text_classes: npt.NDArray[Any] | None = None,
        scale: float = 1.0,
        untrained_offset: float = 0.0,
        balance: str = "none",
        seed: int = 0,
    ) -> None:
        self.C = C
        self.texts = texts
        self.text_classes = text_classes
        self.scale = scale
        self.untrained_offset = untrained_offset
        self.balance = balance
        self.seed = seed

    def _fit(self, X: Vectors, y: npt.NDArray[Any]) -> None:  # noqa: N803
        trained = np.unique(y)
        prior = _make_prior(trained, self.texts, self.text_classes, self.scale)
        inner = LinearProbe(self.C, balance=self.balance, seed=self.seed, prior=prior).fit(X, y)
        if prior is None:
            self.classes_, self.coef_, self.intercept_ = trained, inner.coef_, inner.intercept_
            return
        self.classes_, first = np.unique(np.asarray(self.text_classes), return_index=True)
        self.coef_ = (self.scale * np.asarray(self.texts)[first]).astype(np.float32)
        self.intercept_ = np.full(len(first), self.untrained_offset, dtype=np.float32)
        places = np.searchsorted(self.classes_, trained)
        self.coef_[places] = inner.coef_
        # The softmax of the trained classes leaves a constant free: zero-shot has none.
        self.intercept_[places] = inner.intercept_ - inner.intercept_.mean()

    @classmethod
    def sweep(
        cls,
        X: Vectors,  # noqa: N803 - scikit-learn's name
        y: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
        *,
        texts: Vectors | None = None,
        text_classes: npt.NDArray[Any] | None = None,
        scale: float = 1.0,
        balance: str = "none",
        seed: int = 0,
    ) -> Sweep:
        """Measure many values of C on all folds, among the classes that have images.

        Parameters
        ----------
        X : ndarray of float32, shape (n_images, dim), unit rows
        y : ndarray, shape (n_images,)
        values : ndarray of float64, shape (n_values,)
            C, each above 0.
        folds : ndarray of int64, shape (n_images,)
            Fold in which each row is held out, -1 for one that always trains.
        texts, text_classes, scale, balance, seed
            As the arguments of the class.
        """
        prior = _make_prior(np.unique(y), texts, text_classes, scale)
        return LinearProbe.sweep(X, y, values, folds, balance=balance, seed=seed, prior=prior)


def _make_prior(
    classes: npt.NDArray[Any],
    texts: Vectors | None,
    text_classes: npt.NDArray[Any] | None,
    scale: float,
) -> npt.NDArray[np.float64] | None:
    if texts is None and text_classes is None:
        return None
    if texts is None or text_classes is None or len(texts) != len(text_classes):
        msg = "prompt+probe starts from texts: give one class embedding for each of text_classes"
        raise ProbeError(msg)
    place = {name: row for row, name in enumerate(np.asarray(text_classes).tolist())}
    missing = [str(name) for name in classes.tolist() if name not in place]
    if missing:
        msg = f"{len(missing)} classes have no text, such as {missing[0]}; give texts for all"
        raise ProbeError(msg)
    rows = [place[name] for name in classes.tolist()]
    return scale * np.asarray(texts, dtype=np.float64)[rows]
