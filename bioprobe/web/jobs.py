"""Long work, one piece after the other, which goes on whoever looks at it."""

from __future__ import annotations

import collections
import dataclasses
import logging
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioprobe.errors import BioprobeError
from bioprobe.progress import Step
from bioprobe.result import Notes, Result
from bioprobe.web.problems import Refusal, describe_error, describe_fault

if TYPE_CHECKING:
    import pandas as pd

QUEUED, RUNNING, DONE, FAILED, STOPPED = "queued", "running", "done", "failed", "stopped"
ENDED = (DONE, FAILED, STOPPED)
# Jobs that are remembered, and that may wait; rows of tables and files that are kept in all.
_KEPT, _MOST_WAITING, _ROWS_KEPT, _FILES_KEPT = 32, 16, 5_000_000, 8
_log = logging.getLogger("bioprobe.web")

Advance = Callable[[Step], None]
#: Does a piece of work, and tells the steps.
Work = Callable[[Advance], Result]
#: Does one that comes to a file, or several, in a folder that is made for it.
Write = Callable[[Advance, Path], Result]


class StoppedError(Exception):
    """Somebody asked for a job to stop."""


@dataclasses.dataclass(eq=False)
class Job:
    """A piece of work.

    Parameters
    ----------
    id : str
        32 hexadecimal digits.
    kind : str
        What is done.
    work : callable
        Does it.
    status : str
        ``queued``, ``running``, ``done``, ``failed`` or ``stopped``.
    step : Step, optional
        How far it is.
    notes : list of dict
        What is to be said of what came of it.
    problem : dict, optional
        Why it failed.
    answer : Result, optional
        What came of it, where that is no file.
    frame : DataFrame, optional
        The answer as a table.
    file : Path, optional
        The file that came of it.
    begun, ended : float
        Times in seconds since 1970, 0 before.
    version : int
        Grows with each change.
    """

    id: str
    kind: str
    work: Work
    status: str = QUEUED
    step: Step | None = None
    notes: list[dict[str, str]] = dataclasses.field(default_factory=list)
    problem: dict[str, Any] | None = None
    answer: Result | None = None
    frame: pd.DataFrame | None = None
    file: Path | None = None
    begun: float = 0.0
    ended: float = 0.0
    version: int = 0
    stops: bool = False

    def describe(self) -> dict[str, Any]:
        """Return how it is, JSON-ready."""
        step = self.step
        n_rows = None if self.frame is None else len(self.frame)
        return {
            "id": self.id, "kind": self.kind, "status": self.status,
            "done": None if step is None else step.done,
            "total": None if step is None else step.total,
            "what": None if step is None else step.what,
            "seconds": round((self.ended or time.time()) - self.begun, 3) if self.begun else 0.0,
            "notes": self.notes, "problem": self.problem, "n_rows": n_rows,
            "file": None if self.file is None else self.file.name,
        }  # fmt: skip


class Jobs:
    """A queue of work and the thread that does it: one piece at a time, as a store has one writer.

    What is done goes on when a page is closed, and is found again by its id.
    """

    def __init__(self) -> None:
        self._jobs: collections.OrderedDict[str, Job] = collections.OrderedDict()
        self._waiting: collections.deque[Job] = collections.deque()
        self._some = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ends = False
        #: Who is told how a job goes on.
        self.n_watching = 0
        self._files: tempfile.TemporaryDirectory[str] | None = None

    def begin(self, kind: str, work: Work, *, id: str | None = None) -> Job:
        """Put work into the queue.

        Parameters
        ----------
        kind : str
        work : callable
        id : str, optional
            One that is known already is the same job: so a request can be sent again.

        Raises
        ------
        Refusal
            If too much waits.
        """
        with self._some:
            known = self._jobs.get(id or "")
            if known is not None:
                return known
            if self._ends or len(self._waiting) >= _MOST_WAITING:
                msg = f"{len(self._waiting)} jobs wait, as many as there may be; ask again later"
                raise Refusal(429, msg, again_s=10)
            job = Job(id or uuid.uuid4().hex, kind, work)
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._forget_old()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
                self._thread.start()
            self._some.notify()
            return job

    def begin_file(self, kind: str, write: Write, *, id: str | None = None) -> Job:
        """Put work into the queue that comes to a file: of several files an archive is made.

        Parameters
        ----------
        kind : str
        write : callable
        id : str, optional
            As for :meth:`begin`.

        Raises
        ------
        Refusal
            If too much waits.
        """

        def work(advance: Advance) -> Written:
            folder = Path(tempfile.mkdtemp(dir=self._find_folder())) / kind
            folder.mkdir()
            try:
                answer = write(advance, folder)
                file = _pack(folder)
            except BaseException:
                shutil.rmtree(folder.parent, ignore_errors=True)
                raise
            # Where on this machine it lies for a while is nobody's business.
            notes = [dataclasses.replace(one, text=one.text.replace(f"{folder}/", ""))
                     for one in answer.notes]  # fmt: skip
            return Written(file, tuple(notes))

        return self.begin(kind, work, id=id)

    def find(self, id: str) -> Job | None:
        """Return a job, None where it is not known any more."""
        return self._jobs.get(id)

    def list_all(self) -> list[Job]:
        """Return the jobs, the newest first."""
        with self._some:
            return list(self._jobs.values())[::-1]

    def stop(self, job: Job) -> None:
        """Ask a job to stop: at once where it waits, else at its next step."""
        with self._some:
            job.stops = True
            if job in self._waiting:
                self._waiting.remove(job)
                self._end(job, STOPPED)

    def end(self, wait_s: float = 0.0) -> None:
        """Take no more work, and ask what runs to stop."""
        with self._some:
            self._ends = True
            for job in [*self._waiting]:
                self._end(job, STOPPED)
            self._waiting.clear()
            for job in self._jobs.values():
                job.stops = True
            self._some.notify()
        if self._thread is not None:
            self._thread.join(wait_s)
        with self._some:
            if self._files is not None:
                self._files.cleanup()

    def _find_folder(self) -> str:
        with self._some:
            if self._files is None:
                self._files = tempfile.TemporaryDirectory(
                    prefix="bioprobe-jobs-", ignore_cleanup_errors=True
                )
            return self._files.name

    def _forget_old(self) -> None:
        """Forget the oldest that have ended, where there is more of them than is kept."""
        for measure, most in (
            (_count, _KEPT),
            (_count_rows, _ROWS_KEPT),
            (_count_files, _FILES_KEPT),
        ):
            ended = [one for one in self._jobs.values() if one.status in ENDED]
            n_kept = sum(map(measure, self._jobs.values()))
            for old in ended[:-1]:
                if n_kept > most and (n := measure(old)):
                    n_kept -= n
                    del self._jobs[old.id]
                    if old.file is not None:
                        shutil.rmtree(old.file.parent, ignore_errors=True)

    def _run(self) -> None:
        while True:
            with self._some:
                while not self._waiting:
                    if self._ends:
                        return
                    self._some.wait()
                job = self._waiting.popleft()
                job.status, job.begun, job.version = RUNNING, time.time(), job.version + 1
            self._do(job)

    def _do(self, job: Job) -> None:
        def advance(step: Step) -> None:
            if job.stops:
                raise StoppedError
            job.step = step
            job.version += 1

        where = f"/api/v1/jobs/{job.id}"
        try:
            answer = job.work(advance)
            if isinstance(answer, Written):
                job.file = answer.file
            else:
                job.answer, job.frame = answer, answer.to_frame()
            job.notes = [{"kind": one.kind, "text": one.text} for one in answer.notes]
            status = DONE
        except StoppedError:
            status = STOPPED
        except BioprobeError as error:
            job.problem, status = describe_error(error, where), FAILED
        except Exception as error:  # noqa: BLE001 - whoever asks for the job is told
            _log.error("the job %s failed", job.kind, exc_info=error)
            job.problem, status = describe_fault(error, where), FAILED
        with self._some:
            self._end(job, status)
            self._forget_old()

    @staticmethod
    def _end(job: Job, status: str) -> None:
        job.status, job.ended, job.version = status, time.time(), job.version + 1
        # What it held of the store is let go.
        job.work = _forget


def _count(_: Job) -> int:
    return 1


def _count_rows(job: Job) -> int:
    return 0 if job.frame is None else len(job.frame)


def _count_files(job: Job) -> int:
    return int(job.file is not None)


def _forget(_: Advance) -> Result:
    raise StoppedError


@dataclasses.dataclass(frozen=True, repr=False)
class Written(Result):
    """A file that came of work.

    Parameters
    ----------
    file : Path
        In a folder of its own.
    notes : tuple of Note
        What is to be said of it.
    """

    file: Path
    notes: Notes = ()


def _pack(folder: Path) -> Path:
    """Return the one file of a folder, laid beside it, or an archive of all that is in it."""
    files = list(folder.iterdir())
    if len(files) == 1 and files[0].is_file():
        return files[0].rename(folder.parent / files[0].name)
    packed = Path(shutil.make_archive(str(folder), "zip", folder))
    shutil.rmtree(folder)
    return packed
