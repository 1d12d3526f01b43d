"""A store of drawn vectors with labels, of which it is known who is near whom."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from bioprobe.splits import Split
from bioprobe.store import EmbeddingStore

FAMILIES = {
    "Felidae": "Carnivora",
    "Canidae": "Carnivora",
    "Bovidae": "Artiodactyla",
    "Cervidae": "Artiodactyla",
    "Muridae": "Rodentia",
}
N_PER_FAMILY = 16


@pytest.fixture
def families(
    make_encoder: Callable[..., object], make_store: Callable[..., EmbeddingStore]
) -> EmbeddingStore:
    """Return 80 images of five families; those of one order lie nearer to each other.

    Images stand in the order of the families; every fourth one of each has ``part`` test, the one
    after it validation. The last two of all have no family.
    """
    random = np.random.default_rng(0)
    orders = {order: random.normal(size=16) for order in sorted(set(FAMILIES.values()))}
    vectors, rows = [], []
    for family, order in FAMILIES.items():
        mean = orders[order] + 0.8 * random.normal(size=16)
        for number in range(N_PER_FAMILY):
            vectors.append(mean + 0.7 * random.normal(size=16))
            rows.append(
                {
                    "path": f"{family}/{number:02d}.jpg",
                    "sha256": f"{family}{number}",
                    "kingdom": "Animalia",
                    "order": order,
                    "family": family,
                    "part": {0: "test", 1: "validation"}.get(number % 4, "train"),
                }
            )
    frame = pd.DataFrame(rows)
    frame.loc[frame.index[-2:], "family"] = ""
    return make_store(make_encoder()).append(frame, np.array(vectors))


@pytest.fixture
def make_parts() -> Callable[..., Split]:
    """Make a split that is not kept from parts, folds and groups."""

    def make(
        parts: npt.ArrayLike,
        folds: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> Split:
        asked = np.asarray(parts, dtype=object)
        n = len(asked)
        return Split(
            "made",
            asked,
            np.full(n, -1) if folds is None else np.asarray(folds, dtype=np.int64),
            np.full(n, "", dtype=object) if groups is None else np.asarray(groups, dtype=object),
            {"hash": "abc", "method": "imported"},
        )

    return make


@pytest.fixture
def split(families: EmbeddingStore, make_parts: Callable[..., Split]) -> Split:
    """Return the split that the column ``part`` of the images says, with two folds of train."""
    parts = families.images.frame["part"].to_numpy(dtype=object)
    folds = np.where(parts == "train", np.arange(len(parts)) % 2, -1)
    return make_parts(parts, folds)
