"""Run an ONNX file as an image-only encoder.

How its pixels are made is said in its name or beside it:
:mod:`bioprobe.encoders.families.onnx_models`.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image

from bioprobe.access import is_file
from bioprobe.encoders.catalog import ModelSource
from bioprobe.encoders.encoder import (
    Fingerprint,
    LoadOptions,
    encode_images,
    explain_no_text_tower,
    hash_description,
    normalise_rows,
)
from bioprobe.errors import (
    BioprobeError,
    MissingExtraError,
    ModelUnavailableError,
    NoTextTowerError,
)
from bioprobe.files import hash_file, parse_json
from bioprobe.settings import NUMBERS, TEXT, find_wrong_setting, read_settings_text
from bioprobe.types import Vectors

if TYPE_CHECKING:
    import onnxruntime

    Pixels = npt.NDArray[np.float32]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Steps from a decoded image to the tensor of an ONNX graph.

    Parameters
    ----------
    resize_px : tuple of int
        One number: the shorter side, aspect kept. Two: height and width, aspect lost.
    crop_px : tuple of int
        Height and width of the centre crop; empty for none.
    mean, std : tuple of float
        Subtracted from and dividing the channels scaled to [0, 1].
    interpolation : str
        Filter of the resize.
    """

    resize_px: tuple[int, ...]
    crop_px: tuple[int, ...] = ()
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    interpolation: str = "bilinear"

    @property
    def size_px(self) -> tuple[int, ...]:
        """Height and width of the tensor."""
        return self.crop_px or self.resize_px

    @property
    def draft_side_px(self) -> int:
        """Shorter side that a large image may be decoded at: twice what it is resized to."""
        return 2 * max(self.resize_px)

    def apply(self, image: Image.Image) -> Pixels:
        """Return the pixels of one RGB image, float32 of shape (3, height_px, width_px)."""
        resized = image.convert("RGB").resize(self._find_size(image), _FILTERS[self.interpolation])
        if self.crop_px:
            resized = resized.crop(self._find_box(resized))
        scaled: Pixels = np.asarray(resized, dtype=np.float32) / np.float32(255)
        mean, std = np.array([self.mean, self.std], dtype=np.float32)
        standard: Pixels = ((scaled - mean) / std).transpose(2, 0, 1)
        return np.ascontiguousarray(standard)

    def _find_size(self, image: Image.Image) -> tuple[int, int]:
        if len(self.resize_px) == 2:
            height, width = self.resize_px
            return width, height
        # torchvision's rule: the longer side is cut down to a whole pixel, not rounded.
        (side,) = self.resize_px
        shorter = min(image.size)
        width, height = (int(side * length / shorter) for length in image.size)
        return width, height

    def _find_box(self, image: Image.Image) -> tuple[int, int, int, int]:
        height, width = self.crop_px
        left = round((image.width - width) / 2)
        top = round((image.height - height) / 2)
        return left, top, left + width, top + height


def read_preprocessing(settings: Mapping[str, Any]) -> Preprocessing:
    """Read the steps from options or the contents of a side file.

    Parameters
    ----------
    settings : mapping
        Values are numbers, lists of numbers, or texts of numbers separated by commas.

    Raises
    ------
    BioprobeError
        If a key is unknown, a value is no number, or ``resize_px`` is missing.

    Examples
    --------
    >>> read_preprocessing({"resize_px": "256", "crop_px": 224}).crop_px
    (224, 224)
    """
    known = {field.name for field in dataclasses.fields(Preprocessing)}
    if unknown := set(settings) - known:
        _refuse(f"{', '.join(sorted(unknown))} is not known")
    if "resize_px" not in settings:
        _refuse("resize_px is missing")
    values: dict[str, Any] = {}
    for key in settings:
        values[key] = _read_setting(key, settings[key])
    if len(values.get("crop_px", ())) == 1:
        values["crop_px"] *= 2
    steps = Preprocessing(**values)
    if len(steps.size_px) == 1:
        _refuse("crop_px is missing, so that images of other shapes would not stack")
    return steps


def _read_setting(key: str, value: Any) -> tuple[float, ...] | str:  # noqa: ANN401 -- JSON
    if key == "interpolation":
        if value not in _FILTERS:
            _refuse(f'interpolation "{value}" is not one of {", ".join(_FILTERS)}')
        return str(value)
    parts = value.split(",") if isinstance(value, str) else np.atleast_1d(value).tolist()
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        _refuse(f'{key} "{value}" is not a list of numbers')
    counts = (1, 2) if key.endswith("_px") else (3,)
    if len(numbers) not in counts:
        _refuse(f"{key} has {len(numbers)} numbers, expected {' or '.join(map(str, counts))}")
    if not key.endswith("_px"):
        return numbers
    if not all(number >= 1 and number.is_integer() for number in numbers):
        _refuse(f'{key} "{value}" is not of whole numbers of pixels')
    return tuple(int(number) for number in numbers)


def _refuse(problem: str) -> NoReturn:
    keys = ", ".join(field.name for field in dataclasses.fields(Preprocessing))
    msg = (
        f"preprocessing of an ONNX model: {problem}; write it after the file name, such as "
        '"onnx:file.onnx?resize_px=256&crop_px=224&mean=0.485,0.456,0.406&std=0.229,0.224,0.225", '
        f"or in file.preprocess.json beside it; keys are {keys}, input, output"
    )
    raise BioprobeError(msg)


_SETTINGS = {
    "resize_px": NUMBERS,
    "crop_px": NUMBERS,
    "mean": NUMBERS,
    "std": NUMBERS,
    "interpolation": TEXT,
    "input": TEXT,
    "output": TEXT,
}


def _read_side_file(path: Path) -> dict[str, Any]:
    """Return the settings in ``file.preprocess.json`` beside an ONNX file, or none."""
    side_file = path.with_suffix(".preprocess.json")
    if not is_file(side_file):
        return {}
    try:
        settings = parse_json(read_settings_text(side_file))
    except ValueError as error:
        msg = f"{side_file} is not JSON: {error}"
        raise BioprobeError(msg) from error
    if problem := find_wrong_setting(settings, _SETTINGS):
        msg = f"{side_file}: {problem}"
        raise BioprobeError(msg)
    return dict(settings)


_DEFAULT_BATCH_SIZE = 16

#: Seconds that a graph may take for one image: hundreds of times what large models take.
LONGEST_S = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Graph:
    """An ONNX Runtime session with the input and output in use."""

    session: onnxruntime.InferenceSession
    input: onnxruntime.NodeArg
    output: onnxruntime.NodeArg

    @property
    def device(self) -> str:
        """Kind of device that runs the graph."""
        provider = self.session.get_providers()[0]
        return "cuda" if provider == "CUDAExecutionProvider" else "cpu"

    @property
    def dtype(self) -> type[np.floating[Any]]:
        return np.float16 if self.input.type == "tensor(float16)" else np.float32

    @property
    def fixed_batch_size(self) -> int | None:
        """Images in one run where the export fixed it, as many exports do at 1."""
        size = self.input.shape[0]
        return size if isinstance(size, int) else None

    def run(self, pixels: Pixels) -> npt.NDArray[Any]:
        """Return the raw output of at most one batch of pixels."""
        n_images = len(pixels)
        batch = pixels.astype(self.dtype)
        if self.fixed_batch_size:
            batch = np.resize(batch, (self.fixed_batch_size, *batch.shape[1:]))
        (outputs,) = self._run_bounded(batch)
        rows: npt.NDArray[Any] = outputs[:n_images].reshape(n_images, -1)
        return rows

    def _run_bounded(self, batch: Pixels) -> list[npt.NDArray[Any]]:
        """Run the graph, and end it where a loop in it goes on and on."""
        import onnxruntime

        options = onnxruntime.RunOptions()
        ended = threading.Event()

        def end() -> None:
            ended.set()
            options.terminate = True

        timer = threading.Timer(LONGEST_S * len(batch), end)
        timer.daemon = True
        timer.start()
        try:
            arrays: list[npt.NDArray[Any]] = self.session.run(
                [self.output.name], {self.input.name: batch}, options
            )
        except Exception as error:
            # Its exceptions share no base class short of Exception.
            if not ended.is_set():
                raise
            msg = (
                f"the ONNX graph gave no vectors of {len(batch):,} image(s) in "
                f"{LONGEST_S * len(batch):g} s and was ended: it may hold a loop without an "
                "end; export the model again"
            )
            raise ModelUnavailableError(msg) from error
        finally:
            timer.cancel()
        return arrays


class OnnxEncoder:
    """Image-only encoder over an ONNX graph.

    Parameters
    ----------
    name : str
        Name that loads the encoder again.
    graph : object
        Session, input and output.
    preprocessing : Preprocessing
        Steps from image to tensor.
    fingerprint : Fingerprint
        Identity.
    batch_size : int
        Images in one run; a graph with a fixed batch keeps its own.
    """

    has_text_tower = False
    logit_scale = 1.0

    def __init__(
        self,
        *,
        name: str,
        graph: _Graph,
        preprocessing: Preprocessing,
        fingerprint: Fingerprint,
        batch_size: int,
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.device = graph.device
        self.draft_side_px = preprocessing.draft_side_px if fingerprint.decoding == "fast" else 0
        self._graph = graph
        self._preprocessing = preprocessing
        self.batch_size = graph.fixed_batch_size or batch_size
        grey = self.preprocess(Image.new("RGB", (64, 64), "grey"))
        self.dim = int(graph.run(grey[None]).shape[1])

    def preprocess(self, image: Image.Image) -> Pixels:
        """Apply the given steps to one upright RGB image.

        Returns
        -------
        ndarray of float32, shape (3, height_px, width_px)
        """
        return self._preprocessing.apply(image)

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """Encode preprocessed images.

        Parameters
        ----------
        pixels : ndarray of float32, shape (n_images, 3, height_px, width_px)

        Returns
        -------
        ndarray of float32, shape (n_images, dim), unit rows
        """
        starts = range(0, len(pixels), self.batch_size)
        parts = [self._graph.run(pixels[start : start + self.batch_size]) for start in starts]
        return normalise_rows(np.concatenate([np.empty((0, self.dim)), *parts]))

    def encode_image(self, images: Sequence[Image.Image]) -> Vectors:
        """Preprocess and encode images; holds one batch of pixels at a time.

        Returns
        -------
        ndarray of float32, shape (n_images, dim), unit rows
        """
        return encode_images(self, images)

    def encode_text(self, texts: Sequence[str]) -> NoReturn:  # noqa: ARG002 -- refuses any
        """Refuse: an ONNX encoder is image-only.

        Raises
        ------
        NoTextTowerError
            Always.
        """
        raise NoTextTowerError(explain_no_text_tower(self.name))


def load_onnx(source: ModelSource, options: LoadOptions) -> OnnxEncoder:
    """Open an ONNX file with the preprocessing of its options or its side file.

    Parameters
    ----------
    source : ModelSource
        Of kind ``file``.
    options : LoadOptions
        The device is ``auto`` or ``cuda`` (if ONNX Runtime was built for it) or ``cpu``, the
        precision ``auto`` or ``fp32``; a batch size of None is 16.

    Raises
    ------
    ModelUnavailableError
        If there is no such file, or it is no ONNX graph.
    MissingExtraError
        If ONNX Runtime is not installed.
    BioprobeError
        If the preprocessing is missing or cannot be understood, or another precision is asked for.
    """
    if options.precision not in {"auto", "fp32"}:
        msg = (
            f'precision "{options.precision}" cannot be chosen for {source.name}: an ONNX file '
            "runs as it was saved; leave --precision away"
        )
        raise BioprobeError(msg)
    if options.backend not in {"auto", "torch", "onnx"}:
        msg = (
            f'backend "{options.backend}" cannot be chosen for {source.name}: an ONNX file has its '
            "own runtime; leave --backend away"
        )
        raise BioprobeError(msg)
    path = Path(source.target)
    if not is_file(path):
        msg = f'model "{source.name}": there is no file {path}; check the path'
        raise ModelUnavailableError(msg)
    settings = {**_read_side_file(path), **source.options}
    ports = (settings.pop("input", ""), settings.pop("output", ""))
    preprocessing = read_preprocessing(settings)
    graph = _open_graph(source, path, ports, options.device)
    _check_size(source, graph, preprocessing)
    description = dataclasses.asdict(preprocessing) | {"output": graph.output.name}
    further = {
        file.relative_to(path.parent).as_posix(): hash_file(file)
        for file in _find_named_weights(source, path)
        if file not in _find_usual_weights(path)
    }
    return OnnxEncoder(
        name=source.name,
        graph=graph,
        preprocessing=preprocessing,
        fingerprint=Fingerprint(
            model=source.name,
            weights_sha256=hash_file(path, *_find_usual_weights(path)),
            image_sha256=hash_description(further) if further else "",
            preprocessing_sha256=hash_description({"library": "bioprobe", **description}),
            precision="fp16" if graph.dtype is np.float16 else "fp32",
            decoding=options.decoding,
            backend="onnx",
        ),
        batch_size=options.batch_size or _DEFAULT_BATCH_SIZE,
    )


def _find_usual_weights(path: Path) -> list[Path]:
    # Where the exporters of PyTorch and of optimum put weights too large for one file.
    names = (f"{path.name}.data", f"{path.name}_data")
    return [path.with_name(name) for name in names if is_file(path.with_name(name))]


def _find_named_weights(source: ModelSource, path: Path) -> list[Path]:
    """Return the files in which a graph says that its weights are, sorted.

    Raises
    ------
    ModelUnavailableError
        If one is not in the folder of the graph, or below it.
    """
    if path.suffix == ".ort":
        # ONNX Runtime's own format keeps its weights in the one file.
        return []
    import onnx

    model = onnx.load_model(path, load_external_data=False)
    named = {
        PurePath(entry.value)
        for tensor in _iter_tensors(model)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    if outside := [place for place in named if place.is_absolute() or ".." in place.parts]:
        msg = (
            f'model "{source.name}": {path} has weights outside of its folder, in {outside[0]}; '
            "save it again with its weights beside it"
        )
        raise ModelUnavailableError(msg)
    return sorted(path.parent / place for place in named)


def _iter_tensors(message: Any) -> Iterator[Any]:  # noqa: ANN401 -- onnx ships no types
    # Weights and constants, also those of inner graphs and of functions.
    if hasattr(message, "external_data"):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _iter_tensors(part)


def _check_size(source: ModelSource, graph: _Graph, preprocessing: Preprocessing) -> None:
    expected = tuple(graph.input.shape[2:])
    got = preprocessing.size_px
    if any(
        isinstance(want, int) and want != have for want, have in zip(expected, got, strict=True)
    ):
        msg = (
            f'model "{source.name}": the graph reads {expected[0]}x{expected[1]} pixels, but the '
            f"preprocessing gives {got[0]}x{got[1]}; set crop_px={expected[0]}"
        )
        raise BioprobeError(msg)


def _open_graph(source: ModelSource, path: Path, ports: tuple[str, str], device: str) -> _Graph:
    try:
        import onnx  # noqa: F401 - asked for here, with what else the extra brings
        import onnxruntime
    except ImportError as error:
        msg = (
            f'model "{source.name}" needs ONNX and ONNX Runtime, of which one is not installed; '
            "install both with pip install 'bioprobe[onnx]'"
        )
        raise MissingExtraError(msg) from error
    providers = _choose_providers(device, onnxruntime.get_available_providers())
    onnxruntime.set_default_logger_severity(3)
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:
        # Its exceptions share no base class short of Exception.
        reason = str(error).strip().splitlines()[0][:200]
        msg = f'model "{source.name}": ONNX Runtime cannot open {path}: {reason}'
        raise ModelUnavailableError(msg) from error
    return _Graph(
        session=session,
        input=_choose_port(source, ports[0], "input", session.get_inputs()),
        output=_choose_port(source, ports[1], "output", session.get_outputs()),
    )


def _choose_providers(device: str, available: Sequence[str]) -> list[str]:
    known = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
    present = [kind for kind, provider in known.items() if provider in available]
    kind = present[0] if device == "auto" else device
    if kind not in present:
        msg = f'ONNX Runtime here has no device "{device}"; choose auto or {" or ".join(present)}'
        raise BioprobeError(msg)
    return [known[kind]]


def _choose_port(
    source: ModelSource, wanted: str, kind: str, ports: Sequence[onnxruntime.NodeArg]
) -> onnxruntime.NodeArg:
    names = [port.name for port in ports]
    if wanted in names:
        return ports[names.index(wanted)]
    if not wanted and len(ports) == 1:
        return ports[0]
    flat = [port for port in ports if len(port.shape or ()) == 2]
    if not wanted and kind == "output" and len(flat) == 1:
        return flat[0]
    problem = f'has no {kind} "{wanted}"' if wanted else f"has {len(names)} {kind}s"
    msg = (
        f'model "{source.name}" {problem}; name one of {", ".join(names)} by adding '
        f'"{kind}=NAME" to the options after "?"'
    )
    raise BioprobeError(msg)
