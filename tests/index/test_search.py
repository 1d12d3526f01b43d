from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioprobe.embedding import embed_images
from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import ImageReadError, MismatchError, SelectionError, SourceError
from bioprobe.index import search
from bioprobe.index.question import Question, embed_query_image
from bioprobe.sources.source import SourceOptions, find_images
from bioprobe.store import EmbeddingStore, TextCache
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder
from tests.index.conftest import draw_clustered

UNIT = np.eye(3, dtype=np.float32)


@pytest.fixture
def compass(tmp_path: Path) -> EmbeddingStore:
    """Images that look along the axes, and one between the first two."""
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    frame = pd.DataFrame(
        {
            "path": ["x.jpg", "y.jpg", "z.jpg", "xy.jpg"],
            "family": ["Felidae", "Canidae", "Felidae", ""],
            "site": [1, 2, 3, 4],
        }
    )
    vectors = np.concatenate([UNIT, [[1.0, 1.0, 0.0]]])
    store = EmbeddingStore.create(tmp_path / "compass", fingerprint, dim=3)
    return store.append(frame, vectors)


@pytest.mark.parametrize("k", [1, 3, 4, 5])
def test_answers_stand_from_near_to_far(compass: EmbeddingStore, k: int) -> None:
    question = normalise_rows(np.array([[3.0, 2.0, 1.0]]))
    found = search(compass, question, k=k)
    assert found.rows.tolist() == [3, 0, 1, 2][:k]
    cosines = np.array([5 / 2**0.5, 3, 2, 1]) / 14**0.5
    np.testing.assert_allclose(found.similarities, cosines[:k], atol=1e-6)


def test_ten_answers_come_back_where_nothing_is_said(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    vectors = encoder.encode_text([str(number) for number in range(12)])
    frame = pd.DataFrame({"path": [f"{number}.jpg" for number in range(12)]})
    found = search(make_store(encoder).append(frame, vectors), vectors[:1])
    assert found.rows.tolist() == np.argsort(-(vectors @ vectors[0]))[:10].tolist()


def test_several_parts_are_one_question(compass: EmbeddingStore) -> None:
    found = search(compass, UNIT[:2], k=4)
    assert found.rows[0] == 3
    np.testing.assert_allclose(found.similarities, [1, 0.5**0.5, 0.5**0.5, 0], atol=1e-6)


def test_a_part_that_is_said_twice_weighs_more(compass: EmbeddingStore) -> None:
    found = search(compass, UNIT[[0, 0, 1]], k=2)
    assert found.rows.tolist() == [3, 0]
    np.testing.assert_allclose(found.similarities, [3 / 10**0.5, 2 / 5**0.5], atol=1e-6)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [("family == 'Felidae'", [0, 2]), ("site > 2", [3, 2]), (None, [0, 3, 1, 2])],
)
def test_only_images_that_meet_the_condition_are_answers(
    compass: EmbeddingStore, condition: str | None, rows: list[int]
) -> None:
    question = normalise_rows(np.array([[1.0, 0.2, 0.1]]))
    assert search(View.of(compass, condition), question, k=9).rows.tolist() == rows


def test_a_condition_that_nothing_meets_is_refused(compass: EmbeddingStore) -> None:
    with pytest.raises(SelectionError, match="none of the 4 images"):
        search(View.of(compass, "site > 9"), UNIT[:1])


def test_no_question_is_refused(compass: EmbeddingStore) -> None:
    with pytest.raises(SourceError, match="nothing to search by; give --image, --text, --row"):
        search(compass, UNIT[:0])


def test_a_question_of_another_dim_is_refused(compass: EmbeddingStore) -> None:
    with pytest.raises(MismatchError, match="dim 3, got 2"):
        search(compass, np.eye(2, dtype=np.float32))


def test_retired_images_are_no_answers(compass: EmbeddingStore) -> None:
    grown = compass.append(pd.DataFrame({"path": ["x.jpg"]}), UNIT[1:2], retired=[0])
    assert 0 not in search(grown, UNIT[:1], k=9).rows


def test_the_table_names_file_labels_similarity_and_row(compass: EmbeddingStore) -> None:
    frame = search(compass, UNIT[:1], k=2).to_frame()
    assert list(frame.columns) == [
        "file_name",
        *(rank.value for rank in Rank),
        "common_name",
        "similarity",
        "row",
    ]
    assert frame["file_name"].tolist() == ["x.jpg", "xy.jpg"]
    assert frame["family"].tolist() == ["Felidae", ""]
    assert frame["similarity"].tolist() == [1.0, 0.707107]
    assert frame["row"].tolist() == [0, 3]


@pytest.fixture
def photos(
    make_store: Callable[..., EmbeddingStore],
    encoder: PlainEncoder,
    write_pictures: Callable[..., Path],
) -> EmbeddingStore:
    store = make_store(encoder)
    table = find_images([write_pictures(3)], SourceOptions(folder_rank=Rank.FAMILY))
    embed_images(table, encoder, store)
    encoder.batch_sizes.clear()
    return EmbeddingStore.open(store.folder)


def test_a_picture_in_the_store_needs_no_encoder(photos: EmbeddingStore, tmp_path: Path) -> None:
    def refuse() -> PlainEncoder:
        pytest.fail("the encoder was loaded although the store has the picture")

    copy = tmp_path / "copy.png"
    shutil.copy(photos.images.find_file(1), copy)
    vector = embed_query_image(photos, TextCache(photos, refuse), copy)
    np.testing.assert_array_equal(vector, photos.read_vectors(np.array([1])))
    assert search(photos, vector, k=1).rows.tolist() == [1]


def test_a_new_picture_is_encoded(
    photos: EmbeddingStore, encoder: PlainEncoder, tmp_path: Path
) -> None:
    picture = Image.new("RGBA", (30, 40), (10, 20, 30, 255))
    picture.save(tmp_path / "new.png")
    texts = TextCache(photos, lambda: encoder)
    vector = embed_query_image(photos, texts, tmp_path / "new.png")
    np.testing.assert_allclose(vector, encoder.encode_image([picture.convert("RGB")]), atol=1e-6)
    assert vector.shape == (1, photos.manifest.dim)


def test_the_vector_of_a_region_is_not_that_of_its_picture(
    photos: EmbeddingStore, encoder: PlainEncoder, make_store: Callable[..., EmbeddingStore]
) -> None:
    part = photos.images.frame.iloc[[1]].assign(image_region="0,0,0.5,1").reset_index(drop=True)
    store = make_store(encoder, "parts").append(part, photos.read_vectors(np.array([2])))
    texts, file = TextCache(store, lambda: encoder), photos.images.find_file(1)
    whole = photos.read_vectors(np.array([1]))
    np.testing.assert_allclose(embed_query_image(store, texts, file), whole, atol=1e-6)


def test_a_picture_is_not_encoded_by_another_encoder(
    photos: EmbeddingStore, tmp_path: Path
) -> None:
    Image.new("RGB", (30, 40)).save(tmp_path / "new.png")
    texts = TextCache(photos, lambda: PlainEncoder(2))
    with pytest.raises(MismatchError, match="got plain-2"):
        embed_query_image(photos, texts, tmp_path / "new.png")


def test_a_picture_that_is_not_there_is_named(
    photos: EmbeddingStore, encoder: PlainEncoder
) -> None:
    texts = TextCache(photos, lambda: encoder)
    with pytest.raises(SourceError, match=r"no image at none\.jpg"):
        embed_query_image(photos, texts, Path("none.jpg"))


def test_a_picture_that_cannot_be_decoded_is_refused(
    photos: EmbeddingStore, encoder: PlainEncoder, tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ImageReadError, match="not an image of a known kind"):
        embed_query_image(photos, TextCache(photos, lambda: encoder), tmp_path / "text.jpg")


def test_the_answer_says_what_it_was_computed_from(compass: EmbeddingStore) -> None:
    found = search(View.of(compass, "site > 1"), UNIT[:1], k=2)
    facts = found.provenance.to_dict()
    assert facts["encoder"] == compass.manifest.encoder.to_dict()
    assert facts["store"] == str(compass.folder)
    assert (facts["n_rows"], facts["condition"]) == (3, "site > 1")
    assert (facts["options"]["k"], facts["options"]["index"]) == (2, "flat")
    own = Question(UNIT[:1], picture_rows=np.array([0]))
    without = search(compass, own, k=2, exclude_own=True)
    assert without.provenance.n_rows == len(compass) - 1


def test_the_index_answers_unless_exact_search_is_asked_for(
    indexed: Callable[[str], EmbeddingStore],
) -> None:
    store = indexed("ivf")
    by_index = search(store, draw_clustered(1, 9)).provenance.options
    assert (by_index["index"], by_index["exact"], by_index["recall_k"]) == ("ivf", False, 10)
    assert 0.85 <= by_index["recall"] <= 1
    assert search(store, draw_clustered(1, 9), exact=True).provenance.options["index"] == "flat"
    few = search(View.of(store, "path < '1'"), draw_clustered(1, 9)).provenance.options
    assert (few["index"], few["exact"]) == ("ivf", True)
    assert "recall" not in few
