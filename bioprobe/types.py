"""Kinds of array that stand in signatures, each named once.

Importing this module imports numpy's types and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

#: Positions of images in a store or a table, shape (n_images,).
Rows = npt.NDArray[np.int64]
#: Positions in a list of classes, nodes, folds or groups; -1 where there is none.
Places = npt.NDArray[np.int64]
#: Embeddings, shape (n, dim), unit rows.
Vectors = npt.NDArray[np.float32]
#: Similarities, logits, probabilities or weights.
Scores = npt.NDArray[np.float32]
#: Figures computed in double precision.
Doubles = npt.NDArray[np.float64]
#: Of either precision.
Floats = npt.NDArray[np.floating]
#: One flag an image or a class.
Mask = npt.NDArray[np.bool_]
#: Texts, ``""`` where there is none.
Names = npt.NDArray[np.object_]
#: What an estimator learnt, by name, as it is saved.
Arrays = dict[str, npt.NDArray[Any]]
#: Arguments of an estimator, by name.
Settings = Mapping[str, Any]
#: From texts to unit vectors, shape (n_texts, dim).
EncodeText = Callable[[Sequence[str]], Vectors]
