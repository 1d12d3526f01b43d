"""Answers at the deepest rank that is sure enough, with the reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.images.image_table import ImageTable
from bioprobe.provenance import Provenance
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy

if TYPE_CHECKING:
    import pandas as pd

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

# Bounds the memory of the scores: 16 million of them are 64 MB.
_SCORES_AT_ONCE = 16_000_000


@dataclasses.dataclass(frozen=True)
class BackedOff:
    """One answer an image, at the deepest rank whose summed probability passes a threshold.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store that were asked about.
    levels : tuple of Taxonomy
        Classes at each rank, from kingdom down to the deepest rank that was asked for.
    best : ndarray of int64, shape (n_images, n_ranks)
        Class at each rank: down to the answer those of its path, below it the most probable;
        -1 where there is none.
    scores : ndarray of float32, shape (n_images, n_ranks)
        Summed probability of these classes; not a number where there is none.
    depths : ndarray of int64, shape (n_images,)
        Rank of the answer, 0 for kingdom; -1 where no rank passes.
    threshold : float
        In (0, 1].
    provenance : Provenance
        What the result was computed from.
    """

    images: ImageTable
    rows: Rows
    levels: tuple[Taxonomy, ...]
    best: Rows
    scores: npt.NDArray[np.float32]
    depths: Rows
    threshold: float
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.rows)

    def answer(self, image: int) -> Taxon | None:
        """Return the answer for one of the images, or None."""
        depth = int(self.depths[image])
        return self.levels[depth].taxa[self.best[image, depth]] if depth >= 0 else None

    def reason(self, image: int) -> str:
        """Say which rank passed the threshold and which failed below it."""
        depth, limit = int(self.depths[image]), f"{self.threshold:g}"
        said = []
        if depth >= 0:
            said.append(f"{self._describe(image, depth)} >= {limit}")
        below = (d for d in range(depth + 1, len(self.levels)) if self.best[image, d] >= 0)
        failed = next(below, None)
        if failed is not None:
            said.append(f"{self._describe(image, failed)} < {limit}")
        return "; ".join(said)

    def _describe(self, image: int, depth: int) -> str:
        taxon = self.levels[depth].taxa[self.best[image, depth]]
        return f"{RANKS[depth].value} {taxon.name} {self.scores[image, depth]:.3f}"

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """Whether the answer is the label or an ancestor of it, shape (n_images,).

        References
        ----------
        Valmadre 2022, *Hierarchical classification at multiple operating points*.
        """
        labels = [self.images.labels(rank)[self.rows] for rank in RANKS]
        answers = (self.answer(image) for image in range(len(self)))
        right = [
            taxon is not None and labels[taxon.depth][image] == taxon.name
            for image, taxon in enumerate(answers)
        ]
        return np.array(right, dtype=bool)

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image, in pybioclip's columns first.

        After ``file_name``, the path, ``common_name`` and ``score`` come ``answer`` (always 1),
        ``row``, ``rank`` of the answer, the score at each rank, and ``reason``.
        """
        import pandas as pd

        answers = [self.answer(image) for image in range(len(self))]
        columns: dict[str, object] = {
            "file_name": self.images.frame["path"].to_numpy()[self.rows],
        }
        for rank in RANKS[: len(self.levels)]:
            if rank is Rank.SPECIES:
                columns["species_epithet"] = [t.epithet if t else "" for t in answers]
            columns[rank.value] = [t.lineage[rank.depth] if t else "" for t in answers]
        columns["common_name"] = [t.common_name if t else "" for t in answers]
        columns["score"] = [
            float(self.scores[image, depth]) if depth >= 0 else np.nan
            for image, depth in enumerate(self.depths)
        ]
        columns |= {"answer": 1, "row": self.rows}
        columns["rank"] = [t.rank.value if t else "" for t in answers]
        for rank, scores in zip(RANKS, self.scores.T, strict=False):
            columns[f"score_{rank.value}"] = scores.astype(np.float64)
        columns["reason"] = [self.reason(image) for image in range(len(self))]
        return pd.DataFrame(columns)


def back_off_rows(
    probabilities: Vectors, positions: Sequence[Rows], threshold: float
) -> tuple[Rows, npt.NDArray[np.float32], Rows]:
    """Find the deepest rank of each row whose summed probability passes a threshold.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (n_images, n_leaves)
        Of the lowest taxa.
    positions : sequence of ndarray of int64, each of shape (n_leaves,)
        Class of each leaf at each rank, from kingdom down; -1 where it has none.
    threshold : float
        In (0, 1].

    Returns
    -------
    best, scores, depths : ndarray
        As :class:`BackedOff` has them.
    """
    n_images = len(probabilities)
    images = np.arange(n_images)
    best = np.full((n_images, len(positions)), -1, dtype=np.int64)
    scores = np.full(best.shape, np.nan, dtype=np.float32)
    depths = np.full(n_images, -1, dtype=np.int64)
    sums = [_sum_groups(probabilities, of_leaf) for of_leaf in positions]
    for depth, total in enumerate(sums):
        if total.shape[1]:
            best[:, depth] = total.argmax(axis=1)
            scores[:, depth] = total[images, best[:, depth]]
            # Float32 sums of a certain answer may end just below 1.
            depths[scores[:, depth] >= threshold - 1e-6] = depth
    # The best class of an upper rank need not lie above the answer where a threshold is low.
    for depth, of_leaf in enumerate(positions):
        answered = np.flatnonzero(depths == depth)
        if not answered.size:
            continue
        leaf = np.unique(of_leaf, return_index=True)
        first = dict(zip(leaf[0].tolist(), leaf[1].tolist(), strict=True))
        leaves = np.array([first[place] for place in best[answered, depth].tolist()])
        for upper in range(depth):
            path = positions[upper][leaves]
            best[answered, upper] = path
            named = path >= 0
            scores[answered, upper] = np.nan
            scores[answered[named], upper] = sums[upper][answered[named], path[named]]
    return best, scores, depths


def _sum_groups(probabilities: Vectors, of_leaf: Rows) -> Vectors:
    """Return the sum of each group's columns; leaves without a group (-1) are in none."""
    order = np.argsort(of_leaf, kind="stable")
    order = order[of_leaf[order] >= 0]
    if not order.size:
        return np.zeros((len(probabilities), 0), dtype=np.float32)
    starts = np.unique(of_leaf[order], return_index=True)[1]
    return np.asarray(np.add.reduceat(probabilities[:, order], starts, axis=1))
