"""Shares of one run, each by a process of its own, and killed: merged they are that run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
import bioprobe.embedding
from bioprobe.cli.app import run
from bioprobe.embedding import shard_buffer
from bioprobe.errors import MisuseError, SourceError, StoreError
from bioprobe.progress import Step
from bioprobe.sources.shares import Order, Share, split
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore, verify_store
from bioprobe.store.look_cache import LOOKS, MEASURES, LookCache
from bioprobe.store.share_card import ShareCard
from tests.embedding.processes import ExactEncoder, wait_for_no_disk

N_SHARES, SHARD_IMAGES = 4, 3


def _embed(sources: Path, store: Path, shard: str | None, dies_at: int, is_real: bool) -> None:
    def die(step: Step) -> None:
        if step.done == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shard_buffer, "SHARD_IMAGES", SHARD_IMAGES)
        if not is_real:
            patched.setattr(bioprobe.embedding, "load_encoder_for", lambda *_, **__: ExactEncoder())
        bp.embed(sources, store=store, model="sketch", threads=1, batch_size=4,
                 folder_rank="genus", shard=shard, progress=die)  # fmt: skip


def _embed_alone(*arguments: Any) -> None:  # noqa: ANN401
    wait_for_no_disk()
    _embed(*arguments)


def _write_photos(folder: Path, n: int) -> Path:
    random = np.random.default_rng(5)
    for number in range(n):
        place = folder / ("Panthera", "Lynx", "Puma")[number % 3] / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    # The same bytes in another share, and what is no picture.
    shutil.copyfile(folder / "Lynx" / "01.png", folder / "Puma" / "copy.png")
    # In several shares, each of which lists its own.
    for number in range(6):
        (folder / "Puma" / f"torn {number}.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_photos(tmp_path_factory.mktemp("sources") / "photos", 40)


def _embed_shares(
    processes: ForkServerContext, photos: Path, n: int, dies_at: dict[int, int], *, is_real: bool
) -> list[Path]:
    """Embed all shares, after some of the processes were killed midway and ran again."""
    folder = photos.parent / "all"
    listing = find_images([photos])
    waiting = [Share(number, n) for number in range(1, n + 1)]
    while waiting:
        # Two at one time, as this machine may have two processors.
        pair, waiting = waiting[:2], waiting[2:]
        started = [
            processes.Process(
                target=_embed_alone,
                args=(photos, folder, str(one), dies_at.pop(one.number, 0), is_real),
            )
            for one in pair
        ]
        for process in started:
            process.start()
        for one, process in zip(pair, started, strict=True):
            process.join()
            if process.exitcode != -signal.SIGKILL:
                assert process.exitcode == 0
                continue
            half = EmbeddingStore.open(one.name_store(folder))
            card = ShareCard.read(half.folder)
            assert 0 < len(half) < len(one.cut(listing))
            assert card is not None
            assert not card.is_finished
            waiting.append(one)
    assert not dies_at
    return [Share(number, n).name_store(folder) for number in range(1, n + 1)]


@pytest.fixture(scope="module")
def shares(photos: Path, processes: ForkServerContext) -> list[Path]:
    return _embed_shares(processes, photos, N_SHARES, {2: 5}, is_real=False)


def test_shares_that_were_killed_and_went_on_are_merged_to_one_run(
    photos: Path, shares: list[Path]
) -> None:
    _check_merged(photos, shares, is_real=False)


@pytest.mark.long
def test_shares_of_a_real_model_are_merged_to_one_run(
    processes: ForkServerContext, tmp_path: Path
) -> None:
    photos = _write_photos(tmp_path / "photos", 80)
    shares = _embed_shares(processes, photos, 8, {2: 5, 7: 7}, is_real=True)
    _check_merged(photos, shares, is_real=True)


def _check_merged(photos: Path, shares: list[Path], *, is_real: bool) -> None:
    """Compare what shares are merged to with one run without any."""
    _embed(photos, photos.parent / "once", None, 0, is_real)
    once = EmbeddingStore.open(photos.parent / "once")
    folder = photos.parent / "merged"
    # In the order in which a shell may name them.
    named = sorted(map(str, shares), reverse=True)
    assert run(["store", "merge", *named, "--store", str(folder), "--quiet"]) == 0
    merged = EmbeddingStore.open(folder)
    assert list(verify_store(merged)) == []
    pd.testing.assert_frame_equal(merged.images.frame, once.images.frame)
    pd.testing.assert_frame_equal(merged.read_failures(), once.read_failures())
    # Other batches are other sums: the last bit may differ.
    np.testing.assert_allclose(merged.read_vectors(), once.read_vectors(), atol=3e-7)
    names = merged.images.file_names
    one, other = (names.index(name) for name in ("Lynx/01.png", "Puma/copy.png"))
    vectors = merged.read_vectors(np.array([one, other]))
    assert np.array_equal(*vectors)
    contents = once.images.contents
    for kind in (LOOKS, MEASURES):
        values, known = LookCache(merged.folder, kind).read(contents)
        assert known.all()
        assert values.tobytes() == LookCache(once.folder, kind).read(contents)[0].tobytes()


def test_what_is_missing_is_said_and_refused(
    shares: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = [Path(shutil.copytree(one, tmp_path / one.name)) for one in shares[:3]]
    unfinished = ShareCard.read(copies[1])
    assert unfinished is not None
    dataclasses.replace(unfinished, is_finished=False).begin(copies[1])
    other = ShareCard.read(copies[2])
    assert other is not None
    dataclasses.replace(other, listing="of other sources")._write(copies[2])
    target = tmp_path / "merged"
    command = ["store", "merge", *map(str, copies), "--store", str(target)]
    assert run(command) == 1
    said = capsys.readouterr().err
    for part in (
        "4/4 is missing",
        "2/4",
        "is unfinished",
        "3/4",
        "other sources",
    ):
        assert part in said
    assert "1/4" not in said
    assert f"({other.n_files} pictures; they {other.n_files})" in said
    assert not target.exists()
    assert run([*command, "--partial", "--quiet"]) == 0
    # What is lost is said even so.
    assert "4/4 is missing" in capsys.readouterr().err
    n_rows = sum(len(EmbeddingStore.open(one)) for one in copies)
    assert len(EmbeddingStore.open(target)) == n_rows
    with pytest.raises(SourceError, match="is there already"):
        bp.merge(copies, store=target, partial=True)
    with pytest.raises(MisuseError, match="is given twice"):
        bp.merge([copies[0], copies[0]], store=tmp_path / "none")


def test_shares_that_were_given_other_options_are_refused_by_name(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (20, 20), (9, 60 * number, 9)).save(tmp_path / f"{number}.png")
    place = tmp_path / "s"
    stores = [
        bp.embed(tmp_path, store=place, model="sketch", shard="1/3").folder,
        bp.embed(
            tmp_path, store=place, model="sketch", shard="2/3", damaged="refuse", no_label="x"
        ).folder,
        bp.embed(tmp_path, store=place, model="sketch", shard="3/3").folder,
    ]
    said = r"2/3 .* options: --damaged refuse, others mark; --no-label x, others not given"
    with pytest.raises(StoreError, match=said):
        bp.merge(stores, store=tmp_path / "all")
    bp.embed(tmp_path, store=tmp_path / "s", model="sketch", shard="2/3")
    assert len(EmbeddingStore.open(bp.merge(stores, store=tmp_path / "all").store)) == 4


def test_shares_whose_cards_are_of_an_earlier_version_are_merged(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (20, 20), (9, 60 * number, 9)).save(tmp_path / f"{number}.png")
    stores = [
        bp.embed(tmp_path, store=tmp_path / "s", model="sketch", shard=f"{n}/2").folder
        for n in (1, 2)
    ]
    for store in stores:
        card = store / "share.json"
        fields = json.loads(card.read_text())
        assert fields.pop("options")
        card.write_text(json.dumps(fields))
    assert len(EmbeddingStore.open(bp.merge(stores, store=tmp_path / "all").store)) == 4


def test_columns_that_few_pictures_fill_stand_as_in_one_run(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(6)]
    for number, name in enumerate(names):
        Image.new("RGB", (20, 20), (9, 40 * number, 9)).save(tmp_path / name)
    rows = {"path": names, "late": ["", "", "", "", "5", ""], "code": ["007", "", "3", "", "", "9"],
            "n": ["", "1", "", "2", "", ""], "f": ["", ".5", "", "x", "", "2"]}  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    given: dict[str, Any] = {"model": "sketch", "threads": 1}
    bp.embed(tmp_path / "table.csv", store=tmp_path / "once", **given)
    stores = [
        bp.embed(tmp_path / "table.csv", store=tmp_path / "s", shard=f"{n}/2", **given).folder
        for n in (1, 2)
    ]
    bp.merge(stores, store=tmp_path / "all")
    once, merged = (EmbeddingStore.open(tmp_path / name).images.frame for name in ("once", "all"))
    assert once.columns[-4:].tolist() == ["code", "n", "f", "late"]
    pd.testing.assert_frame_equal(merged, once)


def test_a_compacted_share_says_that_its_order_is_gone(shares: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(one, tmp_path / one.name)) for one in shares]
    bp.open(copies[0]).remove(row=[0])
    bp.open(copies[0]).compact()
    with pytest.raises(StoreError, match=r"was compacted .* run the embed command of 1/4 again"):
        bp.merge(copies, store=tmp_path / "merged")


def test_rows_that_came_to_a_share_later_stand_after_all_others(tmp_path: Path) -> None:
    card = ShareCard(number=1, of=2, listing="all", n_files=9)
    card.finish(tmp_path, np.array([4, 0]), generation=0)
    finished = ShareCard.read(tmp_path)
    assert finished is not None
    assert finished.read_places(tmp_path, 4).tolist() == [4, 0, 9, 9]


@pytest.mark.parametrize("text", ["0/8", "9/8", "1-8", "8", "1/0", "-1/8"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MisuseError, match="--shard is i/n with i from 1 to n"):
        Share.parse(text)


def test_each_picture_is_of_one_share_by_its_path_alone(photos: Path, tmp_path: Path) -> None:
    # The rule is what stores that are there were made by: it may not change.
    assert [one for one in range(1, 9) if Share(one, 8).takes("Panthera/00.png")] == [7]
    moved = Path(shutil.copytree(photos, tmp_path / "elsewhere"))
    (moved / "Acinonyx").mkdir()
    shutil.copyfile(photos / "Lynx" / "01.png", moved / "Acinonyx" / "new.png")
    one, other = (find_images([folder], SourceOptions()) for folder in (photos, moved))
    before, after = (
        [set(Share(n, 3).cut(all_).frame["path"]) for n in (1, 2, 3)] for all_ in (one, other)
    )
    assert sum(map(len, before)) == len(one)
    assert set.union(*before) == set(one.frame["path"])
    assert [a - b for a, b in zip(before, after, strict=True)] == [set()] * 3
    assert Order.of(one).digest != Order.of(other).digest
    for share, part in split(one, 3):
        pd.testing.assert_frame_equal(part.frame, share.cut(one).frame)
        assert Order.of(one).only(part).places.keys() == {
            str(photos / path) for path in part.frame["path"]
        }
    # What is not read is of one share too.
    unread = tuple((str(photos), f"{number}.png", "too large") for number in range(20))
    parts = [part.unread for _, part in split(dataclasses.replace(one, unread=unread), 3)]
    assert sorted(sum(parts, ())) == sorted(unread)
    assert all(parts)


def test_a_share_without_a_picture_is_a_finished_one(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), "teal").save(tmp_path / "only.png")
    stores = [
        bp.embed(tmp_path / "only.png", store=tmp_path / "s", model="sketch", shard=f"{n}/2").folder
        for n in (1, 2)
    ]
    assert sorted(len(EmbeddingStore.open(one)) for one in stores) == [0, 1]
    assert len(bp.merge(stores, store=tmp_path / "all").to_frame()) == 2
    assert len(EmbeddingStore.open(tmp_path / "all")) == 1
