r"""A head that knows one class: from a question, what was found, and all the rest of a collection.

.. math:: w = H^{-1} \Big(\sum_{i \in P} x_i + s\,q\Big), \qquad
   H = \sum_{i \in P \cup N} x_i x_i^\top + s\,q q^\top + u\,\Sigma + \lambda I

with vectors :math:`x` less their mean: ridge regression of 1 on what was found and on the question
:math:`q`, of 0 on what was looked at and is not it, and of 0 on all images of the collection, whose
covariance is :math:`\Sigma`, with a small weight each (:math:`u` in all): hardly any of them shows
what is sought, and which ones do need not be known. There is nothing to iterate, so that it takes
some milliseconds after each answer.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bioprobe.types import Doubles, Mask, Vectors

#: Weight of all images together as examples of what is not sought.
REST_WEIGHT = 100.0
#: Weight of a question as an example of what is sought: a picture of it is one; a text is none, its
#: vector lies elsewhere.
PICTURE_WEIGHT, TEXT_WEIGHT = 1.0, 0.3
#: Of the squared length of the head.
RIDGE = 0.1
# Of the curve from scores to probabilities: few answers are no certainty.
_CURVE_RIDGE = 0.002


@dataclasses.dataclass(frozen=True)
class Rest:
    """What all images of a collection say of a head: where they lie, and how they spread.

    Parameters
    ----------
    centre : ndarray of float64, shape (dim,)
        Their mean.
    spread : ndarray of float64, shape (dim, dim)
        Their covariance.
    """

    centre: Doubles
    spread: Doubles

    @classmethod
    def of(cls, vectors: Vectors) -> Rest:
        """Measure it on images, shape (n_images, dim)."""
        rows = np.asarray(vectors, dtype=np.float32)
        centre = rows.mean(axis=0, dtype=np.float64)
        away = rows - centre.astype(np.float32)
        return cls(centre, (away.T @ away).astype(np.float64) / max(1, len(rows)))


@dataclasses.dataclass(frozen=True)
class Head:
    """A head of one class, and what its scores are worth.

    Parameters
    ----------
    weights : ndarray of float32, shape (dim,)
        What vectors are multiplied with.
    constant : float
        What is added.
    slope, shift : float
        Of the curve from a score to a probability, that of the normal distribution.
    left_out : ndarray of float64, shape (n_looked,)
        Probability of each image that taught it, by a head that it did not teach.
    """

    weights: Vectors
    constant: float
    slope: float
    shift: float
    left_out: Doubles

    def score(self, vectors: Vectors) -> Vectors:
        """Return how like what is sought images are: some 1 where they are it, 0 where not."""
        return np.asarray(vectors @ self.weights + np.float32(self.constant), dtype=np.float32)

    def tell(self, scores: Vectors) -> Doubles:
        """Return the probability that goes with scores."""
        return _tell(scores, self.slope, self.shift)


def fit_head(
    rest: Rest,
    question: Vectors,
    vectors: Vectors,
    is_it: Mask,
    *,
    question_weight: float = TEXT_WEIGHT,
) -> Head:
    """Fit a head on what was looked at.

    Parameters
    ----------
    rest : Rest
        Of the collection.
    question : ndarray of float32, shape (dim,), unit
    vectors : ndarray of float32, shape (n_looked, dim), unit rows
        Of the images that were looked at.
    is_it : ndarray of bool, shape (n_looked,)
        Which of them show what is sought.
    question_weight : float
        Of the question as one of those, ≥ 0.

    References
    ----------
    Hariharan, Malik and Ramanan 2012, *Discriminative decorrelation for clustering and
    classification* (the covariance of everything as the negatives); Ghani et al. 2025,
    perch-hoplite, agile modelling (unlabelled rows as weak negatives); Platt 1999 (a curve on
    scores), with that of the normal distribution, whose tail adds up to less: of thousands of
    images that are nothing like it few are said to be it.
    """
    asked = question.astype(np.float64) - rest.centre
    rows = vectors.astype(np.float64) - rest.centre
    matrix = REST_WEIGHT * rest.spread + RIDGE * np.eye(len(asked))
    matrix += rows.T @ rows + question_weight * np.outer(asked, asked)
    target = rows[is_it].sum(axis=0) + question_weight * asked
    solved = np.linalg.solve(matrix, np.column_stack([target, rows.T]))
    weights = solved[:, 0]
    # What a row scores where it is left out of the sums.
    own = np.minimum(np.einsum("ij,ji->i", rows, solved[:, 1:]), 1 - 1e-6)
    left_out = (rows @ weights - own * is_it) / (1 - own)
    slope, shift = _fit_curve(left_out, is_it)
    constant = -float(rest.centre @ weights)
    told = _tell(left_out, slope, shift)
    return Head(weights.astype(np.float32), constant, slope, shift, told)


def _tell(scores: npt.NDArray[np.floating], slope: float, shift: float) -> Doubles:
    from scipy.special import ndtr

    found: Doubles = ndtr(slope * scores.astype(np.float64) + shift)
    return found


def _fit_curve(scores: Doubles, is_it: Mask) -> tuple[float, float]:
    """Fit a curve; one image at 1 that is it, and one at 0 that is not, are always there."""
    from scipy.optimize import minimize
    from scipy.special import log_ndtr

    x = np.append(scores, [1.0, 0.0])
    signs = np.where(np.append(is_it, [True, False]), 1.0, -1.0)

    def measure(curve: Doubles) -> tuple[float, Doubles]:
        z = signs * (curve[0] * x + curve[1])
        logs = log_ndtr(z)
        # The density over the distribution, by logarithms: both vanish far out.
        slopes = -signs * np.exp(-(z**2) / 2 - logs) / np.sqrt(2 * np.pi)
        loss = float(-logs.sum() + _CURVE_RIDGE * curve[0] ** 2 / 2)
        return loss, np.array([slopes @ x + _CURVE_RIDGE * curve[0], slopes.sum()])

    found = minimize(measure, np.array([4.0, -2.0]), jac=True, method="L-BFGS-B").x
    # What scores lower is never likelier.
    return max(0.0, float(found[0])), float(found[1])
