"""What a model name means."""

from __future__ import annotations

import dataclasses
import difflib
import re
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl

from bioprobe.encoders.cards import (
    DEFAULT_MODEL,
    Backend,
    ModelCard,
    find_card,
    list_cards,
)
from bioprobe.errors import ModelUnavailableError
from bioprobe.resources import sketch_weights_dir

__all__ = [
    "DEFAULT_MODEL",
    "Backend",
    "ModelCard",
    "ModelSource",
    "find_card",
    "list_cards",
    "parse_name",
]

Kind = Literal["hub", "folder", "tag", "file"]

_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSource:
    """What a model name means: which library loads what from where.

    Parameters
    ----------
    name : str
        Name that loads the same model again from any working directory.
    backend : str
        ``open_clip``, ``transformers``, ``timm`` or ``onnx``.
    kind : str
        ``hub`` (repository of the model hub), ``folder``, ``tag`` (a name the library itself
        knows) or ``file``.
    target : str
        Repository, absolute path or the library's own name.
    revision : str
        Branch, tag or commit asked for, ``""`` for the newest.
    options : dict of str to str
        What followed ``?`` in the name (``onnx:`` only).
    """

    name: str
    backend: Backend
    kind: Kind
    target: str
    revision: str = ""
    options: dict[str, str] = dataclasses.field(default_factory=dict)


def parse_name(name: str) -> ModelSource:
    """Read a model name.

    Parameters
    ----------
    name : str
        A short name, ``hf-hub:org/name[@revision]``, ``local-dir:path``,
        ``arch/pretrained-tag``, ``transformers:org/name-or-dir``, ``timm:name``,
        ``timm:hf-hub:org/name``, ``timm:local-dir:path`` or ``onnx:file.onnx[?options]``.

    Returns
    -------
    ModelSource

    Raises
    ------
    ModelUnavailableError
        If the name has no known form; says which forms there are.

    Examples
    --------
    >>> source = parse_name("hf-hub:imageomics/bioclip@main")
    >>> source.backend, source.kind, source.target, source.revision
    ('open_clip', 'hub', 'imageomics/bioclip', 'main')
    """
    if name == "sketch":
        return ModelSource(
            name=name, backend="open_clip", kind="folder", target=str(sketch_weights_dir())
        )
    if card := find_card(name):
        revision = name.partition("@")[2]
        full_name = f"{card.source}@{revision}" if revision else card.source
        return dataclasses.replace(_parse_full_name(full_name), name=name)
    return _parse_full_name(name)


def _parse_full_name(name: str) -> ModelSource:
    prefix, _, rest = name.partition(":")
    if prefix == "onnx" and rest:
        return _parse_onnx(rest)
    if prefix == "timm" and rest:
        return _parse_timm(rest)
    if prefix == "transformers" and rest:
        is_folder = Path(rest).expanduser().is_dir()
        build = _build_folder if is_folder else _build_hub
        return build("transformers", "transformers:", rest)
    if prefix == "local-dir" and rest:
        return _build_folder("open_clip", "local-dir:", rest)
    if prefix == "hf-hub" and rest:
        return _build_hub("open_clip", "hf-hub:", rest)
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", name) and not Path(name).is_dir():
        target, _, revision = name.partition("@")
        return ModelSource(
            name=name, backend="open_clip", kind="tag", target=target, revision=revision
        )
    raise ModelUnavailableError(_explain_unknown(name))


def _parse_timm(rest: str) -> ModelSource:
    prefix, _, target = rest.partition(":")
    if prefix == "local-dir" and target:
        return _build_folder("timm", "timm:local-dir:", target)
    if prefix == "hf-hub" and target:
        return _build_hub("timm", "timm:hf-hub:", target)
    return ModelSource(name=f"timm:{rest}", backend="timm", kind="tag", target=rest)


def _parse_onnx(rest: str) -> ModelSource:
    path, mark, options = rest.partition("?")
    file = Path(path).expanduser().resolve()
    return ModelSource(
        name=f"onnx:{file}{mark}{options}",
        backend="onnx",
        kind="file",
        target=str(file),
        options=dict(parse_qsl(options, keep_blank_values=True)),
    )


def _build_folder(backend: Backend, prefix: str, path: str) -> ModelSource:
    folder = str(Path(path).expanduser().resolve())
    return ModelSource(name=prefix + folder, backend=backend, kind="folder", target=folder)


def _build_hub(backend: Backend, prefix: str, text: str) -> ModelSource:
    target, _, revision = text.partition("@")
    if not _REPO_ID.fullmatch(target):
        msg = (
            f'model "{prefix}{text}": there is no folder "{text}" here, and the name of a '
            "repository at the hub has the form org/name; check the spelling of the path"
        )
        raise ModelUnavailableError(msg)
    return ModelSource(
        name=prefix + text, backend=backend, kind="hub", target=target, revision=revision
    )


def _explain_unknown(name: str) -> str:
    short_names = [card.short_name for card in list_cards()]
    close = difflib.get_close_matches(name, short_names, n=1)
    if Path(name).suffix == ".onnx":
        hint = f'for an ONNX file write "onnx:{name}"'
    elif name and Path(name).is_dir():
        hint = (
            f'for a folder write "local-dir:{name}" (open_clip), "transformers:{name}" or '
            f'"timm:local-dir:{name}"'
        )
    elif close:
        hint = f'did you mean "{close[0]}"?'
    else:
        hint = (
            "other forms are hf-hub:org/name, local-dir:path, arch/pretrained-tag, "
            "transformers:org/name-or-dir, timm:name and onnx:file.onnx"
        )
    return f'no model is called "{name}"; short names are {", ".join(short_names)}; {hint}'
