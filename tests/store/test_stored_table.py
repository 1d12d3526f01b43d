"""What is read of the image table of a store: columns and row groups, never more than is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from bioprobe.cells import mend_floats
from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import SelectionError, StoreError
from bioprobe.images.image_table import COLUMNS, ImageTable, concatenate
from bioprobe.images.regions import REGION
from bioprobe.store import EmbeddingStore, stored_table
from bioprobe.store import shard as shard_module
from bioprobe.store.shard import ShardImages, read_images
from bioprobe.store.stored_table import StoredTable, _Texts
from bioprobe.store.view import View
from bioprobe.upkeep import compact_store

Reads: TypeAlias = list[tuple[str, tuple[str, ...], Sequence[int] | None]]

FINGERPRINT = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")


def _frame(n_rows: int, start: int = 0, **columns: object) -> pd.DataFrame:
    paths = [f"{row:04d}.jpg" for row in range(start, start + n_rows)]
    hashes = [f"{row:064x}" for row in range(start, start + n_rows)]
    return pd.DataFrame({"root": "/r", "path": paths, "sha256": hashes, **columns})


def _make(folder: Path, frames: Sequence[pd.DataFrame]) -> EmbeddingStore:
    store = EmbeddingStore.create(folder, FINGERPRINT, dim=3)
    for frame in frames:
        vectors = normalise_rows(np.random.default_rng(0).normal(size=(len(frame), 3)))
        store = store.append(frame, vectors)
    return EmbeddingStore.open(folder)


def _read_whole(store: EmbeddingStore) -> pd.DataFrame:
    records = store.manifest.present_shards
    frames = [read_images(store.folder / "shards", one) for one in records]
    return ImageTable.build(concatenate(mend_floats(frames))).frame


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """What is read of shards: of which, which columns, and which row groups."""
    found: Reads = []
    read = ShardImages.read

    def note(
        shard: ShardImages,
        names: Sequence[str],
        groups: Sequence[int] | None = None,
        *,
        as_codes: bool = False,
    ) -> pa.Table:
        found.append((shard.record.name, tuple(names), groups))
        return read(shard, names, groups, as_codes=as_codes)

    monkeypatch.setattr(ShardImages, "read", note)
    return found


@pytest.mark.parametrize(
    "columns",
    [
        [{"n": [1, 2], "s": ["a", "b"]}, {"n": [3], "s": ["c"]}],
        [{"n": [1, 2], "s": ["a", "b"]}, {"s": ["c"]}, {"t": ["d"]}],
        [{"n": [1, 2]}, {"n": ["x"], "t": ["y"]}],
        [{"n": [1.5, None]}, {"n": [2]}],
        [{"n": [1.5, None]}, {}],
        [{"n": [None, 3]}, {"n": [2]}],
        [{"b": [True, False]}, {"b": [None]}],
        [{"o": [None, None]}, {"o": ["x"]}],
        [{"o": ["x", None]}, {"o": [None]}],
        [{"family": ["Felidae", ""]}, {"family": ["Canidae"], "n": [1]}],
        [{REGION: ["", "0.1 0.1 0.5 0.5"]}, {}],
    ],
)
def test_columns_and_rows_are_those_of_the_whole_table(
    columns: list[dict[str, list[object]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [
        _frame(len(next(iter(one.values()), [0])), 10 * at, **one) for at, one in enumerate(columns)
    ]
    store = _make(tmp_path, frames)
    whole = _read_whole(store)
    images = EmbeddingStore.open(tmp_path).given
    assert images.columns == list(whole.columns)
    rows = np.array([len(whole) - 1, 0])
    pd.testing.assert_frame_equal(images.take(rows), whole.iloc[rows], check_dtype=False)
    pd.testing.assert_frame_equal(images.frame, whole)
    with monkeypatch.context() as patched:
        # As of many rows, column by column.
        patched.setattr(stored_table, "_FEW_ROWS", 0)
        pd.testing.assert_frame_equal(EmbeddingStore.open(tmp_path).given.frame, whole)
    # What comes later is as if all had been read at once, and what was known is not asked again.
    assert len(store.images.frame) == len(whole)
    assert len(store.images.contents) == len(whole)
    EmbeddingStore.open(tmp_path).append(_frame(1, 90, n=[7]), np.array([[1.0, 0.0, 0.0]]))
    after = EmbeddingStore.open(tmp_path, after=store)
    pd.testing.assert_frame_equal(after.images.frame, _read_whole(after), check_dtype=False)
    free = after.images.free_columns
    assert after.images.frame[free].dtypes.equals(_read_whole(after)[free].dtypes)
    assert after.images.contents.tolist() == [
        *images.contents.tolist(), f"{90:064x}"
    ]  # fmt: skip


def test_what_is_known_of_shards_that_were_replaced_is_not_taken_over(tmp_path: Path) -> None:
    frames = [_frame(2, family=["Felidae", "Canidae"]), _frame(2, 2, family=["Ursidae", ""])]
    before = _make(tmp_path, frames)
    assert before.images.labels("family").tolist() == ["Felidae", "Canidae", "Ursidae", ""]
    before.retire([0])
    compact_store(tmp_path)
    after = EmbeddingStore.open(tmp_path, after=before)
    assert after.images.labels("family").tolist() == ["Canidae", "Ursidae", ""]
    pd.testing.assert_frame_equal(after.images.frame, _read_whole(after))


def test_a_store_is_opened_without_its_table(tmp_path: Path, reads: Reads) -> None:
    folder = _make(tmp_path, [_frame(2), _frame(2, 2)]).folder
    for shard in (folder / "shards").iterdir():
        (shard / "images.parquet").unlink()
    store = EmbeddingStore.open(folder)
    assert len(View.of(store)) == len(store.images) == 4
    assert reads == []
    with pytest.raises(StoreError, match=r"images\.parquet cannot be read.*verify --repair"):
        store.images.labels("family")


def test_few_rows_are_read_by_row_group_until_all_might_have_been(
    tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_module, "GROUP_ROWS", 2)
    frames = [_frame(6, 6 * at, family=["Felidae", "Canidae"] * 3) for at in range(3)]
    images = _make(tmp_path, frames).images
    found = images.take(np.array([15, 4, 5, 15]), ["path", "family"])
    assert found.index.tolist() == [15, 4, 5, 15]
    assert found["path"].tolist() == ["0015.jpg", "0004.jpg", "0005.jpg", "0015.jpg"]
    assert found["family"].tolist() == ["Canidae", "Felidae", "Canidae", "Canidae"]
    assert reads == [("00000", ("path", "family"), [2]), ("00002", ("path", "family"), [1])]
    reads.clear()
    assert images.name_files(np.array([0])).tolist() == ["0000.jpg"]
    assert reads == [("00000", ("path",), [0])]
    reads.clear()
    assert images.name_files(np.array([17])).tolist() == ["0017.jpg"]
    assert [groups for _, _, groups in reads] == [None] * 3
    reads.clear()
    assert images.name_files(np.array([7])).tolist() == ["0007.jpg"]
    assert reads == []


def test_of_no_rows_no_row_group_is_read(tmp_path: Path, reads: Reads) -> None:
    none = np.array([], dtype=np.int64)
    images = _make(tmp_path, [_frame(3), _frame(3, 3)]).images
    found = images.take(none, ["path", "n_bytes"])
    assert images.name_files(none).tolist() == []
    assert [groups for _, _, groups in reads] == [[], []]
    whole = images.select(["path", "n_bytes"])
    assert found.dtypes.tolist() == whole.dtypes.tolist()


def test_labels_are_counted_shard_by_shard(tmp_path: Path, reads: Reads) -> None:
    first = _frame(3, family=["Felidae", "", "felidae"], genus=["Lynx", "Lynx", None])
    frames = [first, _frame(2, 3, family=["Canidae", "Felidae"]), _frame(1, 5, genus=["Felis"])]
    images = _make(tmp_path, frames).images
    rows = np.array([0, 1, 3, 4, 5])
    counts = images.count_labels(["family", "genus", "species"], rows)
    assert {
        level: dict(zip(names.tolist(), n_rows.tolist(), strict=True))
        for level, (n_rows, names) in counts.items()
    } == {
        "family": {"": 2, "Canidae": 1, "Felidae": 2, "felidae": 0},
        "genus": {"": 2, "Felis": 1, "Lynx": 2},
        "species": {"": 5},
    }
    # What a shard is asked of is read at once, and not what its footer says.
    assert [(shard, names) for shard, names, _ in reads] == [
        ("00000", ("family", "genus")), ("00001", ("family",))
    ]  # fmt: skip
    assert isinstance(images, StoredTable)
    assert images.stored.kept == {}
    changed = images.with_columns({"family": pd.Series(["Ursidae"] * 6)})
    assert changed.count_labels(["family"], rows)["family"][0].tolist() == [5]


def test_footers_tell_whether_there_are_regions_and_one_root(tmp_path: Path, reads: Reads) -> None:
    frames = [_frame(2), _frame(2, 2, family=["", "Felidae"], species="")]
    images = _make(tmp_path / "a", frames).images
    assert (images.has_one_root, images.has_regions) == (True, False)
    assert (images.has_label("family"), images.has_label("species")) == (True, False)
    assert reads == []
    several = _frame(2, 2, **{REGION: ["", "0.1 0.1 0.5 0.5"]}).assign(root="/s")
    images = _make(tmp_path / "b", [_frame(2), several]).images
    assert (images.has_one_root, images.has_regions) == (False, True)


def test_a_condition_reads_the_columns_that_it_names(tmp_path: Path, reads: Reads) -> None:
    frames = [_frame(2, family=["Felidae", ""], site=["a", "b"]), _frame(2, 2, site=["a", "c"])]
    store = _make(tmp_path, frames)
    assert View.of(store, "family == 'Felidae' or site == 'c'").rows.tolist() == [0, 3]
    assert {names for _, names, _ in reads} == {("family",), ("site",)}
    with pytest.raises(SelectionError, match=r"no column sit;.*mean site.*columns: .*sha256.*site"):
        View.of(store, "sit == 'a'")


def test_columns_of_few_rows_are_read_together(tmp_path: Path, reads: Reads) -> None:
    images = _make(tmp_path, [_frame(2, site=["a", "b"]), _frame(2, 2)]).images
    names = ["path", "site", "family", "sha256"]
    together = images.select(names)
    assert [(shard, *asked) for shard, asked, _ in reads] == [
        ("00000", "path", "site", "sha256"), ("00001", "path", "sha256"),
    ]  # fmt: skip
    assert together["site"].tolist()[:2] == ["a", "b"]
    assert images.select(names).equals(together)
    assert len(reads) == 2
    with pytest.raises(KeyError, match="gone"):
        images.select(["path", "gone"])


def test_labels_are_numbered_in_the_one_form_of_names(tmp_path: Path) -> None:
    frames = [
        _frame(3, family=["Felidae", "", "Canidae"]), _frame(1, 3), _frame(1, 4, family=["Felidae"])
    ]  # fmt: skip
    images = _make(tmp_path, frames).images
    numbers, distinct = images.number_labels("family")
    assert distinct.tolist() == ["", "Canidae", "Felidae"]
    assert numbers.tolist() == [2, 0, 1, 0, 2]
    assert images.labels("family").tolist() == ["Felidae", "", "Canidae", "", "Felidae"]
    assert images.number_labels("species")[1].tolist() == [""]


def test_a_label_that_all_rows_have_takes_no_memory_of_each(tmp_path: Path) -> None:
    frames = [_frame(2, kingdom="Animalia"), _frame(2, 2, kingdom="Animalia")]
    store = _make(tmp_path, frames)
    numbers, labels = store.images.number_labels("kingdom")
    assert (numbers.tolist(), labels.tolist()) == ([0] * 4, ["Animalia"])
    assert numbers.strides == (0,)
    # It is of each again once another comes.
    EmbeddingStore.open(tmp_path).append(
        _frame(1, 4, kingdom="Plantae"), np.array([[1.0, 0.0, 0.0]])
    )
    after = EmbeddingStore.open(tmp_path, after=store)
    assert after.images.labels("kingdom").tolist() == ["Animalia"] * 4 + ["Plantae"]


def test_a_table_with_other_columns_reads_the_rest_when_it_is_asked_for(
    tmp_path: Path, reads: Reads
) -> None:
    images = _make(tmp_path, [_frame(2, family=["Felidae", ""])]).images
    other = images.with_columns({"family": pd.Series(["Canidae", ""]), "seen": pd.Series([1, 2])})
    assert other.labels("family").tolist() == ["Canidae", ""]
    assert other.number_labels("family")[1].tolist() == ["", "Canidae"]
    assert other.take(np.array([1]), ["seen", "family"]).to_numpy().tolist() == [[2, ""]]
    assert reads == []
    assert other.columns == [*COLUMNS, "seen"]
    assert other.frame["path"].tolist() == ["0000.jpg", "0001.jpg"]
    assert images.labels("family").tolist() == ["Felidae", ""]


@pytest.mark.parametrize("asked", [[5], [7, 0, 3], list(range(12))])
@pytest.mark.parametrize(
    "columns",
    [
        [{"family": ["Felidae", "", None, "Canidae"]}] * 3,
        [{"family": ["Felis", "Fe\u0301lis", "F\u00e9lis", ""]}] * 3,
        [{"family": ["Felidae"] * 4}, {}, {"family": [None] * 4}],
    ],
)
def test_texts_of_rows_are_those_of_the_table(
    columns: list[dict[str, object]],
    asked: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shard_module, "GROUP_ROWS", 2)
    frames = [_frame(4, 4 * number, **one) for number, one in enumerate(columns)]
    store, rows = _make(tmp_path, frames), np.array(asked, dtype=np.int64)
    names = ["path", "root", REGION, "family", "genus", "common_name"]
    whole = _read_whole(store).iloc[asked]
    for _ in range(3):  # in part, until all is read
        found = store.given.read_texts(rows, names)
        for name in names:
            assert found[name].dtype == object
            assert found[name].tolist() == whole[name].tolist(), name
    assert store.given.name_files(rows).tolist() == whole["path"].tolist()


def test_texts_lie_together_as_bytes() -> None:
    short = pa.array(["\u00e9", "", None, "abc", "\u65e5\u672c"])
    long = pa.array(["x", None, "yz"], type=pa.large_string())
    chunks = [short[1:4], long, short[:0], short, pa.array([None], type=pa.string()), long[2:]]
    expected = [text or "" for chunk in chunks for text in chunk.to_pylist()]
    texts = _Texts.of(chunks)
    assert texts.take(np.arange(len(expected))).tolist() == expected
    assert texts.take(np.array([5, 0, 5])).tolist() == [expected[at] for at in (5, 0, 5)]
    assert _Texts.of([]).take(np.zeros(0, dtype=np.int64)).tolist() == []


def test_where_pictures_lie_is_read_as_text_where_none_has_regions(tmp_path: Path) -> None:
    store = _make(tmp_path, [_frame(4), _frame(4, 4)])
    images = store.given
    assert isinstance(images, StoredTable)
    found = images.stored.read_texts(np.array([5, 1]), ["path", REGION])
    assert found is not None
    assert found[REGION].tolist() == ["", ""]
    assert found["path"].tolist() == _read_whole(store)["path"].iloc[[5, 1]].tolist()


def test_lineages_are_numbered_as_they_come(tmp_path: Path) -> None:
    family = ["Felidae", "Canidae", "Felidae", "", "Canidae", "Felidae"]
    genus = ["Felis", "Canis", "Panthera", "", "Canis", "Felis"]
    store = _make(tmp_path, [_frame(6, family=family, genus=genus)])
    numbers, firsts = store.given.number_lineages(["family", "genus"], np.array([5, 1, 2, 0, 4, 3]))
    assert numbers.tolist() == [0, 1, 2, 0, 1, 3]
    assert firsts.tolist() == [0, 1, 2, 5]


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_many_rows_are_read_some_shards_at_a_time_and_not_kept(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: Reads
) -> None:
    monkeypatch.setattr(stored_table, "_FEW_ROWS", 0)
    monkeypatch.setattr(stored_table, "ROWS_AT_ONCE", at_once)
    images = _make(tmp_path, [_frame(2, start) for start in range(0, 10, 2)]).given
    names = ["sha256", REGION, "path"]
    for rows in (np.arange(10), np.array([1, 6, 7])):
        for _ in range(2):
            reads.clear()
            frames = list(images.iter_frames(names, rows))
            # A shard that has none of the rows is read where others are read with it alone.
            n_read = len({name for name, *_ in reads})
            assert n_read == 5 if len(rows) == 10 or at_once == 100 else n_read < 5
            assert max(map(len, frames)) <= max(2, at_once)
            together = pd.concat(frames)
            pd.testing.assert_frame_equal(together, images.take(rows, names), check_dtype=False)
    # Others are taken as ever.
    backwards = np.array([7, 1])
    (frame,) = images.iter_frames(["path"], backwards)
    assert frame["path"].tolist() == ["0007.jpg", "0001.jpg"]
