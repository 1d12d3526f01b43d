from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioprobe.embedding import embed_images
from bioprobe.encoders import Encoder
from bioprobe.errors import SelectionError
from bioprobe.images.location import ImageLocation
from bioprobe.quality import Duplicates, find_duplicates
from bioprobe.quality.duplicates import hash_picture, read_hash
from bioprobe.sources.source import find_images
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import read_selection
from bioprobe.store.view import View

MakeStore = Callable[..., EmbeddingStore]


def _lay_out(
    make_store: MakeStore,
    encoder: Encoder,
    degrees: Sequence[float],
    **columns: list[Any],
) -> EmbeddingStore:
    """Make a store of vectors in a plane, at angles whose cosines are known."""
    store = make_store(encoder)
    angles = np.radians(degrees)
    vectors = np.zeros((len(angles), store.manifest.dim))
    vectors[:, 0], vectors[:, 1] = np.cos(angles), np.sin(angles)
    names = [f"{number}.jpg" for number in range(len(angles))]
    return store.append(pd.DataFrame({"root": "/p", "path": names, **columns}), vectors)


def test_groups_are_all_that_links_join(make_store: MakeStore, encoder: Encoder) -> None:
    # cos 10° = .985, cos 20° = .940: the first and third are linked by the second alone.
    store = _lay_out(make_store, encoder, [0, 10, 20, 90])
    found = find_duplicates(store, threshold=0.98)
    assert found.groups.tolist() == [0, 0, 0, 1]
    assert found.kept.tolist() == [True, False, False, True]
    assert found.n_groups == 1
    assert found.duplicate_fraction == 0.5
    assert found.n_unread == 3


def test_a_higher_threshold_needs_no_new_search(make_store: MakeStore, encoder: Encoder) -> None:
    store = _lay_out(make_store, encoder, [0, 10, 13, 90, 40])
    found = find_duplicates(store, threshold=0.8)
    for threshold in (0.8, 0.98, 0.99, 1.0):
        searched = find_duplicates(store, threshold=threshold)
        assert found.at(threshold).to_frame().equals(searched.to_frame())
    with pytest.raises(SelectionError, match=r"looked for from 0\.8, got 0\.7"):
        found.at(0.7)


def test_the_same_bytes_are_the_same_at_every_threshold(
    make_store: MakeStore,
    encoder: Encoder,
) -> None:
    store = _lay_out(make_store, encoder, [0, 90, 180, 45], sha256=["a", "b", "a", ""])
    found = find_duplicates(store, threshold=1.0)
    assert found.groups.tolist() == [0, 1, 0, 2]
    frame = found.to_frame()
    assert frame["kind"].tolist() == ["exact", "exact"]
    assert frame["similarity"].tolist() == [1.0, 1.0]
    assert frame["group"].tolist() == [1, 1]


def test_images_without_a_hash_of_their_bytes_are_not_the_same(
    make_store: MakeStore,
    encoder: Encoder,
) -> None:
    store = _lay_out(make_store, encoder, [0, 90], sha256=["", ""])
    assert find_duplicates(store).n_groups == 0


def test_the_picture_with_most_pixels_then_bytes_is_kept(
    make_store: MakeStore,
    encoder: Encoder,
) -> None:
    store = _lay_out(
        make_store, encoder, [0, 0, 0, 0],
        width_px=[10, 20, 40, 20], height_px=[10, 20, 10, 20], n_bytes=[9, 5, 6, 7],
    )  # fmt: skip
    assert np.flatnonzero(find_duplicates(store).kept).tolist() == [3]
    assert find_duplicates(store).to_frame()["row"].tolist() == [3, 0, 1, 2]


def test_near_vectors_of_unlike_pictures_are_not_the_same(
    make_store: MakeStore,
    encoder: Encoder,
) -> None:
    store = _lay_out(make_store, encoder, [0, 1, 2, 3])
    hashes = [0, 2**11 - 1, 2**10 - 1, None]

    def find(*, confirm: bool) -> Duplicates:
        return find_duplicates(store, confirm=confirm, read=lambda row: hashes[row])

    # 11 bits apart are too many, 10 are not; what cannot be read is left to the vectors.
    assert find(confirm=True).n_unread == 1
    assert find(confirm=True).groups.tolist() == [0, 0, 0, 0]
    hashes[2], hashes[3] = 2**64 - 1, 2**63
    assert find(confirm=True).groups.tolist() == [0, 1, 2, 0]
    assert find(confirm=False).groups.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("n", [1, 2])
def test_a_store_without_duplicates_has_an_empty_table(
    make_store: MakeStore,
    encoder: Encoder,
    n: int,
) -> None:
    found = find_duplicates(_lay_out(make_store, encoder, [0, 90][:n]))
    assert found.kept.all()
    assert len(found.to_frame()) == 0


def test_the_mask_and_the_groups_are_kept(make_store: MakeStore, encoder: Encoder) -> None:
    store = _lay_out(make_store, encoder, [0, 1, 90])
    find_duplicates(store).write(store)
    assert View.of(store, mask="filters/duplicates").rows.tolist() == [0, 2]
    assert read_selection(store, "filters/duplicates").frame["group"].tolist() == [0, 0, 1]


def test_a_threshold_that_is_no_cosine_is_refused(make_store: MakeStore, encoder: Encoder) -> None:
    with pytest.raises(SelectionError, match="got the threshold 2"):
        find_duplicates(_lay_out(make_store, encoder, [0]), threshold=2)


def test_a_smaller_copy_of_a_picture_is_found(
    tmp_path: Path,
    make_store: MakeStore,
    encoder: Encoder,
    draw_picture: Callable[..., Image.Image],
) -> None:
    for number in range(4):
        draw_picture(number, (96, 64)).save(tmp_path / f"{number}.png")
    draw_picture(2, (96, 64)).resize((48, 32)).save(tmp_path / "small.jpg", quality=80)
    embed_images(find_images([tmp_path]), encoder, make_store(encoder))
    found = find_duplicates(EmbeddingStore.open(tmp_path / "store"))
    frame = found.to_frame()
    assert frame["file_name"].tolist() == ["2.png", "small.jpg"]
    assert frame["kept"].tolist() == [True, False]
    assert found.n_unread == 0


def test_the_hash_tells_where_brightness_rises() -> None:
    # 9 columns, 8 rows, so that nothing is resized: rises in the first row only, at first.
    pixels = np.full((8, 9), 100, dtype=np.uint8)
    pixels[0] = [0, 50, 40, 40, 40, 40, 40, 40, 200]
    assert hash_picture(Image.fromarray(pixels)) == 0b10000001 << 56


def test_a_file_that_is_gone_has_no_hash(tmp_path: Path) -> None:
    assert read_hash(ImageLocation(str(tmp_path), "none.jpg")) is None


def test_the_order_of_the_rows_does_not_change_which_copy_is_kept(
    make_store: MakeStore, encoder: Encoder
) -> None:
    random = np.random.default_rng(0)
    n = 40
    paths, degrees = [f"{i:02d}.jpg" for i in range(n)], np.arange(n) // 4 * 30.0
    hashes = [f"{random.integers(2**60):x}" if i % 4 else f"same{i // 8}" for i in range(n)]
    kept = set()
    for number in range(4):
        order = random.permutation(n)
        store = make_store(encoder, f"store{number}")
        vectors = np.zeros((n, store.manifest.dim))
        vectors[:, 0], vectors[:, 1] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        frame = pd.DataFrame({"root": "/p", "path": paths, "sha256": hashes})
        store = store.append(frame.iloc[order].reset_index(drop=True), vectors[order])
        found = find_duplicates(store, threshold=0.99)
        kept.add(tuple(sorted(store.images.frame["path"][found.rows[found.kept]])))
    assert len(kept) == 1
    assert len(next(iter(kept))) < n // 4 + 1
