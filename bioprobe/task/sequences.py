"""What a sequence shows, by the answers to its single pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.content import NO_TAXON, read_content
from bioprobe.images.sequences import Sequences, find_sequences
from bioprobe.task.also import pool_also
from bioprobe.task.decisions import LEFT_OUT, Decisions
from bioprobe.task.listed import Listed
from bioprobe.task.pooling import find_contents
from bioprobe.task.predictions import Predictions, RolledUp
from bioprobe.task.scores import count_rows
from bioprobe.task.target import Classes
from bioprobe.task.units import RULES, SEQUENCE, Pooling
from bioprobe.taxonomy import RANKS, Taxon
from bioprobe.types import Doubles, Mask, Names, Places, Rows, Scores

#: Truth of a sequence of which rows have several labels.
SEVERAL = -2

# What one picture says against a class is bounded, or one that was misread would undo the others.
_LEAST = 1e-6
# Between classes of as many votes the mean of the log-probabilities decides.
_TIE = 1e-3
_BLANK, _HUMAN = "blank", "human"


def pool_rows(
    probabilities: Scores | Doubles,
    numbers: Places,
    rule: str = RULES[0],
    *,
    blank_classes: Sequence[int] = (),
    left_out: Mask | None = None,
) -> Doubles:
    """Pool the probabilities of the rows of each unit.

    A blank does not outvote an animal: where the best class of some row of a unit is another, rows
    whose best is blank do not count, and the unit is not blank.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n_rows, n_classes)
        Each row adds up to 1.
    numbers : ndarray of int64, shape (n_rows,)
        Unit of each row, from 0 without a gap.
    rule : str
        One of :data:`RULES`.
    blank_classes : sequence of int
        Classes that are no animal.
    left_out : ndarray of bool, shape (n_rows,), optional
        Rows that do not count beside others of their unit, such as those known to be blank.

    Returns
    -------
    ndarray of float64, shape (n_units, n_classes)
        Each adds up to 1.

    Examples
    --------
    >>> rows = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    >>> pool_rows(rows, np.array([0, 0, 0])).round(2).tolist()
    [[0.61, 0.39]]
    >>> pool_rows(rows, np.array([0, 0, 0]), "vote").round(2).tolist()
    [[0.33, 0.67]]
    """
    given = np.asarray(probabilities, dtype=np.float64)
    n_units = int(numbers.max(initial=-1)) + 1
    best = given.argmax(axis=1)
    is_blank = np.isin(best, np.asarray(blank_classes, dtype=np.int64))
    counts = ~is_blank if left_out is None else ~is_blank & ~left_out
    has_animal = np.bincount(numbers[counts], minlength=n_units) > 0
    some = np.ones(len(given), dtype=bool)
    if left_out is not None:
        has_some = np.bincount(numbers[~left_out], minlength=n_units) > 0
        some = ~left_out | ~has_some[numbers]
    some &= ~is_blank | ~has_animal[numbers]
    order = np.flatnonzero(some)[np.argsort(numbers[some], kind="stable")]
    rows, of = given[order], numbers[order]
    starts = np.flatnonzero(np.append(True, np.diff(of) > 0))
    n_rows = np.diff(np.append(starts, len(of)))[:, np.newaxis]
    if not len(rows):
        return np.zeros((0, given.shape[1]))
    logs = np.log(np.maximum(rows, _LEAST))
    mean_log = np.exp(np.add.reduceat(logs, starts) / n_rows)
    if rule == "log-mean":
        pooled = mean_log
    elif rule == "mean":
        pooled = np.add.reduceat(rows, starts) / n_rows
    elif rule == "max":
        pooled = np.maximum.reduceat(rows, starts)
    else:
        votes = np.zeros_like(rows)
        votes[np.arange(len(rows)), best[order]] = 1
        pooled = np.add.reduceat(votes, starts) / n_rows
        pooled = (1 - _TIE) * pooled + _TIE * mean_log / mean_log.sum(axis=1, keepdims=True)
    if len(blank_classes):
        # An animal stays possible where every single best is an animal.
        animal = has_animal & (np.delete(pooled, list(blank_classes), axis=1).sum(axis=1) > 0)
        pooled[np.ix_(animal, list(blank_classes))] = 0
    return np.asarray(pooled / pooled.sum(axis=1, keepdims=True), dtype=np.float64)


def find_blank_classes(classes: Classes) -> list[int]:
    """Return which classes, of values of a column, are no animal."""
    if classes.taxa:
        return []
    return [place for place, name in enumerate(classes.names) if read_content(name) == _BLANK]


def find_truth(truth: Places, labelled: Mask, numbers: Places, blank: Sequence[int]) -> Places:
    """Return the class of each unit: that of its labelled rows, blanks beside another left out.

    Parameters
    ----------
    truth : ndarray of int64, shape (n_rows,)
        Class of each row, -1 for a label that is none.
    labelled : ndarray of bool, shape (n_rows,)
    numbers : ndarray of int64, shape (n_rows,)
    blank : sequence of int
        Classes that are no animal.

    Returns
    -------
    ndarray of int64, shape (n_units,)
        -1 where no row has a label, or one that is no class; :data:`SEVERAL` of several.
    """
    n_units = int(numbers.max(initial=-1)) + 1
    found = np.full(n_units, -1, dtype=np.int64)
    pairs: dict[int, set[int]] = {}
    for unit, one in zip(numbers[labelled].tolist(), truth[labelled].tolist(), strict=True):
        pairs.setdefault(unit, set()).add(one)
    for unit, classes in pairs.items():
        animals = classes - set(blank) or classes
        found[unit] = animals.pop() if len(animals) == 1 else SEVERAL
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Pooled:
    """Answers to sequences.

    Parameters
    ----------
    answers : Predictions or Decisions
        One a sequence; its row is that of the picture which says it most clearly.
    sequences : Sequences
        Of the single rows.
    n_several : int
        Sequences whose rows have several labels: they are not judged.
    n_gave_way : int
        Rows whose answer stands above another one of their sequence, and gave way to it.
    """

    answers: Predictions | Decisions
    sequences: Sequences
    n_several: int = 0
    n_gave_way: int = 0


def pool_sequences(answers: Predictions | Decisions, how: Pooling) -> Pooled:
    """Pool the answers to single rows by sequence.

    Rows that hold a person, a vehicle or nothing, by their content, do not count beside others.

    Raises
    ------
    SelectionError
        If nothing says what a sequence is.
    """
    images, rows = answers.images, answers.rows
    sequences = find_sequences(images, rows, column=how.column, gap_seconds=how.gap_seconds)
    numbers = sequences.numbers
    told = answers.beside.content[rows] if answers.beside else np.full(len(rows), "", dtype=object)
    held = find_contents(images, rows, told)
    no_taxon = np.isin(held, list(NO_TAXON))
    if isinstance(answers, Decisions):
        return _pool_decisions(answers, sequences, held, no_taxon)
    k = answers.top_classes.shape[1]
    blank = find_blank_classes(answers.classes)
    n_units = int(numbers.max(initial=-1)) + 1
    top = np.zeros((n_units, k), dtype=np.int64)
    scores, tiles = np.zeros((n_units, k), dtype=np.float32), np.zeros(n_units, dtype=np.int64)
    listed, kinds = answers.listed, np.zeros(n_units, dtype=np.int64)
    rolled: list[tuple[Taxon | None, float] | None] = [None] * n_units
    reasons = np.full(n_units, "", dtype=object)
    for units, inside in _iter_units(numbers, len(answers.classes)):
        dense = _to_dense(answers, inside)
        local = np.unique(numbers[inside], return_inverse=True)[1]
        pooled = pool_rows(dense, local, how.rule, blank_classes=blank, left_out=no_taxon[inside])
        allowed = np.ones(pooled.shape, dtype=bool)
        if listed is not None:
            # One place, that of its first picture, is where a sequence was taken.
            kinds[units] = listed.kinds[inside[np.unique(local, return_index=True)[1]]]
            allowed = listed.levels[-1][kinds[units]]
            for at, taxon, share, reason in _roll_up(pooled, listed, kinds[units]):
                rolled[units[at]], reasons[units[at]] = (taxon, share), reason
        best = np.argsort(np.where(allowed, -pooled, np.inf), axis=1, kind="stable")[:, :k]
        scores[units] = np.take_along_axis(pooled, best, axis=1)
        may = np.take_along_axis(allowed, best, axis=1)
        top[units] = np.where(may, best, -1)
        scores[units] = np.where(may, scores[units], np.nan)
        own = dense[np.arange(len(inside)), best[local, 0]] - 2.0 * no_taxon[inside]
        order = np.lexsort((-own, local))
        tiles[units] = inside[order[np.unique(local[order], return_index=True)[1]]]
    truths = find_truth(answers.truth_classes, answers.truth != "", numbers, blank)
    columns = _describe(sequences, numbers, tiles, held)
    if listed is not None:
        columns |= _describe_outside(answers, numbers, n_units)
        names = [one[0].name if one and one[0] else "" for one in rolled]
        columns |= {"rolled_up_to": np.array(names, dtype=object), "reason": reasons}
    taught = None
    if answers.taught is not None:
        taught = np.bincount(numbers[answers.taught], minlength=n_units) > 0

    def pool_shares(shares: Doubles) -> Doubles:
        return pool_rows(shares, numbers, how.rule, left_out=no_taxon)

    also = None if answers.also is None else pool_also(answers.also, numbers, pool_shares)
    above: list[Predictions] = []
    for one in answers.above:
        upper = pool_sequences(dataclasses.replace(one, beside=answers.beside, also=None), how)
        # One picture stands for a sequence at every rank.
        if isinstance(upper.answers, Predictions):
            above.append(dataclasses.replace(upper.answers, rows=rows[tiles]))
    pooled_answers = dataclasses.replace(
        answers, rows=rows[tiles], top_classes=top, scores=scores, taught=taught, truths=truths,
        columns=columns | _take_columns(answers, tiles, top),
        listed=None if listed is None else dataclasses.replace(listed, kinds=kinds),
        rolled=None if listed is None else RolledUp.of(rolled), also=also, above=tuple(above),
    )  # fmt: skip
    return Pooled(pooled_answers, sequences, int((truths == SEVERAL).sum()))


def _take_columns(answers: Predictions, tiles: Rows, top: Places) -> dict[str, npt.NDArray[Any]]:
    """Return what is said of the answers to the row that stands for each unit."""
    own = answers.top_classes[tiles]
    order = np.argsort(own, axis=1)
    ordered = np.take_along_axis(own, order, axis=1)
    found = {}
    for name, values in answers.columns.items():
        if values.ndim > 1:
            taken = np.full(top.shape, np.nan, dtype=np.float32)
            for unit, classes in enumerate(top):
                at = np.minimum(np.searchsorted(ordered[unit], classes), top.shape[1] - 1)
                has = ordered[unit][at] == classes
                taken[unit, has] = values[tiles[unit]][order[unit][at[has]]]
            found[name] = taken
    return found


def _describe(
    sequences: Sequences, numbers: Places, tiles: Rows, held: Names
) -> dict[str, npt.NDArray[Any]]:
    n_units = len(tiles)
    n_rows = np.bincount(numbers, minlength=n_units)
    columns: dict[str, npt.NDArray[Any]] = {SEQUENCE: sequences.names[tiles], "n_rows": n_rows}
    if (held != "").any():
        # A person in it wins; what is empty says nothing where anything is in it.
        contents = np.full(n_units, "", dtype=object)
        for word in (_BLANK, "unknown", "vehicle", "animal", _HUMAN):
            contents[np.unique(numbers[held == word])] = word
        columns["sequence_content"] = contents
    return columns


def _roll_up(
    pooled: Doubles, listed: Listed, kinds: Places
) -> Iterator[tuple[int, Taxon | None, float, str]]:
    """Find what is answered for units whose best class may not occur.

    Yields
    ------
    unit : int
    taxon : Taxon or None
        The first above the class that may occur.
    score : float
        Its summed probability.
    reason : str
    """
    tree, highest = listed.tree, pooled.argmax(axis=1)
    changed = np.flatnonzero(~listed.levels[-1][kinds, highest])
    depths = np.full(len(changed), tree.rank.depth)
    to, above = listed.climb(depths, highest[changed], kinds[changed])
    for unit, depth, node in zip(changed.tolist(), to.tolist(), above.tolist(), strict=True):
        best = int(highest[unit])
        reason = f"{LEFT_OUT} {tree.rank} {tree.classes.taxa[best].name} {pooled[unit, best]:.3f}"
        if depth < 0:
            yield unit, None, np.nan, reason
            continue
        taxon = tree.levels[depth].taxa[node]
        below = np.unique(tree.place_of[tree.places[depth] == node])
        share = float(pooled[unit, below[below >= 0]].sum())
        yield unit, taxon, share, f"{reason}; {RANKS[depth]} {taxon.name} {share:.3f}"


def _describe_outside(
    answers: Predictions, numbers: Places, n_units: int
) -> dict[str, npt.NDArray[Any]]:
    """Say of each unit what its rows have outside of a list: their mean, and the surest class."""
    given = answers.columns
    n_rows = np.bincount(numbers, minlength=n_units)
    share = np.bincount(numbers, weights=given["share_outside"], minlength=n_units) / n_rows
    order = np.lexsort((-np.nan_to_num(given["best_outside_score"]), numbers))
    most = order[np.unique(numbers[order], return_index=True)[1]]
    return {
        "share_outside": share.astype(np.float32),
        "best_outside": given["best_outside"][most],
        "best_outside_score": given["best_outside_score"][most],
    }


def _iter_units(numbers: Places, n_classes: int) -> Iterator[tuple[Rows, Rows]]:
    """Divide units so that the scores of their rows fit into memory.

    Yields
    ------
    units, rows : ndarray of int64
        Numbers of the units, ascending, and positions of their rows.
    """
    order = np.argsort(numbers, kind="stable")
    sizes = np.bincount(numbers)
    ends = np.cumsum(sizes)
    most, begin = count_rows(n_classes), 0
    while begin < len(sizes):
        used = ends[begin] - sizes[begin]
        end = max(begin + 1, int(np.searchsorted(ends, used + most, side="right")))
        yield np.arange(begin, end), order[used : ends[end - 1]]
        begin = end


def _to_dense(answers: Predictions, inside: Rows) -> Doubles:
    """Return the probability of every class; those that were not kept share what is left."""
    n_classes, k = len(answers.classes), answers.top_classes.shape[1]
    scores = answers.scores[inside].astype(np.float64)
    left = np.clip(1 - scores.sum(axis=1), 0, None) / max(1, n_classes - k)
    dense = np.repeat(left[:, np.newaxis], n_classes, axis=1)
    np.put_along_axis(dense, answers.top_classes[inside], scores, axis=1)
    return dense


def choose_answers(
    lineages: Sequence[Sequence[str]], scores: Doubles, numbers: Places
) -> tuple[Rows, Mask]:
    """Choose the answer of each unit among those of its rows: the one of most rows.

    An answer that stands above another of its unit gives way to it, the one of several that has
    most rows; never to one of another branch.

    Parameters
    ----------
    lineages : sequence of sequence of str, n_rows of them
        From kingdom down, ``""`` for a hole; all empty for no answer, which counts last.
    scores : ndarray of float64, shape (n_rows,)
        Of equally many rows the higher sum wins.
    numbers : ndarray of int64, shape (n_rows,)
        Unit of each row, from 0 without a gap.

    Returns
    -------
    rows : ndarray of int64, shape (n_units,)
        Row whose answer is taken: of those with the answer the one of the highest score.
    gave_way : ndarray of bool, shape (n_rows,)
        Rows whose answer gave way to a more specific one.

    References
    ----------
    MegaDetector, ``megadetector.postprocessing.classification_postprocessing``: smoothing of
    sequences by a taxonomy, where a label gives way to its descendants.

    Examples
    --------
    >>> cat, tiger = ("Animalia", "Felidae", ""), ("Animalia", "Felidae", "Panthera tigris")
    >>> choose_answers([cat, cat, tiger], np.array([0.9, 0.9, 0.6]), np.array([0, 0, 0]))[0]
    array([2])
    """
    chosen = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=np.int64)
    gave_way = np.zeros(len(numbers), dtype=bool)
    by_unit: dict[int, dict[tuple[str, ...], list[int]]] = {}
    for row, unit in enumerate(numbers.tolist()):
        by_unit.setdefault(unit, {}).setdefault(tuple(lineages[row]), []).append(row)
    for unit, rows_of in by_unit.items():
        lists = {answer: list(rows) for answer, rows in rows_of.items()}

        def weigh(
            answer: tuple[str, ...], lists: dict[tuple[str, ...], list[int]] = lists
        ) -> tuple[bool, int, float]:
            return any(answer), len(lists[answer]), float(scores[lists[answer]].sum())

        # From the highest down, so that what a family took over goes on to its species.
        for answer in sorted(lists, key=_depth):
            below = [one for one in lists if _is_above(answer, one)]
            nearest = [one for one in below if not any(_is_above(other, one) for other in below)]
            if nearest:
                heir = max(nearest, key=weigh)
                gave_way[rows_of[answer]] = True
                lists[heir] += lists.pop(answer)
        winner = max(lists, key=weigh)
        own = rows_of[winner]
        chosen[unit] = own[int(np.argmax(scores[own]))]
    return chosen, gave_way


def _depth(lineage: Sequence[str]) -> int:
    return max((depth for depth, name in enumerate(lineage) if name), default=-1)


def _is_above(one: Sequence[str], other: Sequence[str]) -> bool:
    """Tell whether an answer is an ancestor of another: all that it names, the other names too."""
    return (
        any(one)
        and _depth(one) < _depth(other)
        and all(a == b or not a or not b for a, b in zip(one, other, strict=True))
    )


def _pool_decisions(
    answers: Decisions, sequences: Sequences, held: Names, no_taxon: Mask
) -> Pooled:
    """Choose the answer of each sequence among those of its rows."""
    numbers = sequences.numbers
    taxa = [answers.answer(row) for row in range(len(answers))]
    if answers.classes is None:
        lineages = [taxon.lineage if taxon else ("",) * 7 for taxon in taxa]
    else:
        lineages = [(name,) for name in answers.names]
        names = np.array(answers.classes.names, dtype=object)
        blank = names[find_blank_classes(answers.classes)]
        no_taxon = no_taxon | np.isin(np.array(answers.names, dtype=object), blank)
    has_some = np.bincount(numbers[~no_taxon], minlength=int(numbers.max(initial=-1)) + 1) > 0
    silent = no_taxon & has_some[numbers]
    lineages = [("",) * len(one) if silent[row] else one for row, one in enumerate(lineages)]
    at = np.maximum(answers.depths, 0) if answers.classes is None else np.zeros(len(answers), int)
    scores = np.nan_to_num(answers.scores[np.arange(len(answers)), at].astype(np.float64))
    scores[silent] = -1
    tiles, gave_way = choose_answers(lineages, scores, numbers)
    also = answers.also
    if also is not None:
        # As the pictures whose answer it is: the taxa of them are not pooled.
        also = also.take(tiles)
    # What is said of the picture whose answer it is, such as what lies outside of a list.
    columns = _describe(sequences, numbers, tiles, held)
    columns |= {name: values[tiles] for name, values in answers.columns.items()}
    pooled = dataclasses.replace(
        answers, rows=answers.rows[tiles], best=answers.best[tiles], scores=answers.scores[tiles],
        depths=answers.depths[tiles], columns=columns,
        taught=None if answers.taught is None else answers.taught[tiles],
        left_out=None if answers.left_out is None else answers.left_out[tiles], also=also,
    )  # fmt: skip
    return Pooled(pooled, sequences, 0, int(gave_way.sum()))
