from __future__ import annotations

import itertools

import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy import Rank, Taxon, Taxonomy


def _taxon(common_name: str = "", *, prompts: tuple[str, ...] = (), **names: str) -> Taxon:
    return Taxon.from_names(
        {"class" if rank == "class_" else rank: name for rank, name in names.items()},
        common_name=common_name,
        prompts=prompts,
    )


BARE = _taxon(genus="Prunella")
BIRD = _taxon(kingdom="Animalia", family="Prunellidae", genus="Prunella")
PLANT = _taxon(kingdom="Plantae", family="Lamiaceae", genus="Prunella")
ANIMAL = _taxon(kingdom="Animalia", genus="Prunella")


def test_a_hole_agrees_with_any_name() -> None:
    for order in itertools.permutations([BARE, ANIMAL, BIRD]):
        assert list(Taxonomy.merge(order)) == [BIRD]


def test_lineages_complete_each_other() -> None:
    upper = _taxon(kingdom="Animalia", order="Carnivora", family="Felidae")
    lower = _taxon(phylum="Chordata", family="Felidae")
    (merged,) = Taxonomy.merge([upper, lower])
    assert merged.lineage == ("Animalia", "Chordata", "", "Carnivora", "Felidae", "", "")


def test_homonyms_stay_apart() -> None:
    for order in itertools.permutations([ANIMAL, BIRD, PLANT]):
        assert set(Taxonomy.merge(order)) == {BIRD, PLANT}


def test_a_bare_name_joins_the_homonym_met_first() -> None:
    assert list(Taxonomy.merge([BIRD, PLANT, BARE])) == [BIRD, PLANT]
    assert list(Taxonomy.merge([BARE, PLANT, BIRD])) == [PLANT, BIRD]


def test_one_name_at_two_ranks_is_two_taxa() -> None:
    genus, species = _taxon(genus="Gorilla"), _taxon(species="Gorilla")
    assert list(Taxonomy.merge([genus, species])) == [genus, species]


def test_taxa_stand_in_the_order_first_met() -> None:
    names = ["Ursidae", "Felidae", "Canidae", "Felidae"]
    merged = Taxonomy.merge(_taxon(family=name) for name in names)
    assert [taxon.name for taxon in merged] == ["Ursidae", "Felidae", "Canidae"]


def test_the_first_common_name_is_kept_and_prompts_are_joined() -> None:
    first = _taxon(species="Puma concolor", prompts=("a tan cat",))
    second = _taxon("puma", species="Puma concolor", prompts=("a long tail", "a tan cat"))
    third = _taxon("cougar", species="Puma concolor")
    (merged,) = Taxonomy.merge([first, second, third])
    assert merged.common_name == "puma"
    assert merged.prompts == ("a tan cat", "a long tail")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_its_length_is_the_number_of_taxa(n: int) -> None:
    taxa = Taxonomy(tuple(_taxon(genus=f"Genus{i}") for i in range(n)))
    assert len(taxa) == len(list(taxa)) == n


def test_a_lineage_listed_twice_is_refused() -> None:
    with pytest.raises(TaxonomyError, match="'Prunella' is listed twice; keep one of the two"):
        Taxonomy((BIRD, BIRD))


def test_taxa_at_a_rank_are_distinct_ancestors() -> None:
    taxa = Taxonomy.merge(
        [
            _taxon("lion", family="Felidae", species="Panthera leo"),
            _taxon("tiger", family="Felidae", species="Panthera tigris"),
            _taxon("wolf", family="Canidae", species="Canis lupus"),
            _taxon("slug", species="Arion ater"),
        ]
    )
    assert [taxon.name for taxon in taxa.at(Rank.FAMILY)] == ["Felidae", "Canidae"]
    assert [taxon.name for taxon in taxa.at(Rank.GENUS)] == ["Panthera", "Canis", "Arion"]
    assert len(taxa.at(Rank.KINGDOM)) == 0
    assert taxa.at(Rank.SPECIES) == taxa


def test_homonyms_stay_apart_at_their_rank() -> None:
    taxa = Taxonomy.merge(
        [
            _taxon(kingdom="Animalia", species="Prunella modularis"),
            _taxon(kingdom="Plantae", species="Prunella vulgaris"),
        ]
    )
    assert [taxon.lineage[0] for taxon in taxa.at(Rank.GENUS)] == ["Animalia", "Plantae"]


@pytest.mark.parametrize("name", ["Panthera uncia", "panthera UNCIA", " Snow Leopard "])
def test_a_taxon_is_found_by_either_name_in_any_case(name: str) -> None:
    taxon = _taxon("snow leopard", species="Panthera uncia")
    assert Taxonomy((BIRD, taxon)).find(name) is taxon


def test_an_unknown_name_is_not_found() -> None:
    assert Taxonomy((BIRD,)).find("Panthera") is None


def test_no_name_finds_no_taxon() -> None:
    assert Taxonomy((BIRD,)).find("") is None
