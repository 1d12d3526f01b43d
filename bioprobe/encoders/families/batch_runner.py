"""Which backend runs whole batches here: measured once, kept, and checked in every run."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import faulthandler
import functools
import importlib.metadata
import json
import logging
import math
import os
import platform
import re
import statistics
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import filelock
import torch

from bioprobe.cache import find_cache
from bioprobe.encoders.encoder import hash_description
from bioprobe.encoders.families.backends import Backend, Part, Run, Tower
from bioprobe.encoders.quantised import FP8
from bioprobe.encoders.trials import TORCH, Choice, Trial
from bioprobe.errors import BioprobeError, StoreError
from bioprobe.files import read_json, remove_folder, write_text
from bioprobe.progress import Stopped
from bioprobe.provenance import write_now
from bioprobe.registry import BACKENDS

#: Told at the level INFO what was chosen, as of loading.
LOGGER = logging.getLogger("bioprobe.loading")

AUTO = "auto"
#: The least cosine similarity of any picture or text with its vector by PyTorch, and of one in fp8:
#: what differs in the last bit is rounded another way there, which is noise as large as its own.
LEAST_COSINE, LEAST_COSINE_FP8 = 0.9999, 0.998
# What is hardly faster is not worth a second copy of the weights.
_LEAST_GAIN = 1.05
# What is as near to the best may be the best of whole batches, and in other turns.
_NEAR = 1.15
_N_ROUNDS = 2
# Turns of whole batches: two in any case, as many as are done within a time that is little beside
# what a folder of pictures takes. It is spent once for a model.
_TURNS, _TURNS_S = (2, 3), 30.0
# What is measured or prepared begins once PyTorch has taken as long: whoever encodes little waits
# for nothing, and nobody waits twice as long as need be.
_MEASURED_AFTER_S = 20.0
# No further backend is begun after this.
_LONGEST_S = 120.0
# Whoever asks which is fastest waits as long for another process that measures it.
_WAITS_S = 300.0
_LIBRARIES = ("bioprobe", "torch", "onnxruntime", "openvino", "zentorch", "torch_tensorrt")
# What a backend, of another package too, may raise, also what would end the process.
_RAISED = (Exception, SystemExit)


def describe_machine(device: torch.device, n_threads: int) -> dict[str, str]:
    """Return what decides how fast a backend is here, beside the model."""
    said = {
        "processor": _find_processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(n_threads),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
    for library in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            said[library] = importlib.metadata.version(library)
    return said | {f"backend {name}": by for name, by in BACKENDS.find_packages().items()}


class BatchRunner:
    """Run a part of a model: whole batches by the backend of choice, all else by PyTorch.

    A backend is prepared for one shape; a batch that is not whole costs nothing but its rows in
    PyTorch. The first batch is always computed by both, and compared.

    Parameters
    ----------
    tower : Tower
        What is run.
    asked : str
        ``auto``, or the name of a backend.
    batch_size : int
        Rows of a whole batch.
    model : mapping of str to str
        What tells this part of this model from any other, JSON-ready.
    what : str
        ``images`` or ``texts``, for messages.
    n_tried : int
        Rows that the speed of many is told by; few, so that the trial is one of seconds. On a GPU
        it is a whole batch, as few rows do not fill it.
    """

    def __init__(
        self,
        tower: Tower,
        *,
        asked: str,
        batch_size: int,
        model: Mapping[str, str],
        what: str,
        n_tried: int,
    ) -> None:
        self.tower = tower
        self._asked = asked
        self._batch_size = batch_size
        self._model = dict(model)
        self._what = what
        self._n_tried = n_tried
        self._lock, self._counting = threading.Lock(), threading.Lock()
        self._run: Run | None = None
        # Of the file in which faults are noted, where its choice may be another next time.
        self._faults: int | None = None
        # Of the embedding of one row.
        self._shape: tuple[int, ...] = ()
        self._is_settled = asked == TORCH
        self._is_looked_at = asked in {AUTO, TORCH}
        # What PyTorch has taken so far, and what it may take before something is tried.
        self._spent_s = self._patience_s = 0.0
        self.backend = TORCH
        self.choice: Choice | None = None
        #: How many rows each backend has computed.
        self.n_rows: collections.Counter[str] = collections.Counter()

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of inputs of any number of rows; in inference mode."""
        is_whole = len(inputs[0]) == self._batch_size
        if is_whole and self._run is not None:
            found = self._by_choice(self._run, inputs)
            self.count(self.backend, len(found))
            return found
        if not self._is_looked_at:
            self._refuse_obstacle(inputs)
        self.count(TORCH, len(inputs[0]))
        # Who comes while another thread measures goes on as before.
        if not is_whole or self._is_settled or not self._lock.acquire(blocking=False):
            return self._exactly(*inputs)
        try:
            exact, seconds_s = _clock(self._exactly, inputs)
            self._spent_s += seconds_s
            self._settle(inputs, exact)
        finally:
            self._lock.release()
        return exact

    def count(self, backend: str, n_rows: int) -> None:
        """Note how many rows a backend has computed; threads may do so at once."""
        with self._counting:
            self.n_rows[backend] += n_rows

    def settle(self, *inputs: torch.Tensor) -> Choice:
        """Choose now, on a whole batch, however little was computed before."""
        with self._lock:
            self._spent_s = math.inf
            if not self._is_settled:
                self._settle(inputs, self._exactly(*inputs), waits=True)
        return self.choice or Choice(backend=self.backend)

    def _exactly(self, *inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.tower(*inputs)
        return found

    def _by_choice(self, run: Run, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        cause: BaseException | None = None
        try:
            with _FAULT_NOTES.into(self._faults):
                found = run(*inputs)
            wrong = _find_wrong(found, (len(inputs[0]), *self._shape))
        except _RAISED as error:  # the work goes on
            wrong, cause = _tell(error), error
        if not wrong:
            return found
        if self._asked != AUTO:
            raise BioprobeError(self._explain(self.backend, wrong)) from cause
        LOGGER.info("%s: %s failed (%s); torch goes on", self._what, self.backend, wrong)
        failed = Trial(backend=self.backend, refused=wrong)
        self.choice = self.choice and self.choice.refuse(failed)
        self._run, self.backend = None, TORCH
        return self._exactly(*inputs)

    def _refuse_obstacle(self, inputs: tuple[torch.Tensor, ...]) -> None:
        """Refuse what was named and cannot run here, also where there is no whole batch for it."""
        try:
            backend: Backend = BACKENDS.load(self._asked)
            obstacle = backend.find_obstacle(self._make_part(inputs))
        except _RAISED as error:
            obstacle = _tell(error)
        if obstacle:
            raise BioprobeError(self._explain(self._asked, obstacle))
        self._is_looked_at = True

    def _settle(
        self, inputs: tuple[torch.Tensor, ...], exact: torch.Tensor, *, waits: bool = False
    ) -> None:
        """Choose if it is time to, on a whole batch of which the embeddings are known."""
        self._shape = tuple(exact.shape[1:])
        if self._asked != AUTO:
            trial, self._run = self._take(self._asked, self._make_part(inputs), inputs, exact)
            if self._run is None:
                raise BioprobeError(self._explain(self._asked, trial.refused))
            self.backend, self._is_settled = self._asked, True
            self.choice = Choice(backend=self.backend, trials=(trial,))
            LOGGER.info("%s: run by %s", self._what, self.backend)
        elif self._spent_s >= self._patience_s:
            part = self._make_part(inputs)
            file = part.folder.with_suffix(".json")
            # Where another process measures, its choice is there a batch or two later.
            with contextlib.suppress(filelock.Timeout), _hold(file, waits=waits):
                self._choose(file, part, inputs, exact)

    def _choose(
        self, file: Path, part: Part, inputs: tuple[torch.Tensor, ...], exact: torch.Tensor
    ) -> None:
        choice, run = _read_choice(file), None
        if choice is None:
            self._patience_s = _MEASURED_AFTER_S
            if self._spent_s < self._patience_s:
                return
            LOGGER.info("%s: measuring which backend is fastest …", self._what)
            choice, run = self._measure(file, part, inputs)
            _keep_choice(file, choice)
        elif self._spent_s < choice.prepare_s:
            self._patience_s = choice.prepare_s
            return
        if choice.backend != TORCH:
            with _marking(file, choice.backend):
                trial, self._run = self._take(choice.backend, part, inputs, exact, run)
            if self._run is None:
                choice = choice.refuse(trial)
                _keep_choice(file, choice)
            else:
                self._faults = _open_faults(file, choice.backend)
                if self._faults is not None:
                    weakref.finalize(self, os.close, self._faults)
        self.choice, self.backend, self._is_settled = choice, choice.backend, True
        LOGGER.info("%s: %s", self._what, choice.describe())

    def _measure(
        self, file: Path, part: Part, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[Choice, Run | None]:
        """Try every backend on a few rows, and those near the best on a whole batch in turns."""
        started_s = time.monotonic()
        exact, exact_s = _clock(self._exactly, part.example)
        ended = _find_ended(file)
        trials: dict[str, Trial] = {}
        runs: dict[str, Run] = {}
        for name in BACKENDS.names:
            if name in ended:
                trials[name] = Trial(backend=name, refused=ended[name])
                continue
            if time.monotonic() - started_s > _LONGEST_S:
                refused = "not tried: the others took long"
                trials[name] = Trial(backend=name, refused=refused)
                continue
            with _marking(file, name):
                trials[name], run = self._try(name, part, exact)
            if run is not None:
                runs[name] = run
            # No more copies of the weights than may be the best.
            runs = {one: runs[one] for one in _find_near(trials, runs)}
        if len(runs) > 1:
            n_rows = _count_again(part, exact_s, [trials[name].gain for name in runs])
            self._try_again(file, trials, runs, tuple(one[:n_rows] for one in inputs))
        taken = [trials[name] for name in runs if not trials[name].refused]
        best = max(taken, key=lambda one: one.gain, default=Trial(backend=TORCH))
        exports = part.folder.parent.glob(f"{part.folder.name}-*")
        for export in exports:
            if export.name != f"{part.folder.name}-{best.backend}":
                with contextlib.suppress(StoreError):
                    remove_folder(export)
        choice = Choice(
            backend=best.backend,
            trials=tuple(trials.values()),
            machine=self._machine,
            model=self._model,
            time=write_now(),
            seconds_s=time.monotonic() - started_s,
        )
        return choice, runs.get(best.backend)

    def _try(self, name: str, part: Part, exact: torch.Tensor) -> tuple[Trial, Run | None]:
        trial, run = self._take(name, part, part.example, exact, is_trial=True)
        if run is None:
            return trial, None
        gains = []
        for _ in range(_N_ROUNDS):
            _, exact_s = _clock(self._exactly, part.example)
            try:
                gains.append(exact_s / _clock(run, part.example)[1])
            except _RAISED as error:
                return dataclasses.replace(trial, refused=_tell(error)), None
        trial = _grade(trial, statistics.median(gains), len(part.example[0]))
        return trial, None if trial.refused else run

    def _try_again(
        self,
        file: Path,
        trials: dict[str, Trial],
        runs: Mapping[str, Run],
        inputs: tuple[torch.Tensor, ...],
    ) -> None:
        """Clock some backends and PyTorch in turns, as long as several are near the best."""
        near: list[str] = list(runs)
        exact_s, took_s = math.inf, dict.fromkeys(near, math.inf)
        started_s = time.monotonic()
        for turn in range(1, _TURNS[1] + 1):
            exact_s = min(exact_s, _clock(self._exactly, inputs)[1])
            for name in near:
                try:
                    with _marking(file, name):
                        seconds_s = _clock(runs[name], inputs)[1]
                except _RAISED as error:
                    trials[name] = Trial(backend=name, refused=_tell(error))
                else:
                    # Of a few turns the quickest: others may have been at work in the rest.
                    took_s[name] = min(took_s[name], seconds_s)
                    trials[name] = _grade(trials[name], exact_s / took_s[name], len(inputs[0]))
            near = _find_near(trials, near)
            spent_s = time.monotonic() - started_s
            is_enough = turn >= _TURNS[0] and spent_s * (turn + 1) / turn > _TURNS_S
            if len(near) < 2 or is_enough:
                return

    def _take(
        self,
        name: str,
        part: Part,
        inputs: tuple[torch.Tensor, ...],
        exact: torch.Tensor,
        run: Run | None = None,
        *,
        is_trial: bool = False,
    ) -> tuple[Trial, Run | None]:
        """Prepare a backend if it is not yet, and compare it with PyTorch; None if it fails."""
        started_s = time.monotonic()
        try:
            backend: Backend = BACKENDS.load(name)
            part = dataclasses.replace(part, folder=Path(f"{part.folder}-{name}"))
            if obstacle := backend.find_obstacle(part):
                return Trial(backend=name, refused=obstacle), None
            if is_trial and not backend.is_quick:
                return Trial(backend=name, refused="takes minutes to prepare: by choice only"), None
            run = run or backend.prepare(part)
            found = run(*inputs)
            if is_trial:
                # The first runs choose kernels.
                found = run(*inputs)
            if wrong := _find_wrong(found, tuple(exact.shape)):
                return Trial(backend=name, refused=wrong), None
            cosine = _compare(found, exact)
        except _RAISED as error:  # the work goes on
            return Trial(backend=name, refused=_tell(error)), None
        prepare_s = time.monotonic() - started_s
        trial = Trial(backend=name, cosine=cosine, prepare_s=prepare_s)
        least = LEAST_COSINE_FP8 if self._model.get("precision") == FP8 else LEAST_COSINE
        if not cosine >= least:
            refused = f"least cosine to torch {cosine:.6f}, wanted {least}"
            return dataclasses.replace(trial, refused=refused), None
        return trial, run

    def _make_part(self, inputs: tuple[torch.Tensor, ...]) -> Part:
        shapes = [list(one.shape[1:]) for one in inputs]
        said = {"machine": self._machine, "model": self._model, "shapes": shapes}
        n_tried = self._n_tried if inputs[0].device.type == "cpu" else self._batch_size
        key = hash_description({**said, "part": self._what, "batch_size": self._batch_size})
        return Part(
            tower=self.tower,
            example=tuple(one[:n_tried] for one in inputs),
            n_threads=torch.get_num_threads(),
            folder=find_cache("backends") / key[:32],
        )

    @functools.cached_property
    def _machine(self) -> dict[str, str]:
        return describe_machine(next(self.tower.parameters()).device, torch.get_num_threads())

    def _explain(self, name: str, refused: str) -> str:
        return (
            f"the backend {name} cannot run the {self._what} of this model here: {refused}; use "
            "--backend auto, or torch"
        )


def _hold(file: Path, *, waits: bool) -> contextlib.AbstractContextManager[object]:
    """Return what keeps other processes from measuring the same; `filelock.Timeout` if one does."""
    lock = filelock.FileLock(file.with_suffix(".lock"))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return lock.acquire(timeout=_WAITS_S if waits else 0)
    except filelock.Timeout:
        raise
    except OSError:
        # Where nothing can be kept, nobody else reads it either.
        return contextlib.nullcontext()


# Beside a choice: that a backend is being tried, and the faults in which it ended a process.
_TRIED, _FAULTS = ".tried", ".faults"
# As faulthandler writes a line of the thread that runs a backend.
_RAN = re.compile(rf'{re.escape(Path(__file__).name)}", line \d+ in _by_choice\b')


def _name_beside(file: Path, name: str, suffix: str) -> Path:
    return file.with_suffix(f".{name}{suffix}")


@contextlib.contextmanager
def _marking(file: Path, name: str) -> Iterator[None]:
    """Leave a mark while a backend is tried, which stays if it ends the process."""
    mark = _name_beside(file, name, _TRIED)
    with contextlib.suppress(OSError):
        mark.touch()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            mark.unlink()


def _find_ended(file: Path) -> dict[str, str]:
    """Return the backends that ended a process, and why they are not tried again."""
    again = "to have it tried again remove"
    said = {
        name: f"a fault of its own ended a process in which it ran; {again} {path}"
        for name, path in _find_beside(file, _FAULTS).items()
        if _is_blamed(path)
    }
    for name, path in _find_beside(file, _TRIED).items():
        said[name] = (
            f"it ended the process that tried it, or that was ended meanwhile; {again} {path}"
        )
    return said


def _find_beside(file: Path, suffix: str) -> dict[str, Path]:
    """Return the files of a kind beside a choice, by the backends that they are about."""
    paths = file.parent.glob(f"{file.stem}.*{suffix}")
    return {one.name.removeprefix(f"{file.stem}.").removesuffix(suffix): one for one in paths}


def _open_faults(file: Path, name: str) -> int | None:
    """Open what faults of a backend are noted in, None where it cannot be kept."""
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.open(_name_beside(file, name, _FAULTS), flags, 0o666)
    return None


class _FaultNotes:
    """Where a fault that ends this process is written down: in the file of the backend that ran.

    Of all that ends a process without a word only a fault (``SIGSEGV``, ``SIGBUS``, ``SIGILL``,
    ``SIGFPE``, ``SIGABRT``) is known to come from inside. ``SIGKILL``, as of a scheduler or for
    want of memory, writes nothing, and a backend that calls ``os._exit`` cannot be told from that:
    neither is blamed on it. Where somebody else is told of faults already, as in a notebook, they
    still are, and while several backends run nothing is written, as it may be the fault of either.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[int] = []
        self._into: int | None = None

    @contextlib.contextmanager
    def into(self, descriptor: int | None) -> Iterator[None]:
        """Write into a file while the block runs; None is none."""
        if descriptor is None:
            yield
            return
        self._change(self._running.append, descriptor)
        try:
            yield
        finally:
            self._change(self._running.remove, descriptor)

    def _change(self, change: Callable[[int], None], descriptor: int) -> None:
        with self._lock:
            change(descriptor)
            into = self._running[0] if len(set(self._running)) == 1 else None
            if into == self._into:
                return
            if self._into is not None:
                faulthandler.disable()
                self._into = None
            if into is not None and not faulthandler.is_enabled():
                faulthandler.enable(into)
                self._into = into


_FAULT_NOTES = _FaultNotes()


def _is_blamed(path: Path) -> bool:
    """Tell whether a fault was noted in the thread that ran the backend, or in none of Python's."""
    try:
        noted = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    for fault in noted.split("Fatal Python error")[1:]:
        _, is_known, after = fault.partition("Current thread")
        stack = after.partition("\n\n")[0] if is_known else fault
        if _RAN.search(stack):
            return True
    return False


def _read_choice(file: Path) -> Choice | None:
    """Return the choice that is kept, None where there is none that can be read."""
    try:
        choice = Choice.from_dict(read_json(file, dict))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return None if choice.backend in _find_ended(file) else choice


def _keep_choice(file: Path, choice: Choice) -> None:
    try:
        write_text(file, json.dumps(choice.to_dict(), indent=2))
    except (OSError, StoreError) as error:
        LOGGER.info("the choice of a backend cannot be kept: %s", _tell(error))


def _clock(run: Run, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, float]:
    """Run, and return what came of it and the seconds it took."""
    device = inputs[0].device
    started_s = time.perf_counter()
    found = run(*inputs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return found, time.perf_counter() - started_s


def _grade(trial: Trial, gain: float, n_rows: int) -> Trial:
    """Return a trial with its speed, refused where that is hardly more than PyTorch's."""
    refused = "not faster by enough" if gain < _LEAST_GAIN else ""
    return dataclasses.replace(trial, gain=gain, n_rows=n_rows, refused=refused)


def _find_near(trials: Mapping[str, Trial], names: Iterable[str]) -> list[str]:
    """Return which of some backends are nearly as fast as the best of them."""
    gains = {name: trials[name].gain for name in names if not trials[name].refused}
    return [name for name, gain in gains.items() if gain * _NEAR >= max(gains.values())]


def _count_again(part: Part, exact_s: float, gains: Iterable[float]) -> int:
    """Return how many rows the turns have time for."""
    n_tried = len(part.example[0])
    turn_s = exact_s * (1 + sum(1 / gain for gain in gains))
    return max(n_tried, int(n_tried * _TURNS_S / (_TURNS[0] * turn_s)))


def _find_wrong(found: torch.Tensor, shape: tuple[int, ...]) -> str:
    """Return what is wrong with embeddings whatever the inputs were, ``""`` where nothing is."""
    if found.shape != shape:
        return f"it gave the shape {tuple(found.shape)}, wanted {shape}"
    return "" if bool(torch.isfinite(found).all()) else "it gave numbers that are not finite"


def _compare(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Return the least cosine similarity of two rows; NaN where one of PyTorch's is not finite."""
    cosines = torch.nn.functional.cosine_similarity(found.double(), exact.double(), dim=1)
    return float(cosines.min())


def _tell(error: BaseException) -> str:
    """Say what went wrong; that the system asks this process to end is no failure, and goes on."""
    if isinstance(error, Stopped):
        raise error
    lines = str(error).strip().splitlines() or [""]
    # Our own say it all.
    said = lines[0] if isinstance(error, BioprobeError) else f"{type(error).__name__}: {lines[0]}"
    return said[:200]


def _find_processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
