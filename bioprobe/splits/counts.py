"""How many images of each class are in each part."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.splits.split import PARTS, Split, list_splits, read_split
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import Rank

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class PartCounts:
    """Images by class and part.

    Parameters
    ----------
    rank : Rank
        Of the classes.
    names : tuple of str
        Classes, sorted.
    counts : ndarray of int64, shape (n_classes, 3)
        Images in train, validation and test.
    """

    rank: Rank
    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    @property
    def totals(self) -> dict[str, int]:
        """Images of each part."""
        return dict(zip(PARTS, self.counts.sum(axis=0).tolist(), strict=True))

    def to_frame(self) -> pd.DataFrame:
        """Return one row a class: its name, the parts, and ``n_images``."""
        import pandas as pd

        frame = pd.DataFrame({self.rank.value: list(self.names)})
        for part, counts in zip(PARTS, self.counts.T, strict=True):
            frame[part] = counts
        return frame.assign(n_images=self.counts.sum(axis=1))


def count_parts(store: EmbeddingStore, split: Split, rank: Rank | None = None) -> PartCounts:
    """Count the images of each class in each part, at the rank of the split or another."""
    level = rank or Rank.parse(str(split.provenance["rank"]))
    labels = store.images.labels(level)
    inside = (split.parts != "") & (labels != "")
    names, classes = np.unique(labels[inside].astype(str), return_inverse=True)
    counts = [np.bincount(classes[split.parts[inside] == p], minlength=len(names)) for p in PARTS]
    return PartCounts(level, tuple(names.tolist()), np.stack(counts, axis=1).astype(np.int64))


def describe_splits(store: EmbeddingStore) -> pd.DataFrame:
    """Return one row for each split that a store keeps."""
    import pandas as pd

    splits = [read_split(store, name) for name in list_splits(store)]
    columns = ["split", "method", "rank", "seed", *PARTS, "folds", "later", "hash"]
    rows = [
        (split.name, *(split.provenance[key] for key in ("method", "rank", "seed")),
         *(len(split.rows(part)) for part in PARTS), split.n_folds, split.n_later, split.hash)
        for split in splits
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)
