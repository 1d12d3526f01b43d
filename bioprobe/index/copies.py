"""Which images are copies of each other, so that a search names one of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import GROUP, list_selections, read_selection

#: Where ``bioprobe dedupe`` keeps its groups.
DUPLICATES_MASK = "filters/duplicates"


def find_copies(store: EmbeddingStore) -> npt.NDArray[np.int64]:
    """Return the group of every row: images of one group are copies.

    The groups are those of the mask ``filters/duplicates`` where the store has it; images that it
    has not judged, and all images where there is no mask, are copies where their bytes are the
    same.

    Parameters
    ----------
    store : EmbeddingStore

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        From 0, without gaps.
    """
    import pandas as pd

    hashes = store.images.frame["sha256"].reset_index(drop=True)
    own = pd.Series([f"row {row}" for row in range(len(store))], dtype=object)
    groups = hashes.where(hashes != "", own).astype(object)
    if DUPLICATES_MASK in list_selections(store):
        frame = read_selection(store, DUPLICATES_MASK).frame
        judged = frame[GROUP].notna() if GROUP in frame else pd.Series([False] * len(frame))
        if judged.any():
            names = "group " + frame.loc[judged, GROUP].astype(np.int64).astype(str)
            # An image that came later belongs to the group of the same bytes.
            by_bytes = dict(zip(groups[judged], names, strict=True))
            groups = groups.map(lambda key: by_bytes.get(key, key))
            groups[judged] = names
    return np.asarray(pd.factorize(groups)[0], dtype=np.int64)
