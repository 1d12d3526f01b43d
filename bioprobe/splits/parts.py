"""Parts by label: stratified, or with whole groups or species apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.splits.folds import number_groups
from bioprobe.splits.quotas import count_groups, find_wanted, place_groups, share_out
from bioprobe.splits.split import PARTS

# A class that cannot be in every part is learnt first, then judged; choosing can wait.
_PRIORITY = ("train", "test", "validation")


@dataclasses.dataclass(frozen=True)
class SmallClass:
    """A class with too few groups of images to be in every part.

    Parameters
    ----------
    name : str
        Its label.
    n_images, n_groups : int
        What there is of it.
    parts : tuple of str
        Parts that it is in by the rule: of one group train, of two groups train and test.
    """

    name: str
    n_images: int
    n_groups: int
    parts: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return {**dataclasses.asdict(self), "parts": list(self.parts)}


def check_fractions(fractions: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return the fractions of the three parts.

    Raises
    ------
    SelectionError
        If they are not three numbers of at least 0 that add up to 1, with some to train on.
    """
    shares = np.asarray(fractions, dtype=np.float64)
    fits = shares.shape == (len(PARTS),) and (shares >= 0).all() and shares[0] > 0
    if not fits or abs(shares.sum() - 1) > 1e-6:
        got = ",".join(f"{share:g}" for share in shares)
        msg = f"fractions of {', '.join(PARTS)} add up to 1, as 0.8,0.1,0.1 do; got {got}"
        raise SelectionError(msg)
    return np.asarray(shares / shares.sum())


def assign_parts(
    labels: npt.NDArray[Any],
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    groups: npt.NDArray[Any] | None = None,
) -> tuple[npt.NDArray[np.object_], tuple[SmallClass, ...]]:
    """Assign images to train, validation and test, stratified by label, groups kept together.

    Each class has the fractions of its images as nearly as its groups allow, and at least one
    group in each part. A class of one group is in train only, one of two groups in train and
    test.

    Parameters
    ----------
    labels : ndarray of str, shape (n_images,)
        Label of each image, none empty.
    fractions : sequence of float
        Of train, validation and test; a part of 0 stays empty.
    seed : int
        Of the random order.
    groups : ndarray, shape (n_images,), optional
        Group of each image; ``""`` is an image on its own. By default all are. With species for
        groups and families for labels, no species is in two parts.

    Returns
    -------
    parts : ndarray of object, shape (n_images,)
    small : tuple of SmallClass
        Classes that are not in every part.

    Raises
    ------
    SelectionError
        If the fractions cannot be used.

    Examples
    --------
    >>> parts, small = assign_parts(np.array(["ant"] * 10 + ["bee"] * 2), (0.8, 0.1, 0.1))
    >>> [(parts[:10] == part).sum().item() for part in ("train", "validation", "test")]
    [8, 1, 1]
    >>> sorted(parts[10:].tolist()), small[0].name
    (['test', 'train'], 'bee')
    """
    shares = check_fractions(fractions)
    names, classes = np.unique(np.asarray(labels).astype(str), return_inverse=True)
    numbers = number_groups(groups, len(classes))
    n_groups, n_images = count_groups(classes, numbers), np.bincount(classes)
    priority = [PARTS.index(part) for part in _PRIORITY if shares[PARTS.index(part)] > 0]
    wanted = find_wanted(n_groups, priority, len(PARTS))
    quotas = share_out(n_images, shares, wanted)
    placed = place_groups(classes, numbers, quotas, wanted, seed)
    small = tuple(
        SmallClass(
            str(names[c]),
            int(n_images[c]),
            int(n_groups[c]),
            tuple(PARTS[part] for part in np.flatnonzero(wanted[c])),
        )
        for c in np.flatnonzero(n_groups < len(priority))
    )
    return np.array(PARTS, dtype=object)[placed], small
