from __future__ import annotations

import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.taxon import complete_taxon

ABOVE = "Animalia,Chordata,Mammalia,Carnivora,Felidae"
UNCIA = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "Panthera uncia")


@pytest.mark.parametrize(
    ("name", "lineage"),
    [
        ("Panthera uncia", ABOVE),
        ("Panthera uncia", f"{ABOVE},Panthera"),
        ("Panthera uncia", f"{ABOVE},Panthera,uncia"),
        ("Panthera uncia", f"{ABOVE},Panthera,Panthera uncia"),
        (" Panthera  uncia ", f" {ABOVE.replace(',', ' , ')} "),
        ("uncia", f"{ABOVE},Panthera"),
    ],
)
def test_a_lineage_may_end_above_the_name_or_with_it(name: str, lineage: str) -> None:
    assert complete_taxon(name, lineage).lineage == UNCIA


@pytest.mark.parametrize(
    ("name", "lineage", "rank"),
    [
        ("Animalia", "", Rank.SPECIES),
        ("Chordata", "Animalia", Rank.PHYLUM),
        ("Felidae", "Animalia,,,", Rank.FAMILY),
        ("Panthera", ABOVE, Rank.GENUS),
        ("Panthera leo", "", Rank.SPECIES),
        ("Panthera leo", "Animalia", Rank.SPECIES),
    ],
)
def test_a_name_takes_the_rank_below_its_lineage(name: str, lineage: str, rank: Rank) -> None:
    taxon = complete_taxon(name, lineage)
    assert (taxon.rank, taxon.name) == (rank, name)


def test_an_empty_name_in_a_lineage_is_a_hole() -> None:
    taxon = complete_taxon("Felidae", "Animalia,,Mammalia,")
    assert taxon.lineage == ("Animalia", "", "Mammalia", "", "Felidae", "", "")


def test_common_name_and_prompts_are_kept() -> None:
    taxon = complete_taxon("Panthera uncia", common_name="snow leopard", prompts=("a grey cat",))
    assert (taxon.common_name, taxon.prompts) == ("snow leopard", ("a grey cat",))


def test_a_genus_that_contradicts_the_binomial_is_refused() -> None:
    with pytest.raises(TaxonomyError, match="genus in 'Panthera uncia' is not the 'Felis' of the"):
        complete_taxon("Panthera uncia", f"{ABOVE},Felis")


def test_a_lineage_that_is_too_long_is_refused() -> None:
    with pytest.raises(TaxonomyError, match="has 7 names above it, at most 6 fit above species"):
        complete_taxon("Panthera uncia", f"{ABOVE},Panthera,more")


def test_a_name_that_is_added_takes_its_usual_form() -> None:
    assert complete_taxon("panthera_uncia (Schreber, 1775)").lineage[5:] == (
        "Panthera", "Panthera uncia",
    )  # fmt: skip
    with pytest.raises(TaxonomyError, match=r"'snow leopard' is no scientific name.*--common"):
        complete_taxon("snow leopard")
