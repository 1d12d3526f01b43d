"""Tables of statuses, and what status a name has by them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from bioprobe.conservation import Covered, Finder, Statuses, read_statuses
from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy import Rank, Taxon
from tests.open_document import write_workbook


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def tell(found: Statuses) -> dict[str, str]:
    return {one.name: one.category.label for one in found.listed}


def say(found: Statuses) -> str:
    return "\n".join(map(str, found.notes))


RHINOS = """species,common_name,status
Diceros bicornis,Black Rhinoceros,CR
Ceratotherium simum,White Rhinoceros,NT
Rhinoceros unicornis,Indian Rhinoceros,VU
Panthera leo,Lion,VU
Panthera tigris altaica,Amur Tiger,EN
Loxodonta africana,African Bush Elephant,EN
Loxodonta cyclotis,African Forest Elephant,CR
Equus quagga,Plains Zebra,NT
Gorilla,,CR
"""


@pytest.fixture
def finder(tmp_path: Path) -> Finder:
    return Finder(read_statuses(write(tmp_path / "r.csv", RHINOS)))


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("Scientific Name;Red List", ["Panthera leo (Linnaeus, 1758);vulnerable", "Lynx lynx;LC"]),
        ("taxon\tIUCN_category", ["panthera_leo\tVU", "LYNX LYNX\tlc"]),
        ("genus,specificEpithet,category", ["Panthera,leo,VU", "Lynx,lynx,LC"]),
        ("Art,Gefährdung", ["Panthera leo,VU", "Lynx lynx,LC"]),
        ("status,name", ["VU,Panthera leo", "LC,Lynx lynx"]),
        ("presence,species,code", ["native,Panthera leo,VU", "native,Lynx lynx,LC"]),
        ("status,species,iucn", ["present,Panthera leo,VU", "present,Lynx lynx,LC"]),
        ("family,species,iucnRedList", ["Felidae,Panthera leo,VU", "Felidae,Lynx lynx,LC"]),
        ("Taxon;Name;Family;iucn", ["Panthera leo;Lion;Felidae;VU", "Lynx lynx;Lynx;Felidae;LC"]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_columns_are_found_whatever_they_are_called(
    tmp_path: Path, header: str, rows: list[str], encoding: str
) -> None:
    table = write(tmp_path / "table.csv", "\n".join([header, *rows]) + "\n", encoding)
    assert tell(read_statuses(table)) == {"Panthera leo": "VU", "Lynx lynx": "LC"}


def test_columns_may_be_named(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "a,b,c\nPanthera leo,VU,LC\nLynx lynx,LC,VU\n")
    found = read_statuses(table, column="c", rank_columns={Rank.SPECIES: "a"})
    assert tell(found) == {"Panthera leo": "LC", "Lynx lynx": "VU"}
    with pytest.raises(TaxonomyError, match=r"has no column 'd'; it has a, b, c"):
        read_statuses(table, column="d")


@pytest.mark.parametrize(
    ("here", "world"), [("National status", "Global status"), ("Liste A", "Liste mondiale")]
)
def test_of_two_columns_of_categories_that_of_the_world_counts_and_the_other_is_said(
    tmp_path: Path, here: str, world: str
) -> None:
    text = f"Art,{here},{world},Nom français\nLynx lynx,CR,LC,Lynx boréal\n"
    found = read_statuses(write(tmp_path / "t.csv", text))
    assert tell(found) == {"Lynx lynx": "LC"}
    assert found.listed[0].common_names == ("Lynx boréal",)
    assert f"are those of the column {world}; {here} hold some too" in say(found)


def test_v_is_not_vulnerable_in_a_list_of_numbers(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "Art,RL\nMartes martes,V\nLynx lynx,2\nCanis lupus,CR\n")
    found = read_statuses(table, column="RL")
    assert tell(found) == {"Canis lupus": "CR"}
    assert "2 rows have what is no Red List category in the column RL" in say(found)


def test_workbooks_text_and_zips_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"Species": ["Panthera leo"], "Red List status": ["VU"]})
    with pd.ExcelWriter(tmp_path / "t.xlsx") as writer:
        pd.DataFrame({"about": ["a list"]}).to_excel(writer, sheet_name="About", index=False)
        frame.to_excel(writer, sheet_name="List", index=False)
    write(tmp_path / "t.txt", "species;status\nPanthera leo;VU\n")
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as packed:
        packed.write(tmp_path / "t.txt", "list.csv")
    sheets = {"About": [["about"], ["a list"]], "List": [list(frame), *frame.to_numpy().tolist()]}
    write_workbook(tmp_path / "t.ods", sheets)
    (tmp_path / "t").write_bytes((tmp_path / "t.ods").read_bytes())
    with zipfile.ZipFile(tmp_path / "ods.zip", "w") as packed:
        packed.write(tmp_path / "t.ods", "list.ods")
    for name in ("t.xlsx", "t.txt", "t.zip", "t.ods", "t", "ods.zip"):
        assert tell(read_statuses(tmp_path / name)) == {"Panthera leo": "VU"}


def test_a_download_of_the_red_list_is_read(tmp_path: Path) -> None:
    """Columns and tables as the Red List's site packs them."""
    rows = [
        '1,11,Panthera leo,Vulnerable,2023,false,Global',
        '2,11,Panthera leo,Least Concern,2024,false,Mediterranean',
        '3,11,Panthera leo,Endangered,2010,false,Global',
        '4,12,Panthera leo ssp. persica,Endangered,2023,false,Global',
        '5,13,Panthera leo (West Africa subpopulation),Critically Endangered,2015,false,Global',
        '6,14,Lynx lynx,Near Threatened,2024,false,Europe',
        '7,15,Plectostoma sciaphilum,Critically Endangered,2014,true,Global',
    ]  # fmt: skip
    head = "assessmentId,internalTaxonId,scientificName,redlistCategory,yearPublished,"
    text = "\n".join([head + "possiblyExtinct,scopes", *rows])
    with zipfile.ZipFile(tmp_path / "download.zip", "w") as packed:
        packed.writestr("assessments.csv", text)
        packed.writestr(
            "taxonomy.csv",
            "internalTaxonId,scientificName,kingdomName,familyName,genusName,speciesName\n"
            "11,Panthera leo,ANIMALIA,FELIDAE,Panthera,leo\n"
            "12,Panthera leo ssp. persica,ANIMALIA,FELIDAE,Panthera,leo\n",
        )
        packed.writestr(
            "common_names.csv", "internalTaxonId,scientificName,name,language\n11,x,Lion,English\n"
        )
        packed.writestr(
            "synonyms.csv", "internalTaxonId,scientificName,name\n11,x,Felis leo Linnaeus 1758\n"
        )
    found = read_statuses(tmp_path / "download.zip")
    assert tell(found) == {"Panthera leo": "VU", "Panthera leo persica": "EN", "Lynx lynx": "NE",
                           "Plectostoma sciaphilum": "CR(PE)"}  # fmt: skip
    assert "1 rows are of a part of a species" in say(found)
    finder = Finder(found)
    assert finder.find_named("lion").category.code == "VU"
    assert finder.find_named("Felis leo").by == "synonym"
    assert finder.find_named("Lynx lynx").describe() == "Lynx lynx NE (global; Europe NT)"


def test_what_cannot_be_read_is_told_with_its_line_and_stops_nothing(tmp_path: Path) -> None:
    rows = ["Panthera leo,VU", "Lynx lynx,likes fish", "Canis lupus,LC", "Felis catus,",
            "Canis lupus,EN", "Panthera leo,Vulnerable", ",LC", "Vulpes vulpes,I"]  # fmt: skip
    found = read_statuses(write(tmp_path / "t.csv", "\n".join(["species,status", *rows])))
    assert tell(found) == {"Panthera leo": "VU", "Canis lupus": "", "Vulpes vulpes": ""}
    said = say(found)
    assert "1 rows have what is no Red List category in the column status, and are left out: " in (
        said
    )
    assert "line 3 'likes fish'; write a code such as VU" in said
    assert "1 rows have no status in the column status, and are left out: line 5" in said
    assert (
        "contradict each other, which have no status here: Canis lupus (line 4 LC, line 6 EN)"
        in (said)
    )
    assert "Panthera leo (line 2, line 7)" in said
    assert "1 rows name no single taxon, and are left out: line 8" in said
    assert "without an equivalent today, and count as without a status: line 9 'I'" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species,site\nPanthera leo,north\n", "has no column of Red List categories; its columns"),
        ("species,status\nPanthera leo,big\n", r"\(status holds 'big'\).*--status-column"),
        ("status,n\nVU,3\nLC,4\n", r"no column of names beside the categories"),
    ],
)
def test_a_table_without_statuses_or_names_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(TaxonomyError, match=message):
        read_statuses(write(tmp_path / "t.csv", text))


def ask(found: Covered) -> tuple[str, str]:
    return found.category.label, found.threat


def test_a_species_has_its_status_by_any_of_its_names(finder: Finder) -> None:
    names = ("Panthera leo", "PANTHERA LEO", "panthera-leo", "lion", "Lions", "Panthera leo leo",
             "Panthera leo Linnaeus")  # fmt: skip
    for name in names:
        assert ask(finder.find_named(name)) == ("VU", "threatened"), name


def test_a_name_of_several_taxa_answers_with_the_set(finder: Finder) -> None:
    for name in ("rhino", "Rhinoceroses", "rhinos"):
        found = finder.find_named(name)
        assert ask(found) == ("", "no status")
        assert found.describe() == (
            "Diceros bicornis CR; Ceratotherium simum NT; Rhinoceros unicornis VU"
        )
    # Of several categories and one threat.
    assert ask(finder.find_named("elephant")) == ("", "threatened")
    assert ask(finder.find_named("Loxodonta")) == ("", "threatened")
    assert not finder.find_named("panther").statuses
    # The end of one name alone may be that of others too.
    assert ask(finder.find_named("zebra")) == ("", "no status")
    assert finder.find_named("zebra").describe() == "Equus quagga NT; maybe others"


def test_a_genus_has_a_status_of_its_own_and_gives_it_to_no_species(finder: Finder) -> None:
    assert ask(finder.find_named("Gorilla")) == ("CR", "threatened")
    assert not finder.find_named("Gorilla gorilla").statuses


def test_a_species_does_not_have_the_status_of_one_of_its_subspecies(finder: Finder) -> None:
    assert ask(finder.find_named("Panthera tigris altaica")) == ("EN", "threatened")
    found = finder.find_named("Panthera tigris")
    assert ask(found) == ("", "no status")
    assert found.describe() == "Panthera tigris altaica EN; Panthera tigris (not listed)"


def test_known_species_that_are_not_listed_leave_their_genus_open(tmp_path: Path) -> None:
    statuses = read_statuses(write(tmp_path / "t.csv", "species,status\nLynx lynx,LC\n"))
    genus = ("", "", "", "", "Felidae", "Lynx", "")
    assert ask(Finder(statuses).find(genus)) == ("LC", "not threatened")
    known = [
        Taxon.from_names({"family": "Felidae", "genus": "Lynx", "species": species})
        for species in ("Lynx rufus", "Lynx lynx")
    ]
    found = Finder(statuses, known).find(genus)
    assert ask(found) == ("", "no status")
    assert found.describe() == "Lynx lynx LC; Lynx rufus (not listed)"
    # Nobody lists all of a family; what stands above its species is known from elsewhere.
    family = Finder(statuses, known[1:]).find(("", "", "", "", "Felidae", "", ""))
    assert ask(family) == ("", "no status")
    assert family.describe() == "Lynx lynx LC; maybe others"


def test_homonyms_of_other_kingdoms_are_told_apart(tmp_path: Path) -> None:
    text = "kingdom,species,status\nAnimalia,Morus bassanus,LC\nPlantae,Morus alba,NT\n"
    finder = Finder(read_statuses(write(tmp_path / "t.csv", text)))
    assert ask(finder.find(("Plantae", "", "", "", "", "Morus", ""))) == ("NT", "not threatened")
    assert not finder.find(("Fungi", "", "", "", "", "Morus", "Morus alba")).statuses


def test_synonyms_are_found_both_ways(tmp_path: Path) -> None:
    synonyms = {"Felis concolor": "Puma concolor", "Uncia uncia": "Panthera uncia"}
    text = "species,status\nFelis concolor,LC\nPanthera uncia,VU\n"
    found = read_statuses(write(tmp_path / "t.csv", text), synonyms=synonyms)
    finder = Finder(found, synonyms=synonyms)
    for name, code in (("Puma concolor", "LC"), ("Felis concolor", "LC"), ("Uncia uncia", "VU")):
        assert finder.find_named(name).category.code == code, name
    text = "species,acceptedName,status\nFelis concolor,Puma concolor,LC\n"
    finder = Finder(read_statuses(write(tmp_path / "a.csv", text)))
    assert finder.find_named("Puma concolor").category.code == "LC"
    assert finder.find_named("Felis concolor").category.code == "LC"


def test_a_common_name_beside_a_family_says_more_than_the_family(finder: Finder) -> None:
    family = ("", "", "", "", "Rhinocerotidae", "", "")
    assert ask(finder.find(family, common_name="White Rhino")) == ("NT", "not threatened")
    assert not finder.find(family).statuses


def test_names_of_classes_may_be_statuses_themselves(finder: Finder) -> None:
    assert ask(finder.find_named("EN")) == ("EN", "threatened")
    assert ask(finder.find_named("not threatened")) == ("", "not threatened")
