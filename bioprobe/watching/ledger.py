"""What a watch has done, kept in the store so that a killed one goes on without a double or a loss.

One SQLite file. Each batch is one change of it: which files were seen, whose answers are to be
written, which alerts are due. What is to be written stands there before it is written, and is
struck when it is: after a kill what is missing is written, and nothing twice.

It holds no names of pictures but in alerts that are not delivered and lines that are not written;
files, contents and places are digests.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import sqlite3
import threading
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.errors import StoreError
from bioprobe.files import parse_json
from bioprobe.images.location import read_name

if TYPE_CHECKING:
    from bioprobe.store.gone import Changes, Gone

LEDGER_NAME = "watching.sqlite"
#: Held by whoever watches into the store.
LOCK_NAME = ".watching.lock"
#: Longest wait of an alert for its next try.
LONGEST_PAUSE_S = 600.0
_LAYOUT = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS folders (folder BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    path BLOB PRIMARY KEY, n_bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outputs (
    output BLOB PRIMARY KEY, question TEXT NOT NULL, header TEXT NOT NULL,
    n_bytes INTEGER NOT NULL, pending TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answered (
    output BLOB NOT NULL, picture BLOB NOT NULL, PRIMARY KEY (output, picture)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS judged (content BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, place BLOB NOT NULL, first_s REAL NOT NULL, last_s REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of ON events (place, last_s);
CREATE TABLE IF NOT EXISTS alerts (
    id TEXT PRIMARY KEY, channel TEXT NOT NULL, payload TEXT NOT NULL,
    n_tries INTEGER NOT NULL, next_s REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS told (
    rule BLOB NOT NULL, channel TEXT NOT NULL, event INTEGER NOT NULL,
    PRIMARY KEY (rule, channel, event)
) WITHOUT ROWID;
"""


def digest(*parts: str) -> bytes:
    """Return what stands for texts of which none is to be kept, 16 bytes."""
    # Names that are no text of the system's are none of JSON's either.
    text = json.dumps(parts).encode()
    return hashlib.blake2b(text, digest_size=16).digest()


@dataclasses.dataclass(frozen=True)
class Sighting:
    """A picture that may be alerted of.

    Parameters
    ----------
    place : str
        Camera or folder.
    time_s : float
        When it was taken, in seconds since 1970.
    payloads : mapping of str to dict
        By the name of each rule that it meets what is told.
    """

    place: str
    time_s: float
    payloads: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Due:
    """An alert that is to be delivered.

    Parameters
    ----------
    id : str
        The same at each try, so that who is told can tell a second time from a second event.
    channel : str
        ``command`` or ``webhook``.
    payload : dict
        What is told.
    n_tries : int
        How often it failed.
    """

    id: str
    channel: str
    payload: Mapping[str, Any]
    n_tries: int


@dataclasses.dataclass(frozen=True)
class Output:
    """How far a file of answers is.

    Parameters
    ----------
    question : str
        What its answers were asked by.
    header : tuple of str
        Its columns, empty before the first line.
    n_bytes : int
        Its size when all that was to be written was.
    pending : str
        What is to be written next.
    """

    question: str
    header: tuple[str, ...] = ()
    n_bytes: int = 0
    pending: str = ""


class Ledger:
    """The ledger of a store; every thread may use it.

    Raises
    ------
    StoreError
        If it is damaged, of a later version, or the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER_NAME
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        with self._explaining():
            self._database = sqlite3.connect(
                self.path, timeout=30, isolation_level=None, check_same_thread=False
            )
            self._execute("PRAGMA secure_delete=ON")
            (layout,) = self._execute("PRAGMA user_version").fetchone()
            if layout > _LAYOUT:
                msg = (
                    f"{self.path} was written by a later version (layout {layout}, this one reads "
                    f"{_LAYOUT}); update bioprobe"
                )
                raise StoreError(msg)
            # At once, as each change waits for the disk.
            if layout < _LAYOUT:
                self._database.executescript(
                    f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version={_LAYOUT};COMMIT;"
                )

    def _execute(self, text: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if self._database is None:
            msg = f"{self.path} was closed"
            raise StoreError(msg)
        return self._database.execute(text, values)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.DatabaseError as error:
                msg = (
                    f"{self.path} cannot be used ({error}); where it is damaged, lay it aside, and "
                    "what was told and answered before is told and answered again"
                )
                raise StoreError(msg) from error

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """Make all changes of the block at once, or none.

        Raises
        ------
        StoreError
            If the disk refuses.
        """
        with self._explaining():
            self._execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._execute("ROLLBACK")
                raise
            self._execute("COMMIT")

    def close(self) -> None:
        """Close it; nothing is lost without."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def knows_folder(self, folder: str) -> bool:
        """Tell whether a folder was watched before."""
        return self._has("SELECT 1 FROM folders WHERE folder=?", digest(folder))

    def add_folder(self, folder: str) -> None:
        """Remember that a folder is watched."""
        with self._explaining():
            self._execute("INSERT OR IGNORE INTO folders VALUES (?)", (digest(folder),))

    def read_seen(self) -> dict[bytes, tuple[int, int]]:
        """Return size and time of all files that were taken, by the digest of their path."""
        with self._explaining():
            rows = self._execute("SELECT path, n_bytes, modified_ns FROM seen").fetchall()
        return {path: (n_bytes, modified_ns) for path, n_bytes, modified_ns in rows}

    def add_seen(self, seen: Mapping[bytes, tuple[int, int]]) -> None:
        """Remember files that were taken, within :meth:`change`."""
        for path, content in seen.items():
            self._execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (path, *content))

    def read_output(self, output: str) -> Output | None:
        """Return how far a file of answers is; None where it was not begun."""
        with self._explaining():
            row = self._execute(
                "SELECT question, header, n_bytes, pending FROM outputs WHERE output=?",
                (digest(output),),
            ).fetchone()
        return None if row is None else Output(row[0], tuple(parse_json(row[1])), row[2], row[3])

    def write_output(self, output: str, written: Output) -> None:
        """Say how far a file of answers is; within :meth:`change` with what it goes with."""
        values = (written.question, json.dumps(written.header), written.n_bytes, written.pending)
        with self._explaining():
            self._execute(
                "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?)", (digest(output), *values)
            )

    def forget_output(self, output: str) -> None:
        """Forget what was answered there: all is to be written anew."""
        with self.change():
            self._execute("DELETE FROM answered WHERE output=?", (digest(output),))
            self._execute("DELETE FROM outputs WHERE output=?", (digest(output),))

    def is_answered(self, output: str, picture: Sequence[str]) -> bool:
        """Tell whether a picture, by its path, content and region, is in a file of answers."""
        text = "SELECT 1 FROM answered WHERE output=? AND picture=?"
        return self._has(text, digest(output), digest(*picture))

    def add_answered(self, output: str, pictures: Iterable[Sequence[str]]) -> None:
        """Remember pictures that were answered, within :meth:`change`."""
        for one in pictures:
            values = (digest(output), digest(*one))
            self._execute("INSERT OR IGNORE INTO answered VALUES (?, ?)", values)

    def follow(self, before: Sequence[str], after: Sequence[str]) -> None:
        """Say that a picture has moved: where its old path was answered, its new one is."""
        with self._explaining():
            self._execute(
                "INSERT OR IGNORE INTO answered SELECT output, ? FROM answered WHERE picture=?",
                (digest(*after), digest(*before)),
            )

    def is_judged(self, content: Sequence[str]) -> bool:
        """Tell whether it was decided of a content if somebody is told; a copy is no other."""
        return self._has("SELECT 1 FROM judged WHERE content=?", digest(*content))

    def add_judged(self, contents: Iterable[Sequence[str]]) -> None:
        """Remember that this was decided, within :meth:`change`."""
        for one in contents:
            self._execute("INSERT OR IGNORE INTO judged VALUES (?)", (digest(*one),))

    def sight(
        self, sighting: Sighting, channels: Collection[str], gap_s: float, now_s: float
    ) -> int:
        """Take in one picture within :meth:`change`: each event is told once to each channel.

        Parameters
        ----------
        sighting : Sighting
        channels : collection of str
            ``command``, ``webhook``.
        gap_s : float
            Two pictures of one place belong to one event that were taken no further apart.
        now_s : float
            From when on it may be delivered.

        Returns
        -------
        int
            Alerts that are due by it.
        """
        event = self._find_event(digest(sighting.place), sighting.time_s, gap_s)
        n_due = 0
        for name, payload in sighting.payloads.items():
            for channel in channels:
                added = self._execute(
                    "INSERT OR IGNORE INTO told VALUES (?, ?, ?)", (digest(name), channel, event)
                )
                if added.rowcount:
                    told = {"id": str(uuid.uuid4()), **payload, "event": event}
                    self._execute(
                        "INSERT INTO alerts VALUES (?, ?, ?, 0, ?)",
                        (told["id"], channel, json.dumps(told), now_s),
                    )
                    n_due += 1
        return n_due

    def _find_event(self, place: bytes, time_s: float, gap_s: float) -> int:
        """Return the event of a place and a time, which is made, made longer or joined."""
        found = self._execute(
            "SELECT id, first_s, last_s FROM events "
            "WHERE place=? AND last_s>=? AND first_s<=? ORDER BY id",
            (place, time_s - gap_s, time_s + gap_s),
        ).fetchall()
        if not found:
            values = (place, time_s, time_s)
            made = self._execute(
                "INSERT INTO events (place, first_s, last_s) VALUES (?, ?, ?)", values
            )
            return int(made.lastrowid or 0)
        event = int(found[0][0])
        first_s = min(time_s, *(one[1] for one in found))
        last_s = max(time_s, *(one[2] for one in found))
        self._execute("UPDATE events SET first_s=?, last_s=? WHERE id=?", (first_s, last_s, event))
        for other, _, _ in found[1:]:
            self._execute("UPDATE OR IGNORE told SET event=? WHERE event=?", (event, other))
            self._execute("DELETE FROM told WHERE event=?", (other,))
            self._execute("DELETE FROM events WHERE id=?", (other,))
        return event

    def list_due(self, now_s: float, channels: Collection[str]) -> list[Due]:
        """Return the alerts that may be delivered now, the oldest first."""
        with self._explaining():
            # None waits longer, unless the clock was set back.
            rows = self._execute(
                "SELECT id, channel, payload, n_tries FROM alerts "
                "WHERE next_s<=? OR next_s>? ORDER BY rowid",
                (now_s, now_s + LONGEST_PAUSE_S),
            ).fetchall()
        return [
            Due(key, channel, parse_json(payload), n_tries)
            for key, channel, payload, n_tries in rows
            if channel in channels
        ]

    def count_waiting(self, channels: Collection[str]) -> int:
        """Return how many alerts are not delivered to some channels."""
        with self._explaining():
            rows = self._execute("SELECT channel, count(*) FROM alerts GROUP BY channel").fetchall()
        return sum(n for channel, n in rows if channel in channels)

    def finish_alert(self, alert: str) -> None:
        """Say that an alert was delivered; what it told is forgotten."""
        with self._explaining():
            self._execute("DELETE FROM alerts WHERE id=?", (alert,))

    def postpone_alert(self, alert: str, next_s: float) -> None:
        """Say that an alert failed, and when it is tried again."""
        with self._explaining():
            self._execute(
                "UPDATE alerts SET n_tries=n_tries+1, next_s=? WHERE id=?", (next_s, alert)
            )

    def wake_alerts(self, now_s: float) -> None:
        """Let all that waits be tried now, as in a new run."""
        with self._explaining():
            self._execute("UPDATE alerts SET next_s=?", (now_s,))

    def forget(self, files: Collection[str]) -> int:
        """Forget what is to be told or written of pictures; return of how many alerts."""
        with self.change():
            waiting = self._execute("SELECT id, payload FROM alerts").fetchall()
            gone = [key for key, text in waiting if parse_json(text).get("file") in files]
            for key in gone:
                self._execute("DELETE FROM alerts WHERE id=?", (key,))
        return len(gone)

    def _has(self, text: str, *values: Any) -> bool:  # noqa: ANN401 - what SQLite takes
        with self._explaining():
            return self._execute(text, values).fetchone() is not None


def forget_gone(gone: Gone, changes: Changes) -> None:
    """Take pictures that are gone out of what is still to be told."""
    if gone.files and (gone.folder / LEDGER_NAME).is_file():

        def forget() -> None:
            ledger = Ledger(gone.folder)
            try:
                n_alerts = ledger.forget({*gone.files, *map(read_name, gone.files)})
                if n_alerts:
                    changes.counts["alerts"] += n_alerts
            finally:
                ledger.close()

        changes.afterwards(forget)
