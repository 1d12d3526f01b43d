"""What taxa and pictures are called on a page, for those who do not speak Latin."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from bioprobe.images import ImageTable
from bioprobe.store import EmbeddingStore
from bioprobe.store.added_taxa import read_added_taxa
from bioprobe.task.target import Classes
from bioprobe.taxonomy import RANKS, Rank, Taxon
from bioprobe.taxonomy.common_names import CommonNames
from bioprobe.types import Rows


@dataclasses.dataclass(frozen=True)
class Naming:
    """Common names, in one language.

    Parameters
    ----------
    images : ImageTable
        Whose pictures may have a common name of their own.
    taxa : CommonNames
        Those of taxa.
    is_asked : bool
        Whether they are those of a list that was asked for; the pictures' own, which may be in
        another language, are not shown then.
    """

    images: ImageTable
    taxa: CommonNames
    is_asked: bool

    @classmethod
    def of(
        cls,
        store: EmbeddingStore,
        listed: Iterable[Taxon] | None = None,
        *,
        is_asked: bool = True,
    ) -> Naming:
        """Return the names of a list, else those that the store knows.

        Parameters
        ----------
        store : EmbeddingStore
            Of the images.
        listed : iterable of Taxon, optional
            With their common names; by default those of :meth:`list_known`.
        is_asked : bool
            Whether the list was asked for, for the sake of its language.
        """
        names = cls.list_known(store) if listed is None else listed
        return cls(store.images, CommonNames(names), is_asked=is_asked and listed is not None)

    @staticmethod
    def list_known(store: EmbeddingStore) -> list[Taxon]:
        """List the taxa whose common names added taxa and labels tell.

        An image's common name is that of its species and says nothing of a genus.
        """
        columns = [*(rank.value for rank in RANKS), "common_name"]
        images = store.images
        _, firsts = images.number_lineages(columns, np.arange(len(images)))
        frame = images.take(firsts, columns)
        frame = frame[(frame["common_name"] != "") & (frame[Rank.SPECIES.value] != "")]
        labels = (Taxon(tuple(names), common) for *names, common in frame.itertuples(index=False))
        return [*read_added_taxa(store), *labels]

    def find_all(self, classes: Classes) -> dict[str, str]:
        """Return the common names of classes, by their names; without those of none."""
        found = {}
        for name, short, taxon in zip(
            classes.names, classes.short_names, classes.taxa, strict=False
        ):
            if common := self.taxa.find(taxon):
                found[name] = common
                found.setdefault(short, common)
        return found

    def find_picture(self, row: int) -> str:
        """Return what a picture shows, by its own common name or that of its lowest label."""
        return self.find_pictures(np.array([row]))[0]

    def find_pictures(self, rows: Rows) -> list[str]:
        """Return the same of several pictures, which are read at once."""
        ranks = [rank.value for rank in RANKS]
        facts = self.images.read_texts(rows, [*ranks, "common_name"])
        lineages = zip(*(facts[name] for name in ranks), strict=True)
        return [
            own if own and not self.is_asked else self._find_lowest(lineage)
            for own, lineage in zip(facts["common_name"], lineages, strict=True)
        ]

    def _find_lowest(self, lineage: tuple[str, ...]) -> str:
        return self.taxa.find(Taxon(lineage)) if any(lineage) else ""
