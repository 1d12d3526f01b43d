from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

from bioprobe.embedding import EmbedSummary, Outcome, embed_images
from bioprobe.embedding import shard_buffer as shard_buffer_module
from bioprobe.errors import MismatchError, StoreLockedError
from bioprobe.images import ImageTable
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder


@dataclasses.dataclass
class Run:
    """Embed listings into one store, as one run of the program after the other."""

    store: EmbeddingStore
    encoder: PlainEncoder

    def embed(self, *sources: Path, rank: Rank | None = None, **options: Any) -> EmbedSummary:  # noqa: ANN401
        listing = find_images(sources, SourceOptions(folder_rank=rank))
        return self.embed_table(listing, **options)

    def embed_table(
        self,
        table: ImageTable,
        *,
        batch_size: int = 16,
        **options: Any,  # noqa: ANN401
    ) -> EmbedSummary:
        self.encoder.batch_sizes.clear()
        self.encoder.batch_size = batch_size
        summary = embed_images(table, self.encoder, self.store, **options)
        self.store = EmbeddingStore.open(self.store.folder)
        assert verify_store(self.store) == []
        return summary

    @property
    def current(self) -> list[str]:
        return [self.store.images.file_names[row] for row in self.store.rows]

    @property
    def failures(self) -> dict[str, str]:
        frame = self.store.read_failures()
        return dict(zip(frame["path"], frame["reason"], strict=True))

    def check_vectors(self) -> None:
        """Compare the vector of every current row with that of its file, encoded alone."""
        encoder = PlainEncoder()
        for row in self.store.rows:
            with Image.open(self.store.images.find_file(int(row))) as image:
                expected = encoder.encode_image([image.convert("RGB")])
            vector = self.store.read_vectors(np.array([row]))
            np.testing.assert_allclose(vector, expected, atol=1e-6)


@pytest.fixture
def run(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> Run:
    return Run(make_store(encoder), encoder)


def _counts(summary: EmbedSummary) -> tuple[int, int, int, int]:
    return (summary.n_embedded, summary.n_reused, summary.n_kept, summary.n_failed)


@pytest.mark.parametrize(
    ("n_images", "batch_sizes"),
    [(0, []), (1, [1]), (2, [2]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (8, [3, 3, 2])],
)
def test_every_image_is_embedded_in_batches(
    run: Run, write_pictures: Callable[..., Path], n_images: int, batch_sizes: list[int]
) -> None:
    table = find_images([write_pictures(max(n_images, 1))])
    table = dataclasses.replace(table, frame=table.frame.iloc[:n_images])
    summary = run.embed_table(table, batch_size=3)
    assert _counts(summary) == (n_images, 0, 0, 0)
    assert run.encoder.batch_sizes == batch_sizes
    assert run.current == [f"{i:03d}.png" for i in range(n_images)]
    run.check_vectors()


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
@pytest.mark.parametrize("n_threads", [1, 4])
def test_vectors_depend_neither_on_batches_nor_on_threads(
    run: Run, write_pictures: Callable[..., Path], batch_size: int, n_threads: int
) -> None:
    run.embed(write_pictures(5), batch_size=batch_size, n_threads=n_threads)
    assert max(run.encoder.batch_sizes) == min(batch_size, 5)
    run.check_vectors()


def test_facts_and_labels_are_stored(run: Run, write_pictures: Callable[..., Path]) -> None:
    folder = write_pictures(1, "panthera-leo")
    run.embed(folder, rank=Rank.SPECIES)
    row = run.store.images.frame.iloc[0]
    assert (row["root"], row["path"]) == (str(folder), "000.png")
    assert (row["width_px"], row["height_px"], row["mode"]) == (20, 30, "RGB")
    assert row["n_bytes"] == (folder / "000.png").stat().st_size
    assert (row["genus"], row["species"]) == ("Panthera", "Panthera leo")


def test_a_second_run_encodes_nothing(run: Run, write_pictures: Callable[..., Path]) -> None:
    folder = write_pictures(4)
    run.embed(folder)
    before = run.store.manifest
    assert _counts(run.embed(folder)) == (0, 0, 4, 0)
    assert run.encoder.batch_sizes == []
    assert run.store.manifest == before


def test_only_what_is_new_is_encoded(run: Run, write_pictures: Callable[..., Path]) -> None:
    run.embed(write_pictures(3))
    assert _counts(run.embed(write_pictures(2, first=3))) == (2, 0, 3, 0)
    assert run.encoder.n_images_seen == 2
    assert run.current == [f"{i:03d}.png" for i in range(5)]
    run.check_vectors()


def test_a_changed_file_is_encoded_and_its_old_row_retired(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(3)
    run.embed(folder)
    Image.new("RGB", (9, 9), "navy").save(folder / "001.png")
    assert _counts(run.embed(folder)) == (1, 0, 2, 0)
    assert run.encoder.n_images_seen == 1
    assert run.store.manifest.retired == (1,)
    assert run.current == ["000.png", "002.png", "001.png"]
    run.check_vectors()
    assert _counts(run.embed(folder)) == (0, 0, 3, 0)


def test_a_file_that_is_as_it_was_before_takes_its_first_vector(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(1)
    original = (folder / "000.png").read_bytes()
    run.embed(folder)
    Image.new("RGB", (9, 9), "navy").save(folder / "000.png")
    run.embed(folder)
    (folder / "000.png").write_bytes(original)
    assert _counts(run.embed(folder)) == (0, 1, 0, 0)
    assert run.store.manifest.retired == (0, 1)
    run.check_vectors()


def test_the_same_bytes_under_two_names_are_encoded_once(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(3)
    shutil.copy(folder / "000.png", folder / "000-copy.png")
    assert _counts(run.embed(folder)) == (3, 1, 0, 0)
    assert run.encoder.n_images_seen == 3
    shutil.copy(folder / "002.png", folder / "later.png")
    assert _counts(run.embed(folder)) == (0, 1, 4, 0)
    assert run.encoder.n_images_seen == 0
    assert run.store.manifest.retired == ()
    run.check_vectors()


def test_a_copy_in_the_next_shard_takes_the_vector_of_the_first(
    run: Run, write_pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_buffer_module, "SHARD_IMAGES", 2)
    folder = write_pictures(3)
    shutil.copy(folder / "000.png", folder / "003.png")
    assert _counts(run.embed(folder)) == (3, 1, 0, 0)
    assert [shard.n_images for shard in run.store.manifest.shards] == [2, 2]
    run.check_vectors()


@pytest.mark.parametrize(
    ("n_images", "shards"), [(3, [3]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (9, [4, 4, 1])]
)
def test_a_shard_is_closed_when_it_is_full(
    run: Run,
    write_pictures: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    n_images: int,
    shards: list[int],
) -> None:
    monkeypatch.setattr(shard_buffer_module, "SHARD_IMAGES", 4)
    run.embed(write_pictures(n_images), batch_size=3)
    assert [shard.n_images for shard in run.store.manifest.shards] == shards


def test_a_shard_is_closed_when_it_is_old(
    run: Run, write_pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_buffer_module, "SHARD_SECONDS_S", -1.0)
    run.embed(write_pictures(3))
    assert [shard.n_images for shard in run.store.manifest.shards] == [1, 1, 1]


def test_new_labels_of_a_known_image_make_a_new_row_without_encoding(
    run: Run, write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_pictures(2)
    run.embed(folder)
    table = tmp_path / "labels.csv"
    table.write_text("path,family,site\npictures/001.png,Felidae,7\n")
    assert _counts(run.embed(table)) == (0, 1, 0, 0)
    assert run.encoder.batch_sizes == []
    assert run.store.manifest.retired == (1,)
    frame = run.store.images.frame.iloc[run.store.rows]
    assert frame["family"].tolist() == ["", "Felidae"]
    assert frame["site"].tolist()[1] == 7
    run.check_vectors()
    # Said again, and not said at all, the labels stay.
    assert _counts(run.embed(table)) == (0, 0, 1, 0)
    assert _counts(run.embed(folder)) == (0, 0, 2, 0)
    table.write_text("path,family\npictures/001.png,Canidae\n")
    assert _counts(run.embed(table)) == (0, 1, 0, 0)
    row = run.store.images.frame.iloc[-1]
    assert (row["family"], row["site"]) == ("Canidae", 7)


def test_a_file_listed_from_another_root_is_the_same_file(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(2)
    (folder / "bad.png").write_bytes(b"")
    run.embed(folder)
    assert _counts(run.embed(folder.parent)) == (0, 0, 2, 1)
    assert len(run.store) == 2
    assert list(run.failures) == ["pictures/bad.png"]


@pytest.mark.parametrize(
    "columns",
    [
        {"site": pd.array([1, None], dtype="Int64")},
        {"seen": [True, None]},
        {"date": pd.array(["2024-05-01", None], dtype="datetime64[us]")},
        {"emb": [np.ones(3), np.zeros(3)]},
        {"where": [{"lat": 1.0}, {"lat": 2.0}]},
        {"site": [1.5, float("nan")]},
        {"kind": pd.Categorical(["a", "b"])},
    ],
    ids=lambda columns: next(iter(columns)),
)
def test_columns_of_every_type_are_kept_and_said_once(
    run: Run, write_pictures: Callable[..., Path], columns: dict[str, Any]
) -> None:
    folder = write_pictures(2)
    table = folder / "table.parquet"
    pd.DataFrame({"path": ["000.png", "001.png"], **columns}).to_parquet(table)
    assert _counts(run.embed(table)) == (2, 0, 0, 0)
    assert _counts(run.embed(table)) == (0, 0, 2, 0)
    assert run.store.images.free_columns == list(columns)


def test_tables_whose_columns_differ_in_type_are_embedded(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(2)
    first, second = folder / "a.csv", folder / "b.csv"
    first.write_text("path,site\n000.png,3\n")
    second.write_text("path,site\n001.png,south\n")
    assert _counts(run.embed(first, second)) == (2, 0, 0, 0)
    assert _counts(run.embed(first, second)) == (0, 0, 2, 0)
    assert run.store.images.frame["site"].tolist() == ["3", "south"]


def _write_bad(folder: Path) -> dict[str, str]:
    """Write every kind of bad file, and return the reason that each must be given."""
    whole = (folder / "000.png").read_bytes()
    (folder / "a-empty.jpg").write_bytes(b"")
    (folder / "b-text.jpg").write_text("no picture")
    (folder / "c-cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "d-gone.jpg").symlink_to(folder / "nowhere.jpg")
    return {
        "a-empty.jpg": "the file is empty",
        "b-text.jpg": "not an image of a known kind",
        "c-cut.png": "damaged (no end marker): ",
        "d-gone.jpg": "no such file or directory",
    }


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_bad_images_are_listed_and_stop_nothing(
    run: Run, write_pictures: Callable[..., Path], batch_size: int
) -> None:
    folder = write_pictures(3)
    expected = _write_bad(folder)
    summary = run.embed(folder, batch_size=batch_size)
    assert _counts(summary) == (3, 0, 0, 4)
    assert summary.n_images == 7
    assert run.failures.keys() == expected.keys()
    for name, reason in expected.items():
        assert run.failures[name].startswith(reason)
    assert set(run.store.read_failures()["root"]) == {str(folder)}
    run.check_vectors()
    assert _counts(run.embed(folder)) == (0, 0, 3, 4)
    assert len(run.failures) == 4


def test_a_failure_is_cleared_when_its_file_is_mended(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(1)
    _write_bad(folder)
    run.embed(folder)
    for name in ("a-empty.jpg", "b-text.jpg"):
        Image.new("RGB", (9, 9), "navy").save(folder / name)
    assert _counts(run.embed(folder)) == (1, 1, 1, 2)
    assert list(run.failures) == ["c-cut.png", "d-gone.jpg"]
    # What is not listed this time stays as it is.
    run.embed(folder / "000.png")
    assert list(run.failures) == ["c-cut.png", "d-gone.jpg"]
    for name in ("c-cut.png", "d-gone.jpg"):
        (folder / name).unlink()
        Image.new("RGB", (9, 9), "navy").save(folder / name)
    run.embed(folder)
    assert run.failures == {}


def test_an_image_that_went_bad_keeps_its_row_and_is_listed(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(1)
    run.embed(folder)
    (folder / "000.png").write_bytes(b"")
    assert _counts(run.embed(folder)) == (0, 0, 0, 1)
    assert run.current == ["000.png"]
    assert run.failures == {"000.png": "the file is empty"}


def test_where_all_fail_the_store_stays_empty(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    assert _counts(run.embed(tmp_path / "photos")) == (0, 0, 0, 1)
    assert len(run.store) == 0


@pytest.mark.parametrize("bad", [0.0, float("nan")])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_an_image_that_the_encoder_has_no_vector_for_is_listed_and_stops_nothing(
    run: Run,
    write_pictures: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    bad: float,
    batch_size: int,
) -> None:
    folder = write_pictures(3)
    run.embed(folder / "001.png")
    for name in ("001.png", "black.png", "black-too.png"):
        Image.new("RGB", (9, 9)).save(folder / name)
    whole = run.encoder.encode_pixels

    def give_up_on_black(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        vectors = whole(pixels)
        vectors[(pixels < 0.11).all(axis=(1, 2, 3))] = bad
        return vectors

    with monkeypatch.context() as patched:
        patched.setattr(run.encoder, "encode_pixels", give_up_on_black)
        for expected in ((2, 0, 0, 3), (0, 0, 2, 3)):
            assert _counts(run.embed(folder, batch_size=batch_size)) == expected
    reason = "the encoder gave a vector of zeros, or of numbers that are not finite"
    names = {"001.png", "black.png", "black-too.png"}
    assert run.failures == dict.fromkeys(names, reason)
    # The row of the file as it was is not retired.
    assert sorted(run.current) == ["000.png", "001.png", "002.png"]
    assert _counts(run.embed(folder)) == (1, 2, 2, 0)
    assert run.failures == {}
    run.check_vectors()


def test_a_picture_with_damaged_exif_is_embedded_without_a_word(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(1)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03"
    Image.new("RGB", (8, 8)).save(folder / "odd.jpg", exif=exif)
    filters = list(warnings.filters)
    assert _counts(run.embed(folder)) == (2, 0, 0, 0)
    assert list(warnings.filters) == filters


def test_the_outcome_of_each_image_is_told_in_order(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(2)
    run.embed(folder / "000.png")
    shutil.copy(folder / "001.png", folder / "002.png")
    (folder / "003.png").write_bytes(b"")
    told: list[Outcome] = []
    run.embed(folder, advance=told.append)
    assert told == [Outcome.KEPT, Outcome.EMBEDDED, Outcome.REUSED, Outcome.FAILED]


def test_an_interrupted_run_keeps_what_was_read(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    folder = write_pictures(7)
    (folder / "000-bad.png").write_bytes(b"")
    told: list[Outcome] = []

    def interrupt(outcome: Outcome) -> None:
        told.append(outcome)
        if len(told) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.embed(folder, batch_size=3, advance=interrupt)
    run.store = EmbeddingStore.open(run.store.folder)
    assert run.current == ["000.png", "001.png", "002.png", "003.png"]
    assert run.failures == {"000-bad.png": "the file is empty"}
    assert verify_store(run.store) == []
    assert _counts(run.embed(folder)) == (3, 0, 4, 1)
    assert run.encoder.n_images_seen == 3
    run.check_vectors()


def test_when_the_encoder_fails_the_closed_shards_stay(
    run: Run, write_pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_buffer_module, "SHARD_IMAGES", 2)
    folder = write_pictures(6)
    whole = run.encoder.encode_pixels

    def run_out_of_memory(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if run.encoder.n_images_seen >= 4:
            raise MemoryError
        return whole(pixels)

    with monkeypatch.context() as patched:
        patched.setattr(run.encoder, "encode_pixels", run_out_of_memory)
        with pytest.raises(MemoryError):
            run.embed(folder, batch_size=2)
    run.store = EmbeddingStore.open(run.store.folder)
    assert run.current == ["000.png", "001.png", "002.png", "003.png"]
    assert _counts(run.embed(folder)) == (2, 0, 4, 0)
    run.check_vectors()


def test_another_encoder_is_refused_before_anything_is_read(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    told: list[Outcome] = []
    other = PlainEncoder(2)
    with pytest.raises(MismatchError, match=r"holds vectors of plain-1 .*, got plain-2 "):
        embed_images(find_images([write_pictures(1)]), other, run.store, advance=told.append)
    assert told == []
    assert other.batch_sizes == []


def test_the_store_is_locked_while_a_run_writes(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    refused = []

    def write_too(_: Outcome) -> None:
        with pytest.raises(StoreLockedError), run.store.lock():
            pass
        refused.append(True)

    run.embed(write_pictures(1), advance=write_too)
    assert refused == [True]
    with run.store.lock():
        pass


def test_a_store_that_was_opened_earlier_is_not_overwritten(
    run: Run, write_pictures: Callable[..., Path]
) -> None:
    stale = run.store
    run.embed(write_pictures(2))
    run.store = stale
    run.embed(write_pictures(3))
    assert run.current == ["000.png", "001.png", "002.png"]
    run.check_vectors()


def test_half_precision_is_kept_through_new_rows(
    make_store: Callable[..., EmbeddingStore],
    encoder: PlainEncoder,
    write_pictures: Callable[..., Path],
) -> None:
    run = Run(make_store(encoder, "half", dtype="float16"), encoder)
    folder = write_pictures(2)
    run.embed(folder)
    before = run.store.read_vectors()
    shutil.copy(folder / "000.png", folder / "copy.png")
    run.embed(folder)
    np.testing.assert_array_equal(run.store.read_vectors(), before[[0, 1, 0]])


def _spread(sizes: Sequence[int]) -> int:
    return max(sizes) - min(sizes)


def test_copies_do_not_make_batches_smaller(run: Run, write_pictures: Callable[..., Path]) -> None:
    folder = write_pictures(4)
    for number in range(4):
        shutil.copy(folder / f"{number:03d}.png", folder / f"{number:03d}-copy.png")
    run.embed(folder, batch_size=2)
    assert _spread(run.encoder.batch_sizes) == 0
    assert run.encoder.batch_sizes == [2, 2]
