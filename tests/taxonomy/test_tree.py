"""Questions to a small tree, whose answers are seen by eye."""

from __future__ import annotations

import pytest

from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.taxonomy.taxonomy import find_lowest_common_ancestor


def _taxon(text: str, common_name: str = "") -> Taxon:
    """Build a taxon from order, family, genus and species."""
    names = dict(zip(("order", "family", "genus", "species"), text.split(","), strict=False))
    return Taxon.from_names(names, common_name=common_name)


LION = _taxon("Carnivora,Felidae,Panthera,leo", "lion")
TIGER = _taxon("Carnivora,Felidae,Panthera,tigris", "tiger")
LYNX = _taxon("Carnivora,Felidae,Lynx,lynx")
WOLF = _taxon("Carnivora,,Canis,lupus")
SLUG = _taxon(",,Arion,ater")
CATS = _taxon("Carnivora,Felidae", "cats")
TREE = Taxonomy((LION, TIGER, LYNX, WOLF, SLUG, CATS))


def _names(taxa: Taxonomy) -> list[str]:
    return [taxon.name for taxon in taxa]


def test_ancestors_have_the_common_names_that_the_list_knows() -> None:
    assert [(t.name, t.common_name) for t in TREE.ancestors(LION)] == [
        ("Carnivora", ""),
        ("Felidae", "cats"),
        ("Panthera", ""),
    ]
    assert TREE.ancestors(_taxon("Carnivora")) == ()


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        (_taxon("Carnivora"), ["Felidae", "Canis"]),
        (CATS, ["Panthera", "Lynx"]),
        (_taxon(",,Panthera"), ["Panthera leo", "Panthera tigris"]),
        (LION, []),
        (_taxon("Primates"), []),
    ],
)
def test_children_stand_one_named_rank_below(parent: Taxon, expected: list[str]) -> None:
    assert _names(TREE.children(parent)) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (LION, TIGER, "Panthera"),
        (LION, LYNX, "Felidae"),
        (LION, WOLF, "Carnivora"),
        (LION, LION, "Panthera leo"),
        (LION, CATS, "Felidae"),
        (LION, SLUG, None),
        (_taxon("A,,X"), _taxon("B,,X"), None),
    ],
)
def test_the_lowest_common_ancestor_is_seen_by_eye(
    one: Taxon, other: Taxon, expected: str | None
) -> None:
    for first, second in ((one, other), (other, one)):
        found = find_lowest_common_ancestor(first, second)
        assert (found.name if found else None) == expected


def test_the_common_ancestor_has_the_common_name_that_the_list_knows() -> None:
    found = TREE.lowest_common_ancestor(LION, LYNX)
    assert found is CATS
    assert TREE.lowest_common_ancestor(LION, SLUG) is None


def test_taxa_are_counted_at_each_rank() -> None:
    assert list(TREE.count().values()) == [0, 0, 0, 1, 1, 4, 5]
    assert set(Taxonomy(()).count().values()) == {0}


def test_each_taxon_belongs_to_one_of_its_rank_or_to_none() -> None:
    classes, positions = TREE.group(Rank.FAMILY)
    assert _names(classes) == ["Felidae"]
    assert classes.taxa[0].common_name == "cats"
    assert positions.tolist() == [0, 0, 0, -1, -1, 0]
    assert TREE.group(Rank.KINGDOM)[1].tolist() == [-1] * 6


def test_homonyms_are_groups_of_their_own() -> None:
    taxa = Taxonomy.merge(
        Taxon.from_names({"kingdom": kingdom, "genus": "Prunella", "species": epithet})
        for kingdom, epithet in [("Animalia", "modularis"), ("Plantae", "vulgaris")]
    )
    assert taxa.group(Rank.GENUS)[1].tolist() == [0, 1]


def test_leaves_are_those_that_nothing_lies_below() -> None:
    assert _names(TREE.leaves()) == _names(Taxonomy((LION, TIGER, LYNX, WOLF, SLUG)))
    bare = Taxonomy((_taxon(",Felidae"), LION))
    assert _names(bare.leaves()) == ["Panthera leo"]
    alone = Taxonomy((CATS, WOLF))
    assert alone.leaves() == alone


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        ([CATS], ["Panthera leo", "Panthera tigris", "Lynx lynx", "Felidae"]),
        ([_taxon(",,Canis"), LION], ["Panthera leo", "Canis lupus"]),
        ([_taxon("Primates,Felidae")], []),
        ([], []),
    ],
)
def test_taxa_below_parents_are_found(parents: list[Taxon], expected: list[str]) -> None:
    assert _names(TREE.below(parents)) == expected


@pytest.mark.parametrize("name", ["felidae", " Felidae ", "cats"])
def test_a_name_is_found_at_any_rank(name: str) -> None:
    assert TREE.find_all(name) == [CATS]


def test_a_name_above_the_listed_taxa_is_found() -> None:
    assert [(t.rank.value, t.name) for t in TREE.find_all("carnivora")] == [("order", "Carnivora")]
    assert TREE.find_all("") == TREE.find_all("Primates") == []


@pytest.mark.parametrize("name", ["Panthera\u00a0leo", "panthera_leo", " PANTHERA  LEO\u200b"])
def test_names_are_found_in_any_form(name: str) -> None:
    lion = Taxon.from_names({"family": "Felidae", "species": "Panthera leo"})
    assert Taxonomy((lion,)).find(name) is lion
    assert Taxonomy((lion,)).find_all(name) == [lion]
