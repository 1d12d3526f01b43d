from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp

X = np.array([[3.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
TABLE = {"family": ["Felidae", "Felidae", "Canidae"], "site": ["a", "b", "a"]}


def test_vectors_at_hand_are_asked_as_embedded_images_are() -> None:
    store = bp.from_vectors(X, TABLE, model="mine")
    np.testing.assert_allclose(store.X, [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], atol=1e-6)
    assert store.labels("family").tolist() == TABLE["family"]
    assert store.images["site"].tolist() == ["a", "b", "a"]
    found = store.search(row=0, k=2)
    assert found.rows.tolist() == [1, 2]
    assert found.similarities == pytest.approx([0.8, 0])
    assert store.where("site == 'a'").rows.tolist() == [0, 2]
    assert found.provenance.store == "3 vectors of mine"
    assert store.describe("family").to_frame()["n_images"].tolist() == [2, 1]
    said = [str(note) for note in store.notes]
    assert said[0].startswith("3 vectors of dim 2 (array; they had norms 1 to 3, now 1)")
    assert [str(note) for note in found.notes] == []


def test_a_store_that_is_named_lasts_and_grows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": ["a.jpg", "b.jpg", "c.jpg"]}, index=[7, 8, 9])
    made = bp.from_vectors(
        X, frame, model="mine", store=tmp_path / "s", root="photos", dtype="float16"
    )
    assert made.folder == tmp_path / "s"
    bp.from_vectors(X[:1], {"path": ["d.jpg"]}, model="mine", store=tmp_path / "s", root="photos")
    store = bp.open(tmp_path / "s")
    assert store.images["path"].tolist() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert set(store.images["root"]) == {str(Path("photos").absolute())}
    with pytest.raises(bp.MismatchError, match="holds vectors of mine"):
        bp.from_vectors(X, model="other", store=tmp_path / "s")


def test_one_that_is_not_named_goes_with_what_holds_it() -> None:
    store = bp.from_vectors(X, model="mine")
    assert store.images["path"].tolist() == [f"vectors-{row:08d}" for row in range(3)]
    folder = store.folder
    del store
    gc.collect()
    assert not folder.parent.exists()


@pytest.mark.usefixtures("loads")
def test_vectors_of_an_encoder_are_asked_by_its_texts(write_pictures: Callable[..., Path]) -> None:
    files = sorted(write_pictures(3).glob("*.png"))
    held = bp.encoder("plain")
    store = bp.from_vectors(held.images(files), {"path": files}, model="plain-1", logit_scale=20)
    answers = store.zeroshot(classes="cat,dog")
    expected = held.classify(files, "cat,dog")
    assert isinstance(answers, bp.Predictions)
    assert answers.scores == pytest.approx(expected.scores, abs=1e-5)


def test_a_row_that_failed_is_listed_once_and_struck_when_it_is_taken(tmp_path: Path) -> None:
    def take(vector: list[float], other: str) -> bp.Store:
        table = {"path": ["a.jpg", other]}
        return bp.from_vectors([vector, [0.0, 1.0]], table, model="mine", store=tmp_path / "store")

    take([0.0, 0.0], "b.jpg")
    assert take([0.0, np.nan], "c.jpg").failures["reason"].tolist() == [
        "a vector of numbers that are not finite"
    ]
    assert len(take([1.0, 0.0], "d.jpg").failures) == 0


def test_rows_without_a_direction_are_listed_and_shapes_checked() -> None:
    store = bp.from_vectors([[1.0, 0.0], [0.0, 0.0], [np.nan, 1.0]], model="mine")
    assert len(store) == 1
    assert store.failures["reason"].tolist() == [
        "a vector of zeros", "a vector of numbers that are not finite"
    ]  # fmt: skip
    with pytest.raises(bp.SourceError, match=r"got the shape \(3,\)"):
        bp.from_vectors([1.0, 2.0, 3.0], model="mine")
    with pytest.raises(bp.SourceError, match="3 vectors need a row of the table each, got 2 rows"):
        bp.from_vectors(X, {"path": ["a", "b"]}, model="mine")
    with pytest.raises(bp.SourceError, match="holds no row"):
        bp.from_vectors(np.empty((0, 2)), model="mine")
    with pytest.raises(bp.MismatchError, match="sketch makes"):
        bp.from_vectors(X, model="sketch")
