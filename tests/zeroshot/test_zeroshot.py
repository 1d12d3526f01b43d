from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, SelectionError
from bioprobe.prompts import PromptSet, TextType
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.store.view import View
from bioprobe.task import leaf_scores
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.zeroshot.zeroshot import find_top_classes, zeroshot

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

Vectors = npt.NDArray[np.float32]


def _draw(n: int, seed: int, dim: int = 6) -> Vectors:
    return normalise_rows(np.random.default_rng(seed).normal(size=(n, dim)))


def _softmax_plainly(
    vectors: Vectors, classes: Vectors, logit_scale: float
) -> npt.NDArray[np.float64]:
    logits = logit_scale * vectors.astype(np.float64) @ classes.astype(np.float64).T
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_probabilities_are_seen_by_eye() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=np.float32)
    classes = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    # A logit scale of ln 4 makes the nearer axis four times as probable as the farther.
    top, probabilities = find_top_classes(vectors, classes, k=2, logit_scale=float(np.log(4)))
    assert top.tolist() == [[0, 1], [1, 0], [1, 0]]
    odds = 4**0.2
    expected = np.array([[0.8, 0.2], [0.8, 0.2], [odds / (1 + odds), 1 / (1 + odds)]])
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 6, 7, 8, 100])
@pytest.mark.parametrize("n_images", [0, 1, 5])
@pytest.mark.parametrize("logit_scale", [1.0, 20.0, 100.0])
def test_it_is_the_softmax_of_all_classes(k: int, n_images: int, logit_scale: float) -> None:
    vectors, classes = _draw(n_images, 1), _draw(7, 2)
    top, probabilities = find_top_classes(vectors, classes, k=k, logit_scale=logit_scale)
    expected = _softmax_plainly(vectors, classes, logit_scale)
    order = np.argsort(-expected, axis=1)[:, :k]
    assert top.shape == probabilities.shape == (n_images, min(k, 7))
    np.testing.assert_array_equal(top, order)
    np.testing.assert_allclose(probabilities, np.take_along_axis(expected, order, 1), atol=2e-6)


@pytest.mark.parametrize("k", [1, 3, 20])
def test_few_answers_of_many_classes_are_the_best_ones(k: int) -> None:
    vectors, classes = _draw(9, 3), _draw(300, 4)
    top, probabilities = find_top_classes(vectors, classes, k=k, logit_scale=20.0)
    expected = _softmax_plainly(vectors, classes, 20.0)
    order = np.argsort(-expected, axis=1)[:, :k]
    np.testing.assert_array_equal(top, order)
    np.testing.assert_allclose(probabilities, np.take_along_axis(expected, order, 1), atol=2e-6)


@pytest.mark.parametrize("at_once", [1, 7, 14, 20, 21, 35, 1000])
@pytest.mark.parametrize("n_images", [0, 1, 4, 5])
def test_chunks_do_not_change_the_answer(
    monkeypatch: pytest.MonkeyPatch, at_once: int, n_images: int
) -> None:
    vectors, classes = _draw(n_images, 1), _draw(7, 2)
    whole = find_top_classes(vectors, classes, k=3, logit_scale=20.0)
    monkeypatch.setattr(leaf_scores, "_PLAINLY_AT_ONCE", at_once)
    monkeypatch.setattr(leaf_scores, "_FEWEST_IMAGES", 1)
    parts = find_top_classes(vectors, classes, k=3, logit_scale=20.0)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-6)


def test_no_more_scores_are_held_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, classes = _draw(40_000, 1), _draw(100, 2)
    monkeypatch.setattr(leaf_scores, "_PLAINLY_AT_ONCE", 50_000)
    monkeypatch.setattr(leaf_scores, "_FEWEST_IMAGES", 1)
    tracemalloc.start()
    find_top_classes(vectors, classes, k=1, logit_scale=20.0)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All scores would be 16 MB; a chunk of them is 0.4 MB, a few times in the sorting.
    assert peak_bytes < 6e6


@pytest.mark.parametrize("n_classes", [3, 40])
def test_equal_answers_stand_in_the_order_of_the_classes(n_classes: int) -> None:
    classes = np.zeros((n_classes, 2), dtype=np.float32)
    classes[:, 1] = 1
    classes[[0, 2]] = [1, 0]
    top, probabilities = find_top_classes(classes[:1], classes, k=2, logit_scale=5.0)
    assert top.tolist() == [[0, 2]]
    assert probabilities[0, 0] == probabilities[0, 1]


@pytest.mark.parametrize(("n_classes", "k"), [(100, 100), (100, 50), (1000, 100)])
def test_many_equal_answers_stand_in_the_order_of_the_classes(n_classes: int, k: int) -> None:
    classes = np.ones((n_classes, 1), dtype=np.float32)
    top, probabilities = find_top_classes(classes[:2], classes, k=k, logit_scale=5.0)
    assert (np.diff(top, axis=1) > 0).all()
    np.testing.assert_allclose(probabilities, np.full((2, k), 1 / n_classes), rtol=1e-5)


def test_one_class_is_certain() -> None:
    top, probabilities = find_top_classes(_draw(3, 1), _draw(1, 2), k=5, logit_scale=100.0)
    assert top.tolist() == [[0], [0], [0]]
    assert probabilities.tolist() == [[1.0], [1.0], [1.0]]


def test_a_large_scale_does_not_overflow() -> None:
    vectors = np.array([[1.0, 0.0]], dtype=np.float32)
    classes = np.array([[1.0, 0.0], [-1.0, 0.0]], dtype=np.float32)
    with np.errstate(all="raise", under="ignore"):
        _, probabilities = find_top_classes(vectors, classes, k=2, logit_scale=1e4)
    assert probabilities.tolist() == [[1.0, 0.0]]


def test_classes_of_another_dim_are_refused() -> None:
    with pytest.raises(MismatchError, match="images have dim 6, class embeddings 5"):
        find_top_classes(_draw(1, 1), _draw(2, 2, dim=5), k=1, logit_scale=1.0)


TAXA = Taxonomy(
    tuple(
        Taxon.from_names({"family": name}, common_name=common_name)
        for name, common_name in [("Felidae", "cats"), ("Canidae", "dogs"), ("Ursidae", "bears")]
    )
)
TEMPLATES = ("a photo of {}.", "{} at night")


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    """Images whose vectors are those of the texts that name their family, in two shards."""
    families = ["Felidae", "Canidae", "Ursidae", "Felidae", ""]
    frame = pd.DataFrame(
        {"path": [f"{i}.jpg" for i in range(5)], "family": families, "site": range(5)}
    )
    vectors = encoder.encode_text([f"a photo of {family}." for family in families])
    made = make_store(encoder).append(frame.iloc[:3], vectors[:3])
    encoder.texts_seen.clear()
    return made.append(frame.iloc[3:], vectors[3:])


def _ask(text_type: TextType = TextType.SCI, taxa: Taxonomy = TAXA) -> PromptSet:
    return PromptSet(taxa, text_type, TEMPLATES)


@pytest.mark.parametrize("text_type", [TextType.SCI, TextType.COM, TextType.SCI_COM])
def test_labels_are_those_of_a_direct_computation(
    store: EmbeddingStore, encoder: PlainEncoder, text_type: TextType
) -> None:
    predictions = zeroshot(store, _ask(text_type), encoder.encode_text, rank=Rank.FAMILY, k=3)
    classes = []
    for taxon in TAXA:
        texts = [template.format(text_type.write(taxon)) for template in TEMPLATES]
        classes.append(encoder.encode_text(texts).mean(axis=0))
    unit = normalise_rows(np.array(classes))
    expected = _softmax_plainly(store.read_vectors(), unit, encoder.logit_scale)
    order = np.argsort(-expected, axis=1)
    np.testing.assert_array_equal(predictions.top_classes, order)
    np.testing.assert_allclose(
        predictions.scores, np.take_along_axis(expected, order, 1), atol=1e-5
    )
    assert predictions.rows.tolist() == [0, 1, 2, 3, 4]


def test_images_get_the_label_whose_text_is_nearest(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    predictions = zeroshot(store, _ask(), encoder.encode_text, rank=Rank.FAMILY, k=1)
    assert predictions.names[:4, 0].tolist() == ["Felidae", "Canidae", "Ursidae", "Felidae"]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_there_are_no_more_answers_than_classes(
    store: EmbeddingStore, encoder: PlainEncoder, k: int
) -> None:
    every = zeroshot(store, _ask(), encoder.encode_text, rank=Rank.FAMILY, k=3)
    some = zeroshot(store, _ask(), encoder.encode_text, rank=Rank.FAMILY, k=k)
    np.testing.assert_array_equal(some.names, every.names[:, :k])
    np.testing.assert_allclose(some.scores, every.scores[:, :k], atol=1e-6)
    assert {frozenset(names) for names in every.names} == {frozenset(t.name for t in TAXA)}


def test_five_answers_come_back_where_nothing_is_said(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    taxa = Taxonomy(tuple(Taxon.from_names({"family": f"Family{i}"}) for i in range(7)))
    prompts = _ask(taxa=taxa)
    five = zeroshot(store, prompts, encoder.encode_text, rank=Rank.FAMILY, k=5)
    unsaid = zeroshot(store, prompts, encoder.encode_text, rank=Rank.FAMILY)
    assert unsaid.names.shape == (5, 5)
    np.testing.assert_array_equal(unsaid.names, five.names)


def test_only_current_images_that_meet_the_condition_are_labelled(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    row = store.images.frame.iloc[[3]]
    store = store.append(row, store.read_vectors(np.array([0])), retired=[3])
    all_rows = zeroshot(store, _ask(), encoder.encode_text, rank=Rank.FAMILY)
    assert all_rows.rows.tolist() == [0, 1, 2, 4, 5]
    some = zeroshot(View.of(store, "site >= 2"), _ask(), encoder.encode_text, rank=Rank.FAMILY)
    assert some.rows.tolist() == [2, 4, 5]
    np.testing.assert_allclose(some.scores, all_rows.scores[2:], atol=1e-6)


def test_where_no_image_is_left_no_text_is_encoded(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    with pytest.raises(SelectionError, match="none of the 5 images"):
        zeroshot(View.of(store, "site > 9"), _ask(), encoder.encode_text, rank=Rank.FAMILY)
    assert encoder.texts_seen == []


def test_a_question_asked_twice_needs_no_encoder(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    def refuse() -> PlainEncoder:
        pytest.fail("the encoder was loaded although the store has the texts")

    caches = TextCache(store, lambda: encoder), TextCache(store, refuse)
    first = zeroshot(store, _ask(), caches[0].encode_text, rank=Rank.FAMILY)
    again = TextCache(EmbeddingStore.open(store.folder), refuse)
    second = zeroshot(store, _ask(), again.encode_text, rank=Rank.FAMILY)
    np.testing.assert_array_equal(second.scores, first.scores)


def test_texts_of_another_dim_are_refused(store: EmbeddingStore) -> None:
    def encode_text(texts: Sequence[str]) -> Vectors:
        return _draw(len(texts), 0, dim=4)

    with pytest.raises(MismatchError, match="images have dim 16, class embeddings 4"):
        zeroshot(store, _ask(), encode_text, rank=Rank.FAMILY)


def test_the_result_says_what_it_was_computed_from(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    provenance = zeroshot(
        View.of(store, "site < 3"), _ask(), encoder.encode_text, rank=Rank.FAMILY
    ).provenance
    assert provenance.encoder == encoder.fingerprint.to_dict()
    assert (provenance.store, provenance.n_rows) == (str(store.folder), 3)
    assert provenance.condition == "site < 3"
    stated = {name: provenance.options[name] for name in ("rank", "n_classes", "text_type")}
    assert stated == {"rank": "family", "n_classes": 3, "text_type": "sci"}
    assert provenance.options["templates"] == list(TEMPLATES)
    assert provenance.options["logit_scale"] == 20.0
