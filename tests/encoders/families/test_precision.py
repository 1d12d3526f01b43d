from __future__ import annotations

import json
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bioprobe.cache import find_cache
from bioprobe.cli.app import run
from bioprobe.encoders import load_encoder
from bioprobe.encoders.families import precision
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.encoders.trials import Bf16Trial
from bioprobe.types import Vectors

HAS_BF16 = precision._may_be_fast(torch.device("cpu"))
GREY = Image.new("RGB", (64, 64), "grey")
TIME_ENCODING = precision._time_encoding


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Bf16Trial]:
    """Forget what other tests of this process have measured."""
    monkeypatch.setattr(precision, "_MEASURED", {})
    return precision._MEASURED


def _load(folder: Path, asked: str) -> TorchEncoder:
    encoder = load_encoder(f"local-dir:{folder}", device="cpu", precision=asked)
    assert isinstance(encoder, TorchEncoder)
    return encoder


Times = tuple[float, ...]


def _settle(
    encoder: TorchEncoder,
    monkeypatch: pytest.MonkeyPatch,
    *,
    fp32_s: Times = (2.0, 2.0, 2.0),
    bf16_s: Times = (1.0, 1.0, 1.0),
) -> None:
    """Choose with the clock set: the times of each turn are given, the vectors are real."""
    times_s = {"fp32": iter(fp32_s), "bf16": iter(bf16_s)}

    def time_encoding(
        asked: TorchEncoder, probes: Vectors, *, is_first: bool
    ) -> tuple[Vectors, float]:
        vectors, _ = TIME_ENCODING(asked, probes, is_first=is_first)
        return vectors, next(times_s[asked.runtime.precision])

    monkeypatch.setattr(precision, "_may_be_fast", lambda _device: True)
    monkeypatch.setattr(precision, "_time_encoding", time_encoding)
    precision.settle_precision(encoder)


def test_bf16_is_chosen_where_it_is_faster_and_the_same(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = _load(open_clip_dir, "fp32")
    monkeypatch.setattr(precision, "_LEAST_COSINE", 0.999)
    _settle(encoder, monkeypatch)
    assert encoder.fingerprint.precision == encoder.runtime.precision == "bf16"
    assert encoder.bf16_trial is not None
    assert encoder.bf16_trial.gain == 2
    assert next(encoder.module.parameters()).dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("fp32_s", "bf16_s", "wanted"),
    [
        ((2.0, 2.0, 2.0), (9.0, 1.0, 9.0), "bf16"),
        ((9.0, 1.0, 9.0), (2.0, 2.0, 2.0), "fp32"),
        ((1.0, 1.0, 1.0), (0.96, 0.96, 0.96), "fp32"),
        ((1.0, 1.0, 0.5), (0.9, 0.9, 0.9), "fp32"),
    ],
)
def test_the_quickest_turn_of_each_counts_and_bf16_has_to_win_clearly(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch, fp32_s: Times, bf16_s: Times, wanted: str
) -> None:
    encoder = _load(open_clip_dir, "fp32")
    monkeypatch.setattr(precision, "_LEAST_COSINE", 0.999)
    _settle(encoder, monkeypatch, fp32_s=fp32_s, bf16_s=bf16_s)
    assert encoder.fingerprint.precision == wanted


def test_where_one_is_much_faster_two_turns_are_enough(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = _load(open_clip_dir, "fp32")
    monkeypatch.setattr(precision, "_LEAST_COSINE", 0.999)
    _settle(encoder, monkeypatch, fp32_s=(2.0, 2.0), bf16_s=(1.0, 1.0))
    assert encoder.fingerprint.precision == "bf16"


def test_what_was_found_is_kept_for_the_same_model_on_the_same_machine(
    open_clip_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    nothing_measured: dict[str, Bf16Trial],
) -> None:
    monkeypatch.setattr(precision, "_LEAST_COSINE", 0.999)
    with caplog.at_level("INFO", logger="bioprobe.loading"):
        _settle(_load(open_clip_dir, "fp32"), monkeypatch)
        # Nothing is measured again, as by another process: another time there is none.
        nothing_measured.clear()
        again = _load(open_clip_dir, "fp32")
        _settle(again, monkeypatch, fp32_s=(), bf16_s=())
    assert again.fingerprint.precision == "bf16"
    assert caplog.text.count("precision: bf16; bf16 has 2.00 x the speed of fp32") == 2
    monkeypatch.setattr(precision, "describe_machine", lambda *_: {"processor": "another"})
    elsewhere = _load(open_clip_dir, "fp32")
    _settle(elsewhere, monkeypatch, bf16_s=(3.0, 3.0, 3.0))
    assert elsewhere.fingerprint.precision == "fp32"


def test_what_is_kept_and_cannot_be_read_is_measured_anew(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch, nothing_measured: dict[str, Bf16Trial]
) -> None:
    monkeypatch.setattr(precision, "_LEAST_COSINE", 0.999)
    _settle(_load(open_clip_dir, "fp32"), monkeypatch)
    (kept,) = find_cache("precisions").iterdir()
    kept.write_text(kept.read_text()[:20])
    nothing_measured.clear()
    encoder = _load(open_clip_dir, "fp32")
    _settle(encoder, monkeypatch, bf16_s=(3.0, 3.0, 3.0))
    assert encoder.fingerprint.precision == "fp32"
    assert json.loads(kept.read_text())["gain"] == pytest.approx(2 / 3)


def test_where_nothing_can_be_kept_it_is_measured_once_a_process(
    open_clip_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    nothing_measured: dict[str, Bf16Trial],
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("BIOPROBE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(precision, "_LEAST_COSINE", 0.999)
    _settle(_load(open_clip_dir, "fp32"), monkeypatch)
    again = _load(open_clip_dir, "fp32")
    _settle(again, monkeypatch, fp32_s=(), bf16_s=())
    assert again.fingerprint.precision == "bf16"
    nothing_measured.clear()
    other = _load(open_clip_dir, "fp32")
    _settle(other, monkeypatch, bf16_s=(3.0, 3.0, 3.0))
    assert other.fingerprint.precision == "fp32"


def test_on_a_gpu_it_is_measured_on_as_many_pictures_as_fill_it(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, shapes = _load(open_clip_dir, "fp32"), []

    def encode(pixels: Vectors) -> Vectors:
        shapes.append(len(pixels))
        return np.ones((len(pixels), 2), dtype=np.float32)

    monkeypatch.setattr(encoder, "encode_pixels", encode)
    monkeypatch.setattr(precision, "_may_be_fast", lambda _device: True)
    monkeypatch.setattr(TorchEncoder, "batch_size", 40)
    for device in ("cuda", "cpu"):
        monkeypatch.setattr(TorchEncoder, "device", device)
        precision.settle_precision(encoder)
    # One less than a whole batch, which may be another backend's; no more on a processor. Two turns
    # of both, before which each is run once.
    assert set(shapes[:6]) == {39}
    assert set(shapes[-6:]) == {15}


def test_it_is_measured_by_torch_alone_however_few_pictures_are_a_batch(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[dict[str, int]] = []

    def count(encoder: TorchEncoder, pixels: Vectors, *, is_first: bool) -> tuple[Vectors, float]:
        found = TIME_ENCODING(encoder, pixels, is_first=is_first)
        counted.append(encoder.count_rows())
        return found

    monkeypatch.setattr(precision, "_may_be_fast", lambda _device: True)
    monkeypatch.setattr(precision, "_time_encoding", count)
    name = f"local-dir:{open_clip_dir}"
    load_encoder(name, device="cpu", precision="auto", batch_size=2, backend="traced")
    assert counted[:2] == [{"torch": 2}] * 2
    assert {key for one in counted for key in one} == {"torch"}


def test_a_slower_bf16_leaves_the_weights_as_they_were(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, untouched = _load(open_clip_dir, "fp32"), _load(open_clip_dir, "fp32")
    _settle(encoder, monkeypatch, bf16_s=(3.0, 3.0, 3.0))
    assert encoder.fingerprint.precision == "fp32"
    for mine, other in zip(encoder.module.parameters(), untouched.module.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_bf16_with_other_vectors_is_not_chosen(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = _load(open_clip_dir, "fp32")
    monkeypatch.setattr(precision, "_LEAST_COSINE", 1.1)
    _settle(encoder, monkeypatch)
    assert encoder.fingerprint.precision == "fp32"


def test_a_processor_without_bf16_is_not_even_tried(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_may_be_fast", lambda _device: False)
    monkeypatch.setattr(precision, "_time_encoding", lambda *_: pytest.fail("was tried"))
    assert _load(open_clip_dir, "auto").fingerprint.precision == "fp32"


@pytest.mark.parametrize("backend", ["numpy", "onnx", "traced"])
def test_weights_stay_in_fp32_for_a_backend_that_is_named_and_runs_nothing_else(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(precision, "_LEAST_COSINE", 0.999)
    monkeypatch.setattr(precision, "_may_be_fast", lambda _device: True)
    monkeypatch.setattr(precision, "_measure", lambda *_: Bf16Trial(gain=2.0, cosine=0.9999))
    name = f"local-dir:{open_clip_dir}"
    encoder = load_encoder(name, device="cpu", precision="auto", backend=backend, batch_size=2)
    assert encoder.fingerprint.precision == ("bf16" if backend == "traced" else "fp32")
    assert isinstance(encoder, TorchEncoder)
    # It runs whole batches.
    encoder.encode_pixels(np.zeros((2, *encoder.preprocess(GREY).shape), dtype=np.float32))
    assert encoder.count_rows()["torch"] == 2
    encoder.encode_pixels(np.zeros((2, *encoder.preprocess(GREY).shape), dtype=np.float32))
    assert encoder.count_rows()[backend] == 2


def test_a_backend_that_says_nothing_of_precisions_runs_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "BACKENDS", types.SimpleNamespace(load=lambda _name: object()))
    assert not precision._is_for_fp32_only("another")


@pytest.mark.parametrize("asked", [[], ["--precision", "auto"]])
def test_a_check_is_of_what_a_new_store_would_have_and_tells_by_what_it_was_chosen(
    open_clip_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: list[str],
) -> None:
    monkeypatch.setattr(precision, "_LEAST_COSINE", 0.999)
    _settle(_load(open_clip_dir, "fp32"), monkeypatch)
    check = ["models", "check", f"local-dir:{open_clip_dir}", "--device", "cpu", *asked]
    assert run(check) == 0
    said = capsys.readouterr().out
    assert "precision      bf16\n" in said
    assert "  measured     bf16 has 2.00 x the speed of fp32, mean cosine 0.99" in said
    assert run([*check[:5], "--precision", "fp32"]) == 0
    assert "bf16" not in capsys.readouterr().out


def test_probes_have_the_shape_and_range_of_pixels() -> None:
    probes = precision._draw_probes((3, 30, 20), 4)
    assert probes.shape == (4, 3, 30, 20)
    assert 0.5 < np.abs(probes).mean() < 2


@pytest.mark.shared
@pytest.mark.skipif(not HAS_BF16, reason="this processor has no fast bf16")
def test_auto_keeps_fp32_for_a_mobile_net(shared_dir: Path) -> None:
    folder = shared_dir / "models" / "wildlife-mini"
    assert _load(folder, "auto").fingerprint.precision == "fp32"
