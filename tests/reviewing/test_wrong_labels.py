from __future__ import annotations

import numpy as np

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.reviewing.learner import Learner
from bioprobe.reviewing.pool import Pool
from bioprobe.reviewing.wrong_labels import predict_left_out


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
