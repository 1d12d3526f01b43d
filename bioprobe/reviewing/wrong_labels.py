"""Labels that are suspected to be wrong, by what the other labelled pictures teach."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import numpy.typing as npt

from bioprobe.reviewing.learner import Learner
from bioprobe.reviewing.pool import Pool
from bioprobe.types import Doubles, Mask, Names, Places, Scores, Vectors

# Labels that are ranked at most, by lot where there are more: one takes as long as hundreds here.
_MOST_RANKED = 20_000


@dataclasses.dataclass(frozen=True, eq=False)
class Suspects:
    """Labels that confident learning would call wrong, the most suspected first.

    Parameters
    ----------
    places : ndarray of int64, shape (n,)
        Positions of the labels, in the order in which they came in.
    confidences : ndarray of float64, shape (n,)
        Probability of each label where its picture was left out.
    answers : ndarray of object, shape (n,)
        The most probable class instead.
    scores : ndarray of float64, shape (n,)
        Its probability.
    n_ranked : int
        Labels that were ranked.
    """

    places: Places
    confidences: Doubles
    answers: Names
    scores: Doubles
    n_ranked: int


def find_wrong_labels(
    vectors: Vectors, names: Names, groups: npt.NDArray[np.object_] | None = None, seed: int = 0
) -> Suspects:
    """Find labels that are probably wrong: those of all pictures are ranked, five folds.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    names : ndarray of object, shape (n_images,)
        Label of each, ``""`` where it has none.
    groups : ndarray of object, shape (n_images,), optional
        Pictures of one group are left out together; ``""`` for one of its own.
    seed : int
        Of the folds, and of what is ranked where there are more labels than can be.

    See Also
    --------
    rank_labels : the ranking, and what is called wrong.
    """
    chosen = np.flatnonzero(names != "")
    if len(chosen) > _MOST_RANKED:
        drawn = np.random.default_rng(seed).permutation(chosen)[:_MOST_RANKED]
        chosen = np.sort(drawn)
    nothing = np.zeros(0)
    empty = Suspects(nothing.astype(np.int64), nothing, nothing.astype(object), nothing, 0)
    if not len(chosen):
        return empty
    classes, labels = np.unique(names[chosen].astype(str), return_inverse=True)
    pool = Pool.of(vectors[chosen], classes.tolist(), labels)
    if groups is not None:
        known, numbers = np.unique(groups[chosen].astype(str), return_inverse=True)
        pool.groups = np.where(known[numbers] == "", -1, numbers)
    places, columns, probabilities = Learner(pool, seed=seed).predict_left_out()
    if not len(places):
        return empty
    found = rank_labels(np.searchsorted(columns, labels[places]), probabilities)
    best = probabilities.argmax(axis=1)
    # A label that is the answer too is not to be checked.
    is_other = columns[best] != labels[places]
    order = found.order[(found.is_flagged & is_other)[found.order]]
    return Suspects(
        chosen[places[order]], found.confidences[order],
        classes[columns[best[order]]].astype(object),
        probabilities.max(axis=1)[order].astype(np.float64), len(places),
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class RankedLabels:
    """Labels, the most suspected first.

    Parameters
    ----------
    order : ndarray of int64, shape (n,)
        Positions of the labels, the least probable first.
    confidences : ndarray of float64, shape (n,)
        Probability of each label, in the order that they came in.
    is_flagged : ndarray of bool, shape (n,)
        Whether confident learning would call it wrong, in the order that they came in.
    """

    order: Places
    confidences: Doubles
    is_flagged: Mask

    @property
    def n_flagged(self) -> int:
        """Number of labels that confident learning would call wrong."""
        return int(self.is_flagged.sum())


def rank_labels(labels: Places, probabilities: Scores) -> RankedLabels:
    """Rank all labels by how probable they are where they were left out, least first.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
        Class of each picture, in [0, n_classes).
    probabilities : ndarray of float32, shape (n, n_classes)
        Of a classifier that learnt nothing from the picture.

    References
    ----------
    Northcutt, Jiang and Chuang 2021, *Confident Learning: Estimating Uncertainty in Dataset
    Labels*; cleanlab, ``get_label_quality_scores(method="self_confidence")`` and
    ``find_label_issues(filter_by="confident_learning")``.

    Examples
    --------
    >>> found = rank_labels(np.array([0, 1, 0, 1]), np.array(
    ...     [[0.9, 0.1], [0.2, 0.8], [0.05, 0.95], [0.4, 0.6]], dtype=np.float32))
    >>> found.order.tolist(), found.is_flagged.tolist()
    ([2, 3, 1, 0], [False, False, True, False])
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    if not len(labels):
        none = np.zeros(0)
        return RankedLabels(none.astype(np.int64), none, none.astype(bool))
    # Whole classes may be without a picture that was left out: cleanlab numbers those that are.
    present, own = np.unique(labels, return_inverse=True)
    given = probabilities.astype(np.float64)
    confidences = np.asarray(
        get_label_quality_scores(labels, given, method="self_confidence"), dtype=np.float64
    )
    flagged = np.zeros(len(labels), dtype=bool)
    if len(present) > 1:
        kept = given[:, present]
        totals = kept.sum(axis=1, keepdims=True)
        kept = np.where(totals > 0, kept / np.where(totals > 0, totals, 1), 1 / len(present))
        with warnings.catch_warnings():
            # It warns of classes of which it flags every label, or of which few are there.
            warnings.simplefilter("ignore", UserWarning)
            flagged = np.asarray(
                find_label_issues(own, kept, filter_by="confident_learning", n_jobs=1), dtype=bool
            )
    order = np.argsort(confidences, kind="stable").astype(np.int64)
    return RankedLabels(order, confidences, flagged)
