"""Attention of any image tower, written down while it runs, whatever kernel computes it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it
from torch.overrides import TorchFunctionMode

_SOFTMAXES = {F.softmax, torch.softmax, torch.Tensor.softmax}


@dataclasses.dataclass(frozen=True)
class Attention:
    """What one attention gave: its weights, or what they were multiplied with and to.

    Fused kernels never hold the weights A. As their output is O = A·V, the gradient with respect
    to A is that of O times V transposed, so neither has to be computed again.
    """

    weights: torch.Tensor | None = None
    values: torch.Tensor | None = None
    output: torch.Tensor | None = None

    @property
    def source(self) -> torch.Tensor:
        """What the gradient is asked of."""
        found = self.output if self.weights is None else self.weights
        assert found is not None
        return found

    def find_gradient(self, of_source: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the weights, shape (n, heads, n_queries, n_keys)."""
        if self.values is None:
            return of_source
        n_groups = of_source.shape[-3] // self.values.shape[-3]
        values = self.values.detach().repeat_interleave(n_groups, dim=-3)
        return of_source @ values.transpose(-2, -1)


class AttentionListener(TorchFunctionMode):
    """Write down every attention that is computed in this thread, whatever kernel computes it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Attention] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 -- of any function of torch
        del types
        named = dict(kwargs or {})
        if func is F.scaled_dot_product_attention:
            output = func(*args, **named)
            values = args[2] if len(args) > 2 else named["value"]
            self.heard.append(Attention(values=values, output=output))
            return output
        if func is F.multi_head_attention_forward:
            bound = inspect.signature(func).bind(*args, **named)
            bound.apply_defaults()
            if _is_plain(bound.arguments):
                return self._attend(bound.arguments)
        result = func(*args, **named)
        if func in _SOFTMAXES and result.ndim == 4:
            self.heard.append(Attention(weights=result))
        return result

    def _attend(self, given: Mapping[str, Any]) -> tuple[torch.Tensor, None]:
        """Compute what ``torch.nn.MultiheadAttention`` does, by the kernel that is listened to."""
        query, key, value = given["query"], given["key"], given["value"]
        weights = _split_weights(given)
        biases = [None] * 3
        if given["in_proj_bias"] is not None:
            biases = list(given["in_proj_bias"].chunk(3))
        # Given as (tokens, n, width).
        q, k, v = (
            _split_heads(F.linear(x, weight, bias), given["num_heads"])
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        mask = given["attn_mask"]
        output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        self.heard.append(Attention(values=v, output=output))
        joined = output.permute(2, 0, 1, 3).flatten(2)
        return F.linear(joined, given["out_proj_weight"], given["out_proj_bias"]), None


def _is_plain(given: Mapping[str, Any]) -> bool:
    """Tell whether an attention has none of what no image tower asks for."""
    rare = ("bias_k", "bias_v", "static_k", "static_v", "key_padding_mask")
    return (
        all(given[name] is None for name in rare)
        and not given["add_zero_attn"]
        and not given["training"]
        and given["query"].ndim == 3
    )


def _split_weights(given: Mapping[str, Any]) -> list[torch.Tensor]:
    if given["use_separate_proj_weight"]:
        return [given[f"{x}_proj_weight"] for x in "qkv"]
    return list(given["in_proj_weight"].chunk(3))


def _split_heads(x: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Return (n, heads, tokens, width of a head) of (tokens, n, width)."""
    return x.reshape(*x.shape[:2], n_heads, -1).permute(1, 2, 0, 3)
