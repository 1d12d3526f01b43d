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
from bioprobe.index.tuning import build_index
from bioprobe.learning.keeping import read_probe
from bioprobe.store import EmbeddingStore, TextCache, repair_store, restore_store, verify_store
from bioprobe.store.added_taxa import AddedList
from bioprobe.store.compaction import is_compact, is_scattered, plan_shards
from bioprobe.store.failures import Failure
from bioprobe.store.gone import Gone
from bioprobe.store.look_cache import MEASURES, LookCache
from bioprobe.store.manifest import Manifest
from bioprobe.store.selections import read_selection, write_selection
from bioprobe.store.stored_table import StoredTable
from bioprobe.taxonomy import Taxon
from bioprobe.upkeep import compact_store
from bioprobe.zeroshot.examples import Examples, keep_examples
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
            "species": [f"Species number{i:02d}" for i in numbers],
            "count": [i if i % 5 else None for i in numbers],
        }
    )


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, encoder: Any) -> Path:  # noqa: ANN401
    """Return the folder of a store of several small shards, one row of which was relabelled."""
    dtype = getattr(request, "param", "float32")
    store = EmbeddingStore.create(
        tmp_path / "store", encoder.fingerprint, dim=DIM, dtype=dtype, has_text_tower=True
    )
    vectors = _draw(N)
    for start in range(0, N, 5):
        n = min(5, N - start)
        store = store.append(_table(n, start), vectors[start : start + n])
    store.relabel(np.array([3]), pd.DataFrame({"family": ["Canidae"]}))
    return tmp_path / "store"


def test_the_image_table_is_compacted_shard_by_shard(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bp.open(folder).remove(row=[4, 11])
    largest = [0]
    read = StoredTable.take

    def measure(table: StoredTable, rows: Any, names: Any = None) -> pd.DataFrame:  # noqa: ANN401
        largest[0] = max(largest[0], len(table))
        # Of the whole table the rows that go are read, one of them relabelled, and no other.
        assert len(table) < N or len(rows) <= 3
        return read(table, rows, names)

    def refuse(_: object) -> None:
        msg = "the whole table was read"
        raise AssertionError(msg)

    monkeypatch.setattr(StoredTable, "take", measure)
    monkeypatch.setattr(StoredTable, "frame", property(refuse))
    monkeypatch.setattr(Gone, "kept", property(refuse))
    done = compact_store(folder, shard_rows=8)
    assert (done.n_rows, done.n_removed) == (N - 2, 2)
    assert largest[0] == N + 1
    monkeypatch.undo()
    assert verify_store(EmbeddingStore.open(folder)) == []
    names = set(EmbeddingStore.open(folder).images.column("path"))
    assert names == set(_table(N)["path"]) - {"site 0/IMG_0004.jpg", "site 1/IMG_0011.jpg"}


def test_readers_go_on_while_shards_are_joined(folder: Path) -> None:
    expected = EmbeddingStore.open(folder).images.column("path").tolist()
    reader = EmbeddingStore.open(folder)
    before = reader.read_vectors()
    compact_store(folder)
    # Of its image table nothing was read before.
    assert reader.images.column("path").tolist() == expected
    assert np.array_equal(reader.read_vectors(), before)
    assert len(EmbeddingStore.open(folder).manifest.present_shards) == 1


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

        index: Any = faiss.read_index(str(file))
        inner: Any = faiss.downcast_index(index.index)
        inner.make_direct_map()
        yield [], [inner.reconstruct_n(0, inner.ntotal)]
    else:
        assert file.suffix in {"", ".csv", ".jsonl"}, file


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


def _fill(folder: Path, encoder: Any) -> bp.Store:  # noqa: ANN401
    """Make everything that a store keeps and that may quote a row."""
    store = bp.open(folder)
    store.cluster(n_clusters=3, draws=0)
    store.order()
    store.split(level="family", seed=0)
    store.fit("linear", level="family", name="linear")
    store.where("path != 'site 0/IMG_0002.jpg'").fit(
        "knn", level="family", split="none", name="asked"
    )
    store.evaluate(level="family", methods=["knn"], n_resamples=10, name="judged")
    opened = EmbeddingStore.open(folder)
    rows = opened.rows
    write_selection(
        opened,
        "filters/mine",
        rows,
        rows % 2 == 0,
        provenance={"condition": "path == 'site 0/IMG_0002.jpg'"},
    )
    build_index(opened, "ivf", recall=0.3, k=2)
    looks = np.zeros(N, dtype=LOOK)
    LookCache(folder).write([f"{i:064x}" for i in range(N)], looks)
    LookCache(folder, MEASURES).write(
        [f"{i:064x}" for i in range(N)], np.zeros(N, dtype=MEASURES.value)
    )
    TextCache(opened, lambda: encoder).encode_text(
        ["a photo of Species number02.", "a photo of Species number04.", "site 0/IMG_0002.jpg"]
    )
    taxon = Taxon(("Animalia", "", "", "", "Felidae", "", ""))
    AddedList.of_store(opened).add(taxon)
    keep_examples(
        opened,
        Examples(
            taxon,
            opened.read_vectors(np.array([2, 4])),
            (f"{2:064x}", f"{4:064x}"),
            0.5,
            0.0,
            "half",
        ),
    )
    keep_offset(opened, SeenOffset(1.0, ()), {"condition": "path != 'site 0/IMG_0002.jpg'"})
    opened.renew_failures(
        [
            Failure("/photos", "lost.jpg", "not there"),
            Failure("/photos", "site 9/bad.jpg", "damaged"),
        ],
        read=set(),
    )
    return bp.open(folder)


@pytest.mark.parametrize(
    "folder", ["float32", pytest.param("float16", marks=pytest.mark.long)], indirect=True
)
def test_what_is_removed_is_nowhere_after_compaction(folder: Path, encoder: Any) -> None:  # noqa: ANN401
    store = _fill(folder, encoder)
    opened = EmbeddingStore.open(folder)
    before, current = opened.images.frame, opened.rows
    judged = store.evaluation("judged").predictions["row"]
    rows = sorted({2, 7, int(judged.iloc[0])})
    assert len(rows) == 3
    drawn = opened.read_vectors()
    del opened
    vectors = drawn[rows]
    names = [str(before["path"].iloc[row]) for row in rows]
    names = [*names, "IMG_0002.jpg", "Species number02", f"{7:064x}", "bad.jpg"]
    removed = store.remove(row=rows, paths=["/photos/site 9/bad.jpg"])
    assert removed.number == 1
    assert len(_find_traces(folder, vectors, names)) > 20
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    planned = store.compact(dry_run=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == files
    done = store.compact()
    assert (done.counts, done.forgotten) == (planned.counts, planned.forgotten)
    assert done.counts.keys() >= {
        "selections",
        "probes",
        "evaluations",
        "examples",
        "texts",
        "looks",
        "measures",
    }
    assert done.counts["failures"] == 1
    assert done.is_done
    assert not done.is_waiting
    assert _find_traces(folder, vectors, names) == []
    # What stays is all there, in its order, with its vectors.
    after = EmbeddingStore.open(folder)
    stays = np.setdiff1d(current, rows)
    kept = before.iloc[stays].reset_index(drop=True)
    pd.testing.assert_frame_equal(after.images.frame, kept)
    assert np.array_equal(after.read_vectors(), drawn[stays])
    assert verify_store(after) == []
    left = (after.manifest.retired, after.manifest.removals, after.manifest.outdated)
    assert left == ((), (), ())
    assert sorted(path.name for path in (folder / "shards").iterdir()) == ["c1n00000"]
    # And answers.
    assert read_selection(after, "filters/mine").judged.all()
    assert read_selection(after, "filters/mine").provenance["n_removed"] == 3
    evaluation = store.evaluation("judged")
    shown = evaluation.predictions
    assert len(shown) == len(judged) - int(np.isin(judged, rows).sum())
    assert "no longer in the store" in str(evaluation.notes[0])
    assert (after.images.frame["path"].iloc[shown["row"]].to_numpy() == shown["file_name"]).all()
    assert bp.open(folder).search(row=1, k=2).rows.shape == (2,)
    assert len(store.predict("linear").to_frame())
    knn = read_probe(after, "asked").estimator.to_arrays()
    assert len(knn["vectors"]) == len(knn["labels"]) == N - 3
    assert store.failures["path"].tolist() == ["lost.jpg"]
    assert json.loads((folder / "seen-offset.json").read_text())["offset"] == 1.0


def test_a_probe_that_would_keep_the_mean_of_what_is_gone_is_forgotten(folder: Path) -> None:
    store = bp.open(folder)
    for kind in ("centroid", "knn"):
        store.fit(kind, level="family", split="none", name=kind)
    store.where("family == 'Bovidae'").remove(row=2)
    assert store.compact().forgotten == ()
    assert store.probes().to_frame()["name"].tolist() == ["centroid", "knn"]
    store.where("family == 'Bovidae'").remove()
    (said,) = store.compact().forgotten
    assert said.endswith("fit it again: bioprobe probe fit centroid --level family --name centroid")
    assert store.probes().to_frame()["name"].tolist() == ["knn"]
    knn = read_probe(EmbeddingStore.open(folder), "knn")
    assert (len(knn.estimator.to_arrays()["vectors"]), knn.provenance["n_removed"]) == (N - 8, 8)
    assert "Bovidae" not in set(store.predict("knn", k=1).to_frame()["family"])
    store.where("path != ''").remove()
    assert "keeps no other vectors" in store.compact().forgotten[0]
    assert store.probes().to_frame().empty


def test_a_removal_is_undone_until_compaction(folder: Path) -> None:
    store = bp.open(folder)
    removed = store.where("family == 'Bovidae'").remove()
    assert len(removed.rows) == 8
    assert "8 of 24 rows" in str(removed.notes[0])
    assert len(bp.open(folder)) == 16
    assert bp.open(folder).removed().to_frame()[["number", "rows"]].to_numpy().tolist() == [[1, 8]]
    again = bp.open(folder)
    again.remove(row=0)
    assert len(again) == 15
    # The same picture was embedded again since: it stays as it is.
    at = EmbeddingStore.open(folder)
    at.append(at.images.frame.iloc[[0]], _draw(1, seed=9))
    back = bp.open(folder).remove(undo="all")
    assert "8 rows" in str(back.notes[0])
    assert "1 were embedded again since" in str(back.notes[1])
    assert len(bp.open(folder)) == N
    assert bp.open(folder).removed().to_frame().empty
    with pytest.raises(SelectionError, match="nothing was removed"):
        bp.open(folder).remove(undo="all")
    with pytest.raises(StoreError, match="no removal 4"):
        bp.open(folder).remove(undo="4")
    bp.open(folder).remove(row=5)
    bp.open(folder).compact()
    with pytest.raises(SelectionError, match="nothing was removed"):
        bp.open(folder).remove(undo="all")


def test_nothing_is_removed_that_nobody_named(folder: Path) -> None:
    store = bp.open(folder)
    with pytest.raises(MisuseError, match="say which rows go"):
        store.remove()
    with pytest.raises(SelectionError, match="no row 99: it is not there"):
        store.remove(row=[1, 99])
    with pytest.raises(SelectionError, match="no row 3: it was removed or replaced"):
        store.remove(row=3)
    with pytest.raises(SelectionError, match="none of 1 paths"):
        store.remove(paths=["else.jpg"])
    with pytest.raises(SelectionError, match="among those that are chosen"):
        store.where("family == 'Felidae'").remove(row=1)
    asked: list[str] = []

    def refuse(lines: Any, question: str) -> bool:  # noqa: ANN401
        asked.extend([*lines, question])
        return False

    declined = store.remove(paths=["site 1/IMG_0001.jpg", "else.jpg"], ask_first=refuse)
    assert declined.is_declined
    assert asked[0] == f"1 of 2 paths are not in {folder}: else.jpg"
    assert asked[1].startswith("1 of 24 rows")
    assert store.remove(row=1, dry_run=True).number is None
    assert len(bp.open(folder)) == N
    assert len(store.remove(paths=["/photos/site 1/IMG_0001.jpg"]).rows) == 1


def test_who_has_the_store_open_reads_on(folder: Path) -> None:
    reader = EmbeddingStore.open(folder)
    before = reader.read_vectors()
    writer = bp.open(folder)
    writer.remove(row=[0, 1])
    done = writer.compact()
    assert done.is_waiting
    assert "somebody has the store open" in str(done.notes[-1])
    # Nothing of the old generation was in memory.
    assert np.array_equal(EmbeddingStore.read_vectors(reader), before)
    assert len(reader.images.frame) == N + 1
    assert "on the disk still" in str(bp.open(folder).info().notes[0])
    # What they would write names rows that have moved.
    with pytest.raises(StoreError, match="was compacted since it was opened"):
        write_selection(reader, "filters/late", reader.rows, reader.rows > 3)
    after = EmbeddingStore.open(folder)
    assert np.array_equal(after.read_vectors(), before[np.setdiff1d(np.arange(N + 1), [0, 1, 3])])
    # A further compaction waits too, and the next writer after the last reader clears up.
    del after
    writer.remove(row=0)
    assert writer.compact().is_waiting
    assert np.array_equal(reader.read_vectors(), before)
    del reader
    with EmbeddingStore.open(folder).lock():
        pass
    assert [path.name for path in (folder / "shards").iterdir()] == ["c2n00000"]


def test_values_that_only_removed_rows_had_are_no_categories_afterwards(
    tmp_path: Path,
    encoder: Any,  # noqa: ANN401
) -> None:
    store = EmbeddingStore.create(tmp_path / "s", encoder.fingerprint, dim=DIM)
    vectors = _draw(3)
    store.append(_table(3).assign(keeper=pd.Categorical(["anna", "bertram", "cleo"])), vectors)
    del store
    opened = bp.open(tmp_path / "s")
    opened.remove(row=1)
    opened.compact()
    keepers = EmbeddingStore.open(tmp_path / "s").images.column("keeper")
    assert keepers.cat.categories.tolist() == keepers.tolist() == ["anna", "cleo"]
    assert _find_traces(tmp_path / "s", vectors[1:2], ["bertram"]) == []


def test_who_reads_on_beside_a_repair_is_seen_by_a_compaction(folder: Path) -> None:
    reader = EmbeddingStore.open(folder)
    before = reader.read_vectors(np.arange(5, 10))
    (folder / "shards" / "00000" / "vectors.npy").write_bytes(b"damaged")
    # The shard by which it holds the others is laid aside.
    repair_store(folder)
    assert bp.open(folder).compact().is_waiting
    assert np.array_equal(reader.read_vectors(np.arange(5, 10)), before)


def test_what_is_compacted_while_it_is_opened_is_opened_as_it_is_then(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    lock, is_first = fcntl.flock, [True]

    def compact_first(descriptor: int, how: int) -> None:
        if how == fcntl.LOCK_SH and (is_first.pop() if is_first else False):
            # The folder is open, and nobody holds it yet.
            compact_store(folder)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", compact_first)
    opened = EmbeddingStore.open(folder)
    assert [one.name for one in opened.manifest.present_shards] == ["c1n00000"]
    assert len(opened.read_vectors()) == N


def test_a_compaction_that_was_interrupted_is_as_before_or_comes_to_its_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = bp.open(folder)
    opened = EmbeddingStore.open(folder)
    write_selection(opened, "filters/mine", opened.rows, opened.rows % 2 == 0)
    vectors, name = opened.read_vectors(np.array([4])), "IMG_0004.jpg"
    del opened
    store.remove(row=4)
    manifest, files = Manifest.read(folder), sorted(folder.rglob("*"))
    with monkeypatch.context() as broken:
        broken.setattr(Manifest, "write", lambda *_: (_ for _ in ()).throw(StoreError("full")))
        with pytest.raises(StoreError, match="full"):
            store.compact()
    assert (Manifest.read(folder), sorted(folder.rglob("*"))) == (manifest, files)
    with monkeypatch.context() as broken:
        broken.setattr("bioprobe.files._take_name", _take_only_manifest)
        with pytest.raises(ZeroDivisionError):
            store.compact()
    assert len(bp.open(folder)) == N - 1
    assert "a compaction was interrupted" in str(bp.open(folder).info().notes[0])
    assert _find_traces(folder, vectors, [name])
    # What others append meanwhile stays, and keeps the shards that are needed to go on.
    at = EmbeddingStore.open(folder)
    with at.lock():
        at.append(_table(1, 50), _draw(1, seed=3))
    del at
    store = bp.open(folder)
    done = store.compact()
    assert done.is_done
    assert not done.is_waiting
    assert done.counts["selections"] == 1
    assert _find_traces(folder, vectors, [name]) == []
    assert len(bp.open(folder)) == N
    assert not store.compact().is_done


def _take_only_manifest(temporary: Path, target: Path) -> None:
    temporary.replace(target) if target.name == "manifest.json" else 1 / 0


def test_only_one_writes_and_damage_is_not_copied(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.upkeep.QUICK_WAIT_S", 0.1)
    with EmbeddingStore.open(folder).lock():
        for act in (lambda: bp.open(folder).remove(row=1), lambda: bp.open(folder).compact()):
            with pytest.raises(StoreLockedError):
                act()
    file = folder / "shards" / "00001" / "vectors.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    manifest = Manifest.read(folder)
    with pytest.raises(StoreError, match="is damaged"):
        bp.open(folder).compact()
    assert Manifest.read(folder) == manifest
    assert not list((folder / "shards").glob("c1*"))


def test_shards_that_a_repair_laid_aside_go_where_they_hold_what_is_gone(folder: Path) -> None:
    whole = (folder / "shards" / "00002" / "vectors.npy").read_bytes()
    for name in ("00000", "00002"):
        (folder / "shards" / name / "vectors.npy").write_bytes(b"damaged")
    bp.open(folder).remove(row=2)
    vectors = _draw(N)
    repair_store(folder)
    # The first of the rows that are left is that of picture 5.
    store = bp.open(folder)
    store.remove(row=0)
    done = store.compact()
    assert done.counts["damaged shards"] == 1
    assert [path.name for path in (folder / "damaged").iterdir()] == ["00002"]
    assert _find_traces(folder / "shards", vectors[[2, 5]], ["IMG_0002.jpg", "IMG_0005.jpg"]) == []
    # The other can be put back, from a copy.
    (folder / "damaged" / "00002" / "vectors.npy").write_bytes(whole)
    assert restore_store(folder).shards == ("00002",)
    assert len(bp.open(folder)) == N - 5
    assert verify_store(EmbeddingStore.open(folder)) == []


def test_one_region_goes_and_its_picture_stays(tmp_path: Path, encoder: Any) -> None:  # noqa: ANN401
    store = EmbeddingStore.create(tmp_path / "s", encoder.fingerprint, dim=DIM)
    table = _table(3).assign(
        path=["a.jpg", "a.jpg", "b.jpg"], sha256=["a" * 64, "a" * 64, "b" * 64]
    )
    boxes = ["0.1,0.1,0.5,0.5", "0.2,0.2,0.5,0.5", ""]
    vectors = _draw(3)
    store.append(table.assign(image_region=boxes), vectors)
    del store
    opened = bp.open(tmp_path / "s")
    removed = opened.where(f"image_region == '{boxes[0]}'").remove()
    assert "1 other regions of these stay" in str(removed.notes[0])
    opened.compact()
    assert _find_traces(tmp_path / "s", vectors[:1], [boxes[0]]) == []
    assert len(_find_traces(tmp_path / "s", vectors[1:2], ["a.jpg"])) > 1
    assert EmbeddingStore.open(tmp_path / "s").manifest.has_regions
    # The whole picture goes with all of its regions.
    opened.remove(paths=["a.jpg"])
    assert opened.images["path"].tolist() == ["b.jpg"]
    opened.compact()
    assert _find_traces(tmp_path / "s", vectors[:2], ["a.jpg"]) == []


def test_shards_are_joined_cut_and_linked(
    tmp_path: Path,
    encoder: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Vectors are copied a few at a time.
    monkeypatch.setattr("bioprobe.store.compaction._ROWS_AT_ONCE", 3)
    store = EmbeddingStore.create(tmp_path / "s", encoder.fingerprint, dim=DIM)
    sizes = (1, 6, 2, 13, 1)
    vectors, start = _draw(sum(sizes)), 0
    for n in sizes:
        store = store.append(_table(n, start), vectors[start : start + n])
        start += n
    vectors = store.read_vectors()
    # At most 8 rows: 6 are taken as they are, 13 are cut.
    assert [one.n_images for one in plan_shards(store.manifest, 8)] == [1, 6, 8, 8]
    linked = (tmp_path / "s" / "shards" / "00001" / "vectors.npy").stat().st_ino
    assert not is_compact(store.manifest, 8)
    del store
    opened = bp.open(tmp_path / "s")
    planned = opened.compact(shard_rows=8, dry_run=True)
    assert (planned.is_done, planned.n_before, planned.n_after) == (False, 5, 4)
    assert planned.needed_bytes > 17 * DIM * 4
    opened.compact(shard_rows=8)
    after = EmbeddingStore.open(tmp_path / "s")
    assert np.array_equal(after.read_vectors(), vectors)
    assert [one.n_images for one in after.manifest.shards] == [1, 6, 8, 8]
    place = tmp_path / "s" / "shards" / "c1n00001" / "vectors.npy"
    assert place.stat().st_ino == linked
    assert is_compact(after.manifest, 8)
    # What is appended since has a name of the generation, and no older bioprobe gives it.
    assert after.append(_table(1, 60), _draw(1, seed=2)).manifest.shards[-1].name == "c1n00004"
    # Rows that others append meanwhile are no others for it.
    assert len(opened.where("path != ''").remove().rows) == sum(sizes)
    opened = bp.open(tmp_path / "s")
    opened.where("path != ''").remove()
    opened.compact()
    empty = EmbeddingStore.open(tmp_path / "s")
    assert (len(empty), empty.manifest.shards, empty.manifest.generation) == (0, (), 2)
    assert empty.append(_table(1), vectors[:1]).manifest.shards[0].name == "c2n00000"


def test_many_small_shards_are_told(tmp_path: Path, encoder: Any) -> None:  # noqa: ANN401
    store = EmbeddingStore.create(tmp_path / "s", encoder.fingerprint, dim=DIM)
    for number in range(16):
        assert not is_scattered(store.manifest)
        store = store.append(_table(1, number), _draw(1, seed=number))
    assert is_scattered(store.manifest)
    opened = bp.open(tmp_path / "s")
    for found in (opened.info(), opened.verify()):
        assert "16 shards would be 1" in str(found.notes[-1])


def test_a_manifest_of_which_nothing_was_removed_is_as_older_versions_know_it(folder: Path) -> None:
    said = json.loads((folder / "manifest.json").read_text())
    assert not {"removals", "generation", "replaced", "is_cleared", "older"} & said.keys()
    bp.open(folder).compact()
    said = json.loads((folder / "manifest.json").read_text())
    assert said["generation"] == 1
    # An older bioprobe, which appends, does not keep what it does not know.
    del said["generation"]
    (folder / "manifest.json").write_text(json.dumps(said))
    assert Manifest.read(folder).next_shard_name == "c1n00001"


def test_a_manifest_names_nothing_outside_of_its_store(folder: Path) -> None:
    said = json.loads((folder / "manifest.json").read_text())
    for wrong in (
        {"older": ["../../photos"]},
        {"removals": [{"number": 1, "time": "", "rows": [0]}]},
    ):
        (folder / "manifest.json").write_text(json.dumps(said | wrong))
        with pytest.raises(StoreError, match="is damaged"):
            Manifest.read(folder)
    # What is current is never swept.
    (folder / "manifest.json").write_text(json.dumps(said | {"older": ["00000"]}))
    with EmbeddingStore.open(folder).lock():
        pass
    assert verify_store(EmbeddingStore.open(folder)) == []
