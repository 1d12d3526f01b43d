"""Long work, one piece after the other, which goes on whoever looks at it."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bioprobe.errors import BioprobeError
from bioprobe.progress import Step
from bioprobe.web.problems import Refusal, describe_error, describe_fault

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.result import Result

QUEUED, RUNNING, DONE, FAILED, STOPPED = "queued", "running", "done", "failed", "stopped"
ENDED = (DONE, FAILED, STOPPED)
# Jobs that are remembered, and that may wait.
_KEPT, _MOST_WAITING = 32, 16
_log = logging.getLogger("bioprobe.web")

#: Does a piece of work, and tells the steps.
Work = Callable[[Callable[[Step], None]], "Result"]


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
    frame : DataFrame, optional
        The table that came of it.
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
    frame: pd.DataFrame | None = None
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
            for old in [one for one in self._jobs.values() if one.status in ENDED]:
                if len(self._jobs) <= _KEPT:
                    break
                del self._jobs[old.id]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
                self._thread.start()
            self._some.notify()
            return job

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
            job.frame = answer.to_frame()
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

    @staticmethod
    def _end(job: Job, status: str) -> None:
        job.status, job.ended, job.version = status, time.time(), job.version + 1
        # What it held of the store is let go.
        job.work = _forget


def _forget(_: Callable[[Step], None]) -> Result:
    raise StoppedError


@contextlib.contextmanager
def counting(limit: list[int], most: int, what: str) -> Any:  # noqa: ANN401 - a context
    """Count who is inside, and refuse whoever is too many.

    Yields
    ------
    None

    Raises
    ------
    Refusal
        If there are too many.
    """
    if limit[0] >= most:
        msg = f"{limit[0]} {what}, as many as there may be; ask again later"
        raise Refusal(429, msg, again_s=5)
    limit[0] += 1
    try:
        yield
    finally:
        limit[0] -= 1
