"""Lineages that complete each other: a hole agrees with any name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Lineages = npt.NDArray[np.object_]
Names = tuple[str, ...]


def agree(one: Names, other: Names) -> bool:
    """Tell whether two lineages differ at no rank that both name."""
    return all(not a or not b or a == b for a, b in zip(one, other, strict=True))


def complete_lineages(lineages: Lineages) -> Lineages:
    """Fill the holes above a name with what other lineages of the same name know.

    Two names are the same taxon where nothing above them disagrees, the rule of
    :meth:`bioprobe.taxonomy.Taxonomy.merge`; of several that a lineage with holes agrees with,
    the one of which most is known is taken.

    Parameters
    ----------
    lineages : ndarray of object, shape (n_rows, n_ranks)
        Names from the broadest rank down, ``""`` where unknown.

    Returns
    -------
    ndarray of object, shape (n_rows, n_ranks)
        In the same order.

    Examples
    --------
    >>> rows = np.array([["Animalia", "Felidae", "lion"], ["", "Felidae", "lynx"]], dtype=object)
    >>> complete_lineages(rows)[1].tolist()
    ['Animalia', 'Felidae', 'lynx']
    """
    rows = [tuple(row) for row in lineages]
    # What is filled at a low rank may tell more about a name above it, so this runs until stable;
    # every round fills a hole, so it ends.
    while True:
        before = rows
        for rank in range(1, lineages.shape[1]):
            rows = _complete_above(rows, rank)
        if rows == before:
            break
    completed = np.empty(lineages.shape, dtype=object)
    for place, row in enumerate(rows):
        completed[place] = row
    return completed


def _complete_above(rows: list[Names], rank: int) -> list[Names]:
    joined: dict[str, list[Names]] = {}
    prefixes = {row[: rank + 1] for row in rows if row[rank]}
    for prefix in sorted(prefixes, key=lambda names: (names.count(""), names)):
        known = joined.setdefault(prefix[rank], [])
        for place, other in enumerate(known):
            if agree(other, prefix):
                known[place] = tuple(a or b for a, b in zip(other, prefix, strict=True))
                break
        else:
            known.append(prefix)
    fuller = {
        prefix: next(other for other in joined[prefix[rank]] if agree(other, prefix))
        for prefix in prefixes
    }
    return [fuller.get(row[: rank + 1], row[: rank + 1]) + row[rank + 1 :] for row in rows]
