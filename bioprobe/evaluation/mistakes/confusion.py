"""Which class is taken for which, at the rank of the answers or above it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.taxonomy.taxonomy import find_lowest_common_ancestor

if TYPE_CHECKING:
    import pandas as pd

Classes = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How many images of each class were given each class.

    Parameters
    ----------
    classes : Taxonomy
        Classes, all at one rank.
    rank : Rank
        That rank.
    counts : ndarray of int64, shape (n_classes, n_classes)
        Images by true class (row) and answer (column).
    n_left_out : int
        Images whose truth or answer has no name at the rank.
    """

    classes: Taxonomy
    rank: Rank
    counts: npt.NDArray[np.int64]
    n_left_out: int = 0

    def collapse(self, rank: Rank) -> Confusion:
        """Return the confusion of the taxa above, so that errors within one of them vanish.

        Parameters
        ----------
        rank : Rank
            Rank of the classes or one above it; a class with a hole there is left out and
            counted.
        """
        upper, places = self.classes.group(rank)
        known = places >= 0
        counts = np.zeros((len(upper), len(upper)), dtype=np.int64)
        inside = self.counts[np.ix_(known, known)]
        np.add.at(counts, np.ix_(places[known], places[known]), inside)
        n_lost = int(self.counts.sum() - inside.sum())
        return Confusion(upper, rank, counts, self.n_left_out + n_lost)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each pair that occurs: truth, answer, n_images; most images first."""
        import pandas as pd

        names = [taxon.name for taxon in self.classes]
        truth, answers = np.nonzero(self.counts)
        frame = pd.DataFrame(
            {
                "truth": [names[row] for row in truth],
                "answer": [names[row] for row in answers],
                "n_images": self.counts[truth, answers],
            }
        )
        return frame.sort_values("n_images", ascending=False, kind="stable", ignore_index=True)


@dataclasses.dataclass(frozen=True)
class ConfusedPair:
    """A class that is taken for another.

    Parameters
    ----------
    truth, answer : Taxon
        The class, and what it is taken for.
    positions : tuple of int, length 2
        Of the two among the classes.
    n_images : int
        Images of the one that were given the other.
    fraction : float
        Of the images of the true class.
    ancestor : Taxon or None
        Lowest taxon above both; None where they share none that is named.
    height : int
        Ranks from the classes up to it; one more than there are ranks above where it is None.
    """

    truth: Taxon
    answer: Taxon
    positions: tuple[int, int]
    n_images: int
    fraction: float
    ancestor: Taxon | None
    height: int


def count_confusion(truth: Classes, predicted: Classes, classes: Taxonomy, rank: Rank) -> Confusion:
    """Count which class was given which.

    Parameters
    ----------
    truth, predicted : ndarray of int64, shape (n_images,)
        Positions in ``classes``; an image with -1 in either is left out and counted.
    classes : Taxonomy
        Classes, all at one rank.
    rank : Rank
        That rank.
    """
    known = (truth >= 0) & (predicted >= 0)
    n = len(classes)
    counts = np.bincount(truth[known] * n + predicted[known], minlength=n * n).reshape(n, n)
    return Confusion(classes, rank, counts.astype(np.int64), int((~known).sum()))


def keep_met(
    truth: Classes, predicted: Classes, classes: Taxonomy
) -> tuple[Classes, Classes, Taxonomy]:
    """Keep the classes that an image has or was given: of a long list of taxa these are few.

    Parameters
    ----------
    truth, predicted : ndarray of int64, shape (n_images,)
        Positions in ``classes``, -1 for none.
    classes : Taxonomy
        Classes, all at one rank.

    Returns
    -------
    truth, predicted : ndarray of int64, shape (n_images,)
        Positions in those that are kept, -1 for none.
    classes : Taxonomy
        Those, in their order.
    """
    met = np.union1d(truth, predicted)
    met = met[met >= 0]
    places = np.full(len(classes) + 1, -1, dtype=np.int64)
    places[met] = np.arange(len(met))
    return places[truth], places[predicted], Taxonomy(tuple(classes.taxa[c] for c in met.tolist()))


def find_confused_pairs(confusion: Confusion, n_pairs: int = 20) -> list[ConfusedPair]:
    """Find the pairs that are confused most, with what they have in common.

    Parameters
    ----------
    confusion : Confusion
        Of any rank.
    n_pairs : int
        At most so many; of equal ones those whose class loses the greater fraction come first.
    """
    taxa = confusion.classes.taxa
    wrong = confusion.counts.copy()
    np.fill_diagonal(wrong, 0)
    totals = confusion.counts.sum(axis=1)
    pairs = np.argwhere(wrong)
    n_images = wrong[pairs[:, 0], pairs[:, 1]]
    fractions = n_images / totals[pairs[:, 0]]
    order = np.lexsort((-fractions, -n_images))[:n_pairs]
    found = []
    for row, column in pairs[order].tolist():
        ancestor = find_lowest_common_ancestor(taxa[row], taxa[column])
        above = ancestor.depth if ancestor else -1
        n = int(wrong[row, column])
        found.append(
            ConfusedPair(
                taxa[row], taxa[column], (row, column), n, float(n / totals[row]), ancestor,
                confusion.rank.depth - above,
            )
        )  # fmt: skip
    return found
