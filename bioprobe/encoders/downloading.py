"""Bring a model to this machine, and say which are here already."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from bioprobe.access import is_file, is_folder
from bioprobe.encoders.catalog import CARDS, ModelCard, ModelSource, find_card, parse_name
from bioprobe.encoders.hub import (
    LAYOUTS,
    OPEN_CLIP,
    ORIGIN_FILE,
    Layout,
    Snapshot,
    fetch_snapshot,
    find_cached,
    local_prefix,
    read_folder,
    write_origin,
)
from bioprobe.errors import ModelUnavailableError
from bioprobe.files import read_json, write_text
from bioprobe.result import Notes, Record, Result

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ModelStatus(Record):
    """A model as a user asks about it: what is known, and what lies on this machine.

    Parameters
    ----------
    name : str
        Name given to ``--model``.
    source : str
        Full name.
    backend : str
        Library that runs it.
    card : ModelCard or None
        What is known of it, None for models without a short name.
    dim, image_size_px : int or None
        From the card, else from the configuration where the model is here.
    folder : Path or None
        Where it lies on this machine.
    size_on_disk_bytes : int or None
        Size of the weights here.
    notes : tuple of Note
        What is to be said of it.
    """

    name: str
    source: str
    backend: str
    card: ModelCard | None
    dim: int | None
    image_size_px: int | None
    folder: Path | None
    size_on_disk_bytes: int | None
    notes: Notes = ()

    def to_dict(self) -> dict[str, str | int | bool | None]:
        """Return a JSON-ready row; ``None`` stands for unknown."""
        card = self.card
        return {
            "name": self.name,
            "source": self.source,
            "backend": self.backend,
            "n_parameters": card.n_parameters if card else None,
            "size_bytes": self.size_on_disk_bytes or (card.size_bytes if card else None),
            "licence": card.licence if card else None,
            "dim": self.dim,
            "image_size_px": self.image_size_px,
            "has_text_tower": card.has_text_tower if card else None,
            "training_data": card.training_data if card else None,
            "is_here": self.folder is not None,
            "folder": str(self.folder) if self.folder else None,
        }


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Models(Result):
    """The models that have a short name.

    Parameters
    ----------
    models : tuple of ModelStatus
        In the order of the catalogue.
    notes : tuple of Note
        What is to be said of them.
    """

    models: tuple[ModelStatus, ...]
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.models)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a model."""
        import pandas as pd

        return pd.DataFrame([one.to_dict() for one in self.models])


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Download(Record):
    """What a download brought.

    Parameters
    ----------
    folder : Path
        Folder that holds the model.
    name : str
        Name that loads it from there on a machine without a network.
    revision : str
        Commit at the hub.
    size_bytes : int
        Size of the weights.
    notes : tuple of Note
        What is to be said of it.
    """

    folder: Path
    name: str
    revision: str
    size_bytes: int
    notes: Notes = ()


def list_models() -> list[ModelStatus]:
    """Return the models that have a short name; touches neither the network nor torch."""
    return [describe_model(card.short_name) for card in CARDS]


def describe_model(name: str) -> ModelStatus:
    """Return what is known of a model without loading it.

    Raises
    ------
    ModelUnavailableError
        If the name has no known form.
    """
    source = parse_name(name)
    card = find_card(name)
    folder, size_bytes = _find_here(source)
    dim, image_size_px = _read_sizes(folder) if folder else (None, None)
    return ModelStatus(
        name=source.name,
        source=card.source if card else source.name,
        backend=source.backend,
        card=card,
        dim=(card and card.dim) or dim,
        image_size_px=(card and card.image_size_px) or image_size_px,
        folder=folder,
        size_on_disk_bytes=size_bytes,
    )


def find_snapshot(source: ModelSource) -> Snapshot | None:
    """Return the folder of a model on this machine; None where it is not here, or has none."""
    if source.kind == "file" or source.backend not in LAYOUTS:
        return None
    source, layout = _resolve(source)
    if source.kind == "folder":
        path = Path(source.target)
        return read_folder(path, layout) if is_folder(path) else None
    return find_cached(source.target, layout, revision=source.revision)


def _find_here(source: ModelSource) -> tuple[Path | None, int | None]:
    if source.kind == "file":
        path = Path(source.target)
        return (path, path.stat().st_size) if is_file(path) else (None, None)
    # Of a family that a package adds, only that knows where its models lie.
    snapshot = find_snapshot(source)
    return (snapshot.folder, snapshot.size_bytes) if snapshot else (None, None)


def _read_sizes(folder: Path) -> tuple[int | None, int | None]:
    path = folder / OPEN_CLIP.config
    if not is_file(path):
        return None, None
    try:
        config = read_json(path, dict).get("model_cfg", {})
        return config.get("embed_dim"), config.get("vision_cfg", {}).get("image_size")
    except (ValueError, AttributeError):
        # What is wrong with it is said when it is loaded.
        return None, None


def _resolve(source: ModelSource) -> tuple[ModelSource, Layout]:
    """Return the repository or folder behind a source, and what to expect there."""
    layout = LAYOUTS[source.backend]
    if source.kind != "tag":
        return source, layout
    if source.backend == "timm":
        from bioprobe.encoders.families.timm_models import find_repository

        return find_repository(source), layout
    from bioprobe.encoders.families.open_clip_models import find_tag_repository

    if repository := find_tag_repository(source):
        return repository
    msg = (
        f'model "{source.name}" lies at no model hub; load it once on a machine with a network '
        "and copy open_clip's cache"
    )
    raise ModelUnavailableError(msg)


def download_model(name: str, *, to: Path | None = None) -> Download:
    """Fetch a model into the Hugging Face cache, or into a folder that can be carried away.

    Parameters
    ----------
    name : str
        Any name but ``sketch``, ``local-dir:`` and ``onnx:``, which are here already.
    to : Path or None
        Folder to fill; None is the cache, from which the name itself loads the model.

    Raises
    ------
    ModelUnavailableError
        If the hub cannot be reached, or the model is a folder or file already.
    """
    source = parse_name(name)
    if source.kind in {"folder", "file"}:
        msg = f'model "{name}" is on this machine already, at {source.target}'
        raise ModelUnavailableError(msg)
    if source.backend not in LAYOUTS:
        msg = (
            f'model "{name}" is of a family that another package adds, which fetches its models '
            f"itself: bioprobe models check {name}"
        )
        raise ModelUnavailableError(msg)
    repository, layout = _resolve(source)
    snapshot = fetch_snapshot(repository, layout, to=to)
    if to is None:
        loading_name = source.name
    else:
        write_origin(
            snapshot.folder / ORIGIN_FILE, model=source.name, repository=repository.target,
            revision=snapshot.revision,
        )  # fmt: skip
        _write_tag_config(source, snapshot)
        loading_name = f"{local_prefix(source)}{to}"
    return Download(
        folder=snapshot.folder,
        name=loading_name,
        revision=snapshot.revision,
        size_bytes=snapshot.size_bytes,
    )


def _write_tag_config(source: ModelSource, snapshot: Snapshot) -> None:
    """Write the configuration that a repository of bare open_clip weights lacks."""
    path = snapshot.folder / OPEN_CLIP.config
    if source.backend != "open_clip" or is_file(path):
        return
    from bioprobe.encoders.families.open_clip_models import describe_tag

    write_text(path, json.dumps(describe_tag(source), indent=2) + "\n")
