"""Read and apply the preprocessing of an ONNX file.

An ONNX graph says nothing of how its pixels are made, so the steps come from options in the
name, ``onnx:file.onnx?resize_px=256&crop_px=224``, else from ``file.preprocess.json`` beside the
file, which holds the same keys:

=================  =====================================================================
``resize_px``      shorter side after resizing, or ``height,width`` to squash
``crop_px``        side of the centre crop, or ``height,width``; none: no crop
``mean``, ``std``  three numbers each, for pixels scaled to [0, 1]; default 0 and 1
``interpolation``  ``bilinear`` (default), ``bicubic``, ``lanczos`` or ``nearest``
``input``          name of the graph's input; default: its only one
``output``         name of the graph's output; default: its only one of shape (n, dim)
=================  =====================================================================

An option overrides the file's value of the same key.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from PIL import Image

from bioprobe.errors import BioprobeError

if TYPE_CHECKING:
    import numpy.typing as npt

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

    Returns
    -------
    Preprocessing

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
    return tuple(int(number) for number in numbers) if key.endswith("_px") else numbers


def _refuse(problem: str) -> NoReturn:
    keys = ", ".join(field.name for field in dataclasses.fields(Preprocessing))
    msg = (
        f"preprocessing of an ONNX model: {problem}; write it after the file name, such as "
        '"onnx:file.onnx?resize_px=256&crop_px=224&mean=0.485,0.456,0.406&std=0.229,0.224,0.225", '
        f"or in file.preprocess.json beside it; keys are {keys}, input, output"
    )
    raise BioprobeError(msg)


def read_side_file(path: Path) -> dict[str, Any]:
    """Return the settings in ``file.preprocess.json`` beside an ONNX file, or none.

    Raises
    ------
    BioprobeError
        If the file is not a JSON object.
    """
    side_file = path.with_suffix(".preprocess.json")
    if not side_file.is_file():
        return {}
    try:
        settings = json.loads(side_file.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{side_file} is not JSON: {error}"
        raise BioprobeError(msg) from error
    if not isinstance(settings, dict):
        msg = f"{side_file} holds a {type(settings).__name__}, expected an object of settings"
        raise BioprobeError(msg)
    return settings
