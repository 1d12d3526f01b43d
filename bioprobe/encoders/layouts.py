"""Which files of a model's folder each library loads."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Files that a library expects in a model's folder.

    Parameters
    ----------
    config : str
        File without which the folder is not of this layout, ``""`` where none is needed.
    weights : tuple of str
        Names of weight files, the preferred first; ``*`` stands for shards.
    """

    config: str
    weights: tuple[str, ...]

    def choose_weights(self, names: Iterable[str]) -> list[str]:
        """Return the weight files among file names that the library would load, in order.

        Examples
        --------
        >>> OPEN_CLIP.choose_weights(["open_clip_pytorch_model.bin", "open_clip_model.safetensors"])
        ['open_clip_model.safetensors']
        """
        ordered = sorted(names)
        for pattern in self.weights:
            if found := fnmatch.filter(ordered, pattern):
                return found
        return []


# The order of open_clip's own search in a local directory.
OPEN_CLIP = Layout(
    config="open_clip_config.json",
    weights=(
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
        "open_clip_pytorch_model.pth",
        "model.safetensors",
        "pytorch_model.bin",
        "pytorch_model.pth",
        "model.pth",
    ),
)
TRANSFORMERS = Layout(
    config="config.json",
    weights=(
        "model.safetensors",
        "model-*-of-*.safetensors",
        "pytorch_model.bin",
        "pytorch_model-*-of-*.bin",
    ),
)
TIMM = Layout(config="config.json", weights=("model.safetensors", "pytorch_model.bin"))

LAYOUTS = {"open_clip": OPEN_CLIP, "transformers": TRANSFORMERS, "timm": TIMM}
