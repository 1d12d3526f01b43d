"""How much the pictures of a new class count beside its text, and what keeps it in its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bioprobe.errors import PromptError
from bioprobe.intervals import Accuracy
from bioprobe.prompts import PromptSet
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.target import find_label_classes
from bioprobe.taxonomy import Rank, Taxon, Taxonomy
from bioprobe.types import EncodeText, Mask, Scores, Vectors
from bioprobe.zeroshot.class_embeddings import embed_classes
from bioprobe.zeroshot.examples import find_centre, is_same
from bioprobe.zeroshot.seen_offset import harmonic_mean

# Pictures tell more than a name does to an encoder that has not met it; the text still helps
# where there are one or two of them: the first share of them is tried first, and kept where
# nothing is measured.
WEIGHT_FRACTIONS = (0.75, 0.5, 1.0, 0.25, 0.0)
# Where there are few classes, the share of an average one would be many images.
_SHARE_AT_MOST_FRACTION = 0.02
# In logits: more than float32 rounds by.
_SLACK = 1e-3
# More validation rows than these change no choice.
_ROWS_AT_MOST = 20_000


@dataclasses.dataclass(frozen=True)
class Blend:
    """How a class made of pictures stands among the others.

    Parameters
    ----------
    weight_fraction : float
        Share of the pictures in the class embedding, in [0, 1].
    offset : float
        Subtracted from the logit of the class.
    rule : str
        How the two were chosen, in words.
    own : Accuracy or None
        Images of the taxon that it gets: labelled ones that are not the examples, or each example
        by the others; None where there are none.
    others_before, others_after : Accuracy or None
        Labelled images of the other classes that are right without it and with it.
    """

    weight_fraction: float
    offset: float
    rule: str
    own: Accuracy | None = None
    others_before: Accuracy | None = None
    others_after: Accuracy | None = None


@dataclasses.dataclass(frozen=True)
class _Validation:
    """Vectors against the other classes and against the parts of the new one.

    Parameters
    ----------
    best : ndarray of float32, shape (n,)
        Highest logit of another class.
    answers : ndarray of int64, shape (n,)
        That class.
    by_picture, by_text : ndarray of float32, shape (n,)
        Cosine similarities to the mean of the examples and to the text.
    agreements : ndarray of float32, shape (n,)
        Cosine similarity of the two.
    """

    best: Scores
    answers: npt.NDArray[np.int64]
    by_picture: Scores
    by_text: Scores
    agreements: Scores

    def find_margins(self, weight: float, scale: float) -> npt.NDArray[np.float64]:
        """Return how far the logit of the blend lies above that of the best other class."""
        rest = 1 - weight
        lengths = np.sqrt(weight**2 + rest**2 + 2 * weight * rest * self.agreements)
        blended = (weight * self.by_picture + rest * self.by_text) / np.maximum(lengths, 1e-6)
        return np.asarray(scale * blended - self.best, dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class _Rivals:
    """The other classes."""

    vectors: Vectors
    offsets: Scores
    places: npt.NDArray[np.int64]
    scale: float

    def compare(self, vectors: Vectors, centre: Vectors, text: Vectors) -> _Validation:
        logits = self.scale * (vectors @ self.vectors.T) - self.offsets
        agreements = np.full(len(vectors), centre @ text, dtype=np.float32)
        return _Validation(
            logits.max(axis=1),
            self.places[logits.argmax(axis=1)],
            vectors @ centre,
            vectors @ text,
            agreements,
        )


def choose_blend(
    asked: EmbeddingStore | View,
    prompts: PromptSet,
    encode_text: EncodeText,
    taxon: Taxon,
    vectors: Vectors,
    sha256s: Sequence[str],
    *,
    weight_fractions: Sequence[float] = WEIGHT_FRACTIONS,
) -> Blend:
    """Choose how much pictures count for a new class, on rows of the store that are not these.

    Images are nearer to images than texts are (the modality gap), so a class made of pictures
    would take the images of all others. For each weight, the offset is the lowest at which no
    more than one in n_classes of the images of other classes goes to the new one (the share of
    an average class), nor more than one in 50. The weight is that of the highest harmonic mean of
    the accuracies of the new class and of the others, where this is better than the first
    weight's by a standard error: a few validation images tell less than the first weight, which
    is known to serve.

    Without a labelled image of the taxon, each example is judged by the others; of a single one
    nothing can be judged, and the first weight is taken. Without any label, all images of the store
    count as images of other classes.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose rows are the validation rows.
    prompts : PromptSet
        The classes, the taxon among them.
    encode_text : callable
        From texts to unit vectors.
    taxon : Taxon
        The new class, of one rank with the others.
    vectors : ndarray of float32, shape (n_examples, dim), unit rows
        Its examples.
    sha256s : sequence of str
        SHA-256 of the files of the examples; rows of these are no validation rows.
    weight_fractions : sequence of float
        In order of preference; ``(1.0,)`` leaves the text out.

    Raises
    ------
    PromptError
        If the taxon is not among the classes.

    References
    ----------
    Chao et al. 2016, *An Empirical Study and Analysis of Generalized Zero-Shot Learning for
    Object Recognition in the Wild* (the harmonic mean of both accuracies is Xian et al. 2017);
    Breiman et al. 1984, *Classification and Regression Trees* (the one-standard-error rule).
    """
    view = View.all(asked)
    store = view.store
    place = _find_place(prompts.taxa, taxon)
    rows, labels = _find_rows(view, prompts.taxa, taxon.rank, sha256s)
    is_other = (labels >= 0) & (labels != place)
    has_labels = bool(is_other.any())
    if not has_labels:
        is_other = labels != place
    found = embed_classes(store, prompts, encode_text)
    text, scale = prompts.embed(encode_text)[place], store.manifest.logit_scale
    places = np.delete(np.arange(len(prompts.taxa)), place)
    if not places.size or not is_other.any():
        return Blend(weight_fractions[0], 0.0, "nothing to compare it with: no offset")
    rivals = _Rivals(found.vectors[places], found.offsets[places], places, scale)
    centre = find_centre(vectors)

    def read(wanted: npt.NDArray[np.int64]) -> _Validation:
        parts = View(store, wanted).iter_vectors()
        return _join([rivals.compare(part, centre, text) for part in parts])

    others, own_rows = read(rows[is_other]), rows[labels == place]
    own = read(own_rows) if own_rows.size else _leave_out_each(rivals, vectors, text)
    right = others.answers == labels[is_other]
    tried = [
        _try(weight, others, right, own, scale, len(prompts.taxa)) for weight in weight_fractions
    ]
    best = _prefer_first(tried)
    rule = _describe(
        len(own.best) if own else 0, len(right), len(prompts.taxa), by_labels=own_rows.size > 0
    )
    if not has_labels:
        best = dataclasses.replace(best, others_before=None, others_after=None)
    return dataclasses.replace(best, rule=rule)


def _try(
    weight: float,
    others: _Validation,
    right: Mask,
    own: _Validation | None,
    scale: float,
    n_classes: int,
) -> tuple[float, Blend]:
    """Return what is to be maximised, and the blend."""
    margins = others.find_margins(weight, scale)
    share = min(1 / n_classes, _SHARE_AT_MOST_FRACTION)
    offset = float(np.quantile(margins, 1 - share, method="higher")) + _SLACK
    kept = right & (margins <= offset)
    before = Accuracy(1, int(right.sum()), len(right))
    after = Accuracy(1, int(kept.sum()), len(right))
    blended = Blend(weight, offset, "", None, before, after)
    if own is None:
        return 0.0, blended
    taken = own.find_margins(weight, scale) > offset
    accuracy = Accuracy(1, int(taken.sum()), len(taken))
    # Where no label tells how the others fare, the offset alone protects them.
    others_fraction = after.fraction if right.any() else 1.0
    mean = float(harmonic_mean(accuracy.fraction, others_fraction))
    return mean, dataclasses.replace(blended, own=accuracy)


def _prefer_first(tried: Sequence[tuple[float, Blend]]) -> Blend:
    """Return the best blend, but the first one unless that is worse by a standard error."""
    (first_mean, first), (best_mean, best) = tried[0], max(tried, key=lambda one: one[0])
    if best.own is None:
        return first
    return best if best_mean - first_mean > best.own.standard_error else first


def _leave_out_each(rivals: _Rivals, vectors: Vectors, text: Vectors) -> _Validation | None:
    if len(vectors) < 2:
        return None
    return _join(
        [
            rivals.compare(vectors[n : n + 1], find_centre(np.delete(vectors, n, axis=0)), text)
            for n in range(len(vectors))
        ]
    )


def _join(parts: Sequence[_Validation]) -> _Validation:
    fields = [field.name for field in dataclasses.fields(_Validation)]
    return _Validation(*(np.concatenate([getattr(p, name) for p in parts]) for name in fields))


def _find_place(taxa: Taxonomy, taxon: Taxon) -> int:
    for place, one in enumerate(taxa):
        if is_same(one, taxon):
            return place
    msg = f"{taxon.name!r} is not among the {len(taxa)} classes; add it first"
    raise PromptError(msg)


def _find_rows(
    view: View, taxa: Taxonomy, rank: Rank, sha256s: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the validation rows and the class that each is labelled with, -1 for none."""
    hashes = view.images.column("sha256").to_numpy()[view.rows]
    rows = view.rows[~np.isin(hashes, list(sha256s))]
    if len(rows) > _ROWS_AT_MOST:
        rows = rows[np.linspace(0, len(rows) - 1, _ROWS_AT_MOST).astype(np.int64)]
    if not len(rows):
        return rows, np.zeros(0, dtype=np.int64)
    return rows, find_label_classes(view.images, rows, taxa, rank)


def _describe(n_own: int, n_others: int, n_classes: int, *, by_labels: bool) -> str:
    one_in = max(n_classes, round(1 / _SHARE_AT_MOST_FRACTION))
    offset = f"at most 1 in {one_in:,} of {n_others:,} images of other classes goes to it"
    if not n_own:
        return f"stated default; {offset}"
    kind = "labelled images of it" if by_labels else "examples, each by the others"
    return f"harmonic mean on {n_own:,} {kind} and the other classes; {offset}"
