from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bioprobe.encoders import load_encoder
from bioprobe.encoders.families.weights import NoRandomWeights
from bioprobe.errors import ModelUnavailableError


@pytest.mark.parametrize(
    "build",
    [
        lambda: torch.nn.Linear(8, 8),
        lambda: torch.nn.Conv2d(3, 8, 2),
        lambda: torch.nn.Embedding(8, 8),
        lambda: torch.nn.MultiheadAttention(8, 2),
    ],
)
def test_nothing_is_drawn(build: Callable[[], torch.nn.Module]) -> None:
    before = torch.get_rng_state()
    with NoRandomWeights():
        build()
    assert torch.equal(torch.get_rng_state(), before)
    build()
    assert not torch.equal(torch.get_rng_state(), before)


def test_constants_are_filled() -> None:
    with NoRandomWeights():
        layer = torch.nn.LayerNorm(4)
    assert layer.weight.tolist() == [1.0] * 4
    assert layer.bias.tolist() == [0.0] * 4


def test_a_file_that_lacks_a_weight_is_refused(open_clip_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for file in open_clip_dir.iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    (weights,) = (tmp_path / "model").glob("*.safetensors")
    tensors = load_file(weights)
    del tensors["token_embedding.weight"]
    save_file(tensors, weights)
    with pytest.raises(ModelUnavailableError, match=r"token_embedding\.weight"):
        load_encoder(f"local-dir:{tmp_path / 'model'}", device="cpu")


def test_loading_draws_nothing(open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []
    monkeypatch.setattr(torch.nn.init, "_no_grad_normal_", lambda *given: drawn.append(given))
    load_encoder(f"local-dir:{open_clip_dir}", device="cpu", backend="torch")
    assert not drawn
