"""Every kind of image tower, as its own library builds it, tiny and with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import open_clip
import timm
import torch
import transformers
from open_clip.timm_model import TimmModel
from PIL import Image

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.encoders.families.runtime import Runtime
from bioprobe.encoders.families.torch_encoder import ImageTower, TorchEncoder

Embed: TypeAlias = Callable[[Any, torch.Tensor], torch.Tensor]
Built: TypeAlias = tuple[torch.nn.Module, Embed, int]

_SIDE_PX = 32
_OPEN_CLIP = {"image_size": _SIDE_PX, "patch_size": 8, "width": 32, "layers": 3, "head_width": 16}
_TEXT = {"context_length": 4, "vocab_size": 4, "width": 8, "heads": 1, "layers": 1}
_TIMM = {"img_size": _SIDE_PX, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}
_TRANSFORMERS = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": _SIDE_PX,
    "patch_size": 8,
}
_WORDS = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 8,
}


def _open_clip(**vision: Any) -> Built:  # noqa: ANN401
    model = open_clip.model.CLIP(24, {**_OPEN_CLIP, **vision}, _TEXT)
    return model, lambda module, pixels: module.encode_image(pixels), _SIDE_PX


def _open_clip_by_timm(name: str, pool: str, side_px: int) -> Built:
    model = TimmModel(name, 24, image_size=side_px, pool=pool, proj="linear")
    return model, _call, side_px


def _timm(name: str, **changed: Any) -> Built:  # noqa: ANN401
    return timm.create_model(name, num_classes=0, **_TIMM | changed), _call, _SIDE_PX


def _timm_whole(name: str, side_px: int) -> Built:
    return timm.create_model(name, num_classes=0), _call, side_px


def _call(module: Any, pixels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
    embeddings: torch.Tensor = module(pixels)
    return embeddings


def _with_texts(kind: str) -> Built:
    config = getattr(transformers, f"{kind}Config")(vision_config=_TRANSFORMERS, text_config=_WORDS)
    model = getattr(transformers, f"{kind}Model")(config)
    return model, lambda m, x: m.get_image_features(pixel_values=x).pooler_output, _SIDE_PX


def _without_texts(kind: str, **changed: Any) -> Built:  # noqa: ANN401
    config = getattr(transformers, f"{kind}Config")(**_TRANSFORMERS | changed)
    model = getattr(transformers, f"{kind}Model")(config)
    return model, lambda m, x: m(pixel_values=x).last_hidden_state[:, 0], _SIDE_PX


def _pooled(kind: str, **changed: Any) -> Built:  # noqa: ANN401
    config = getattr(transformers, f"{kind}Config")(**changed)
    model = getattr(transformers, f"{kind}Model")(config)
    return model, lambda m, x: m(pixel_values=x).pooler_output.flatten(1), 64


_STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "num_channels": 3}

#: What builds each, and how it reads its tokens.
TRANSFORMERS: dict[str, tuple[Callable[[], Built], str]] = {
    "open_clip, class token": (_open_clip, "class token"),
    "open_clip, mean": (lambda: _open_clip(pool_type="avg"), "mean"),
    "open_clip, CoCa": (
        lambda: _open_clip(attentional_pool=True, attn_pooler_queries=3, attn_pooler_heads=2),
        "attention",
    ),
    "open_clip, scaled cosine": (
        lambda: _open_clip(ls_init_value=0.1, no_ln_pre=True),
        "class token",
    ),
    "open_clip, SigLIP by timm": (lambda: _open_clip_by_timm("test_vit3", "map", 160), "attention"),
    "timm, class token": (lambda: _timm("vit_base_patch16_224"), "class token"),
    "timm, mean": (
        lambda: _timm("vit_base_patch16_224", global_pool="avg", class_token=False),
        "mean",
    ),
    "timm, SigLIP": (lambda: _timm("vit_base_patch16_siglip_224"), "attention"),
    "timm, registers": (
        lambda: _timm("vit_small_patch14_reg4_dinov2", init_values=0.1),
        "class token",
    ),
    "timm, EVA-02": (lambda: _timm("eva02_tiny_patch14_224"), "mean"),
    "timm, BEiT": (lambda: _timm("beit_base_patch16_224"), "mean"),
    "transformers, CLIP": (lambda: _with_texts("CLIP"), "class token"),
    "transformers, SigLIP": (lambda: _with_texts("Siglip"), "attention"),
    "transformers, ViT": (lambda: _without_texts("ViT"), "class token"),
    "transformers, DINOv2": (lambda: _without_texts("Dinov2"), "class token"),
    "transformers, DINOv2, registers": (
        lambda: _without_texts("Dinov2WithRegisters", num_register_tokens=4),
        "class token",
    ),
    "transformers, eager": (
        lambda: _without_texts("ViT", attn_implementation="eager"),
        "class token",
    ),
}

CONVOLUTIONS: dict[str, Callable[[], Built]] = {
    "open_clip, ResNet": lambda: _open_clip(layers=[1, 1, 1, 1], width=16, image_size=_SIDE_PX),
    "open_clip, ConvNeXt by timm": lambda: _open_clip_by_timm("test_convnext", "avg", 160),
    "timm, ResNet": lambda: _timm_whole("test_resnet", 160),
    "timm, EfficientNet": lambda: _timm_whole("test_efficientnet", 160),
    "transformers, ConvNeXt": lambda: _pooled("ConvNext", **_STAGES),
    "transformers, ResNet": lambda: _pooled(
        "ResNet", hidden_sizes=[8, 16], depths=[1, 1], embedding_size=8, layer_type="basic"
    ),
}


def wrap(
    module: torch.nn.Module,
    embed: Callable[[Any, torch.Tensor], torch.Tensor],
    side_px: int | tuple[int, int],
    precision: str = "fp32",
) -> TorchEncoder:
    """Make an encoder of a module; its pictures are squashed to one size."""
    height_px, width_px = (side_px, side_px) if isinstance(side_px, int) else side_px
    runtime = Runtime(
        device=torch.device("cpu"), precision=precision, batch_size=3, decoding="exact"
    )
    runtime.place(module)

    def to_pixels(image: Image.Image) -> Any:  # noqa: ANN401
        values = np.asarray(image.resize((width_px, height_px)), dtype=np.float32)
        return values.transpose(2, 0, 1) / 127.5 - 1

    with torch.inference_mode():
        blank = torch.zeros(1, 3, height_px, width_px, dtype=runtime.dtype)
        dim = int(embed(module, blank).shape[1])
    return TorchEncoder(
        name="tiny",
        module=module,
        image_tower=ImageTower(transform=to_pixels, embed=embed, dim=dim),
        text_tower=None,
        logit_scale=1.0,
        fingerprint=Fingerprint(model="tiny", backend="timm", precision=precision),
        runtime=runtime,
    )
