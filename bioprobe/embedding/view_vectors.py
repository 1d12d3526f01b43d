"""Vectors of the single views of pictures, for probes that learn from them; kept by content."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import Encoder, encode_in_batches
from bioprobe.encoders.views import VIEWS, make_views, split_views
from bioprobe.errors import ImageReadError, MisuseError, SourceError, StoreError
from bioprobe.images.location import ImageLocation
from bioprobe.images.reading import decode_region, ignore_pillow_warnings
from bioprobe.progress import Progress, Step
from bioprobe.store import EmbeddingStore
from bioprobe.store.look_cache import LookCache, describe_views
from bioprobe.types import Mask, Rows, Vectors

# Pictures that are decoded and encoded together.
_AT_ONCE = 32


@dataclasses.dataclass(frozen=True, eq=False)
class ViewVectors:
    """Vectors of the views of pictures, the whole left out.

    Parameters
    ----------
    rows : ndarray of int64, shape (n_rows,)
        Of the store, ascending.
    vectors : ndarray of float32, shape (n_rows, n_views - 1, dim), unit rows
    known : ndarray of bool, shape (n_rows,)
        Whether the picture could be read; of others each view is the vector of the whole.
    """

    rows: Rows
    vectors: npt.NDArray[np.float32]
    known: Mask

    def take(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Return the vectors of some of the rows, shape (n, n_views - 1, dim)."""
        return self.vectors[np.searchsorted(self.rows, rows)]


def read_view_vectors(
    store: EmbeddingStore,
    rows: Rows,
    n_views: int,
    load: Callable[[], Encoder],
    progress: Progress | None = None,
) -> ViewVectors:
    """Return the vectors of the views of pictures; what the store does not keep is encoded.

    Parameters
    ----------
    store : EmbeddingStore
        Of single views.
    rows : ndarray of int64, shape (n_rows,)
    n_views : int
        One of :data:`bioprobe.encoders.views.VIEWS`.
    load : callable
        Loads the store's encoder; called where a picture is new.
    progress : callable, optional
        Told a step after each picture.

    Raises
    ------
    MisuseError
        If there are not so many views, or the store's vectors are of several views themselves.
    MismatchError
        If the encoder is not that of the store.
    """
    if n_views not in VIEWS:
        msg = f"a picture is seen {', '.join(map(str, VIEWS))} times, got {n_views}"
        raise MisuseError(msg)
    if split_views(store.manifest.encoder.model)[1] > 1:
        msg = (
            f"the vectors of {store.folder} are means of several views already; learn from the "
            "views of a store of single ones"
        )
        raise MisuseError(msg)
    rows = np.unique(rows)
    kind = describe_views(n_views, store.manifest.dim)
    cache = LookCache(store.folder, kind)
    contents = store.images.contents[rows]
    kept, known = cache.read(contents)
    vectors: Vectors = kept["vectors"].astype(np.float32)
    roots = store.images.column("root").to_numpy(dtype=str)[rows]
    left = np.flatnonzero(~known & (roots != ""))
    if len(left):
        encoder = load()
        store.check_encoder(encoder.fingerprint)
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(left), _AT_ONCE):
                part = left[start : start + _AT_ONCE]
                places = [store.images.locate(row) for row in rows[part].tolist()]
                found = list(pool.map(lambda one: _prepare(one, encoder, n_views), places))
                read = [at for at, pixels in zip(part, found, strict=True) if pixels is not None]
                pixels = [one for one in found if one is not None]
                if pixels:
                    seen = encode_in_batches(encoder, np.concatenate(pixels))
                    vectors[read] = seen.reshape(len(read), -1, seen.shape[1])
                    known[read] = True
                if progress is not None:
                    done = start + len(part)
                    n_failed = int((~known[left[:done]]).sum())
                    progress(Step(done, len(left), "pictures seen", n_failed))
        _keep(store, cache, contents[left], vectors[left], known[left])
    vectors[~known] = store.read_vectors(rows[~known])[:, None]
    return ViewVectors(rows, vectors, known)


def _keep(
    store: EmbeddingStore,
    cache: LookCache,
    contents: npt.NDArray[np.str_],
    vectors: npt.NDArray[np.float32],
    known: Mask,
) -> None:
    made = np.zeros(int(known.sum()), dtype=cache.kind.value)
    made["vectors"] = vectors[known]
    try:
        # Rows of before a compaction may be of pictures that are gone.
        store.check_current()
    except StoreError:
        return
    cache.write(contents[known].tolist(), made)


def _prepare(
    place: ImageLocation, encoder: Encoder, n_views: int
) -> npt.NDArray[np.float32] | None:
    draft_px = 2 * encoder.draft_side_px
    try:
        with ignore_pillow_warnings():
            image = decode_region(place.read_bytes(), place.region, draft_side_px=draft_px)
    except (ImageReadError, SourceError, OSError, ValueError):
        return None
    return np.stack([encoder.preprocess(view) for view in make_views(image, n_views)[1:]])
