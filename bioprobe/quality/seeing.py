"""Read what the pictures of a view look like, or measure, where the store does not keep it yet."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.errors import ImageReadError, SourceError, StoreError
from bioprobe.images.location import ImageLocation
from bioprobe.images.looks import DRAFT_SIDE_PX
from bioprobe.images.reading import decode_region, ignore_pillow_warnings
from bioprobe.progress import Progress, Step
from bioprobe.store.look_cache import Kind, LookCache
from bioprobe.store.view import View
from bioprobe.types import Mask

if TYPE_CHECKING:
    from PIL.Image import Image

See = Callable[["Image"], npt.NDArray[np.void]]


def read_seen(
    view: View,
    kind: Kind,
    see: See,
    read: Callable[[int], npt.NDArray[np.void] | None] | None = None,
    progress: Progress | None = None,
) -> tuple[npt.NDArray[np.void], Mask]:
    """Return what is kept of the pictures of a view; those of which it is not are read, and kept.

    Parameters
    ----------
    view : View
    kind : Kind
        What is kept.
    see : callable
        Makes it of a picture.
    read : callable, optional
        Makes it of a row instead, None where that cannot be read.
    progress : callable, optional
        Told a step after each picture that is read.

    Returns
    -------
    seen : ndarray of the kind's dtype, shape (n_images,)
        Zeros where a picture could not be read.
    known : ndarray of bool, shape (n_images,)
    """
    cache = LookCache(view.folder, kind)
    contents = view.images.contents[view.rows]
    seen, known = cache.read(contents)
    roots = view.images.column("root").to_numpy(dtype=str)[view.rows]
    left = np.flatnonzero(~known & ((roots != "") | (read is not None)))
    new = np.zeros(len(left), dtype=bool)
    read = read or (lambda row: _see_file(view.images.locate(row), see))
    with ThreadPoolExecutor() as pool:
        for at, one in enumerate(pool.map(read, view.rows[left].tolist())):
            if one is not None:
                seen[left[at]], new[at] = one, True
            if progress is not None:
                progress(Step(at + 1, len(left), "pictures", int((~new[: at + 1]).sum())))
    known[left[new]] = True
    with contextlib.suppress(StoreError):
        # Rows of before a compaction may be of pictures that are gone.
        view.store.check_current()
        cache.write(contents[left[new]].tolist(), seen[left[new]])
    return seen, known


def _see_file(place: ImageLocation, see: See) -> npt.NDArray[np.void] | None:
    try:
        with ignore_pillow_warnings():
            data = place.read_bytes()
            return see(decode_region(data, place.region, draft_side_px=DRAFT_SIDE_PX))
    except (ImageReadError, SourceError, OSError, ValueError):
        return None
