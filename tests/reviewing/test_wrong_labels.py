from __future__ import annotations

import numpy as np

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.reviewing.learner import Learner
from bioprobe.reviewing.pool import Pool
from bioprobe.reviewing.wrong_labels import find_wrong_labels, predict_left_out


def test_a_label_has_no_part_in_how_probable_it_is() -> None:
    # Vectors of chance: who has seen the labels tells all of them, others none.
    random = np.random.default_rng(0)
    vectors = normalise_rows(random.normal(size=(80, 120))).astype(np.float32)
    labels = random.permutation(np.arange(80) % 2)
    learner = Learner(Pool.of(vectors, ["ant", "bee"], labels), seed=0, n_folds=5)
    places, classes, probabilities = predict_left_out(learner)
    own = probabilities[np.arange(len(places)), np.searchsorted(classes, labels[places])]
    assert len(places) == 80
    assert 0.4 < own.mean() < 0.6


def test_copies_of_a_picture_do_not_vouch_for_each_others_label() -> None:
    random = np.random.default_rng(1)
    truth = np.repeat([0, 1], 60)
    vectors = np.eye(8)[truth] + 0.45 * random.normal(size=(120, 8))
    labels = np.array(["ant", "bee"], dtype=object)[truth]
    # Ten copies of one picture of an ant, far out, are labelled bee.
    copies = np.eye(8)[[0]] + 0.7 * np.eye(8)[[5]]
    vectors = normalise_rows(np.concatenate([vectors, np.repeat(copies, 10, axis=0)]))
    labels = np.concatenate([labels, np.full(10, "bee", dtype=object)])
    groups = np.array([*map(str, range(120)), *["copy"] * 10], dtype=object)
    alone = find_wrong_labels(vectors.astype(np.float32), labels)
    together = find_wrong_labels(vectors.astype(np.float32), labels, groups.__getitem__)
    assert not (alone.places >= 120).any()
    assert sorted(together.places[together.places >= 120]) == [*range(120, 130)]
    nowhere = np.full(130, "", dtype=object)
    each = find_wrong_labels(vectors.astype(np.float32), labels, nowhere.__getitem__)
    assert each.places.tolist() == alone.places.tolist()
