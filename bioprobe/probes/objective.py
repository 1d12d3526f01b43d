"""The loss of several logistic regressions over the same rows, and its gradient, in chunks."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.cores import map_alone
from bioprobe.task.lazy_rows import ROWS_AT_ONCE, LazyRows, iter_parts

if TYPE_CHECKING:
    import torch


# Logits of a chunk, in numbers: 16 MiB as float32, which stays in the cache of most machines.
_CHUNK_NUMBERS = 1 << 22
# On a GPU, 256 MiB; rows of up to 4 GiB stay there.
_CHUNK_THERE, _ROWS_THERE = 1 << 26, 1 << 30
# Chunks of lazy rows that are read while others are used.
_N_READERS = 2
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


class Objective:
    """Evaluate the losses of problems, with products in a given precision.

    Sums are kept in float32, or in float64 if the products are. The logits never exist for more
    than a chunk of rows.

    Parameters
    ----------
    problems : Problems
        What to evaluate.
    dtype : torch.dtype
        Of the rows in the products: bfloat16, float32 or float64.
    device : torch.device, optional
        Where all is computed; by default on the processor.
    """

    def __init__(
        self, problems: Problems, dtype: torch.dtype, device: torch.device | None = None
    ) -> None:
        import torch

        self.problems, self.device = problems, device
        self.dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self._short = dtype
        self._rows: torch.Tensor | None = None
        if not isinstance(problems.rows, LazyRows):
            self._rows = torch.from_numpy(problems.rows)
            if device is None or self._rows.numel() <= _ROWS_THERE:
                self._rows = self._rows.to(device=device, dtype=dtype)
        self._directions: torch.Tensor | None = None
        if problems.directions is not None:
            self._directions = self.take(problems.directions)
        self._targets = torch.from_numpy(problems.targets).to(device=device)
        self._weights, self._adjustments = map(self.take, (problems.weights, problems.adjustments))
        width = problems.n_problems * problems.n_classes
        most = len(problems.rows) if self._rows is not None else ROWS_AT_ONCE
        n_numbers = _CHUNK_NUMBERS if device is None else _CHUNK_THERE
        self._chunk = max(1, min(most, n_numbers // width))
        # Fresh memory costs more than the arithmetic done in it.
        self._products = torch.empty(self._chunk, width, dtype=dtype, device=device)
        self._logits = torch.empty(self._chunk, width, dtype=self.dtype, device=device)
        self._partial = torch.empty(width, problems.rows.shape[1], dtype=dtype, device=device)

    def take(self, numbers: npt.NDArray[np.floating]) -> torch.Tensor:
        """Return numbers as those that this computes with, and where."""
        import torch

        return torch.from_numpy(numbers).to(device=self.device, dtype=self.dtype)

    def evaluate(
        self, coefficients: torch.Tensor, intercepts: torch.Tensor, *, with_spreads: bool = False
    ) -> Value:
        """Return losses and gradients at coefficients (n_problems, n_classes, rank)."""
        import torch

        n_problems, n_classes, _ = coefficients.shape
        value = Value(
            coefficients.new_zeros(n_problems, dtype=torch.float64),
            coefficients.new_zeros(n_problems * n_classes, self.problems.rows.shape[1]),
            coefficients.new_zeros(n_problems, n_classes),
            coefficients.new_zeros(n_problems, n_classes),
        )
        short = self._shorten(coefficients)
        for part, rows in self._iter_chunks():
            logits = self._score(rows, short, intercepts + self._adjustments)
            self._add_chunk(value, part, rows, logits, with_spreads=with_spreads)
        slopes = value.coefficients
        if self._directions is not None:
            slopes = slopes @ self._directions
        return dataclasses.replace(value, coefficients=slopes.view(coefficients.shape))

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

        sums = np.zeros((2, self.problems.n_problems))
        short = self._shorten(coefficients)
        absent = torch.where(self._adjustments <= ABSENT, ABSENT, 0.0).to(self.dtype)
        for part, rows in self._iter_chunks():
            logits = self._score(rows, short, intercepts + absent)
            inside = np.flatnonzero(folds[part] >= 0)
            judges = folds[part][inside]
            own, targets = logits[inside, judges].double(), self._targets[part][inside]
            right = (own.argmax(dim=1) == targets).cpu().numpy()
            surprise = torch.nn.functional.cross_entropy(own, targets, reduction="none")
            # As scikit-learn's log_loss: no probability is taken for less than this.
            limit = -np.log(np.finfo(np.float64).eps)
            losses = surprise.clamp_max(limit).cpu().numpy()
            sums += [np.bincount(judges, one, sums.shape[1]) for one in (right, losses)]
        counts = np.bincount(folds[folds >= 0], minlength=sums.shape[1])
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def _iter_chunks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Take the rows some at a time; those that are lazy are read while others are used.

        Yields
        ------
        part : slice
        rows : tensor, shape (n, rank), or (n, dim) of lazy ones
        """
        import torch

        held, lazy = self._rows, self.problems.rows
        parts = iter_parts(len(lazy), self._chunk)
        if held is not None:
            # Of rows that stay where they are computed with, nothing is done.
            yield from (
                (part, held[part].to(device=self.device, dtype=self._short)) for part in parts
            )
            return

        def read(part: slice) -> tuple[slice, torch.Tensor]:
            return part, torch.from_numpy(np.asarray(lazy[part])).to(
                device=self.device, dtype=self._short
            )

        yield from map_alone(read, parts, n_threads=_N_READERS)

    def _shorten(self, coefficients: torch.Tensor) -> torch.Tensor:
        flat = coefficients.reshape(-1, coefficients.shape[2])
        if self._directions is not None:
            flat = flat @ self._directions.T
        return flat.to(self._short).T

    def _score(
        self, rows: torch.Tensor, coefficients: torch.Tensor, intercepts: torch.Tensor
    ) -> torch.Tensor:
        import torch

        torch.mm(rows, coefficients, out=self._products[: len(rows)])
        logits = self._logits[: len(rows)]
        logits.copy_(self._products[: len(rows)]).add_(intercepts.reshape(1, -1))
        return logits.view(len(rows), *self._adjustments.shape)

    def _add_chunk(
        self,
        value: Value,
        part: slice,
        rows: torch.Tensor,
        logits: torch.Tensor,
        *,
        with_spreads: bool,
    ) -> None:
        """Add what a chunk gives to losses and gradients; its logits become the residuals."""
        import torch

        weights = self._weights[part]
        true = self._targets[part].view(-1, 1, 1).expand(-1, logits.shape[1], 1)
        peak = logits.amax(dim=2) - logits.gather(2, true)[:, :, 0]
        torch.softmax(logits, dim=2, out=logits)
        probability = logits.gather(2, true)[:, :, 0]
        # A probability too small for the format is known from its distance to the best.
        least = torch.finfo(self.dtype).smallest_normal
        surprise = torch.where(probability > least, -probability.clamp_min(least).log(), peak)
        loss, pull = self._focus(probability, surprise)
        value.losses.add_((loss * weights).sum(dim=0))
        pull = pull * weights
        if with_spreads:
            spread = torch.einsum("nb,nbk->bk", pull, logits)
            spread -= torch.einsum("nb,nbk->bk", pull, logits.square())
            value.spreads.add_(spread)
        logits.scatter_(2, true, (probability - 1).unsqueeze(2)).mul_(pull.unsqueeze(2))
        value.intercepts.add_(logits.sum(dim=0))
        residuals = self._products[: len(logits)]
        residuals.copy_(logits.view(len(logits), -1))
        torch.mm(residuals.T, rows, out=self._partial)
        value.coefficients.add_(self._partial)

    def _focus(
        self, probability: torch.Tensor, surprise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and the factor by which p − 1[true] gives its gradient."""
        import torch

        focus = self.problems.focus
        if focus == 0:
            return surprise, torch.ones_like(surprise)
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
