"""What a prior, columns beside the vectors, or image prototypes did to the answers of a method."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bioprobe.evaluation.paired import find_accuracy_p_value, find_p_value, subtract
from bioprobe.intervals import Draws, Interval, Resamples, draw_scores, find_interval
from bioprobe.settings import check_types
from bioprobe.types import Doubles, Mask, Places, Scores

#: What is done, by the option that does it.
COLUMNS, PRIOR, PROTOTYPES = "columns", "prior", "prototypes"
#: The same, for people.
DONE = {COLUMNS: "the columns", PRIOR: "the prior", PROTOTYPES: "the image prototypes"}
#: Figures of all images, and those of the classes that few images teach or that a prior makes
#: unlikely.
OF_ALL, RARE, UNLIKELY = (
    ("accuracy", "macro_f1", "balanced_accuracy"),
    "rare_recall",
    "unlikely_recall",
)
# Of the classes that are judged.
_SHARE = 0.25
_NAMES = {
    "accuracy": "accuracy", "macro_f1": "macro-F1", "balanced_accuracy": "balanced accuracy",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Effect:
    """One figure without and with what was done, on the same images.

    Parameters
    ----------
    of : {"columns", "prior", "prototypes"}
        What was done.
    metric : str
        One of :data:`OF_ALL`, or the mean recall over classes: ``rare_recall`` of those with the
        fewest training images, ``unlikely_recall`` of those with the lowest weights.
    before, after : Interval
        Without and with it.
    difference : Interval
        After less before, by the same resamples.
    p_value : float
        That there is none; McNemar's for the accuracy of images on their own, else by resamples.
    n_classes, n_images : int
        That the figure is of.
    """

    of: str
    metric: str
    before: Interval
    after: Interval
    difference: Interval
    p_value: float
    n_classes: int = 0
    n_images: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Effect:
        """Build one from what :meth:`to_dict` returned; null is not a number.

        Raises
        ------
        ValueError
            If a field is of another type.
        """
        ends = {
            name: check_types(Interval(**{k: _restore(v) for k, v in fields[name].items()}))
            for name in ("before", "after", "difference")
        }
        p_value = _restore(fields["p_value"])
        return check_types(cls(**{**fields, **ends, "p_value": p_value}))

    def __str__(self) -> str:
        text = f"{self.name} {self.before.estimate:.3f} -> {self.after}"
        ends = f"[{self.difference.low:+.3f}, {self.difference.high:+.3f}]"
        return f"{text}, {self.difference.estimate:+.3f} {ends}"

    @property
    def name(self) -> str:
        """The figure, for people."""
        if self.metric in _NAMES:
            return _NAMES[self.metric]
        kind = "rarest" if self.metric == RARE else "least likely"
        return f"recall of the {self.n_classes:,} {kind} classes ({self.n_images:,} images)"


def measure_effects(
    of: str,
    draws: tuple[Mapping[str, Draws], Mapping[str, Draws]],
    right: tuple[Mask, Mask],
    truth: Places,
    resamples: Resamples,
    groups: Mapping[str, Places],
) -> list[Effect]:
    """Measure what was done to the answers of a method.

    Parameters
    ----------
    of : {"columns", "prior", "prototypes"}
    draws : tuple of two mappings of str to Draws
        Figures without and with it, by the same resamples.
    right : tuple of two ndarray of bool, each of shape (n_images,)
        Which images are right.
    truth : ndarray of int64, shape (n_images,)
        Class of each image.
    resamples : Resamples
        Of the images.
    groups : mapping of str to ndarray of int64
        Classes whose mean recall is a figure, by its name.
    """
    found = []
    for metric in OF_ALL:
        one, other = (each[metric] for each in draws)
        each = right if metric == "accuracy" else None
        found.append(_compare(of, metric, one, other, each, len(np.unique(truth)), len(truth)))
    for metric, classes in groups.items():
        inside = np.isin(truth, classes)
        if not inside.any():
            continue
        one, other = (draw_recall(each, truth, classes, resamples) for each in right)
        n_classes = len(np.unique(truth[inside]))
        found.append(_compare(of, metric, one, other, None, n_classes, int(inside.sum())))
    return found


def _compare(
    of: str, metric: str, one: Draws, other: Draws, right: tuple[Mask, Mask] | None,
    n_classes: int, n_images: int,
) -> Effect:  # fmt: skip
    between = subtract(other, one)
    is_share = metric == "accuracy"
    p_value = find_accuracy_p_value(between, *right) if right else find_p_value(between)
    return Effect(
        of, metric, find_interval(one, is_share=is_share), find_interval(other, is_share=is_share),
        find_interval(between, low=-1.0, high=1.0),
        p_value, n_classes, n_images,
    )  # fmt: skip


def draw_recall(right: Mask, truth: Places, classes: Places, resamples: Resamples) -> Draws:
    """Return the mean recall over classes that are drawn, on all images and on each resample."""
    inside = np.flatnonzero(np.isin(truth, classes))
    _, places = np.unique(truth[inside], return_inverse=True)
    member = np.zeros((len(inside), int(places.max()) + 1), dtype=np.float32)
    member[np.arange(len(inside)), places] = 1
    hits = member * right[inside, np.newaxis]

    def score(weights: Scores) -> dict[str, Doubles]:
        drawn = weights[:, inside].astype(np.float64)
        n, n_right = drawn @ member, drawn @ hits
        recalls = np.divide(n_right, n, out=np.zeros_like(n), where=n > 0)
        n_drawn = (n > 0).sum(axis=1)
        mean = recalls.sum(axis=1) / np.maximum(n_drawn, 1)
        return {"recall": np.where(n_drawn > 0, mean, math.nan)}

    units = {"recall": np.isin(truth, classes)}
    return draw_scores(score, resamples, units)["recall"]


def find_lowest(values: Doubles, classes: Places) -> Places:
    """Return the quarter of classes with the lowest values, one at least, or none.

    Those that are equal come together where they are no more than half of the classes; where
    nearly all are equal none is rarer than the others.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Of each class; one that is not a number plays no part.
    classes : ndarray of int64, shape (n,)

    Examples
    --------
    >>> find_lowest(np.array([5.0, 1.0, 9.0, 9.0]), np.arange(4)).tolist()
    [1]
    >>> find_lowest(np.array([3.0, 3.0, 3.0, 9.0]), np.arange(4)).tolist()
    []
    """
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2:
        return classes[:0]
    ordered = np.sort(values[known])
    limit = ordered[max(1, math.ceil(_SHARE * len(known))) - 1]
    kept = known[values[known] <= limit]
    if len(kept) > len(known) / 2:
        kept = known[values[known] < limit]
    return np.asarray(classes[kept], dtype=np.int64)


def describe_effects(method: str, effects: Sequence[Effect]) -> list[str]:
    """Say in a line for each thing that was done what it did to a method."""
    said = []
    for of in dict.fromkeys(one.of for one in effects):
        own = [one for one in effects if one.of == of]
        first = own[0]
        low, high = first.difference.low, first.difference.high
        told = "helped" if low > 0 else "hurt" if high < 0 else "cannot be told from no effect"
        said.append(f"{method} with {DONE[of]}: {'; '.join(map(str, own))}: by accuracy {told}")
    return said


def _restore(value: float | None) -> float:
    return math.nan if value is None else value
