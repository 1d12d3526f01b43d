"""Taxa whose scores are given always, though they are not among the best."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bioprobe.errors import PromptError
from bioprobe.result import Note
from bioprobe.task.tree import Tree
from bioprobe.taxonomy import RANKS, Taxon
from bioprobe.types import Doubles, Mask, Places, Rows, Scores

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.taxonomy.checklists import Checklist

#: Column that tells the taxa which are given always.
ALSO = "also"


@dataclasses.dataclass(frozen=True, eq=False)
class Wanted:
    """Taxa that are given always, and the lowest classes that each is or lies above.

    Parameters
    ----------
    taxa : tuple of Taxon
    members : ndarray of bool, shape (n_taxa, n_leaves)
    """

    taxa: tuple[Taxon, ...]
    members: Mask

    @classmethod
    def of(cls, lists: Sequence[Checklist], tree: Tree) -> tuple[Wanted, list[Note]]:
        """Find what lists name among the lowest classes of a question and those above them.

        Raises
        ------
        PromptError
            If no candidate has any of the names.
        """
        from bioprobe.task.listed import Names, describe_unknown

        whole = Tree(tree.taxa, RANKS[-1])
        names, said = Names(whole), []
        found: dict[tuple[int, int], None] = {}
        for one in lists:
            matched = names.match(one.rules)
            found |= dict.fromkeys(hit for hits in matched for hit in hits)
            said += describe_unknown(names, one, matched)
        if not found:
            first = lists[0].rules[0].names[0]
            near = ", ".join(names.propose(first, 3, 0.6)) or "none is alike"
            msg = f"no candidate is or lies below {first!r} (near names: {near}), given by --also"
            raise PromptError(msg)
        taxa = tuple(whole.levels[depth].taxa[place] for depth, place in found)
        members = np.stack([whole.places[depth] == place for depth, place in found])
        return cls(taxa, members), said

    def divide(self, groups: Places) -> tuple[Places, Places, Doubles]:
        """Divide groups of lowest classes so that each part is in a taxon as a whole, or not.

        Returns
        -------
        parts : ndarray of int64, shape (n_leaves,)
        group_of : ndarray of int64, shape (n_parts,)
        inside : ndarray of float64, shape (n_parts, n_taxa)
            1 where the part is in the taxon.
        """
        packed = np.packbits(self.members.T, axis=1)
        marks = np.unique(packed, axis=0, return_inverse=True)[1].reshape(-1)
        numbers = groups * (int(marks.max(initial=0)) + 1) + marks
        _, firsts, parts = np.unique(numbers, return_index=True, return_inverse=True)
        return parts.astype(np.int64), groups[firsts], self.members[:, firsts].T.astype(np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class Also:
    """The scores of taxa that are given always.

    Parameters
    ----------
    taxa : tuple of Taxon
    scores : ndarray of float32, shape (n_images, n_taxa)
        Summed probabilities.
    """

    taxa: tuple[Taxon, ...]
    scores: Scores

    def take(self, kept: Mask | Rows) -> Also:
        """Return the same for some of the images."""
        return dataclasses.replace(self, scores=self.scores[kept])

    def add_to(
        self, frame: pd.DataFrame, units: Sequence[str], shared: Sequence[str]
    ) -> pd.DataFrame:
        """Add to a table of answers the taxa that it lacks, and a column that marks all of them.

        Parameters
        ----------
        frame : DataFrame
            Answers, of which those to one image stand together, in the order of the scores.
        units : sequence of str
            Columns whose equal values are one image.
        shared : sequence of str
            Columns that say the same of all answers to an image.
        """
        import pandas as pd

        numbers = frame.groupby(list(units), sort=False, dropna=False).ngroup().to_numpy()
        n_units = len(self.scores)
        ranks = [rank for rank in RANKS if rank.value in frame]
        names = frame[[rank.value for rank in ranks]].to_numpy(dtype=object)
        keys = ["|".join(row).rstrip("|") for row in names.tolist()]
        place_of = {
            "|".join(taxon.lineage[rank.depth] for rank in ranks).rstrip("|"): place
            for place, taxon in enumerate(self.taxa)
            if taxon.depth <= ranks[-1].depth
        }
        at = np.array([place_of.get(key, -1) for key in keys], dtype=np.int64)
        given = np.zeros(self.scores.shape, dtype=bool)
        given[numbers[at >= 0], at[at >= 0]] = True
        order = np.argsort(-self.scores, axis=1, kind="stable")
        sorted_given = np.take_along_axis(given, order, axis=1)
        of_unit, column = np.nonzero(~sorted_given)
        taxon_of = order[of_unit, column]
        firsts = np.zeros(n_units, dtype=np.int64)
        firsts[numbers[::-1]] = np.arange(len(frame))[::-1]
        counts = np.bincount(numbers, minlength=n_units)
        extra: dict[str, Any] = {
            str(name): frame[name].to_numpy()[firsts[of_unit]] for name in frame if name in shared
        }
        for rank in ranks:
            lineage = np.array([taxon.lineage[rank.depth] for taxon in self.taxa], dtype=object)
            extra[rank.value] = lineage[taxon_of]
        if "species_epithet" in frame:
            epithets = np.array([taxon.epithet for taxon in self.taxa], dtype=object)
            extra["species_epithet"] = epithets[taxon_of]
        if "common_name" in frame:
            common = np.array([taxon.common_name for taxon in self.taxa], dtype=object)
            extra["common_name"] = common[taxon_of]
        extra["score"] = self.scores[of_unit, taxon_of].astype(np.float64)
        position = np.arange(len(of_unit)) - np.searchsorted(of_unit, of_unit)
        extra["answer"] = counts[of_unit] + 1 + position
        if "rank" in frame:
            written = np.array([taxon.rank.value for taxon in self.taxa], dtype=object)
            extra["rank"] = written[taxon_of]
        further = pd.DataFrame(extra).assign(**{ALSO: True})
        for name in frame:
            if name not in further and frame[name].dtype.kind not in "fiu":
                further[name] = ""
        joined = pd.concat([frame.assign(**{ALSO: at >= 0}), further], ignore_index=True)
        stands = np.argsort(np.concatenate([numbers, of_unit]), kind="stable")
        return joined.iloc[stands].reset_index(drop=True)


def sum_wanted(wanted: Wanted | None, tree: Tree) -> tuple[Places, Places | None, Doubles | None]:
    """Return the groups whose probabilities are to be summed, and what is made of the sums.

    Returns
    -------
    groups : ndarray of int64, shape (n_leaves,)
    group_of : ndarray of int64, or None
        Group of the tree of each of them, None where they are those of the tree.
    inside : ndarray of float64, shape (n_groups, n_taxa), or None
    """
    if wanted is None:
        return tree.groups, None, None
    return wanted.divide(tree.groups)


def pool_also(
    also: Also, numbers: Places, pool: Callable[[Doubles], Doubles] | None = None
) -> Also:
    """Return the scores of units: the highest of their rows, or by a rule of pooling.

    Parameters
    ----------
    also : Also
        Of rows.
    numbers : ndarray of int64, shape (n_rows,)
        Unit of each row, from 0 without a gap.
    pool : callable, optional
        From probabilities, shape (n_rows, 2), of a taxon and of the rest to those of units.
    """
    if pool is None:
        n_units = int(numbers.max(initial=-1)) + 1
        scores = np.zeros((n_units, len(also.taxa)), dtype=np.float32)
        np.maximum.at(scores, numbers, also.scores)
        return dataclasses.replace(also, scores=scores)
    columns = [pool(np.stack([one, 1 - one], axis=1))[:, 0] for one in also.scores.T.astype(float)]
    return dataclasses.replace(also, scores=np.stack(columns, axis=1).astype(np.float32))


def sum_inside(sums: Scores, inside: Doubles | None) -> Scores:
    """Return the summed probabilities of the taxa that are given always, of those of groups."""
    if inside is None:
        return np.zeros((len(sums), 0), dtype=np.float32)
    return np.asarray(sums.astype(np.float64) @ inside, dtype=np.float32)
