"""The first pass over all texts of a head: what they weigh, in single precision, and what stays.

A head has hundreds of thousands of classes, so their logits are made block by block, and a block is
left with the summed weights of its groups and the greatest weight of every few classes. What
rounding does to these is put right where it shows, by the second pass
(:mod:`bioprobe.task.leaf_rescoring`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.task.leaf_plan import Block, Plan
from bioprobe.task.leaves import LeafQuestion
from bioprobe.task.text_pooling import Pool
from bioprobe.types import Places, Rows, Vectors

if TYPE_CHECKING:
    import torch

# Does a piece of work for each part, in order.
MapParts = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

# A weight is the exponential of a logit less a reference so far above the best of some texts, and
# no less than the lowest. Logits up to 75 above the reference do not overflow.
_HEADROOM, LOWEST = 10.0, -86.0
# The best of so many texts is seldom so far below the best of all that weights overflow; where it
# is, all texts are looked at.
_SAMPLED_TEXTS = 256
# Up to so many lines of offsets are faster subtracted by a product.
_FEW_LINES = 32
# In place of an infinite offset, which a product would make no number of.
_INFINITE = np.float32(1e30)
# Texts of so many numbers stay on a GPU while images come: 4 GB. What is more is sent again.
_NUMBERS_KEPT_THERE = 1 << 30


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a scan keeps of the weights: by images, which are the columns.

    Parameters
    ----------
    reference : tensor of float32, shape (n_images,)
        The logit of weight 1.
    totals : tensor of float64, shape (n_images,)
        Sums of all weights.
    bags : tensor of float32, shape (n_bags, n_images)
        Sums of each bag.
    greatest : tensor of float32, shape (n_strands, n_images)
        The greatest of each strand.
    """

    reference: torch.Tensor
    totals: torch.Tensor
    bags: torch.Tensor
    greatest: torch.Tensor

    def fetch(self) -> Weights:
        """Return the same in the memory of the processor."""
        return Weights(*(one.cpu() for one in vars(self).values()))

    def take(self, part: slice) -> Weights:
        """Return a copy for some of the images."""
        return Weights(*(one[..., part].clone() for one in vars(self).values()))


class Scan:
    """The way through all texts, for many images at a time."""

    def __init__(self, plan: Plan, device: torch.device | None) -> None:
        import torch

        self._plan, self._asked, self._device = plan, plan.asked, device
        self._kept: dict[int, torch.Tensor] = {}
        self._count = torch.arange(plan.texts_at_once, device=device)

    def weigh(
        self,
        vectors: Vectors,
        kinds: Places,
        at_once: MapParts = map,
        parts: Sequence[list[Block]] | None = None,
    ) -> Weights:
        """Go through all texts for some images.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n_images, dim)
        kinds : ndarray of int64, shape (n_images,)
            Line of the offsets that each takes.
        at_once : callable
            What does the work for each part, as ``map`` does one after the other.
        parts : sequence of list of Block, optional
            From :meth:`Plan.split`; by default all texts are one.
        """
        import torch

        parts = [self._plan.blocks] if parts is None else parts
        with torch.inference_mode():
            images = _Images(vectors, kinds, self._asked, self._device)
            find_highest = partial(self._find_highest, images)
            [highest] = at_once(find_highest, [_SAMPLED_TEXTS])
            found = self._weigh(images, highest + _HEADROOM, at_once, parts)
            if not bool(found.totals.isfinite().all()):
                [highest] = at_once(find_highest, [len(self._plan.texts)])
                found = self._weigh(images, highest, at_once, parts)
            return found.fetch()

    def _find_highest(self, images: _Images, n_texts: int) -> torch.Tensor:
        """Return the greatest logit of each image over texts that are evenly spaced."""
        import torch

        n_all = len(self._plan.texts)
        places = np.arange(0, n_all, max(1, n_all // n_texts))
        with torch.inference_mode():
            logits = self._make_room(images)
            highest = torch.full((len(images),), -torch.inf, device=self._device)
            reader = _Reader(self._plan)
            for start in range(0, len(places), len(logits)):
                some = places[start : start + len(logits)]
                found = self._multiply(images, reader, some, logits)
                torch.maximum(highest, found.amax(dim=0), out=highest)
        return highest

    def _weigh(
        self,
        images: _Images,
        reference: torch.Tensor,
        at_once: MapParts,
        parts: Sequence[list[Block]],
    ) -> Weights:
        import torch

        n_images, plan = len(images), self._plan
        found = Weights(
            reference,
            torch.zeros(n_images, dtype=torch.float64, device=self._device),
            torch.empty(len(plan.bag_groups), n_images, device=self._device),
            torch.empty(len(plan.n_texts), n_images, device=self._device),
        )
        weighed = at_once(partial(self._weigh_part, images, found), parts)
        for blocks, (totals, opening) in zip(parts, weighed, strict=True):
            found.totals.add_(totals)
            if blocks[0].goes_on:
                found.bags[blocks[0].first_bag].add_(opening)
        return found

    def _weigh_part(
        self, images: _Images, found: Weights, blocks: list[Block]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Go through some texts once.

        Returns
        -------
        totals : tensor of float64, shape (n_images,)
        opening : tensor of float32, shape (n_images,)
            Sum of the first bag, where that has classes in the part before: another thread may have
            that one.
        """
        import torch

        # Each thread has a mode of its own.
        with torch.inference_mode():
            join = torch.maximum if self._asked.pool is Pool.MAX else torch.add
            logits = self._make_room(images)
            totals, opening = torch.zeros_like(found.totals), torch.zeros_like(found.reference)
            opens = blocks[0].first_bag if blocks[0].goes_on else -1
            reader = _Reader(self._plan)
            piece: torch.Tensor | None = None
            for block in blocks:
                weights = self._multiply(images, reader, block.texts, logits)
                weights = self._pool_texts(weights.sub_(found.reference), block)
                weights = weights if piece is None else join(weights, piece)
                piece = None if block.ends_class else weights.clone()
                if piece is not None:
                    continue
                _find_greatest(weights, found.greatest[block.strands])
                weights = self._add_up(weights, block.bag_starts, Pool.SUM)
                totals.add_(weights.sum(dim=0, dtype=torch.float64))
                _keep_bags(
                    weights, block, found.bags, opening if block.first_bag == opens else None
                )
        return totals, opening

    def _make_room(self, images: _Images) -> torch.Tensor:
        """Return room for the logits of a block, shape (n_texts, n_images)."""
        import torch

        return torch.empty(self._plan.texts_at_once, len(images), device=self._device)

    def _pool_texts(self, logits: torch.Tensor, block: Block) -> torch.Tensor:
        """Make the weights of classes of logits that are below the reference."""
        # Exponentials that float32 can hardly hold take a hundred times as long.
        # What overflows is seen by the totals.
        weights = logits.clamp_(min=LOWEST).exp_()
        return self._add_up(weights, block.starts, self._asked.pool)

    def _add_up(
        self, weights: torch.Tensor, steps: tuple[torch.Tensor, ...], pool: Pool
    ) -> torch.Tensor:
        from torch.nn.functional import embedding_bag

        for starts in steps:
            weights = embedding_bag(self._count[: len(weights)], weights, starts, mode=pool.value)
        return weights

    def _multiply(
        self, images: _Images, reader: _Reader, places: Rows | slice, out: torch.Tensor
    ) -> torch.Tensor:
        """Return the logits of texts at some places of the scan, shape (n_texts, n_images)."""
        import torch

        asked, texts = self._asked, self._plan.texts[places]
        logits = out[: len(texts)]
        if images.there is not None:
            torch.mm(self._send(reader, places, texts), images.there, out=logits)
        else:
            # torch's products take half as long again on some processors.
            np.matmul(reader.read(texts), images.scaled, out=logits.numpy())
        if asked.offsets is None:
            return logits
        lines = np.minimum(asked.offsets[images.lines[:, np.newaxis], texts], _INFINITE)
        offsets = torch.from_numpy(np.ascontiguousarray(lines.T, dtype=np.float32))
        offsets = offsets.to(device=self._device)
        if images.takes is not None:
            return logits.addmm_(offsets, images.takes, alpha=-1)
        return logits.sub_(offsets.index_select(1, images.line_of))

    def _send(self, reader: _Reader, places: Rows | slice, texts: Rows) -> torch.Tensor:
        """Return texts on the GPU, where those of the first blocks stay."""
        import torch

        place = places.stop if isinstance(places, slice) else 0
        sent = self._kept.get(place)
        if sent is None:
            sent = torch.tensor(reader.read(texts), device=self._device)
            if 0 < place * sent.shape[1] <= _NUMBERS_KEPT_THERE:
                self._kept[place] = sent
        return sent


def _find_greatest(weights: torch.Tensor, greatest: torch.Tensor) -> None:
    """Keep the greatest of each strand of classes."""
    import torch

    n_even = len(weights) // len(greatest) * len(greatest)
    torch.amax(weights[:n_even].view(-1, *greatest.shape), dim=0, out=greatest)
    uneven = greatest[: len(weights) - n_even]
    torch.maximum(uneven, weights[n_even:], out=uneven)


def _keep_bags(
    weights: torch.Tensor, block: Block, kept: torch.Tensor, opening: torch.Tensor | None
) -> None:
    """Keep the sums of the bags of a block, the first of them beside the others where that is."""
    bags = kept[block.first_bag : block.first_bag + len(weights)]
    if opening is not None:
        opening.add_(weights[0])
        weights, bags = weights[1:], bags[1:]
    elif block.goes_on:
        weights[0].add_(bags[0])
    bags.copy_(weights)


class _Images:
    """Images as a scan asks of them."""

    def __init__(
        self, vectors: Vectors, kinds: Places, asked: LeafQuestion, device: torch.device | None
    ) -> None:
        import torch

        self._vectors, self._device = vectors, device
        self._scale = np.float32(asked.logit_scale)
        self.lines, line_of = np.unique(kinds, return_inverse=True)
        self.line_of = torch.from_numpy(line_of).to(device=device)
        self.takes: torch.Tensor | None = None
        if len(self.lines) <= _FEW_LINES:
            self.takes = torch.nn.functional.one_hot(self.line_of).T.to(torch.float32)

    @cached_property
    def scaled(self) -> Vectors:
        """Columns, scaled once."""
        return np.ascontiguousarray(self._scale * self._vectors.T, dtype=np.float32)

    @cached_property
    def there(self) -> torch.Tensor | None:
        """The same on the GPU."""
        import torch

        on_processor = self._device is None
        return None if on_processor else torch.from_numpy(self.scaled).to(device=self._device)

    def __len__(self) -> int:
        return len(self._vectors)


class _Reader:
    """Reads texts in single precision, of a half-precision head into the same memory each time."""

    def __init__(self, plan: Plan) -> None:
        import torch

        self._leaves = plan.asked.leaves
        shape = plan.texts_at_once, self._leaves.texts.shape[1]
        self._narrow = torch.empty(shape, dtype=torch.float16)
        self._wide = torch.empty(shape)

    def read(self, texts: Rows) -> Vectors:
        """Return some texts, until the next are read."""
        rows, head = self._leaves.rows[texts], self._leaves.texts
        # To look at rows that stand together takes less than to collect them.
        is_run = len(rows) > 0 and bool((np.diff(rows) == 1).all())
        run = slice(rows[0], rows[-1] + 1) if is_run else rows
        if head.dtype != np.float16:
            return np.asarray(head[run])
        narrow = self._narrow[: len(rows)]
        if is_run:
            np.copyto(narrow.numpy(), head[run])
        else:
            np.take(head, rows, axis=0, out=narrow.numpy(), mode="clip")
        return self._wide[: len(rows)].copy_(narrow).numpy()
