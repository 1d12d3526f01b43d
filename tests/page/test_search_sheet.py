from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bioprobe.embedding import embed_images
from bioprobe.index import Background, Enough, Question, Terms, search
from bioprobe.page import sheets
from bioprobe.page.sheets import show_row, write_search_sheet
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder


def test_question_and_answers_stand_on_the_page_with_labels_and_similarities(
    make_store: Callable[..., EmbeddingStore],
    encoder: PlainEncoder,
    write_pictures: Callable[..., Path],
    tmp_path: Path,
) -> None:
    store = make_store(encoder)
    table = find_images([write_pictures(3)], SourceOptions(folder_rank=Rank.FAMILY))
    embed_images(table, encoder, store)
    store = EmbeddingStore.open(store.folder)
    vectors = store.read_vectors()
    question = Question(
        vectors[:1], vectors[1:2], plus_terms=Terms(rows=[0]), minus_terms=Terms(texts=["<b>"])
    )
    found = search(store, question)
    write_search_sheet(tmp_path / "sheet.html", found)
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 1 + len(found.rows)
    assert "Search: row 0, without “&lt;b&gt;”" in page
    assert "Looked for" in page
    assert "Not looked for" not in page  # a text has no picture
    assert [f"similarity {s:.3f}" in page for s in found.similarities] == [True, True]
    assert "exact search" in page
    picture = show_row(store.images, 0, "first")
    assert picture.caption == store.images.labels(Rank.FAMILY)[0]
    assert picture.lines[0] == "first"
    assert np.array_equal(found.rows, [2, 1])


def test_a_page_has_the_nearest_of_many_hits_with_their_place_above_the_background(
    make_store: Callable[..., EmbeddingStore],
    encoder: PlainEncoder,
    write_pictures: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = make_store(encoder)
    embed_images(find_images([write_pictures(4)]), encoder, store)
    store = EmbeddingStore.open(store.folder)
    texts = ["asked", "a", "b", "c", "d", "e"]
    vectors = encoder.encode_text(texts)
    question = Question(vectors[:1], plus_terms=Terms(texts=texts[:1]))
    above = Background(texts[1:], vectors[1:])
    found = search(store, question, enough=Enough(share=1, background=above))
    monkeypatch.setattr(sheets, "MOST_SHOWN", 3)
    write_search_sheet(tmp_path / "sheet.html", found)
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 3
    assert "The nearest 3 of 4." in page
    assert found.over_background is not None
    shown = [f"z over background {value:.3f}" in page for value in found.over_background]
    assert shown == [True, True, True, False]
