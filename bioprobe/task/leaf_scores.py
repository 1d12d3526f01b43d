"""The scores of all lowest classes, seen once: the best, the sums up the tree, what is allowed.

A head has hundreds of thousands of classes, so their scores are made block by block, and each
block is left with the greatest of every few of its weights and with the sums of its groups. The
classes that may be among the best are then scored again in double precision.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.cores import keep_torch_threads, map_alone
from bioprobe.devices import find_gpu, multiplying
from bioprobe.errors import MismatchError, PromptError
from bioprobe.task.scores import Columns, Pool, find_top, sum_columns
from bioprobe.types import Mask, Places, Rows, Scores, Vectors

if TYPE_CHECKING:
    import torch

_Doubles = npt.NDArray[np.float64]
# Does a piece of work for each part, in order.
_Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Leaves:
    """The lowest classes of a question, by what stands for each.

    Parameters
    ----------
    texts : ndarray of float32 or float16, shape (n_rows, dim), unit rows
        May be memory-mapped.
    rows : ndarray of int64, shape (n_texts,)
        Rows of ``texts`` that take part, those of one class one after the other.
    classes : ndarray of int64, shape (n_texts,)
        Class of each of these rows, ascending from 0; every class has one at least.
    offsets : ndarray of float32, shape (n_texts,) or (n_priors, n_texts), optional
        Subtracted from the logits of these rows: the same for all images, or one line for each
        kind of image, such as those of one site.
    """

    texts: npt.NDArray[np.floating]
    rows: Rows
    classes: Rows
    offsets: Scores | None = None

    @classmethod
    def of(cls, texts: npt.NDArray[np.floating], offsets: Scores | None = None) -> Leaves:
        """Return classes that have one text each, shape (n_classes, dim)."""
        return cls(texts, np.arange(len(texts)), np.arange(len(texts)), offsets)

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return int(self.classes[-1]) + 1 if len(self.classes) else 0


@dataclasses.dataclass(frozen=True, eq=False)
class LeafScores:
    """What was kept of the scores of some images.

    Parameters
    ----------
    top : ndarray of int64, shape (n_images, min(k, n_classes))
        Best classes, best first; equal ones in the order of the classes.
    top_probabilities : ndarray of float32, of the same shape
        Softmax over all texts, summed by class; exact, whether or not a class is allowed.
    sums : ndarray of float32, shape (n_images, n_groups)
        Summed probability of each group; those of classes without a group are in none.
    allowed_top : ndarray of int64, shape (n_images, min(k, n_allowed))
        Best of the allowed classes.
    allowed_probabilities : ndarray of float32, of the same shape
        As ``top_probabilities``: not made to add up to 1 among what is allowed.
    share_outside : ndarray of float32, shape (n_images,)
        Summed probability of the classes that are not allowed.
    """

    top: Places
    top_probabilities: Scores
    sums: Scores
    allowed_top: Places
    allowed_probabilities: Scores
    share_outside: Scores


# So few scores are made by plain numpy before torch is loaded, with all texts at once.
_FEW_SCORES, _FEW_TEXTS = 16_000_000, 20_000
# Scores that are made at once, 2 MB in double precision, but of so many images at least. From so
# many parts, threads are worth their beginning.
_PLAINLY_AT_ONCE, _FEWEST_IMAGES, _MANY_PARTS = 250_000, 64, 4
# So many images and texts meet at once: 8 MB of scores, where a product is as fast as it gets and
# caches still hold them.
_IMAGES_AT_ONCE, _TEXTS_AT_ONCE = 1024, 2048
# Numbers that all threads together hold of their images, as the sums of all groups: 512 MB. A GPU
# wants more images at once than the share of one of many threads, and has few threads: 2 GB there,
# and as many here.
_NUMBERS_HELD, _NUMBERS_HELD_THERE, _THREADS_THERE = 1 << 27, 1 << 29, 4
# Texts of so many numbers stay on a GPU while images come: 4 GB. What is more is sent again.
_NUMBERS_KEPT_THERE = 1 << 30


def score_leaves(
    vectors: Vectors,
    leaves: Leaves,
    *,
    k: int,
    logit_scale: float,
    groups: Places | None = None,
    allowed: Mask | None = None,
    kinds: Places | None = None,
    pool: Pool = Pool.SUM,
) -> LeafScores:
    """Score every class for every image, in bounded memory, and keep what is asked.

    Sums at any rank follow from those of the finest groups, by :func:`sum_up`. These are held for
    all images: of many images and groups, take :func:`iter_leaf_scores`.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    leaves : Leaves
    k : int
        Answers, ≥ 1.
    logit_scale : float
        Factor from cosine similarity to logits.
    groups : ndarray of int64, shape (n_classes,), optional
        Group of each class, -1 for none.
    allowed : ndarray of bool, shape (n_classes,), optional
        Which classes may be answered; by default all.
    kinds : ndarray of int64, shape (n_images,), optional
        Line of the offsets that each image takes, where these have several.
    pool : Pool
        ``sum`` adds the probabilities of the texts of a class, ``max`` takes its best text, and
        softmax is then over the classes. A mean of texts is a text, and no way to pool scores.

    Raises
    ------
    MismatchError
        If the two have different dims.
    PromptError
        If the mean of texts is asked.

    Examples
    --------
    >>> leaves = Leaves(np.eye(2, dtype=np.float32), np.arange(2), np.arange(2))
    >>> asked = np.array([[0.0, 1.0]], dtype=np.float32)
    >>> found = score_leaves(asked, leaves, k=1, logit_scale=1.0, allowed=np.array([True, False]))
    >>> found.top.tolist(), found.allowed_top.tolist(), found.share_outside.round(3).tolist()
    ([[1]], [[0]], [0.7310000061988831])
    """
    parts = list(
        iter_leaf_scores(
            vectors, leaves, k=k, logit_scale=logit_scale, groups=groups, allowed=allowed,
            kinds=kinds, pool=pool,
        )
    )  # fmt: skip
    if len(parts) == 1:
        return parts[0]
    names = ("top", "top_probabilities", "allowed_top", "allowed_probabilities", "share_outside")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    # By groups, as they are made: to turn them round would take longer than to add them up.
    sums = np.concatenate([part.sums.T for part in parts], axis=1).T
    return LeafScores(sums=sums, **joined)


def iter_leaf_scores(
    vectors: Vectors,
    leaves: Leaves,
    *,
    k: int,
    logit_scale: float,
    groups: Places | None = None,
    allowed: Mask | None = None,
    kinds: Places | None = None,
    pool: Pool = Pool.SUM,
) -> Iterator[LeafScores]:
    """Score every class as :func:`score_leaves` does, some images at a time.

    So the sums of 80,000 genera, 320 kB an image, need not be held of all images.

    Yields
    ------
    LeafScores
        Of the next images, some hundreds where there are many classes; of no image once.
    """
    if vectors.shape[1] != leaves.texts.shape[1]:
        msg = f"images have dim {vectors.shape[1]}, text embeddings {leaves.texts.shape[1]}"
        raise MismatchError(msg)
    if pool is Pool.MEAN:
        msg = "a mean of texts is no pool of their scores; make the means the texts"
        raise PromptError(msg)
    if kinds is None:
        kinds = np.zeros(len(vectors), dtype=np.int64)
    asked = _Asked(leaves, k, logit_scale, pool, groups, allowed)
    n_texts = len(leaves.rows)
    if not len(vectors):
        yield _answer_none(asked)
        return
    device = find_gpu(float(n_texts) * vectors.shape[1], len(vectors))
    if device is None and n_texts <= _FEW_TEXTS and len(vectors) * n_texts <= _FEW_SCORES:
        yield from _score_few(vectors, kinds, asked)
    else:
        yield from _scan(vectors, kinds, asked, device)


def _scan(
    vectors: Vectors, kinds: Places, asked: _Asked, device: torch.device | None
) -> Iterator[LeafScores]:
    """Score images in as many threads as torch has, or in a few on a GPU.

    Each thread has images by itself; of so few that meet texts at once, all have some of the texts.

    Yields
    ------
    LeafScores
        Of the next images.
    """
    import torch

    with keep_torch_threads() as n_threads:
        scan = _Scan(asked, device)
        n_held, n_scans = _NUMBERS_HELD, n_threads
        if device is not None:
            n_held, n_scans = _NUMBERS_HELD_THERE, min(n_threads, _THREADS_THERE)
        # What threads found together is copied for each, image by image.
        held, n_images = n_held // scan.n_held, len(vectors)
        is_shared = n_scans > 1 and device is None and n_images <= min(_IMAGES_AT_ONCE, held // 2)
        size = max(1, min(_IMAGES_AT_ONCE, held // n_scans, -(-n_images // n_scans)))
        parts = [slice(start, start + size) for start in range(0, n_images, size)]
        at_once = partial(map_alone, n_threads=n_scans, begin=partial(torch.set_num_threads, 1))
        with multiplying(device):
            if not is_shared:
                yield from at_once(lambda part: scan.score(vectors[part], kinds[part]), parts)
                return
            found = scan.sum_weights(vectors, kinds, at_once, scan.split(n_scans))
            yield from at_once(
                lambda part: scan.answer(vectors[part], kinds[part], found.take(part)), parts
            )


class _Asked:
    """A question, whole, and its exact scores."""

    def __init__(
        self,
        leaves: Leaves,
        k: int,
        logit_scale: float,
        pool: Pool,
        groups: Places | None,
        allowed: Mask | None,
    ) -> None:
        self.leaves, self.k, self.logit_scale, self.pool = leaves, k, logit_scale, pool
        n_classes = leaves.n_classes
        self.groups = np.full(n_classes, -1, dtype=np.int64) if groups is None else groups
        self.allowed = np.ones(n_classes, dtype=bool) if allowed is None else allowed
        self.n_groups = int(self.groups.max(initial=-1)) + 1
        self.offsets = None if leaves.offsets is None else np.atleast_2d(leaves.offsets)
        starts = np.flatnonzero(np.diff(leaves.classes, prepend=-1))
        self.starts = np.append(starts, len(leaves.classes))

    def find_logits(self, cosines: _Doubles, texts: Rows | slice, kinds: Places) -> _Doubles:
        """Return logits, in double precision, of exact cosines.

        These are rounded to 2⁻³⁰, so that equal texts have equal ones however they were
        multiplied.
        """
        logits = cosines * 2.0**30
        np.rint(logits, out=logits)
        logits *= self.logit_scale / 2.0**30
        if self.offsets is not None:
            logits -= self.offsets[kinds, texts]
        return logits

    def pool_exactly(self, logits: _Doubles, starts: Rows) -> _Doubles:
        """Make the logits of texts, the last axis, one score a class."""
        if len(starts) == logits.shape[-1]:
            return logits
        highest = np.maximum.reduceat(logits, starts, axis=-1)
        if self.pool is Pool.MAX:
            return highest
        sizes = np.diff(starts, append=logits.shape[-1])
        # A class whose texts all have an infinite offset has no weight.
        shift = np.where(np.isfinite(highest), highest, 0.0)
        weights = np.exp(logits - np.repeat(shift, sizes, axis=-1))
        with np.errstate(divide="ignore"):
            return shift + np.log(np.add.reduceat(weights, starts, axis=-1))


def _answer_none(asked: _Asked) -> LeafScores:
    """Return empty answers of the right shape."""

    def answer(n_classes: int) -> tuple[Places, Scores]:
        shape = 0, min(asked.k, n_classes)
        return np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)

    sums = np.zeros((0, asked.n_groups), dtype=np.float32)
    return LeafScores(
        *answer(asked.leaves.n_classes),
        sums,
        *answer(int(asked.allowed.sum())),
        sums.sum(axis=1),
    )


def _score_few(vectors: Vectors, kinds: Places, asked: _Asked) -> Iterator[LeafScores]:
    """Score images some at a time, without torch.

    Yields
    ------
    LeafScores
        Of the next images.
    """
    texts = np.asarray(asked.leaves.texts[asked.leaves.rows], dtype=np.float64)
    size = max(_FEWEST_IMAGES, _PLAINLY_AT_ONCE // max(1, len(texts)))
    parts = [slice(start, start + size) for start in range(0, len(vectors), size)]
    at_once = map if len(parts) < _MANY_PARTS else map_alone
    yield from at_once(lambda part: _score_plainly(vectors[part], texts, kinds[part], asked), parts)


def _score_plainly(vectors: Vectors, texts: _Doubles, kinds: Places, asked: _Asked) -> LeafScores:
    """Score all classes at once, in double precision."""
    cosines = vectors.astype(np.float64) @ texts.T
    logits = asked.find_logits(cosines, slice(None), kinds)
    scores = asked.pool_exactly(logits, asked.starts[:-1])
    # Rounding a gap moves its weight by 3e-8 at most: where gaps are large, weights are small.
    gaps = (scores - scores.max(axis=1, keepdims=True, initial=-np.inf)).astype(np.float32)
    weights = np.exp(gaps).astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    sums = sum_columns(weights, asked.groups, asked.n_groups)

    def take(columns: Rows | None) -> tuple[Places, Scores]:
        # Ordered by what is not rounded yet. Indexing by columns would lay them out by columns.
        top = find_top(scores if columns is None else scores.take(columns, axis=1), asked.k)[0]
        top = top if columns is None else columns[top]
        return top, np.take_along_axis(weights, top, axis=1).astype(np.float32)

    outside = weights[:, ~asked.allowed].sum(axis=1)
    best = take(None)
    return LeafScores(
        *best,
        sums,
        *(best if asked.allowed.all() else take(np.flatnonzero(asked.allowed))),
        outside.astype(np.float32),
    )


# A weight is the exponential of a logit less a reference so far above the best of some texts, and
# no less than the lowest. Logits up to 75 above the reference do not overflow.
_HEADROOM, _LOWEST = 10.0, -86.0
# At so many times the lowest weight, it hardly matters that others were made no lower.
_FAR_ABOVE = 1e4
_SAMPLED_TEXTS = 256
# Where each class has one text, so many greatest weights are kept of a block: those of all
# siblings, which are often the best together and stand side by side.
_STRANDS_A_BLOCK = 512
# Classes of more texts are not scored again: roundings even out in their sums. Only those that are
# e⁻⁵⁰ times as likely as others may then stand in another order.
_MOST_TEXTS_AGAIN = 64
# Sums are mended by the exact weights of classes that have so much of them.
_LARGE_SHARE = 0.02
# Texts that are scored again in one go, and those of them that stay in the cache, 1 MB at 512
# numbers each; answers that are held.
_TEXTS_AGAIN, _DOTS_AT_ONCE, _ENTRIES_HELD = 8192, 256, 4_000_000
# Up to so many lines of offsets are faster subtracted by a product.
_FEW_LINES = 32
# In place of an infinite offset, which a product would make no number of.
_INFINITE = np.float32(1e30)


@dataclasses.dataclass(frozen=True)
class _Block:
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


class _Reader:
    """Reads texts in single precision, of a half-precision head into the same memory each time."""

    def __init__(self, leaves: Leaves) -> None:
        import torch

        self._leaves = leaves
        shape = _TEXTS_AT_ONCE, leaves.texts.shape[1]
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


class _Images:
    """Images as a scan asks of them."""

    def __init__(
        self, vectors: Vectors, kinds: Places, asked: _Asked, device: torch.device | None
    ) -> None:
        import torch

        self._scale, self._device = np.float32(asked.logit_scale), device
        self.vectors = vectors
        self.kinds = kinds
        self.lines, line_of = np.unique(kinds, return_inverse=True)
        self.line_of = torch.from_numpy(line_of).to(device=device)
        self.takes: torch.Tensor | None = None
        if len(self.lines) <= _FEW_LINES:
            self.takes = torch.nn.functional.one_hot(self.line_of).T.to(torch.float32)
        lengths = np.linalg.norm(vectors, axis=1)
        self.longest = float(lengths.max(initial=0.0))

    @cached_property
    def scaled(self) -> Vectors:
        """Columns, scaled once."""
        return np.ascontiguousarray(self._scale * self.vectors.T, dtype=np.float32)

    @cached_property
    def there(self) -> torch.Tensor | None:
        """The same on the GPU."""
        import torch

        on_processor = self._device is None
        return None if on_processor else torch.from_numpy(self.scaled).to(device=self._device)

    def __len__(self) -> int:
        return len(self.kinds)


@dataclasses.dataclass(frozen=True)
class _Sums:
    """What a scan keeps of the weights: by images, which are the columns."""

    reference: torch.Tensor
    totals: torch.Tensor
    bags: torch.Tensor
    # Greatest of each strand.
    greatest: torch.Tensor

    def fetch(self) -> _Sums:
        """Return the same in the memory of the processor."""
        return _Sums(*(one.cpu() for one in vars(self).values()))

    def take(self, part: slice) -> _Sums:
        """Return a copy for some of the images."""
        return _Sums(*(one[..., part].clone() for one in vars(self).values()))


@dataclasses.dataclass(frozen=True)
class _Entries:
    """Scores of single classes of single images, in double precision."""

    images: Rows
    classes: Rows
    scores: _Doubles

    @classmethod
    def join(cls, parts: Sequence[_Entries]) -> _Entries:
        joined = (np.concatenate(one) for one in zip(*map(dataclasses.astuple, parts), strict=True))
        return cls(*joined)

    def take(self, kept: Mask | Rows) -> _Entries:
        return _Entries(self.images[kept], self.classes[kept], self.scores[kept])

    def find_best(self, k: int) -> Rows:
        """Return where the best k of each image are: by image, then best first."""
        order = np.lexsort((self.classes, -self.scores, self.images))
        images = self.images[order]
        rank = np.arange(len(order)) - np.searchsorted(images, images)
        return np.asarray(order[rank < k])


class _Scan:
    """The way through all texts, for many images at a time.

    Classes stand in an order in which the allowed ones come first, and those of one group one
    after the other: these are a bag. Classes of a block that stand evenly spaced are a strand: its
    greatest weight is found by comparing whole rows.
    """

    def __init__(self, asked: _Asked, device: torch.device | None) -> None:
        import torch

        self._asked, self._device = asked, device
        self._kept: dict[int, torch.Tensor] = {}
        self._order = np.lexsort((asked.groups, ~asked.allowed))
        self._n_allowed = int(asked.allowed.sum())
        self._sizes = np.diff(asked.starts)[self._order]
        self._ends = np.cumsum(self._sizes)
        self._texts = _count_up(asked.starts[self._order], self._sizes)
        groups = asked.groups[self._order]
        opens = np.diff(groups, prepend=-2) != 0
        opens[self._n_allowed : self._n_allowed + 1] = True
        self._bag_of, self._bag_groups = np.cumsum(opens) - 1, groups[opens]
        self._n_allowed_bags = int(opens[: self._n_allowed].sum())
        self._count = torch.arange(_TEXTS_AT_ONCE, device=device)
        self._strand_of = np.zeros(len(self._order), dtype=np.int64)
        self._blocks = list(self._plan())
        # The classes of each strand, one strand after the other.
        self._by_strand = np.argsort(self._strand_of, kind="stable")
        self._n_classes = np.bincount(self._strand_of)
        self._strand_starts = np.cumsum(self._n_classes) - self._n_classes
        self._n_texts = np.bincount(self._strand_of, weights=self._sizes).astype(np.int64)
        self._n_allowed_strands = int(self._strand_of[: self._n_allowed].max(initial=-1)) + 1
        # Numbers that are held of each image.
        self.n_held = len(self._bag_groups) + len(self._n_texts) + asked.n_groups

    def _plan(self) -> Iterator[_Block]:
        n_classes = len(self._order)
        fewest = _STRANDS_A_BLOCK if n_classes == len(self._texts) else n_classes
        first, strand = 0, 0
        while first < n_classes:
            start = int(self._ends[first] - self._sizes[first])
            last = int(np.searchsorted(self._ends, start + _TEXTS_AT_ONCE, side="right"))
            # No block has classes of both kinds.
            last = min(last, self._n_allowed if first < self._n_allowed else n_classes)
            last = max(last, first + 1)
            stop = int(self._ends[last - 1])
            starts = self._ends[first:last] - self._sizes[first:last] - start
            bags = self._bag_of[first:last]
            n_strands = min(fewest, last - first)
            self._strand_of[first:last] = strand + np.arange(last - first) % n_strands
            for begin in range(start, stop, _TEXTS_AT_ONCE):
                end = min(begin + _TEXTS_AT_ONCE, stop)
                yield _Block(
                    slice(begin, end),
                    _step(starts, end - begin, self._device),
                    slice(strand, strand + n_strands if end == stop else strand),
                    int(bags[0]),
                    first > 0 and self._bag_of[first - 1] == bags[0],
                    _step(np.flatnonzero(np.diff(bags, prepend=-1)), last - first, self._device),
                )
            first, strand = last, strand + n_strands

    def split(self, n_parts: int) -> list[list[_Block]]:
        """Split the texts in about equal parts, each of whole classes."""
        ends = [place + 1 for place, block in enumerate(self._blocks) if block.ends_class]
        chosen = [int(part[-1]) for part in np.array_split(ends, n_parts) if len(part)]
        return [self._blocks[start:end] for start, end in itertools.pairwise([0, *chosen])]

    def score(self, vectors: Vectors, kinds: Places) -> LeafScores:
        """Score some images in this thread."""
        found = self.sum_weights(vectors, kinds, map, [self._blocks])
        return self.answer(vectors, kinds, found)

    def sum_weights(
        self, vectors: Vectors, kinds: Places, at_once: _Map, parts: Sequence[list[_Block]]
    ) -> _Sums:
        """Go through all texts, by parts, for some images."""
        import torch

        with torch.inference_mode():
            images = _Images(vectors, kinds, self._asked, self._device)
            find_highest = partial(self._find_highest, images)
            [highest] = at_once(find_highest, [_SAMPLED_TEXTS])
            found = self._sum_weights(images, highest + _HEADROOM, at_once, parts)
            if not bool(found.totals.isfinite().all()):
                [highest] = at_once(find_highest, [len(self._texts)])
                found = self._sum_weights(images, highest, at_once, parts)
            return found.fetch()

    def answer(self, vectors: Vectors, kinds: Places, found: _Sums) -> LeafScores:
        """Score what may be among the best again, and make probabilities."""
        import torch

        with torch.inference_mode():
            images = _Images(vectors, kinds, self._asked, None)
            return self._finish(self._score_again(images, found), found)

    def _multiply(
        self, images: _Images, reader: _Reader, places: Rows | slice, out: torch.Tensor
    ) -> torch.Tensor:
        """Return the logits of texts at some places of the scan, shape (n_texts, n_images)."""
        import torch

        asked, texts = self._asked, self._texts[places]
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

    def _find_highest(self, images: _Images, n_texts: int) -> torch.Tensor:
        """Return the greatest logit of each image over texts that are evenly spaced."""
        import torch

        places = np.arange(0, len(self._texts), max(1, len(self._texts) // n_texts))
        with torch.inference_mode():
            logits = torch.empty(_TEXTS_AT_ONCE, len(images), device=self._device)
            highest = torch.full((len(images),), -torch.inf, device=self._device)
            reader = _Reader(self._asked.leaves)
            for start in range(0, len(places), _TEXTS_AT_ONCE):
                some = places[start : start + _TEXTS_AT_ONCE]
                found = self._multiply(images, reader, some, logits)
                torch.maximum(highest, found.amax(dim=0), out=highest)
        return highest

    def _sum_weights(
        self, images: _Images, reference: torch.Tensor, at_once: _Map, parts: Sequence[list[_Block]]
    ) -> _Sums:
        import torch

        n_images = len(images)
        found = _Sums(
            reference,
            torch.zeros(n_images, dtype=torch.float64, device=self._device),
            torch.empty(len(self._bag_groups), n_images, device=self._device),
            torch.empty(len(self._n_texts), n_images, device=self._device),
        )
        summed = at_once(partial(self._sum_part, images, reference, found), parts)
        for blocks, (totals, opening) in zip(parts, summed, strict=True):
            found.totals.add_(totals)
            if blocks[0].goes_on:
                found.bags[blocks[0].first_bag].add_(opening)
        return found

    def _sum_part(
        self, images: _Images, reference: torch.Tensor, found: _Sums, blocks: list[_Block]
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
            logits = torch.empty(_TEXTS_AT_ONCE, len(images), device=self._device)
            totals, opening = torch.zeros_like(found.totals), torch.zeros_like(reference)
            opens = blocks[0].first_bag if blocks[0].goes_on else -1
            reader = _Reader(self._asked.leaves)
            piece: torch.Tensor | None = None
            for block in blocks:
                weights = self._multiply(images, reader, block.texts, logits).sub_(reference)
                # Exponentials that float32 can hardly hold take a hundred times as long.
                # What overflows is seen by the totals.
                weights = weights.clamp_(min=_LOWEST).exp_()
                weights = self._pool(weights, block.starts, self._asked.pool)
                weights = weights if piece is None else join(weights, piece)
                piece = None
                if not block.ends_class:
                    piece = weights.clone()
                    continue
                self._find_greatest(weights, found.greatest[block.strands])
                weights = self._pool(weights, block.bag_starts, Pool.SUM)
                totals.add_(weights.sum(dim=0, dtype=torch.float64))
                bags = found.bags[block.first_bag : block.first_bag + len(weights)]
                if block.first_bag == opens:
                    opening.add_(weights[0])
                    weights, bags = weights[1:], bags[1:]
                elif block.goes_on:
                    weights[0].add_(bags[0])
                bags.copy_(weights)
        return totals, opening

    def _pool(
        self, weights: torch.Tensor, steps: tuple[torch.Tensor, ...], pool: Pool
    ) -> torch.Tensor:
        from torch.nn.functional import embedding_bag

        for starts in steps:
            weights = embedding_bag(self._count[: len(weights)], weights, starts, mode=pool.value)
        return weights

    def _find_greatest(self, weights: torch.Tensor, greatest: torch.Tensor) -> None:
        """Keep the greatest of each strand of classes."""
        import torch

        n_even = len(weights) // len(greatest) * len(greatest)
        torch.amax(weights[:n_even].view(-1, *greatest.shape), dim=0, out=greatest)
        uneven = greatest[: len(weights) - n_even]
        torch.maximum(uneven, weights[n_even:], out=uneven)

    def _score_again(self, images: _Images, found: _Sums) -> _Entries:
        """Score exactly what may be among the best, and mend the sums by it."""
        import torch

        n_allowed = self._n_allowed_strands
        every = Columns(found.greatest)
        least = least_allowed = self._find_least(images, found, every)
        if n_allowed < len(found.greatest):
            inside = Columns(found.greatest[:n_allowed])
            least_allowed = torch.minimum(least, self._find_least(images, found, inside))
        strands, of = every.find_from(least_allowed)
        # What is not allowed is no answer among the allowed.
        kept = (strands < n_allowed) | (found.greatest.numpy()[strands, of] >= least.numpy()[of])
        # Neighbours in the head are read one after the other.
        strands, of = strands[kept], of[kept]
        order = np.argsort(strands, kind="stable")
        strands, of = strands[order], of[order]
        least_scores = (least_allowed.double().log() + found.reference).numpy()
        held = [self._score_strands(images, found, strands[:0], of[:0])]
        # A batch ends where the next texts would be too many.
        batch_of = np.cumsum(self._n_texts[strands]) // _TEXTS_AGAIN
        borders = np.append(np.flatnonzero(np.diff(batch_of, prepend=-1)), len(strands))
        for start, stop in itertools.pairwise(borders):
            entries = self._score_strands(images, found, strands[start:stop], of[start:stop])
            held.append(entries.take(entries.scores >= least_scores[entries.images]))
            if sum(len(part.images) for part in held) > _ENTRIES_HELD:
                held = [self._drop(_Entries.join(held))]
        return _Entries.join(held)

    def _drop(self, entries: _Entries) -> _Entries:
        """Keep the best of all and the best of the allowed classes of each image."""
        k, allowed = self._asked.k, np.flatnonzero(self._asked.allowed[entries.classes])
        best = allowed[entries.take(allowed).find_best(k)]
        return entries.take(np.union1d(best, entries.find_best(k)))

    def _find_least(self, images: _Images, found: _Sums, columns: Columns) -> torch.Tensor:
        """Return the weight below which no class is scored again.

        The k best strands have k classes at least, and what rounding does to a weight is bounded.
        """
        import torch

        kth = columns.find_kth(self._asked.k)
        kth *= float(np.exp(-2 * self._bound_error(images, found)))
        told_apart = _FAR_ABOVE * float(np.exp(_LOWEST)) * int(self._sizes.max())
        large = (_LARGE_SHARE * found.totals).to(torch.float32)
        return torch.minimum(kth.masked_fill_(kth < told_apart, 0.0), large)

    def _bound_error(self, images: _Images, found: _Sums) -> float:
        """Bound what rounding does to the logarithm of a weight.

        References
        ----------
        Higham 2002, *Accuracy and Stability of Numerical Algorithms*, section 3.1; the sum of
        absolute terms is bounded by Cauchy and Schwarz, of texts no longer than 1.01.
        """
        asked = self._asked
        largest = 1.01 * abs(asked.logit_scale) * images.longest
        steps: float = (images.vectors.shape[1] + 8) * largest
        added = largest + float(found.reference.abs().max())
        if asked.offsets is not None:
            finite = asked.offsets[images.lines]
            added += float(
                np.abs(finite, where=np.isfinite(finite), out=np.zeros_like(finite)).max()
            )
        return (steps + 8 * added + int(self._sizes.max())) * 2.0**-24 + 1 / _FAR_ABOVE

    def _score_strands(self, images: _Images, found: _Sums, strands: Rows, of: Rows) -> _Entries:
        """Score all classes of strands, one an image of ``of``; mend the sums."""
        n_classes = self._n_classes[strands]
        places = self._by_strand[_count_up(self._strand_starts[strands], n_classes)]
        image_of = np.repeat(of, n_classes)
        scores = np.repeat(
            np.log(found.greatest.numpy()[strands, of].astype(np.float64)), n_classes
        )
        scores += found.reference.numpy()[image_of]
        again = np.flatnonzero(self._sizes[places] <= _MOST_TEXTS_AGAIN)
        scores[again] = self._score_exactly(images, places[again], image_of[again])
        self._mend(found, strands, of, places, scores)
        return _Entries(image_of, self._order[places], scores)

    def _score_exactly(self, images: _Images, places: Rows, of: Rows) -> _Doubles:
        asked, sizes = self._asked, self._sizes[places]
        texts = self._texts[_count_up(self._ends[places] - sizes, sizes)]
        image_of = np.repeat(of, sizes)
        rows, cosines = asked.leaves.rows[texts], np.empty(len(texts))
        for start in range(0, len(texts), _DOTS_AT_ONCE):
            part = slice(start, start + _DOTS_AT_ONCE)
            pairs = asked.leaves.texts[rows[part]], images.vectors[image_of[part]]
            np.einsum("ij,ij->i", *pairs, dtype=np.float64, out=cosines[part])
        logits = asked.find_logits(cosines, texts, images.kinds[image_of])
        return asked.pool_exactly(logits, np.cumsum(sizes) - sizes)

    def _mend(self, found: _Sums, strands: Rows, of: Rows, places: Rows, scores: _Doubles) -> None:
        """Put the exact weight of the best class of each strand in place of the rounded one."""
        n_classes = self._n_classes[strands]
        starts = np.cumsum(n_classes) - n_classes
        best = np.maximum.reduceat(scores, starts) if len(starts) else scores[:0]
        hits = np.flatnonzero(scores == np.repeat(best, n_classes))
        places = places[hits[np.searchsorted(hits, starts)]]
        exact = np.exp(best - found.reference.numpy()[of])
        added = exact - found.greatest.numpy()[strands, of]
        np.add.at(found.totals.numpy(), of, added)
        np.add.at(found.bags.numpy(), (self._bag_of[places], of), added.astype(np.float32))

    def _finish(self, entries: _Entries, found: _Sums) -> LeafScores:
        """Make probabilities of the weights."""
        import torch

        shares = found.bags.mul_(found.totals.reciprocal().to(torch.float32))
        outside = shares[self._n_allowed_bags :].sum(dim=0)
        groups, n_groups = self._bag_groups, self._asked.n_groups
        if not np.array_equal(groups, np.arange(n_groups)):
            inside = np.flatnonzero(groups >= 0)
            sums = torch.zeros(n_groups, shares.shape[1])
            parts = shares if len(inside) == len(groups) else shares[torch.from_numpy(inside)]
            shares = sums.index_add_(0, torch.from_numpy(groups[inside]), parts)
        reference, totals = found.reference.numpy(), found.totals.numpy()

        def answer(entries: _Entries, n_classes: int) -> tuple[Places, Scores]:
            best = entries.take(entries.find_best(self._asked.k))
            weights = np.exp(best.scores - reference[best.images]) / totals[best.images]
            shape = len(totals), min(self._asked.k, n_classes)
            return best.classes.reshape(shape), weights.astype(np.float32).reshape(shape)

        allowed = entries.take(self._asked.allowed[entries.classes])
        return LeafScores(
            *answer(entries, len(self._order)),
            shares.numpy().T,
            *answer(allowed, self._n_allowed),
            outside.numpy(),
        )


# Of more numbers that are added up one after the other, the rounding would show.
_ADDED_AT_ONCE = 32


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


def _count_up(starts: Rows, sizes: Rows) -> Rows:
    """Return ``starts[i], starts[i] + 1, …``, ``sizes[i]`` of them, for each i."""
    ends = np.cumsum(sizes)
    counted: Rows = np.arange(int(sizes.sum())) + np.repeat(starts - (ends - sizes), sizes)
    return counted


def sum_up(sums: Scores, parents: Sequence[Places], k: int) -> list[tuple[Places, Scores]]:
    """Find the best groups of each higher rank.

    Parameters
    ----------
    sums : ndarray of float32, shape (n_images, n_groups)
        Of the finest groups, as in :class:`LeafScores`.
    parents : sequence of ndarray of int64, each of shape (n_groups,)
        For each rank, the number of the group that each of these is in; -1 for none.
    k : int
        Answers, ≥ 1.

    Returns
    -------
    list of (top, sums)
        For each rank the best groups, an ndarray of int64 of shape (n_images, min(k, n_there)),
        equal ones in the order of the groups, and their summed probabilities, float32.

    Examples
    --------
    >>> sums = np.array([[0.25, 0.5, 0.25]], dtype=np.float32)
    >>> [(top, of_top)] = sum_up(sums, [np.array([1, 0, 1])], 1)
    >>> top.tolist(), of_top.tolist()
    ([[0]], [[0.5]])
    """
    if not len(parents):
        return []
    # Groups that have the same parents at all ranks are added up once.
    coarse = [parent for parent in parents if not _is_count(parent)]
    places = np.zeros(sums.shape[1], dtype=np.int64)
    for parent in coarse:
        keys = places * (int(parent.max(initial=-1)) + 2) + parent + 1
        places = np.unique(keys, return_inverse=True)[1]
    firsts = np.unique(places, return_index=True)[1]
    joined = sum_columns(sums, places, len(firsts)) if coarse else sums
    return [
        find_top(sums, k)
        if _is_count(parent)
        else find_top(sum_columns(joined, parent[firsts], int(parent.max(initial=-1)) + 1), k)
        for parent in parents
    ]


def _is_count(parent: Places) -> bool:
    return np.array_equal(parent, np.arange(len(parent)))
