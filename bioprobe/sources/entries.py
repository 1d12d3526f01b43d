"""Entries of a file in which another tool says what is in pictures, made rows and failures.

No entry is lost: each is rows, a failure that names file and entry, or counted and said.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.content import CONTENT, ContentRules, read_content
from bioprobe.errors import ImageReadError
from bioprobe.images.image_table import COLUMNS
from bioprobe.images.location import Bounds, read_file, read_name, write_name
from bioprobe.images.reading import read_facts
from bioprobe.images.regions import (
    BOX_COLUMNS,
    DETECTION_CATEGORY,
    DETECTION_CONFIDENCE,
    DETECTOR,
    REGION,
    Region,
    number_regions,
)
from bioprobe.names import shorten, unify
from bioprobe.result import FACT, PROBLEM, Note
from bioprobe.sources.bounds import REASON
from bioprobe.sources.files import SourceOptions, absolute, locate
from bioprobe.sources.listing import Part, join
from bioprobe.sources.lookup import find_files
from bioprobe.sources.machine_labels import read_machine_labels
from bioprobe.table_bounds import check_shape
from bioprobe.taxonomy.columns import LABEL, LABEL_COLUMNS, LABELS_FROM, QUALIFIER

if TYPE_CHECKING:
    import pandas as pd

#: Column of when a picture was taken, in ISO 8601.
CAPTURED_AT = "captured_at"
# A side of a box in relative terms may be a little over 1, and is clipped.
_MOST = 2.0
_SHOWN = 3
# As much of a JPEG as its size stands in.
_HEADER_BYTES = 1 << 18
_TIME = re.compile(
    r"(\d{4})[-:/](\d\d)[-:/](\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_OWN = frozenset(
    {*COLUMNS, *BOX_COLUMNS, DETECTION_CATEGORY, DETECTION_CONFIDENCE, DETECTOR, REGION, CONTENT,
     LABEL, QUALIFIER}
)  # fmt: skip
_VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".wmv", ".mpg", ".mpeg", ".m4v", ".flv", ".asf", ".mts",
     ".3gp", ".webm"}
)  # fmt: skip
OF_VIDEO = (
    "frames of videos are not pictures here: write the frames as VIDEO/frame000000.jpg, numbered "
    "as frame_number says, beside the file"
)


class BadEntry(Exception):  # noqa: N818 - it is caught where entries are read, and never shown
    """Something of an entry cannot be read; its text says what was got and expected."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A region of a picture, as an entry says it.

    Parameters
    ----------
    picture : int
        Number of the picture, as :meth:`Entries.add_picture` gives it.
    region : Region or None
        None is the whole picture.
    values : dict
        Free columns and core ones, such as ``detection_category``.
    word : str
        Label that :func:`~bioprobe.sources.machine_labels.read_machine_labels` reads; ``""``
        where there is none.
    is_cut : bool
        Whether its box left the picture, and was clipped.
    """

    picture: int
    region: Region | None
    values: dict[str, Any]
    word: str = ""
    is_cut: bool = False


class Entries:
    """Gathers rows, failures and counts of one file.

    Parameters
    ----------
    source : Path
        The file.
    options : SourceOptions
    what : str
        What it was taken for, for people.
    """

    def __init__(self, source: Path, options: SourceOptions, what: str) -> None:
        self._source, self._options, self._what = source, options, what
        self._base = options.root or source.parent
        self._bounds = Bounds.below(self._base)
        self._pictures: list[str] = []
        self._rows: list[Row] = []
        self._unread: list[tuple[str, str]] = []
        self._waiting: list[tuple[int, Callable[[int, int], Row], str]] = []
        self._counts: collections.Counter[str] = collections.Counter()
        self._shown: dict[str, list[str]] = {}
        self._kinds: dict[str, str] = {}
        #: Entries that were met.
        self.n_entries = 0

    def add_picture(self, name: str) -> int:
        """Take a picture by its path, as :func:`read_text` returns it; returns its number."""
        self._pictures.append(name)
        return len(self._pictures) - 1

    def add(self, row: Row) -> None:
        """Take a region of a picture."""
        self._rows.append(row)

    def add_sized(
        self,
        picture: int,
        make: Callable[[int, int], Row],
        at: str,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Take a region whose box is in pixels, made once the size of its picture is known.

        Parameters
        ----------
        picture : int
            Number of the picture.
        make : callable
            Of the width and height of the upright picture; may raise :class:`BadEntry`.
        at : str
            Of the region, for a failure.
        size : tuple of int, optional
            As the entry says it; by default it is read from the picture.

        Raises
        ------
        BadEntry
            If the entry says it, and none of the box lies inside.
        """
        if size is not None:
            self.add(make(*size))
            return
        self._waiting.append((picture, make, at))

    def fail(self, name: str, reason: str, at: str = "") -> None:
        """Take what cannot be read, of a picture or of one of its regions."""
        self._unread.append((f"{name}{f', {at}' if at else ''}", _clean(reason)))

    def count(self, text: str, example: object = "", *, kind: str = FACT, n: int = 1) -> None:
        """Count what is said once for all entries.

        Parameters
        ----------
        text : str
            With ``{}`` where the number goes.
        example : object
            Shown for the first few.
        """
        self._counts[text] += n
        self._kinds[text] = kind
        shown = self._shown.setdefault(text, [])
        if (one := shorten(_clean(str(example)))) and one not in shown and len(shown) <= _SHOWN:
            shown.append(one)

    def keep(self, category: str, word: str, confidence: float | None) -> bool:
        """Tell whether a detection is asked for, and count it where it is not.

        Parameters
        ----------
        category : str
            As the column ``detection_category`` has it.
        word : str
            As the tool has it.
        confidence : float or None
            None where the tool gives none.
        """
        wanted = self._options.categories
        if wanted:
            names = {category.casefold(), unify(word).casefold()}
            if not any(
                unify(one).casefold() in names or (category and read_content(one) == category)
                for one in wanted
            ):
                text = (
                    f"{{}} detections are of no category that was asked for ({', '.join(wanted)})"
                )
                self.count(text, word or "without a category")
                return False
        if confidence is not None and confidence < self._options.min_confidence:
            text = (
                f"{{}} detections are less sure than {self._options.min_confidence:g}, and left out"
            )
            self.count(f"{text} (--min-confidence)")
            return False
        return True

    def read_box(self, box: object) -> tuple[Region, bool]:
        """Return the region of a box ``[x, y, width, height]`` in relative terms, as :meth:`clip`.

        Raises
        ------
        BadEntry
            If it is none.
        """
        sides = read_sides(box)
        if max(map(abs, sides)) > _MOST:
            msg = (
                f"box {_write(sides)} can only be in pixels, expected x, y, width and height "
                "relative to the picture, 0 to 1"
            )
            raise BadEntry(msg)
        return self.clip(*sides)

    def clip(self, x: float, y: float, width: float, height: float) -> tuple[Region, bool]:
        """Return the part of a box that lies in the picture, and whether any lay outside.

        Raises
        ------
        BadEntry
            If none of it does.
        """
        try:
            return Region.clip(
                x, y, width, height, pad=self._options.pad, square=self._options.square
            )
        except ValueError:
            sides = _write((x, y, width, height))
            what = "has no area" if min(width, height) <= 0 else "lies outside of the picture"
            msg = f"box {sides} {what}, expected one inside, of x, y, width and height from 0 to 1"
            raise BadEntry(msg) from None

    def read_size(self, file: str) -> tuple[int, int]:
        """Return the size of a picture when upright, from its header.

        Raises
        ------
        BadEntry
            If it cannot be read, or may not be.
        """
        if not self._options.allow_outside and not self._bounds.hold(read_name(file)):
            raise BadEntry(REASON)
        path = Path(read_name(file))
        try:
            with path.open("rb") as opened:
                start = opened.read(_HEADER_BYTES) if path.is_file() else b""
            if start.startswith(b"\xff\xd8"):
                try:
                    facts = read_facts(start)
                except ImageReadError:
                    facts = read_facts(read_file(path))
            else:
                facts = read_facts(read_file(path))
        except (ImageReadError, OSError) as error:
            why = getattr(error, "strerror", None) or str(error)
            msg = f"its size, by which boxes in pixels are read, is not to be had: {why.lower()}"
            raise BadEntry(msg) from error
        return facts.width_px, facts.height_px

    def finish(self, *, maker: str = "") -> Part:
        """Find the pictures, and return all as a part of a listing.

        Parameters
        ----------
        maker : str
            Name of what made the labels; ``""`` where people did.
        """
        import pandas as pd

        base = write_name(absolute(self._base))
        empty = pd.DataFrame(index=range(len(self._pictures)))
        found = find_files(
            self._pictures, base, empty, name=str(self._source),
            beside=write_name(absolute(self._source.parent)),
        )  # fmt: skip
        self._make_sized(found.files, found.reasons)
        places = [locate(file, base) for file in found.files]
        frame, n_twice = self._make_frame(places, found.files)
        if n_twice:
            self.count("{} detections stand there twice, and are taken once", n=n_twice)
        is_labelled = (frame[[*LABEL_COLUMNS, LABEL]].fillna("") != "").any(axis=1)
        if maker and is_labelled.any():
            frame[LABELS_FROM] = pd.Series("", index=frame.index).mask(is_labelled, maker)
            self.count(f"{{}} labels were made by a machine, labels_from is {maker}",
                       n=int(is_labelled.sum()))  # fmt: skip
        for name in (LABEL, QUALIFIER, CONTENT):
            if name in frame and not (frame[name] != "").any():
                frame = frame.drop(columns=name)
        if not (frame[list(LABEL_COLUMNS)] != "").any(axis=None):
            frame = frame.drop(columns=list(LABEL_COLUMNS))
        unread = tuple((base, name, reason) for name, reason in self._unread)
        return Part(
            frame, str(self._source), reasons=found.reasons, unread=unread,
            notes=(*self._tell(frame), *found.notes),
        )  # fmt: skip

    def _make_sized(self, files: Sequence[str], reasons: Mapping[str, str]) -> None:
        sizes: dict[int, tuple[int, int] | str] = {}
        for picture, make, at in self._waiting:
            file, name = files[picture], self._pictures[picture]
            if picture not in sizes:
                try:
                    sizes[picture] = reasons.get(file) or self.read_size(file)
                except BadEntry as error:
                    sizes[picture] = str(error)
            size = sizes[picture]
            if isinstance(size, str):
                self.fail(name, size, at)
                continue
            try:
                self._rows.append(make(*size))
            except BadEntry as error:
                self.fail(name, str(error), at)
        if self._waiting:
            self._rows.sort(key=lambda row: row.picture)

    def _make_frame(
        self, places: Sequence[tuple[str, str]], files: Sequence[str]
    ) -> tuple[pd.DataFrame, int]:
        import numpy as np
        import pandas as pd

        known: set[tuple[Any, ...]] = set()
        rows = []
        for row in self._rows:
            key = (files[row.picture], row.region, row.word, *row.values.items())
            if key not in known:
                known.add(key)
                rows.append(row)
        if n_cut := sum(row.is_cut for row in rows):
            self.count("{} boxes leave their picture and were clipped to it", n=n_cut)
        boxes = ["" if row.region is None else row.region.name for row in rows]
        names = number_regions(
            (files[row.picture], box) for row, box in zip(rows, boxes, strict=True)
        )
        columns: dict[str, Any] = {
            "root": [places[row.picture][0] for row in rows],
            "path": [places[row.picture][1] for row in rows],
            REGION: names,
        }
        if any(boxes):
            for name, side in zip(BOX_COLUMNS, ("x", "y", "width", "height"), strict=True):
                columns[name] = np.array(
                    [math.nan if row.region is None else getattr(row.region, side) for row in rows]
                )
        free = list(dict.fromkeys(name for row in rows for name in row.values))
        check_shape(self._source, len(rows), len(columns) + len(free))
        for name in free:
            columns[name] = [row.values.get(name) for row in rows]
        labels = read_machine_labels(row.word for row in rows)
        said = labels.loc[[row.word for row in rows]].reset_index(drop=True)
        made = {
            name: pd.Series(values, dtype=None if isinstance(values, np.ndarray) else object)
            for name, values in columns.items()
        }
        frame = pd.DataFrame(made, index=range(len(rows)))
        self._keep_people(frame, said)
        return pd.concat([frame, said], axis=1), len(self._rows) - len(rows)

    def _keep_people(self, frame: pd.DataFrame, said: pd.DataFrame) -> None:
        """Make a box that is surely a person or vehicle one, whatever animal it is most like."""
        if DETECTION_CATEGORY not in frame or DETECTION_CONFIDENCE not in frame:
            return
        category = frame[DETECTION_CATEGORY].map(lambda word: read_content(word or ""))
        is_sure = frame[DETECTION_CONFIDENCE].astype(float) > ContentRules().detected
        is_named = (said[CONTENT] == "animal") | (said[LABEL].fillna("") != "")
        wrong = category.isin(["human", "vehicle"]) & is_sure & is_named
        if wrong.any():
            said.loc[wrong, :] = ""
            said.loc[wrong, CONTENT] = category[wrong]
            self.count(
                "{} boxes of a person or vehicle have a class of animals, and no label of it",
                n=int(wrong.sum()),
            )

    def _tell(self, frame: pd.DataFrame) -> Iterable[Note]:
        files = [join(*place) for place in zip(frame["root"], frame["path"], strict=True)]
        yield Note(
            f"{self._source} was read as {self._what}: {self.n_entries:,} entries, {len(frame):,} "
            f"regions of {len(set(files)):,} pictures"
        )
        for text, n in self._counts.items():
            shown = self._shown[text]
            more = ", …" if len(shown) > _SHOWN else ""
            such = f": {', '.join(shown[:_SHOWN])}{more}" if shown else ""
            yield Note(f"{text.format(f'{n:,}')}{such}", self._kinds[text])
        if self._unread:
            listed = [f"{name}: {why}" for name, why in self._unread[:_SHOWN]]
            more = "; …" if len(self._unread) > _SHOWN else ""
            text = f"{len(self._unread):,} failures of {self._source}: {'; '.join(listed)}{more}"
            yield Note(text, PROBLEM)
        if not len(frame):
            yield Note(f"no region is left of {self._source}", PROBLEM)


def read_sides(box: object) -> tuple[float, float, float, float]:
    """Return the four numbers of a box.

    Raises
    ------
    BadEntry
        If it has no four, or one is none.
    """
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        msg = f"its box is {_show(box)}, expected a list of four numbers"
        raise BadEntry(msg)
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def read_score(value: object, what: str = "confidence") -> float:
    """Return a confidence or score.

    Raises
    ------
    BadEntry
        If it is no number of 0 to 1.
    """
    if not _is_number(value) or not -1e-6 <= float(value) <= 1 + 1e-6:  # type: ignore[arg-type]
        msg = f"its {what} is {_show(value)}, expected a number of 0 to 1"
        raise BadEntry(msg)
    return min(max(float(value), 0.0), 1.0)  # type: ignore[arg-type]


def check_object(value: object) -> dict[str, Any]:
    """Return an object of JSON.

    Raises
    ------
    BadEntry
        If it is none.
    """
    if not isinstance(value, dict):
        msg = f"it is {type(value).__name__}, expected an object"
        raise BadEntry(msg)
    return value


def read_text(value: object) -> str:
    """Return a text or whole number as text, ``""`` for anything else."""
    if isinstance(value, str):
        return _clean(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def read_fields(
    entry: Mapping[str, Any], left_out: Iterable[str], names: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the further fields of an entry that a column can hold.

    Parameters
    ----------
    entry : mapping
        As JSON has it.
    left_out : iterable of str
        Keys that are read otherwise.
    names : mapping of str to str, optional
        Columns of keys that have another name there.
    """
    fields = {}
    unread = set(left_out)
    for key, value in entry.items():
        if key in unread or value is None or isinstance(value, (dict, list)):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            continue
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 63:
            value = str(value)
        name = (names or {}).get(key, _clean(key)) or "source"
        fields[f"source_{name}" if name in _OWN else name] = (
            _clean(value) if isinstance(value, str) else value
        )
    return fields


def read_time(value: object) -> str:
    """Return a time as ISO 8601 writes it, ``""`` where it is none.

    Examples
    --------
    >>> read_time("2020:01:02 06:00:00"), read_time("2020-01-02T06:00:00Z"), read_time("dusk")
    ('2020-01-02T06:00:00', '2020-01-02T06:00:00Z', '')
    """
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return ""
    year, month, day, time, zone = found.groups()
    written = f"{year}-{month}-{day}T{time}{zone or ''}"
    try:
        datetime.datetime.fromisoformat(written)
    except ValueError:
        return ""
    return written


def read_size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the width and height in pixels that an entry says, None where it says none."""
    given = (entry.get("width"), entry.get("height"))
    width, height = (int(s) if _is_number(s) and isinstance(s, (int, float)) else 0 for s in given)
    return (width, height) if width > 0 and height > 0 else None


def is_video_file(name: str) -> bool:
    """Tell whether a file is a video, by its ending."""
    return name[name.rfind(".") :].lower() in _VIDEO_SUFFIXES


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _write(sides: Sequence[float]) -> str:
    return f"[{', '.join(f'{side:g}' for side in sides)}]"


def _show(value: object) -> str:
    return "missing" if value is None else shorten(_clean(repr(value)), 40)


def _clean(text: str) -> str:
    """Return a text that any table can hold: JSON may name halves of characters."""
    if text.isascii():
        return text
    return write_name(text).encode("utf-8", "backslashreplace").decode("utf-8")
