from __future__ import annotations

from pathlib import Path

import pytest

from bioprobe.encoders.catalog import CARDS, DEFAULT_MODEL, ModelCard, find_card, parse_name
from bioprobe.errors import ModelUnavailableError


def test_short_names_are_unique_and_the_default_is_first() -> None:
    names = [card.short_name for card in CARDS]
    assert len(set(names)) == len(names)
    assert names[0] == DEFAULT_MODEL


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.short_name)
def test_every_short_name_keeps_its_name_and_its_backend(card: ModelCard) -> None:
    source = parse_name(card.short_name)
    assert source.name == card.short_name
    assert source.backend == ("transformers" if card.short_name == "dinov2-b" else "open_clip")


@pytest.mark.parametrize(
    ("name", "backend", "kind", "target", "revision"),
    [
        ("bioclip-2", "open_clip", "hub", "imageomics/bioclip-2", ""),
        ("bioclip-2@abc123", "open_clip", "hub", "imageomics/bioclip-2", "abc123"),
        ("hf-hub:org/name", "open_clip", "hub", "org/name", ""),
        ("hf-hub:org/name@v1.0", "open_clip", "hub", "org/name", "v1.0"),
        ("ViT-B-16/openai", "open_clip", "tag", "ViT-B-16/openai", ""),
        ("transformers:org/name@main", "transformers", "hub", "org/name", "main"),
        ("dinov2-b", "transformers", "hub", "facebook/dinov2-base", ""),
        ("timm:resnet50", "timm", "tag", "resnet50", ""),
        ("timm:hf-hub:org/name", "timm", "hub", "org/name", ""),
    ],
)
def test_names_are_read(name: str, backend: str, kind: str, target: str, revision: str) -> None:
    source = parse_name(name)
    assert (source.backend, source.kind) == (backend, kind)
    assert (source.target, source.revision) == (target, revision)
    assert source.name == name


@pytest.mark.parametrize(
    ("prefix", "backend"),
    [("local-dir:", "open_clip"), ("transformers:", "transformers"), ("timm:local-dir:", "timm")],
)
def test_folders_are_named_by_their_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, backend: str
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    source = parse_name(f"{prefix}mine")
    assert source.name == f"{prefix}{tmp_path / 'mine'}"
    assert (source.backend, source.kind, source.target) == (
        backend,
        "folder",
        str(tmp_path / "mine"),
    )


def test_options_of_an_onnx_file_are_kept_in_its_name(tmp_path: Path) -> None:
    source = parse_name(f"onnx:{tmp_path}/a.onnx?resize_px=256&mean=0.5,0.5,0.5")
    assert source.options == {"resize_px": "256", "mean": "0.5,0.5,0.5"}
    assert parse_name(source.name) == source


@pytest.mark.parametrize("path", ["runs/a.pt", "../a.safetensors", "a.CKPT", "{}/x/a.bin"])
def test_a_checkpoint_is_named_by_its_architecture_and_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    file = Path(path.format(tmp_path)).resolve()
    source = parse_name(f"ViT-B-16/{path.format(tmp_path)}")
    assert source.name == f"ViT-B-16/{file}"
    assert (source.backend, source.kind) == ("open_clip", "file")
    assert (source.architecture, source.target) == ("ViT-B-16", str(file))
    monkeypatch.chdir(tmp_path)
    assert parse_name(source.name) == source


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tuned.pt", 'write its architecture first, such as "ViT-B-16/tuned.pt"'),
        ("/data/tuned.pt", 'such as "ViT-B-16//data/tuned.pt"'),
        ("bioclip2", 'did you mean "bioclip-2"'),
        ("model.onnx", 'write "onnx:model.onnx"'),
        ("resnet", "other forms are hf-hub:org/name"),
        ("", "other forms are"),
        ("hf-hub:", "other forms are"),
        ("transformers:nowhere", 'no folder "nowhere" here'),
        ("hf-hub:not a name", "has the form org/name"),
    ],
)
def test_an_unknown_name_is_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ModelUnavailableError, match=hint):
        parse_name(name)


def test_a_bare_folder_is_refused_with_its_three_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelUnavailableError, match='"local-dir:models/mine"'):
        parse_name("models/mine")


def test_cards_say_which_benchmarks_were_seen() -> None:
    remarks = {card.short_name: card.training_data for card in CARDS}
    assert "was held out" in remarks["bioclip"]
    assert "NOT held out" in remarks["bioclip-2"]
    assert find_card("nobody") is None
