"""Adapters are where their losses are least, and what they say of themselves in the limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from bioprobe.errors import ProbeError
from bioprobe.probes import AdapterProbe, ClapProbe, TipAdapterProbe
from bioprobe.types import Doubles, Places, Vectors

Adapted = TypeVar("Adapted", AdapterProbe, ClapProbe, TipAdapterProbe)
KINDS = (AdapterProbe, ClapProbe, TipAdapterProbe)
SCALE, N_CLASSES, N_TAUGHT, DIM = 8.0, 5, 3, 6


def unit(rows: npt.ArrayLike) -> Vectors:
    rows = np.asarray(rows, dtype=np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def drawn() -> tuple[Vectors, Places, Vectors]:
    """Return images of three of five classes that overlap, their classes, and the five texts."""
    random = np.random.default_rng(0)
    texts = unit(random.normal(size=(N_CLASSES, DIM)))
    y = np.repeat(np.arange(N_TAUGHT), (9, 7, 5))
    return unit(texts[y] + 0.8 * random.normal(size=(len(y), DIM)) + 0.5), y, texts


def make(kind: type[Adapted], texts: Vectors, **settings: object) -> Adapted:
    given = {"texts": texts, "text_classes": np.arange(len(texts)), "scale": SCALE}
    arguments: dict[str, Any] = {**given, **settings}
    return kind(**arguments)


def weigh(y: Places, balance: str) -> Doubles:
    sizes = np.bincount(y)
    each = 1 / (len(sizes) * sizes[y]) if balance == "class-weight" else np.full(len(y), 1 / len(y))
    return np.asarray(each, dtype=np.float64)


def minimise(loss: Callable[[Doubles], float], start: Doubles) -> Doubles:
    found = minimize(loss, start.ravel(), method="BFGS", options={"gtol": 1e-6})
    return np.asarray(found.x).reshape(start.shape)


@pytest.mark.parametrize("balance", ["none", "class-weight"])
def test_the_gradient_of_the_adapter_is_zero(
    drawn: tuple[Vectors, Places, Vectors], balance: str
) -> None:
    X, y, texts = drawn  # noqa: N806
    probe = make(AdapterProbe, texts, penalty=0.3, balance=balance).fit(X, y)
    matrix = torch.tensor(probe.matrix_, dtype=torch.float64, requires_grad=True)
    rows, taught = (torch.tensor(one, dtype=torch.float64) for one in (X, texts[:N_TAUGHT]))
    surprise = torch.nn.functional.cross_entropy(
        SCALE * rows @ matrix.T @ taught.T, torch.tensor(y), reduction="none"
    )
    away = matrix - torch.eye(DIM, dtype=torch.float64)
    # 1/N of seven images a class in the mean.
    loss = (torch.tensor(weigh(y, balance)) * surprise).sum() + 0.3 / 7 * away.square().sum()
    (gradient,) = torch.autograd.grad(loss, matrix)
    assert float(gradient.abs().max()) < 1e-4
    assert float(away.detach().abs().max()) > 0.05


def test_the_adapter_answers_every_text_through_its_matrix(
    drawn: tuple[Vectors, Places, Vectors],
) -> None:
    X, y, texts = drawn  # noqa: N806
    probe = make(AdapterProbe, texts).fit(X, y)
    expected = SCALE * (X @ probe.matrix_.T) @ texts.T
    np.testing.assert_allclose(probe.logits(X), expected, atol=1e-4)
    lower = make(AdapterProbe, texts, untrained_offset=-2.0).fit(X, y).logits(X) - probe.logits(X)
    np.testing.assert_allclose(lower, [[0, 0, 0, -2, -2]] * len(X), atol=1e-4)


@pytest.mark.parametrize("kind", [AdapterProbe, ClapProbe])
def test_a_penalty_that_moves_nothing_is_zero_shot(
    drawn: tuple[Vectors, Places, Vectors], kind: type[Adapted]
) -> None:
    X, y, texts = drawn  # noqa: N806
    probe = make(kind, texts, penalty=1e9).fit(X, y)
    np.testing.assert_allclose(probe.logits(X), SCALE * X @ texts.T, atol=1e-4)
    moved = make(kind, texts).fit(X, y)
    assert np.abs(moved.logits(X) - SCALE * X @ texts.T).max() > 0.1


def test_clap_is_the_minimum_that_scipy_finds(drawn: tuple[Vectors, Places, Vectors]) -> None:
    X, y, texts = drawn  # noqa: N806
    taught, own = texts[:N_TAUGHT].astype(np.float64), np.arange(len(y))
    known = softmax(SCALE * X @ taught.T, axis=1)[own, y]
    multipliers = np.array([known[y == one].mean() for one in range(N_TAUGHT)])

    def loss(flat: Doubles) -> float:
        weights = flat.reshape(taught.shape)
        surprise = -log_softmax(SCALE * X @ weights.T, axis=1)[own, y].mean()
        held = multipliers @ ((weights - taught) ** 2).sum(axis=1)
        return float(surprise + 0.5 * held / N_TAUGHT)

    probe = make(ClapProbe, texts, penalty=0.5).fit(X, y)
    np.testing.assert_allclose(probe.multipliers_, multipliers, atol=1e-5)
    expected = SCALE * minimise(loss, taught)
    np.testing.assert_allclose(probe.coef_[:N_TAUGHT], expected, atol=2e-3)
    # Those without images keep their texts.
    np.testing.assert_allclose(probe.coef_[N_TAUGHT:], SCALE * texts[N_TAUGHT:], atol=1e-5)


def test_clap_that_nothing_holds_is_a_plain_probe(drawn: tuple[Vectors, Places, Vectors]) -> None:
    from sklearn.linear_model import LogisticRegression

    X, y, texts = drawn  # noqa: N806
    wrong = y.copy()
    # Else no classes of so few images overlap, and nothing bounds the coefficients.
    wrong[::4] = (y[::4] + 1) % N_TAUGHT
    plain = LogisticRegression(C=1e8, fit_intercept=False, tol=1e-9, max_iter=5000).fit(X, wrong)
    probe = make(ClapProbe, texts, penalty=0.0).fit(X, wrong)
    got = probe.logits(X)[:, :N_TAUGHT]
    expected = plain.decision_function(X)
    centred = [one - one.mean(axis=1, keepdims=True) for one in (got, expected)]
    np.testing.assert_allclose(centred[0], centred[1], atol=2e-2)


def test_tip_adapter_without_a_cache_is_zero_shot(drawn: tuple[Vectors, Places, Vectors]) -> None:
    X, y, texts = drawn  # noqa: N806
    probe = make(TipAdapterProbe, texts, alpha=0.0).fit(X, y)
    np.testing.assert_allclose(probe.logits(X), SCALE * X @ texts.T, atol=1e-4)


def test_tip_adapter_learns_its_keys_as_published(drawn: tuple[Vectors, Places, Vectors]) -> None:
    X, y, texts = drawn  # noqa: N806
    probe = make(TipAdapterProbe, texts, alpha=2.0, beta=3.0, n_epochs=4).fit(X, y)
    keys, rows = torch.tensor(X, requires_grad=True), torch.tensor(X)
    labels = torch.nn.functional.one_hot(torch.tensor(y)).float()
    first, second = np.zeros(X.shape), np.zeros(X.shape)
    for step in range(4):
        near = torch.exp(-3.0 * (1 - rows @ keys.T))
        logits = SCALE * rows @ torch.tensor(texts[:N_TAUGHT]).T + 2.0 * near @ labels
        (gradient,) = torch.autograd.grad(
            torch.nn.functional.cross_entropy(logits, torch.tensor(y)), keys
        )
        # AdamW along a cosine, with the decay of .01 that PyTorch takes.
        rate = 5e-4 * (1 + np.cos(np.pi * step / 4))
        first = 0.9 * first + 0.1 * gradient.numpy()
        second = 0.999 * second + 0.001 * gradient.numpy() ** 2
        ahead = first / (1 - 0.9 ** (step + 1))
        length = np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-4
        moved = keys.detach().numpy() * (1 - 0.01 * rate) - rate * ahead / length
        keys = torch.tensor(moved.astype(np.float32), requires_grad=True)
    np.testing.assert_allclose(probe.keys_, keys.detach().numpy(), atol=1e-5)
    expected = SCALE * X @ texts.T
    expected[:, :N_TAUGHT] += 2.0 * np.exp(-3.0 * (1 - X @ probe.keys_.T)) @ labels.numpy()
    np.testing.assert_allclose(probe.logits(X), expected, atol=1e-4)
    assert np.abs(probe.keys_ - X).max() > 1e-3


@pytest.mark.parametrize("kind", [AdapterProbe, ClapProbe])
def test_the_order_of_images_changes_nothing(
    drawn: tuple[Vectors, Places, Vectors], kind: type[Adapted]
) -> None:
    X, y, texts = drawn  # noqa: N806
    order = np.random.default_rng(1).permutation(len(y))
    one, other = make(kind, texts).fit(X, y), make(kind, texts).fit(X[order], y[order])
    np.testing.assert_allclose(one.logits(X), other.logits(X), atol=1e-3)
    again = make(kind, texts).fit(X, y)
    np.testing.assert_array_equal(one.logits(X), again.logits(X))


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_learnt_is_refused(
    drawn: tuple[Vectors, Places, Vectors], kind: type[Adapted]
) -> None:
    X, y, texts = drawn  # noqa: N806
    with pytest.raises(
        ProbeError, match=f"{kind.kind} starts from texts: give one class embedding"
    ):
        make(kind, texts, text_classes=None).fit(X, y)
    with pytest.raises(ProbeError, match="1 classes have no text, such as 2"):
        make(kind, texts[:2]).fit(X, y)
    with pytest.raises(ProbeError, match="no balance 'gold'"):
        make(kind, texts, balance="gold").fit(X, y)


def test_weights_of_classes_count_in_tip_adapter(drawn: tuple[Vectors, Places, Vectors]) -> None:
    X, y, texts = drawn  # noqa: N806
    plain, weighed = (
        make(TipAdapterProbe, texts, balance=one).fit(X, y).keys_
        for one in ("none", "class-weight")
    )
    assert not np.array_equal(plain, weighed)
    with pytest.raises(ProbeError, match="no balance 'smote'; there are none, class-weight"):
        make(TipAdapterProbe, texts, balance="smote").fit(X, y)


def test_without_texts_the_means_of_classes_stand_for_them() -> None:
    X = unit([[1, 0.1], [0.9, 0.2], [0.1, 1], [0.3, 1]])  # noqa: N806
    means = unit([X[:2].mean(axis=0), X[2:].mean(axis=0)])
    for kind in (AdapterProbe, ClapProbe):
        alone = kind(scale=SCALE).fit(X, [0, 0, 1, 1]).logits(X)
        told = make(kind, means).fit(X, [0, 0, 1, 1]).logits(X)
        np.testing.assert_allclose(alone, told, atol=1e-3)
