"""Splits that others have made, from a column of the image table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bioprobe.errors import SelectionError
from bioprobe.splits.split import PARTS

# As data sets write them; case does not matter.
USUAL_NAMES = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


def import_parts(
    values: npt.NDArray[np.object_], names: Mapping[str, str] | None = None
) -> tuple[npt.NDArray[np.object_], dict[str, int]]:
    """Read the part of each image from what a column says.

    Parameters
    ----------
    values : ndarray of object, shape (n_images,)
        Text of the column, ``""`` where it says nothing.
    names : mapping of str to str, optional
        From a value of the column to its part. By default the usual names, in any case: train,
        training; val, valid, validation, dev; test, testing.

    Returns
    -------
    parts : ndarray of object, shape (n_images,)
        ``""`` where the value is no part.
    unknown : dict of str to int
        Values that are no part, with the number of their images.

    Raises
    ------
    SelectionError
        If no image is in train, or a name is not that of a part.

    Examples
    --------
    >>> import_parts(np.array(["Train", "dev", "test", "extra"], dtype=object))
    (array(['train', 'validation', 'test', ''], dtype=object), {'extra': 1})
    """
    strange = sorted(set(names.values()) - set(PARTS)) if names else []
    if strange:
        msg = f"the parts of a split are {', '.join(PARTS)}; got {', '.join(strange)}"
        raise SelectionError(msg)
    if names is None:
        found = [USUAL_NAMES.get(value.strip().lower(), "") for value in values]
    else:
        found = [names.get(value, "") for value in values]
    parts = np.array(found, dtype=object)
    unknown = Counter(values[(parts == "") & (values != "")].tolist())
    if "train" not in found:
        listed = ", ".join(f"{value} ({n})" for value, n in unknown.most_common(10)) or "nothing"
        msg = (
            f"no image is in train; besides parts, the column says: {listed}. Say which value is "
            "which part: --parts train=VALUE,test=VALUE"
        )
        raise SelectionError(msg)
    return parts, dict(unknown.most_common())
