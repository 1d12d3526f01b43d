"""Image prototypes beside texts: what stands for a class that has one, the other, or both.

Images lie nearer to images than to texts (the modality gap), so a class that is known by pictures
would take the images of all others. Prototypes are therefore brought to where texts are: less
their own mean, with the spread of texts, plus the mean of texts. Spread is what the cosines of
images to *other* classes have. A class of pictures alone then is as far from images of others as
one of texts alone; and so is one of both, whose mix would else have less spread than its parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import PromptError
from bioprobe.intervals import Accuracy
from bioprobe.store.view import View
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.taxonomy.columns import LABEL_COLUMNS
from bioprobe.types import Rows, Scores, Vectors
from bioprobe.zeroshot.prototypes import MadeOf
from bioprobe.zeroshot.question import Question, answer_at_rank
from bioprobe.zeroshot.text_head import TextHead, find_head_leaves

# Of fewer nobody can tell how far images of other classes are.
_LEAST = 3
# Classes that the frame is found of, spread over them: their cosines are 4 million.
_N_SEEN = 2048
_NO_SPREAD = 1e-9
# Labelled images that say what a text counts beside a prototype; more change no choice.
_CHOSEN_ON = 2000
#: Pictures that a text may count as: from next to nothing to all but alone.
WORTHS = (0.0625, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 1024.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Joined:
    """Prototypes of the classes that are asked.

    Parameters
    ----------
    places : ndarray of int64, shape (n_known,)
        Which classes have one, ascending.
    vectors : ndarray of float32, shape (n_known, dim), unit rows
        The mean of all pictures below the class, made unit.
    n_groups : ndarray of int64, shape (n_known,)
        Pictures, or groups of them, that count.
    """

    places: Rows
    vectors: Vectors
    n_groups: Rows


def join_prototypes(head: TextHead, taxa: Sequence[Taxon]) -> Joined:
    """Join the prototypes of a head to those of taxa at or above their rank.

    A prototype with its count and mean cosine gives back the sum of the unit rows that it was made
    of, so what is joined is what would have been made of all their pictures.

    Raises
    ------
    PromptError
        If no taxon has one.
    """
    made_of = get_made_of(head)
    place_of = {taxon.lineage: place for place, taxon in enumerate(taxa)}
    # Prompts name rows of text heads, of which this is none.
    bare = Taxonomy(tuple(Taxon(taxon.lineage) for taxon in taxa))
    found = find_head_leaves(head, bare)
    starts = np.flatnonzero(np.diff(found.classes, prepend=-1))
    weighted = head.vectors[found.rows] * made_of.weights[found.rows, np.newaxis]
    sums = np.add.reduceat(weighted, starts)
    vectors = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    places = np.array([place_of[taxon.lineage] for taxon in found.taxa], dtype=np.int64)
    order = np.argsort(places)
    n_groups = np.add.reduceat(made_of.n_groups[found.rows], starts)
    return Joined(places[order], vectors[order].astype(np.float32), n_groups[order])


def take_prototype(head: TextHead, taxon: Taxon) -> tuple[Vectors, tuple[str, ...]]:
    """Return the prototype of a taxon in the place of example pictures.

    Returns
    -------
    vectors : ndarray of float32, shape (1, dim), unit rows
    names : tuple of str, length 1
        Says where it is from, where those of pictures have the SHA-256 of their bytes.

    Raises
    ------
    PromptError
        If the head has none.
    """
    try:
        joined = join_prototypes(head, [taxon])
    except PromptError as error:
        msg = (
            f"the head {head.name} has no prototype of {taxon.name}; see: bioprobe taxa list "
            f"--head {head.name}"
        )
        raise PromptError(msg) from error
    return joined.vectors, (f"prototype {head.name} {head.about['vectors_sha256']}",)


def get_made_of(head: TextHead) -> MadeOf:
    """Return what a head of image prototypes was made of.

    Raises
    ------
    PromptError
        If it is a text head.
    """
    if head.made_of is None:
        msg = (
            f"the head {head.name} holds texts, no image prototypes; make these with: bioprobe "
            "taxa prototypes --name NAME"
        )
        raise PromptError(msg)
    return head.made_of


@dataclasses.dataclass(frozen=True, eq=False)
class Fusion:
    """How the prototypes of some classes stand among texts.

    Make one with :meth:`find`.

    Parameters
    ----------
    text_mean : ndarray of float32, shape (dim,)
        Of the texts of all classes.
    moved : ndarray of float32, shape (n_known, dim)
        Prototypes less their mean, with the spread of texts.
    n_groups : ndarray of int64, shape (n_known,)
        Pictures of each that count.
    correlation : float
        Of the cosines of images to texts and to prototypes of other classes.
    worth : float
        Pictures that a text counts as, by counts and spread; see :meth:`find`.
    rule : str
        How it was found, in words.
    """

    text_mean: Vectors
    moved: Vectors
    n_groups: Rows
    correlation: float
    worth: float
    rule: str

    @classmethod
    def find(
        cls, text_mean: Vectors, texts: Vectors, both: Rows, joined: Joined, made_of: MadeOf
    ) -> Fusion:
        """Find where prototypes stand, and how much a text is worth beside them.

        The prototypes stand for images, so that no image is read and answers to one do not depend
        on the others.

        The weight of a prototype of n pictures is n / (n + worth). Of two estimates of where the
        images of a class are the best weights are inversely as their variances: that of a mean of
        n pictures is their variance over n; that of a text is the mean squared distance between
        text and prototype, less the former. ``worth`` is the one variance over the other. Of
        single pictures alone it cannot be told, and is 1.

        Parameters
        ----------
        text_mean : ndarray of float32, shape (dim,)
        texts : ndarray of float32, shape (n_both, dim), unit rows
        both : ndarray of int64, shape (n_both,)
            Which of the prototypes have these texts.
        joined : Joined
            The prototypes.
        made_of : MadeOf
            Of the head that they are of.

        Raises
        ------
        PromptError
            If fewer than three classes have both, or these are all alike.

        References
        ----------
        Jain, Nandakumar & Ross 2005, *Score normalization in multimodal biometric systems*
        (z-scores before a weighted sum); Efron & Morris 1973, *Stein's Estimation Rule and Its
        Competitors: An Empirical Bayes Approach*; Liang et al. 2022, *Mind the Gap*.
        """
        if len(both) < _LEAST:
            msg = (
                f"{len(both)} of the classes have a text and a prototype; what an image of another "
                f"class has in common with each takes {_LEAST}. Ask by one kind alone"
            )
            raise PromptError(msg)
        image_mean = joined.vectors.mean(axis=0)
        seen = both[np.unique(np.linspace(0, len(both) - 1, _N_SEEN).astype(np.int64))]
        rows = np.searchsorted(both, seen)
        images = joined.vectors[seen]
        to_text = _list_others(images @ (texts[rows] - text_mean).T)
        to_image = _list_others(images @ (images - image_mean).T)
        spreads = float(to_text.std()), float(to_image.std())
        if min(spreads) < _NO_SPREAD:
            msg = "the prototypes or the texts of the classes are all alike; look at their labels"
            raise PromptError(msg)
        ratio = spreads[0] / spreads[1]
        moved = (ratio * (joined.vectors - image_mean)).astype(np.float32)
        correlation = float(np.corrcoef(to_text, to_image)[0, 1])
        distances = np.square(moved[both] - (texts - text_mean)).sum(axis=1)
        worth, rule = _find_worth(distances, joined.n_groups[both], made_of, ratio)
        return cls(text_mean, moved, joined.n_groups, correlation, worth, rule)

    def fuse(self, known: Rows, texts: Vectors, worth: float) -> Vectors:
        """Return what stands for texts with prototypes, float32 of shape (n_rows, dim).

        Rows are no unit vectors: their logits have the mean and spread of those of texts.

        Parameters
        ----------
        known : ndarray of int64, shape (n_rows,)
            Which prototype stands beside each text.
        texts : ndarray of float32, shape (n_rows, dim), unit rows
        worth : float
            Pictures that a text counts as: 0 leaves it out, infinity the pictures.
        """
        n_groups = self.n_groups[known]
        share = np.zeros(len(known)) if np.isinf(worth) else n_groups / (n_groups + worth)
        weight = share[:, np.newaxis].astype(np.float32)
        mixed = (1 - weight) * (texts - self.text_mean) + weight * self.moved[known]
        overlap = 2 * self.correlation * weight * (1 - weight)
        spread = np.sqrt(np.maximum(weight**2 + (1 - weight) ** 2 + overlap, _NO_SPREAD))
        return np.asarray(self.text_mean + mixed / spread, dtype=np.float32)

    def stand_alone(self, known: Rows) -> Vectors:
        """Return what stands for classes of pictures alone, float32 of shape (n_rows, dim)."""
        return self.text_mean + self.moved[known]


def _list_others(cosines: Scores) -> Scores:
    """Return what a square of cosines has beside its diagonal."""
    return cosines[~np.eye(len(cosines), dtype=bool)]


def _find_worth(
    distances: Scores, n_groups: Rows, made_of: MadeOf, ratio: float
) -> tuple[float, str]:
    several = made_of.n_groups > 1
    if not several.any():
        return 1.0, "each taxon has a single picture, so that a text counts as one"
    n, cosine = made_of.n_groups[several], made_of.mean_cosine[several]
    # Unbiased, of unit rows: the squared length of their mean is all that they have in common.
    of_image = float(np.mean(n / (n - 1) * (1 - cosine**2))) * ratio**2
    of_text = float(np.mean(distances - of_image / n_groups))
    if of_text <= 0:
        return WORTHS[-1], "texts lie where the pictures do"
    worth = float(np.clip(of_image / of_text, WORTHS[0], WORTHS[-1]))
    return worth, "by counts and spread: variance of pictures over that of texts"


def choose_worth(fusion: Fusion, measure: Callable[[float], tuple[int, int]]) -> tuple[float, str]:
    """Choose how many pictures a text counts as on labelled images.

    Of :data:`WORTHS` that with most right answers is taken, if it is better than what counts and
    spread say by a standard error: a few images tell less.

    Parameters
    ----------
    fusion : Fusion
    measure : callable
        From a worth to the images that are right with it, and all; none made a prototype.

    Returns
    -------
    worth : float
    rule : str
        How it was chosen, in words.

    References
    ----------
    Breiman et al. 1984, *Classification and Regression Trees* (the one-standard-error rule).
    """
    tried = {worth: measure(worth) for worth in (fusion.worth, *WORTHS)}
    n_right, n_images = tried[fusion.worth]
    best = max(tried, key=lambda worth: tried[worth][0])
    error = Accuracy(1, n_right, n_images).standard_error
    is_better = (tried[best][0] - n_right) / n_images > error
    worth = best if is_better else fusion.worth
    right = f"{tried[worth][0]:,} of {n_images:,} labelled images that made no prototype are right"
    if is_better:
        return worth, f"{right}; {n_right:,} by counts and spread"
    return worth, f"{fusion.rule}; {right}, and no other is better by a standard error"


@dataclasses.dataclass(frozen=True, eq=False)
class Worth:
    """What a text counts beside a prototype.

    Parameters
    ----------
    value : float
        Pictures that it counts as.
    rule : str
        How that was found, in words.
    rows : ndarray of int64, shape (n_images,), optional
        Rows of the store on which it was chosen.
    """

    value: float
    rule: str
    rows: Rows | None = None


def describe_fused(head: TextHead, worth: Worth) -> dict[str, Any]:
    """Return which prototypes stand beside texts, and how, JSON-ready."""
    return {
        "prototypes": head.name, "prototypes_sha256": head.about["vectors_sha256"],
        "text_worth": round(worth.value, 4), "text_worth_rule": worth.rule,
    }  # fmt: skip


def choose_worth_among(
    view: View, rank: Rank, made_of: MadeOf, fusion: Fusion, put: Callable[[float], Question]
) -> Worth | None:
    """Choose how many pictures a text counts as, as :func:`choose_worth` does, on images of a view.

    Parameters
    ----------
    view : View
        Of whose images those count that have a label and made no prototype.
    rank : Rank
        Of the labels.
    made_of : MadeOf
        What the prototypes were made of.
    fusion : Fusion
    put : callable
        From a worth to what is asked with it.

    Returns
    -------
    Worth or None
        None where no image of the view is left to choose on.
    """
    new = ~made_of.find_taught(view.images, view.rows)
    rows = view.rows[new & (view.labels(rank) != "")]
    if not len(rows):
        return None
    if len(rows) > _CHOSEN_ON:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, _CHOSEN_ON).astype(np.int64))]
    judged = View(view.store, rows)

    def measure(worth: float) -> tuple[int, int]:
        (top, *_) = answer_at_rank(judged, put(worth).named(), 1).accuracy()
        return top.n_correct, top.n_images

    return Worth(*choose_worth(fusion, measure), rows)


@dataclasses.dataclass(frozen=True, eq=False)
class TextRows:
    """Texts of classes, of which some have a prototype.

    Parameters
    ----------
    fusion : Fusion
    rows : ndarray of int64, shape (n_rows,)
        Rows of ``texts`` that have one.
    known : ndarray of int64, shape (n_rows,)
        Which prototype each has.
    texts : ndarray, shape (n_texts, dim), unit rows
    n_classes : int
        Classes that have one.
    """

    fusion: Fusion
    rows: Rows
    known: Rows
    texts: Vectors
    n_classes: int

    @classmethod
    def of_classes(
        cls,
        head: TextHead,
        taxa: Sequence[Taxon],
        texts: Vectors,
        classes: Rows,
        *,
        own: Sequence[str] = (),
    ) -> TextRows:
        """Find what texts of classes have a prototype.

        Parameters
        ----------
        head : TextHead
            Of image prototypes.
        taxa : sequence of Taxon
            The classes, at any ranks.
        texts : ndarray of float32, shape (n_texts, dim), unit rows
        classes : ndarray of int64, shape (n_texts,)
            Class of each.
        own : sequence of str
            Names of classes that have pictures of their own already, and keep them.

        Raises
        ------
        PromptError
            If no class has one, or too few have.
        """
        joined = join_prototypes(head, taxa)
        named = np.array([taxa[place].name not in own for place in joined.places], dtype=bool)
        known_of = np.full(len(taxa), -1, dtype=np.int64)
        known_of[joined.places[named]] = np.flatnonzero(named)
        rows = np.flatnonzero(known_of[classes] >= 0)
        # Of several texts of a class the first stands for all where the spread is found.
        both, firsts = np.unique(known_of[classes[rows]], return_index=True)
        fusion = Fusion.find(
            texts.mean(axis=0), texts[rows[firsts]], both, joined, get_made_of(head)
        )
        return cls(fusion, rows, known_of[classes[rows]], texts, len(both))

    def fuse(self, worth: float) -> Vectors:
        """Return all texts, those with a prototype beside them fused with it."""
        fused = np.array(self.texts, dtype=np.float32)
        fused[self.rows] = self.fusion.fuse(self.known, fused[self.rows], worth)
        return fused


@dataclasses.dataclass(frozen=True, eq=False)
class HeadRows:
    """A text head and the prototypes that stand beside its rows, or in none of them.

    Parameters
    ----------
    head : TextHead
    fusion : Fusion
    taxa : tuple of Taxon
        Those of the prototypes.
    texts : ndarray of float32, shape (n_both, dim), unit rows
        Of the taxa that the head has too.
    both, alone : ndarray of int64
        Which of the taxa have a text, ascending, and which have none.
    replaced : ndarray of int64
        Rows of the head of these texts.
    n_left_out : int
        Taxa of prototypes that the head divides further.
    """

    head: TextHead
    fusion: Fusion
    taxa: tuple[Taxon, ...]
    texts: Vectors
    both: Rows
    alone: Rows
    replaced: Rows
    n_left_out: int

    @classmethod
    def of_head(cls, head: TextHead, prototypes: TextHead) -> HeadRows:
        """Find which taxa of prototypes a text head has.

        Raises
        ------
        PromptError
            If too few are in both.
        """
        names = prototypes.taxa[list(LABEL_COLUMNS)].itertuples(index=False, name=None)
        taxa = tuple(Taxon(tuple(row[:-1]), row[-1]) for row in names)
        joined = join_prototypes(prototypes, taxa)
        rows_of = _find_rows(head, taxa)
        lowest = head.find_depths()
        both, texts, replaced, divided = [], [], [], []
        for place, rows in rows_of.items():
            own = rows[lowest[rows] == taxa[place].depth]
            if not len(own):
                divided.append(place)
                continue
            both.append(place)
            replaced.append(own)
            texts.append(np.asarray(head.vectors[own], dtype=np.float32).mean(axis=0))
        seen = np.unique(np.linspace(0, len(head) - 1, 2 * _N_SEEN).astype(np.int64))
        text_mean = np.asarray(head.vectors[seen], dtype=np.float32).mean(axis=0)
        found = normalise_rows(np.array(texts, dtype=np.float32).reshape(len(texts), -1))
        known = np.array(both, dtype=np.int64)
        fusion = Fusion.find(text_mean, found, known, joined, get_made_of(prototypes))
        alone = np.setdiff1d(np.arange(len(taxa)), [*both, *divided])
        return cls(head, fusion, taxa, found, known, alone, np.concatenate(replaced), len(divided))

    @property
    def n_classes(self) -> int:
        """Taxa that have both."""
        return len(self.both)

    def fuse(self, worth: float) -> TextHead:
        """Return the head with the prototypes among its rows."""
        vectors = np.concatenate(
            [self.fusion.fuse(self.both, self.texts, worth), self.fusion.stand_alone(self.alone)]
        )
        taxa = [self.taxa[place] for place in (*self.both, *self.alone)]
        return self.head.with_taxa(
            taxa, vectors, np.zeros(len(taxa), dtype=np.float32), replaced=self.replaced,
            beside=self.head.beside,
        )  # fmt: skip


def _find_rows(head: TextHead, taxa: Sequence[Taxon]) -> dict[int, Rows]:
    """Return the rows of a text head at and below each of some taxa that has any."""
    place_of = {taxon.lineage: place for place, taxon in enumerate(taxa)}
    try:
        found = find_head_leaves(head, Taxonomy(tuple(Taxon(taxon.lineage) for taxon in taxa)))
    except PromptError:
        return {}
    starts = np.flatnonzero(np.diff(found.classes, prepend=-1))
    parts = np.split(found.rows, starts[1:])
    pairs = zip(found.taxa, parts, strict=True)
    return dict(sorted((place_of[taxon.lineage], rows) for taxon, rows in pairs))
