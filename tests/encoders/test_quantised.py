"""A quantised model: another encoder, measured on one's own pictures, refused where too far."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import bioprobe as bp
from bioprobe.embedding import quantising
from bioprobe.encoders import load_encoder
from bioprobe.encoders.families import fp8
from bioprobe.encoders.families.quantised_encoder import LEAST_COSINE, QuantisedEncoder
from bioprobe.errors import (
    BioprobeError,
    MismatchError,
    MisuseError,
    ModelUnavailableError,
    SelectionError,
    SourceError,
    StoreError,
)

N = 24


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _one_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOPROBE_CACHE", str(cache))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two kinds, told apart by their colour."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number in range(N):
        kind = ("Felidae", "Canidae")[number % 2]
        (folder / kind).mkdir(exist_ok=True)
        coarse = rng.integers(0, 120, (6, 8, 3)) + np.array(
            [[[120, 0, 0], [0, 0, 120]][number % 2]]
        )
        drawn = Image.fromarray(coarse.astype(np.uint8)).resize((60, 50), Image.Resampling.BICUBIC)
        drawn.save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def model(open_clip_dir: Path, cache: Path, photos: Path) -> str:
    """Quantise a small transformer, once."""
    name = f"local-dir:{open_clip_dir}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOPROBE_CACHE", str(cache))
        found = bp.models.quantise(
            name, photos, level="family", folder_rank="family", calibrate=8, check=16
        )
    assert (found.n_calibrated, found.n_checked) == (8, 16)
    assert 1 > found.mean_cosine >= found.least_cosine >= LEAST_COSINE
    assert found.gain > 0
    assert found.model == f"{name}+int8"
    said = " ".join(str(one) for one in found.notes)
    assert f"least cosine to fp32 {found.least_cosine:.4f}" in said
    # Two kinds of colour are told apart by both encoders.
    assert "centroid at family, 8 pictures: right 1.000 in fp32, 1.000 in int8" in said
    assert "zeroshot at family, 8 pictures: right" in said
    return name


def test_vectors_are_near_those_in_fp32_whatever_the_batch_and_texts_are_the_same(
    model: str, photos: Path
) -> None:
    exact = load_encoder(model, device="cpu")
    rough = load_encoder(model, device="cpu", precision="int8", batch_size=3)
    assert isinstance(rough, QuantisedEncoder)
    pictures = [Image.open(one).convert("RGB") for one in sorted(photos.rglob("*.png"))]
    truth, found = exact.encode_image(pictures), rough.encode_image(pictures)
    assert (truth * found).sum(axis=1).min() >= LEAST_COSINE
    assert not np.allclose(truth, found, atol=1e-5)
    alone = np.concatenate([rough.encode_image([one]) for one in pictures])
    np.testing.assert_allclose(alone, found, atol=1e-6)
    texts = ["a photo of a leopard."]
    np.testing.assert_array_equal(rough.encode_text(texts), exact.encode_text(texts))
    assert rough.encode_image([]).shape == (0, exact.dim)
    viewed = load_encoder(f"{model}+int8+views2", device="cpu")
    assert viewed.fingerprint.precision == "int8"


def test_stores_in_int8_are_of_another_encoder(model: str, photos: Path, tmp_path: Path) -> None:
    exact, rough = tmp_path / "exact", tmp_path / "rough"
    bp.embed(photos / "Felidae", model=model, store=exact, precision="fp32", device="cpu")
    bp.embed(photos / "Felidae", model=model, store=rough, precision="int8", device="cpu")
    with pytest.raises(MismatchError, match="cannot be compared"):
        bp.embed(photos, store=exact, precision="int8", device="cpu")
    with pytest.raises(BioprobeError, match=r"is in int8, got --precision fp32"):
        bp.embed(photos, store=rough, precision="fp32", device="cpu")
    assert [len(bp.open(one)) for one in (exact, rough)] == [N // 2, N // 2]
    # Without a word it goes on as it was begun, and answers texts.
    more = bp.embed(photos, store=rough, device="cpu")
    assert len(more) == N
    assert len(more.zeroshot(classes=["owl", "leopard"], k=1).to_frame()) == N
    with pytest.raises(ModelUnavailableError, match=r"nothing but the vector .* --model local-dir"):
        bp.embed(photos, store=tmp_path / "kept", model=f"{model}+int8", keep="tokens")


def test_what_was_not_quantised_says_how_it_is(
    open_clip_resnet_dir: Path, model: str, photos: Path
) -> None:
    with pytest.raises(ModelUnavailableError, match=r"no int8 form .* bioprobe models quantise"):
        load_encoder(f"local-dir:{open_clip_resnet_dir}", precision="int8")
    with pytest.raises(BioprobeError, match=r"has an int8 form, in .* remove that folder"):
        bp.models.quantise(model, photos)
    with pytest.raises(MisuseError, match=r"--calibrate counts only with --precision int8"):
        bp.models.quantise(model, photos, precision="fp8", calibrate=8)
    with pytest.raises(BioprobeError, match="int8 runs on processors only, got --device cuda"):
        bp.models.quantise(model, photos, device="cuda")
    with pytest.raises(MisuseError, match=r"--folder-rank counts only with --level"):
        bp.models.quantise(model, photos, folder_rank="family")


def test_too_few_pictures_neither_calibrate_nor_judge(
    open_clip_resnet_dir: Path, photos: Path, tmp_path: Path
) -> None:
    name = f"local-dir:{open_clip_resnet_dir}"
    few = sorted(photos.rglob("*.png"))[:2]
    with pytest.raises(SourceError, match=r"1 are left .* a folder of three readable pictures"):
        bp.models.quantise(name, few)
    shutil.copy(few[0], tmp_path / "0.png")
    for number in range(1, 4):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"0 are left .* \(the first cannot be read"):
        bp.models.quantise(name, tmp_path)


def test_what_is_needed_is_looked_for_first_and_answers_that_cannot_be_told_cost_no_model(
    open_clip_dir: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(quantising, "LEAST_COSINE", -1.0)
    name, few = f"local-dir:{open_clip_dir}", sorted((photos / "Felidae").glob("*.png"))[:3]
    with pytest.raises(SelectionError, match="none of the 3 pictures has a label at family"):
        bp.models.quantise(name, few, level="family")
    (tmp_path / "cache").write_text("no folder")
    with monkeypatch.context() as patch:
        patch.setattr(quantising, "embed_images", pytest.fail)
        with pytest.raises(StoreError, match="cannot be written"):
            bp.models.quantise(name, few)
    (tmp_path / "cache").unlink()
    found = bp.models.quantise(name, few, level="family", folder_rank="family")
    assert "what it does to answers at family cannot be told: " in " ".join(map(str, found.notes))
    assert load_encoder(found.model).dim == 24


def test_a_damaged_form_is_told_with_a_remedy(
    model: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOPROBE_CACHE", str(shutil.copytree(cache, tmp_path / "cache")))
    (graph,) = (tmp_path / "cache" / "int8").rglob("model.onnx")
    graph.with_name("about.json").write_text("{")
    checked = bp.models.check(f"{model}+int8")
    assert ["its record is lost" in str(one) for one in checked.notes] == [True]
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(ModelUnavailableError, match=rf"remove {graph.parent} and quantise"):
        load_encoder(f"{model}+int8")
    with pytest.raises(BioprobeError, match=r"runs in ONNX Runtime, got --backend traced"):
        load_encoder(model, precision="int8", backend="traced")


@pytest.mark.shared
@pytest.mark.long
def test_a_real_model_that_comes_out_too_far_is_refused_and_leaves_nothing(
    shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path))
    folders = sorted((shared_dir / "data" / "photos").glob("*/"))
    pictures = [min(folder.glob("*.jpg")) for folder in folders[:40]]
    name = f"local-dir:{shared_dir / 'models' / 'wildlife-mini'}"
    asked = {"calibrate": 16, "check": 24}
    with pytest.raises(BioprobeError, match=r"24 pictures .* least cosine to fp32 is 0\.[89]"):
        bp.models.quantise(name, pictures, **asked)  # type: ignore[arg-type]
    assert not (tmp_path / "int8").exists()
    # The same numbers are what it says where they are good enough.
    monkeypatch.setattr(quantising, "LEAST_COSINE", 0.5)
    found = bp.models.quantise(name, pictures, **asked)  # type: ignore[arg-type]
    assert 0.5 < found.least_cosine < LEAST_COSINE
    assert found.same_neighbour_fraction > 0.5


@pytest.fixture(scope="module")
def short(open_clip_dir: Path, cache: Path, photos: Path) -> str:
    """Measure a small transformer in fp8, once, and return its name."""
    name = f"local-dir:{open_clip_dir}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOPROBE_CACHE", str(cache))
        found = bp.models.quantise(
            name, photos, precision="fp8", device="cpu", level="family", folder_rank="family"
        )
    assert (found.n_calibrated, found.n_checked) == (0, N - 1)
    assert 1 > found.mean_cosine >= found.least_cosine >= LEAST_COSINE
    said = " ".join(str(one) for one in found.notes)
    assert f"23 pictures: least cosine to fp32 {found.least_cosine:.4f}" in said
    assert "zeroshot at family" in said
    assert " in fp32, 1.000 in fp8 " in said
    return f"{name}+fp8"


def test_in_fp8_vectors_are_near_and_of_another_encoder_and_the_check_says_how_near(
    short: str, photos: Path, tmp_path: Path
) -> None:
    exact = load_encoder(short.removesuffix("+fp8"), device="cpu")
    rough = load_encoder(exact.name, device="cpu", precision="fp8", batch_size=3)
    assert rough.name == short
    pictures = [Image.open(one).convert("RGB") for one in sorted(photos.rglob("*.png"))]
    truth, found = exact.encode_image(pictures), rough.encode_image(pictures)
    cosines = (truth * found).sum(axis=1)
    checked = bp.models.check(short, device="cpu", precision="auto", backend="traced")
    said = " ".join(map(str, checked.notes))
    assert checked.backend == "traced"
    assert f"mean {cosines.mean():.4f}" in said
    assert "zeroshot at family" in said
    assert 0.998 < cosines.min() < 0.999999
    # Each picture by itself, whatever else is in its batch; texts as ever.
    alone = np.concatenate([rough.encode_image([one]) for one in pictures[:4]])
    np.testing.assert_allclose(alone, found[:4], atol=1e-3)
    np.testing.assert_array_equal(rough.encode_text(["owl"]), exact.encode_text(["owl"]))
    assert rough.fingerprint.find_differences(exact.fingerprint) == ["weights or preprocessing"]
    store = tmp_path / "store"
    bp.embed(photos, model=exact.name, store=store, precision="fp8", device="cpu", batch_size=4)
    with pytest.raises(MismatchError, match="cannot be compared"):
        bp.embed(photos, store=store, model=exact.name + "+int8", device="cpu")
    with pytest.raises(BioprobeError, match=r"is in fp8, got --precision int8"):
        bp.embed(photos, store=store, model=short, precision="int8", device="cpu")


def test_a_layer_in_fp8_multiplies_the_rounded_numbers_each_row_by_its_scale() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(32, 48)
    rows = torch.randn(5, 7, 32) * torch.tensor([1e-4, 1.0, 1e4, 1e-8, 0.0])[:, None, None]

    def round_rows(x: torch.Tensor) -> torch.Tensor:
        scale = x.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / 448
        return (x / scale).to(torch.float8_e4m3fn).double() * scale

    with torch.inference_mode():
        found = fp8.Fp8Linear(layer)(rows) - layer.bias
        truth = round_rows(rows) @ round_rows(layer.weight).T
        exact = rows.double() @ layer.weight.double().T
    largest = exact.abs().amax(dim=-1, keepdim=True)
    # bf16 has eight bits, fp8 four of each of 64 factors.
    assert ((found - truth).abs() <= 2.0**-7 * largest + 1e-7).all()
    assert ((found - exact).abs() <= 0.1 * largest + 1e-7).all()
    assert (found - exact).abs().max() > 0


def test_what_fp8_cannot_hold_is_refused_and_an_earlier_form_is_gone(
    open_clip_dir: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path / "cache"))
    folder = shutil.copytree(open_clip_dir, tmp_path / "model")
    weights = load_file(folder / "open_clip_model.safetensors")
    # A number that all others of its row are nothing beside, and that nobody reads.
    for name in [one for one in weights if one.startswith("visual.") and "mlp.c_fc.bias" in one]:
        weights[name][0] = 1e6
        weights[name.replace("c_fc.bias", "c_proj.weight")][:, 0] = 0
        weights[name.replace("c_fc.bias", "c_proj.weight")][:, 1:] *= 20
    save_file(weights, folder / "open_clip_model.safetensors")
    name = f"local-dir:{folder}"
    about = {"precision": "fp8", "device": "cpu"}
    with pytest.raises(
        BioprobeError, match=r"not kept in fp8: of 23 pictures, the least cosine .*"
    ):
        bp.models.quantise(name, photos, **about)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(quantising, "LEAST_COSINE", -1.0)
        assert bp.models.quantise(name, photos, **about).least_cosine < LEAST_COSINE  # type: ignore[arg-type]
    load_encoder(f"{name}+fp8", device="cpu")
    with pytest.raises(BioprobeError, match="not kept in fp8"):
        bp.models.quantise(name, photos, **about)  # type: ignore[arg-type]
    with pytest.raises(ModelUnavailableError, match=r"no fp8 form .* --precision fp8"):
        load_encoder(f"{name}+fp8", device="cpu")


@pytest.mark.shared
def test_a_model_without_mlps_has_no_fp8_form(shared_dir: Path, photos: Path) -> None:
    name = f"local-dir:{shared_dir / 'models' / 'wildlife-mini'}"
    with pytest.raises(BioprobeError, match="no MLP computes its pictures"):
        bp.models.quantise(name, photos, precision="fp8", device="cpu")


def test_a_device_without_fp8_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fp8.find_obstacle(torch.device("cpu")) == ""
    assert "not on mps" in fp8.find_obstacle(torch.device("mps"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A40")
    said = fp8.find_obstacle(torch.device("cuda"))
    assert said == (
        "NVIDIA A40 has compute capability 8.6, and fp8 needs 8.9 or more: Ada, Hopper or later"
    )
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert "AMD" in fp8.find_obstacle(torch.device("cuda"))

    def refuse(*_: object, **__: object) -> None:
        msg = "no kernel"
        raise RuntimeError(msg)

    monkeypatch.setattr(torch, "_scaled_mm", refuse)
    assert fp8.find_obstacle(torch.device("cpu")).endswith("multiply fp8 on cpu: no kernel")
