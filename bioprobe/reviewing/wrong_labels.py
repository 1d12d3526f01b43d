"""Labels that are suspected to be wrong, by what the other labelled pictures teach."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np

from bioprobe.probes.closed_form import LdaProbe
from bioprobe.reviewing.learner import Learner, LeftOut
from bioprobe.reviewing.pool import Pool
from bioprobe.task.lazy_rows import AnyRows
from bioprobe.types import Doubles, Mask, Names, Places, Scores

# Labels that are ranked at most, by lot where there are more: one takes as long as hundreds here.
_MOST_RANKED = 20_000
# Parts in which they are left out in turn: what is left of a small class still teaches it.
N_FOLDS = 10
# Of the covariance of the Gaussian classes, chosen by the log-loss of what was left out.
_SHRINKAGE = 0.7
# Labels times classes of which both methods are asked: of more a review's takes many minutes.
_MOST_BOTH = 8_000_000
# Labels by which a temperature is chosen.
_MOST_WEIGHED = 4_000
# One over the temperatures that are tried, and the share of labels that may be any class.
_FACTORS, _ANY = np.geomspace(0.02, 4, 40), 0.01


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
    vectors: AnyRows, names: Names, groups: Callable[[Places], Names] | None = None
) -> Suspects:
    """Find labels that are probably wrong: those of all pictures are ranked, ten folds.

    Parameters
    ----------
    vectors : ndarray of float32 or LazyRows, shape (n_images, dim), unit rows
        Those that are ranked are read.
    names : ndarray of object, shape (n_images,)
        Label of each, ``""`` where it has none.
    groups : callable, optional
        From places, ndarray of int64 of shape (n,), to the groups of these, ndarray of object of
        the same shape: pictures of one group are left out together; ``""`` for one of its own.

    See Also
    --------
    predict_left_out : what says how probable each label is.
    rank_labels : the ranking, and what is called wrong.
    """
    chosen = np.flatnonzero(names != "")
    if len(chosen) > _MOST_RANKED:
        drawn = np.random.default_rng(0).permutation(chosen)[:_MOST_RANKED]
        chosen = np.sort(drawn)
    nothing = np.zeros(0)
    empty = Suspects(nothing.astype(np.int64), nothing, nothing.astype(object), nothing, 0)
    if not len(chosen):
        return empty
    classes, labels = np.unique(names[chosen].astype(str), return_inverse=True)
    pool = Pool.of(np.asarray(vectors[chosen]), classes.tolist(), labels)
    if groups is not None:
        known, numbers = np.unique(groups(chosen).astype(str), return_inverse=True)
        pool.groups = np.where(known[numbers] == "", -1, numbers)
    learner = Learner(pool, seed=0, n_folds=N_FOLDS)
    places, columns, probabilities = predict_left_out(learner)
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


def predict_left_out(learner: Learner) -> tuple[Places, Places, Scores]:
    """Answer each picture that teaches by what the others teach, the mean of two methods.

    What a review learns by gives each class the same weight; Gaussian classes of one covariance
    know how frequent each is, and where their pictures lie. They err on different labels. Of very
    many labels and classes the Gaussian ones alone are asked.

    Returns
    -------
    places, classes, probabilities : ndarray
        As of :meth:`Learner.predict_left_out`.
    """
    left, found = learner.leave_out(), None
    # It takes most memory: it is asked while nothing else is held.
    if len(left.places) * len(left.classes) <= _MOST_BOTH:
        _, _, found = learner.predict_left_out()
    gaussian = _ask_gaussians(learner, left)
    if gaussian is None:
        return learner.predict_left_out() if found is None else (left.places, left.classes, found)
    own = left.targets[left.is_out]
    probabilities = _sharpen(gaussian[left.is_out], own)
    if found is not None:
        with np.errstate(divide="ignore"):
            probabilities = (_sharpen(np.log(found), own) + probabilities) / 2
    return left.places, left.classes, probabilities.astype(np.float32)


def _ask_gaussians(learner: Learner, left: LeftOut) -> Doubles | None:
    """Return the logits of all that teach; None where what is left is too little to learn from."""
    vectors, labels, folds = learner.pool.read(learner.teaching), left.targets, left.folds
    if not len(left.places):
        return None
    logits = np.full((len(labels), len(left.classes)), -np.inf)
    for fold in np.unique(folds).tolist():
        inside = folds == fold
        if len(np.unique(labels[~inside])) < 2:
            return None
        probe = LdaProbe(_SHRINKAGE).fit(vectors[~inside], labels[~inside])
        logits[np.ix_(inside, probe.classes_)] = probe.logits(vectors[inside])
    return logits


def _sharpen(logits: Doubles | Scores, labels: Places) -> Doubles:
    """Return probabilities at the temperature at which the labels are most likely.

    That some are wrong is allowed for: one in a hundred may be any class. Of many labels every
    so many-th is asked, which are as likely.
    """
    asked = slice(None, None, -(-len(labels) // _MOST_WEIGHED))
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    few, its = shifted[asked], labels[asked]
    best, least = 1.0, np.inf
    for factor in _FACTORS.tolist():
        given = _share_out(factor * few)[np.arange(len(its)), its]
        loss = -np.log((1 - _ANY) * given + _ANY / few.shape[1]).sum()
        if loss < least:
            best, least = factor, loss
    shifted *= best
    return _share_out(shifted)


def _share_out(shifted: Doubles) -> Doubles:
    """Return the softmax of logits of which the highest of a row is 0, in their place."""
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=1, keepdims=True)
    return shifted


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
