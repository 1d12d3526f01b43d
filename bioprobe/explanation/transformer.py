"""Where a vision transformer looked: LeGrad by its attention, two CAMs by its tokens."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it

from bioprobe.encoders.inside import Attention, AttentionListener, Embed, find_blocks

#: From unit rows to the gradient of the aim with respect to each.
Gradient: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transformer:
    """A copy of a vision transformer that may be looked into.

    Parameters
    ----------
    embed : callable
        From pixels to embeddings.
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
    pooling : str
        ``class token``, ``mean`` or ``attention``: how tokens become one embedding.
    """

    embed: Embed
    blocks: tuple[torch.nn.Module, ...]
    gives_tuples: bool
    token_axis: int
    n_prefix: int
    grid: tuple[int, int]
    pooling: str

    def draw_legrad(
        self, pixels: torch.Tensor, find_gradient: Gradient, n_layers: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum, over the last layers, how much more attention to a patch would raise the answer.

        Each layer is asked by what the model would answer if it ended there. Where a class token
        is read, the mean of the tokens of that layer stands for it, as the authors have it.

        Parameters
        ----------
        pixels : Tensor of float32, shape (n_images, 3, height_px, width_px)
        find_gradient : callable
            From unit rows to the gradient of the aim.
        n_layers : int, optional
            Layers that are summed over, the last ones; by default one in six, which is two for
            the twelve of a ViT-B, as the authors' wrapper has it.

        Returns
        -------
        maps : Tensor of float32, shape (n_images, grid_height, grid_width)
            0 or more, of no fixed scale.
        vectors : Tensor of float32, shape (n_images, dim), unit rows
            What the encoder gives for these images.

        References
        ----------
        Bousselham et al. (2025), "LeGrad: An Explainability Method for Vision Transformers via
        Feature Formation Sensitivity", ICCV; and their wrapper of open_clip.
        """
        asked = max(1, round(len(self.blocks) / 6)) if n_layers is None else n_layers
        chosen = range(max(0, len(self.blocks) - asked), len(self.blocks))
        seen = self._run(pixels, chosen)
        total: torch.Tensor | None = None
        for layer in chosen:
            tokens, attentions = seen[layer].tokens_out, seen[layer].attentions
            with torch.enable_grad():
                if self.pooling == "class token":
                    tokens = self._put_mean(tokens)
                if self.pooling == "attention":
                    # A leaf: nothing before the pooling is asked.
                    tokens = tokens.detach().requires_grad_()
                vectors, pooling = self._finish(tokens, pixels)
                found = pooling[:1] if self.pooling == "attention" else attentions
                goal = (vectors * find_gradient(vectors.detach())).sum()
            gradients = torch.autograd.grad(goal, [one.source for one in found])
            for one, gradient in zip(found, gradients, strict=True):
                positive = one.find_gradient(gradient).clamp(min=0)
                positive = positive.reshape(len(pixels), -1, *positive.shape[-2:])
                relevance = positive.mean(dim=(1, 2))
                total = relevance if total is None else total + relevance
        with torch.no_grad():
            vectors, _ = self._finish(seen[-1 % len(self.blocks)].tokens_out, pixels)
        assert total is not None
        return self._lay_out(total), vectors

    def draw_cam(
        self, kind: str, pixels: torch.Tensor, find_gradient: Gradient, n_layers: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weigh the tokens that enter one of the last layers by the gradient of the answer.

        Parameters
        ----------
        kind : str
            ``grad-cam`` weighs each channel by its mean gradient over the patches, and sums.
            ``layer-cam`` weighs each channel of each patch by its own gradient where that is above
            0, and sums what is positive: channels of tokens have either sign.
        pixels, find_gradient
            As :meth:`draw_legrad` has them.
        n_layers : int, optional
            Which layer they enter, counted from the last, which is 1; by default what found the
            animals in drawings best: 2 where the mean of the patches is read, else 1.

        Returns
        -------
        maps, vectors
            As :meth:`draw_legrad` returns them.

        References
        ----------
        Selvaraju et al. (2017), "Grad-CAM", ICCV; Jiang et al. (2021), "LayerCAM", IEEE
        Transactions on Image Processing; both on tokens instead of places.
        """
        asked = (2 if self.pooling == "mean" else 1) if n_layers is None else n_layers
        chosen = range(max(0, len(self.blocks) - asked), len(self.blocks))
        seen = self._run(pixels, chosen, keep_graph=True)
        with torch.enable_grad():
            vectors, _ = self._finish(seen[chosen[-1]].tokens_out, pixels)
            goal = (vectors * find_gradient(vectors.detach())).sum()
        tokens = seen[chosen[0]].tokens_in
        (gradient,) = torch.autograd.grad(goal, [tokens])
        tokens, gradient = self._bring_first(tokens.detach()), self._bring_first(gradient)
        if kind == "layer-cam":
            relevance = (tokens * gradient.clamp(min=0)).clamp(min=0).sum(dim=2)
        else:
            weights = gradient[:, self.n_prefix :].mean(dim=1, keepdim=True)
            relevance = (tokens * weights).sum(dim=2).clamp(min=0)
        return self._lay_out(relevance), vectors.detach()

    def _bring_first(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens if self.token_axis == 1 else tokens.transpose(0, 1)

    def _lay_out(self, relevance: torch.Tensor) -> torch.Tensor:
        return relevance[:, self.n_prefix :].reshape(-1, *self.grid)

    def _put_mean(self, tokens: torch.Tensor) -> torch.Tensor:
        mean = tokens.mean(dim=self.token_axis, keepdim=True)
        n_rest = tokens.shape[self.token_axis] - 1
        return torch.cat([mean, tokens.narrow(self.token_axis, 1, n_rest)], dim=self.token_axis)

    def _run(
        self, pixels: torch.Tensor, chosen: range, *, keep_graph: bool = False
    ) -> dict[int, _Seen]:
        """Embed pixels, and return what the chosen blocks saw, each with a graph of its own."""
        seen: dict[int, _Seen] = {}

        def wrap(layer: int, forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(tokens: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
                is_joined = keep_graph and layer > chosen[0]
                tokens = tokens if is_joined else tokens.detach().requires_grad_()
                with torch.enable_grad(), AttentionListener() as listener:
                    result = forward(tokens, *args, **kwargs)
                out = result[0] if self.gives_tuples else result
                seen[layer] = _Seen(tokens, out, listener.heard)
                if keep_graph:
                    return result
                return (out.detach(), *result[1:]) if self.gives_tuples else out.detach()

            return run

        changed = {i: wrap(i, self.blocks[i].forward) for i in chosen}
        with torch.no_grad(), _run_instead(self.blocks, changed):
            self.embed(pixels)
        return seen

    def _finish(
        self, tokens: torch.Tensor, pixels: torch.Tensor
    ) -> tuple[torch.Tensor, list[Attention]]:
        """Return unit vectors as if these were the tokens after the last block."""
        last = len(self.blocks) - 1

        def pass_on(layer: int) -> Callable[..., Any]:
            def run(given: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
                del args, kwargs
                out = tokens if layer == last else given
                return (out,) if self.gives_tuples else out

            return run

        changed = {i: pass_on(i) for i in range(len(self.blocks))}
        with _run_instead(self.blocks, changed), AttentionListener() as listener:
            vectors = F.normalize(self.embed(pixels), dim=-1)
        return vectors, listener.heard


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What a block took in, gave out, and attended to."""

    tokens_in: torch.Tensor
    tokens_out: torch.Tensor
    attentions: list[Attention]


@contextlib.contextmanager
def _run_instead(
    blocks: Sequence[torch.nn.Module], changed: Mapping[int, Callable[..., Any]]
) -> Iterator[None]:
    """Let blocks run something else for a while.

    Yields
    ------
    None
    """
    for number, run in changed.items():
        blocks[number].forward = run
    try:
        yield
    finally:
        for number in changed:
            del blocks[number].forward


def read_transformer(
    module: torch.nn.Module, embed: Embed, pixels: torch.Tensor
) -> Transformer | None:
    """Find the blocks, the grid and the pooling of a vision transformer by running it.

    Parameters
    ----------
    module : torch.nn.Module
        A copy of the whole model.
    embed : callable
        From pixels to embeddings.
    pixels : Tensor of float32, shape (1, 3, height_px, width_px)
        A picture.

    Returns
    -------
    Transformer or None
        None where no list of blocks passes on the tokens of a grid of patches, with attention in
        each: a CNN, or a transformer that merges its tokens.
    """
    found = find_blocks(module, embed, pixels)
    if found is None:
        return None
    tower = Transformer(
        embed=embed,
        blocks=found.modules,
        gives_tuples=found.gives_tuples,
        token_axis=found.token_axis,
        n_prefix=found.n_prefix,
        grid=found.grid,
        pooling="",
    )
    return dataclasses.replace(tower, pooling=_find_pooling(tower, pixels))


def _find_pooling(tower: Transformer, pixels: torch.Tensor) -> str:
    """Tell by which tokens change the vector what is read of them."""
    layer = len(tower.blocks) - 1
    tokens = tower._run(pixels, range(layer, layer + 1))[layer].tokens_out
    with torch.enable_grad():
        leaf = tokens.detach().requires_grad_()
        vectors, attentions = tower._finish(leaf, pixels)
        # Of a unit vector only what is not along itself can change.
        goal = (vectors * torch.linspace(-1, 1, vectors.shape[1], device=vectors.device)).sum()
    (gradient,) = torch.autograd.grad(goal, [leaf])
    if attentions:
        return "attention"
    patches = tower._bring_first(gradient)[:, tower.n_prefix :]
    return "mean" if bool(patches.any()) else "class token"
