"""What a tower of PyTorch computes inside: its blocks of tokens, its last map, its projection.

Each is found by running the tower once, whichever library it is of.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it
from torch.overrides import TorchFunctionMode

Embed: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

_SOFTMAXES = {F.softmax, torch.softmax, torch.Tensor.softmax}
# Class token and registers; more tokens beside the patches than this are something else.
_MOST_PREFIX_TOKENS = 16
# In a trace no count of tokens is likely to be this.
_N_TRACED = 3


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
            if is_plain(bound.arguments):
                attention, _, attended = attend(bound.arguments)
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
    output = F.scaled_dot_product_attention(q, k, v, attn_mask=given["attn_mask"])
    joined = output.permute(2, 0, 1, 3).flatten(2)
    result = F.linear(joined, given["out_proj_weight"], given["out_proj_bias"])
    return Attention(values=v, output=output), joined, result


def is_plain(given: Mapping[str, Any]) -> bool:
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


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The blocks of a vision transformer.

    Parameters
    ----------
    modules : tuple of torch.nn.Module
        In their order.
    gives_tuples : bool
        Whether a block returns its tokens as the first of a tuple.
    token_axis : int
        Axis of the tokens between blocks: 1, or 0 where the images come second.
    n_prefix : int
        Tokens before those of the patches: the class token and registers.
    grid : tuple of int
        Patches from top to bottom and from left to right.
    """

    modules: tuple[torch.nn.Module, ...]
    gives_tuples: bool
    token_axis: int
    n_prefix: int
    grid: tuple[int, int]

    def bring_first(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens between blocks as (n_images, n_tokens, width)."""
        return tokens if self.token_axis == 1 else tokens.transpose(0, 1)


def find_blocks(module: torch.nn.Module, embed: Embed, pixels: torch.Tensor) -> Blocks | None:
    """Find the blocks and the grid of a vision transformer by running it.

    Parameters
    ----------
    module : torch.nn.Module
        The whole model.
    embed : callable
        From pixels to embeddings.
    pixels : Tensor of float, shape (1, 3, height_px, width_px)
        A picture.

    Returns
    -------
    Blocks or None
        None where no list of blocks passes on the tokens of a grid of patches, with attention in
        each: a CNN, or a transformer that merges its tokens.
    """
    trace = _trace(module, embed, pixels.repeat(_N_TRACED, 1, 1, 1))
    lists = [found for found in trace.list_blocks() if found]
    if not lists or trace.grid is None:
        return None
    blocks = max(lists, key=len)
    shape, gives_tuples = trace.outputs[blocks[0]]
    if len(shape) != 3 or shape.count(_N_TRACED) != 1:
        return None
    token_axis = 1 - shape.index(_N_TRACED)
    n_prefix = shape[token_axis] - trace.grid[0] * trace.grid[1]
    if not 0 <= n_prefix <= _MOST_PREFIX_TOKENS:
        return None
    return Blocks(blocks, gives_tuples, token_axis, n_prefix, trace.grid)


@dataclasses.dataclass
class _Trace:
    """What ran, in which order, with which shapes."""

    children: list[tuple[torch.nn.Module, ...]]
    outputs: dict[torch.nn.Module, tuple[list[int], bool]]
    n_runs: dict[torch.nn.Module, int]
    attending: set[torch.nn.Module]
    grid: tuple[int, int] | None = None

    def list_blocks(self) -> Iterator[tuple[torch.nn.Module, ...]]:
        """Find the lists whose members each ran once, attended, and gave tokens of one shape.

        Yields
        ------
        tuple of torch.nn.Module
        """
        for blocks in self.children:
            shapes = [self.outputs.get(block) for block in blocks]
            is_run_once = all(self.n_runs.get(block) == 1 for block in blocks)
            is_alike = shapes[0] is not None and shapes.count(shapes[0]) == len(shapes)
            if is_run_once and is_alike and self.attending.issuperset(blocks):
                yield blocks


def _trace(module: torch.nn.Module, embed: Embed, pixels: torch.Tensor) -> _Trace:
    lists = (torch.nn.ModuleList, torch.nn.Sequential)
    children = [tuple(m.children()) for m in module.modules() if isinstance(m, lists) and len(m)]
    trace = _Trace(children, {}, {}, set())
    listener = AttentionListener()
    starts: dict[torch.nn.Module, int] = {}
    handles = []

    def start(block: torch.nn.Module, args: Any) -> None:  # noqa: ANN401
        del args
        starts[block] = len(listener.heard)

    def end(block: torch.nn.Module, args: Any, result: Any) -> None:  # noqa: ANN401
        del args
        out = result[0] if isinstance(result, tuple) and result else result
        trace.n_runs[block] = trace.n_runs.get(block, 0) + 1
        if isinstance(out, torch.Tensor):
            trace.outputs[block] = (list(out.shape), isinstance(result, tuple))
        if len(listener.heard) > starts[block]:
            trace.attending.add(block)

    def see_patches(conv: torch.nn.Module, args: Any, result: torch.Tensor) -> None:  # noqa: ANN401
        del conv, args
        if result.ndim == 4 and not listener.heard:
            trace.grid = (int(result.shape[2]), int(result.shape[3]))

    for block in {block for blocks in children for block in blocks}:
        handles += [block.register_forward_pre_hook(start), block.register_forward_hook(end)]
    convs = (part for part in module.modules() if isinstance(part, torch.nn.Conv2d))
    handles += [conv.register_forward_hook(see_patches) for conv in convs]
    try:
        with torch.no_grad(), listener:
            embed(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return trace


def find_last_map(
    module: torch.nn.Module, embed: Embed, pixels: torch.Tensor, least: int = 7
) -> str | None:
    """Find the last map of a convolutional network by running it.

    Parameters
    ----------
    module : torch.nn.Module
        The whole model.
    embed : callable
        From pixels to embeddings.
    pixels : Tensor of float, shape (1, 3, height_px, width_px)
        A picture.
    least : int
        Places that the shorter side of the map has at least. The last maps of small pictures may
        have four places, which say nothing of where.

    Returns
    -------
    str or None
        Name of the part that gives the last map of so many places, of shape
        (n_images, channels, height, width); None where nothing gives such a map, or tokens are
        computed after it.
    """
    ran: list[tuple[str, torch.Size]] = []

    def listen(name: str) -> Callable[..., None]:
        def see(part: torch.nn.Module, args: Any, result: Any) -> None:  # noqa: ANN401
            del part, args
            if isinstance(result, torch.Tensor):
                ran.append((name, result.shape))

        return see

    handles = [x.register_forward_hook(listen(name)) for name, x in module.named_modules()]
    try:
        with torch.no_grad():
            embed(pixels)
    finally:
        for handle in handles:
            handle.remove()
    side_ratio = pixels.shape[2] / pixels.shape[3]
    places = [n for n, (_, shape) in enumerate(ran) if _is_map(shape, side_ratio, least)]
    if not places or any(len(shape) == 3 and shape[1] > 1 for _, shape in ran[places[-1] :]):
        return None
    # Of the coarsest maps: what a whole stage gives, not a part within it.
    smallest = min(ran[n][1][2] * ran[n][1][3] for n in places)
    found = [ran[n] for n in places if ran[n][1][2] * ran[n][1][3] == smallest]
    depth = min(name.count(".") for name, _ in found)
    return [name for name, _ in found if name.count(".") == depth][-1]


def _is_map(shape: torch.Size, side_ratio: float, least: int) -> bool:
    """Tell whether an output has places in the shape of the picture, after the channels."""
    if len(shape) != 4 or min(shape[2], shape[3]) < least:
        return False
    # Rounded up or down at each halving.
    return abs(shape[2] / shape[3] / side_ratio - 1) <= 1 / min(shape[2], shape[3])


_PRODUCTS = {torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__}


@dataclasses.dataclass(frozen=True)
class _Product:
    """What was multiplied with which weights, and what came of it."""

    rows: torch.Tensor
    weights: torch.Tensor
    bias: torch.Tensor | None
    result: torch.Tensor
    is_turned: bool
    before: torch.nn.Module | None


class _ProductListener(TorchFunctionMode):
    """Write down what is multiplied with weights in this thread.

    Parameters
    ----------
    only : Tensor, optional
        Weights that are waited for; by default any.
    ran : list of torch.nn.Module, optional
        Parts that have run so far, which somebody else writes down.
    """

    def __init__(
        self, only: torch.Tensor | None = None, ran: Sequence[torch.nn.Module] = ()
    ) -> None:
        super().__init__()
        self.heard: list[_Product] = []
        self._only = only
        self._ran = ran

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 -- of any function of torch
        del types
        named = dict(kwargs or {})
        if func is F.multi_head_attention_forward:
            bound = inspect.signature(func).bind(*args, **named)
            bound.apply_defaults()
            given = bound.arguments
            if is_plain(given) and self._waits_for(given["out_proj_weight"]):
                _, joined, result = attend(given)
                # What such a pooling gives is the first of what it attends with.
                self.heard.append(
                    _Product(
                        joined[0], given["out_proj_weight"], given["out_proj_bias"], result[0],
                        is_turned=True, before=self._ran[-1] if self._ran else None,
                    )
                )  # fmt: skip
                return result, None
        result = func(*args, **named)
        if (func in _PRODUCTS or func is F.linear) and len(args) > 1 and self._waits_for(args[1]):
            bias = args[2] if len(args) > 2 else named.get("bias")
            before = self._ran[-1] if self._ran else None
            self.heard.append(_Product(args[0], args[1], bias, result, func is F.linear, before))
        return result

    def _waits_for(self, weights: object) -> bool:
        if self._only is not None:
            return weights is self._only
        return isinstance(weights, torch.nn.Parameter)


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """The linear map that makes the embedding, and where what it takes is heard.

    Parameters
    ----------
    weights : Tensor, shape (dim, width), or (width, dim) where it is not turned
        As the model holds them.
    bias : Tensor, shape (dim,), or None
    is_turned : bool
        Whether they are multiplied as ``torch.nn.Linear`` does it.
    before : torch.nn.Module or None
        The last part of the model that has run when it is reached; None where none has.
    """

    weights: torch.Tensor
    bias: torch.Tensor | None
    is_turned: bool
    before: torch.nn.Module | None

    @property
    def matrix(self) -> torch.Tensor:
        """The weights as float32 of shape (width, dim)."""
        weights = self.weights.detach().float()
        return weights.T if self.is_turned else weights

    @contextlib.contextmanager
    def hearing(self, heard: list[torch.Tensor]) -> Iterator[None]:
        """Write down what the map is given while the block runs.

        All that comes before it is computed as ever: listening begins when it is reached.

        Parameters
        ----------
        heard : list of Tensor
            Is given (n_images, width).

        Yields
        ------
        None
        """
        listener = _ProductListener(self.weights)
        with contextlib.ExitStack() as listening:

            def begin(*_: object) -> None:
                # One that is passed again later is heard once.
                if not listener.heard:
                    listening.close()
                    listening.enter_context(listener)

            if self.before is None:
                begin()
                yield
            else:
                handle = self.before.register_forward_hook(begin)
                try:
                    yield
                finally:
                    handle.remove()
        heard += [one.rows for one in listener.heard[-1:]]


def find_projection(
    module: torch.nn.Module, embed: Embed, pixels: torch.Tensor
) -> Projection | None:
    """Find the linear map that makes the embedding of an image, by running the tower.

    Parameters
    ----------
    module, embed, pixels
        As for :func:`find_blocks`.

    Returns
    -------
    Projection or None
        None where the embedding is made by something else, such as a norm or a pooling.
    """
    ran: list[torch.nn.Module] = []
    listener = _ProductListener(ran=ran)
    handles = [
        part.register_forward_hook(lambda part, args, result: ran.append(part))  # noqa: ARG005
        for part in module.modules()
    ]
    try:
        with torch.no_grad(), listener:
            embedding = embed(pixels)
    finally:
        for handle in handles:
            handle.remove()
    for one in reversed(listener.heard):
        if one.result.shape == embedding.shape and torch.equal(one.result, embedding):
            return Projection(one.weights, one.bias, one.is_turned, one.before)
    return None
