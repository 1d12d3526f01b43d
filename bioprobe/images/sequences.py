"""Sequences: bursts and events, which are one animal passing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.images.camera import CAMERA, CAPTURED_AT, NO_SERIAL
from bioprobe.images.image_table import LOCATION_COLUMNS, ImageTable
from bioprobe.images.times import Times, has_clock, read_times
from bioprobe.names import unify
from bioprobe.types import Mask, Names, Rows

if TYPE_CHECKING:
    import pandas as pd

#: Columns that say which sequence a picture is of, as tools write them, in the order in which they
#: are looked for.
SEQUENCE_COLUMNS = ("sequence_id", "seq_id", "event_id")
#: Columns that say which camera took a picture; all that it has count together.
PLACE_COLUMNS = (CAMERA, "deployment_id", "location")
#: Between two pictures of one sequence.
GAP_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, eq=False)
class Sequences:
    """The sequence of each row.

    Parameters
    ----------
    names : ndarray of object, shape (n_rows,)
        Of its sequence, never ``""``: what the column says, or the place and the time of its first
        picture; of a row on its own the name of its picture.
    by : str
        What makes them, for people.
    n_alone : int
        Rows that are each their own because nothing says more of them.
    unread : dict of str to int
        What stands where a time should, with the number of its rows, the most frequent first.
    """

    names: Names
    by: str
    n_alone: int = 0
    unread: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def numbers(self) -> Rows:
        """Number of each row's sequence, from 0 in the order of their first rows."""
        _, firsts, inverse = np.unique(
            self.names.astype(str), return_index=True, return_inverse=True
        )
        return np.asarray(np.argsort(np.argsort(firsts))[inverse], dtype=np.int64)

    def describe(self) -> list[str]:
        """Say how many there are, of what, and which rows have none."""
        n = len(np.unique(self.numbers))
        said = [f"{n:,} sequences of {len(self.names):,} rows, by {self.by}"]
        if self.n_alone:
            text = f"{self.n_alone:,} rows are each their own sequence: nothing says theirs"
            listed = ", ".join(f"{one!r} ({k:,})" for one, k in list(self.unread.items())[:5])
            said.append(f"{text}{f'; no time of day is {listed}' if listed else ''}")
        return said


def find_sequences(
    images: ImageTable,
    rows: Rows,
    *,
    column: str | None = None,
    gap_seconds: float | None = None,
) -> Sequences:
    """Find the sequence of each row.

    Parameters
    ----------
    images : ImageTable
        Of the whole store.
    rows : ndarray of int64, shape (n_rows,)
        Rows of it.
    column : str, optional
        Whose equal values make a sequence; a hole is a row on its own. Where neither this nor a gap
        is given, the first of :data:`SEQUENCE_COLUMNS` that there is; else times, with
        :data:`GAP_SECONDS`.
    gap_seconds : float, optional
        Pictures of one place make a sequence as long as each was taken no later than this after the
        one before it. A place is what ``camera``, ``deployment_id`` and ``location`` say together;
        the folder of the picture where they say nothing, or a model without a serial number.
        When is what ``captured_at`` says: a time without a zone counts as UTC, a date without a
        time of day as none.

    Raises
    ------
    SelectionError
        If there is no such column, or nothing that makes sequences.

    References
    ----------
    MegaDetector, ``megadetector.data_management.cct_json_utils.create_sequences`` (pictures of one
    location, no more than a number of seconds apart).
    """
    if column is None and gap_seconds is None:
        known = images.columns
        column = next((one for one in SEQUENCE_COLUMNS if one in known), None)
        if column is None and CAPTURED_AT not in known:
            msg = (
                f"nothing says which images are one sequence: there is no column "
                f"{', '.join(SEQUENCE_COLUMNS)} and no {CAPTURED_AT}; name one with "
                "--sequence, or read times with bioprobe embed --exif"
            )
            raise SelectionError(msg)
    if column is not None:
        said = _read(images, column)[rows]
        alone = said == ""
        named = np.where(alone, images.name_files(rows), said).astype(object)
        return Sequences(_tell_apart(named, alone), f"the column {column}", int(alone.sum()))
    gap = GAP_SECONDS if gap_seconds is None else gap_seconds
    times, unread = read_clocks(images, rows, CAPTURED_AT)
    places, by = find_places(images, rows)
    named = _name_sequences(times, places, gap)
    alone = np.isnat(times)
    named[alone] = images.name_files(rows[alone])
    by = f"{CAPTURED_AT}, no more than {gap:g} s apart, and {by}"
    return Sequences(_tell_apart(named, alone), by, int(alone.sum()), unread)


def read_clocks(images: ImageTable, rows: Rows, column: str) -> tuple[Times, dict[str, int]]:
    """Read when rows were taken, to the time of day; not a time where that is not said.

    Raises
    ------
    SelectionError
        If there is no such column, or its days and months cannot be told apart.
    """
    values = _read(images, column)
    clocked = {one for one in set(values.tolist()) if has_clock(one)}
    is_clocked = np.array([one in clocked for one in values], dtype=bool)
    times, unread = read_times(values, rows)
    dates = ~is_clocked[rows] & ~np.isnat(times)
    for value in values[rows][dates].tolist():
        unread[value] = unread.get(value, 0) + 1
    times[dates] = np.datetime64("NaT", "ns")
    return times, dict(sorted(unread.items(), key=lambda one: -one[1]))


def find_places(images: ImageTable, rows: Rows) -> tuple[Names, str]:
    """Return the place of each row, as :func:`find_sequences` says it, and what says it.

    Returns
    -------
    places : ndarray of object, shape (n_rows,)
    by : str
        For people.
    """
    columns = [one for one in PLACE_COLUMNS if one in images.columns]
    said = [_read(images, one)[rows] for one in columns]
    folders = find_folders(images.take(rows, LOCATION_COLUMNS))
    places = []
    n_by_folder = 0
    for row, folder in enumerate(folders):
        parts = [values[row] for values in said if values[row]]
        if all(part.endswith(NO_SERIAL) for part in parts):
            parts.append(folder)
            n_by_folder += 1
        places.append(" ".join(parts))
    used = [] if n_by_folder == len(rows) else [", ".join(columns)]
    if n_by_folder:
        used.append("folder" if not used else f"the folder for {n_by_folder:,} without")
    return np.array(places, dtype=object), "; ".join(used)


def find_folders(frame: pd.DataFrame) -> list[str]:
    """Return the folder of each row, written as shortly as tells them apart."""
    paths = [str(path).rpartition("/")[0] for path in frame["path"]]
    if frame["root"].nunique() <= 1:
        return paths
    return [f"{root}/{path}".rstrip("/") for root, path in zip(frame["root"], paths, strict=True)]


def _name_sequences(times: Times, places: Names, gap_seconds: float) -> Names:
    """Name the sequence of each row by its place and the time of its first picture.

    Parameters
    ----------
    times : ndarray of datetime64[ns], shape (n_rows,)
        Not a time where none is known: these rows have no name.
    places : ndarray of object, shape (n_rows,)
        Where each was taken.
    gap_seconds : float
        Of two that follow each other in one sequence, ≥ 0.

    Examples
    --------
    >>> times = np.array(["2024-05-01T10:00:00", "2024-05-01T10:01:30", "2024-05-01T10:00:50"],
    ...                  dtype="datetime64[ns]")
    >>> _name_sequences(times, np.array(["A", "A", "A"], dtype=object), 60).tolist()
    ['A 2024-05-01T10:00:00', 'A 2024-05-01T10:00:00', 'A 2024-05-01T10:00:00']
    >>> len(set(_name_sequences(times, np.array(["A", "A", "B"], dtype=object), 60)))
    3
    """
    names = np.full(len(times), "", dtype=object)
    timed = np.flatnonzero(~np.isnat(times))
    if not len(timed):
        return names
    numbers = np.unique(places[timed].astype(str), return_inverse=True)[1]
    order = timed[np.lexsort((times[timed], numbers))]
    in_place = np.sort(numbers)
    gap = np.timedelta64(round(gap_seconds * 1e9), "ns")
    begins = np.append(True, (np.diff(in_place) > 0) | (np.diff(times[order]) > gap))
    firsts = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
    names[order] = [f"{places[first]} {_write(times[first])}".strip() for first in firsts]
    return names


def _write(time: np.datetime64) -> str:
    text = str(time.astype("datetime64[ms]"))
    return text.removesuffix(".000")


def _tell_apart(names: Names, alone: Mask) -> Names:
    """Return names in which rows on their own, or of one picture, share theirs with no other."""
    taken = set(names[~alone].tolist())
    found = names.copy()
    for name in set(names[alone].tolist()) & taken:
        number = 2
        while f"{name} ({number})" in taken:
            number += 1
        found[alone & (names == name)] = f"{name} ({number})"
    return found


def _read(images: ImageTable, column: str) -> npt.NDArray[np.object_]:
    columns = images.columns
    # A header may be written in another Unicode form than the column is asked for.
    alike = (name for name in columns if unify(name) == unify(column))
    column = column if column in columns else next(alike, column)
    if column not in columns:
        msg = f"no column {column!r}; there are: {', '.join(columns)}"
        raise SelectionError(msg)
    return images.labels(column)
