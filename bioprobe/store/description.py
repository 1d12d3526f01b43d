"""What a store holds, in a few facts."""

from __future__ import annotations

from typing import Any

from bioprobe.store.added_taxa import read_added_taxa
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.taxonomy import Rank


def describe_store(store: EmbeddingStore) -> dict[str, Any]:
    """Return the facts of a store as a JSON-ready mapping.

    Returns
    -------
    dict
        Encoder, dim, dtype, counts, size in bytes, labelled images and taxa per rank, free
        columns, added taxa, and the list of failures.
    """
    frame = store.images.frame.iloc[store.rows]
    manifest = store.manifest
    labels = {}
    for rank in Rank:
        names = frame[rank.value][frame[rank.value] != ""]
        if len(names):
            labels[rank.value] = f"{names.nunique()} in {len(names)} images"
    files = (path for path in store.folder.rglob("*") if path.is_file())
    return {
        "store": str(store.folder),
        "encoder": manifest.encoder.describe(),
        "dim": manifest.dim,
        "dtype": manifest.dtype,
        "images": len(frame),
        "retired_rows": len(manifest.retired),
        "shards": len(manifest.present_shards),
        "n_bytes": sum(path.stat().st_size for path in files),
        "labels": labels,
        "other_columns": store.images.free_columns,
        "added_taxa": [taxon.name for taxon in read_added_taxa(store)],
        "failures": store.read_failures().to_dict("records"),
    }
