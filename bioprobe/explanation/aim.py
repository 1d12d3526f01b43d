"""The aim noun: what an explanation explains, as a value of each vector and its gradient."""

from __future__ import annotations

from typing import Protocol

from bioprobe.types import Doubles, Vectors


class Aim(Protocol):
    """One answer whose logit follows from a vector: a text's, a taxon's, a probe's class's."""

    def measure(self, vectors: Vectors) -> tuple[Doubles, Vectors]:
        """Return the logit of each vector, and how it grows with the vector.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, dim), unit rows

        Returns
        -------
        logits : ndarray of float64, shape (n,)
        gradients : ndarray of float32, shape (n, dim)
            Of each logit with respect to its unit row.
        """
        ...
