"""Aims of logits: toward a text, a taxon at any rank or a class of a probe, or against others.

Texts and probes are asked alike: both give logits of classes, and how a weighted sum of these grows
with the vector.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError
from bioprobe.probes.centroid import CentroidProbe
from bioprobe.probes.closed_form import AffineProbe
from bioprobe.probes.hierarchical import HierarchicalProbe

if TYPE_CHECKING:
    from bioprobe.probes.probe import Probe
    from bioprobe.probes.stacked import StackProbe
    from bioprobe.types import Doubles, Places, Scores, Vectors

# Half the distance between the two vectors of a difference: rounding of float32 and the curve of
# the probes that there are both leave about three digits.
_STEP = 2e-3
# Numbers of vectors that are asked at once: 64 MB.
_AT_ONCE = 16_000_000


class Logits(Protocol):
    """Logits of some classes, of any vectors."""

    def score(self, vectors: Vectors) -> Doubles:
        """Return the logits, shape (n, n_classes), of vectors of shape (n, dim)."""
        ...

    def pull(self, vectors: Vectors, weights: Doubles) -> Doubles:
        """Return how a weighted sum of the logits grows with each vector.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, dim)
        weights : ndarray of float64, shape (n, n_classes)
            Of the logits of each vector; they are held.

        Returns
        -------
        ndarray of float64, shape (n, dim)
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class TextLogits:
    """Logits of texts: the scaled cosine similarity, less an offset.

    Parameters
    ----------
    texts : ndarray of float32 or float16, shape (n_texts, dim), unit rows
    logit_scale : float
        Factor from cosine similarity to logits.
    offsets : ndarray of float32, shape (n_texts,), optional
        Subtracted.
    """

    texts: Vectors
    logit_scale: float
    offsets: Doubles | None = None

    def score(self, vectors: Vectors) -> Doubles:
        """Return the logits; see :class:`Logits`."""
        _check_dim(vectors, self.texts.shape[1])
        found = self.logit_scale * (vectors.astype(np.float64) @ self._texts.T)
        return found if self.offsets is None else found - self.offsets

    def pull(self, vectors: Vectors, weights: Doubles) -> Doubles:
        """Return the growth, which is the same for all vectors; see :class:`Logits`."""
        _check_dim(vectors, self.texts.shape[1])
        return np.asarray(self.logit_scale * (weights @ self._texts))

    @property
    def _texts(self) -> Doubles:
        return self.texts.astype(np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class ProbeLogits:
    """Logits of the classes of a probe, less their mean.

    Softmax knows logits only up to a number that all classes share, and the probes differ in it:
    what all share tells nothing of a class. Logarithms of probabilities are logits too, and without
    their mean they grow where the probability is next to 1 already.

    Parameters
    ----------
    estimator : Probe
        Fitted. Of linear, lda, ridge, prompt+probe, adapter, clap, centroid and hierarchical by
        softmax the growth is computed; of any other it is the difference of two answers for each
        dimension.
    beside : ndarray of float32, shape (width,), optional
        Numbers that stand beside each vector, such as place and date of the picture; they are held.

    See Also
    --------
    bioprobe.learning.fitted.FittedProbe : A calibrator keeps the order of the logits, so that the
        direction is the same without it.
    """

    estimator: Probe
    beside: Vectors | None = None

    def score(self, vectors: Vectors) -> Doubles:
        """Return the logits less their mean; see :class:`Logits`."""
        logits = self.estimator.logits(self._widen(vectors)).astype(np.float64)
        return np.asarray(logits - logits.mean(axis=1, keepdims=True))

    def pull(self, vectors: Vectors, weights: Doubles) -> Doubles:
        """Return the growth; see :class:`Logits`."""
        asked = self._widen(vectors)
        centred = weights - weights.mean(axis=1, keepdims=True)
        found = _pull_exactly(self.estimator, asked, centred)
        if found is None:
            found = _pull_by_differences(self.estimator.logits, asked, centred, vectors.shape[1])
        return found[:, : vectors.shape[1]]

    def _widen(self, vectors: Vectors) -> Vectors:
        if self.beside is None:
            return vectors
        beside = np.broadcast_to(self.beside, (len(vectors), len(self.beside)))
        return np.concatenate([vectors, beside], axis=1).astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class StackLogits:
    """Logits of the classes of a stack of several encoders, as one of them sees a picture.

    They are less their mean, as :class:`ProbeLogits` says.

    Parameters
    ----------
    estimator : StackProbe
        Fitted on a matrix for each base, those of the encoder that is explained first.
    held : tuple of ndarray of float32, each of shape (dim,), unit
        Vectors of the picture by the other encoders, in the order of the fit.
    """

    estimator: StackProbe
    held: tuple[Vectors, ...]

    def score(self, vectors: Vectors) -> Doubles:
        """Return the logits less their mean; see :class:`Logits`."""
        logits = self._ask(vectors).astype(np.float64)
        return np.asarray(logits - logits.mean(axis=1, keepdims=True))

    def pull(self, vectors: Vectors, weights: Doubles) -> Doubles:
        """Return the growth with the vector of the one encoder; see :class:`Logits`."""
        centred = weights - weights.mean(axis=1, keepdims=True)
        return _pull_by_differences(self._ask, vectors, centred, vectors.shape[1])

    def _ask(self, vectors: Vectors) -> Scores:
        n_each = len(self.estimator.bases) // (1 + len(self.held))
        others = [np.broadcast_to(one, (len(vectors), len(one))) for one in self.held]
        matrices = [one for one in (vectors, *others) for _ in range(n_each)]
        return self.estimator.logits(matrices)


def _pull_exactly(estimator: Probe, vectors: Vectors, weights: Doubles) -> Doubles | None:
    """Return the growth of a weighted sum of logits by its formula; None where there is none here.

    Parameters
    ----------
    estimator : Probe
    vectors : ndarray of float32, shape (n, dim)
    weights : ndarray of float64, shape (n, n_classes)
    """
    if isinstance(estimator, AffineProbe):
        return np.asarray(weights @ estimator.coef_.astype(np.float64))
    if isinstance(estimator, HierarchicalProbe) and estimator.method != "local":
        return np.asarray(weights @ estimator.weights_.astype(np.float64).T)
    if isinstance(estimator, CentroidProbe):
        # -scale |r - m|^2 of unit rows r, of which only 2 scale r m changes, and r only sideways.
        shifted = (vectors - estimator.centre_).astype(np.float64)
        lengths = np.linalg.norm(shifted, axis=1, keepdims=True)
        rows = normalise_rows(shifted).astype(np.float64)
        toward = 2 * estimator.scale_ * (weights @ estimator.means_.astype(np.float64))
        sideways = toward - rows * (rows * toward).sum(axis=1, keepdims=True)
        found = np.divide(sideways, lengths, out=np.zeros_like(sideways), where=lengths > 0)
        return np.asarray(found)
    return None


def _pull_by_differences(
    ask: Callable[[Vectors], Scores], vectors: Vectors, weights: Doubles, n_dims: int
) -> Doubles:
    """Return the growth along the first dimensions by differences of two answers each."""
    dim = vectors.shape[1]
    found = np.empty((len(vectors), n_dims))
    at_once = max(1, _AT_ONCE // (2 * dim))
    for place, (vector, weight) in enumerate(zip(vectors, weights, strict=True)):
        for start in range(0, n_dims, at_once):
            which = np.arange(start, min(start + at_once, n_dims))
            steps = np.zeros((len(which), dim), dtype=np.float32)
            steps[np.arange(len(which)), which] = _STEP
            answers = ask(np.concatenate([vector + steps, vector - steps]))
            above, below = np.split(answers.astype(np.float64) @ weight, 2)
            # The step as float32 took it.
            taken = (vector[which] + np.float32(_STEP)).astype(np.float64) - (
                vector[which] - np.float32(_STEP)
            )
            found[place, which] = (above - below) / taken
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class ClassAim:
    r"""The logit of some classes together, against that of others.

    .. math:: z_S = \log \sum_{c \in S} e^{z_c}, \qquad
              z_S - \alpha \operatorname{mean}_j z_{S_j}

    Of a taxon the classes below it are taken together: what this adds up is their probability.

    Parameters
    ----------
    logits : Logits
        Of all classes that are named here.
    members : tuple of int
        Classes whose logit is meant; one at least.
    against : tuple of tuple of int
        Groups of classes that are like them, from which they are told apart; none for the logit
        alone.
    alpha : float
        How much these count.

    References
    ----------
    Zhang et al., *Finer-CAM: Spotting the Difference Reveals Finer Details for Visual
    Explanation*, CVPR 2025: the gradient of the difference of logits.

    Examples
    --------
    >>> aim = ClassAim(TextLogits(np.eye(2, dtype=np.float32), 10.0), (0,), ((1,),))
    >>> value, growth = aim.measure(np.array([[0.8, 0.6]], dtype=np.float32))
    >>> value.round(3).tolist(), growth.tolist()
    ([2.0], [[10.0, -10.0]])
    """

    logits: Logits
    members: tuple[int, ...]
    against: tuple[tuple[int, ...], ...] = ()
    alpha: float = 1.0

    def measure(self, vectors: Vectors) -> tuple[Doubles, Vectors]:
        """Return the logit of each unit row, and its gradient; see :class:`~.aim.Aim`."""
        scores = self.logits.score(vectors)
        weights = np.zeros_like(scores)
        value = _join(scores, self.members, 1.0, weights)
        for group in self.against:
            value += _join(scores, group, -self.alpha / len(self.against), weights)
        return value, self.logits.pull(vectors, weights).astype(np.float32)


def _join(scores: Doubles, group: tuple[int, ...], factor: float, weights: Doubles) -> Doubles:
    """Return the weighed logit of classes together, and add what each has of it to the weights."""
    members: Places = np.asarray(group, dtype=np.int64)
    own = scores[:, members]
    highest = own.max(axis=1, keepdims=True)
    shares = np.exp(own - highest)
    total = shares.sum(axis=1, keepdims=True)
    together = (highest + np.log(total))[:, 0]
    weights[:, members] += factor * shares / total
    return np.asarray(factor * together)


def _check_dim(vectors: Vectors, dim: int) -> None:
    if vectors.shape[1] != dim:
        msg = f"the aim takes vectors of dim {dim}, got {vectors.shape[1]}"
        raise MismatchError(msg)
