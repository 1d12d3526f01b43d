"""Classes that cannot be told apart, or hardly."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.prompts import PromptSet
from bioprobe.provenance import Provenance
from bioprobe.result import Notes, Result
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.predictions import Predictions
from bioprobe.task.target import find_label_classes
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.types import EncodeText, Vectors
from bioprobe.zeroshot.examples import find_centre, read_examples

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.zeroshot.head_recipe import HeadCheck

# A taxon nearer to a class than nine in ten classes are to their own nearest is confused with it.
_NEAR_FRACTION = 0.9
_SAME = 0.9999


def find_same_texts(prompts: PromptSet) -> list[tuple[Taxon, ...]]:
    """Find the classes whose texts are the same, as those of two species with one common name.

    Returns
    -------
    list of tuple of Taxon
        Two or more each.
    """
    groups: dict[frozenset[str], list[Taxon]] = {}
    for taxon, texts in zip(prompts.taxa, prompts.texts, strict=True):
        groups.setdefault(frozenset(texts), []).append(taxon)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def count_ties(predictions: Predictions) -> int:
    """Return how many images have two classes of equal score first."""
    if predictions.scores.shape[1] < 2:
        return 0
    return int((predictions.scores[:, 0] == predictions.scores[:, 1]).sum())


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The classes whose texts, or images, are nearest to those of a taxon.

    Parameters
    ----------
    taxa : tuple of Taxon
        Nearest first.
    similarities : ndarray of float32, shape (k,)
        Cosine similarities.
    usual : float
        Similarity that nine in ten of the classes stay below with their own nearest class; not a
        number for fewer than two classes.
    """

    taxa: tuple[Taxon, ...]
    similarities: npt.NDArray[np.float32]
    usual: float

    @property
    def is_confusing(self) -> bool:
        """Whether the taxon will be confused with the nearest class."""
        if not len(self.similarities):
            return False
        nearest = float(self.similarities[0])
        return nearest >= _SAME or nearest > self.usual


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Likeness(Result):
    """The classes that a taxon may be confused with, and whether a text head is the model's.

    Parameters
    ----------
    taxon : Taxon or None
        What was compared; None where only a head was.
    by_text : Neighbours or None
        None where the encoder reads no text.
    by_image : Neighbours or None
        None where there is no image of it, or of no other class.
    provenance : Provenance
        What the result was computed from.
    notes : tuple of Note
        What is to be said of it.
    head : HeadCheck or None
        How near a head's vectors are to those of the model; None where no head was named.
    """

    taxon: Taxon | None
    by_text: Neighbours | None
    by_image: Neighbours | None
    provenance: Provenance
    notes: Notes = ()
    head: HeadCheck | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return one row a class and way of comparing, nearest first, texts before images.

        Taxa of a head come last, each with the similarity of the head's vector to the model's,
        the least first.
        """
        import pandas as pd

        rows = [
            (by, one.name, one.common_name, float(similarity))
            for by, near in (("text", self.by_text), ("image", self.by_image))
            if near is not None
            for one, similarity in zip(near.taxa, near.similarities, strict=True)
        ]
        if self.head is not None:
            rows += [
                ("head", one.name, one.common_name, float(cosine))
                for one, cosine in zip(self.head.taxa, self.head.cosines, strict=True)
            ]
        return pd.DataFrame(rows, columns=["by", "name", "common_name", "similarity"])


def find_neighbours(
    taxon: Taxon,
    prompts: PromptSet,
    encode_text: EncodeText,
    *,
    k: int = 5,
) -> Neighbours:
    """Find the classes whose texts are nearest to that of a taxon.

    Parameters
    ----------
    taxon : Taxon
        Left out of the classes where it is one of them.
    prompts : PromptSet
        The classes, and how taxa are written.
    encode_text : callable
        From texts to unit vectors.
    k : int
        Classes, ≥ 1.
    """
    asked = dataclasses.replace(prompts, taxa=Taxonomy((taxon,)))
    others = [place for place, one in enumerate(prompts.taxa) if one.name != taxon.name]
    classes = prompts.embed(encode_text)[others]
    named = [prompts.taxa.taxa[place] for place in others]
    return _find_nearest(asked.embed(encode_text)[0], named, classes, k)


def find_neighbours_by_image(
    taxon: Taxon,
    store: EmbeddingStore,
    classes: Taxonomy,
    *,
    pictures: Vectors | None = None,
    k: int = 5,
) -> Neighbours | None:
    """Find the classes whose labelled images are nearest to those of a taxon, by their means.

    Parameters
    ----------
    taxon : Taxon
        Left out of the classes where it is one of them.
    store : EmbeddingStore
        Whose labels are believed.
    classes : Taxonomy
        All at the rank of the taxon.
    pictures : ndarray of float32, shape (n_examples, dim), unit rows, optional
        Pictures of the taxon. By default those that were added with it, else the images that are
        labelled with it.
    k : int
        Classes, ≥ 1.

    Returns
    -------
    Neighbours or None
        None where there is no image of the taxon, or of no other class.
    """
    together = Taxonomy.merge((taxon, *classes))
    means, counts = _average_labelled(store, together, taxon.rank)
    if pictures is None:
        kept = (one.vectors for one in read_examples(store) if one.is_of(taxon))
        pictures = next(kept, means[:1] if counts[0] else None)
    others = np.flatnonzero(counts)
    others = others[others > 0]
    if pictures is None or not others.size:
        return None
    named = [together.taxa[place] for place in others]
    return _find_nearest(find_centre(pictures), named, means[others], k)


def _average_labelled(
    store: EmbeddingStore, classes: Taxonomy, rank: Rank
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """Return the mean vector of the images labelled with each class, made unit, and how many."""
    labels = find_label_classes(store.images, store.rows, classes, rank)
    rows, labels = store.rows[labels >= 0], labels[labels >= 0]
    sums = np.zeros((len(classes), store.manifest.dim), dtype=np.float32)
    start = 0
    for vectors in View(store, rows).iter_vectors():
        np.add.at(sums, labels[start : start + len(vectors)], vectors)
        start += len(vectors)
    return normalise_rows(sums), np.bincount(labels, minlength=len(classes))


def _find_nearest(asked: Vectors, taxa: Sequence[Taxon], classes: Vectors, k: int) -> Neighbours:
    similarities = classes @ asked
    order = np.argsort(-similarities, kind="stable")[:k]
    nearest = tuple(taxa[place] for place in order)
    return Neighbours(nearest, similarities[order], _find_usual(classes))


def _find_usual(classes: Vectors) -> float:
    if len(classes) < 2:
        return float("nan")
    # The classes of a very long list are asked by a sample, evenly spread.
    sample = np.unique(np.linspace(0, len(classes) - 1, 1000).astype(np.int64))
    similarities = classes[sample] @ classes.T
    similarities[np.arange(len(sample)), sample] = -1
    return float(np.quantile(similarities.max(axis=1), _NEAR_FRACTION))
