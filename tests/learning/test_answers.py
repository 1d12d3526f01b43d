from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bioprobe.calibration.calibrators import (
    TemperatureScaling,
    fit_judged,
    to_logits,
    to_probabilities,
)
from bioprobe.errors import ProbeError
from bioprobe.evaluation.answers import (
    Answers,
    Held,
    check_methods,
    find_obstacle,
    gather_answers,
)
from bioprobe.learning.fit import answer_held_out, fit, fit_probe
from bioprobe.registry import METHODS
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.target import Classes, Target, Texts, label_rows
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder, make_parts


def _label(store: EmbeddingStore) -> Classes:
    return label_rows(store.images, store.rows, Target.of("family")).classes


def _gather(
    store: EmbeddingStore, method: str, split: Split, texts: Texts | None = None
) -> Answers[Held]:
    task = Task.of(store, Rank.FAMILY, split=split, texts=texts)
    return gather_answers(method, task.rounds(), _label(store), Held)


@pytest.mark.parametrize("kind", ["knn", "centroid", "lda", "ridge"])
def test_the_answers_are_those_of_the_probe_alone(
    families: EmbeddingStore, split: Split, kind: str
) -> None:
    answers = _gather(families, kind, split)
    labelled = families.images.labels(Rank.FAMILY) != ""
    rows = split.rows("test")[labelled[split.rows("test")]]
    probe = fit_probe(Task.of(families, Target.of(Rank.FAMILY, Rank.PHYLUM), split=split), kind)
    alone = probe.ask(View.of(families).take(rows), k=5)
    assert answers.rows.tolist() == rows.tolist()
    names = [taxon.name for taxon in _label(families)]
    order = [[taxon.name for taxon in alone.classes].index(name) for name in names]
    np.testing.assert_allclose(answers.kept.probabilities, alone.to_dense()[:, order], atol=1e-6)
    assert answers.settings == (probe.settings,)
    assert answers.n_training == (probe.n_rows,) == (38,)
    assert answers.is_known.all()


def test_the_temperature_is_that_of_the_validation_part(
    families: EmbeddingStore, split: Split
) -> None:
    # Half of the training images choose too: 39 are enough.
    parts = np.where((split.parts == "train") & (split.folds == 0), "validation", split.parts)
    split = dataclasses.replace(split, parts=parts.astype(object), folds=np.full(len(parts), -1))
    answers = _gather(families, "lda", split)
    probe = fit_probe(Task.of(families, Rank.FAMILY, split=split), "lda")
    rows = split.rows("validation")
    rows = rows[families.images.labels(Rank.FAMILY)[rows] != ""]
    validation = probe.ask(View.of(families).take(rows), k=5)
    asked = to_logits(validation.to_dense()), validation.truth_classes
    expected, _ = fit_judged("temperature", *asked)
    assert isinstance(expected, TemperatureScaling)
    assert answers.temperatures == pytest.approx((expected.temperature,))
    assert answers.calibrated_on == "validation"
    assert answers.kept.calibrated is not None
    again = expected.calibrate(to_logits(answers.kept.probabilities))
    np.testing.assert_allclose(answers.kept.calibrated, again, atol=1e-5)


def test_without_a_validation_part_the_temperature_is_that_of_each_fold_by_the_others(
    families: EmbeddingStore, split: Split
) -> None:
    parts = np.where(split.parts == "validation", "", split.parts).astype(object)
    without = dataclasses.replace(split, parts=parts)
    answers = _gather(families, "centroid", without)
    assert answers.calibrated_on == "cross-validation"
    # No image taught the probe that was asked of it.
    labels = families.images.labels(Rank.FAMILY)
    found, truths = [], []
    for fold in range(split.n_folds):
        out = (split.folds == fold) & (labels != "")
        others = np.where(out, "", parts).astype(object)
        held_out = dataclasses.replace(without, parts=others, folds=np.full(len(parts), -1))
        probe = fit_probe(Task.of(families, Rank.FAMILY, split=held_out), "centroid")
        told = probe.ask(View.of(families).take(np.flatnonzero(out)), k=5)
        found.append(to_logits(told.to_dense()))
        truths.append(told.truth_classes)
    expected, _ = fit_judged("temperature", np.concatenate(found), np.concatenate(truths))
    assert isinstance(expected, TemperatureScaling)
    task = Task.of(families, Rank.FAMILY, split=without)
    asked = answer_held_out(task, fit(task, "centroid"), "centroid")
    assert asked.truth.tolist() == np.concatenate(truths).tolist()
    np.testing.assert_allclose(
        to_probabilities(asked.logits), np.exp(np.concatenate(found)), atol=1e-5
    )
    assert answers.temperatures == pytest.approx((expected.temperature,), rel=1e-4)
    # But the answers that are judged come from all training images.
    assert answers.n_training == (38,)


@pytest.mark.parametrize("method", ["zeroshot", "stack"])
def test_methods_that_are_no_probe_answer_held_out_images_by_the_same_rule(
    families: EmbeddingStore, split: Split, method: str
) -> None:
    parts = np.where(split.parts == "validation", "", split.parts).astype(object)
    texts = Texts(PlainEncoder().encode_text, 20.0, templates=("{}",))
    store = _with_text_tower(families)
    task = Task.of(store, "family", split=dataclasses.replace(split, parts=parts), texts=texts)
    fitted = fit(task, method)
    held_out = answer_held_out(task, fitted, method)
    inner = task.inner()
    assert held_out.method == inner.method == "cross-validation"
    assert len(held_out.truth) == inner.n_held_out
    fold = inner.labelled.rows[inner.folds == 0]
    asked = fit(task.without(fold), method, fitted.settings) if method == "stack" else fitted
    expected = asked.ask(task.view.take(fold), len(asked.classes)).to_dense()
    found = np.exp(held_out.logits[: len(fold)])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_without_rows_to_choose_on_nothing_is_calibrated(
    families: EmbeddingStore, split: Split
) -> None:
    parts = np.where(split.parts == "validation", "", split.parts)
    # Each family is one burst, so no image of it can be held out.
    bursts = families.images.labels(Rank.FAMILY)
    bare = dataclasses.replace(split, parts=parts, folds=np.full(len(parts), -1), groups=bursts)
    answers = _gather(families, "centroid", bare)
    assert answers.kept.calibrated is None
    assert (answers.temperatures, answers.calibrated_on) == ((), "")


def test_folds_are_answered_by_what_was_learnt_from_the_others(
    families: EmbeddingStore,
) -> None:
    n = len(families)
    folds = np.arange(n) % 4
    answers = _gather(families, "knn", make_parts(["train"] * n, folds))
    assert answers.rows.tolist() == list(range(n - 2))
    assert len(answers.settings) == 4
    # An image that had taught its own nearest neighbour would be right for certain.
    vectors = families.read_vectors()
    k = answers.settings[0]["k"]
    row = 0
    others = np.flatnonzero((folds != 0) & (families.images.labels(Rank.FAMILY) != ""))
    near = others[np.argsort(-(vectors[others] @ vectors[row]))[:k]]
    votes = np.exp(vectors[near] @ vectors[row] / 0.07)
    names = [taxon.name for taxon in _label(families)]
    labels = families.images.labels(Rank.FAMILY)[near]
    expected = [votes[labels == name].sum() / votes.sum() for name in names]
    np.testing.assert_allclose(answers.kept.probabilities[0], expected, atol=0.02)


def test_a_class_without_training_rows_is_unknown_and_has_no_probability(
    families: EmbeddingStore, split: Split
) -> None:
    mice = families.images.labels(Rank.FAMILY) == "Muridae"
    parts = split.parts.copy()
    parts[mice & (parts != "test")] = ""
    answers = _gather(families, "centroid", dataclasses.replace(split, parts=parts))
    labels = families.images.labels(Rank.FAMILY)[answers.rows]
    assert answers.is_known.tolist() == (labels != "Muridae").tolist()
    column = [taxon.name for taxon in _label(families)].index("Muridae")
    assert (answers.kept.probabilities[:, column] == 0).all()
    np.testing.assert_allclose(answers.kept.probabilities.sum(axis=1), 1, atol=1e-5)


def test_zero_shot_answers_the_rows_by_the_nearest_text(
    families: EmbeddingStore, split: Split
) -> None:
    families = _with_text_tower(families)
    encoder = PlainEncoder()
    texts = Texts(encoder.encode_text, 20.0, templates=("a photo of {}.",))
    answers = _gather(families, "zeroshot", split, texts=texts)
    names = [f"Animalia {taxon.lineage[3]} {taxon.name}" for taxon in _label(families)]
    classes = encoder.encode_text([f"a photo of {name}." for name in names])
    logits = families.manifest.logit_scale * families.read_vectors(answers.rows) @ classes.T
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers.kept.probabilities, expected, atol=1e-5)
    assert answers.n_training == (0,)
    assert answers.calibrated_on == "cross-validation", "20 validation images are too few"


def _with_text_tower(store: EmbeddingStore) -> EmbeddingStore:
    manifest = dataclasses.replace(store.manifest, has_text_tower=True)
    manifest.write(store.folder)
    return EmbeddingStore(store.folder, manifest)


def test_an_encoder_without_text_is_an_obstacle_to_methods_that_read(
    families: EmbeddingStore,
) -> None:
    manifest = dataclasses.replace(families.manifest, has_text_tower=False)
    blind = EmbeddingStore(families.folder, manifest)
    task = Task.of(blind, Rank.FAMILY, split=None)
    assert "embeds no text" in find_obstacle("zeroshot", task)
    assert "embeds no text" in find_obstacle("prompt+probe", task)
    assert find_obstacle("knn", task) == ""
    reading = Task.of(_with_text_tower(families), Rank.FAMILY, split=None)
    assert find_obstacle("zeroshot", reading) == "no texts were given"


def test_settings_that_are_given_are_not_chosen_again(
    families: EmbeddingStore, split: Split
) -> None:
    assert fit(Task.of(families, Rank.FAMILY, split=split), "knn", {"k": 2}).settings["k"] == 2


@pytest.mark.parametrize("methods", [[], ["knn", "knn"], ["oracle"]])
def test_what_is_no_list_of_methods_is_refused(methods: list[str]) -> None:
    with pytest.raises(ProbeError, match="methods are zeroshot, knn"):
        check_methods(methods)


def test_every_method_that_is_registered_can_be_asked(
    families: EmbeddingStore, split: Split
) -> None:
    check_methods(METHODS.names)
    texts = Texts(PlainEncoder().encode_text, 20.0)
    task = Task.of(_with_text_tower(families), Rank.FAMILY, split=split, texts=texts)
    for method in METHODS.names:
        reads = getattr(METHODS.load(method), "reads", "")
        wanted = f"--keep {reads}" if reads else ""
        assert find_obstacle(method, task).endswith(wanted), method
        assert bool(find_obstacle(method, task)) == bool(reads), method


@pytest.mark.parametrize("method", ["linear", "hierarchical", "stack", "prompt+probe"])
def test_every_method_answers_all_images_about_all_classes(
    families: EmbeddingStore, split: Split, method: str
) -> None:
    texts = Texts(
        PlainEncoder().encode_text, 20.0, templates=("{}",), others=_label(families).taxonomy
    )
    answers = _gather(families, method, split, texts)
    np.testing.assert_allclose(answers.kept.probabilities.sum(axis=1), 1, atol=1e-4)
    labels = families.images.labels(Rank.FAMILY)[answers.rows]
    names = np.array([taxon.name for taxon in _label(families)], dtype=object)
    assert (names[answers.kept.probabilities.argmax(axis=1)] == labels).mean() > 0.6
    assert answers.temperatures


@pytest.mark.parametrize(
    ("kind", "left_out"), [("centroid", 0.0), ("centroid", 0.4), ("zeroshot", 0.0)]
)
def test_of_many_classes_held_out_images_are_asked_evenly_spaced(
    families: EmbeddingStore,
    split: Split,
    kind: str,
    left_out: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    families = _with_text_tower(families)
    texts = Texts(PlainEncoder().encode_text, 20.0, templates=("a photo of {}.",))
    task = Task.of(families, Rank.FAMILY, split=split, texts=texts)
    fitted = fit(task, kind)
    whole = answer_held_out(task, fitted, kind, left_out_fraction=left_out)
    n_images, n_classes = whole.logits.shape
    assert whole.n_held_out == n_images > 12
    monkeypatch.setattr("bioprobe.learning.fit.LEAST_IMAGES", 2)
    monkeypatch.setattr("bioprobe.learning.fit.MOST_LOGITS", 12 * n_classes)
    some = answer_held_out(task, fitted, kind, left_out_fraction=left_out)
    kept = np.linspace(0, n_images, 12, endpoint=False).astype(int)
    np.testing.assert_allclose(some.logits, whole.logits[kept], rtol=1e-5, atol=1e-5)
    assert some.truth.tolist() == whole.truth[kept].tolist()
    assert some.n_held_out == n_images
    if left_out:
        assert whole.left_out is not None
        assert some.left_out is not None
        assert some.left_out.tolist() == whole.left_out[kept].tolist()
