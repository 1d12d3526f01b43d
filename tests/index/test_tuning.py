from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import SourceError, StoreError
from bioprobe.index import NeighborIndex, neighbor_index, tuning
from bioprobe.index.exact import StoredVectors
from bioprobe.index.index_file import IndexNote
from bioprobe.index.kinds import (
    BY_SPEED,
    Dial,
    Structure,
    count_training_rows,
    estimate_bytes,
    find_lists,
    list_dials,
    list_structures,
    make_index,
    measure_bytes,
)
from bioprobe.index.neighbor_index import ApproximateIndex
from bioprobe.index.tuning import Limits, Tried, build_index
from bioprobe.store import EmbeddingStore
from bioprobe.types import Vectors
from tests.index.conftest import add_rows, draw_clustered


@pytest.mark.parametrize("kind", ["ivf", "hnsw", "ivfpq", "sq8", "ivfsq8", "ivfpqfs", "ivfrabitq"])
def test_the_report_says_what_was_measured(clustered: EmbeddingStore, kind: str) -> None:
    report = build_index(clustered, kind, recall=0.5, k=5, seed=3)
    facts = report.to_dict()
    assert facts["kind"] == kind
    assert facts["k"] == 5
    assert facts["n_queries"] == 140
    low, high = facts["recall_interval"]
    assert low <= facts["recall"] <= high <= 1
    (file,) = clustered.folder.glob("index-*.faiss")
    assert facts["index_bytes"] == file.stat().st_size
    assert facts["vectors_bytes"] == 1400 * 16 * 4
    assert min(facts["queries_per_s"], facts["single_per_s"], facts["build_s"]) > 0
    assert facts["settings"]["n_candidates"] >= 5
    note = json.loads((clustered.folder / "index.json").read_text())
    assert (note["kind"], note["k"], note["seed"]) == (kind, 5, 3)
    assert note["recall"] == pytest.approx(facts["recall"], abs=1e-4)
    found = _measure_plainly(clustered, report, seed=3)
    assert facts["recall"] == pytest.approx(found.mean(), abs=0.005)
    around = 1.96 * found.std() / np.sqrt(140)
    assert (low, high) == pytest.approx((found.mean() - around, found.mean() + around), abs=0.01)


def _measure_plainly(
    store: EmbeddingStore, report: tuning.IndexReport, seed: int
) -> npt.NDArray[np.float64]:
    """Return the share of the nearest that an index without the held-out images finds of each."""
    assert report.note is not None
    held_out = tuning._hold_out(store, seed)
    included = np.setdiff1d(np.arange(len(store)), np.concatenate(held_out))
    stored, vectors = StoredVectors(store), store.read_vectors()
    index = neighbor_index.build_from(stored, report.note, np.isin(np.arange(1400), included))
    asked = ApproximateIndex(index, report.note)
    rows, _ = NeighborIndex(stored, included, asked).search(vectors[held_out[1]], report.note.k)
    cosines = vectors[held_out[1]] @ vectors.T
    nearest = included[np.argsort(-cosines[:, included], axis=1)[:, : report.note.k]]
    pairs = zip(rows, nearest, strict=True)
    return np.array([np.isin(one, other).mean() for one, other in pairs])


def test_a_higher_recall_makes_it_look_at_more(clustered: EmbeddingStore) -> None:
    settings = [
        build_index(clustered, "ivf", recall=recall).to_dict()["settings"]["n_probes"]
        for recall in (0.3, 0.9, 1.0)
    ]
    assert settings == sorted(settings)
    assert settings[0] < settings[2]


def test_another_seed_holds_out_others(clustered: EmbeddingStore) -> None:
    def measure(seed: int) -> float:
        note = build_index(clustered, "ivf", recall=0.5, seed=seed).note
        assert note is not None
        return note.recall

    assert measure(0) == measure(0) != measure(1)


def test_the_seed_draws_what_an_index_learns_from_and_where_its_lists_begin(
    clustered: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbor_index, "count_training_rows", lambda *_: 400)
    samples: list[Vectors] = []

    def note(structure: Structure, sample: Vectors, **how: Any) -> Any:  # noqa: ANN401
        samples.append(sample)
        return make_index(structure, sample, **how)

    monkeypatch.setattr(neighbor_index, "make_index", note)
    structure = Structure("ivf", n_lists=30)
    for seed in (0, 0, 1):
        told = IndexNote(structure, Dial(), 10, 0, (0, 0), 0, 0, 1400, seed)
        neighbor_index.build_from(StoredVectors(clustered), told, np.ones(1400, dtype=bool))
    np.testing.assert_array_equal(samples[0], samples[1])
    assert not np.array_equal(samples[0], samples[2])
    lists = [find_lists(make_index(structure, samples[0], seed=seed)) for seed in (0, 0, 1)]
    assert lists[0] is not None
    assert lists[1] is not None
    assert lists[2] is not None
    np.testing.assert_array_equal(lists[0], lists[1])
    assert not np.array_equal(lists[0], lists[2])


def test_the_interval_is_one_of_95_percent() -> None:
    # Of half of 400 queries all are found, of the others none.
    low, high = tuning._bootstrap(np.repeat([0.0, 1.0], 200), seed=0)
    around = 1.96 * 0.5 / 400**0.5
    assert (low, high) == pytest.approx((0.5 - around, 0.5 + around), abs=0.1 * around)


def test_no_held_out_image_is_in_the_index_while_it_is_measured(
    clustered: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    included: list[int] = []
    asked: list[int] = []
    build, hold_out = neighbor_index.build_from, tuning._hold_out

    def watch_build(vectors: object, note: object, rows: object, lists: object) -> object:
        included.extend(np.flatnonzero(rows).tolist())  # type: ignore[arg-type]
        return build(vectors, note, rows, lists)  # type: ignore[arg-type]

    def watch_hold_out(store: EmbeddingStore, seed: int) -> object:
        chosen_on, measured_on = hold_out(store, seed)
        asked.extend([*chosen_on, *measured_on])
        return chosen_on, measured_on

    monkeypatch.setattr(tuning, "build_from", watch_build)
    monkeypatch.setattr(tuning, "_hold_out", watch_hold_out)
    build_index(clustered, "sq8")
    assert len(set(asked)) == len(asked) == 280
    assert not set(asked) & set(included)
    assert set(asked) | set(included) == set(range(1400))
    vectors = clustered.read_vectors(np.array(asked))
    assert NeighborIndex.open(clustered).search(vectors, 1)[0].ravel().tolist() == asked


def test_a_recall_that_is_not_reached_keeps_nothing(
    clustered: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(clustered, "sq8")
    before = (clustered.folder / "index.json").read_text()
    monkeypatch.setattr(tuning, "list_dials", lambda *_: [Dial(n_probes=1, n_candidates=10)])
    with pytest.raises(StoreError, match=r"ivf finds 0\.\d+ .* expected 0\.999; nothing was kept"):
        build_index(clustered, "ivf", recall=0.999)
    assert (clustered.folder / "index.json").read_text() == before


def test_flat_goes_back_to_exact_search(clustered: EmbeddingStore) -> None:
    build_index(clustered, "sq8")
    report = build_index(clustered, "flat")
    assert report.is_reached
    assert report.to_dict()["recall"] == 1
    assert not list(clustered.folder.glob("index*.faiss"))
    assert not (clustered.folder / "index.json").exists()
    assert NeighborIndex.open(clustered).kind == "flat"


@pytest.mark.parametrize("n_images", [0, 1, 9])
def test_too_few_images_to_hold_some_out_are_refused(tmp_path: Path, n_images: int) -> None:
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    store = EmbeddingStore.create(tmp_path / "few", fingerprint, dim=4)
    store = add_rows(store, np.ones((n_images, 4), dtype=np.float32))
    with pytest.raises(SourceError, match=f"has {n_images} images, too few"):
        build_index(store, "ivf")
    assert build_index(store, "flat").n_rows == n_images


@pytest.mark.parametrize("kind", ["ivf", "hnsw", "ivfpq", "sq8"])
@pytest.mark.parametrize("n_images", [10, 60])
def test_a_small_store_is_indexed_too(tmp_path: Path, kind: str, n_images: int) -> None:
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    store = EmbeddingStore.create(tmp_path / "small", fingerprint, dim=16)
    frame = pd.DataFrame({"path": [f"{number}.jpg" for number in range(n_images)]})
    store = store.append(frame, draw_clustered(n_images, 1))
    build_index(store, kind, recall=0.5)
    rows, _ = NeighborIndex.open(store).search(store.read_vectors(), n_images)
    assert (np.sort(rows, axis=1) == np.arange(n_images)).all()


@pytest.mark.parametrize(("kind", "recall"), [("ivf", 0.0), ("ivf", 1.1), ("annoy", 0.9)])
def test_what_cannot_be_built_is_refused(
    clustered: EmbeddingStore, kind: str, recall: float
) -> None:
    with pytest.raises(SourceError, match=r"in \(0, 1\]|of kind flat, ivf, hnsw"):
        build_index(clustered, kind, recall=recall)


def test_copies_of_a_neighbour_count_as_found(tmp_path: Path) -> None:
    # Each vector is there 40 times: which 10 of them are found says nothing of the index.
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    store = EmbeddingStore.create(tmp_path / "copies", fingerprint, dim=16)
    random = np.random.default_rng(0)
    store = add_rows(store, np.repeat(random.normal(size=(20, 16)), 40, axis=0))
    report = build_index(store, "ivf")
    assert report.note is not None
    assert report.note.recall == 1


def test_structures_and_dials_suit_the_vectors() -> None:
    (ivf,) = list_structures("ivf", 10_000, 512)
    assert ivf.n_lists == 256  # 10,000 / 39, under 4 times the root
    assert [s.n_bytes for s in list_structures("ivfpq", 10_000, 512)] == [64, 128, 256]
    assert all(7 % s.n_bytes == 0 for s in list_structures("ivfpq", 10_000, 7))
    assert [s.n_links for s in list_structures("hnsw", 10, 8)] == [16, 32, 64]
    probes = [dial.n_probes for dial in list_dials(ivf, 10, 10_000)]
    assert (probes[0], probes[-1]) == (1, 256)
    assert probes == sorted(set(probes))
    shortlists = {d.n_candidates for d in list_dials(Structure("ivfpq", 4, 0, 8), 10, 300)}
    assert shortlists == {20, 50, 100, 250, 300}


@pytest.mark.parametrize("kind", BY_SPEED)
def test_the_size_is_known_before_an_index_is_built(clustered: EmbeddingStore, kind: str) -> None:
    vectors = StoredVectors(clustered)
    structure = list_structures(kind, len(vectors), vectors.dim)[0]
    note = IndexNote(structure, Dial(), 10, 0, (0, 0), 0, 0, len(vectors), 0)
    index = neighbor_index.build_from(vectors, note, np.ones(len(vectors), dtype=bool))
    assert estimate_bytes(structure, 1400, 16) == pytest.approx(measure_bytes(index), rel=0.35)


def test_the_first_kind_that_keeps_the_limits_is_built(clustered: EmbeddingStore) -> None:
    # Exact search would do, but without a limit of time nobody asks for the slowest.
    report = build_index(clustered, recall=0.5, max_memory="100kB")
    facts = report.to_dict()
    assert report.is_reached
    assert facts["kind"] == "ivfpqfs"
    assert facts["limits"] == {"recall": 0.5, "max_bytes": 100_000, "max_query_ms": None}
    (file,) = clustered.folder.glob("index-*.faiss")
    assert file.stat().st_size == facts["index_bytes"] <= 100_000
    assert facts["query_ms"] == pytest.approx(1000 / report.single_per_s, rel=1e-3)
    assert facts["batch_query_ms"] == pytest.approx(1000 / report.queries_per_s, rel=1e-3)
    assert facts["recall"] >= 0.5
    assert facts["tried"][-1].startswith("ivfpqfs: recall 0.")
    found = _measure_plainly(clustered, report, seed=0)
    assert facts["recall"] == pytest.approx(found.mean(), abs=0.01)


def test_exact_search_is_enough_where_it_is_quick_enough(clustered: EmbeddingStore) -> None:
    build_index(clustered, "sq8")
    report = build_index(clustered, max_query_ms=10_000)
    assert report.note is None
    assert report.is_reached
    assert [one.structure.kind for one in report.tried] == ["flat"]
    assert not list(clustered.folder.glob("index*"))
    # Of what fits in nothing but the vectors as they are stored, they do.
    only = build_index(clustered, recall=1, max_memory=1400 * 16 * 4, k=5)
    assert (only.to_dict()["recall"], only.is_reached) == (1, True)


def test_how_much_limits_are_missed_by_and_what_would_keep_them() -> None:
    tried = Tried(Structure("hnsw"), 1_234_567, recall=0.965, query_ms=2.0, error=0.01)
    missed = tried.miss(Limits(0.97, 1_000_000, 1.6))
    # A recall is kept where it is kept though it be lower by its error.
    assert missed == pytest.approx({"memory": 0.234567, "recall": 1 - 0.955 / 0.97, "time": 0.25})
    assert tried.miss(Limits(0.95, 2_000_000, 2.5)) == {}
    # Each to its side, and a fifth more time, which is never the same twice.
    relaxed = tried.relax(Limits(0.97, 1_000_000, 1.6))
    assert relaxed == "--max-memory 1235kB --recall 0.95 --max-query-ms 2.4"


@pytest.mark.parametrize("best", [False, True])
def test_nothing_that_keeps_the_limits_builds_nothing_unless_told(
    clustered: EmbeddingStore, monkeypatch: pytest.MonkeyPatch, *, best: bool
) -> None:
    build_index(clustered, "sq8")
    before = (clustered.folder / "index.json").read_text()
    # Each query takes a millisecond for each list that is visited.
    monkeypatch.setattr(
        tuning._Trial, "_time_one", lambda _, tried, __: tried.note.dial.n_probes if tried else 99
    )
    dials = [Dial(n_probes=n, n_candidates=10) for n in (1, 2, 3, 35)]
    monkeypatch.setattr(tuning, "list_dials", lambda *_: dials)
    asked = {"recall": 0.999, "max_memory": "500kB", "max_query_ms": 1.5}
    if not best:
        with pytest.raises(
            StoreError, match=r"nothing keeps recall 0\.999, 500\.0 kB, 1\.5 ms"
        ) as said:
            build_index(clustered, "ivf", **asked)  # type: ignore[arg-type]
        assert "nothing was changed; closest: ivf: recall 0." in str(said.value)
        assert "1 ms a query. Ask for --recall 0." in str(said.value)
        assert "or keep it by --best" in str(said.value)
        assert (clustered.folder / "index.json").read_text() == before
        return
    report = build_index(clustered, "ivf", best=True, **asked)  # type: ignore[arg-type]
    assert report.note is not None
    # The most thorough that is quick enough, which misses the recall by less than the other time.
    assert report.note.dial.n_probes == 1
    assert [one.query_ms for one in report.tried][1:] == [1]
    assert (report.is_reached, report.missed[0]) == (False, "recall")


def test_what_is_too_large_is_not_built(
    clustered: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "build_from", lambda *_: pytest.fail("it was built"))
    said = r"the smallest is ivfpqfs, not built: about \d+\.\d kB. Ask for --max-memory \d+kB"
    with pytest.raises(StoreError, match=said):
        build_index(clustered, max_memory="1kB", best=True)


@pytest.mark.parametrize("size", ["much", "-5MB", "0", "5 megabytes", "", -1, True])
def test_a_size_that_is_none_is_refused(clustered: EmbeddingStore, size: str | int) -> None:
    with pytest.raises(SourceError, match="--max-memory is a size such as 500MB or 2GiB, got"):
        build_index(clustered, max_memory=size)


def test_of_a_million_vectors_a_quarter_teaches_the_lists() -> None:
    n_rows = 1_000_000
    for kind in ("ivf", "ivfpqfs", "ivfpq", "sq8"):
        for structure in list_structures(kind, n_rows, 512):
            n_sample = count_training_rows(structure, n_rows)
            assert max(39 * structure.n_lists, 10_000) <= n_sample <= 0.3 * n_rows
            assert count_training_rows(structure, 500) == 500


def test_fast_codes_are_for_vectors_of_an_even_length() -> None:
    with pytest.raises(SourceError, match="even length, got 1000 of length 7"):
        list_structures("ivfpqfs", 1000, 7)
    assert [one.n_bytes for one in list_structures("ivfpqfs", 100_000, 512)] == [32, 64, 128]


def _dial(store: EmbeddingStore, kind: str, k: int) -> tuning._Dials:
    """Build an index without the held-out images, with what is asked of its dials."""
    vectors, (asked, others) = StoredVectors(store), tuning._hold_out(store, 0)
    trial = tuning._Trial(store, vectors, np.concatenate([asked, others]), k, 0)
    of = list_structures(kind, len(store), vectors.dim)[-1]
    return trial._build(of, trial._ask_exactly(asked), 0.9)


@pytest.mark.parametrize("kind", ["ivfpq", "ivfpqfs", "ivfrabitq", "sq8"])
def test_one_search_tells_what_each_shortlist_finds(clustered: EmbeddingStore, kind: str) -> None:
    dials = _dial(clustered, kind, 5)
    alike = [at for at, one in enumerate(dials._dials) if one.search == dials._dials[0].search]
    dials._search([dials._dials[at] for at in alike])
    assert len(dials._shares) == len(alike) > 3
    truth, rows = dials._truth, np.flatnonzero(dials._current)
    for at in alike:
        index = NeighborIndex(truth.vectors, rows, dials.turn(at))
        similarities = index.search(truth.queries, 5)[1]
        plainly = (similarities >= truth.similarities[:, 4:5]).mean(axis=1)
        shares = dials._shares[dials._dials[at]]
        # Fast codes of so short vectors are the same for many, of which any may be the last.
        is_coarse = kind == "ivfpqfs"
        assert is_coarse or np.mean(shares != plainly) <= 0.02, at
        assert shares.mean() == pytest.approx(plainly.mean(), abs=0.05 if is_coarse else 0.005)
        error = max(shares.std() / len(shares) ** 0.5, 1 / (5 * len(shares)))
        assert dials.look(at).error == pytest.approx(2.5 * error)


@pytest.mark.parametrize("kind", ["ivf", "ivfpqfs", "ivfrabitq", "hnsw"])
def test_few_searches_find_the_dial_that_asking_each_would(
    clustered: EmbeddingStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = _dial(clustered, kind, 10)
    for search in {one.search for one in every._dials}:
        every._search([one for one in every._dials if one.search == search])
    searches: list[int] = []
    search_alike = tuning._Dials._search

    def count(dials: tuning._Dials, alike: list[Dial]) -> None:
        searches.append(len(alike))
        search_alike(dials, alike)

    monkeypatch.setattr(tuning._Dials, "_search", count)
    for wanted in (0.5, 0.8, 0.9, 0.97, 1.0):
        few = tuning._Dials(every.index, every._note, every._truth, every._current)
        passing = (at for at in range(len(every)) if every.look(at).passes(wanted))
        place, passes = few.find_quickest(wanted)
        assert (place, passes) == (next(passing, len(every) - 1), wanted < 1), wanted
        assert len(searches) <= 8
        searches.clear()
