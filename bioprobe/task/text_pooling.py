"""Several texts a class: how their scores, or they themselves, become one."""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

from bioprobe.errors import PromptError
from bioprobe.types import Rows, Vectors


class Pool(enum.StrEnum):
    """How the texts of a class become one score.

    ``max`` takes the best text's logit; ``mean`` asks the mean of the unit text embeddings, made
    unit (prompt ensembling); ``sum`` adds the texts' probabilities, softmax over all texts.

    References
    ----------
    Radford et al. 2021 (CLIP), section 3.1.4 (``mean``); pybioclip,
    ``TreeOfLifeClassifier.format_grouped_probs`` (``sum``).
    """

    MAX = "max"
    MEAN = "mean"
    SUM = "sum"

    @classmethod
    def parse(cls, text: str) -> Pool:
        """Read a way of pooling.

        Raises
        ------
        PromptError
            If the text names none.
        """
        try:
            return cls(text.strip().lower())
        except ValueError:
            msg = f"{text!r} is not a way to pool texts; expected one of {', '.join(cls)}"
            raise PromptError(msg) from None


# At 512 numbers each, 16 MB.
_TEXTS_AT_ONCE = 8192


def embed_mean_rows(texts: npt.NDArray[np.floating], rows: Rows, classes: Rows) -> Vectors:
    """Return the mean of the rows of each class, made unit; zeros where they cancel each other out.

    Parameters
    ----------
    texts : ndarray of float32 or float16, shape (n_rows, dim), unit rows
    rows : ndarray of int64, shape (n_texts,)
        Rows of ``texts`` that take part, those of one class one after the other.
    classes : ndarray of int64, shape (n_texts,)
        Class of each of these rows, ascending; every class has one at least.

    Returns
    -------
    ndarray of float32, shape (n_classes, dim)
    """
    means = np.zeros((int(classes[-1]) + 1, texts.shape[1]), dtype=np.float32)
    for start in range(0, len(rows), _TEXTS_AT_ONCE):
        part = slice(start, start + _TEXTS_AT_ONCE)
        present, starts = np.unique(classes[part], return_index=True)
        block = np.asarray(texts[rows[part]], dtype=np.float32)
        means[present] += np.add.reduceat(block, starts, axis=0)
    norms = np.linalg.norm(means, axis=1, keepdims=True)
    # Texts that cancel each other out have no mean: every image is at a right angle to it.
    norms[norms == 0] = 1
    return np.asarray(means / norms, dtype=np.float32)
