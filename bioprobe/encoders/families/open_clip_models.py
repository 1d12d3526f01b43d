"""Load open_clip checkpoints: BioCLIP, CLIP, SigLIP 2 and the embedded sketch model."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch

from bioprobe.access import is_file
from bioprobe.encoders.catalog import ModelSource
from bioprobe.encoders.encoder import explain_no_tokenizer, hash_description
from bioprobe.encoders.families.compiler import imported_when_used
from bioprobe.encoders.families.fast_transform import build_transform
from bioprobe.encoders.families.later import libraries_when_used
from bioprobe.encoders.families.plain_tokenizer import PlainTokenizer, read_plain_tokenizer
from bioprobe.encoders.families.precision import runs_in_torch
from bioprobe.encoders.families.runtime import Runtime
from bioprobe.encoders.families.text_tower import (
    Padding,
    TextTower,
    count_to_padding,
    find_first,
    find_highest,
    find_padding,
)
from bioprobe.encoders.families.torch_encoder import (
    LOAD_ERRORS,
    ImageTower,
    TorchEncoder,
    describe_failure,
    identify,
    refuse_code,
)
from bioprobe.encoders.families.weights import NoRandomWeights
from bioprobe.encoders.hub import (
    OPEN_CLIP,
    Layout,
    Snapshot,
    describe_tokenizer,
    explain_missing,
    get_snapshot,
    has_tokenizer,
    list_tokenizer_files,
)
from bioprobe.errors import ModelUnavailableError
from bioprobe.files import read_json

with imported_when_used(), libraries_when_used():
    import open_clip
    from open_clip import hf_model
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer, get_clean_fn
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
    from open_clip.transformer import (
        QuickGELU,
        ResidualAttentionBlock,
        TextTransformer,
        VisionTransformer,
    )

_Tokenizer: TypeAlias = open_clip.SimpleTokenizer | HFTokenizer | PlainTokenizer
# From tokens (n_texts, n_tokens).
_OfIds: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

# Tokenizers by their options, of this process.
_SIMPLE: dict[str, open_clip.SimpleTokenizer] = {}
# What pools the tokens of a text without its padding.
_MASKED_POOLERS = {hf_model.MeanPooler, hf_model.ClsPooler, hf_model.ClsLastHiddenStatePooler}
# What of a tag's configuration makes pixels.
_STEPS = ("mean", "std", "interpolation", "resize_mode")
# How a tokenizer of transformers has texts cleaned where nothing is said.
_CLEAN = "whitespace"
_TOKENIZER_FILES = Layout(config="tokenizer_config.json", weights=("tokenizer.json", "*.model"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Checkpoint:
    """What open_clip gave for a source, before it is placed on a device."""

    model: open_clip.CLIP
    tokenizer: _Tokenizer | None
    settings: dict[str, Any]
    snapshot: Snapshot
    tokenizer_folder: Path


@runs_in_torch
def load_open_clip(source: ModelSource, runtime: Runtime) -> TorchEncoder:
    """Load a model through open_clip, with the preprocessing of its own configuration.

    Parameters
    ----------
    source : ModelSource
        Of kind ``hub``, ``folder``, ``tag`` or ``file``.
    runtime : Runtime
        Device, precision and batch size.

    Raises
    ------
    ModelUnavailableError
        If the weights are not here and cannot be fetched, or are not in open_clip's layout.
    """
    load = {"tag": _load_tag, "file": _load_file}.get(source.kind, _load_snapshot)
    checkpoint = load(source)
    model = checkpoint.model
    # Read before the cast: bf16 keeps three digits of it.
    logit_scale = float(model.logit_scale.detach().float().exp().reshape(-1)[0])
    preprocessing = PreprocessCfg(**model.visual.preprocess_cfg)
    runtime.place(model)
    dim = int(checkpoint.settings["embed_dim"])
    image_tower = _build_image_tower(model, preprocessing, dim, runtime.decoding)
    text_config = checkpoint.settings["text_cfg"]
    return TorchEncoder(
        name=source.name,
        module=model,
        image_tower=image_tower,
        text_tower=_build_text_tower(model, checkpoint.tokenizer) if checkpoint.tokenizer else None,
        logit_scale=logit_scale,
        fingerprint=identify(
            source,
            checkpoint.snapshot,
            _describe(preprocessing, model),
            image_tower,
            runtime,
            settings=_describe_images(checkpoint.settings),
            text_sha256=_hash_texts(checkpoint) if checkpoint.tokenizer else "",
        ),
        runtime=runtime,
        no_text=explain_no_tokenizer(
            source.name, checkpoint.snapshot.folder, text_config.get("hf_tokenizer_name", "")
        ),
    )


def _load_snapshot(source: ModelSource) -> _Checkpoint:
    snapshot = get_snapshot(source, OPEN_CLIP)
    name = f"local-dir:{snapshot.folder}"
    refuse_code(snapshot.weights)
    try:
        settings = read_json(snapshot.folder / OPEN_CLIP.config, dict)["model_cfg"]
        with NoRandomWeights():
            model = open_clip.create_model(name, require_pretrained=True)
        return _Checkpoint(
            model=model,
            tokenizer=_load_tokenizer(settings["text_cfg"], snapshot.folder),
            settings=settings,
            snapshot=snapshot,
            tokenizer_folder=snapshot.folder,
        )
    except LOAD_ERRORS as error:
        raise ModelUnavailableError(_explain_broken(source, snapshot.folder, error)) from error


def _load_tag(source: ModelSource) -> _Checkpoint:
    architecture, _, tag = source.target.partition("/")
    tag_config = open_clip.get_pretrained_cfg(architecture, tag)
    if not tag_config:
        raise ModelUnavailableError(_explain_unknown_tag(source, architecture))
    snapshot = _get_tag_weights(source, tag_config)
    # Some tags were trained with QuickGELU under an architecture without it.
    quick_gelu = bool(tag_config.get("quick_gelu"))
    return _load_weights(source, architecture, snapshot, tag_config, quick_gelu=quick_gelu)


def _load_file(source: ModelSource) -> _Checkpoint:
    path = Path(source.target)
    if source.architecture not in open_clip.list_models():
        raise ModelUnavailableError(_explain_unknown_architecture(source))
    if not is_file(path):
        msg = f'model "{source.name}": there is no file {path}; check the path'
        raise ModelUnavailableError(msg)
    snapshot = Snapshot(folder=path.parent, weights=(path,))
    refuse_code(snapshot.weights)
    preprocessing = _find_preprocessing(source.architecture)
    try:
        return _load_weights(source, source.architecture, snapshot, preprocessing)
    except LOAD_ERRORS as error:
        raise ModelUnavailableError(_explain_broken(source, path, error)) from error


def _find_preprocessing(architecture: str) -> dict[str, Any]:
    """Return the preprocessing of an architecture's published weights, where they have one.

    A file of weights does not say how its pictures were prepared; what was fine-tuned began as
    one of these. Where they differ it is open_clip's own default.
    """
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    configs = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    steps = [{name: one[name] for name in _STEPS if name in one} for one in configs]
    return steps[0] if steps and all(one == steps[0] for one in steps) else {}


def _load_weights(
    source: ModelSource,
    architecture: str,
    snapshot: Snapshot,
    preprocessing: dict[str, Any],
    *,
    quick_gelu: bool = False,
) -> _Checkpoint:
    """Fill one of open_clip's own architectures with weights, and load its tokenizer."""
    settings = open_clip.get_model_config(architecture)
    text_config = settings["text_cfg"]
    with NoRandomWeights():
        model = open_clip.create_model(
            architecture,
            pretrained=str(snapshot.weights[0]),
            force_quick_gelu=quick_gelu,
            force_preprocess_cfg=merge_preprocess_dict({}, preprocessing),
            require_pretrained=True,
        )
    folder = _get_tokenizer_folder(source, text_config, snapshot)
    return _Checkpoint(
        model=model,
        tokenizer=_load_tokenizer(text_config, folder),
        settings=settings,
        snapshot=snapshot,
        tokenizer_folder=folder,
    )


def find_tag_repository(source: ModelSource) -> tuple[ModelSource, Layout] | None:
    """Return the hub repository behind an ``arch/pretrained-tag``, or None if it has none.

    Parameters
    ----------
    source : ModelSource
        Of kind ``tag``.
    """
    architecture, _, tag = source.target.partition("/")
    repository = open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "")
    parts = [part for part in repository.split("/") if part]
    if len(parts) < 2:
        return None
    weights = tuple(parts[2:3]) or OPEN_CLIP.weights
    hub_source = dataclasses.replace(source, kind="hub", target="/".join(parts[:2]))
    # The architecture's configuration comes with open_clip, so the weights alone will do.
    return hub_source, Layout(config="", weights=weights)


def describe_tag(source: ModelSource) -> dict[str, Any]:
    """Return the ``open_clip_config.json`` of an ``arch/pretrained-tag``.

    With it a folder that holds nothing but the weights can be loaded as ``local-dir:``.
    """
    architecture, _, tag = source.target.partition("/")
    tag_config = open_clip.get_pretrained_cfg(architecture, tag)
    model_config = open_clip.get_model_config(architecture)
    if tag_config.get("quick_gelu"):
        model_config["quick_gelu"] = True
    return {
        "model_cfg": model_config,
        "preprocess_cfg": merge_preprocess_dict({}, tag_config),
    }


def describe_source(source: ModelSource) -> dict[str, Any]:
    """Return the ``open_clip_config.json`` of an ``arch/pretrained-tag`` or ``arch/FILE``."""
    if source.kind == "tag":
        return describe_tag(source)
    return {
        "model_cfg": open_clip.get_model_config(source.architecture),
        "preprocess_cfg": merge_preprocess_dict({}, _find_preprocessing(source.architecture)),
    }


def find_tokenizer(source: ModelSource) -> list[Path]:
    """Return the files of the tokenizer of a model; none where open_clip has it itself."""
    if source.kind in {"hub", "folder"}:
        snapshot = get_snapshot(source, OPEN_CLIP)
        settings = read_json(snapshot.folder / OPEN_CLIP.config, dict)["model_cfg"]
    else:
        snapshot = Snapshot(folder=Path(source.target).parent, weights=())
        settings = describe_source(source)["model_cfg"]
    if not settings["text_cfg"].get("hf_tokenizer_name"):
        return []
    folder = _get_tokenizer_folder(source, settings["text_cfg"], snapshot)
    return list_tokenizer_files(folder)


def _get_tag_weights(source: ModelSource, tag_config: dict[str, Any]) -> Snapshot:
    if repository := find_tag_repository(source):
        return get_snapshot(*repository)
    try:
        path = Path(open_clip.download_pretrained(tag_config))
    except (OSError, RuntimeError) as error:
        raise ModelUnavailableError(explain_missing(source, error)) from error
    return Snapshot(folder=path.parent, weights=(path,))


def _get_tokenizer_folder(
    source: ModelSource, text_config: dict[str, Any], snapshot: Snapshot
) -> Path:
    name = text_config.get("hf_tokenizer_name", "")
    if not name or is_file(snapshot.folder / _TOKENIZER_FILES.config):
        return snapshot.folder
    repository = dataclasses.replace(source, kind="hub", target=name, revision="")
    try:
        return get_snapshot(repository, _TOKENIZER_FILES).folder
    except ModelUnavailableError:
        # Images can be encoded without it.
        return snapshot.folder


def _load_tokenizer(text_config: dict[str, Any], folder: Path) -> _Tokenizer | None:
    """Load a tokenizer from a folder; None where its files are missing."""
    options = dict(text_config.get("tokenizer_kwargs") or {})
    length = text_config.get("context_length", DEFAULT_CONTEXT_LENGTH)
    if not text_config.get("hf_tokenizer_name"):
        return _find_simple_tokenizer(length, options)
    if not has_tokenizer(folder):
        return None
    mode = text_config.get("tokenizer_mode")
    if not mode and options.keys() <= {"clean"}:
        clean = get_clean_fn(options.get("clean", _CLEAN))
        if plain := read_plain_tokenizer(folder, context_length=length, clean=clean):
            return plain
    return HFTokenizer(
        str(folder),
        context_length=length,
        tokenizer_mode=mode,
        local_files_only=True,
        **options,
    )


def _find_simple_tokenizer(context_length: int, options: dict[str, Any]) -> _Tokenizer:
    """Return open_clip's own tokenizer; to read its words takes long."""
    key = f"{context_length} {sorted(options.items())}"
    if key not in _SIMPLE:
        _SIMPLE[key] = open_clip.SimpleTokenizer(context_length=context_length, **options)
    return _SIMPLE[key]


def _build_image_tower(
    model: open_clip.CLIP, preprocessing: PreprocessCfg, dim: int, decoding: str
) -> ImageTower:
    chain = image_transform_v2(preprocessing, is_train=False)
    transform, draft_side_px = build_transform(chain, decoding)
    return ImageTower(
        transform=transform, embed=_embed_pixels, dim=dim, draft_side_px=draft_side_px,
        embed_only=_embed_class_token if _has_class_token(model) else None,
    )  # fmt: skip


def _embed_pixels(model: open_clip.CLIP, pixels: torch.Tensor) -> torch.Tensor:
    embeddings: torch.Tensor = model.encode_image(pixels)
    return embeddings


def _has_class_token(model: open_clip.CLIP) -> bool:
    """Tell whether the embeddings of a vision transformer follow from its class token alone."""
    visual = model.visual
    return (
        type(model) in {open_clip.CLIP, CustomTextCLIP}
        and type(visual) is VisionTransformer
        and visual.pool_type == "tok"
        and visual.attn_pool is None
        and not visual.output_tokens
        and visual.transformer.batch_first
        and type(visual.transformer.resblocks[-1]) is ResidualAttentionBlock
    )


def _embed_class_token(model: open_clip.CLIP, pixels: torch.Tensor) -> torch.Tensor:
    """Embed pictures as open_clip does; the last block computes the class token alone.

    Of a ViT-B, whose twelfth block it is, that leaves out some 7 % of the arithmetic.
    """
    visual = model.visual
    *blocks, last = visual.transformer.resblocks
    tokens = visual._embeds(pixels)
    for block in blocks:
        tokens = block(tokens)
    normed, own = last.ln_1(tokens), tokens[:, :1]
    own = own + last.ls_1(last.attention(normed[:, :1], normed, normed))
    pooled, _ = visual._pool(own + last.ls_2(last.mlp(last.ln_2(own))))
    embeddings: torch.Tensor = pooled if visual.proj is None else pooled @ visual.proj
    return embeddings


def _build_text_tower(model: open_clip.CLIP, tokenizer: _Tokenizer) -> TextTower:
    count: Callable[[str], int]
    if isinstance(tokenizer, PlainTokenizer):
        count, padding = tokenizer.count, tokenizer.padding
    elif isinstance(tokenizer, open_clip.SimpleTokenizer):
        # It pads with 0 on the right.
        count, padding = _count_simple_tokens(tokenizer), Padding(token_id=0)
    else:
        count, padding = _count_hf_tokens(tokenizer), find_padding(tokenizer.tokenizer)

    def tokenise(texts: Sequence[str]) -> dict[str, torch.Tensor]:
        return {"text": tokenizer(list(texts))}

    embed, count_needed = _read_text_tower(model)
    return TextTower(
        tokenise=tokenise,
        embed=lambda tokens: embed(tokens["text"]),
        count_tokens=count,
        looks_full=lambda tokens: padding.find_full_rows(tokens["text"]),
        context_length=tokenizer.context_length,
        count_needed=count_needed and (lambda tokens: count_needed(tokens["text"])),
    )


def _read_text_tower(model: open_clip.CLIP) -> tuple[_OfIds, _OfIds | None]:
    """Return what embeds tokens, and what counts those that it depends on, None where on all.

    Known are towers of causal attention whose embedding is that of the token which ends the text,
    and those of transformers, whose attention leaves padding out. All others are given all tokens:
    in SigLIP's the last is asked, whatever it is, and in CoCa's one after it.
    """
    text = model.text if type(model) is CustomTextCLIP else model
    if type(text) in {open_clip.CLIP, TextTransformer}:
        is_clip = type(text) is open_clip.CLIP
        pool = text.text_pool_type if is_clip else text.pool_type
        end_id = text.text_eos_id if is_clip else text.eos_id
        finders: dict[str, _OfIds] = {
            "argmax": find_highest,
            "eos": lambda ids: find_first(ids, end_id),
        }
        find_end = finders.get(pool)
        if text.attn_mask is not None and find_end and getattr(text, "cls_emb", None) is None:
            return functools.partial(_embed_to_end, text, find_end), lambda ids: find_end(ids) + 1
    if type(text) is hf_model.HFTextEncoder and type(text.pooler) in _MASKED_POOLERS:
        return model.encode_text, lambda ids: count_to_padding(ids, text.config.pad_token_id)
    return model.encode_text, None


def _embed_to_end(
    text: open_clip.CLIP | TextTransformer, find_end: _OfIds, ids: torch.Tensor
) -> torch.Tensor:
    """Embed texts as open_clip does, which takes tokens of the whole context only."""
    n_tokens, dtype = ids.shape[1], text.transformer.get_cast_dtype()
    places = text.positional_embedding[:n_tokens]
    values = text.token_embedding(ids).to(dtype) + places.to(dtype)
    values = text.transformer(values, attn_mask=text.attn_mask[:n_tokens, :n_tokens])
    embeddings: torch.Tensor = text.ln_final(
        values[torch.arange(ids.shape[0], device=ids.device), find_end(ids)]
    )
    projection = text.text_projection
    if isinstance(projection, torch.nn.Linear):
        embeddings = projection(embeddings)
    elif projection is not None:
        embeddings = embeddings @ projection
    return embeddings


def _count_simple_tokens(tokenizer: open_clip.SimpleTokenizer) -> Callable[[str], int]:
    return lambda text: len(tokenizer.encode(text)) + 2


def _count_hf_tokens(tokenizer: HFTokenizer) -> Callable[[str], int]:
    if tokenizer.tokenizer_mode == "clips":
        # This mode adds start, end and class tokens itself.
        return lambda text: len(tokenizer.tokenizer.tokenize(tokenizer.clean_fn(text))) + 3
    return lambda text: len(
        tokenizer.tokenizer(tokenizer.clean_fn(text), truncation=False, verbose=False).input_ids
    )


def _describe(preprocessing: PreprocessCfg, model: open_clip.CLIP) -> dict[str, Any]:
    height_px, width_px = preprocessing.input_size[1:]
    return {
        "library": "open_clip",
        "height_px": height_px,
        "width_px": width_px,
        "mode": preprocessing.mode,
        "mean": [float(value) for value in preprocessing.mean],
        "std": [float(value) for value in preprocessing.std],
        "interpolation": preprocessing.interpolation,
        "resize_mode": preprocessing.resize_mode,
        "fill_color": preprocessing.fill_color,
        # Not a step before the tensor, but the same weights give other vectors without it.
        "quick_gelu": any(isinstance(part, QuickGELU) for part in model.modules()),
    }


def _describe_images(settings: dict[str, Any]) -> dict[str, Any]:
    # What says that texts are computed apart, and QuickGELU, which the preprocessing names.
    others = {"text_cfg", "custom_text", "quick_gelu"}
    plain = {name: value for name, value in settings.items() if name not in others}
    return plain | {"vision_cfg": _drop_defaults(CLIPVisionCfg, settings["vision_cfg"])}


def _hash_texts(checkpoint: _Checkpoint) -> str:
    settings = dict(checkpoint.settings["text_cfg"])
    # Where a tokenizer comes from is no part of what it is.
    is_open_clips = not settings.pop("hf_tokenizer_name", "")
    return hash_description(
        {
            "text_cfg": _drop_defaults(CLIPTextCfg, settings),
            "custom_text": bool(checkpoint.settings.get("custom_text")),
            "tokenizer": "open_clip"
            if is_open_clips
            else describe_tokenizer(checkpoint.tokenizer_folder),
        }
    )


def _drop_defaults(config: type, settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out what says the same as nothing: one checkpoint is written with and without it."""
    plain = dataclasses.asdict(config())
    return {name: value for name, value in settings.items() if value != plain.get(name, ...)}


def _explain_unknown_tag(source: ModelSource, architecture: str) -> str:
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    known = f"its tags are {', '.join(tags)}" if tags else "open_clip has no such architecture"
    return f'model "{source.name}": open_clip knows no such pretrained tag; {known}'


def _explain_unknown_architecture(source: ModelSource) -> str:
    close = difflib.get_close_matches(source.architecture, open_clip.list_models(), n=1)
    hint = f'did you mean "{close[0]}"?' if close else "see open_clip.list_models()"
    path = f"{source.architecture}/{Path(source.target).name}"
    return (
        f'model "{source.name}": open_clip has no architecture "{source.architecture}"; {hint} '
        f'A file of weights is named by its architecture and its path: "ViT-B-16/{path}"'
    )


def _explain_broken(source: ModelSource, folder: Path, error: Exception) -> str:
    return f'model "{source.name}": open_clip cannot load {folder}: {describe_failure(error)}'
