"""What is asked or learnt, as which classes, and how these are written as texts."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MisuseError
from bioprobe.images.image_table import ImageTable
from bioprobe.prompts import PromptSet, TextType
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.types import EncodeText, Mask, Names, Places, Rows

_RANK_NAMES = [rank.value for rank in RANKS]


@dataclasses.dataclass(frozen=True)
class Target:
    """What is asked of an image: its taxon at a rank.

    Parameters
    ----------
    rank : Rank
        Rank of the classes.
    first : Rank
        Broadest rank of the chain, for methods that learn the tree; not below ``rank``.

    Examples
    --------
    >>> Target.of("family").first.value, Target.of("kingdom").first.value
    ('phylum', 'kingdom')
    """

    rank: Rank
    first: Rank = Rank.PHYLUM

    def __post_init__(self) -> None:
        if self.first.depth > self.rank.depth:
            msg = (
                f"a chain that ends at {self.rank.value} begins there or above, got --from "
                f"{self.first.value}"
            )
            raise MisuseError(msg)

    @classmethod
    def of(cls, level: Target | Rank | str, first: Rank | str | None = None) -> Target:
        """Return a target by the name of its rank.

        Parameters
        ----------
        level : Target, Rank or str
            A target is returned as it is.
        first : Rank or str, optional
            Broadest rank of the chain; by default phylum, or the rank itself if it is above.

        Raises
        ------
        TaxonomyError
            If there is no such rank.
        MisuseError
            If the chain would begin below its end.
        """
        if isinstance(level, Target):
            return level
        rank = Rank.parse(level)
        if first is None:
            return cls(rank, min(Rank.PHYLUM, rank, key=lambda one: one.depth))
        return cls(rank, Rank.parse(first))

    @property
    def name(self) -> str:
        """Name of the rank."""
        return self.rank.value


@dataclasses.dataclass(frozen=True)
class Classes:
    """Ordered classes with unique names, each with a taxon where it is one.

    Parameters
    ----------
    names : tuple of str
        Unique.
    taxa : tuple of Taxon
        One for each name; empty where the classes are no taxa.
    rank : Rank, optional
        Rank of the taxa.
    """

    names: tuple[str, ...]
    taxa: tuple[Taxon, ...] = ()
    rank: Rank | None = None

    @classmethod
    def of(cls, taxa: Iterable[Taxon], rank: Rank) -> Classes:
        """Return taxa at a rank as classes; homonyms have their lineage in brackets.

        Examples
        --------
        >>> taxa = [{"kingdom": "Animalia", "genus": "Morus"},
        ...         {"kingdom": "Plantae", "genus": "Morus"}, {"genus": "Ficus"}]
        >>> Classes.of(map(Taxon.from_names, taxa), Rank.GENUS).names
        ('Morus (Animalia)', 'Morus (Plantae)', 'Ficus')
        """
        listed = tuple(taxa)
        times = collections.Counter(taxon.name for taxon in listed)
        names = (
            f"{taxon.name} ({', '.join(filter(None, taxon.lineage[: taxon.depth])) or 'elsewhere'})"
            if times[taxon.name] > 1
            else taxon.name
            for taxon in listed
        )
        return cls(tuple(names), listed, rank)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Taxon]:
        return iter(self.taxa)

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The taxa as a tree."""
        return Taxonomy(self.taxa)

    @property
    def hash(self) -> str:
        """SHA-256 of the lineages, or of the names where there are none, in their order."""
        lineages = [taxon.lineage for taxon in self.taxa]
        text = json.dumps(lineages or self.names, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def find(self, names: Iterable[object]) -> Places:
        """Return the position of each name, -1 where it is none of them, shape (n_names,)."""
        place_of = {name: place for place, name in enumerate(self.names)}
        return np.array([place_of.get(str(name), -1) for name in names], dtype=np.int64)

    def take(self, places: Iterable[int]) -> Classes:
        """Return some of the classes, in this order; a name without homonyms needs no bracket."""
        listed = [int(place) for place in places]
        if self.rank is None:
            return Classes(tuple(self.names[place] for place in listed))
        return Classes.of((self.taxa[place] for place in listed), self.rank)

    def place(self, others: Classes) -> Places:
        """Return the position here of each of other classes, by lineage, -1 where it is none."""
        if self.rank is None:
            return self.find(others.names)
        return find_classes((taxon.lineage for taxon in others), self.taxa, self.rank)

    def find_labels(self, images: ImageTable, rows: Rows) -> Places:
        """Return the class that each row is labelled with, by lineage; -1 where it is none.

        This is the one rule of what is right: an answer is right where it is this class.
        """
        if self.rank is None:
            return np.full(len(rows), -1, dtype=np.int64)
        return find_label_classes(images, rows, self.taxa, self.rank)

    def group(self, rank: Rank) -> tuple[Classes, Places]:
        """Return the distinct classes of a broader rank, and that of each class, -1 for none."""
        grouped, places = self.taxonomy.group(rank)
        return Classes.of(grouped, rank), places


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Rows of a store with their classes.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Rows of the store.
    classes : Classes
        Distinct classes; homonyms are apart by lineage.
    positions : ndarray of int64, shape (n,)
        Class of each row, -1 where its label has a hole at the rank.
    lineages : ndarray of object, shape (n, 7)
        Labels of each row; down to the rank, those of a row with a class are the class's own,
        completed by what other rows know.
    """

    rows: Rows
    classes: Classes
    positions: Places
    lineages: Names

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> Names:
        """Unique name of each row's class, ``""`` where it has none."""
        names = np.array([*self.classes.names, ""], dtype=object)
        return np.asarray(names[self.positions], dtype=object)

    def chain(self, target: Target) -> Names:
        """Return the names from the first rank of a chain to its end, which are unique there."""
        chain = self.lineages[:, target.first.depth : target.rank.depth + 1].copy()
        chain[:, -1] = self.names
        return chain

    def take(self, kept: Mask) -> Labelled:
        """Return some of the rows, with all classes."""
        return dataclasses.replace(
            self,
            rows=self.rows[kept],
            positions=self.positions[kept],
            lineages=self.lineages[kept],
        )

    def keep_classes(self, kept: Places) -> Labelled:
        """Return the same rows with fewer classes, in this order; others' rows have none."""
        place = np.full(len(self.classes) + 1, -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        return dataclasses.replace(
            self, classes=self.classes.take(kept), positions=place[self.positions]
        )


def label_rows(
    images: ImageTable, rows: Rows, rank: Rank, others: Taxonomy | None = None
) -> Labelled:
    """Find the class of each row at a rank.

    Parameters
    ----------
    images : ImageTable
        Of the whole store.
    rows : ndarray of int64, shape (n,)
        Rows of the store.
    rank : Rank
        Rank of the classes.
    others : Taxonomy, optional
        Taxa at the rank that are classes too, with or without a row.
    """
    frame = images.frame.iloc[rows]
    lineages = frame[_RANK_NAMES].to_numpy(dtype=object)
    common_names = frame["common_name"].to_numpy(dtype=object)
    # The user's own taxa first: their common names and prompts are kept.
    taxa = {taxon.lineage: taxon for taxon in others or ()}
    keys = [tuple(lineage) for lineage in lineages]
    for key, common_name in zip(keys, common_names, strict=True):
        if any(key) and not (key in taxa and taxa[key].common_name):
            # An image's common name is that of its species and says nothing of a genus.
            prompts = taxa[key].prompts if key in taxa else ()
            taxa[key] = Taxon(key, common_name if key[-1] else "", prompts)
    known = Taxonomy(tuple(taxa.values()))
    grouped, places = known.group(rank)
    place_of = {taxon.lineage: int(place) for taxon, place in zip(known, places, strict=True)}
    positions = np.array([place_of.get(key, -1) for key in keys], dtype=np.int64)
    completed = lineages.copy()
    for row in np.flatnonzero(positions >= 0):
        upper = grouped.taxa[positions[row]].lineage[: rank.depth + 1]
        completed[row, : rank.depth + 1] = upper
    classes = Classes.of(grouped, rank)
    return Labelled(np.asarray(rows, dtype=np.int64), classes, positions, completed)


def find_label_classes(
    images: ImageTable, rows: Rows, classes: Iterable[Taxon], rank: Rank
) -> Rows:
    """Find the class that the label of each image stands for.

    Label and class have the same name at the rank and differ at no rank above that both name, so
    homonyms stay apart; where a label leaves it open, the class that shares most names with it is
    taken, of equal ones the first.

    Parameters
    ----------
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows of it.
    classes : iterable of Taxon
        Classes, all at one rank.
    rank : Rank
        That rank.

    Returns
    -------
    ndarray of int64, shape (n_images,)
        Position in ``classes``; -1 where the image has no label, or one that is no class.
    """
    lineages = images.frame[[level.value for level in RANKS[: rank.depth + 1]]].iloc[rows]
    numbers = lineages.groupby(list(lineages.columns), sort=False, dropna=False).ngroup()
    distinct = lineages.drop_duplicates().itertuples(index=False, name=None)
    return find_classes(distinct, classes, rank)[numbers.to_numpy(dtype=np.int64)]


def find_classes(lineages: Iterable[tuple[str, ...]], classes: Iterable[Taxon], rank: Rank) -> Rows:
    """Find the class of each lineage, as :func:`find_label_classes` does.

    Parameters
    ----------
    lineages : iterable of tuple of str
        Names from kingdom down to the rank at least; what lies below plays no part.
    classes : iterable of Taxon
        Classes, all at one rank.
    rank : Rank
        That rank.

    Returns
    -------
    ndarray of int64, shape (n_lineages,)
        Position in ``classes``, -1 for none.
    """
    by_name: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for position, taxon in enumerate(classes):
        upper = taxon.lineage[: rank.depth + 1]
        by_name.setdefault(upper[-1], []).append((position, upper))
    # Labels of stores that were written before may have other capitals than a list.
    by_form: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for name, known in by_name.items():
        by_form.setdefault(name.casefold(), []).extend(known)

    def find(lineage: tuple[str, ...]) -> int:
        *upper, name = lineage[: rank.depth + 1]
        known = by_name.get(name) or by_form.get(name.casefold())
        if known is None and rank is Rank.SPECIES and name.count(" ") > 1:
            # A subspecies counts as its species where it is no class itself.
            name = " ".join(name.split()[:2])
            known = by_name.get(name)
        return _place((*upper, name), known or [])

    return np.array([find(lineage) for lineage in lineages], dtype=np.int64)


def _place(lineage: tuple[str, ...], known: list[tuple[int, tuple[str, ...]]]) -> int:
    """Return the position of the lineage that agrees in most names, -1 where none agrees."""
    best, most = -1, 0
    for position, other in known:
        named = [(a, b) for a, b in zip(lineage, other, strict=True) if a and b]
        if len(named) > most and all(a == b or a.casefold() == b.casefold() for a, b in named):
            best, most = position, len(named)
    return best


def hash_rows(images: ImageTable, rows: Rows) -> str:
    """Return the SHA-256 of which images rows are, in any order of the rows.

    Images are known by the SHA-256 of their bytes; imported ones, of which nobody saw the bytes,
    by their paths.
    """
    frame = images.frame.iloc[rows]
    pairs = zip(frame["sha256"], frame["path"], strict=True)
    lines = sorted(str(sha256 or path) for sha256, path in pairs)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def mark_rows(images: ImageTable, rows: Rows) -> npt.NDArray[np.uint64]:
    """Return a number that stands for each image, wherever it lies, uint64 of shape (n_rows,).

    Images are known as for :func:`hash_rows`, so a picture is the same in another store or folder.
    """
    frame = images.frame.iloc[rows]
    known = (
        str(sha256 or path) for sha256, path in zip(frame["sha256"], frame["path"], strict=True)
    )
    digests = (hashlib.sha256(one.encode("utf-8", "surrogatepass")).digest() for one in known)
    return np.array([int.from_bytes(digest[:8]) for digest in digests], dtype=np.uint64)


@dataclasses.dataclass(frozen=True)
class Texts:
    """How classes are written, and by what encoder.

    Parameters
    ----------
    encode_text : callable
        From texts to unit vectors of the store's encoder.
    logit_scale : float
        The encoder's factor from cosine similarity to logits.
    text_type : TextType
        How a class is written.
    templates : tuple of str
        Each holds ``{}`` once.
    others : Taxonomy, optional
        Taxa at the rank that are classes although no row that teaches may have them: those of a
        taxon list that was given, or that a user added. Labels of rows that judge are no input.
    """

    encode_text: EncodeText
    logit_scale: float
    text_type: TextType = TextType.TAXON_COM
    templates: tuple[str, ...] = ("a photo of {}.",)
    others: Taxonomy | None = None

    def embed(self, classes: Classes) -> dict[str, Any]:
        """Return the arguments of a :class:`bioprobe.probes.prompted.PromptedProbe`."""
        prompts = PromptSet(classes.taxonomy, self.text_type, self.templates)
        return {
            "texts": prompts.embed(self.encode_text),
            "text_classes": np.array(classes.names, dtype=object),
            "scale": self.logit_scale,
        }

    def describe(self) -> dict[str, Any]:
        """Return what the texts depend on, JSON-ready."""
        return {
            "text_type": self.text_type.value,
            "templates": list(self.templates),
            "logit_scale": self.logit_scale,
        }
