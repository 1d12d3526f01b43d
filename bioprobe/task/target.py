"""What is asked or learnt, as which classes, and how these are written as texts."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bioprobe.errors import MisuseError
from bioprobe.images.identity import hash_sorted, name_contents
from bioprobe.images.image_table import ImageTable, read_level
from bioprobe.images.regions import REGION
from bioprobe.options import RANK_NAMES
from bioprobe.prompts import PromptSet, TextType, embed_means
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.types import EncodeText, Mask, Names, Places, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.store.gone import Gone

#: Texts of classes that are no taxa, by name.
Phrases = dict[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Target:
    """What is asked of an image: its taxon at a rank, or its value in any column.

    Parameters
    ----------
    name : str
        A rank, whose classes have their tree, or a column, whose classes are flat.
    chain : tuple of str
        Ranks or columns from the broadest to ``name``, for methods that learn a hierarchy.

    Examples
    --------
    >>> Target.of("family").chain, Target.of("kingdom").chain
    (('phylum', 'class', 'order', 'family'), ('kingdom',))
    >>> Target.of("life_stage").rank is None, Target.of("label", chain=["diet"]).chain
    (True, ('diet', 'label'))
    """

    name: str
    chain: tuple[str, ...]

    @classmethod
    def of(
        cls,
        level: Target | str,
        first: str | None = None,
        chain: Sequence[str] = (),
        *,
        images: ImageTable | None = None,
    ) -> Target:
        """Return a target by the name of its rank or column.

        Parameters
        ----------
        level : Target or str
            A target is returned as it is.
        first : str, optional
            Where the chain begins; by default at phylum, or at the rank itself if that is above,
            and a column stands alone.
        chain : sequence of str
            All of the chain, in place of ``first``; the level itself may be left out.
        images : ImageTable, optional
            Whose columns the names must be, if they are no ranks.

        Raises
        ------
        SelectionError
            If there is no such rank or column.
        MisuseError
            If the chain would begin below its end, or both are given.
        """
        if isinstance(level, Target):
            return level
        name = read_level(level, images)
        if first is not None and chain:
            msg = f"--chain says where it begins; leave out --from {first}"
            raise MisuseError(msg)
        if chain:
            listed = [read_level(one, images) for one in chain]
            listed = listed if listed[-1:] == [name] else [*listed, name]
            if len(set(listed)) < len(listed):
                msg = f"a chain names each rank or column once, got {', '.join(listed)}"
                raise MisuseError(msg)
            return cls(name, tuple(listed))
        begins = read_level(first, images) if first is not None else ""
        if name not in RANK_NAMES or (begins and begins not in RANK_NAMES):
            return cls(name, tuple(dict.fromkeys([begins or name, name])))
        rank = Rank(name)
        top = Rank(begins) if begins else min(Rank.PHYLUM, rank, key=lambda one: one.depth)
        if top.depth > rank.depth:
            msg = f"a chain that ends at {name} begins there or above, got --from {begins}"
            raise MisuseError(msg)
        return cls(name, RANK_NAMES[top.depth : rank.depth + 1])

    @property
    def rank(self) -> Rank | None:
        """The rank, None for a column."""
        return find_rank(self.name)


def find_rank(level: str) -> Rank | None:
    """Return the rank of a level, None for a column."""
    return Rank(level) if level in RANK_NAMES else None


@dataclasses.dataclass(frozen=True)
class Classes:
    """Ordered classes with unique names, each with a taxon where it is one.

    Parameters
    ----------
    names : tuple of str
        Unique.
    taxa : tuple of Taxon
        One for each name; empty where the classes are no taxa.
    level : str
        Rank of the taxa, or the column whose values the names are; ``""`` where they are only
        named.
    meant : tuple of tuple of Taxon
        Taxa, of any rank, that each named class stands for; empty where none does.
    """

    names: tuple[str, ...]
    taxa: tuple[Taxon, ...] = ()
    level: str = ""
    meant: tuple[tuple[Taxon, ...], ...] = ()

    @property
    def rank(self) -> Rank | None:
        """Rank of the taxa, None where the classes are none."""
        return find_rank(self.level)

    @property
    def short_names(self) -> tuple[str, ...]:
        """The names without what tells homonyms apart."""
        return tuple(taxon.name for taxon in self.taxa) or self.names

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
        shown = [taxon.lineage[-1] or taxon.name for taxon in listed]
        if len(set(shown)) == len(shown):
            return cls(tuple(shown), listed, rank)
        times = collections.Counter(shown)
        names = (
            f"{name} ({', '.join(filter(None, taxon.lineage[: taxon.depth])) or 'elsewhere'})"
            if times[name] > 1
            else name
            for name, taxon in zip(shown, listed, strict=True)
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
            names = tuple(self.names[place] for place in listed)
            meant = tuple(self.meant[place] for place in listed) if self.meant else ()
            return Classes(names, level=self.level, meant=meant)
        return Classes.of((self.taxa[place] for place in listed), self.rank)

    def place(self, others: Classes) -> Places:
        """Return the position here of each of other classes, by lineage, -1 where it is none."""
        if self.rank is None:
            return self.find(others.names)
        return find_classes((taxon.lineage for taxon in others), self.taxa, self.rank)

    def find_labels(self, images: ImageTable, rows: Rows) -> Places:
        """Return the class that each row is labelled with, -1 where it is none.

        By lineage, or by its value in the column. This is the one rule of what is right: an answer
        is right where it is this class.
        """
        if self.rank is None:
            return self.find(self.read_labels(images, rows))
        return find_label_classes(images, rows, self.taxa, self.rank)

    def read_labels(self, images: ImageTable, rows: Rows) -> Names:
        """Return the label of each row at the level, ``""`` where unknown, shape (n_rows,).

        Pictures that were labelled elsewhere may have no such column: their labels are unknown. Of
        classes that are named alone, the label is the one that stands for the image's taxon or one
        above it, of several the lowest.
        """
        if not self.level and any(self.meant):
            return self._read_meant(images, rows)
        if self.level not in images.columns:
            return np.full(len(rows), "", dtype=object)
        return images.labels(self.level)[rows]

    def _read_meant(self, images: ImageTable, rows: Rows) -> Names:
        """Name the class of each row by taxon, another taxon as it is, and none where unsure."""
        known = [
            (taxon.depth, taxon.lineage, name)
            for name, taxa in zip(self.names, self.meant, strict=True)
            for taxon in taxa
        ]
        known.sort(key=lambda one: -one[0])
        numbers, firsts = images.number_lineages(RANK_NAMES, rows)
        lineages = images.take(rows[firsts], RANK_NAMES).itertuples(index=False, name=None)
        found = [_name_meant(lineage, known) for lineage in lineages]
        return np.array(found, dtype=object)[numbers]

    def group(self, rank: Rank) -> tuple[Classes, Places]:
        """Return the distinct classes of a broader rank, and that of each class, -1 for none.

        Classes that are no taxa have none.
        """
        if self.rank is None:
            return Classes((), level=rank), np.full(len(self), -1, dtype=np.int64)
        grouped, places = self.taxonomy.group(rank)
        return Classes.of(grouped, rank), places


def _name_meant(lineage: tuple[str, ...], known: Sequence[tuple[int, tuple[str, ...], str]]) -> str:
    """Return the first class whose taxon a lineage is or lies below, else its own lowest name.

    A lineage that ends above the taxon of a class may be of it or not: it has no label.
    """
    for depth, taxon, name in known:
        pairs = zip(lineage[: depth + 1], taxon[: depth + 1], strict=True)
        if all(a == b for a, b in pairs if a and b):
            return name if lineage[depth] else ""
    return next((name for name in reversed(lineage) if name), "")


def write_classes(classes: Classes, names: Iterable[object] = ()) -> list[dict[str, Any]]:
    """Return classes as JSON-ready mappings, under other names where these are given."""
    listed = [str(name) for name in names] or classes.names
    if not classes.taxa:
        return [{"name": name} for name in listed]
    return [
        {"name": name, "lineage": taxon.lineage, "common_name": taxon.common_name}
        for name, taxon in zip(listed, classes.taxa, strict=True)
    ]


def read_classes(written: Sequence[Mapping[str, Any]], level: str) -> Classes:
    """Return what :func:`write_classes` wrote."""
    taxa = tuple(
        Taxon(tuple(one["lineage"]), one["common_name"]) for one in written if "lineage" in one
    )
    if taxa and not all("name" in one for one in written):
        return Classes.of(taxa, Rank(level))
    return Classes(tuple(str(one["name"]) for one in written), taxa, level)


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
        Class of each row, -1 where its label has a hole there.
    above : ndarray of object, shape (n, n_above)
        Labels of each row in what stands before the target in its chain, completed by what other
        rows of its class know.
    """

    rows: Rows
    classes: Classes
    positions: Places
    above: Names

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> Names:
        """Unique name of each row's class, ``""`` where it has none."""
        names = np.array([*self.classes.names, ""], dtype=object)
        return np.asarray(names[self.positions], dtype=object)

    @property
    def chain(self) -> Names:
        """Names from the start of the chain to its end, which are unique there; (n, n_levels)."""
        return np.column_stack([self.above, self.names]).astype(object)

    def take(self, kept: Mask) -> Labelled:
        """Return some of the rows, with all classes."""
        return dataclasses.replace(
            self,
            rows=self.rows[kept],
            positions=self.positions[kept],
            above=self.above[kept],
        )

    def keep_classes(self, kept: Places) -> Labelled:
        """Return the same rows with fewer classes, in this order; others' rows have none."""
        place = np.full(len(self.classes) + 1, -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        return dataclasses.replace(
            self, classes=self.classes.take(kept), positions=place[self.positions]
        )


def label_rows(
    images: ImageTable,
    rows: Rows,
    target: Target,
    others: Taxonomy | Sequence[str] | None = None,
) -> Labelled:
    """Find the class of each row.

    Parameters
    ----------
    images : ImageTable
        Of the whole store.
    rows : ndarray of int64, shape (n,)
        Rows of the store.
    target : Target
        What the classes are of.
    others : Taxonomy or sequence of str, optional
        Taxa at the rank, or values of the column, that are classes too, with or without a row.

    Raises
    ------
    MisuseError
        If a class lies below several names of a column of the chain, which is then no hierarchy.
    """
    if target.rank is None:
        return _label_values(images, rows, target, others or ())
    known = others if isinstance(others, Taxonomy) else None
    return _label_taxa(images, rows, target, target.rank, known)


def _label_values(
    images: ImageTable, rows: Rows, target: Target, others: Taxonomy | Sequence[str]
) -> Labelled:
    labels = images.labels(target.name)[rows]
    listed = list(dict.fromkeys(str(one) for one in others))
    names = [*listed, *sorted(set(labels.tolist()) - {"", *listed})]
    classes = Classes(tuple(names), level=target.name)
    positions = classes.find(labels)
    above = _read_above(images, rows, target, positions, classes)
    return Labelled(np.asarray(rows, dtype=np.int64), classes, positions, above)


def _label_taxa(
    images: ImageTable, rows: Rows, target: Target, rank: Rank, others: Taxonomy | None
) -> Labelled:
    numbers, firsts = images.number_lineages(LABEL_COLUMNS, rows)
    frame = images.take(rows[firsts], LABEL_COLUMNS)
    lineages = frame[list(RANK_NAMES)].to_numpy(dtype=object)
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
    for place in np.flatnonzero(positions >= 0):
        upper = grouped.taxa[positions[place]].lineage[: rank.depth + 1]
        completed[place, : rank.depth + 1] = upper
    classes = Classes.of(grouped, rank)
    positions = positions[numbers]
    above = _read_above(images, rows, target, positions, classes, (completed, numbers))
    return Labelled(np.asarray(rows, dtype=np.int64), classes, positions, above)


def _read_above(
    images: ImageTable,
    rows: Rows,
    target: Target,
    positions: Places,
    classes: Classes,
    lineages: tuple[Names, Places] | None = None,
) -> Names:
    """Return what stands above the class of each row in the chain of a target.

    Lineages are those that differ, and which of them each row has.
    """
    columns = np.empty((len(rows), len(target.chain) - 1), dtype=object)
    for place, name in enumerate(target.chain[:-1]):
        rank = find_rank(name)
        if rank is not None and lineages is not None:
            distinct, numbers = lineages
            columns[:, place] = distinct[numbers, rank.depth]
        else:
            labels = images.labels(name)[rows]
            columns[:, place] = _complete(labels, positions, name, target, classes)
    return columns


def _complete(
    labels: Names, positions: Places, name: str, target: Target, classes: Classes
) -> Names:
    """Fill the holes of a column of a chain with what other rows of the same class have there."""
    above: dict[int, str] = {}
    for position, label in zip(positions.tolist(), labels.tolist(), strict=True):
        if position < 0 or not label:
            continue
        other = above.setdefault(position, label)
        if label != other:
            msg = (
                f"{classes.names[position]} of {target.name} lies below both {other} and {label} "
                f"of {name}: that is no hierarchy; leave {name} out of the chain"
            )
            raise MisuseError(msg)
    filled = [
        label or above.get(position, "")
        for position, label in zip(positions.tolist(), labels.tolist(), strict=True)
    ]
    return np.array(filled, dtype=object)


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
    names = RANK_NAMES[: rank.depth + 1]
    numbers, firsts = images.number_lineages(names, rows)
    distinct = zip(*images.read_texts(rows[firsts], names).values(), strict=True)
    return find_classes(distinct, classes, rank)[numbers]


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

    def name(frame: pd.DataFrame) -> pd.Series[str]:
        contents = name_contents(frame)
        return contents.where(contents != "", frame["path"])

    return hash_sorted(map(name, images.iter_frames(["sha256", REGION, "path"], np.sort(rows))))


def mark_rows(images: ImageTable, rows: Rows) -> npt.NDArray[np.uint64]:
    """Return a number that stands for each image, wherever it lies, uint64 of shape (n_rows,).

    Images are known as for :func:`hash_rows`, so a picture is the same in another store or folder;
    all regions of one picture have its number.
    """

    def mark(frame: pd.DataFrame) -> bytes:
        pairs = zip(frame["sha256"].tolist(), frame["path"].tolist(), strict=True)
        known = (str(sha256 or path).encode() for sha256, path in pairs)
        return b"".join(hashlib.sha256(one).digest()[:8] for one in known)

    first = b"".join(map(mark, images.iter_frames(["sha256", "path"], rows)))
    return np.frombuffer(first, dtype=">u8").astype(np.uint64)


def mark_gone(gone: Gone) -> npt.NDArray[np.uint64]:
    """Return what :func:`mark_rows` does for images that are gone and stay nowhere else."""
    return np.setdiff1d(
        mark_rows(gone.images, gone.rows), mark_rows(gone.kept, np.arange(len(gone.kept)))
    )


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
    others : Taxonomy or tuple of str, optional
        Taxa at the rank, or values of the column, that are classes although no row that teaches
        may have them: those of a list that was given, or that a user added. Labels of rows that
        judge are no input.
    phrases : mapping of str to tuple of str
        Texts of classes that are no taxa, by name; one that has none here is written as its name.
    """

    encode_text: EncodeText
    logit_scale: float
    text_type: TextType = TextType.TAXON_COM
    templates: tuple[str, ...] = ("a photo of {}.",)
    others: Taxonomy | tuple[str, ...] | None = None
    phrases: Phrases = dataclasses.field(default_factory=dict)

    def list_phrases(self, classes: Classes) -> list[tuple[str, ...]]:
        """Return the texts of each class that is no taxon."""
        return [self.phrases.get(name) or (name,) for name in classes.names]

    def write(self, phrases: Sequence[str]) -> tuple[str, ...]:
        """Return every phrase in every template."""
        return tuple(t.replace("{}", phrase) for phrase in phrases for t in self.templates)

    def embed(self, classes: Classes) -> dict[str, Any]:
        """Return the arguments of a :class:`bioprobe.probes.linear.PromptedProbe`."""
        if classes.rank is None:
            vectors = self._embed_values(classes)
        else:
            prompts = PromptSet(classes.taxonomy, self.text_type, self.templates)
            vectors = prompts.embed(self.encode_text)
        return {
            "texts": vectors,
            "text_classes": np.array(classes.names, dtype=object),
            "scale": self.logit_scale,
        }

    def describe(self) -> dict[str, Any]:
        """Return what the texts depend on, JSON-ready."""
        said: dict[str, Any] = {
            "text_type": self.text_type.value,
            "templates": list(self.templates),
            "logit_scale": self.logit_scale,
        }
        if self.phrases:
            said["phrases"] = {name: list(texts) for name, texts in self.phrases.items()}
        return said

    def _embed_values(self, classes: Classes) -> Vectors:
        texts = [self.write(phrases) for phrases in self.list_phrases(classes)]
        return embed_means(texts, self.encode_text)
