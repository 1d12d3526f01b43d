"""Sets of classes that hold the right one as often as was asked."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.calibration.calibrators import take_known
from bioprobe.errors import SelectionError
from bioprobe.intervals import Accuracy
from bioprobe.types import Mask

KINDS = ("lac", "aps", "raps")
# Charge of raps for each class beyond the first few.
_CHARGE, _N_FREE = 0.01, 5
# Seeds of the random share of the last class's probability: where the limit is chosen, and after.
_CHOOSING, _ASKING = 0, 1


@dataclasses.dataclass(frozen=True)
class ConformalSets:
    """Split conformal prediction: all classes whose score is within a limit.

    Where images to be judged are drawn as the validation images were, the sets hold the true
    class with at least the coverage that was asked, on average over both draws.

    Parameters
    ----------
    kind : str
        ``lac``: one less the probability, the smallest sets; ``aps``: probabilities summed down
        to the class, sets that grow with doubt; ``raps``: the same, with a charge for long sets.
    limit : float
        Score up to which a class is in the set; infinite where too few images were there.
    n_images : int
        Validation images.

    References
    ----------
    Sadinle, Lei and Wasserman 2019, *Least Ambiguous Set-Valued Classifiers* (lac); Romano,
    Sesia and Candès 2020, *Classification with Valid and Adaptive Coverage* (aps); Angelopoulos
    et al. 2021, *Uncertainty Sets for Image Classifiers using Conformal Prediction* (raps).
    """

    kind: str
    limit: float
    n_images: int

    def find_sets(self, probabilities: npt.NDArray[Any], *, allow_empty: bool = False) -> Mask:
        """Return whether each class is in the set of each image, shape (n_images, n_classes).

        Unless sets may be empty, the best class always is in them: coverage only grows.
        """
        sets = _score(probabilities, self.kind, _ASKING) <= self.limit
        if sets.size and not allow_empty:
            sets[np.arange(len(sets)), np.argmax(probabilities, axis=1)] = True
        return np.asarray(sets)


@dataclasses.dataclass(frozen=True)
class SetQuality:
    """How sets did on images with labels.

    Parameters
    ----------
    coverage : Accuracy
        How often the true class is in the set, with its interval.
    mean_size : float
        Classes in a set on average.
    single_fraction : float
        Sets of one class.
    """

    coverage: Accuracy
    mean_size: float
    single_fraction: float


def fit_conformal(
    probabilities: npt.NDArray[Any],
    truth: npt.NDArray[np.int64],
    coverage_fraction: float = 0.9,
    kind: str = "lac",
) -> ConformalSets:
    """Choose the limit of a conformal score on validation rows.

    Of n images it is the ⌈(n + 1) · coverage⌉-th smallest score of a true class.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n_images, n_classes)
        Of rows that the classifier did not learn from.
    truth : ndarray of int64, shape (n_images,)
        Column of the true class, -1 where it is unknown or none of them.
    coverage_fraction : float
        How often the sets are to hold the true class, in (0, 1).
    kind : str
        One of :data:`KINDS`.

    Raises
    ------
    SelectionError
        If no row has a known class, or coverage or kind are not among those named.

    References
    ----------
    Vovk, Gammerman and Shafer 2005, *Algorithmic Learning in a Random World*; Lei et al. 2018,
    *Distribution-Free Predictive Inference for Regression* (split conformal).

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])
    >>> fitted = fit_conformal(probabilities, np.array([0, 0, 0, 0]), 0.6)
    >>> round(fitted.limit, 2)  # the third of .1, .2, .3, .6
    0.3
    """
    if kind not in KINDS or not 0 < coverage_fraction < 1:
        msg = (
            f"sets are made by {', '.join(KINDS)} for a coverage in (0, 1); got {kind!r}, "
            f"{coverage_fraction:g}"
        )
        raise SelectionError(msg)
    known, classes = take_known(np.asarray(probabilities), truth)
    scores = _score(known, kind, _CHOOSING)[np.arange(len(known)), classes]
    # Products such as 0.9 · 10 end just above the number they stand for.
    rank = math.ceil((len(scores) + 1) * coverage_fraction - 1e-9)
    limit = math.inf if rank > len(scores) else float(np.sort(scores)[rank - 1])
    return ConformalSets(kind, limit, len(scores))


def measure_sets(sets: Mask, truth: npt.NDArray[np.int64]) -> SetQuality:
    """Measure sets on images whose class is known (not -1)."""
    known = truth >= 0
    held = sets[known, truth[known]]
    sizes = sets[known].sum(axis=1)
    coverage = Accuracy(1, int(held.sum()), int(known.sum()))
    if not known.any():
        return SetQuality(coverage, math.nan, math.nan)
    return SetQuality(coverage, float(sizes.mean()), float((sizes == 1).mean()))


def _score(probabilities: npt.NDArray[Any], kind: str, seed: int) -> npt.NDArray[np.float64]:
    values = np.asarray(probabilities, dtype=np.float64)
    if kind == "lac":
        return 1 - values
    order = np.argsort(-values, axis=1, kind="stable")
    sorted_values = np.take_along_axis(values, order, axis=1)
    # A random share of its own makes the coverage exact, where whole probabilities exceed it.
    share = np.random.default_rng(seed).random((len(values), 1))
    scores = np.cumsum(sorted_values, axis=1) - (1 - share) * sorted_values
    if kind == "raps":
        scores += _CHARGE * np.maximum(np.arange(1, values.shape[1] + 1) - _N_FREE, 0)
    found = np.empty_like(values)
    np.put_along_axis(found, order, scores, axis=1)
    return found
