"""What learns of the towers of each library: cut where it is said, changed, written, loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from PIL import Image

from bioprobe.encoders import load_encoder
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.encoders.saving import name_saved, save_model
from bioprobe.errors import MisuseError
from bioprobe.finetuning.learner import Learner, open_learner
from bioprobe.finetuning.training import BALANCED_SOFTMAX, Lesson, Plan, Trainer

PICTURES = [
    Image.fromarray(np.random.default_rng(n).integers(0, 256, (20, 24, 3), dtype=np.uint8))
    for n in range(5)
]


def _embed(encoder: TorchEncoder, learner: Learner) -> npt.NDArray[np.float32]:
    pixels = torch.tensor(np.stack([encoder.preprocess(one) for one in PICTURES]))
    with torch.no_grad():
        return np.asarray(learner.embed(learner.cut.run_frozen(pixels)).numpy())


def _read(folder: Path) -> dict[str, npt.NDArray[Any]]:
    (weights,) = folder.glob("*.safetensors")
    return {k: v.numpy() for k, v in safetensors.torch.load_file(weights).items()}


def _change(learner: Learner) -> None:
    torch.manual_seed(3)
    with torch.no_grad():
        for one in learner.parameters.values():
            one.add_(0.05 * torch.randn_like(one))


@pytest.mark.parametrize(
    ("library", "block", "frozen"),
    [
        ("open_clip", "visual.transformer.resblocks.2", ("visual.conv1", "visual.transformer")),
        ("transformers", "encoder.layer.2", ("embeddings", "encoder")),
        ("timm", "stages.3.blocks.1", ("stem", "stages")),
    ],
)
def test_what_learnt_is_written_and_loaded_by_its_library(
    write_model: Callable[[str], str], tmp_path: Path, library: str, block: str,
    frozen: tuple[str, str],
) -> None:  # fmt: skip
    name = write_model(library)
    encoder = load_encoder(name, device="cpu")
    assert isinstance(encoder, TorchEncoder)
    learner = open_learner(encoder, 1)
    assert learner.cut.trained_blocks == (block,)
    before = encoder.encode_image(PICTURES)
    # The two parts together give what the whole gives, and the copy is the model.
    np.testing.assert_allclose(_embed(encoder, learner), before, atol=1e-5)
    _change(learner)
    tuned = _embed(encoder, learner)
    assert np.abs(tuned - before).max() > 0.01
    np.testing.assert_array_equal(encoder.encode_image(PICTURES), before)
    save_model(name, learner.finish(), tmp_path)
    again = load_encoder(name_saved(name, tmp_path), device="cpu")
    np.testing.assert_allclose(again.encode_image(PICTURES), tuned, atol=1e-5)
    assert again.fingerprint.key != encoder.fingerprint.key
    assert again.fingerprint.preprocessing_sha256 == encoder.fingerprint.preprocessing_sha256
    folder = Path(name.rpartition(":")[2])
    was, now = _read(folder), _read(tmp_path)
    moved = {one for one in now if not np.array_equal(now[one], was[one])}
    assert any(one.startswith(block) for one in moved)
    # What was frozen is as it was, to the last bit.
    assert not any(one.startswith(frozen) and not one.startswith(block) for one in moved)


@pytest.mark.long
def test_low_rank_changes_become_part_of_the_weights(tower: TorchEncoder, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    learner = open_learner(tower, 1, rank=2)
    # They begin as none; the attention of open_clip holds its weights in one piece, as one layer.
    np.testing.assert_allclose(_embed(tower, learner), tower.encode_image(PICTURES), atol=1e-5)
    assert [one.rpartition(".")[2] for one in learner.adapted] == ["attn", "c_fc", "c_proj"]
    _change(learner)
    tuned = _embed(tower, learner)
    save_model(tower.name, learner.finish(), tmp_path)
    again = load_encoder(name_saved(tower.name, tmp_path), device="cpu")
    np.testing.assert_allclose(again.encode_image(PICTURES), tuned, atol=1e-4)
    was, now = _read(Path(tower.name.rpartition(":")[2])), _read(tmp_path)
    changes = {one: now[one] - was[one] for one in now if not np.array_equal(now[one], was[one])}
    assert {one.rsplit(".", 1)[0] for one in changes} >= set(learner.adapted)
    for name, change in changes.items():
        assert np.linalg.matrix_rank(change, tol=1e-4 * np.abs(change).max()) <= 2, name


def test_classes_are_as_likely_before_as_they_are_frequent(
    tower: TorchEncoder, tmp_path: Path
) -> None:
    classes, places = np.eye(3, tower.dim, dtype=np.float32), np.arange(8)
    kept: Any = None
    lesson = Lesson(kept, places, np.array([0, 0, 0, 0, 0, 0, 1, 1]), places, places, classes, 1.0)
    for balance, expected in (
        (BALANCED_SOFTMAX, np.log([6 / 8, 2 / 8, 1 / 8])),
        ("none", np.zeros(3)),
    ):
        plan = Plan(1, 4, 0.1, balance)
        trainer = Trainer(open_learner(tower, 1), lesson, plan, tmp_path, "")
        np.testing.assert_allclose(trainer._prior, expected, rtol=1e-6)


def test_more_blocks_than_there_are_are_refused(tower: TorchEncoder) -> None:
    with pytest.raises(MisuseError, match=r"--blocks is 9, and .* has 3: visual"):
        open_learner(tower, 9)
