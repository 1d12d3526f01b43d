"""PyTorch with numpy's products of matrices, each thread with rows of its own.

Nine tenths of a transformer are products. PyTorch's MKL makes them at .7 of the speed of numpy's
OpenBLAS on processors that are not Intel's, and threads that share a product wait for each other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it
from torch.overrides import TorchFunctionMode

from bioprobe.cores import keep_torch_threads, map_alone
from bioprobe.encoders.families.attention import attend, read_plain


def run_in_threads(
    run: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], n_threads: int
) -> torch.Tensor:
    """Run a tower on parts of the rows at once, a thread each, by numpy's products.

    Parameters
    ----------
    run : callable
        From tensors to embeddings; in fp32, on the processor.
    inputs : sequence of Tensor
        Of as many rows each, at least one.
    n_threads : int

    Returns
    -------
    Tensor, shape (n_rows, dim)
    """
    n_parts = min(n_threads, len(inputs[0]))
    parts = zip(*(one.tensor_split(n_parts) for one in inputs), strict=True)

    def run_part(part: Sequence[torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode(), NumpyProducts():
            return run(*part)

    begin = functools.partial(torch.set_num_threads, 1)
    with keep_torch_threads():
        return torch.cat(list(map_alone(run_part, parts, n_threads=n_parts, begin=begin)))


class NumpyProducts(TorchFunctionMode):
    """Have numpy compute the linear maps of this thread, those of attention too."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 -- of any function of torch
        del types
        named = dict(kwargs or {})
        if func is F.linear:
            return _map_linearly(*args, **named)
        given = read_plain(func, args, named)
        # The weights of attention are not known here.
        if given is not None and not given["need_weights"]:
            with self:
                return attend(given)[-1], None
        return func(*args, **named)


def _map_linearly(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    rows = input.reshape(-1, input.shape[-1])
    result = torch.empty(len(rows), len(weight))
    np.matmul(rows.numpy(), weight.numpy().T, out=result.numpy())
    if bias is not None:
        result += bias
    return result.view(*input.shape[:-1], len(weight))
