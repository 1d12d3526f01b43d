"""Bare files of weights, as a training with open_clip leaves them."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from bioprobe.cli.app import run
from bioprobe.encoders import load_encoder
from bioprobe.encoders.downloading import describe_model
from bioprobe.errors import ModelUnavailableError, NoTextTowerError

TINY = "tiny-checkpoint-test"
SIGLIP = "tiny-siglip-test"
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}

Save = Callable[[dict[str, torch.Tensor], Path], None]


@pytest.fixture(scope="module", autouse=True)
def _architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let open_clip know two small architectures by name."""
    folder = tmp_path_factory.mktemp("configs")
    config = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}
    (folder / f"{TINY}.json").write_text(json.dumps(config))
    text = {**TEXT, "hf_tokenizer_name": "somewhere/else"}
    (folder / f"{SIGLIP}.json").write_text(json.dumps({**config, "text_cfg": text}))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def model() -> open_clip.CLIP:
    torch.manual_seed(5)
    return open_clip.create_model(TINY).eval()


def _save_plain(weights: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(weights, path)


def _save_old(weights: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(weights, path, _use_new_zipfile_serialization=False)


def _save_as_trained(weights: dict[str, torch.Tensor], path: Path) -> None:
    """Save what open_clip's training does on several devices, beside the optimizer's state."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    spread = {f"module.{name}": value for name, value in weights.items()}
    torch.save(
        {"epoch": 3, "name": "x", "state_dict": spread, "optimizer": optimizer.state_dict()}, path
    )


def _save_safely(weights: dict[str, torch.Tensor], path: Path) -> None:
    safetensors.torch.save_file({name: value.contiguous() for name, value in weights.items()}, path)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("plain.pt", _save_plain),
        ("old.pth", _save_old),
        ("epoch_3.pt", _save_as_trained),
        ("lightning.ckpt", _save_as_trained),
        ("tuned.safetensors", _save_safely),
    ],
)
def test_its_vectors_are_those_of_the_model_that_was_saved(
    model: open_clip.CLIP,
    name: str,
    save: Save,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pictures: list[Image.Image],
) -> None:
    (tmp_path / "runs").mkdir()
    save(model.state_dict(), tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    encoder = load_encoder(f"{TINY}/runs/{name}", device="cpu", batch_size=3)
    assert encoder.name == f"{TINY}/{tmp_path / 'runs' / name}"

    preprocess = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    tokens = open_clip.get_tokenizer(TINY)(["a photo of an owl", "snow"])
    with torch.no_grad():
        pixels = torch.stack([preprocess(picture) for picture in pictures])
        images = torch.nn.functional.normalize(model.encode_image(pixels), dim=-1)
        texts = torch.nn.functional.normalize(model.encode_text(tokens), dim=-1)
    np.testing.assert_allclose(encoder.encode_image(pictures), images.numpy(), atol=1e-6)
    words = encoder.encode_text(["a photo of an owl", "snow"])
    np.testing.assert_allclose(words, texts.numpy(), atol=1e-6)
    assert encoder.dim == 24
    assert encoder.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))

    monkeypatch.chdir("/")
    again = load_encoder(encoder.name, device="cpu")
    assert again.fingerprint == encoder.fingerprint


def test_its_identity_is_that_of_the_file(model: open_clip.CLIP, tmp_path: Path) -> None:
    for name in ("one.pt", "same.pt"):
        (tmp_path / name[:-3]).mkdir()
        torch.save(model.state_dict(), tmp_path / name[:-3] / "w.pt")
    changed = {**model.state_dict(), "logit_scale": torch.tensor(1.0)}
    torch.save(changed, tmp_path / "other.pt")
    one, same, other = (
        load_encoder(f"{TINY}/{tmp_path}/{name}", device="cpu").fingerprint
        for name in ("one/w.pt", "same/w.pt", "other.pt")
    )
    assert one.is_compatible(same)
    assert not one.is_compatible(other)
    assert one.backend == "open_clip"
    assert len(one.weights_sha256) == 64


def test_it_is_described_and_checked_like_any_model(
    model: open_clip.CLIP, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(model.state_dict(), tmp_path / "w.pt")
    assert describe_model(f"{TINY}/{tmp_path}/w.pt").folder == tmp_path / "w.pt"
    assert run(["models", "check", f"{TINY}/{tmp_path}/w.pt", "--device", "cpu", "--quiet"]) == 0
    assert re.search(r"^ok +yes$", capsys.readouterr().out, re.M)
    assert run(["models", "download", f"{TINY}/{tmp_path}/w.pt", "--quiet"]) == 1
    assert "is on this machine already" in capsys.readouterr().err


def test_without_a_tokenizer_it_encodes_images(
    model: open_clip.CLIP,
    tmp_path: Path,
    pictures: list[Image.Image],
    hub_cache: Path,  # noqa: ARG001 - no hub can be reached
) -> None:
    torch.save(model.state_dict(), tmp_path / "w.pt")
    encoder = load_encoder(f"{SIGLIP}/{tmp_path}/w.pt", device="cpu")
    assert encoder.encode_image(pictures).shape == (7, 24)
    said = rf"its tokenizer is not in {tmp_path}; copy .* of somewhere/else there"
    with pytest.raises(NoTextTowerError, match=said):
        encoder.encode_text(["owl"])


@pytest.mark.parametrize(
    ("configs", "mean"),
    [
        ([], open_clip.OPENAI_DATASET_MEAN),
        ([{"mean": (0.5, 0.5, 0.5)}], (0.5, 0.5, 0.5)),
        ([{"mean": (0.5, 0.5, 0.5)}, {"mean": (0.5, 0.5, 0.5), "url": "x"}], (0.5, 0.5, 0.5)),
        ([{"mean": (0.5, 0.5, 0.5)}, {"mean": (0.1, 0.1, 0.1)}], open_clip.OPENAI_DATASET_MEAN),
    ],
)
def test_pictures_are_prepared_as_for_the_published_weights_of_the_architecture(
    model: open_clip.CLIP,
    tmp_path: Path,
    configs: list[dict[str, Any]],
    mean: tuple[float, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tags = {f"tag{number}": config for number, config in enumerate(configs)}
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda _: list(tags))
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda _, tag: tags[tag])
    torch.save(model.state_dict(), tmp_path / "w.pt")
    encoder = load_encoder(f"{TINY}/{tmp_path}/w.pt", device="cpu")
    pixels = encoder.preprocess(Image.new("RGB", (32, 32), "black"))
    std = np.array(open_clip.OPENAI_DATASET_STD)
    np.testing.assert_allclose(pixels[:, 0, 0], -np.array(mean) / std, atol=1e-6)


class Malicious:
    """What a pickle can do when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def _save_with(save: Callable[[Any, Path], None]) -> Save:
    def write(weights: dict[str, torch.Tensor], path: Path) -> None:
        save({"state_dict": weights, "more": Malicious(path.with_name("touched"))}, path)

    return write


def _pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def _pickle_alone(_: dict[str, torch.Tensor], path: Path) -> None:
    _pickle(Malicious(path.with_name("touched")), path)


@pytest.mark.parametrize(
    "save", [_save_with(torch.save), _save_with(_save_old), _save_with(_pickle), _pickle_alone]
)
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".ckpt"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(
    model: open_clip.CLIP, save: Save, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"wicked{suffix}"
    save(model.state_dict(), path)
    # The file is what it claims to be: read by pickle alone, it runs.
    if save is _pickle_alone:
        pickle.loads(path.read_bytes())
        assert (tmp_path / "touched").exists()
        (tmp_path / "touched").unlink()
    expected = rf"{path} is not loaded, because it holds more than weights, and would run \S+;"
    with pytest.raises(ModelUnavailableError, match=expected):
        load_encoder(f"{TINY}/{path}", device="cpu")
    assert not (tmp_path / "touched").exists()


def test_nor_does_one_in_a_folder(
    model: open_clip.CLIP, open_clip_dir: Path, timm_dir: Path, tmp_path: Path
) -> None:
    for prefix, whole, weights in (
        ("local-dir:", open_clip_dir, "open_clip_pytorch_model.bin"),
        ("timm:local-dir:", timm_dir, "pytorch_model.bin"),
    ):
        folder = tmp_path / prefix.replace(":", "_")
        folder.mkdir()
        for config in whole.glob("*.json"):
            (folder / config.name).write_bytes(config.read_bytes())
        _save_with(torch.save)(model.state_dict(), folder / weights)
        with pytest.raises(ModelUnavailableError, match=r"is not loaded, because .* would run"):
            load_encoder(f"{prefix}{folder}", device="cpu")
        assert not (folder / "touched").exists()


def _scripted(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def _cut_off(path: Path) -> None:
    stream = io.BytesIO()
    torch.save({"a": torch.ones(1000)}, stream)
    path.write_bytes(stream.getvalue()[:-500])


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read as weights"),
        (
            lambda path: path.write_bytes(b"no weights at all"),
            "it holds something other than weights",
        ),
        (lambda path: path.write_bytes(pickle.dumps({})), "it holds something other than weights"),
        (_cut_off, "is not loaded, because"),
        (_scripted, "cannot be read as weights"),
        (lambda path: torch.save({}, path), "open_clip cannot load .*: StopIteration"),
        (lambda path: torch.save([1, 2], path), "open_clip cannot load"),
        (lambda path: torch.save({"model": {}}, path), r"open_clip cannot load .* Missing key"),
        (
            lambda path: torch.save({"visual.proj": torch.ones(3)}, path),
            r"open_clip cannot load .* Missing key",
        ),
    ],
)
def test_what_are_no_weights_of_the_architecture_is_told(
    write: Callable[[Path], object], problem: str, tmp_path: Path
) -> None:
    write(tmp_path / "w.pt")
    with pytest.raises(ModelUnavailableError, match=problem) as caught:
        load_encoder(f"{TINY}/{tmp_path}/w.pt", device="cpu")
    assert str(tmp_path / "w.pt") in str(caught.value)


def test_safetensors_that_are_cut_off_are_told(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"{")
    with pytest.raises(ModelUnavailableError, match="open_clip cannot load"):
        load_encoder(f"{TINY}/{tmp_path}/w.safetensors", device="cpu")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ViT-B-61/w.pt", r'no architecture "ViT-B-61"; did you mean "ViT-B-16"\?'),
        ("models/w.pt", r'no architecture "models"; .*"ViT-B-16/models/w.pt"'),
        (f"{TINY}/nowhere.pt", "there is no file .*nowhere.pt; check the path"),
    ],
)
def test_an_unknown_architecture_or_path_is_told(
    name: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelUnavailableError, match=hint):
        load_encoder(name, device="cpu")
