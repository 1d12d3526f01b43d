from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import StoreError
from bioprobe.store.manifest import Manifest, ShardRecord

FULL = Manifest(
    encoder=Fingerprint(model="plain", revision="r", weights_sha256="ab", backend="numpy"),
    dim=16,
    dtype="float16",
    logit_scale=14.285714285714286,
    has_text_tower=True,
    shards=(ShardRecord("00000", 3, "aa", "bb"), ShardRecord("00001", 2, "cc", "dd")),
    retired=(1, 4),
)


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    FULL.write(tmp_path)
    assert Manifest.read(tmp_path) == FULL


def test_it_says_what_other_programs_need_to_know(tmp_path: Path) -> None:
    FULL.write(tmp_path)
    fields = json.loads((tmp_path / "manifest.json").read_text())
    assert fields["schema_version"] == 1
    assert fields["normalised"] is True
    assert fields["n_images"] == 5
    assert fields["shards"][1] == {
        "name": "00001",
        "n_images": 2,
        "vectors_sha256": "cc",
        "images_sha256": "dd",
    }


def test_its_number_of_images_is_the_sum_over_shards() -> None:
    assert FULL.n_images == 5
    assert dataclasses.replace(FULL, shards=()).n_images == 0


def test_the_identity_of_the_vectors_is_that_of_all_shards_in_order() -> None:
    assert FULL.vectors_sha256 == hashlib.sha256(b"aa\ncc").hexdigest()
    swapped = dataclasses.replace(FULL, shards=FULL.shards[::-1])
    assert swapped.vectors_sha256 != FULL.vectors_sha256
    # Labels and retired rows are no part of it.
    assert dataclasses.replace(FULL, retired=()).vectors_sha256 == FULL.vectors_sha256


def test_where_there_is_none_the_way_to_make_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store at .*; make one with: bioprobe embed IMAGES"):
        Manifest.read(tmp_path)


def _damage(fields: dict[str, Any], **changes: object) -> str:
    return json.dumps({k: v for k, v in {**fields, **changes}.items() if v is not None})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"schema_version": 3},
            "has schema version 3, this bioprobe reads 1 and 2; install the bioprobe",
        ),
        ({"schema_version": None}, "is not the manifest of a store; restore it from a copy"),
        (
            {"dim": None},
            r"is damaged \(KeyError\('dim'\)\); restore it from a copy, or embed again",
        ),
        ({"encoder": None}, "is damaged"),
        ({"encoder": {"weights": "x"}}, "is damaged"),
        ({"shards": [{"name": "00000"}]}, "is damaged"),
        ({"shards": 3}, "is damaged"),
    ],
)
def test_a_damaged_one_is_refused(tmp_path: Path, changes: dict[str, object], problem: str) -> None:
    FULL.write(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_text(_damage(json.loads(path.read_text()), **changes))
    with pytest.raises(StoreError, match=problem):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["", '{"schema_version": 1,', "\xff"])
def test_one_that_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(StoreError, match=r"manifest\.json cannot be read \(.*\); restore it"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "3", "null"])
def test_one_that_is_other_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match="is not the manifest of a store"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("names", "sizes", "retired"),
    [
        ([], (3, 2), (1, 4)),
        (["00000"], (0, 2), (1,)),
        (["00001"], (3, 0), (1,)),
        (["00000", "00001"], (0, 0), ()),
    ],
)
def test_rows_move_up_where_a_shard_is_taken_out(
    tmp_path: Path, names: list[str], sizes: tuple[int, int], retired: tuple[int, ...]
) -> None:
    left = FULL.take_out(names)
    assert tuple(shard.n_images for shard in left.shards) == sizes
    assert left.retired == retired
    assert left.next_shard_name == "00002"
    assert [shard.n_images for shard in left.present_shards] == [n for n in sizes if n]
    assert (left.vectors_sha256 == FULL.vectors_sha256) == (not names)
    left.write(tmp_path)
    assert Manifest.read(tmp_path) == left
