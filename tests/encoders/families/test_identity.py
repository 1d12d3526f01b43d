"""Whatever decides a vector is in the fingerprint: each file of a model's folder is changed."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import open_clip
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from bioprobe.cli.app import run
from bioprobe.encoders import Encoder, load_encoder
from bioprobe.encoders.families import onnx_models
from bioprobe.errors import ModelUnavailableError
from bioprobe.files import hash_file
from tests.encoders.conftest import write_onnx

STEPS = "resize_px=28&crop_px=24"
FOLDERS = {
    "open_clip_dir": "local-dir:{}",
    "open_clip_hf_dir": "local-dir:{}",
    "clip_dir": "transformers:{}",
    "dinov2_dir": "transformers:{}",
    "timm_dir": "timm:local-dir:{}",
    "onnx_dir": "onnx:{}/graph.onnx?" + STEPS,
    "checkpoint_dir": "identity-test/{}/w.pt",
}


def _write_graph(folder: Path, *, weights: str = "weights.bin", inner: bool = True) -> Path:
    """Write a graph whose weights are in other files, one of them of a constant in a branch."""
    random = np.random.default_rng(9)
    kernel = random.normal(size=(6, 3, 3, 3)).astype(np.float32)
    shift = random.normal(size=6).astype(np.float32)
    outside = {"kernel": (kernel, weights), "shift": (shift, "deeper.bin")}
    tensors = {}
    for name, (values, location) in outside.items():
        tensors[name] = numpy_helper.from_array(values, name)
        onnx.external_data_helper.set_external_data(tensors[name], location)
        tensors[name].ClearField("raw_data")
        if (folder / location).parent.is_dir():
            (folder / location).write_bytes(values.tobytes())
    made = [helper.make_tensor_value_info("moved", TensorProto.FLOAT, None)]
    constant = helper.make_node("Constant", [], ["shift"], value=tensors["shift"])
    add = helper.make_node("Add", ["flat", "shift"], ["moved"])
    branch = helper.make_graph([constant, add], "branch", [], made)
    plain = helper.make_graph([helper.make_node("Neg", ["flat"], ["moved"])], "plain", [], made)
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("If", ["yes"], ["out"], then_branch=branch, else_branch=plain)
        if inner
        else helper.make_node("Identity", ["flat"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "backbone",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 24, 24])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 6])],
        [tensors["kernel"], numpy_helper.from_array(np.array(True), "yes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "graph.onnx").write_bytes(model.SerializeToString())
    return folder


@pytest.fixture(scope="session")
def onnx_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_graph(tmp_path_factory.mktemp("onnx_weights"))


@pytest.fixture(scope="session")
def checkpoint_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
        "text_cfg": {"width": 32, "heads": 2, "layers": 1},
    }
    (folder / "identity-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "identity-test.json")
    (folder / "identity-test.json").unlink()
    torch.manual_seed(5)
    torch.save(open_clip.create_model("identity-test").state_dict(), folder / "w.pt")
    return folder


def _iter_changes(path: Path) -> Iterator[bytes]:
    # One byte is another; of settings each value in turn.
    before = path.read_bytes()
    if path.suffix != ".json" or "token" in path.name:
        # Near the end of a file of weights are weights; a tokenizer is told by its bytes.
        place = len(before) - 3 if path.suffix != ".pt" else before.rindex(b"PK\x01\x02") // 2
        yield before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :]
        return
    for settings in _change_each(json.loads(before)):
        yield json.dumps(settings).encode()


def _change_each(value: Any) -> Iterator[Any]:  # noqa: ANN401 - any JSON
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        for changed in _change_each(part) if isinstance(part, dict | list) else [_change(part)]:
            whole = value.copy()
            whole[key] = changed
            yield whole


def _change(value: bool | float | str | None) -> bool | float | str | None:
    if isinstance(value, bool) or value is None:
        return not value
    # Other counts of heads and layers can do with the same weights.
    return value[:-1] if isinstance(value, str) else value * 2 if value else 1


def _embed(encoder: Encoder, pictures: list[Image.Image]) -> list[npt.NDArray[np.float32]]:
    texts = ["a photo of a leopard.", "owl"] if encoder.has_text_tower else None
    images = encoder.encode_image(pictures[:2])
    return [images] if texts is None else [images, encoder.encode_text(texts)]


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 4])
@pytest.mark.parametrize("fixture", FOLDERS)
def test_a_changed_file_makes_another_encoder_or_none_or_the_same_vectors(
    request: pytest.FixtureRequest,
    fixture: str,
    every: int,
    pictures: list[Image.Image],
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(request.getfixturevalue(fixture), tmp_path / "model")
    name = FOLDERS[fixture].format(folder)
    original = load_encoder(name, device="cpu")
    vectors = _embed(original, pictures)
    n_told = dict.fromkeys(sorted(folder.iterdir()), 0)
    for path in n_told:
        before = path.read_bytes()
        for content in itertools.islice(_iter_changes(path), 0, None, every):
            path.write_bytes(content)
            try:
                encoder = load_encoder(name, device="cpu")
            except Exception:  # noqa: BLE001 - whatever a library says of it
                n_told[path] += 1
                continue
            if not encoder.fingerprint.is_compatible(original.fingerprint):
                n_told[path] += 1
                continue
            for one, other in zip(_embed(encoder, pictures), vectors, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=f"{path.name} {content[:2000]!r}")
        path.write_bytes(before)
    assert all(n_told.values()), n_told
    assert load_encoder(name, device="cpu").fingerprint == original.fingerprint


def test_exchanged_weights_of_a_graph_are_refused_by_the_store(
    onnx_dir: Path, pictures: list[Image.Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(onnx_dir, tmp_path / "model")
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(pictures[:2]):
        picture.save(tmp_path / "pictures" / f"{number}.png")
    command = ["embed", str(tmp_path / "pictures"), "--store", str(tmp_path / "store"), "--quiet"]
    command += ["--model", f"onnx:{folder}/graph.onnx?{STEPS}"]
    assert run(command) == 0
    weights = folder / "weights.bin"
    weights.write_bytes(weights.read_bytes()[::-1])
    pictures[2].save(tmp_path / "pictures" / "2.png")
    assert run(command) == 1
    said = "they cannot be compared (settings of the model, or further files of weights differ)"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname"])
def test_a_graph_whose_weights_lie_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "model").mkdir()
    _write_graph(tmp_path / "model", weights="weights.bin")
    graph = onnx.load(tmp_path / "model" / "graph.onnx", load_external_data=False)
    graph.graph.initializer[0].external_data[0].value = location
    (tmp_path / "model" / "graph.onnx").write_bytes(graph.SerializeToString())
    shutil.copy(tmp_path / "model" / "weights.bin", tmp_path / "weights.bin")
    with pytest.raises(ModelUnavailableError):
        load_encoder(f"onnx:{tmp_path}/model/graph.onnx?{STEPS}")


def test_fingerprints_of_older_stores_hold(
    open_clip_dir: Path, onnx_dir: Path, tmp_path: Path
) -> None:
    """What older versions kept knows no settings and no tokenizer, and the rest is as it was."""
    now = load_encoder(f"local-dir:{open_clip_dir}", device="cpu").fingerprint
    kept = now.to_dict()
    assert kept.pop("image_sha256")
    assert kept.pop("text_sha256")
    before = type(now).from_dict(kept)
    assert before.is_compatible(now)
    assert now.is_compatible(before)
    graph = load_encoder(f"onnx:{onnx_dir}/graph.onnx?{STEPS}").fingerprint
    assert graph.weights_sha256 == hash_file(onnx_dir / "graph.onnx")
    assert graph.image_sha256
    plain = write_onnx(tmp_path / "plain.onnx")
    data = tmp_path / "plain.onnx.data"
    data.write_bytes(b"beside it")
    by_name = load_encoder(f"onnx:{plain}?{STEPS}").fingerprint
    assert by_name.weights_sha256 == hash_file(plain, data)
    assert not by_name.image_sha256


def test_a_tokenizer_that_came_later_makes_no_other_encoder(clip_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_dir, tmp_path / "model")
    whole = load_encoder(f"transformers:{folder}", device="cpu")
    (folder / "tokenizer.json").unlink()
    without = load_encoder(f"transformers:{folder}", device="cpu")
    assert not without.has_text_tower
    assert without.fingerprint.is_compatible(whole.fingerprint)


def _write_loop(path: Path, n_times: int) -> Path:
    """Write a graph that adds one to its means many times."""
    numbers = [("again", TensorProto.BOOL), ("values", TensorProto.FLOAT)]
    inputs = [helper.make_tensor_value_info("step", TensorProto.INT64, [])]
    inputs += [helper.make_tensor_value_info(name, kind, None) for name, kind in numbers]
    outputs = [helper.make_tensor_value_info(f"{name}_on", kind, None) for name, kind in numbers]
    body = [
        helper.make_node("Identity", ["again"], ["again_on"]),
        helper.make_node("Add", ["values", "one"], ["values_on"]),
    ]
    one = numpy_helper.from_array(np.float32(1), "one")
    loop = helper.make_graph(body, "body", inputs, outputs, [one])
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["means"]),
        helper.make_node("Loop", ["n_times", "yes", "means"], ["sums"], body=loop),
        helper.make_node("Flatten", ["sums"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "loop",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 24, 24])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(np.int64(n_times), "n_times"),
            numpy_helper.from_array(np.array(True), "yes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def test_a_loop_without_an_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_models, "LONGEST_S", 0.3)
    short = _write_loop(tmp_path / "short.onnx", 3)
    assert load_encoder(f"onnx:{short}?{STEPS}").dim == 3
    endless = _write_loop(tmp_path / "endless.onnx", 2**62)
    with pytest.raises(ModelUnavailableError, match=r"no vectors of 1 image\(s\) in 0.3 s"):
        load_encoder(f"onnx:{endless}?{STEPS}")
