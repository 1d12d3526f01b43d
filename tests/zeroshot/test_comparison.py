from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.errors import SelectionError
from bioprobe.prompts import TextType
from bioprobe.store import EmbeddingStore
from bioprobe.store import view as streaming
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.zeroshot.comparison import compare_prompts

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

NAMES = ["Panthera leo", "Panthera uncia", "Canis lupus"]
COMMON = ["lion", "snow leopard", "wolf"]
TAXA = Taxonomy(
    tuple(
        Taxon.from_names({"species": name}, common_name=common)
        for name, common in zip(NAMES, COMMON, strict=True)
    )
)
TEMPLATES = {"bare": ("{}",)}


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    """Return six images: two of each species, then one without a label and one of no class."""
    vectors = np.eye(16)[[0, 0, 1, 1, 2, 2, 0, 2]]
    frame = pd.DataFrame(
        {"path": list("abcdefgh"), "species": [*np.repeat(NAMES, 2), "", "Ursus arctos"]}
    )
    return make_store(encoder).append(frame, vectors)


def _encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Know the scientific names; of the common ones lion and wolf only, which it takes to be one.

    Any other text lies far from all images.
    """
    places = {name: place for place, name in enumerate(NAMES)} | {"lion": 0, "wolf": 0}
    return np.eye(16, dtype=np.float32)[[places.get(text, 9) for text in texts]]


def test_who_is_right_is_told_image_by_image(store: EmbeddingStore) -> None:
    sci, com = compare_prompts(
        store,
        TAXA,
        _encode,
        rank=Rank.SPECIES,
        text_types=[TextType.COM, TextType.SCI],
        template_sets=TEMPLATES,
    )
    assert (sci.name, com.name) == ("sci bare", "com bare")
    # The image without a label is left out, that of no class is wrong.
    assert sci.right.tolist() == [True, True, True, True, True, True, False]
    # The images of the snow leopard have no near text and take the first class, as do the wolf's.
    assert com.right.tolist() == [True, True, False, False, False, False, False]
    assert (sci.accuracy.n_correct, sci.accuracy.n_images) == (6, 7)
    assert (com.accuracy.n_correct, com.accuracy.n_images) == (2, 7)


@pytest.mark.parametrize("at_once", [1, 2, 6, 7, 8])
def test_images_asked_some_at_a_time_give_the_same(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(streaming, "_IMAGES_AT_ONCE", at_once)
    found = compare_prompts(
        store,
        TAXA,
        _encode,
        rank=Rank.SPECIES,
        text_types=[TextType.SCI],
        template_sets=TEMPLATES,
    )
    assert found[0].right.tolist() == [True] * 6 + [False]


def test_only_the_given_rows_that_meet_the_condition_are_asked(store: EmbeddingStore) -> None:
    (found,) = compare_prompts(
        View.of(store, "path != 'd'").take(np.array([0, 2, 3, 6])),
        TAXA,
        _encode,
        rank=Rank.SPECIES,
        text_types=[TextType.COM],
        template_sets=TEMPLATES,
    )
    assert found.right.tolist() == [True, False]


def test_rows_without_a_label_are_refused(store: EmbeddingStore) -> None:
    with pytest.raises(SelectionError, match="has a label at species"):
        compare_prompts(
            View.of(store).take(np.array([6])),
            TAXA,
            _encode,
            rank=Rank.SPECIES,
            text_types=[TextType.SCI],
            template_sets=TEMPLATES,
        )


def test_the_same_texts_are_measured_once_and_named(store: EmbeddingStore) -> None:
    found = compare_prompts(
        store,
        TAXA,
        _encode,
        rank=Rank.SPECIES,
        text_types=[TextType.SCI, TextType.ASIS, TextType.COM],
        template_sets={"bare": ("{}",), "mine": ("{}",), "other": ("a {}",)},
    )
    twins = {one.name: one.same_texts_as for one in found if one.same_texts_as}
    assert twins == {
        "sci mine": "sci bare",
        "asis bare": "sci bare",
        "asis mine": "sci bare",
        "asis other": "sci other",
        "com mine": "com bare",
    }
    by_name = {one.name: one for one in found}
    assert all(by_name[name].right is by_name[twin].right for name, twin in twins.items())


def test_all_texts_are_asked_for_together(store: EmbeddingStore) -> None:
    asked: list[list[str]] = []

    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        asked.append(list(texts))
        return _encode(texts)

    compare_prompts(
        store,
        TAXA,
        encode,
        rank=Rank.SPECIES,
        text_types=[TextType.SCI, TextType.COM],
        template_sets={"bare": ("{}",), "two": ("a {}", "{}")},
    )
    assert sorted(asked[0]) == sorted([*NAMES, *COMMON, *(f"a {n}" for n in (*NAMES, *COMMON))])


def test_a_homonym_is_not_right(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    oenanthe = [
        Taxon.from_names({"kingdom": kingdom, "genus": "Oenanthe"})
        for kingdom in ("Plantae", "Animalia")
    ]
    frame = pd.DataFrame(
        {"path": ["a", "b"], "kingdom": ["Plantae", "Animalia"], "genus": ["Oenanthe", "Oenanthe"]}
    )
    store = make_store(encoder).append(frame, np.eye(16)[[0, 0]])

    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.eye(16, dtype=np.float32)[[int("Animalia" in text) for text in texts]]

    (found,) = compare_prompts(
        store,
        Taxonomy(tuple(oenanthe)),
        encode,
        rank=Rank.GENUS,
        text_types=[TextType.TAXON],
        template_sets=TEMPLATES,
    )
    assert found.right.tolist() == [True, False]
