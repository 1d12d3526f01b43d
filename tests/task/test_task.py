"""One rule for who teaches, chooses and judges, and for what is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.evaluation import evaluate
from bioprobe.images import ImageTable
from bioprobe.learning.fit import answer_held_out, fit, fit_probe
from bioprobe.learning.tune import tune_probe
from bioprobe.provenance import Provenance
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.decisions import decide
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Classes, Target, Texts
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from tests.conftest import PlainEncoder, make_parts

Make = Callable[..., EmbeddingStore]
# Forty images of each; the last is met in validation and test alone.
FAMILIES = ("Felidae", "Canidae", "Ursidae", "Otariidae")
N_EACH, DIM = 40, 8


def _encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    drawn = [np.random.default_rng(sum(map(ord, one))).normal(size=DIM) for one in texts]
    return normalise_rows(np.array(drawn))


@pytest.fixture
def store(make_store: Make) -> EmbeddingStore:
    names = np.repeat(FAMILIES, N_EACH)
    n = len(names)
    centres = np.random.default_rng(3).normal(size=(len(FAMILIES), DIM))
    vectors = np.repeat(centres, N_EACH, axis=0)
    vectors = vectors + np.random.default_rng(4).normal(size=(n, DIM))
    frame = pd.DataFrame(
        {
            "path": [f"{row}.jpg" for row in range(n)],
            "sha256": [f"{row:064x}" for row in range(n)],
            "family": names,
        }
    )
    return make_store(PlainEncoder(0, dim=DIM), "store").append(frame, vectors)


@pytest.fixture
def split() -> Split:
    parts = np.array(["train"] * 20 + ["validation"] * 12 + ["test"] * 8, dtype=object)
    parts = np.tile(parts, len(FAMILIES))
    last = np.arange(len(parts)) >= 3 * N_EACH
    parts[last & (parts == "train")] = ""
    return make_parts(parts)


def _texts(others: Sequence[str] = ()) -> Texts:
    listed = Taxonomy(tuple(Taxon.from_names({"family": name}) for name in others))
    return Texts(_encode, 20.0, templates=("{}",), others=listed or None)


def test_the_classes_of_a_task_are_those_that_teach_and_those_of_a_list(
    store: EmbeddingStore, split: Split
) -> None:
    task = Task.of(store, "family", split=split, texts=_texts())
    assert set(task.classes.names) == set(FAMILIES[:3])
    listed = Task.of(store, "family", split=split, texts=_texts(["Phocidae", "Otariidae"]))
    assert set(listed.classes.names) == {*FAMILIES, "Phocidae"}


def test_fit_tune_and_evaluate_know_the_same_classes(store: EmbeddingStore, split: Split) -> None:
    task = Task.of(store, "family", split=split, texts=_texts(["Phocidae"]))
    fitted = fit_probe(task, "prompt+probe")
    tuned = tune_probe(task, kinds=("prompt+probe",), n_trials=1)
    asked = fit(task, "zeroshot")
    known = {*FAMILIES[:3], "Phocidae"}
    assert set(fitted.classes.names) == set(tuned.probe.classes.names) == known
    assert set(asked.classes.names) == known
    found = evaluate(task, ["zeroshot", "prompt+probe", "lda"], n_resamples=10)
    # The images of the family that only judges are wrong for all of them.
    assert [one.n_unknown for one in found.results] == [8, 8, 8]


def test_labels_of_images_that_judge_change_no_answer(store: EmbeddingStore, split: Split) -> None:
    frame = store.images.frame.copy()
    frame.loc[split.parts == "test", "family"] = "Poisonidae"
    poisoned = EmbeddingStore(store.folder, store.manifest)
    poisoned.__dict__["images"] = ImageTable.build(frame)
    for method in ("zeroshot", "prompt+probe", "lda"):
        answers = [
            fit(Task.of(one, "family", split=split, texts=_texts()), method).ask(View.of(store), 3)
            for one in (store, poisoned)
        ]
        assert np.array_equal(answers[0].scores, answers[1].scores), method
        assert answers[0].classes == answers[1].classes, method


def test_held_out_images_of_an_unknown_class_count_as_wrong(
    store: EmbeddingStore, split: Split
) -> None:
    task = Task.of(store, "family", split=split)
    inner = task.inner()
    assert (inner.method, len(inner.unknown), inner.n_held_out) == ("validation", 12, 48)
    tuned = tune_probe(task, kinds=("lda", "centroid"), n_trials=2)
    assert tuned.n_held_out == 48
    held_out = tuned.probe.held_out
    assert held_out.n_images == 48
    assert tuned.best.score == pytest.approx(held_out.n_correct / 48)
    assert tuned.best.score <= 36 / 48


def test_a_kind_that_reads_answers_held_out_images_of_a_class_that_only_a_list_has(
    store: EmbeddingStore, split: Split
) -> None:
    task = Task.of(store, "family", split=split, texts=_texts(["Otariidae"]))
    inner = task.inner(untaught=True)
    assert (len(inner.unknown), inner.n_held_out) == (0, 48)
    assert "Otariidae" in inner.labelled.names
    # All kinds are scored on the same images.
    assert task.inner().n_held_out == 48


def test_choosing_and_calibrating_hold_out_the_same_images(
    store: EmbeddingStore, split: Split
) -> None:
    task = Task.of(store, "family", split=split)
    answers = answer_held_out(task, fit_probe(task, "lda"), "lda")
    inner = task.inner()
    assert answers.method == inner.method == "validation"
    assert len(answers.truth) == inner.n_held_out
    assert (answers.truth < 0).sum() == len(inner.unknown)


def test_images_that_taught_are_left_out_of_the_accuracy_wherever_they_lie(
    store: EmbeddingStore, split: Split, make_store: Make
) -> None:
    fitted = fit_probe(Task.of(store, "family", split=split), "knn", {"k": 1})
    found = fitted.ask(View.of(store), 1)
    assert found.taught is not None
    assert np.array_equal(found.taught, split.parts == "train")
    (measured,) = found.accuracy()
    right = found.top_classes[:, 0] == found.truth_classes
    assert measured.n_images == (~found.taught).sum()
    assert measured.n_correct == right[~found.taught].sum()
    assert right[found.taught].all(), "a nearest neighbour knows the images that taught it"
    # The same pictures in another store, in another order.
    backwards = store.images.frame.iloc[::-1].reset_index(drop=True)
    vectors = store.read_vectors()[::-1]
    other = make_store(PlainEncoder(0, dim=DIM), "other").append(backwards, vectors)
    again = fitted.ask(View.of(other), 1)
    assert again.taught is not None
    assert np.array_equal(again.taught, found.taught[::-1])
    assert again.accuracy() == found.accuracy()


def test_a_homonym_is_wrong_by_every_rule() -> None:
    frame = pd.DataFrame(
        {"path": ["a.jpg"], "kingdom": ["Plantae"], "family": ["Moraceae"], "genus": ["Morus"]}
    )
    taxa = [
        Taxon.from_names({"kingdom": "Animalia", "family": "Sulidae", "genus": "Morus"}),
        Taxon.from_names({"kingdom": "Plantae", "family": "Moraceae", "genus": "Morus"}),
    ]
    classes = Classes.of(taxa, Rank.GENUS)

    def answer(order: list[int]) -> Predictions:
        return Predictions(
            ImageTable.build(frame), np.array([0]), classes, np.array([order]),
            np.array([[0.9, 0.1]], dtype=np.float32), Provenance(encoder={}, store="", n_rows=1),
        )  # fmt: skip

    bird, plant = answer([0, 1]), answer([1, 0])
    assert [one.accuracy()[0].n_correct for one in (bird, plant)] == [0, 1]
    assert [decide(one, 0.5).is_right.tolist() for one in (bird, plant)] == [[False], [True]]
    for confidence in (0, 1.01):
        with pytest.raises(SelectionError, match=r"a confidence in \(0, 1\], got"):
            decide(bird, confidence)


def test_a_chain_begins_no_lower_than_it_ends() -> None:
    with pytest.raises(MisuseError, match="ends at class begins there or above, got --from family"):
        Target.of("class", "family")
    assert Target.of("class", "class").chain == ("class",)


def test_a_task_written_in_other_words_is_labelled_once(
    store: EmbeddingStore, split: Split
) -> None:
    task = Task.of(store, "family", split=split, texts=_texts())
    before = task.inner()
    texts = task.texts
    assert texts is not None
    other = task.write(Texts(_encode, 10.0, templates=("a {}",), others=texts.others))
    assert other.inner() is before
    assert other.texts is not texts
