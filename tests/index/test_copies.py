from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint
from bioprobe.errors import SelectionError
from bioprobe.index import Question, Terms, search
from bioprobe.index.search import find_copies
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import DUPLICATES_MASK, write_selection
from bioprobe.store.stored_table import StoredTable
from bioprobe.store.view import View

Make = Callable[[Sequence[str]], EmbeddingStore]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a store whose images turn away from the first axis, one after the other."""

    def build(hashes: Sequence[str]) -> EmbeddingStore:
        fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
        store = EmbeddingStore.create(tmp_path / "store", fingerprint, dim=2)
        angles = np.linspace(0, 1, len(hashes))
        names = [f"{number}.jpg" for number in range(len(hashes))]
        frame = pd.DataFrame({"path": names, "sha256": list(hashes)})
        return store.append(frame, np.stack([np.cos(angles), np.sin(angles)], axis=1))

    return build


def _judge(store: EmbeddingStore, groups: list[int]) -> None:
    rows = np.arange(len(groups), dtype=np.int64)
    write_selection(
        store,
        DUPLICATES_MASK,
        rows,
        np.ones(len(rows), dtype=bool),
        columns={"group": np.array(groups)},
    )


EAST = np.array([[1, 0]], dtype=np.float32)


def test_without_a_mask_copies_have_the_same_bytes(make: Make) -> None:
    # An empty hash is not known, so such images are not the same.
    assert find_copies(make(["a", "b", "a", "", ""])).tolist() == [0, 1, 0, 2, 3]


def test_the_groups_of_the_mask_count(make: Make) -> None:
    store = make(["a", "b", "c", "d"])
    _judge(store, [7, 8, 7, 9])
    assert find_copies(store).tolist() == [0, 1, 0, 2]


def test_images_the_mask_has_not_judged_join_by_their_bytes(make: Make) -> None:
    store = make(["a", "b", "c", "b", "e", "e"])
    _judge(store, [7, 7, 8])
    assert find_copies(store).tolist() == [0, 0, 1, 0, 2, 2]
    # The texts of all contents take 256 bytes a row.
    assert isinstance(store.images, StoredTable)
    assert "contents" not in store.images.stored.kept


@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
def test_the_nearest_of_each_group_answers_and_still_k_come(make: Make, k: int) -> None:
    store = make([*"aaaaaaab", *"bc", "d"])
    found = search(store, EAST, k=k, deduplicate=True)
    assert found.rows.tolist() == [0, 7, 9, 10][:k]
    assert (np.diff(found.similarities) < 0).all()
    assert search(store, EAST, k=k).rows.tolist() == list(range(k))


def test_the_nearest_allowed_of_a_group_answers(make: Make) -> None:
    found = search(View.of(make(["a", "a", "b"]), "path != '0.jpg'"), EAST, deduplicate=True)
    assert found.rows.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("exclude_own", "deduplicate", "expected"),
    [
        (None, False, [1, 2, 3]),
        (True, False, [1, 3]),
        (False, False, [0, 1, 2, 3]),
        (None, True, [2, 3]),
        (True, True, [3]),
        (False, True, [0, 2, 3]),
    ],
)
def test_what_is_asked_by_is_left_out_with_its_copies(
    make: Make, exclude_own: bool | None, deduplicate: bool, expected: list[int]
) -> None:
    store = make(["a", "a", "b", "c"])
    question = Question(EAST, plus_terms=Terms(rows=[0]), picture_rows=np.array([2]))
    found = search(store, question, exclude_own=exclude_own, deduplicate=deduplicate)
    assert found.rows.tolist() == expected


def test_nothing_but_the_question_itself_is_refused(make: Make) -> None:
    with pytest.raises(SelectionError, match="but those of the question itself"):
        search(make(["a"]), Question(EAST, plus_terms=Terms(rows=[0])))
