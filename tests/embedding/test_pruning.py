from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import pytest

from bioprobe.embedding import EmbedSummary, Outcome, embed_images
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore, verify_store

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder


@dataclasses.dataclass
class Run:
    """Embed sources into one store, and prune."""

    store: EmbeddingStore
    encoder: PlainEncoder

    def embed(self, *sources: Path, prune: bool = True) -> EmbedSummary:
        summary = embed_images(find_images(sources), self.encoder, self.store, prune=prune)
        self.store = EmbeddingStore.open(self.store.folder)
        assert verify_store(self.store) == []
        return summary

    @property
    def current(self) -> list[str]:
        files = [self.store.images.find_file(int(row)) for row in self.store.rows]
        return sorted(str(Path(file.parent.name, file.name)) for file in files)


@pytest.fixture
def run(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> Run:
    return Run(make_store(encoder), encoder)


def test_rows_of_files_that_are_gone_are_retired_and_nothing_is_deleted(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(4)
    run.embed(folder)
    before = run.store.manifest
    for name in ("001.png", "002.png"):
        (folder / name).unlink()
    summary = run.embed(folder)
    assert (summary.n_pruned, summary.n_out_of_reach, summary.n_kept) == (2, 0, 2)
    assert run.current == ["pictures/000.png", "pictures/003.png"]
    assert run.store.manifest == dataclasses.replace(before, retired=(1, 2))
    assert run.embed(folder).n_pruned == 0


def test_where_it_is_not_asked_for_nothing_is_retired(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(2)
    run.embed(folder, prune=False)
    (folder / "001.png").unlink()
    assert run.embed(folder, prune=False).n_pruned == 0
    assert run.store.manifest.retired == ()


def test_a_file_that_is_back_takes_its_vector_and_a_new_one_is_embedded(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(3)
    run.embed(folder)
    kept = (folder / "001.png").read_bytes()
    for name in ("001.png", "002.png"):
        (folder / name).unlink()
    run.embed(folder)
    (folder / "001.png").write_bytes(kept)
    shutil.copy(folder / "000.png", folder / "002.png")
    with (folder / "002.png").open("ab") as stream:
        stream.write(b"other")
    summary = run.embed(folder)
    assert (summary.n_reused, summary.n_embedded, summary.n_pruned) == (1, 1, 0)
    assert run.current == [f"pictures/{number:03d}.png" for number in range(3)]


def test_other_roots_are_not_touched(run: Run, write_pictures: Callable[..., Path]) -> None:
    first, second = write_pictures(2, "a"), write_pictures(2, "ab", first=2)
    run.embed(first, second)
    (first / "001.png").unlink()
    (second / "003.png").unlink()
    assert run.embed(first).n_pruned == 1
    assert run.current == ["a/000.png", "ab/002.png", "ab/003.png"]
    assert run.embed(first, second).n_pruned == 1
    assert run.current == ["a/000.png", "ab/002.png"]


def test_from_the_folder_above_a_root_is_pruned_while_it_is_there(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    first, second = write_pictures(2, "a"), write_pictures(2, "b", first=2)
    run.embed(first, second)
    (first / "001.png").unlink()
    second.rename(second.parent.parent / "b-is-away")
    summary = run.embed(first.parent)
    assert (summary.n_pruned, summary.n_out_of_reach) == (1, 2)
    assert run.current == ["a/000.png", "b/002.png", "b/003.png"]
    (second.parent.parent / "b-is-away").rename(second)


def test_below_a_place_to_mount_that_is_empty_nothing_is_pruned(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(1)
    shutil.copytree(folder, folder / "disk" / "2024")
    (folder / "disk" / "2024" / "000.png").rename(folder / "disk" / "2024" / "001.png")
    run.embed(folder)
    shutil.rmtree(folder / "disk")
    (folder / "disk").mkdir()
    summary = run.embed(folder)
    assert (summary.n_pruned, summary.n_out_of_reach) == (0, 1)
    # Without the empty folder it is plain that somebody removed it.
    (folder / "disk").rmdir()
    summary = run.embed(folder)
    assert (summary.n_pruned, summary.n_out_of_reach) == (1, 0)


def test_files_that_a_table_names_are_pruned_when_they_are_gone(
    run: Run, write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_pictures(3)
    table = folder / "table.csv"
    table.write_text("path\n000.png\n001.png\n")
    run.embed(folder)
    (folder / "001.png").unlink()
    summary = run.embed(table)
    assert (summary.n_pruned, summary.n_failed) == (1, 1)
    # A row that is in no listing stays while its file does.
    assert run.current == ["pictures/000.png", "pictures/002.png"]
    table.rename(tmp_path / "table.csv")
    folder.rename(tmp_path / "away")
    assert run.embed(tmp_path / "table.csv").n_pruned == 0


def test_a_file_that_went_bad_is_not_gone(run: Run, write_pictures: Callable[..., Path]) -> None:
    folder = write_pictures(2)
    run.embed(folder)
    (folder / "001.png").write_bytes(b"")
    (folder / "000.png").unlink()
    (folder / "000.png").symlink_to("/nowhere/000.png")
    assert run.embed(folder).n_pruned == 0
    assert len(run.current) == 2


def test_a_run_that_was_interrupted_prunes_nothing(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(3)
    run.embed(folder)
    (folder / "002.png").unlink()

    def interrupt(_: Outcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_images(find_images([folder]), run.encoder, run.store, advance=interrupt, prune=True)
    assert EmbeddingStore.open(run.store.folder).manifest.retired == ()


def test_rows_that_are_gone_from_a_data_set_are_retired(
    run: Run, write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    files = [str(file) for file in sorted(write_pictures(4).iterdir())]

    def save(name: str, *chosen: int) -> Path:
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        rows = datasets.Dataset.from_dict({"image": [files[number] for number in chosen]})
        rows.cast_column("image", datasets.Image()).save_to_disk(str(tmp_path / name))
        return tmp_path / name

    saved, other = save("saved", 0, 1, 2), save("other", 3)
    run.embed(saved, other)
    assert len(run.current) == 4
    save("other", 0)
    summary = run.embed(save("saved", 0, 2), prune=False)
    assert (summary.n_kept, summary.n_pruned, len(run.current)) == (2, 0, 4)
    summary = run.embed(saved)
    assert (summary.n_kept, summary.n_pruned, summary.n_out_of_reach) == (2, 1, 0)
    # The other data set was not listed: its row stays, although it is gone from there.
    assert len(run.current) == 3
    summary = run.embed(saved, other)
    assert (summary.n_reused, summary.n_pruned, len(run.current)) == (1, 1, 3)
