"""Offsets between seen and new classes, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bioprobe.errors import MismatchError, StoreError
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Taxon, Taxonomy
from bioprobe.zeroshot.seen_offset import (
    OFFSET_NAME,
    SeenOffset,
    choose_threshold,
    harmonic_mean,
    keep_offset,
    read_offset,
)
from tests.conftest import PlainEncoder

LYNX = Taxon.from_names({"family": "Felidae", "species": "Lynx pardinus"})
WOLF = Taxon.from_names({"family": "Canidae", "species": "Canis lupus"})
FELIDAE = Taxon.from_names({"family": "Felidae"})


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    return make_store(encoder)


@pytest.mark.parametrize(
    ("new", "expected"),
    [((), [False, False]), ((LYNX,), [True, False]), ((FELIDAE,), [True, False])],
)
def test_classes_below_a_new_taxon_are_new(new: tuple[Taxon, ...], expected: list[bool]) -> None:
    assert SeenOffset(1.0, new).find_new(Taxonomy((LYNX, WOLF))).tolist() == expected


def test_a_class_above_a_new_taxon_is_not_new() -> None:
    assert SeenOffset(1.0, (LYNX,)).find_new(Taxonomy((FELIDAE,))).tolist() == [False]


def test_an_offset_comes_back_as_it_was_kept(store: EmbeddingStore) -> None:
    assert read_offset(store) is None
    keep_offset(store, SeenOffset(2.5, (LYNX,)), {"rank": "species"})
    assert read_offset(store) == SeenOffset(2.5, (LYNX,))


def test_an_offset_of_another_encoder_is_refused(
    store: EmbeddingStore, make_store: Callable[..., EmbeddingStore]
) -> None:
    other = make_store(PlainEncoder(2), "other")
    keep_offset(store, SeenOffset(2.5, ()), {})
    (other.folder / OFFSET_NAME).write_bytes((store.folder / OFFSET_NAME).read_bytes())
    with pytest.raises(MismatchError, match="measured with another encoder"):
        read_offset(other)


def test_a_damaged_offset_is_refused_with_the_remedy(store: EmbeddingStore) -> None:
    (store.folder / OFFSET_NAME).write_text("{")
    with pytest.raises(StoreError, match="measure it again with: bioprobe taxa measure"):
        read_offset(store)


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better_than_the_chosen_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    below, above = random.normal(0, 1, 30), random.normal(1, 1, 50)
    right_below, right_above = random.random(30) < 0.8, random.random(50) < 0.9

    def score(cut: float) -> float:
        one, other = (right_below & (below <= cut)).mean(), (right_above & (above > cut)).mean()
        return float(harmonic_mean(float(one), float(other)))

    chosen = choose_threshold(right_below, below, right_above, above)
    cuts = np.linspace(-5, 5, 2001)
    assert score(chosen) >= max(score(float(cut)) for cut in cuts) - 1e-12


def test_one_image_of_each_kind_is_enough() -> None:
    yes = np.array([True])
    assert choose_threshold(yes, np.array([-1.0]), yes, np.array([3.0])) == 1.0


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(0.5, 0.5, 0.5), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1, 0.5, 2 / 3)],
)
def test_the_harmonic_mean_is_known(one: float, other: float, expected: float) -> None:
    assert float(harmonic_mean(one, other)) == pytest.approx(expected)


def test_of_thresholds_that_are_as_good_the_middle_is_taken() -> None:
    # Images that are wrong anyhow, at 0 and 1, choose none of those from -1 to 3.
    found = choose_threshold(
        np.array([True, True]), np.array([-3.0, -1.0]),
        np.array([True, False, False]), np.array([3.0, 0.0, 1.0]),
    )  # fmt: skip
    assert found == 0.5
