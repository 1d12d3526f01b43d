"""Which labels count: the rule by which several people's answers become one label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.store import EmbeddingStore
from bioprobe.store.annotations import Annotation, append, retract
from bioprobe.store.labels import Resolved, list_units, resolve
from bioprobe.store.view import View

CAT = ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
DOG = (*CAT[:4], "Canidae")
LIONS = ("Panthera leo", "Panthera leo", "Lynx lynx", "Canis lupus")


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: Any) -> EmbeddingStore:  # noqa: ANN401
    lineages = [CAT, CAT, CAT, DOG]
    ranks = ("kingdom", "phylum", "class", "order", "family")
    frame = pd.DataFrame(lineages, columns=list(ranks)).assign(
        root="photos",
        path=[f"{number}.jpg" for number in range(4)],
        sha256=[f"{number:064x}" for number in range(4)],
        genus=[name.split()[0] for name in LIONS],
        species=LIONS,
        common_name=["lion", "lion", "lynx", "wolf"],
        content=["animal", "animal", "blank", "animal"],
        n=[1, 2, 3, 4],
        labels_from=["machine:x", "", "", ""],
    )
    vectors = np.random.default_rng(0).normal(size=(4, encoder.dim))
    return make_store(encoder).append(frame, vectors)


def _say(store: EmbeddingStore, *said: tuple[int, str, str, str], level: str = "species") -> None:
    """Say things one after the other: the row, who, the verdict, and the class."""
    units = list_units(store.given, store.rows)
    annotations = [
        Annotation.make(units[row], level, value, verdict, by=by, at=f"2024-05-01T12:{at:02d}:00")
        for at, (row, by, verdict, value) in enumerate(said)
    ]
    append(store.folder, annotations)


def _count(store: EmbeddingStore, level: str = "species", labels: str = "both") -> list[str]:
    return list(View.all(store.counting(labels)).labels(level))


@pytest.mark.parametrize(
    ("said", "status", "value", "excluded"),
    [
        ([("a", "is", "X")], "resolved", "X", ()),
        ([("a", "is", "X"), ("a", "is", "Y")], "resolved", "Y", ()),
        ([("a", "is", "X"), ("b", "is", "Y")], "unresolved", "", ()),
        ([("a", "is", "X"), ("b", "is", "Y"), ("c", "is", "Y")], "resolved", "Y", ()),
        ([("a", "is", "X"), ("b", "is not", "X")], "unresolved", "", ()),
        ([("a", "is", "X"), ("c", "is", "X"), ("b", "is not", "X")], "resolved", "X", ()),
        ([("a", "is not", "X"), ("a", "is not", "Y")], "is not", "", ("X", "Y")),
        ([("a", "is not", "X"), ("a", "is", "Y")], "resolved", "Y", ()),
        ([("a", "is", "X"), ("a", "is not", "X")], "is not", "", ("X",)),
        ([("a", "is", "X"), ("a", "is not", "Y")], "resolved", "X", ("Y",)),
        ([("a", "is", "X"), ("b", "is", "Y"), ("c", "is not", "Y")], "resolved", "X", ()),
        ([("a", "unsure", "")], "unsure", "", ()),
        ([("a", "is", "X"), ("a", "unsure", "")], "unsure", "", ()),
        ([("a", "is", "X"), ("b", "unsure", "")], "resolved", "X", ()),
    ],
)
def test_the_rule(
    store: EmbeddingStore,
    said: list[tuple[str, str, str]],
    status: str,
    value: str,
    excluded: tuple[str, ...],
) -> None:
    _say(store, *((0, by, verdict, name) for by, verdict, name in said))
    (found,) = resolve(store.counting("both").annotations.standing)
    assert (found.status, found.value, found.excluded) == (status, value, excluded)


@pytest.mark.parametrize(
    ("verdict", "value", "both", "confirmed"),
    [
        ("is", "Lynx lynx", "Lynx lynx", "Lynx lynx"),
        ("is", "Panthera leo", "Panthera leo", "Panthera leo"),
        ("is not", "Panthera leo", "", ""),
        ("is not", "Lynx lynx", "Panthera leo", ""),
        ("unsure", "", "Panthera leo", ""),
    ],
)
def test_labels_that_people_gave_count_before_those_that_came_with_the_pictures(
    store: EmbeddingStore, verdict: str, value: str, both: str, confirmed: str
) -> None:
    _say(store, (0, "anna", verdict, value))
    assert _count(store) == [both, *LIONS[1:]]
    assert _count(store, labels="confirmed") == [confirmed, "", "", ""]
    assert _count(store, labels="given") == list(LIONS)
    assert store.counting("both").given is store.given
    assert store.given.labels("species").tolist() == list(LIONS)


def test_a_class_has_its_lineage_and_the_name_that_people_call_it(store: EmbeddingStore) -> None:
    _say(store, (0, "anna", "is", "Canis lupus"), (1, "anna", "is", "Panthera onca"))
    for labels in ("both", "confirmed"):
        frame = store.counting(labels).images.frame
        assert frame.iloc[0][["family", "genus", "common_name"]].tolist() == [
            "Canidae", "Canis", "wolf"
        ]  # fmt: skip
        # A species that nobody knows has the lineage of its genus.
        assert frame.iloc[1][["family", "genus", "common_name"]].tolist() == [
            "Felidae", "Panthera", ""
        ]  # fmt: skip
        assert frame["labels_from"].iloc[0] == ""


def test_what_is_below_a_name_that_is_another_goes(store: EmbeddingStore) -> None:
    _say(store, (0, "anna", "is", "Canidae"), (1, "anna", "is", "Felidae"), level="family")
    assert _count(store) == ["", *LIONS[1:]]
    assert _count(store, "order") == ["Carnivora"] * 4
    assert _count(store, labels="confirmed") == [""] * 4
    assert _count(store, "order", labels="confirmed") == ["Carnivora", "Carnivora", "", ""]


def test_a_picture_that_holds_no_animal_has_no_taxon_until_somebody_says_so(
    store: EmbeddingStore,
) -> None:
    _say(store, (0, "anna", "is", "blank"), level="content")
    assert _count(store) == ["", *LIONS[1:]]
    assert _count(store, "kingdom")[0] == ""
    _say(store, *[(2, "anna", "is", "Lynx lynx")])
    assert _count(store, "content") == ["blank", "animal", "animal", "animal"]
    retract(store.folder, [store.counting("both").annotations.standing[0].id], by="anna")
    assert _count(store) == list(LIONS)


def test_a_column_keeps_its_type_where_it_can(store: EmbeddingStore) -> None:
    _say(store, (0, "anna", "is", "7"), (1, "anna", "is not", "2"), level="n")
    column = store.counting("both").images.frame["n"]
    assert column.tolist()[:1] + column.tolist()[2:] == [7, 3, 4]
    assert column.isna().tolist() == [False, True, False, False]
    assert str(column.dtype) == "Int64"
    _say(store, (3, "anna", "is", "many"), level="n")
    assert _count(store, "n") == ["7", "", "3", "many"]


def test_a_new_level_is_a_column_of_those_that_were_annotated(store: EmbeddingStore) -> None:
    _say(store, (3, "anna", "is", "female"), level="sex")
    assert _count(store, "sex") == ["", "", "", "female"]
    assert "sex" not in store.given.frame


def test_what_was_said_follows_the_picture_and_not_the_row(store: EmbeddingStore) -> None:
    _say(store, (0, "anna", "is", "Lynx lynx"), (1, "anna", "is", "Lynx lynx"))
    frame = store.given.frame
    moved = frame.iloc[[0]].assign(path="moved/0.jpg")
    changed = frame.iloc[[1]].assign(sha256="f" * 64)
    vectors = store.read_vectors(np.array([0, 1]))
    store = store.append(pd.concat([moved, changed]), vectors, retired=[0, 1])
    assert _count(store) == ["Lynx lynx", "Canis lupus", "Lynx lynx", "Panthera leo"]


def test_copies_of_a_picture_are_annotated_by_themselves(store: EmbeddingStore) -> None:
    copy = store.given.frame.iloc[[0]].assign(path="copy.jpg")
    store = store.append(copy, store.read_vectors(np.array([0])))
    _say(store, (0, "anna", "is", "Lynx lynx"))
    assert _count(store) == ["Lynx lynx", *LIONS[1:], "Panthera leo"]


def test_a_store_that_was_opened_does_not_change(store: EmbeddingStore) -> None:
    opened = store.counting("both")
    assert opened.images is opened.given
    _say(store, (0, "anna", "is", "Lynx lynx"))
    assert opened.images.labels("species")[0] == "Panthera leo"
    assert opened.counting("both").images.labels("species")[0] == "Lynx lynx"


def test_provenance_says_which_labels_counted_and_tells_them_apart(store: EmbeddingStore) -> None:
    def describe(labels: str) -> dict[str, Any]:
        return View.all(store.counting(labels)).describe({"k": 1}).options

    assert describe("both") == {"k": 1}
    _say(store, (0, "anna", "is", "Lynx lynx"))
    first = describe("both")
    assert first["labels"] == "both"
    assert describe("given") == {"k": 1}
    assert describe("confirmed")["annotations_hash"] != first["annotations_hash"]
    _say(store, (1, "anna", "is", "Lynx lynx"))
    assert describe("both")["annotations_hash"] != first["annotations_hash"]


def test_a_label_is_resolved_beside_a_given_one() -> None:
    def count(status: str, value: str = "", excluded: tuple[str, ...] = ()) -> str:
        return Resolved(None, "species", value, status, excluded, (), (), "").count("X")  # type: ignore[arg-type]

    assert count("resolved", "Y") == "Y"
    assert count("unresolved") == ""
    assert count("is not", excluded=("X",)) == ""
    assert count("is not", excluded=("Y",)) == "X"
    assert count("unsure") == "X"
