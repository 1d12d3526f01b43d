"""Several texts a class: how their scores become one, for any number of texts."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError, PromptError
from bioprobe.types import Rows, Scores, Vectors

if TYPE_CHECKING:
    import torch

# Scores that are computed with at once: 4 million in float64 are 32 MB, with what is made of them
# a few times that.
_SCORES_AT_ONCE = 4_000_000
# Of fewer that stand by columns, numpy finds the best as fast as torch.
_FEW_SCORES = 100_000


def split_rows(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Return rows some at a time, so that a few copies of their scores are no matter.

    What is computed for every class of every image goes by these blocks: 100,000 images of 20,000
    classes have 8 GB of scores.

    Examples
    --------
    >>> list(split_rows(5, 2_000_000))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, _SCORES_AT_ONCE // max(1, n_columns))
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))


def find_top(scores: npt.NDArray[np.floating], k: int) -> tuple[Rows, Any]:
    """Return the best columns of each row, and their scores.

    Parameters
    ----------
    scores : ndarray of float, shape (n_images, n_classes)
        Numbers, none of which is NaN.
    k : int
        Columns, ≥ 1; no more than there are come back.

    Returns
    -------
    top : ndarray of int64, shape (n_images, min(k, n_classes))
        Best first; equal ones in the order of the columns.
    values : ndarray, of the same shape and as precise as the scores

    Examples
    --------
    >>> find_top(np.array([[0.1, 0.4, 0.1, 0.4]], dtype=np.float32), 3)[0].tolist()
    [[1, 3, 0]]
    """
    k = min(k, scores.shape[1])
    if not k:
        top = np.zeros((len(scores), 0), dtype=np.int64)
        return top, np.zeros(top.shape, dtype=scores.dtype)
    if _is_many_by_columns(scores):
        return _find_top_by_columns(scores, k)
    # Sorting all of many classes for the few best would take most of the time.
    least = np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k, np.newaxis]
    found = scores >= least
    # Of a sure answer all others may be 0: of those that tie, the first fill up.
    many = np.flatnonzero(np.count_nonzero(found, axis=1) > k)
    if len(many):
        tied = scores[many] == least[many]
        n_missing = k - np.count_nonzero(found[many] & ~tied, axis=1)
        found[many] &= ~tied | (np.cumsum(tied, axis=1) <= n_missing[:, np.newaxis])
    columns = np.flatnonzero(found).reshape(len(scores), k)
    columns -= scores.shape[1] * np.arange(len(scores))[:, np.newaxis]
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def _order(scores: npt.NDArray[Any], rows: Rows, columns: Rows, k: int) -> tuple[Rows, Any]:
    """Return the best k of some places of each row, that has so many at least."""
    values = scores[rows, columns]
    order = np.lexsort((columns, -values, rows))
    counts = np.bincount(rows, minlength=len(scores))
    taken = (np.cumsum(counts) - counts)[:, np.newaxis] + np.arange(k)
    return columns[order][taken], values[order][taken]


def _is_many_by_columns(scores: npt.NDArray[Any]) -> bool:
    """Return whether numbers stand by columns and are so many that torch is faster.

    That is how the sums of the groups of a text head are made, and turning them round takes longer
    than adding them up.
    """
    by_columns = scores.T.flags.c_contiguous and not scores.flags.c_contiguous
    # Of so many, it is worth its loading too.
    few = _FEW_SCORES if "torch" in sys.modules else _SCORES_AT_ONCE
    return by_columns and scores.size > few


def _find_top_by_columns(scores: npt.NDArray[Any], k: int) -> tuple[Rows, Any]:
    import torch

    with torch.inference_mode():
        columns = Columns(torch.from_numpy(scores.T))
        places, rows = columns.find_from(columns.find_kth(k))
    return _order(scores, rows, places, k)


# Rows that are looked at one by one; of more, the greatest of so many first.
_FEW_ROWS, _ROWS_A_STRAND = 512, 32


class Columns:
    """The greatest numbers of each column of a matrix of positive ones, most rows unseen."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self._matrix = matrix
        self._n_strands = len(matrix) // _ROWS_A_STRAND if len(matrix) > _FEW_ROWS else 0
        self._n_even = self._n_strands * _ROWS_A_STRAND
        # Evenly spaced rows are a strand, so that whole rows are compared.
        even = matrix[: self._n_even].reshape(_ROWS_A_STRAND, -1)
        self._greatest = even.amax(dim=0).view(self._n_strands, matrix.shape[1])

    def find_kth(self, k: int) -> torch.Tensor:
        """Return the k-th greatest of each column; 0 where there are fewer rows."""
        import torch

        if k > len(self._matrix):
            return torch.zeros(self._matrix.shape[1])
        looked_at = self._matrix
        if k <= self._n_strands:
            best = self._greatest.T.contiguous().topk(k, dim=1).indices.T
            steps = self._n_strands * torch.arange(_ROWS_A_STRAND)
            rows = (best + steps[:, None, None]).flatten(0, 1)
            looked_at = torch.cat([looked_at.gather(0, rows), looked_at[self._n_even :]])
        return looked_at.T.contiguous().topk(k, dim=1).values[:, -1]

    def find_from(self, least: torch.Tensor) -> tuple[Rows, Rows]:
        """Return the rows and the columns of all that is at least a number of its column."""
        import torch

        strands, columns = (self._greatest >= least).nonzero().T
        rows = strands[:, None] + self._n_strands * torch.arange(_ROWS_A_STRAND)
        found = self._matrix[rows, columns[:, None]] >= least[columns, None]
        rest, columns_rest = (self._matrix[self._n_even :] >= least).nonzero().T
        rows = torch.cat([rows[found], rest + self._n_even])
        columns = torch.cat([columns[:, None].expand_as(found)[found], columns_rest])
        return rows.numpy(), columns.numpy()


def sum_columns(values: npt.NDArray[Any], groups: Rows, n_groups: int) -> Scores:
    """Return the sums of the columns of each group.

    Parameters
    ----------
    values : ndarray of float, shape (n_images, n_columns)
    groups : ndarray of int64, shape (n_columns,)
        Group of each column; those of -1 are in none.
    n_groups : int
        Groups; one without a column has the sum 0.

    Examples
    --------
    >>> sum_columns(np.array([[0.5, 0.25, 0.25]], dtype=np.float32), np.array([1, -1, 1]), 2)
    array([[0.  , 0.75]], dtype=float32)
    """
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    if _is_many_by_columns(values) and values.dtype == np.float32:
        return _sum_by_columns(values, order, np.searchsorted(groups[order], np.arange(n_groups)))
    sums = np.zeros((len(values), n_groups), dtype=np.float32)
    if order.size:
        present, starts = np.unique(groups[order], return_index=True)
        sums[:, present] = np.add.reduceat(values[:, order], starts, axis=1)
    return sums


def _sum_by_columns(values: Scores, order: Rows, starts: Rows) -> Scores:
    import torch

    with torch.inference_mode():
        rows, places = torch.from_numpy(values.T), torch.from_numpy(order)
        sums = torch.nn.functional.embedding_bag(places, rows, torch.from_numpy(starts), mode="sum")
    return sums.numpy().T


class Pool(enum.StrEnum):
    """How the texts of a class become one score.

    ``max`` takes the best text's logit; ``mean`` asks the mean of the unit text embeddings, made
    unit (prompt ensembling); ``sum`` adds the texts' probabilities, softmax over all texts.

    References
    ----------
    Radford et al. 2021 (CLIP), section 3.1.4 (``mean``); pybioclip,
    ``TreeOfLifeClassifier.format_grouped_probs`` (``sum``).
    """

    MAX = "max"
    MEAN = "mean"
    SUM = "sum"

    @classmethod
    def parse(cls, text: str) -> Pool:
        """Read a way of pooling.

        Raises
        ------
        PromptError
            If the text names none.
        """
        try:
            return cls(text.strip().lower())
        except ValueError:
            msg = f"{text!r} is not a way to pool texts; expected one of {', '.join(cls)}"
            raise PromptError(msg) from None


# At 512 numbers each, 16 MB.
_TEXTS_AT_ONCE = 8192


def embed_mean_rows(texts: npt.NDArray[np.floating], rows: Rows, classes: Rows) -> Vectors:
    """Return the mean of the rows of each class, made unit; zeros where they cancel each other out.

    Parameters
    ----------
    texts : ndarray of float32 or float16, shape (n_rows, dim), unit rows
    rows : ndarray of int64, shape (n_texts,)
        Rows of ``texts`` that take part, those of one class one after the other.
    classes : ndarray of int64, shape (n_texts,)
        Class of each of these rows, ascending; every class has one at least.

    Returns
    -------
    ndarray of float32, shape (n_classes, dim)
    """
    means = np.zeros((int(classes[-1]) + 1, texts.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), _TEXTS_AT_ONCE):
        part = slice(start, start + _TEXTS_AT_ONCE)
        present, starts = np.unique(classes[part], return_index=True)
        block = np.asarray(texts[rows[part]], dtype=np.float32)
        means[present] += np.add.reduceat(block, starts, axis=0)
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    # Texts that cancel each other out have no mean: every image is at a right angle to it.
    norms[norms == 0] = 1
    return np.asarray(means / norms, dtype=np.float32)


_STEPS = 30
_LOG_RANGE = 12.0


def fit_scale(scores: npt.NDArray[Any], truth: npt.NDArray[np.int64]) -> float:
    """Fit the factor of scores at which their softmax is most likely.

    Newton's method, guarded by bisection: the likelihood is concave in the factor. A share of
    1/(n + 2) of each label is taken for doubtful, so that the factor is finite where every row is
    right.

    Parameters
    ----------
    scores : ndarray of float, shape (n, n_classes)
        Of rows that were not learnt from.
    truth : ndarray of int64, shape (n,)
        Column of the true class, -1 for a row that plays no part.

    Returns
    -------
    float
        In [e⁻¹², e¹²]; 1.0 where the rows tell nothing.

    References
    ----------
    Guo et al. 2017, *On Calibration of Modern Neural Networks*: temperature scaling (the factor
    is one over the temperature). Platt 1999, *Probabilistic Outputs for Support Vector Machines*:
    labels that are not quite sure.

    Examples
    --------
    >>> scores = np.tile([1.0, 0.0], (1000, 1))
    >>> truth = np.repeat([0, 1], [750, 250])
    >>> round(fit_scale(scores, truth), 2)  # three to one: log 3
    1.1
    """
    rows = np.flatnonzero(truth >= 0)
    if not len(rows):
        return 1.0
    owns, means = [], []
    for part, gaps in _iter_gaps(scores, rows):
        owns.append(gaps[np.arange(len(gaps)), truth[rows[part]]].sum(dtype=np.float64))
        means.append(gaps.sum(dtype=np.float64))
    own, mean = float(sum(owns)) / len(rows), float(sum(means)) / (len(rows) * scores.shape[1])
    if mean >= 0:
        return 1.0
    doubt = 1 / (len(rows) + 2)
    target = (1 - doubt) * own + doubt * mean
    low, high, at = -_LOG_RANGE, _LOG_RANGE, min(max(-np.log(-mean), -_LOG_RANGE), _LOG_RANGE)
    for _ in range(_STEPS):
        factor = float(np.exp(at))
        expected, variance = _measure(scores, rows, factor)
        slope = target - expected
        low, high = (at, high) if slope > 0 else (low, at)
        move = slope / max(variance * factor, 1e-30)
        following = at + np.log1p(move) if move > -1 else low
        if not low < following < high:
            following = (low + high) / 2
        at, before = following, at
        if abs(at - before) < 1e-4:
            break
    return float(np.exp(at))


def _iter_gaps(
    scores: npt.NDArray[Any], rows: Rows
) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    # How far each score lies below the highest of its row.
    for part in split_rows(len(rows), scores.shape[1]):
        some = scores[rows[part]]
        yield part, np.asarray(some - some.max(axis=1, keepdims=True), dtype=np.float32)


def _measure(scores: npt.NDArray[Any], rows: Rows, factor: float) -> tuple[float, float]:
    """Return the mean over rows of the expected gap, and of its variance."""
    sums = np.zeros(2)
    for _, gaps in _iter_gaps(scores, rows):
        weights = np.exp(np.float32(factor) * gaps)
        total = weights.sum(axis=1)
        weights *= gaps
        expected = weights.sum(axis=1) / total
        variance = np.einsum("ij,ij->i", weights, gaps) / total - expected**2
        sums += expected.sum(dtype=np.float64), variance.sum(dtype=np.float64)
    expected_mean, variance_mean = (sums / len(rows)).tolist()
    return expected_mean, variance_mean


# Of many classes in float32, the sum of probabilities is no nearer to 1.
_MOST_OFF = 1e-3


def check_probabilities(probabilities: Scores, whose: str) -> Scores:
    """Return probabilities as they are, where each row has numbers that add up to 1.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (n_images, n_classes)
    whose : str
        Name of what gave them, with its settings.

    Raises
    ------
    ProbeError
        If a row has a number that is none, or adds up to something else.
    """
    sums = probabilities.sum(axis=1)
    if probabilities.shape[1] and not (np.abs(sums - 1) <= _MOST_OFF).all():
        msg = (
            f"{whose} gives {np.count_nonzero(~(np.abs(sums - 1) <= _MOST_OFF)):,} of "
            f"{len(sums):,} images probabilities that are not finite or do not add up to 1; "
            "choose other settings"
        )
        raise ProbeError(msg)
    return probabilities
