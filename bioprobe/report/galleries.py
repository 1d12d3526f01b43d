"""Pictures of a report: right, wrong, and those that the method was least sure of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.evaluation.result import Evaluation
from bioprobe.index import NeighborIndex
from bioprobe.page.thumbnail import make_thumbnail
from bioprobe.report.data import find_training
from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore

if TYPE_CHECKING:
    import pandas as pd

Rows = npt.NDArray[np.int64]
ShowPicture = Callable[[int, str, tuple[str, ...]], dict[str, Any]]

_N_PICTURES, _N_NEIGHBORS = 12, 3
_SIZE_PX = 180


def make_shower(store: EmbeddingStore) -> ShowPicture:
    """Return a function that turns a row into a picture for the page; each is read once."""
    known: dict[int, str] = {}
    paths = store.images.frame["path"].to_numpy()

    def show(row: int, caption: str, lines: tuple[str, ...]) -> dict[str, Any]:
        if row not in known:
            known[row] = make_thumbnail(store.images.locate(row), _SIZE_PX)
        return {
            "thumbnail": known[row],
            "place": str(paths[row]),
            "caption": caption,
            "lines": lines,
        }

    return show


def choose_pictures(
    store: EmbeddingStore, evaluation: Evaluation, split: Split | None, show: ShowPicture
) -> list[dict[str, Any]]:
    """Return the galleries: surely right, surely wrong, least certain.

    Of surely right pictures at most one a class is shown, so that the page does not show one
    easy class alone. Below each picture stand its nearest training pictures, where the split is
    still there.
    """
    answers = evaluation.predictions
    answers = answers[answers["method"] == evaluation.best.method]
    answers = answers.sort_values("probability", ascending=False, kind="stable")
    right = answers["right"].to_numpy(dtype=bool)
    chosen = (
        (
            "Right and sure",
            "The surest right answer of each class.",
            answers[right].drop_duplicates("truth_class").head(_N_PICTURES),
        ),
        (
            "Wrong and sure",
            "The surest wrong answers: a look-alike, a wrong label, or a picture of something "
            "else.",
            answers[~right].head(_N_PICTURES),
        ),
        (
            "Least certain",
            "Right or wrong, the answers of the lowest probability.",
            answers.iloc[::-1].head(_N_PICTURES),
        ),
    )
    training = find_training(store, evaluation, split)
    folds = split.folds if split else np.zeros(0, dtype=np.int64)
    neighbors = _Neighbors(store, evaluation, training, folds, show)
    return [
        {"heading": heading, "note": note, "pictures": _show_all(frame, show, neighbors)}
        for heading, note, frame in chosen
        if len(frame)
    ]


class _Neighbors:
    """Nearest training pictures of a picture."""

    def __init__(
        self,
        store: EmbeddingStore,
        evaluation: Evaluation,
        training: Rows,
        folds: Rows,
        show: ShowPicture,
    ) -> None:
        self._store, self._training, self._show = store, training, show
        # Evidence: an approximate index that the store may keep would miss some.
        self._index = NeighborIndex.open(store, exact=True)
        self._labels = store.images.labels(evaluation.rank)
        self._folds = folds

    def find(self, row: int) -> list[dict[str, Any]]:
        # Where each fold was answered by the others, its own taught nothing of a picture.
        fold = self._folds[row] if len(self._folds) else -1
        seen = self._training != row
        if fold >= 0:
            seen &= self._folds[self._training] != fold
        others = self._training[seen]
        if not len(others):
            return []
        query = self._store.read_vectors(np.array([row]))
        near, similarities = self._index.search(query, _N_NEIGHBORS, rows=others)
        return [
            self._show(one, f"{self._labels[one]}, similarity {similarity:.2f}", ())
            for one, similarity in zip(near[0].tolist(), similarities[0].tolist(), strict=True)
        ]


def _show_all(
    answers: pd.DataFrame, show: ShowPicture, neighbors: _Neighbors
) -> list[dict[str, Any]]:
    shown = []
    for one in answers.to_dict("records"):
        truth = one["truth"] or "(a class without training pictures)"
        lines = [] if one["right"] else [f"answer: {one['predicted']}"]
        lines.append(f"probability {one['probability']:.2f}")
        row = int(one["row"])
        picture = show(row, str(truth), tuple(lines))
        tone = "right" if one["right"] else "wrong"
        shown.append({**picture, "tone": tone, "neighbors": neighbors.find(row)})
    return shown


def count_unread(groups: list[dict[str, Any]]) -> int:
    """Count the pictures of galleries whose files could not be read."""
    empty = [not picture["thumbnail"] for group in groups for picture in group["pictures"]]
    return int(np.sum(empty))
