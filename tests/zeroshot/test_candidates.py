from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import PromptError
from bioprobe.store import EmbeddingStore
from bioprobe.store.added_taxa import AddedList
from bioprobe.taxonomy import Rank, Taxon
from bioprobe.zeroshot.candidates import find_candidates

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

FRAME = pd.DataFrame(
    {
        "path": ["a", "b", "c"],
        "family": ["Felidae", "Felidae", "Canidae"],
        "genus": ["Panthera", "Panthera", ""],
        "species": ["Panthera leo", "Panthera onca", ""],
        "common_name": ["lion", "", ""],
    }
)


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    return make_store(encoder).append(FRAME, np.eye(3, 16))


def _find(store: EmbeddingStore, rank: Rank, taxa: str | None = None) -> list[str]:
    return [taxon.name for taxon in find_candidates(store, taxa, rank)]


def test_candidates_are_the_labels_where_no_list_is_given(store: EmbeddingStore) -> None:
    assert _find(store, Rank.FAMILY) == ["Felidae", "Canidae"]
    assert _find(store, Rank.SPECIES) == ["Panthera leo", "Panthera onca"]


def test_a_label_that_was_corrected_is_no_candidate(store: EmbeddingStore) -> None:
    corrected = FRAME.iloc[2:].assign(family="Ursidae")
    store = store.append(corrected, np.eye(1, 16), retired=[2])
    assert _find(store, Rank.FAMILY) == ["Felidae", "Ursidae"]


def test_candidates_are_those_of_the_list_that_is_given(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    path = tmp_path / "taxa.csv"
    path.write_text("family,species\nUrsidae,Ursus arctos\n")
    assert _find(store, Rank.FAMILY, str(path)) == ["Ursidae"]
    assert _find(store, Rank.SPECIES, str(path)) == ["Ursus arctos"]


@pytest.mark.parametrize("given", [False, True])
def test_added_taxa_are_candidates_always(
    store: EmbeddingStore, tmp_path: Path, *, given: bool
) -> None:
    path = tmp_path / "taxa.csv"
    path.write_text("species\nUrsus arctos\n")
    AddedList.of_store(store).add(Taxon.from_names({"species": "Panthera uncia"}))
    others = ["Ursus arctos"] if given else ["Panthera leo", "Panthera onca"]
    taxa = str(path) if given else None
    assert _find(store, Rank.SPECIES, taxa) == ["Panthera uncia", *others]


def test_what_was_added_of_a_known_taxon_wins(store: EmbeddingStore) -> None:
    AddedList.of_store(store).add(
        Taxon.from_names({"species": "Panthera leo"}, common_name="simba", prompts=("mane",))
    )
    AddedList.of_store(store).add(Taxon.from_names({"family": "Canidae"}, common_name="dogs"))
    lion, _ = find_candidates(store, None, Rank.SPECIES)
    assert (lion.common_name, lion.prompts, lion.lineage[4]) == ("simba", ("mane",), "Felidae")
    names = {t.name: t.common_name for t in find_candidates(store, None, Rank.FAMILY)}
    assert names == {"Canidae": "dogs", "Felidae": ""}


def test_a_rank_without_names_is_refused_with_those_that_have_some(store: EmbeddingStore) -> None:
    expected = (
        "no taxon in the labels of .* has a name at order "
        r"\(there are names at family, genus, species\); give a taxon list with --taxa"
    )
    with pytest.raises(PromptError, match=expected):
        find_candidates(store, None, Rank.ORDER)


def test_a_store_without_labels_is_refused(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    store = make_store(encoder, "bare").append(pd.DataFrame({"path": ["a"]}), np.eye(1, 16))
    with pytest.raises(PromptError, match=r"there are names at no rank\); give a taxon list"):
        find_candidates(store, None, Rank.SPECIES)


def test_a_list_without_names_at_the_rank_is_named(store: EmbeddingStore, tmp_path: Path) -> None:
    (tmp_path / "taxa.csv").write_text("family\nUrsidae\n")
    with pytest.raises(PromptError, match=r"no taxon in .*taxa\.csv has a name at species"):
        find_candidates(store, str(tmp_path / "taxa.csv"), Rank.SPECIES)
