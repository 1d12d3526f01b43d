"""Watch a folder: look, take what is whole, embed it, write its answers down, tell of it."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bioprobe.access import is_absent
from bioprobe.embedding import OnDemandEncoder, embed_images, load_encoder_for, open_on_demand
from bioprobe.embedding.embedder import Presence, look_for
from bioprobe.errors import MisuseError, SelectionError, SourceError, StoreError, StoreLockedError
from bioprobe.files import is_full
from bioprobe.images.camera import CAPTURED_AT
from bioprobe.images.location import read_name, write_name
from bioprobe.images.regions import REGION
from bioprobe.images.sequences import find_places
from bioprobe.images.times import read_times
from bioprobe.result import PROBLEM
from bioprobe.sources.files import absolute, list_files
from bioprobe.sources.listing import Listing, join
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore
from bioprobe.store.compaction import is_scattered
from bioprobe.store.writing import locking
from bioprobe.watching.alerts import Command, Delivery, Said, Webhook
from bioprobe.watching.answer_file import AnswerFile, AnswerStream
from bioprobe.watching.arrivals import Arrivals, Stamp, digest_path, look_into
from bioprobe.watching.ledger import LEDGER_NAME, LOCK_NAME, Ledger, Sighting
from bioprobe.watching.moves import find_moves, move_rows
from bioprobe.watching.waking import Waker

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.encoders.encoder import Encoder
    from bioprobe.images.times import Times
    from bioprobe.sources.files import SourceOptions
    from bioprobe.sources.walking import Rules
    from bioprobe.types import Rows, Scores
    from bioprobe.watching.alerts import Channel
    from bioprobe.watching.arrivals import Look, Ready

Tell = Callable[[str], None]

# Pictures of before that are asked at once.
_AT_ONCE = 2048
# Looking takes no more than this share of the time.
_LOOKING_SHARE = 0.2
_LEAST_PAUSE_S = 0.05
# Tries of an alert in a run that ends by itself.
_TRIES_AT_END = 3


class Question(Protocol):
    """What is asked of each picture."""

    #: Tells the answers of one question from those of another.
    key: str
    #: Least probability of each alert.
    rules: Mapping[str, float]

    def bind(self, load: Callable[[], Encoder]) -> None:
        """Take what loads the store's encoder."""

    def check(self, store: EmbeddingStore, *, answers: bool) -> None:
        """Ask once before anything arrives, so that what cannot be asked is said at once."""

    def ask(self, store: EmbeddingStore, rows: Rows) -> pd.DataFrame:
        """Return the table of answers to rows."""

    def score(self, store: EmbeddingStore, rows: Rows) -> tuple[Scores, list[tuple[str, float]]]:
        """Return how probable each alert is, and the best answer with its probability."""


@dataclasses.dataclass(frozen=True)
class Pace:
    """When what is done; see the options of these names."""

    settle_s: float
    patience_s: float
    rescan_s: float
    together: int
    wait_s: float
    leave_s: float


class Watching:
    """One watch: what it holds open, and what it has done."""

    def __init__(
        self,
        *,
        folder: Path,
        place: Path,
        asked: Question,
        options: SourceOptions,
        walking: Rules,
        pace: Pace,
        damaged: str,
        gap_s: float,
        tell: Tell,
    ) -> None:
        self._folder, self._place, self._asked = folder, place, asked
        self._options, self._walking, self._pace = options, walking, pace
        self._damaged, self._gap_s, self._tell = damaged, gap_s, tell
        self._begun_s = time.monotonic()
        self._counts = dict.fromkeys(
            ("n_embedded", "n_reused", "n_moved", "n_failed", "n_answered"), 0
        )
        self._file: Any = None
        self._channels: dict[str, Channel] = {}
        self._was_there: bool | None = None
        self._opened: EmbeddingStore | None = None
        # Of a new store, what made it.
        self._begun: EmbeddingStore | None = None
        self._said: set[str] = set()
        self._tables: dict[str, tuple[Stamp, float]] = {}
        self._named: list[Path] = []
        self._whole: Listing | None = None

    def open(
        self, held: contextlib.ExitStack, model: str | None, device: str, *, needs_folder: bool
    ) -> None:
        """Open the store, the ledger and the waker, and hold the right to watch into the store."""
        is_there = self._folder.is_dir()
        if needs_folder and not is_there:
            msg = f"no folder at {self._folder}; mount the share, or name another"
            raise SourceError(msg)
        if not is_there and not self._is_known():
            msg = (
                f"no folder at {self._folder}, and none was watched there before; make it, mount "
                "the share first, or name another"
            )
            raise SourceError(msg)
        is_new = not EmbeddingStore.exists(self._place)
        held.callback(self._discard)
        watching = f"watching a folder into {self._place}"
        lock = locking(self._place / LOCK_NAME, 0.0, watching, "choose another --store")
        if not is_new:
            # Before a model is loaded.
            held.enter_context(lock)
        load = functools.partial(load_encoder_for, self._place, model=model, device=device)
        opened, self._encoder = open_on_demand(self._place, load, model=model)
        if is_new:
            held.enter_context(lock)
        self._begun = opened if opened.is_new else None
        self._asked.bind(self._encoder.get)
        self._ledger = Ledger(opened.folder)
        held.callback(self._ledger.close)
        self._ledger.add_folder(str(self._folder))
        self._seen = self._ledger.read_seen()
        self._arrivals = Arrivals(self._seen, self._pace.settle_s, self._pace.patience_s)
        self._waker = Waker(self._folder, self._tell)
        held.callback(self._waker.close)

    def _discard(self) -> None:
        """Leave no store behind that is new, and that nothing came into: it binds to a model."""
        if self._begun is None or not EmbeddingStore.exists(self._place):
            return
        store = self._open_store()
        if not len(store) and not len(store.read_failures()):
            self._begun.discard(LEDGER_NAME, LOCK_NAME, "text")

    def _is_known(self) -> bool:
        if not (self._place / LEDGER_NAME).is_file():
            return False
        ledger = Ledger(self._place)
        try:
            return ledger.knows_folder(str(self._folder))
        finally:
            ledger.close()

    def write_to(self, output: str | Path | None, emit: Tell | None, *, safe_csv: bool) -> None:
        """Open the file of answers, and write what a killed watch has not."""
        if output is None:
            return
        if str(output) == "-":
            if emit is None:
                msg = "output='-' gives answers to emit; name a callable that takes them"
                raise MisuseError(msg)
            self._file = AnswerStream(self._ledger, self._asked.key, emit)
        else:
            path = Path(absolute(Path(output)))
            self._file = AnswerFile(path, self._ledger, self._asked.key, safe_csv=safe_csv)
        if self._file.said:
            self._tell(self._file.said)
        self._file.finish()

    def tell_to(
        self,
        held: contextlib.ExitStack,
        command: str | None,
        webhook: str | None,
        *,
        is_quick: bool,
    ) -> None:
        """Open who is told of alerts, and begin to tell what is due from before."""
        if command is not None:
            self._channels["command"] = Command(command, self._place / "watching")
        if webhook is not None:
            self._channels["webhook"] = Webhook(webhook)
        if self._asked.rules and not self._channels:
            self._channels["said"] = Said(self._tell)
        self._delivery = Delivery(self._ledger, self._channels, self._tell)
        if not is_quick and self._channels:
            held.callback(self._delivery.stop)
            self._delivery.start()

    def run(
        self, ends: Callable[[], bool], *, once: bool, feeds: Callable[[], bool] | None
    ) -> None:
        """Look, take what is whole, and wait, until it ends.

        Parameters
        ----------
        ends : callable
            Whether it is to end.
        once : bool
            Whether it ends when what was there at first is done.
        feeds : callable, optional
            Whether a video is at its end.
        """
        if self._is_asking:
            self._asked.check(self._open_store(), answers=self._file is not None)
            self._catch_up()
        first: set[str] | None = None
        first_s = 0.0
        looks_s = collections.deque[float](maxlen=3)
        self._tell(f"watching {self._folder} -> {self._place}")
        while not ends():
            is_fed = feeds is None or feeds()
            began_s = time.monotonic()
            look = self._look()
            # What one look took may be what the machine did beside it.
            looks_s.append(time.monotonic() - began_s)
            try:
                while (batch := self._choose(once=once)) and self._take(batch, look):
                    pass
            except StoreError as error:
                if once or not is_full(error):
                    raise
                self._tell_once(f"{error}. This watch goes on by itself once there is space")
                self._pause(self._pace.rescan_s * _LOOKING_SHARE, once=False, is_fed=True)
            if once and is_fed:
                if first is None:
                    first, first_s = set(look.files), time.monotonic()
                n_waiting = self._arrivals.count_waiting(first)
                if n_waiting and time.monotonic() - first_s > self._pace.leave_s:
                    self._tell(f"{n_waiting:,} files are still being written, and were left")
                if not n_waiting or time.monotonic() - first_s > self._pace.leave_s:
                    return
            self._pause(min(looks_s), once=once, is_fed=is_fed)

    @property
    def _is_asking(self) -> bool:
        return self._file is not None or bool(self._asked.rules)

    def _look(self) -> Look:
        """Look through the folder, and take in what is there."""
        self._whole = None
        look = look_into(self._folder, self._walking)
        if look.is_there != self._was_there:
            if not look.is_there:
                self._tell(
                    f"{self._folder} is away; it is waited for, and nothing is marked as gone"
                )
            elif self._was_there is False:
                self._tell(f"{self._folder} is back")
            self._was_there = look.is_there
        if look.is_there:
            for error in look.errors:
                self._tell_once(f"{error.filename} cannot be listed: {error.strerror}")
            if look.left_out:
                # A card that is copied brings ever more of a kind.
                kinds = re.sub(r"\d[\d,]* ", "", look.left_out)
                self._tell_once(f"left out below {self._folder}: {look.left_out}", kinds)
            now_s = time.monotonic()
            self._arrivals.see(look.files, now_s, ahead_s=time.time() - now_s)
            self._see_tables(look)
            self._write_answers()
        return look

    def _see_tables(self, look: Look) -> None:
        """Let pictures be listed anew where a table beside them is new, or says something else."""
        now_s = time.monotonic()
        for path, stamp in look.tables.items():
            known = self._tables.get(path)
            if known is None or known[0] != stamp:
                self._tables[path] = known = (
                    stamp,
                    min(now_s, now_s - time.time() + stamp.newest_s),
                )
            key = digest_path(path)
            if now_s - known[1] < self._pace.settle_s or self._seen.get(key) == stamp.content:
                continue
            beside = f"{Path(path).parent}{os.sep}"
            self._arrivals.repeat(
                [file for file in look.files if file.startswith(beside)], look.files, now_s
            )
            self._seen[key] = stamp.content
            with self._ledger.change():
                self._ledger.add_seen({key: stamp.content})
        self._named = [Path(path) for path in look.tables]

    def _tell_once(self, text: str, kind: str = "") -> None:
        """Say something, unless it, or another of its kind, was said."""
        if (kind or text) not in self._said:
            self._said.add(kind or text)
            self._tell(text)

    def _choose(self, *, once: bool) -> list[Ready]:
        """Return the files that go together now, none where more are waited for."""
        ready = self._arrivals.list_ready()
        is_due = self._arrivals.find_longest(time.monotonic()) >= self._pace.wait_s
        if once or is_due or len(ready) >= self._pace.together:
            return ready[: self._pace.together]
        return []

    def _pause(self, looking_s: float, *, once: bool, is_fed: bool) -> None:
        """Wait until something may have changed or become whole."""
        due_s = self._arrivals.find_next(time.monotonic())
        longest_s = self._pace.rescan_s
        if due_s is not None:
            longest_s = min(longest_s, due_s + (0 if once else self._pace.wait_s))
        if not is_fed:
            longest_s = min(longest_s, 0.2)
        least_s = max(_LEAST_PAUSE_S, looking_s * (1 - _LOOKING_SHARE) / _LOOKING_SHARE)
        begun_s = time.monotonic()
        self._waker.wait(max(least_s, longest_s))
        # Of a large folder that changes all the time.
        left_s = least_s - (time.monotonic() - begun_s)
        if left_s > 0:
            time.sleep(left_s)

    def _take(self, batch: Sequence[Ready], look: Look) -> bool:
        """Embed files, and answer and tell of what came of it.

        Returns
        -------
        bool
            Whether none changed meanwhile: where one has, the folder is to be looked at anew.
        """
        began_s = time.monotonic()
        before, wanted = dict(self._counts), len(batch)
        # One that was moved away meanwhile is found where it is by now.
        batch = [one for one in batch if not is_absent(one.path)]
        if not batch:
            return False
        n_moved = self._follow(batch, look)
        failed = self._embed(batch)
        store = self._open_store()
        rows = store.find_rows([write_name(one.path) for one in batch if one.path not in failed])
        done = [one for one in batch if one.path not in failed and self._is_as_it_was(one)]
        n_alerts = self._answer(store, rows, done)
        for one in batch:
            if one.path in failed:
                self._arrivals.fail(one)
            elif one not in done:
                self._arrivals.wait_again(one, time.monotonic())
        self._counts["n_moved"] += n_moved
        new = {name: self._counts[name] - before[name] for name in before}
        n_known = len(batch) - len(failed) - new["n_embedded"] - new["n_reused"]
        parts = [f"{new['n_embedded']:,} embedded"]
        parts += [f"{new['n_reused']:,} reused"] if new["n_reused"] else []
        parts += [f"{n_moved:,} moved"] if n_moved else []
        parts += [f"{n_known - n_moved:,} already there"] if n_known > n_moved else []
        n_waiting = sum(1 for one in batch if one.path in failed and not one.is_last)
        parts += [f"{new['n_failed']:,} failed"] if new["n_failed"] else []
        parts += [f"{n_waiting:,} not whole yet"] if n_waiting else []
        line = f"{', '.join(parts)} in {time.monotonic() - began_s:.1f} s"
        if self._file is not None:
            line += f"; {new['n_answered']:,} answered"
        if self._asked.rules:
            line += f"; {n_alerts:,} alerts"
        self._tell(line)
        self._advise(store)
        return len(done) + len(failed) == wanted

    def _is_as_it_was(self, one: Ready) -> bool:
        try:
            return Stamp.of(one.path).content == one.stamp.content
        except OSError:
            # It was whole when it was read, and is followed if it comes up elsewhere.
            return True

    def _advise(self, store: EmbeddingStore) -> None:
        if is_scattered(store.manifest):
            self._tell_once(
                f"{self._place} has many small shards by now, and is read faster after: bioprobe "
                "store compact; this watch goes on meanwhile"
            )

    def _open_store(self) -> EmbeddingStore:
        """Open the store as it is now; unchanged, its table is not read again."""
        opened = EmbeddingStore.open(self._place, after=self._opened)
        if self._opened is None or self._opened.manifest != opened.manifest:
            self._opened = opened
        return self._opened

    def _list(self, paths: Sequence[str]) -> Listing:
        """List files as embed would list the folder."""
        files = [Path(one) for one in paths]
        listing = Listing.merge([list_files(files, self._folder, self._options)])
        if self._named:
            listing = self._list_by_tables(listing)
        for note in listing.notes:
            if note.kind == PROBLEM:
                self._tell_once(str(note))
        return listing

    def _list_by_tables(self, listing: Listing) -> Listing:
        """Return files as the whole folder lists them, with what tables in it say of them."""
        if self._whole is None:
            options = dataclasses.replace(self._options, root=None)
            try:
                self._whole = find_images([self._folder], options)
            except SourceError as error:
                self._tell_once(f"{error}; the pictures are taken without it until it changes")
                return listing
        whole = self._whole
        wanted = set(map(join, listing.frame["root"], listing.frame["path"]))
        names = map(join, whole.frame["root"], whole.frame["path"])
        chosen = np.array([name in wanted for name in names], dtype=bool)
        # What was not asked for now is neither read nor struck from the failures.
        return dataclasses.replace(
            whole, frame=whole.frame[chosen].reset_index(drop=True), unread=(), listed_by={},
            sources=frozenset(),
        )  # fmt: skip

    def _embed(self, batch: Sequence[Ready]) -> set[str]:
        """Embed files; return which could not be read."""
        failed: set[str] = set()
        for is_last in (False, True):
            paths = [one.path for one in batch if one.is_last is is_last]
            if paths:
                # What is not whole may be a file that is still being written.
                failed |= self._embed_as(paths, self._damaged if is_last else "refuse")
        self._counts["n_failed"] += sum(one.is_last for one in batch if one.path in failed)
        return failed

    def _embed_as(self, paths: Sequence[str], damaged: str) -> set[str]:
        listing = self._list(paths)

        def embed() -> Any:  # noqa: ANN401 - its summary
            store = self._open_store()
            encoder: OnDemandEncoder = OnDemandEncoder(store, self._encoder.get)
            return embed_images(listing, encoder, store, damaged=damaged, reads_camera=True)

        summary = self._when_free(embed)
        self._counts["n_embedded"] += summary.n_embedded
        self._counts["n_reused"] += summary.n_reused
        reasons = dict(summary.reasons)
        return {one for one in paths if write_name(one) in reasons}

    def _when_free(self, write: Callable[[], Any]) -> Any:  # noqa: ANN401 - what that returns
        """Write to the store, once no other process does."""
        while True:
            try:
                return write()
            except StoreLockedError:
                self._tell_once(f"another process is writing to {self._place}; it is waited for")
                time.sleep(0.2)

    def _follow(self, batch: Sequence[Ready], look: Look) -> int:
        """Give rows whose file has moved its new path; return how many files that are."""

        def is_gone(file: Path, root: Path) -> bool:
            return look_for(file, root=root, listed=self._folder) is Presence.GONE

        store = self._open_store()
        paths = [one.path for one in batch]
        moves = find_moves(store, paths, look.files, self._folder, is_gone)
        if not moves:
            return 0
        for one in moves:
            for region in one.regions:
                # First, as what is answered under the old path is not to be under the new one.
                self._ledger.follow(
                    (one.before, one.sha256, region), (one.after, one.sha256, region)
                )

        def write() -> None:
            current = self._open_store()
            with current.lock():
                move_rows(current, moves)

        self._when_free(write)
        return len(moves)

    def _catch_up(self) -> None:
        """Answer and tell of what the store has of the folder already, as after a kill."""
        store = self._open_store()
        frame = store.images.frame.iloc[store.rows]
        below = write_name(f"{self._folder}/")
        names = map(join, frame["root"].tolist(), frame["path"].tolist())
        rows = store.rows[np.array([name.startswith(below) for name in names], dtype=bool)]
        n_before = self._counts["n_answered"]
        for start in range(0, len(rows), _AT_ONCE):
            self._answer(store, rows[start : start + _AT_ONCE], ())
        n_answered = self._counts["n_answered"] - n_before
        if n_answered:
            self._tell(f"{n_answered:,} pictures of before answered")

    def _answer(self, store: EmbeddingStore, rows: Rows, done: Sequence[Ready]) -> int:
        """Write the answers to rows, and find who is to be told; return of how many alerts.

        One change of the ledger says all of it, before anything is written or told.
        """
        pictures = _list_pictures(store, rows)
        answers = None
        if self._file is not None:
            key = self._file.key
            fresh = np.array([not self._ledger.is_answered(key, one) for one in pictures], bool)
            if fresh.any():
                answers = self._ask(store, rows[fresh])
                answered = [one for one, is_new in zip(pictures, fresh, strict=True) if is_new]
        sightings = self._find_sightings(store, rows, pictures) if self._asked.rules else []
        n_alerts, now_s = 0, time.time()
        with self._ledger.change():
            self._ledger.add_seen({digest_path(one.path): one.stamp.content for one in done})
            if answers is not None:
                self._ledger.add_answered(self._file.key, answered)
                self._file.plan(answers)
                self._counts["n_answered"] += len(answered)
            for one in sightings:
                n_alerts += self._ledger.sight(one, self._channels, self._gap_s, now_s)
            if self._asked.rules:
                self._ledger.add_judged(one[1:] for one in pictures)
        for ready in done:
            self._arrivals.finish(ready)
        self._write_answers()
        if self._file is not None and self._file.left_out:
            names = ", ".join(self._file.left_out)
            self._tell_once(
                f"{self._file.path} was begun without the columns {names}, which are left out"
            )
        self._delivery.wake()
        return n_alerts

    def _write_answers(self, *, is_end: bool = False) -> None:
        """Write what is to be written; what is refused, as while somebody has it open, waits."""
        if self._file is None:
            return
        try:
            self._file.finish()
        except StoreError as error:
            if is_end:
                raise
            self._tell_once(f"{error}. Answers wait in the store until they can be written")

    def _ask(self, store: EmbeddingStore, rows: Rows) -> pd.DataFrame:
        """Return the table of answers, with when each picture was taken."""
        frame = self._asked.ask(store, rows)
        if CAPTURED_AT not in frame:
            known = store.images.frame
            times = known.get(CAPTURED_AT)
            frame[CAPTURED_AT] = "" if times is None else times.iloc[frame["row"]].to_numpy()
            frame[CAPTURED_AT] = frame[CAPTURED_AT].fillna("")
        return frame

    def _find_sightings(
        self, store: EmbeddingStore, rows: Rows, pictures: Sequence[tuple[str, str, str]]
    ) -> list[Sighting]:
        """Return what was seen where and when, with what is told of it, in the order of time."""
        firsts = {one[1:]: at for at, one in reversed(list(enumerate(pictures)))}
        new = [at for one, at in firsts.items() if not self._ledger.is_judged(one)]
        if not new:
            return []
        chosen = rows[np.array(sorted(new), dtype=np.int64)]
        scores, best = self._asked.score(store, chosen)
        places, _ = find_places(store.images, chosen)
        times = _find_times(store, chosen)
        named = _list_pictures(store, chosen)
        said = store.images.frame
        taken = said[CAPTURED_AT].iloc[chosen].fillna("") if CAPTURED_AT in said else None
        sightings = []
        for at, (file, _, region) in enumerate(named):
            told = {
                "file": read_name(file), "region": region,
                "place": str(places[at]) or self._folder.name,
                "time": "" if taken is None else str(taken.iloc[at]),
                "answer": best[at][0], "answer_score": round(best[at][1], 6),
                "store": str(self._place.absolute()),
            }  # fmt: skip
            payloads = {
                name: {"alert": name, "over": over, "score": round(float(score), 6), **told}
                for (name, over), score in zip(self._asked.rules.items(), scores[at], strict=True)
                if score >= over
            }
            sightings.append(Sighting(str(places[at]), times[at], payloads))
        return sorted(sightings, key=lambda one: one.time_s)

    def finish(self, *, once: bool) -> tuple[dict[str, Any], list[str]]:
        """Deliver what is due where nothing else does, and return what was done.

        Returns
        -------
        counts : dict of str to number
        problems : list of str
        """
        self._write_answers(is_end=True)
        if once:
            for n_tries in range(_TRIES_AT_END):
                if not self._delivery.deliver_due():
                    break
                if n_tries + 1 < _TRIES_AT_END:
                    time.sleep(2.0**n_tries)
        n_waiting = self._ledger.count_waiting(self._channels)
        counts = {
            **self._counts, "n_alerts": self._delivery.n_done, "n_undelivered": n_waiting,
            "seconds_s": time.monotonic() - self._begun_s,
        }  # fmt: skip
        said = []
        if self._counts["n_failed"]:
            failures = self._place / "failures.parquet"
            said.append(f"What failed and why: {failures}, or bioprobe store info")
        if n_waiting:
            said.append(f"{n_waiting:,} alerts were not delivered; the next watch tries them again")
        return counts, said


def _list_pictures(store: EmbeddingStore, rows: Rows) -> list[tuple[str, str, str]]:
    """Return path, SHA-256 and region of each row."""
    frame = store.images.frame.iloc[rows]
    columns = (frame[name].tolist() for name in ("root", "path", "sha256", REGION))
    return [
        (join(root, path), str(sha256), str(region))
        for root, path, sha256, region in zip(*columns, strict=True)
    ]


def _find_times(store: EmbeddingStore, rows: Rows) -> list[float]:
    """Return when pictures were taken, in seconds: by the camera, else when they were written."""
    frame = store.images.frame
    known: Times = np.full(len(rows), np.datetime64("NaT", "ns"))
    if CAPTURED_AT in frame:
        values = frame[CAPTURED_AT].iloc[rows].fillna("").astype(str).to_numpy(dtype=object)
        # Of times that a table wrote, days and months may not be told apart.
        with contextlib.suppress(SelectionError):
            known, _ = read_times(values)
    times = []
    for (file, _, _), time_ in zip(_list_pictures(store, rows), known, strict=True):
        if np.isnat(time_):
            try:
                written_s = Path(read_name(file)).stat().st_mtime
            except OSError:
                written_s = time.time()
            # A camera's clock knows no zone, and counts as UTC.
            times.append(written_s + time.localtime(written_s).tm_gmtoff)
        else:
            times.append(float(time_.astype("datetime64[ns]").astype(np.int64)) / 1e9)
    return times
