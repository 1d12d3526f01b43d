"""The report's part of clusters: sizes, stability, names apart from labels, agreement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from bioprobe.report.clusters import describe_clusters
from bioprobe.store import EmbeddingStore
from bioprobe.store.computed import write_column


def _show(row: int, caption: str, lines: tuple[str, ...]) -> dict[str, Any]:
    return {"row": row, "caption": caption, "lines": lines, "thumbnail": "", "place": "",
            "common": ""}  # fmt: skip


def test_a_store_without_clusters_has_no_such_part_and_one_with_them_says_what_they_are(
    make_store: Callable[..., EmbeddingStore],
    encoder: Any,  # noqa: ANN401
) -> None:
    names, hashes = [f"{at}.jpg" for at in range(6)], [f"{at:064x}" for at in range(6)]
    families = ["Felidae", "Felidae", "Canidae", "Canidae", "Canidae", ""]
    frame = pd.DataFrame(
        {
            "root": "/p",
            "path": names,
            "family": families,
            "sha256": hashes,
        }
    )
    vectors = np.random.default_rng(0).normal(size=(6, encoder.dim))
    store = make_store(encoder).append(frame, vectors)
    assert describe_clusters(store, _show) == []
    write_column(
        store, "cluster", store.rows, ["1", "1", "2", "2", "1", ""],
        numbers=np.array([0.5, 0.9, 0.8, 0.7, 0.6, np.nan]), names={"1": "Ursidae"},
        facts={"method": "ward", "stability": [0.9, 0.3], "scores": [0.8, None]},
    )  # fmt: skip
    (section,) = describe_clusters(store, _show)
    assert section.lead.endswith("put together without a label: 5 of them in 2 clusters.")
    (column,) = section.content["columns"]
    assert (column["level"], column["n_none"], column["n_unstable"]) == ("family", 1, 1)
    first, second = column["clusters"]
    assert (first["n"], first["stability"], first["proposed"], first["score"]) == (
        3, 0.9, "Ursidae", 0.8
    )  # fmt: skip
    assert (first["label"], round(first["share"], 3)) == ("Felidae", 0.667)
    # The medoid is the most like its mean; what is proposed is said apart from labels.
    assert first["picture"]["row"] == 1
    assert first["picture"]["caption"] == "1: Ursidae (proposed)"
    assert first["picture"]["lines"] == ("3 pictures", "labels: Felidae 67%")
    assert (second["label"], second["share"], second["proposed"]) == ("Canidae", 1, "")
    assert [one["name"] for one in column["agreed"]] == ["adjusted rand", "v measure", "purity"]
    path = store.folder / "clusters/cluster.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    (damaged,) = describe_clusters(store, _show)
    assert "cannot be read" in damaged.content["unread"][0]
