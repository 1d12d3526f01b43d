"""An evaluated store whose pictures lie on disk."""

from __future__ import annotations

import base64
import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

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
from tests.conftest import PlainEncoder, draw_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILIES = {"Felidae": "Carnivora", "Canidae": "Carnivora", "Bovidae": "Artiodactyla"}
N_PER_FAMILY = 12


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """Return the folder of the store, and the centroid and nearest neighbours compared on it."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("evaluated")
    (folder / "pictures").mkdir()
    rows, vectors = [], []
    for place, (family, order) in enumerate(FAMILIES.items()):
        mean = random.normal(size=16)
        for number in range(N_PER_FAMILY):
            n = place * N_PER_FAMILY + number
            file = folder / "pictures" / f"{n:03d}.png"
            draw_picture(n, (20 + n, 30)).save(file)
            rows.append({"path": file.name, "root": str(file.parent), "sha256": hash_file(file),
                         "kingdom": "Animalia", "order": order, "family": family,
                         "width_px": 20 + n, "height_px": 30, "mode": "RGB",
                         "station": "ABCDEF"[n % 6],
                         "captured_at": f"{2021 + n // 3 % 4}-06-{1 + n // 3:02d} 0{n % 9}:10:00",
                         "part": "test" if number % 3 == 0 else "train"})  # fmt: skip
            vectors.append(mean + 0.3 * random.normal(size=16))
    rows[0] |= {"order": "Artiodactyla", "family": "Bovidae"}
    root = str(folder / "pictures")
    rows.append({"path": "gone.png", "root": root, "sha256": "gone", "part": "train"})
    vectors.append(random.normal(size=16))
    empty = EmbeddingStore.open_for(folder / "store", PlainEncoder())
    store = empty.append(pd.DataFrame(rows), np.array(vectors))
    write_split(store, make_split(store, Rank.FAMILY, method="imported", column="part"))
    compared = evaluate(
        Task.of(store, Rank.FAMILY, split=read_split(store)),
        ["centroid", "knn"],
        n_resamples=50,
        efficiency=EfficiencyPlan((1, 2), 2),
    )
    return store.folder, compared


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay out and write no plot: that is half of what a page takes of which plots are not read."""
    draw_none(monkeypatch)


def draw_none(patch: pytest.MonkeyPatch) -> None:
    """Let plots be made up, but neither laid out nor written: they are empty, and as large."""
    patch.setattr("bioprobe.report.plots._finish", _outline)


def _outline(figure: Figure) -> str:
    width, height = 72 * figure.get_size_inches()
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt"/>'
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode()


@pytest.fixture
def store(evaluated: tuple[Path, Evaluation], tmp_path: Path) -> EmbeddingStore:
    """Return 36 pictures of three families in a store with a split, and one of no family.

    Picture 0 bears the label Bovidae among the vectors of Felidae; picture 36 has no file. The
    store is the test's own, the pictures are those of all.
    """
    return EmbeddingStore.open(shutil.copytree(evaluated[0], tmp_path / "store"))


@pytest.fixture(scope="session")
def judged_orders(evaluated: tuple[Path, Evaluation]) -> Evaluation:
    """Return the same of two classes, Carnivora and the rarer Artiodactyla."""
    store = EmbeddingStore.open(evaluated[0])
    task = Task.of(store, Rank.ORDER, split=read_split(store))
    return evaluate(task, ["centroid", "knn"], n_resamples=20)


@pytest.fixture
def orders(judged_orders: Evaluation) -> Evaluation:
    """Return it with predictions that a test may change."""
    return dataclasses.replace(judged_orders, predictions=judged_orders.predictions.copy())


@pytest.fixture
def evaluation(evaluated: tuple[Path, Evaluation]) -> Evaluation:
    """Return the centroid and nearest neighbours, compared on the pictures of part test."""
    found = evaluated[1]
    return dataclasses.replace(found, predictions=found.predictions.copy())
