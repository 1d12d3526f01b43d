"""The status of what a table of answers says, which has the best answers of each image alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.cells import name_cells
from bioprobe.conservation.categories import NO_STATUS
from bioprobe.conservation.finding import Covered, Finder
from bioprobe.conservation.shares import COLUMNS, Judged, find_members
from bioprobe.content import CONTENT
from bioprobe.images.regions import REGION
from bioprobe.result import WARNING, Note
from bioprobe.taxonomy import RANKS
from bioprobe.taxonomy.columns import COMMON_NAME, LABEL, SUBSPECIES, read_labels
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd

_RANK_NAMES = tuple(rank.value for rank in RANKS)
# What is said of a picture that has no answer.
_NO_ANSWER = ("unreadable", "dropped", "not judged")
# Probabilities may add up to a little more by rounding to a few digits.
_MOST = 1.005
_NONE = COLUMNS.index(NO_STATUS)


def list_said(frame: pd.DataFrame) -> list[tuple[tuple[str, ...], str, str, str, tuple[str, ...]]]:
    """Return what each row of a table names: lineage, subspecies, label, common name, taxa.

    The taxa are those that a class stands for, which the column ``taxon`` has, with bars between.
    """
    n_rows = len(frame)
    nothing = [""] * n_rows
    meant: list[tuple[str, ...]] = [()] * n_rows
    if "classification" in frame.columns:
        words = name_cells(frame["classification"]).tolist()
        if "taxon" in frame.columns:
            meant = [tuple(filter(None, one.split("|"))) for one in name_cells(frame["taxon"])]
        none = ("",) * len(RANKS)
        return [(none, "", word, "", of) for word, of in zip(words, meant, strict=True)]
    labels = read_labels(frame)
    columns = [labels[name].tolist() for name in _RANK_NAMES]
    lineages = list(zip(*columns, strict=True))
    below, label, common = (
        labels[name].tolist() if name in labels else nothing
        for name in (SUBSPECIES, LABEL, COMMON_NAME)
    )
    return list(zip(lineages, below, label, common, meant, strict=True))


def find_said(
    finder: Finder, said: tuple[tuple[str, ...], str, str, str, tuple[str, ...]]
) -> Covered:
    """Return what one row of a table covers."""
    lineage, below, label, common, meant = said
    if meant:
        return finder.join(label, [finder.find_named(one) for one in meant])
    if label and not any(lineage):
        return finder.find_named(label)
    return finder.find(lineage, below=below, label=label, common_name=common)


def judge_table(
    frame: pd.DataFrame, finder: Finder
) -> tuple[Judged, pd.DataFrame, list[Note | str]]:
    """Sum the scores of a table of answers by status.

    Parameters
    ----------
    frame : DataFrame
        One row an image and answer: ``file_name``, ranks or ``classification``, ``score``. What the
        answers leave of a probability of 1 has no status.
    finder : Finder

    Returns
    -------
    judged : Judged
        Its rows are those of the table's column ``row``, -1 where it has none.
    firsts : DataFrame
        The row of the best answer to each image, for its other columns.
    notes : list of Note or str
    """
    frame = frame.reset_index(drop=True)
    notes: list[Note | str] = []
    kept = _choose_rows(frame, notes)
    frame = frame[kept].reset_index(drop=True)
    said = list_said(frame)
    names = ["file_name", *([REGION] if REGION in frame else [])]
    keys = list(zip(*(name_cells(frame[one]).tolist() for one in names), strict=True))
    numbers: dict[tuple[str, ...], int] = {}
    at = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    scores = np.ones(len(frame))
    has_scores = "score" in frame.columns
    if has_scores:
        import pandas as pd

        read = pd.to_numeric(frame["score"], errors="coerce").to_numpy(dtype=np.float64)
        scores = np.where(np.isfinite(read), read, 1.0)
    order = np.lexsort((-scores, _read_order(frame), at))
    firsts = order[np.unique(at[order], return_index=True)[1]]
    distinct = {one: find_said(finder, one) for one in dict.fromkeys(said)}
    covered = [distinct[one] for one in said]
    totals = np.asarray(np.bincount(at, weights=scores, minlength=len(numbers)))
    if (scores < 0).any() or (totals > _MOST).any():
        notes.append(Note(
            "warning: the scores of some images are no probabilities, as they add up to more than "
            "1 or are below 0: the best answer alone counts, as if it were sure", WARNING,
        ))  # fmt: skip
        best = np.zeros(len(frame), dtype=bool)
        best[firsts] = True
        scores = best.astype(np.float64)
        totals = np.bincount(at, weights=scores, minlength=len(numbers))
    shares = np.zeros((len(numbers), len(COLUMNS)))
    np.add.at(shares, at, find_members(covered) * scores[:, np.newaxis])
    rest = np.clip(1 - totals, 0, 1)
    shares[:, _NONE] += rest
    if has_scores and len(rest) and float(np.median(rest)) > 0.01:
        notes.append(
            f"the answers leave {float(np.median(rest)):.3f} of the probability (median), which "
            "has no status here; give zeroshot or probe predict a higher -k, or ask them here"
        )
    first = frame.iloc[firsts].reset_index(drop=True)
    judged = Judged(
        {one: name_cells(first[one]) for one in names}, _read_row_numbers(first),
        np.array([_name(said[place]) for place in firsts.tolist()], dtype=object),
        scores[firsts] if has_scores else np.full(len(firsts), np.nan),
        tuple(covered[place] for place in firsts.tolist()), np.clip(shares, 0, 1),
    )  # fmt: skip
    return judged, first, notes


def _choose_rows(frame: pd.DataFrame, notes: list[Note | str]) -> Names:
    """Return which rows are answers, each part of the probability once."""
    kept = np.ones(len(frame), dtype=bool)
    if CONTENT in frame.columns:
        contents = name_cells(frame[CONTENT])
        none = np.isin(contents.astype(str), _NO_ANSWER)
        if none.any():
            notes.append(f"{int(none.sum()):,} pictures have no answer, and are left out")
        kept &= ~none
    if "rank" in frame.columns:
        ranks = name_cells(frame["rank"])
        there = [one for one in _RANK_NAMES if one in set(ranks[kept].tolist())]
        # Answers at ranks above are the same probability, summed.
        kept &= (ranks == there[-1]) if there else True
    if "also" in frame.columns:
        also = name_cells(frame["also"]).astype(str) == "True"
        answers = name_cells(frame["answer"]) if "answer" in frame else np.full(len(frame), "")
        deepest = [one for one in _RANK_NAMES if one in frame]
        if also.any() and deepest:
            named = name_cells(frame[deepest[-1]]) != ""
            kept &= ~also | (named & (answers != ""))
    return kept


def _read_order(frame: pd.DataFrame) -> np.ndarray:
    import pandas as pd

    if "answer" not in frame.columns:
        return np.zeros(len(frame))
    read = pd.to_numeric(frame["answer"], errors="coerce").to_numpy(dtype=np.float64)
    return np.where(np.isfinite(read), read, 1.0)


def _read_row_numbers(frame: pd.DataFrame) -> Rows:
    import pandas as pd

    if "row" not in frame.columns:
        return np.full(len(frame), -1, dtype=np.int64)
    read = pd.to_numeric(frame["row"], errors="coerce").to_numpy(dtype=np.float64)
    return np.where(np.isfinite(read), read, -1).astype(np.int64)


def _name(said: tuple[Sequence[str], str, str, str, Sequence[str]]) -> str:
    lineage, below, label, common, _ = said
    return below or lineage[-1] or label or common or next(filter(None, reversed(lineage)), "")
