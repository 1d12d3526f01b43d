from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from bioprobe.encoders.families.towers import MapTower, read_tower
from bioprobe.errors import MissingExtraError
from bioprobe.explanation.convolution import draw_layer_cam
from tests.encoders.families.architectures import CONVOLUTIONS, wrap


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_last_map_of_every_network_is_found_and_weighed(name: str) -> None:
    torch.manual_seed(3)
    module, embed, side_px = CONVOLUTIONS[name]()
    encoder = wrap(module, embed, side_px)
    pixels = torch.randn(2, 3, side_px, side_px)
    copied, embed_copy = encoder.copy_image_tower()
    tower = read_tower(copied, embed_copy, pixels[:1])
    assert isinstance(tower, MapTower)
    gradient = torch.linspace(-1, 1, encoder.dim)
    maps, vectors = draw_layer_cam(tower, pixels, lambda v: gradient.expand_as(v))
    np.testing.assert_allclose(vectors, encoder.encode_pixels(pixels.numpy()), atol=1e-5)
    assert min(maps.shape[1:]) >= 7
    # By hand: each place of a channel is weighed by its own gradient, where that is above 0.
    kept: list[torch.Tensor] = []
    handle = tower.last.register_forward_hook(lambda *given: kept.append(given[2]))
    unit = torch.nn.functional.normalize(embed_copy(pixels.clone().requires_grad_()), dim=-1)
    (slopes,) = torch.autograd.grad((unit * gradient).sum(), kept)
    handle.remove()
    expected = (kept[0] * slopes.clamp(min=0)).sum(dim=1).clamp(min=0).detach()
    expected -= expected.amin(dim=(1, 2), keepdim=True)
    expected /= expected.amax(dim=(1, 2), keepdim=True) + 1e-7
    # Of small gradients the package adds as much as 1e-7 to what each map is divided by, twice.
    torch.testing.assert_close(maps, expected, atol=1e-3, rtol=0)
    assert all(x.grad is None for x in module.parameters())
    assert not any(part._forward_hooks for part in (*module.modules(), *copied.modules()))


def test_without_its_package_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module, embed, side_px = CONVOLUTIONS["timm, ResNet"]()
    encoder = wrap(module, embed, side_px)
    pixels = torch.randn(1, 3, side_px, side_px)
    tower = read_tower(*encoder.copy_image_tower(), pixels)
    assert isinstance(tower, MapTower)
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(MissingExtraError, match=r'bioprobe\[explain\].*method="occlusion"'):
        draw_layer_cam(tower, pixels, lambda v: v)
