"""What colours a map: the classes at a rank or in a column, the commonest first."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.images.image_table import ImageTable
from bioprobe.result import Notes, Result
from bioprobe.taxonomy import RANKS
from bioprobe.taxonomy.columns import COMMON_NAME
from bioprobe.types import Names, Rows

if TYPE_CHECKING:
    import pandas as pd

#: Classes that have a look of their own: seven colours in three shapes. The others share one.
MOST_CLASSES = 21
#: Code of images of which nothing is said, and of those of the classes beyond.
UNKNOWN, OTHERS = 255, 254
# A column of more values than these names pictures, and no groups of them.
_MOST_VALUES = 1000


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class MapClasses(Result):
    """Which class each image on a map is of.

    Parameters
    ----------
    level : str
        Rank or column, or ``probe:NAME`` for what a probe answers.
    rows : ndarray of int64, shape (n_images,)
        Rows on the map.
    names : tuple of str
        The commonest classes, at most :data:`MOST_CLASSES`.
    counts : tuple of int
        Images of each on the map.
    codes : ndarray of uint8, shape (n_images,)
        Place in the names, :data:`OTHERS` or :data:`UNKNOWN`.
    n_classes : int
        Of all on the map.
    target : str
        Rank or column that the classes are of.
    notes : tuple of Note
        What is to be said of it.
    """

    level: str
    rows: Rows
    names: tuple[str, ...]
    counts: tuple[int, ...]
    codes: npt.NDArray[np.uint8]
    n_classes: int
    target: str = ""
    notes: Notes = ()

    def to_frame(self) -> pd.DataFrame:
        """Return one row a class: its name, how many images, and its code."""
        import pandas as pd

        rest = [("other classes", OTHERS), ("nothing said", UNKNOWN)]
        further = [(name, n, code) for name, code in rest if (n := int((self.codes == code).sum()))]
        own = zip(self.names, self.counts, range(len(self.names)), strict=True)
        return pd.DataFrame([*own, *further], columns=["name", "n_images", "code"])


def code_classes(level: str, rows: Rows, labels: Names, most: int = MOST_CLASSES) -> MapClasses:
    """Give the classes of images numbers, the commonest first, of equal ones by name.

    Parameters
    ----------
    level : str
    rows : ndarray of int64, shape (n_images,)
    labels : ndarray of object, shape (n_images,)
        ``""`` where nothing is said.
    most : int
        Classes that have a code of their own.

    Examples
    --------
    >>> found = code_classes("kind", np.arange(4), np.array(["b", "a", "b", ""], dtype=object), 1)
    >>> found.names, found.counts, found.codes.tolist()
    (('b',), (2,), [0, 254, 0, 255])
    """
    names, places, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
    order = [int(one) for one in np.argsort(-counts, kind="stable") if names[one] != ""]
    codes = np.full(len(names), OTHERS, dtype=np.uint8)
    codes[names == ""] = UNKNOWN
    codes[order[:most]] = np.arange(len(order[:most]))
    return MapClasses(
        level, rows, tuple(str(names[one]) for one in order[:most]),
        tuple(int(counts[one]) for one in order[:most]), codes[places], len(order), level,
    )  # fmt: skip


def list_levels(images: ImageTable, rows: Rows) -> dict[str, int]:
    """Return the ranks and columns that tell images apart, and how many classes each has.

    Ranks come first, the lowest last. Columns of more than a thousand values are left out.
    """
    frame = images.frame.iloc[rows]
    found = {}
    for name in (*RANKS, COMMON_NAME, *images.free_columns):
        values = frame[name].dropna()
        n_classes = int((values.unique() != "").sum()) if len(values) else 0
        if n_classes and (name in RANKS or n_classes <= _MOST_VALUES):
            found[name] = n_classes
    return found


def choose_level(levels: dict[str, int]) -> str:
    """Return the rank or column by which a map is coloured where nothing is said.

    It is the lowest rank whose classes all have a look of their own, else the rank of fewest, else
    a column of that kind.

    Examples
    --------
    >>> choose_level({"order": 4, "family": 9, "species": 80})
    'family'
    >>> choose_level({"site": 40, "camera": 5}), choose_level({})
    ('camera', '')
    """
    ranks = {name: n for name, n in levels.items() if name in RANKS and n > 1}
    for known in (ranks, {name: n for name, n in levels.items() if n > 1}):
        few = [name for name, n in known.items() if n <= MOST_CLASSES]
        if few:
            return few[-1] if known is ranks else few[0]
    return min(levels, key=lambda name: levels[name]) if levels else ""
