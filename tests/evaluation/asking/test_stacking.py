from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bioprobe.errors import MismatchError
from bioprobe.evaluation import evaluate
from bioprobe.evaluation.evaluate import list_rounds
from bioprobe.evaluation.methods import find_same_images, learn_stack
from bioprobe.probes.stacked import StackProbe
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank


@pytest.fixture
def other(
    families: EmbeddingStore,
    make_encoder: Callable[..., object],
    make_store: Callable[..., EmbeddingStore],
) -> EmbeddingStore:
    """Return the images in reverse, by an encoder that tells families apart in two dims more."""
    frame = families.images.frame.iloc[::-1].reset_index(drop=True)
    rows = np.arange(len(frame))[::-1]
    noise = np.random.default_rng(1).normal(size=(len(rows), 6))
    codes = np.eye(6)[np.repeat(np.arange(5), 16)[rows]]
    return make_store(make_encoder(2, dim=6), "other").append(frame, codes + 0.5 * noise)


def test_the_same_images_are_found_wherever_they_stand(
    families: EmbeddingStore, other: EmbeddingStore
) -> None:
    assert find_same_images(families, np.array([0, 79, 3]), other).tolist() == [79, 0, 76]


def test_missing_images_are_counted(
    families: EmbeddingStore, other: EmbeddingStore, split: Split
) -> None:
    fewer = other.retire([79, 78])
    with pytest.raises(MismatchError, match="lacks 2 of the 80 images"):
        find_same_images(families, families.rows, fewer)
    with pytest.raises(MismatchError, match="embed the same images into it"):
        evaluate(families, Rank.FAMILY, ["stack"], split, others=[fewer], n_resamples=10)


def test_a_stack_of_encoders_is_that_of_their_vectors(
    families: EmbeddingStore, other: EmbeddingStore, split: Split
) -> None:
    (only,) = list_rounds(split, families.images.labels(Rank.FAMILY) != "")
    learnt = learn_stack((families, other), Rank.FAMILY, only)
    labels = families.images.labels(Rank.FAMILY)
    rows = only.rows("train")
    rows = rows[labels[rows] != ""]
    backwards = other.read_vectors()[::-1]
    probe = StackProbe(learnt.settings["bases"]).fit(
        [families.read_vectors(rows), backwards[rows]], labels[rows].astype(str), only.folds[rows]
    )
    asked = only.rows("test")
    expected = probe.predict_proba([families.read_vectors(asked), backwards[asked]])
    found = learnt.answer(asked)
    names = np.array([taxon.name for taxon in found.classes])
    assert names.tolist() == probe.classes_.tolist()
    np.testing.assert_allclose(found.to_dense(), expected, atol=1e-4)
    assert learnt.settings["encoders"] == ["plain-1", "plain-2"]
    assert learnt.n_training == len(rows)


def test_other_stores_change_what_a_stack_answers(
    families: EmbeddingStore, other: EmbeddingStore, split: Split
) -> None:
    alone = evaluate(families, Rank.FAMILY, ["stack"], split, n_resamples=10)
    together = evaluate(families, Rank.FAMILY, ["stack"], split, others=[other], n_resamples=10)
    assert len(together.results[0].settings[0]["bases"]) == 2
    assert not np.allclose(
        alone.predictions["probability"], together.predictions["probability"], atol=1e-3
    )
    assert together.results[0].temperatures
