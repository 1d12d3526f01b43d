"""What is kept beside vectors: written whole, found by content, verified, compacted with them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bioprobe.encoders.keeping import PROJECTION_INPUT, TOKENS, KeptForm
from bioprobe.errors import BioprobeError, StoreError
from bioprobe.store import EmbeddingStore, kept
from bioprobe.store.health import repair_store, restore_store, verify_store
from bioprobe.store.kept import Card, Kept, KeptWriter, copy_kept, round_values
from bioprobe.store.manifest import Manifest
from bioprobe.upkeep import compact_store, remove_rows
from tests.conftest import PlainEncoder

WIDTH, DIM = 5, 3
FORM = KeptForm(
    PROJECTION_INPUT, (WIDTH,), "five numbers",
    projection=np.arange(WIDTH * DIM, dtype=np.float32).reshape(WIDTH, DIM),
    bias=np.ones(DIM, dtype=np.float32),
)  # fmt: skip
TOKEN_FORM = KeptForm(TOKENS, (4, 2), "four tokens", 0, (2, 2))


def make_values(n: int, first: int = 0) -> npt.NDArray[np.float32]:
    return np.arange(n * WIDTH, dtype=np.float32).reshape(n, WIDTH) + 100 * first


@pytest.fixture
def store(families: EmbeddingStore) -> EmbeddingStore:
    """Return the store of 80 images, with something kept of the first 60 in two parts."""
    contents = families.images.contents.tolist()
    with families.lock():
        writer = KeptWriter(families.folder, FORM, "float32")
        writer.add(contents[:40], make_values(40))
        writer.add(contents[40:60], make_values(20, 40))
    return families


def need(store: EmbeddingStore, kind: str = PROJECTION_INPUT) -> Kept:
    found = store.open_kept(kind)
    assert found is not None
    return found


def test_values_are_found_by_content_in_any_order(store: EmbeddingStore) -> None:
    opened, contents = need(store), store.images.contents
    asked = contents[[50, 3, 70, 0]]
    places = opened.find([*asked, ""])
    assert (places >= 0).tolist() == [True, True, False, True, False]
    got = opened.read(places[[0, 1, 3]])
    expected = [make_values(20, 40)[10], make_values(40)[3], make_values(40)[0]]
    np.testing.assert_array_equal(got, expected)
    assert opened.n_bytes == 60 * WIDTH * 4
    matrix, bias = opened.read_projection()
    np.testing.assert_array_equal(matrix, FORM.projection)
    np.testing.assert_array_equal(bias, FORM.bias)
    assert store.open_kept(TOKENS) is None


def test_a_view_reads_what_is_kept_and_says_of_what_it_is_not(store: EmbeddingStore) -> None:
    from bioprobe.store.view import View

    view = View.all(store).take(np.arange(60)).reading(PROJECTION_INPUT)
    np.testing.assert_array_equal(view.read_vectors()[:40], make_values(40))
    with pytest.raises(BioprobeError, match=r"of 20 of 80 images is not kept .*--keep proj"):
        View.all(store).reading(PROJECTION_INPUT).read_vectors()
    with pytest.raises(BioprobeError, match=r"keeps no tokens of its pictures; run: .*--keep tok"):
        View.all(store).reading(TOKENS).read_vectors()


def test_what_a_killed_writer_left_is_nowhere(store: EmbeddingStore) -> None:
    place = store.folder / "kept" / PROJECTION_INPUT
    shutil.copytree(place / "00001", place / ".00002.tmp")
    shutil.copytree(place / "00001", place / "00002")
    assert need(store).card.n_images == 60
    with store.lock():
        pass
    assert sorted(one.name for one in place.iterdir()) == [
        "00000", "00001", "card.json", "projection.npy"
    ]  # fmt: skip
    assert verify_store(store) == []


@pytest.mark.parametrize("name", ["values.npy", "contents.npy"])
def test_damage_is_found_taken_out_and_put_back(store: EmbeddingStore, name: str) -> None:
    path = store.folder / "kept" / PROJECTION_INPUT / "00001" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (problem,) = verify_store(store)
    assert problem.where == f"kept/{PROJECTION_INPUT}/00001/{name}"
    repair = repair_store(store.folder)
    assert (repair.n_kept_lost, repair.n_lost) == (20, 0)
    assert verify_store(store) == []
    assert need(store).card.n_images == 40
    # The file is restored from a copy.
    data[-1] ^= 1
    (aside,) = (store.folder / "damaged").iterdir()
    (aside / name).write_bytes(data)
    assert restore_store(store.folder).n_kept == 20
    assert verify_store(store) == []
    assert need(store).card.n_images == 60


def test_of_a_damaged_projection_all_is_laid_aside(store: EmbeddingStore) -> None:
    (store.folder / "kept" / PROJECTION_INPUT / "projection.npy").write_bytes(b"none")
    assert [one.where for one in verify_store(store)] == [f"kept/{PROJECTION_INPUT}/projection.npy"]
    assert repair_store(store.folder).n_kept_lost == 60
    assert store.open_kept(PROJECTION_INPUT) is None
    assert len(EmbeddingStore.open(store.folder)) == 80


def test_a_card_that_cannot_be_read_says_what_to_do(store: EmbeddingStore) -> None:
    path = store.folder / "kept" / PROJECTION_INPUT / "card.json"
    path.write_text('{"kind": "tokens"}')
    with pytest.raises(StoreError, match=r"card\.json cannot be read .*with --keep"):
        store.open_kept(PROJECTION_INPUT)
    assert [one.where for one in verify_store(store)] == [f"kept/{PROJECTION_INPUT}/card.json"]


@pytest.mark.parametrize("is_large", [True, False])
def test_what_is_gone_goes_with_compaction(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch, *, is_large: bool
) -> None:
    if is_large:
        # The first part is whole, and is not written again.
        monkeypatch.setattr(kept, "PART_BYTES", 40 * WIDTH * 4)
    contents = store.images.contents
    opened = need(store)
    remove_rows(store, np.array([45, 46]))
    trial = compact_store(store.folder, is_trial=True)
    assert trial.counts["kept"] == 2
    compaction = compact_store(store.folder)
    assert compaction.counts["kept"] == 2
    assert compaction.needed_bytes == trial.needed_bytes
    again = EmbeddingStore.open(store.folder)
    after = need(again)
    assert after.card.n_images == 58
    assert ("00000" in [part.name for part in after.card.parts]) == is_large
    assert (after.find(contents[[45, 46]]) == -1).all()
    np.testing.assert_array_equal(after.read(after.find(contents[[47]]))[0], make_values(20, 40)[7])
    assert verify_store(again) == []
    # Nothing of it lies about, and who had it open before reads on.
    place = store.folder / "kept" / PROJECTION_INPUT
    named = {part.name for part in after.card.parts}
    assert {one.name for one in place.iterdir() if one.is_dir()} == named
    np.testing.assert_array_equal(
        opened.read(opened.find(contents[[45]]))[0], make_values(20, 40)[5]
    )


def test_an_interrupted_compaction_comes_to_its_end(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = store.images.contents
    remove_rows(store, np.array([1]))

    write = Manifest.write

    def write_and_stop(manifest: Manifest, folder: Path) -> None:
        write(manifest, folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        # The manifest is replaced, and nothing after it.
        patched.setattr(Manifest, "write", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            compact_store(store.folder)
    assert need(EmbeddingStore.open(store.folder)).find(contents[[1]])[0] >= 0
    compact_store(store.folder)
    assert need(EmbeddingStore.open(store.folder)).find(contents[[1]])[0] == -1


def test_damage_is_never_compacted(store: EmbeddingStore) -> None:
    path = store.folder / "kept" / PROJECTION_INPUT / "00000" / "values.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    remove_rows(store, np.array([1]))
    with pytest.raises(StoreError, match="nothing was compacted"):
        compact_store(store.folder)
    assert len(EmbeddingStore.open(store.folder)) == 80


def test_copies_go_into_another_store_once(
    store: EmbeddingStore, make_store: Callable[..., Any]
) -> None:
    other = make_store(PlainEncoder(), "other", dtype="float16")
    contents = store.images.contents.tolist()
    assert copy_kept(store.folder, other.folder, PROJECTION_INPUT, [*contents[:5], ""]) == 5
    assert copy_kept(store.folder, other.folder, PROJECTION_INPUT, contents[:7]) == 2
    got = need(other)
    np.testing.assert_array_equal(got.read(got.find(contents[:7])), make_values(7))
    assert copy_kept(store.folder, other.folder, TOKENS, contents) == 0


def test_tokens_are_read_where_they_are_used(families: EmbeddingStore) -> None:
    from bioprobe.store.view import View

    values = np.random.default_rng(0).normal(size=(80, 4, 2)).astype(np.float16)
    writer = KeptWriter(families.folder, TOKEN_FORM, "float32")
    writer.add(families.images.contents.tolist(), values)
    assert writer.card.dtype == "float16"
    rows: Any = View.all(families).reading(TOKENS).read_vectors(np.array([7, 3, 7]))
    assert (len(rows), rows.shape, rows.ndim, rows.dtype) == (3, (3, 4, 2), 3, np.float16)
    np.testing.assert_array_equal(
        rows[np.array([False, True, True])].read(slice(None)), values[[3, 7]]
    )
    other = dataclasses.replace(TOKEN_FORM, shape=(9, 2))
    with pytest.raises(StoreError, match=r"keeps tokens of the shape \(4, 2\)"):
        KeptWriter(families.folder, other, "float32")


def test_what_half_precision_cannot_hold_is_refused() -> None:
    with pytest.raises(BioprobeError, match=r"tokens of m holds numbers up to 100000, .*float16"):
        round_values(np.array([1e5], dtype=np.float32), "float16", "tokens of m")


def test_no_card_leads_out_of_its_folder(store: EmbeddingStore) -> None:
    path = store.folder / "kept" / PROJECTION_INPUT / "card.json"
    path.write_text(path.read_text().replace('"00000"', '"../../shards/00000"'))
    with pytest.raises(StoreError, match="no folder of a number"):
        Card.read(store.folder, PROJECTION_INPUT)
