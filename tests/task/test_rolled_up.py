"""Sums up a small tree, the rank that is sure enough, and images of no class, by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.calibration.unknown import find_unknown, measure_auroc, measure_unknown
from bioprobe.errors import PromptError
from bioprobe.prompts import PromptSet, TextType
from bioprobe.store import EmbeddingStore
from bioprobe.task.decisions import Decisions
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.zeroshot.candidates import (
    accept_label_names,
    find_candidates,
    find_parent,
)
from bioprobe.zeroshot.comparison import compare_prompts
from bioprobe.zeroshot.likeness import count_ties, find_neighbours, find_same_texts
from bioprobe.zeroshot.zeroshot import zeroshot
from tests.zeroshot.asking import back_off, zeroshot_rolled_up

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder

LEAVES = Taxonomy(
    tuple(
        Taxon.from_names({"order": order, "family": family, "species": species})
        for order, family, species in [
            ("Carnivora", "Felidae", "Panthera leo"),
            ("Carnivora", "Felidae", "Panthera tigris"),
            ("Carnivora", "Canidae", "Canis lupus"),
            ("", "", "Arion ater"),
        ]
    )
)
PROMPTS = PromptSet(LEAVES, TextType.SCI, ("{}",))
# Softmax of each image over the four leaves: the encoder's scale is 20, so cosines are logs / 20.
PROBABILITIES = np.array(
    [[0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1], [0.3, 0.2, 0.35, 0.15], [0.1, 0.1, 0.1, 0.7]]
)


def _encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    names = [taxon.name for taxon in LEAVES]
    return np.eye(16, dtype=np.float32)[[names.index(text) for text in texts]]


@pytest.fixture
def store(make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder) -> EmbeddingStore:
    vectors = np.zeros((4, 16))
    vectors[:, :4] = np.log(PROBABILITIES) / 20
    vectors[:, 15] = np.sqrt(1 - (vectors**2).sum(axis=1))
    frame = pd.DataFrame(
        {
            "path": list("abcd"),
            "order": ["Carnivora", "Carnivora", "Carnivora", ""],
            "family": ["Felidae", "Felidae", "Ursidae", ""],
            "genus": ["Panthera", "Panthera", "Ursus", ""],
            "species": ["Panthera leo", "Panthera tigris", "Ursus arctos", ""],
        }
    )
    return make_store(encoder).append(frame, vectors)


def test_probabilities_are_summed_up_the_tree(store: EmbeddingStore) -> None:
    found = zeroshot_rolled_up(store, PROMPTS, _encode, rank=Rank.FAMILY)
    # The slug has no family, so it takes no part: what is left is shared out again.
    assert found.names.tolist() == [["Felidae", "Canidae"]] * 4
    felidae = PROBABILITIES[:, :2].sum(axis=1) / PROBABILITIES[:, :3].sum(axis=1)
    np.testing.assert_allclose(found.scores[:, 0], felidae, atol=1e-5)
    np.testing.assert_allclose(found.scores.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_no_more_classes_come_back_than_there_are(store: EmbeddingStore, k: int) -> None:
    found = zeroshot_rolled_up(store, PROMPTS, _encode, rank=Rank.FAMILY, k=k)
    assert found.names.tolist() == [["Felidae", "Canidae"][:k]] * 4
    felidae = PROBABILITIES[:, :2].sum(axis=1) / PROBABILITIES[:, :3].sum(axis=1)
    expected = np.stack([felidae, 1 - felidae], axis=1)[:, :k]
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)


def test_at_the_rank_of_the_leaves_rolling_up_is_naming(store: EmbeddingStore) -> None:
    rolled = zeroshot_rolled_up(store, PROMPTS, _encode, rank=Rank.SPECIES)
    named = zeroshot(store, PROMPTS, _encode, rank=Rank.SPECIES)
    np.testing.assert_array_equal(rolled.names, named.names)
    np.testing.assert_allclose(rolled.scores, named.scores, atol=1e-6)


def test_a_rank_without_names_cannot_be_rolled_up_to(store: EmbeddingStore) -> None:
    with pytest.raises(PromptError, match="no taxon has a name at kingdom"):
        zeroshot_rolled_up(store, PROMPTS, _encode, rank=Rank.KINGDOM)


def _back_off(
    store: EmbeddingStore, threshold: float, rank: Rank = Rank.SPECIES
) -> tuple[Decisions, list[str]]:
    found = back_off(store, PROMPTS, _encode, threshold=threshold, rank=rank)
    answers = [found.answer(image) for image in range(len(found))]
    return found, [taxon.name if taxon else "" for taxon in answers]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.65, ["Panthera leo", "Panthera", "Carnivora", "Arion ater"]),
        (0.75, ["Panthera", "Carnivora", "Carnivora", ""]),
        (0.95, ["", "", "", ""]),
        (0.35, ["Panthera leo", "Panthera leo", "Canis lupus", "Arion ater"]),
    ],
)
def test_the_answer_is_the_deepest_rank_that_passes(
    store: EmbeddingStore, threshold: float, expected: list[str]
) -> None:
    assert _back_off(store, threshold)[1] == expected


def test_no_answer_lies_below_the_rank_that_is_asked_for(store: EmbeddingStore) -> None:
    assert _back_off(store, 0.65, Rank.FAMILY)[1] == ["Felidae", "Felidae", "Carnivora", ""]


def test_the_scores_are_those_of_the_path(store: EmbeddingStore) -> None:
    found, _ = _back_off(store, 0.35)
    # The wolf is the most probable species, the cats the most probable family.
    frame = found.to_frame().iloc[2]
    scores = [frame[f"score_{rank}"] for rank in ("order", "family", "genus", "species")]
    assert scores == pytest.approx([0.85, 0.35, 0.35, 0.35], abs=1e-5)
    assert (frame["family"], frame["rank"], frame["score"]) == (
        "Canidae", "species", pytest.approx(0.35, abs=1e-5)
    )  # fmt: skip


def test_the_reason_names_what_passed_and_what_failed(store: EmbeddingStore) -> None:
    found, _ = _back_off(store, 0.65)
    assert found.reason(0) == "species Panthera leo 0.700 >= 0.65"
    assert found.reason(1) == "genus Panthera 0.700 >= 0.65; species Panthera leo 0.400 < 0.65"
    assert _back_off(store, 0.95)[0].reason(3) == "order Carnivora 0.300 < 0.95"


def test_an_answer_above_the_label_is_right(store: EmbeddingStore) -> None:
    assert _back_off(store, 0.65)[0].is_right.tolist() == [True, True, True, False]


@pytest.mark.parametrize("threshold", [0, -0.1, 1.1])
def test_a_threshold_is_a_probability(store: EmbeddingStore, threshold: float) -> None:
    with pytest.raises(PromptError, match="above 0 and at most 1"):
        _back_off(store, threshold)


def test_unknown_scores_are_those_of_a_direct_computation(store: EmbeddingStore) -> None:
    named = zeroshot(store, PROMPTS, _encode, rank=Rank.SPECIES)
    unknown = measure_unknown(store, named, PROMPTS.embed(_encode))
    cosines = np.log(PROBABILITIES) / 20
    np.testing.assert_allclose(
        unknown["unknown_max_softmax"], 1 - PROBABILITIES.max(axis=1), atol=1e-5
    )
    # These logits are logarithms of probabilities, whose sum is 1.
    np.testing.assert_allclose(unknown["unknown_energy"], np.zeros(4), atol=1e-5)
    np.testing.assert_allclose(unknown["unknown_distance"], 1 - cosines.max(axis=1), atol=1e-6)


def test_images_of_no_candidate_are_the_unknown(store: EmbeddingStore) -> None:
    named = zeroshot(store, PROMPTS, _encode, rank=Rank.SPECIES)
    labelled, is_unknown = find_unknown(named)
    assert labelled.tolist() == [0, 1, 2]
    assert is_unknown.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([1, 2], [0, 1], 1.0),
        ([2, 1], [0, 1], 0.0),
        ([1, 1], [0, 1], 0.5),
        ([1, 2, 3], [1, 0, 1], 0.5),
    ],
)
def test_auroc_is_seen_by_eye(scores: list[float], positive: list[int], expected: float) -> None:
    assert measure_auroc(np.array(scores, dtype=np.float32), np.array(positive) == 1) == expected


def test_without_both_kinds_there_is_no_auroc() -> None:
    assert np.isnan(measure_auroc(np.array([1.0], dtype=np.float32), np.array([True])))


def test_labels_and_candidates_take_accepted_names(store: EmbeddingStore) -> None:
    synonyms = {"Panthera leo": "Leo leo"}
    found = find_candidates(store, None, Rank.GENUS, synonyms=synonyms)
    assert [taxon.name for taxon in found] == ["Leo", "Panthera", "Ursus"]
    images = accept_label_names(store.images, synonyms)
    assert images.labels(Rank.SPECIES)[0] == "Leo leo"


def test_contradicting_labels_are_found_and_do_not_stop_a_question(store: EmbeddingStore) -> None:
    assert store.label_contradictions == []
    frame = pd.DataFrame({"path": ["e"], "order": ["Primates"], "family": ["Felidae"]})
    store = store.append(frame, np.eye(1, 16))
    (found,) = store.label_contradictions
    assert found.describe() == 'family "Felidae" has two orders (Carnivora, Primates); keep one'
    assert len(find_candidates(store, None, Rank.SPECIES)) == 3


def test_a_parent_is_found_among_labels_then_in_shipped_lists(store: EmbeddingStore) -> None:
    assert find_parent(store, "Felidae").lineage[:5] == ("", "", "", "Carnivora", "Felidae")
    assert find_parent(store, "Unionidae").lineage[2] == "Bivalvia"
    with pytest.raises(PromptError, match="give --lineage instead of --parent"):
        find_parent(store, "Nessidae")


def test_classes_of_one_text_are_found() -> None:
    corals = [Taxon.from_names({"species": f"Acropora {e}"}, common_name="coral") for e in "ab"]
    prompts = PromptSet(Taxonomy((*corals, LEAVES.taxa[0])), TextType.COM, ("{}",))
    assert find_same_texts(prompts) == [tuple(corals)]
    assert find_same_texts(PROMPTS) == []


def test_ties_are_counted(store: EmbeddingStore) -> None:
    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.eye(1, 16, dtype=np.float32).repeat(len(texts), axis=0)

    assert count_ties(zeroshot(store, PROMPTS, encode, rank=Rank.SPECIES)) == 4
    assert count_ties(zeroshot(store, PROMPTS, encode, rank=Rank.SPECIES, k=1)) == 0
    assert count_ties(zeroshot(store, PROMPTS, _encode, rank=Rank.SPECIES)) == 0


def test_the_nearest_class_by_text_is_said_to_confuse() -> None:
    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        angles = {"Panthera leo": 0.0, "Panthera tigris": 1.0, "Canis lupus": 2.0}
        found = np.array([angles.get(text, 0.1) for text in texts])
        return np.stack([np.cos(found), np.sin(found)], axis=1).astype(np.float32)

    prompts = PromptSet(Taxonomy(LEAVES.taxa[:3]), TextType.SCI, ("{}",))
    near = find_neighbours(Taxon.from_names({"species": "Panthera onca"}), prompts, encode, k=2)
    assert [taxon.name for taxon in near.taxa] == ["Panthera leo", "Panthera tigris"]
    assert near.similarities.tolist() == pytest.approx(np.cos([0.1, 0.9]).tolist(), abs=1e-6)
    assert near.is_confusing
    far = find_neighbours(LEAVES.taxa[2], prompts, encode)
    assert len(far.taxa) == 2
    assert not far.is_confusing


def test_prompts_are_compared_on_labelled_images(
    store: EmbeddingStore, encoder: PlainEncoder
) -> None:
    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        asked.append(list(texts))
        # Only "good" names the classes; "bad" gives all of them the slug's place.
        names = [text.removeprefix("good ") for text in texts]
        known = [taxon.name for taxon in LEAVES]
        return np.eye(16, dtype=np.float32)[[known.index(n) if n in known else 3 for n in names]]

    asked: list[list[str]] = []
    found = compare_prompts(
        store, Taxonomy(LEAVES.taxa[:2]), encode, rank=Rank.SPECIES,
        text_types=[TextType.SCI, TextType.COM],
        template_sets={"bad": ("x {}",), "good": ("good {}",)},
    )  # fmt: skip
    assert [(one.text_type, one.templates) for one in found] == [
        (TextType.SCI, "bad"), (TextType.SCI, "good")
    ]  # fmt: skip
    # Both answer lion, which is right for one of three labelled images.
    assert [(one.accuracy.n_correct, one.accuracy.n_images) for one in found] == [(1, 3), (1, 3)]
    assert len(asked[0]) == 4
    with pytest.raises(PromptError, match="no species has a common name"):
        compare_prompts(
            store, LEAVES, encoder.encode_text, rank=Rank.SPECIES, text_types=[TextType.COM],
            template_sets={"plain": ("{}",)},
        )  # fmt: skip
