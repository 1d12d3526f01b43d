from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import StoreError
from bioprobe.files import replacing, write_card
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.store.added_taxa import AddedList
from bioprobe.taxonomy import Taxon

FINGERPRINT = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
FRAME = pd.DataFrame({"path": ["a", "b"]})


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore.create(tmp_path / "store", FINGERPRINT, dim=3)


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_writer_clears_away_what_killed_ones_left(store: EmbeddingStore) -> None:
    store = store.append(FRAME, np.eye(2, 3))
    (store.folder / "failures.parquet").touch()
    with store.lock():
        before = _names(store.folder)
    for name in ("shards/.00001.tmp", "shards/00001"):
        (store.folder / name).mkdir()
        (store.folder / name / "vectors.npy").write_bytes(b"half")
    litter = (
        ".manifest.json.abcd1234.tmp", ".index.json.abcd1234.tmp", "index-0123456789abcdef.faiss",
        "probes/mine/probe-0123456789abcdef.safetensors", "probes/.gone.abcd1234.tmp/probe.json",
        "probes/yours/.probe.json.abcd1234.tmp", "evaluations/new-0123456789abcdef.parquet",
        "evaluations/.new.json.abcd1234.tmp", "selections/filters/.animal.parquet.abcd1234.tmp",
        "text/ab/.cd.json.abcd1234.tmp", "text/heads/.new.tmp/vectors.npy",
        "text/heads/.new.abcd1234.tmp/vectors.npy", ".import-abcd/store/manifest.json",
    )  # fmt: skip
    for name in litter:
        (store.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (store.folder / name).write_bytes(b"{}")
    with store.lock():
        for name in ("selections/filters", "text/heads", "text/ab"):
            (store.folder / name).rmdir()
        for name in ("probes", "evaluations", "selections", "text"):
            (store.folder / name).rmdir()
        assert _names(store.folder) == before


def test_what_is_kept_is_put_on_disk_before_it_is_named(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    named: dict[str, set[int]] = {}
    rename = os.rename

    def replace(source: Path | str, target: Path | str) -> None:
        named[Path(target).name] = set(synced)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    monkeypatch.setattr(os, "rename", replace)
    monkeypatch.setattr(os, "replace", replace)
    store = store.append(FRAME, np.eye(2, 3))
    shard = store.folder / "shards" / "00000"
    files = {path.stat().st_ino for path in (shard, *shard.iterdir())}
    assert len(files) > 2
    assert files <= named["00000"]
    manifest = (store.folder / "manifest.json").stat().st_ino
    assert files | {manifest, shard.parent.stat().st_ino} <= named["manifest.json"]
    assert synced[-1] == store.folder.stat().st_ino


def test_a_writer_leaves_what_others_are_at_work_on(store: EmbeddingStore) -> None:
    card = store.folder / "probes" / "mine" / "probe.json"

    def describe(digests: Sequence[str]) -> str:
        # The data have their name already, the card not yet.
        with store.lock():
            pass
        return json.dumps(digests)

    with replacing(store.folder / "text" / "ab" / "cd.json") as young:
        write_card(card, [(".safetensors", lambda file: file.write_bytes(b"data"))], describe)
        young.write_text("[]")
    assert sorted(file.suffix for file in card.parent.iterdir()) == [".json", ".safetensors"]
    assert (store.folder / "text" / "ab" / "cd.json").is_file()


def test_shards_of_an_import_that_was_killed_are_cleared_away(store: EmbeddingStore) -> None:
    store = store.append(FRAME, np.eye(2, 3))
    with store.lock():
        before = _names(store.folder)
    draft = EmbeddingStore.create(store.folder / ".import-ab" / "store", FINGERPRINT, dim=3)
    for _ in range(3):
        draft = draft.append(FRAME, np.eye(2, 3))
    for name, new in (("00000", "00001"), ("00001", "00002")):
        (draft.folder / "shards" / name).rename(store.folder / "shards" / new)
    with store.lock():
        assert _names(store.folder) == before


def test_shards_that_an_older_manifest_does_not_know_are_kept(store: EmbeddingStore) -> None:
    manifest = (store.folder / "manifest.json").read_bytes()
    grown = store
    for _ in range(3):
        grown = grown.append(FRAME, np.eye(2, 3))
    (store.folder / "manifest.json").write_bytes(manifest)
    with store.lock():
        pass
    assert {"00001", "00002"} <= {path.name for path in (store.folder / "shards").iterdir()}


def test_a_damaged_manifest_is_no_reason_to_remove_anything(store: EmbeddingStore) -> None:
    store.append(FRAME, np.eye(2, 3))
    (store.folder / "manifest.json").write_text("{")
    before = _names(store.folder)
    with store.lock():
        pass
    assert set(before) <= set(_names(store.folder))


def test_a_file_in_the_way_is_told_and_the_store_stays_whole(store: EmbeddingStore) -> None:
    (store.folder / "shards").touch()
    expected = r"store/shards/00000 cannot be written: file exists; .* mend that, then run the same"
    with pytest.raises(StoreError, match=expected):
        store.append(FRAME, np.eye(2, 3))
    assert verify_store(EmbeddingStore.open(store.folder)) == []
    (store.folder / "shards").unlink()
    assert len(store.append(FRAME, np.eye(2, 3))) == 2


def test_a_store_is_not_made_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file/store cannot be written: not a directory; "):
        EmbeddingStore.create(tmp_path / "file" / "store", FINGERPRINT, dim=3)


@contextlib.contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only, by its mode or, for root, by a mount."""
    if os.geteuid():
        paths = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for path in paths:
            path.chmod(0o500)
        try:
            yield
        finally:
            for path in paths:
                path.chmod(0o700)
        return
    command = ["mount", "--bind", "-o", "ro", str(folder), str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("root may write everywhere and mount nothing here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_store_can_be_read_and_says_why_it_is_not_written(
    store: EmbeddingStore,
) -> None:
    store = store.append(FRAME, np.eye(2, 3))
    failures = store.read_failures()
    with _read_only(store.folder):
        assert verify_store(EmbeddingStore.open(store.folder)) == []
        remedy = r"cannot be written: (read-only file system|permission denied); get the right to"
        with pytest.raises(StoreError, match=remedy), store.lock():
            pass
        with pytest.raises(StoreError, match=f"shards/00001 {remedy}"):
            store.append(FRAME, np.eye(2, 3))
        with pytest.raises(StoreError, match=rf"manifest\.json {remedy}"):
            store.retire([0])
        with pytest.raises(StoreError, match=rf"failures\.parquet {remedy}"):
            store.write_failures(failures)
        with pytest.raises(StoreError, match=rf"taxa\.csv {remedy}"):
            AddedList.of_store(store).add(Taxon.from_names({"genus": "Lynx"}))
        with pytest.raises(StoreError, match=remedy):
            EmbeddingStore.create(store.folder / "inner", FINGERPRINT, dim=3)
    assert len(store.append(FRAME, np.eye(2, 3))) == 4


@pytest.mark.parametrize("kind", [NotImplementedError, OSError])
def test_a_disk_without_locks_is_told(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    import filelock

    def refuse(*_: object) -> None:
        raise kind

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(StoreError, match="store cannot"), store.lock():
        pass
