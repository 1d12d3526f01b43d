"""Products by numpy, a thread for some of the rows each: the same embeddings, in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it

from bioprobe.encoders.families.numpy_products import NumpyProducts, run_in_threads

WIDTH = 24


class Block(torch.nn.Module):
    """Attention and a map, as towers have them; with a mask, as those of texts."""

    def __init__(self, *, is_causal: bool) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(WIDTH, 3, batch_first=True)
        self.mlp = torch.nn.Linear(WIDTH, 5, bias=is_causal)
        self.mask = torch.full((7, 7), -torch.inf).triu(1) if is_causal else None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        attended, _ = self.attention(
            tokens, tokens, tokens, need_weights=False, attn_mask=self.mask
        )
        mapped: torch.Tensor = self.mlp(tokens + attended)
        return mapped.flatten(1)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("n_rows", "n_threads"), [(1, 3), (8, 3), (5, 1)])
def test_rows_are_computed_in_order_as_by_torch(
    n_rows: int, n_threads: int, *, is_causal: bool
) -> None:
    torch.manual_seed(0)
    block = Block(is_causal=is_causal).eval().requires_grad_(requires_grad=False)
    # Each row of another size: of two that change places nothing would be near.
    tokens = torch.randn(n_rows, 7, WIDTH) * torch.arange(1, n_rows + 1)[:, None, None]
    n_before = torch.get_num_threads()
    found = run_in_threads(block, (tokens,), n_threads)
    with torch.inference_mode():
        torch.testing.assert_close(found, block(tokens), rtol=1e-5, atol=1e-5)
    assert torch.get_num_threads() == n_before


def test_weights_of_attention_are_given_to_who_asks_for_them() -> None:
    attention = torch.nn.MultiheadAttention(WIDTH, 3).eval().requires_grad_(requires_grad=False)
    tokens = torch.randn(4, 2, WIDTH)
    with torch.inference_mode():
        expected = attention(tokens, tokens, tokens)
        with NumpyProducts():
            found = attention(tokens, tokens, tokens)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_numpy_computes_every_linear_map(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    matmul = np.matmul

    def count(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        shapes.append((a.shape, b.shape))
        product: np.ndarray = matmul(a, b, out=out)
        return product

    monkeypatch.setattr(np, "matmul", count)
    block = Block(is_causal=False).eval().requires_grad_(requires_grad=False)
    with torch.inference_mode(), NumpyProducts():
        block(torch.randn(2, 7, WIDTH))
    # Of queries, keys, values and what the heads give, and the last.
    assert shapes == [((14, WIDTH), (WIDTH, WIDTH))] * 4 + [((14, WIDTH), (WIDTH, 5))]
    # Outside nothing is changed.
    F.linear(torch.ones(1, 2), torch.ones(3, 2))
    assert len(shapes) == 5
