"""Taxa added to a store or to the user's own list."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bioprobe.errors import TaxonomyError
from bioprobe.prompts import PromptSet
from bioprobe.result import Columns, Notes, Result
from bioprobe.store import EmbeddingStore
from bioprobe.store.added_taxa import (
    AddedList,
    find_added_taxa,
    read_added_taxa,
    read_user_taxa,
)
from bioprobe.store.view import View
from bioprobe.taxonomy import Taxon, Taxonomy
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.taxonomy.contradictions import find_all_contradictions
from bioprobe.types import EncodeText, Vectors
from bioprobe.zeroshot.blending import WEIGHT_FRACTIONS, Blend, choose_blend
from bioprobe.zeroshot.examples import (
    Examples,
    forget_examples,
    forget_unlisted_examples,
    keep_examples,
    read_examples,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class KnownTaxon:
    """A taxon that a store knows.

    Parameters
    ----------
    taxon : Taxon
        What it is.
    origin : str
        ``added``, ``user-wide`` or ``labels``.
    n_pictures : int
        Example pictures that stand for it.
    """

    taxon: Taxon
    origin: str
    n_pictures: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as a row: names by rank, and where it comes from."""
        return {
            **self.taxon.to_names(),
            "common_name": self.taxon.common_name,
            "from": self.origin,
            "prompts": " | ".join(self.taxon.prompts),
            "examples": self.n_pictures,
        }


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class KnownTaxa(Result):
    """Taxa of a store, or of the user's own list.

    Parameters
    ----------
    taxa : tuple of KnownTaxon
        In the order of adding.
    notes : tuple of Note
        What is to be said of them.
    """

    taxa: tuple[KnownTaxon, ...]
    notes: Notes = ()

    def __len__(self) -> int:
        return len(self.taxa)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a taxon."""
        import pandas as pd

        return pd.DataFrame(self.to_columns())

    def to_columns(self, *, short: bool = False) -> Columns:
        """Return the same by column."""
        _ = short
        rows = [one.to_dict() for one in self.taxa]
        names = [*LABEL_COLUMNS, "from", "prompts", "examples"]
        return {name: [row[name] for row in rows] for name in names}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Added(Result):
    """A taxon that was added.

    Parameters
    ----------
    known : KnownTaxon
        What it is now.
    blend : Blend or None
        How its pictures stand for it; None where it has none.
    notes : tuple of Note
        What is to be said of it.
    """

    known: KnownTaxon
    blend: Blend | None = None
    notes: Notes = ()

    @property
    def taxon(self) -> Taxon:
        """What was added."""
        return self.known.taxon

    def to_frame(self) -> pd.DataFrame:
        """Return one row, as in the list of taxa."""
        return KnownTaxa((self.known,)).to_frame()


def list_known(store: EmbeddingStore) -> list[KnownTaxon]:
    """List the taxa that were added to a store, those of the user, and those of its labels."""
    # Rows that a newer embedding has replaced may hold a label that was corrected since.
    labels = store.labelled_taxa
    return [*list_added(store), *(KnownTaxon(taxon, "labels") for taxon in labels)]


def list_added(store: EmbeddingStore) -> list[KnownTaxon]:
    """List the taxa that were added to a store, and those of the user."""
    pictures = {one.taxon.lineage: len(one) for one in read_examples(store)}
    added = [
        KnownTaxon(taxon, "added", pictures.get(taxon.lineage, 0))
        for taxon in read_added_taxa(store)
    ]
    wide = [KnownTaxon(taxon, "user-wide") for taxon in read_user_taxa()]
    return [*added, *wide]


def find_new_taxa(store: EmbeddingStore) -> tuple[Taxon, ...]:
    """Find the added taxa that only a text stands for.

    Those with example pictures have an offset of their own, and one that labelled taxa lie below
    is no new taxon.
    """
    pictured = read_examples(store)
    labels = store.labelled_taxa
    above = {
        (depth, name)
        for taxon in labels
        for depth, name in enumerate(taxon.lineage[: taxon.depth])
        if name
    }
    return tuple(
        taxon
        for taxon in find_added_taxa(store)
        if (taxon.depth, taxon.name) not in above and not any(one.is_of(taxon) for one in pictured)
    )


def import_taxa(place: AddedList, taxa: Iterable[Taxon]) -> int:
    """Add taxa to a list; hold :meth:`AddedList.lock` meanwhile.

    A taxon that was added before is completed.

    Returns
    -------
    int
        How many are new.

    Raises
    ------
    TaxonomyError
        If they contradict the taxa that were added before.
    StoreError
        If the disk refuses.
    """
    added = place.read()
    merged = Taxonomy.merge((*added, *taxa))
    check_additions(merged)
    _forget_unlisted(place)
    place.write(merged)
    return len(merged) - len(added)


def add_one(place: AddedList, taxon: Taxon) -> None:
    """Add a taxon to a list; hold :meth:`AddedList.lock` meanwhile.

    Raises
    ------
    TaxonomyError
        If it was added before, or contradicts the taxa that were.
    StoreError
        If the disk refuses.
    """
    _check_addition(place, taxon)
    _forget_unlisted(place)
    place.add(taxon)


def _check_addition(place: AddedList, taxon: Taxon) -> None:
    check_additions((*place.read(), taxon))
    place.check_new(taxon)


def _forget_unlisted(place: AddedList) -> None:
    """Forget pictures that a killed run left, before a taxon of theirs is in the list again."""
    if place.store is not None:
        forget_unlisted_examples(EmbeddingStore.open(place.store))


def add_pictured(
    asked: EmbeddingStore | View,
    taxon: Taxon,
    pictures: tuple[Vectors, tuple[str, ...]],
    others: PromptSet,
    encode_text: EncodeText,
    *,
    weight_fractions: Sequence[float] = WEIGHT_FRACTIONS,
    left_out: Sequence[str] = (),
) -> Blend:
    """Add a taxon to a store, with example pictures; hold the store's lock meanwhile.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Its store keeps the vectors of the pictures; its images choose how much these count.
    taxon : Taxon
        What is added.
    pictures : ndarray of float32, shape (n_examples, dim), and tuple of str
        As :func:`bioprobe.zeroshot.examples.embed_examples` returns them.
    others : PromptSet
        The classes that it will stand among, of one rank with it, and how texts are written.
    encode_text : callable
        From texts to unit vectors.
    weight_fractions : sequence of float
        Shares of the pictures to choose from, as in
        :func:`bioprobe.zeroshot.blending.choose_blend`.
    left_out : sequence of str
        SHA-256 of further pictures that choose nothing: those that made a prototype.

    Returns
    -------
    Blend
        The weight and the offset that were chosen, and how they were.

    Raises
    ------
    TaxonomyError
        If the taxon was added before, or contradicts those that were.
    StoreError
        If the disk refuses.
    """
    view = View.all(asked)
    store = view.store
    place = AddedList.of_store(store)
    _check_addition(place, taxon)
    vectors, sha256s = pictures
    together = dataclasses.replace(others, taxa=Taxonomy.merge((taxon, *others.taxa)))
    blend = choose_blend(
        view, together, encode_text, taxon, vectors, (*sha256s, *left_out),
        weight_fractions=weight_fractions,
    )  # fmt: skip
    keep_examples(
        store, Examples(taxon, vectors, sha256s, blend.weight_fraction, blend.offset, blend.rule)
    )
    # Last: the pictures count from here on.
    place.add(taxon)
    return blend


def remove_one(
    place: AddedList,
    name: str,
    store: EmbeddingStore | None = None,
    *,
    lineage: str = "",
    parent: str = "",
) -> Taxon:
    """Remove a taxon from a list, and its example pictures from the list's store.

    Parameters
    ----------
    place : AddedList
        Hold :meth:`AddedList.lock` meanwhile.
    name : str
        Scientific or common name.
    store : EmbeddingStore, optional
        Store of the list; none for the user's.
    lineage, parent : str
        What tells it from homonyms.

    Raises
    ------
    TaxonomyError
        If no such taxon was added, or several were.
    StoreError
        If the disk refuses.
    """
    # The next one clears away what a killed one left.
    _forget_unlisted(place)
    taxon = place.remove(name, lineage=lineage, parent=parent)
    if store is not None:
        forget_examples(store, taxon)
    return taxon


def check_additions(taxa: Iterable[Taxon]) -> None:
    """Refuse taxa that contradict each other.

    Raises
    ------
    TaxonomyError
        If two of them do.
    """
    found = find_all_contradictions([taxon.lineage for taxon in taxa])
    if found:
        msg = (
            f"among the added taxa, {found[0].describe()}; see: bioprobe taxa list; nothing was "
            "changed"
        )
        raise TaxonomyError(msg)
