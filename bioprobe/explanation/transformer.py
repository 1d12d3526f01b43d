"""Where a vision transformer looked: by its tokens, or by its attention."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it

from bioprobe.encoders.families.attention import Attention, AttentionListener
from bioprobe.encoders.families.towers import TokenTower

#: From unit rows to the gradient of the aim with respect to each.
Gradient: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Transformer:
    """A copy of a vision transformer that may be looked into.

    Parameters
    ----------
    tower : TokenTower
        Its blocks.
    pooling : str
        ``class token``, ``mean`` or ``attention``: how tokens become one embedding.
    """

    tower: TokenTower
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
        asked = max(1, round(len(self.tower.blocks) / 6)) if n_layers is None else n_layers
        chosen = range(max(0, len(self.tower.blocks) - asked), len(self.tower.blocks))
        seen = self._run(pixels, chosen)
        total: torch.Tensor | None = None
        for layer in chosen:
            tokens, attentions = seen[layer].tokens_out, seen[layer].attentions
            with torch.enable_grad():
                if self.pooling == "class token":
                    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens[:, 1:]], dim=1)
                if self.pooling == "attention":
                    # A leaf: nothing before the pooling is asked.
                    tokens = tokens.detach().requires_grad_()
                vectors, pooling = self._finish(tokens)
                found = pooling[:1] if self.pooling == "attention" else attentions
                goal = (vectors * find_gradient(vectors.detach())).sum()
            gradients = torch.autograd.grad(goal, [one.source for one in found])
            for one, gradient in zip(found, gradients, strict=True):
                positive = one.find_gradient(gradient).clamp(min=0)
                positive = positive.reshape(len(pixels), -1, *positive.shape[-2:])
                relevance = positive.mean(dim=(1, 2))
                total = relevance if total is None else total + relevance
        with torch.no_grad():
            vectors, _ = self._finish(seen[chosen[-1]].tokens_out)
        assert total is not None
        return self._lay_out(total), vectors

    def draw_relevance(
        self, pixels: torch.Tensor, find_gradient: Gradient
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Follow what the answer draws on through the attention of all layers.

        In each layer the weights of attention count by how much more of them would raise the
        answer, where that is above 0; what a token holds of each patch is added up from the first
        layer to the last.

        Returns
        -------
        maps, vectors
            As :meth:`draw_legrad` returns them.

        References
        ----------
        Chefer et al. (2021), "Generic Attention-Model Explainability for Interpreting Bi-Modal and
        Encoder-Decoder Transformers", ICCV.
        """
        tower = self.tower
        layers = range(len(tower.blocks))
        seen = self._run(pixels, layers, keep_graph=True)
        with torch.enable_grad():
            vectors, pooling = self._finish(seen[layers[-1]].tokens_out)
            goal = (vectors * find_gradient(vectors.detach())).sum()
        every = [one for layer in layers for one in seen[layer].attentions]
        asked = [*every, *pooling[:1]]
        gradients = torch.autograd.grad(goal, [one.source for one in asked])
        counted = [
            (one.find_weights() * one.find_gradient(gradient)).clamp(min=0)
            for one, gradient in zip(asked, gradients, strict=True)
        ]
        # The mean over the heads, whose axis a kernel may have joined with that of the images.
        counted = [one.reshape(len(pixels), -1, *one.shape[-2:]).mean(dim=1) for one in counted]
        n_tokens = seen[0].tokens_in.shape[1]
        held = torch.eye(n_tokens, device=pixels.device).expand(len(pixels), -1, -1)
        for one in counted[: len(every)]:
            held = held + one @ held
        if self.pooling == "class token":
            relevance = held[:, 0]
        elif self.pooling == "mean":
            relevance = held[:, tower.n_prefix :].mean(dim=1)
        else:
            relevance = (counted[-1] @ held).mean(dim=1)
        return self._lay_out(relevance), vectors.detach()

    def draw_cam(
        self, pixels: torch.Tensor, find_gradient: Gradient, n_layers: int = 2
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Weigh the tokens that enter one of the last layers by the gradient of the answer.

        Each channel of each patch is weighed by its own gradient where that is above 0, and what
        is positive is summed: channels of tokens have either sign.

        Parameters
        ----------
        pixels, find_gradient
            As :meth:`draw_legrad` has them.
        n_layers : int, default 2
            Which layer they enter, counted from the last, which is 1.

        Returns
        -------
        maps, vectors
            As :meth:`draw_legrad` returns them.

        References
        ----------
        Jiang et al. (2021), "LayerCAM", IEEE Transactions on Image Processing; on tokens instead of
        places.
        """
        n_all = len(self.tower.blocks)
        chosen = range(max(0, n_all - n_layers), n_all)
        seen = self._run(pixels, chosen, keep_graph=True)
        with torch.enable_grad():
            vectors, _ = self._finish(seen[chosen[-1]].tokens_out)
            goal = (vectors * find_gradient(vectors.detach())).sum()
        tokens = seen[chosen[0]].tokens_in
        (gradient,) = torch.autograd.grad(goal, [tokens])
        relevance = (tokens.detach() * gradient.clamp(min=0)).clamp(min=0).sum(dim=2)
        return self._lay_out(relevance), vectors.detach()

    def _lay_out(self, relevance: torch.Tensor) -> torch.Tensor:
        return relevance[:, self.tower.n_prefix :].reshape(-1, *self.tower.grid)

    def _run(
        self, pixels: torch.Tensor, chosen: range, *, keep_graph: bool = False
    ) -> dict[int, _Seen]:
        """Embed pixels, and return what the chosen blocks saw, each with a graph of its own."""
        tower, seen = self.tower, dict[int, _Seen]()

        def wrap(layer: int, forward: Callable[..., Any]) -> Callable[..., Any]:
            def run(tokens: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
                is_joined = keep_graph and layer > chosen[0]
                tokens = tower.turn(tokens)
                tokens = tokens if is_joined else tokens.detach().requires_grad_()
                with torch.enable_grad(), AttentionListener() as listener:
                    result = forward(tower.turn(tokens), *args, **kwargs)
                out = result[0] if tower.gives_tuples else result
                seen[layer] = _Seen(tokens, tower.turn(out), listener.heard)
                if keep_graph:
                    return result
                return (out.detach(), *result[1:]) if tower.gives_tuples else out.detach()

            return run

        changed = {i: wrap(i, tower.blocks[i].forward) for i in chosen}
        with torch.no_grad(), tower.run_instead(changed):
            tower.embed(pixels)
        return seen

    def _finish(self, tokens: torch.Tensor) -> tuple[torch.Tensor, list[Attention]]:
        """Return unit vectors as if these were the tokens after the last block."""
        with AttentionListener() as listener:
            embeddings = self.tower.embed_tokens(tokens)
        return F.normalize(embeddings, dim=-1), listener.heard


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What a block took in, gave out, and attended to; tokens are (n_images, n_tokens, width)."""

    tokens_in: torch.Tensor
    tokens_out: torch.Tensor
    attentions: list[Attention]


def read_transformer(tower: TokenTower, pixels: torch.Tensor) -> Transformer | None:
    """Find how a vision transformer reads its tokens, by running it.

    Parameters
    ----------
    tower : TokenTower
        Of a copy of the model, in fp32.
    pixels : Tensor of float32, shape (1, 3, height_px, width_px)
        A picture.

    Returns
    -------
    Transformer or None
        None where the embedding does not follow from the tokens after the last block alone.
    """
    with torch.no_grad():
        tokens, embeddings = tower.read_tokens(pixels)
    leaf = tokens.clone().requires_grad_()
    with torch.enable_grad(), AttentionListener() as listener:
        again = F.normalize(tower.embed_tokens(leaf), dim=-1)
        # Of a unit vector only what is not along itself can change.
        goal = (again * torch.linspace(-1, 1, again.shape[1], device=again.device)).sum()
    if not torch.allclose(again, F.normalize(embeddings, dim=-1), atol=_ALIKE):
        return None
    (gradient,) = torch.autograd.grad(goal, [leaf])
    if listener.heard:
        return Transformer(tower, "attention")
    patches = gradient[:, tower.n_prefix :]
    return Transformer(tower, "mean" if bool(patches.any()) else "class token")


# Rounding of fp32 in a unit vector.
_ALIKE = 1e-4
