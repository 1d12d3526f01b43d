"""Classes whose labelled images are nearest to those of a taxon."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bioprobe.store import EmbeddingStore
from bioprobe.store.added_taxa import AddedList
from bioprobe.taxonomy import Taxon, Taxonomy
from bioprobe.zeroshot.examples import Examples, keep_examples
from bioprobe.zeroshot.likeness import find_neighbours_by_image

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

DEGREES = {"Aa a": 0, "Bb b": 10, "Cc c": 90, "Dd d": 180}
CLASSES = Taxonomy(tuple(Taxon.from_names({"species": name}) for name in DEGREES))
UNKNOWN = Taxon.from_names({"species": "Xx x"})


def _point(degrees: float) -> list[float]:
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees))), *[0.0] * 14]


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    # Two images a species, on both sides of its mean; the last two rows have no label.
    places = [degrees + side for degrees in DEGREES.values() for side in (-5, 5)]
    names = [name for name in DEGREES for _ in range(2)]
    frame = pd.DataFrame({"path": list("abcdefghij"), "species": [*names, "", ""]})
    return make_store(encoder).append(frame, np.array([_point(d) for d in [*places, 0, 0]]))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_nearest_are_those_of_the_nearest_mean(store: EmbeddingStore, k: int) -> None:
    found = find_neighbours_by_image(CLASSES.taxa[0], store, CLASSES, k=k)
    assert found is not None
    assert [taxon.name for taxon in found.taxa] == ["Bb b", "Cc c", "Dd d"][:k]
    expected = np.cos(np.radians([10, 90, 180]))[:k]
    np.testing.assert_allclose(found.similarities, expected, atol=1e-6)
    assert found.is_confusing


def test_a_species_apart_from_all_is_not_confusing(store: EmbeddingStore) -> None:
    found = find_neighbours_by_image(CLASSES.taxa[3], store, CLASSES)
    assert found is not None
    assert not found.is_confusing


def test_pictures_stand_for_a_taxon_without_labels(store: EmbeddingStore) -> None:
    assert find_neighbours_by_image(UNKNOWN, store, CLASSES) is None
    pictures = np.array([_point(85)], dtype=np.float32)
    found = find_neighbours_by_image(UNKNOWN, store, CLASSES, pictures=pictures, k=1)
    assert found is not None
    assert found.taxa[0].name == "Cc c"
    keep_examples(store, Examples(UNKNOWN, pictures, ("a",), 1.0, 0.0, ""))
    # Pictures of a taxon count with the list of those that were added.
    assert find_neighbours_by_image(UNKNOWN, store, CLASSES, k=1) is None
    AddedList.of_store(store).add(UNKNOWN)
    kept = find_neighbours_by_image(UNKNOWN, store, CLASSES, k=1)
    assert kept is not None
    assert kept.taxa == found.taxa


def test_without_images_of_others_there_is_nothing_to_compare(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    pictures = np.array([_point(0)], dtype=np.float32)
    empty = make_store(encoder, "empty")
    store = empty.append(pd.DataFrame({"path": ["a"]}), pictures)
    assert find_neighbours_by_image(UNKNOWN, store, CLASSES, pictures=pictures) is None
