"""A value chosen on rows that were held out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.probes.kinds import find_kind, make_probe
from bioprobe.probes.sweep import Sweep

Settings = Mapping[str, Any]
Folds = npt.NDArray[np.int64]


def measure_values(
    kind: str,
    settings: Settings,
    X: npt.NDArray[np.float32],  # noqa: N803 - scikit-learn's name
    y: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    folds: Folds,
) -> Sweep:
    """Measure a probe at many values of what is chosen, each on rows it did not learn from.

    Parameters
    ----------
    kind : str
        Kind that has something to choose.
    settings : mapping
        Its other arguments.
    X : ndarray of float32, shape (n_images, dim), unit rows
    y : ndarray, shape (n_images,)
    values : ndarray of float64, shape (n_values,)
        From the strongest regularisation to the weakest.
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that always trains.
    """
    described = find_kind(kind)
    sweep: Any = getattr(described.load(), "sweep", None)
    accepted = inspect.signature(sweep).parameters if sweep is not None else {}
    if sweep is not None and all(name in accepted for name in settings):
        found: Sweep = sweep(X, y, values, folds, **settings)
        return found
    rows = [
        measure_folds(kind, {**settings, described.parameter: as_setting(value)}, X, y, folds)
        for value in values
    ]
    accuracies, log_losses = np.stack(rows, axis=1)
    return Sweep(described.parameter, np.asarray(values), accuracies, log_losses)


def measure_folds(
    kind: str,
    settings: Settings,
    X: npt.NDArray[np.float32],  # noqa: N803 - scikit-learn's name
    y: npt.NDArray[Any],
    folds: Folds,
) -> npt.NDArray[np.float64]:
    """Fit a probe without each fold and measure it there.

    Parameters
    ----------
    kind : str
        Kind of probe.
    settings : mapping
        Its arguments.
    X : ndarray of float32, shape (n_images, dim), unit rows
    y : ndarray, shape (n_images,), or (n_images, n_ranks) for a kind that takes lineages
        Rows whose last name is ``""`` are learnt from, not measured.
    folds : ndarray of int64, shape (n_images,)
        Fold in which each row is held out, -1 for one that always trains.

    Returns
    -------
    ndarray of float64, shape (2, n_folds)
        Accuracies and log-losses.
    """
    names = y[:, -1] if y.ndim == 2 else y
    measured = []
    for fold in np.unique(folds[folds >= 0]):
        out = folds == fold
        probe = make_probe(kind, settings).fit(X[~out], y[~out])
        probabilities = probe.predict_proba(X[out])
        own = np.array(
            [np.flatnonzero(probe.classes_ == name) for name in names[out]], dtype=object
        )
        places = np.array([place[0] if len(place) else -1 for place in own], dtype=np.int64)
        likely = np.where(places >= 0, probabilities[np.arange(len(places)), places], 0)
        likely = np.maximum(likely, np.finfo(np.float32).eps)
        right = probabilities.argmax(axis=1) == places
        measured.append((right.mean(), -np.log(likely).mean()))
    return np.array(measured, dtype=np.float64).T.reshape(2, -1)


def as_setting(value: float) -> float | int:
    """Return a value as an integer where it is one: a number of neighbours is no 5.0."""
    return int(value) if float(value).is_integer() else float(value)
