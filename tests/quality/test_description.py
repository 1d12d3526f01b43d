from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import SelectionError
from bioprobe.images import ImageTable
from bioprobe.quality.description import (
    ClassCounts,
    describe_images,
    find_contradicting_copies,
)
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: Any) -> EmbeddingStore:  # noqa: ANN401
    frame = pd.DataFrame(
        {
            "root": "/photos",
            "path": [f"{i}.jpg" for i in range(8)],
            "sha256": ["a", "a", "a", "b", "c", "d", "", ""],
            "family": ["Felidae"] * 4 + ["Canidae"] * 2 + ["Ursidae", ""],
            "width_px": [100, 200, 300, 400, 500, 0, 0, 0],
            "height_px": [10, 10, 10, 10, 50, 0, 0, 0],
            "mode": ["RGB"] * 4 + ["L"] + [""] * 3,
            "burst": ["x", None, "", "y", "y", "y", "y", "y"],
            "whole": range(8),
        }
    )
    return make_store(encoder).append(frame, np.random.default_rng(0).normal(size=(8, 16)))


def test_classes_are_counted_with_their_imbalance(store: EmbeddingStore) -> None:
    counts = describe_images(store, "family").listed
    assert counts is not None
    assert counts.names == ("Felidae", "Canidae", "Ursidae")
    assert counts.n_images.tolist() == [4, 2, 1]
    assert counts.n_missing == 1
    assert counts.imbalance == 4
    shares = np.array([4, 2, 1]) / 7
    assert counts.n_effective == pytest.approx(np.prod(shares**-shares))
    assert counts.to_frame()["fraction"].sum() == pytest.approx(1)
    row = describe_images(store).to_frame().set_index("rank").xs("family")
    assert row.to_dict() == pytest.approx(
        {"n_labelled": 7, "n_missing": 1, "n_classes": 3, "n_single": 1, "smallest": 1,
         "median": 2, "largest": 4, "imbalance": 4, "n_effective": counts.n_effective}
    )  # fmt: skip


def test_equal_classes_are_as_many_as_they_are_and_none_are_none() -> None:
    equal = ClassCounts(Rank.FAMILY, tuple("abc"), np.array([5, 5, 5]), 0)
    assert (equal.imbalance, round(equal.n_effective, 9)) == (1, 3)
    none = ClassCounts(Rank.FAMILY, (), np.zeros(0, dtype=np.int64), 4)
    assert np.isnan(none.imbalance)
    assert none.n_effective == 0
    assert none.to_frame().empty


def test_sizes_modes_copies_and_holes_are_those_of_the_table(store: EmbeddingStore) -> None:
    found = describe_images(store)
    assert found.sizes_px.tolist() == [[100, 200, 300, 400, 500], [10, 10, 10, 10, 50]]
    assert found.n_unsized == 3
    assert found.modes == {"RGB": 4, "L": 1}
    assert found.n_copies == 2
    assert found.missing == {"burst": 2}
    assert found.n_failures == 0
    assert found.to_dict()["sizes_px"]["height"] == [10, 10, 10, 10, 50]


def test_regions_of_one_picture_are_no_copies_of_it(
    make_store: Callable[..., EmbeddingStore],
    encoder: Any,  # noqa: ANN401
) -> None:
    frame = pd.DataFrame({"root": "/photos", "path": ["0.jpg", "0.jpg", "1.jpg"], "sha256": "a",
                          "image_region": ["0,0,.5,.5", ".5,.5,.5,.5", ""]})  # fmt: skip
    regions = make_store(encoder).append(frame, np.eye(3, 16))
    assert describe_images(regions).n_copies == 1


def test_near_duplicates_are_counted_where_they_are_known(store: EmbeddingStore) -> None:
    assert describe_images(store).n_near is None
    write_selection(store, "filters/duplicates", np.arange(6), np.arange(6) % 3 == 0)
    assert describe_images(store).n_near == 4
    assert describe_images(View.of(store, "family == 'Canidae'")).n_near == 2


def test_only_what_is_asked_for_is_described(store: EmbeddingStore) -> None:
    found = describe_images(View.of(store, "width_px == 0"))
    assert (found.n_images, found.n_unsized) == (3, 3)
    assert np.isnan(found.sizes_px).all()
    assert found.to_dict()["sizes_px"] == {"width": None, "height": None}
    with pytest.raises(SelectionError, match="none of the 8 images"):
        describe_images(View.of(store, "family == 'x'"))


@pytest.mark.shared
def test_rare_species_are_as_even_as_their_table_says(
    shared_dir: Path,
    make_store: Callable[..., EmbeddingStore],
    encoder: Any,  # noqa: ANN401
) -> None:
    table = pd.read_csv(shared_dir / "data" / "rare-species" / "rare_species.csv")
    frame = table[["kingdom", "phylum", "class", "order", "family", "genus"]].assign(
        root="/x", path=table["file_path"], sha256=table["rare_species_id"].astype(str),
        species=table["genus"] + " " + table["species"],
    )  # fmt: skip
    vectors = np.random.default_rng(0).normal(size=(len(frame), 16))
    found = describe_images(make_store(encoder).append(frame, vectors))
    assert found.n_images == 11983
    assert found.to_frame()["n_classes"].tolist() == [1, 5, 15, 85, 202, 316, 400]
    phyla = found.ranks[Rank.PHYLUM.depth]
    assert phyla.n_images.tolist() == [9952, 951, 810, 210, 60]
    assert phyla.imbalance == pytest.approx(165.87, abs=0.01)
    assert found.n_copies == 0


def test_observations_of_one_picture_do_not_contradict_each_other() -> None:
    rows = [
        ("a.jpg", "", "1", "Lynx lynx"), ("a.jpg", "#2", "1", "Canis lupus"),
        ("b.jpg", "", "1", "Canis lupus"), ("c.jpg", "", "1", "Alces alces"),
        ("d.jpg", "0,0,0.5,0.5", "2", "Lynx lynx"), ("e.jpg", "0.5,0,0.5,0.5", "2", "Alces alces"),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["path", "image_region", "sha256", "species"])
    images = ImageTable.build(frame.assign(root="/r"))
    for order in (range(6), (3, 2, 0, 1, 4, 5), (2, 3, 0, 1, 4, 5)):
        pairs = find_contradicting_copies(images, np.array(order))
        assert all(3 in pair for pair in pairs)
        assert pairs
