"""Run an ONNX file as an image-only encoder.

How its pixels are made is said in its name or beside it:
:mod:`bioprobe.encoders.families.onnx_preprocessing`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image

from bioprobe.encoders.catalog import ModelSource
from bioprobe.encoders.encoder import (
    Fingerprint,
    explain_no_text_tower,
    hash_description,
    normalise_rows,
)
from bioprobe.encoders.families.onnx_preprocessing import (
    Preprocessing,
    read_preprocessing,
    read_side_file,
)
from bioprobe.encoders.hub import hash_files
from bioprobe.errors import (
    BioprobeError,
    MissingExtraError,
    ModelUnavailableError,
    NoTextTowerError,
)

if TYPE_CHECKING:
    import onnxruntime

    Pixels = npt.NDArray[np.float32]
    Vectors = npt.NDArray[np.float32]

_DEFAULT_BATCH_SIZE = 16


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
        (outputs,) = self.session.run([self.output.name], {self.input.name: batch})
        rows: npt.NDArray[Any] = outputs[:n_images].reshape(n_images, -1)
        return rows


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
        starts = range(0, len(images), self.batch_size)
        parts = [
            self.encode_pixels(np.stack([self.preprocess(image) for image in batch]))
            for batch in (images[start : start + self.batch_size] for start in starts)
        ]
        return np.concatenate([np.empty((0, self.dim), dtype=np.float32), *parts])

    def encode_text(self, texts: Sequence[str]) -> NoReturn:  # noqa: ARG002 -- refuses any
        """Refuse: an ONNX encoder is image-only.

        Raises
        ------
        NoTextTowerError
            Always.
        """
        raise NoTextTowerError(explain_no_text_tower(self.name))


def load_onnx(
    source: ModelSource, device: str, batch_size: int | None, decoding: str = "exact"
) -> OnnxEncoder:
    """Open an ONNX file with the preprocessing of its options or its side file.

    Parameters
    ----------
    source : ModelSource
        Of kind ``file``.
    device : str
        ``auto`` or ``cuda`` (if ONNX Runtime was built for it) or ``cpu``.
    batch_size : int or None
        Images in one run; None is 16.
    decoding : str
        ``exact`` or ``fast``: whether large images may be decoded at a fraction of their size.

    Returns
    -------
    OnnxEncoder

    Raises
    ------
    ModelUnavailableError
        If there is no such file, or it is no ONNX graph.
    MissingExtraError
        If ONNX Runtime is not installed.
    BioprobeError
        If the preprocessing is missing or cannot be understood.
    """
    path = Path(source.target)
    if not path.is_file():
        msg = f'model "{source.name}": there is no file {path}; check the path'
        raise ModelUnavailableError(msg)
    settings = {**read_side_file(path), **source.options}
    ports = (settings.pop("input", ""), settings.pop("output", ""))
    preprocessing = read_preprocessing(settings)
    graph = _open_graph(source, path, ports, device)
    _check_size(source, graph, preprocessing)
    description = dataclasses.asdict(preprocessing) | {"output": graph.output.name}
    return OnnxEncoder(
        name=source.name,
        graph=graph,
        preprocessing=preprocessing,
        fingerprint=Fingerprint(
            model=source.name,
            weights_sha256=hash_files([path, *_find_external_weights(path)]),
            preprocessing_sha256=hash_description({"library": "bioprobe", **description}),
            precision="fp16" if graph.dtype is np.float16 else "fp32",
            decoding=decoding,
            backend="onnx",
        ),
        batch_size=batch_size or _DEFAULT_BATCH_SIZE,
    )


def _find_external_weights(path: Path) -> list[Path]:
    # Where the exporters of PyTorch and of optimum put weights too large for one file.
    names = (f"{path.name}.data", f"{path.name}_data")
    return [path.with_name(name) for name in names if path.with_name(name).is_file()]


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
        import onnxruntime
    except ImportError as error:
        msg = (
            f'model "{source.name}" needs ONNX Runtime, which is not installed; install it with '
            "pip install 'bioprobe[onnx]'"
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
