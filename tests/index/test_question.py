from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bioprobe.embedding import embed_images
from bioprobe.errors import SourceError, StoreError
from bioprobe.index import Question, Terms, compose_question
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore, TextCache

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

UNIT = np.eye(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("plus", "minus", "weight", "expected"),
    [
        ([0], [], 1, [1, 0, 0]),
        ([0, 1], [], 1, [1, 1, 0]),
        ([0], [1], 1, [1, -1, 0]),
        ([0], [1], 0.5, [2, -1, 0]),
        ([0], [1], 0, [1, 0, 0]),
        # Means: two terms of a side weigh as much as one.
        ([0], [1, 2], 1, [2, -1, -1]),
        ([0, 0, 1], [2], 1, [2, 1, -3]),
    ],
)
def test_a_question_is_the_mean_of_plus_less_the_mean_of_minus(
    plus: list[int], minus: list[int], weight: float, expected: list[int]
) -> None:
    question = Question(UNIT[plus], UNIT[minus], weight)
    direction = np.array(expected) / np.linalg.norm(expected)
    np.testing.assert_allclose(question.vector, direction[None], atol=1e-6)
    assert question.vector.dtype == np.float32


def test_minus_terms_weigh_half_where_nothing_is_said() -> None:
    np.testing.assert_allclose(Question(UNIT[:1], UNIT[1:2]).vector, [[0.8**0.5, -(0.2**0.5), 0]])


def test_a_question_of_minus_alone_is_refused() -> None:
    with pytest.raises(SourceError, match="nothing to search by"):
        _ = Question(UNIT[:0], UNIT[:1]).vector


@pytest.mark.parametrize("plus", [[0], [0, 1]])
def test_terms_that_cancel_out_are_refused(plus: list[int]) -> None:
    with pytest.raises(SourceError, match="cancel out"):
        _ = Question(UNIT[plus], UNIT[plus], 1).vector


@pytest.mark.parametrize("times", [1, 1e308, 5e-324])
def test_of_weights_only_the_proportion_counts(times: float) -> None:
    terms = Terms([], ["a", "b"], [], [times, times])
    question = Question(UNIT[:2], UNIT[1:], 0.5, terms, terms)
    expected = Question(UNIT[:2], UNIT[1:], 0.5).vector
    np.testing.assert_allclose(question.vector, expected, atol=1e-6)
    away = Question(UNIT[:2], plus_terms=Terms([], ["a", "b"], [], [1.0, -1e300]))
    np.testing.assert_allclose(away.vector, -UNIT[1:2], atol=1e-6)


@pytest.fixture
def photos(
    make_store: Callable[..., EmbeddingStore],
    encoder: PlainEncoder,
    write_pictures: Callable[..., Path],
) -> EmbeddingStore:
    store = make_store(encoder)
    embed_images(find_images([write_pictures(4)]), encoder, store)
    return EmbeddingStore.open(store.folder)


def test_terms_of_every_kind_become_vectors(photos: EmbeddingStore, encoder: PlainEncoder) -> None:
    picture = photos.images.find_file(2)
    question = compose_question(
        photos,
        TextCache(photos, lambda: encoder),
        Terms([picture], ["a leopard"], [0]),
        Terms((), ["a zoo fence"], [1]),
        minus_weight=0.25,
    )
    stored, texts = photos.read_vectors(), encoder.encode_text(["a leopard", "a zoo fence"])
    np.testing.assert_allclose(question.plus, [stored[2], texts[0], stored[0]], atol=1e-6)
    assert question.minus is not None
    np.testing.assert_allclose(question.minus, [texts[1], stored[1]], atol=1e-6)
    assert question.rows.tolist() == [0, 1]
    assert question.picture_rows.tolist() == [2]
    assert question.text == (
        f"picture {picture} + “a leopard” + row 0, without 0.25 times “a zoo fence” + row 1"
    )


def test_a_row_that_is_not_there_is_named(photos: EmbeddingStore, encoder: PlainEncoder) -> None:
    with pytest.raises(StoreError, match="has 4 rows, got row 4; count from 0"):
        compose_question(photos, TextCache(photos, lambda: encoder), Terms(rows=[4]))


@pytest.mark.parametrize(
    ("weights", "minus", "expected"),
    [
        ([2, 1], [], [2, 1, 0]),
        ([1, -1], [], [1, -1, 0]),
        ([2, -1], [], [2, -1, 0]),
        # Against the sum of what is looked for: minus terms weigh what they do without weights.
        ([2, -1], [1], [1, -0.5, -0.5]),
        ([3, 1], [5], [0.75, 0.25, -0.5]),
    ],
)
def test_terms_count_by_their_weights(
    weights: list[float], minus: list[float], expected: list[float]
) -> None:
    terms = Terms(texts=["a", "b"], weights=weights)
    off = Terms(texts=["c"] * len(minus), weights=minus)
    question = Question(UNIT[:2], UNIT[2 : 2 + len(minus)], 0.5, terms, off)
    direction = np.array(expected) / np.linalg.norm(expected)
    np.testing.assert_allclose(question.vector, direction[None], atol=1e-6)


def test_weights_stand_behind_terms_of_every_kind(tmp_path: Path) -> None:
    odd = tmp_path / "odd.jpg::2"
    odd.write_bytes(b"")
    terms = Terms.read([tmp_path / "a.jpg::2", odd], [r"std\::vector::-0.5", "cat"], ["4::3", 5])
    assert terms.images == [tmp_path / "a.jpg", odd]
    assert (terms.texts, terms.rows) == (["std::vector", "cat"], [4, 5])
    assert terms.weights == [2, 1, -0.5, 1, 3, 1]
    assert Terms.read([], ["cat"], [3]).weights == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a cat::two", r"such as 2 or -0.5, got 'two' in 'a cat::two'; a :: .* is written \\::"),
        ("a cat::", "got ''"),
        ("a cat::0", "a weight is not 0"),
        ("a cat::nan", "a weight is a finite number, got nan"),
        ("a cat::1e999", "a weight is a finite number, got inf"),
        ("::2", "no term stands before the weight"),
    ],
)
def test_a_weight_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        Terms.read([], [text])


@pytest.mark.parametrize("row", ["one", "-1", "1.5", "", 1.5, True, "٣"])
def test_a_row_that_is_no_number_is_refused(row: str | int) -> None:
    with pytest.raises(SourceError, match=r"a row is a whole number from 0, or ROW::WEIGHT, got"):
        Terms.read([], [], [row])


def test_negative_weights_are_no_double_negation() -> None:
    terms = Terms(texts=["a"]), Terms(texts=["b"], weights=[-1])
    with pytest.raises(SourceError, match=r"give one of both, got - “b”"):
        Question(UNIT[:1], UNIT[1:2], 0.5, *terms)
    with pytest.raises(SourceError, match="nothing to search by"):
        _ = Question(UNIT[:1], plus_terms=Terms(texts=["a"], weights=[-1])).vector
