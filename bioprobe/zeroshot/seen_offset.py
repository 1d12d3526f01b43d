"""One number for all classes that an encoder was trained with: calibrated stacking."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file, reading
from bioprobe.errors import MismatchError, StoreError
from bioprobe.files import read_json, write_text
from bioprobe.store import EmbeddingStore
from bioprobe.store.gone import Changes, Gone
from bioprobe.taxonomy import Taxon, Taxonomy
from bioprobe.types import Mask

OFFSET_NAME = "seen-offset.json"


@dataclasses.dataclass(frozen=True)
class SeenOffset:
    """What is subtracted from the logit of every class that is not new.

    Parameters
    ----------
    value : float
        In logits, ≥ 0 as a rule: an encoder leans to the classes it was trained with.
    new : tuple of Taxon
        Taxa that the encoder was not trained with, at any rank.
    adapter : str
        Key of the adapter that images were seen through when it was chosen; ``""`` for none.

    References
    ----------
    Chao, Changpinyo, Gong and Sha 2016, *An Empirical Study and Analysis of Generalized
    Zero-Shot Learning for Object Recognition in the Wild* (calibrated stacking).
    """

    value: float
    new: tuple[Taxon, ...]
    adapter: str = ""

    def find_new(self, classes: Taxonomy) -> Mask:
        """Tell which classes are new or lie below a new taxon, shape (n_classes,)."""
        below = {taxon.lineage for taxon in classes.below(self.new)}
        return np.array([taxon.lineage in below for taxon in classes], dtype=bool)


def keep_offset(store: EmbeddingStore, offset: SeenOffset, figures: dict[str, Any]) -> None:
    """Keep a measured offset in a store, tied to its encoder, in place of an older one.

    Parameters
    ----------
    store : EmbeddingStore
        Whose images it was measured on.
    offset : SeenOffset
        What was chosen.
    figures : dict
        JSON-ready; what it was measured with and what came out.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    path = store.folder / OFFSET_NAME
    said = {
        "encoder_key": store.manifest.encoder.key,
        "offset": offset.value,
        "new": [taxon.lineage for taxon in offset.new],
        "adapter": offset.adapter,
        **figures,
    }
    write_text(path, json.dumps(said, indent=2, ensure_ascii=False) + "\n")


def forget_gone(gone: Gone, changes: Changes) -> None:
    """Take the names of pictures that are gone out of what the offset was measured with."""
    path = gone.folder / OFFSET_NAME
    if not is_file(path):
        return
    try:
        said = read_json(path, dict)
    except (OSError, ValueError):
        # Whoever reads it is told.
        return
    scrubbed = gone.scrub(said)
    if scrubbed != said:
        text = json.dumps(scrubbed, indent=2, ensure_ascii=False) + "\n"
        changes.replace(path).write_text(text, encoding="utf-8")


def read_offset(store: EmbeddingStore) -> SeenOffset | None:
    """Return the offset that was measured on a store, None where nothing was.

    Raises
    ------
    MismatchError
        If it was measured with another encoder than the store's.
    StoreError
        If the file is damaged.
    """
    path = store.folder / OFFSET_NAME
    if not is_file(path):
        return None
    try:
        with reading(path):
            said = read_json(path, dict)
        key, value = said["encoder_key"], float(said["offset"])
        new = tuple(Taxon(tuple(lineage)) for lineage in said["new"])
        adapter = str(said.get("adapter", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} cannot be read ({error}); measure it again with: bioprobe taxa measure"
        raise StoreError(msg) from error
    if key != store.manifest.encoder.key:
        msg = (
            f"the offset in {path} was measured with another encoder than "
            f"{store.manifest.encoder.describe()}; measure it again with: bioprobe taxa measure"
        )
        raise MismatchError(msg)
    return SeenOffset(value, new, adapter)


def choose_threshold(
    right_below: Mask,
    margins_below: npt.NDArray[np.floating[Any]],
    right_above: Mask,
    margins_above: npt.NDArray[np.floating[Any]],
) -> float:
    """Choose the margin that separates two kinds of images best.

    Every value at which an answer changes is tried. Of equally good ones the middle is taken.

    Parameters
    ----------
    right_below : ndarray of bool, shape (n_below,)
        Whether the answer is right for an image if its margin is at most the threshold.
    margins_below : ndarray of float, shape (n_below,)
    right_above : ndarray of bool, shape (n_above,)
        The same for images whose margin must lie above it.
    margins_above : ndarray of float, shape (n_above,)

    Returns
    -------
    float
        Threshold of the highest harmonic mean of the two accuracies.

    Examples
    --------
    >>> yes = np.array([True, True])
    >>> choose_threshold(yes, np.array([-3.0, -1.0]), yes, np.array([0.0, 2.0]))
    -0.5
    """
    cuts = np.unique(np.concatenate([margins_below, margins_above]).astype(np.float64))
    edges = np.concatenate([[cuts[0] - 1], (cuts[1:] + cuts[:-1]) / 2, [cuts[-1] + 1]])
    below = np.searchsorted(np.sort(margins_below[right_below]), edges, side="right")
    n_above = int(right_above.sum())
    above = n_above - np.searchsorted(np.sort(margins_above[right_above]), edges, side="right")
    means = harmonic_mean(below / len(right_below), above / len(right_above))
    best = np.flatnonzero(means >= means.max() - 1e-12)
    return float(edges[best[len(best) // 2]])


def harmonic_mean(
    one: npt.NDArray[np.float64] | float, other: npt.NDArray[np.float64] | float
) -> npt.NDArray[np.float64]:
    """Return 2·a·b / (a + b), 0 where both are 0."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    total = first + second
    product = 2 * first * second
    return np.asarray(np.divide(product, total, out=np.zeros_like(total), where=total > 0))
