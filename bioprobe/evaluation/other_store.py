"""What another store of the same pictures buys: two evaluations, picture by picture."""

from __future__ import annotations

import dataclasses

import numpy as np

from bioprobe.errors import SelectionError
from bioprobe.evaluation.paired import find_accuracy_p_value
from bioprobe.evaluation.result import Evaluation
from bioprobe.intervals import Draws, Resamples, find_interval
from bioprobe.store import EmbeddingStore
from bioprobe.types import Names


@dataclasses.dataclass(frozen=True)
class Gain:
    """How much more often a method is right here than in another store.

    Parameters
    ----------
    method : str
    n_images : int
        Pictures that both judged.
    accuracy, other_accuracy : float
        Of the same pictures, here and there.
    difference, low, high : float
        Of both, with its paired interval of 95%.
    p_value : float
        McNemar's; of the bootstrap where pictures come in groups.
    """

    method: str
    n_images: int
    accuracy: float
    other_accuracy: float
    difference: float
    low: float
    high: float
    p_value: float

    def __str__(self) -> str:
        return (
            f"{self.method}: {self.accuracy:.3f} here, {self.other_accuracy:.3f} there on the same "
            f"{self.n_images:,} images: {self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"
            f", p {self.p_value:.3g}"
        )


def compare_with(
    found: Evaluation,
    store: EmbeddingStore,
    other: Evaluation,
    other_store: EmbeddingStore,
    *,
    groups: Names,
    n_resamples: int = 1000,
    seed: int = 0,
) -> list[Gain]:
    """Compare the methods that two evaluations share on the pictures that both judged.

    Parameters
    ----------
    found, other : Evaluation
        At the same level.
    store, other_store : EmbeddingStore
        That hold their pictures, which are the same by their bytes and their regions.
    groups : ndarray of object, shape (n_rows,)
        Of each row of ``store`` what it is drawn together with; ``""`` of one on its own.
    n_resamples : int
        Of the interval.
    seed : int
        Of the resamples.

    Returns
    -------
    list of Gain
        In the order of the methods of ``found``.

    Raises
    ------
    SelectionError
        If both are of another level, or share no method or no picture.
    """
    if found.level != other.level:
        msg = (
            f"the evaluation in {other_store.folder} is at {other.level}, this one at "
            f"{found.level}; evaluate both at one level"
        )
        raise SelectionError(msg)
    gains = []
    for result in found.results:
        mine = _list_right(found, result.method, store)
        theirs = _list_right(other, result.method, other_store)
        shared = sorted(mine.keys() & theirs.keys())
        if not shared:
            continue
        rows, first = (np.array(values) for values in zip(*map(mine.get, shared), strict=True))
        second = np.array([theirs[one][1] for one in shared])
        differences = first.astype(np.float64) - second
        resamples = Resamples.of_groups(groups[rows], n_resamples, seed)
        drawn = np.concatenate(
            [weights @ differences / weights.sum(axis=1) for weights in resamples.iter_weights()]
        )
        between = Draws(
            float(differences.mean()), drawn, resamples.n_clusters, resamples.is_clustered
        )
        interval = find_interval(between, low=-1.0, high=1.0)
        gains.append(
            Gain(
                result.method,
                len(shared),
                float(first.mean()),
                float(second.mean()),
                between.estimate,
                interval.low,
                interval.high,
                find_accuracy_p_value(between, first, second),
            )
        )
    if not gains:
        msg = (
            f"the evaluation {other.name!r} in {other_store.folder} shares no method and judged "
            "picture with this one; evaluate both stores with the same --methods and --split"
        )
        raise SelectionError(msg)
    return gains


def _list_right(
    found: Evaluation, method: str, store: EmbeddingStore
) -> dict[str, tuple[int, bool]]:
    """Return row of each picture, and if it is right, by content; what has none is left out."""
    judged = found.predictions[found.predictions["method"] == method]
    rows = judged["row"].to_numpy(dtype=np.int64)
    values = zip(store.images.contents[rows], rows, judged["right"], strict=True)
    return {str(one): (int(row), bool(right)) for one, row, right in values if one}
