"""A tree of classes as index arrays, from lineages with holes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bioprobe.errors import TaxonomyError
from bioprobe.taxonomy.taxonomy import agree_by_name
from bioprobe.types import Names, Places

_Path = tuple[str, ...]


def complete_lineages(lineages: Names) -> Names:
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
    return _to_names(rows, lineages.shape[1])


def _complete_above(rows: list[_Path], rank: int) -> list[_Path]:
    joined: dict[str, list[_Path]] = {}
    prefixes = {row[: rank + 1] for row in rows if row[rank]}
    for prefix in sorted(prefixes, key=lambda names: (names.count(""), names)):
        known = joined.setdefault(prefix[rank], [])
        for place, other in enumerate(known):
            if agree_by_name(other, prefix):
                known[place] = tuple(a or b for a, b in zip(other, prefix, strict=True))
                break
        else:
            known.append(prefix)
    fuller = {
        prefix: next(other for other in joined[prefix[rank]] if agree_by_name(other, prefix))
        for prefix in prefixes
    }
    return [fuller.get(row[: rank + 1], row[: rank + 1]) + row[rank + 1 :] for row in rows]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelTree:
    """Leaves, the nodes above them, and the path to each.

    The leaves are nodes 0 to ``n_leaves - 1`` in the order of their unique names, the nodes above
    them follow, broadest rank first. The root, above everything, has no number: it is -1, which
    is also "no node" in a path.

    Parameters
    ----------
    paths : ndarray of int64, shape (n_nodes, n_ranks)
        Node at each rank from the broadest down to the node itself; -1 at holes and below it.
    lineages : ndarray of object, shape (n_nodes, n_ranks)
        Names of the path, ``""`` where there is no node.
    n_leaves : int
        Nodes that have a name at the lowest rank.
    """

    paths: Places
    lineages: Names
    n_leaves: int

    @classmethod
    def from_lineages(cls, lineages: Names) -> LabelTree:
        """Build the tree of the lineages that have a name at the lowest rank.

        A hole agrees with any name, and rows complete each other. The same name below different
        parents is two nodes. Rows without a name at the lowest rank add no node, but what they
        know completes the others.

        Parameters
        ----------
        lineages : ndarray of object, shape (n_rows, n_ranks)
            Names from the broadest rank to the leaf; ``""`` is unknown.

        Raises
        ------
        TaxonomyError
            If no row has a name at the lowest rank.

        Examples
        --------
        >>> tree = LabelTree.from_lineages(np.array([["Felidae", "lion"], ["Canidae", "wolf"],
        ...                                          ["Felidae", "lynx"]], dtype=object))
        >>> tree.leaf_names.tolist()
        ['lion', 'lynx', 'wolf']
        >>> tree.paths[:3].tolist()
        [[4, 0], [4, 1], [3, 2]]
        """
        distinct = complete_lineages(_find_distinct(lineages))
        leaves = _find_distinct(distinct[distinct[:, -1] != ""])
        if not len(leaves):
            msg = (
                f"none of {len(lineages)} rows has a name at the lowest of {lineages.shape[1]} "
                "ranks; label some rows there, or learn a rank above"
            )
            raise TaxonomyError(msg)
        leaves = leaves[np.argsort(make_unique_names(leaves), kind="stable")]
        return cls.from_leaves(leaves)

    @classmethod
    def from_leaves(cls, leaves: Names) -> LabelTree:
        """Build the tree above classes whose order is to stay.

        Parameters
        ----------
        leaves : ndarray of object, shape (n_leaves, n_ranks)
            Distinct lineages; holes are not completed.
        """
        n_leaves, n_ranks = leaves.shape
        numbers = {tuple(leaf): place for place, leaf in enumerate(leaves)}
        if len(numbers) < n_leaves:
            msg = f"{n_leaves - len(numbers)} of {n_leaves} classes are listed twice; keep one each"
            raise TaxonomyError(msg)
        upper = sorted(
            {_cut(leaf, rank) for leaf in leaves for rank in range(n_ranks) if leaf[rank]}
            - set(numbers),
            key=lambda lineage: (_depth(lineage), lineage),
        )
        numbers |= {lineage: n_leaves + place for place, lineage in enumerate(upper)}
        paths = np.full((len(numbers), n_ranks), -1, dtype=np.int64)
        names = np.empty((len(numbers), n_ranks), dtype=object)
        for lineage, node in numbers.items():
            names[node] = lineage
            for rank in range(n_ranks):
                if lineage[rank]:
                    paths[node, rank] = numbers[_cut(lineage, rank)]
        return cls(paths, names, n_leaves)

    @classmethod
    def flat(cls, n_leaves: int) -> LabelTree:
        """Build one of leaves without anything above."""
        return cls.from_leaves(np.array([[str(leaf)] for leaf in range(n_leaves)], dtype=object))

    @property
    def n_ranks(self) -> int:
        """Ranks from the broadest to the leaf."""
        return int(self.paths.shape[1])

    @property
    def leaf_names(self) -> npt.NDArray[np.str_]:
        """Names of the leaves; a homonym is followed by its parent, ``Aus bus (Cidae)``."""
        return make_unique_names(self.lineages[: self.n_leaves])

    @property
    def depths(self) -> Places:
        """Rank of each node, 0 for the broadest, shape (n_nodes,)."""
        return np.asarray(self.n_ranks - 1 - (self.paths[:, ::-1] >= 0).argmax(axis=1))

    @property
    def parents(self) -> Places:
        """Nearest node above each node, -1 below the root, shape (n_nodes,)."""
        above = self.paths.copy()
        above[np.arange(len(above)), self.depths] = -1
        last = self.n_ranks - 1 - (above[:, ::-1] >= 0).argmax(axis=1)
        return np.asarray(above[np.arange(len(above)), last])

    @property
    def ancestors(self) -> sparse.csr_matrix:
        """Whether the node of a column is the node of a row or above it.

        Returns
        -------
        csr_matrix of float32, shape (n_nodes, n_nodes)
            Ones and zeros.
        """
        rows, ranks = np.nonzero(self.paths >= 0)
        ones = np.ones(len(rows), dtype=np.float32)
        shape = (len(self.paths), len(self.paths))
        return sparse.csr_matrix((ones, (rows, self.paths[rows, ranks])), shape=shape)

    @property
    def leaf_counts(self) -> Places:
        """Leaves that each node is or has below it, shape (n_nodes,)."""
        above = self.paths[: self.n_leaves].ravel()
        return np.bincount(above[above >= 0], minlength=len(self.paths))

    def find_common(self, one: Places, other: Places) -> Places:
        """Return the lowest node that is or lies above both of two nodes, -1 for the root.

        Parameters
        ----------
        one, other : ndarray of int64, shape (n,)
            Nodes; -1 is the root.
        """
        same = (self._paths_of(one) == self._paths_of(other)) & (self._paths_of(one) >= 0)
        lowest = self.n_ranks - 1 - same[:, ::-1].argmax(axis=1)
        found = self._paths_of(one)[np.arange(len(one)), lowest]
        return np.where(same.any(axis=1), found, -1)

    def measure_heights(self, nodes: Places) -> Places:
        """Return how many ranks each node stands above the lowest; ``n_ranks`` for the root."""
        return np.where(nodes >= 0, self.n_ranks - 1 - self.depths[nodes], self.n_ranks)

    def place(self, lineages: Names) -> Places:
        """Find the nodes of lineages.

        Parameters
        ----------
        lineages : ndarray of object, shape (n_rows, n_ranks)
            ``""`` is unknown.

        Returns
        -------
        ndarray of int64, shape (n_rows, n_ranks)
            Node at each rank, holes completed; -1 below the deepest name that is in the tree.
        """
        of_name: dict[tuple[int, str], list[int]] = {}
        for node, depth in enumerate(self.depths.tolist()):
            of_name.setdefault((depth, self.lineages[node, depth]), []).append(node)
        known: dict[tuple[str, ...], Places] = {}
        nothing = np.full(self.n_ranks, -1, dtype=np.int64)
        for lineage in {tuple(row) for row in lineages}:
            known[lineage] = nothing
            for rank in range(self.n_ranks):
                for node in of_name.get((rank, lineage[rank]), ()):
                    if agree_by_name(lineage[: rank + 1], tuple(self.lineages[node, : rank + 1])):
                        known[lineage] = self.paths[node]
                        break
        placed = [known[tuple(row)] for row in lineages]
        return np.array(placed, dtype=np.int64).reshape(len(lineages), self.n_ranks)

    def _paths_of(self, nodes: Places) -> Places:
        return np.where(nodes[:, np.newaxis] >= 0, self.paths[nodes], -1)


def make_unique_names(lineages: Names) -> npt.NDArray[np.str_]:
    """Name lineages by their lowest name, and homonyms by what stands above too.

    Returns
    -------
    ndarray of str, shape (n,)
        ``Aus bus``; for homonyms ``Aus bus (Cidae)``; for those that share the parent's name
        too, the whole lineage in the brackets.
    """
    paths = [[name for name in lineage if name] for lineage in lineages]
    forms = (
        [path[-1] for path in paths],
        [f"{path[-1]} ({path[-2]})" if path[1:] else path[-1] for path in paths],
        [
            f"{path[-1]} ({', '.join(lineage[:-1])})"
            for path, lineage in zip(paths, lineages, strict=True)
        ],
    )
    names = forms[0]
    for fuller in forms[1:]:
        times = Counter(names)
        names = [n if times[n] == 1 else f for n, f in zip(names, fuller, strict=True)]
    return np.array(names, dtype=np.str_)


def _find_distinct(lineages: Names) -> Names:
    """Return the distinct rows, sorted."""
    return _to_names(sorted({tuple(row) for row in lineages}), lineages.shape[1])


def _to_names(rows: Sequence[tuple[str, ...]], n_ranks: int) -> Names:
    return np.array(rows, dtype=object).reshape(len(rows), n_ranks)


def _cut(lineage: Names | tuple[str, ...], rank: int) -> tuple[str, ...]:
    return (*lineage[: rank + 1], *[""] * (len(lineage) - rank - 1))


def _depth(lineage: tuple[str, ...]) -> int:
    return max(rank for rank, name in enumerate(lineage) if name)
