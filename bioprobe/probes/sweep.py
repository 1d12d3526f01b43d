"""How a probe did at each value of its regularisation, on rows it did not learn from."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Cross-validated accuracy along a path of regularisation values.

    Parameters
    ----------
    parameter : str
        Name of the parameter, as the probe's ``__init__`` has it.
    values : ndarray of float64, shape (n_values,)
        Values tried, from the strongest regularisation to the weakest.
    accuracies : ndarray of float64, shape (n_values, n_folds)
        Fraction of the held-out rows of each fold that are right.
    log_losses : ndarray of float64, shape (n_values, n_folds)
        Mean negative log-probability of the true class over the held-out rows of each fold.
    """

    parameter: str
    values: npt.NDArray[np.float64]
    accuracies: npt.NDArray[np.float64]
    log_losses: npt.NDArray[np.float64]

    @property
    def best_index(self) -> int:
        """Position of the highest mean accuracy; of equal ones, the strongest regularisation."""
        return int(self.accuracies.mean(axis=1).argmax())

    @property
    def best_value(self) -> float:
        """Value at :attr:`best_index`."""
        return float(self.values[self.best_index])
