"""Backends on small saved models: what each computes, which is taken, and what of a bad one."""

from __future__ import annotations

import concurrent.futures
import ctypes
import faulthandler
import functools
import importlib.util
import json
import math
import os
import re
import resource
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bioprobe as bp
from bioprobe.cli.app import _end_as_interrupted
from bioprobe.encoders import load_encoder
from bioprobe.encoders.families import batch_runner, runtime
from bioprobe.encoders.families.backends import COMPILE, TENSORRT, Part, Run, Tower
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.encoders.trials import Choice
from bioprobe.errors import BioprobeError
from bioprobe.registry import BACKENDS
from bioprobe.store import EmbeddingStore

NAMES = {
    "open_clip_dir": "local-dir:{}",
    "siglip_dir": "transformers:{}",
    "timm_dir": "timm:local-dir:{}",
}
# Of those that need a package: the package.
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "zentorch": "zentorch"}
# By choice only, or for no processor.
ELSEWHERE = {"compile", "tensorrt"}
INSTALLED = [
    name
    for name in BACKENDS.places
    if name not in ELSEWHERE and (name not in PACKAGES or importlib.util.find_spec(PACKAGES[name]))
]
BATCH = 3


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path / "cache"))


def load(folder: Path, backend: str, name: str = "local-dir:{}") -> TorchEncoder:
    encoder = load_encoder(name.format(folder), device="cpu", batch_size=BATCH, backend=backend)
    assert isinstance(encoder, TorchEncoder)
    return encoder


@pytest.mark.parametrize("fixture", NAMES)
@pytest.mark.parametrize("backend", INSTALLED)
def test_every_backend_computes_the_vectors_of_torch(
    request: pytest.FixtureRequest,
    backend: str,
    fixture: str,
    pictures: list[Image.Image],
    texts: list[str],
) -> None:
    place = request.getfixturevalue(fixture)
    exact, other = (load(place, name, NAMES[fixture]) for name in ("torch", backend))
    vectors = other.encode_image(pictures)
    # Two whole batches, of which the first is by torch too, and one picture more.
    assert other.count_rows() == {"torch": BATCH + 1, backend: BATCH}
    cosines = (vectors * exact.encode_image(pictures)).sum(axis=1)
    assert cosines.min() >= batch_runner.LEAST_COSINE
    if exact.has_text_tower:
        many = [*texts, *texts, *(["the owl of the grey snow of the fern"] * BATCH)]
        same = (other.encode_text(many) * exact.encode_text(many)).sum(axis=1)
        assert same.min() >= batch_runner.LEAST_COSINE
        # One for each length, as SigLIP has not, and the others have two.
        n_lengths = 1 if fixture == "siglip_dir" else 2
        ran = [runner.backend for runner in other._text_runners.values()]
        assert ran == [backend] * n_lengths


@pytest.mark.long
def test_so_does_what_is_compiled(open_clip_dir: Path, pictures: list[Image.Image]) -> None:
    exact, other = load(open_clip_dir, "torch"), load(open_clip_dir, "compile")
    cosines = (other.encode_image(pictures) * exact.encode_image(pictures)).sum(axis=1)
    assert cosines.min() >= batch_runner.LEAST_COSINE
    assert other.count_rows()["compile"] == BATCH


@pytest.mark.parametrize("fixture", [*NAMES, "open_clip_resnet_dir"])
def test_the_layout_that_gpus_want_changes_no_vector(
    request: pytest.FixtureRequest, fixture: str, pictures: list[Image.Image]
) -> None:
    name = NAMES.get(fixture, "local-dir:{}")
    encoder = load(request.getfixturevalue(fixture), "torch", name)
    truth = encoder.encode_image(pictures)
    encoder.module.to(memory_format=torch.channels_last)
    np.testing.assert_allclose(encoder.encode_image(pictures), truth, atol=1e-5)


def test_tensorrt_is_for_gpus_where_it_is_installed(
    open_clip_dir: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BioprobeError, match="it is for NVIDIA's GPUs only; use --backend auto"):
        load(open_clip_dir, "tensorrt").encode_image(pictures)
    part = types.SimpleNamespace(device=torch.device("cuda"), tower="tower")
    assert TENSORRT.find_obstacle(part) == "torch_tensorrt not installed"  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "torch_tensorrt", types.ModuleType("torch_tensorrt"))
    monkeypatch.setattr(torch, "compile", lambda tower, **how: (tower, how["backend"], how["mode"]))
    made: list[object] = [one.prepare(part) for one in (TENSORRT, COMPILE)]  # type: ignore[arg-type]
    assert made == [
        ("tower", "torch_tensorrt", None), ("tower", "inductor", "max-autotune-no-cudagraphs")
    ]  # fmt: skip


def give_up(_: torch.Tensor) -> torch.Tensor:
    msg = "out of registers"
    raise RuntimeError(msg)


class Fake:
    """A backend that is the tower itself."""

    is_quick = True
    obstacle = ""

    def __init__(
        self,
        *,
        noise: float = 0.0,
        fails: str = "",
        n_good: float = math.inf,
        then: Callable[[torch.Tensor], torch.Tensor] = give_up,
    ) -> None:
        self.noise = noise
        self.fails = fails
        # So many runs are as they should be, and then each goes wrong.
        self.n_good = n_good
        self.then = then
        self.n_prepared = self.n_run = 0

    def find_obstacle(self, part: Part) -> str:
        del part
        return self.obstacle

    def prepare(self, part: Part) -> Run:
        self.n_prepared += 1
        if self.fails:
            raise RuntimeError(self.fails)

        def run(*inputs: torch.Tensor) -> torch.Tensor:
            self.n_run += 1
            found: torch.Tensor = part.tower._embed(*inputs)
            if self.n_run > self.n_good:
                return self.then(found)
            random = torch.Generator().manual_seed(0)
            off = torch.randn(found.shape, generator=random)
            unit = torch.nn.functional.normalize(off, dim=1) * found.norm(dim=1, keepdim=True)
            perturbed: torch.Tensor = found + self.noise * unit
            return perturbed

        return run


class Fakes:
    """Stands for the registry of backends."""

    def __init__(self, places: Mapping[str, Fake | None]) -> None:
        self._places = places
        self.names = tuple(places)

    def load(self, name: str) -> Fake:
        found = self._places[name]
        if found is None:
            msg = f"the backend {name!r} cannot be loaded: its wheel is for another torch"
            raise BioprobeError(msg)
        return found

    def find_packages(self) -> dict[str, str]:
        return {}


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have other backends than ours, measure them at once, and take them however fast they are."""

    def have(**places: Fake | None) -> None:
        for module in (
            batch_runner,
            runtime,
        ):
            monkeypatch.setattr(module, "BACKENDS", Fakes(places))
        monkeypatch.setattr(batch_runner, "_LEAST_GAIN", 0.0)
        monkeypatch.setattr(batch_runner, "_MEASURED_AFTER_S", 0.0)
        # Else what is kept waits until as much was spent as preparing it took.
        monkeypatch.setattr(Choice, "prepare_s", 0.0)

    return have


def find_trials(encoder: TorchEncoder) -> dict[str, str]:
    choice = encoder.image_runner.choice
    assert choice is not None
    return {one.backend: one.refused for one in choice.trials}


def test_the_fastest_that_agrees_is_taken_and_what_is_wrong_with_the_others_is_said(
    open_clip_dir: Path, pictures: list[Image.Image], pretend: Callable[..., None]
) -> None:
    fine = Fake()
    pretend(
        absent=None, broken=Fake(fails="no kernel"), perturbed=Fake(noise=0.02), fine=fine,
    )  # fmt: skip
    encoder = load(open_clip_dir, "auto")
    vectors = encoder.encode_image(pictures)
    said = find_trials(encoder)
    assert encoder.image_runner.backend == "fine"
    assert said["fine"] == ""
    assert "for another torch" in said["absent"]
    assert said["broken"] == "RuntimeError: no kernel"
    # 1 / sqrt(1 + .02²) is .9998: the vectors themselves were compared.
    assert said["perturbed"].startswith("least cosine to torch 0.999")
    exact = load(open_clip_dir, "torch").encode_image(pictures)
    np.testing.assert_allclose(vectors, exact, atol=1e-6)


def test_one_row_that_differs_is_not_made_up_for_by_the_others() -> None:
    exact = torch.eye(3)
    found = exact.clone()
    found[2, 0] = 1
    assert batch_runner._compare(found, exact) == pytest.approx(0.5**0.5)


def test_where_the_vectors_of_torch_are_no_numbers_nothing_agrees_with_them(
    open_clip_dir: Path, pictures: list[Image.Image], pretend: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pretend(fine=Fake())
    encoder = load(open_clip_dir, "auto")
    compare = batch_runner._compare
    monkeypatch.setattr(
        batch_runner, "_compare", lambda found, exact: compare(found, exact * math.nan)
    )
    encoder.encode_image(pictures)
    assert encoder.image_runner.backend == "torch"
    assert find_trials(encoder)["fine"].startswith("least cosine to torch nan")


def test_a_little_less_perturbed_it_would_be_taken(
    open_clip_dir: Path, pictures: list[Image.Image], pretend: Callable[..., None]
) -> None:
    pretend(perturbed=Fake(noise=0.005))
    encoder = load(open_clip_dir, "auto")
    encoder.encode_image(pictures)
    assert encoder.image_runner.backend == "perturbed"


def test_what_is_no_faster_is_not_taken(
    open_clip_dir: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch,
    pretend: Callable[..., None],
) -> None:  # fmt: skip
    pretend(same=Fake())
    monkeypatch.setattr(batch_runner, "_LEAST_GAIN", 1e9)
    encoder = load(open_clip_dir, "auto")
    encoder.encode_image(pictures)
    assert encoder.image_runner.backend == "torch"
    assert find_trials(encoder) == {"same": "not faster by enough"}


class Clocked(Fake):
    """A backend that takes so many seconds, by a clock of the test's, for so many rows."""

    def __init__(self, clock: list[float], takes_s: Mapping[int, float]) -> None:
        super().__init__()
        self.clock, self.takes_s = clock, takes_s
        self.ran = list[int]()

    def prepare(self, part: Part) -> Run:
        def run(*inputs: torch.Tensor) -> torch.Tensor:
            self.ran.append(len(inputs[0]))
            self.clock[0] += self.takes_s[self.ran[-1]]
            embeddings: torch.Tensor = part.tower(*inputs)
            return embeddings

        return run


@pytest.mark.parametrize(("unit_s", "n_again"), [(1.0, 8), (3.5, 4)])
def test_what_is_near_the_best_of_few_rows_is_tried_again_on_a_batch_as_far_as_there_is_time(
    monkeypatch: pytest.MonkeyPatch, unit_s: float, n_again: int
) -> None:
    clock = [0.0]
    # As fast as PyTorch: 1. What is best of few rows is hardly faster on many.
    of_few, of_many, far = (
        Clocked(clock, {2: unit_s * few, 4: unit_s * some, 8: unit_s * many})
        for few, some, many in ((0.5, 1.8, 3.6), (0.55, 1, 2), (0.7, 0.7, 0.7))
    )
    monkeypatch.setattr(
        batch_runner, "BACKENDS", Fakes({"far": far, "few": of_few, "many": of_many})
    )
    monkeypatch.setattr(batch_runner, "time", types.SimpleNamespace(
        monotonic=lambda: clock[0], perf_counter=lambda: clock[0],
    ))  # fmt: skip

    def embed(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)

    def exactly(_: batch_runner.BatchRunner, x: torch.Tensor) -> torch.Tensor:
        clock[0] += unit_s * len(x) / 2
        return embed(x)

    monkeypatch.setattr(batch_runner.BatchRunner, "_exactly", exactly)
    tower = Tower(torch.nn.Linear(1, 1), embed)
    runner = batch_runner.BatchRunner(
        tower, asked="auto", batch_size=8, model={}, what="images", n_tried=2
    )
    choice = runner.settle(torch.randn(8, 3))
    assert choice.backend == "many"
    assert {one.backend: one.n_rows for one in choice.trials} == {
        "far": 2, "few": n_again, "many": n_again
    }  # fmt: skip
    assert choice.gain == pytest.approx(2)
    # One turn told that the other is far behind, and then the whole batch was compared.
    assert of_many.ran == [2] * 4 + [n_again, 8]
    assert far.ran == [2] * 4
    assert choice.seconds_s > 0


def test_the_choice_is_kept_for_this_machine_and_this_model(
    open_clip_dir: Path, open_clip_resnet_dir: Path, pictures: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch, pretend: Callable[..., None], tmp_path: Path,
) -> None:  # fmt: skip
    fine = Fake()
    pretend(fine=fine)
    load(open_clip_dir, "auto").encode_image(pictures)
    assert fine.n_prepared == 1
    (file,) = (tmp_path / "cache" / "backends").glob("*.json")
    kept = json.loads(file.read_text())
    assert kept["backend"] == "fine"
    assert kept["model"]["precision"] == "fp32"
    assert {"processor", "threads", "torch"} <= set(kept["machine"])
    with monkeypatch.context() as patch:
        patch.setattr(batch_runner.BatchRunner, "_measure", pytest.fail)
        again = load(open_clip_dir, "auto")
        again.encode_image(pictures)
    assert again.image_runner.backend == "fine"
    assert fine.n_prepared == 2
    files = file.parent
    load(open_clip_resnet_dir, "auto").encode_image(pictures)
    assert len(list(files.glob("*.json"))) == 2
    monkeypatch.setattr(batch_runner, "_find_processor", lambda: "another")
    load(open_clip_dir, "auto").encode_image(pictures)
    assert len(list(files.glob("*.json"))) == 3
    # What another package adds may have become faster.
    monkeypatch.setattr(Fakes, "find_packages", lambda _: {"fine": "fine-kernels 2"})
    load(open_clip_dir, "auto").encode_image(pictures)
    assert len(list(files.glob("*.json"))) == 4


def test_a_kept_choice_is_prepared_once_pytorch_has_taken_as_long(
    open_clip_dir: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch,
    pretend: Callable[..., None],
) -> None:  # fmt: skip
    fine = Fake()
    pretend(fine=fine)
    load(open_clip_dir, "auto").encode_image(pictures)
    monkeypatch.setattr(Choice, "prepare_s", math.inf)
    again = load(open_clip_dir, "auto")
    again.encode_image(pictures)
    assert (again.count_rows(), fine.n_prepared) == ({"torch": len(pictures)}, 1)


def test_what_is_kept_is_of_one_part_shape_batch_and_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tower = Tower(torch.nn.Linear(1, 1), lambda x: x)

    def name(batch_size: int = 8, what: str = "images", dim: int = 3) -> Path:
        runner = batch_runner.BatchRunner(
            tower, asked="auto", batch_size=batch_size, model={}, what=what, n_tried=2
        )
        return runner._make_part((torch.zeros(8, dim),)).folder

    found = [name(), name(batch_size=4), name(what="texts"), name(dim=5)]
    assert name() == found[0]
    n_threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads + 1)
    assert len({*found, name()}) == 5


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"backend": "fine"}', '{"backend": "gone"}'])
def test_a_choice_that_cannot_be_read_or_is_of_a_backend_that_is_gone_is_no_choice(
    open_clip_dir: Path, pictures: list[Image.Image], pretend: Callable[..., None], tmp_path: Path,
    kept: str,
) -> None:  # fmt: skip
    pretend(fine=Fake())
    load(open_clip_dir, "auto").encode_image(pictures)
    (file,) = (tmp_path / "cache" / "backends").glob("*.json")
    whole = json.loads(file.read_text())
    file.write_text(json.dumps(whole | json.loads(kept)) if "gone" in kept else kept)
    encoder = load(open_clip_dir, "auto")
    assert len(encoder.encode_image(pictures)) == len(pictures)
    # Another package that is gone is another machine, in earnest.
    taken = "torch" if "gone" in kept else "fine"
    assert (encoder.image_runner.backend, json.loads(file.read_text())["backend"]) == (taken, taken)


def test_what_ended_a_process_is_not_tried_again(
    open_clip_dir: Path, pictures: list[Image.Image], pretend: Callable[..., None], tmp_path: Path
) -> None:
    deadly = Fake()
    pretend(deadly=deadly)
    load(open_clip_dir, "auto").encode_image(pictures)
    (file,) = (tmp_path / "cache" / "backends").glob("*.json")
    # As it stands after a process that died in it, also of a choice that was kept.
    trial = batch_runner._marking(file, "deadly")
    trial.__enter__()
    n_prepared = deadly.n_prepared
    encoder = load(open_clip_dir, "auto")
    encoder.encode_image(pictures)
    assert encoder.image_runner.backend == "torch"
    assert "ended the process" in find_trials(encoder)["deadly"]
    assert deadly.n_prepared == n_prepared
    # A process that was ended for another reason is no blame of the backend for ever.
    mark = re.search(r"tried again remove (.*)", find_trials(encoder)["deadly"])
    assert mark is not None
    assert set(batch_runner._find_ended(file)) == {"deadly"}
    Path(mark[1]).unlink()
    with batch_runner._marking(file, "of.a.name"):
        assert set(batch_runner._find_ended(file)) == {"of.a.name"}


def _fault() -> None:
    ctypes.string_at(0)


def _fail_elsewhere() -> None:
    threading.Thread(target=_fault).start()
    time.sleep(60)


def _abort_in_a_thread_of_no_python() -> None:
    libc = ctypes.CDLL(None)
    libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.abort, None)
    time.sleep(60)


def _signal(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(60)


# What a backend does, or what is done to it, in a batch long after it was chosen; how the process
# ends of it, and whether the backend is at fault.
ENDS: dict[str, tuple[Callable[[], object], int, bool]] = {
    "fault": (_fault, -11, True),
    "abort": (os.abort, -6, True),
    "thread of its own": (_abort_in_a_thread_of_no_python, -6, True),
    "fault elsewhere": (_fail_elsewhere, -11, False),
    "exit": (functools.partial(os._exit, 3), 3, False),
    "killed": (functools.partial(_signal, "SIGKILL"), -9, False),
    "asked to end": (functools.partial(_signal, "SIGTERM"), 143, False),
}


def _run_alone(cache: Path, told: Connection, how: str, n_good: float = math.inf) -> None:
    """Choose a backend, say which and what is said of the others, and let it end the process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
    torch.set_num_threads(1)
    os.environ["BIOPROBE_CACHE"] = str(cache)
    _end_as_interrupted()
    late = Fake(then=lambda found: (ENDS[how][0](), found)[1], n_good=n_good)
    patch = pytest.MonkeyPatch()
    patch.setattr(batch_runner, "BACKENDS", Fakes({"late": late}))
    patch.setattr(batch_runner, "_LEAST_GAIN", 0.0)
    patch.setattr(batch_runner, "_MEASURED_AFTER_S", 0.0)
    patch.setattr(Choice, "prepare_s", 0.0)
    runner = batch_runner.BatchRunner(
        Tower(torch.nn.Linear(1, 1), lambda one: one.flatten(1)),
        asked="auto", batch_size=2, model={}, what="images", n_tried=2,
    )  # fmt: skip
    batch = torch.ones(2, 3)
    with torch.inference_mode():
        runner(batch)
        assert runner.choice is not None
        told.send((runner.backend, {one.backend: one.refused for one in runner.choice.trials}))
        late.n_good = 0
        runner(batch)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("how", ENDS)
def test_what_ended_a_process_by_a_fault_late_in_a_run_is_not_tried_again_and_nothing_else(
    processes: ForkServerContext, tmp_path: Path, how: str
) -> None:
    _, code, is_blamed = ENDS[how]
    found = list[tuple[str, dict[str, str]]]()
    for _ in range(2):
        heard, tells = processes.Pipe(duplex=False)
        process = processes.Process(target=_run_alone, args=(tmp_path / "cache", tells, how))
        process.start()
        tells.close()
        found.append(heard.recv())
        process.join()
        if len(found) == 1 or not is_blamed:
            assert process.exitcode == code
    assert found[0] == ("late", {"late": ""})
    if not is_blamed:
        assert found[1] == found[0]
        return
    backend, refused = found[1]
    assert backend == "torch"
    assert process.exitcode == 0
    said = re.fullmatch(
        r"a fault of its own ended a process in which it ran; to have it tried again remove (.+)",
        refused["late"],
    )
    assert said is not None
    # What is at fault can be read there.
    assert "Fatal Python error" in Path(said[1]).read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_run_that_is_asked_to_end_while_a_backend_is_tried_ends_and_blames_nobody(
    processes: ForkServerContext, tmp_path: Path
) -> None:
    _, tells = processes.Pipe(duplex=False)
    args = (tmp_path / "cache", tells, "asked to end", 0)
    process = processes.Process(target=_run_alone, args=args)
    process.start()
    process.join()
    assert process.exitcode == 143
    assert [one.suffix for one in (tmp_path / "cache" / "backends").iterdir()] == [".lock"]


def _note_in_turn(file: Path) -> None:
    notes = batch_runner._FaultNotes()
    one, other = (os.open(file.with_suffix(end), os.O_WRONLY | os.O_CREAT) for end in (".a", ".b"))
    faulthandler.disable()
    with notes.into(one):
        assert faulthandler.is_enabled()
        with notes.into(one):
            assert faulthandler.is_enabled()
        with notes.into(other):
            assert not faulthandler.is_enabled()
        assert faulthandler.is_enabled()
    assert not faulthandler.is_enabled()
    faulthandler.enable(one)
    with notes.into(other):
        pass
    # What somebody else asked for stays.
    assert faulthandler.is_enabled()


def test_a_fault_is_nobodys_while_two_backends_run_and_goes_where_somebody_wants_it(
    processes: ForkServerContext, tmp_path: Path
) -> None:
    process = processes.Process(target=_note_in_turn, args=(tmp_path / "faults",))
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize(
    ("then", "why"),
    [
        (give_up, "RuntimeError: out of registers"),
        (lambda found: found * math.nan, "numbers that are not finite"),
        (lambda found: found[:1], r"the shape \(1, 24\), wanted \(3, 24\)"),
    ],
    ids=["raises", "not finite", "rows are missing"],
)
def test_what_fails_later_is_given_up_and_nothing_is_lost(
    open_clip_dir: Path, pictures: list[Image.Image], pretend: Callable[..., None],
    caplog: pytest.LogCaptureFixture, then: Callable[[torch.Tensor], torch.Tensor], why: str,
) -> None:  # fmt: skip
    late = Fake(then=then)
    pretend(late=late)
    encoder, named = load(open_clip_dir, "auto"), load(open_clip_dir, "late")
    first = encoder.encode_image(pictures)
    named.encode_image(pictures)
    late.n_good = 0
    with caplog.at_level("INFO", logger="bioprobe.loading"):
        np.testing.assert_allclose(encoder.encode_image(pictures), first, atol=1e-6)
    assert encoder.image_runner.backend == "torch"
    assert re.search(why, find_trials(encoder)["late"])
    assert re.search(rf"late failed .*{why}.*; torch goes on", caplog.text)
    with pytest.raises(BioprobeError, match=f"late cannot run the images.*{why}"):
        named.encode_image(pictures)


@pytest.mark.parametrize("n_good", range(5))
def test_what_fails_while_it_is_tried_is_refused_for_what_it_did(
    open_clip_dir: Path, pictures: list[Image.Image], pretend: Callable[..., None], n_good: int
) -> None:
    def end(_: torch.Tensor) -> torch.Tensor:
        sys.exit("of another package")

    then = (give_up, end)[n_good == 1]
    pretend(late=Fake(n_good=n_good, then=then))
    encoder = load(open_clip_dir, "auto")
    assert len(encoder.encode_image(pictures)) == len(pictures)
    assert encoder.image_runner.backend == "torch"
    assert find_trials(encoder)["late"] in {
        "RuntimeError: out of registers", "SystemExit: of another package"
    }  # fmt: skip


def test_one_that_was_named_and_is_not_here_is_an_error_also_of_less_than_a_batch(
    open_clip_dir: Path, pictures: list[Image.Image], pretend: Callable[..., None]
) -> None:
    elsewhere = Fake()
    elsewhere.obstacle = "fast_kernels not installed"
    pretend(elsewhere=elsewhere, absent=None)
    with pytest.raises(BioprobeError, match=r"elsewhere cannot run .* fast_kernels not installed"):
        load(open_clip_dir, "elsewhere").encode_image(pictures[:1])
    with pytest.raises(BioprobeError, match=r"absent cannot run .* its wheel is for another torch"):
        load(open_clip_dir, "absent").encode_text(["owl"])


def test_one_that_was_named_and_cannot_run_is_an_error(
    open_clip_dir: Path, pictures: list[Image.Image], pretend: Callable[..., None]
) -> None:
    pretend(broken=Fake(fails="no kernel"), perturbed=Fake(noise=0.02))
    with pytest.raises(BioprobeError, match=r"broken cannot run the images.*no kernel"):
        load(open_clip_dir, "broken").encode_image(pictures)
    with pytest.raises(BioprobeError, match=r"least cosine to torch 0\.999"):
        load(open_clip_dir, "perturbed").encode_image(pictures)
    with pytest.raises(BioprobeError, match="choose one of auto, torch, broken, perturbed"):
        load(open_clip_dir, "fastest")


def test_little_work_is_done_by_torch_alone(
    open_clip_dir: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_runner.BatchRunner, "_measure", pytest.fail)
    encoder = load(open_clip_dir, "auto")
    encoder.encode_image(pictures)
    assert encoder.count_rows() == {"torch": len(pictures)}


def test_where_nothing_can_be_kept_it_is_measured_all_the_same(
    open_clip_dir: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch,
    pretend: Callable[..., None], tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path / "file"))
    pretend(fine=Fake())
    encoder = load(open_clip_dir, "auto")
    encoder.encode_image(pictures)
    assert encoder.image_runner.backend == "fine"


@pytest.mark.skipif("onnx" not in INSTALLED, reason="ONNX Runtime is not installed")
def test_an_export_that_cannot_be_opened_or_kept_is_made_again(
    open_clip_dir: Path,
    pictures: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    truth = load(open_clip_dir, "onnx").encode_image(pictures)
    (export,) = (tmp_path / "cache").rglob("model.onnx")
    whole = export.stat().st_size
    for broken in (b"", export.read_bytes()[: whole // 2]):
        export.write_bytes(broken)
        again = load(open_clip_dir, "onnx").encode_image(pictures)
        np.testing.assert_allclose(again, truth, atol=1e-6)
        assert export.stat().st_size == whole
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path / "file"))
    unkept = load(open_clip_dir, "onnx")
    np.testing.assert_allclose(unkept.encode_image(pictures), truth, atol=1e-6)
    assert unkept.count_rows()["onnx"] == BATCH


def test_who_asks_for_the_choice_waits_for_another_process_that_measures(
    open_clip_dir: Path, pictures: list[Image.Image], pretend: Callable[..., None], tmp_path: Path
) -> None:
    pretend(fine=Fake())
    encoder = load(open_clip_dir, "auto")
    encoder.settle_backend(pictures[:BATCH])
    (file,) = (tmp_path / "cache" / "backends").glob("*.json")
    file.unlink()
    busy, waiting = load(open_clip_dir, "auto"), load(open_clip_dir, "auto")
    lock = batch_runner._hold(file, waits=False)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(waiting.settle_backend, pictures[:BATCH])
        # Whoever encodes goes on meanwhile.
        assert pool.submit(busy.encode_image, pictures).result().shape == (7, 24)
        assert busy.image_runner.choice is None
        assert not asked.done()
        with lock:
            pass
        assert asked.result().backend == "fine"


def test_a_store_says_what_ran_and_takes_vectors_of_any(
    open_clip_dir: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for place, picture in enumerate(pictures[:4]):
        picture.save(photos / f"{place}.png")
    model = f"local-dir:{open_clip_dir}"
    # In fp32, as bf16 would be rounded another way by each.
    embed = functools.partial(
        bp.embed, photos, model=model, batch_size=2, device="cpu", threads=1, precision="fp32"
    )
    whole, mixed = tmp_path / "torch", tmp_path / "mixed"
    embed(store=whole, backend="torch")
    traced = embed(store=mixed, backend="traced")
    assert "run by torch (2), traced (2)" in [str(one) for one in traced.notes]
    for place, picture in enumerate(pictures[4:]):
        picture.save(photos / f"more{place}.png")
    # A later run of the same store by another backend: the encoder is the same. One picture more
    # is no whole batch, and of what was named it is said that something else ran.
    few = embed(store=mixed, backend="traced", batch_size=8)
    assert "run by torch (3)" in [str(one) for one in few.notes]
    embed(store=whole, backend="torch")
    by_torch, by_both = (EmbeddingStore.open(one).read_vectors() for one in (whole, mixed))
    assert len(by_both) == len(pictures)
    np.testing.assert_allclose(by_both, by_torch, atol=1e-5)
