"""An encoder that was finetuned: whole, loaded by its name, and honest of its teachers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch

import bioprobe as bp
from bioprobe.encoders import load_encoder
from bioprobe.errors import MisuseError, SourceError
from bioprobe.face.store import Store
from bioprobe.progress import Step


def _read(folder: Path) -> dict[str, npt.NDArray[Any]]:
    (weights,) = folder.glob("*.safetensors")
    return {k: v.numpy() for k, v in safetensors.torch.load_file(weights).items()}


def _find_moved(before: Path, after: Path) -> set[str]:
    changed, was = _read(after), _read(before)
    return {name for name in changed if not np.array_equal(changed[name], was[name])}


@pytest.mark.parametrize("library", ["open_clip", "transformers", "timm"])
def test_a_model_of_each_library_learns_and_loads_by_its_name(
    embed_with: Callable[[str], Path], tmp_path: Path, library: str
) -> None:
    store = bp.open(embed_with(library), device="cpu")
    found = store.finetune(
        "colour", to=tmp_path / "mine", blocks=1, epochs=2, rate=0.003, split=None
    )
    losses = [one.loss for one in found.history[1:]]
    assert losses[1] < losses[0]
    encoder = load_encoder(found.model, device="cpu")
    base = load_encoder(found.provenance["base"]["model"], device="cpu")
    assert encoder.fingerprint.key != base.fingerprint.key
    assert encoder.fingerprint.preprocessing_sha256 == base.fingerprint.preprocessing_sha256
    moved = _find_moved(embed_with(library).parent / "model", tmp_path / "mine")
    block = found.provenance["settings"]["blocks"][0]
    assert any(name.startswith(block) for name in moved)
    # What was frozen is as it was, to the last bit.
    assert not any(name.startswith(("visual.conv1", "embeddings", "stem", "tok")) for name in moved)
    assert not list(tmp_path.glob(".mine*"))
    # Nothing was learnt in the store's own encoder, which shares what is frozen.
    assert store.X.shape == (24, encoder.dim)


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(store: Store, tmp_path: Path) -> None:
    seen: list[Step] = []

    def stop_at(what: str, done: int) -> Callable[[Step], None]:
        def tell(step: Step) -> None:
            seen.append(step)
            if step.what == what and step.done >= done:
                raise KeyboardInterrupt

        return tell

    asked: dict[str, Any] = {
        "blocks": 2, "epochs": 3, "batch_size": 8, "views": 2, "rate": 0.001, "split": None,
    }  # fmt: skip
    store.finetune("colour", to=tmp_path / "whole", **asked, progress=seen.append)
    n_steps = [step for step in seen if step.what == "steps"][-1].total
    assert n_steps == 9
    for what, done in (("pictures through the frozen part", 1), ("steps", 5)):
        with pytest.raises(KeyboardInterrupt):
            store.finetune("colour", to=tmp_path / "parts", **asked, progress=stop_at(what, done))
        assert not (tmp_path / "parts").exists()
    seen.clear()
    store.finetune("colour", to=tmp_path / "parts", **asked, progress=seen.append)
    # One epoch was whole: two were left, and no picture was read again.
    assert [step.done for step in seen] == [4, 5, 6, 7, 8, 9]
    assert not _find_moved(tmp_path / "whole", tmp_path / "parts")


def test_pictures_that_taught_the_encoder_are_left_out_of_what_it_has_right(
    store: Store, tmp_path: Path
) -> None:
    (store.folder.parent / "pictures" / "00.png").rename(tmp_path / "gone.png")
    try:
        found = store.finetune(
            "colour", to=tmp_path / "mine", blocks=1, epochs=1, choose="last", leave_out=0.34
        )
    finally:
        (tmp_path / "gone.png").rename(store.folder.parent / "pictures" / "00.png")
    said = "\n".join(map(str, found.notes))
    assert "1 pictures could not be read" in said
    assert "of the places and times that taught" in said
    assert set(found.to_frame()["method"]) == {"zeroshot", "finetuned", "linear"}
    n_taught, n_classes = found.provenance["n_images"], found.provenance["n_classes"]
    assert n_classes == 2
    assert n_taught in {7, 8}
    assert f"{n_taught} pictures of 2 classes" in str(bp.models.info(found.model).notes[0])
    table = store.folder.parent / "pictures" / "pictures.csv"
    again = bp.embed(table, model=found.model, store=tmp_path / "store", device="cpu")
    assert any(f"{n_taught} of these taught it" in note.text for note in again.notes)
    # The model may be elsewhere when the store is asked.
    (tmp_path / "mine").rename(tmp_path / "moved")
    again = bp.open(tmp_path / "store", model=f"local-dir:{tmp_path / 'moved'}", device="cpu")
    answers = again.zeroshot(classes="ruby,leaf,sky", level="colour")
    assert answers.taught is not None
    assert answers.taught.sum() == n_taught
    assert answers.accuracy()[0].n_images == 24 - n_taught
    assert any(f"{n_taught} labelled images taught" in note.text for note in answers.notes)
    again.split("colour", name="mixed", fractions="0.5,0,0.5", seed=1)
    judged = again.evaluate("colour", methods="zeroshot,centroid", split="mixed", n_resamples=20)
    n = int(answers.taught[judged.predictions["row"].unique()].sum())
    assert any(f"WARNING: {n} of the 12 images that judge" in note.text for note in judged.notes)
    assert any(f"on the {12 - n} that are not in" in note.text for note in judged.notes)
    fitted = again.fit("centroid", "colour", split="mixed", calibration="none")
    mine = fitted.predict(again).taught
    assert mine is not None
    assert (mine >= answers.taught).all()


def test_low_rank_changes_become_part_of_the_weights(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    asked: dict[str, Any] = {"lora": 2, "blocks": 1, "epochs": 1, "rate": 0.01, "split": None}
    found = store.finetune("colour", to=tmp_path / "mine", **asked)
    layers = found.provenance["settings"]["lora_layers"]
    # The attention of open_clip holds its weights in one piece, and is one layer.
    assert [name.rpartition(".")[2] for name in layers] == ["attn", "c_fc", "c_proj"]
    moved = _find_moved(store.folder.parent / "model", tmp_path / "mine")
    assert {name.rsplit(".", 1)[0] for name in moved} == {
        f"{layers[0]}", f"{layers[0]}.out_proj", *layers[1:]
    }  # fmt: skip
    for name in moved:
        change = _read(tmp_path / "mine")[name] - _read(store.folder.parent / "model")[name]
        assert np.linalg.matrix_rank(change, tol=1e-4 * np.abs(change).max()) <= 2 * 3


def test_what_cannot_be_done_is_said_before_any_work(store: Store, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"--blocks is 9, and .* has 3"):
        store.finetune("colour", to=tmp_path / "mine", blocks=9)
    (tmp_path / "kept.txt").touch()
    with pytest.raises(SourceError, match="is there already"):
        store.finetune("colour", to=tmp_path)
