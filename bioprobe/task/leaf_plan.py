"""In which order all texts of a head are gone through, and how many at a time.

A block of texts is multiplied at once, and left with a sum for each group of its classes. So these
are ordered by group, and what is found is given back in their own order.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bioprobe.task.leaves import LeafQuestion
from bioprobe.types import Places, Rows

if TYPE_CHECKING:
    import torch

# Of so many texts a product with many images is as fast as it gets: their scores for 1,024 images
# are 8 MB, which caches still hold.
_TEXTS_AT_ONCE = 2048
# Where each class has one text, so many greatest weights are kept of a block: those of all
# siblings, which are often the best together and stand side by side.
_STRANDS_A_BLOCK = 512
# Of more numbers that are added up one after the other, the rounding would show.
_ADDED_AT_ONCE = 32


@dataclasses.dataclass(frozen=True)
class Block:
    """Texts that are multiplied at once: of whole classes, or of a piece of one."""

    texts: slice
    # Where each class begins, counted from the first text; none if each has one text.
    starts: tuple[torch.Tensor, ...]
    # Strands of the classes; none before the last piece of a class.
    strands: slice
    first_bag: int
    # Whether the first bag has classes in the block before.
    goes_on: bool
    # Where each bag begins, counted from the first class.
    bag_starts: tuple[torch.Tensor, ...]

    @property
    def ends_class(self) -> bool:
        """Whether the last class ends here."""
        return bool(self.strands.start < self.strands.stop)


class Plan:
    """The order in which a scan goes through all classes and their texts, and its blocks.

    The allowed classes come first, and those of one group one after the other: these are a bag,
    whose weights are added up. Classes of a block that stand evenly spaced are a strand: its
    greatest weight is found by comparing whole rows.
    """

    def __init__(self, asked: LeafQuestion, device: torch.device | None) -> None:
        self.asked, self.texts_at_once = asked, _TEXTS_AT_ONCE
        # Of each class in this order: which it is, how many texts it has, and where these end.
        self.order = np.lexsort((asked.groups, ~asked.allowed))
        self.sizes = np.diff(asked.starts)[self.order]
        self.ends = np.cumsum(self.sizes)
        self.texts = count_up(asked.starts[self.order], self.sizes)
        self.n_allowed = int(asked.allowed.sum())
        groups = asked.groups[self.order]
        opens = np.diff(groups, prepend=-2) != 0
        opens[self.n_allowed : self.n_allowed + 1] = True
        self.bag_of, self.bag_groups = np.cumsum(opens) - 1, groups[opens]
        self.n_allowed_bags = int(opens[: self.n_allowed].sum())
        self._strand_of = np.zeros(len(self.order), dtype=np.int64)
        self.blocks = list(self._iter_blocks(device))
        # The classes of each strand, one strand after the other.
        self._by_strand = np.argsort(self._strand_of, kind="stable")
        self.n_classes = np.bincount(self._strand_of)
        self._strand_starts = np.cumsum(self.n_classes) - self.n_classes
        self.n_texts = np.bincount(self._strand_of, weights=self.sizes).astype(np.int64)
        self.n_allowed_strands = int(self._strand_of[: self.n_allowed].max(initial=-1)) + 1

    @property
    def n_held(self) -> int:
        """How many numbers are held of each image."""
        return len(self.bag_groups) + len(self.n_texts) + self.asked.n_groups

    def split(self, n_parts: int) -> list[list[Block]]:
        """Split the texts in about equal parts, each of whole classes."""
        ends = [place + 1 for place, block in enumerate(self.blocks) if block.ends_class]
        chosen = [int(part[-1]) for part in np.array_split(ends, n_parts) if len(part)]
        return [self.blocks[start:end] for start, end in itertools.pairwise([0, *chosen])]

    def find_classes(self, strands: Rows) -> Places:
        """Return places in the order of all classes of some strands, strand by strand."""
        starts, sizes = self._strand_starts[strands], self.n_classes[strands]
        return np.asarray(self._by_strand[count_up(starts, sizes)])

    def find_texts(self, places: Places) -> Rows:
        """Return all texts of classes at some places of the order, class by class."""
        sizes = self.sizes[places]
        return np.asarray(self.texts[count_up(self.ends[places] - sizes, sizes)])

    def _iter_blocks(self, device: torch.device | None) -> Iterator[Block]:
        n_classes = len(self.order)
        fewest = _STRANDS_A_BLOCK if n_classes == len(self.texts) else n_classes
        first, strand = 0, 0
        while first < n_classes:
            start = int(self.ends[first] - self.sizes[first])
            last = int(np.searchsorted(self.ends, start + _TEXTS_AT_ONCE, side="right"))
            # No block has classes of both kinds.
            last = min(last, self.n_allowed if first < self.n_allowed else n_classes)
            last = max(last, first + 1)
            stop = int(self.ends[last - 1])
            starts = self.ends[first:last] - self.sizes[first:last] - start
            bags = self.bag_of[first:last]
            n_strands = min(fewest, last - first)
            self._strand_of[first:last] = strand + np.arange(last - first) % n_strands
            for begin in range(start, stop, _TEXTS_AT_ONCE):
                end = min(begin + _TEXTS_AT_ONCE, stop)
                yield Block(
                    slice(begin, end),
                    _step(starts, end - begin, device),
                    slice(strand, strand + n_strands if end == stop else strand),
                    int(bags[0]),
                    first > 0 and self.bag_of[first - 1] == bags[0],
                    _step(np.flatnonzero(np.diff(bags, prepend=-1)), last - first, device),
                )
            first, strand = last, strand + n_strands


def count_up(starts: Rows, sizes: Rows) -> Rows:
    """Return ``starts[i], starts[i] + 1, …``, ``sizes[i]`` of them, for each i."""
    ends = np.cumsum(sizes)
    counted: Rows = np.arange(int(sizes.sum())) + np.repeat(starts - (ends - sizes), sizes)
    return counted


def _step(starts: Rows, n_rows: int, device: torch.device | None) -> tuple[torch.Tensor, ...]:
    """Return where the sums of rows begin that make those from some starts, in one step or two."""
    import torch

    if len(starts) == n_rows:
        return ()
    steps: tuple[Rows, ...] = (starts,)
    if np.diff(starts, append=n_rows).max() > _ADDED_AT_ONCE:
        fine = np.union1d(starts, np.arange(0, n_rows, _ADDED_AT_ONCE))
        steps = fine, np.searchsorted(fine, starts)
    return tuple(torch.from_numpy(step).to(device=device) for step in steps)
