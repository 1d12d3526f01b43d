"""What is known of each picture, as every format of other tools tells it.

Answers come from a table of predictions, whose rows are joined to those of the store by the name of
the file and the region, or from the labels in the store.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe import __version__
from bioprobe.content import CONTENT, read_content
from bioprobe.errors import ImageReadError, SourceError, TaxonomyError
from bioprobe.exporting.places import (
    STATUS_COLUMNS,
    Place,
    Sensitive,
    is_threatened,
    read_place,
)
from bioprobe.files import parse_json, read_json
from bioprobe.images.image_table import FACT_COLUMNS
from bioprobe.images.people import WHOLE, obscure
from bioprobe.images.reading import decode_image, ignore_pillow_warnings, read_facts
from bioprobe.images.regions import (
    DETECTION_CATEGORY,
    DETECTION_CONFIDENCE,
    DETECTOR,
    REGION,
    Region,
)
from bioprobe.options import KEEP, RANK_NAMES
from bioprobe.result import name_some
from bioprobe.store.view import View
from bioprobe.tables import read_table
from bioprobe.task.beside import UNREADABLE
from bioprobe.taxonomy import RANKS, Taxon
from bioprobe.taxonomy.columns import COMMON_NAME, FROM_MACHINE, LABEL, LABELS_FROM, spell_column
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

ANIMAL, BLANK, HUMAN, VEHICLE, UNKNOWN = "animal", "blank", "human", "vehicle", "unknown"
# Cells that are names or texts, whatever they look like.
_TEXT_COLUMNS = (
    "file_name", REGION, *RANK_NAMES, "species_epithet", COMMON_NAME,
    "classification", "taxon", CONTENT, "reason",
)  # fmt: skip
# How the tables of the field call where and when; the first that says something counts.
_LATITUDE = ("latitude", "decimallatitude", "lat", "gpslatitude")
_LONGITUDE = ("longitude", "decimallongitude", "lon", "lng", "long", "gpslongitude")
_UNCERTAINTY = ("coordinateuncertaintyinmeters", "coordinateuncertainty")
#: Columns that a place can be read from: they go out by :attr:`Answers.places` alone.
PLACE_COLUMNS = frozenset({
    *_LATITUDE, *_LONGITUDE, *_UNCERTAINTY, "geometry", "wkt", "footprintwkt", "coordinates",
    "gps", "gpsposition", "gpscoordinates", "utmx", "utmy", "easting", "northing", "geohash",
    "verbatimcoordinates", "verbatimlatitude", "verbatimlongitude", "latlon", "latlong", "exifdata",
})  # fmt: skip
TIME = ("capturedat", "timestamp", "datetime", "eventdate", "datetimeoriginal", "datetaken")


@dataclasses.dataclass(frozen=True)
class Guess:
    """One class that a picture or region may be of.

    Parameters
    ----------
    taxon : Taxon, optional
        None where the class is no taxon.
    label : str
        The class as it was written; of a taxon its name.
    score : float, optional
        Probability; None of a label that somebody gave.
    """

    taxon: Taxon | None
    label: str
    score: float | None


@dataclasses.dataclass(frozen=True)
class Observation:
    """What is known of one region of a picture.

    Parameters
    ----------
    row : int
        Row of the store.
    name : str
        That of the region, in the column ``image_region``.
    content : str
        animal, blank, human, vehicle or unknown.
    guesses : tuple of Guess
        Best first; none where a mask left the picture out, or nobody gave a label.
    is_guessed : bool
        Whether the best of these, and nothing else, told the content.
    machine : str
        Program that gave the label, ``""`` where a person did.
    n_regions : int
        Regions of the picture that it is said of: of an answer per image all of its class, of which
        this is the best.
    by : str
        People who gave the label in this store, with `` | `` between; ``""`` where it came with the
        picture.
    at : str
        When they did, in UTC, ISO 8601.
    """

    row: int
    name: str
    content: str
    guesses: tuple[Guess, ...]
    is_guessed: bool
    machine: str
    n_regions: int = 1
    by: str = ""
    at: str = ""

    @functools.cached_property
    def region(self) -> Region | None:
        """Box, None for the whole picture."""
        return Region.parse(self.name)

    @property
    def best(self) -> Guess | None:
        """Best class, where what the picture holds can be of it."""
        if not self.guesses:
            return None
        guess = self.guesses[0]
        if self.content == HUMAN and read_content(guess.label) != HUMAN:
            return None
        return None if self.content in {BLANK, VEHICLE} else guess

    @property
    def taxon(self) -> Taxon | None:
        """Best taxon, None where none is known."""
        return self.best.taxon if self.best else None

    @property
    def score(self) -> float | None:
        """Probability of what is said of it; None where nobody told one."""
        return self.guesses[0].score if self.guesses and self.is_guessed else None

    @property
    def label(self) -> str:
        """The taxon's name, or the class that is none, or what the picture holds."""
        return self.best.label if self.best else self.content


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture and what is known of its regions.

    Parameters
    ----------
    name : str
        As answers name the file: unique in the store.
    row : int
        A row of the store that is of it; -1 where it could not be read.
    observations : tuple of Observation
        At least one, but where it could not be read.
    failure : str
        Why it could not be read, ``""`` where it was.
    """

    name: str
    row: int
    observations: tuple[Observation, ...]
    failure: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What is known of the pictures that are exported.

    Parameters
    ----------
    view : View
        Rows of the store that may be exported.
    pictures : tuple of Picture
        In the order in which they were answered.
    provenance : mapping
        What the answers were computed from, JSON-ready; empty where nothing says.
    sensitive : Sensitive
        Taxa whose places are not told exactly.
    notes : tuple of str
        What was left out on the way here.
    """

    view: View
    pictures: tuple[Picture, ...]
    provenance: Mapping[str, Any]
    sensitive: Sensitive
    notes: tuple[str, ...] = ()

    @property
    def read(self) -> Iterator[Picture]:
        """Pictures that could be read."""
        return (one for one in self.pictures if not one.failure)

    @property
    def failed(self) -> list[Picture]:
        """Pictures that could not be read."""
        return [one for one in self.pictures if one.failure]

    def tell_failed(self) -> list[str]:
        """Say how many pictures could not be read, for a format that has no place for them."""
        n_failed = len(self.failed)
        return [f"{n_failed:,} pictures that could not be read are left out"] if n_failed else []

    @property
    def observations(self) -> Iterator[tuple[Picture, Observation]]:
        """All observations, each with its picture."""
        return ((picture, one) for picture in self.pictures for one in picture.observations)

    @functools.cached_property
    def taxa(self) -> dict[str, Taxon]:
        """Taxa of the observations, by name."""
        return {one.taxon.name: one.taxon for _, one in self.observations if one.taxon}

    @property
    def model(self) -> str:
        """Who answered: the program, the method and the encoder, on one line."""
        if not self.provenance:
            return f"bioprobe {__version__}"
        version = self.provenance.get("version", __version__)
        options = self.provenance.get("options") or {}
        encoder = (self.provenance.get("encoder") or {}).get("model", "")
        words = (options.get(key) for key in ("kind", "method", "probe"))
        method = next((str(one) for one in words if one), "zero-shot" if encoder else "")
        behind = " on ".join(filter(None, (method, encoder)))
        return f"bioprobe {version}" + (f" ({behind})" if behind else "")

    @property
    def time(self) -> str:
        """When it was answered, in UTC, ISO 8601 with ``Z``; ``""`` where nothing says."""
        said = str(self.provenance.get("time", ""))
        return said.removesuffix("+00:00") + "Z" if said.endswith("+00:00") else ""

    def cell(self, row: int, *names: str) -> str:
        """Return the text of the first of several columns that says something of a row.

        Parameters
        ----------
        row : int
            Row of the store.
        *names : str
            Columns in small letters without ``_``, as
            :func:`bioprobe.taxonomy.columns.spell_column` writes them.
        """
        for name in names:
            for column in self._columns.get(name, ()):
                if text := str(self.view.images.labels(column)[row]):
                    return text
        return ""

    def fact(self, row: int, name: str) -> Any:  # noqa: ANN401 - a text or number
        """Return a cell of one of the columns that every store has, such as ``root``."""
        if name not in self._facts:
            self._facts[name] = self.view.images.column(name).tolist()
        return self._facts[name][row]

    @functools.cached_property
    def _facts(self) -> dict[str, list[Any]]:
        return {}

    @functools.cached_property
    def _columns(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for column in self.view.images.free_columns:
            found.setdefault(spell_column(column), []).append(column)
        return found

    @functools.cached_property
    def own_columns(self) -> list[str]:
        """Columns of the user's own that tell no place, and no fact of the file."""
        spelled = PLACE_COLUMNS | {spell_column(one) for one in FACT_COLUMNS}
        return [one for one in self.view.images.free_columns if spell_column(one) not in spelled]

    @functools.cached_property
    def places(self) -> dict[str, Place]:
        """Where pictures were taken, by name, as exactly as may be told.

        What was taken at the same place as a sensitive taxon is told no more exactly, whatever it
        shows: else it would give the place away.
        """
        known: dict[str, Place] = {}
        for picture in self.read:
            place = self.find_place(picture)
            if place is not None:
                known[picture.name] = place
        secret = {
            (known[one.name].latitude, known[one.name].longitude)
            for one in self.sensitive_pictures
            if one.name in known
        }
        return {
            name: self.sensitive.grid.generalise(place)
            if (place.latitude, place.longitude) in secret
            else place
            for name, place in known.items()
        }

    def find_place(self, picture: Picture) -> Place | None:
        """Return where a picture was taken, exactly; only :attr:`places` may be written."""
        cells = {
            "latitude": self.cell(picture.row, *_LATITUDE),
            "longitude": self.cell(picture.row, *_LONGITUDE),
            "uncertainty": self.cell(picture.row, *_UNCERTAINTY),
        }
        return read_place(cells, picture.name)

    @functools.cached_property
    def sensitive_pictures(self) -> list[Picture]:
        """Pictures of a taxon that is on the user's list, or threatened by a column of status."""
        if not self.sensitive.grid:
            return []
        return [
            picture
            for picture in self.read
            if any(
                self.sensitive.holds(one.taxon) or one.row in self._threatened_rows
                for one in picture.observations
            )
        ]

    @functools.cached_property
    def _threatened_rows(self) -> frozenset[int]:
        return frozenset(_find_threatened(self.view).tolist())

    def find_size(self, picture: Picture) -> tuple[int, int]:
        """Return width and height of an upright picture in pixels.

        Raises
        ------
        SourceError
            If neither the store nor the file tells.
        """
        size = self.fact(picture.row, "width_px"), self.fact(picture.row, "height_px")
        if min(size) > 0:
            return size
        try:
            facts = read_facts(self.read_bytes(picture))
        except (ImageReadError, OSError, SourceError) as error:
            msg = f"the size of {picture.name} is not known, and its file cannot be read: {error}"
            raise SourceError(msg) from error
        return facts.width_px, facts.height_px

    def read_bytes(self, picture: Picture) -> bytes:
        """Return the bytes of a picture's file, which are those that were embedded.

        Raises
        ------
        ImageReadError
            If it is no picture, or another.
        OSError
            If it is gone.
        """
        return self.view.images.locate(picture.row).read_bytes()

    def decode(self, picture: Picture, people: str) -> Image:
        """Return an upright picture, with people in it as they may be shown.

        Where they are is told by boxes, in the store or among the answers; where none is, a person
        may be anywhere in the picture.

        Parameters
        ----------
        picture : Picture
        people : {"leave-out", "obscure", "keep"}
            Unless ``keep``, they are obscured.

        Raises
        ------
        ImageReadError
            If it is no picture, or another.
        OSError
            If it is gone.
        """
        with ignore_pillow_warnings():
            image = decode_image(self.read_bytes(picture))
        return image if people == KEEP else obscure(image, self.find_people(picture))

    def find_people(self, picture: Picture) -> tuple[Region, ...]:
        """Return where people are in a picture, by boxes in the store or among the answers.

        Where no box tells, a person may be anywhere in the picture.
        """
        seen = [one.region or WHOLE for one in picture.observations if one.content == HUMAN]
        return (*self.view.images.locate(picture.row).people, *seen)

    def detection(self, one: Observation) -> tuple[str, float | None, str]:
        """Return what a detector said of a region: category, confidence, its own name."""
        said = self.cell(one.row, spell_column(DETECTION_CONFIDENCE))
        return (
            self.cell(one.row, spell_column(DETECTION_CATEGORY)),
            float(said) if said else None,
            self.cell(one.row, spell_column(DETECTOR)),
        )


def _find_threatened(view: View) -> Rows:
    """Return the rows of a store whose label is said to be threatened, by a column of status."""
    images = view.images
    found = np.zeros(len(images), dtype=bool)
    for column in images.free_columns:
        if spell_column(column) in STATUS_COLUMNS:
            texts = images.labels(column)
            words = {text for text in set(texts.tolist()) if is_threatened(str(text))}
            found |= np.isin(texts.astype(str), sorted(map(str, words)))
    return np.flatnonzero(found)


def list_threatened(view: View) -> set[str]:
    """Return the species, or lowest names, of rows that are said to be threatened."""
    ranks = [view.images.labels(rank.value) for rank in reversed(RANKS)]
    names = {
        next((str(names[row]) for names in ranks[:2] if names[row]), "")
        for row in _find_threatened(view)
    }
    return names - {""}


def read_predictions(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table of predictions with its provenance.

    Parameters
    ----------
    path : Path
        CSV, JSON or Parquet, as the commands write them; the provenance of a CSV lies beside it.

    Raises
    ------
    SourceError
        If it cannot be read, or is no such table.
    """
    from bioprobe.cells import settle_frame

    suffix, said = path.suffix.lower(), None
    if suffix == ".json":
        try:
            found = read_json(path)
        except (OSError, ValueError) as error:
            msg = f"{path} cannot be read as predictions: {error}"
            raise SourceError(msg) from error
        if isinstance(found, dict) and isinstance(found.get("rows"), list):
            said, found = found.get("provenance"), found["rows"]
        is_rows = isinstance(found, list) and all(isinstance(one, dict) for one in found)
        frame = settle_frame(found) if is_rows and found else None
    else:
        frame = read_table(path, text=_TEXT_COLUMNS)
        said = _read_provenance(path)
    if frame is None or "file_name" not in frame:
        got = "none" if frame is None else ", ".join(map(str, frame.columns))
        msg = (
            f"{path} is no table of predictions, as it has no column file_name (columns: {got}); "
            "expected what bioprobe zeroshot or bioprobe probe predict wrote to a .csv, .json or "
            ".parquet"
        )
        raise SourceError(msg)
    return frame, said if isinstance(said, dict) else {}


def _read_provenance(path: Path) -> Any:  # noqa: ANN401 - whatever JSON says
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            import pyarrow.parquet as pq

            said = (pq.read_schema(path).metadata or {}).get(b"provenance", b"null")
            return parse_json(said)
        return read_json(Path(f"{path}.provenance.json"))
    except (OSError, ValueError):
        return None


def join_predictions(
    view: View, frame: pd.DataFrame, provenance: Mapping[str, Any], sensitive: Sensitive
) -> Answers:
    """Join a table of predictions to the rows of a store.

    Parameters
    ----------
    view : View
        Images that are exported; rows of others are left out, and counted.
    frame : DataFrame
        One row an image and answer.
    provenance : mapping
        What it was computed from.
    sensitive : Sensitive
        Taxa whose places are not told exactly.

    Raises
    ------
    SourceError
        If a row is of no picture of the store, or of one of several regions and does not say which.
    """
    asked = {*_TEXT_COLUMNS, "row", "answer", "score", "n_regions"}
    columns = {name: _to_texts(frame[name]) for name in map(str, frame.columns) if name in asked}
    keys = _Keys(view, columns)
    allowed, left_out = set(view.rows.tolist()), set()
    ranked: dict[tuple[str, int], list[tuple[float, int]]] = {}
    failures: dict[str, str] = {}
    for place in range(len(frame)):
        if columns.get(CONTENT, {}).get(place) == UNREADABLE:
            failures[columns["file_name"][place]] = columns.get("reason", {}).get(place, "")
            continue
        row = keys.find(place)
        if row is None:
            continue
        if row not in allowed:
            left_out.add(row)
            continue
        answer = columns.get("answer", {}).get(place, "")
        number = _read_number(answer, "answer", place) or 1.0
        ranked.setdefault((keys.names[row], row), []).append((number, place))
    keys.refuse_missing()
    guesser = _Guesser(view, columns)
    found: dict[str, list[Observation]] = {}
    for (name, row), places in ranked.items():
        said = [place for _, place in sorted(places)]
        found.setdefault(name, []).append(guesser.observe(row, said))
    notes = _tell_left_out(view, left_out, {row for _, row in ranked})
    pictures = [Picture(name, some[0].row, tuple(some)) for name, some in found.items()]
    pictures += [Picture(name, -1, (), why or "cannot be read") for name, why in failures.items()]
    return Answers(view, tuple(pictures), provenance, sensitive, tuple(notes))


def _to_texts(values: pd.Series[Any]) -> dict[int, str]:
    from bioprobe.cells import write_cells

    texts = write_cells(values)
    return {place: text for place, text in enumerate(texts.tolist()) if text and text == text}


def _read_number(text: str, column: str, place: int) -> float | None:
    """Return the number in a cell of a table of answers, None where it is empty."""
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        msg = (
            f"row {place + 1} of the answers has the {column} {text!r}, which is no number; "
            "expected what bioprobe zeroshot or bioprobe probe predict wrote"
        )
        raise SourceError(msg)
    return number


def _tell_left_out(view: View, left_out: set[int], answered: set[int]) -> list[str]:
    notes = []
    if left_out:
        notes.append(f"{len(left_out):,} rows of answers are of images that were not asked for")
    n_without = len(set(view.rows.tolist()) - answered)
    if n_without:
        notes.append(f"{n_without:,} images of the store have no answer there, and are left out")
    return notes


class _Keys:
    """Finds the row of the store that a row of answers is of."""

    def __init__(self, view: View, columns: Mapping[str, dict[int, str]]) -> None:
        images = view.images
        self.names = images.file_names
        self._regions = images.column(REGION).tolist()
        self._columns = columns
        self._folder = view.folder
        self._of_file: dict[str, list[int]] = {}
        for row in view.store.rows.tolist():
            self._of_file.setdefault(self.names[row], []).append(row)
        self._missing: list[str] = []
        self._several: list[str] = []

    def find(self, place: int) -> int | None:
        name = self._columns["file_name"].get(place, "")
        if name not in self._of_file and name.startswith("'"):
            # As --safe-csv writes a name that a spreadsheet would compute.
            name = name[1:]
        rows = self._of_file.get(name, [])
        regions = self._columns.get(REGION)
        if regions is not None:
            said = regions.get(place, "").removeprefix("'")
            rows = [row for row in rows if self._regions[row] == said]
        number = self._columns.get("row", {}).get(place, "")
        if number.isdecimal() and int(number) in rows:
            return int(number)
        if len(rows) == 1:
            return rows[0]
        (self._several if rows else self._missing).append(name)
        return None

    def refuse_missing(self) -> None:
        if self._missing:
            msg = (
                f"{len(self._missing):,} rows of answers are of no image in {self._folder}: "
                f"{name_some(self._missing)}; name the store that was asked with --store"
            )
            raise SourceError(msg)
        if self._several:
            msg = (
                f"{len(self._several):,} rows of answers name a picture of several regions, and "
                f"not which: {name_some(self._several)}; expected the columns row or {REGION}: "
                "ask again, and keep all columns"
            )
            raise SourceError(msg)


class _Guesser:
    """Makes observations of the cells of a table of answers."""

    def __init__(self, view: View, columns: Mapping[str, dict[int, str]]) -> None:
        self._view = view
        self._columns = columns
        # A rank stands there as it was answered; below the rank asked for there are no columns.
        self._is_flat = "classification" in columns
        self._taxa: dict[tuple[str, ...], Taxon | None] = {}
        images = view.images
        self._given = {
            name: images.labels(name)
            for name in (CONTENT, DETECTION_CATEGORY)
            if name in images.columns
        }
        self._region_names = images.column(REGION).tolist()

    def observe(self, row: int, places: Sequence[int]) -> Observation:
        guesses = tuple(one for place in places if (one := self._guess(place)) is not None)
        said = self._columns.get(CONTENT, {}).get(places[0], "")
        content, is_guessed = _decide_content(
            said or self._label(CONTENT, row), guesses, self._label(DETECTION_CATEGORY, row)
        )
        name = self._region_names[row]
        n_regions = self._cell("n_regions", places[0])
        n = int(n_regions) if n_regions.isdecimal() else 1
        return Observation(row, name, content, guesses, is_guessed, "bioprobe", max(n, 1))

    def _label(self, column: str, row: int) -> str:
        return str(self._given[column][row]) if column in self._given else ""

    def _cell(self, name: str, place: int) -> str:
        return self._columns.get(name, {}).get(place, "")

    def _guess(self, place: int) -> Guess | None:
        score = _read_number(self._cell("score", place), "score", place)
        if self._is_flat:
            label = self._cell("classification", place)
            return Guess(self._find_taxon(place, label), label, score) if label else None
        names = tuple(self._cell(rank.value, place) for rank in RANKS)
        taxon = self._make((*names, self._cell(COMMON_NAME, place)))
        return Guess(taxon, taxon.name, score) if taxon else None

    def _find_taxon(self, place: int, label: str) -> Taxon | None:
        """Return the one taxon that a class stands for, with the lineage that the store knows."""
        meant = self._cell("taxon", place)
        if not meant or "|" in meant:
            return None
        known = self._known.get(meant)
        if known is not None:
            return known
        genus = meant.split(" ")[0] if " " in meant else ""
        common = "" if label == meant else label
        if not genus:
            return None
        return self._make(("", "", "", "", "", genus, meant, common))

    @functools.cached_property
    def _known(self) -> dict[str, Taxon]:
        return {taxon.name: taxon for taxon in self._view.images.taxa}

    def _make(self, names: tuple[str, ...]) -> Taxon | None:
        if names not in self._taxa:
            self._taxa[names] = _make_taxon(names)
        return self._taxa[names]


def _make_taxon(names: tuple[str, ...]) -> Taxon | None:
    if not any(names[:-1]):
        return None
    try:
        return Taxon(names[:-1], names[-1])
    except TaxonomyError as error:
        msg = f"an answer is no taxon: {error}"
        raise SourceError(msg) from error


def _decide_content(said: str, guesses: Sequence[Guess], category: str) -> tuple[str, bool]:
    """Return what a region holds, and whether its best class told it.

    What is said of it counts first, then a person or vehicle that the detector saw, whatever class
    was found to be nearest, then what the best class is, then the detector's category.
    """
    told = read_content(said)
    seen = read_content(category)
    told = told or (seen if seen in {HUMAN, VEHICLE} else "")
    best = guesses[0] if guesses else None
    of_best = ""
    if best is not None:
        of_best = read_content(best.label)
        if not of_best and best.taxon is not None:
            of_best = ANIMAL if best.taxon.lineage[0] in {"", "Animalia", "Metazoa"} else UNKNOWN
    if told in {"", ANIMAL} and of_best:
        return of_best, True
    content = told or seen or UNKNOWN
    # A class that is no taxon is what was asked, whatever the picture holds.
    return content, best is not None and (content == of_best or not of_best)


def take_labels(view: View, sensitive: Sensitive) -> Answers:
    """Take the labels that the pictures of a store came with, or were given.

    Parameters
    ----------
    view : View
        Images that are exported; those without a label are left out, and counted.
    sensitive : Sensitive
        Taxa whose places are not told exactly.
    """
    images = view.images
    labels: list[Names] = [images.labels(rank.value) for rank in RANKS]
    labels.append(images.labels(COMMON_NAME))
    further = {
        name: images.labels(name)
        for name in (CONTENT, LABEL, DETECTION_CATEGORY)
        if name in images.columns
    }
    sources, regions = (images.column(name).tolist() for name in (LABELS_FROM, REGION))
    made: dict[tuple[str, ...], Taxon | None] = {}
    found: dict[str, list[Observation]] = {}
    givers = view.store.labels.givers
    n_without = 0
    for row in view.rows.tolist():
        names = tuple(str(one[row]) for one in labels)
        if names not in made:
            made[names] = _make_taxon(names)
        taxon = made[names]
        said, label, category = (
            str(further[name][row]) if name in further else ""
            for name in (CONTENT, LABEL, DETECTION_CATEGORY)
        )
        if taxon is None and not said and not label:
            n_without += 1
            continue
        word = taxon.name if taxon else label
        guesses = (Guess(taxon, word, None),) if word else ()
        content, is_guessed = _decide_content(said, guesses, category)
        source = str(sources[row])
        machine = source.removeprefix(FROM_MACHINE) if source.startswith(FROM_MACHINE) else ""
        by, at = givers.get(row, ("", ""))
        one = Observation(
            row, str(regions[row]), content, guesses, is_guessed, machine, by=by,
            at=at and datetime.datetime.fromisoformat(at).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )  # fmt: skip
        found.setdefault(images.file_names[row], []).append(one)
    pictures = tuple(Picture(name, some[0].row, tuple(some)) for name, some in found.items())
    notes = (f"{n_without:,} images without a label are left out",) if n_without else ()
    return Answers(view, pictures, {}, sensitive, notes)
