from __future__ import annotations

import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy import RANKS, Rank, Taxon

LION = (
    "Animalia",
    "Chordata",
    "Mammalia",
    "Carnivora",
    "Felidae",
    "Panthera",
    "Panthera leo",
)


@pytest.mark.parametrize("depth", range(7))
def test_the_lowest_named_rank_is_the_rank(depth: int) -> None:
    taxon = Taxon(LION[: depth + 1] + ("",) * (6 - depth))
    assert (taxon.rank, taxon.name) == (RANKS[depth], LION[depth])


def test_a_hole_is_legal_at_any_rank() -> None:
    taxon = Taxon(("", "Chordata", "", "", "Felidae", "", ""))
    assert taxon.rank is Rank.FAMILY
    assert taxon.to_names()["phylum"] == "Chordata"
    assert taxon.to_names()["class"] == ""


@pytest.mark.parametrize(
    ("names", "genus", "species"),
    [
        ({"genus": "Panthera", "species": "leo"}, "Panthera", "Panthera leo"),
        ({"genus": "Panthera", "species": "Panthera leo"}, "Panthera", "Panthera leo"),
        ({"species": "Panthera leo"}, "Panthera", "Panthera leo"),
        ({"species": "  Panthera   leo "}, "Panthera", "Panthera leo"),
        ({"species": "Ammonoidea"}, "", "Ammonoidea"),
        # The gorilla's genus and epithet are one word.
        ({"species": "Gorilla gorilla"}, "Gorilla", "Gorilla gorilla"),
        ({"genus": "Panthera"}, "Panthera", ""),
    ],
)
def test_genus_and_binomial_complete_each_other(
    names: dict[str, str], genus: str, species: str
) -> None:
    taxon = Taxon.from_names(names)
    assert taxon.lineage[Rank.GENUS.depth] == genus
    assert taxon.lineage[Rank.SPECIES.depth] == species


@pytest.mark.parametrize(
    ("species", "epithet"),
    [("Panthera leo", "leo"), ("Canis lupus dingo", "lupus dingo"), ("Ammonoidea", "")],
)
def test_the_epithet_is_what_follows_the_genus(species: str, epithet: str) -> None:
    assert Taxon.from_names({"species": species}).epithet == epithet


def test_ancestors_have_no_common_name_and_no_prompts() -> None:
    lion = Taxon(LION, "lion", ("a cat with a mane",))
    family = lion.at(Rank.FAMILY)
    assert family == Taxon((*LION[:5], "", ""))
    assert lion.at(Rank.SPECIES) is lion


def test_there_is_no_ancestor_at_a_hole_or_below() -> None:
    taxon = Taxon(("Animalia", "", "", "", "Felidae", "", ""))
    assert taxon.at(Rank.ORDER) is None
    assert taxon.at(Rank.GENUS) is None


@pytest.mark.parametrize(
    ("lineage", "common_name", "problem"),
    [
        (("Animalia",), "", r"a lineage has 7 ranks, got 1: \('Animalia',\)"),
        (("",) * 7, "cat", "needs a name at one rank at least"),
        ((*LION[:6], "Panthera\nleo"), "", r"'Panthera\\nleo' holds a line break; write it on one"),
        (LION, "the\rlion", r"'the\\rlion' holds a line break"),
    ],
)
def test_what_is_no_lineage_is_refused(
    lineage: tuple[str, ...], common_name: str, problem: str
) -> None:
    with pytest.raises(TaxonomyError, match=problem):
        Taxon(lineage, common_name)
