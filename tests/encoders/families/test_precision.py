from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bioprobe.encoders import load_encoder
from bioprobe.encoders.families import precision
from bioprobe.encoders.families.torch_encoder import TorchEncoder
from bioprobe.types import Vectors

HAS_BF16 = precision._may_be_fast(torch.device("cpu"))


def _load(folder: Path, asked: str) -> TorchEncoder:
    encoder = load_encoder(f"local-dir:{folder}", device="cpu", precision=asked)
    assert isinstance(encoder, TorchEncoder)
    return encoder


def _settle(
    encoder: TorchEncoder, monkeypatch: pytest.MonkeyPatch, *, seconds_s: tuple[float, float]
) -> None:
    """Choose with the clock set: the times of fp32 and bf16 are given, the vectors are real."""
    real = precision._time_encoding
    times_s = iter(seconds_s)
    monkeypatch.setattr(precision, "_may_be_fast", lambda _device: True)
    monkeypatch.setattr(
        precision, "_time_encoding", lambda *given: (real(*given)[0], next(times_s))
    )
    precision.settle_precision(encoder)


def test_bf16_is_chosen_where_it_is_faster_and_the_same(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = _load(open_clip_dir, "fp32")
    monkeypatch.setattr(precision, "_LEAST_COSINE", 0.999)
    _settle(encoder, monkeypatch, seconds_s=(2.0, 1.0))
    assert encoder.fingerprint.precision == encoder.runtime.precision == "bf16"
    assert next(encoder.module.parameters()).dtype is torch.bfloat16


def test_on_a_gpu_it_is_measured_on_as_many_pictures_as_fill_it(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, shapes = _load(open_clip_dir, "fp32"), []
    for device in ("cuda", "cpu"):
        monkeypatch.setattr(TorchEncoder, "device", device)
        monkeypatch.setattr(encoder, "encode_pixels", lambda pixels: shapes.append(len(pixels)))
        monkeypatch.setattr(precision, "_may_be_fast", lambda _device: True)
        with pytest.raises(TypeError):
            precision.settle_precision(encoder)
    # One less than a whole batch, which may be another backend's; each is run twice, in both.
    assert shapes == [15] * 4 + [4] * 4


def test_it_is_measured_by_torch_alone_however_few_pictures_are_a_batch(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, counted = precision._time_encoding, list[dict[str, int]]()

    def count(encoder: TorchEncoder, pixels: Vectors) -> tuple[Vectors, float]:
        found = measure(encoder, pixels)
        counted.append(encoder.count_rows())
        return found

    monkeypatch.setattr(precision, "_may_be_fast", lambda _device: True)
    monkeypatch.setattr(precision, "_time_encoding", count)
    name = f"local-dir:{open_clip_dir}"
    load_encoder(name, device="cpu", precision="auto", batch_size=2, backend="traced")
    assert counted == [{"torch": 2}] * 2


def test_a_slower_bf16_leaves_the_weights_as_they_were(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, untouched = _load(open_clip_dir, "fp32"), _load(open_clip_dir, "fp32")
    _settle(encoder, monkeypatch, seconds_s=(1.0, 2.0))
    assert encoder.fingerprint.precision == "fp32"
    for mine, other in zip(encoder.module.parameters(), untouched.module.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_bf16_with_other_vectors_is_not_chosen(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = _load(open_clip_dir, "fp32")
    monkeypatch.setattr(precision, "_LEAST_COSINE", 1.1)
    _settle(encoder, monkeypatch, seconds_s=(2.0, 1.0))
    assert encoder.fingerprint.precision == "fp32"


def test_a_processor_without_bf16_is_not_even_tried(
    open_clip_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_may_be_fast", lambda _device: False)
    monkeypatch.setattr(precision, "_time_encoding", lambda *_: pytest.fail("was tried"))
    assert _load(open_clip_dir, "auto").fingerprint.precision == "fp32"


def test_probes_have_the_shape_and_range_of_pixels() -> None:
    probes = precision._draw_probes((3, 30, 20), 4)
    assert probes.shape == (4, 3, 30, 20)
    assert 0.5 < np.abs(probes).mean() < 2


@pytest.mark.shared
@pytest.mark.skipif(not HAS_BF16, reason="this processor has no fast bf16")
def test_auto_keeps_fp32_for_a_mobile_net(shared_dir: Path) -> None:
    folder = shared_dir / "models" / "wildlife-mini"
    assert _load(folder, "auto").fingerprint.precision == "fp32"
