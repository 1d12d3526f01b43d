"""Small towers with random weights, each of its own library, and pictures of three colours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pytest
import safetensors.torch
import timm
import torch
import transformers
from PIL import Image

import bioprobe as bp
import bioprobe.encoders
from bioprobe.encoders import load_encoder
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.face.store import Store

COLOURS = {"ruby": (220, 30, 30), "leaf": (30, 200, 40), "sky": (40, 60, 230)}
STEPS = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}


def _draw(folder: Path) -> None:
    random = np.random.default_rng(5)
    rows = []
    for number in range(24):
        colour = list(COLOURS)[number % 3]
        noise = random.normal(scale=40, size=(16, 16, 3))
        values = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(values).save(folder / f"{number:02d}.png")
        part = "train" if number < 12 else "validation" if number < 15 else "test"
        rows.append((f"{number:02d}.png", colour, part, f"site {number % 4}", number))
    columns = ["path", "colour", "part", "site", "day"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["taken"] = [f"2024-01-{day + 1:02d}" for day in frame["day"]]
    frame.to_csv(folder / "pictures.csv", index=False)


def _write_open_clip(folder: Path) -> str:
    tower = {"image_size": 16, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 12, "vision_cfg": tower, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": STEPS})
    )
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    safetensors.torch.save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return f"local-dir:{folder}"


def _write_transformers(folder: Path) -> str:
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=16, patch_size=8
    )
    side = {"height": 16, "width": 16}
    processor = transformers.BitImageProcessor(size={"shortest_edge": 16}, crop_size=side)
    transformers.Dinov2Model(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"transformers:{folder}"


def _write_timm(folder: Path) -> str:
    model = timm.create_model("test_convnext", num_classes=5)
    model.pretrained_cfg.update(input_size=(3, 32, 32), crop_pct=1.0)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return f"timm:local-dir:{folder}"


WRITERS = {"open_clip": _write_open_clip, "transformers": _write_transformers, "timm": _write_timm}


@pytest.fixture(scope="session")
def write_model(make_once: Callable[..., Path]) -> Callable[[str], str]:
    """Write the tower of a library, and return the name that loads it."""

    def fill(library: str) -> Callable[[Path], None]:
        def write(folder: Path) -> None:
            torch.manual_seed(11)
            (folder / "name.txt").write_text(WRITERS[library](folder))

        return write

    return lambda library: (make_once(f"tower-{library}", fill(library)) / "name.txt").read_text()


@pytest.fixture(scope="session")
def tower(write_model: Callable[[str], str]) -> TorchEncoder:
    """The small tower that reads texts."""
    encoder = load_encoder(write_model("open_clip"), device="cpu")
    assert isinstance(encoder, TorchEncoder)
    return encoder


@pytest.fixture
def store(
    tower: TorchEncoder, make_once: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Store:
    """Pictures embedded by the small tower that reads texts, which is loaded once."""

    def fill(folder: Path) -> None:
        _draw(folder)
        store = bp.embed(
            folder / "pictures.csv", model=tower.name, store=folder / "store", device="cpu",
            precision="fp32",
        )  # fmt: skip
        store.split("colour", method="imported", column="part")

    folder = make_once("tuned", fill)
    load = bioprobe.encoders.load_encoder

    def load_once(name: str, **options: Any) -> Any:  # noqa: ANN401
        return tower if name == tower.name else load(name, **options)

    monkeypatch.setattr("bioprobe.encoders.load_encoder", load_once)
    return bp.open(folder / "store", device="cpu")
