"""How often intervals of 95% hold the truth, in simulations of which the truth is known.

Each line is a number of classes and of images, with as many images of each class or with the first
class 1, the second 1/2, the third 1/3 … times as often. A class has a recall of its own, and errors
go to some of the others more than to the rest; probabilities are as sure as the recalls, or surer.
"""

from __future__ import annotations

import numpy as np

from bioprobe.evaluation.metrics import draw_method_scores, find_intervals, score_flat
from bioprobe.intervals import Resamples

METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "auroc", "log_loss", "ece")
# Classes and images.
SIZES = ((2, 3), (2, 10), (2, 100), (5, 30), (20, 60), (20, 400), (60, 180), (200, 600),
         (200, 1200))  # fmt: skip
N_TRIALS, N_RESAMPLES, N_TRUE = 200, 200, 40_000


class World:
    """Images of classes, with what a method answers of them."""

    def __init__(self, n_classes: int, *, is_even: bool, too_sure: float) -> None:
        self.random = np.random.default_rng(0)
        shares = np.ones(n_classes) if is_even else 1 / np.arange(1, n_classes + 1)
        self.shares, self.too_sure = shares / shares.sum(), too_sure
        self.centres = self.random.normal(size=(n_classes, 8 + n_classes // 4))

    def draw(self, n_images: int) -> tuple[np.ndarray, np.ndarray]:
        """Return true classes, and the probabilities of a method that knows the centres."""
        truth = self.random.choice(len(self.shares), n_images, p=self.shares)
        noise = self.random.normal(size=(n_images, self.centres.shape[1]))
        rows = self.centres[truth] + 1.3 * noise
        squares = ((rows[:, np.newaxis] - self.centres) ** 2).sum(axis=2)
        logits = (1 + self.too_sure) * (-squares / (2 * 1.3**2) + np.log(self.shares))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return truth, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def find_truth(world: World) -> tuple[dict[str, float], np.ndarray]:
    """Return the figures of very many images, and the F1 of each class."""
    parts = [world.draw(2_000) for _ in range(N_TRUE // 2_000)]
    truth = np.concatenate([one for one, _ in parts])
    probabilities = np.concatenate([one for _, one in parts])
    figures = {
        name: float(values[0])
        for name, values in score_flat(truth, probabilities, metrics=METRICS).items()
    }
    answers = probabilities.argmax(axis=1)
    n = len(world.shares)
    right = np.bincount(truth[answers == truth], minlength=n)
    total = np.bincount(truth, minlength=n) + np.bincount(answers, minlength=n)
    return figures, 2 * right / np.maximum(total, 1)


def main() -> None:
    """Print the share of the trials whose interval holds the truth, and its mean width."""
    print("classes images even sure | " + " ".join(f"{name:>18}" for name in METRICS))
    for n_classes, n_images in SIZES:
        for is_even, too_sure in ((True, 0.0), (False, 0.0), (True, 0.5)):
            world = World(n_classes, is_even=is_even, too_sure=too_sure)
            figures, f1s = find_truth(world)
            held, widths = dict.fromkeys(METRICS, 0), dict.fromkeys(METRICS, 0.0)
            for trial in range(N_TRIALS):
                truth, probabilities = world.draw(n_images)
                resamples = Resamples.of_groups(np.full(n_images, ""), N_RESAMPLES, trial)
                asked = probabilities, None, None, resamples
                found = find_intervals(draw_method_scores(truth, *asked), *asked)
                # Macro figures are means over the classes that were met.
                true = {**figures, "macro_f1": float(f1s[np.unique(truth)].mean())}
                for name in METRICS:
                    one = found[name]
                    # Where nothing can be measured nothing is promised.
                    holds = np.isnan(one.low) or one.low <= true[name] <= one.high
                    held[name] += bool(holds)
                    widths[name] += 0.0 if np.isnan(one.low) else one.high - one.low
            cells = (f"{held[n] / N_TRIALS:10.3f} ({widths[n] / N_TRIALS:.3f})" for n in METRICS)
            said = f"{n_classes:7} {n_images:6} {'yes' if is_even else 'no':>4} {too_sure:4}"
            print(f"{said} | " + " ".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
