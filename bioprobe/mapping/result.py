"""A map of images: fitted, kept in the store, and read back with a place for what came later."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.images.image_table import ImageTable
from bioprobe.images.regions import REGION
from bioprobe.intervals import Interval
from bioprobe.mapping.faithful import Faith, judge_layout
from bioprobe.mapping.layout import fit_layout, place_new
from bioprobe.progress import Progress
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.maps import KeptMap, read_map, write_map
from bioprobe.store.view import View
from bioprobe.types import Mask, Rows

if TYPE_CHECKING:
    import pandas as pd

#: How a map is fitted where nothing is said.
NEIGHBORS, SAMPLE, SEED = 15, 100_000, 0
#: Images whose neighbours are looked at to tell how far a map can be trusted.
JUDGED = 1000


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Map(Result):
    """Where images lie on a map.

    Parameters
    ----------
    name : str
        Under which the store keeps it.
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows that have a place.
    points : ndarray of float32, shape (n_images, 2)
        x and y of each. Only what is near tells: the axes have no meaning, nor has the gap between
        groups that lie apart.
    fitted : ndarray of bool, shape (n_images,)
        Whether the map was fitted to it; the others were placed on it as it was.
    faith : Faith
        How far the map can be trusted, of all images that are on it.
    provenance : Provenance
        What it was computed from.
    notes : tuple of Note
        What is to be said of it.
    """

    name: str
    images: ImageTable
    rows: Rows
    points: npt.NDArray[np.float32]
    fitted: Mask
    faith: Faith
    provenance: Provenance
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image: file name, x, y, fitted, its labels and other columns, row."""
        import pandas as pd

        own = {"file_name", REGION, "x", "y", "fitted", "row", "root", "path", "sha256"}
        frame = self.images.frame.iloc[self.rows]
        named = self.images.name_rows(self.rows)
        rest: dict[str, npt.NDArray[Any]] = {
            str(name): frame[name].to_numpy() for name in frame if name not in own | set(named)
        }
        return pd.DataFrame(
            {
                **named,
                "x": self.points[:, 0],
                "y": self.points[:, 1],
                "fitted": self.fitted,
                **rest,
                "row": self.rows,
            }
        )


def fit_map(
    view: View,
    name: str,
    *,
    neighbors: int = NEIGHBORS,
    sample: int = SAMPLE,
    seed: int = SEED,
    progress: Progress | None = None,
) -> None:
    """Fit a map to the images of a view, and keep it in their store.

    Parameters
    ----------
    view : View
    name : str
    neighbors : int
        Nearest of each image that are drawn to it.
    sample : int
        Images that it is fitted to at most, drawn by the seed; the others are placed on it.
    seed : int
        Of the sample, the start and the images by which it is judged.
    progress : callable, optional
        Told how many images are compared.

    Raises
    ------
    MissingExtraError
        If openTSNE is not installed.
    StoreError
        If the disk refuses.
    """
    rows = np.sort(view.rows)
    if len(rows) > sample:
        drawn = np.random.default_rng(seed).choice(len(rows), sample, replace=False)
        chosen = np.zeros(len(rows), dtype=bool)
        chosen[drawn] = True
    else:
        chosen = np.ones(len(rows), dtype=bool)
    points = np.empty((len(rows), 2), dtype=np.float32)
    points[chosen] = fit_layout(
        view.store.read_vectors(rows[chosen]), neighbors=neighbors, seed=seed, progress=progress
    )
    settings = {"neighbors": neighbors, "sample": sample, "seed": seed}
    provenance = view.describe({"method": "t-SNE", **settings}, n_rows=int(chosen.sum()))
    _place(view.store, name, rows, points, chosen, ~chosen, provenance.to_dict(), progress)


def place_rows(view: View, kept: KeptMap, *, progress: Progress | None = None) -> int:
    """Place those images of a view on a map that have no place yet, and return how many these are.

    Raises
    ------
    SelectionError
        If the store has none of the images that the map was fitted to.
    """
    new = np.sort(view.rows[~kept.known[view.rows]])
    if not len(new):
        return 0
    if not kept.fitted.any():
        msg = (
            f"{view.folder} has none of the images that the map {kept.name!r} was fitted to, so "
            "that no other can be placed; fit it again: bioprobe map --refit"
        )
        raise SelectionError(msg)
    rows = np.sort(np.concatenate([np.flatnonzero(kept.known), new]))
    points, fitted = kept.points[rows], kept.fitted[rows]
    is_new = np.isin(rows, new)
    _place(view.store, kept.name, rows, points, fitted, is_new, kept.provenance, progress)
    return len(new)


# Vectors that are placed at once: at 512 numbers 32 MB.
_AT_ONCE = 16_384


def _place(
    store: EmbeddingStore,
    name: str,
    rows: Rows,
    points: npt.NDArray[np.float32],
    fitted: Mask,
    is_new: Mask,
    provenance: dict[str, Any],
    progress: Progress | None,
) -> None:
    """Place new rows beside those that have a place, judge the map, and keep it."""
    places = np.flatnonzero(is_new)
    if len(places):
        known = store.read_vectors(rows[fitted])
        layout = points[fitted].astype(np.float64)
        for start in range(0, len(places), _AT_ONCE):
            part = places[start : start + _AT_ONCE]
            new = store.read_vectors(rows[part])
            points[part] = place_new(known, layout, new, progress=progress)
    faith = _judge(store, rows, points, int(provenance["options"]["seed"]))
    kept = dataclasses.asdict(faith)
    provenance = {**provenance, "options": {**provenance["options"], "faith": kept}}
    write_map(store, name, rows, points, fitted, provenance)


def _judge(store: EmbeddingStore, rows: Rows, points: npt.NDArray[np.float32], seed: int) -> Faith:
    # What was replaced or removed since helps to place others, and nobody sees it.
    current = np.isin(rows, store.rows)
    rows, points = rows[current], points[current]
    n_drawn = min(JUDGED, len(rows))
    sample = np.sort(np.random.default_rng(seed).choice(len(rows), n_drawn, replace=False))
    return judge_layout(store.read_vectors(rows), points.astype(np.float64), sample)


def open_map(view: View, name: str) -> Map:
    """Read a map that the store keeps, of the images of a view that have a place on it.

    Raises
    ------
    StoreError
        If there is no such map, or it is damaged.
    """
    kept = read_map(view.store, name)
    rows = view.rows[kept.known[view.rows]]
    said = dict(kept.provenance)
    options = dict(said["options"])
    faith = options["faith"]
    judged = {one: Interval(**faith[one]) for one in ("trustworthiness", "continuity", "kept")}
    return Map(
        name, view.images, rows, kept.points[rows], kept.fitted[rows],
        Faith(**judged, n_neighbors=faith["n_neighbors"], n_sample=faith["n_sample"]),
        Provenance(**said),
    )  # fmt: skip
