from __future__ import annotations

import pandas as pd
import pytest

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy import Rank
from bioprobe.taxonomy.columns import LABEL_COLUMNS, find_rank_columns, read_labels, to_taxonomy


def _read(**columns: object) -> dict[str, str]:
    """Read a table of one row, and return what is not empty."""
    frame = pd.DataFrame({name: [value] for name, value in columns.items()})
    labels = read_labels(frame)
    assert tuple(labels.columns) == LABEL_COLUMNS
    return {name: value for name, value in labels.iloc[0].items() if value}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["path"], {}),
        (["Kingdom", "PHYLUM"], {"kingdom": "Kingdom", "phylum": "PHYLUM"}),
        (["division"], {"phylum": "division"}),
        (["scientificName"], {"species": "scientificName"}),
        (["Common Name"], {"common_name": "Common Name"}),
        (["vernacularName"], {"common_name": "vernacularName"}),
        (["order_", "class_"], {"class": "class_", "order": "order_"}),
        # The earlier spelling wins.
        (["binomial", "species"], {"species": "species"}),
        (["specificEpithet", "scientificName"], {"species": "scientificName"}),
        (["common", "common_name"], {"common_name": "common_name"}),
    ],
)
def test_columns_are_found_by_the_spellings_in_use(
    columns: list[str], found: dict[str, str]
) -> None:
    assert find_rank_columns(columns) == found


@pytest.mark.parametrize("label", ["class", "Class", " class"])
def test_class_alone_is_any_label(label: str) -> None:
    assert find_rank_columns(["path", label]) == {}
    assert find_rank_columns([label, "common_name"]) == {"common_name": "common_name"}


@pytest.mark.parametrize("label", ["class", "Class", " class"])
def test_class_beside_another_rank_is_the_rank(label: str) -> None:
    assert find_rank_columns([label, "family"]) == {"class": label, "family": "family"}


@pytest.mark.parametrize("column", ["cls", "class_rank"])
def test_a_spelling_that_can_only_be_the_rank_may_stand_alone(column: str) -> None:
    assert find_rank_columns(["path", column]) == {"class": column}


def test_a_named_column_wins() -> None:
    given = {Rank.SPECIES: "label"}
    assert find_rank_columns(["label", "species"], given) == {"species": "label"}


def test_a_column_named_for_one_rank_is_not_found_for_another() -> None:
    assert find_rank_columns(["path", "class"], {Rank.SPECIES: "class"}) == {"species": "class"}
    assert find_rank_columns(["common", "family"], {Rank.SPECIES: "common"}) == {
        "family": "family",
        "species": "common",
    }


def test_a_class_column_that_was_named_counts_alone() -> None:
    assert find_rank_columns(["class"], {Rank.CLASS: "class"}) == {"class": "class"}


def test_a_rank_that_is_said_to_have_no_column_has_none() -> None:
    columns = ["class", "cls", "family", "species"]
    assert find_rank_columns(columns, {Rank.CLASS: ""}) == {
        "family": "family",
        "species": "species",
    }
    labels = read_labels(pd.DataFrame({"class": ["x"], "family": ["Felidae"]}), {Rank.CLASS: ""})
    assert labels[["class", "family"]].to_numpy().tolist() == [["", "Felidae"]]
    # Saying so of another rank does not make a lone label column a rank.
    assert find_rank_columns(["class"], {Rank.SPECIES: ""}) == {}


def test_a_named_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(TaxonomyError, match="no column 'label' for species; the table has path, x"):
        find_rank_columns(["path", "x"], {Rank.SPECIES: "label"})


LION = {"genus": "Panthera", "species": "Panthera leo"}


@pytest.mark.parametrize(
    "columns",
    [
        {"species": "Panthera leo"},
        {"genus": "Panthera", "species": "leo"},
        {"genus": "Panthera", "species_epithet": "leo", "species": "Panthera leo"},
        {"genus": "Panthera", "specificEpithet": "leo"},
        {"scientificName": "Panthera leo", "genus": "Panthera", "specificEpithet": "leo"},
        {"species": " Panthera  leo\n"},
    ],
)
def test_all_meanings_of_a_species_column_are_read(columns: dict[str, str]) -> None:
    assert _read(**columns) == LION


def test_a_named_column_is_read_as_its_rank() -> None:
    frame = pd.DataFrame({"label": ["panthera-leo"], "class": ["train"], "family": ["Felidae"]})
    given = {Rank.SPECIES: "label", Rank.CLASS: "family"}
    labels = read_labels(frame, given).iloc[0]
    assert (labels["species"], labels["class"]) == ("Panthera leo", "Felidae")
    assert labels["family"] == ""


@pytest.mark.parametrize(
    ("slug", "name"),
    [
        ("acinonyx-jubatus", "Acinonyx jubatus"),
        ("acinonyx_jubatus", "Acinonyx jubatus"),
        ("Acinonyx_jubatus", "Acinonyx jubatus"),
        ("polygonia_c-album", "Polygonia c-album"),
        ("Polygonia c-album", "Polygonia c-album"),
        # Upper case says that the hyphen is part of a name.
        ("Aa-bb", "Aa-bb"),
        ("ammonoidea", "Ammonoidea"),
    ],
)
def test_a_folder_name_becomes_a_name(slug: str, name: str) -> None:
    assert _read(species=slug)["species"] == name


def test_a_hyphenated_epithet_beside_its_genus_is_kept() -> None:
    assert _read(genus="Polygonia", species="c-album")["species"] == "Polygonia c-album"
    assert _read(genus="Polygonia", species="polygonia-egea")["species"] == "Polygonia egea"


@pytest.mark.parametrize("nothing", [None, float("nan"), "", "  ", pd.NA])
def test_what_is_missing_is_empty(nothing: object) -> None:
    assert _read(family="Felidae", genus=nothing, common_name=nothing) == {"family": "Felidae"}
    assert _read(family=nothing, species=nothing) == {}


def test_a_common_name_alone_is_kept() -> None:
    assert _read(common_name=" snow  leopard") == {"common_name": "snow leopard"}


def test_rows_stay_in_order_with_their_index() -> None:
    frame = pd.DataFrame({"genus": ["Puma", "Lynx", "Puma"]}, index=[7, 5, 9])
    labels = read_labels(frame)
    assert labels["genus"].to_dict() == {7: "Puma", 5: "Lynx", 9: "Puma"}


@pytest.mark.parametrize("n", [0, 1])
def test_a_short_table_has_every_label_column(n: int) -> None:
    labels = read_labels(pd.DataFrame({"path": ["a.jpg"] * n}))
    assert labels.columns.tolist() == [*(rank.value for rank in Rank), "common_name"]
    assert labels.to_numpy().tolist() == [[""] * 8] * n


def test_the_taxa_of_labels_are_distinct_and_named() -> None:
    frame = pd.DataFrame(
        {
            "family": ["Felidae", "Felidae", "", ""],
            "species": ["Panthera leo", "Panthera leo", "", "Puma concolor"],
            "common_name": ["lion", "lion", "something", ""],
        }
    )
    taxa = to_taxonomy(read_labels(frame))
    assert [(t.name, t.common_name) for t in taxa] == [
        ("Panthera leo", "lion"),
        ("Puma concolor", ""),
    ]


def test_the_common_name_of_an_image_is_not_that_of_its_family() -> None:
    labels = read_labels(pd.DataFrame({"family": ["Felidae"], "common_name": ["lion"]}))
    assert [taxon.common_name for taxon in to_taxonomy(labels)] == [""]
