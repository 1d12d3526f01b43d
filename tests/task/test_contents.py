from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.content import ContentRules
from bioprobe.errors import MisuseError
from bioprobe.images import ImageTable
from bioprobe.images.regions import DETECTION_CATEGORY, REGION
from bioprobe.provenance import Provenance
from bioprobe.task.pooling import find_units, pool
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Classes

DOG, FOX = 0, 1
ONE, TWO, THREE = "0,0,0.3,1", "0.3,0,0.3,1", "0.6,0,0.3,1"


def _answer(rows: list[tuple[str, str, str, int, float, str]], **columns: Any) -> Predictions:  # noqa: ANN401
    """Make answers of rows of path, region, category, best class, its score, and label."""
    frame = pd.DataFrame(
        [row[:3] for row in rows], columns=["path", REGION, DETECTION_CATEGORY]
    ).assign(kind=[row[5] for row in rows], **columns)
    top = np.array([[row[3], 1 - row[3]] for row in rows], dtype=np.int64)
    scores = np.array([[row[4], 1 - row[4]] for row in rows], dtype=np.float32)
    return Predictions(
        ImageTable.build(frame), np.arange(len(rows)), Classes(("dog", "fox"), level="kind"), top,
        scores, Provenance(encoder={}, store="s", n_rows=len(rows)),
    )  # fmt: skip


def _list(answers: Predictions) -> list[tuple[Any, ...]]:
    frame = pool(answers).to_frame()
    names = ["file_name", "classification", "n_regions", "row", "answer"]
    content = frame["content"] if "content" in frame else [""] * len(frame)
    return [(*row, held) for row, held in zip(
        frame[names].itertuples(index=False, name=None), content, strict=True)]  # fmt: skip


def test_each_class_is_listed_with_its_regions_and_the_best_of_them() -> None:
    answers = _answer([
        ("a.jpg", ONE, "", FOX, 0.7, ""), ("b.jpg", "", "", DOG, 0.9, ""),
        ("a.jpg", TWO, "", DOG, 0.99, ""), ("a.jpg", THREE, "", FOX, 0.8, ""),
        # A second label of one box is no second animal.
        ("a.jpg", f"{THREE}#2", "", FOX, 0.8, ""),
    ])  # fmt: skip
    assert _list(answers) == [
        ("a.jpg", "fox", 2, 3, 1, ""), ("a.jpg", "dog", 1, 2, 2, ""), ("b.jpg", "dog", 1, 1, 1, ""),
    ]  # fmt: skip


def test_a_person_comes_before_the_dog_and_an_empty_box_says_nothing() -> None:
    answers = _answer([
        ("a.jpg", ONE, "animal", DOG, 0.99, ""), ("a.jpg", TWO, "animal", DOG, 0.9, ""),
        ("a.jpg", THREE, "person", FOX, 1.0, ""), ("b.jpg", ONE, "vehicle", FOX, 1.0, ""),
    ])  # fmt: skip
    assert _list(answers) == [
        ("a.jpg", "", 1, 2, 1, "human"), ("a.jpg", "dog", 2, 0, 2, "animal"),
        ("b.jpg", "", 1, 3, 1, "vehicle"),
    ]  # fmt: skip
    frame = pool(answers).to_frame()
    assert frame["score"].isna().tolist() == [True, False, True]
    assert pool(answers).to_lines()["answer"].tolist() == ["human", "dog", "vehicle"]


def test_figures_are_of_sets() -> None:
    answers = _answer([
        ("a.jpg", ONE, "", FOX, 0.7, "fox"), ("a.jpg", TWO, "", DOG, 0.9, "fox"),
        ("b.jpg", ONE, "", DOG, 0.9, "dog"), ("b.jpg", TWO, "", FOX, 0.8, "fox"),
        ("c.jpg", ONE, "", DOG, 0.9, "wolf"), ("d.jpg", "", "", DOG, 0.9, ""),
    ])  # fmt: skip
    figures = pool(answers).figures
    assert figures is not None
    # Found: fox dog | dog fox | dog; there: fox | dog fox | wolf.
    assert (figures.n_units, figures.n_found, figures.n_true, figures.n_both) == (3, 5, 4, 3)
    assert figures.n_exact == 1
    assert (figures.precision, figures.recall) == (3 / 5, 3 / 4)
    assert figures.f1 == pytest.approx(2 / 3)
    taught = dataclasses.replace(answers, taught=np.arange(6) == 0)
    judged = pool(taught).figures
    assert judged is not None
    assert judged.n_units == 2


def test_any_column_says_what_belongs_together() -> None:
    answers = _answer(
        [("a.jpg", "", "", FOX, 0.7, ""), ("b.jpg", "", "", FOX, 0.9, ""),
         ("c.jpg", "", "", DOG, 0.9, ""), ("d.jpg", "", "", DOG, 0.9, "")],
        burst=["x", "x", "", ""],
    )  # fmt: skip
    numbers, names = find_units(answers.images, answers.rows, "burst")
    assert (numbers.tolist(), names.tolist()) == ([0, 0, 1, 2], ["x", "", ""])
    frame = pool(answers, "burst").to_frame()
    assert frame["n_regions"].tolist() == [2, 1, 1]
    assert frame["burst"].tolist() == ["x", "", ""]


def test_boxes_and_answers_together_say_what_a_picture_holds() -> None:
    answers = _answer(
        [("a.jpg", ONE, "animal", DOG, 0.99, ""), ("a.jpg", TWO, "person", FOX, 0.6, ""),
         ("b.jpg", ONE, "animal", DOG, 0.6, ""), ("c.jpg", ONE, "animal", FOX, 0.6, ""),
         ("d.jpg", ONE, "vehicle", FOX, 0.6, "")],
        detection_confidence=[0.9, 0.75, 0.1, 0.55, 0.9],
    )  # fmt: skip

    def decide(**rules: float) -> list[tuple[str, str]]:
        frame = pool(answers, rules=ContentRules(**rules)).to_frame().drop_duplicates("file_name")
        return list(frame[["decided", "decided_by"]].itertuples(index=False, name=None))

    assert decide() == [("human", "detector"), ("unknown", "classifier"), ("animal", "detector"),
                        ("vehicle", "detector")]  # fmt: skip
    assert decide(detected=0.8)[0] == ("animal", "classifier")
    assert decide(animal=0.58)[2] == ("unknown", "classifier")
    assert decide(taxon=0.5)[1] == ("animal", "classifier")


def test_without_a_detector_nothing_is_decided() -> None:
    frame = pool(_answer([("a.jpg", "", "", FOX, 0.7, "")])).to_frame()
    assert "decided" not in frame


@pytest.mark.parametrize("text", ["blank", "blank=2", "blanc=0.5", "blank=x"])
def test_a_threshold_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MisuseError, match=r"no threshold .* names are detected, seen"):
        ContentRules.parse(text)
    assert ContentRules.parse("blank=0.7, seen=0.1") == ContentRules(blank=0.7, seen=0.1)
