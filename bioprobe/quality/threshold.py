"""Thresholds and scores that are learnt from labelled images, and measured on others."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.types import Doubles, Mask

# Below this, a linear filter has seen too little of what is to be dropped.
MIN_LABELS_FOR_LINEAR = 50
_N_FOLDS = 5


@dataclasses.dataclass(frozen=True)
class FilterQuality:
    """How well a filter finds what is to be dropped, on images it was not tuned on.

    Parameters
    ----------
    n_labels : int
        Labelled images.
    auroc : float
        Of the scores, in [0, 1].
    precision_fraction, recall_fraction, f1_fraction : float
        Of dropping, in [0, 1].
    kept_fraction : float
        Share of the labelled images to keep that are kept.
    """

    n_labels: int
    auroc: float
    precision_fraction: float
    recall_fraction: float
    f1_fraction: float
    kept_fraction: float


def choose_threshold(scores: Doubles, wanted: Mask, *, recall: float | None = None) -> float:
    """Choose the score from which an image is kept.

    Parameters
    ----------
    scores : ndarray of float64, shape (n,)
        Higher is more to be kept.
    wanted : ndarray of bool, shape (n,)
        Labels: whether each is to be kept.
    recall : float, optional
        Least share of the wanted images to keep, in [0, 1]: the highest threshold that does so.
        By default, the threshold of the best F1 of dropping; of equals, the lowest.

    Examples
    --------
    >>> scores, wanted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])
    >>> choose_threshold(scores, wanted), choose_threshold(scores, wanted, recall=1.0)
    (3.5, 1.5)
    """
    ordered = np.unique(scores)
    cuts = np.concatenate([[ordered[0] - 1], (ordered[1:] + ordered[:-1]) / 2])
    if recall is not None:
        best = np.sort(scores[wanted])
        shares = 1 - np.searchsorted(best, cuts) / max(1, len(best))
        return float(cuts[np.flatnonzero(shares >= recall)[-1]])
    cuts = np.append(cuts, ordered[-1] + 1)
    unwanted = np.sort(scores[~wanted])
    n_found = np.searchsorted(unwanted, cuts)
    n_dropped = np.searchsorted(np.sort(scores), cuts)
    return float(cuts[np.argmax(2 * n_found / np.maximum(1, n_dropped + len(unwanted)))])


def score_by_linear(vectors: npt.NDArray[np.float32], wanted: Mask, *, seed: int = 0) -> Doubles:
    """Score labelled images by logistic regressions that did not see them.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    wanted : ndarray of bool, shape (n,)
        At least two of each kind.
    seed : int
        Of the folds.
    """
    from sklearn.model_selection import cross_val_predict

    folds = _make_folds(wanted, seed)
    scores = cross_val_predict(_make_model(), vectors, wanted, cv=folds, method="decision_function")
    return np.asarray(scores, dtype=np.float64)


def apply_linear(
    vectors: npt.NDArray[np.float32], wanted: Mask, others: npt.NDArray[np.float32]
) -> Doubles:
    """Score images by a logistic regression on labelled ones; more than 0 is to be kept."""
    return np.asarray(_make_model().fit(vectors, wanted).decision_function(others), np.float64)


def measure_filter(
    vectors: npt.NDArray[np.float32],
    text_scores: Doubles,
    wanted: Mask,
    *,
    linear: bool,
    recall: float | None = None,
    seed: int = 0,
) -> FilterQuality:
    """Measure a filter on labelled images, each by what was learnt from the others.

    In each fold the linear filter is fitted and the threshold chosen on the other folds only.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    text_scores : ndarray of float64, shape (n,)
    wanted : ndarray of bool, shape (n,)
        At least four of each kind.
    linear : bool
        Whether the linear filter takes the place of the text scores.
    recall : float, optional
        As for :func:`choose_threshold`.
    seed : int
        Of the folds.
    """
    from sklearn.metrics import roc_auc_score

    scores, kept = text_scores.copy(), np.zeros(len(wanted), dtype=bool)
    for learn, test in _make_folds(wanted, seed).split(vectors, wanted):
        learnt = text_scores[learn]
        if linear:
            learnt = score_by_linear(vectors[learn], wanted[learn], seed=seed)
            scores[test] = apply_linear(vectors[learn], wanted[learn], vectors[test])
        kept[test] = scores[test] >= choose_threshold(learnt, wanted[learn], recall=recall)
    n_found = int((~kept & ~wanted).sum())
    n_dropped, n_unwanted = int((~kept).sum()), int((~wanted).sum())
    return FilterQuality(
        n_labels=len(wanted),
        auroc=float(roc_auc_score(wanted, scores)),
        precision_fraction=n_found / max(1, n_dropped),
        recall_fraction=n_found / n_unwanted,
        f1_fraction=2 * n_found / (n_dropped + n_unwanted),
        kept_fraction=float(kept[wanted].mean()),
    )


def _make_model() -> Any:  # noqa: ANN401 - scikit-learn ships no types
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(class_weight="balanced", max_iter=1000)


def _make_folds(wanted: Mask, seed: int) -> Any:  # noqa: ANN401 - scikit-learn ships no types
    from sklearn.model_selection import StratifiedKFold

    n_folds = min(_N_FOLDS, int(wanted.sum()), int((~wanted).sum()))
    return StratifiedKFold(n_folds, shuffle=True, random_state=seed)
