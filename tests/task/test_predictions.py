from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bioprobe.errors import MismatchError
from bioprobe.images import ImageTable
from bioprobe.provenance import Provenance
from bioprobe.task import predictions
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import Classes
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy

LION = Taxon(
    ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "Panthera leo"), "lion"
)
OAK = Taxon.from_names(
    {
        "kingdom": "Plantae",
        "phylum": "Tracheophyta",
        "class": "Magnoliopsida",
        "order": "Fagales",
        "family": "Fagaceae",
        "species": "Quercus robur",
    }
)

UPPER = ["kingdom", "phylum", "class", "order", "family", "genus"]
SPECIES = [*UPPER, "species_epithet", "species", "common_name"]


def _predict(rank: Rank, rows: list[int], top: list[list[int]]) -> Predictions:
    frame = pd.DataFrame(
        {
            "path": ["a,b.jpg", "x/c.jpg", "d.jpg"],
            "family": ["Felidae", "Fagaceae", ""],
            "kingdom": ["Animalia", "Plantae", ""],
        }
    )
    answers = np.array(top, dtype=np.int64).reshape(len(rows), len(top[0]) if top else 2)
    scores = np.linspace(0.9, 0.1, answers.size, dtype=np.float32).reshape(answers.shape)
    return Predictions(
        ImageTable.build(frame),
        np.array(rows, dtype=np.int64),
        Classes.of(Taxonomy((LION, OAK)).at(rank), rank),
        answers,
        scores,
        Provenance(encoder={}, store="s", n_rows=len(rows)),
    )


@pytest.mark.parametrize(
    ("rank", "columns"),
    [*zip(RANKS[:6], (UPPER[: n + 1] for n in range(6)), strict=True), (Rank.SPECIES, SPECIES)],
)
def test_columns_are_those_of_pybioclip_then_new_ones(rank: Rank, columns: list[str]) -> None:
    frame = _predict(rank, [0], [[0, 1]]).to_frame()
    assert list(frame.columns) == ["file_name", *columns, "score", "answer", "row"]


def test_one_row_is_one_image_and_answer() -> None:
    frame = _predict(Rank.SPECIES, [2, 0], [[1, 0], [0, 1]]).to_frame()
    assert frame["file_name"].tolist() == ["d.jpg", "d.jpg", "a,b.jpg", "a,b.jpg"]
    assert frame["species"].tolist() == [
        "Quercus robur",
        "Panthera leo",
        "Panthera leo",
        "Quercus robur",
    ]
    assert frame["species_epithet"].tolist() == ["robur", "leo", "leo", "robur"]
    assert frame["genus"].tolist() == ["Quercus", "Panthera", "Panthera", "Quercus"]
    assert frame["common_name"].tolist() == ["", "lion", "lion", ""]
    assert frame["answer"].tolist() == [1, 2, 1, 2]
    assert frame["row"].tolist() == [2, 2, 0, 0]
    np.testing.assert_allclose(frame["score"], np.linspace(0.9, 0.1, 4), atol=1e-7)


def test_the_table_survives_a_csv(tmp_path: object) -> None:
    frame = _predict(Rank.FAMILY, [0, 1], [[0], [1]]).to_frame()
    path = f"{tmp_path}/predictions.csv"
    frame.to_csv(path, index=False)
    pd.testing.assert_frame_equal(pd.read_csv(path), frame, check_dtype=False)


def test_no_image_has_no_row_but_every_column() -> None:
    frame = _predict(Rank.SPECIES, [], []).to_frame()
    assert len(frame) == 0
    assert list(frame.columns) == ["file_name", *SPECIES, "score", "answer", "row"]


def test_names_and_truth_are_those_at_the_rank() -> None:
    predictions = _predict(Rank.FAMILY, [2, 1], [[1, 0], [0, 1]])
    assert len(predictions) == 2
    assert predictions.names.tolist() == [["Fagaceae", "Felidae"], ["Felidae", "Fagaceae"]]
    assert predictions.truth.tolist() == ["", "Fagaceae"]


def test_dense_scores_stand_in_the_order_of_the_classes() -> None:
    predictions = _predict(Rank.FAMILY, [2, 1], [[1, 0], [0, 1]])
    best, second, third, last = np.linspace(0.9, 0.1, 4, dtype=np.float32).tolist()
    assert predictions.to_dense().tolist() == [[second, best], [third, last]]
    assert predictions.to_dense().dtype == np.float32


def test_dense_scores_of_no_image_have_a_column_a_class() -> None:
    assert _predict(Rank.FAMILY, [], []).to_dense().shape == (0, 2)


def test_scores_of_some_classes_are_not_read_as_those_of_all() -> None:
    with pytest.raises(MismatchError, match="best 1; make the predictions with k=2"):
        _predict(Rank.FAMILY, [0], [[1]]).to_dense()


def _find_truth(labels: list[dict[str, str]], classes: list[dict[str, str]]) -> list[int]:
    frame = pd.DataFrame(labels).fillna("").assign(path=[f"{n}.jpg" for n in range(len(labels))])
    rows = np.arange(len(labels))[::-1]
    predictions = Predictions(
        ImageTable.build(frame), rows, Classes.of(map(Taxon.from_names, classes), Rank.GENUS),
        np.zeros((len(labels), 1), np.int64), np.ones((len(labels), 1), np.float32),
        Provenance(encoder={}, store="s", n_rows=len(labels)),
    )  # fmt: skip
    return [int(place) for place in predictions.truth_classes[::-1]]


def test_the_truth_is_the_class_of_the_label() -> None:
    classes = [{"genus": "Lynx"}, {"genus": "Felis"}]
    labels = [{"genus": "Felis"}, {"genus": "Lynx"}, {"genus": "Canis"}, {"genus": ""}]
    assert _find_truth(labels, classes) == [1, 0, -1, -1]


def test_homonyms_are_told_apart_by_their_lineage() -> None:
    classes = [
        {"kingdom": "Animalia", "genus": "Ficus"},
        {"kingdom": "Plantae", "family": "Moraceae", "genus": "Ficus"},
    ]
    labels = [
        {"kingdom": "Plantae", "family": "", "genus": "Ficus"},
        {"kingdom": "Animalia", "family": "Ficidae", "genus": "Ficus"},
        {"kingdom": "Fungi", "family": "", "genus": "Ficus"},
        {"kingdom": "", "family": "Moraceae", "genus": "Ficus"},
        {"kingdom": "", "family": "", "genus": "Ficus"},
    ]
    # The animal has no family to differ in, so the fourth agrees with both, but more with the
    # plant; of the last nothing is known, and the first class is taken.
    assert _find_truth(labels, classes) == [1, 0, -1, 1, 0]


def test_a_species_does_not_change_what_a_label_is_at_the_genus() -> None:
    labels = [{"genus": "Lynx", "species": "Lynx lynx"}, {"genus": "Lynx", "species": ""}]
    assert _find_truth(labels, [{"genus": "Lynx"}]) == [0, 0]


def test_no_image_has_no_truth() -> None:
    assert _predict(Rank.FAMILY, [], []).truth_classes.tolist() == []
    assert _predict(Rank.FAMILY, [0, 2], [[0], [0]]).truth_classes.tolist() == [0, -1]


def test_a_table_is_made_some_images_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = _predict(Rank.FAMILY, [2, 0, 1], [[0, 1], [1, 0], [1, 1]])
    (whole,) = answers.iter_tables()
    monkeypatch.setattr(predictions, "ROWS_AT_ONCE", 2)
    parts = list(answers.iter_tables())
    assert [len(part["row"]) for part in parts] == [4, 2]
    joined = pd.concat(map(pd.DataFrame, parts), ignore_index=True)
    pd.testing.assert_frame_equal(joined, pd.DataFrame(whole))
