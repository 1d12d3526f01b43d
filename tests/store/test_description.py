from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bioprobe.quality.description import describe_store
from bioprobe.store import EmbeddingStore
from bioprobe.store.added_taxa import AddedList
from bioprobe.taxonomy import Taxon

if TYPE_CHECKING:
    from tests.conftest import PlainEncoder


def test_an_empty_store_is_described(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    facts = describe_store(make_store(encoder, dtype="float16"))
    assert facts["encoder"] == encoder.fingerprint.describe()
    assert (facts["dim"], facts["dtype"], facts["images"], facts["shards"]) == (16, "float16", 0, 0)
    assert (facts["labels"], facts["added_taxa"], facts["failures"]["images"]) == ({}, [], 0)


def test_current_rows_are_counted(
    make_store: Callable[..., EmbeddingStore], encoder: PlainEncoder
) -> None:
    frame = pd.DataFrame(
        {
            "path": ["a", "b", "c", "d"],
            "family": ["Felidae", "Felidae", "Canidae", ""],
            "site": [1, 2, 3, 4],
        }
    )
    store = make_store(encoder).append(frame, np.eye(4, 16))
    store = store.append(frame.iloc[:1].assign(family="Ursidae"), np.eye(1, 16), retired=[0])
    AddedList.of_store(store).add(Taxon.from_names({"genus": "Lynx"}))
    failed = pd.DataFrame({"root": ["/data"], "path": ["x.jpg"], "reason": ["the file is empty"]})
    store.write_failures(failed)
    facts = describe_store(store)
    assert (facts["images"], facts["retired_rows"], facts["shards"]) == (4, 1, 2)
    assert facts["labels"] == {"family": "3 in 3 images"}
    assert facts["other_columns"] == ["site"]
    assert facts["added_taxa"] == ["Lynx"]
    assert facts["failures"] == {
        "images": 1,
        "reasons": {"the file is empty": 1},
        "examples": failed.assign(source="").to_dict("records"),
    }
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    assert facts["n_bytes"] == sum(len(path.read_bytes()) for path in files)
    assert json.loads(json.dumps(facts)) == facts
