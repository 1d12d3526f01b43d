"""The loss of several logistic regressions over the same rows, and its gradient, in blocks."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.cores import each_alone, map_alone
from bioprobe.task.lazy_rows import ROWS_AT_ONCE, LazyRows, iter_parts

if TYPE_CHECKING:
    import torch


# Logits of a block, in numbers: 2 MiB as float32, which stays in the cache of most cores.
_BLOCK_NUMBERS = 1 << 19
# So few are sooner found together, those of rows that are held out too, than fold by fold.
_WHOLE_NUMBERS = 1 << 14
# On a GPU, 256 MiB; rows of up to 4 GiB stay there.
_BLOCK_THERE, _ROWS_THERE = 1 << 26, 1 << 30
# Rows that are kept in the order of their use: 256 MiB as float32.
_MOST_KEPT = 1 << 26
# Shares of the rows for each thread, as other work may keep a core busy, and for all.
_SHARES_A_THREAD, _MOST_SHARES = 2, 32
# Logits of the least share that is worth a thread.
_LEAST_SHARE = 1 << 18
# Added to the logit of a class that a problem has no rows of: it never gets a probability.
ABSENT = -1e4


@dataclasses.dataclass(frozen=True)
class Problems:
    """Logistic regressions that share rows and differ in the weights of the rows.

    Parameters
    ----------
    rows : ndarray of float32 or float64, shape (n_images, rank), or LazyRows of (n_images, dim)
        In the coordinates of an :class:`~bioprobe.probes.path.EigenBasis`; those that are lazy in
        their own, about the centre of the basis.
    targets : ndarray of int64, shape (n_images,)
        Position of each row's class.
    weights : ndarray of float32, shape (n_images, n_problems)
        Weight of each row in each problem; 0 holds the row out.
    adjustments : ndarray of float32, shape (n_problems, n_classes)
        Added to the logits while learning, and only then.
    focus : float
        Exponent of the focal loss; 0 is cross-entropy.
    directions : ndarray of float64, shape (dim, rank), optional
        Of the basis, for lazy rows: coefficients are turned then, in each product, and not rows.
    """

    rows: npt.NDArray[np.floating] | LazyRows
    targets: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    adjustments: npt.NDArray[np.float32]
    focus: float = 0.0
    directions: npt.NDArray[np.float64] | None = None

    @property
    def rank(self) -> int:
        """Number of coefficients of a class."""
        return int(self.rows.shape[1] if self.directions is None else self.directions.shape[1])

    @property
    def n_numbers(self) -> int:
        """Number of numbers in all rows."""
        return len(self.rows) * self.rank

    @property
    def n_problems(self) -> int:
        """Number of regressions."""
        return len(self.adjustments)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.adjustments.shape[1])

    def weigh_classes(self) -> npt.NDArray[np.float64]:
        """Return the sum of weights of each class, shape (n_problems, n_classes)."""
        sums = np.zeros((self.n_classes, self.n_problems))
        np.add.at(sums, self.targets, self.weights)
        return sums.T

    def join(self) -> Problems:
        """Return one problem with all rows and classes that any of these has."""
        return dataclasses.replace(
            self,
            weights=self.weights.max(axis=1, keepdims=True),
            adjustments=self.adjustments.max(axis=0, keepdims=True),
        )


@dataclasses.dataclass(frozen=True)
class Value:
    """Loss of each problem and its derivatives.

    Parameters
    ----------
    losses : tensor of float64, shape (n_problems,)
        Weighted sums over rows.
    coefficients : tensor, shape (n_problems, n_classes, rank)
        Gradient by the coefficients.
    intercepts : tensor, shape (n_problems, n_classes)
        Gradient by the intercepts.
    spreads : tensor, shape (n_problems, n_classes)
        Weighted sums of p(1 − p), of which the Hessian's diagonal is made; zeros unless asked.
    """

    losses: torch.Tensor
    coefficients: torch.Tensor
    intercepts: torch.Tensor
    spreads: torch.Tensor


@dataclasses.dataclass(frozen=True)
class _Block:
    """Rows that are used together, as they take part in the same problems.

    Parameters
    ----------
    part : slice
        Of all rows, what is read for it at once.
    used : slice
        Where they stand in the order of use.
    first, n_problems : int
        Problems that they take part in: after the last comes the first again.
    is_weighed : bool
        Whether a weight in these is not 1.
    """

    part: slice
    used: slice
    first: int
    n_problems: int
    is_weighed: bool


def _plan(
    weights: npt.NDArray[np.float32], parts: Sequence[slice], most: int, n_classes: int
) -> tuple[npt.NDArray[np.int64], list[_Block]]:
    """Return the order in which rows are used, and its blocks of so many rows at most.

    Rows that one problem alone holds out take part in the others, those that all hold out in
    none. Where there are few, in one part, all take part in all.
    """
    n, n_problems = weights.shape
    if 0 < n * n_problems * n_classes <= _WHOLE_NUMBERS and n <= most and len(parts) == 1:
        (whole,) = parts
        return np.arange(n), [_Block(whole, whole, 0, n_problems, bool((weights != 1).any()))]
    pieces, blocks, start = [np.zeros(0, dtype=np.int64)], list[_Block](), 0
    for part in parts:
        absent = weights[part] == 0
        n_absent = absent.sum(axis=1)
        holders = np.where(n_absent == 1, absent.argmax(axis=1), -1)
        holders[n_absent == n_problems] = n_problems
        for holder in range(-1, n_problems if n_problems > 1 else 0):
            rows = part.start + np.flatnonzero(holders == holder)
            first, n = ((holder + 1) % n_problems, n_problems - (holder >= 0))
            taking = (first + np.arange(n)) % n_problems
            for piece in np.array_split(rows, -(-len(rows) // most)) if len(rows) else ():
                used = slice(start, start + len(piece))
                is_weighed = bool((weights[np.ix_(piece, taking)] != 1).any())
                blocks.append(_Block(part, used, first, n, is_weighed))
                pieces.append(piece)
                start = used.stop
    return np.concatenate(pieces), blocks


class _Share:
    """Blocks that a thread works through, and memory for it: fresh memory costs more than that.

    Parameters
    ----------
    blocks : list of _Block
    shape : tuple of int
        Problems, those that follow again after the last counted again; classes; numbers in a row.
    like : tensor
        Of the dtype of sums.
    short : torch.dtype
        Of products.
    """

    def __init__(
        self,
        blocks: list[_Block],
        shape: tuple[int, int, int],
        like: torch.Tensor,
        short: torch.dtype,
    ) -> None:
        import torch

        n_problems, n_classes, dim = shape
        self.blocks = blocks
        self.losses = like.new_zeros(n_problems, dtype=torch.float64)
        self.slopes = like.new_zeros(n_problems * n_classes, dim)
        self.intercepts = like.new_zeros(n_problems, n_classes)
        self.spreads = like.new_zeros(n_problems, n_classes)
        most = max((one.n_problems for one in blocks), default=0)
        n_rows = max((one.used.stop - one.used.start for one in blocks), default=0)
        n_numbers = n_rows * most * n_classes
        self.logits, self.odds = like.new_empty(n_numbers), like.new_empty(n_numbers)
        self.products = self.logits
        if short != like.dtype:
            self.products = like.new_empty(n_numbers, dtype=short)
        self.partial = like.new_empty(most * n_classes, dim, dtype=short)

    def clear(self) -> None:
        for sums in (self.losses, self.slopes, self.intercepts, self.spreads):
            sums.zero_()


class Objective:
    """Evaluate the losses of problems, with products in a given precision.

    Sums are kept in float32, or in float64 if the products are. The logits never exist for more
    than a block of rows in each thread. A row has no part in the products of the one problem that
    holds it out.

    Parameters
    ----------
    problems : Problems
        What to evaluate.
    dtype : torch.dtype
        Of the rows in the products: bfloat16, float32 or float64.
    device : torch.device, optional
        Where all is computed; by default on the processor, by all threads that products have.
    """

    def __init__(
        self, problems: Problems, dtype: torch.dtype, device: torch.device | None = None
    ) -> None:
        import torch

        self.problems, self.device = problems, device
        self.dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self._short = dtype
        self._directions: torch.Tensor | None = None
        if problems.directions is not None:
            self._directions = self.take(problems.directions)
        self._adjustments = self.take(problems.adjustments)
        (n, dim), width = problems.rows.shape, problems.adjustments.size
        n_numbers, n_shares, most_kept = _BLOCK_THERE, 1, _ROWS_THERE
        if device is None:
            with each_alone() as n_threads:
                most_shares = min(n_threads * _SHARES_A_THREAD, _MOST_SHARES)
            n_shares = max(1, min(most_shares, n * width // _LEAST_SHARE))
            n_numbers, most_kept = _BLOCK_NUMBERS, _MOST_KEPT
        is_kept = not isinstance(problems.rows, LazyRows) and n * dim <= most_kept
        parts = [slice(0, n)] if is_kept else list(iter_parts(n, ROWS_AT_ONCE))
        most = max(1, min(n_numbers // width, -(-n // n_shares)))
        self._order, blocks = _plan(problems.weights, parts, most, problems.n_classes)
        self._rows: torch.Tensor | None = None
        if is_kept:
            rows = np.asarray(problems.rows)
            if not np.array_equal(self._order, np.arange(n)):
                rows = rows[self._order]
            self._rows = torch.from_numpy(rows).to(device=device, dtype=dtype)
        self._targets = torch.from_numpy(problems.targets[self._order]).to(device=device)
        self._weights = self.take(problems.weights[self._order])
        # A run of problems that goes on after the last one has the first ones behind it again.
        self._n_spread = max((one.first + one.n_problems for one in blocks), default=1)
        self._n_spread = max(self._n_spread, problems.n_problems)
        shape = (self._n_spread, problems.n_classes, dim)
        n_shares = max(1, min(n_shares, len(blocks)))
        edges = np.linspace(0, len(blocks), n_shares + 1).astype(int).tolist()
        self._shares = [
            _Share(blocks[start:stop], shape, self._adjustments, dtype)
            for start, stop in itertools.pairwise(edges)
        ]

    def take(self, numbers: npt.NDArray[np.floating]) -> torch.Tensor:
        """Return numbers as those that this computes with, and where."""
        import torch

        return torch.from_numpy(numbers).to(device=self.device, dtype=self.dtype)

    def evaluate(
        self, coefficients: torch.Tensor, intercepts: torch.Tensor, *, with_spreads: bool = False
    ) -> Value:
        """Return losses and gradients at coefficients (n_problems, n_classes, rank)."""
        n_problems, n_classes, _ = coefficients.shape
        again = np.arange(self._n_spread) % n_problems
        turned = self._turn(coefficients)[again].flatten(0, 1).to(self._short)
        biases = (intercepts + self._adjustments)[again]

        def work(share: _Share) -> None:
            share.clear()
            for block, rows in self._iter_rows(share.blocks):
                self._add_block(share, block, rows, (turned, biases), with_spreads=with_spreads)

        for _ in self._map_shares(work):
            pass

        def add(name: str) -> torch.Tensor:
            first, *others = (getattr(share, name) for share in self._shares)
            total: torch.Tensor = sum(others, first.clone())
            total = total.view(self._n_spread, -1)
            total[: self._n_spread - n_problems] += total[n_problems:]
            return total[:n_problems]

        slopes = add("slopes").view(n_problems, n_classes, -1)
        if self._directions is not None:
            slopes = slopes @ self._directions
        return Value(add("losses")[:, 0], slopes, add("intercepts"), add("spreads"))

    def score_held_out(
        self, coefficients: torch.Tensor, intercepts: torch.Tensor, folds: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Score each row by the problem of its own fold.

        Parameters
        ----------
        coefficients, intercepts
            As for :meth:`evaluate`.
        folds : ndarray of int64, shape (n_images,)
            Problem that judges each row, -1 for none.

        Returns
        -------
        ndarray of float64, shape (2, n_problems)
            Share of the rows whose best class is the true one, and the mean negative
            log-probability of the true class; NaN where a problem judges no row.
        """
        import torch

        problems = self.problems
        turned = self._turn(coefficients).to(self._short)
        absent = torch.where(self._adjustments <= ABSENT, ABSENT, 0.0).to(self.dtype)
        biases = intercepts + absent

        def work(part: slice) -> npt.NDArray[np.float64]:
            sums = np.zeros((2, problems.n_problems))
            rows, judges = np.asarray(problems.rows[part]), folds[part]
            for judge in np.unique(judges[judges >= 0]).tolist():
                places = np.flatnonzero(judges == judge)
                own = torch.from_numpy(rows[places]).to(device=self.device, dtype=self._short)
                logits = own.new_empty(len(own), problems.n_classes)
                self._multiply(own, turned[judge].T, logits)
                logits = (logits.to(self.dtype) + biases[judge]).double()
                targets = torch.from_numpy(problems.targets[part][places]).to(device=self.device)
                right = logits.argmax(dim=1) == targets
                surprise = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
                # As scikit-learn's log_loss: no probability is taken for less than this.
                limit = -np.log(np.finfo(np.float64).eps)
                losses = surprise.clamp_max(limit)
                sums[:, judge] += [right.sum().item(), losses.sum().item()]
            return sums

        parts = iter_parts(len(folds), ROWS_AT_ONCE)
        sums = np.zeros((2, problems.n_problems))
        for found in map(work, parts) if self.device is not None else map_alone(work, parts):
            sums += found
        counts = np.bincount(folds[folds >= 0], minlength=sums.shape[1])
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def _map_shares(self, work: Callable[[_Share], None]) -> Iterator[None]:
        if len(self._shares) == 1:
            return map(work, self._shares)
        return map_alone(work, self._shares)

    def _iter_rows(self, blocks: list[_Block]) -> Iterator[tuple[_Block, torch.Tensor]]:
        """Take the rows of each block.

        Yields
        ------
        block : _Block
        rows : tensor, shape (n, rank), or (n, dim) of lazy ones
        """
        import torch

        read: tuple[slice, npt.NDArray[np.floating]] | None = None
        for block in blocks:
            if self._rows is not None:
                yield block, self._rows[block.used]
                continue
            if read is None or read[0] != block.part:
                read = block.part, np.asarray(self.problems.rows[block.part])
            own = read[1][self._order[block.used] - block.part.start]
            yield block, torch.from_numpy(own).to(device=self.device, dtype=self._short)

    def _turn(self, coefficients: torch.Tensor) -> torch.Tensor:
        if self._directions is None:
            return coefficients
        return coefficients @ self._directions.T

    def _multiply(self, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
        """Put a product into ``out``: on the processor numpy's, where it knows the numbers."""
        import torch

        if self.device is None and self._short != torch.bfloat16:
            np.matmul(left.numpy(), right.numpy(), out=out.numpy())
        else:
            torch.mm(left, right, out=out)

    def _add_block(
        self,
        share: _Share,
        block: _Block,
        rows: torch.Tensor,
        at: tuple[torch.Tensor, torch.Tensor],
        *,
        with_spreads: bool,
    ) -> None:
        """Add what the rows of a block give to losses and gradients."""
        import torch

        coefficients, biases = at
        n, n_problems, n_classes = len(rows), block.n_problems, biases.shape[1]
        taking = slice(block.first, block.first + n_problems)
        columns = slice(taking.start * n_classes, taking.stop * n_classes)
        width = n_problems * n_classes
        flat = share.products[: n * width].view(n, width)
        self._multiply(rows, coefficients[columns].T, flat)
        logits = share.logits[: n * width].view(n, n_problems, n_classes)
        odds = share.odds[: n * width].view(n, n_problems, n_classes)
        if share.products is not share.logits:
            logits.copy_(flat.view(logits.shape))
        logits += biases[taking]
        true = self._targets[block.used].view(-1, 1, 1).expand(-1, n_problems, 1)
        torch.softmax(logits, dim=2, out=odds)
        probability = odds.gather(2, true)[:, :, 0]
        # A probability too small for the format is known from its distance to the best.
        least = torch.finfo(self.dtype).smallest_normal
        surprise = -probability.clamp_min(least).log()
        if bool((probability <= least).any()):
            distance = logits.amax(dim=2) - logits.gather(2, true)[:, :, 0]
            surprise = torch.where(probability > least, surprise, distance)
        loss, pull = self._focus(probability, surprise)
        is_weighed = block.is_weighed or pull is not None
        if is_weighed:
            problems = (block.first + np.arange(n_problems)) % self.problems.n_problems
            weights = self._weights[block.used][:, problems]
            loss = loss * weights
            pull = weights if pull is None else pull * weights
        share.losses[taking] += loss.sum(dim=0, dtype=torch.float64)
        if with_spreads:
            spread = torch.addcmul(odds, odds, odds, value=-1, out=logits)
            if pull is not None:
                spread *= pull.unsqueeze(2)
            share.spreads[taking] += spread.sum(dim=0)
        odds.scatter_(2, true, (probability - 1).unsqueeze(2))
        if pull is not None:
            odds *= pull.unsqueeze(2)
        share.intercepts[taking] += odds.sum(dim=0)
        residuals = odds.view(n, width)
        if share.products is not share.logits:
            residuals = flat.copy_(residuals)
        partial = share.partial[:width]
        self._multiply(residuals.T, rows, partial)
        share.slopes[columns] += partial

    def _focus(
        self, probability: torch.Tensor, surprise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the loss and the factor by which p − 1[true] gives its gradient, None for 1."""
        import torch

        focus = self.problems.focus
        if focus == 0:
            return surprise, None
        rest = (1 - probability).clamp_min(torch.finfo(self.dtype).eps)
        faded = rest**focus
        return faded * surprise, faded + focus * probability * surprise * faded / rest


_SIDE = 1024
# bf16 has to win clearly: its products are rounded, and steps of a solver are lost to that.
_LEAST_SPEED_UP = 2.0


@functools.cache
def choose_dtype() -> torch.dtype:
    """Return torch.bfloat16 where the CPU has units for it and they are measured faster.

    Returns
    -------
    torch.dtype
        bfloat16 or float32.
    """
    import torch

    # Private, so absent from some releases: then float32 it is.
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    if not any(getattr(torch.cpu, check, lambda: False)() for check in checks):
        return torch.float32
    exact_s, short_s = _time_product(torch.float32), _time_product(torch.bfloat16)
    return torch.bfloat16 if exact_s > _LEAST_SPEED_UP * short_s else torch.float32


def _time_product(dtype: torch.dtype) -> float:
    import torch

    square = torch.ones(_SIDE, _SIDE, dtype=dtype)
    times_s = []
    # The first passes choose kernels and fetch memory.
    for _ in range(4):
        start_s = time.perf_counter()
        torch.mm(square, square)
        times_s.append(time.perf_counter() - start_s)
    return min(times_s)
