"""How often the interval of Cohen's kappa holds the truth, beside one by its standard error.

Each line is a number of images and of classes, how often the most frequent class is given, and the
true kappa. Two answer: with the chance kappa the second says what the first does, else each says
what it does at random. ``se`` is the estimate, and 1.96 standard errors of Fleiss, Cohen and
Everitt (1969) to either side. Where the interval holds the truth less often than 93 in 100 times, a
star stands beside it.
"""

from __future__ import annotations

import numpy as np

from bioprobe.agreement.kappa import measure_kappa
from bioprobe.intervals import Resamples

SIZES, CLASSES, KAPPAS = (20, 50, 200), ((2, 0.5), (2, 0.9), (5, 0.5), (20, 0.3)), (0.3, 0.7, 0.95)
N_TRIALS, N_RESAMPLES, LEAST = 150, 200, 0.93


def estimate_error(first: np.ndarray, second: np.ndarray, kappa: float) -> float:
    """Return the standard error of kappa of large samples."""
    n_classes = int(max(first.max(), second.max())) + 1
    table = np.zeros((n_classes, n_classes))
    np.add.at(table, (first, second), 1 / len(first))
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    chance = rows @ columns
    diagonal = np.diag(table) @ (1 - (rows + columns) * (1 - kappa)) ** 2
    weights = (columns[:, None] + rows[None, :]) ** 2 * (1 - np.eye(n_classes))
    rest = (1 - kappa) ** 2 * (table * weights).sum()
    variance = diagonal + rest - (kappa - chance * (1 - kappa)) ** 2
    return float((max(variance, 0) / len(first)) ** 0.5 / (1 - chance))


def main() -> None:
    """Print a table of coverages."""
    random = np.random.default_rng(0)
    print("images  classes  commonest  kappa   interval   se")
    for n_images in SIZES:
        for n_classes, commonest in CLASSES:
            rest = np.full(n_classes - 1, (1 - commonest) / (n_classes - 1))
            shares = np.append(commonest, rest)
            for kappa in KAPPAS:
                joint = kappa * np.diag(shares) + (1 - kappa) * np.outer(shares, shares)
                held, by_error, n_defined = 0, 0, 0
                for trial in range(N_TRIALS):
                    cells = random.choice(n_classes**2, size=n_images, p=joint.ravel())
                    first, second = cells // n_classes, cells % n_classes
                    resamples = Resamples(np.arange(n_images), N_RESAMPLES, trial)
                    found = measure_kappa(first, second, resamples)
                    if np.isnan(found.estimate):
                        continue
                    n_defined += 1
                    held += found.low <= kappa <= found.high
                    error = 1.96 * estimate_error(first, second, found.estimate)
                    by_error += abs(found.estimate - kappa) <= error
                share = held / n_defined
                star = "*" if share < LEAST else " "
                print(
                    f"{n_images:6}  {n_classes:7}  {commonest:9}  {kappa:5}   {share:8.3f}{star}  "
                    f"{by_error / n_defined:.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
