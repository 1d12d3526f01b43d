"""What is on both sides of a split and should not be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.splits.split import PARTS


@dataclasses.dataclass(frozen=True)
class Leak:
    """Groups of one kind that have images in more than one part.

    Parameters
    ----------
    kind : str
        ``same bytes``, ``near duplicates``, a column, or ``species``.
    n_groups : int
        Groups with images in more than one part.
    n_images : int
        Images of these groups.
    n_test : int
        Images of these groups in the test part: those whose score may be too good.
    """

    kind: str
    n_groups: int
    n_images: int
    n_test: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping."""
        return dataclasses.asdict(self)


def find_leaks(
    parts: npt.NDArray[np.object_], kinds: Mapping[str, npt.NDArray[np.object_]]
) -> tuple[Leak, ...]:
    """Count the groups of each kind that are in more than one part.

    Parameters
    ----------
    parts : ndarray of object, shape (n_images,)
        Part of each image, ``""`` for none.
    kinds : mapping of str to ndarray of object, shape (n_images,)
        Groups by kind, ``""`` where an image is in none.

    Returns
    -------
    tuple of Leak
        One for each kind, also where nothing leaks.

    Examples
    --------
    >>> parts = np.array(["train", "test", "test", "train"], dtype=object)
    >>> find_leaks(parts, {"burst": np.array(["a", "a", "b", ""], dtype=object)})
    (Leak(kind='burst', n_groups=1, n_images=2, n_test=1),)
    """
    return tuple(_find_leak(kind, parts, groups) for kind, groups in kinds.items())


def _find_leak(kind: str, parts: npt.NDArray[np.object_], groups: npt.NDArray[np.object_]) -> Leak:
    inside = (parts != "") & (groups != "")
    here = parts[inside]
    _, numbers = np.unique(groups[inside].astype(str), return_inverse=True)
    seen = np.zeros((int(numbers.max(initial=-1)) + 1, len(PARTS)), dtype=bool)
    for place, part in enumerate(PARTS):
        seen[numbers[here == part], place] = True
    leaking = seen.sum(axis=1) > 1
    of_leak = leaking[numbers]
    return Leak(
        kind, int(leaking.sum()), int(of_leak.sum()), int((of_leak & (here == "test")).sum())
    )
