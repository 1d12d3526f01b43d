"""Rows that go: undone until compaction, and gone then from every file of the store."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.errors import MisuseError, SelectionError, StoreError, StoreLockedError
from bioprobe.images.looks import LOOK
from bioprobe.index import build_index
from bioprobe.learning.keeping import read_probe
from bioprobe.store import EmbeddingStore, TextCache, repair_store, restore_store, verify_store
from bioprobe.store.compaction import is_compact, is_scattered, plan_shards
from bioprobe.store.failures import Failure
from bioprobe.store.look_cache import LookCache
from bioprobe.store.manifest import Manifest
from bioprobe.store.selections import read_selection, write_selection
from bioprobe.taxonomy import Taxon
from bioprobe.zeroshot.examples import Examples, keep_examples, read_examples
from bioprobe.zeroshot.seen_offset import SeenOffset, keep_offset

Vectors = npt.NDArray[np.float32]
DIM, N = 16, 24
FAMILIES = ("Felidae", "Canidae", "Bovidae")


def _draw(n: int, seed: int = 0, dim: int = DIM) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _table(n: int, first: int = 0) -> pd.DataFrame:
    numbers = range(first, first + n)
    return pd.DataFrame(
        {
            "root": ["/photos"] * n,
            "path": [f"site {i % 2}/IMG_{i:04d}.jpg" for i in numbers],
            "sha256": [f"{i:064x}" for i in numbers],
            "family": [FAMILIES[i % 3] for i in numbers],
            "species": [f"Species number{i}" for i in numbers],
            "count": [i if i % 5 else None for i in numbers],
        }
    )


@pytest.fixture(params=["float32", "float16"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, encoder: Any) -> EmbeddingStore:  # noqa: ANN401
    """Return a store of several small shards, one row of which was relabelled."""
    store = EmbeddingStore.create(
        tmp_path / "store", encoder.fingerprint, dim=DIM, dtype=request.param, has_text_tower=True
    )
    vectors = _draw(N)
    for start in range(0, N, 5):
        n = min(5, N - start)
        store = store.append(_table(n, start), vectors[start : start + n])
    return store.relabel(np.array([3]), pd.DataFrame({"family": ["Canidae"]}))


def _decode(file: Path) -> Iterator[tuple[list[str], list[npt.NDArray[Any]]]]:
    """Return the texts and arrays that a file of a store holds, by the reader of its format.

    Yields
    ------
    tuple of list of str and list of ndarray
    """
    data = file.read_bytes()
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(io.BytesIO(data))
        yield [str(table.schema.metadata), table.to_pandas().to_csv()], []
    elif file.suffix == ".npy":
        array = np.load(io.BytesIO(data))
        named = array.dtype.names is not None
        yield ([str(array["sha256"].tolist())] if named else []), [] if named else [array]
    elif file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, framework="numpy") as opened:
            arrays = [opened.get_tensor(key) for key in opened.keys()]  # noqa: SIM118
            yield [str(opened.metadata())], arrays
    elif file.suffix == ".json":
        yield [json.dumps(json.loads(data), ensure_ascii=False)], []
    elif file.suffix == ".faiss":
        import faiss

        index = faiss.read_index(str(file))
        inner = faiss.downcast_index(index.index)
        inner.make_direct_map()
        yield [], [inner.reconstruct_n(0, inner.ntotal)]
    else:
        assert file.suffix in {"", ".csv"}, file


def _find_traces(folder: Path, vectors: Vectors, names: list[str]) -> list[str]:
    """Return where vectors, in single or half precision, or names are: in bytes or decoded."""
    halves = vectors.astype(np.float16)
    needles = [row.tobytes() for one in (vectors, halves) for row in one]
    needles += [name.encode() for name in names]
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        found += [f"{file.name}: bytes" for needle in needles if needle in data]
        for texts, arrays in _decode(file):
            found += [f"{file}: {name}" for name in names for text in texts if name in text]
            for array in arrays:
                if array.ndim == 2 and array.shape[1] == vectors.shape[1]:
                    near = np.abs(array[:, None] - vectors[None]).max(axis=2) < 1e-3
                    found += [f"{file}: vector"] * int(near.sum())
    return found


def _fill(opened: EmbeddingStore, encoder: Any) -> bp.Store:  # noqa: ANN401
    """Make everything that a store keeps and that may quote a row."""
    folder = opened.folder
    store = bp.open(folder)
    store.split(level="family", seed=0)
    for kind in ("knn", "linear", "centroid"):
        store.fit(kind, level="family", name=kind)
    store.where("path != 'site 0/IMG_0002.jpg'").fit("knn", level="family", split="none", name="asked")
    store.evaluate(level="family", methods=["knn"], n_resamples=20, name="judged")
    opened = EmbeddingStore.open(folder)
    rows = opened.rows
    write_selection(opened, "filters/mine", rows, rows % 2 == 0, provenance={"condition": "path == 'site 0/IMG_0002.jpg'"})
    build_index(opened, "ivf", recall=0.3, k=2)
    looks = np.zeros(N, dtype=LOOK)
    LookCache(folder).write([f"{i:064x}" for i in range(N)], looks)
    TextCache(opened, lambda: encoder).encode_text(
        ["a photo of Species number2.", "a photo of Species number4.", "site 0/IMG_0002.jpg"]
    )
    taxon = Taxon(("Animalia", "", "", "", "Felidae"))
    bp.open(folder).add_taxon("Felidae", lineage="Animalia,,,,Felidae") if False else None
    keep_examples(
        opened,
        Examples(taxon, opened.read_vectors(np.array([2, 4])), (f"{2:064x}", f"{4:064x}"), 0.5, 0.0, "half"),
    )
    keep_offset(opened, SeenOffset(1.0, ()), {"condition": "path != 'site 0/IMG_0002.jpg'"})
    opened.renew_failures(
        [Failure("/photos", "lost.jpg", "not there"), Failure("/photos", "site 9/bad.jpg", "damaged")],
        read=set(),
    )
    return bp.open(folder)


def test_what_is_removed_is_nowhere_after_compaction(opened: EmbeddingStore, encoder: Any) -> None:  # noqa: ANN401
    store = _fill(opened, encoder)
    folder = opened.folder
    before = opened.images.frame
    rows = [2, 7, 11]
    vectors = opened.read_vectors(np.array(rows))
    names = [str(before["path"].iloc[row]) for row in rows]
    names = [*names, "IMG_0002.jpg", "Species number2", f"{7:064x}", "bad.jpg"]
    removed = store.remove(row=rows, paths=["/photos/site 9/bad.jpg"])
    assert removed.number == 1
    assert len(_find_traces(folder, vectors, names)) > 20
    done = store.compact()
    assert done.is_done
    assert not done.is_waiting
    assert _find_traces(folder, vectors, names) == []
    # What stays is all there, in its order, with its vectors.
    after = EmbeddingStore.open(folder)
    stays = np.setdiff1d(opened.rows, rows)
    kept = before.iloc[stays].reset_index(drop=True)
    pd.testing.assert_frame_equal(after.images.frame, kept)
    assert np.array_equal(after.read_vectors(), opened_vectors(opened, stays))
    assert verify_store(after) == []
    assert after.manifest.retired == after.manifest.removals == after.manifest.outdated == ()
    assert sorted(path.name for path in (folder / "shards").iterdir()) == ["c1n00000"]
    # And answers.
    assert read_selection(after, "filters/mine").judged.all()
    assert read_selection(after, "filters/mine").provenance["n_removed"] == 3
    evaluation = store.evaluation("judged")
    shown = evaluation.predictions
    assert (after.images.frame["path"].iloc[shown["row"]].to_numpy() == shown["file_name"]).all()
    assert bp.open(folder).search(row=1, k=2).rows.shape == (1, 2)
    assert len(store.predict("linear").to_frame())
    knn = read_probe(after, "asked").estimator.to_arrays()
    assert len(knn["vectors"]) == len(knn["labels"]) == N - 3
    assert store.failures["path"].tolist() == ["lost.jpg"]
    assert json.loads((folder / "seen-offset.json").read_text())["offset"] == 1.0


def opened_vectors(store: EmbeddingStore, rows: npt.NDArray[np.int64]) -> Vectors:
    """Return vectors of a store whose files are gone, as they were drawn."""
    drawn = _draw(N).astype(store.manifest.dtype).astype(np.float32)
    # The last row is the relabelled one.
    return np.concatenate([drawn, drawn[3:4]])[rows]
