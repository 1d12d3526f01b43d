from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bioprobe.errors import MismatchError, ProbeError
from bioprobe.evaluation import evaluate
from bioprobe.learning.fit import fit
from bioprobe.learning.stack import find_shared_images
from bioprobe.probes.stacked import StackProbe
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank
from tests.conftest import PlainEncoder


@pytest.fixture
def other(families: EmbeddingStore, make_store: Callable[..., EmbeddingStore]) -> EmbeddingStore:
    """Return the images in reverse, by an encoder that tells families apart in two dims more."""
    frame = families.images.frame.iloc[::-1].reset_index(drop=True)
    rows = np.arange(len(frame))[::-1]
    noise = np.random.default_rng(1).normal(size=(len(rows), 6))
    codes = np.eye(6)[np.repeat(np.arange(5), 16)[rows]]
    return make_store(PlainEncoder(2, dim=6), "other").append(frame, codes + 0.5 * noise)


def test_the_same_images_are_found_wherever_they_stand(
    families: EmbeddingStore, other: EmbeddingStore
) -> None:
    shared = find_shared_images((families, other), np.array([0, 79, 3]))
    assert shared.rows[:, 1].tolist() == [79, 0, 76]


def test_missing_images_are_counted(
    families: EmbeddingStore, other: EmbeddingStore, split: Split
) -> None:
    fewer = other.retire([79, 78])
    task = Task.of(families, Rank.FAMILY, split=split, others=(fewer,))
    fitted = fit(task, "stack")
    with pytest.raises(MismatchError, match="lacks 2 of the 80 images"):
        fitted.ask(View.of(families))
    without = fewer.retire((79 - split.rows("test")).tolist())
    with pytest.raises(ProbeError, match="embed the same images into it"):
        evaluate(
            Task.of(
                families,
                Rank.FAMILY,
                split=split,
                others=(without,),
            ),
            ["stack"],
            n_resamples=10,
        )


def test_a_stack_of_encoders_is_that_of_their_vectors(
    families: EmbeddingStore, other: EmbeddingStore, split: Split
) -> None:
    (task,) = Task.of(families, Rank.FAMILY, split=split, others=(other,)).rounds()
    only = task.need_split()
    learnt = fit(task, "stack")
    labels = families.images.labels(Rank.FAMILY)
    rows = only.rows("train")
    rows = rows[labels[rows] != ""]
    backwards = other.read_vectors()[::-1]
    probe = StackProbe(learnt.settings["bases"], C=learnt.settings["C"]).fit(
        [families.read_vectors(rows), backwards[rows]], labels[rows].astype(str), only.folds[rows]
    )
    asked = only.rows("test")
    expected = probe.predict_proba([families.read_vectors(asked), backwards[asked]])
    found = learnt.ask(task.view.take(asked), k=99)
    names = np.array([taxon.name for taxon in found.classes])
    assert names.tolist() == probe.classes_.tolist()
    np.testing.assert_allclose(found.to_dense(), expected, atol=1e-4)
    assert learnt.n_rows == len(rows)


def test_other_stores_change_what_a_stack_answers(
    families: EmbeddingStore, other: EmbeddingStore, split: Split
) -> None:
    alone = evaluate(Task.of(families, Rank.FAMILY, split=split), ["stack"], n_resamples=10)
    together = evaluate(
        Task.of(families, Rank.FAMILY, split=split, others=(other,)),
        ["stack"],
        n_resamples=10,
    )
    assert len(together.results[0].settings[0]["bases"]) == 2
    assert not np.allclose(
        alone.predictions["probability"], together.predictions["probability"], rtol=1e-5
    )
    assert together.results[0].temperatures
