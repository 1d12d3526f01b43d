"""Of an import in several parts none is missing, doubled or renamed without an error."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.errors import SourceError
from bioprobe.interchange import clip_retrieval, import_vectors
from bioprobe.store import EmbeddingStore

MODEL = "hf-hub:x/y"
N_ROWS = 12


def _write_clip(folder: Path, *, says: bool = True) -> None:
    vectors = np.random.default_rng(0).normal(size=(N_ROWS, 8)).astype(np.float32)
    frame = pd.DataFrame({"image_path": [f"{n}.jpg" for n in range(N_ROWS)], "n": range(N_ROWS)})
    store = bp.from_vectors(vectors, frame.rename(columns={"image_path": "path"}), model=MODEL)
    store.export(folder, layout="clip-retrieval")
    if not says:
        for file in (folder / "metadata").iterdir():
            pd.read_parquet(file).to_parquet(file)


def _write_parquet(folder: Path, name: str = "part-{}.parquet") -> None:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        rows = range(4 * number, 4 * number + 4)
        frame = pd.DataFrame(
            {"uuid": [str(row) for row in rows],
             "emb": [random.normal(size=8).astype(np.float32) for _ in rows]}
        )  # fmt: skip
        frame.to_parquet(folder / name.format(number))


def _count(source: Path, folder: Path) -> int:
    import_vectors(source, folder, model=MODEL)
    return len(EmbeddingStore.open(folder))


def _delete(file: Path) -> None:
    file.unlink()


def _halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _double(file: Path) -> None:
    shutil.copy(file, file.with_name(f"{file.stem} (1){file.suffix}"))


def _rename(file: Path) -> None:
    file.rename(file.with_name(f"old_{file.name}"))


def _count_on(file: Path) -> None:
    file.rename(file.with_name(file.name.replace(file.stem[-1], "7")))


@pytest.mark.parametrize("change", [_delete, _halve, _double, _rename, _count_on])
@pytest.mark.parametrize("says", [True, False])
def test_each_part_of_a_clip_retrieval_folder_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], says: bool
) -> None:
    monkeypatch.setattr(clip_retrieval, "PART_ROWS", 4)
    _write_clip(tmp_path / "whole", says=says)
    assert _count(tmp_path / "whole", tmp_path / "store") == N_ROWS
    files = [file.relative_to(tmp_path / "whole") for file in (tmp_path / "whole").rglob("*_*.*")]
    assert len(files) == 6
    for number, file in enumerate(files):
        shutil.copytree(tmp_path / "whole", tmp_path / str(number))
        change(tmp_path / str(number) / file)
        with pytest.raises(SourceError):
            _count(tmp_path / str(number), tmp_path / f"store-{number}")
        assert not (tmp_path / f"store-{number}").exists()


def test_a_whole_pair_of_what_bioprobe_exported_is_missed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_retrieval, "PART_ROWS", 4)
    _write_clip(tmp_path / "whole")
    for name in ("img_emb/img_emb_2.npy", "metadata/metadata_2.parquet"):
        (tmp_path / "whole" / name).unlink()
    with pytest.raises(SourceError, match="exported with 12 rows and has 8: parts are missing"):
        _count(tmp_path / "whole", tmp_path / "store")


@pytest.mark.parametrize("name", ["part-{}.parquet", "train-0000{}-of-00003.parquet"])
@pytest.mark.parametrize("change", [_delete, _halve, _double, _count_on])
def test_each_part_of_a_folder_of_parquet_files_counts(
    tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    _write_parquet(tmp_path / "whole", name)
    assert _count(tmp_path / "whole", tmp_path / "store") == N_ROWS
    # Of parts that say no total, nobody knows whether there was one before the first or after
    # the last.
    tried = range(3) if "of" in name or change in {_halve, _double} else [1]
    for number in tried:
        file = name.format(number)
        shutil.copytree(tmp_path / "whole", tmp_path / str(number))
        before = tmp_path / str(number) / file
        if change is _count_on:
            before.rename(before.with_name(name.format(9)))
        else:
            change(before)
        with pytest.raises(SourceError):
            _count(tmp_path / str(number), tmp_path / f"store-{number}")


def test_files_that_are_numbered_otherwise_may_have_gaps(tmp_path: Path) -> None:
    _write_parquet(tmp_path / "dates", "2024-05-{}.parquet")
    (tmp_path / "dates" / "2024-05-1.parquet").unlink()
    assert _count(tmp_path / "dates", tmp_path / "store") == 8


def test_the_table_of_an_exported_matrix_is_missed(tmp_path: Path) -> None:
    store = bp.from_vectors(np.eye(4), {"path": list("abcd")}, model=MODEL)
    store.export(tmp_path / "v.npy", layout="npy")
    (tmp_path / "v.csv").unlink()
    with pytest.raises(SourceError, match=r"v.csv is missing, which .*v.npy was exported with"):
        _count(tmp_path / "v.npy", tmp_path / "store")


def test_vectors_that_are_none_of_an_encoder_are_warned_of() -> None:
    random = np.random.default_rng(0)
    plain = random.normal(size=(20, 16))

    def warn(vectors: np.ndarray) -> str:
        notes = bp.from_vectors(vectors, model=MODEL).notes
        return " ".join(str(note) for note in notes if note.kind == "warning")

    assert warn(plain) == ""
    assert "are whole" in warn(np.rint(10 * plain))
    alike = plain + 50
    unit = alike / np.linalg.norm(alike, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[~np.eye(20, dtype=bool)]
    assert f"mean cosine {cosines.mean():.3f}" in warn(alike)


@pytest.mark.shared
def test_the_folder_that_lacks_a_part_is_refused(shared_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"img_emb_1.npy is missing"):
        _count(shared_dir / "data" / "bug-cases" / "missing-part" / "clip", tmp_path / "store")
