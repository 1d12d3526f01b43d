"""Load transformers checkpoints: CLIP, SigLIP and SigLIP 2 with text, DINOv2 and others without.

The embedding of an image is what the library calls it: ``get_image_features`` where the model
has a text tower. Of an image-only model it is ``pooler_output``, which for DINOv2 is the class
token after the last layer norm; of the ViT family, whose pooler is often untrained, and of
models without a pooler it is the class token itself, the first of ``last_hidden_state``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers.utils import logging as transformers_logging

from bioprobe.encoders.catalog import ModelSource
from bioprobe.encoders.encoder import explain_no_tokenizer, hash_description
from bioprobe.encoders.families.precision import runs_in_torch
from bioprobe.encoders.families.runtime import Runtime
from bioprobe.encoders.families.text_tower import (
    TextTower,
    Tokens,
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
    measure_dim,
    refuse_code,
)
from bioprobe.encoders.hub import (
    TRANSFORMERS,
    Snapshot,
    describe_tokenizer,
    get_snapshot,
    has_tokenizer,
    read_settings,
)
from bioprobe.errors import ModelUnavailableError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

_UNTRAINED_POOLERS = frozenset({"vit", "deit", "beit", "data2vec-vision"})
# SigLIP was trained without an attention mask: padding is part of what it reads.
_WITHOUT_MASK = frozenset({"siglip"})
_WRONG_END = 2
_SETTINGS_FILES = (TRANSFORMERS.config, "preprocessor_config.json", "processor_config.json")
# The values that change a pixel; the rest of a processor's settings names classes and versions.
_PREPROCESSING_KEYS = (
    "do_convert_rgb",
    "do_resize",
    "size",
    "default_to_square",
    "resample",
    "crop_pct",
    "do_center_crop",
    "crop_size",
    "do_pad",
    "pad_size",
    "do_rescale",
    "rescale_factor",
    "offset",
    "do_normalize",
    "image_mean",
    "image_std",
)


@runs_in_torch
def load_transformers(source: ModelSource, runtime: Runtime) -> TorchEncoder:
    """Load a model through transformers' ``Auto`` classes.

    Parameters
    ----------
    source : ModelSource
        Of kind ``hub`` or ``folder``.
    runtime : Runtime
        Device, precision and batch size.

    Raises
    ------
    ModelUnavailableError
        If the weights are not here and cannot be fetched, are incomplete, or belong to a model
        that has no single embedding of an image.
    """
    snapshot = get_snapshot(source, TRANSFORMERS)
    refuse_code(snapshot.weights)
    try:
        model = _load_model(source, snapshot)
        processor = transformers.AutoImageProcessor.from_pretrained(
            snapshot.folder, local_files_only=True
        )
        text_tower = _build_text_tower(model, snapshot)
    except LOAD_ERRORS as error:
        if isinstance(error, ModelUnavailableError):
            raise
        raise ModelUnavailableError(_explain_broken(source, snapshot, error)) from error
    logit_scale = getattr(model, "logit_scale", None)
    # Read before the cast: bf16 keeps three digits of it.
    scale = 1.0 if logit_scale is None else float(logit_scale.detach().float().exp())
    runtime.place(model)
    embed = _choose_image_embedding(model)
    transform = _build_transform(processor)
    image_tower = ImageTower(
        transform=transform,
        embed=embed,
        dim=measure_dim(model, transform, embed, runtime),
        draft_side_px=_find_draft_side(processor) if runtime.decoding == "fast" else 0,
    )
    return TorchEncoder(
        name=source.name,
        module=model,
        image_tower=image_tower,
        text_tower=text_tower,
        logit_scale=scale,
        fingerprint=identify(
            source,
            snapshot,
            _describe(processor, model),
            image_tower,
            runtime,
            settings=read_settings(snapshot.folder, _SETTINGS_FILES),
            text_sha256=hash_description(describe_tokenizer(snapshot.folder)) if text_tower else "",
        ),
        runtime=runtime,
        no_text=explain_no_tokenizer(source.name, snapshot.folder) if _reads_text(model) else "",
    )


def _load_model(source: ModelSource, snapshot: Snapshot) -> transformers.PreTrainedModel:
    show_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model, report = transformers.AutoModel.from_pretrained(
            snapshot.folder,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    finally:
        if show_bars:
            transformers_logging.enable_progress_bar()
    model_type = model.config.model_type
    if model_type == "siglip2":
        msg = (
            f'model "{source.name}" is a SigLIP 2 of variable resolution, which has no fixed '
            "pixel tensor; use a fixed one such as transformers:google/siglip2-base-patch16-224"
        )
        raise ModelUnavailableError(msg)
    needed = [
        key
        for key in report["missing_keys"]
        if not (model_type in _UNTRAINED_POOLERS and key.startswith("pooler."))
    ]
    if needed:
        msg = (
            f'model "{source.name}": {snapshot.folder} lacks weights of {len(needed)} layers '
            f"({', '.join(sorted(needed)[:3])}); they would be random: fetch the model again"
        )
        raise ModelUnavailableError(msg)
    loaded: transformers.PreTrainedModel = model
    return loaded


def _choose_image_embedding(
    model: transformers.PreTrainedModel,
) -> Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]:
    if hasattr(model, "get_image_features"):
        return _embed_features
    return _embed_first if model.config.model_type in _UNTRAINED_POOLERS else _embed_pooled


def _embed_features(model: Any, pixels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 -- untyped
    return _get_pooled(model.get_image_features(pixel_values=pixels))


def _embed_first(model: Any, pixels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 -- untyped
    first: torch.Tensor = model(pixel_values=pixels).last_hidden_state[:, 0]
    return first


def _embed_pooled(model: Any, pixels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 -- untyped
    outputs = model(pixel_values=pixels)
    pooled = getattr(outputs, "pooler_output", None)
    first: torch.Tensor = outputs.last_hidden_state[:, 0] if pooled is None else pooled
    return first.flatten(start_dim=1)


def _get_pooled(outputs: Any) -> torch.Tensor:  # noqa: ANN401 -- a tensor before version 5
    embeddings: torch.Tensor = getattr(outputs, "pooler_output", outputs)
    return embeddings


def _build_transform(
    processor: transformers.BaseImageProcessor,
) -> Callable[[Image], npt.NDArray[np.float32]]:
    def to_pixels(image: Image) -> npt.NDArray[np.float32]:
        pixels: torch.Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        array: npt.NDArray[np.float32] = pixels.float().numpy()
        return array

    return to_pixels


def _find_draft_side(processor: transformers.BaseImageProcessor) -> int:
    # Twice the size that the processor resizes to keeps all that its filter needs.
    sides = [int(value) for value in dict(processor.size or {}).values() if value]
    return 2 * max(sides, default=0)


def _reads_text(model: transformers.PreTrainedModel) -> bool:
    return hasattr(model, "get_text_features")


def _build_text_tower(model: transformers.PreTrainedModel, snapshot: Snapshot) -> TextTower | None:
    if not _reads_text(model) or not has_tokenizer(snapshot.folder):
        return None
    tokenizer = transformers.AutoTokenizer.from_pretrained(snapshot.folder, local_files_only=True)
    padding = find_padding(tokenizer)
    length = model.config.get_text_config().max_position_embeddings
    keys = ["input_ids"]
    if model.config.model_type not in _WITHOUT_MASK:
        keys.append("attention_mask")

    def tokenise(texts: Sequence[str]) -> dict[str, torch.Tensor]:
        tokens = tokenizer(
            list(texts),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        )
        return {key: tokens[key] for key in keys if key in tokens}

    return TextTower(
        tokenise=tokenise,
        embed=lambda tokens: _get_pooled(model.get_text_features(**tokens)),
        count_tokens=lambda text: len(tokenizer(text, truncation=False, verbose=False).input_ids),
        looks_full=lambda tokens: padding.find_full_rows(tokens["input_ids"]),
        context_length=length,
        count_needed=_find_count(model),
    )


def _find_count(model: transformers.PreTrainedModel) -> Callable[[Tokens], torch.Tensor] | None:
    """Return what counts the tokens that a text's embedding depends on, None where on all.

    CLIP's attention is causal, and its embedding that of the token which ends the text.
    """
    if type(model) is not transformers.CLIPModel:
        return None
    end_id = model.config.text_config.eos_token_id
    # As the library does it: checkpoints written with this number end with another.
    if end_id == _WRONG_END:
        return lambda tokens: find_highest(tokens["input_ids"]) + 1
    return lambda tokens: find_first(tokens["input_ids"], end_id) + 1


def _describe(
    processor: transformers.BaseImageProcessor, model: transformers.PreTrainedModel
) -> dict[str, Any]:
    settings = processor.to_dict()
    steps = {key: _plain(settings[key]) for key in _PREPROCESSING_KEYS if key in settings}
    return {
        "library": "transformers",
        **{key: value for key, value in steps.items() if value is not None},
        # Resizing with PIL and with torchvision differs by up to one grey level.
        "resize_with": "pil" if type(processor).__name__.endswith("Pil") else "torchvision",
        "model_type": model.config.model_type,
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 -- settings are of any JSON type
    if hasattr(value, "items"):
        return {key: _plain(part) for key, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    # An enumeration such as resample=3 (bicubic) is stored as its number.
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _explain_broken(source: ModelSource, snapshot: Snapshot, error: Exception) -> str:
    said = describe_failure(error)
    return f'model "{source.name}": transformers cannot load {snapshot.folder}: {said}'
