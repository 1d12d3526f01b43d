"""What finetuning bought: an encoder as it was and as it is, on pictures that taught neither."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.intervals import Draws, Interval, Resamples, draw_scores, find_interval
from bioprobe.types import Mask, Places, Scores, Vectors

#: Which pictures are judged, and among which classes.
ALL, LEARNT, UNLEARNT = "all", "classes learnt", "classes not learnt"
#: Of the accuracies of the classes learnt and not learnt, each among their own.
HARMONIC = "harmonic mean of both"


@dataclasses.dataclass(frozen=True)
class Judged:
    """How often one way of answering is right.

    Parameters
    ----------
    pictures : str
        :data:`ALL`, :data:`LEARNT` or :data:`UNLEARNT`, among whose classes it answers, or
        :data:`HARMONIC`.
    method : str
    n_images, n_classes : int
        Pictures judged, and classes that could be answered.
    accuracy : Interval
        Share that is right; of :data:`HARMONIC` the harmonic mean of both.
    macro_recall : Interval
        Mean over the classes of the share of each that is right.
    gain : Interval or None
        Accuracy less that of the encoder as it was, paired by picture; None of that itself.
    """

    pictures: str
    method: str
    n_images: int
    n_classes: int
    accuracy: Interval
    macro_recall: Interval
    gain: Interval | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Answered:
    """How one way of answering scores the classes of each picture.

    Parameters
    ----------
    method : str
    scores : ndarray of float32, shape (n_images, n_classes)
        Higher is likelier; minus infinity of what it cannot answer.
    reads : bool
        Whether it can answer classes that were not learnt, by their texts.
    """

    method: str
    scores: Scores
    reads: bool = True

    @classmethod
    def by_vectors(cls, method: str, vectors: Vectors, classes: Vectors) -> Answered:
        """Return answers by which class is nearest."""
        return cls(method, np.asarray(vectors @ classes.T, dtype=np.float32))

    def is_right(self, truth: Places, among: Places) -> Mask:
        """Tell which pictures are right among some of the classes."""
        return np.asarray(among[self.scores[:, among].argmax(axis=1)] == truth)


def judge(
    answered: Sequence[Answered],
    truth: Places,
    learnt: Mask,
    groups: npt.NDArray[np.object_],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> list[Judged]:
    """Judge ways of answering on the same pictures.

    Parameters
    ----------
    answered : sequence of Answered
        The first is the encoder as it was.
    truth : ndarray of int64, shape (n_images,)
        Class of each picture.
    learnt : ndarray of bool, shape (n_classes,)
        Classes that were learnt. Fewer than two, or all but one, are not judged apart.
    groups : ndarray of object, shape (n_images,)
        Pictures that come together, which are drawn together; ``""`` is one on its own.
    n_resamples : int
        Of the intervals.
    seed : int
        Of the resamples.

    References
    ----------
    Zhou et al. 2022, *Conditional Prompt Learning for Vision-Language Models* (base to new: the
    classes learnt among themselves, those not learnt among themselves, and the harmonic mean).
    """
    kinds = {ALL: np.ones(len(learnt), dtype=bool)}
    if min((~learnt).sum(), learnt.sum()) > 1 and (~learnt[truth]).any():
        kinds |= {LEARNT: learnt, UNLEARNT: ~learnt}
    found = []
    shares: dict[str, dict[str, Draws]] = {}
    for pictures, among in kinds.items():
        kept = np.flatnonzero(among[truth])
        if not len(kept):
            continue
        resamples = Resamples.of_groups(groups[kept], n_resamples, seed)
        places = np.flatnonzero(among)
        drawn = {
            one.method: _draw(one.is_right(truth, places)[kept], truth[kept], resamples)
            for one in answered
            if one.reads or pictures != UNLEARNT
        }
        if not drawn:
            continue
        shares[pictures] = {method: one["accuracy"] for method, one in drawn.items()}
        found += _compare(pictures, drawn, len(kept), len(places))
    if LEARNT in shares and UNLEARNT in shares:
        joined = {
            method: {"accuracy": _join(shares[LEARNT][method], one)}
            for method, one in shares[UNLEARNT].items()
        }
        found += _compare(HARMONIC, joined, len(truth), len(learnt))
    return found


def _draw(right: Mask, truth: Places, resamples: Resamples) -> dict[str, Draws]:
    classes, places = np.unique(truth, return_inverse=True)
    member = np.zeros((len(truth), len(classes)), dtype=np.float32)
    member[np.arange(len(truth)), places] = 1
    is_right = right.astype(np.float32)

    def score(weights: Scores) -> dict[str, npt.NDArray[np.float64]]:
        sizes, hits = weights @ member, (weights * is_right) @ member
        with np.errstate(invalid="ignore"):
            recalls = np.where(sizes > 0, hits / np.maximum(sizes, 1e-12), np.nan)
        accuracy = (weights @ is_right) / weights.sum(axis=1)
        return {
            "accuracy": np.asarray(accuracy, dtype=np.float64),
            "macro_recall": np.nanmean(recalls, axis=1).astype(np.float64),
        }

    return draw_scores(score, resamples)


def _join(first: Draws, second: Draws) -> Draws:
    """Return the harmonic mean of two shares; their pictures are drawn apart from each other."""

    def mean(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 2 * a * b / np.maximum(a + b, 1e-12)

    ends = mean(np.array([first.estimate]), np.array([second.estimate]))
    return dataclasses.replace(
        first,
        estimate=float(ends[0]),
        resampled=mean(first.resampled, second.resampled),
        n_units=min(first.n_units, second.n_units),
    )


def _compare(
    pictures: str, drawn: Mapping[str, Mapping[str, Draws]], n_images: int, n_classes: int
) -> list[Judged]:
    found = []
    before = next(iter(drawn.values()))["accuracy"]
    for place, (method, draws) in enumerate(drawn.items()):
        gain = None
        if place:
            between = dataclasses.replace(
                draws["accuracy"],
                estimate=draws["accuracy"].estimate - before.estimate,
                resampled=draws["accuracy"].resampled - before.resampled,
            )
            gain = find_interval(between, low=-1.0, high=1.0)
        is_share = pictures != HARMONIC
        macro = draws.get("macro_recall")
        found.append(
            Judged(
                pictures, method, n_images, n_classes,
                find_interval(draws["accuracy"], is_share=is_share),
                find_interval(macro) if macro else Interval(np.nan, np.nan, np.nan),
                gain,
            )
        )  # fmt: skip
    return found
