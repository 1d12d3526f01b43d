"""An encoder that was finetuned: the same after a stop, and honest of its teachers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bioprobe as bp
from bioprobe.errors import MisuseError, SourceError, StoreError
from bioprobe.face.store import Store
from bioprobe.finetuning.activations import holding_drafts
from bioprobe.progress import Step
from bioprobe.task.predictions import Predictions


def _hash(folder: Path) -> bytes:
    (weights,) = folder.glob("*.safetensors")
    return weights.read_bytes()


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(store: Store, tmp_path: Path) -> None:
    seen: list[Step] = []

    def stop_at(what: str, done: int) -> Callable[[Step], None]:
        def tell(step: Step) -> None:
            if step.what == what and step.done >= done:
                raise KeyboardInterrupt

        return tell

    asked: dict[str, Any] = {
        "blocks": 2, "epochs": 3, "batch_size": 8, "views": 2, "rate": 0.003, "split": None,
    }  # fmt: skip
    whole = store.finetune("colour", to=tmp_path / "whole", **asked, progress=seen.append)
    assert whole.history[3].loss < whole.history[1].loss
    assert [step for step in seen if step.what == "steps"][-1].total == 9
    for what, done in (("pictures through the frozen part", 1), ("steps", 5)):
        with pytest.raises(KeyboardInterrupt):
            store.finetune("colour", to=tmp_path / "parts", **asked, progress=stop_at(what, done))
        assert not (tmp_path / "parts").exists()
    # Another plan goes on from nothing of this one.
    seen.clear()

    def stop_soon(step: Step) -> None:
        seen.append(step)
        stop_at("steps", 1)(step)

    with pytest.raises(KeyboardInterrupt):
        store.finetune(
            "colour", to=tmp_path / "parts", **asked | {"rate": 0.001}, progress=stop_soon
        )
    assert [step.done for step in seen if step.what == "steps"] == [1]
    seen.clear()
    store.finetune("colour", to=tmp_path / "parts", **asked, progress=seen.append)
    # One epoch was whole: two were left, and no picture was read again.
    assert [step.done for step in seen] == [4, 5, 6, 7, 8, 9]
    assert _hash(tmp_path / "whole") == _hash(tmp_path / "parts")
    assert not list(tmp_path.glob(".*"))


def test_each_setting_has_an_effect(store: Store, tmp_path: Path) -> None:
    few = store.where(rows=[0, 1, 2, 3, 4, 5, 6, 9])
    asked: dict[str, Any] = {"blocks": 1, "epochs": 1, "split": None, "rate": 0.003}
    changes: tuple[dict[str, Any], ...] = (
        {}, {"balance": "none"}, {"anchor": 5.0}, {"seed": 1, "batch_size": 2}, {"batch_size": 4},
        {"precision": "bf16"}, {"choose": "last"}, {"templates": "bare"},
    )  # fmt: skip
    made = []
    for number, changed in enumerate(changes):
        few.finetune("colour", to=tmp_path / str(number), **asked | changed)
        made.append(_hash(tmp_path / str(number)))
    assert len(set(made)) == len(changes)


def test_pictures_that_taught_the_encoder_are_left_out_of_what_it_has_right(
    store: Store, tmp_path: Path
) -> None:
    picture = store.folder.parent / "00.png"
    picture.rename(tmp_path / "gone.png")
    try:
        found = store.finetune(
            "colour", to=tmp_path / "mine", blocks=1, epochs=1, choose="last", leave_out=0.34
        )
    finally:
        (tmp_path / "gone.png").rename(picture)
    said = "\n".join(map(str, found.notes))
    assert "1 pictures could not be read" in said
    assert "of the places and times that taught" in said
    assert set(found.to_frame()["method"]) == {"zeroshot", "finetuned", "linear"}
    n_taught, n_classes = found.provenance["n_images"], found.provenance["n_classes"]
    assert n_classes == 2
    assert n_taught in {7, 8}
    assert f"{n_taught} pictures of 2 classes" in str(bp.models.info(found.model).notes[0])
    table = store.folder.parent / "pictures.csv"
    again = bp.embed(table, model=found.model, store=tmp_path / "store", device="cpu")
    assert any(f"{n_taught} of these taught it" in note.text for note in again.notes)
    # The model may be elsewhere when the store is asked.
    (tmp_path / "mine").rename(tmp_path / "moved")
    again = bp.open(tmp_path / "store", model=f"local-dir:{tmp_path / 'moved'}", device="cpu")
    answers = again.zeroshot(classes="ruby,leaf,sky", level="colour")
    assert isinstance(answers, Predictions)
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
    answered = fitted.predict(again)
    assert isinstance(answered, Predictions)
    mine = answered.taught
    assert mine is not None
    assert (mine >= answers.taught).all()


def test_what_cannot_be_done_is_said_before_any_work(store: Store, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").touch()
    with pytest.raises(SourceError, match="is there already"):
        store.finetune("colour", to=tmp_path)
    with pytest.raises(MisuseError, match="got --views 3"):
        store.finetune("colour", to=tmp_path / "mine", views=3)
    drafts = tmp_path / ".mine.unfinished"
    with holding_drafts(drafts), pytest.raises(StoreError, match="another run is at work"):
        store.finetune("colour", to=tmp_path / "mine")
