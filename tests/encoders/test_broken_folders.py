"""Folders of models that somebody else made, or that were cut off on the way."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bioprobe.encoders.downloading import describe_model
from bioprobe.encoders.loading import load_encoder
from bioprobe.errors import ModelUnavailableError, TaxonomyError
from bioprobe.files import sketch_weights_dir
from bioprobe.taxonomy.lists import read_taxonomy

PACKAGE = Path(__file__).parents[2] / "bioprobe"
BROKEN = {
    "cut": ("{", "Expecting property name"),
    "deep": ("[" * 50_000, "nested too deeply"),
    "array": ("[]", "expected an object, got an array"),
    "null": ("null", "expected an object, got nothing"),
}
FAMILIES = {
    "local-dir:": "open_clip_config.json",
    "transformers:": "config.json",
    "timm:local-dir:": "config.json",
}


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["EVIL"],)


@pytest.mark.parametrize("prefix", FAMILIES)
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_configuration_is_named(tmp_path: Path, prefix: str, kind: str) -> None:
    text, reason = BROKEN[kind]
    (tmp_path / FAMILIES[prefix]).write_text(text)
    for name in ("model.safetensors", "open_clip_model.safetensors"):
        save_file({"a": torch.zeros(2)}, tmp_path / name)
    expected = rf"{re.escape(FAMILIES[prefix])} is no configuration of a model \(.*{reason}"
    with pytest.raises(ModelUnavailableError, match=expected):
        load_encoder(f"{prefix}{tmp_path}")
    assert describe_model(f"{prefix}{tmp_path}").dim is None


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_note_of_where_a_folder_came_from_is_no_obstacle(
    tmp_path: Path, kind: str
) -> None:
    folder = shutil.copytree(sketch_weights_dir(), tmp_path / "model")
    (folder / "bioprobe_origin.json").write_text(BROKEN[kind][0])
    assert load_encoder(f"local-dir:{folder}").fingerprint.revision == ""


@pytest.mark.parametrize(
    ("prefix", "config", "weights"),
    [
        ("local-dir:", "open_clip_config.json", "open_clip_pytorch_model.bin"),
        ("transformers:", "config.json", "pytorch_model.bin"),
        ("timm:local-dir:", "config.json", "pytorch_model.bin"),
    ],
)
def test_pickled_weights_run_nothing_and_the_remedy_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, config: str, weights: str
) -> None:
    made = tmp_path / "made"
    monkeypatch.setenv("EVIL", str(made))
    (tmp_path / config).write_text('{"model_type": "vit", "architecture": "resnet18"}')
    torch.save({"a": _Evil()}, tmp_path / weights)
    with pytest.raises(ModelUnavailableError, match=r"not safe to load: get the \.saf") as raised:
        load_encoder(f"{prefix}{tmp_path}")
    assert "weights_only" not in str(raised.value)
    assert not made.exists()


def test_a_taxon_list_of_deep_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[" * 50_000)
    with pytest.raises(TaxonomyError, match="nested too deeply"):
        read_taxonomy(tmp_path / "list.json")


def test_json_is_read_in_one_place() -> None:
    # Of what the command line writes itself, the text is its own.
    own = {PACKAGE / "files.py", PACKAGE / "cli" / "show.py"}
    reading = {path for path in PACKAGE.rglob("*.py") if "json.load" in path.read_text()}
    assert reading == own
