"""Find weights on this machine, fetch them from the model hub, and hash them.

Every model is first brought to a folder on disk and then loaded from there, so that a cached
model works without a network, and the revision and the bytes that were loaded are known.
"""

from __future__ import annotations

import dataclasses
import errno
import fnmatch
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bioprobe.access import is_file, is_folder, list_names
from bioprobe.encoders.catalog import ModelSource, parse_name
from bioprobe.errors import ModelUnavailableError
from bioprobe.files import hash_file, read_json, write_text


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


# Written beside downloaded weights, so that a copied folder still knows where it came from.
ORIGIN_FILE = "bioprobe_origin.json"

#: Seconds until a hub that does not answer counts as one that cannot be reached.
HUB_TIMEOUT_S = 10.0
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
_TOKENIZER_PATTERNS = ("*token*.json", "vocab*", "merges.txt", "*.model")
# What changes when a model is only saved again: names, versions and the type it is stored in.
_HISTORY = {"_name_or_path", "transformers_version", "torch_dtype", "dtype"}
# What a disk says that is full, or may not be written to.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
# BioCLIP-HC says use_hyperbolic; others name the space.
_HYPERBOLIC_SPACES = {"hyperbolic", "lorentz", "hyperboloid", "poincare"}
_SIDE_PATTERNS = ("*.json", "*.txt", "*.model", "README.md", "LICENSE*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A model's folder on this machine.

    Parameters
    ----------
    folder : Path
        Existing folder.
    weights : tuple of Path
        Weight files that the library loads, in order.
    revision : str
        Commit at the hub, ``""`` where none is known.
    """

    folder: Path
    weights: tuple[Path, ...]
    revision: str = ""

    @property
    def size_bytes(self) -> int:
        """Size of the weight files."""
        return sum(path.stat().st_size for path in self.weights)


def has_tokenizer(folder: Path) -> bool:
    """Tell whether a model's folder holds the vocabulary of a tokenizer of transformers."""
    return bool(_find(folder, _VOCABULARIES))


def describe_tokenizer(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that makes a tokenizer of transformers, by its name."""
    return {path.name: hash_file(path) for path in list_tokenizer_files(folder)}


def list_tokenizer_files(folder: Path) -> list[Path]:
    """Return the files of a model's folder that make a tokenizer of transformers."""
    return _find(folder, _TOKENIZER_PATTERNS)


def read_settings(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read what JSON files of a model's folder set, without what tells its history.

    Returns
    -------
    dict
        Contents by file name.
    """
    return {
        name: _drop_history(read_json(folder / name)) for name in names if is_file(folder / name)
    }


def _drop_history(value: Any) -> Any:  # noqa: ANN401 -- any JSON
    if isinstance(value, dict):
        return {key: _drop_history(part) for key, part in value.items() if key not in _HISTORY}
    return [_drop_history(part) for part in value] if isinstance(value, list) else value


def _find(folder: Path, patterns: Sequence[str]) -> list[Path]:
    names = {name for pattern in patterns for name in fnmatch.filter(list_names(folder), pattern)}
    return [folder / name for name in sorted(names) if is_file(folder / name)]


def read_folder(folder: Path, layout: Layout, *, revision: str = "") -> Snapshot | None:
    """Return the snapshot in a folder, or None where its config or its weights are missing.

    Parameters
    ----------
    folder : Path
        Folder of one model.
    layout : Layout
        Files the library expects.
    revision : str
        Commit; where it is empty, the file left by a download is asked.
    """
    if layout.config and not is_file(folder / layout.config):
        return None
    weights = layout.choose_weights(list_names(folder))
    if not weights:
        return None
    return Snapshot(
        folder=folder,
        weights=tuple(folder / name for name in weights),
        revision=revision or read_origin(folder / ORIGIN_FILE).get("revision", ""),
    )


def read_origin(file: Path) -> dict[str, str]:
    """Return what a download wrote of where it came from; nothing where that cannot be told."""
    try:
        said = read_json(file, dict) if is_file(file) else {}
    except (OSError, ValueError):
        # What is wrong with a folder is said of the files that it is loaded from.
        return {}
    return {name: value for name, value in said.items() if isinstance(value, str)}


def write_origin(file: Path, *, model: str, repository: str, revision: str) -> None:
    """Write beside a download where it came from, as :func:`read_origin` reads it."""
    origin = {"model": model, "repository": repository, "revision": revision}
    write_text(file, json.dumps(origin, indent=2) + "\n")


def find_cached_repository(path: Path, kind: str) -> str:
    """Return the repository in whose folder of the Hugging Face cache a path lies, else ``""``.

    Parameters
    ----------
    path : Path
    kind : {"models", "datasets"}

    Examples
    --------
    >>> find_cached_repository(Path("hub/models--org--name/snapshots/1a"), "models")
    'org/name'
    """
    cached = [part for part in path.parts if part.startswith(f"{kind}--")]
    return "/".join(cached[-1].split("--")[1:]) if cached else ""


def find_repository(name: str) -> str:
    """Return the repository of open_clip's layout that a model's name loads, ``""`` where none is.

    A folder is asked what a download wrote there, or whether it lies in the Hugging Face cache.

    Examples
    --------
    >>> find_repository("bioclip-2"), find_repository("sketch")
    ('imageomics/bioclip-2', '')
    """
    try:
        source = parse_name(name)
    except ModelUnavailableError:
        return ""
    if source.backend != "open_clip" or source.kind not in {"folder", "hub"}:
        return ""
    if source.kind == "hub":
        return source.target
    folder = Path(source.target)
    said = read_origin(folder / ORIGIN_FILE).get("repository", "")
    return said or find_cached_repository(folder, "models")


def find_cached(repo_id: str, layout: Layout, *, revision: str = "") -> Snapshot | None:
    """Look for a repository in the Hugging Face cache without touching the network.

    Parameters
    ----------
    repo_id : str
        Repository, ``org/name``.
    layout : Layout
        Files the library expects.
    revision : str
        Branch, tag or commit; ``""`` is the newest that was cached.

    Returns
    -------
    Snapshot or None
        None where it is absent or incomplete.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo_id, revision=revision or None, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return read_folder(folder, layout, revision=folder.name)


def get_snapshot(source: ModelSource, layout: Layout) -> Snapshot:
    """Return the model's folder: from the cache if it is there, else fetched from the hub.

    Parameters
    ----------
    source : ModelSource
        Of kind ``hub`` or ``folder``.
    layout : Layout
        Files the library expects.

    Raises
    ------
    ModelUnavailableError
        If the folder is not of this layout, its configuration is broken or of a model in
        hyperbolic space, or the repository is neither cached nor reachable.
    """
    if source.kind == "folder":
        snapshot = read_folder(Path(source.target), layout)
        if snapshot is None:
            raise ModelUnavailableError(_explain_folder(source, layout))
    else:
        if "hyperbolic" in source.target.lower():
            # Nobody waits for weights that are of no use.
            raise ModelUnavailableError(_explain_hyperbolic(source))
        cached = find_cached(source.target, layout, revision=source.revision)
        snapshot = cached or fetch_snapshot(source, layout)
    if layout.config:
        _check_config(source, snapshot.folder / layout.config)
    return snapshot


def _check_config(source: ModelSource, config: Path) -> None:
    # Each library says in its own way that it cannot read one, or falls over it.
    try:
        settings = read_json(config, dict)
    except (OSError, ValueError) as error:
        msg = (
            f'model "{source.name}": {config} is no configuration of a model ({error}); bring the '
            "folder again"
        )
        raise ModelUnavailableError(msg) from error
    if _says_hyperbolic(settings):
        raise ModelUnavailableError(_explain_hyperbolic(source))


def _says_hyperbolic(settings: Any) -> bool:  # noqa: ANN401 -- any JSON
    """Tell whether a model's settings place its vectors in hyperbolic space."""
    if isinstance(settings, dict):
        return any(
            ("hyperbolic" in str(key).lower() and bool(value)) or _says_hyperbolic(value)
            for key, value in settings.items()
        )
    if isinstance(settings, list):
        return any(map(_says_hyperbolic, settings))
    return isinstance(settings, str) and settings.lower() in _HYPERBOLIC_SPACES


def _explain_hyperbolic(source: ModelSource) -> str:
    return (
        f'model "{source.name}" places its vectors in hyperbolic space: its scores are distances '
        "there and no cosines, which all answers here are made of. Use a model of the flat space, "
        "such as bioclip-2 or hf-hub:imageomics/bioclip-hc-euclidean"
    )


def fetch_snapshot(source: ModelSource, layout: Layout, *, to: Path | None = None) -> Snapshot:
    """Fetch the needed files of a repository, into the cache or into a folder.

    Only one copy of the weights is fetched where a repository holds several formats.

    Parameters
    ----------
    source : ModelSource
        Of kind ``hub``.
    layout : Layout
        Files the library expects.
    to : Path or None
        Folder to fill; None is the Hugging Face cache.

    Raises
    ------
    ModelUnavailableError
        If the hub cannot be reached, or refuses, or the repository has another layout.
    """
    from huggingface_hub import snapshot_download

    try:
        names, commit = _list_files(source)
        wanted = _choose_files(source, layout, names)
        folder = snapshot_download(
            source.target, revision=commit, allow_patterns=wanted, local_dir=to
        )
    except ModelUnavailableError:
        raise
    except Exception as error:
        # Each version of huggingface_hub has another HTTP client with its own errors.
        raise ModelUnavailableError(explain_missing(source, error)) from error
    snapshot = read_folder(Path(folder), layout, revision=commit)
    if snapshot is None:
        raise ModelUnavailableError(_explain_layout(source, layout))
    return snapshot


def _list_files(source: ModelSource) -> tuple[list[str], str]:
    from huggingface_hub import HfApi

    # Unlike a download, this gives up at once where no hub can be reached.
    info = HfApi().model_info(
        source.target, revision=source.revision or None, timeout=HUB_TIMEOUT_S
    )
    return [file.rfilename for file in info.siblings or []], info.sha or ""


def _choose_files(source: ModelSource, layout: Layout, names: Sequence[str]) -> list[str]:
    weights = layout.choose_weights(names)
    if not weights or (layout.config and layout.config not in names):
        raise ModelUnavailableError(_explain_layout(source, layout))
    top_level = [name for name in names if "/" not in name]
    side = [name for name in top_level if any(fnmatch.fnmatch(name, p) for p in _SIDE_PATTERNS)]
    return [*weights, *side]


def _explain_layout(source: ModelSource, layout: Layout) -> str:
    return (
        f'model "{source.name}": {source.target} lacks {layout.config} or any of '
        f"{', '.join(layout.weights[:3])}, so it is not in the layout of {source.backend}; "
        "try another prefix (hf-hub: for open_clip, transformers:, timm:hf-hub:)"
    )


def _explain_folder(source: ModelSource, layout: Layout) -> str:
    folder = Path(source.target)
    if source.name == "sketch":
        return f"the embedded sketch model is missing from {folder}; reinstall bioprobe"
    if not is_folder(folder):
        return f'model "{source.name}": there is no folder {folder}; check the path'
    return (
        f'model "{source.name}": {folder} lacks {layout.config} or weights such as '
        f"{layout.weights[0]}; a folder in the layout of open_clip is named local-dir:, of "
        "transformers transformers:, of timm timm:local-dir:"
    )


def explain_missing(source: ModelSource, error: Exception) -> str:
    """Return the one message for a model that is not here: what happened and the remedies."""
    return (
        f'model "{source.name}" is not on this machine and could not be fetched '
        f"({explain_reason(error)}). Either run "
        f'"bioprobe models download {source.name} --to DIR" on a machine with a network, copy '
        f'DIR here and use "--model {local_prefix(source)}DIR" (or point HF_HUB_CACHE at a '
        'cache that holds it); or use "--model sketch" to learn the tool offline'
    )


def explain_reason(error: Exception) -> str:
    """Return in words why the hub gave nothing."""
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    reasons: tuple[tuple[type[Exception], str], ...] = (
        (OfflineModeIsEnabled, "HF_HUB_OFFLINE is set"),
        (GatedRepoError, "the hub asks to accept its terms: log in with `hf auth login`"),
        (RepositoryNotFoundError, "the hub knows no such repository, or it is private"),
        (RevisionNotFoundError, "the repository has no such revision"),
    )
    for kind, reason in reasons:
        if isinstance(error, kind):
            return reason
    if isinstance(error, OSError) and error.errno in _REFUSED:
        return f"it cannot be written: {error.strerror}"
    return f"the hub cannot be reached: {str(error).strip().splitlines()[0][:120]}"


def local_prefix(source: ModelSource) -> str:
    """Return the prefix under which a copied folder of this model is named."""
    prefixes = {"transformers": "transformers:", "timm": "timm:local-dir:"}
    return prefixes.get(source.backend, "local-dir:")
