from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.errors import SelectionError
from bioprobe.evaluation.other_store import Gain, compare_with
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder

N = 90


@pytest.fixture
def stores(make_store: Callable[..., EmbeddingStore]) -> tuple[Path, Path]:
    """Make two stores of the same pictures, in another order, of which the second tells less."""
    rng = np.random.default_rng(0)
    families = np.array(["Felidae", "Canidae", "Ursidae"])[np.arange(N) % 3]
    frame = pd.DataFrame(
        {
            "root": "/photos", "path": [f"{i}.jpg" for i in range(N)], "family": families,
            "kingdom": "Animalia", "sha256": [f"{i:064x}" for i in range(N)],
        }
    )  # fmt: skip
    centres = np.eye(16)[np.arange(N) % 3]
    noise = rng.normal(size=(N, 16))
    folders = []
    for name, spread, order in (("sharp", 0.2, slice(None)), ("dull", 0.9, slice(None, None, -1))):
        made = make_store(PlainEncoder(dim=16), name)
        made.append(frame[order].reset_index(drop=True), (centres + spread * noise)[order])
        bp.open(made.folder).split(level="family", seed=0)
        folders.append(made.folder)
    return folders[0], folders[1]


def test_what_a_store_buys_is_said_with_its_interval(stores: tuple[Path, Path]) -> None:
    sharp, dull = map(bp.open, stores)
    asked = {"level": "family", "methods": "knn,centroid", "n_resamples": 200}
    there = dull.evaluate(**asked)  # type: ignore[arg-type]
    here = sharp.evaluate(**asked, beside=stores[1])  # type: ignore[arg-type]
    gains = here.provenance["options"]["beside"]["gains"]
    assert [one["method"] for one in gains] == ["knn", "centroid"]
    right = {}
    for name, found, store in (("here", here, sharp), ("there", there, dull)):
        rows = found.predictions[found.predictions["method"] == "knn"]
        paths = store.images["path"].to_numpy()[rows["row"]]
        right[name] = dict(zip(paths, rows["right"], strict=True))
    shared = sorted(right["here"].keys() & right["there"].keys())
    assert len(shared) == gains[0]["n_images"] == len(right["here"])
    mine, theirs = (np.array([right[one][path] for path in shared]) for one in ("here", "there"))
    assert gains[0]["difference"] == pytest.approx(mine.mean() - theirs.mean())
    assert gains[0]["difference"] > 0
    assert -1 <= gains[0]["low"] < gains[0]["difference"] < gains[0]["high"] <= 1
    assert any("knn:" in str(note) and "there on the same" in str(note) for note in here.notes)
    # Pictures that come together tell less, and no interval is of pictures alone.
    opened = [EmbeddingStore.open(folder) for folder in stores]
    together = np.repeat([f"g{one}" for one in range(9)], 10).astype(object)
    alone, joined = (
        compare_with(here, opened[0], there, opened[1], groups=groups, n_resamples=200)[0]
        for groups in (np.full(N, "", dtype=object), together)
    )
    assert alone == Gain(**gains[0])
    assert joined.difference == alone.difference
    assert joined.high - joined.low > alone.high - alone.low
    assert joined.p_value != alone.p_value


def test_the_other_store_must_have_judged_the_same(stores: tuple[Path, Path]) -> None:
    sharp, dull = map(bp.open, stores)
    asked = {"level": "family", "methods": "knn", "n_resamples": 10}
    with pytest.raises(bp.StoreError, match="no evaluation 'family'"):
        sharp.evaluate(**asked, beside=stores[1])  # type: ignore[arg-type]
    dull.evaluate(level="family", methods="centroid", n_resamples=10)
    with pytest.raises(SelectionError, match="shares no method"):
        sharp.evaluate(**asked, beside=stores[1])  # type: ignore[arg-type]
