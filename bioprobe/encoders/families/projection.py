"""The linear map that ends an image tower, and what it is given: found by running it once."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it
from torch.overrides import TorchFunctionMode

from bioprobe.encoders.families.attention import attend, read_plain
from bioprobe.encoders.families.towers import Embed

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
        given = read_plain(func, args, named)
        if given is not None and self._waits_for(given["out_proj_weight"]):
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
