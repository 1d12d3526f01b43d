from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bioprobe.classify import Predictions
from bioprobe.images import ImageTable
from bioprobe.provenance import Provenance
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
        Taxonomy((LION, OAK)).at(rank),
        rank,
        answers,
        scores,
        "probability",
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
