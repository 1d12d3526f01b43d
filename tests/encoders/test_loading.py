from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bioprobe.encoders import load_encoder, stamp_model
from bioprobe.encoders.checking import check_encoder
from bioprobe.encoders.families.runtime import choose_runtime
from bioprobe.encoders.families.text_tower import Padding, find_padding
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.errors import BioprobeError
from bioprobe.files import sketch_weights_dir


def test_importing_the_package_imports_no_deep_learning_library() -> None:
    code = (
        "import sys, bioprobe.encoders, bioprobe.encoders.downloading, bioprobe.cli.models\n"
        "import bioprobe.sketch  # the renderer too\n"
        "heavy = {'torch', 'open_clip', 'transformers', 'timm', 'onnxruntime'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_device_is_the_best_one_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_runtime("auto", "fp32", None, "exact").device.type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_runtime("auto", "fp32", None, "exact").device.type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_runtime("auto", "fp32", 8, "exact").device.type == "cuda"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_runtime("cuda:1", "fp32", 8, "exact").device.index == 1
    with pytest.raises(BioprobeError, match='"cuda:2" is not on this machine'):
        choose_runtime("cuda:2", "fp32", None, "exact")
    assert choose_runtime("cpu", "fp32", None, "exact").device.type == "cpu"


def test_batches_are_smaller_on_a_cpu_and_larger_on_a_large_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = types.SimpleNamespace(total_memory=24e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: memory)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_runtime("cpu", "fp32", None, "exact").batch_size == 16
    assert choose_runtime("cuda", "fp32", None, "exact").batch_size == 64
    assert choose_runtime("cuda", "fp32", 5, "exact").batch_size == 5
    memory.total_memory = 141e9
    assert choose_runtime("cuda", "fp32", None, "exact").batch_size == 256


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"device": "abacus"}, 'device "abacus" is not on this machine; choose auto or cpu'),
        ({"device": "cpu:banana"}, 'device "cpu:banana"'),
        ({"precision": "fp4"}, "choose one of auto, fp32, bf16, fp16, int8, fp8"),
        ({"batch_size": 0}, "batch size is 0; it must be 1 or more"),
    ],
)
def test_options_that_cannot_be_are_refused(
    open_clip_dir: Path, options: dict[str, str], problem: str
) -> None:
    with pytest.raises(BioprobeError, match=problem):
        load_encoder(f"local-dir:{open_clip_dir}", **options)  # type: ignore[arg-type]


def test_values_that_are_not_finite_are_reported_not_returned(
    open_clip_dir: Path, pictures: list[Image.Image]
) -> None:
    encoder = load_encoder(f"local-dir:{open_clip_dir}", device="cpu")
    assert isinstance(encoder, TorchEncoder)
    with torch.no_grad():
        encoder.module.get_parameter("visual.proj").fill_(float("inf"))
    with pytest.raises(BioprobeError, match="not finite in fp32 on cpu"):
        encoder.encode_image(pictures[:1])


def test_rows_are_full_where_no_padding_is_seen() -> None:
    rows = torch.tensor([[5, 6, 0, 0], [5, 6, 7, 0], [5, 6, 7, 8]])
    assert Padding(token_id=0).find_full_rows(rows).tolist() == [False, False, True]
    # Where the padding token also ends a text, one of it proves nothing.
    assert Padding(token_id=0, n_visible=2).find_full_rows(rows).tolist() == [False, True, True]
    assert Padding(token_id=0, is_left=True).find_full_rows(rows.flip(1)).tolist() == [
        False,
        False,
        True,
    ]
    assert Padding(token_id=None).find_full_rows(rows).all()
    # CLIP's tokenizer ends a text with what it pads with, BERT's with another.
    for ends, n_visible in ((49407, 2), (102, 1)):
        tokenizer: Any = SimpleNamespace(
            eos_token_id=ends, sep_token_id=None, pad_token_id=49407, padding_side="right"
        )
        assert find_padding(tokenizer) == Padding(token_id=49407, n_visible=n_visible)


def test_the_check_measures_norms_and_speed(open_clip_dir: Path, dinov2_dir: Path) -> None:
    check = check_encoder(load_encoder(f"local-dir:{open_clip_dir}", device="cpu"))
    assert check.image_norm == pytest.approx(1)
    assert check.text_norm == pytest.approx(1)
    assert check.images_per_s > 0
    image_only = check_encoder(load_encoder(f"transformers:{dinov2_dir}", device="cpu"))
    assert image_only.text_norm is None


def test_the_check_refuses_an_encoder_whose_vectors_are_not_unit(open_clip_dir: Path) -> None:
    encoder = load_encoder(f"local-dir:{open_clip_dir}", device="cpu")

    class Stretched:
        name = "stretched"
        dim = encoder.dim
        has_text_tower = False
        logit_scale = 1.0
        fingerprint = encoder.fingerprint

        def encode_image(self, images: list[Image.Image]) -> np.ndarray:
            return 2 * encoder.encode_image(images)

        preprocess = encoder.preprocess
        encode_pixels = encoder.encode_pixels
        encode_text = encoder.encode_text

    with pytest.raises(BioprobeError, match=r"length 2\.0000; expected shape"):
        check_encoder(Stretched())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prefix", "fixture"),
    [
        ("local-dir:", "open_clip_dir"),
        ("transformers:", "clip_dir"),
        ("transformers:", "siglip_dir"),
        ("timm:local-dir:", "timm_dir"),
    ],
)
def test_preprocessing_in_threads_gives_the_same_pixels(
    request: pytest.FixtureRequest, pictures: list[Image.Image], prefix: str, fixture: str
) -> None:
    encoder = load_encoder(prefix + str(request.getfixturevalue(fixture)), device="cpu")
    many = pictures * 8
    with ThreadPoolExecutor(4) as pool:
        in_threads = list(pool.map(encoder.preprocess, many))
    for picture, pixels in zip(many, in_threads, strict=True):
        np.testing.assert_array_equal(pixels, encoder.preprocess(picture))


def test_what_a_name_loads_is_told_without_loading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sketch_weights_dir(), folder)
    name = f"local-dir:{folder}"
    stamps = [stamp_model("sketch"), stamp_model(name)]
    assert stamp_model(name) == stamps[-1]
    # A file that was written again, one that came, another version of what computes with them.
    os.utime(folder / "tokenizer.json", ns=(1, 1))
    stamps.append(stamp_model(name))
    (folder / "vocab.txt").touch()
    stamps.append(stamp_model(name))
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0")
    stamps.append(stamp_model(name))
    assert len(set(stamps)) == len(stamps)
    # Of what is not here, or is found by its library, nothing is told.
    shutil.rmtree(folder)
    for unknown in (name, "no such model", "ViT-B-32/openai", "onnx:model.onnx"):
        assert stamp_model(unknown) == ""


def test_a_model_is_named_before_it_is_loaded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bioprobe.loading")
    load_encoder("sketch")
    assert caplog.messages[0] == "loading sketch …"
