"""Weights of a model that is built to be filled from a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# What draws the weights that training would begin with, and returns its first argument.
_DRAWS: Collection[Callable[..., Any]] = {
    torch.nn.init.kaiming_uniform_,
    torch.nn.init.normal_,
    torch.nn.init.uniform_,
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
}


class NoRandomWeights(TorchFunctionMode):
    """Build models without drawing random weights: for those that are read whole from a file.

    To draw them takes several times as long as to read them. Only what loads every weight, and
    fails where a file lacks one, may build a model so.

    Examples
    --------
    >>> with NoRandomWeights():
    ...     layer = torch.nn.Linear(2, 2)
    >>> kept = layer.load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    >>> layer(torch.ones(2)).tolist()
    [1.0, 1.0]
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - of any function of PyTorch
        """Leave a tensor as it is where it would be filled at random."""
        named = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)
