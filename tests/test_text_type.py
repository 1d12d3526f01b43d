from __future__ import annotations

import pytest

from bioprobe.errors import PromptError
from bioprobe.prompts import TextType
from bioprobe.taxonomy import Taxon

UNCIA = Taxon(
    ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "Panthera uncia"),
    "snow leopard",
)
UNNAMED = Taxon(UNCIA.lineage)
FELIDAE = Taxon((*UNCIA.lineage[:5], "", ""), "cats")
WITH_HOLES = Taxon(("Animalia", "", "", "", "Felidae", "Panthera", "Panthera uncia"), "ounce")
HIGHER = Taxon.from_names({"kingdom": "Animalia", "phylum": "Mollusca", "species": "Ammonoidea"})
GENUS = Taxon.from_names({"family": "Felidae", "genus": "Panthera"})
EPITHET = Taxon(("", "", "", "", "Felidae", "Panthera", "uncia"))


@pytest.mark.parametrize(
    ("text_type", "text"),
    [
        (TextType.SCI, "Panthera uncia"),
        (TextType.COM, "snow leopard"),
        (TextType.TAXON, "Animalia Chordata Mammalia Carnivora Felidae Panthera uncia"),
        (TextType.SCI_COM, "Panthera uncia with common name snow leopard"),
        (
            TextType.TAXON_COM,
            "Animalia Chordata Mammalia Carnivora Felidae Panthera uncia "
            "with common name snow leopard",
        ),
        (TextType.ASIS, "Panthera uncia"),
    ],
)
def test_a_species_is_written_as_bioclip_writes_it(text_type: TextType, text: str) -> None:
    assert text_type.write(UNCIA) == text


@pytest.mark.parametrize("text_type", [TextType.SCI, TextType.COM, TextType.SCI_COM, TextType.ASIS])
def test_without_a_common_name_the_scientific_one_is_written(text_type: TextType) -> None:
    assert text_type.write(UNNAMED) == "Panthera uncia"


@pytest.mark.parametrize(
    ("taxon", "text"),
    [
        (FELIDAE, "Animalia Chordata Mammalia Carnivora Felidae with common name cats"),
        (WITH_HOLES, "Animalia Felidae Panthera uncia with common name ounce"),
        (HIGHER, "Animalia Mollusca Ammonoidea"),
        (GENUS, "Felidae Panthera"),
        (EPITHET, "Felidae Panthera uncia"),
        (Taxon.from_names({"species": "Puma concolor"}), "Puma concolor"),
        (Taxon.from_names({"kingdom": "Fungi"}), "Fungi"),
    ],
)
def test_a_lineage_leaves_out_what_is_empty(taxon: Taxon, text: str) -> None:
    assert TextType.TAXON_COM.write(taxon) == text


@pytest.mark.parametrize(
    ("taxon", "sci", "asis"),
    [
        (UNCIA, "Panthera uncia", "Panthera uncia"),
        (EPITHET, "Panthera uncia", "uncia"),
        (FELIDAE, "Felidae", "Felidae"),
        (Taxon(("", "", "", "", "", "", "snow leopard"), "ounce"), "snow leopard", "snow leopard"),
        (Taxon(("", "", "", "", "", "Panthera", "Snow leopard")), "Snow leopard", "Snow leopard"),
        (Taxon(("", "", "", "", "", "Uncia", "Felis uncia")), "Felis uncia", "Felis uncia"),
    ],
)
def test_as_it_is_the_listed_name_is_written_and_nothing_added(
    taxon: Taxon, sci: str, asis: str
) -> None:
    assert TextType.SCI.write(taxon) == sci
    assert TextType.ASIS.write(taxon) == asis


def test_as_it_is_differs_from_the_common_name() -> None:
    named = [taxon for taxon in (UNCIA, FELIDAE, WITH_HOLES) if taxon.common_name]
    assert [TextType.COM.write(taxon) for taxon in named] == ["snow leopard", "cats", "ounce"]
    assert [TextType.ASIS.write(taxon) for taxon in named] == [
        "Panthera uncia", "Felidae", "Panthera uncia"
    ]  # fmt: skip


def test_which_types_use_the_common_name() -> None:
    assert {text_type.value for text_type in TextType if text_type.uses_common_name} == {
        "com",
        "sci_com",
        "taxon_com",
    }


def test_a_text_type_is_read_in_any_case() -> None:
    assert TextType.parse(" Taxon_Com ") is TextType.TAXON_COM


def test_what_is_no_text_type_is_refused_with_those_that_are() -> None:
    message = (
        "'latin' is not a text type; expected one of sci, com, taxon, sci_com, taxon_com, asis"
    )
    with pytest.raises(PromptError, match=message):
        TextType.parse("latin")
