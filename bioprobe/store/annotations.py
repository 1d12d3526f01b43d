"""The log of annotations: what people said of images, beside the labels that came with these.

One record a line in ``annotations/log.jsonl``, each with the SHA-256 of itself, in the order in
which they were written. Nothing in it is changed: who takes something back writes so. A record is
on the disk before whoever wrote it is told; what a killed writer left unfinished is no record.
Writers take turns by a lock of the log's own, which is not that of the store: people annotate
while images are embedded. Readers wait for nobody.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import hashlib
import json
import math
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from bioprobe.access import reading
from bioprobe.errors import MisuseError
from bioprobe.files import explaining_refusal, parse_json, replacing, sync
from bioprobe.images.regions import name_content
from bioprobe.store.gone import Changes, Gone, list_places
from bioprobe.store.writing import QUICK_WAIT_S, check_present, locking

FOLDER_NAME, LOG_NAME = "annotations", "log.jsonl"
#: What a person may say of a class: that it is this, that it is not, or that nobody can tell.
VERDICTS = IS, IS_NOT, UNSURE = ("is", "is not", "unsure")
_LOCK_NAME = ".lock"
_ID = re.compile(r"[0-9a-f]{32}")
_START, _END = re.compile(rb'\{"id":"'), re.compile(rb',"check":"[0-9a-f]{16}"\}')
_CHECK = re.compile(rb',"check":"([0-9a-f]{16})"\}\Z')
# A name, or what it was shown for; a picture's path may be as long as the system lets it.
_LONGEST = 1000
# The clock of a phone may be wrong, not by more.
_AHEAD = datetime.timedelta(days=1)


class Unit(NamedTuple):
    """What was annotated: an image or a region, wherever its row is by now.

    Parameters
    ----------
    root, path, region : str
        As the image table has them.
    sha256 : str
        Of the picture's bytes, ``""`` where nobody saw them.
    """

    root: str
    path: str
    region: str = ""
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Annotation:
    """What a person said of an image or region, or that it is taken back.

    Parameters
    ----------
    id : str
        32 hexadecimal digits, given by whoever writes: two of the same are one annotation.
    unit : Unit
        What it is said of.
    level : str
        Rank or column.
    value : str
        Name of the class as it was written, ``""`` of one who is unsure.
    verdict : {"is", "is not", "unsure"}
        ``""`` of a record that takes another back.
    by : str
        Who says it.
    at : str
        When, in UTC, ISO 8601.
    suggestion : str
        Class that was proposed, ``""`` where none was.
    suggested_by : str
        Model or probe that proposed it.
    score : float
        Its probability, NaN where there is none.
    shown_for : str
        Why the image was shown: ``audit``, ``margin``, ``coverage``; ``""`` where it was not.
    chance : float
        Probability with which it was drawn for that; NaN where it was not drawn by chance.
    retracts : str
        Id of what is taken back, ``""`` where this says something.

    Raises
    ------
    MisuseError
        If one of these cannot be.
    """

    id: str
    unit: Unit
    level: str
    value: str
    verdict: str
    by: str
    at: str
    suggestion: str = ""
    suggested_by: str = ""
    score: float = math.nan
    shown_for: str = ""
    chance: float = math.nan
    retracts: str = ""

    def __post_init__(self) -> None:
        if problem := self._find_problem():
            msg = f"an annotation cannot be taken: {problem}"
            raise MisuseError(msg)

    @classmethod
    def make(
        cls,
        unit: Unit,
        level: str,
        value: str,
        verdict: str = IS,
        *,
        by: str,
        at: str | datetime.datetime = "",
        id: str = "",
        **more: Any,  # noqa: ANN401 - the other fields
    ) -> Annotation:
        """Return an annotation; where they are not given, it is new and of now."""
        return cls(id or uuid.uuid4().hex, unit, level, value, verdict, by, write_time(at), **more)

    def is_same(self, other: Annotation) -> bool:
        """Tell whether both say the same, whenever they were sent."""
        return self._said == other._said

    @property
    def _said(self) -> tuple[object, ...]:
        return (self.id, self.unit, self.level, self.value, self.verdict, self.by, self.retracts)

    def _find_problem(self) -> str:
        """Say what is wrong, ``""`` where nothing is."""
        return self._find_bad_text() or self._find_bad_verdict()

    def _find_bad_text(self) -> str:
        texts = {
            one.name: getattr(self, one.name) for one in dataclasses.fields(self)
            if one.type == "str"
        }  # fmt: skip
        for name, text in texts.items():
            if not isinstance(text, str) or len(text) > _LONGEST:
                got = f"{len(text):,} characters" if isinstance(text, str) else repr(text)
                return f"{name} is a text of {_LONGEST:,} characters at most, got {got}"
        if not _ID.fullmatch(self.id):
            return f"id has 32 hexadecimal digits in small letters, got {self.id!r}"
        if not self.by.strip():
            return "by says who annotates, got nothing"
        return ""

    def _find_bad_verdict(self) -> str:
        if self.retracts:
            return "" if not self.verdict else "what takes another back has no verdict"
        if self.verdict not in VERDICTS:
            return f"verdict is {', '.join(VERDICTS)}, got {self.verdict!r}"
        if not self.level:
            return "level names a rank or a column, got nothing"
        if (self.verdict == UNSURE) == bool(self.value):
            need = "no value beside unsure" if self.value else "a value, or the verdict unsure"
            return f"expected {need}, got {self.value!r}"
        for name in ("score", "chance"):
            number = getattr(self, name)
            if not (math.isnan(number) or 0 <= number <= 1):
                return f"{name} is a probability, 0 to 1, got {number}"
        return ""


def check_same(known: Annotation, other: Annotation) -> None:
    """Refuse an annotation that has the id of one which says something else.

    Raises
    ------
    MisuseError
        If it has.
    """
    if not known.is_same(other):
        msg = f"the id {other.id} is that of another annotation; give each its own, or none"
        raise MisuseError(msg)


def write_time(at: str | datetime.datetime = "") -> str:
    """Return a moment in UTC as annotations have it, now where none is given.

    A time without a zone is one in UTC.

    Raises
    ------
    MisuseError
        If it is no time, or more than a day ahead.

    Examples
    --------
    >>> write_time("2024-05-01T12:00:00+02:00")
    '2024-05-01T10:00:00.000+00:00'
    """
    now = datetime.datetime.now(datetime.UTC)
    try:
        moment = datetime.datetime.fromisoformat(at) if isinstance(at, str) and at else at or now
        moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        moment = moment.astimezone(datetime.UTC)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        msg = f"at is a time such as 2024-05-01T12:00:00+00:00, got {at!r}"
        raise MisuseError(msg) from error
    if moment > now + _AHEAD:
        msg = f"at is a time that has been, got {at}; mend the clock of the machine that says so"
        raise MisuseError(msg)
    return moment.isoformat(timespec="milliseconds")


@dataclasses.dataclass(frozen=True)
class Damage:
    """A line of a log that is no record.

    Parameters
    ----------
    line : int
        From 1.
    what : str
        What is wrong with it.
    """

    line: int
    what: str


@dataclasses.dataclass(frozen=True, eq=False)
class Log:
    """Annotations as they were at a moment.

    Parameters
    ----------
    annotations : tuple of Annotation
        In the order in which they were written, each once; what takes others back is among them.
    damaged : tuple of Damage
        Lines that are no records.
    torn : int
        Bytes at the end that are no whole record: a writer is at it, or was killed.
    """

    annotations: tuple[Annotation, ...] = ()
    damaged: tuple[Damage, ...] = ()
    torn: int = 0

    def __len__(self) -> int:
        return len(self.annotations)

    @cached_property
    def retracted(self) -> frozenset[str]:
        """Ids of what is taken back; what took back may be taken back itself."""
        taken: set[str] = set()
        for one in reversed(self.annotations):
            if one.retracts and one.id not in taken:
                taken.add(one.retracts)
        return frozenset(taken)

    @cached_property
    def standing(self) -> tuple[Annotation, ...]:
        """What was said and is not taken back, the oldest first."""
        taken = self.retracted
        standing = [one for one in self.annotations if not one.retracts and one.id not in taken]
        return tuple(sorted(standing, key=lambda one: one.at))


class _Reader:
    """What is known of one log file, read on from where it ended."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.file: tuple[int, int] | None = None
        self.n_read = self.written_ns = 0
        self.last = b""
        self.n_lines = 0
        self.annotations: list[Annotation] = []
        self.by_id: dict[str, Annotation] = {}
        self.damaged: list[Damage] = []
        self.log = Log()

    def read(self, path: Path) -> Log:
        try:
            with reading(path), path.open("rb") as stream:
                found = os.fstat(stream.fileno())
                file = (found.st_dev, found.st_ino)
                stream.seek(max(0, self.n_read - len(self.last)))
                new = stream.read()
                is_other = len(new) <= len(self.last) and found.st_mtime_ns != self.written_ns
                if file != self.file or is_other or not new.startswith(self.last):
                    # Another file, as after a compaction, or one that somebody has changed.
                    self.forget()
                    self.file = file
                    stream.seek(0)
                    new = stream.read()
                self.written_ns = os.fstat(stream.fileno()).st_mtime_ns
        except FileNotFoundError:
            self.forget()
            return self.log
        if new := new[len(self.last) :]:
            self._take(new)
        elif self.log.torn:
            self.log = dataclasses.replace(self.log, torn=0)
        return self.log

    def _take(self, new: bytes) -> None:
        *lines, rest = new.split(b"\n")
        for line in lines:
            self.n_lines += 1
            self._take_line(line)
        if lines:
            self.last = lines[-1] + b"\n"
            self.n_read += len(new) - len(rest)
        n_torn = len(rest)
        annotations = self.annotations
        if rest and (whole := _parse(rest)) is not None:
            # Only its end is missing, which the next writer sets.
            n_torn = 0
            annotations = [*annotations, *([whole] if whole.id not in self.by_id else [])]
        self.log = Log(tuple(annotations), tuple(self.damaged), n_torn)

    def _take_line(self, line: bytes) -> None:
        found = _parse(line)
        records = [found] if found else list(_salvage(line))
        if found is None:
            saved = f", of which {len(records):,} records can be read" if records else ""
            what = f"it is no record: {len(line):,} bytes that its checksum does not fit{saved}"
            self.damaged.append(Damage(self.n_lines, what))
        for one in records:
            if one.id not in self.by_id:
                self.by_id[one.id] = one
                self.annotations.append(one)


# A page that is open asks for what was added since alone.
_readers: collections.OrderedDict[str, _Reader] = collections.OrderedDict()
_MOST_READERS = 16
_reading, _taking_turns = threading.Lock(), threading.RLock()


def find_log(folder: Path) -> Path:
    """Return where the log of a store lies."""
    return folder / FOLDER_NAME / LOG_NAME


def read_log(folder: Path, *, fresh: bool = False) -> Log:
    """Read the log of a store; one that has none is empty.

    Parameters
    ----------
    folder : Path
        Of the store.
    fresh : bool
        Whether every byte is read again, also those that this process has read.

    Raises
    ------
    UnreadableError
        If it is there and cannot be read just now.
    """
    if fresh:
        return _Reader().read(find_log(folder))
    with _reading:
        return _find_reader(folder).read(find_log(folder))


def _find_reader(folder: Path) -> _Reader:
    key = os.path.realpath(folder)
    reader = _readers.pop(key, None) or _Reader()
    _readers[key] = reader
    while len(_readers) > _MOST_READERS:
        _readers.popitem(last=False)
    return reader


def append(
    folder: Path,
    annotations: Sequence[Annotation],
    check: Callable[[], None] | None = None,
) -> list[Annotation]:
    """Write annotations into the log of a store, and return those that are new to it.

    When this returns they are on the disk; where it raises, none of them counts.

    Raises
    ------
    MisuseError
        If an id is that of an annotation which says something else.
    StoreLockedError
        If another process writes to the log all the time.
    StoreError
        If there is no store any more, or the disk refuses; the log is then as it was.
    """
    with writing(folder):
        if check is not None:
            check()
        path = find_log(folder)
        with _reading:
            reader = _find_reader(folder)
            log, by_id = reader.read(path), reader.by_id
        new: dict[str, Annotation] = {}
        for one in annotations:
            known = new.get(one.id) or by_id.get(one.id)
            if known is None:
                new[one.id] = one
            else:
                check_same(known, one)
        if new:
            _write(path, b"".join(map(_serialise, new.values())), log.torn)
        return list(new.values())


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only one who writes to the log of a store while the block runs.

    Raises
    ------
    StoreLockedError
        If another process writes to it all the time.
    StoreError
        If there is no store any more, or its folder cannot be written.
    """
    check_present(folder)
    place = folder / FOLDER_NAME
    with _taking_turns:
        with explaining_refusal(place):
            if not place.is_dir():
                place.mkdir(exist_ok=True)
                sync(folder)
        doing = f"writing annotations to {folder}"
        with locking(place / _LOCK_NAME, QUICK_WAIT_S, doing):
            yield


def _write(path: Path, data: bytes, n_torn: int) -> None:
    """Write to the end of a log, and have it on the disk; where that fails it is as it was."""
    is_new = not path.exists()
    with explaining_refusal(path), path.open("xb" if is_new else "r+b", buffering=0) as stream:
        # Nobody was told that what is torn was written.
        size = max(0, stream.seek(0, os.SEEK_END) - n_torn)
        stream.truncate(size)
        if size and not n_torn:
            stream.seek(size - 1)
            data = data if stream.read(1) == b"\n" else b"\n" + data
        stream.seek(size)
        view = memoryview(data)
        try:
            while view:
                view = view[stream.write(view) :]
            os.fsync(stream.fileno())
        except BaseException:
            stream.truncate(size)
            raise
        if is_new:
            sync(path.parent)


def _serialise(one: Annotation) -> bytes:
    """Return the line of a record."""
    unit = one.unit
    said: dict[str, Any] = {
        "id": one.id, "root": unit.root, "path": unit.path, "region": unit.region,
        "sha256": unit.sha256, "level": one.level, "value": one.value, "verdict": one.verdict,
        "by": one.by, "at": one.at,
    }  # fmt: skip
    for name in ("suggestion", "suggested_by", "score", "shown_for", "chance", "retracts"):
        value = getattr(one, name)
        if value != "" and not (isinstance(value, float) and math.isnan(value)):
            said[name] = value
    # Names that are no UTF-8 are written by their codes.
    text = json.dumps(said, separators=(",", ":")).encode("ascii")
    check = hashlib.sha256(text).hexdigest()[:16].encode()
    return text[:-1] + b',"check":"' + check + b'"}\n'


def _parse(line: bytes) -> Annotation | None:
    """Return the record of a line; None where it is none."""
    found = _CHECK.search(line)
    if found is None:
        return None
    text = line[: found.start()] + b"}"
    if hashlib.sha256(text).hexdigest()[:16].encode() != found[1]:
        return None
    try:
        return _build(parse_json(text, dict))
    except (ValueError, KeyError, TypeError):
        return None


def _salvage(line: bytes) -> Iterator[Annotation]:
    """Find whole records in a damaged line, as where the end of a line was lost."""
    for start in _START.finditer(line):
        end = _END.search(line, start.start())
        if end is not None and (found := _parse(line[start.start() : end.end()])) is not None:
            yield found


def _build(said: Mapping[str, Any]) -> Annotation:
    unit = Unit(said["root"], said["path"], said["region"], said["sha256"])
    further = {
        name: said[name]
        for name in ("suggestion", "suggested_by", "score", "shown_for", "chance", "retracts")
        if name in said
    }
    main = (said[name] for name in ("level", "value", "verdict", "by", "at"))
    return Annotation(said["id"], unit, *main, **further)


def _rewrite(path: Path, annotations: Sequence[Annotation]) -> None:
    """Write a log of its own into a file, as :func:`append` would have."""
    with path.open("wb") as stream:
        for one in annotations:
            stream.write(_serialise(one))


def retract(
    folder: Path, ids: Sequence[str], *, by: str, at: str = ""
) -> tuple[list[Annotation], list[str]]:
    """Take annotations back, and return what was written and the ids that were taken back already.

    Raises
    ------
    MisuseError
        If there is no annotation of an id.
    StoreError
        If the disk refuses.
    """
    log = read_log(folder)
    known = {one.id: one for one in log.annotations}
    if unknown := [one for one in ids if one not in known]:
        msg = (
            f"{folder} has no annotation {unknown[0]!r} to take back; see: bioprobe annotations "
            "show"
        )
        raise MisuseError(msg)
    new = [
        Annotation.make(known[one].unit, known[one].level, "", "", by=by, at=at, retracts=one)
        for one in dict.fromkeys(ids) if one not in log.retracted
    ]  # fmt: skip
    return append(folder, new), [one for one in ids if one in log.retracted]


def verify_log(folder: Path) -> tuple[Damage, ...]:
    """Read every byte of the log of a store, and return the lines that are no records.

    Raises
    ------
    UnreadableError
        If it cannot be read just now.
    """
    return read_log(folder, fresh=True).damaged


def repair_log(folder: Path, aside: Path) -> int:
    """Take damaged lines out of the log of a store, and return how many there were.

    Parameters
    ----------
    folder : Path
        Of the store.
    aside : Path
        Folder in which the log is kept as it was; made where there is damage.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    if not verify_log(folder):
        return 0
    path = find_log(folder)
    with writing(folder):
        log = read_log(folder, fresh=True)
        with explaining_refusal(aside):
            aside.mkdir(exist_ok=True)
            with replacing(aside / f"annotations-{uuid.uuid4().hex[:8]}.jsonl") as temporary:
                temporary.write_bytes(path.read_bytes())
        with replacing(path) as temporary:
            _rewrite(temporary, log.annotations)
    return len(log.damaged)


def forget_gone(gone: Gone, changes: Changes) -> None:
    """Take out of the log of a store what was said of images that go.

    What was said of a picture that was moved is kept, under the name that it has.
    """
    if not read_log(gone.folder).annotations and not verify_log(gone.folder):
        return
    # Nobody writes on until the new log has its name.
    changes.enter(writing(gone.folder))
    log = read_log(gone.folder, fresh=True)
    kept: list[Annotation] = []
    for one in log.annotations:
        unit = _find_unit(one.unit, gone)
        if unit is not None:
            kept.append(one if unit == one.unit else dataclasses.replace(one, unit=unit))
    has_damage = bool(log.damaged) and len(gone.removed) > 0
    if tuple(kept) == log.annotations and not has_damage:
        return
    _rewrite(changes.replace(find_log(gone.folder)), kept)
    changes.counts["annotations"] += len(log) - len(kept)
    if log.damaged:
        changes.said.append(
            f"{len(log.damaged):,} damaged lines of the log of annotations are gone, which may "
            "have been of these pictures"
        )


def _find_unit(unit: Unit, gone: Gone) -> Unit | None:
    """Return where a unit is once rows are gone; None where it goes."""
    place = (unit.root, unit.path, unit.region)
    if place not in gone.places:
        return None if unit.sha256 in gone.hashes else unit
    row = gone.row_of_content.get(name_content(unit.sha256, unit.region), -1) if unit.sha256 else -1
    if row < 0:
        return None
    root, path, region = list_places(gone.kept.frame.iloc[[row]])[0]
    return Unit(root, path, region, unit.sha256)
