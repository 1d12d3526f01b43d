"""TreeOfLife heads: read as pybioclip writes them, written as pybioclip reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import MismatchError, SourceError, StoreError
from bioprobe.interchange import import_text_head, import_vectors, recognise_layout
from bioprobe.interchange.treeoflife import export_text_head
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import RANKS, Taxon, Taxonomy
from bioprobe.zeroshot.text_head import read_head

LION = ["Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "leo"]
WOLF = ["Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Canis", "lupus familiaris"]
DOG = {"genus": "Canis", "species": "Canis lupus familiaris"}
MOSS = ["Plantae", "Bryophyta", "", "", "", "", ""]
ENTRIES: list[Any] = [[LION, "Lion"], [WOLF, ""], [MOSS, None]]
# Of dim 4: one taxon a column, not unit.
MATRIX = np.array([[3, 0, 0], [4, 0, 0], [0, 2, 0], [0, 0, 5]], dtype=np.float32)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.create(
        tmp_path / "S", Fingerprint(model="bioclip-2", backend="imported"), dim=4
    )


def write(
    folder: Path, matrix: np.ndarray = MATRIX, entries: object = ENTRIES, name: str = "txt_emb"
) -> Path:
    np.save(folder / f"{name}.npy", matrix)
    (folder / f"{name}.json").write_text(json.dumps(entries))
    return folder / f"{name}.npy"


def test_a_head_of_pybioclip_is_read(store: EmbeddingStore, tmp_path: Path) -> None:
    source = write(tmp_path)
    assert recognise_layout(source) == "treeoflife"
    summary = import_text_head(source, store, model="bioclip-2")
    assert (summary.name, summary.n_imported, summary.n_left_out) == ("txt_emb", 3, 0)
    head = read_head(store, "txt_emb")
    np.testing.assert_allclose(
        head.vectors, np.array([[0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), atol=1e-6
    )
    assert head.vectors.dtype == np.float32
    assert list(head.taxa["species"]) == ["Panthera leo", "Canis lupus familiaris", ""]
    assert list(head.taxa["phylum"]) == ["Chordata", "Chordata", "Bryophyta"]
    assert list(head.taxa["common_name"]) == ["Lion", "", ""]


def test_the_padding_of_published_heads_is_left_out(store: EmbeddingStore, tmp_path: Path) -> None:
    padded = np.concatenate([MATRIX, np.zeros((4, 2), dtype=np.float32)], axis=1)
    source = write(tmp_path, padded, [*ENTRIES, [LION, "x"], [MOSS, "y"]])
    summary = import_text_head(source, store, model="bioclip-2", name="padded")
    assert (summary.n_imported, summary.n_left_out) == (3, 2)
    assert summary.left_out == ("Panthera leo", "Bryophyta")
    assert list(read_head(store, "padded").taxa["common_name"]) == ["Lion", "", ""]


@pytest.mark.parametrize("model", ["bioclip-2", "hf-hub:imageomics/bioclip-2"])
def test_the_same_model_under_another_name_is_the_same(
    model: str, store: EmbeddingStore, tmp_path: Path
) -> None:
    assert import_text_head(write(tmp_path), store, model=model).n_imported == 3


@pytest.mark.parametrize("model", ["bioclip", "no such form", "hf-hub:imageomics/bioclip-2@main"])
def test_a_head_of_another_model_is_refused(
    model: str, store: EmbeddingStore, tmp_path: Path
) -> None:
    with pytest.raises(MismatchError, match=r"got a text head of .*say --model bioclip-2"):
        import_text_head(write(tmp_path), store, model=model)


def test_a_head_of_another_dim_is_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"text embeddings of dim 3, .* vectors of dim 4"):
        import_text_head(write(tmp_path, MATRIX[:3]), store, model="bioclip-2")


@pytest.mark.parametrize(
    ("matrix", "entries", "message"),
    [
        (MATRIX.T, ENTRIES, r"shape \(3, 4\) for 3 names.*transposed: save it as matrix.T"),
        (MATRIX, ENTRIES[:2], r"shape \(4, 3\) for 2 names; expected \(dim, 2\)$"),
        (MATRIX, [], "holds no name"),
        (MATRIX, {"a": 1}, "holds no name"),
        (MATRIX, [*ENTRIES[:2], [LION[:6], "x"]], r"entry 2 is .*; expected \[\[7 ranks\]"),
        (MATRIX, [*ENTRIES[:2], "Panthera leo"], r"entry 2 is 'Panthera leo'"),
        (MATRIX * 0, ENTRIES, "none of the 3 embeddings"),
    ],
)
def test_files_that_are_no_head_are_refused(
    matrix: np.ndarray, entries: object, message: str, store: EmbeddingStore, tmp_path: Path
) -> None:
    with pytest.raises((SourceError, StoreError), match=message):
        import_text_head(write(tmp_path, matrix, entries), store, model="bioclip-2")
    assert not list(store.folder.glob("text/heads/*"))


def test_a_json_of_other_content_does_not_make_a_head(tmp_path: Path) -> None:
    assert recognise_layout(write(tmp_path, entries={"made": "2024"})) == "npy"
    assert recognise_layout(write(tmp_path, entries=[["a"]])) == "npy"
    (tmp_path / "txt_emb.json").unlink()
    assert recognise_layout(tmp_path / "txt_emb.npy") == "npy"


def test_a_matrix_of_a_head_can_be_imported_as_images_when_said_so(tmp_path: Path) -> None:
    summary = import_vectors(write(tmp_path), tmp_path / "T", model="x", layout="npy")
    assert (summary.n_imported, summary.dim) == (4, 3)


def test_an_exported_head_is_read_as_pybioclip_reads_it(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    taxa = Taxonomy(
        (
            Taxon.from_names(dict(zip(RANKS, LION, strict=True)), common_name="Lion, African"),
            Taxon.from_names(DOG),
            Taxon.from_names({"family": "Ursidae"}),
        )
    )
    embeddings = np.eye(3, 4, dtype=np.float32)
    export_text_head(tmp_path / "heads" / "mine.npy", taxa, embeddings)
    names = json.loads((tmp_path / "heads" / "mine.json").read_text())
    np.testing.assert_array_equal(np.load(tmp_path / "heads" / "mine.npy"), np.eye(4, 3))
    # pybioclip: the last two names make the species.
    assert [" ".join(ranks[-2:]) for ranks, _ in names[:2]] == [
        "Panthera leo", "Canis lupus familiaris"
    ]  # fmt: skip
    assert names[0] == [LION, "Lion, African"]
    assert names[2] == [["", "", "", "", "Ursidae", "", ""], ""]
    import_text_head(tmp_path / "heads" / "mine.npy", store, model="bioclip-2")
    head = read_head(store, "mine")
    assert [tuple(row) for row in head.taxa.to_numpy()] == [
        (*taxon.lineage, taxon.common_name) for taxon in taxa
    ]
    with pytest.raises(SourceError, match="a text head is a"):
        export_text_head(tmp_path / "mine.parquet", taxa, embeddings)


def test_a_species_without_a_genus_keeps_its_name(tmp_path: Path) -> None:
    lineage = ("",) * 6 + ("Panthera uncia",)
    export_text_head(
        tmp_path / "h.npy", Taxonomy((Taxon(lineage),)), np.eye(1, 4, dtype=np.float32)
    )
    (ranks, common_name), *_ = json.loads((tmp_path / "h.json").read_text())
    assert (" ".join(ranks[-2:]), common_name) == ("Panthera uncia", "")


def test_names_are_a_table_of_text(store: EmbeddingStore, tmp_path: Path) -> None:
    import_text_head(write(tmp_path), store, model="bioclip-2")
    frame = pd.read_parquet(store.folder / "text/heads/txt_emb/taxa.parquet")
    assert list(frame.columns) == [*(rank.value for rank in RANKS), "common_name"]
