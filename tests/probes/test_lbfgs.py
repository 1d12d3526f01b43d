"""How the minimum is stepped to."""

from __future__ import annotations

import pytest
import torch

from bioprobe.probes.lbfgs import Stop, minimise


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
