from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioprobe.embedding import embed_images
from bioprobe.errors import SelectionError
from bioprobe.face.quality_pages import Flaws
from bioprobe.images.measures import MEASURE
from bioprobe.quality.flaws import find_flaws
from bioprobe.result import read_fields
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore
from bioprobe.store.look_cache import MEASURES, LookCache
from bioprobe.store.measured import find_nearest_similarity
from bioprobe.store.selections import read_selection
from bioprobe.store.view import View

N = 24


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: Any) -> EmbeddingStore:  # noqa: ANN401
    """Make a store of which row 0 is blurred, 1 dark, 2 infrared, 3 long and 4 a small box."""
    frame = pd.DataFrame(
        {
            "root": "/photos",
            "path": [f"{i}.jpg" for i in range(N)],
            "sha256": [f"{i:064x}" for i in range(N)],
            "width_px": 400,
            "height_px": [400, 400, 400, 100, *[400] * (N - 4)],
            "image_region": ["", "", "", "", "0.5,0.5,0.1,0.1", *[""] * (N - 5)],
        }
    )
    made = make_store(encoder).append(frame, np.random.default_rng(0).normal(size=(N, 16)))
    measured = np.zeros(N, dtype=MEASURE)
    measured["sharpness"] = [0.4, *np.linspace(0.8, 0.9, N - 1)]
    measured["brightness"] = [0.9, 0.2, 0.2, *np.linspace(0.7, 0.9, N - 3)]
    measured["night"] = [False, False, True, *[False] * (N - 3)]
    LookCache(made.folder, MEASURES).write(made.images.contents.tolist(), measured)
    return made


def test_flaws_are_found_and_infrared_is_not_dark(store: EmbeddingStore) -> None:
    found = find_flaws(store)
    assert np.flatnonzero(~found.kept).tolist() == [0, 1, 3, 4]
    assert found.reasons[:5].tolist() == ["blurred", "dark", "", "odd size", "odd size"]
    assert found.sizes[3:5].tolist() == ["long", "small"]
    assert found.count() == {"blurred": 1, "dark": 1, "odd size": 2}
    found.write(store)
    assert (~read_selection(store, "filters/flaws").kept[:6]).tolist() == [1, 1, 0, 1, 1, 0]
    frame = found.to_frame()
    assert frame["night"].sum() == 1
    assert frame["sharpness"][0] == pytest.approx(0.4)


def test_only_what_is_looked_for_is_found_by_the_threshold_that_is_given(
    store: EmbeddingStore,
) -> None:
    assert find_flaws(store, ["blurred"]).count() == {"blurred": 1}
    found = find_flaws(store, ["blurred"], below={"blurred": 0.85, "dark": 1})
    assert found.count() == {"blurred": 1 + int((np.linspace(0.8, 0.9, N - 1) < 0.85).sum())}
    assert find_flaws(store, ["dark"], below={"dark": 0.1}).kept.all()


def test_what_was_not_measured_is_kept_and_said(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (store.folder / "measures").iterdir():
        file.unlink()
    with pytest.raises(SelectionError, match="describe --measure"):
        find_flaws(store)
    with pytest.raises(SelectionError, match=r"night .*not known.*describe --measure"):
        View.of(store, "not night")
    # Sizes are known all the same.
    assert find_flaws(store, ["odd size"]).count() == {"odd size": 2}
    assert View.of(store, "odd_size == 'long'").rows.tolist() == [3]
    half = np.zeros(N // 2, dtype=MEASURE)
    half["sharpness"] = 0.9
    LookCache(store.folder, MEASURES).write(store.images.contents[: N // 2].tolist(), half)
    found = find_flaws(store, ["blurred"])
    assert found.kept.all()
    assert "12 pictures were not measured" in str(found.notes[0])
    # Files that are too large to be searched together are searched one by one.
    monkeypatch.setattr("bioprobe.store.look_cache._BYTES_AT_ONCE", 0)
    half["sharpness"] = 0.5
    LookCache(store.folder, MEASURES).write(store.images.contents[N // 2 :].tolist(), half)
    values, known = LookCache(store.folder, MEASURES).read(store.images.contents)
    assert known.all()
    assert values["sharpness"] == pytest.approx([0.9] * (N // 2) + [0.5] * (N // 2))


def test_conditions_know_the_measures(store: EmbeddingStore) -> None:
    assert View.of(store, "night").rows.tolist() == [2]
    assert View.of(store, "sharpness < 0.5 or aspect > 3").rows.tolist() == [0, 3]
    assert len(View.of(store, "not night and brightness >= 0.2 and sharpness > 0.5")) == N - 2
    with pytest.raises(SelectionError, match=r"brightness is 0\.2"):
        View.of(store, "brightness > 2")


def test_a_column_of_the_sources_is_what_it_was(store: EmbeddingStore) -> None:
    frame = store.images.frame.drop(columns=["image_region"]).assign(
        night=["yes", *["no"] * (N - 1)], path=[f"other {i}.jpg" for i in range(N)]
    )
    other = store.append(frame, np.random.default_rng(1).normal(size=(N, 16)))
    assert View.of(other, "night == 'yes'").rows.tolist() == [N]


def test_the_similarity_to_the_nearest_is_that_of_all_pairs(store: EmbeddingStore) -> None:
    found = find_nearest_similarity(store, store.rows)
    vectors = store.read_vectors()
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -1)
    nearest = np.sort(similarities, axis=1)[:, -5:].mean(axis=1)
    np.testing.assert_allclose(found, nearest, rtol=1e-5)
    rows = View.of(store, f"nearest_similarity < {np.sort(nearest)[1] + 1e-6}").rows
    assert sorted(rows) == sorted(np.argsort(nearest)[:2])


def test_copies_are_no_neighbours_and_one_alone_has_none(
    make_store: Callable[..., EmbeddingStore],
    encoder: Any,  # noqa: ANN401
) -> None:
    frame = pd.DataFrame({"root": "/r", "path": ["a", "b", "c"], "sha256": ["1", "1", "2"]})
    vectors = np.eye(16, dtype=np.float32)[[0, 0, 0]] + np.eye(16, dtype=np.float32)[[1, 1, 2]]
    store = make_store(encoder).append(frame, vectors)
    np.testing.assert_allclose(find_nearest_similarity(store, store.rows), 0.5, rtol=1e-6)
    alone = store.retire([2])
    assert np.isnan(find_nearest_similarity(alone, alone.rows)).all()


def test_many_are_compared_with_a_sample(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.store.measured._MOST_OTHERS", 8)
    sampled = find_nearest_similarity(store, store.rows)
    assert np.isfinite(sampled).all()
    np.testing.assert_array_equal(sampled, find_nearest_similarity(store, store.rows))


def test_the_page_shows_what_is_dropped(
    write_pictures: Callable[..., Path],
    tmp_path: Path,
    encoder: Any,  # noqa: ANN401
) -> None:

    folder = write_pictures(3)
    name = sorted(folder.glob("*"))[0]
    dark = Image.open(name).convert("RGB").point(lambda level: level // 8)
    dark.save(folder / "dark.png")
    store = EmbeddingStore.open_for(tmp_path / "store", encoder)
    embed_images(find_images([folder]), encoder, store)
    opened = EmbeddingStore.open(store.folder)
    found = Flaws(**read_fields(find_flaws(opened, ["dark"])))
    frame = found.to_frame()
    assert frame[~frame["kept"]]["file_name"].tolist() == ["dark.png"]
    page = tmp_path / "page.html"
    assert found.write_page(page) == 1
    assert "dark below a brightness of" in page.read_text(encoding="utf-8")
