"""An encoder that was finetuned: the same as by its own library, whole, and honest of its teachers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

import bioprobe as bp
from bioprobe.encoders import load_encoder
from bioprobe.face.store import Store
from bioprobe.progress import Step


def _read(folder: Path) -> dict[str, np.ndarray]:
    (weights,) = folder.glob("*.safetensors")
    return {k: v.numpy() for k, v in safetensors.torch.load_file(weights).items()}


@pytest.mark.parametrize("library", ["open_clip", "transformers", "timm"])
def test_a_model_of_each_library_learns_and_loads_by_its_name(
    embed_with: Callable[[str], Path], tmp_path: Path, library: str
) -> None:
    store = bp.open(embed_with(library), device="cpu")
    found = store.finetune("colour", to=tmp_path / "mine", blocks=1, epochs=2, rate=0.003)
    losses = [one.loss for one in found.history[1:]]
    assert losses[1] < losses[0]
    encoder = load_encoder(found.model, device="cpu")
    base = load_encoder(found.provenance["base"]["model"], device="cpu")
    assert encoder.fingerprint.key != base.fingerprint.key
    assert encoder.fingerprint.preprocessing_sha256 == base.fingerprint.preprocessing_sha256
    changed = _read(tmp_path / "mine")
    before = _read(embed_with(library).parent / "model")
    block = found.provenance["settings"]["blocks"][0]
    moved = {name for name in changed if not np.array_equal(changed[name], before[name])}
    assert any(name.startswith(block) for name in moved)
    # What was frozen is as it was, to the last bit.
    assert not any(name.startswith(("visual.conv1", "embeddings", "stem")) for name in moved)
    assert not list(tmp_path.glob(".mine*"))


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(store: Store, tmp_path: Path) -> None:
    def stop_at(what: str, done: int) -> Callable[[Step], None]:
        def tell(step: Step) -> None:
            if step.what == what and step.done >= done:
                raise KeyboardInterrupt

        return tell

    asked = {"blocks": 2, "epochs": 3, "batch_size": 4, "views": 2, "rate": 0.001}
    store.finetune("colour", to=tmp_path / "whole", **asked)
    for what, done in (("pictures through the frozen part", 1), ("steps", 4), ("steps", 8)):
        with pytest.raises(KeyboardInterrupt):
            store.finetune("colour", to=tmp_path / "parts", **asked, progress=stop_at(what, done))
        assert not (tmp_path / "parts").exists()
    store.finetune("colour", to=tmp_path / "parts", **asked)
    whole, parts = _read(tmp_path / "whole"), _read(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_pictures_that_taught_the_encoder_are_left_out_of_what_it_has_right(
    store: Store, tmp_path: Path
) -> None:
    found = store.finetune("colour", to=tmp_path / "mine", blocks=1, epochs=1, choose="last")
    assert "12 pictures of 3 classes" in str(bp.models.info(found.model).notes[0])
    pictures = store.folder.parent / "pictures"
    again = bp.embed(
        pictures / "pictures.csv", model=found.model, store=tmp_path / "store", device="cpu"
    )
    assert any("12 of these taught it" in note.text for note in again.notes)
    # The model may be elsewhere when the store is asked.
    (tmp_path / "mine").rename(tmp_path / "moved")
    (tmp_path / "store" / "text").mkdir(exist_ok=True)
    again = bp.open(tmp_path / "store", model=f"local-dir:{tmp_path / 'moved'}", device="cpu")
    answers = again.zeroshot(classes="ruby,leaf,sky", level="colour")
    assert answers.taught is not None
    assert answers.taught.sum() == 12
    assert answers.accuracy()[0].n_images == 12
    assert any("12 labelled images taught the encoder" in note.text for note in answers.notes)
    again.split("colour", name="mixed", fractions="0.5,0,0.5", seed=1)
    judged = again.evaluate("colour", methods="zeroshot,centroid", split="mixed", n_resamples=20)
    n = int(answers.taught[judged.predictions["row"].unique()].sum())
    assert any(f"WARNING: {n} of the 12 images that judge" in note.text for note in judged.notes)
    assert any(f"on the {12 - n} that are not in" in note.text for note in judged.notes)
    fitted = again.fit("centroid", "colour", split="mixed", calibration="none")
    mine = fitted.predict(again).taught
    assert mine is not None
    assert (mine >= answers.taught).all()
