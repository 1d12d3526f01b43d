"""Attention of any image tower, written down while it runs, whatever kernel computes it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it
from torch.overrides import TorchFunctionMode

# Of what a fused kernel is given by its place.
_ASKED_BY_PLACE = ("query", "key", "value", "attn_mask")
_SOFTMAXES = {F.softmax, torch.softmax, torch.Tensor.softmax}


@dataclasses.dataclass(frozen=True)
class Attention:
    """What one attention gave: its weights, or what they follow from.

    Fused kernels never hold the weights A. As their output is O = A·V, the gradient with respect
    to A is that of O times V transposed.

    Parameters
    ----------
    weights : Tensor, shape (n, heads, n_queries, n_keys), optional
        None where a fused kernel ran, of which the others are known.
    queries, keys, values : Tensor, shape (n, heads, n_tokens, width of a head), optional
        Of keys and values there may be fewer heads, each for several of the queries'.
    output : Tensor, shape (n, heads, n_queries, width of a head), optional
    mask : Tensor of bool or float, optional
        What may be attended to, or what is added before the softmax.
    scale : float, optional
        Of the products of queries and keys; by default one by the root of the width.
    """

    weights: torch.Tensor | None = None
    queries: torch.Tensor | None = None
    keys: torch.Tensor | None = None
    values: torch.Tensor | None = None
    output: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    scale: float | None = None

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
        values = _repeat_heads(self.values.detach(), of_source)
        return of_source @ values.transpose(-2, -1)

    def find_weights(self) -> torch.Tensor:
        """Return the weights, shape (n, heads, n_queries, n_keys), without their graph."""
        if self.weights is not None:
            return self.weights.detach()
        assert self.queries is not None
        assert self.keys is not None
        queries = self.queries.detach()
        keys = _repeat_heads(self.keys.detach(), queries)
        scale = queries.shape[-1] ** -0.5 if self.scale is None else self.scale
        products = scale * (queries @ keys.transpose(-2, -1))
        if self.mask is not None and self.mask.dtype == torch.bool:
            products = products.masked_fill(~self.mask, float("-inf"))
        elif self.mask is not None:
            products = products + self.mask
        return products.softmax(dim=-1)


def _repeat_heads(x: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    """Return keys or values with as many heads as something else has."""
    return x.repeat_interleave(of.shape[-3] // x.shape[-3], dim=-3)


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
            asked = dict(zip(_ASKED_BY_PLACE, args, strict=False)) | named
            self.heard.append(
                Attention(
                    queries=asked["query"], keys=asked["key"], values=asked["value"],
                    output=output, mask=asked.get("attn_mask"), scale=asked.get("scale"),
                )
            )  # fmt: skip
            return output
        if (given := read_plain(func, args, named)) is not None:
            attention, _, attended = attend(given)
            self.heard.append(attention)
            return attended, None
        result = func(*args, **named)
        if func in _SOFTMAXES and result.ndim == 4:
            self.heard.append(Attention(weights=result))
        return result


def attend(given: Mapping[str, Any]) -> tuple[Attention, torch.Tensor, torch.Tensor]:
    """Compute what ``torch.nn.MultiheadAttention`` does, by a kernel that is listened to.

    Parameters
    ----------
    given : mapping
        Arguments of ``torch.nn.functional.multi_head_attention_forward``.

    Returns
    -------
    attention : Attention
    joined : Tensor, shape (n_queries, n_images, width)
        What the heads gave, before the last linear map.
    result : Tensor, shape (n_queries, n_images, dim)
    """
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
    joined = output.permute(2, 0, 1, 3).flatten(2)
    result = F.linear(joined, given["out_proj_weight"], given["out_proj_bias"])
    return Attention(queries=q, keys=k, values=v, output=output, mask=mask), joined, result


def read_plain(
    func: Callable[..., Any], args: tuple[Any, ...], named: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Return what a function of torch is given, by name, where :func:`attend` can stand for it."""
    if func is not F.multi_head_attention_forward:
        return None
    bound = inspect.signature(func).bind(*args, **named)
    bound.apply_defaults()
    return bound.arguments if _is_plain(bound.arguments) else None


def _is_plain(given: Mapping[str, Any]) -> bool:
    """Tell whether an attention has none of what no image tower asks for."""
    mask = given["attn_mask"]
    # To a fused kernel False is what a mask hides, here True is.
    if mask is not None and (mask.dtype == torch.bool or mask.ndim != 2):
        return False
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
