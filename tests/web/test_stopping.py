"""Long work stops when it is asked to, and keeps nothing of what it had not ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

import bioprobe as bp
from bioprobe.progress import Step
from bioprobe.store import EmbeddingStore
from tests.conftest import PlainEncoder
from tests.web.conftest import serving


@pytest.fixture
def many(make_store: Callable[..., EmbeddingStore]) -> Path:
    """Return a store of 4,000 images of no groups in particular."""
    vectors = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    frame = pd.DataFrame({"path": [f"{at}.jpg" for at in range(4000)],
                          "family": ["Felidae", "Canidae"] * 2000})  # fmt: skip
    return make_store(PlainEncoder(dim=16)).append(frame, vectors).folder


@pytest.mark.parametrize(
    ("kind", "body", "what"),
    [
        ("cluster", {"method": "ward", "name": "kind"}, "groups compared"),
        ("cluster", {"method": "kmeans", "n_clusters": 3, "draws": 100, "name": "kind"}, "draws"),
        ("map", {"name": "plan"}, "steps of the map"),
    ],
)
def test_a_server_stops_what_runs(many: Path, kind: str, body: dict[str, Any], what: str) -> None:
    with serving(many) as address, httpx.Client(base_url=f"{address}/api/v1") as asks:
        job = asks.post(f"/jobs/{kind}", json=body).json()

        def look() -> dict[str, Any]:
            state: dict[str, Any] = asks.get(f"/jobs/{job['id']}").json()
            return state

        while look()["what"] != what:
            assert look()["status"] in {"queued", "running"}
            time.sleep(0.05)
        assert asks.delete(f"/jobs/{job['id']}").status_code == 200
        while (state := look())["status"] == "running":
            time.sleep(0.05)
        assert state["status"] == "stopped"
        assert state["done"] < state["total"]
        assert asks.get(f"/{kind}s").json()["rows"] == []
        # Who comes next need not wait for what was stopped.
        fit = {"kind": "centroid", "level": "family", "split": "none", "name": "by-mean"}
        job = asks.post("/jobs/fit", json=fit).json()
        while look()["status"] in {"queued", "running"}:
            time.sleep(0.05)
        assert look()["status"] == "done"
    assert not bp.open(many).clusters().to_frame().size
    assert not bp.open(many).maps().to_frame().size


class EnoughError(Exception):
    """Raised by whoever is told."""


def test_whoever_is_told_may_stop_answers_and_exports(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioprobe.store.view._IMAGES_AT_ONCE", 1000)
    monkeypatch.setattr("bioprobe.interchange.layouts.BLOCK_ROWS", 1000)
    store = bp.open(many)
    store.fit("centroid", "family", split="none", name="by-mean")
    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        if step.done >= 2000:
            raise EnoughError

    told = store.telling(tell)
    with pytest.raises(EnoughError):
        told.predict("by-mean")
    with pytest.raises(EnoughError):
        told.export(tmp_path / "vectors.npy", "npy")
    assert [step.done for step in steps] == [1000, 2000] * 2
    assert {step.what for step in steps} == {"images asked", "vectors written"}
    assert not (tmp_path / "vectors.npy").exists()
    # The store itself tells nobody.
    assert store.predict("by-mean").to_frame()["row"].nunique() == 4000
