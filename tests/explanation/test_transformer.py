from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it

from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.encoders.families.towers import TokenTower, read_tower
from bioprobe.explanation.transformer import Transformer, read_transformer
from tests.encoders.families.architectures import TRANSFORMERS, wrap

GradientOf = Callable[[torch.Tensor], torch.Tensor]


def open_transformer(encoder: TorchEncoder, pixels: torch.Tensor) -> Transformer:
    blocks = read_tower(*encoder.copy_image_tower(), pixels)
    assert isinstance(blocks, TokenTower)
    tower = read_transformer(blocks, pixels)
    assert tower is not None
    return tower


def build(name: str, precision: str = "fp32") -> tuple[Transformer, torch.Tensor, torch.Tensor]:
    """Return a tower to look into, pixels of two pictures, and the encoder's vectors of them."""
    torch.manual_seed(11)
    module, embed, side_px = TRANSFORMERS[name][0]()
    encoder = wrap(module, embed, side_px, precision)
    pixels = torch.randn(2, 3, side_px, side_px)
    tower = open_transformer(encoder, pixels[:1])
    return tower, pixels, torch.from_numpy(encoder.encode_pixels(pixels.numpy()))


def list_ways(tower: Transformer) -> list[Callable[..., tuple[torch.Tensor, torch.Tensor]]]:
    return [tower.draw_relevance, tower.draw_cam, tower.draw_legrad]


def toward(dim: int) -> GradientOf:
    gradient = torch.linspace(-1, 1, dim)
    return lambda vectors: gradient.expand(len(vectors), dim)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_tower_is_read_and_the_vectors_stay_the_same(name: str) -> None:
    tower, pixels, vectors = build(name)
    assert tower.pooling == TRANSFORMERS[name][1]
    for draw in list_ways(tower):
        maps, seen = draw(pixels, toward(vectors.shape[1]))
        assert maps.shape == (2, *tower.tower.grid)
        assert maps.dtype == torch.float32
        assert torch.isfinite(maps).all()
        assert (maps >= 0).all()
        assert (maps.amax(dim=(1, 2)) > 0).all()
        torch.testing.assert_close(seen, vectors, atol=1e-5, rtol=0)


def test_a_tower_in_half_precision_is_explained_in_fp32() -> None:
    tower, pixels, vectors = build("timm, class token", "bf16")
    maps, seen = tower.draw_legrad(pixels, toward(32), 2)
    assert maps.dtype == seen.dtype == torch.float32
    # Three digits of each weight are left.
    assert F.cosine_similarity(seen, vectors).min() > 0.999


@pytest.mark.parametrize("name", ["open_clip, class token", "open_clip, mean"])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_legrad_is_the_gradient_of_attention_computed_openly(name: str, n_layers: int) -> None:
    tower, pixels, vectors = build(name)
    model = open_clip_of(tower)
    maps, _ = tower.draw_legrad(pixels, toward(24), n_layers)
    expected = torch.zeros(2, 17)
    tokens = model.visual._embeds(pixels)
    for number, block in enumerate(model.visual.transformer.resblocks):
        weights, tokens = attend_openly(block, tokens.detach().requires_grad_())
        if number < 3 - n_layers:
            continue
        read = tokens.mean(dim=1) if name.endswith("token") else tokens[:, 1:]
        pooled = model.visual.ln_post(read)
        pooled = pooled if pooled.ndim == 2 else pooled.mean(dim=1)
        goal = (F.normalize(pooled @ model.visual.proj, dim=-1) * torch.linspace(-1, 1, 24)).sum()
        (gradient,) = torch.autograd.grad(goal, [weights])
        expected += gradient.clamp(min=0).mean(dim=(1, 2))
    assert vectors.shape == (2, 24)
    torch.testing.assert_close(maps.flatten(1), expected[:, 1:], atol=1e-6, rtol=1e-4)


def test_layer_cam_is_the_product_of_tokens_and_their_gradient() -> None:
    tower, pixels, _ = build("open_clip, mean")
    model = open_clip_of(tower)
    maps, _ = tower.draw_cam(pixels, toward(24))
    first, *last = model.visual.transformer.resblocks
    leaf = first(model.visual._embeds(pixels)).detach().requires_grad_()
    tokens = leaf
    for block in last:
        tokens = block(tokens)
    pooled = model.visual.ln_post(tokens)[:, 1:].mean(dim=1) @ model.visual.proj
    goal = (F.normalize(pooled, dim=-1) * torch.linspace(-1, 1, 24)).sum()
    (gradient,) = torch.autograd.grad(goal, [leaf])
    expected = (leaf.detach() * gradient.clamp(min=0)).clamp(min=0).sum(dim=2)[:, 1:]
    torch.testing.assert_close(maps.flatten(1), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["open_clip, class token", "open_clip, mean"])
def test_relevance_is_followed_openly_through_all_layers(name: str) -> None:
    tower, pixels, vectors = build(name)
    model = open_clip_of(tower)
    maps, seen = tower.draw_relevance(pixels, toward(24))
    torch.testing.assert_close(seen, vectors, atol=1e-5, rtol=0)
    tokens = model.visual._embeds(pixels).detach().requires_grad_()
    every = []
    for block in model.visual.transformer.resblocks:
        weights, tokens = attend_openly(block, tokens)
        every.append(weights)
    read = slice(0, 1) if name.endswith("token") else slice(1, None)
    pooled = model.visual.ln_post(tokens[:, read]).mean(dim=1) @ model.visual.proj
    goal = (F.normalize(pooled, dim=-1) * torch.linspace(-1, 1, 24)).sum()
    held = torch.eye(17).expand(2, -1, -1)
    for weights, slopes in zip(every, torch.autograd.grad(goal, every), strict=True):
        held = held + (weights * slopes).clamp(min=0).mean(dim=1).detach() @ held
    expected = held[:, read].mean(dim=1)[:, 1:]
    torch.testing.assert_close(maps.flatten(1), expected, atol=1e-6, rtol=1e-3)


def open_clip_of(tower: Transformer) -> open_clip.CLIP:
    """Return the model that a tower embeds with."""
    return tower.tower.embed.args[0]  # type: ignore[attr-defined]


def attend_openly(
    block: Any,  # noqa: ANN401 -- open_clip ships no types
    tokens: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a block of open_clip, and return the weights of its attention too."""
    attention = block.attn
    normed = block.ln_1(tokens)
    q, k, v = (
        x.reshape(*x.shape[:2], attention.num_heads, -1).transpose(1, 2)
        for x in F.linear(normed, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=2)
    )
    weights = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(dim=3)
    joined = (weights @ v).transpose(1, 2).flatten(2)
    tokens = tokens + attention.out_proj(joined)
    return weights, tokens + block.mlp(block.ln_2(tokens))


def test_attention_is_heard_alike_in_every_kernel() -> None:
    fused, pixels, _ = build("transformers, ViT")
    eager, _, _ = build("transformers, eager")
    for way in ("draw_legrad", "draw_relevance"):
        maps = [getattr(tower, way)(pixels, toward(32))[0] for tower in (fused, eager)]
        torch.testing.assert_close(*maps, atol=1e-7, rtol=1e-4)


def test_more_layers_give_another_map() -> None:
    tower, pixels, _ = build("timm, mean")
    for draw in (tower.draw_legrad, tower.draw_cam):
        one, three = (draw(pixels, toward(32), n)[0] for n in (1, 3))
        assert not torch.allclose(one, three)


def test_a_picture_that_is_not_square_keeps_its_shape() -> None:
    import timm

    torch.manual_seed(0)
    module = timm.create_model(
        "vit_base_patch16_224",
        num_classes=0,
        img_size=(24, 40),
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=2,
    )
    encoder = wrap(module, lambda m, x: m(x), (24, 40))
    pixels = torch.randn(1, 3, 24, 40)
    tower = open_transformer(encoder, pixels)
    assert tower.draw_legrad(pixels, toward(32), 1)[0].shape == (1, 3, 5)


def test_the_encoder_stays_as_it_is() -> None:
    torch.manual_seed(1)
    module, embed, side_px = TRANSFORMERS["open_clip, class token"][0]()
    encoder = wrap(module, embed, side_px)
    before = {name: (id(x), x.requires_grad) for name, x in module.named_parameters()}
    pixels = torch.randn(1, 3, side_px, side_px)
    copied, embed_copy = encoder.copy_image_tower()
    blocks = read_tower(copied, embed_copy, pixels)
    assert isinstance(blocks, TokenTower)
    tower = read_transformer(blocks, pixels)
    assert tower is not None
    tower.draw_legrad(pixels, toward(24), 2)
    for draw in list_ways(tower):
        draw(pixels, toward(24))
    assert {name: (id(x), x.requires_grad) for name, x in module.named_parameters()} == before
    assert all(x.grad is None for x in module.parameters())
    for part in (*module.modules(), *copied.modules()):
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert "forward" not in vars(part)
        assert not part.training
    # It has no weights of its own.
    shared = {x.data_ptr() for x in module.parameters()}
    assert {x.data_ptr() for x in copied.parameters()} == shared


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["ViT-B-16", "ViT-B-16-SigLIP", "ViT-L-14"])
def test_true_sizes_run(architecture: str) -> None:
    torch.manual_seed(0)
    module = open_clip.create_model(architecture, load_weights=False)
    encoder = wrap(module, lambda m, x: m.encode_image(x), 224)
    pixels = torch.randn(1, 3, 224, 224)
    tower = open_transformer(encoder, pixels)
    vectors = encoder.encode_pixels(pixels.numpy())
    for draw in list_ways(tower):
        maps, seen = draw(pixels, toward(encoder.dim))
        assert maps.shape[0] == 1
        assert min(maps.shape[1:]) >= 14
        assert torch.isfinite(maps).all()
        np.testing.assert_allclose(seen, vectors, atol=1e-5)
