"""Multinomial logistic regression, from nothing or from texts; what helps classes of few rows."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ProbeError
from bioprobe.probes.closed_form import AffineProbe
from bioprobe.probes.lbfgs import Stop
from bioprobe.probes.objective import ABSENT, Problems
from bioprobe.probes.path import EigenBasis, solve, sweep_values
from bioprobe.probes.probe import SEED, STEPS, STRENGTH, Dimension, Limits, Sweep, space_values
from bioprobe.task.lazy_rows import AnyRows, LazyRows, stack_rows
from bioprobe.types import Doubles, Places, Vectors

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
    vectors : ndarray of float32, or LazyRows, shape (n_images, dim)
    targets : ndarray of int64, shape (n_images,)
        Positions of the classes.
    weights : ndarray of float64, shape (n_images,)
    """

    vectors: AnyRows
    targets: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]


def make_rows(rows: Rows, balance: Balance) -> Rows:
    """Return the rows to learn from: these, and those that SMOTE or mixup make of them.

    Parameters
    ----------
    rows : Rows
        Training rows only: a made-up row may lie between any two of them.
    balance : Balance
        SMOTE and mixup read all rows into memory; others leave them as they are.
    """
    if balance.makes_rows:
        rows = dataclasses.replace(rows, vectors=np.asarray(rows.vectors))
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


class LinearProbe(AffineProbe):
    r"""Logistic regression with a ridge penalty, solved on all rows at once.

    The objective is that of scikit-learn's ``LogisticRegression``,

    .. math:: C \sum_i w_i \, \ell(x_i, y_i) + \tfrac{1}{2} \lVert W - W_0 \rVert^2

    with intercepts that are not penalised; :math:`W_0` is 0 unless a prior is given.

    Parameters
    ----------
    C : float
        Inverse strength of the penalty, above 0. Unit vectors want large values.
    balance : str
        What is done about small classes: one of :data:`bioprobe.probes.linear.BALANCES`.
    tau, gamma, alpha : float
        Strengths of ``logit-adjustment``, ``focal`` and ``mixup``:
        :class:`bioprobe.probes.linear.Balance` describes them.
    max_iter : int
        Steps of the polish at most.
    tol : float
        Fraction of the objective that one more step may still gain when it stops.
    seed : int
        Of rows that ``smote`` and ``mixup`` make up.
    prior : ndarray, shape (n_classes, dim), optional
        Coefficients that the penalty shrinks towards, in the order of ``classes_``.

    Attributes
    ----------
    coef_ : ndarray of float32, shape (n_classes, dim)
    intercept_ : ndarray of float32, shape (n_classes,)
    n_iter_ : int
        Steps of the polish.

    See Also
    --------
    sklearn.linear_model.LogisticRegression : The same objective, one value at a time.

    Examples
    --------
    >>> X = np.array([[0.0, 1.0], [0.2, 0.9], [1.0, 0.0], [0.9, 0.1]], dtype=np.float32)
    >>> LinearProbe().fit(X, np.array(["a", "a", "b", "b"])).predict(X[:1]).tolist()
    ['a']
    """

    kind: ClassVar[str] = "linear"
    takes_columns: ClassVar[bool] = True
    takes_lazy_rows: ClassVar[bool] = True
    summary: ClassVar[str] = "multinomial logistic regression"
    parameter: ClassVar[str] = "C"
    values: ClassVar[tuple[float, ...]] = space_values(1e-1, 1e4, 11)
    limits: ClassVar[Mapping[str, Limits]] = {
        "C": STRENGTH,
        "tau": Limits(0),
        "gamma": Limits(0),
        "alpha": Limits(0, above=True),
        "max_iter": STEPS,
        "tol": Limits(0),
        "seed": SEED,
    }
    space: ClassVar[tuple[Dimension, ...]] = (
        Dimension("balance", BALANCES),
        Dimension("tau", (1.0, 0.5, 1.5), ("balance", "logit-adjustment")),
        Dimension("gamma", (2.0, 1.0, 3.0), ("balance", "focal")),
        Dimension("alpha", (0.2, 0.1, 0.4), ("balance", "mixup")),
    )
    n_iter_: int

    def __init__(
        self,
        C: float = 100.0,  # noqa: N803 - scikit-learn's name
        *,
        balance: str = "none",
        tau: float = 1.0,
        gamma: float = 2.0,
        alpha: float = 0.2,
        max_iter: int = 1000,
        tol: float = 1e-12,
        seed: int = 0,
        prior: npt.NDArray[np.floating] | None = None,
    ) -> None:
        self.C = C
        self.balance = balance
        self.tau = tau
        self.gamma = gamma
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.seed = seed
        self.prior = prior

    def fit(
        self,
        X: npt.ArrayLike,  # noqa: N803
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
    ) -> Self:
        """Learn from vectors and their classes.

        Parameters
        ----------
        X : array-like, shape (n_images, dim)
            Unit rows; read as float32.
        y : array-like, shape (n_images,)
            Classes.
        sample_weight : array-like, shape (n_images,), optional
            At least 0; 1 for every row unless given.

        Raises
        ------
        ProbeError
            If there is nothing to learn from, or an argument is out of range.
        """
        return self._learn(X, y, sample_weight=sample_weight)

    def _fit(
        self,
        X: AnyRows,  # noqa: N803
        y: npt.NDArray[Any],
        sample_weight: npt.ArrayLike | None = None,
    ) -> None:
        self.classes_, targets = np.unique(y, return_inverse=True)
        balance = Balance(self.balance, self.tau, self.gamma, self.alpha, int(self.seed))
        prior = _check_prior(self.prior, len(self.classes_), X.shape[1])
        rows = make_rows(Rows(X, targets, _check_weights(sample_weight, len(X))), balance)
        basis = EigenBasis.of(rows.vectors)
        problems = pose(basis, rows, rows.weights[:, np.newaxis], len(self.classes_), balance)
        stop = Stop(self.tol, int(self.max_iter), noise=0.0)
        found = solve(problems, basis, self.C, stop, prior)
        if not found.is_converged:
            from sklearn.exceptions import ConvergenceWarning

            msg = f"no convergence in {self.max_iter} steps; raise max_iter or lower C"
            warnings.warn(msg, ConvergenceWarning, stacklevel=4)
        self.coef_ = found.coefficients.astype(np.float32)
        self.intercept_ = found.intercepts.astype(np.float32)
        self.n_iter_ = found.n_iter

    @classmethod
    def sweep(
        cls,
        X: AnyRows,  # noqa: N803
        y: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        folds: Places,
        *,
        balance: str = "none",
        tau: float = 1.0,
        gamma: float = 2.0,
        alpha: float = 0.2,
        seed: int = 0,
        prior: npt.NDArray[np.floating] | None = None,
    ) -> Sweep:
        """Measure many values of C on all folds together.

        Coefficients are found only as well as accuracies need: of 12,000 rows these are within
        .003 of those of a full fit, of 1,500 within .006, where measured.

        Parameters
        ----------
        X : ndarray of float32, or LazyRows, shape (n_images, dim), unit rows
        y : ndarray, shape (n_images,)
        values : ndarray of float64, shape (n_values,)
            C, each above 0.
        folds : ndarray of int64, shape (n_images,)
            Fold in which each row is held out, -1 for one that always trains.
        balance, tau, gamma, alpha, seed, prior
            As the arguments of the class.

        Raises
        ------
        ProbeError
            If there is nothing to learn from, or an argument is out of range.
        """
        values = np.asarray(values, dtype=np.float64)
        for value in values.tolist():
            settings = {"C": value, "tau": tau, "gamma": gamma, "alpha": alpha, "seed": seed}
            cls.check_settings(settings)
        X, y = cls()._check_training(X, y)  # noqa: N806
        classes, targets = np.unique(y, return_inverse=True)
        numbers = np.unique(folds[folds >= 0])
        held_out = folds[:, np.newaxis] == numbers
        if not len(numbers) or held_out.all(axis=0).any():
            msg = "each fold needs rows outside it to learn from, and there is at least one fold"
            raise ProbeError(msg)
        chosen = Balance(balance, tau, gamma, alpha, seed)
        own = np.where(folds >= 0, np.searchsorted(numbers, folds), -1)
        order = np.argsort(values)
        shrunk_to = _check_prior(prior, len(classes), X.shape[1])
        measure = _measure_made if chosen.makes_rows else _measure_folds
        scores = np.empty((len(values), 2, len(numbers)))
        rows = Rows(X, targets, np.ones(len(X)))
        scores[order] = measure(rows, held_out, own, values[order], len(classes), chosen, shrunk_to)
        return Sweep("C", values, scores[:, 0], scores[:, 1])


def _measure_folds(
    rows: Rows,
    held_out: npt.NDArray[np.bool_],
    own: Places,
    values: Doubles,
    n_classes: int,
    balance: Balance,
    prior: Doubles | None,
) -> Doubles:
    """Score held-out rows, shape (n_values, 2, n_folds), all folds in one."""
    basis = EigenBasis.of(rows.vectors)
    weights = ~held_out * rows.weights[:, np.newaxis]
    problems = pose(basis, rows, weights, n_classes, balance)
    shrunk_to = None if prior is None else prior @ basis.directions
    return sweep_values(problems, basis, values.tolist(), own, shrunk_to)


def _measure_made(
    rows: Rows,
    held_out: npt.NDArray[np.bool_],
    own: Places,
    values: Doubles,
    n_classes: int,
    balance: Balance,
    prior: Doubles | None,
) -> Doubles:
    """Score held-out rows fold by fold: what is made up of a fold's training rows is its own."""
    scores = np.empty((len(values), 2, held_out.shape[1]))
    for fold in range(held_out.shape[1]):
        out = own == fold
        made = make_rows(Rows(rows.vectors[~out], rows.targets[~out], rows.weights[~out]), balance)
        both = Rows(
            stack_rows(made.vectors, np.asarray(rows.vectors[out])),
            np.concatenate([made.targets, rows.targets[out]]),
            np.concatenate([made.weights, np.zeros(out.sum())]),
        )
        tested = np.arange(len(both.targets)) >= len(made.targets)
        part = np.where(tested, 0, -1)
        found = _measure_folds(both, tested[:, np.newaxis], part, values, n_classes, balance, prior)
        scores[:, :, fold] = found[:, :, 0]
    return scores


def pose(
    basis: EigenBasis, rows: Rows, weights: Doubles, n_classes: int, balance: Balance
) -> Problems:
    """Return logistic regressions over rows, weighed and with adjusted logits.

    Parameters
    ----------
    basis : EigenBasis
        Coordinates that the rows are turned into.
    rows : Rows
    weights : ndarray of float64, shape (n_images, n_problems)
        Of each row in each problem.
    n_classes : int
    balance : Balance
        What is done about small classes; rows that it makes up are among the rows.
    """
    sums = np.stack([np.bincount(rows.targets, one, n_classes) for one in weights.T])
    weighed = [balance.weigh(one) for one in sums]
    factors = np.stack([factor for factor, _ in weighed], axis=1)
    adjustments = np.stack([summand for _, summand in weighed])
    vectors, directions = rows.vectors, None
    if isinstance(vectors, LazyRows):
        vectors, directions = basis.shift(vectors), basis.directions
    else:
        vectors = np.ascontiguousarray(basis.rotate(vectors))
    return Problems(
        vectors,
        rows.targets,
        (weights * factors[rows.targets]).astype(np.float32),
        np.where(sums > 0, adjustments, ABSENT).astype(np.float32),
        balance.focus,
        directions,
    )


def _check_weights(weights: npt.ArrayLike | None, n_images: int) -> Doubles:
    if weights is None:
        return np.ones(n_images)
    given = np.asarray(weights, dtype=np.float64)
    if (
        given.shape != (n_images,)
        or not (np.isfinite(given) & (given >= 0)).all()
        or not given.any()
    ):
        msg = (
            f"sample_weight needs a number of at least 0 for each of {n_images} rows, and one "
            f"that is not zero; got shape {given.shape}"
        )
        raise ProbeError(msg)
    return given


def _check_prior(
    prior: npt.NDArray[np.floating] | None, n_classes: int, dim: int
) -> Doubles | None:
    if prior is None:
        return None
    given = np.asarray(prior, dtype=np.float64)
    if given.shape != (n_classes, dim):
        msg = f"the prior needs the shape {(n_classes, dim)}: classes, dim; got {given.shape}"
        raise ProbeError(msg)
    return given


class PromptedProbe(AffineProbe):
    """Logistic regression whose penalty draws coefficients to the texts instead of to nothing.

    With few images a class the answers are nearly those of zero-shot, with many those of
    ``linear``. A class that has a text and no training image keeps the text as its coefficients:
    its logit is the zero-shot one, beside those of the trained classes. What training adds to
    these sums to zero over them at every vector, so it favours neither side as a whole. Without
    texts it is ``linear``.

    Parameters
    ----------
    C : float
        Inverse strength of the penalty, > 0: the larger, the less the texts count.
    texts : ndarray of float32, shape (n_texts, dim), unit rows, optional
        Class embeddings.
    text_classes : ndarray, shape (n_texts,), optional
        Class of each; those of ``y`` are among them.
    scale : float
        The encoder's factor from cosine similarity to logits.
    untrained_offset : float
        Added to the logits of classes without a training image.
    balance : str
        As for ``linear``.
    seed : int
        Of rows that ``balance`` makes up.

    References
    ----------
    Gao et al. 2023, *CLIP-Adapter*, and Silva-Rodríguez et al. 2024, *A Closer Look at the
    Few-Shot Adaptation of Large Vision-Language Models*: probes that start from text.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32)
    >>> names = np.array(["lion", "lynx", "puma"], dtype=object)
    >>> probe = PromptedProbe(texts=np.eye(3, dtype=np.float32), text_classes=names, scale=10.0)
    >>> puma = np.array([[0.0, 0.0, 1.0]], dtype=np.float32)
    >>> probe.fit(X, names[:2]).predict(puma).tolist()
    ['puma']
    """

    kind: ClassVar[str] = "prompt+probe"
    takes_columns: ClassVar[bool] = False
    takes_lazy_rows: ClassVar[bool] = True
    summary: ClassVar[str] = "logistic regression that starts from the texts"
    parameter: ClassVar[str] = "C"
    values: ClassVar[tuple[float, ...]] = space_values(1e-3, 1e3, 7)
    limits: ClassVar[Mapping[str, Limits]] = {
        "C": STRENGTH,
        "scale": Limits(-1e6, 1e6),
        "untrained_offset": Limits(),
        "seed": SEED,
    }
    space: ClassVar[tuple[Dimension, ...]] = (
        Dimension("balance", ("none", "class-weight", "logit-adjustment")),
    )
    needs_texts: ClassVar[bool] = True
    answers_untaught: ClassVar[bool] = True

    def __init__(
        self,
        C: float = 10.0,  # noqa: N803 - scikit-learn's name
        *,
        texts: Vectors | None = None,
        text_classes: npt.NDArray[Any] | None = None,
        scale: float = 1.0,
        untrained_offset: float = 0.0,
        balance: str = "none",
        seed: int = 0,
    ) -> None:
        self.C = C
        self.texts = texts
        self.text_classes = text_classes
        self.scale = scale
        self.untrained_offset = untrained_offset
        self.balance = balance
        self.seed = seed

    def _fit(self, X: AnyRows, y: npt.NDArray[Any]) -> None:  # noqa: N803
        trained = np.unique(y)
        prior = make_prior(trained, self.texts, self.text_classes, self.scale)
        inner = LinearProbe(self.C, balance=self.balance, seed=self.seed, prior=prior).fit(X, y)
        if prior is None:
            self.classes_, self.coef_, self.intercept_ = trained, inner.coef_, inner.intercept_
            return
        self.classes_, first = np.unique(np.asarray(self.text_classes), return_index=True)
        self.coef_ = (self.scale * np.asarray(self.texts)[first]).astype(np.float32)
        self.intercept_ = np.full(len(first), self.untrained_offset, dtype=np.float32)
        places = np.searchsorted(self.classes_, trained)
        self.coef_[places] = inner.coef_
        # The softmax of the trained classes leaves a constant free: zero-shot has none.
        self.intercept_[places] = inner.intercept_ - inner.intercept_.mean()

    @classmethod
    def sweep(
        cls,
        X: AnyRows,  # noqa: N803 - scikit-learn's name
        y: npt.NDArray[Any],
        values: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
        *,
        texts: Vectors | None = None,
        text_classes: npt.NDArray[Any] | None = None,
        scale: float = 1.0,
        balance: str = "none",
        seed: int = 0,
    ) -> Sweep:
        """Measure many values of C on all folds, among the classes that have images.

        Parameters
        ----------
        X : ndarray of float32, or LazyRows, shape (n_images, dim), unit rows
        y : ndarray, shape (n_images,)
        values : ndarray of float64, shape (n_values,)
            C, each above 0.
        folds : ndarray of int64, shape (n_images,)
            Fold in which each row is held out, -1 for one that always trains.
        texts, text_classes, scale, balance, seed
            As the arguments of the class.
        """
        prior = make_prior(np.unique(y), texts, text_classes, scale)
        return LinearProbe.sweep(X, y, values, folds, balance=balance, seed=seed, prior=prior)


def make_prior(
    classes: npt.NDArray[Any],
    texts: Vectors | None,
    text_classes: npt.NDArray[Any] | None,
    scale: float,
    kind: str = PromptedProbe.kind,
) -> Doubles | None:
    """Return the coefficients of zero-shot for classes that have images.

    Parameters
    ----------
    classes : ndarray, shape (n_classes,)
        Those that have images.
    texts, text_classes, scale
        As the arguments of :class:`PromptedProbe`.
    kind : str
        Probe that asks.

    Returns
    -------
    ndarray of float64, shape (n_classes, dim), or None
        The scaled texts in the order of the classes; None where there are no texts.

    Raises
    ------
    ProbeError
        If a class has none.
    """
    if texts is None and text_classes is None:
        return None
    if texts is None or text_classes is None or len(texts) != len(text_classes):
        msg = f"{kind} starts from texts: give one class embedding for each of text_classes"
        raise ProbeError(msg)
    place = {name: row for row, name in enumerate(np.asarray(text_classes).tolist())}
    missing = [str(name) for name in classes.tolist() if name not in place]
    if missing:
        msg = f"{len(missing)} classes have no text, such as {missing[0]}; give texts for all"
        raise ProbeError(msg)
    rows = [place[name] for name in classes.tolist()]
    return scale * np.asarray(texts, dtype=np.float64)[rows]
