from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

import bioprobe as bp
from bioprobe.errors import MisuseError
from bioprobe.images.looks import LOOK
from bioprobe.images.regions import REGION
from bioprobe.page.html import make_thumbnail
from bioprobe.quality.duplicates import find_duplicates
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.splits.groups import find_groups, join_groups
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import read_selection, write_selection
from bioprobe.task.task import Task

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

LEFT, RIGHT = "0,0,0.5,1", "0.5,0,0.5,1"


def _frame(regions: list[str], **columns: Any) -> pd.DataFrame:  # noqa: ANN401
    paths = [f"{n // 2}.png" for n in range(len(regions))]
    hashes = [f"{n // 2:064d}" for n in range(len(regions))]
    return pd.DataFrame({"root": "/r", "path": paths, REGION: regions, "sha256": hashes, **columns})


def _vectors(n: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    return make_store(encoder).append(_frame([LEFT, RIGHT] * 3), _vectors(6))


def test_the_version_says_whether_there_are_regions(
    store: EmbeddingStore, tmp_path: Path, encoder: PlainEncoder
) -> None:
    def read_version(folder: Path) -> int:
        version: int = json.loads((folder / "manifest.json").read_text())["schema_version"]
        return version

    whole = EmbeddingStore.open_for(tmp_path / "whole", encoder)
    whole = whole.append(_frame(["", ""]).drop(columns=REGION), _vectors(2))
    assert (read_version(whole.folder), read_version(store.folder)) == (1, 2)
    images = pd.read_parquet(whole.folder / "shards" / "00000" / "images.parquet")
    assert REGION not in images
    assert EmbeddingStore.open(whole.folder).images.frame[REGION].tolist() == ["", ""]
    assert EmbeddingStore.open(store.folder).images.frame[REGION].tolist() == [LEFT, RIGHT] * 3
    # It stays so, also when no region is left.
    assert read_version(store.retire(range(6)).folder) == 2


def test_a_selection_knows_regions(store: EmbeddingStore) -> None:
    write_selection(store, "mine", np.arange(4), np.array([True, False, True, False]))
    read = read_selection(store, "mine")
    assert read.kept.tolist() == [True, False, True, False, False, False]
    assert read.judged.tolist() == [True] * 4 + [False] * 2


def test_regions_of_one_picture_stay_together_and_are_no_copies(store: EmbeddingStore) -> None:
    groups = join_groups(list(find_groups(store, store.rows).values()), 6)
    assert groups.tolist() == ["g1", "g1", "g2", "g2", "g3", "g3"]
    unknown = store.append(_frame([LEFT, RIGHT], sha256="", path="9.png"), _vectors(2, 1))
    groups = join_groups(list(find_groups(unknown, unknown.rows).values()), 8)
    assert len(set(groups.tolist())) == 4
    same = unknown.append(
        _frame([LEFT, RIGHT, LEFT], path=["8.png", "8.png", "7.png"], sha256="ab"),
        np.repeat(_vectors(1, 2), 3, axis=0),
    )
    found = find_duplicates(same, confirm=False)
    assert found.kept[:8].all()
    # The box of the copied file is one; the other box of the first is none, however alike.
    assert (found.kept[8:10].tolist(), found.kept[10].item()) in (
        ([True, True], False),
        ([False, False], True),
    )


def test_regions_of_one_picture_that_look_the_same_are_no_copies(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    looks = np.zeros(1, dtype=LOOK)
    looks["grey"] = np.random.default_rng(0).integers(0, 256, (1, 32, 32))
    one = make_store(encoder, "one").append(_frame([LEFT, RIGHT]), _vectors(2))
    assert find_duplicates(one, read=lambda _: looks[0]).n_groups == 0
    # Of two pictures they are.
    two = make_store(encoder, "two").append(
        _frame([LEFT, RIGHT], path=["a.png", "b.png"], sha256=["a", "b"]), _vectors(2)
    )
    assert find_duplicates(two, read=lambda _: looks[0]).n_groups == 1


def test_without_a_split_regions_of_one_picture_are_in_one_fold(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    frame = _frame([LEFT, RIGHT] * 20, family=(["Felidae"] * 2 + ["Canidae"] * 2) * 10)
    store = make_store(encoder).append(frame, _vectors(40))
    task = Task.of(store, "family", split=None)
    folds = task.fold(task.labelled)
    assert (folds.reshape(-1, 2)[:, 0] == folds.reshape(-1, 2)[:, 1]).all()
    assert len(set(folds.tolist())) == 5


def test_answers_name_regions(store: EmbeddingStore) -> None:
    opened = bp.open(store.folder)
    found = opened.search(row=0, k=3).to_frame()
    assert list(found.columns[:2]) == ["file_name", REGION]
    assert len(set(map(tuple, found[["file_name", REGION]].to_numpy()))) == 3
    assert store.images.name_row(1) == f"0.png [{RIGHT}]"


def test_a_table_of_boxes_is_read_and_its_options_take_effect(
    write_pictures: Callable[..., Path],
) -> None:
    folder = write_pictures(2)
    table = folder / "boxes.csv"
    table.write_text(
        "path,box_x,box_y,box_width,box_height,detection_category,detection_confidence\n"
        "000.png,0,0,.5,1,animal,.9\n000.png,.5,0,.7,1,person,.3\n"
        "000.png,3,0,.5,1,animal,.9\n001.png,,,,,,\n001.png,0,0,1,1,animal,.1\n"
    )

    def read(**options: Any) -> tuple[list[str], str]:  # noqa: ANN401
        listing = find_images([table], SourceOptions(**options))
        return sorted(listing.frame[REGION]), "; ".join(map(str, listing.notes))

    regions, said = read()
    assert regions == ["", LEFT, RIGHT]
    assert "1 boxes" in said
    assert "clipped" in said
    assert "less sure than --min-confidence" in said
    regions, said = read(categories=("Animal",))
    assert (regions, "another --category" in said) == (["", LEFT], True)
    assert read(min_confidence=0.5, pad=0.1, square=True)[0] == ["", f"{LEFT}+0.1s"]
    assert "0,0,1,1" in read(min_confidence=0.1)[0]
    store = bp.embed(
        table, model="sketch", store=folder.parent / "s", category="animal", pad=0.25, square=True
    )
    images = store._view.images
    assert sorted(images.frame[REGION]) == ["", f"{LEFT}+0.25s"]
    assert "1 regions of 1 pictures" in map(str, store.notes)
    assert "(line 4)" in store.failures["reason"].iloc[0]
    with pytest.raises(MisuseError, match=r"--pad .* no source has any"):
        bp.embed(folder / "000.png", model="sketch", store=folder.parent / "s", pad=0.1)
    answers = store.zeroshot(classes="cat,fox", per="image").to_frame()
    assert sorted(set(answers["file_name"])) == ["000.png", "001.png"]
    with pytest.raises(MisuseError, match="-k"):
        store.zeroshot(classes="cat,fox", per="image", k=3)
    box = images.locate(images.frame[REGION].tolist().index(f"{LEFT}+0.25s"))
    thumbnail = base64.b64decode(make_thumbnail(box).partition(",")[2])
    with Image.open(io.BytesIO(thumbnail)) as image:
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), dtype=int), -1, 0)
    # Its frame is yellow, as nothing in a drawn picture is along a line from top to bottom.
    assert ((red > 180) & (green > 150) & (blue < 110)).mean(axis=0).max() > 0.8


def test_several_labels_of_one_region_are_said(store: EmbeddingStore) -> None:
    frame = _frame(["", "#2", LEFT, RIGHT], kind=["fox", "dog", "fox", "dog"], path=list("aabb"))
    images = store.append(frame, _vectors(4)).images
    (said,) = images.describe_several(np.arange(6, 10), "kind")
    assert said.startswith("1 regions or whole pictures have several labels at kind: they are kept")
    assert images.describe_several(np.arange(8, 10), "kind") == []
