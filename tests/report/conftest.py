"""An evaluated store whose pictures lie on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioprobe.evaluation.curves import EfficiencyPlan
from bioprobe.evaluation.evaluate import evaluate
from bioprobe.evaluation.result import Evaluation
from bioprobe.files import hash_file
from bioprobe.splits import make_split, read_split, write_split
from bioprobe.store import EmbeddingStore
from bioprobe.task.task import Task
from bioprobe.taxonomy import Rank

FAMILIES = {"Felidae": "Carnivora", "Canidae": "Carnivora", "Bovidae": "Artiodactyla"}
N_PER_FAMILY = 12


@pytest.fixture
def store(
    make_encoder: Callable[..., object],
    make_store: Callable[..., EmbeddingStore],
    write_pictures: Callable[..., Path],
) -> EmbeddingStore:
    """Return 36 pictures of three families in a store with a split, and one of no family.

    Picture 0 bears the label Bovidae among the vectors of Felidae; picture 36 has no file.
    """
    random = np.random.default_rng(0)
    folder = write_pictures(N_PER_FAMILY * len(FAMILIES))
    rows, vectors = [], []
    for place, (family, order) in enumerate(FAMILIES.items()):
        mean = random.normal(size=16)
        for number in range(N_PER_FAMILY):
            n = place * N_PER_FAMILY + number
            name = f"{n:03d}.png"
            rows.append({"path": name, "root": str(folder), "sha256": hash_file(folder / name),
                         "kingdom": "Animalia", "order": order, "family": family,
                         "width_px": 20 + n, "height_px": 30, "mode": "RGB",
                         "station": "ABCDEF"[n % 6],
                         "captured_at": f"{2021 + n // 3 % 4}-06-{1 + n // 3:02d} 0{n % 9}:10:00",
                         "part": "test" if number % 3 == 0 else "train"})  # fmt: skip
            vectors.append(mean + 0.3 * random.normal(size=16))
    rows[0] |= {"order": "Artiodactyla", "family": "Bovidae"}
    rows.append({"path": "gone.png", "root": str(folder), "sha256": "gone", "part": "train"})
    vectors.append(random.normal(size=16))
    found = make_store(make_encoder()).append(pd.DataFrame(rows), np.array(vectors))
    write_split(found, make_split(found, Rank.FAMILY, method="imported", column="part"))
    return found


@pytest.fixture
def evaluation(store: EmbeddingStore) -> Evaluation:
    """Return the centroid and nearest neighbours, compared on the pictures of part test."""
    return evaluate(
        Task.of(store, Rank.FAMILY, split=read_split(store)),
        ["centroid", "knn"],
        n_resamples=50,
        efficiency=EfficiencyPlan((1, 2), 2),
    )
