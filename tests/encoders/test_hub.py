from __future__ import annotations

import fnmatch
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bioprobe.encoders import load_encoder
from bioprobe.encoders.downloading import describe_model, download_model, list_models
from bioprobe.encoders.hub import OPEN_CLIP, TRANSFORMERS, read_folder
from bioprobe.errors import ModelUnavailableError

COMMIT = "c0ffee" + "0" * 34


@pytest.fixture
def serve(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """Let the hub serve one folder for any repository; return the names it was asked for."""
    del hub_cache

    def serve_folder(folder: Path) -> list[str]:
        asked: list[str] = []

        def info(*_arguments: object, **_options: object) -> SimpleNamespace:
            names = [SimpleNamespace(rfilename=path.name) for path in folder.iterdir()]
            return SimpleNamespace(siblings=names, sha=COMMIT)

        def fetch(
            repository: str,
            *,
            revision: str | None = None,
            local_files_only: bool = False,
            allow_patterns: list[str] | None = None,
            local_dir: Path | None = None,
        ) -> str:
            from huggingface_hub.errors import LocalEntryNotFoundError

            del repository
            if local_files_only or local_dir is None or allow_patterns is None:
                msg = "nothing is cached"
                raise LocalEntryNotFoundError(msg)
            assert revision == COMMIT
            local_dir.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                if any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                    asked.append(path.name)
                    shutil.copy(path, local_dir)
            return str(local_dir)

        monkeypatch.setattr("huggingface_hub.HfApi.model_info", info)
        monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
        return asked

    return serve_folder


def test_a_missing_model_is_one_message_with_both_remedies(hub_cache: Path) -> None:
    del hub_cache
    with pytest.raises(ModelUnavailableError) as caught:
        load_encoder("bioclip-2")
    message = str(caught.value)
    assert "\n" not in message
    assert '"bioclip-2" is not on this machine' in message
    assert "Name or service not known" in message
    assert "bioprobe models download bioclip-2 --to DIR" in message
    assert "--model local-dir:DIR" in message
    assert "--model sketch" in message


@pytest.mark.parametrize(
    ("name", "local_name"),
    [
        ("dinov2-b", "--model transformers:DIR"),
        ("timm:resnet18", "--model timm:local-dir:DIR"),
        ("ViT-B-32/openai", "--model local-dir:DIR"),
        ("siglip2-b16", "--model local-dir:DIR"),
    ],
)
def test_the_remedy_names_the_folder_as_its_library_reads_it(
    hub_cache: Path, name: str, local_name: str
) -> None:
    del hub_cache
    with pytest.raises(ModelUnavailableError, match=local_name):
        load_encoder(name)


def test_a_missing_model_fails_fast_and_says_nothing_else(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from bioprobe.encoders import load_encoder\n"
        "from bioprobe.errors import ModelUnavailableError\n"
        "time.sleep = None  # nothing waits to try again\n"
        "try:\n    load_encoder('bioclip-2')\n"
        "except ModelUnavailableError as error:\n    print(error)\n"
        "import sys\nassert 'torch' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.count("\n") == 1
    assert "HF_HUB_OFFLINE is set" in result.stdout
    assert result.stderr == ""


def test_a_cached_model_loads_without_asking_the_hub(
    put_in_cache: Callable[[str, Path], Path], open_clip_dir: Path
) -> None:
    put_in_cache("imageomics/bioclip", open_clip_dir)
    encoder = load_encoder("bioclip", device="cpu")
    local = load_encoder(f"local-dir:{open_clip_dir}", device="cpu")
    assert encoder.name == encoder.fingerprint.model == "bioclip"
    assert encoder.fingerprint.revision == COMMIT
    assert encoder.fingerprint.key == local.fingerprint.key
    assert load_encoder(f"bioclip@{COMMIT}", device="cpu").fingerprint.key == local.fingerprint.key


def test_a_cache_without_weights_does_not_count(
    put_in_cache: Callable[[str, Path], Path], open_clip_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "config-only"
    folder.mkdir()
    shutil.copy(open_clip_dir / "open_clip_config.json", folder)
    put_in_cache("imageomics/bioclip", folder)
    with pytest.raises(ModelUnavailableError, match="not on this machine"):
        load_encoder("bioclip", device="cpu")


def test_loading_is_silent(open_clip_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_encoder(f"local-dir:{open_clip_dir}", device="cpu")
    assert capfd.readouterr() == ("", "")


def test_transformers_load_silently(
    dinov2_dir: Path, siglip_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load_encoder(f"transformers:{dinov2_dir}", device="cpu")
    load_encoder(f"transformers:{siglip_dir}", device="cpu")
    assert capfd.readouterr() == ("", "")


def test_a_download_fetches_one_copy_of_the_weights_and_knows_its_origin(
    serve: Callable[[Path], list[str]], open_clip_dir: Path, tmp_path: Path
) -> None:
    repository = shutil.copytree(open_clip_dir, tmp_path / "repository")
    (repository / "open_clip_pytorch_model.bin").write_bytes(b"the same in another format")
    (repository / "LICENSE").write_text("MIT")
    (repository / "training.log").write_text("...")
    asked = serve(repository)

    download = download_model("bioclip-2", to=tmp_path / "carried")

    wanted = ["LICENSE", "open_clip_config.json", "open_clip_model.safetensors"]
    assert sorted(asked) == wanted
    assert download.name == f"local-dir:{tmp_path / 'carried'}"
    assert download.size_bytes == (open_clip_dir / "open_clip_model.safetensors").stat().st_size
    encoder = load_encoder(download.name, device="cpu")
    assert encoder.fingerprint.revision == download.revision == COMMIT


def test_a_download_of_a_tag_becomes_a_folder_open_clip_can_load(
    serve: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "open_clip_model.safetensors").write_bytes(b"weights")
    serve(repository)
    download = download_model("ViT-B-32/openai", to=tmp_path / "carried")
    config = json.loads((download.folder / "open_clip_config.json").read_text())
    assert config["model_cfg"]["quick_gelu"] is True
    assert config["model_cfg"]["vision_cfg"]["patch_size"] == 32
    assert config["preprocess_cfg"]["resize_mode"] == "shortest"


def test_a_repository_of_another_layout_is_refused_with_the_other_prefixes(
    serve: Callable[[Path], list[str]], dinov2_dir: Path, tmp_path: Path
) -> None:
    serve(dinov2_dir)
    with pytest.raises(
        ModelUnavailableError, match=r"lacks open_clip_config\.json .*transformers:"
    ):
        download_model("hf-hub:facebook/dinov2-base", to=tmp_path / "carried")


@pytest.mark.parametrize("name", ["sketch", "local-dir:somewhere"])
def test_what_is_here_already_is_not_downloaded(name: str) -> None:
    with pytest.raises(ModelUnavailableError, match="on this machine already"):
        download_model(name)


@pytest.mark.parametrize(
    ("error", "reason"),
    [("GatedRepoError", "accept its terms"), ("RepositoryNotFoundError", "no such repository")],
)
def test_a_refusal_of_the_hub_is_told_from_its_absence(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch, error: str, reason: str
) -> None:
    import huggingface_hub.errors

    del hub_cache
    kind = getattr(huggingface_hub.errors, error)

    def refuse(*_arguments: object, **_options: object) -> None:
        raise kind.__new__(kind, "401")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    with pytest.raises(ModelUnavailableError, match=reason):
        load_encoder("bioclip-2")


def test_a_folder_of_another_layout_names_the_prefixes(dinov2_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="of transformers transformers:"):
        load_encoder(f"local-dir:{dinov2_dir}")
    with pytest.raises(ModelUnavailableError, match="there is no folder"):
        load_encoder(f"local-dir:{tmp_path / 'nowhere'}")


def test_the_status_of_a_cached_model_is_where_it_lies(
    put_in_cache: Callable[[str, Path], Path], open_clip_dir: Path
) -> None:
    folder = put_in_cache("imageomics/bioclip", open_clip_dir)
    status = describe_model("bioclip")
    assert status.folder == folder
    assert status.size_on_disk_bytes == (folder / "open_clip_model.safetensors").stat().st_size
    here = {model.name for model in list_models() if model.folder is not None}
    assert here - {"sketch"} == {"bioclip"}


def test_the_status_of_a_folder_is_read_from_its_configuration(open_clip_dir: Path) -> None:
    facts = describe_model(f"local-dir:{open_clip_dir}").to_dict()
    assert facts["dim"] == 24
    assert facts["image_size_px"] == 32
    assert facts["licence"] is None
    assert facts["is_here"] is True


def test_shards_are_taken_together_and_in_order() -> None:
    names = ["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors", "config.json"]
    assert TRANSFORMERS.choose_weights(names) == sorted(names)[1:]
    assert OPEN_CLIP.choose_weights(names) == []


def test_a_folder_without_weights_is_no_snapshot(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert read_folder(tmp_path, TRANSFORMERS) is None


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"use_hyperbolic": True}, True),
        ({"use_hyperbolic": False}, False),
        ({"geometry": "Lorentz"}, True),
        ({"text_cfg": {"hyperbolic_cfg": {"curvature": 1.0}}}, True),
    ],
)
def test_models_in_hyperbolic_space_are_refused(
    settings: dict[str, object], is_refused: bool, open_clip_dir: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(open_clip_dir, tmp_path / "model")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["extra"] = settings
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    if not is_refused:
        assert load_encoder(f"local-dir:{folder}", device="cpu").dim == 24
        return
    with pytest.raises(ModelUnavailableError, match=r"distances there and no cosines.*bioclip-hc"):
        load_encoder(f"local-dir:{folder}", device="cpu")


def test_weights_in_hyperbolic_space_are_not_even_fetched(hub_cache: Path) -> None:
    del hub_cache
    with pytest.raises(ModelUnavailableError, match="no cosines"):
        load_encoder("hf-hub:imageomics/bioclip-hc-hyperbolic")
