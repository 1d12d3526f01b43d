"""What is done about classes of few training rows: weights, other losses, or made-up rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError

BALANCES = ("none", "class-weight", "logit-adjustment", "focal", "smote", "mixup")

# Neighbours that SMOTE draws lines to, its authors' number.
_N_NEIGHBORS = 5


@dataclasses.dataclass(frozen=True)
class Balance:
    """A choice of :data:`BALANCES` and its strength.

    Parameters
    ----------
    name : str
        ``none``;
        ``class-weight``: every class weighs the same, as scikit-learn's ``balanced``;
        ``logit-adjustment``: logits plus the log of the class's share while learning, which
        makes the prediction that of equal shares;
        ``focal``: rows that are sure count less;
        ``smote``: rows between neighbours of a class, until all classes are as large as the
        largest; a class of one row stays as it is;
        ``mixup``: rows between pairs of rows, each with both classes.
    tau : float
        Factor of the logit adjustment.
    gamma : float
        Exponent of the focal loss.
    alpha : float
        Of the Beta(alpha, alpha) that mixup draws shares from.
    seed : int
        Of the made-up rows.

    Raises
    ------
    ProbeError
        If the name is none of them, or a number is out of range.

    References
    ----------
    Menon et al. 2021, *Long-tail learning via logit adjustment*; Ren et al. 2020, *Balanced
    meta-softmax*; Lin et al. 2017, *Focal loss*; Chawla et al. 2002, *SMOTE*; Zhang et al. 2018,
    *mixup*.
    """

    name: str = "none"
    tau: float = 1.0
    gamma: float = 2.0
    alpha: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in BALANCES:
            msg = f"no balance {self.name!r}; there are {', '.join(BALANCES)}"
            raise ProbeError(msg)
        if self.tau < 0 or self.gamma < 0 or self.alpha <= 0:
            msg = (
                "tau and gamma are at least 0 and alpha above 0, got "
                f"{self.tau:g}, {self.gamma:g} and {self.alpha:g}"
            )
            raise ProbeError(msg)

    @property
    def makes_rows(self) -> bool:
        """Whether training rows are made up."""
        return self.name in {"smote", "mixup"}

    @property
    def focus(self) -> float:
        """Exponent of the focal loss, 0 for cross-entropy."""
        return self.gamma if self.name == "focal" else 0.0

    def weigh(
        self, sums: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return each class's factor on its rows' weights and summand on its logit.

        Parameters
        ----------
        sums : ndarray of float64, shape (n_classes,)
            Weights of the training rows of each class; 0 for a class that has none.
        """
        factors, summands = np.ones(len(sums)), np.zeros(len(sums))
        present = sums > 0
        if self.name == "class-weight":
            factors[present] = sums.sum() / (present.sum() * sums[present])
        if self.name == "logit-adjustment":
            summands[present] = self.tau * np.log(sums[present] / sums.sum())
        return factors, summands


@dataclasses.dataclass(frozen=True)
class Rows:
    """Training rows.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim)
    targets : ndarray of int64, shape (n_images,)
        Positions of the classes.
    weights : ndarray of float64, shape (n_images,)
    """

    vectors: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]


def make_rows(rows: Rows, balance: Balance) -> Rows:
    """Return the rows to learn from: these, and those that SMOTE or mixup make of them.

    Parameters
    ----------
    rows : Rows
        Training rows only: a made-up row may lie between any two of them.
    balance : Balance
        Others than SMOTE and mixup leave the rows as they are.
    """
    if balance.name == "smote":
        return _add_between_neighbors(rows, balance)
    return _mix(rows, balance) if balance.name == "mixup" else rows


def _add_between_neighbors(rows: Rows, balance: Balance) -> Rows:
    from imblearn.over_sampling import SMOTE

    counts = np.bincount(rows.targets)
    largest = int(counts.max())
    vectors, targets = [rows.vectors], [rows.targets]
    for k in range(1, _N_NEIGHBORS + 1):
        # A class has fewer neighbours than rows.
        suited = counts == k + 1 if k < _N_NEIGHBORS else counts > k
        goals = {int(target): largest for target in np.flatnonzero(suited & (counts < largest))}
        if not goals:
            continue
        maker = SMOTE(sampling_strategy=goals, k_neighbors=k, random_state=balance.seed)
        made, made_targets = maker.fit_resample(rows.vectors, rows.targets)
        vectors.append(made[len(rows.vectors) :].astype(np.float32))
        targets.append(made_targets[len(rows.vectors) :])
    every = np.concatenate(targets)
    sums = np.bincount(rows.targets, rows.weights)
    means = sums / np.maximum(counts, 1)
    weights = np.concatenate([rows.weights, means[every[len(rows.targets) :]]])
    return Rows(np.concatenate(vectors), every, weights)


def _mix(rows: Rows, balance: Balance) -> Rows:
    """Mix each row with another; the mixture stands twice, once for each class."""
    rng = np.random.default_rng(balance.seed)
    others = rng.permutation(len(rows.targets))
    shares = rng.beta(balance.alpha, balance.alpha, len(others))
    first = shares.astype(np.float32)[:, np.newaxis]
    mixed = first * rows.vectors + (1 - first) * rows.vectors[others]
    weights = shares * rows.weights + (1 - shares) * rows.weights[others]
    return Rows(
        np.concatenate([mixed, mixed]),
        np.concatenate([rows.targets, rows.targets[others]]),
        np.concatenate([shares * weights, (1 - shares) * weights]),
    )
