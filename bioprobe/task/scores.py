"""Several texts a class: how their scores become one, for any number of texts."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MismatchError, ProbeError, PromptError
from bioprobe.types import Rows, Scores, Vectors

# Images and texts that meet at once: 2,048 × 4,096 scores are 32 MB.
_IMAGES_AT_ONCE = 2048
_TEXTS_AT_ONCE = 4096


# Scores that are computed with at once: 4 million in float64 are 32 MB, with what is made of them
# a few times that.
_SCORES_AT_ONCE = 4_000_000


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
    # Sorting all of many classes for the few best would take most of the time.
    least = np.partition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k, np.newaxis]
    rows, columns = np.nonzero(scores >= least)
    values = scores[rows, columns]
    order = np.lexsort((-values, rows))
    counts = np.bincount(rows, minlength=len(scores))
    taken = (np.cumsum(counts) - counts)[:, np.newaxis] + np.arange(k)
    return columns[order][taken], values[order][taken]


def sum_columns(values: Scores, groups: Rows, n_groups: int) -> Scores:
    """Return the sums of the columns of each group.

    Parameters
    ----------
    values : ndarray of float32, shape (n_images, n_columns)
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
    sums = np.zeros((len(values), n_groups), dtype=np.float32)
    if order.size:
        present, starts = np.unique(groups[order], return_index=True)
        sums[:, present] = np.add.reduceat(values[:, order], starts, axis=1)
    return sums


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


def find_top_pooled(
    vectors: Vectors,
    texts: npt.NDArray[np.float32],
    rows: Rows,
    classes: Rows,
    *,
    k: int,
    logit_scale: float,
    pool: Pool,
    offsets: Scores | None = None,
) -> tuple[Rows, npt.NDArray[np.float32]]:
    """Find the k most probable classes of each vector, where a class has several texts.

    The texts are read in blocks, and of the scores only the best k classes and the running sum
    are kept, so memory is bounded for any number of images, texts and classes.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    texts : ndarray of float32, shape (n_rows, dim), unit rows
        May be memory-mapped.
    rows : ndarray of int64, shape (n_texts,)
        Rows of ``texts`` that take part, those of one class one after the other.
    classes : ndarray of int64, shape (n_texts,)
        Class of each of these rows, ascending; every class has one at least.
    k : int
        Answers, ≥ 1; no more than there are classes come back.
    logit_scale : float
        Factor from cosine similarity to logits.
    pool : Pool
        How the texts of a class become one score.
    offsets : ndarray of float32, shape (n_texts,), optional
        Subtracted from the logits of these rows; not with ``mean``.

    Returns
    -------
    top : ndarray of int64, shape (n_images, min(k, n_classes))
        Best first; equal ones stand in the order of the classes.
    probabilities : ndarray of float32, of the same shape
        Softmax over all classes; with ``sum`` the sum of the softmax over all texts.

    Raises
    ------
    MismatchError
        If the two have different dims.
    PromptError
        If there are offsets for texts whose mean is asked.

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0]], dtype=np.float32)
    >>> texts = np.array([[0.0, 1.0], [1.0, 0.0], [0.8, 0.6]], dtype=np.float32)
    >>> top, probabilities = find_top_pooled(
    ...     vectors, texts, np.array([0, 1, 2]), np.array([0, 1, 1]),
    ...     k=1, logit_scale=1.0, pool=Pool.SUM,
    ... )
    >>> int(top[0, 0]), round(float(probabilities[0, 0]), 3)
    (1, 0.832)
    """
    if vectors.shape[1] != texts.shape[1]:
        msg = f"images have dim {vectors.shape[1]}, text embeddings {texts.shape[1]}"
        raise MismatchError(msg)
    if offsets is not None and pool is Pool.MEAN:
        msg = "a mean of texts has no offset of one text; pool by max or sum"
        raise PromptError(msg)
    norms = _sum_norms(texts, rows, classes) if pool is Pool.MEAN else None
    found = [
        _answer(
            vectors[start : start + _IMAGES_AT_ONCE],
            _iter_blocks(texts, rows, classes),
            k=min(k, len(np.unique(classes))),
            logit_scale=logit_scale,
            pool=pool,
            norms=norms,
            offsets=offsets,
        )
        # Once for no image too, which gives empty answers of the right shape.
        for start in range(0, max(1, len(vectors)), _IMAGES_AT_ONCE)
    ]
    top, probabilities = zip(*found, strict=True)
    return np.concatenate(top), np.concatenate(probabilities)


def _answer(
    images: Vectors,
    blocks: Iterator[tuple[Rows, Vectors]],
    *,
    k: int,
    logit_scale: float,
    pool: Pool,
    norms: Scores | None,
    offsets: Scores | None,
) -> tuple[Rows, npt.NDArray[np.float32]]:
    reduce, combine = _REDUCTIONS[pool]
    best = _Best(len(images), k)
    scored = _score_blocks(images, blocks, np.float32(logit_scale), offsets)
    for ids, scores in _iter_classes(scored, reduce, combine):
        best.add(ids, scores if norms is None else scores / norms[ids])
    return best.ids, np.exp(best.scores - best.log_total[:, np.newaxis]).astype(np.float32)


def _score_blocks(
    images: Vectors,
    blocks: Iterator[tuple[Rows, Vectors]],
    factor: np.float32,
    offsets: Scores | None,
) -> Iterator[tuple[Rows, Scores]]:
    start = 0
    for ids, texts in blocks:
        logits = factor * (images @ texts.T)
        if offsets is not None:
            logits -= offsets[start : start + len(ids)]
        start += len(ids)
        yield ids, logits


class _Best:
    """The best k classes so far, and the logarithm of the sum over all."""

    def __init__(self, n_images: int, k: int) -> None:
        self._k = k
        self.ids = np.zeros((n_images, 0), dtype=np.int64)
        self.scores = np.zeros((n_images, 0), dtype=np.float32)
        self.log_total = np.full(n_images, -np.inf)

    def add(self, ids: Rows, scores: Scores) -> None:
        """Take the scores of further classes, whose numbers are above all before."""
        if not len(ids):
            return
        self.log_total = np.logaddexp(self.log_total, _log_sum(scores))
        if self.ids.shape[1] < self._k:
            self.ids, self.scores = self._merge(slice(None), ids, scores)
            return
        # Once k classes are known, few images have a better one in a further block.
        better = np.flatnonzero(scores.max(axis=1) > self.scores[:, -1])
        if better.size:
            self.ids[better], self.scores[better] = self._merge(better, ids, scores[better])

    def _merge(self, images: slice | Rows, ids: Rows, scores: Scores) -> tuple[Rows, Scores]:
        columns = _argtop(scores, self._k)
        all_ids = np.concatenate([self.ids[images], ids[columns]], axis=1)
        taken = np.take_along_axis(scores, columns, axis=1)
        all_scores = np.concatenate([self.scores[images], taken], axis=1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, : self._k]
        best = np.take_along_axis(all_ids, order, axis=1)
        return best, np.take_along_axis(all_scores, order, axis=1)


def _argtop(scores: Scores, k: int) -> Rows:
    # In ascending order of the class, so that the stable sort after it settles equal ones.
    if scores.shape[1] <= k:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)


def _iter_blocks(
    texts: npt.NDArray[np.floating], rows: Rows, classes: Rows
) -> Iterator[tuple[Rows, Vectors]]:
    for start in range(0, len(rows), _TEXTS_AT_ONCE):
        chunk = slice(start, start + _TEXTS_AT_ONCE)
        yield classes[chunk], np.asarray(texts[rows[chunk]], dtype=np.float32)


def _iter_classes(
    blocks: Iterator[tuple[Rows, Scores]],
    reduce: Callable[[Scores, Rows], Scores],
    combine: Callable[[Scores, Scores], Scores],
) -> Iterator[tuple[Rows, Scores]]:
    """Pool the columns of each class, whose texts may span blocks.

    Yields
    ------
    ids : ndarray of int64, shape (n,)
        Classes, each of them once.
    scores : ndarray of float32, shape (n_images, n)
    """
    held: tuple[Rows, Scores] | None = None
    for of_row, values in blocks:
        ids, starts = np.unique(of_row, return_index=True)
        # Where each class has one text, which is the rule for species, nothing is to be pooled.
        pooled = values if len(starts) == values.shape[1] else reduce(values, starts)
        if held is not None and held[0][0] == ids[0]:
            pooled[:, 0] = combine(held[1][:, 0], pooled[:, 0])
        elif held is not None:
            yield held
        yield ids[:-1], pooled[:, :-1]
        held = ids[-1:], pooled[:, -1:]
    if held is not None:
        yield held


def _sum_norms(texts: npt.NDArray[np.float32], rows: Rows, classes: Rows) -> Scores:
    """Return the length of the sum of each class's embeddings."""
    norms = np.ones(int(classes[-1]) + 1, dtype=np.float32)
    blocks = ((ids, block.T) for ids, block in _iter_blocks(texts, rows, classes))
    for ids, sums in _iter_classes(blocks, _add, np.add):
        norms[ids] = np.linalg.norm(sums, axis=0)
    # Texts that cancel each other out have no mean: every image is at a right angle to it.
    norms[norms == 0] = 1
    return norms


_add = partial(np.add.reduceat, axis=1)


def _add_exponentials(values: Scores, starts: Rows) -> Scores:
    highest = np.maximum.reduceat(values, starts, axis=1)
    sizes = np.diff(starts, append=values.shape[1])
    exponentials = np.exp(values - np.repeat(highest, sizes, axis=1))
    return np.asarray(highest + np.log(np.add.reduceat(exponentials, starts, axis=1)))


def _log_sum(scores: Scores) -> npt.NDArray[np.float64]:
    highest = scores.max(axis=1, keepdims=True)
    total = np.exp(scores - highest).sum(axis=1, dtype=np.float64)
    return np.asarray(highest[:, 0] + np.log(total))


_REDUCTIONS: dict[
    Pool, tuple[Callable[[Scores, Rows], Scores], Callable[[Scores, Scores], Scores]]
] = {
    Pool.MAX: (partial(np.maximum.reduceat, axis=1), np.maximum),
    Pool.MEAN: (_add, np.add),
    Pool.SUM: (_add_exponentials, np.logaddexp),
}


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
