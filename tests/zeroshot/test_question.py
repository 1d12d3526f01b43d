"""What images of different priors and lists are asked, by the definition."""

from __future__ import annotations

import dataclasses

import numpy as np

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.task.leaves import Leaves
from bioprobe.task.listed import Listed
from bioprobe.task.tree import Tree
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.types import Doubles, Vectors
from bioprobe.zeroshot.question import Question, _iter_scored, find_first

N_CLASSES, DIM, SCALE = 30, 8, 10.0
# The priors of the images that are asked, in no order.
LINES = np.array([0, 1, 1, 0, 1, 0, 0, 1, 0])


def _ask() -> tuple[Question, Vectors, Doubles]:
    """Return a question, vectors of images and the probabilities of each class."""
    random = np.random.default_rng(0)
    texts = normalise_rows(random.normal(size=(N_CLASSES, DIM)))
    vectors = normalise_rows(random.normal(size=(len(LINES), DIM)))
    offsets = random.normal(scale=2, size=(2, N_CLASSES)).astype(np.float32)
    taxa = Taxonomy(tuple(Taxon.from_names({"species": f"Genus s{i}"}) for i in range(N_CLASSES)))
    question = Question(Tree(taxa, Rank.SPECIES), Leaves.of(texts, offsets), SCALE, {}, kinds=LINES)
    weights = np.exp(SCALE * vectors.astype(np.float64) @ texts.T - offsets[LINES])
    return question, vectors, weights / weights.sum(axis=1, keepdims=True)


def test_the_first_that_is_wanted_has_the_prior_of_its_image() -> None:
    question, vectors, expected = _ask()
    # For some images the best of all is wanted, the others are asked again.
    best = expected.argmax(axis=1)
    wanted = np.ones(N_CLASSES, dtype=bool)
    wanted[best[[1, 3, 7]]] = False
    found = question.score(vectors, question.leaves, k=1, kinds=LINES)
    leaf, values = find_first(question, vectors, LINES, found, wanted)
    is_asked_again = ~wanted[best]
    assert is_asked_again.any()
    assert not is_asked_again.all()
    assert leaf.tolist() == np.where(wanted, expected, 0).argmax(axis=1).tolist()
    np.testing.assert_allclose(values, np.where(wanted, expected, 0).max(axis=1), rtol=1e-4)


def test_images_of_one_list_have_each_the_prior_of_its_own() -> None:
    question, vectors, expected = _ask()
    allowed = np.random.default_rng(1).random((3, N_CLASSES)) < 0.5
    listed = Listed(question.tree, np.array([2, 0, 1, 0, 2, 1, 1, 0, 2]), allowed, (allowed,))
    question = dataclasses.replace(question, listed=listed)
    seen = []
    for part in _iter_scored(question, 5, slice(0, len(LINES)), vectors):
        assert (listed.kinds[part.places] == part.kind).all()
        assert part.lines is not None
        assert part.lines.tolist() == LINES[part.places].tolist()
        np.testing.assert_allclose(
            part.found.top_probabilities,
            np.take_along_axis(expected[part.places], part.found.top, axis=1), rtol=1e-4,
        )  # fmt: skip
        best = np.where(allowed[part.kind], expected[part.places], 0).argmax(axis=1)
        assert part.found.allowed_top[:, 0].tolist() == best.tolist()
        seen.extend(part.places.tolist())
    assert sorted(seen) == list(range(len(LINES)))
