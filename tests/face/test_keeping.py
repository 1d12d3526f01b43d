from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bioprobe.errors import MisuseError, StoreError
from bioprobe.face.keeping import INDEX_KINDS, import_vectors
from bioprobe.face.store import Store
from bioprobe.face.store import open as open_store
from bioprobe.index.kinds import KINDS
from bioprobe.interchange import ExportSummary, HeadSummary, ImportSummary
from bioprobe.splits import make_split, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from bioprobe.taxonomy import Rank
from tests.face.conftest import VECTORS, Teach


def test_the_facts_of_a_store_are_told(store: Store) -> None:
    facts = store.info().to_dict()
    assert (facts["images"], facts["dim"], facts["labels"]["family"]) == (4, 4, "2 in 4 images")
    assert store.info().to_frame()["images"].tolist() == [4]


def test_a_damaged_store_is_told_of_and_repaired(store: Store) -> None:
    found = store.verify()
    assert found.is_whole
    assert str(found.notes[0]) == f"{store.folder} is whole: 4 images in 1 shard"
    file = store.folder / "shards" / "00000" / "vectors.npy"
    file.write_bytes(file.read_bytes()[:-1])
    found = store.verify()
    assert found.to_frame()["where"].tolist() == ["shards/00000/vectors.npy"]
    assert [note.kind for note in found.notes] == ["problem"]
    repaired = store.verify(repair=True)
    assert repaired.is_whole
    assert repaired.repair is not None
    assert repaired.repair.n_lost == 4
    assert len(open_store(store.folder)) == 0


def test_exact_search_takes_neither_recall_nor_seed(store: Store) -> None:
    report = store.index("flat")
    assert report.to_dict()["kind"] == "flat"
    assert str(report.notes[-1]) == f"search in {store.folder} now uses it"
    for options in ({"recall": 0.5}, {"seed": 3}, {"max_memory": "1MB"}, {"max_query_ms": 5}):
        with pytest.raises(MisuseError, match="counts only with another --kind than flat"):
            store.index("flat", **options)


def test_vectors_go_out_and_come_in(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "x.parquet"
    written = store.where("family == 'Felidae'").export(target, "emb-explorer")
    assert isinstance(written, ExportSummary)
    assert str(written.notes[-1]) == f"3 vectors of dim 4 (emb-explorer) -> {target}"
    summary = import_vectors(target, model="plain-1", store=tmp_path / "T")
    assert isinstance(summary, ImportSummary)
    assert summary.to_frame()["n_imported"].tolist() == [3]
    copy = open_store(tmp_path / "T")
    np.testing.assert_allclose(copy.X, VECTORS[:3], atol=1e-7)
    assert copy.labels("species").tolist() == store.labels("species").tolist()[:3]


def test_classes_go_out_as_a_head(store: Store, tmp_path: Path, teach: Teach) -> None:
    teach({"a Felidae": [0.6, 0.8, 0, 0], "a Canidae": [0, 0, 1, 0]})
    target = tmp_path / "mine.npy"
    written = store.export(target, "treeoflife", level="family", text_type="sci", templates="a {}")
    assert (written.n_exported, str(written.notes[0])) == (2, f"2 classes -> {target}")
    np.testing.assert_allclose(np.load(target).T[0], [0.6, 0.8, 0, 0], atol=1e-7)
    head = import_vectors(target, model="plain-1", store=store.folder, name="back")
    assert isinstance(head, HeadSummary)
    assert (head.name, head.n_imported) == ("back", 2)


def test_options_of_the_other_kind_of_source_are_misuse(store: Store, tmp_path: Path) -> None:
    store.export(tmp_path / "x.parquet", "emb-explorer")
    with pytest.raises(MisuseError, match=r"--name does not count here, since .* no text head"):
        import_vectors(tmp_path / "x.parquet", model="m", store=tmp_path / "T", name="head")
    np.save(tmp_path / "tol.npy", np.eye(4, dtype=np.float32))
    (tmp_path / "tol.json").write_text('[[["","","","","","","x y"],""]]')
    with pytest.raises(MisuseError, match=r"--dtype does not count here, since .* is a text head"):
        import_vectors(tmp_path / "tol.npy", model="m", store=store.folder, dtype="float16")
    with pytest.raises(MisuseError, match="--taxa counts only with --layout treeoflife"):
        store.export(tmp_path / "y.parquet", "emb-explorer", taxa="sketch")
    with pytest.raises(MisuseError, match="say which layout"):
        store.export(tmp_path / "y.parquet")


def test_kinds_are_those_of_the_library() -> None:
    assert sorted(INDEX_KINDS) == sorted(KINDS)


def test_masks_are_listed_and_forgotten(store: Store) -> None:
    kept = EmbeddingStore.open(store.folder)
    write_selection(kept, "filters/some", np.array([0, 1, 3]), np.array([True, True, False]))
    write_split(kept, make_split(kept, Rank.FAMILY, fractions=(0.5, 0, 0.5)))
    assert store.masks().to_frame().to_numpy().tolist() == [["filters/some", 2, 1, 1, ""]]
    said = store.remove_mask("filters/some").notes
    assert [str(note) for note in said] == [f"removed the mask filters/some from {store.folder}"]
    assert store.masks().to_frame().empty
    with pytest.raises(StoreError, match="no mask 'filters/some'"):
        store.remove_mask("filters/some")
    with pytest.raises(StoreError, match="is a split, no mask"):
        store.remove_mask("splits/default")
