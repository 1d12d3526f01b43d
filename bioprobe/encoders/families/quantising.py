"""Quantise an image tower to 8-bit integers after training, and run what came of it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bioprobe.encoders.encoder import Encoder
from bioprobe.encoders.families.backends import export_onnx
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.errors import BioprobeError, MissingExtraError

_INPUT, _OUTPUT = "input0", "embeddings"
# Where the numbers are: all else is little work, and loses more than it gains.
_QUANTISED = ["Conv", "Gemm", "MatMul"]
# Pictures that calibrate in one pass.
_AT_ONCE = 8


def check_quantisable(encoder: Encoder) -> TorchEncoder:
    """Return an encoder that can be quantised.

    Raises
    ------
    BioprobeError
        If it does not run in PyTorch in fp32, one view of a picture.
    """
    if not isinstance(encoder, TorchEncoder) or encoder.fingerprint.precision != "fp32":
        msg = (
            f"{encoder.name} cannot be quantised: what open_clip, transformers or timm load can, "
            "in fp32 and without views; name such a model"
        )
        raise BioprobeError(msg)
    return encoder


def quantise(encoder: TorchEncoder, pixels: npt.NDArray[np.float32], graph: Path) -> None:
    """Write an image tower as a graph in 8-bit integers.

    Weights are quantised by channel to 7 bits, which no processor's products of 8-bit integers
    overflow; what goes into each layer by the range that it has on these pictures.

    Parameters
    ----------
    encoder : TorchEncoder
        In fp32, on the processor.
    pixels : ndarray of float32, shape (n_images, 3, height_px, width_px)
        Of the pictures that calibrate, ≥ 1.
    graph : Path
        File to write.

    Raises
    ------
    MissingExtraError
        If ONNX Runtime is not installed.

    References
    ----------
    Jacob et al. 2018, *Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference*; Nagel et al. 2021, *A White Paper on Neural Network
    Quantization*.
    """
    with _explaining():
        from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._parts: Iterator[npt.NDArray[np.float32]] = (
                pixels[start : start + _AT_ONCE] for start in range(0, len(pixels), _AT_ONCE)
            )

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            part = next(self._parts, None)
            return None if part is None else {_INPUT: part}

    example = (torch.tensor(pixels[:2]),)
    with tempfile.TemporaryDirectory() as scratch:
        exact, prepared = Path(scratch, "exact.onnx"), Path(scratch, "prepared.onnx")
        export_onnx(encoder.image_runner.tower, example, [_INPUT], exact)
        # Shapes that stand in attributes of transformers are not found symbolically.
        quantization.quant_pre_process(exact, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            graph,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_QUANTISED,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )


def open_graph(graph: Path) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """Return what runs a quantised graph, from pixels to embeddings.

    Raises
    ------
    MissingExtraError
        If ONNX Runtime is not installed.
    """
    with _explaining():
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = session.run([_OUTPUT], {_INPUT: pixels})[0]
        return found

    return run


@contextlib.contextmanager
def _explaining() -> Iterator[None]:
    """Say what is to be installed where ONNX Runtime is not."""
    try:
        yield
    except ImportError as error:
        msg = (
            "a model in int8 needs ONNX and ONNX Runtime, of which one is not installed; install "
            "both with pip install 'bioprobe[onnx]'"
        )
        raise MissingExtraError(msg) from error
