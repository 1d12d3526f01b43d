"""Calibrations of probes: fitted on held-out answers, kept beside the probe, read again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.calibration.calibrators import TemperatureScaling, to_logits, to_probabilities
from bioprobe.calibration.conformal import fit_conformal
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import ProbeError, SelectionError, StoreError
from bioprobe.learning.calibrated import Calibration, fit_calibration
from bioprobe.learning.fit import HeldOutAnswers, answer_held_out, fit_probe
from bioprobe.learning.fitted import FittedProbe
from bioprobe.learning.keeping import (
    read_calibrated,
    read_calibration,
    read_probe,
    write_probe,
)
from bioprobe.splits import Split, assign_folds
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import make_parts

SPECIES = ("Panthera leo", "Panthera pardus", "Lynx lynx", "Canis lupus", "Vulpes vulpes")
N, DIM = 600, 8
PARTS = np.array(["train", "train", "train", "validation", "validation", "test"], dtype=object)


@pytest.fixture
def filled(tmp_path: Path) -> EmbeddingStore:
    random = np.random.default_rng(0)
    places = np.arange(N) % len(SPECIES)
    centres = random.normal(size=(len(SPECIES), DIM))
    names = np.array(SPECIES, dtype=object)[places]
    frame = pd.DataFrame(
        {
            "path": [f"{row}.jpg" for row in range(N)],
            "sha256": [f"{row:064d}" for row in range(N)],
            "family": np.where(places < 3, "Felidae", "Canidae"),
            "genus": [name.split()[0] for name in names],
            "species": names,
        }
    )
    encoder = Fingerprint(model="plain", weights_sha256="a" * 64, backend="numpy")
    store = EmbeddingStore.create(tmp_path / "store", encoder, dim=DIM, has_text_tower=True)
    return store.append(frame, centres[places] + 1.2 * random.normal(size=(N, DIM)))


def _split(parts: str = "train validation test") -> Split:
    named = PARTS[np.arange(N) // 5 % len(PARTS)].copy()
    for part in set(PARTS) - set(parts.split()):
        named[named == part] = "train"
    return make_parts(named)


def _fit(store: EmbeddingStore, split: Split) -> tuple[FittedProbe, HeldOutAnswers]:
    # A scale of 40 makes it far too sure.
    probe = fit_probe(Task.of(store, Rank.SPECIES, split=split), "centroid", {"scale": 40.0})
    return probe, answer_held_out(Task.of(store, probe.level, split=split), probe, probe.kind)


def test_answers_of_validation_are_those_of_the_probe(filled: EmbeddingStore) -> None:
    of = np.arange(N) // 7
    split = dataclasses.replace(_split(), groups=np.array([f"g{one}" for one in of], dtype=object))
    probe, answers = _fit(filled, split)
    rows = split.rows("validation")
    # What came together is judged together.
    assert answers.groups is not None
    together = answers.groups[:, np.newaxis] == answers.groups
    assert np.array_equal(together, of[rows][:, np.newaxis] == of[rows])
    expected = probe.ask(View.of(filled).take(rows), k=len(SPECIES))
    assert answers.method == "validation"
    assert np.allclose(to_probabilities(answers.logits), expected.to_dense(), atol=1e-6)
    assert np.array_equal(answers.truth, expected.truth_classes)


def test_answers_out_of_fold_are_of_probes_that_did_not_see_the_row(filled: EmbeddingStore) -> None:
    split = _split("train test")
    probe, answers = _fit(filled, split)
    assert answers.method == "cross-validation"
    rows = split.rows("train")
    assert len(answers.truth) == len(rows)
    labels = filled.images.labels(Rank.SPECIES)[rows].astype(str)
    folds = assign_folds(np.unique(labels, return_inverse=True)[1], 5, 0)
    vectors, at = filled.read_vectors(rows), 0
    for fold in range(5):
        again = type(probe.estimator)(scale=40.0)
        out = folds == fold
        again.fit(vectors[~out], labels[~out])
        n = int(out.sum())
        expected = again.logits(vectors[out])
        assert np.allclose(answers.logits[at : at + n], expected, atol=1e-3)
        at += n


def test_a_class_of_one_fold_cannot_be_answered_there(filled: EmbeddingStore) -> None:
    split = _split("train test")
    folds = np.where(np.arange(N) % 5 == 0, 0, np.arange(N) // 5 % 2)
    split = dataclasses.replace(split, folds=np.where(split.parts == "train", folds, -1))
    probe, answers = _fit(filled, split)
    place = probe.classes.names.index(SPECIES[0])
    n_of_it = int((np.arange(N) % 5 == 0)[split.rows("train")].sum())
    assert (answers.truth == -1).sum() == n_of_it
    assert not (answers.truth == place).any()


def test_a_class_left_out_is_of_no_class_and_has_no_probability(filled: EmbeddingStore) -> None:
    split = _split()
    probe, plain = _fit(filled, split)
    more = answer_held_out(
        Task.of(filled, probe.level, split=split), probe, probe.kind, left_out_fraction=0.2
    )
    added = to_probabilities(more.logits[len(plain.truth) :])
    assert (more.truth[len(plain.truth) :] == -1).all()
    assert len(added) == (split.parts != "test").sum() / 5, "one species of five, all its rows"
    assert ((added == 0).all(axis=0)).sum() == 1
    assert np.allclose(added.sum(axis=1), 1, atol=1e-5)
    with pytest.raises(ProbeError, match="in \\[0, 1\\), got 1"):
        answer_held_out(
            Task.of(filled, probe.level, split=split), probe, probe.kind, left_out_fraction=1.0
        )


def test_calibration_makes_test_rows_say_what_they_know(filled: EmbeddingStore) -> None:
    split = _split()
    probe, answers = _fit(filled, split)
    calibrated = fit_calibration(answers).apply(probe)
    found = {}
    for name, one in (("plain", probe), ("calibrated", calibrated)):
        told = one.ask(View.of(filled).take(split.rows("test")), k=len(SPECIES))
        right = told.top_classes[:, 0] == told.truth_classes
        found[name] = float(told.scores[:, 0].mean() - right.mean())
    assert abs(found["calibrated"]) < 0.06 < found["plain"]
    assert calibrated.kind == probe.kind == "centroid"


def test_sets_and_confidence_are_chosen_on_calibrated_answers(filled: EmbeddingStore) -> None:
    probe, answers = _fit(filled, _split())
    calibration = fit_calibration(answers)
    expected = fit_conformal(calibration.probabilities, answers.truth, 0.8)
    assert calibration.fit_sets(0.8) == expected
    assert calibration.fit_sets(0.8) != calibration.without_calibrator().fit_sets(0.8)
    low, high = (calibration.choose_confidence(probe, wanted) for wanted in (0.6, 0.8))
    assert low.confidence < high.confidence < 1
    assert high.accuracy.fraction > 1 - high.bound >= 0.8


def test_the_limit_of_the_unknown_keeps_the_share_of_the_known() -> None:
    probabilities = np.array([[1 - x, x] for x in (0.0, 0.1, 0.2, 0.3, 0.4)], dtype=np.float32)
    logits = to_logits(probabilities)
    known = fit_calibration(HeldOutAnswers(logits, np.array([0, 0, 0, 1, 0]), "validation"))
    plain = known.without_calibrator()
    assert plain.find_unknown_limit(0.8) == pytest.approx(0.3)
    assert plain.measure_unknown() is None
    truth = np.array([0, 0, 0, -1, -1])
    with_unknown = dataclasses.replace(plain, answers=HeldOutAnswers(logits, truth, "validation"))
    measured = with_unknown.measure_unknown(1.0)
    assert measured is not None
    assert measured.auroc == 1.0
    assert measured.false_accept_fraction == 0.0


def test_no_known_image_is_refused() -> None:
    answers = HeldOutAnswers(np.full((2, 2), 0.5, dtype=np.float32), np.array([-1, -1]), "none")
    with pytest.raises(SelectionError, match="none of the 2 validation images"):
        fit_calibration(answers)


@pytest.mark.parametrize("kind", ["temperature", "vector", "isotonic"])
def test_what_is_kept_is_read_again(filled: EmbeddingStore, kind: str) -> None:
    probe, answers = _fit(filled, _split())
    write_probe(filled, "mine", probe)
    assert read_calibration(filled, "mine") is None
    calibration = fit_calibration(answers, kind)
    write_probe(filled, "mine", probe, calibration)
    again = read_calibration(filled, "mine")
    assert isinstance(again, Calibration)
    assert again.calibrator.kind == kind
    assert np.array_equal(again.probabilities, calibration.probabilities)
    assert again.answers.method == "validation"
    assert answers.labels is not None
    assert again.answers.to_arrays()["labels"].tolist() == answers.labels.tolist()
    old = HeldOutAnswers(answers.logits, answers.truth, answers.method)
    write_probe(filled, "mine", probe, dataclasses.replace(calibration, answers=old))
    reread = read_calibration(filled, "mine")
    assert reread is not None
    assert reread.answers.groups is None, "as earlier versions kept it"


def test_a_probe_that_is_fitted_again_has_none_and_a_damaged_one_is_refused(
    filled: EmbeddingStore,
) -> None:
    probe, answers = _fit(filled, _split())
    with pytest.raises(StoreError, match="there is no probe"):
        read_calibration(filled, "mine")
    folder = write_probe(filled, "mine", probe, fit_calibration(answers))
    about = json.loads((folder / "probe.json").read_text())
    digest = about["calibration"]["arrays_sha256"]
    arrays = folder / f"probe-{digest[:16]}.safetensors"
    arrays.write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"is damaged: probe-.*\.safetensors is not what"):
        read_calibration(filled, "mine")
    for said, problem in (({"schema_version": 9}, "format 9"), ({"calibrator": "x"}, "is damaged")):
        changed = {**about, "calibration": {**about["calibration"], **said}}
        (folder / "probe.json").write_text(json.dumps(changed))
        with pytest.raises(StoreError, match=problem):
            read_calibration(filled, "mine")
    write_probe(filled, "mine", dataclasses.replace(probe, settings={"scale": 41.0}))
    assert read_calibration(filled, "mine") is None
    assert not arrays.exists()


def test_readers_beside_a_writer_see_one_fit_with_its_calibration(filled: EmbeddingStore) -> None:
    probe, answers = _fit(filled, _split())
    sure = np.flatnonzero(answers.truth >= 0)
    fits = [
        (
            dataclasses.replace(probe, provenance={"n": n}),
            fit_calibration(answers.take(sure[:n])),
        )
        for n in (len(sure), len(sure) - 1)
    ]
    write_probe(filled, "mine", *fits[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            with filled.lock(wait_s=5):
                # As embed holds it beside, which clears away what nobody is at work on.
                pass
            write_probe(filled, "mine", *fits[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        found, calibration = read_calibrated(filled, "mine")
        assert calibration is not None
        seen.add((found.provenance["n"], calibration.n_held_out))
    writer.join()
    assert seen <= {(one.provenance["n"], found.n_held_out) for one, found in fits}
    assert len(seen) == 2


def _keep_as_earlier_versions(
    store: EmbeddingStore, probe: FittedProbe, found: Calibration
) -> Path:
    """Keep a probe in two files, and its calibration in two more."""
    folder = write_probe(store, "mine", probe, found)
    card = json.loads((folder / "probe.json").read_text())
    about = card.pop("calibration")
    for name, said in (("probe", card), ("calibration", about)):
        arrays = folder / f"probe-{said['arrays_sha256'][:16]}.safetensors"
        arrays.rename(folder / f"{name}.safetensors")
    (folder / "probe.json").write_text(json.dumps(card))
    about["probe_sha256"] = hashlib.sha256((folder / "probe.json").read_bytes()).hexdigest()
    (folder / "calibration.json").write_text(json.dumps(about))
    return folder


def test_what_earlier_versions_kept_is_read_and_replaced(filled: EmbeddingStore) -> None:
    probe, answers = _fit(filled, _split())
    found = fit_calibration(answers)
    folder = _keep_as_earlier_versions(filled, probe, found)
    vectors = filled.read_vectors()
    again, calibration = read_probe(filled, "mine"), read_calibration(filled, "mine")
    assert np.array_equal(again.predict_vectors(vectors), probe.predict_vectors(vectors))
    assert calibration is not None
    assert np.array_equal(calibration.probabilities, found.probabilities)
    card = json.loads((folder / "probe.json").read_text())
    (folder / "probe.json").write_text(json.dumps({**card, "settings": {"scale": 41.0}}))
    assert read_calibration(filled, "mine") is None, "it is of an earlier fit"
    write_probe(filled, "mine", probe, found)
    assert {file.name.partition("-")[0] for file in folder.iterdir()} == {"probe", "probe.json"}
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("kind", ["linear", "lda", "ridge", "knn", "centroid", "hierarchical"])
def test_without_a_calibrator_every_kind_answers_as_it_did(
    filled: EmbeddingStore, kind: str
) -> None:
    settings = {"C": 10.0} if kind in {"linear", "hierarchical"} else {}
    probe = fit_probe(Task.of(filled, Rank.SPECIES, split=_split()), kind, settings)
    answers = answer_held_out(Task.of(filled, probe.level, split=_split()), probe, probe.kind)
    plain = fit_calibration(answers).without_calibrator().apply(probe)
    vectors = filled.read_vectors()
    assert np.allclose(plain.predict_vectors(vectors), probe.predict_vectors(vectors), atol=1e-5)


@pytest.mark.parametrize("kind", ["temperature", "vector", "isotonic"])
def test_a_calibration_that_makes_held_out_answers_worse_is_not_used(kind: str) -> None:
    random = np.random.default_rng(0)
    n_used = {"met": 0, "far too sure": 0}
    for draw in range(20):
        logits = 2 * random.normal(size=(300, 4))
        chances = to_probabilities(logits).astype(np.float64)
        chances /= chances.sum(axis=1, keepdims=True)
        truth = (chances.cumsum(axis=1) < random.random((300, 1))).sum(axis=1).clip(max=3)
        for name, scale in (("met", 1.0), ("far too sure", 4.0)):
            answers = HeldOutAnswers((scale * logits).astype(np.float32), truth, "validation")
            calibration = fit_calibration(answers, kind)
            n_used[name] += not calibration.left
            if calibration.left:
                plain = to_probabilities(answers.logits)
                assert np.allclose(calibration.probabilities, plain, atol=1e-6), draw
    assert n_used["far too sure"] == 20
    assert n_used["met"] <= 10, "what means what it says is left as it comes"


def test_what_was_left_is_said_again_when_it_is_read(filled: EmbeddingStore) -> None:
    probe, answers = _fit(filled, _split())
    few = answers.take(np.flatnonzero(answers.truth >= 0)[:1])
    calibration = fit_calibration(few)
    assert calibration.left == "too few images to judge a calibration by temperature on"
    write_probe(filled, "mine", probe, calibration)
    again = read_calibration(filled, "mine")
    assert again is not None
    assert again.left == calibration.left
    from bioprobe.face.probe import say_calibration

    assert say_calibration(again).startswith("probabilities are left as they come: too few")


def test_unknown_species_are_measured_on_those_left_out_on_purpose_and_by_species() -> None:
    # The left-out ones look like a known class, the ones that no one chose like none.
    random = np.random.default_rng(0)
    held, few = 0, 12
    for _ in range(40):
        is_taken = random.random(few) < 0.5
        logits = np.zeros((40 + few * 10 + 20, 2), dtype=np.float32)
        logits[:40, 0] = 4 + random.random(40)
        logits[40:-20, 0] = np.where(is_taken.repeat(10), 5, 1)
        truth = np.repeat([0, -1], [40, few * 10 + 20])
        labels = np.concatenate([np.zeros(40), np.repeat(np.arange(few) + 1, 10), np.full(20, 99)])
        left_out = np.repeat([False, True, False], [40, few * 10, 20])
        answers = HeldOutAnswers(
            logits, truth, "validation", labels=labels.astype(np.int64), left_out=left_out
        )
        measured = Calibration(TemperatureScaling(1.0), answers, len(truth)).measure_unknown()
        assert measured is not None
        assert (measured.n_unknown, measured.n_classes) == (few * 10, few)
        assert measured.false_accept_fraction == pytest.approx(is_taken.mean())
        held += measured.low <= 0.5 <= measured.high
    assert held >= 35, "intervals by image hold it in a quarter of the draws"
    plain = dataclasses.replace(answers, left_out=None)
    other = Calibration(TemperatureScaling(1.0), plain, len(truth)).measure_unknown()
    assert other is not None
    assert other.n_classes == few + 1
