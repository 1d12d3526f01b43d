"""Columns of the image table beside the vectors: place, season and habitat as numbers.

A number is centred and scaled; what goes round, such as the day of the year, is a sine and a
cosine; a place is a point of the unit sphere, so that what is near stays near across the date line
and at the poles; a category is one of several columns. What is not known stands in the middle, and
a column of its own says so where that happened among what taught. All of it is measured on images
that teach.

Each column that is asked, or each place, has the same share in the block, and the block as a whole
varies as much as the vectors do, times a weight.

References
----------
Mac Aodha, Cole and Perona 2019, *Presence-Only Geographical Priors for Fine-Grained Image
Classification*: coordinates and dates that are wrapped; Terry, Roy and August 2020, *Thinking like
a naturalist: enhancing computer vision of citizen science images by harnessing contextual data*.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from bioprobe.errors import MisuseError, ProbeError, SelectionError
from bioprobe.images.camera import CAPTURED_AT
from bioprobe.images.degrees import read_degrees
from bioprobe.images.image_table import ImageTable
from bioprobe.images.times import has_clock, read_times
from bioprobe.names import find_nearest
from bioprobe.options import split_given
from bioprobe.result import WARNING, Note
from bioprobe.settings import check_types
from bioprobe.taxonomy.columns import find_first, spell_column, spell_columns
from bioprobe.types import Doubles, Mask, Names, Rows, Vectors

#: How much the block varies, of what the vectors do, where no image can be held out to choose it.
WEIGHT = 0.5
#: Weights that are tried on held-out images, the lowest first: of equal ones it is taken, so that
#: columns which tell nothing are lost beside the vectors.
WEIGHTS = (0.1, 0.25, 0.5, 1.0)
NUMBER, CATEGORY, DATE, TIME, PLACE, CYCLE = "number", "category", "date", "time", "place", "cycle"
#: What a person may say of a column, behind a colon.
KINDS = (NUMBER, CATEGORY, DATE, TIME)
# Columns that each is of, and numbers that it gives; of a category as many as there are.
_SHAPES = {
    NUMBER: (1, 1),
    CATEGORY: (1, 0),
    DATE: (1, 2),
    TIME: (1, 2),
    PLACE: (2, 3),
    CYCLE: (1, 2),
}
_LATITUDE = ("latitude", "lat", "decimallatitude", "gpslatitude")
_LONGITUDE = ("longitude", "lon", "lng", "long", "decimallongitude", "gpslongitude")
# Columns of numbers that go round, and what is once around.
_PERIODS = {
    "month": 12.0, "hour": 24.0, "hourofday": 24.0, "dayofyear": 365.25, "doy": 365.25,
    "week": 52.18, "weekofyear": 52.18, "aspect": 360.0, "azimuth": 360.0, "bearing": 360.0,
    "heading": 360.0,
}  # fmt: skip
# What is read of when a picture was taken, where there is no column of the name.
_OF_TIMES = ("date", "time", "month", "hour", "dayofyear")
_MOST_CATEGORIES = 1000
# Of the values that are there, how many are dates in a column of dates.
_MOST_DATES = 0.9
_DAYS = 365.25


@dataclasses.dataclass(frozen=True)
class Columns:
    """Columns that are to stand beside the vectors.

    Parameters
    ----------
    names : tuple of str
        Columns of the image table; behind a colon may stand what one is, such as
        ``site:category``. ``date``, ``time`` and ``month`` are read of ``captured_at`` where there
        is no column of the name.
    weight : float, optional
        How much the block varies, of what the vectors do; above 0. By default one of
        :data:`WEIGHTS` is chosen on held-out images.

    Raises
    ------
    MisuseError
        If there is none, one stands twice, or the weight is out of range.
    """

    names: tuple[str, ...]
    weight: float | None = None

    def __post_init__(self) -> None:
        is_number = isinstance(self.weight, (int, float)) and not isinstance(self.weight, bool)
        if self.weight is not None and not (is_number and 0 < self.weight < math.inf):
            msg = f"the weight of columns is a number above 0, such as 0.5; got {self.weight!r}"
            raise MisuseError(msg)
        spelt = [spell_column(_split(name)[0]) for name in self.names]
        twice = [name for name, n in collections.Counter(spelt).items() if n > 1]
        if twice or not spelt:
            said = f"the column {twice[0]} is named twice" if twice else "no column is named"
            msg = f"{said}; name each once, such as --with latitude,longitude,date"
            raise MisuseError(msg)
        for name in self.names:
            kind = _split(name)[1]
            if kind and kind not in KINDS:
                msg = f"a column is {', '.join(KINDS)}, got {name!r}; leave out what is behind ':'"
                raise MisuseError(msg)

    @classmethod
    def of(cls, given: str | Sequence[str] | None, weight: float | None = None) -> Columns | None:
        """Return the columns of names with commas between them, None where none are given."""
        if given is None:
            return None
        return cls(tuple(split_given(given)), weight)

    def fit(self, images: ImageTable, rows: Rows, spread: float) -> ColumnBlock:
        """Measure the columns on images that teach.

        Parameters
        ----------
        images : ImageTable
            Of the whole store.
        rows : ndarray of int64, shape (n_rows,)
            Rows that teach.
        spread : float
            Root of the mean squared distance of their vectors from the middle of these.

        Raises
        ------
        SelectionError
            If there is no such column.
        ProbeError
            If no row that teaches has a value, or nearly each has another category.
        """
        parts = [_fit(one, images, rows) for one in self._divide(images)]
        return ColumnBlock(tuple(parts), WEIGHT if self.weight is None else self.weight, spread)

    def _divide(self, images: ImageTable) -> list[Part]:
        """Return what is read of which columns, before anything is measured."""
        given = dict(map(_split, self.names))
        spelt = {spell_column(name): name for name in given if not given[name]}
        places = [find_first(known, spelt) for known in (_LATITUDE, _LONGITUDE)]
        parts: list[Part] = []
        for name, kind in given.items():
            if None not in places and name in places:
                if name == next(one for one in given if one in places):
                    parts.append(Part(PLACE, tuple(map(str, places))))
                continue
            parts += _describe_column(name, kind, images)
        for part in parts:
            for name in part.columns:
                _need_column(name, images)
        return parts


@dataclasses.dataclass(frozen=True)
class Part:
    """One column, or a place of two, as numbers.

    Parameters
    ----------
    kind : str
        ``number``, ``category``, ``date``, ``time``, ``place`` or ``cycle``.
    columns : tuple of str
        Names that were asked for.
    period : float
        Once around, of a cycle.
    categories : tuple of str
        That have a column each.
    mean : tuple of float
        Of the numbers of the images that taught and have them.
    scale : float
        Root of their mean squared distance from it; 0 where all are the same.
    missing : float
        Share of the images that taught without a value; 0 where each has one.
    length : float
        Root of the mean squared length of what this part says of the images that taught.
    """

    kind: str
    columns: tuple[str, ...]
    period: float = 0.0
    categories: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: float = 0.0
    missing: float = 0.0
    length: float = 0.0

    @property
    def width(self) -> int:
        """How many numbers it gives an image."""
        return len(self.mean) + (self.missing > 0)

    def describe(self) -> str:
        """Say how it is read."""
        name = " and ".join(self.columns)
        said = {
            NUMBER: "a number", DATE: "the day of the year", TIME: "the time of day",
            PLACE: "a place", CYCLE: f"a cycle of {self.period:g}",
            CATEGORY: f"one of {len(self.categories):,} categories",
        }[self.kind]  # fmt: skip
        same = ", the same for all that teach" if not self.scale else ""
        return f"{name}: {said}{same}"

    def read(self, images: ImageTable, rows: Rows) -> tuple[Doubles, Mask]:
        """Return the numbers of some images, and which have none.

        Returns
        -------
        values : ndarray of float64, shape (n_rows, n)
        missing : ndarray of bool, shape (n_rows,)
        """
        cells = [_read_cells(images, name) for name in self.columns]
        if self.kind == CATEGORY:
            place_of = {name: place for place, name in enumerate(self.categories)}
            places = np.array([place_of.get(one, -1) for one in cells[0][rows]], dtype=np.int64)
            values = np.zeros((len(rows), len(self.categories)))
            known = np.flatnonzero(places >= 0)
            values[known, places[known]] = 1.0
            return values, places < 0
        if self.kind in (DATE, TIME):
            texts = cells[0]
            times, _ = read_times(texts, rows)
            days = times.astype("datetime64[D]")
            if self.kind == DATE:
                year = days.astype("datetime64[Y]")
                turn = (days - year.astype("datetime64[D]")).astype(np.float64) / _DAYS
                missing = np.isnat(times)
            else:
                turn = (times - days).astype(np.float64) / 86_400e9
                missing = np.isnat(times) | ~np.array([has_clock(one) for one in texts[rows]], bool)
            return _turn(np.where(missing, 0, turn)), missing
        if self.kind == PLACE:
            latitude, longitude = (
                _read_numbers(one[rows], functools.partial(read_degrees, side=side))
                for one, side in zip(cells, ("latitude", "longitude"), strict=True)
            )
            inside = ~np.isnan(latitude + longitude)
            nowhere = (latitude == 0) & (longitude == 0)
            missing = ~inside | nowhere
            up, around = (np.radians(np.where(missing, 0, one)) for one in (latitude, longitude))
            point = [np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)]
            return np.stack(point, axis=1), missing
        columns = [_read_numbers(one[rows]) for one in cells]
        missing = ~np.isfinite(columns[0])
        values = np.where(missing, 0, columns[0])
        if self.kind == CYCLE:
            return _turn(values / self.period), missing
        return values[:, np.newaxis], missing

    def encode(self, images: ImageTable, rows: Rows) -> tuple[Doubles, Mask]:
        """Return what it says of some images, shape (n_rows, width), and which have no value."""
        values, missing = self.read(images, rows)
        centred = (values - np.array(self.mean)) / (self.scale or 1.0)
        centred[missing] = 0
        if not self.scale:
            centred[:] = 0
        if self.missing:
            centred = np.column_stack([centred, missing - self.missing])
        return centred / (self.length or 1.0), missing


@dataclasses.dataclass(frozen=True)
class ColumnBlock:
    """Columns as they were measured on the images that taught.

    Parameters
    ----------
    parts : tuple of Part
        Columns.
    weight : float
        How much the block varies, of what the vectors do.
    spread : float
        Root of the mean squared distance of the vectors from their middle.
    """

    parts: tuple[Part, ...]
    weight: float
    spread: float

    @cached_property
    def width(self) -> int:
        """How many numbers it gives an image."""
        return sum(part.width for part in self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that are read."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.columns))

    def encode(self, images: ImageTable, rows: Rows) -> Vectors:
        """Return what stands beside the vectors of some images.

        Parameters
        ----------
        images : ImageTable
            Of their store; one without a column says nothing there.
        rows : ndarray of int64, shape (n_rows,)

        Returns
        -------
        ndarray of float32, shape (n_rows, width)
        """
        # What is the same for all that taught says nothing, and has no share.
        n_telling = sum(part.length > 0 for part in self.parts)
        factor = self.weight * self.spread / math.sqrt(max(1, n_telling))
        encoded = [part.encode(images, rows)[0] for part in self.parts]
        return np.asarray(factor * np.concatenate(encoded, axis=1), dtype=np.float32)

    def describe_missing(self, images: ImageTable, rows: Rows) -> list[Note | str]:
        """Say of which images a column says nothing, or nothing that was learnt."""
        said: list[Note | str] = []
        for part in self.parts:
            n = int(part.read(images, rows)[1].sum())
            if not n:
                continue
            name = " and ".join(part.columns)
            absent = [one for one in part.columns if _find_column(one, images) is None]
            why = f"there is no column {' and '.join(absent)}" if absent else "nothing is known"
            if part.kind == CATEGORY and not absent:
                why = "nothing is known, or what no image taught"
            text = f"{n:,} of {len(rows):,} images stand in the middle of {name}: {why}"
            said.append(Note(text, WARNING))
        return said

    def describe(self) -> str:
        """Say what stands beside the vectors."""
        listed = "; ".join(part.describe() for part in self.parts)
        return f"beside the vectors, with weight {self.weight:g}: {listed}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON-ready mapping."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ColumnBlock:
        """Build one from what :meth:`to_dict` returned, as JSON has it.

        Raises
        ------
        ValueError
            If something is of another type, or no number.
        """
        listed = ("columns", "categories", "mean")
        parts = tuple(
            check_types(Part(**{**one, **{name: tuple(one[name]) for name in listed}}))
            for one in fields["parts"]
        )
        block = check_types(cls(parts, float(fields["weight"]), float(fields["spread"])))
        numbers = [block.weight, block.spread]
        for part in parts:
            numbers += [*part.mean, part.scale, part.missing, part.length, part.period]
            n_columns, n_numbers = _SHAPES.get(part.kind, (0, 0))
            if (len(part.columns), len(part.mean)) != (
                n_columns, len(part.categories) if part.kind == CATEGORY else n_numbers
            ):  # fmt: skip
                msg = f"{', '.join(part.columns) or 'nothing'} is no {part.kind} as it was written"
                raise ValueError(msg)
        if not parts or not all(map(math.isfinite, numbers)):
            msg = "the numbers of its columns are not all finite, or there are none"
            raise ValueError(msg)
        return block


def _split(name: str) -> tuple[str, str]:
    """Return a column's name, and what it is said to be."""
    column, _, kind = name.rpartition(":")
    return (column.strip(), kind.strip().lower()) if column else (name.strip(), "")


def _find_column(name: str, images: ImageTable) -> str | None:
    """Return the column of the image table that is meant by a name, None where there is none."""
    known = [str(column) for column in images.columns]
    if name in known:
        return name
    form = spell_column(name)
    others = next((group for group in (_LATITUDE, _LONGITUDE) if form in group), (form,))
    spelt = spell_columns(known)
    found = find_first((form, *others), spelt)
    if found is None and form in _OF_TIMES and CAPTURED_AT in known:
        return CAPTURED_AT
    return found


def _need_column(name: str, images: ImageTable) -> str:
    found = _find_column(name, images)
    if found is None:
        free = images.free_columns
        near = find_nearest(name, free)
        hint = f"; did you mean {near}?" if near else "."
        msg = (
            f"no column {name!r} to stand beside the vectors{hint} There are "
            f"{', '.join(free) or 'no columns beside the labels'}; embed --exif reads captured_at, "
            "latitude and longitude, and a table has others"
        )
        raise SelectionError(msg)
    return found


def _read_cells(images: ImageTable, name: str) -> Names:
    """Return a column as texts, ``""`` throughout where there is none."""
    found = _find_column(name, images)
    if found is None:
        return np.full(len(images), "", dtype=object)
    texts = images.labels(found)
    if found == CAPTURED_AT and spell_column(name) in ("month", "hour", "dayofyear"):
        times, _ = read_times(texts)
        return np.array([_read_time(one, spell_column(name)) for one in times], dtype=object)
    return texts


def _read_time(time: np.datetime64, form: str) -> str:
    if np.isnat(time):
        return ""
    if form == "month":
        return str(time.astype("datetime64[M]").astype(int) % 12 + 1)
    day = time.astype("datetime64[D]")
    if form == "hour":
        return str((time - day).astype("timedelta64[m]").astype(int) / 60)
    return str((day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(int) + 1)


def _read_numbers(texts: Names, read: Callable[[str], float] | None = None) -> Doubles:
    known = {text: (read or _read_number)(text) for text in set(texts.tolist())}
    return np.array([known[text] for text in texts], dtype=np.float64)


def _read_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if abs(number) < 1e150 else math.nan


def _turn(turns: Doubles) -> Doubles:
    """Return the sine and the cosine of parts of a turn."""
    return np.stack([np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)], axis=1)


def _describe_column(name: str, kind: str, images: ImageTable) -> list[Part]:
    """Return how a column is read: as it is said, or by its name and values."""
    form, texts = spell_column(name), images.labels(_need_column(name, images))
    if kind:
        return [Part(kind, (name,))]
    if form in _LONGITUDE:
        return [Part(CYCLE, (name,), 360.0)]
    if form in ("date", "time"):
        return [Part(DATE if form == "date" else TIME, (name,))]
    given = [text for text in dict.fromkeys(texts.tolist()) if text]
    numbers = np.array([_read_number(text) for text in given])
    if form in _PERIODS and (np.isfinite(numbers).all() or _find_column(name, images) != name):
        return [Part(CYCLE, (name,), _PERIODS[form])]
    if len(given) and np.isfinite(numbers).all():
        return [Part(NUMBER, (name,))]
    unread = read_times(texts)[1] if _look_like_dates(given) else dict.fromkeys(given, 1)
    if len(unread) <= (1 - _MOST_DATES) * len(given):
        clocks = sum(map(has_clock, given)) > _MOST_DATES * len(given)
        return [Part(DATE, (name,)), *([Part(TIME, (name,))] if clocks else [])]
    return [Part(CATEGORY, (name,))]


def _look_like_dates(texts: Sequence[str]) -> bool:
    """Tell whether texts have as many digits as dates have."""
    return sum(sum(map(str.isdigit, text)) >= 4 for text in texts) > _MOST_DATES * len(texts)


def _fit(part: Part, images: ImageTable, rows: Rows) -> Part:
    name = " and ".join(part.columns)
    if part.kind == CATEGORY:
        counts = collections.Counter(_read_cells(images, part.columns[0])[rows].tolist())
        del counts[""]
        # What one image has tells that image, and nothing of others.
        kept = sorted(value for value, n in counts.items() if n > 1)
        if len(kept) > _MOST_CATEGORIES or (counts and not kept):
            msg = (
                f"{name} has {len(counts):,} values in {len(rows):,} images that teach, which "
                "name pictures and no kinds of place; choose a coarser column"
            )
            raise ProbeError(msg)
        part = dataclasses.replace(part, categories=tuple(kept))
    values, missing = part.read(images, rows)
    if missing.all():
        msg = (
            f"none of the {len(rows):,} images that teach has a value of {name} that is read as "
            f"{part.kind}; leave it out of --with, or say what it is: {part.columns[0]}:category"
        )
        raise ProbeError(msg)
    mean = values[~missing].mean(axis=0)
    scale = math.sqrt(((values[~missing] - mean) ** 2).sum(axis=1).mean())
    # Numbers that differ by rounding alone are the same.
    scale = 0.0 if scale <= 1e-12 * max(1.0, float(np.abs(mean).max())) else scale
    measured = dataclasses.replace(
        part, mean=tuple(mean.tolist()), scale=scale, missing=float(missing.mean()), length=1.0
    )
    said = measured.encode(images, rows)[0]
    length = math.sqrt((said**2).sum(axis=1).mean())
    return dataclasses.replace(measured, length=length)
