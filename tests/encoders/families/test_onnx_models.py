from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torchvision.transforms.v2 as transforms
from PIL import Image

from bioprobe.encoders import load_encoder
from bioprobe.encoders.families.onnx_models import read_preprocessing
from bioprobe.errors import (
    BioprobeError,
    MissingExtraError,
    ModelUnavailableError,
    NoTextTowerError,
)
from tests.encoders.conftest import write_onnx

OPTIONS = "resize_px=28&crop_px=24&mean=0.4,0.5,0.6&std=0.2,0.3,0.25"


def compute_directly(path: Path, pictures: list[Image.Image]) -> np.ndarray:
    """Preprocess with torchvision and run with ONNX Runtime alone, one picture at a time."""
    steps = transforms.Compose(
        [
            transforms.Resize(28, interpolation=transforms.InterpolationMode.BILINEAR),
            transforms.CenterCrop(24),
            transforms.PILToTensor(),
        ]
    )
    mean, std = np.array([[0.4, 0.5, 0.6], [0.2, 0.3, 0.25]], dtype=np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = []
    for picture in pictures:
        levels = steps(picture).numpy().astype(np.float32) / 255
        pixels = (levels - mean[:, None, None]) / std[:, None, None]
        row = session.run(None, {session.get_inputs()[0].name: pixels[None]})[0]
        rows.append(row[0] / np.linalg.norm(row[0]))
    return np.stack(rows)


def test_vectors_equal_those_of_onnx_runtime(onnx_file: Path, pictures: list[Image.Image]) -> None:
    expected = compute_directly(onnx_file, pictures)
    encoder = load_encoder(f"onnx:{onnx_file}?{OPTIONS}", batch_size=3)
    assert encoder.dim == 6
    for n in (0, 1, 2, 3, 4, 7):
        vectors = encoder.encode_image(pictures[:n])
        assert vectors.dtype == np.float32
        assert vectors.shape == (n, 6)
        np.testing.assert_allclose(vectors, expected[:n], atol=1e-5)


def test_a_graph_exported_for_a_fixed_batch_takes_any_number(
    tmp_path: Path, onnx_file: Path, pictures: list[Image.Image]
) -> None:
    fixed = write_onnx(tmp_path / "fixed.onnx", batch=2)
    encoder = load_encoder(f"onnx:{fixed}?{OPTIONS}", batch_size=16)
    expected = compute_directly(onnx_file, pictures)
    np.testing.assert_allclose(encoder.encode_image(pictures), expected, atol=1e-5)


def test_the_side_file_says_the_same_as_options(
    tmp_path: Path, pictures: list[Image.Image]
) -> None:
    path = write_onnx(tmp_path / "backbone.onnx")
    settings = {"resize_px": 28, "crop_px": [24, 24], "mean": [0.4, 0.5, 0.6]}
    settings["std"] = [0.2, 0.3, 0.25]
    (tmp_path / "backbone.preprocess.json").write_text(json.dumps(settings))
    by_file = load_encoder(f"onnx:{path}")
    by_options = load_encoder(f"onnx:{path}?{OPTIONS}")
    assert by_file.fingerprint.key == by_options.fingerprint.key
    np.testing.assert_array_equal(by_file.encode_image(pictures), by_options.encode_image(pictures))
    overridden = load_encoder(f"onnx:{path}?interpolation=bicubic")
    assert overridden.fingerprint.key != by_file.fingerprint.key


def test_the_output_is_chosen_by_name_where_there_are_several(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "two.onnx", outputs=("features", "again"))
    with pytest.raises(BioprobeError, match="has 2 outputs; name one of features, again"):
        load_encoder(f"onnx:{path}?{OPTIONS}")
    assert load_encoder(f"onnx:{path}?{OPTIONS}&output=again").dim == 6


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("", "resize_px is missing"),
        ("resize_px=28", "crop_px is missing"),
        ("resize_px=28&crop_px=20", "the graph reads 24x24 pixels, but the preprocessing gives"),
        ("resize_px=big&crop_px=24", 'resize_px "big" is not a list of numbers'),
        ("resize_px=28&crop_px=24&mean=1,2", "mean has 2 numbers, expected 3"),
        ("resize_px=28&crop_px=24&interpolation=soft", 'interpolation "soft" is not one of'),
        ("resize_px=28&crop_px=24&size=3", "size is not known"),
    ],
)
def test_preprocessing_that_cannot_be_meant_is_refused(
    onnx_file: Path, options: str, problem: str
) -> None:
    with pytest.raises(BioprobeError, match=problem):
        load_encoder(f"onnx:{onnx_file}?{options}")


def test_two_numbers_squash_and_one_keeps_the_aspect() -> None:
    picture = Image.fromarray(np.arange(2400, dtype=np.uint32).astype(np.uint8).reshape(20, 40, 3))
    plain = {"mean": "0,0,0", "std": "1,1,1", "interpolation": "bilinear"}
    squash = read_preprocessing({"resize_px": "10,12", **plain}).apply(picture)
    resized = picture.resize((12, 10), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(squash, np.asarray(resized).transpose(2, 0, 1) / 255, atol=1e-6)
    crop = read_preprocessing({"resize_px": 10, "crop_px": "10,16", **plain}).apply(picture)
    middle = picture.resize((20, 10), Image.Resampling.BILINEAR).crop((2, 0, 18, 10))
    np.testing.assert_allclose(crop, np.asarray(middle).transpose(2, 0, 1) / 255, atol=1e-6)


def test_an_onnx_encoder_refuses_text_and_precision(onnx_file: Path) -> None:
    with pytest.raises(NoTextTowerError, match="image-only"):
        load_encoder(f"onnx:{onnx_file}?{OPTIONS}").encode_text(["owl"])
    with pytest.raises(BioprobeError, match="runs as it was saved"):
        load_encoder(f"onnx:{onnx_file}?{OPTIONS}", precision="bf16")


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="there is no file"):
        load_encoder(f"onnx:{tmp_path}/none.onnx?{OPTIONS}")
    (tmp_path / "text.onnx").write_text("not a graph")
    with pytest.raises(ModelUnavailableError, match="ONNX Runtime cannot open"):
        load_encoder(f"onnx:{tmp_path}/text.onnx?{OPTIONS}")


def test_without_onnx_runtime_the_extra_is_named(
    onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'bioprobe\[onnx\]'"):
        load_encoder(f"onnx:{onnx_file}?{OPTIONS}")


WRONG: tuple[object, ...] = (
    7,
    1.5,
    True,
    "a text",
    [],
    [7],
    [["a"]],
    {},
    {"a": "b"},
    {"a": [7]},
    {"a": {"b": ["c"]}},
)
STEPS = {
    "resize_px": 28,
    "crop_px": 24,
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.3, 0.25],
    "interpolation": "bilinear",
    "input": "pixels",
    "output": "features",
}


@pytest.mark.parametrize("key", STEPS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_every_wrong_type_beside_a_graph_is_refused(
    tmp_path: Path, key: str, encoding: str
) -> None:
    path = write_onnx(tmp_path / "model.onnx")
    beside = tmp_path / "model.preprocess.json"
    for value in WRONG:
        if key == "resize_px" and value in (7, [7]):
            continue
        beside.write_text(json.dumps({**STEPS, key: value}), encoding=encoding)
        with pytest.raises(BioprobeError, match=key.partition("_")[0]):
            load_encoder(f"onnx:{path}")
    beside.write_text(json.dumps(STEPS), encoding=encoding)
    assert load_encoder(f"onnx:{path}").dim == 6


def test_deep_settings_beside_a_graph_are_an_error_of_ours(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "model.onnx")
    (tmp_path / "model.preprocess.json").write_text("[" * 100_000)
    with pytest.raises(BioprobeError, match="is not JSON"):
        load_encoder(f"onnx:{path}")
