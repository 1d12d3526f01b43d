"""Text heads: what is kept, which rows stand for a class, and what an image is called."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import MismatchError, PromptError, StoreError, StoreLockedError
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.text_pooling import Pool
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.zeroshot.text_head import (
    TextHead,
    find_head_classes,
    list_heads,
    read_head,
    write_head,
)
from tests.zeroshot.asking import zeroshot_by_head

# Two cats and a dog, a genus name of two kingdoms, a row with a hole, and one without ranks.
ROWS = [
    (
        "Animalia",
        "Chordata",
        "Mammalia",
        "Carnivora",
        "Felidae",
        "Panthera",
        "Panthera leo",
        "lion",
    ),
    ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "Lynx lynx", "lynx"),
    ("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Canis", "Canis lupus", "wolf"),
    ("Plantae", "", "", "", "Ericaceae", "Pieris", "Pieris japonica", ""),
    ("Animalia", "Arthropoda", "Insecta", "", "Pieridae", "Pieris", "Pieris rapae", "small white"),
    ("", "", "", "", "Felidae", "Panthera", "Panthera leo", "African lion"),
    ("", "", "", "", "", "", "", "sports car"),
]
VECTORS = np.eye(7, dtype=np.float32)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    encoder = Fingerprint(model="mine", backend="imported")
    store = EmbeddingStore.create(tmp_path / "S", encoder, dim=7, logit_scale=10.0)
    frame = pd.DataFrame({"path": ["a", "b", "c"], "family": ["Felidae", "Felidae", "Canidae"]})
    return store.append(frame, np.array([VECTORS[0], VECTORS[0] + VECTORS[1], VECTORS[2]]))


@pytest.fixture
def head(store: EmbeddingStore) -> TextHead:
    taxa = pd.DataFrame(ROWS, columns=list(LABEL_COLUMNS), dtype=object)
    return write_head(store, "tol", taxa, [VECTORS[:4] * 3, VECTORS[4:]], source="made up")


def name_rows(head: TextHead, rank: Rank, taxa: Taxonomy | None = None) -> dict[str, list[int]]:
    found = find_head_classes(head, rank, taxa)
    return {
        "/".join(filter(None, (taxon.lineage[0], taxon.name))): found.rows[
            found.classes == number
        ].tolist()
        for number, taxon in enumerate(found.taxa)
    }


def test_a_head_is_kept_with_unit_rows(store: EmbeddingStore, head: TextHead) -> None:
    assert list_heads(store) == ["tol"]
    assert (len(head), head.about["n_left_out"], head.about["source"]) == (7, 0, "made up")
    np.testing.assert_array_equal(head.vectors, VECTORS)
    assert head.taxa.itertuples(index=False, name=None).__next__() == ROWS[0]
    # Numpy reads the file by itself.
    np.testing.assert_array_equal(np.load(store.folder / "text/heads/tol/vectors.npy"), VECTORS)


def test_rows_of_zeros_and_of_no_numbers_are_left_out(store: EmbeddingStore) -> None:
    taxa = pd.DataFrame(ROWS[:4], columns=list(LABEL_COLUMNS), dtype=object)
    blocks = [np.array([VECTORS[0], np.full(7, np.nan)]), np.array([VECTORS[2], np.zeros(7)])]
    head = write_head(store, "h", taxa, [b.astype(np.float32) for b in blocks], source="x")
    assert list(head.taxa["species"]) == ["Panthera leo", "Canis lupus"]
    np.testing.assert_array_equal(head.vectors, VECTORS[[0, 2]])
    assert head.about["n_left_out"] == 2
    with pytest.raises(StoreError, match="none of the 4 embeddings"):
        write_head(store, "none", taxa, [np.zeros((4, 7), dtype=np.float32)], source="x")
    assert list_heads(store) == ["h"]


def test_a_name_is_used_once_and_is_a_name(
    store: EmbeddingStore, head: TextHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, message in (("tol", "already; choose another --name"), ("../x", "cannot name")):
        with pytest.raises(StoreError, match=message):
            write_head(store, name, head.taxa, [VECTORS], source="x")
    with pytest.raises(StoreError, match=r"no text head 'nope'; it has tol"):
        read_head(store, "nope")
    monkeypatch.setattr("bioprobe.zeroshot.text_head.QUICK_WAIT_S", 0.1)
    with store.lock(), pytest.raises(StoreLockedError, match=r"was not done within 0\.1 s"):
        write_head(store, "late", head.taxa, [VECTORS], source="x")


def test_a_head_of_another_encoder_is_refused(store: EmbeddingStore, head: TextHead) -> None:
    about = store.folder / "text/heads" / head.name / "head.json"
    fields = json.loads(about.read_text())
    about.write_text(json.dumps({**fields, "encoder_key": "0" * 64}))
    with pytest.raises(MismatchError, match="was made for vectors of mine"):
        read_head(store, "tol")


def test_a_damaged_head_is_refused(store: EmbeddingStore, head: TextHead) -> None:
    folder = store.folder / "text/heads" / head.name
    np.save(folder / "vectors.npy", VECTORS[:3])
    with pytest.raises(StoreError, match=r"\(3, 7\) numbers for 7 taxa"):
        read_head(store, "tol")
    (folder / "vectors.npy").write_bytes(b"no")
    with pytest.raises(StoreError, match="cannot be read"):
        read_head(store, "tol")


def test_a_class_has_the_rows_below_it(head: TextHead) -> None:
    assert name_rows(head, Rank.FAMILY) == {
        # The row with a hole above agrees with the one without: they are one family.
        "Animalia/Felidae": [0, 1, 5],
        "Animalia/Canidae": [2],
        "Plantae/Ericaceae": [3],
        "Animalia/Pieridae": [4],
    }
    assert name_rows(head, Rank.KINGDOM) == {
        "Animalia/Animalia": [0, 1, 2, 4],
        "Plantae/Plantae": [3],
    }


def test_homonyms_are_kept_apart(head: TextHead) -> None:
    rows = name_rows(head, Rank.GENUS)
    assert rows["Plantae/Pieris"] == [3]
    assert rows["Animalia/Pieris"] == [4]


def test_a_species_has_a_common_name_and_a_genus_none(head: TextHead) -> None:
    species = find_head_classes(head, Rank.SPECIES).taxa
    assert [taxon.common_name for taxon in species] == ["lion", "lynx", "wolf", "", "small white"]
    assert {taxon.common_name for taxon in find_head_classes(head, Rank.GENUS).taxa} == {""}


def test_a_taxon_list_chooses_the_classes(head: TextHead) -> None:
    taxa = Taxonomy(
        (Taxon.from_names({"family": "Canidae"}), Taxon.from_names({"family": "Ursidae"}))
    )
    found = find_head_classes(head, Rank.FAMILY, taxa)
    assert [taxon.name for taxon in found.taxa] == ["Canidae"]
    assert [taxon.name for taxon in found.left_out] == ["Ursidae"]
    with pytest.raises(PromptError, match="no row of the text head 'tol' stands for a family"):
        find_head_classes(head, Rank.FAMILY, Taxonomy(taxa.taxa[1:]))


def test_prompts_name_rows_by_scientific_or_common_name_in_any_case(head: TextHead) -> None:
    taxa = Taxonomy(
        (
            Taxon.from_names({"species": "animal"}, prompts=("LION", "wolf", "unicorn")),
            Taxon.from_names({"species": "vehicle"}, prompts=("Sports  car",)),
            Taxon.from_names({"species": "butterfly"}, prompts=("pieris RAPAE",)),
        )
    )
    assert name_rows(head, Rank.SPECIES, taxa) == {
        "animal": [0, 2], "vehicle": [6], "butterfly": [4]
    }  # fmt: skip


def test_no_model_is_needed_to_label_by_a_head(store: EmbeddingStore, head: TextHead) -> None:
    classes = find_head_classes(head, Rank.FAMILY)
    predictions = zeroshot_by_head(store, head, classes, rank=Rank.FAMILY, k=2)
    assert predictions.names[:, 0].tolist() == ["Felidae", "Felidae", "Canidae"]
    # Cosines of image a are 1 with row 0 and 0 with five other rows; two of these are Felidae.
    one, zero = np.exp(10.0), 1.0
    assert predictions.scores[0, 0] == pytest.approx((one + 2 * zero) / (one + 5 * zero), rel=1e-5)
    options = predictions.provenance.options
    assert (options["head"], options["pool"], options["n_texts"]) == ("tol", "sum", 6)
    assert options["head_sha256"] == head.about["vectors_sha256"]
    assert predictions.to_frame().columns[:6].tolist() == ["file_name", *RANKS[:5]]


def test_k_pool_and_condition_take_effect(store: EmbeddingStore, head: TextHead) -> None:
    classes = find_head_classes(head, Rank.FAMILY)

    def ask(pool: Pool) -> float:
        predictions = zeroshot_by_head(
            View.of(store, "path == 'b'"), head, classes, rank=Rank.FAMILY, k=9, pool=pool
        )
        assert predictions.scores.shape == (1, 4)
        return float(predictions.scores[0, 0])

    # Image b lies between rows 0 and 1, the cosine is the square root of a half with each.
    best = np.exp(10 * np.sqrt(0.5))
    assert ask(Pool.MAX) == pytest.approx(best / (best + 3), rel=1e-5)
    assert ask(Pool.SUM) == pytest.approx((2 * best + 1) / (2 * best + 4), rel=1e-5)
    mean = np.exp(10 * np.sqrt(2 / 3))
    assert ask(Pool.MEAN) == pytest.approx(mean / (mean + 3), rel=1e-5)
