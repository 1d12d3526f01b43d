from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import read_folder_names, read_labels
from bioprobe.taxonomy.lists import read_taxonomy
from bioprobe.taxonomy.scientific_names import Kind, judge_name, recognise_names


def _read(**columns: str) -> dict[str, str]:
    """Read a table of one row, and return what is not empty."""
    labels = read_labels(pd.DataFrame({name: [value] for name, value in columns.items()}))
    return {str(name): value for name, value in labels.iloc[0].items() if value}


@pytest.mark.parametrize(
    "name",
    [
        "American Robin", "Red Fox", "Red fox", "red_fox", "polar-bear", "RED FOX", "Tiger",
        "Grevy's zebra", "Grevy\u2019s Zebra", "Bird of paradise", "White-tailed deer",
        "Great horned owl", "deer sp.", "unknown bird", "adult", "\u30ad\u30c4\u30cd",
    ],
)  # fmt: skip
def test_a_common_name_is_no_scientific_one(name: str) -> None:
    assert judge_name(name) is Kind.COMMON
    assert _read(species=name) == {"label": name}


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("Panthera leo", "Panthera leo"),
        ("acinonyx-jubatus", "Acinonyx jubatus"),
        ("Panthera_leo", "Panthera leo"),
        ("PANTHERA LEO", "Panthera leo"),
        ("panthera leo", "Panthera leo"),
        ("Gekko gecko", "Gekko gecko"),
        ("canis-lupus-familiaris", "Canis lupus familiaris"),
        ("Ursus maritimus Phipps, 1774", "Ursus maritimus"),
        ("Carnegiea gigantea (Engelm.) Britton & Rose", "Carnegiea gigantea"),
        ("Turdus \u00d7 migratorius", "Turdus \u00d7 migratorius"),
        ("Mentha x piperita L.", "Mentha \u00d7 piperita"),
        ("Polypodium pectinatum L. f. typica Rosenst.", "Polypodium pectinatum typica"),
    ],
)
def test_a_scientific_name_has_one_form(name: str, canonical: str) -> None:
    assert judge_name(name) is Kind.SCIENTIFIC
    words = canonical.split()
    # A dog is no wolf that is counted.
    is_whole = "\u00d7" in words or words[-1] == "familiaris"
    species = canonical if is_whole else " ".join(words[:2])
    below = {"subspecies": canonical} if species != canonical else {}
    assert _read(species=name) == {"genus": words[0], "species": species, **below}


@pytest.mark.parametrize("name", ["1", "007", "sp01", "class_a", "B", "2-3"])
def test_a_code_stays_the_name_of_a_class(name: str) -> None:
    assert judge_name(name) is Kind.CODE
    assert _read(species=name) == {"species": name}


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("Alces sp.", {"genus": "Alces", "identification_qualifier": "sp."}),
        ("Alces cf. alces", {"genus": "Alces", "identification_qualifier": "cf. alces"}),
        ("Alces indet.", {"genus": "Alces", "identification_qualifier": "indet."}),
        ("Ursidae", {"family": "Ursidae"}),
        ("POACEAE", {"family": "Poaceae"}),
        ("Trilobita", {"species": "Trilobita"}),
        ("Alces sp1", {"genus": "Alces", "identification_qualifier": "sp1"}),
        ("Alces n. sp.", {"genus": "Alces", "identification_qualifier": "n. sp."}),
        ("Alces near alces", {"genus": "Alces", "identification_qualifier": "near alces"}),
        (
            "Anas crecca vel discors",
            {"genus": "Anas", "identification_qualifier": "crecca vel discors"},
        ),
        ("Anas crecca hybrid", {"genus": "Anas", "identification_qualifier": "crecca hybrid"}),
        ("Sus sp", {"genus": "Sus", "identification_qualifier": "sp"}),
        ("Anas crecca (?)", {"genus": "Anas", "identification_qualifier": "crecca (?)"}),
        ("Anas crecca, probably", {"genus": "Anas", "identification_qualifier": "crecca probably"}),
        ("Anas unidentified", {"label": "Anas unidentified"}),
        ("Hybrid Anas", {"label": "Hybrid Anas"}),
        ("Myotis (Selysius)", {"genus": "Myotis"}),
        ("Alces Gray, 1821", {"label": "Alces Gray, 1821"}),
        ("Rosa 'Peace'", {"label": "Rosa 'Peace'"}),
        ("Ursidae gen. sp.", {"family": "Ursidae", "identification_qualifier": "gen. sp."}),
        ("Ursidae juvenile", {"family": "Ursidae"}),
        ("Ursinae sp.", {"label": "Ursinae sp."}),
        ("Rodentia sp.", {"order": "Rodentia", "identification_qualifier": "sp."}),
        ("Anseriformes", {"order": "Anseriformes"}),
        ("Mammalia indet.", {"class": "Mammalia", "identification_qualifier": "indet."}),
        ("Aves Linnaeus, 1758", {"class": "Aves"}),
        ("Pholidota", {"order": "Pholidota"}),
        ("Pholidota imbricata", {"genus": "Pholidota", "species": "Pholidota imbricata"}),
        ("diplodocus", {"species": "Diplodocus"}),
    ],
)
def test_what_is_not_sure_is_no_species(name: str, read: dict[str, str]) -> None:
    assert _read(species=name) == read


@pytest.mark.parametrize(
    "name",
    [
        "Corvus corax male", "Corvus corax juv", "Corvus corax, adult female", "Corvus_corax_juv.",
        "Corvus corax (hembra)", "Corvus corax\u2642", "Corvus corax agg", "Corvus corax sic",
        "Corvus corax nest", "Corvus corax female with chicks", "\u201cCorvus corax\u201d",
        "*Corvus corax*", "Raven [Corvus corax]", "Common Raven - Corvus corax",
    ],
)  # fmt: skip
def test_what_is_said_of_the_animal_is_no_part_of_its_name(name: str) -> None:
    assert _read(species=name) == {"genus": "Corvus", "species": "Corvus corax"}


def test_a_genus_beside_it_says_that_a_name_is_one() -> None:
    lion = {"genus": "Panthera", "species": "Panthera leo"}
    assert _read(genus="Panthera", species="Panthera Leo") == lion
    assert _read(genus="panthera", species="leo (Linnaeus, 1758)") == lion
    for name in ("Red Fox", "red fox"):
        assert _read(genus="Vulpes", species=name) == {"genus": "Vulpes", "label": name}
    moose = {"genus": "Alces", "identification_qualifier": "sp."}
    assert _read(genus="Alces", species="Alces sp.") == moose


@pytest.mark.parametrize(
    ("columns", "read"),
    [
        ({"genus": "Panthera?", "species": "leo"}, {"identification_qualifier": "Panthera? leo"}),
        ({"genus": "cf. Panthera"}, {"identification_qualifier": "cf. Panthera"}),
        ({"family": "Felidae ?", "genus": "Panthera", "species": "leo"},
         {"genus": "Panthera", "species": "Panthera leo", "identification_qualifier": "Felidae ?"}),
        ({"genus": "Panthera", "species": "cf. leo"},
         {"genus": "Panthera", "identification_qualifier": "cf. leo"}),
        ({"family": "Felidae sp.", "genus": "Panthera sp."},
         {"family": "Felidae", "genus": "Panthera"}),
        ({"family": "Felidae (cats)", "genus": "Panthera (Leo)", "species": "leo"},
         {"family": "Felidae", "genus": "Panthera", "species": "Panthera leo"}),
    ],
)  # fmt: skip
def test_a_name_that_is_not_sure_is_at_no_rank(
    columns: dict[str, str], read: dict[str, str]
) -> None:
    assert _read(**columns) == read


def test_a_full_name_completes_an_epithet_and_fills_what_is_empty() -> None:
    lion = {"genus": "Panthera", "species": "Panthera leo"}
    assert _read(SPECIES="leo", SCIENTIFIC_NAME="Panthera leo") == lion
    assert _read(genus="", species="", scientificName="Panthera leo (L.)") == lion
    assert _read(genus="Panthera", species="", scientificName="Panthera leo") == lion
    assert _read(species="leo", scientificName="Panthera pardus") == {"species": "leo"}
    assert _read(genus="Felis", species="", scientificName="Panthera leo") == {"genus": "Felis"}
    assert _read(species="blank", scientificName="Panthera leo") == {"content": "blank"}


def test_a_name_stands_at_the_rank_beside_it_in_any_word_and_what_is_absent_at_none() -> None:
    lion = {"genus": "Panthera", "species": "Panthera leo"}
    for word in ("species", "sp.", "Art", "esp\u00e8ce"):
        assert _read(scientificName="Panthera leo", taxonRank=word) == lion
    for word in ("SUBSPECIES", "subsp.", "Unterart"):
        below = {"subspecies": "Panthera leo persica"}
        assert _read(scientificName="Panthera leo persica", taxonRank=word) == {**lion, **below}
    assert _read(scientificName="Felis", taxonRank="Gattung") == {"genus": "Felis"}
    assert _read(scientificName="Felis", taxonRank="tribe") == {"label": "Felis"}
    assert _read(scientificName="Felis", taxonRank="genus", occurrenceStatus="ABSENT") == {}


def test_a_name_that_may_be_either_follows_the_others() -> None:
    scientific, common = recognise_names(["Panda", "American Robin", "Polar Bear"], meant=False)
    assert (scientific, common) == ({}, {"Panda", "American Robin", "Polar Bear"})
    scientific, common = recognise_names(["trilobita", "panthera-leo"], meant=False)
    assert (sorted(scientific), common) == (["panthera-leo", "trilobita"], set())
    # Nothing in its form tells; the header of a column does.
    assert recognise_names(["Sapajus cay"], meant=False)[1] == {"Sapajus cay"}
    assert list(recognise_names(["Sapajus cay"], meant=True)[0]) == ["Sapajus cay"]


@pytest.mark.parametrize("rank", [Rank.GENUS, Rank.FAMILY, Rank.CLASS, Rank.SPECIES])
def test_a_folder_of_a_common_name_has_a_label_and_no_rank(rank: Rank) -> None:
    said: list[str] = []
    labels = read_folder_names(["American Robin", "felidae", "Moose"], rank, tell=said.append)
    assert labels["label"].tolist() == ["American Robin", "", "Moose"]
    assert labels[rank].tolist() == ["", "Felidae", ""]
    assert (labels[[one for one in Rank if one is not rank]] == "").all(axis=None)
    assert "no scientific names" in said[-1]
    assert "2 (American Robin, Moose)" in said[-1]
    assert "taxa resolve" in said[-1]


def test_numbers_before_all_names_of_folders_are_no_part_of_them() -> None:
    said: list[str] = []
    names = ["001.Panthera_leo", "002.Alces_alces", "04-Vulpes vulpes", "empty"]
    labels = read_folder_names(names, Rank.SPECIES, tell=said.append)
    assert labels["species"].tolist() == ["Panthera leo", "Alces alces", "Vulpes vulpes", ""]
    assert "numbers before names, left out: 3" in said
    for kept in (["1 Red Fox", "2 Red Fox"], ["1 Red Fox", "Moose"], ["1 Red Fox"]):
        assert read_folder_names(kept, Rank.SPECIES)["label"].tolist() == kept
    dogs = read_folder_names(["n02085620-Chihuahua", "n02085782-Japanese_spaniel"], Rank.SPECIES)
    assert dogs["label"].tolist() == ["Chihuahua", "Japanese_spaniel"]


def test_what_is_changed_is_said_with_its_number() -> None:
    names = ["Ursus maritimus Phipps, 1774", "panthera leo", "Alces sp.", "Ursidae", "Lynx lynx"]
    said: list[str] = []
    read_labels(pd.DataFrame({"species": names}), tell=said.append)
    assert [text.rpartition(": ")[2] for text in said] == ["1"] * 4
    said.clear()
    read_labels(pd.DataFrame({"species": ["Lynx lynx", ""]}), tell=said.append)
    assert said == []


def test_nothing_in_words_is_nothing_in_names_alone() -> None:
    assert _read(species="Panthera leo", common_name="NA") == _read(species="Panthera leo")
    # What stands for no label is kept where it was, and counted elsewhere.
    assert _read(species="None", common_name="null") == {"species": "None"}
    doubtful = {"genus": "Felis", "identification_qualifier": "?"}
    assert _read(genus="Felis", species="?") == doubtful
    assert _read(species="Felis ?") == doubtful


def test_a_list_of_common_names_is_no_list_of_taxa(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("red fox\nAmerican Robin\n")
    with pytest.raises(TaxonomyError, match=r"2 of 2 .*line 1 'red fox'.*--classes FILE"):
        read_taxonomy(path)
    path.write_text("# mine\nPanthera leo\nPolar Bear\nUrsidae\n")
    with pytest.raises(TaxonomyError, match=r"1 of 3 are no scientific names .line 3 'Polar Bear'"):
        read_taxonomy(path)
    path.write_text("Panthera leo (Linnaeus, 1758)\nlynx_lynx\n")
    assert [taxon.name for taxon in read_taxonomy(path)] == ["Panthera leo", "Lynx lynx"]


@pytest.mark.parametrize(
    "header", ["Latin name", "latinName", "SCIENTIFIC NAME", "Scientific.Name", "scientific-name"]
)
def test_headers_are_read_in_any_spelling_in_lists(tmp_path: Path, header: str) -> None:
    path = tmp_path / "taxa.csv"
    path.write_text(f"{header},Vernacular_Name,Family Name\nPanthera leo,lion,Felidae\n")
    (lion,) = read_taxonomy(path)
    assert (lion.name, lion.common_name, lion.lineage[4]) == ("Panthera leo", "lion", "Felidae")


def test_a_list_is_read_by_the_columns_that_are_named(tmp_path: Path) -> None:
    path = tmp_path / "taxa.csv"
    path.write_text("Kind,Name\nPanthera leo,lion\n")
    with pytest.raises(TaxonomyError, match="--rank-column"):
        read_taxonomy(path)
    assert [t.name for t in read_taxonomy(path, {Rank.SPECIES: "Kind"})] == ["Panthera leo"]


@pytest.mark.parametrize(
    ("name", "genus", "qualifier"),
    [
        ("Panthera leo / Panthera pardus", "Panthera", "leo / Panthera pardus"),
        ("Panthera leo or P. pardus", "Panthera", "leo or P. pardus"),
        ("Canis lupus/latrans", "Canis", "lupus/latrans"),
        ("Panthera leo and Panthera pardus", "Panthera", "leo and Panthera pardus"),
        ("Panthera leo?", "Panthera", "leo?"),
    ],
)
def test_of_two_names_and_of_a_doubt_the_genus_is_sure(
    name: str, genus: str, qualifier: str
) -> None:
    assert _read(species=name) == {"genus": genus, "identification_qualifier": qualifier}


def test_two_names_of_two_genera_are_no_taxon() -> None:
    assert _read(species="Panthera leo | Alces alces") == {"label": "Panthera leo | Alces alces"}


@pytest.mark.parametrize(
    "name",
    [
        "\uff30anthera \uff4ceo",
        "Panthera leo, juv",
        "Panthera leo.",
        "Panthera leo; adult",
        "Lion (Panthera leo)",
    ],
)
def test_what_is_written_beside_a_name_is_no_part_of_it(name: str) -> None:
    assert _read(species=name) == {"genus": "Panthera", "species": "Panthera leo"}


@pytest.mark.parametrize("word", ["NA", "nan", "None", "N/A", "unidentified", "TBD"])
def test_a_word_for_nothing_is_no_epithet(word: str) -> None:
    assert _read(genus="Panthera", species=word).get("species", "") == ""
    assert _read(genus=word, species="Panthera leo")["genus"] == "Panthera"


def test_names_with_a_capital_each_are_names_where_all_could_be() -> None:
    def place(*names: str, column: str = "species") -> list[str]:
        return read_labels(pd.DataFrame({column: names}))["species"].tolist()

    latin = ["Panthera leo", "Alces alces", "Ursus maritimus"]
    assert place(*(name.title() for name in latin)) == latin
    assert place("Panthera Leo", "Panthera leo") == ["Panthera leo"] * 2
    assert place("Panthera Leo", column="scientificName") == ["Panthera leo"]
    assert place("Gila Monster", "Ball Python", "Red Fox") == [""] * 3
    assert place("Gila Monster") == [""]


def test_one_word_as_a_scientific_name_is_no_species() -> None:
    assert _read(scientificName="Bryozoa") == {"label": "Bryozoa"}
    assert _read(scientificName="MOTU 5") == {"label": "MOTU 5"}
    assert _read(scientificName="Mammalia") == {"class": "Mammalia"}
    assert _read(scientificName="Mammalia", **{"class": "Mammalia"}) == {"class": "Mammalia"}
    assert _read(scientificName="Felidae") == {"family": "Felidae"}


def test_beside_the_words_of_camera_traps_no_plant_is_an_animal() -> None:
    labels = read_labels(
        pd.DataFrame(
            {
                "kingdom": ["Plantae", "Animalia", ""],
                "species": ["Quercus robur", "Alces alces", "blank"],
            }
        )
    )
    assert labels["content"].tolist() == ["", "animal", "blank"]


def test_words_for_nothing_and_of_tools_in_other_languages_are_no_animals() -> None:
    names = ["falso disparo", "N\u00e3o identificado", "Spazierg\u00e4nger", "unid.", "-", "#NV"]
    labels = read_labels(pd.DataFrame({"species": names}))
    assert labels["content"].tolist() == ["blank", "unknown", "human", "unknown", "", ""]
    assert not labels["genus"].any()
    assert _read(genus="Lynx", species="s/d") == {"genus": "Lynx"}
    assert _read(species="\u864e") == {"label": "\u864e"}
    assert _read(species="time lapse") == {"label": "time lapse"}


def test_a_family_loses_its_author_too() -> None:
    assert _read(family="Felidae Fischer, 1817", genus="Panthera Oken, 1816") == {
        "family": "Felidae", "genus": "Panthera"
    }  # fmt: skip


def test_the_words_of_a_first_label_say_what_a_picture_holds() -> None:
    columns = {"original_label": ["empty", "lion"], "species": ["", "Panthera leo"]}
    assert read_labels(pd.DataFrame(columns))["content"].tolist() == ["blank", "animal"]


def test_headers_in_other_languages_are_of_ranks() -> None:
    for headers in (("Gattung", "Art"), ("genre", "esp\u00e8ce"), ("G\u00e9nero", "Especie")):
        said = _read(**dict(zip(headers, ("Panthera", "leo"), strict=True)))
        assert said == {"genus": "Panthera", "species": "Panthera leo"}
    assert _read(**{"Wissenschaftlicher Name": "Panthera Leo"})["species"] == "Panthera leo"
    # Without a species these words may mean other things.
    assert _read(Klasse="3", orden="1") == {}


def test_a_domestic_form_in_three_columns_is_not_its_wild_species() -> None:
    assert _read(genus="Canis", species="lupus", subspecies="familiaris")["species"] == (
        "Canis lupus familiaris"
    )
    assert _read(genus="Canis", species="lupus", subspecies="signatus")["species"] == "Canis lupus"
