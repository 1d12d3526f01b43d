"""What an image tower is made of: blocks that hand on tokens, or maps of places."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from bioprobe.encoders.families.attention import AttentionListener

#: From pixels (n_images, 3, height_px, width_px) to embeddings (n_images, dim).
Embed: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

# Class token and registers; more tokens beside the patches than this are something else.
_MOST_PREFIX_TOKENS = 16
# In a trace no count of tokens is likely to be this.
_N_TRACED = 3


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenTower:
    """A vision transformer: blocks that hand on the tokens of a grid of patches.

    Parameters
    ----------
    embed : callable
        From pixels to embeddings.
    size_px : tuple of int
        Height and width of its pictures.
    blocks : tuple of torch.nn.Module
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

    embed: Embed
    size_px: tuple[int, int]
    blocks: tuple[torch.nn.Module, ...]
    gives_tuples: bool
    token_axis: int
    n_prefix: int
    grid: tuple[int, int]

    def read_tokens(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed pictures, and return also the tokens that the last block gives.

        Parameters
        ----------
        pixels : Tensor of the tower's dtype, shape (n_images, 3, height_px, width_px)

        Returns
        -------
        tokens : Tensor of the tower's dtype, shape (n_images, n_tokens, width)
            The prefix, then the patches row by row; not yet normalised by what follows the blocks.
        embeddings : Tensor, shape (n_images, dim)
            Not yet of unit length.
        """
        kept: list[torch.Tensor] = []
        with self.hearing(kept):
            embeddings = self.embed(pixels)
        return kept[-1], embeddings

    @contextlib.contextmanager
    def hearing(self, heard: list[torch.Tensor]) -> Iterator[None]:
        """Write down the tokens that the last block gives while pictures are embedded.

        Parameters
        ----------
        heard : list of Tensor
            Is given (n_images, n_tokens, width) of each pass.
        """

        def hear(block: torch.nn.Module, args: Any, result: Any) -> None:  # noqa: ANN401
            del block, args
            heard.append(self.turn(result[0] if self.gives_tuples else result))

        handle = self.blocks[-1].register_forward_hook(hear)
        try:
            yield
        finally:
            handle.remove()

    def embed_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the embeddings as if these were the tokens that the last block gives.

        Parameters
        ----------
        tokens : Tensor of the tower's dtype, shape (n_images, n_tokens, width)
            As :meth:`read_tokens` returns them.

        Returns
        -------
        Tensor, shape (n_images, dim)
            Not yet of unit length; gradients go through it.
        """
        last = len(self.blocks) - 1
        own = self.turn(tokens)

        def pass_on(layer: int) -> Callable[..., Any]:
            def run(given: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
                del args, kwargs
                out = own if layer == last else given
                return (out,) if self.gives_tuples else out

            return run

        pixels = tokens.new_zeros((len(tokens), 3, *self.size_px))
        with self.run_instead({layer: pass_on(layer) for layer in range(len(self.blocks))}):
            return self.embed(pixels)

    def turn(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return tokens as blocks hand them on with the images first, or those as blocks do."""
        return tokens if self.token_axis == 1 else tokens.transpose(0, 1)

    @contextlib.contextmanager
    def run_instead(self, changed: Mapping[int, Callable[..., Any]]) -> Iterator[None]:
        """Let blocks, by their numbers, run something else for a while."""
        with run_instead({self.blocks[number]: run for number, run in changed.items()}):
            yield


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MapTower:
    """A convolutional network: its last map has a place for each part of the picture.

    Parameters
    ----------
    module : torch.nn.Module
        The whole model.
    embed : callable
        From pixels to embeddings.
    last : torch.nn.Module
        What gives the last map of so many places, shape (n_images, channels, height, width).
    name : str
        Its name in the module.
    """

    module: torch.nn.Module
    embed: Embed
    last: torch.nn.Module
    name: str

    @contextlib.contextmanager
    def hearing(self, heard: list[torch.Tensor]) -> Iterator[None]:
        """Write down the places of the last map while pictures are embedded.

        Parameters
        ----------
        heard : list of Tensor
            Is given (n_images, n_places, channels) of each pass, row by row.
        """

        def hear(part: torch.nn.Module, args: Any, result: torch.Tensor) -> None:  # noqa: ANN401
            del part, args
            heard.append(result.flatten(2).transpose(1, 2))

        handle = self.last.register_forward_hook(hear)
        try:
            yield
        finally:
            handle.remove()


@contextlib.contextmanager
def run_instead(changed: Mapping[torch.nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Let parts of a model run something else for a while."""
    for part, run in changed.items():
        part.forward = run
    try:
        yield
    finally:
        for part in changed:
            del part.forward


def read_tower(
    module: torch.nn.Module, embed: Embed, pixels: torch.Tensor, least_places: int = 7
) -> TokenTower | MapTower | None:
    """Find what an image tower is made of by running it once.

    Parameters
    ----------
    module : torch.nn.Module
        The whole model. While it is read nothing else may run it.
    embed : callable
        From pixels to embeddings by this module.
    pixels : Tensor of the module's dtype, shape (1, 3, height_px, width_px)
        A picture, of noise at best.
    least_places : int
        Places that the shorter side of a map has at least. The last maps of small pictures may
        have four places, which say nothing of where.

    Returns
    -------
    TokenTower, MapTower or None
        None where there are neither tokens of a grid of patches from block to block, with attention
        in each, nor a map of places after which no tokens are computed: such as a transformer that
        merges its tokens.
    """
    trace = _trace(module, embed, pixels.repeat(_N_TRACED, 1, 1, 1))
    size_px = (int(pixels.shape[2]), int(pixels.shape[3]))
    if (tokens := _find_tokens(trace, embed, size_px)) is not None:
        return tokens
    last = _find_last_map(trace, size_px[0] / size_px[1], least_places)
    if last is None:
        return None
    return MapTower(module=module, embed=embed, last=last.part, name=last.name)


@dataclasses.dataclass
class _Run:
    """What a part of a model gave when it ran."""

    name: str
    part: torch.nn.Module
    shape: tuple[int, ...]
    is_tuple: bool
    has_attended: bool


@dataclasses.dataclass
class _Trace:
    """What ran, in the order of its ends."""

    module: torch.nn.Module
    runs: list[_Run]
    grid: tuple[int, int] | None = None


def _trace(module: torch.nn.Module, embed: Embed, pixels: torch.Tensor) -> _Trace:
    trace = _Trace(module, [])
    listener = AttentionListener()
    starts: dict[torch.nn.Module, int] = {}

    def start(part: torch.nn.Module, args: Any) -> None:  # noqa: ANN401
        del args
        starts[part] = len(listener.heard)

    def end(name: str) -> Callable[..., None]:
        def see(part: torch.nn.Module, args: Any, result: Any) -> None:  # noqa: ANN401
            del args
            is_tuple = isinstance(result, tuple) and len(result) > 0
            out = result[0] if is_tuple else result
            if not isinstance(out, torch.Tensor):
                return
            has_attended = len(listener.heard) > starts[part]
            trace.runs.append(_Run(name, part, tuple(out.shape), is_tuple, has_attended))
            if isinstance(part, torch.nn.Conv2d) and out.ndim == 4 and not listener.heard:
                trace.grid = (int(out.shape[2]), int(out.shape[3]))

        return see

    handles = []
    for name, part in module.named_modules():
        handles += [part.register_forward_pre_hook(start), part.register_forward_hook(end(name))]
    try:
        with torch.no_grad(), listener:
            embed(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return trace


def _find_tokens(trace: _Trace, embed: Embed, size_px: tuple[int, int]) -> TokenTower | None:
    blocks = max(_list_blocks(trace), key=len, default=())
    if not blocks or trace.grid is None:
        return None
    first = blocks[0]
    if len(first.shape) != 3 or first.shape.count(_N_TRACED) != 1:
        return None
    token_axis = 1 - first.shape.index(_N_TRACED)
    n_prefix = first.shape[token_axis] - trace.grid[0] * trace.grid[1]
    if not 0 <= n_prefix <= _MOST_PREFIX_TOKENS:
        return None
    return TokenTower(
        embed=embed,
        size_px=size_px,
        blocks=tuple(one.part for one in blocks),
        gives_tuples=first.is_tuple,
        token_axis=token_axis,
        n_prefix=n_prefix,
        grid=trace.grid,
    )


def _list_blocks(trace: _Trace) -> Iterator[tuple[_Run, ...]]:
    """Find the lists whose members each ran once, attended, and gave tokens of one shape."""
    runs: dict[torch.nn.Module, list[_Run]] = {}
    for run in trace.runs:
        runs.setdefault(run.part, []).append(run)
    for part in trace.module.modules():
        if not isinstance(part, (torch.nn.ModuleList, torch.nn.Sequential)):
            continue
        found: Sequence[list[_Run]] = [runs.get(child, []) for child in part.children()]
        if not found or any(len(one) != 1 or not one[0].has_attended for one in found):
            continue
        blocks = tuple(one[0] for one in found)
        if len({(one.shape, one.is_tuple) for one in blocks}) == 1:
            yield blocks


def _find_last_map(trace: _Trace, side_ratio: float, least: int) -> _Run | None:
    """Return what gives the last map of a convolutional network."""
    runs = [one for one in trace.runs if not one.is_tuple]
    places = [n for n, one in enumerate(runs) if _is_map(one.shape, side_ratio, least)]
    if not places:
        return None
    if any(len(one.shape) == 3 and one.shape[1] > 1 for one in runs[places[-1] :]):
        return None
    # Of the coarsest maps: what a whole stage gives, not a part within it.
    smallest = min(runs[n].shape[2] * runs[n].shape[3] for n in places)
    found = [runs[n] for n in places if runs[n].shape[2] * runs[n].shape[3] == smallest]
    depth = min(one.name.count(".") for one in found)
    return [one for one in found if one.name.count(".") == depth][-1]


def _is_map(shape: Sequence[int], side_ratio: float, least: int) -> bool:
    """Tell whether an output has places in the shape of the picture, after the channels."""
    if len(shape) != 4 or min(shape[2], shape[3]) < least:
        return False
    # Rounded up or down at each halving.
    return abs(shape[2] / shape[3] / side_ratio - 1) <= 1 / min(shape[2], shape[3])
