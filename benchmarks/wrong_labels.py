"""How well wrong labels are found: some are made wrong on purpose, on real BioCLIP 2 vectors.

Of the ranking of all labels by their probability where they were left out, the average precision;
of those that are called wrong, precision and recall; and the precision of calling wrong whatever
is answered otherwise. Five draws of 4, 5 and 6% of the labels, each made another class by lot.

Run it with ``python -m benchmarks wrong_labels``; it needs ``../shared``.
"""

from __future__ import annotations

import time

import numpy as np
from sklearn.metrics import average_precision_score

from benchmarks.review_strategies import load_tol
from bioprobe.reviewing.learner import Learner
from bioprobe.reviewing.pool import Pool
from bioprobe.reviewing.wrong_labels import N_FOLDS, predict_left_out, rank_labels

RANKS = ("kingdom", "phylum", "class", "order", "family")
SHARES, SEEDS, FEWEST = (0.04, 0.05, 0.06), range(5), 5


def measure(rank: str, share: float, seed: int) -> tuple[float, float, float, float]:
    """Return average precision, precision and recall of what is flagged, that of disagreement."""
    X, names = load_tol(rank)  # noqa: N806 - scikit-learn's name
    _, labels = np.unique(np.array(names), return_inverse=True)
    kept = np.isin(labels, np.flatnonzero(np.bincount(labels) >= FEWEST))
    X, labels = X[kept], np.unique(labels[kept], return_inverse=True)[1]  # noqa: N806
    random = np.random.default_rng(seed)
    wrong = random.permutation(len(labels))[: round(share * len(labels))]
    n_classes = int(labels.max()) + 1
    given = labels.copy()
    given[wrong] = (labels[wrong] + random.integers(1, n_classes, len(wrong))) % n_classes
    pool = Pool.of(X, [str(one) for one in range(n_classes)], given)
    learner = Learner(pool, seed=seed, n_folds=N_FOLDS)
    places, classes, probabilities = predict_left_out(learner)
    is_wrong = (given != labels)[places]
    found = rank_labels(np.searchsorted(classes, given[places]), probabilities)
    differs = classes[probabilities.argmax(axis=1)] != given[places]
    flagged = found.is_flagged
    return (
        float(average_precision_score(is_wrong, -found.confidences)),
        float(is_wrong[flagged].mean()), float(flagged[is_wrong].mean()),
        float(is_wrong[differs].mean()),
    )  # fmt: skip


def main() -> None:
    """Print a line for each rank and share."""
    print("| rank | wrong | average precision (least of five) | flagged: precision, recall | "
          "answered otherwise: precision |\n|---|---|---|---|---|")  # fmt: skip
    for rank in RANKS:
        for share in SHARES:
            start_s = time.process_time()
            found = np.array([measure(rank, share, seed) for seed in SEEDS])
            mean = found.mean(axis=0)
            print(
                f"| {rank} | {share:.0%} | {mean[0]:.2f} ({found[:, 0].min():.2f}) | "
                f"{mean[1]:.2f}, {mean[2]:.2f} | {mean[3]:.2f} | "
                f"{time.process_time() - start_s:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
