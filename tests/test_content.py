from __future__ import annotations

import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.content import Content, join_contents, read_content
from bioprobe.taxonomy import RANKS
from bioprobe.taxonomy.columns import read_labels, split_columns

LION = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "Panthera leo")
PUMA = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Puma", "Puma concolor")
BEAR = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Ursidae", "Ursus", "Ursus arctos")


@pytest.mark.parametrize(
    ("word", "content"),
    [
        ("blank", "blank"), ("Empty", "blank"), ("VIDE", "blank"), ("vac\u00edo", "blank"),
        ("nothinghere", "blank"), ("No_Animal", "blank"), ("false-trigger", "blank"),
        ("Human", "human"), ("person", "human"), ("Homo sapiens", "human"),
        ("Human-Camera Trapper", "human"), ("homo_sapiens", "human"), ("Mensch", "human"),
        ("vehicle", "vehicle"), ("V\u00e9hicule", "vehicle"), ("All-terrain vehicle", "vehicle"),
        ("animal", "animal"), ("Unknown animal", "animal"), ("Tier", "animal"),
        ("No CV Result", "unknown"), ("unclassified", "unknown"), ("d\u00e9sconocido", "unknown"),
        ("", ""), ("Panthera leo", ""), ("American Robin", ""), ("Animalia", ""), ("None", ""),
        ("Homo erectus", ""), ("Blankia", ""),
    ],
)  # fmt: skip
def test_words_of_tools_say_what_a_picture_holds(word: str, content: str) -> None:
    assert bp.read_content(word) == content


def test_a_person_wins_over_what_else_is_said() -> None:
    assert join_contents(["animal", "human", "blank"]) == "human"
    assert join_contents([]) == join_contents([""]) == ""
    assert {read_content(one.value) for one in Content} == set(Content)


# The first nine are those of SpeciesNet's own tests, the others at the edges of the rule.
@pytest.mark.parametrize(
    ("boxes", "answers", "decided"),
    [
        ([("human", 0.8)], [("lion", 0.1, LION)], ("human", 0.8, "detector")),
        ([("human", 0.3)], [("human", 0.7)], ("human", 0.7, "classifier")),
        ([("human", 0.3)], [("vehicle", 0.7)], ("human", 0.7, "classifier")),
        ([("vehicle", 0.3)], [("human", 0.7)], ("human", 0.7, "classifier")),
        ([("vehicle", 0.8)], [("lion", 0.1, LION)], ("vehicle", 0.8, "detector")),
        ([("vehicle", 0.3)], [("vehicle", 0.5)], ("vehicle", 0.5, "classifier")),
        ([("animal", 0.1)], [("blank", 0.7)], ("blank", 0.7, "classifier")),
        ([("animal", 0.3)], [("blank", 0.995)], ("blank", 0.995, "classifier")),
        ([("animal", 0.1)], [("lion", 0.9, LION)], ("animal", 0.9, "classifier")),
        ([("animal", 0.3)], [("lion", 0.7, LION)], ("animal", 0.7, "classifier")),
        ([("animal", 0.6)], [("lion", 0.1, LION)], ("animal", 0.6, "detector")),
        ([("animal", 0.1)], [("lion", 0.1, LION)], ("unknown", 0.1, "classifier")),
        ([], [("blank", 0.995)], ("blank", 0.995, "classifier")),
        ([], [("blank", 0.6)], ("blank", 0.6, "classifier")),
        ([("animal", 0.6)], [("blank", 0.6)], ("animal", 0.6, "detector")),
        ([("animal", 0.3)], [("blank", 0.6)], ("unknown", 0.6, "classifier")),
        ([("animal", 0.6)], [], ("animal", 0.6, "detector")),
        ([], [], ("unknown", 0.0, "classifier")),
        # The second box is a person's.
        ([("animal", 0.95), ("human", 0.75)], [("lion", 0.9, LION)], ("human", 0.75, "detector")),
        # A threshold is to be exceeded.
        ([("human", 0.7)], [], ("unknown", 0.0, "classifier")),
        ([("animal", 0.5)], [], ("unknown", 0.0, "classifier")),
        ([("animal", 0.2)], [("blank", 0.51)], ("blank", 0.51, "classifier")),
        # Two cats are one family, a cat and a bear one order.
        ([("animal", 0.1)], [("lion", 0.4, LION), ("puma", 0.3, PUMA)],
         ("animal", 0.7, "classifier+rollup_to_family")),
        ([("animal", 0.1)], [("lion", 0.4, LION), ("bear", 0.3, BEAR)],
         ("animal", 0.7, "classifier+rollup_to_order")),
    ],
)  # fmt: skip
def test_boxes_and_answers_together_decide(
    boxes: list[tuple[str, float]],
    answers: list[tuple[str, float] | tuple[str, float, tuple[str, ...]]],
    decided: tuple[str, float, str],
) -> None:
    found = bp.decide_content(
        [bp.Detected(*box) for box in boxes], [bp.Classified(*answer) for answer in answers]
    )
    assert (found.content, found.score, found.source) == pytest.approx(decided)


def test_the_taxon_that_is_sure_comes_along() -> None:
    sure = bp.decide_content([], [bp.Classified("lion", 0.9, LION)])
    assert (sure.lineage, sure.label) == (LION, "lion")
    cats = [bp.Classified("puma", 0.3, PUMA), bp.Classified("lion", 0.4, LION)]
    assert bp.decide_content([], cats).lineage == (*LION[:5], "", "")


def test_every_threshold_of_the_rule_can_be_set() -> None:
    animal, person = [bp.Detected("animal", 0.45)], [bp.Detected("person", 0.5)]
    lion, blank = [bp.Classified("lion", 0.6, LION)], [bp.Classified("blank", 0.7)]
    human, car = [bp.Classified("human", 0.4)], [bp.Classified("car", 0.3)]
    cases = [
        ("detected", 0.4, person, [], "human"),
        ("classified_human", 0.3, person, human, "human"),
        ("seen", 0.5, animal, blank, "blank"),
        ("classified_vehicle", 0.2, [bp.Detected("vehicle", 0.5)], car, "vehicle"),
        ("blank", 0.8, [], blank, "unknown"),
        ("surely_blank", 0.6, animal, blank, "blank"),
        ("taxon", 0.5, [], lion, "animal"),
        ("taxon_seen", 0.5, animal, lion, "animal"),
        ("rolled_up", 0.5, [], lion, "animal"),
        ("animal", 0.4, animal, [], "animal"),
    ]
    for name, value, boxes, answers, content in cases:
        before = bp.decide_content(boxes, answers)
        after = bp.decide_content(boxes, answers, bp.ContentRules(**{name: value}))
        assert (name, after.content) == (name, content)
        assert after != before
    with pytest.raises(ValueError, match=r"blank is 1\.5; a threshold lies between 0 and 1"):
        bp.ContentRules(blank=1.5)


def _read(**columns: list[str]) -> dict[str, list[str]]:
    labels = read_labels(pd.DataFrame(columns))
    return {str(name): values.tolist() for name, values in labels.items() if any(values)}


def test_words_of_tools_never_become_taxa() -> None:
    read = _read(
        order=["Carnivora", "No CV Result", "", "No CV Result", "Primates", ""],
        genus=["Panthera", "No CV Result", "No CV Result", "No CV Result", "Homo", ""],
        species=["leo", "No CV Result", "", "No CV Result", "sapiens", "Homo sapiens L."],
        common_name=["Lion", "Blank", "Vehicle", "", "Human", ""],
    )
    assert read["content"] == ["animal", "blank", "vehicle", "unknown", "human", "human"]
    assert read["species"] == ["Panthera leo", "", "", "", "", ""]
    assert read["order"] == ["Carnivora", "", "", "", "", ""]
    assert read["common_name"] == ["Lion", "", "", "", "", ""]


def test_a_source_without_such_words_has_no_such_column() -> None:
    assert "content" not in _read(species=["Panthera leo", "Alces alces"])
    read = _read(species=["Panthera leo", "", "Alces alces"], is_blank=["0", "1", "0"])
    assert read["content"] == ["animal", "blank", "animal"]
    read = _read(species=["Panthera leo", ""], observationType=["animal", "unclassified"])
    assert read["content"] == ["animal", "unknown"]
    # A column of that name that holds something else is another's.
    frame = pd.DataFrame({"species": ["Panthera leo", "empty"], "content": ["tooth", "blank"]})
    labels, free = split_columns(frame)
    assert (labels["read_content"].tolist(), free["content"].tolist()) == (
        ["animal", "blank"], ["tooth", "blank"],
    )  # fmt: skip
    frame["content"] = ["Tier", "leer"]
    labels, free = split_columns(frame)
    assert labels["content"].tolist() == ["animal", "blank"]
    assert "content" not in free


def test_a_label_of_any_kind_may_say_it_too() -> None:
    labels, free = split_columns(pd.DataFrame({"label": ["Tiger", "empty", "person"]}))
    assert labels["content"].tolist() == ["", "blank", "human"]
    assert free["label"].tolist() == ["Tiger", "empty", "person"]
    assert not labels[list(RANKS)].any(axis=None)
