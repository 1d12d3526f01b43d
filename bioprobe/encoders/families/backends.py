"""What can run the whole batches of a model: each takes a tower and returns what computes the same.

Which is fastest differs by processor and by model, so that none is assumed:
:mod:`bioprobe.encoders.families.batch_runner` measures them. Another package adds its own as an
entry point ``bioprobe.backends``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch

from bioprobe.encoders.families.numpy_products import run_in_threads
from bioprobe.errors import SourceError, StoreError
from bioprobe.files import remove_folder, replacing_folder

#: From the inputs of a part, of a whole batch, to its embeddings.
Run: TypeAlias = Callable[..., torch.Tensor]


class Tower(torch.nn.Module):
    """One side of a model, of tensors alone.

    Parameters
    ----------
    model : torch.nn.Module
        The whole model, whose weights are shared.
    embed : callable
        From tensors to embeddings, by this model.
    """

    def __init__(self, model: torch.nn.Module, embed: Run) -> None:
        super().__init__()
        self.model = model
        self._embed = embed
        # A model in evaluation mode is one here too; its parts are left as they are.
        self.training = model.training

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:  # noqa: D102 -- as torch calls it
        return self._embed(*inputs)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """What a backend is to run.

    Parameters
    ----------
    tower : Tower
        In evaluation mode; to be left as it is.
    example : tuple of Tensor
        Inputs of a few pictures or texts.
    n_threads : int
        Threads that it may take.
    folder : Path
        Where an export of this very model may be kept; there or not.
    """

    tower: Tower
    example: tuple[torch.Tensor, ...]
    n_threads: int
    folder: Path

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.example[0].device

    @property
    def is_fp32(self) -> bool:
        """Whether the weights are in full precision."""
        return next(self.tower.parameters()).dtype == torch.float32


class Backend(Protocol):
    """What runs a part of a model.

    Attributes
    ----------
    is_quick : bool
        Whether it is ready within seconds; what is not is taken by choice only.
    is_fp32_only : bool
        Whether weights stay in fp32 for it where nobody asked for a precision.
    """

    is_quick: bool
    is_fp32_only: bool

    def find_obstacle(self, part: Part) -> str:
        """Return why it cannot run this here, ``""`` where nothing is known to be in its way."""
        ...

    def prepare(self, part: Part) -> Run:
        """Return what runs the part on inputs of any number of rows, in inference mode.

        Whatever it raises is told, and another backend is taken. What it computes is compared with
        PyTorch's own before it is used.
        """
        ...


class Traced:
    """PyTorch's own graph: traced, frozen, and its products packed for oneDNN."""

    is_quick = True
    is_fp32_only = False

    def find_obstacle(self, part: Part) -> str:
        """Return why it cannot run this here."""
        return "" if part.device.type == "cpu" else "it packs weights for processors only"

    def prepare(self, part: Part) -> Run:
        """Trace, freeze and pack; attention that PyTorch fuses stays so, which is twice as fast."""
        with _quietly():
            run: Run = torch.jit.optimize_for_inference(_trace(part))
        return run


class Numpy:
    """PyTorch with numpy's products of matrices, each thread with rows of its own."""

    is_quick = True
    is_fp32_only = True

    def find_obstacle(self, part: Part) -> str:
        """Return why it cannot run this here."""
        return _find_unlike(part)

    def prepare(self, part: Part) -> Run:
        """Take the tower as it is: there is nothing to prepare, and no copy of its weights."""
        return lambda *inputs: run_in_threads(part.tower, inputs, part.n_threads)


class Onnx:
    """ONNX Runtime, over an export that is kept."""

    is_quick = True
    is_fp32_only = True

    def find_obstacle(self, part: Part) -> str:
        """Return why it cannot run this here."""
        return _find_absent("onnx", "onnxruntime") or _find_unlike(part)

    def prepare(self, part: Part) -> Run:
        """Export once, and open a session."""
        import onnxruntime

        names = [f"input{place}" for place in range(len(part.example))]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = part.n_threads
        options.log_severity_level = 3
        session: Any = _open_export(
            part,
            "model.onnx",
            lambda path: export_onnx(part.tower, part.example, names, path),
            lambda path: onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            ),
        )

        def run(*inputs: torch.Tensor) -> torch.Tensor:
            given = {
                name: one.contiguous().numpy() for name, one in zip(names, inputs, strict=True)
            }
            return torch.from_numpy(session.run(["embeddings"], given)[0])

        return run


def export_onnx(
    tower: Tower, example: tuple[torch.Tensor, ...], names: list[str], path: Path
) -> None:
    """Write a tower as an ONNX graph from inputs of these names to ``embeddings``, of any rows."""
    with _in_plain_steps():
        torch.onnx.export(
            tower,
            example,
            str(path),
            dynamo=False,
            input_names=names,
            output_names=["embeddings"],
            dynamic_axes={name: {0: "rows"} for name in (*names, "embeddings")},
        )


class OpenVino:
    """OpenVINO, over a conversion that is kept."""

    is_quick = True
    is_fp32_only = True

    def find_obstacle(self, part: Part) -> str:
        """Return why it cannot run this here."""
        return _find_absent("openvino") or _find_unlike(part)

    def prepare(self, part: Part) -> Run:
        """Convert once, and compile."""
        # Absent from most environments, where mypy knows nothing of it.
        openvino: Any = importlib.import_module("openvino")
        how = {
            "INFERENCE_NUM_THREADS": part.n_threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }

        def convert(path: Path) -> None:
            with _in_plain_steps():
                converted = openvino.convert_model(_trace(part), example_input=part.example)
            openvino.save_model(converted, path, compress_to_fp16=False)

        compiled: Any = _open_export(
            part,
            "model.xml",
            convert,
            lambda path: openvino.Core().compile_model(path, "CPU", how),
        )

        def run(*inputs: torch.Tensor) -> torch.Tensor:
            found = compiled([one.contiguous().numpy() for one in inputs])
            return torch.from_numpy(found[0].copy())

        return run


@dataclasses.dataclass(frozen=True)
class Compiled:
    """``torch.compile``, which takes minutes and, on a processor, a C++ compiler.

    On a GPU PyTorch's own tries all kernels of its products, and makes no CUDA graphs: these hold
    for the thread that recorded them, and encoders are asked by several.

    Parameters
    ----------
    engine : str
        Of ``torch._dynamo.list_backends``.
    package : str
        What registers it, ``""`` for PyTorch's own.
    device_type : str
        The kind of device that the package is for.
    """

    engine: str
    package: str = ""
    device_type: str = "cpu"
    is_quick: bool = False
    is_fp32_only: bool = False

    def find_obstacle(self, part: Part) -> str:
        """Return why it cannot run this here."""
        if not self.package:
            return ""
        if part.device.type != self.device_type:
            return f"it is for {_KINDS[self.device_type]} only"
        return _find_absent(self.package)

    def prepare(self, part: Part) -> Run:
        """Compile, at the first run."""
        if self.package:
            importlib.import_module(self.package)
        tunes = not self.package and part.device.type == "cuda"
        mode = "max-autotune-no-cudagraphs" if tunes else None
        run: Run = torch.compile(part.tower, backend=self.engine, dynamic=False, mode=mode)
        return run


_KINDS = {"cpu": "processors", "cuda": "NVIDIA's GPUs"}

TRACED = Traced()
NUMPY = Numpy()
ONNX = Onnx()
OPENVINO = OpenVino()
COMPILE = Compiled("inductor")
ZENTORCH = Compiled("zentorch", "zentorch", is_quick=True)
# It takes minutes, and what is measured on a GPU is worth them: millions of pictures.
TENSORRT = Compiled("torch_tensorrt", "torch_tensorrt", "cuda", is_quick=True)


def _open_export(
    part: Part, name: str, export: Callable[[Path], None], open_graph: Callable[[Path], object]
) -> object:
    """Open the export of a part that is kept, or else a new one.

    One that cannot be opened, as half of a file, is made again; where nothing can be kept it lies
    among temporary files until it is open.
    """
    kept = part.folder / name
    if kept.exists():
        with contextlib.suppress(Exception):
            return open_graph(kept)
    try:
        if part.folder.exists():
            remove_folder(part.folder)
        with replacing_folder(part.folder) as folder:
            export(folder / name)
    except (SourceError, StoreError):
        with tempfile.TemporaryDirectory(prefix="bioprobe-", ignore_cleanup_errors=True) as scratch:
            export(Path(scratch, name))
            return open_graph(Path(scratch, name))
    return open_graph(kept)


def _trace(part: Part) -> Any:  # noqa: ANN401 -- torch.jit says no types
    trace: Any = torch.jit.trace
    return trace(part.tower, part.example, check_trace=False)


def _find_absent(*packages: str) -> str:
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


def _find_unlike(part: Part) -> str:
    if part.device.type != "cpu":
        return "it is asked on processors only"
    return "" if part.is_fp32 else "it is asked for fp32 only (--precision fp32)"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Trace without gradients, and without what PyTorch says of sizes that it takes as given."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _in_plain_steps() -> Iterator[None]:
    """Let attention be traced as products and a softmax, which exporters know."""
    was_fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _quietly():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fused)
