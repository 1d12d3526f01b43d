"""Labels that look like none, and are emptied."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.cells import PLACEHOLDERS, settle
from bioprobe.names import unify
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import LABEL, LABEL_COLUMNS
from bioprobe.types import Mask, Names, Rows

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.images.image_table import ImageTable


@dataclasses.dataclass(frozen=True)
class Placeholders:
    """Labels that look like none: ``#N/A``, ``?`` and their like.

    Parameters
    ----------
    rows : ndarray of bool, shape (n_rows,)
        Rows that have such a label.
    counts : dict of str to int
        Rows of each, as it is written, the most frequent first.
    frame : DataFrame
        The table with these labels empty.
    """

    rows: Mask
    counts: dict[str, int]
    frame: pd.DataFrame

    @property
    def n_rows(self) -> int:
        """Rows that have such a label."""
        return int(self.rows.sum())


def find_placeholders(frame: pd.DataFrame, values: Collection[str] = PLACEHOLDERS) -> Placeholders:
    """Find the labels of an image table that look like none: names of taxa, and ``label``.

    A species that such a word completed, ``Felis ?``, is one, and so is one that it begins.

    Parameters
    ----------
    frame : DataFrame
        Image table; it stays as it is.
    values : collection of str
        What is looked for, whatever its case and form.
    """
    import pandas as pd

    keys = {unify(value).casefold() for value in values} - {""}
    emptied = frame.copy(deep=False)
    words: list[Names] = []
    names = [*LABEL_COLUMNS, *([LABEL] if LABEL in frame else [])]
    for column in names if keys else ():
        words.append(_find_words(frame, column, keys))
        if (hit := words[-1] != "").any():
            nothing = "" if column in LABEL_COLUMNS else None
            values = frame[column].to_numpy(dtype=object, copy=True)
            values[hit] = nothing
            emptied[column] = settle(pd.Series(values, index=frame.index, dtype=object))
    rows = np.any([one != "" for one in words], axis=0) if words else np.zeros(len(frame), bool)
    return Placeholders(rows, _count_words(words, np.ones(len(frame), dtype=np.int64)), emptied)


def count_placeholders(images: ImageTable, rows: Rows) -> tuple[int, dict[str, int]]:
    """Count what :func:`find_placeholders` finds in some rows of a table, of which few differ.

    Parameters
    ----------
    images : ImageTable
    rows : ndarray of int64, shape (n_rows,)

    Returns
    -------
    n_rows : int
        Rows that have a label which looks like none.
    counts : dict of str to int
        Rows of each, the most frequent first.
    """
    import pandas as pd

    numbers, _ = images.number_lineages(LABEL_COLUMNS, rows)
    names = list(LABEL_COLUMNS)
    if LABEL in images.columns:
        own, distinct = pd.factorize(images.column(LABEL).iloc[rows], use_na_sentinel=False)
        numbers = pd.factorize(numbers * len(distinct) + own)[0]
        names.append(LABEL)
    # In the order in which they come, so that of words as frequent the first is first.
    _, firsts = np.unique(numbers, return_index=True)
    frame = images.take(rows[firsts], names)
    keys = {unify(value).casefold() for value in PLACEHOLDERS} - {""}
    words = [_find_words(frame, name, keys) for name in names]
    sizes = np.bincount(numbers, minlength=len(firsts))
    has_word = np.any([one != "" for one in words], axis=0)
    return int(sizes[has_word].sum()), _count_words(words, sizes)


def _count_words(words: Sequence[Names], sizes: Rows) -> dict[str, int]:
    """Count the rows that each word stands in, once in however many of its labels.

    Sizes are how many rows each is.
    """
    counts = collections.Counter[str]()
    for row in np.flatnonzero(np.any([one != "" for one in words], axis=0)).tolist():
        for word in {one[row] for one in words} - {""}:
            counts[word] += int(sizes[row])
    return dict(counts.most_common())


def _find_words(frame: pd.DataFrame, column: str, keys: Collection[str]) -> Names:
    """Return of each row what of its label looks like none, ``""`` where nothing does."""
    import pandas as pd

    numbers, distinct = pd.factorize(frame[column])
    if column != Rank.SPECIES:
        words = [_find_placeholder("", str(label), keys) for label in distinct]
        return np.array([*words, ""], dtype=object)[numbers]
    genera, genus_names = pd.factorize(frame[Rank.GENUS.value])
    pairs, places = np.unique(genera * len(distinct) + numbers, return_inverse=True)
    words = [
        _find_placeholder(
            str(genus_names[i // len(distinct)]), str(distinct[i % len(distinct)]), keys
        )
        for i in pairs.tolist()
    ]
    return np.array([*words, ""], dtype=object)[places]


def _find_placeholder(genus: str, label: str, keys: Collection[str]) -> str:
    """Return what of a label looks like none, ``""`` where nothing does."""
    parts = [label]
    if genus and label.startswith(f"{genus} "):
        parts += [label.removeprefix(f"{genus} "), genus]
    return next((part for part in parts if part.casefold() in keys), "")
