"""Labels of images as the classes that a probe learns."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.images.image_table import ImageTable
from bioprobe.prompts import PromptSet, TextType
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.types import Vectors

_RANK_NAMES = [rank.value for rank in RANKS]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows of a store with their classes at a rank.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Rows of the store.
    classes : Taxonomy
        Distinct classes at the rank; homonyms are apart by lineage.
    positions : ndarray of int64, shape (n,)
        Class of each row, -1 where its label has a hole at the rank.
    rank : Rank
        Rank of the classes.
    lineages : ndarray of object, shape (n, 7)
        Labels of each row; down to the rank, those of a row with a class are the class's own,
        completed by what other rows know.
    """

    rows: npt.NDArray[np.int64]
    classes: Taxonomy
    positions: npt.NDArray[np.int64]
    rank: Rank
    lineages: npt.NDArray[np.object_]

    @property
    def names(self) -> npt.NDArray[np.object_]:
        """Unique name of each row's class, ``""`` where it has none."""
        names = np.array([*name_classes(self.classes), ""], dtype=object)
        return np.asarray(names[self.positions], dtype=object)

    def chain(self, first: Rank) -> npt.NDArray[np.object_]:
        """Return the names from a rank down to that of the classes, which are unique there."""
        chain = self.lineages[:, first.depth : self.rank.depth + 1].copy()
        chain[:, -1] = self.names
        return chain

    def take(self, kept: npt.NDArray[np.bool_]) -> LabelledRows:
        """Return some of the rows, with all classes."""
        return dataclasses.replace(
            self,
            rows=self.rows[kept],
            positions=self.positions[kept],
            lineages=self.lineages[kept],
        )


def label_rows(
    images: ImageTable,
    rows: npt.NDArray[np.int64],
    rank: Rank,
    others: Taxonomy | None = None,
) -> LabelledRows:
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
    classes, places = known.group(rank)
    place_of = {taxon.lineage: int(place) for taxon, place in zip(known, places, strict=True)}
    positions = np.array([place_of.get(key, -1) for key in keys], dtype=np.int64)
    completed = lineages.copy()
    for row in np.flatnonzero(positions >= 0):
        upper = classes.taxa[positions[row]].lineage[: rank.depth + 1]
        completed[row, : rank.depth + 1] = upper
    return LabelledRows(np.asarray(rows, dtype=np.int64), classes, positions, rank, completed)


def name_classes(classes: Taxonomy) -> list[str]:
    """Name each class; homonyms have their lineage in brackets.

    Examples
    --------
    >>> taxa = [{"kingdom": "Animalia", "genus": "Morus"}, {"kingdom": "Plantae", "genus": "Morus"},
    ...         {"genus": "Ficus"}]
    >>> name_classes(Taxonomy(tuple(map(Taxon.from_names, taxa))))
    ['Morus (Animalia)', 'Morus (Plantae)', 'Ficus']
    """
    times = collections.Counter(taxon.name for taxon in classes)
    return [
        f"{taxon.name} ({', '.join(filter(None, taxon.lineage[: taxon.depth])) or 'elsewhere'})"
        if times[taxon.name] > 1
        else taxon.name
        for taxon in classes
    ]


def hash_taxonomy(classes: Taxonomy) -> str:
    """Return the SHA-256 of the lineages of classes, in their order."""
    text = json.dumps([taxon.lineage for taxon in classes], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_rows(images: ImageTable, rows: npt.NDArray[np.int64]) -> str:
    """Return the SHA-256 of which images rows are, in any order of the rows.

    Images are known by the SHA-256 of their bytes; imported ones, of which nobody saw the bytes,
    by their paths.
    """
    frame = images.frame.iloc[rows]
    pairs = zip(frame["sha256"], frame["path"], strict=True)
    lines = sorted(str(sha256 or path) for sha256, path in pairs)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


@dataclasses.dataclass(frozen=True)
class TextPrior:
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
        Taxa at the rank that are classes although no training row may have them.
    """

    encode_text: Callable[[Sequence[str]], Vectors]
    logit_scale: float
    text_type: TextType = TextType.TAXON_COM
    templates: tuple[str, ...] = ("a photo of {}.",)
    others: Taxonomy | None = None

    def embed(self, classes: Taxonomy) -> dict[str, Any]:
        """Return the arguments of a :class:`bioprobe.probes.prompted.PromptedProbe`."""
        prompts = PromptSet(classes, self.text_type, self.templates)
        return {
            "texts": prompts.embed(self.encode_text),
            "text_classes": np.array(name_classes(classes), dtype=object),
            "scale": self.logit_scale,
        }

    def describe(self) -> dict[str, Any]:
        """Return what the texts depend on, JSON-ready."""
        return {
            "text_type": self.text_type.value,
            "templates": list(self.templates),
            "logit_scale": self.logit_scale,
        }
