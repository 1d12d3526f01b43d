"""How many images a class have to be labelled before a method is good enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.learning.fit import complete_settings, gather_prior
from bioprobe.store.view import View
from bioprobe.task.method import find_probe, is_estimator, make_probe
from bioprobe.task.target import label_rows
from bioprobe.task.task import Task
from bioprobe.types import Mask, Rows

Answer = Callable[[Rows], npt.NDArray[np.bool_]]

SHOTS = (1, 2, 5, 10, 20, 50, 100)
N_SEEDS = 5


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """How a method did with so many images a class.

    Parameters
    ----------
    method : str
        Name of the method.
    n_per_class : int
        Images drawn of each class; all of a class that has fewer.
    n_training : int
        Images learnt from in all.
    n_short : int
        Classes that have fewer.
    accuracies : tuple of float
        Fraction of the test images that are right, one a seed.
    """

    method: str
    n_per_class: int
    n_training: int
    n_short: int
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds (n - 1), not a number for one seed."""
        many = len(self.accuracies) > 1
        return float(np.std(self.accuracies, ddof=1)) if many else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, the mean and the deviation as a JSON-ready mapping."""
        deviation = self.deviation if len(self.accuracies) > 1 else None
        return {**dataclasses.asdict(self), "mean": self.mean, "deviation": deviation}


def measure_efficiency(
    classes: Rows,
    answers: Mapping[str, Answer],
    *,
    shots: Sequence[int] = SHOTS,
    n_seeds: int = N_SEEDS,
    seed: int = 0,
) -> Iterator[Efficiency]:
    """Measure methods that learn from few images of each class.

    Each seed draws its own images, the same for every method, and those of fewer images a class
    are among those of more.

    Parameters
    ----------
    classes : ndarray of int64, shape (n_images,)
        Class of each training image; -1 is never drawn.
    answers : mapping of str to callable
        From positions of the training images to learn from, ascending, to whether each test
        image is right.
    shots : sequence of int
        Images a class, ≥ 1. Those that no class has are passed over, except the first of them,
        at which all images are learnt from.
    n_seeds : int
        At least 1.
    seed : int
        The first of the seeds.

    Yields
    ------
    Efficiency
        Shot by shot, method by method.

    Raises
    ------
    SelectionError
        If a number of images or of seeds is below 1.

    References
    ----------
    Wang et al. 2019, *SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot
    Learning*; Stevens et al. 2024, *BioCLIP* (five seeds on Rare Species).
    """
    if n_seeds < 1 or any(n < 1 for n in shots):
        msg = f"draw 1 image a class or more, by 1 seed or more; got {list(shots)}, {n_seeds} seeds"
        raise SelectionError(msg)
    sizes = np.bincount(classes[classes >= 0])
    sizes = sizes[sizes > 0]
    for n_per_class in _limit(shots, int(sizes.max(initial=0))):
        drawn = [draw_images(classes, n_per_class, seed + n) for n in range(n_seeds)]
        n_short = int((sizes < n_per_class).sum())
        for method, answer in answers.items():
            accuracies = tuple(float(answer(rows).mean()) for rows in drawn)
            yield Efficiency(method, n_per_class, len(drawn[0]), n_short, accuracies)


def draw_images(classes: Rows, n_per_class: int, seed: int) -> Rows:
    """Draw images of each class, all of a class that has fewer.

    Returns
    -------
    ndarray of int64
        Positions in ``classes``, ascending.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    order = order[classes[order] >= 0]
    order = order[np.argsort(classes[order], kind="stable")]
    _, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(starts, counts)
    return np.sort(order[place < n_per_class])


def _limit(shots: Sequence[int], largest: int) -> list[int]:
    ascending = sorted(set(shots))
    enough = [n for n in ascending if n >= largest][:1]
    return [n for n in ascending if n < largest] + enough


@dataclasses.dataclass(frozen=True)
class EfficiencyPlan:
    """How many images a class are drawn, and how often.

    Parameters
    ----------
    shots : tuple of int
        Images a class.
    n_seeds : int
        Draws of each.
    """

    shots: tuple[int, ...] = SHOTS
    n_seeds: int = N_SEEDS


def measure_methods(
    task: Task,
    methods: Sequence[str],
    plan: EfficiencyPlan,
    *,
    report: Callable[[str], None],
) -> list[Efficiency]:
    """Measure how accuracy grows with the images a class that a method learns from.

    Probes learn with their usual settings: few images leave none to choose on. What learns
    nothing has no curve, and a stack needs many images.

    Parameters
    ----------
    task : Task
        One round: its part ``train`` is drawn from, its part ``test`` judges.
    methods : sequence of str
        Those to be measured.
    plan : EfficiencyPlan
        How many images a class, how often.
    report : callable
        Told of each point, in a line.
    """
    probes = [method for method in methods if is_estimator(method)]
    points = []
    learner = _Learner(task)
    answers: dict[str, Answer] = {method: partial(learner.answer, method) for method in probes}
    for point in measure_efficiency(
        learner.teaching.positions, answers, shots=plan.shots, n_seeds=plan.n_seeds, seed=task.seed
    ):
        report(
            f"{point.method}, {point.n_per_class} images a class: accuracy {point.mean:.3f} "
            f"± {point.deviation:.3f}"
        )
        points.append(point)
    return points


class _Learner:
    """What few-shot probes learn from and are judged on, read once."""

    def __init__(self, task: Task) -> None:
        self.task = task
        store = task.store
        others = task.texts.others if task.texts else None
        # Images are drawn by position: the order of rows in the store must say nothing.
        training = task.training[store.images.order(task.training)]
        rows = np.concatenate([training, task.judged.rows])
        labelled = label_rows(store.images, rows, task.target, others)
        # A class that only judged images have is none that a method may know.
        self.labelled = labelled.keep_classes(np.unique(labelled.classes.place(task.classes)))
        is_training = np.arange(len(rows)) < len(training)
        self.teaching, self.judging = (
            self.labelled.take(part) for part in (is_training, ~is_training)
        )
        self._read: dict[str, tuple[Any, Any]] = {}

    def answer(self, method: str, rows: Rows) -> Mask:
        """Tell which judged images a probe has right that learnt from some of the training rows."""
        found, task, teaching = find_probe(method), self.task, self.teaching
        settings = gather_prior(task, method, self.labelled.classes)
        settings = complete_settings(method, settings, task.seed)
        y = teaching.chain if found.takes_lineages else teaching.names
        vectors, judged = self._read_for(found.reads)
        probe = make_probe(method, settings).fit(vectors[rows], y[rows])
        return np.asarray(probe.predict(judged) == self.judging.names)

    def _read_for(self, kind: str) -> tuple[Any, Any]:
        """Return what a probe learns from and is judged on: vectors, or what is kept beside."""
        if kind not in self._read:
            view = View(self.task.store, self.teaching.rows).reading(kind)
            self._read[kind] = (
                view.read_vectors(self.teaching.rows), view.read_vectors(self.judging.rows)
            )  # fmt: skip
        return self._read[kind]
