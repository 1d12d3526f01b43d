"""Probes fitted on a store, kept in it, read again and refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.calibration.calibrators import TemperatureScaling
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import MismatchError, ProbeError, SelectionError, StoreError
from bioprobe.learning.calibrated import Calibration
from bioprobe.learning.fit import HeldOutAnswers, fit_probe
from bioprobe.learning.keeping import (
    read_calibration,
    read_probe,
    remove_probe,
    write_probe,
)
from bioprobe.learning.kept import list_probes
from bioprobe.prompts import TextType
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.target import Target, Texts, hash_rows, label_rows, mark_rows
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from tests.conftest import make_parts

FAMILIES = ("Felidae", "Canidae", "Ursidae", "Otariidae")
DIM = 12
CENTRES = np.random.default_rng(5).normal(size=(len(FAMILIES), DIM))


def _make_store(folder: Path, n: int = 80, *, weights: str = "a" * 64) -> EmbeddingStore:
    random = np.random.default_rng(0)
    places = np.arange(n) % len(FAMILIES)
    frame = pd.DataFrame(
        {
            "path": [f"{row}.jpg" for row in range(n)],
            "sha256": [f"{row:064d}" for row in range(n)],
            "phylum": "Chordata",
            "order": "Carnivora",
            "family": [FAMILIES[place] for place in places],
            "number": np.arange(n),
        }
    )
    encoder = Fingerprint(model="plain", weights_sha256=weights, backend="numpy")
    store = EmbeddingStore.create(folder, encoder, dim=DIM, has_text_tower=True)
    return store.append(frame, CENTRES[places] + 0.4 * random.normal(size=(n, DIM)))


def _split(store: EmbeddingStore, *parts: str) -> Split:
    return make_parts([parts[row // 4 % len(parts)] for row in range(len(store))])


@pytest.fixture
def filled(tmp_path: Path) -> EmbeddingStore:
    return _make_store(tmp_path / "store")


@pytest.mark.parametrize("kind", ["lda", "ridge", "knn", "centroid", "linear", "hierarchical"])
def test_a_probe_that_is_read_again_answers_the_same(filled: EmbeddingStore, kind: str) -> None:
    settings = {"C": 10.0} if kind in {"linear", "hierarchical"} else {}
    probe = fit_probe(Task.of(filled, Rank.FAMILY, split=None), kind, settings)
    write_probe(filled, "mine", probe)
    again = read_probe(filled, "mine")
    vectors = filled.read_vectors()
    assert np.array_equal(again.predict_vectors(vectors), probe.predict_vectors(vectors))
    for field in ("classes", "level", "settings", "encoder", "held_out", "rows_hash", "n_rows"):
        assert getattr(again, field) == getattr(probe, field), field
    assert again.taught is not None
    assert probe.taught is not None
    assert np.array_equal(again.taught, probe.taught)
    predictions = again.ask(filled, k=2)
    assert (predictions.names[:, 0] == predictions.truth).mean() > 0.9
    assert again.provenance["command"]
    assert again.provenance["n_rows"] == again.n_rows


@pytest.mark.parametrize("n_taught", [0, 1, 9])
def test_what_taught_is_found_wherever_it_lies_among_others(
    filled: EmbeddingStore, n_taught: int
) -> None:
    probe = fit_probe(Task.of(filled, Rank.FAMILY, split=None), "centroid")
    marks = mark_rows(filled.images, filled.rows)
    taught = np.unique(marks[:: len(marks) // 9][:n_taught])
    few = dataclasses.replace(probe, taught=taught)
    expected = np.isin(marks, taught)
    assert expected.sum() == n_taught
    # Some marks are below, and some above, all of those.
    found = few.find_taught(filled.images, filled.rows)
    assert found is not None
    assert found.tolist() == expected.tolist()
    assert dataclasses.replace(probe, taught=None).find_taught(filled.images, filled.rows) is None


def test_answers_are_for_the_rows_that_are_asked_in_their_order(filled: EmbeddingStore) -> None:
    probe = fit_probe(Task.of(filled, Rank.FAMILY, split=None), "centroid")
    some = probe.ask(View.of(filled).take(np.array([7, 3])), k=99)
    assert some.rows.tolist() == [7, 3]
    assert some.scores.shape == (2, 4)
    assert some.scores.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    few = probe.ask(View.of(filled, "number < 5"), k=1)
    assert few.rows.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(SelectionError):
        probe.ask(View.of(filled, "number < 0"))


def test_a_store_of_another_encoder_is_refused(filled: EmbeddingStore, tmp_path: Path) -> None:
    write_probe(filled, "mine", fit_probe(Task.of(filled, Rank.FAMILY, split=None), "lda"))
    other = _make_store(tmp_path / "other", weights="b" * 64)
    (filled.folder / "probes").rename(other.folder / "probes")
    with pytest.raises(MismatchError, match=r"(?s)aaaaaaaa.*bbbbbbbb.*fit the probe again"):
        read_probe(other, "mine")
    probe = fit_probe(Task.of(other, Rank.FAMILY, split=None), "lda")
    with pytest.raises(MismatchError, match="cannot be compared"):
        probe.ask(filled)
    with pytest.raises(MismatchError, match="dim 12"):
        probe.predict_vectors(np.zeros((2, 5), dtype=np.float32))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("probe.json", lambda text: text[: len(text) // 2]),
        ("probe.json", lambda text: text.replace(b'"kind"', b'"kin"')),
        ("probe.json", lambda text: text.replace(b"Felidae", b"Mustelidae")),
        ("probe.json", lambda _: b"[]"),
        ("probe-*.safetensors", lambda data: data[:-1]),
        ("probe-*.safetensors", lambda data: data[:-4] + b"\x00\x01\x02\x03"),
        ("probe-*.safetensors", None),
    ],
)
def test_damaged_files_are_told(filled: EmbeddingStore, name: str, change: object) -> None:
    folder = write_probe(filled, "mine", fit_probe(Task.of(filled, Rank.FAMILY, split=None), "lda"))
    (path,) = folder.glob(name)
    if callable(change):
        path.write_bytes(change(path.read_bytes()))
    else:
        path.unlink()
    with pytest.raises(StoreError, match=r"damaged: .*; fit it again"):
        read_probe(filled, "mine")


def test_what_is_not_finite_is_neither_answered_nor_kept(filled: EmbeddingStore) -> None:
    probe = fit_probe(Task.of(filled, Rank.FAMILY, split=None), "lda", {"shrinkage": 0.5})
    write_probe(filled, "mine", probe)
    answers = HeldOutAnswers(np.full((4, 4), np.nan, dtype=np.float32), np.arange(4), "validation")
    broken = Calibration(TemperatureScaling(1.0), answers, 4)
    with pytest.raises(ProbeError, match="the numbers of logits are not all finite"):
        write_probe(filled, "mine", probe, broken)
    assert read_calibration(filled, "mine") is None
    cold = dataclasses.replace(probe, calibrator=TemperatureScaling(float("nan")))
    with pytest.raises(ProbeError, match=r"calibration temperature of lda with .*0\.5"):
        cold.predict_vectors(filled.read_vectors())
    probe.estimator.coef_[0, 0] = np.nan
    with pytest.raises(ProbeError, match=r"lda with shrinkage=0\.5 gives"):
        probe.predict_vectors(filled.read_vectors())
    with pytest.raises(ProbeError, match=r"the numbers of coef are .*0\.5"):
        write_probe(filled, "other", probe)
    assert list_probes(filled) == ["mine"]


@pytest.mark.parametrize("value", [float("nan"), -1.0, 2.0, True])
def test_a_setting_out_of_its_limits_is_named(filled: EmbeddingStore, value: float) -> None:
    with pytest.raises(ProbeError, match=r"lda takes a finite shrinkage in \[0, 1\], got"):
        fit_probe(Task.of(filled, Rank.FAMILY, split=None), "lda", {"shrinkage": value})


def test_names_are_checked_and_probes_removed(filled: EmbeddingStore) -> None:
    probe = fit_probe(Task.of(filled, Rank.FAMILY, split=None), "centroid")
    with pytest.raises(ProbeError, match="cannot name a probe"):
        write_probe(filled, "../mine", probe)
    write_probe(filled, "prompt+probe", probe)
    assert list_probes(filled) == ["prompt+probe"]
    remove_probe(filled, "prompt+probe")
    assert list_probes(filled) == []
    with pytest.raises(StoreError, match="none; bioprobe probe fit makes one"):
        read_probe(filled, "prompt+probe")


def test_a_probe_of_a_later_format_is_told(filled: EmbeddingStore) -> None:
    folder = write_probe(filled, "mine", fit_probe(Task.of(filled, Rank.FAMILY, split=None), "lda"))
    card = json.loads((folder / "probe.json").read_text())
    (folder / "probe.json").write_text(json.dumps({**card, "schema_version": 9}))
    with pytest.raises(StoreError, match="format 9"):
        read_probe(filled, "mine")


def test_knn_answers_by_the_images_it_was_fitted_on_after_the_store_changed(
    filled: EmbeddingStore,
) -> None:
    write_probe(filled, "mine", fit_probe(Task.of(filled, Rank.FAMILY, split=None), "knn"))
    vectors = filled.read_vectors()
    before = read_probe(filled, "mine").predict_vectors(vectors)
    changed = filled.retire(range(40))
    assert np.array_equal(read_probe(changed, "mine").predict_vectors(vectors), before)


def test_the_test_part_is_never_read(
    filled: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = _split(filled, "train", "validation", "test")
    read: list[int] = []
    original = EmbeddingStore.read_vectors

    def watch(self: EmbeddingStore, rows: npt.NDArray[np.int64] | None = None) -> object:
        read.extend(range(len(self)) if rows is None else rows.tolist())
        return original(self, rows)

    monkeypatch.setattr(EmbeddingStore, "read_vectors", watch)
    for kind in ("lda", "centroid"):
        fit_probe(Task.of(filled, Rank.FAMILY, split=split), kind)
    assert read
    assert not set(read) & set(split.rows("test").tolist())


def test_values_are_chosen_on_validation_and_fitted_on_training_rows_alone(
    filled: EmbeddingStore,
) -> None:
    split = _split(filled, "train", "validation")
    probe = fit_probe(Task.of(filled, Rank.FAMILY, split=split), "lda")
    train, validation = split.rows("train"), split.rows("validation")
    assert probe.held_out.method == "validation"
    assert probe.held_out.n_images == len(validation)
    assert probe.settings["shrinkage"] in probe.held_out.values
    assert probe.rows_hash == hash_rows(filled.images, train[::-1])
    alone = fit_probe(
        Task.of(filled, Rank.FAMILY, split=_split(filled, "train", "")), "lda", probe.settings
    )
    vectors = filled.read_vectors()
    assert np.array_equal(alone.predict_vectors(vectors), probe.predict_vectors(vectors))
    answers = probe.ask(View.of(filled).take(validation), k=1)
    assert probe.held_out.n_correct == (answers.names[:, 0] == answers.truth).sum()


def test_folds_choose_where_there_is_no_validation_part(filled: EmbeddingStore) -> None:
    probe = fit_probe(Task.of(filled, Rank.FAMILY, split=None), "lda")
    assert probe.held_out.method == "cross-validation"
    assert probe.held_out.n_images == 80
    assert probe.n_rows == 80
    one_each = fit_probe(
        Task.of(View.of(filled, "number < 4"), Rank.FAMILY, split=None), "centroid"
    )
    assert one_each.held_out.method == "none"


def test_what_is_given_is_not_chosen(filled: EmbeddingStore) -> None:
    probe = fit_probe(Task.of(filled, Rank.FAMILY, split=None), "knn", {"k": 3})
    assert probe.settings["k"] == 3
    assert probe.held_out.parameter == ""
    assert probe.held_out.n_images == 80


def test_a_label_that_no_training_row_has_counts_as_wrong(filled: EmbeddingStore) -> None:
    parts = np.where(filled.images.labels(Rank.FAMILY) == "Ursidae", "validation", "train")
    parts[:16] = "validation"  # four of each family
    split = dataclasses.replace(_split(filled, "train"), parts=parts.astype(object))
    probe = fit_probe(Task.of(filled, Rank.FAMILY, split=split), "centroid")
    assert len(probe.classes) == 3
    assert (probe.held_out.n_correct, probe.held_out.n_images) == (12, 32)


def test_one_class_is_not_enough(filled: EmbeddingStore) -> None:
    with pytest.raises(ProbeError, match="labels of 1 at order"):
        fit_probe(Task.of(filled, Rank.ORDER, split=None), "lda")
    with pytest.raises(ProbeError, match="labels of 0 at species"):
        fit_probe(Task.of(filled, Rank.SPECIES, split=None), "lda")


def test_texts_give_classes_without_an_image_a_score(filled: EmbeddingStore) -> None:
    names = dict(zip(FAMILIES, CENTRES, strict=True))

    def encode(texts: object) -> npt.NDArray[np.float32]:
        rows = np.array([names[text] for text in texts])  # type: ignore[attr-defined]
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    others = Taxonomy(tuple(Taxon.from_names({"family": name}) for name in FAMILIES))
    texts = Texts(encode, 20.0, TextType.SCI, ("{}",), others)
    condition = "family != 'Ursidae' and number < 8"
    task = Task.of(View.of(filled, condition), Rank.FAMILY, split=None, texts=texts)
    probe = fit_probe(task, "prompt+probe", {"C": 10.0})
    assert {taxon.name for taxon in probe.classes} == set(FAMILIES)
    answers = probe.ask(filled, k=1)
    assert (answers.names[:, 0] == answers.truth).mean() > 0.9
    write_probe(filled, "mine", probe)
    vectors = filled.read_vectors()
    again = read_probe(filled, "mine")
    assert np.array_equal(again.predict_vectors(vectors), probe.predict_vectors(vectors))
    shifted = fit_probe(task, "prompt+probe", {"C": 10.0, "untrained_offset": -50.0})
    assert "Ursidae" not in set(shifted.ask(filled, k=1).names[:, 0])
    with pytest.raises(ProbeError, match="starts from the texts of classes"):
        fit_probe(Task.of(filled, Rank.FAMILY, split=None), "prompt+probe")


def test_homonyms_are_two_classes_and_holes_are_completed(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "path": ["a", "b", "c", "d"],
            "kingdom": ["Animalia", "Plantae", "", "Animalia"],
            "family": ["Sulidae", "Moraceae", "Sulidae", ""],
            "genus": ["Morus", "Morus", "Morus", ""],
        }
    )
    encoder = Fingerprint(model="plain", weights_sha256="a" * 64, backend="numpy")
    store = EmbeddingStore.create(tmp_path / "store", encoder, dim=4).append(frame, np.eye(4))
    labelled = label_rows(store.images, np.arange(4), Target.of("genus", "kingdom"))
    assert list(labelled.classes.names) == [
        "Morus (Animalia, Sulidae)",
        "Morus (Plantae, Moraceae)",
    ]
    assert labelled.positions.tolist() == [0, 1, 0, -1]
    chain = labelled.chain
    assert chain[2].tolist() == ["Animalia", "", "", "", "Sulidae", "Morus (Animalia, Sulidae)"]
    assert chain[3].tolist() == ["Animalia", "", "", "", "", ""]
