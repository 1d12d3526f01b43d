"""Columns that no source says: what was measured of each picture, and how unlike others it is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.images.conditions import list_names, match_rows
from bioprobe.images.identity import name_contents
from bioprobe.images.measures import MEASURE
from bioprobe.images.regions import REGION, Region
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.look_cache import MEASURES, LookCache
from bioprobe.types import Doubles, Mask, Rows

if TYPE_CHECKING:
    import pandas as pd

#: What the picture's pixels say, and what follows of its size and vector:
#:
#: - ``aspect``: its longer side beside its shorter;
#: - ``odd_size``: ``small`` where the shorter side has less than 64 pixels, ``long`` where the
#:   other is more than three times as long, both with a comma between, else ``""``;
#: - ``nearest_similarity``: the mean cosine similarity to the five nearest of other content: low
#:   of what is unlike all the rest.
MEASURE_COLUMNS: tuple[str, ...] = (
    *(MEASURE.names or ()), "aspect", "odd_size", "nearest_similarity"
)  # fmt: skip
SMALL_SIDE_PX, LONG_ASPECT = 64, 3.0
_NEAREST = 5
# Beyond, the others are a sample: of 100,000 rows of dim 768 all pairs take two minutes on a core.
_MOST_OTHERS = 50_000
_ROWS_AT_ONCE = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of the pictures of some rows.

    Parameters
    ----------
    values : ndarray of :data:`~bioprobe.images.measures.MEASURE`, shape (n_rows,)
        Zeros where not known.
    known : ndarray of bool, shape (n_rows,)
        Whether a picture was measured.
    """

    values: npt.NDArray[np.void]
    known: Mask


def read_measures(store: EmbeddingStore, rows: Rows) -> Measured:
    """Return what was measured when the pictures were embedded, or later by ``describe``."""
    cache = LookCache(store.folder, MEASURES)
    if cache.is_empty:
        return Measured(np.zeros(len(rows), dtype=MEASURE), np.zeros(len(rows), dtype=bool))
    # As bytes they take a quarter of what text does.
    parts = [
        np.array(name_contents(frame).tolist(), dtype="S64")
        for frame in store.images.iter_frames(["sha256", REGION], rows)
    ]
    contents = np.concatenate(parts) if parts else np.zeros(0, dtype="S64")
    return Measured(*cache.read(contents))


def add_measures(store: EmbeddingStore, rows: Rows, condition: str) -> pd.DataFrame:
    """Return the image table of some rows with the measures that a condition names.

    Parameters
    ----------
    store : EmbeddingStore
    rows : ndarray of int64, shape (n_rows,)
    condition : str
        In the language of :mod:`bioprobe.images.conditions`. A column of the image table that has
        the name of a measure is what it was before.

    Returns
    -------
    DataFrame
        Those of its columns that the condition names, without the rows of which one of these
        measures is not known, where one is named.

    Raises
    ------
    SelectionError
        If none of the pictures was measured.
    """
    images = store.images
    names = [
        one for one in MEASURE_COLUMNS
        if one not in images.columns and one in list_names(condition)
    ]  # fmt: skip
    frame = images.take(rows, images.list_columns(condition))
    if not names or not len(rows):
        return frame
    columns, known = read_columns(store, rows, names)
    if not known.any():
        msg = (
            f"{', '.join(names)} of the pictures of {store.folder} is not known: they were not "
            "measured when they were embedded, or their files were not read; run: bioprobe "
            "describe --measure"
        )
        raise SelectionError(msg)
    return frame.assign(**columns)[known]


def read_columns(
    store: EmbeddingStore, rows: Rows, names: list[str]
) -> tuple[dict[str, npt.NDArray[Any]], Mask]:
    """Return some of :data:`MEASURE_COLUMNS` of rows, and whether all of them are known of each.

    Returns
    -------
    columns : dict of str to ndarray, shape (n_rows,)
    known : ndarray of bool, shape (n_rows,)
    """
    columns: dict[str, npt.NDArray[Any]] = {}
    known = np.ones(len(rows), dtype=bool)
    measured = None
    for name in names:
        if name in (MEASURE.names or ()):
            measured = measured or read_measures(store, rows)
            columns[name] = measured.values[name]
            known &= measured.known
        elif name == "nearest_similarity":
            columns[name] = find_nearest_similarity(store, rows)
            known &= np.isfinite(columns[name])
        else:
            sizes = measure_sizes(store, rows)
            columns |= {one: sizes[one] for one in ("aspect", "odd_size") if one in names}
            known &= sizes["aspect"] > 0
    return columns, known


def match_measured(store: EmbeddingStore, condition: str) -> Rows:
    """Return the rows that meet a condition on the image table and the measures.

    Raises
    ------
    SelectionError
        If the condition cannot be read, names no column, or one that is not known of any.
    """
    names = list_names(condition)
    if not any(one in names and one not in store.images.columns for one in MEASURE_COLUMNS):
        return store.images.match(condition)
    store.images.refuse_unread(names)
    frame = add_measures(store, store.rows, condition)
    columns = [*store.images.columns, *(one for one in MEASURE_COLUMNS if one in frame)]
    return frame.index.to_numpy(dtype=np.int64)[match_rows(frame, condition, columns)]


def count_unknown(store: EmbeddingStore, rows: Rows, condition: str) -> int:
    """Return of how many rows a measure that a condition names is not known."""
    return len(rows) - len(add_measures(store, rows, condition))


def measure_sizes(store: EmbeddingStore, rows: Rows) -> dict[str, npt.NDArray[Any]]:
    """Return how odd the sizes of pictures, or of the boxes in them, are.

    Returns
    -------
    dict of str to ndarray, shape (n_rows,)
        ``aspect``, 0 where no size is known, and ``odd_size``.
    """
    frame = store.images.take(rows, ["width_px", "height_px", REGION])
    sides = frame[["width_px", "height_px"]].to_numpy(dtype=np.float64, copy=True)
    regions = frame[REGION].astype(str).to_numpy()
    for at in np.flatnonzero(regions != "").tolist():
        region = Region.parse(regions[at])
        if region is not None and sides[at].all():
            left, top, right, bottom = region.to_pixels(*map(int, sides[at]))
            sides[at] = right - left, bottom - top
    short, long = sides.min(axis=1, initial=np.inf), sides.max(axis=1, initial=0)
    has_size = short > 0
    aspect = np.where(has_size, long / np.where(has_size, short, 1), 0.0)
    words = np.array(["", "small", "long", "small, long"], dtype=object)
    is_small, is_long = has_size & (short < SMALL_SIDE_PX), aspect > LONG_ASPECT
    return {"aspect": aspect, "odd_size": words[is_small + 2 * is_long]}


def find_nearest_similarity(store: EmbeddingStore, rows: Rows) -> Doubles:
    """Return how like the nearest others each row is: what is low is unlike all the rest.

    Parameters
    ----------
    store : EmbeddingStore
        Its current rows are the others; beyond 50,000 a sample of them, the same each time.
    rows : ndarray of int64, shape (n_rows,)

    Returns
    -------
    ndarray of float64, shape (n_rows,)
        Mean cosine similarity to the five nearest of other content, fewer where there are fewer;
        NaN where there is none.

    References
    ----------
    Ramaswamy et al. 2000, *Efficient algorithms for mining outliers from large data sets*: the
    distance to the nearest as a measure of outliers.
    """
    others = store.rows
    if len(others) > _MOST_OTHERS:
        others = np.sort(np.random.default_rng(0).choice(others, _MOST_OTHERS, replace=False))
    together = np.union1d(others, rows)
    # What has no content known is like nothing but itself.
    codes = store.images.number_contents(together)
    own = codes[np.searchsorted(together, rows)]
    # Copies of one content count once.
    beside_codes, first = np.unique(codes[np.searchsorted(together, others)], return_index=True)
    beside = store.read_vectors(others[first])
    found = np.full(len(rows), np.nan)
    # As many numbers as in the vectors beside: all is done in this one place.
    held = np.empty((min(len(rows), _ROWS_AT_ONCE), len(beside)), dtype=np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        at = slice(start, start + _ROWS_AT_ONCE)
        asked = store.read_vectors(rows[at])
        similarities = np.matmul(asked, beside.T, out=held[: len(asked)])
        similarities[own[at][:, None] == beside_codes] = -np.inf
        n_near = min(_NEAREST, similarities.shape[1])
        np.negative(similarities, out=similarities)
        similarities.partition(n_near - 1, axis=1)
        near = -similarities[:, :n_near].astype(np.float64)
        is_other = np.isfinite(near)
        n_others = is_other.sum(axis=1)
        sums = np.where(is_other, near, 0).sum(axis=1)
        found[at] = np.where(n_others > 0, sums / np.maximum(n_others, 1), np.nan)
    return found
