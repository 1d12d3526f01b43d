"""The trained projection: its objective, its two ends, and what few images make small."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import check_grad

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import ProbeError
from bioprobe.probes.adapter import read_texts
from bioprobe.probes.prolip import ProlipProbe, find_loss
from bioprobe.types import Doubles, Vectors

N_CLASSES, WIDTH, DIM = 4, 12, 6
Drawn = tuple[Vectors, Vectors, Vectors, npt.NDArray[np.object_]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """Draw inputs, a projection, texts and names; images lie off their texts."""
    random = np.random.default_rng(0)
    projection = random.normal(size=(WIDTH, DIM)).astype(np.float32)
    texts = normalise_rows(random.normal(size=(N_CLASSES, DIM)))
    labels = np.repeat(np.arange(N_CLASSES), 10)
    means = 3 * random.normal(size=(N_CLASSES, WIDTH))
    inputs = (means[labels] + random.normal(size=(len(labels), WIDTH))).astype(np.float32)
    return inputs, projection, texts, np.array(list("abcd"), dtype=object)


def make(drawn: Drawn, **settings: float | str | Vectors | npt.NDArray[np.object_]) -> ProlipProbe:
    _, projection, texts, names = drawn
    given = {"texts": texts, "text_classes": names, "scale": 10.0, "projection": projection}
    return ProlipProbe(**{**given, **settings})  # type: ignore[arg-type]


def test_the_gradient_is_that_of_the_loss(drawn: Drawn) -> None:
    inputs, projection, texts, _ = drawn
    labels = np.repeat(np.arange(N_CLASSES), 10)
    random = np.random.default_rng(1)
    weights = random.uniform(size=len(labels))
    x = inputs.astype(float)
    start: Doubles = x @ projection.astype(float)
    shares: Doubles = weights / weights.sum()

    def evaluate(flat: Doubles) -> tuple[float, Doubles]:
        moves: Doubles = flat.reshape(WIDTH, DIM)
        return find_loss(moves, x, start, texts.astype(float), labels, shares, 10.0, 0.3)

    def value(flat: Doubles) -> float:
        return evaluate(flat)[0]

    def slope(flat: Doubles) -> Doubles:
        return evaluate(flat)[1].ravel()

    at = random.normal(size=WIDTH * DIM) / 5
    assert check_grad(value, slope, at) < 1e-5 * np.linalg.norm(slope(at))


def test_between_zero_shot_and_what_was_learnt_stands_the_penalty(drawn: Drawn) -> None:
    inputs, projection, texts, names = drawn
    y = names[np.repeat(np.arange(N_CLASSES), 10)]
    zeroshot = 10 * normalise_rows(inputs @ projection) @ texts.T
    strong = make(drawn, penalty=1e9).fit(inputs, y)
    np.testing.assert_allclose(strong.logits(inputs), zeroshot, atol=1e-4)
    right = [make(drawn, penalty=p).fit(inputs, y).score(inputs, y) for p in (1e9, 1.0, 1e-3)]
    assert right == sorted(right)
    assert right[0] < 0.7 < 0.95 < right[2]
    moved = [
        np.abs(make(drawn, penalty=p).fit(inputs, y).matrix_ - projection).max() for p in (1, 9)
    ]
    assert moved[0] > moved[1]


def test_few_images_find_the_same_minimum_in_what_they_span(drawn: Drawn) -> None:
    inputs, _, _, names = drawn
    few = np.arange(0, 40, 4)
    y = names[few // 10]
    probe = make(drawn).fit(inputs[few], y)
    matrix, bias = probe._read_projection(WIDTH)
    x = inputs[few].astype(float)
    trained, labels = np.unique(y, return_inverse=True)
    _, texts, places = read_texts(trained, labels, x, probe.texts, probe.text_classes, "prolip")
    weights, penalty = np.full(len(few), 1 / len(few)), 4 / len(few)
    moves = probe.matrix_ - matrix
    _, slope = find_loss(moves, x, x @ matrix + bias, texts[places], labels, weights, 10.0, penalty)
    # Nowhere is it less: also not outside of what these images span.
    assert np.abs(slope).max() < 1e-4


def test_a_class_without_images_is_answered_by_its_text(drawn: Drawn) -> None:
    inputs, projection, texts, names = drawn
    y = names[np.repeat(np.arange(N_CLASSES), 10)]
    known = y != "d"
    probe = make(drawn).fit(inputs[known], y[known])
    assert probe.classes_.tolist() == list("abcd")
    toward = np.linalg.lstsq(projection.T, texts[3], rcond=None)[0].astype(np.float32)
    assert make(drawn, penalty=1e9).fit(inputs[known], y[known]).predict(toward[None]) == ["d"]
    never = make(drawn, untrained_offset=-1e5).fit(inputs[known], y[known])
    assert "d" not in never.predict(inputs)


def test_a_bias_is_added_and_weights_of_classes_count(drawn: Drawn) -> None:
    inputs, _, texts, names = drawn
    y = names[np.repeat(np.arange(N_CLASSES), 10)]
    toward = (1e6 * texts[2]).astype(np.float32)
    biased = make(drawn, projection_bias=toward, penalty=1e9).fit(inputs, y)
    assert set(biased.predict(inputs)) == {"c"}
    rare = np.r_[0:10, 10:12]
    plain, weighed = (
        make(drawn, balance=one, penalty=30.0)
        .fit(inputs[rare], y[rare])
        .predict_proba(inputs[10:20])
        for one in ("none", "class-weight")
    )
    assert weighed[:, 1].mean() > plain[:, 1].mean()


def test_what_does_not_fit_is_refused(drawn: Drawn) -> None:
    inputs, projection, texts, names = drawn
    y = names[np.repeat(np.arange(N_CLASSES), 10)]
    with pytest.raises(ProbeError, match="a projection of"):
        make(drawn, projection=projection[:5]).fit(inputs, y)
    with pytest.raises(ProbeError, match="1 classes have no text, such as d"):
        make(drawn, texts=texts[:3], text_classes=names[:3]).fit(inputs, y)
    with pytest.raises(ProbeError, match="no balance 'smote'"):
        make(drawn, balance="smote").fit(inputs, y)
