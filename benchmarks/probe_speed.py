"""Time of choosing a probe's regularisation by cross-validation, beside scikit-learn's loop.

The vectors are drawn: 202 classes of very different size, each of one or more clusters, that
overlap; one label in twenty is wrong. So the best regularisation lies inside the range. Every
time is the median of some runs but that of the scikit-learn loop, which is run once.

Run it with ``python -m benchmarks.probe_speed``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Row, alternate, make_rows
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.learning.fit import measure_folds, measure_values
from bioprobe.probes.probe import Sweep
from bioprobe.task.method import find_probe, make_probe

N_CLASSES = 202
DIM = 512
N_FOLDS = 5
N_VALUES = 20
WRONG_FRACTION = 0.05
FEW, FEW_DIM, FEW_CLASSES = 575, 1280, 60

Rows = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Result = TypeVar("Result")


def draw_embeddings(n_images: int, seed: int = 0) -> tuple[Rows, Labels]:
    """Draw unit vectors and their classes; shape (n_images, 512)."""
    rng = np.random.default_rng(seed)
    # Families: a few hold many species, most hold one.
    sizes = 1 / np.arange(1, N_CLASSES + 1) ** 0.9
    more = rng.choice(N_CLASSES, N_CLASSES, p=sizes / sizes.sum())
    family = np.concatenate([np.arange(N_CLASSES), more])
    extent = np.arange(1, DIM + 1) ** -0.6
    families = rng.normal(size=(N_CLASSES, DIM)) * extent
    species = families[family] + 0.5 * rng.normal(size=(len(family), DIM)) * extent
    drawn = rng.integers(0, len(family), n_images)
    noise = 1.2 * rng.normal(size=(n_images, DIM)) * extent**0.6
    rotation = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    vectors = (species[drawn] + noise) @ rotation + rng.normal(size=DIM) * 0.1
    classes = family[drawn]
    wrong = rng.random(n_images) < WRONG_FRACTION
    classes[wrong] = rng.permutation(classes)[wrong]
    return normalise_rows(vectors.astype(np.float32)), classes


def assign_folds(n_images: int) -> Labels:
    """Return a fold for each row."""
    return np.random.default_rng(1).permutation(n_images) % N_FOLDS


def loop(X: Rows, y: Labels, values: Values, folds: Labels, tol: float) -> Sweep:  # noqa: N803
    """Fit scikit-learn's logistic regression for each value and fold."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    numbers = np.unique(folds[folds >= 0])
    accuracies = np.zeros((len(values), len(numbers)))
    for place, value in enumerate(values):
        for column, fold in enumerate(numbers):
            out = folds == fold
            model = LogisticRegression(C=value, tol=tol, max_iter=1000)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(X[~out], y[~out])
            accuracies[place, column] = model.score(X[out], y[out])
    return Sweep("C", np.asarray(values), accuracies, np.full_like(accuracies, np.nan))


def take_time(run: Callable[[], Result], n_runs: int) -> tuple[float, Result]:
    """Return the median time in seconds, and what the last run returned."""
    times_s = []
    for _ in range(n_runs):
        start_s = time.perf_counter()
        result = run()
        times_s.append(time.perf_counter() - start_s)
    return statistics.median(times_s), result


def measure(kind: str, X: Rows, y: Labels, folds: Labels) -> Sweep:  # noqa: N803
    """Measure a kind of probe at all its values."""
    described = find_probe(kind)
    if described.parameter in {"C", "alpha", "shrinkage"}:
        ends = np.log10([described.values[0], described.values[-1]])
        return measure_values(kind, {}, X, y, np.logspace(ends[0], ends[1], N_VALUES), folds)
    values = np.array(described.values)
    if len(values):
        return measure_values(kind, {}, X, y, values, folds)
    accuracies, log_losses = measure_folds(kind, {}, X, y, folds)
    return Sweep("", np.array([np.nan]), accuracies[np.newaxis], log_losses[np.newaxis])


def time_kinds(arguments: argparse.Namespace) -> tuple[float, Sweep]:
    """Print a line a kind; return what ``linear`` took and found."""
    X, y = draw_embeddings(arguments.images)  # noqa: N806
    large_X, large_y = draw_embeddings(max(arguments.large, 1))  # noqa: N806
    folds, large_folds = assign_folds(len(y)), assign_folds(len(large_y))
    found: dict[str, tuple[float, Sweep]] = {}
    measure("linear", X[:2000], y[:2000], folds[:2000])  # loads the libraries
    print(f"| kind | values | accuracy | best | s | s with {arguments.large:,} | ratio |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for kind in arguments.kinds:
        run = partial(measure, kind, X, y, folds)
        found[kind] = took_s, result = take_time(run, arguments.runs)
        large_s = np.nan
        if arguments.large:
            large_s, _ = take_time(partial(measure, kind, large_X, large_y, large_folds), 1)
        accuracy = result.accuracies.mean(axis=1).max()
        print(
            f"| {kind} | {len(result.values)} | {accuracy:.4f} | {result.best_value:g} "
            f"| {took_s:.2f} | {large_s:.2f} | {large_s / took_s:.1f} |",
            flush=True,
        )
    return found["linear"]


def time_few(arguments: argparse.Namespace) -> None:
    """Print what choosing takes with fewer vectors than dimensions, where the dual is solved."""
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(FEW_CLASSES), rng.integers(0, FEW_CLASSES, FEW - FEW_CLASSES)])
    centres = rng.normal(size=(FEW_CLASSES, FEW_DIM))
    X = normalise_rows((centres[y] + 4 * rng.normal(size=(FEW, FEW_DIM))).astype(np.float32))  # noqa: N806
    folds = assign_folds(FEW)
    print(f"\n{FEW} vectors of dim {FEW_DIM}, {FEW_CLASSES} classes")
    print("| kind | accuracy | choosing, s | one fit, s |\n|---|---|---|---|")
    for kind in arguments.kinds:
        took_s, result = take_time(partial(measure, kind, X, y, folds), arguments.runs)
        fit_s, _ = take_time(lambda one=kind: make_probe(one).fit(X, y), arguments.runs)
        accuracy = result.accuracies.mean(axis=1).max()
        print(f"| {kind} | {accuracy:.4f} | {took_s:.2f} | {fit_s:.3f} |", flush=True)


def compare(arguments: argparse.Namespace, took_s: float, sweep: Sweep) -> None:
    """Print the scikit-learn loop beside ``linear``, and what a full fit gives."""
    X, y = draw_embeddings(arguments.images)  # noqa: N806
    folds = assign_folds(len(y))
    some = np.where(folds < arguments.reference_folds, folds, -1)
    places = slice(None, None, arguments.reference_every)
    values = sweep.values[places]
    reference_s, reference = take_time(partial(loop, X, y, values, some, 1e-4), 1)
    n_fits = reference.accuracies.size
    whole_s = reference_s * sweep.accuracies.size / n_fits
    own = sweep.accuracies[places, : arguments.reference_folds].mean(axis=1)
    print(f"\nscikit-learn, lbfgs, tol 1e-4, max_iter 1000: {n_fits} fits in {reference_s:.0f} s")
    if n_fits < sweep.accuracies.size:
        print(f"(not all {sweep.accuracies.size}, which would take {whole_s:.0f} s at this rate)")
    print(f"linear is {whole_s / took_s:.1f} times as fast\n")
    print("| C | linear | scikit-learn |\n|---|---|---|")
    for value, mine, theirs in zip(values, own, reference.accuracies.mean(axis=1), strict=True):
        print(f"| {value:g} | {mine:.4f} | {theirs:.4f} |")
    print(f"\nbest: {values[own.argmax()]:g}, scikit-learn: {reference.best_value:g}")
    if arguments.exact:
        some_places = slice(None, None, arguments.exact)
        exact = loop(X, y, sweep.values[some_places], np.where(folds == 0, 0, -1), 1e-6)
        away = np.abs(exact.accuracies[:, 0] - sweep.accuracies[some_places, 0])
        print(
            f"tol 1e-6, first fold, C of {exact.values.tolist()}:\n"
            f"scikit-learn {exact.accuracies[:, 0].round(4).tolist()}, "
            f"linear at most {away.max():.4f} away"
        )


def list_rows(*, is_quick: bool) -> list[Row]:
    """Measure the sweep of each kind, and that of ``linear`` beside scikit-learn's ways.

    Of these a part of the fits is run, on the first fold, and the time of all reckoned.
    """
    sizes = (500, 1_500, 3_000) if is_quick else (3_000, 6_000, 12_000)
    n_rounds, every = (2, 10) if is_quick else (3, 4)
    rows = []
    for n in sizes:
        X, y = draw_embeddings(n)  # noqa: N806
        folds = assign_folds(n)
        size = f"{n:,} x {DIM}, {N_CLASSES} classes, {N_FOLDS} folds"
        for kind in ("lda", "ridge", "knn", "centroid"):
            took_s = alternate({kind: partial(measure, kind, X, y, folds)}, n_rounds)
            rows += make_rows(f"probe sweep, {kind}", size, took_s, own=kind, n=n)
        if n == sizes[1 if is_quick else 2]:
            rows += _list_linear(X, y, folds, size, n_rounds, every)
    return rows


def _list_linear(
    X: Rows, y: Labels, folds: Labels, size: str, n_rounds: int, every: int  # noqa: N803
) -> list[Row]:  # fmt: skip
    measure("linear", X[:500], y[:500], folds[:500])  # loads the libraries
    some = np.where(folds < 1, folds, -1)
    took_s, reckoned = {"linear": list[float]()}, list[float]()
    for _ in range(n_rounds):
        own_s, sweep = take_time(partial(measure, "linear", X, y, folds), 1)
        part_s, part = take_time(partial(loop, X, y, sweep.values[::every], some, 1e-4), 1)
        took_s["linear"].append(own_s)
        reckoned.append(part_s * sweep.accuracies.size / part.accuracies.size)
    n_fits = sweep.accuracies.size
    took_s[f"scikit-learn's loop, {part.accuracies.size} of its {n_fits} fits timed"] = reckoned
    # What is wanted is wanted of as many as the Rare Species set has.
    wanted = 40.0 if len(y) >= 12_000 else None
    work = f"probe sweep, linear, {len(sweep.values)} values"
    rows = make_rows(work, size, took_s, own="linear", wanted=wanted, n=len(y))
    if wanted:
        # Its best way, which starts each fit from the one before. A fold takes minutes: once.
        path_s, _ = take_time(partial(follow_path, X, y, sweep.values, folds), 1)
        peer = f"scikit-learn, LogisticRegressionCV, 1 of its {N_FOLDS} folds timed"
        rows += make_rows(
            work, size, {"linear": [own_s], peer: [path_s * N_FOLDS]}, own="linear"
        )  # fmt: skip
    return rows


def follow_path(X: Rows, y: Labels, values: Values, folds: Labels) -> None:  # noqa: N803
    """Fit scikit-learn's logistic regression at each value from the solution before, one fold."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegressionCV

    cut = [(np.flatnonzero(folds), np.flatnonzero(folds == 0))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        LogisticRegressionCV(Cs=values, cv=cut, max_iter=1000, refit=False).fit(X, y)


def main() -> None:
    """Print the times of all kinds, and the comparison with scikit-learn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--large", type=int, default=100_000, help="0: only --images")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=["linear", "lda", "ridge", "knn", "centroid"])
    parser.add_argument("--reference-folds", type=int, default=N_FOLDS)
    parser.add_argument("--reference-every", type=int, default=1, help="every n-th value")
    parser.add_argument(
        "--exact", type=int, default=4, help="every n-th value at tol 1e-6; 0: none"
    )
    parser.add_argument("--few", action="store_true", help="only fewer vectors than dimensions")
    arguments = parser.parse_args()
    arguments.kinds = list(dict.fromkeys(["linear", *arguments.kinds]))
    print(
        f"{arguments.images:,} vectors of dim {DIM}, {N_CLASSES} classes, {N_FOLDS} folds, "
        f"{os.cpu_count()} cores\n"
    )
    if arguments.few:
        time_few(arguments)
        return
    took_s, sweep = time_kinds(arguments)
    if arguments.reference_folds:
        compare(arguments, took_s, sweep)


if __name__ == "__main__":
    main()
