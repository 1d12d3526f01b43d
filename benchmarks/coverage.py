"""How often intervals of 95% hold the truth, in simulations of which the truth is known.

Each line is a number of classes and of images. ``kind`` says how they come: ``even``, as many
images of each class; ``tail``, the first class 1, the second 1/2, the third 1/3 … times as often;
``sure``, as even, with probabilities that are surer than they may be; ``group``, as even, five
images in a row of one animal, which are alike in most of what makes them right or wrong. Classes
stand four in a genus and errors stay in it more than they leave it; a class has a recall of its
own.

Where a figure is held less often than 93 in 100 times, a star stands beside it.
"""

from __future__ import annotations

import sys

import numpy as np

from bioprobe.evaluation.measured import measure
from bioprobe.evaluation.method_scores import draw_method_scores, find_intervals
from bioprobe.evaluation.metrics import find_best, score_flat
from bioprobe.evaluation.tree_metrics import (
    CONSISTENCY,
    TreeRows,
    find_consistent,
    measure_rows,
    score_tree,
)
from bioprobe.intervals import Resamples
from bioprobe.probes.label_tree import LabelTree

FLAT = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss", "ece")
TREE = ("hierarchical_f1", "mistake_severity", "average_lca_height", *CONSISTENCY)
SHORT = ("acc.", "bal.acc.", "macro-F1", "AUROC", "log-loss", "ECE", "hier. F1", "severity",
         "LCA", "HCA", "top-down")  # fmt: skip
# Classes and images.
SIZES = ((2, 3), (2, 10), (2, 100), (2, 1200), (5, 30), (20, 60), (20, 400), (60, 180), (60, 1200),
         (200, 600), (200, 1200))  # fmt: skip
KINDS = ("even", "tail", "sure", "group")
N_TRIALS, N_RESAMPLES, N_TRUE, N_ALIKE = 200, 200, 40_000, 5
LEAST = 0.93


class World:
    """Images of classes, with what a method answers of them."""

    def __init__(self, n_classes: int, kind: str) -> None:
        self.random, self.kind = np.random.default_rng(0), kind
        numbers = np.arange(n_classes)
        shares = 1 / (1.0 + numbers) if kind == "tail" else np.ones(n_classes)
        self.shares = shares / shares.sum()
        genera = self.random.normal(size=(n_classes // 4 + 1, 8 + n_classes // 4))
        own = self.random.normal(size=(n_classes, genera.shape[1]))
        self.centres = 0.8 * genera[numbers // 4] + 0.6 * own
        names = [("life", f"genus {number // 4}", f"species {number}") for number in numbers]
        self.tree = LabelTree.from_leaves(np.array(names, dtype=object))

    def draw(self, n_images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return groups, true classes and the probabilities of a method that knows the centres."""
        alike = N_ALIKE if self.kind == "group" else 1
        groups = np.arange(n_images) // alike
        n_groups = int(groups[-1]) + 1
        truth = self.random.choice(len(self.shares), n_groups, p=self.shares)[groups]
        shape = self.centres.shape[1]
        noise = self.random.normal(size=(n_groups, shape))[groups]
        if alike > 1:
            noise = 0.9 * noise + 0.19**0.5 * self.random.normal(size=(n_images, shape))
        rows = self.centres[truth] + 1.3 * noise
        squares = (self.centres**2).sum(axis=1) - 2 * rows @ self.centres.T
        logits = -squares / (2 * 1.3**2) + np.log(self.shares)
        logits *= 1.5 if self.kind == "sure" else 1.0
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return groups, truth, probabilities

    def measure(self, truth: np.ndarray, probabilities: np.ndarray) -> TreeRows:
        """Return what each image adds to the figures of the tree."""
        best = find_best(probabilities)
        rows = measure_rows(truth, best, self.tree)
        consistent = find_consistent(probabilities, self.tree)
        return TreeRows(**{**vars(rows), "is_consistent": consistent})


def find_truth(world: World) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Return the figures of very many images, and recall and F1 of each class."""
    parts = [world.draw(2_000) for _ in range(N_TRUE // 2_000)]
    truth = np.concatenate([part[1] for part in parts])
    probabilities = np.concatenate([part[2] for part in parts])
    found = {
        **score_flat(truth, probabilities, metrics=FLAT),
        **score_tree(world.measure(truth, probabilities)),
    }
    answers, n = probabilities.argmax(axis=1), len(world.shares)
    right = np.bincount(truth[answers == truth], minlength=n)
    counts = np.bincount(truth, minlength=n)
    total = counts + np.bincount(answers, minlength=n)
    figures = {name: float(values[0]) for name, values in found.items()}
    return figures, right / np.maximum(counts, 1), 2 * right / np.maximum(total, 1)


def try_once(
    world: World, n_images: int, trial: int, known: tuple[dict[str, float], np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return of each figure whether its interval holds the truth, and how wide it is."""
    figures, recalls, f1s = known
    groups, truth, probabilities = world.draw(n_images)
    names = groups.astype(str) if world.kind == "group" else np.full(n_images, "")
    resamples = Resamples.of_groups(names, N_RESAMPLES, trial)
    asked = measure(truth, probabilities, tree=world.tree), resamples
    found = find_intervals(draw_method_scores(*asked), *asked)
    # Figures of classes are means over the classes that were met.
    met = np.unique(truth)
    true = {
        **figures,
        "balanced_accuracy": float(recalls[met].mean()),
        "macro_f1": float(f1s[met].mean()),
    }
    ends = [(found[name].low, found[name].high, true[name]) for name in FLAT + TREE]
    # Where nothing can be measured nothing is promised.
    holds = [np.isnan(low) or low <= value <= high for low, high, value in ends]
    return np.array(holds), np.array([high - low for low, high, _ in ends])


def main() -> None:
    """Print the share of the trials whose interval holds the truth, and its median width.

    Sizes can be named: ``python -m benchmarks.coverage 2x3 200x1200``.
    """
    sizes = [tuple(int(n) for n in size.split("x")) for size in sys.argv[1:]] or SIZES
    print("classes images  kind | " + " ".join(f"{name:>12}" for name in SHORT))
    for n_classes, n_images in sizes:
        for kind in KINDS:
            world = World(n_classes, kind)
            known = find_truth(world)
            tried = [try_once(world, n_images, trial, known) for trial in range(N_TRIALS)]
            held = np.mean([holds for holds, _ in tried], axis=0)
            widths = np.array([widths for _, widths in tried])
            widths[:, np.isnan(widths).all(axis=0)] = 1.0
            cells = [
                f"{share:.3f}{'*' if share < LEAST else ' '}({width:.2f})"
                for share, width in zip(held, np.nanmedian(widths, axis=0), strict=True)
            ]
            said = f"{n_classes:7} {n_images:6} {kind:>5}"
            print(f"{said} | " + " ".join(f"{cell:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
