from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it

from bioprobe.encoders.families.attention import AttentionListener
from bioprobe.encoders.families.towers import MapTower, TokenTower, read_tower
from tests.encoders.families.architectures import CONVOLUTIONS, TRANSFORMERS, wrap


def read(module: torch.nn.Module, embed: Any, side_px: int) -> Any:  # noqa: ANN401
    torch.manual_seed(0)
    encoder = wrap(module, embed, side_px)
    return read_tower(*encoder.copy_image_tower(), torch.randn(1, 3, side_px, side_px))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_tokens_of_every_transformer_are_read_and_embedded(name: str) -> None:
    module, embed, side_px = TRANSFORMERS[name][0]()
    tower = read(module, embed, side_px)
    assert isinstance(tower, TokenTower)
    assert tower.grid[0] == tower.grid[1]
    pixels = torch.randn(2, 3, side_px, side_px)
    with torch.no_grad():
        expected = embed(module, pixels)
        tokens, embeddings = tower.read_tokens(pixels)
        torch.testing.assert_close(embeddings, expected)
        assert tokens.shape[:2] == (2, tower.n_prefix + tower.grid[0] * tower.grid[1])
        # Neither the pictures nor what the blocks would do with them has a part in it.
        torch.testing.assert_close(tower.embed_tokens(tokens), expected)
        torch.testing.assert_close(tower.embed_tokens(tokens[1:]), expected[1:])
        assert not torch.allclose(tower.embed_tokens(tokens.flip(0)), expected)
        torch.testing.assert_close(tower.embed(pixels), expected)
    assert not any(part._forward_hooks for block in tower.blocks for part in block.modules())


def test_patches_are_in_the_order_of_the_picture() -> None:
    module, embed, side_px = TRANSFORMERS["open_clip, class token"][0]()
    tower = read(module, embed, side_px)
    pixels = torch.zeros(1, 3, side_px, side_px)
    moved = pixels.clone()
    moved[:, :, 9, 25] = 5.0
    for block in tower.blocks[:-1]:
        block.forward = lambda x, *_, **__: x
    tower.blocks[-1].forward = lambda x, *_, **__: x * 1
    with torch.no_grad():
        (one, _), (other, _) = tower.read_tokens(pixels), tower.read_tokens(moved)
    changed = (one - other).abs().sum(dim=2)[0]
    # The second row of patches of 8 pixels, the last of its four.
    assert torch.nonzero(changed).flatten().tolist() == [tower.n_prefix + 7]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutional_networks_have_a_last_map(name: str) -> None:
    assert isinstance(read(*CONVOLUTIONS[name]()), MapTower)


def test_a_transformer_that_merges_its_tokens_is_neither() -> None:
    module = timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=0, img_size=56, embed_dim=16, depths=(2, 2),
        num_heads=(1, 2),
    )  # fmt: skip
    assert read(module, lambda m, x: m(x), 56) is None


@pytest.mark.parametrize("mask", [None, torch.ones(5, 5).tril().bool(), torch.eye(5) - 1])
def test_weights_follow_from_what_a_fused_kernel_was_given(mask: torch.Tensor | None) -> None:
    torch.manual_seed(0)
    queries, keys, values = (
        torch.randn(2, 4, 5, 6),
        torch.randn(2, 2, 5, 6),
        torch.randn(2, 2, 5, 6),
    )
    with AttentionListener() as listener:
        output = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, scale=0.7, enable_gqa=True
        )
    (heard,) = listener.heard
    weights = heard.find_weights()
    assert weights.shape == (2, 4, 5, 5)
    torch.testing.assert_close(weights @ values.repeat_interleave(2, dim=1), output)
