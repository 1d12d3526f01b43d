from __future__ import annotations

import pandas as pd
import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy import Taxon
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.taxonomy.matching import Match, NameList, resolve_labels


def _taxon(family: str, species: str, common_name: str = "", kingdom: str = "Animalia") -> Taxon:
    names = {"kingdom": kingdom, "family": family, "species": species}
    return Taxon.from_names(names, common_name=common_name)


TIGER = _taxon("Felidae", "Panthera tigris", "tiger")
PUMA = _taxon("Felidae", "Puma concolor", "mountain lion; cougar")
MOOSE = _taxon("Cervidae", "Alces alces", "elk")
WAPITI = _taxon("Cervidae", "Cervus elaphus", "elk")
GANNETS = Taxon.from_names({"kingdom": "Animalia", "family": "Sulidae", "genus": "Morus"})
MULBERRIES = Taxon.from_names({"kingdom": "Plantae", "family": "Moraceae", "genus": "Morus"})
ZEBRA = _taxon("Equidae", "Equus quagga", "Plains Zebra")
LIST = (TIGER, PUMA, MOOSE, WAPITI, GANNETS, MULBERRIES, ZEBRA)
NAMES = NameList(LIST, {"Felis concolor": "Puma concolor"})


@pytest.mark.parametrize(
    ("label", "taxon", "by"),
    [
        ("Panthera tigris", TIGER, "scientific name"),
        ("panthera_tigris", TIGER, "scientific name"),
        ("PANTHERA TIGRIS (LINNAEUS, 1758)", TIGER, "scientific name"),
        ("Panthera tigris altaica", TIGER, "scientific name"),
        ("felis concolor", PUMA, "synonym"),
        ("Felis concolor Linnaeus, 1771", PUMA, "synonym"),
        ("Cougar", PUMA, "common name"),
        ("mountain_lion", PUMA, "common name"),
        ("PLAINS-ZEBRA", ZEBRA, "common name"),
    ],
)
def test_a_label_is_found_in_any_form(label: str, taxon: Taxon, by: str) -> None:
    assert NAMES.match(label) == Match(taxon, by)


def test_a_higher_taxon_of_the_list_is_found() -> None:
    found = NAMES.match("felidae").taxon
    assert found is not None
    assert found.lineage == ("Animalia", "", "", "", "Felidae", "", "")


def test_one_name_of_several_taxa_is_ambiguous_until_the_lineage_tells() -> None:
    assert NAMES.match("Elk") == Match(candidates=(MOOSE, WAPITI))
    assert NAMES.match("Morus") == Match(candidates=(GANNETS, MULBERRIES))
    plants = ("Plantae", *("",) * 6)
    assert NAMES.match("Morus", plants) == Match(MULBERRIES, "scientific name")
    # A homonym alone in the list is not taken against what the image's own table says.
    assert NameList([GANNETS]).match("Morus", plants) == Match(candidates=(GANNETS,))


def test_what_is_nearly_a_name_is_proposed_and_not_applied() -> None:
    found = NAMES.match("Panthera tigriss")
    assert (found.taxon, found.by, found.candidates) == (None, "", ())
    ((name, similarity),) = found.proposals
    assert name == "Panthera tigris"
    assert similarity == pytest.approx(30 / 31)
    assert NAMES.match("bicycle") == Match()


def test_several_common_names_of_one_taxon_are_all_known() -> None:
    names = NameList([MOOSE, _taxon("Cervidae", "Alces alces", "Elch")])
    assert {names.match(label).taxon for label in ("elk", "elch")} == {MOOSE}


def _frame(**columns: list[str]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame({name: [""] * n for name in LABEL_COLUMNS} | columns, dtype=object)


def test_labels_are_filled_and_what_is_known_stays() -> None:
    frame = _frame(
        label=["Tiger", "", "Elk", "Tigr", ""],
        species=["", "Felis concolor", "", "", "Panthera tigris altaica"],
        genus=["", "Felis", "", "", "Panthera"],
        phylum=["", "", "", "", "Chordata"],
    )
    found = resolve_labels(frame, NAMES)
    assert found.labels["species"].tolist() == [
        "Panthera tigris", "Puma concolor", "", "", "Panthera tigris altaica",
    ]  # fmt: skip
    assert found.labels["genus"].tolist() == ["Panthera", "Puma", "", "", "Panthera"]
    assert found.labels["phylum"].tolist() == ["", "", "", "", "Chordata"]
    assert found.labels["family"].tolist() == ["Felidae", "Felidae", "", "", "Felidae"]
    assert found.labels["common_name"].tolist() == ["tiger", "mountain lion", "", "", "tiger"]
    assert found.find_changed(frame).tolist() == [0, 1, 4]
    table = found.to_frame().set_index("label")
    assert table["matched_by"].tolist() == [
        "common name", "synonym", "", "", "scientific name",
    ]  # fmt: skip
    assert table.loc["Tigr", "proposals"] == "tiger 0.89"
    assert str(table.loc["Elk", "ambiguous"]).count("Cervidae") == 2
    said = " ".join(map(str, found.notes))
    assert "3 of 5 labels" in said
    assert "Tigr -> tiger (0.89)" in said


def test_names_are_found_in_the_column_that_is_named() -> None:
    frame = _frame(species=["1", "1"])
    frame["folder"] = pd.Series(["Tiger", None], dtype=object)
    found = resolve_labels(frame, NAMES, column="folder")
    assert [(label, n) for label, n, _ in found.matches] == [("Tiger", 1)]
    # A code at species says something else than the list does.
    assert found.labels["family"].tolist() == ["", ""]
    with pytest.raises(TaxonomyError, match="no column 'x'"):
        resolve_labels(frame, NAMES, column="x")
