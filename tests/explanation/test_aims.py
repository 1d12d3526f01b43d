from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import bioprobe as bp
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError
from bioprobe.explanation import aims
from bioprobe.explanation.aims import ClassAim, ProbeLogits, StackLogits, TextLogits

DIM, N_CLASSES = 12, 4
RANDOM = np.random.default_rng(5)
TEXTS = normalise_rows(RANDOM.normal(size=(5, DIM)))
ASKED = normalise_rows(RANDOM.normal(size=(3, DIM)))
CENTRES = normalise_rows(RANDOM.normal(size=(N_CLASSES, DIM)))
Y = np.repeat(np.arange(N_CLASSES), 8)
X = normalise_rows(CENTRES[Y] + RANDOM.normal(scale=0.25, size=(len(Y), DIM)))
LINEAGES = np.array([[f"order {n // 2}", f"family {n}"] for n in Y], dtype=object)


def _fit(kind: str) -> Any:  # noqa: ANN401
    probes = bp.probes
    made: dict[str, Any] = {
        "linear": probes.LinearProbe(C=1.0),
        "lda": probes.LdaProbe(),
        "ridge": probes.RidgeProbe(),
        "centroid": probes.CentroidProbe(),
        "knn": probes.KnnProbe(k=20),
        "softmax": probes.HierarchicalProbe(),
        "local": probes.HierarchicalProbe(method="local", smoothing=0.0),
        "stack": probes.StackProbe(bases=[("lda", {}), ("ridge", {})], C=1.0),
    }
    return made[kind].fit(X, LINEAGES if kind in {"softmax", "local"} else Y)


def _differ(aim: ClassAim, vectors: npt.NDArray[np.float32], step: float) -> npt.NDArray[Any]:
    """Return how the value grows, by differences of the aim's own values."""
    grown = np.empty(vectors.shape)
    for place in range(vectors.shape[1]):
        moved = np.zeros(vectors.shape[1], dtype=np.float32)
        moved[place] = step
        above, below = aim.measure(vectors + moved)[0], aim.measure(vectors - moved)[0]
        grown[:, place] = (above - below) / (2 * step)
    return grown


@pytest.mark.parametrize("offsets", [None, np.array([0.0, 1.0, -2.0, 0.5, 3.0])])
def test_several_texts_against_others_are_what_torch_differentiates(offsets: Any) -> None:  # noqa: ANN401
    logits = TextLogits(TEXTS, 20.0, offsets)
    aim = ClassAim(logits, (0, 2), ((1,), (3, 4)), alpha=0.6)
    asked = torch.tensor(ASKED, dtype=torch.float64, requires_grad=True)
    z = 20.0 * asked @ torch.tensor(TEXTS, dtype=torch.float64).T
    z = z if offsets is None else z - torch.tensor(offsets)
    like = (z[:, 1] + torch.logsumexp(z[:, [3, 4]], dim=1)) / 2
    expected = torch.logsumexp(z[:, [0, 2]], dim=1) - 0.6 * like
    torch.autograd.backward(expected.sum())
    value, growth = aim.measure(ASKED)
    assert asked.grad is not None
    assert np.allclose(value, expected.detach().numpy())
    assert np.allclose(growth, asked.grad.numpy(), atol=1e-5)
    assert growth.dtype == np.float32
    assert value.dtype == np.float64


@pytest.mark.parametrize(
    "kind", ["linear", "lda", "ridge", "centroid", "knn", "softmax", "local", "stack"]
)
def test_a_class_of_each_probe_grows_as_its_answers_do(kind: str) -> None:
    probe = _fit(kind)
    aim = ClassAim(ProbeLogits(probe), (1,), ((0, 3),), alpha=0.5)
    logits = probe.logits(ASKED).astype(np.float64)
    value, growth = aim.measure(ASKED)
    together = np.log(np.exp(logits[:, [0, 3]]).sum(axis=1))
    centre = logits.mean(axis=1)
    assert np.allclose(value, logits[:, 1] - centre - 0.5 * (together - centre), atol=1e-4)
    expected = _differ(aim, ASKED, 5e-3)
    scale = np.abs(expected).max()
    assert scale > 0
    assert np.abs(growth - expected).max() < 2e-2 * scale


@pytest.mark.parametrize("kind", ["linear", "lda", "ridge", "centroid", "softmax"])
def test_differences_of_answers_are_what_the_formula_gives(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aim = ClassAim(ProbeLogits(_fit(kind)), (2,))
    exact = aim.measure(ASKED)[1]
    monkeypatch.setattr(aims, "_pull_exactly", lambda *_: None)
    # So few at once that the dimensions are asked in several goes.
    monkeypatch.setattr(aims, "_AT_ONCE", 5 * 2 * DIM)
    near = aim.measure(ASKED)[1]
    assert np.abs(near - exact).max() < 3e-3 * np.abs(exact).max()


def test_what_all_classes_share_has_no_part_in_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = _fit("lda")
    aim = ClassAim(ProbeLogits(probe), (2,))
    value, growth = aim.measure(ASKED)
    monkeypatch.setattr(probe, "coef_", probe.coef_ + RANDOM.normal(size=DIM).astype(np.float32))
    moved, grown = aim.measure(ASKED)
    assert np.allclose(moved, value, atol=1e-4)
    assert np.allclose(grown, growth, atol=1e-4)


def test_numbers_beside_the_vector_are_held() -> None:
    beside = np.full((len(X), 2), Y[:, np.newaxis], dtype=np.float32)
    probe = bp.probes.LdaProbe().fit(np.concatenate([X, beside], axis=1), Y)
    found = ClassAim(ProbeLogits(probe, np.array([1, 1], dtype=np.float32)), (1,)).measure(ASKED)
    other = ClassAim(ProbeLogits(probe, np.array([0, 0], dtype=np.float32)), (1,)).measure(ASKED)
    assert found[1].shape == ASKED.shape
    assert np.array_equal(found[1], other[1])
    assert (found[0] != other[0]).all()


def test_a_stack_of_several_encoders_grows_with_the_vector_of_one() -> None:
    other = normalise_rows(X[:, :5] + RANDOM.normal(scale=0.1, size=(len(X), 5)))
    stack = bp.probes.StackProbe(bases=[("lda", {}), ("ridge", {})], C=1.0).fit([X, other], Y)
    aim = ClassAim(StackLogits(stack, (other[3],)), (1,), ((0,),))
    held = np.repeat(other[[3]], len(ASKED), axis=0)
    logits = stack.logits([ASKED, held])
    value, growth = aim.measure(ASKED)
    assert np.allclose(value, logits[:, 1] - logits[:, 0], atol=1e-4)
    expected = _differ(aim, ASKED, 5e-3)
    assert np.abs(growth - expected).max() < 2e-2 * np.abs(expected).max()


def test_a_class_whose_probability_is_next_to_one_still_grows() -> None:
    probe = _fit("local")
    aim = ClassAim(ProbeLogits(probe), (1,))
    growth = aim.measure(CENTRES[[1]])[1]
    assert np.linalg.norm(growth) > 1


def test_vectors_of_another_dim_are_refused() -> None:
    with pytest.raises(MismatchError, match="takes vectors of dim 12, got 3"):
        ClassAim(TextLogits(TEXTS, 1.0), (0,)).measure(np.ones((1, 3), dtype=np.float32))
