"""Shares of classes from answers alone, where only how frequent classes are has changed.

Labelled images that were found in any way, such as by search, say nothing of how frequent classes
are. They can say how a classifier answers to each class; and if images of one class look the same
wherever they were taken (*label shift*), the answers to other images say how frequent it is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.intervals import Draws, find_interval
from bioprobe.result import WARNING, Note, Notes
from bioprobe.types import Doubles, Names, Places

#: What must hold, in words.
ASSUMPTION = (
    "label shift: images of a class look alike among the labelled ones and the others, and only "
    "how frequent classes are differs; nothing here can test it"
)
_LEAST, _STEPS, _TOLERANCE = 1e-9, 1000, 1e-6


@dataclasses.dataclass(frozen=True)
class Adjusted:
    """Shares under label shift, with intervals by the bootstrap.

    Parameters
    ----------
    estimate, low, high : ndarray of float64, shape (n_classes,)
        In [0, 1].
    alone, alone_low, alone_high : ndarray of float64, shape (n_classes,)
        Not a number: the labelled images are no sample.
    slopes, n_effective : ndarray of float64, shape (n_classes,)
        Not a number.
    fits : tuple of (ndarray, ndarray)
        Scale and shift of the answers, and share of each class among the labelled images: of all,
        then of each resample.
    notes : tuple of Note
        What is to be said.
    """

    estimate: Doubles
    low: Doubles
    high: Doubles
    fits: tuple[tuple[Doubles, Doubles], ...]
    notes: Notes = ()

    @property
    def alone(self) -> Doubles:
        """Shares from labels alone, which say nothing here."""
        return np.full(len(self.estimate), np.nan)

    alone_low = alone_high = slopes = n_effective = alone


def adjust_shares(probabilities: Doubles, prior: Doubles, start: Doubles | None = None) -> Doubles:
    r"""Find the shares of classes that make calibrated answers most likely, by EM.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n_images, n_classes)
        Of each class, where classes are as frequent as ``prior`` says.
    prior : ndarray of float64, shape (n_classes,)
        Shares where the probabilities were calibrated, above 0.
    start : ndarray of float64, shape (n_classes,), optional
        Shares to begin with, above 0; by default the prior.

    Returns
    -------
    ndarray of float64, shape (n_classes,)
        They add up to 1.

    References
    ----------
    Saerens, Latinne and Decaestecker 2002, *Adjusting the outputs of a classifier to new a priori
    probabilities: a simple procedure*.

    Examples
    --------
    >>> answers = np.array([[0.9, 0.1]] * 9 + [[0.1, 0.9]])
    >>> adjust_shares(answers, np.array([0.5, 0.5])).round(3).tolist()
    [1.0, 0.0]
    >>> answers = np.array([[0.9, 0.1]] * 7 + [[0.1, 0.9]] * 3)
    >>> adjust_shares(answers, np.array([0.5, 0.5])).round(3).tolist()
    [0.75, 0.25]
    """
    relative = np.maximum(probabilities, _LEAST) / prior
    shares = prior if start is None else start
    shares = shares / shares.sum()
    for _ in range(_STEPS):
        joint = relative * shares
        found = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
        moved = float(np.abs(found - shares).max())
        shares = found
        if moved < _TOLERANCE:
            break
    return np.asarray(shares, dtype=np.float64)


def estimate_prevalence(
    answer: Callable[[Places], Doubles],
    *,
    labelled: Places,
    truths: Places,
    units: Names,
    images: Places,
    classes: Places,
    like: Adjusted | None = None,
    n_resamples: int = 200,
    seed: int = 0,
) -> Adjusted:
    """Estimate the shares of classes among images by what is answered to them, under label shift.

    The answers are calibrated on the labelled images, by one scale and a shift for each class, and
    their shares there taken out by :func:`adjust_shares`. Both the labelled images and the others
    are resampled, by units, for the interval, which is that of
    :func:`bioprobe.intervals.find_interval`; by benchmarks/estimates.py it holds the truth 88 to 92
    times in 100 rather than 95, though the assumption be true.

    Parameters
    ----------
    answer : callable
        From positions of images to the probabilities of all classes, shape (n, n_classes).
    labelled : ndarray of int64, shape (n_labelled,)
        Positions of images with a label, which the classifier has not learnt from.
    truths : ndarray of int64, shape (n_images,)
        Class of each image, where it has a label.
    units : ndarray of object, shape (n_images,)
        What images come together in, ``""`` for one alone.
    images : ndarray of int64, shape (n_asked,)
        Positions of the images that are asked of.
    classes : ndarray of int64, shape (n_classes,)
        Classes whose shares are returned.
    like : Adjusted, optional
        Of a larger collection, with which the calibration is shared.
    n_resamples : int
        Of the bootstrap.
    seed : int
        Of the draws.

    Raises
    ------
    SelectionError
        If fewer than two classes have labelled images.

    References
    ----------
    Saerens, Latinne and Decaestecker 2002 (the adjustment); Alexandari, Kundaje and Shrikumar 2020,
    *Maximum likelihood with bias-corrected calibration is hard-to-beat at label shift adaptation*
    (the scale and the shifts).
    """
    random = np.random.default_rng(seed)
    labels = answer(labelled)
    n_all = labels.shape[1]
    inside = truths[labelled] < n_all
    labels, labelled = labels[inside], labelled[inside]
    known, of_label = np.unique(truths[labelled], return_inverse=True)
    if len(known) < 2:
        msg = (
            f"--assume label-shift calibrates the answers on labelled images of two classes or "
            f"more, got {len(known)}; label images of more classes, however they are found"
        )
        raise SelectionError(msg)
    logs = np.log(np.maximum(labels[:, known], _LEAST))
    fits = like.fits if like is not None else _fit_all(
        logs, of_label, units[labelled], n_resamples, random
    )  # fmt: skip
    others = np.log(np.maximum(answer(images)[:, known], _LEAST))
    draws: list[Doubles] = []
    asked_units = number_units(units[images])
    for number, (scaled, prior) in enumerate(fits):
        # The first is of all images.
        chosen = others
        if number:
            chosen = np.repeat(others, _resample(asked_units, random), axis=0)
        # What is 0 stays 0, so none begins there.
        start = draws[0] + 1e-4 if draws else None
        draws.append(adjust_shares(_apply(chosen, scaled), prior, start))
    spread = np.zeros((len(draws), n_all + 1))
    spread[:, known] = draws
    point, resampled = spread[0, classes], spread[1:, classes]
    # A rare class has few that could be resampled: percentiles of it are far too narrow.
    n_units = min(len(np.unique(of)) for of in (number_units(units[labelled]), asked_units))
    ends = [
        find_interval(Draws(float(value), values, n_units))
        for value, values in zip(point, resampled.T, strict=True)
    ]
    low, high = (np.array([getattr(one, end) for one in ends]) for end in ("low", "high"))
    notes = [Note(f"shares hold under {ASSUMPTION}", WARNING)]
    missing = int((~np.isin(classes, known)).sum())
    if missing:
        text = f"{missing:,} classes have no labelled image, and their shares are taken to be 0"
        notes.append(Note(text, WARNING))
    return Adjusted(
        point, np.minimum(low, point), np.maximum(high, point), tuple(fits), tuple(notes)
    )


def _fit_all(
    logs: Doubles,
    truths: npt.NDArray[np.int64],
    units: Names,
    n_resamples: int,
    random: np.random.Generator,
) -> list[tuple[Doubles, Doubles]]:
    """Calibrate on all labelled images, and on resamples of their units."""
    n, n_classes = logs.shape
    numbers = number_units(units)
    first = _fit(logs, truths, np.ones(n), np.zeros(n_classes + 1))
    fits = [first]
    for _ in range(n_resamples):
        weights = _resample(numbers, random).astype(np.float64)
        fits.append(_fit(logs, truths, weights, first[0]))
    return fits


def number_units(units: Names) -> Places:
    """Return the number of each image's unit, from 0; one whose name is ``""`` is alone.

    Examples
    --------
    >>> number_units(np.array(["s", "", "s", ""], dtype=object)).tolist()
    [2, 0, 2, 1]
    """
    alone = np.array([f"\0{at}" for at in range(len(units))], dtype=object)
    names = np.where(units == "", alone, units).astype(str)
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _resample(numbers: Places, random: np.random.Generator) -> Places:
    """Return how often each image is there when as many units are drawn as there are."""
    n_units = int(numbers.max(initial=-1)) + 1
    counts = np.bincount(random.integers(n_units, size=n_units), minlength=n_units)
    return counts[numbers].astype(np.int64)


def _fit(
    logs: Doubles, truths: npt.NDArray[np.int64], weights: Doubles, start: Doubles
) -> tuple[Doubles, Doubles]:
    """Fit the logarithm of a scale and the shift of each class, and their shares."""
    from scipy.optimize import minimize

    n_classes = logs.shape[1]
    # Half an image of each class, for those that a resample has none of.
    prior = np.bincount(truths, weights=weights, minlength=n_classes) + 0.5
    ones = np.eye(n_classes)[truths]

    def lose(values: Doubles) -> tuple[float, Doubles]:
        scale = np.exp(values[0])
        logits = scale * logs + values[1:]
        top = logits.max(axis=1, keepdims=True)
        exps = np.exp(logits - top)
        total = exps.sum(axis=1, keepdims=True)
        losses = np.log(total[:, 0]) + top[:, 0] - (logits * ones).sum(axis=1)
        errors = (exps / total - ones) * weights[:, np.newaxis]
        slope = np.append((errors * logs).sum() * scale, errors.sum(axis=0))
        return float(weights @ losses + 0.5 * (values**2).sum()), slope + values

    found = minimize(
        lose,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 100 if not start.any() else 30},
    )
    return np.asarray(found.x, dtype=np.float64), prior / prior.sum()


def _apply(logs: Doubles, fitted: Doubles) -> Doubles:
    logits = np.exp(fitted[0]) * logs + fitted[1:]
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exps / exps.sum(axis=1, keepdims=True), dtype=np.float64)
