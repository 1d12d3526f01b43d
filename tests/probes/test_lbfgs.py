"""How the minimum is stepped to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from bioprobe.probes.lbfgs import Minimum, Pair, Stop, minimise


@pytest.mark.parametrize("curvature", [0.5, 1.0, 100.0, 1e5])
def test_no_step_is_tried_that_would_have_to_be_taken_back(curvature: float) -> None:
    tried: list[float] = []

    def evaluate(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = curvature / 2 * points.double().square().sum(dim=1) + 1
        tried.append(float(values))
        return values, curvature * points

    start = torch.ones(1, 3)
    begun, gradients = evaluate(start)
    found = minimise(
        evaluate, (start, begun, gradients), torch.ones(1, 3), Stop(1e-9, max_iter=50, noise=1e-9)
    )
    assert found.values.item() == pytest.approx(1, abs=1e-6)
    assert max(tried) <= begun.item()


def test_a_step_that_leads_up_is_taken_back() -> None:
    def evaluate(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # Beside so much the first step promises little, and goes a hundred times too far.
        return 50 * points.double().square().sum(dim=1) + 1e5, 100 * points

    begun = torch.ones(1, 1), *evaluate(torch.ones(1, 1))
    found = minimise(evaluate, begun, torch.ones(1, 1), Stop(1e-9, max_iter=1, noise=1e-9))
    assert found.n_iter == 1
    assert found.values.item() < begun[1].item()
    # What is known from elsewhere, here of a curvature 100,000 times too large, ends nothing.
    known = [Pair.of(torch.ones(1, 1), torch.full((1, 1), 1e7))]
    stop = Stop(1e-6, max_iter=20, noise=1e-12)
    again = minimise(evaluate, begun, torch.ones(1, 1), stop, known)
    assert again.values.item() == pytest.approx(1e5, abs=1e-3)


def test_a_curvature_that_is_not_positive_is_not_remembered() -> None:
    steps = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    changes = torch.tensor([[4.0, 1.0], [-4.0, 1.0], [1.0, 1.0]])
    assert Pair.of(steps, changes).inverse.tolist() == [0.25, 0, 0]


def test_what_was_learnt_of_the_curvature_saves_steps_from_elsewhere() -> None:
    curvatures = torch.logspace(0, 2, 6)

    def evaluate(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = (curvatures * points.square()).double().sum(dim=1) / 2 + 1
        return values, curvatures * points

    def run(start: torch.Tensor, pairs: Sequence[Pair]) -> Minimum:
        begun = start, *evaluate(start)
        return minimise(evaluate, begun, torch.ones(1, 6), Stop(1e-9, 50, 1e-9), pairs)

    first = run(torch.ones(1, 6), ())
    elsewhere = torch.tensor([[2.0, -1.0, 1.0, 3.0, -2.0, 1.0]])
    again = run(elsewhere, first.pairs)
    assert again.values.item() == pytest.approx(1, abs=1e-6)
    assert again.n_iter < run(elsewhere, ()).n_iter
