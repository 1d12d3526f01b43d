"""An image tower cut in two: the frozen part, which runs once, and the last blocks, which learn."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch

from bioprobe.encoders.families.towers import Embed, run_instead
from bioprobe.errors import MisuseError, ModelUnavailableError

# Sides of small blank pictures that may stand for the real ones once the frozen part is known.
_BLANK_SIDES_PX = (32, 64)
# By which the two parts may differ from the whole: another kernel rounds otherwise.
_TOLERANCE = 1e-3
# A number of pictures that no other axis is likely to have.
_N_TRACED = 3


class _Reached(Exception):  # noqa: N818 - no error: what was asked for is there
    """Raised where the frozen part ends, so that no more is run."""


@dataclasses.dataclass(frozen=True, eq=False)
class Cut:
    """An image tower of which the last blocks learn. Make one with :func:`cut_tower`.

    Parameters
    ----------
    module : torch.nn.Module
        A copy of the whole model; what learns is its own, the rest it may share.
    embed : callable
        From pixels to embeddings, by that copy.
    blocks : tuple of str
        Names of all blocks, in their order.
    n_trained : int
        The last of them that learn.
    image_axis : int
        Axis of the pictures in what passes from block to block: 0, or 1 after the tokens.
    blank : Tensor, shape (1, 3, height_px, width_px)
        Stands for a picture where only its place in the run matters.
    learning : tuple of str
        Names of the parameters that learn: those of these blocks, and of what comes after.
    """

    module: torch.nn.Module
    embed: Embed
    blocks: tuple[str, ...]
    n_trained: int
    image_axis: int
    blank: torch.Tensor
    learning: tuple[str, ...] = ()

    @property
    def trained_blocks(self) -> tuple[str, ...]:
        """Names of the blocks that learn."""
        return self.blocks[-self.n_trained :]

    def run_frozen(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return what enters the first block that learns; its first axis is that of the pictures.

        Parameters
        ----------
        pixels : Tensor, shape (n_images, 3, height_px, width_px)
        """
        found: list[torch.Tensor] = []

        def stop(entering: torch.Tensor, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
            del args, kwargs
            found.append(entering)
            raise _Reached

        running = self._running({self.trained_blocks[0]: stop})
        with torch.no_grad(), running, contextlib.suppress(_Reached):
            self.embed(pixels)
        return found[0].transpose(0, self.image_axis)

    def run_trained(self, activations: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of what :meth:`run_frozen` returned, not yet of unit length.

        Parameters
        ----------
        activations : Tensor, shape (n_images, …)
        """
        first = self.trained_blocks[0]
        forward = self.module.get_submodule(first).forward

        def begin(given: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            del given
            entering = activations.transpose(0, self.image_axis).contiguous()
            return forward(entering, *args, **kwargs)

        changed: dict[str, Callable[..., Any]] = dict.fromkeys(
            self.blocks[: -self.n_trained], _pass_on
        )
        with self._running(changed | {first: begin}):
            return self.embed(self.blank.expand(len(activations), -1, -1, -1))

    def _running(
        self, changed: Mapping[str, Callable[..., Any]]
    ) -> contextlib.AbstractContextManager[None]:
        """Let blocks, by their names, run something else for a while."""
        return run_instead({self.module.get_submodule(name): run for name, run in changed.items()})


def _pass_on(given: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:  # noqa: ANN401
    del args, kwargs
    return given


def cut_tower(
    name: str, module: torch.nn.Module, embed: Embed, pixels: torch.Tensor, n_trained: int
) -> Cut:
    """Find the blocks of an image tower by running it, and cut it before the last of them.

    A block is a part of a chain, each of which takes what the one before gives, in a shape of the
    same kind; of a residual network they are its residual blocks, of a transformer its layers.

    Parameters
    ----------
    name : str
        Of the model, for messages.
    module : torch.nn.Module
        A copy of the whole model, in fp32 and ready for inference. What learns is made its own.
    embed : callable
        From pixels to embeddings, by that copy.
    pixels : Tensor of float32, shape (1, 3, height_px, width_px)
        A picture, or noise.
    n_trained : int
        Blocks that are to learn, 1 or more.

    Raises
    ------
    ModelUnavailableError
        If it has no such chain, or the two parts do not give what the whole gives.
    MisuseError
        If it has fewer blocks.
    """
    shifts = torch.arange(1.0, _N_TRACED + 1, device=pixels.device).reshape(-1, 1, 1, 1)
    seen = torch.tanh(pixels * shifts)
    blocks = _find_blocks(module, embed, seen)
    if not blocks:
        msg = f"{name} has no chain of blocks that could be told apart; only its probes can learn"
        raise ModelUnavailableError(msg)
    if n_trained > len(blocks):
        msg = (
            f"--blocks is {n_trained}, and {name} has {len(blocks)}: {blocks[0]} … {blocks[-1]}; "
            "say fewer"
        )
        raise MisuseError(msg)
    whole = _find_image_axis(Cut(module, embed, blocks, n_trained, 0, pixels), seen)
    with torch.no_grad():
        expected = embed(seen)
    sides = [(side, side) for side in _BLANK_SIDES_PX if side < min(pixels.shape[2:])]
    for height, width in (*sides, tuple(pixels.shape[2:])):
        blank = torch.zeros(1, 3, height, width, device=pixels.device)
        cut = dataclasses.replace(whole, blank=blank)
        if _gives(cut, seen, expected):
            return dataclasses.replace(cut, learning=_own(cut, seen))
    msg = f"{name} does not give the same in two parts; only its probes can learn"
    raise ModelUnavailableError(msg)


def _gives(cut: Cut, pixels: torch.Tensor, expected: torch.Tensor) -> bool:
    """Tell whether the two parts give what the whole gave."""
    with torch.no_grad():
        try:
            found = cut.run_trained(cut.run_frozen(pixels))
        except (RuntimeError, ValueError, AssertionError, IndexError):
            # A blank picture of this size is not what the model takes.
            return False
    if found.shape != expected.shape:
        return False
    scale = float(expected.abs().max())
    return float((found - expected).abs().max()) <= _TOLERANCE * max(scale, 1e-6)


def _find_image_axis(cut: Cut, pixels: torch.Tensor) -> Cut:
    shapes = [cut.run_frozen(pixels[:n]).shape for n in (_N_TRACED, _N_TRACED - 1)]
    axis = next(n for n, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b)
    return dataclasses.replace(cut, image_axis=axis)


def _own(cut: Cut, pixels: torch.Tensor) -> tuple[str, ...]:
    """Make what learns the copy's own, and return its names.

    It is what the embedding depends on after the cut, which its gradient says.
    """
    parameters = dict(cut.module.named_parameters())
    activations = cut.run_frozen(pixels)
    was = [one.requires_grad for one in parameters.values()]
    for one in parameters.values():
        one.requires_grad_(one.is_floating_point())
    try:
        with torch.enable_grad():
            goal = (cut.run_trained(activations) ** 2).sum()
            asked = [one for one in parameters.values() if one.requires_grad]
            gradients = torch.autograd.grad(goal, asked, allow_unused=True)
    finally:
        for one, before in zip(parameters.values(), was, strict=True):
            one.requires_grad_(before)
    reached = {id(one) for one, found in zip(asked, gradients, strict=True) if found is not None}
    owned: dict[int, torch.nn.Parameter] = {}
    names = []
    for name, parameter in parameters.items():
        if id(parameter) in reached:
            owned[id(parameter)] = torch.nn.Parameter(parameter.detach().clone())
            names.append(name)
    for part in cut.module.modules():
        for name, own in part._parameters.items():
            if own is not None and id(own) in owned:
                part._parameters[name] = owned[id(own)]
    return tuple(names)


@dataclasses.dataclass
class _Ran:
    """What a part took and gave, the first tensor of each, and how often it ran."""

    order: int
    given: torch.Tensor | None
    result: torch.Tensor | None = None
    n_runs: int = 1


def _find_blocks(module: torch.nn.Module, embed: Embed, pixels: torch.Tensor) -> tuple[str, ...]:
    """Return the names of the blocks of the chain that holds most of the weights that ran."""
    ran = _listen(module, embed, pixels)
    names = {part: name for name, part in module.named_modules()}
    best: list[torch.nn.Module] = []
    most = (0, 0)
    for parent in module.modules():
        for run in _list_runs(parent, ran):
            blocks = _unfold(run, ran)
            size = sum(p.numel() for block in blocks for p in block.parameters())
            # Of a chain and what only wraps it, the chain.
            if (size, len(blocks)) > most:
                best, most = blocks, (size, len(blocks))
    return tuple(names[block] for block in best)


def _list_runs(
    parent: torch.nn.Module, ran: Mapping[torch.nn.Module, _Ran]
) -> list[list[torch.nn.Module]]:
    """Return the children of a part in chains, each of which took what the one before gave."""
    children = [one for one in parent.children() if one in ran and ran[one].n_runs == 1]
    runs: list[list[torch.nn.Module]] = []
    for child in sorted(children, key=lambda one: ran[one].order):
        if runs and ran[child].given is not None and ran[runs[-1][-1]].result is ran[child].given:
            runs[-1].append(child)
        else:
            runs.append([child])
    if not isinstance(parent, torch.nn.ModuleList):
        # A list never runs itself, so its members are its parent's.
        lists = [one for one in parent.children() if isinstance(one, torch.nn.ModuleList)]
        runs += [run for one in lists for run in _list_runs(one, ran)]
    return runs


def _unfold(
    run: list[torch.nn.Module], ran: Mapping[torch.nn.Module, _Ran]
) -> list[torch.nn.Module]:
    """Return the blocks of a chain; a part that is nothing but a chain itself is its blocks."""
    blocks = []
    for part in run:
        seen = ran[part]
        if not _is_block(part, seen):
            continue
        inner: list[torch.nn.Module] = []
        for one in _list_runs(part, ran):
            is_whole = ran[one[0]].given is seen.given and ran[one[-1]].result is seen.result
            weighted = [child for child in one if any(True for _ in child.parameters())]
            if is_whole and all(_is_block(child, ran[child]) for child in weighted):
                inner = _unfold(one, ran)
        blocks += inner or [part]
    return blocks


def _is_block(part: torch.nn.Module, seen: _Ran) -> bool:
    """Tell a block from a norm, a pooling and a projection."""
    if seen.given is None or seen.result is None:
        return False
    n_weighted = sum(1 for one in part.modules() if any(True for _ in one.parameters(False)))
    return n_weighted > 1 and seen.given.ndim > 2 and seen.result.ndim == seen.given.ndim


def _listen(
    module: torch.nn.Module, embed: Embed, pixels: torch.Tensor
) -> dict[torch.nn.Module, _Ran]:
    ran: dict[torch.nn.Module, _Ran] = {}

    def start(part: torch.nn.Module, args: Any, kwargs: Any) -> None:  # noqa: ANN401
        if part in ran:
            ran[part].n_runs += 1
        else:
            ran[part] = _Ran(len(ran), _first_tensor([*args, *kwargs.values()]))

    def end(part: torch.nn.Module, args: Any, result: Any) -> None:  # noqa: ANN401
        del args
        if isinstance(result, torch.Tensor):
            ran[part].result = result
        else:
            ran[part].result = _first_tensor(
                result.values() if hasattr(result, "values") else result
            )

    handles = []
    for part in module.modules():
        handles.append(part.register_forward_pre_hook(start, with_kwargs=True))
        handles.append(part.register_forward_hook(end))
    try:
        with torch.no_grad():
            embed(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return ran


def _first_tensor(values: Any) -> torch.Tensor | None:  # noqa: ANN401
    try:
        return next((one for one in values if isinstance(one, torch.Tensor)), None)
    except TypeError:
        return None
