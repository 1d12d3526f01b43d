"""What cannot be read just now is told from what is absent and from what is damaged."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bioprobe.access import exists, is_absent, is_file, list_files, list_names, reading
from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import ModelUnavailableError, StoreError, UnreadableError
from bioprobe.index import NeighborIndex
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore, TextCache, repair_store, restore_store, verify_store
from bioprobe.store.added_taxa import AddedList
from bioprobe.store.selections import list_selections, read_selection, write_selection
from bioprobe.tables import read_table
from bioprobe.taxonomy.taxon import complete_taxon
from tests.conftest import PlainEncoder

VECTORS, IMAGES = "shards/00001/vectors.npy", "shards/00001/images.parquet"
ERRNOS = [
    errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT,
    errno.ENOTCONN, errno.EHOSTDOWN, errno.ENXIO, errno.ENOMEM, errno.EAGAIN, errno.EBUSY,
    errno.ELOOP,
]  # fmt: skip


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> EmbeddingStore:
    """Three shards of two rows; rows 1, 3 and 4 are retired."""
    return EmbeddingStore.open(shutil.copytree(whole, tmp_path / "store"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write that store, of which each test has a copy."""
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    folder = tmp_path_factory.mktemp("whole") / "store"
    made = EmbeddingStore.create(folder, fingerprint, dim=6)
    for start in (0, 2, 4):
        frame = pd.DataFrame({"root": "/data", "path": [f"{start}.jpg", f"{start + 1}.jpg"]})
        made = made.append(frame, np.eye(6)[start : start + 2])
    made.retire([1, 3, 4])
    return folder


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int, str], None]:
    """Let the system refuse to open a file, or to read what is open, as a share that dropped."""

    def start(path: Path, number: int, when: str) -> None:
        opened: Callable[..., Any] = io.open

        def open_or_refuse(file: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            if isinstance(file, int) or Path(os.fsdecode(file)) != path:
                return opened(file, *args, **kwargs)
            error = OSError(number, os.strerror(number), str(path))
            if when == "open":
                raise error
            stream = opened(file, *args, **kwargs)

            def fail(*_: object) -> None:
                raise error

            for name in ("read", "readinto", "read1", "readline"):
                if hasattr(stream, name):
                    monkeypatch.setattr(stream, name, fail)
            return stream

        monkeypatch.setattr(builtins, "open", open_or_refuse)
        monkeypatch.setattr(io, "open", open_or_refuse)

    return start


def _loop(path: Path) -> None:
    """Put a link to itself in the place of a file or folder: nobody can read it, not even root."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to(path.name)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("when", ["open", "read"])
@pytest.mark.parametrize("file", [VECTORS, IMAGES])
@pytest.mark.parametrize("number", ERRNOS)
def test_what_cannot_be_read_is_never_taken_out(
    store: EmbeddingStore, refuse: Callable[..., None], number: int, file: str, when: str
) -> None:
    before = (store.folder / "manifest.json").read_bytes()
    refuse(store.folder / file, number, when)
    (problem,) = verify_store(EmbeddingStore.open(store.folder))
    repair = repair_store(store.folder)
    fresh = EmbeddingStore.open(store.folder)
    with pytest.raises(UnreadableError) as told:
        _ = fresh.read_vectors() if file == VECTORS else fresh.images.frame
    assert (problem.where, problem.is_damage) == (file, False)
    assert (repair.problems, repair.shards, repair.n_lost) == ((problem,), (), 0)
    assert (store.folder / "manifest.json").read_bytes() == before
    assert not (store.folder / "damaged").exists()
    assert str(store.folder / file) in str(told.value)
    assert os.strerror(number).lower() in str(told.value)
    assert "--repair" not in str(told.value)


@pytest.mark.parametrize("number", ERRNOS)
def test_an_unreadable_manifest_is_no_reason_to_embed_again(
    store: EmbeddingStore, refuse: Callable[..., None], number: int
) -> None:
    refuse(store.folder / "manifest.json", number, "open")
    with pytest.raises(UnreadableError, match=r"manifest\.json cannot be read: ") as told:
        EmbeddingStore.open(store.folder)
    assert "embed" not in str(told.value)


def test_beside_what_cannot_be_read_what_is_damaged_is_taken_out(store: EmbeddingStore) -> None:
    _loop(store.folder / VECTORS)
    _flip(store.folder / "shards/00000/vectors.npy")
    repair = repair_store(store.folder)
    assert repair.shards == ("00000",)
    assert [one.n_images for one in EmbeddingStore.open(store.folder).manifest.shards] == [0, 2, 2]


def test_a_shard_of_which_one_file_cannot_be_read_stays_though_the_other_is_damaged(
    store: EmbeddingStore,
) -> None:
    _loop(store.folder / VECTORS)
    _flip(store.folder / IMAGES)
    assert len(verify_store(store)) == 2
    assert repair_store(store.folder).shards == ()


@pytest.mark.parametrize("away", ["empty", "absent", "link"])
def test_where_all_shards_are_away_none_is_taken_out(
    store: EmbeddingStore, tmp_path: Path, away: str
) -> None:
    before = (store.folder / "manifest.json").read_bytes()
    shards = store.folder / "shards"
    shards.rename(tmp_path / "disk")
    if away == "empty":
        shards.mkdir()
    elif away == "link":
        shards.symlink_to(tmp_path / "unmounted")
    assert repair_store(store.folder).shards == ()
    assert (store.folder / "manifest.json").read_bytes() == before
    with pytest.raises(UnreadableError, match="mount the disk"):
        EmbeddingStore.open(store.folder).read_vectors()


def test_a_store_that_has_gone_is_told_and_no_half_of_one_is_made(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    fresh = EmbeddingStore.open(store.folder)
    store.folder.rename(tmp_path / "elsewhere")
    taxon = complete_taxon("Prunella modularis")
    with pytest.raises(UnreadableError, match=r"there is no store at .* any more"):
        fresh.read_vectors()
    with pytest.raises(UnreadableError, match=r"there is no store at .* any more"):
        _ = fresh.images.frame
    with pytest.raises(StoreError, match="any more"), AddedList.of_store(fresh).lock():
        AddedList.of_store(fresh).add(taxon)
    with pytest.raises(StoreError, match="any more"), fresh.lock():
        pass
    with pytest.raises(StoreError, match="any more"):
        write_selection(store, "mine", np.zeros(0, np.int64), np.zeros(0, bool))
    assert not store.folder.exists()


def test_what_was_taken_out_is_put_back_where_it_is_whole(store: EmbeddingStore) -> None:
    manifest = (store.folder / "manifest.json").read_bytes()
    whole = (store.folder / VECTORS).read_bytes()
    _flip(store.folder / VECTORS)
    repair_store(store.folder)
    left = restore_store(store.folder).left
    assert [(one.where, one.is_damage) for one in left] == [("damaged/00001/vectors.npy", True)]
    assert len(EmbeddingStore.open(store.folder)) == 4

    (store.folder / "damaged/00001/vectors.npy").write_bytes(whole)
    restored = restore_store(store.folder)
    assert (restored.shards, restored.n_images, restored.left) == (("00001",), 1, ())
    assert (store.folder / "manifest.json").read_bytes() == manifest
    back = EmbeddingStore.open(store.folder)
    assert verify_store(back) == []
    np.testing.assert_array_equal(back.read_vectors(), np.eye(6))
    assert restore_store(store.folder).shards == ()


def test_a_copy_where_the_shard_was_is_put_back_though_another_lies_aside(
    store: EmbeddingStore, whole: Path
) -> None:
    manifest = (store.folder / "manifest.json").read_bytes()
    _flip(store.folder / VECTORS)
    repair_store(store.folder)
    shutil.copytree(whole / "shards/00001", store.folder / "shards/00001")
    restored = restore_store(store.folder)
    assert (restored.shards, restored.n_images, restored.left) == (("00001",), 1, ())
    assert (store.folder / "manifest.json").read_bytes() == manifest
    assert verify_store(EmbeddingStore.open(store.folder)) == []
    assert list_names(store.folder / "damaged") == ["00001"]


def test_of_what_was_put_back_that_stays_retired_which_was_embedded_again(
    store: EmbeddingStore,
) -> None:
    whole = (store.folder / VECTORS).read_bytes()
    _flip(store.folder / VECTORS)
    repair_store(store.folder)
    again = pd.DataFrame({"root": "/data", "path": ["2.jpg"]})
    EmbeddingStore.open(store.folder).append(again, np.ones((1, 6)))
    (store.folder / "damaged/00001/vectors.npy").write_bytes(whole)
    restored = restore_store(store.folder)
    assert (restored.shards, restored.n_images, restored.n_replaced) == (("00001",), 0, 1)
    back = EmbeddingStore.open(store.folder)
    assert back.manifest.retired == (1, 2, 3, 4)
    current = back.images.frame["path"].iloc[back.rows]
    assert sorted(current) == ["0.jpg", "2.jpg", "5.jpg"]


def test_a_restoration_that_was_interrupted_is_finished_by_the_next(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (store.folder / VECTORS).read_bytes()
    _flip(store.folder / VECTORS)
    repair_store(store.folder)
    (store.folder / "damaged/00001/vectors.npy").write_bytes(whole)

    def lose_power(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("bioprobe.store.manifest.Manifest.put_back", lose_power)
        with pytest.raises(KeyboardInterrupt):
            restore_store(store.folder)
    assert verify_store(EmbeddingStore.open(store.folder)) == []
    assert restore_store(store.folder).shards == ("00001",)
    assert len(EmbeddingStore.open(store.folder)) == 6


def test_without_checksums_nothing_is_put_back(store: EmbeddingStore) -> None:
    _flip(store.folder / VECTORS)
    repair_store(store.folder)
    manifest = EmbeddingStore.open(store.folder).manifest
    # As an older bioprobe wrote it.
    text = (store.folder / "manifest.json").read_text()
    fields = json.loads(text)
    del fields["taken_out"]
    (store.folder / "manifest.json").write_text(json.dumps(fields))
    (problem,) = restore_store(store.folder).left
    assert "its checksums are not known" in problem.what
    assert EmbeddingStore.open(store.folder).manifest.shards == manifest.shards


@pytest.mark.parametrize("part", ["selections", "selections/deep", "selections/deep/mine.parquet"])
def test_masks_that_may_not_be_listed_or_read_are_not_none(
    store: EmbeddingStore, part: str
) -> None:
    write_selection(store, "deep/mine", np.array([0]), np.array([True]))
    _loop(store.folder / part)
    with pytest.raises(UnreadableError, match=f"{part}.* cannot be read: .*symbolic links"):
        read_selection(store, "deep/mine")
    if not part.endswith(".parquet"):
        with pytest.raises(UnreadableError, match=f"{part} cannot be read"):
            list_selections(store)


def test_without_its_cache_a_text_is_answered(make_store: Callable[..., EmbeddingStore]) -> None:
    encoder = PlainEncoder()
    made = make_store(encoder)
    first = TextCache(made, lambda: encoder).encode_text(["a lion"])
    for part in (next(made.folder.glob("text/*/*.json")), made.folder / "text"):
        _loop(part)
        np.testing.assert_array_equal(
            TextCache(made, lambda: encoder).encode_text(["a lion"]), first
        )

    def load() -> Any:  # noqa: ANN401
        msg = "the model is away"
        raise ModelUnavailableError(msg)

    with pytest.raises(ModelUnavailableError, match=r"is away.*text/\w+ cannot be read: "):
        TextCache(made, load).encode_text(["a lion"])


def test_an_index_that_cannot_be_read_is_left_as_it_is(store: EmbeddingStore) -> None:
    for name in ("index.faiss", "index.json"):
        (store.folder / name).symlink_to(name)
        index = NeighborIndex.open(store)
        assert (index.kind, (store.folder / name).is_symlink()) == ("flat", True)
    assert "index.json cannot be read" in index.unread


def test_no_store_is_made_in_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    with pytest.raises(StoreError, match=r"the name of the folder .*caf\\udce9 is not UTF-8"):
        EmbeddingStore.create(folder, fingerprint, dim=6)
    assert not folder.exists()


def test_absent_is_only_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "away").symlink_to("/nowhere/at/all")
    (tmp_path / "file.csv").write_text("a\n1\n")
    for path in (tmp_path / "none", tmp_path / "file.csv" / "below", tmp_path / ("x" * 300)):
        assert (exists(path), is_file(path), is_absent(path)) == (False, False, True)
        assert list_names(path) == list_files(path, ".csv") == []
    assert not exists(Path("a\0b"))
    for name, why in (("loop", "symbolic links"), ("away", "is a link to /nowhere/at/all")):
        for path in (tmp_path / name, tmp_path / name / "below"):
            for ask in (exists, is_file, list_names):
                with pytest.raises(UnreadableError, match=why):
                    ask(path)
        assert not is_absent(tmp_path / name)
    with pytest.raises(FileNotFoundError), reading(tmp_path / "none"):
        (tmp_path / "none").read_bytes()
    for open_source in (read_table, lambda file: find_images([file])):
        with pytest.raises(ValueError, match="cannot be read: "):
            open_source(tmp_path / "loop" / "table.csv")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
def test_what_fails_at_the_first_byte_is_unreadable(store: EmbeddingStore) -> None:
    (store.folder / VECTORS).unlink()
    (store.folder / VECTORS).symlink_to("/proc/self/mem")
    (problem,) = verify_store(store)
    assert not problem.is_damage
    assert "input/output error" in problem.what
