"""What a model name means."""

from __future__ import annotations

import dataclasses
import difflib
import re
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl

from bioprobe.access import is_folder
from bioprobe.encoders.quantised import add_quantised, split_quantised
from bioprobe.encoders.views import add_views, split_views
from bioprobe.errors import ModelUnavailableError
from bioprobe.files import sketch_weights_dir
from bioprobe.registry import ENCODERS

DEFAULT_MODEL = "bioclip-2"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What is known of a model that has a short name.

    Parameters
    ----------
    short_name : str
        Name given to ``--model``.
    source : str
        Full name that the short name stands for.
    n_parameters : int or None
        Parameters of both towers; None where nobody counted them.
    size_bytes : int or None
        Size of the weights in the hub or the package, rounded as the hub shows it.
    licence : str
        Licence of the weights, ``unknown`` where we could not read it.
    dim : int or None
        Length of a vector.
    image_size_px : int or None
        Side of the square the image tower sees.
    has_text_tower : bool
        Whether it embeds texts too.
    training_data : str
        One remark on what it has seen: it decides which benchmark numbers are honest.
    """

    short_name: str
    source: str
    n_parameters: int | None
    size_bytes: int | None
    licence: str
    dim: int | None
    image_size_px: int | None
    has_text_tower: bool
    training_data: str


#: Models that have a short name, the default first.
CARDS = (
    ModelCard(
        short_name="bioclip-2",
        source="hf-hub:imageomics/bioclip-2",
        n_parameters=427_616_513,
        size_bytes=1_710_000_000,
        licence="MIT",
        dim=768,
        image_size_px=224,
        has_text_tower=True,
        training_data=(
            "TreeOfLife-200M, 952,000 taxa; the Rare Species benchmark was NOT held out"
        ),
    ),
    ModelCard(
        short_name="bioclip-2.5",
        source="hf-hub:imageomics/bioclip-2.5-vith14",
        n_parameters=986_109_441,
        size_bytes=3_940_000_000,
        licence="MIT",
        dim=1024,
        image_size_px=224,
        has_text_tower=True,
        training_data=(
            "TreeOfLife-200M and 19 million more images; the Rare Species benchmark is not known "
            "to have been held out"
        ),
    ),
    ModelCard(
        short_name="bioclip",
        source="hf-hub:imageomics/bioclip",
        n_parameters=149_620_737,
        size_bytes=599_000_000,
        licence="MIT",
        dim=512,
        image_size_px=224,
        has_text_tower=True,
        training_data="TreeOfLife-10M, 454,000 taxa; the Rare Species benchmark was held out",
    ),
    # Of the family's models of this size, which a laptop runs, the best by its authors' figures.
    ModelCard(
        short_name="biocap",
        source="hf-hub:imageomics/biocap",
        n_parameters=None,
        size_bytes=600_000_000,
        licence="MIT",
        dim=512,
        image_size_px=224,
        has_text_tower=True,
        training_data=(
            "TreeOfLife-10M with captions written by a model; the Rare Species benchmark was held "
            "out of TreeOfLife-10M"
        ),
    ),
    ModelCard(
        short_name="clip-b16",
        source="hf-hub:timm/vit_base_patch16_clip_224.openai",
        n_parameters=149_620_737,
        size_bytes=599_000_000,
        licence="MIT",
        dim=512,
        image_size_px=224,
        has_text_tower=True,
        training_data="400 million image-text pairs of the web, not published",
    ),
    ModelCard(
        short_name="clip-b32",
        source="hf-hub:timm/vit_base_patch32_clip_224.openai",
        n_parameters=151_277_313,
        size_bytes=605_000_000,
        licence="MIT",
        dim=512,
        image_size_px=224,
        has_text_tower=True,
        training_data="400 million image-text pairs of the web, not published",
    ),
    ModelCard(
        short_name="siglip2-b16",
        source="hf-hub:timm/ViT-B-16-SigLIP2",
        n_parameters=375_187_970,
        size_bytes=1_500_000_000,
        licence="Apache-2.0",
        dim=768,
        image_size_px=224,
        has_text_tower=True,
        training_data="WebLI, image-text pairs of the web in many languages, not published",
    ),
    ModelCard(
        short_name="dinov2-b",
        source="transformers:facebook/dinov2-base",
        n_parameters=86_580_480,
        size_bytes=346_000_000,
        licence="Apache-2.0",
        dim=768,
        image_size_px=224,
        has_text_tower=False,
        training_data="LVD-142M, images of the web without labels, not published",
    ),
    ModelCard(
        short_name="sketch",
        source="sketch",
        n_parameters=None,
        size_bytes=None,
        licence="MIT",
        dim=None,
        image_size_px=None,
        has_text_tower=True,
        training_data="drawings made by bioprobe: for learning the tool, not for photographs",
    ),
)


def find_card(name: str) -> ModelCard | None:
    """Return what is known of a short name, or None for any other name.

    Examples
    --------
    >>> find_card("bioclip-2").dim
    768
    """
    short_name = name.partition("@")[0]
    return next((card for card in CARDS if card.short_name == short_name), None)


Kind = Literal["hub", "folder", "tag", "file"]

_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")
# What a bare file of weights ends in; no tag of open_clip does.
_CHECKPOINT_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt", ".safetensors"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSource:
    """What a model name means: which library loads what from where.

    Parameters
    ----------
    name : str
        Name that loads the same model again from any working directory.
    backend : str
        ``open_clip``, ``transformers``, ``timm`` or ``onnx``; any of
        :data:`bioprobe.registry.ENCODERS`.
    kind : str
        ``hub`` (repository of the model hub), ``folder``, ``tag`` (a name the library itself
        knows) or ``file``.
    target : str
        Repository, absolute path or the library's own name.
    architecture : str
        open_clip's name of what a bare file of weights is for.
    revision : str
        Branch, tag or commit asked for, ``""`` for the newest.
    options : dict of str to str
        What followed ``?`` in the name (``onnx:`` only).
    n_views : int
        How many times each picture is seen: what followed ``+views`` in the name, else 1.
    quantised : str
        ``int8`` or ``fp8`` where pictures are computed in that: ``+int8``, ``+fp8`` in the name.
    """

    name: str
    backend: str
    kind: Kind
    target: str
    architecture: str = ""
    revision: str = ""
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    n_views: int = 1
    quantised: str = ""


def parse_name(name: str) -> ModelSource:
    """Read a model name.

    Parameters
    ----------
    name : str
        A short name, ``hf-hub:org/name[@revision]``, ``local-dir:path``,
        ``arch/pretrained-tag``, ``arch/checkpoint.pt``, ``transformers:org/name-or-dir``,
        ``timm:name``, ``timm:hf-hub:org/name``, ``timm:local-dir:path``,
        ``onnx:file.onnx[?options]``, or ``family:name`` of a family that another package adds. Any
        of them may end in ``+int8`` or ``+fp8``, and in ``+views2``, ``+views4`` or ``+views10``
        after that.

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
    base, n_views = split_views(name)
    if n_views > 1:
        source = parse_name(base)
        return dataclasses.replace(source, name=add_views(source.name, n_views), n_views=n_views)
    base, precision = split_quantised(name)
    if precision:
        source = parse_name(base)
        named = add_quantised(source.name, precision)
        return dataclasses.replace(source, name=named, quantised=precision)
    if name == "sketch":
        return ModelSource(
            name=name, backend="open_clip", kind="folder", target=str(sketch_weights_dir())
        )
    if card := find_card(name):
        revision = name.partition("@")[2]
        full_name = f"{card.source}@{revision}" if revision else card.source
        return dataclasses.replace(_parse_full_name(full_name), name=name)
    return _parse_full_name(name)


def is_same_model(one: str, other: str) -> bool:
    """Tell whether two names load the same model, of the same revision.

    Examples
    --------
    >>> is_same_model("bioclip-2", "hf-hub:imageomics/bioclip-2")
    True
    """
    if one == other:
        return True
    try:
        sources = parse_name(one), parse_name(other)
    except ModelUnavailableError:
        return False
    first, second = ((source.backend, source.target, source.revision) for source in sources)
    return first == second


def _parse_full_name(name: str) -> ModelSource:
    prefix, _, rest = name.partition(":")
    if prefix == "onnx" and rest:
        return _parse_onnx(rest)
    if prefix == "timm" and rest:
        return _parse_timm(rest)
    if prefix == "transformers" and rest:
        is_here = is_folder(Path(rest).expanduser())
        build = _build_folder if is_here else _build_hub
        return build("transformers", "transformers:", rest)
    if prefix == "local-dir" and rest:
        return _build_folder("open_clip", "local-dir:", rest)
    if prefix == "hf-hub" and rest:
        return _build_hub("open_clip", "hf-hub:", rest)
    if rest and prefix in ENCODERS.added:
        return ModelSource(name=name, backend=prefix, kind="tag", target=rest)
    if Path(name).suffix.lower() in _CHECKPOINT_SUFFIXES and re.match(r"[\w.-]+/", name):
        return _build_checkpoint(name)
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", name) and not is_folder(Path(name)):
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


def _build_checkpoint(name: str) -> ModelSource:
    architecture, _, path = name.partition("/")
    file = str(Path(path).expanduser().resolve())
    return ModelSource(
        name=f"{architecture}/{file}",
        backend="open_clip",
        kind="file",
        target=file,
        architecture=architecture,
    )


def _build_folder(backend: str, prefix: str, path: str) -> ModelSource:
    folder = str(Path(path).expanduser().resolve())
    return ModelSource(name=prefix + folder, backend=backend, kind="folder", target=folder)


def _build_hub(backend: str, prefix: str, text: str) -> ModelSource:
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
    short_names = [card.short_name for card in CARDS]
    close = difflib.get_close_matches(name, short_names, n=1)
    if Path(name).suffix == ".onnx":
        hint = f'for an ONNX file write "onnx:{name}"'
    elif Path(name).suffix.lower() in _CHECKPOINT_SUFFIXES:
        hint = f'for a file of weights write its architecture first, such as "ViT-B-16/{name}"'
    elif name and is_folder(Path(name)):
        hint = (
            f'for a folder write "local-dir:{name}" (open_clip), "transformers:{name}" or '
            f'"timm:local-dir:{name}"'
        )
    elif close:
        hint = f'did you mean "{close[0]}"?'
    else:
        hint = (
            "other forms are hf-hub:org/name, local-dir:path, arch/pretrained-tag, "
            "arch/checkpoint.pt, transformers:org/name-or-dir, timm:name and onnx:file.onnx"
            + "".join(f", {family}:name" for family in ENCODERS.added)
        )
    return f'no model is called "{name}"; short names are {", ".join(short_names)}; {hint}'
