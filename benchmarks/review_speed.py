"""How long a review takes from the last answer of a batch to the next pictures.

That is: fit again from the last solution, answer every picture, rank anew by the mix, and choose a
batch of 20. Beside it, what the machine could do: the floating-point operations of answering every
picture and of the gradients, at the speed of a large product in the same library.

Vectors are drawn, as in ``probe_speed``: 512 numbers, 202 classes. Run it with
``python -m benchmarks review_speed``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.harness import Row
from benchmarks.limits import find_flops
from benchmarks.probe_speed import draw_embeddings
from benchmarks.results.machine import find_processor
from bioprobe.reviewing.desk import DEFAULT_MIX, Desk, read_mix
from bioprobe.reviewing.pool import Pool

BATCH, N_BATCHES, N_LABELLED = 20, 7, 2_000
SIZES = (10_000, 100_000)
MIXES = ("", "margin=.5,coverage=.3,audit=.2", "disagreement=.8,audit=.2", "suspected")


def review(n: int, mix: str) -> tuple[list[float], list[float], list[float]]:
    """Review some batches of ``n`` pictures by a mix.

    Returns
    -------
    times_s, cpus_s, counts : list of float
        Of each batch, by the clock and of the processor, and the operations that it takes at least.
    """
    X, y = draw_embeddings(n)  # noqa: N806 - scikit-learn's name
    y = np.unique(y, return_inverse=True)[1]
    names = [str(one) for one in range(int(y.max()) + 1)]
    labels = np.full(n, -1)
    labels[:N_LABELLED] = y[:N_LABELLED]
    desk = Desk(Pool.of(X, names, labels), read_mix(mix or DEFAULT_MIX))
    desk.learn()
    desk.propose(BATCH)
    times_s, cpus_s, counts = [], [], []
    for _ in range(N_BATCHES):
        shown = desk.propose(BATCH)
        for one in shown:
            desk.pool.labels[one.place] = y[one.place]
            desk.pool.is_checked[one.place] = True
        start_s, begun_s = time.perf_counter(), time.process_time()
        desk.learn()
        desk.propose(BATCH)
        times_s.append(time.perf_counter() - start_s)
        cpus_s.append(time.process_time() - begun_s)
        state = desk.learner._state
        assert state is not None
        rows = len(desk.pool.taught)
        # One product to answer all; two for each gradient.
        counts.append(2.0 * X.shape[1] * len(names) * (n + 2 * rows * (state.n_iter + 1)))
    return times_s, cpus_s, counts


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure what a batch takes by the mix that is the default."""
    flops, rows = find_flops(), []
    for n in (2_500, 5_000, 10_000) if is_quick else (10_000, 30_000, 100_000):
        times_s, _, counts = review(n, "")
        rows.append(Row(
            work=f"review, next batch of {BATCH}", size=f"{n:,} x 512, 202 classes", unit="s",
            ours=tuple(times_s), limit="fp32 product", best=statistics.median(counts) / flops, n=n,
        ))  # fmt: skip
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each size and mix."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    given = parser.parse_args(arguments)
    peak = find_flops()
    print(f"{find_processor()}, {torch.get_num_threads()} threads, {peak / 1e9:.0f} GFLOP/s")
    print("| pictures | mix | median | CPU | of the machine |\n|---|---|---|---|---|")
    for n in map(int, given.sizes.split(",")):
        for mix in MIXES:
            times_s, cpus_s, counts = review(n, mix)
            took_s = statistics.median(times_s)
            share = statistics.median(counts) / took_s / peak
            print(
                f"| {n:,} | {mix or 'by default'} | {1000 * took_s:.0f} ms | "
                f"{1000 * statistics.median(cpus_s):.0f} ms | {share:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
