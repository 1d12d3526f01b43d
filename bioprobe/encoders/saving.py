"""Write a model that was changed in the format of its own library, so that its name loads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.access import is_file, list_names
from bioprobe.encoders.catalog import parse_name
from bioprobe.encoders.downloading import find_snapshot
from bioprobe.encoders.hub import LAYOUTS, Layout, Snapshot, list_tokenizer_files, local_prefix
from bioprobe.errors import ModelUnavailableError

if TYPE_CHECKING:
    import torch

_WEIGHTS = {"open_clip": "open_clip_model.safetensors", "timm": "model.safetensors"}
# What says how pictures are prepared; what else lies there may be said of other weights.
_PREPARING = ("preprocessor_config.json", "processor_config.json")


def save_model(name: str, module: torch.nn.Module, folder: Path) -> None:
    """Write the weights of a module with all that the model it began as has beside its own.

    Parameters
    ----------
    name : str
        Of the model that it began as, a folder or on the hub, of open_clip, transformers or timm.
    module : torch.nn.Module
        As its library made it.
    folder : Path
        Empty folder.

    Raises
    ------
    ModelUnavailableError
        If the files of the model that it began as are gone, or a library has no such format.
    """
    source = parse_name(name)
    if source.backend not in LAYOUTS:
        msg = (
            f"{name} is of {source.backend}, and only open_clip, transformers and timm are written"
        )
        raise ModelUnavailableError(msg)
    if source.backend == "transformers":
        module.save_pretrained(folder)  # type: ignore[operator] # of transformers
    else:
        _save_weights(module, folder / _WEIGHTS[source.backend])
    snapshot = find_snapshot(source)
    if snapshot is not None:
        _copy_side(snapshot, LAYOUTS[source.backend], folder)
    if source.backend == "open_clip":
        from bioprobe.encoders.families.open_clip_models import describe_source, find_tokenizer

        config = folder / LAYOUTS["open_clip"].config
        if not is_file(config):
            config.write_text(
                json.dumps(describe_source(source), indent=2) + "\n", encoding="utf-8"
            )
        for path in find_tokenizer(source):
            if not is_file(folder / path.name):
                shutil.copyfile(path, folder / path.name)


def name_saved(name: str, folder: Path) -> str:
    """Return the name that loads a folder of :func:`save_model`."""
    return f"{local_prefix(parse_name(name))}{folder}"


def _save_weights(module: torch.nn.Module, path: Path) -> None:
    import safetensors.torch

    # Each tensor for itself: one that two names share would be refused.
    weights = {name: one.detach().cpu().clone() for name, one in module.state_dict().items()}
    safetensors.torch.save_file(
        {name: one.contiguous() for name, one in weights.items()}, path, {"format": "pt"}
    )


def _copy_side(snapshot: Snapshot, layout: Layout, folder: Path) -> None:
    named = [snapshot.folder / name for name in (layout.config, *_PREPARING) if name]
    licences = [
        snapshot.folder / name
        for name in list_names(snapshot.folder)
        if name.upper().startswith("LICEN")
    ]
    for path in (*named, *licences, *list_tokenizer_files(snapshot.folder)):
        if is_file(path):
            shutil.copyfile(path, folder / path.name)
