from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import SelectionError
from bioprobe.splits import make_split
from bioprobe.splits.groups import share_out
from bioprobe.splits.making import assign_parts
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank

LabelStore = Callable[..., EmbeddingStore]


def _leaks(split: Any) -> dict[str, tuple[int, int]]:  # noqa: ANN401
    return {
        leak["kind"]: (leak["n_groups"], leak["n_test"]) for leak in split.provenance["leakage"]
    }


@pytest.fixture
def store(label_store: LabelStore) -> EmbeddingStore:
    species = [f"Panthera {'abc'[i // 10]}" for i in range(30)] + ["Canis d"] * 10 + [""] * 2
    return label_store(
        family=["Felidae"] * 30 + ["Canidae"] * 10 + ["Felidae", ""],
        species=species,
        burst=[i // 4 for i in range(42)],
        role=["train"] * 20 + ["dev"] * 2 + ["test"] * 8 + ["train"] * 8 + ["query", ""] * 2,
        sha256=[{19: "0", 25: "20"}.get(i, str(i)) for i in range(42)],
    )


def test_unlabelled_images_are_in_no_part_and_counted(store: EmbeddingStore) -> None:
    split = make_split(store, Rank.FAMILY)
    assert split.parts[41] == ""
    assert (split.parts[:41] != "").all()
    assert split.provenance["n_unlabelled"] == 1
    assert split.provenance["n_rows"] == (split.parts != "").sum() < len(store)


def test_copies_stay_together_whatever_the_method(store: EmbeddingStore) -> None:
    for method in ("stratified", "species-disjoint", "kfold"):
        split = make_split(store, Rank.FAMILY, method=method, fractions=(0.5, 0.25, 0.25))
        assert split.parts[0] == split.parts[19]
        assert split.folds[0] == split.folds[19]
        assert split.groups[0] == split.groups[19] != ""
        assert _leaks(split)["same bytes"] == (0, 0)


def test_near_duplicates_that_the_store_knows_stay_together(store: EmbeddingStore) -> None:
    assert make_split(store, Rank.FAMILY).provenance["near_duplicates_known"] is False
    groups = np.where(np.arange(40) % 2 == 0, 0, np.arange(40))
    write_selection(
        store,
        "filters/duplicates",
        np.arange(40),
        np.ones(40, dtype=bool),
        columns={"group": groups},
    )
    split = make_split(store, Rank.FAMILY)
    assert split.provenance["near_duplicates_known"] is True
    assert len(set(split.parts[:40:2])) == 1
    assert _leaks(split)["near duplicates"] == (0, 0)


def test_grouped_keeps_the_columns_groups_together(store: EmbeddingStore) -> None:
    split = make_split(store, Rank.FAMILY, method="grouped", group_columns=["burst"], n_folds=2)
    for first in range(0, 40, 4):
        assert len(set(split.parts[first : first + 4])) == 1
        assert len(set(split.folds[first : first + 4])) == 1
    assert _leaks(split) == {"burst": (0, 0), "same bytes": (0, 0)}


def test_no_species_is_in_two_parts_of_a_species_disjoint_split(store: EmbeddingStore) -> None:
    split = make_split(store, Rank.FAMILY, method="species-disjoint")
    species = store.images.labels(Rank.SPECIES)
    parts = {name: set(split.parts[species == name]) for name in np.unique(species) if name}
    assert all(len(of_species) == 1 for of_species in parts.values())
    assert parts["Canis d"] == {"train"}
    assert _leaks(split)["species"] == (0, 0)
    # Copies join two of the three species of Felidae, so they are two groups.
    listed = {
        one["name"]: (one["n_groups"], one["parts"]) for one in split.provenance["small_classes"]
    }
    assert listed["Canidae"] == (1, ["train"])
    assert listed["Felidae"] == (2, ["train", "test"])
    # What has no species could be of a tested one.
    assert split.parts[40] == ""
    assert split.provenance["n_unlabelled"] == 2
    # Canidae can be held out in folds nonetheless.
    assert set(split.folds[30:38]) == {0, 1, 2, 3, 4}


def test_an_imported_split_is_taken_as_it_is_and_what_leaks_is_counted(
    store: EmbeddingStore,
) -> None:
    split = make_split(store, Rank.FAMILY, method="imported", column="role")
    assert split.parts[:38].tolist() == (
        ["train"] * 20 + ["validation"] * 2 + ["test"] * 8 + ["train"] * 8
    )
    assert split.parts[38:].tolist() == ["", "", "", ""]
    assert split.provenance["unknown_values"] == {"query": 2}
    # Row 20 in validation has a copy in test; both 0 and its copy are in train.
    assert _leaks(split)["same bytes"] == (1, 1)
    renamed = make_split(
        store, Rank.FAMILY, method="imported", column="role",
        part_names={"train": "train", "dev": "test"},
    )  # fmt: skip
    assert (len(renamed.rows("test")), len(renamed.rows("validation"))) == (2, 0)


def test_a_share_that_comes_out_even_is_given_whatever_was_rounded_before() -> None:
    # 0.29 of 100 is 29, which float64 has a little below; three classes of three lag behind.
    found = share_out(np.array([3, 3, 3, 100]), np.array([0.29, 0.355, 0.355]),
                      np.ones((4, 3), dtype=bool))  # fmt: skip
    assert found.tolist() == [*[[1, 1, 1]] * 3, [29, 36, 35]]


def test_kfold_trains_on_all_and_holds_each_out_once(store: EmbeddingStore) -> None:
    split = make_split(store, Rank.FAMILY, method="kfold", n_folds=3)
    assert set(split.parts[:41]) == {"train"}
    assert set(split.folds[:41]) == {0, 1, 2}
    assert split.n_folds == 3


def test_condition_seed_fractions_and_rank_each_change_the_split(store: EmbeddingStore) -> None:
    usual = make_split(store, Rank.FAMILY)
    others = [
        make_split(store, Rank.FAMILY, seed=1),
        make_split(store, Rank.FAMILY, fractions=(0.5, 0.2, 0.3)),
        make_split(View.of(store, "family == 'Felidae'"), Rank.FAMILY),
        make_split(store, Rank.SPECIES),
        make_split(store, Rank.FAMILY, n_folds=2),
        make_split(store, Rank.FAMILY, group_columns=["burst"]),
    ]
    assert len({usual.hash, *(split.hash for split in others)}) == 7
    assert set(others[2].parts[30:40]) == {""}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "random"}, "got 'random'"),
        ({"method": "grouped"}, "--group COLUMN"),
        ({"method": "imported"}, "--column COLUMN"),
        ({"column": "role"}, "--column COLUMN goes with --method imported"),
        ({"group_columns": ["shot"]}, "no column 'shot'"),
        ({"n_folds": 1}, "2 folds or more"),
        ({"part_names": {"a": "train"}}, "--parts name the values of a --column"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    store: EmbeddingStore, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SelectionError, match=message):
        make_split(store, Rank.FAMILY, **options)


def test_no_image_is_no_split(store: EmbeddingStore) -> None:
    with pytest.raises(SelectionError, match="none of the 42 images"):
        make_split(View.of(store, "family == 'Ursidae'"), Rank.FAMILY)


def test_ranks_that_cannot_be_split_are_refused(
    store: EmbeddingStore, label_store: LabelStore
) -> None:
    with pytest.raises(SelectionError, match="none of the 42 images has a label at genus"):
        make_split(store, Rank.GENUS)
    with pytest.raises(SelectionError, match="say --level family"):
        make_split(store, Rank.SPECIES, method="species-disjoint")
    bare = label_store("bare", family=["Felidae"] * 3)
    with pytest.raises(SelectionError, match="none of the 3 images has a species"):
        make_split(bare, Rank.FAMILY, method="species-disjoint")


@pytest.mark.shared
def test_species_can_be_held_apart_in_84_families_of_rare_species(
    rare_species: pd.DataFrame,
) -> None:
    families = rare_species["family"].to_numpy(dtype=str)
    species = (rare_species["genus"] + " " + rare_species["species"]).to_numpy(dtype=str)
    parts, small = assign_parts(families, groups=species)
    by_species = pd.Series(parts).groupby(species).nunique()
    assert (len(by_species), by_species.max()) == (400, 1)
    assert sum(one.n_groups == 1 for one in small) == 118
    tested = np.unique(families[parts == "test"])
    assert len(tested) == 84
    assert np.isin(families, tested).sum() == 8444
    assert set(tested) <= set(families[parts == "train"])


@pytest.mark.shared
def test_rare_species_are_split_as_the_published_split_is(rare_species: pd.DataFrame) -> None:
    parts, small = assign_parts(rare_species["family"].to_numpy(dtype=str))
    assert small == ()
    counts = pd.Series(parts).value_counts()
    assert abs(counts["test"] - 1199) <= 2
    assert abs(counts["validation"] - 1198) <= 2


@pytest.mark.parametrize("method", ["stratified", "grouped", "species-disjoint", "kfold"])
def test_the_order_of_the_rows_does_not_change_a_split(
    method: str, label_store: LabelStore
) -> None:
    random = np.random.default_rng(0)
    n = 120
    columns = {
        "path": [f"{i:03d}.jpg" for i in range(n)],
        # Some are copies, and some were imported without a hash.
        "sha256": [f"{random.integers(2**60):x}" if i % 7 else "" for i in range(n - 9)]
        + ["ab", "cd", "ef"] * 3,
        "family": random.choice(["Felidae", "Canidae", "Ursidae"], n).tolist(),
        "species": [f"Genus {random.integers(20)}" for _ in range(n)],
        "burst": random.integers(40, size=n).astype(str).tolist(),
    }
    groups = ["burst"] if method == "grouped" else []
    hashes = set()
    for number in range(4):
        order = random.permutation(n) if number else np.arange(n)
        store = label_store(
            f"{method}{number}", **{key: [of[i] for i in order] for key, of in columns.items()}
        )
        split = make_split(store, Rank.FAMILY, method=method, group_columns=groups, seed=3)
        hashes.add(split.hash)
    assert len(hashes) == 1
