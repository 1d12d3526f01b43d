from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.encoders.encoder import Fingerprint, normalise_rows
from bioprobe.errors import MisuseError, SourceError, StoreError
from bioprobe.index import Background, Enough, Question, Terms, exact, search
from bioprobe.index.exact import StoredVectors, find_all, search_exactly
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import list_selections, read_selection, write_selection
from bioprobe.store.view import View
from tests.index.conftest import draw_clustered

DIM = 16


def _ask(vector: np.ndarray) -> Question:
    return Question(vector, plus_terms=Terms(texts=["asked"]))


def _cosines(store: EmbeddingStore, vector: np.ndarray) -> np.ndarray:
    products = store.read_vectors().astype(np.float64) @ vector[0].astype(np.float64)
    return np.asarray(products, dtype=np.float32)


@pytest.mark.parametrize("least", [-1.0, 0.0, 0.3, 0.9, 1.0])
def test_all_images_of_a_similarity_are_given_nearest_first(
    clustered: EmbeddingStore, least: float
) -> None:
    vector = draw_clustered(1, 7)
    found = search(clustered, vector, enough=Enough(min_similarity=least))
    cosines = np.round(_cosines(clustered, vector).astype(np.float64), 6)
    expected = np.flatnonzero(cosines >= least)
    assert sorted(found.rows.tolist()) == expected.tolist()
    order = np.lexsort((found.rows, -found.similarities))
    assert order.tolist() == list(range(len(found.rows)))
    assert found.provenance.options["n_reached"] == len(expected)


def test_a_similarity_that_a_table_shows_is_one_that_its_image_reaches(
    clustered: EmbeddingStore,
) -> None:
    vector = draw_clustered(1, 7)
    nearest = search(clustered, vector, k=25).to_frame()["similarity"]
    for n_nearest, shown in enumerate(nearest, start=1):
        found = search(clustered, vector, enough=Enough(min_similarity=float(shown)))
        assert len(found.rows) >= n_nearest
        assert found.to_frame()["similarity"].min() == shown


@pytest.mark.parametrize(
    ("share", "n"), [(0.01, 14), (0.07, 98), (0.0001, 1), (1.0, 1400), (0.0005, 1), (0.0008, 2)]
)
def test_the_best_share_is_that_of_the_images_that_may_be_answers(
    clustered: EmbeddingStore, share: float, n: int
) -> None:
    vector = draw_clustered(1, 7)
    found = search(clustered, vector, enough=Enough(share=share))
    assert found.rows.tolist() == search(clustered, vector, k=n).rows.tolist()
    half = View.of(clustered).take(np.arange(700))
    assert len(search(half, vector, enough=Enough(share=share)).rows) == max(1, -(-n // 2))


def test_k_is_a_cap_and_several_thresholds_count_together(clustered: EmbeddingStore) -> None:
    vector = draw_clustered(1, 7)
    ten = search(clustered, vector, k=10)
    least = float(ten.to_frame()["similarity"].iloc[-1])
    capped = search(clustered, vector, k=4, enough=Enough(min_similarity=least))
    assert capped.rows.tolist() == ten.rows[:4].tolist()
    assert capped.provenance.options["n_reached"] == 10
    both = search(clustered, vector, enough=Enough(min_similarity=least, share=0.005))
    assert both.rows.tolist() == ten.rows[:7].tolist()
    other = search(clustered, vector, enough=Enough(min_similarity=least, share=0.5))
    assert other.rows.tolist() == ten.rows.tolist()


def test_a_threshold_loses_nothing_where_the_index_would(
    indexed: Callable[[str], EmbeddingStore],
) -> None:
    store = indexed("ivf")
    n_lost = 0
    for seed in range(10):
        # Between the clusters, as texts are.
        vector = normalise_rows(np.random.default_rng(seed).normal(size=(1, DIM)))
        hits = search(store, vector, enough=Enough(share=0.05))
        assert hits.provenance.options["exact"]
        assert hits.provenance.options["index"] == "ivf"
        nearest = np.argsort(-_cosines(store, vector), kind="stable")[:70]
        assert set(hits.rows) == set(nearest)
        n_lost += 70 - np.isin(search(store, vector, k=70).rows, nearest).sum()
    assert n_lost > 0


def test_no_image_that_is_near_enough_says_what_is_nearest(clustered: EmbeddingStore) -> None:
    vector = normalise_rows(-clustered.read_vectors(np.array([5])) + 0.01)
    found = search(clustered, vector, enough=Enough(min_similarity=1))
    assert len(found.rows) == len(found.to_frame()) == 0
    nearest = search(clustered, vector, k=1)
    assert found.provenance.options["nearest"] == {
        "row": nearest.rows[0],
        "similarity": nearest.to_frame()["similarity"][0],
    }


def test_many_candidates_are_compared_some_at_a_time(
    clustered: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, queries = StoredVectors(clustered), draw_clustered(3, 7)
    allowed = np.ones(len(vectors), dtype=bool)
    whole = search_exactly(vectors, queries, 900, allowed)
    most: list[int] = []
    take = StoredVectors.take
    monkeypatch.setattr(exact, "NUMBERS_HELD", 64 * DIM)

    def watch(self: StoredVectors, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        most.append(len(rows))
        return take(self, rows)

    monkeypatch.setattr(StoredVectors, "take", watch)
    for one, other in zip(search_exactly(vectors, queries, 900, allowed), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    rows, similarities = find_all(vectors, queries[:1], allowed, most=900)
    np.testing.assert_array_equal(rows, whole[0][0])
    np.testing.assert_array_equal(similarities, whole[1][0])
    assert 0 < max(most) <= 64


@pytest.fixture
def background() -> Background:
    return Background(
        [f"text {number}" for number in range(20)], draw_clustered(20, 3), logit_scale=5
    )


def test_over_a_background_is_a_z_or_a_probability_of_each_image(
    clustered: EmbeddingStore, background: Background
) -> None:
    vector, stored = draw_clustered(1, 7), clustered.read_vectors().astype(np.float64)
    own, others = stored @ vector[0], stored @ background.vectors.T.astype(np.float64)
    z = (own - others.mean(axis=1)) / others.std(axis=1)
    above = np.exp(5 * own)
    probability = above / (above + np.exp(5 * others).sum(axis=1))
    for form, values, least in (("z", z, 1.5), ("probability", probability, 0.3)):
        over = Background(background.texts, background.vectors, (), form, least, 5)
        found = search(clustered, _ask(vector), enough=Enough(background=over))
        assert sorted(found.rows.tolist()) == np.flatnonzero(values >= least).tolist()
        assert 0 < len(found.rows) < len(clustered)
        frame = found.to_frame()
        np.testing.assert_allclose(frame[f"{form}_over_background"], values[found.rows], atol=2e-6)
        # The least that was found reaches itself.
        assert found.over_background is not None
        least = float(found.over_background.min())
        over = Background(background.texts, background.vectors, (), form, least, 5)
        again = search(clustered, _ask(vector), enough=Enough(background=over))
        assert again.rows.tolist() == found.rows.tolist()
        only_told = Background(background.texts, background.vectors, (), form, None, 5)
        told = search(clustered, _ask(vector), k=5, enough=Enough(background=only_told))
        assert told.rows.tolist() == search(clustered, vector, k=5).rows.tolist()
        assert told.over_background is not None
        np.testing.assert_allclose(told.over_background, values[told.rows], atol=2e-6)


def test_background_texts_stand_in_place_of_the_texts_alone(
    clustered: EmbeddingStore, background: Background
) -> None:
    # A picture, two texts of which one is kept away from, and a term to keep away from.
    plus, minus = draw_clustered(3, 7), draw_clustered(1, 8)
    terms = Terms([Path("a.jpg")], ["asked", "not asked"], [], [1, 3, -0.5])
    question = Question(plus, minus, 0.5, terms, Terms(texts=["fence"]))
    rest = plus[0] / 4 - 0.125 * plus[2] - 0.5 * minus[0]
    expected = normalise_rows((rest + 0.75 * plus[1])[None])
    np.testing.assert_allclose(question.vector, expected, atol=1e-6)
    expected = normalise_rows(rest + 0.75 * background.vectors)
    np.testing.assert_allclose(question.put_texts(background.vectors), expected, atol=1e-6)
    # Of a question that is itself a text of the background, that text is left out.
    asked = Question(background.vectors[:1], plus_terms=Terms(texts=["TEXT 0"]))
    found = search(clustered, asked, enough=Enough(background=background))
    assert found.provenance.options["background"]["texts"] == list(background.texts[1:])


def test_what_cannot_be_enough_is_refused(
    clustered: EmbeddingStore, background: Background
) -> None:
    with pytest.raises(SourceError, match=r"-1 to 1, got 1\.1"):
        Enough(min_similarity=1.1)
    with pytest.raises(SourceError, match=r"more than 0 and at most 1, such as 0.01, got 0"):
        Enough(share=0)
    with pytest.raises(MisuseError, match="a probability is 0 to 1, got --over-background 2"):
        Background([], draw_clustered(1, 1), form="probability", least=2)
    with pytest.raises(MisuseError, match="z or probability, got 'rank'"):
        Background([], draw_clustered(1, 1), form="rank")
    with pytest.raises(SourceError, match="for questions with a text to look for"):
        search(clustered, draw_clustered(1, 1), enough=Enough(background=background))
    few = Background(background.texts[:4], background.vectors[:4])
    with pytest.raises(SourceError, match="5 texts or more, beside what is asked for, got 4"):
        search(clustered, _ask(draw_clustered(1, 1)), enough=Enough(background=few))


def test_copies_are_given_once_and_all_copies_are_counted(tmp_path: Path) -> None:
    fingerprint = Fingerprint(model="plain", weights_sha256="ab", backend="numpy")
    store = EmbeddingStore.create(tmp_path / "copies", fingerprint, dim=2)
    frame = pd.DataFrame({"path": list("abcd"), "sha256": ["1", "2", "1", "3"]})
    store = store.append(frame, np.array([[1, 0], [0.8, 0.6], [1, 0], [0, 1]]))
    found = search(
        store, np.eye(2, dtype=np.float32)[:1], enough=Enough(min_similarity=0.5), deduplicate=True
    )
    assert found.rows.tolist() == [0, 1]
    facts = found.provenance.options
    assert (facts["n_reached"], facts["n_distinct"]) == (3, 2)


def test_answers_are_kept_as_a_mask_with_their_provenance(clustered: EmbeddingStore) -> None:
    asked = View.of(clustered).take(np.arange(1000))
    for least in (0.2, 0.4):
        found = search(asked, draw_clustered(1, 7), enough=Enough(min_similarity=least))
        found.write_mask(asked, "searches/near")
        made = read_selection(clustered, "searches/near")
        assert np.flatnonzero(made.kept).tolist() == sorted(found.rows.tolist())
        assert np.flatnonzero(made.judged).tolist() == list(range(1000))
        assert made.provenance == found.provenance.to_dict()
        assert made.provenance["options"]["min_similarity"] == least
        kept = made.frame["similarity"].dropna()
        assert kept.index.tolist() == sorted(found.rows.tolist())
    assert View.of(clustered, mask="searches/near").rows.tolist() == sorted(found.rows.tolist())
    rows = np.arange(3)
    write_selection(clustered, "filters/animal", rows, rows > 1, provenance={"options": {}})
    with pytest.raises(StoreError, match=r"made by no search; .* remove-mask filters/animal"):
        found.write_mask(asked, "filters/animal")
    assert list_selections(clustered) == ["filters/animal", "searches/near"]
