"""How often predictions are right, with an interval."""

from __future__ import annotations

import dataclasses
import math

# 97.5% quantile of the normal distribution, for intervals of 95%.
_Z = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """Fraction of images whose label is among the k best classes.

    Parameters
    ----------
    k : int
        Answers that count.
    n_correct, n_images : int
        Images that were right, and images that have a label among the classes.
    """

    k: int
    n_correct: int
    n_images: int

    @property
    def fraction(self) -> float:
        """Accuracy in [0, 1]; not a number when no image has a label."""
        return self.n_correct / self.n_images if self.n_images else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson score interval of 95%.

        References
        ----------
        Wilson 1927, *Probable inference, the law of succession, and statistical inference*.

        Examples
        --------
        >>> low, high = Accuracy(1, 8, 10).interval
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)
        """
        n, p = self.n_images, self.fraction
        if not n:
            return (math.nan, math.nan)
        centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
        return (max(0.0, centre - half), min(1.0, centre + half))

    def __str__(self) -> str:
        low, high = self.interval
        return f"top-{self.k} {self.fraction:.3f} [{low:.3f}, {high:.3f}]"
