"""Products made as on a GPU: on one where there is one, else by the same code on the processor.

There PyTorch's processor stands for both: a tensor that was made on, or sent to, :data:`THERE` is
marked, and so is all that is computed of it. On a GPU an operation on marked and unmarked tensors
together is an error, and it is one here too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from bioprobe.devices import products_on
from bioprobe.probes import objective
from bioprobe.task import leaf_scores

THERE = torch.device("cpu", 0)
# A tensor there takes indices that lie here, and numbers are copied either way.
_ACROSS: set[Callable[..., Any]] = {
    torch.Tensor.__getitem__,
    torch.Tensor.__setitem__,
    torch.Tensor.copy_,
}
_FETCHING: set[Callable[..., Any]] = {torch.Tensor.numpy, torch.Tensor.__array__}


@contextlib.contextmanager
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have every product made there, however small."""
    if torch.cuda.is_available():
        with products_on("cuda", always=True):
            yield
        return
    with monkeypatch.context() as patched, products_on(str(THERE), always=True), _Apart():
        for module in (leaf_scores, objective):
            # A mode of PyTorch's holds in its own thread alone.
            patched.setattr(module, "map_alone", lambda work, parts, **_: map(work, parts))
        yield


class _Apart(TorchFunctionMode):
    """Refuses what a GPU refuses."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever PyTorch returns
        kwargs = kwargs or {}
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        marked = [one for one in given if _is_there(one)]
        if marked and func in _FETCHING:
            pytest.fail("numpy asks for a tensor there")
        strange = [one for one in given if not _is_there(one) and one.ndim]
        if marked and strange and func not in _ACROSS:
            pytest.fail(f"{func} of a tensor there and one of {tuple(strange[0].shape)}")
        found = func(*args, **kwargs)
        if func is torch.Tensor.cpu:
            return found.clone()
        if func is torch.Tensor.copy_:
            return found
        if kwargs.get("device") == THERE and found is not None and given:
            # What is sent is another tensor.
            found = found.clone()
        if kwargs.get("device") == THERE or marked:
            tree_map(_mark, found)
        return found


def _is_there(tensor: torch.Tensor) -> bool:
    return getattr(tensor, "is_there", False)


def _mark(found: object) -> object:
    if isinstance(found, torch.Tensor):
        found.is_there = True  # type: ignore[attr-defined]
    return found
