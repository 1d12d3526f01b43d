"""Pictures of something else: what a collection keeps, told by text and by labels."""

from __future__ import annotations

import dataclasses
import datetime
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from bioprobe.access import is_file
from bioprobe.content import CONTENT, Content, read_content
from bioprobe.errors import (
    LongTextError,
    ModelUnavailableError,
    NoTextTowerError,
    PromptError,
    SelectionError,
)
from bioprobe.files import prompts_dir
from bioprobe.images.image_table import ROWS_AT_ONCE, ImageTable
from bioprobe.intervals import SIGNIFICANCE_LEVEL, adjust_by_holm
from bioprobe.prompts import TextType, describe_long, embed_means, find_long
from bioprobe.provenance import Provenance
from bioprobe.result import Note, Notes, Result
from bioprobe.settings import (
    TEXT,
    TEXTS,
    TEXTS_BY_NAME,
    Kind,
    find_wrong_setting,
    read_settings_text,
)
from bioprobe.store import EmbeddingStore
from bioprobe.store.selections import write_selection
from bioprobe.store.view import View
from bioprobe.task.lazy_rows import iter_parts
from bioprobe.taxonomy import Taxon, Taxonomy
from bioprobe.taxonomy.columns import LABEL_COLUMNS, to_taxonomy
from bioprobe.types import Doubles, EncodeText, Mask, Places, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd


# Below this, a linear filter has seen too little of what is to be dropped.
MIN_LABELS_FOR_LINEAR = 50
_N_FOLDS = 5


@dataclasses.dataclass(frozen=True)
class FilterQuality:
    """How well a filter finds what is to be dropped, on images it was not tuned on.

    Parameters
    ----------
    n_labels : int
        Labelled images.
    auroc : float
        Of the scores, in [0, 1].
    precision_fraction, recall_fraction, f1_fraction : float
        Of dropping, in [0, 1].
    kept_fraction : float
        Share of the labelled images to keep that are kept.
    """

    n_labels: int
    auroc: float
    precision_fraction: float
    recall_fraction: float
    f1_fraction: float
    kept_fraction: float


def choose_threshold(scores: Doubles, wanted: Mask, *, recall: float | None = None) -> float:
    """Choose the score from which an image is kept.

    Parameters
    ----------
    scores : ndarray of float64, shape (n,)
        Higher is more to be kept.
    wanted : ndarray of bool, shape (n,)
        Labels: whether each is to be kept.
    recall : float, optional
        Least share of the wanted images to keep, in [0, 1]: the highest threshold that does so.
        By default, the threshold of the best F1 of dropping; of equals, the lowest.

    Examples
    --------
    >>> scores, wanted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])
    >>> choose_threshold(scores, wanted), choose_threshold(scores, wanted, recall=1.0)
    (3.5, 1.5)
    """
    ordered = np.unique(scores)
    cuts = np.concatenate([[ordered[0] - 1], (ordered[1:] + ordered[:-1]) / 2])
    if recall is not None:
        best = np.sort(scores[wanted])
        shares = 1 - np.searchsorted(best, cuts) / max(1, len(best))
        return float(cuts[np.flatnonzero(shares >= recall)[-1]])
    cuts = np.append(cuts, ordered[-1] + 1)
    unwanted = np.sort(scores[~wanted])
    n_found = np.searchsorted(unwanted, cuts)
    n_dropped = np.searchsorted(np.sort(scores), cuts)
    return float(cuts[np.argmax(2 * n_found / np.maximum(1, n_dropped + len(unwanted)))])


def _score_by_linear(vectors: npt.NDArray[np.float32], wanted: Mask, *, seed: int = 0) -> Doubles:
    """Score labelled images by logistic regressions that did not see them.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    wanted : ndarray of bool, shape (n,)
        At least two of each kind.
    seed : int
        Of the folds.
    """
    from sklearn.model_selection import cross_val_predict

    folds = _make_folds(wanted, seed)
    scores = cross_val_predict(_make_model(), vectors, wanted, cv=folds, method="decision_function")
    return np.asarray(scores, dtype=np.float64)


def apply_linear(
    vectors: npt.NDArray[np.float32], wanted: Mask, others: npt.NDArray[np.float32]
) -> Doubles:
    """Score images by a logistic regression on labelled ones; more than 0 is to be kept."""
    return np.asarray(_make_model().fit(vectors, wanted).decision_function(others), np.float64)


def _measure_filter(
    vectors: npt.NDArray[np.float32],
    text_scores: Doubles,
    wanted: Mask,
    *,
    linear: bool,
    recall: float | None = None,
    seed: int = 0,
) -> FilterQuality:
    """Measure a filter on labelled images, each by what was learnt from the others.

    In each fold the linear filter is fitted and the threshold chosen on the other folds only.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim), unit rows
    text_scores : ndarray of float64, shape (n,)
    wanted : ndarray of bool, shape (n,)
        At least four of each kind.
    linear : bool
        Whether the linear filter takes the place of the text scores.
    recall : float, optional
        As for :func:`choose_threshold`.
    seed : int
        Of the folds.
    """
    from sklearn.metrics import roc_auc_score

    scores, kept = text_scores.copy(), np.zeros(len(wanted), dtype=bool)
    for learn, test in _make_folds(wanted, seed).split(vectors, wanted):
        learnt = text_scores[learn]
        if linear:
            learnt = _score_by_linear(vectors[learn], wanted[learn], seed=seed)
            scores[test] = apply_linear(vectors[learn], wanted[learn], vectors[test])
        kept[test] = scores[test] >= choose_threshold(learnt, wanted[learn], recall=recall)
    n_found = int((~kept & ~wanted).sum())
    n_dropped, n_unwanted = int((~kept).sum()), int((~wanted).sum())
    return FilterQuality(
        n_labels=len(wanted),
        auroc=float(roc_auc_score(wanted, scores)),
        precision_fraction=n_found / max(1, n_dropped),
        recall_fraction=n_found / n_unwanted,
        f1_fraction=2 * n_found / (n_dropped + n_unwanted),
        kept_fraction=float(kept[wanted].mean()),
    )


def _make_model() -> Any:  # noqa: ANN401 - scikit-learn ships no types
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(class_weight="balanced", max_iter=1000)


def _make_folds(wanted: Mask, seed: int) -> Any:  # noqa: ANN401 - scikit-learn ships no types
    from sklearn.model_selection import StratifiedKFold

    n_folds = min(_N_FOLDS, int(wanted.sum()), int((~wanted).sum()))
    return StratifiedKFold(n_folds, shuffle=True, random_state=seed)


@dataclasses.dataclass(frozen=True)
class NoisePrompts:
    """Concepts on both sides of a filter, each described by several texts.

    Parameters
    ----------
    name : str
        What is kept, such as ``animal``; of several, ``animal-plant``.
    templates : tuple of str
        Each holds ``{}`` once.
    kept, dropped : dict of str to tuple of str
        Concept to phrases.
    sets : tuple of str
        Names of the sets that these were joined of; empty of a single one.
    """

    name: str
    templates: tuple[str, ...]
    kept: dict[str, tuple[str, ...]]
    dropped: dict[str, tuple[str, ...]]
    sets: tuple[str, ...] = ()

    def write(self, phrases: tuple[str, ...]) -> tuple[str, ...]:
        """Return every phrase in every template."""
        return tuple(t.replace("{}", phrase) for phrase in phrases for t in self.templates)


_SETTINGS = {
    "source": TEXT,
    "licence": TEXT,
    "date": Kind("a text or a date", lambda value: isinstance(value, str | datetime.date)),
    "templates": TEXTS,
    "kept": TEXTS_BY_NAME,
    "dropped": TEXTS_BY_NAME,
}
# The sets that ship have under a hundred; each takes a pass of the encoder.
_MOST_TEXTS = 10_000


def read_noise_prompts(source: str) -> NoisePrompts:
    """Read a noise prompt set.

    Parameters
    ----------
    source : str
        A shipped set (``animal``), or a TOML file.

    Raises
    ------
    PromptError
        If there is none, or it is not complete.

    Examples
    --------
    >>> "map" in read_noise_prompts("animal").dropped
    True
    """
    path = Path(source) if source.endswith(".toml") else prompts_dir() / f"noise/{source}.toml"
    if not is_file(path):
        known = ", ".join(sorted(file.stem for file in (prompts_dir() / "noise").glob("*.toml")))
        msg = f"no noise prompts {source!r}; expected one of {known}, or a .toml file"
        raise PromptError(msg)
    try:
        fields = tomllib.loads(read_settings_text(path))
        problem = find_wrong_setting(fields, _SETTINGS, needed=("templates", "kept", "dropped"))
    except (ValueError, RecursionError) as error:
        fields, problem = {}, str(error)
    if problem:
        msg = f"{path} holds no noise prompts: {problem}; it needs templates, [kept], [dropped]"
        raise PromptError(msg)
    templates = tuple(fields["templates"])
    if not templates or any(template.count("{}") != 1 for template in templates):
        msg = f"{path}: each template must hold {{}} once, where the phrase goes; got {templates}"
        raise PromptError(msg)
    kept, dropped = (
        {name: tuple(phrases) for name, phrases in fields[side].items()}
        for side in ("kept", "dropped")
    )
    prompts = NoisePrompts(path.stem, templates, kept, dropped)
    n_texts = sum(len(prompts.write(one)) for one in (*kept.values(), *dropped.values()))
    if n_texts > _MOST_TEXTS:
        msg = (
            f"{path} has {n_texts:,} texts (phrases times templates), expected {_MOST_TEXTS:,} at "
            "most: a few phrases describe a concept"
        )
        raise PromptError(msg)
    return prompts


def join_noise_prompts(sets: Iterable[NoisePrompts]) -> NoisePrompts:
    """Join noise prompt sets into one that keeps what any of them keeps.

    What is dropped is what some set drops and no set keeps, by concept and by phrase. The sets are
    joined in the order of their names, so that the same sets have the same name.

    Raises
    ------
    PromptError
        If there is none, or nothing is left to be dropped.

    Examples
    --------
    >>> both = join_noise_prompts([read_noise_prompts("plant"), read_noise_prompts("animal")])
    >>> both.name, "plant" in both.dropped, "vehicle" in both.dropped
    ('animal-plant', False, True)
    """
    by_name = {one.name: one for one in sets}
    if not by_name:
        msg = "no noise prompts; name what is to be kept, such as animal"
        raise PromptError(msg)
    if len(by_name) == 1:
        return next(iter(by_name.values()))
    parts = [by_name[name] for name in sorted(by_name)]
    kept = _join_concepts([one.kept for one in parts])
    wanted = {phrase for phrases in kept.values() for phrase in phrases}
    left = {
        concept: tuple(phrase for phrase in phrases if phrase not in wanted)
        for concept, phrases in _join_concepts([one.dropped for one in parts]).items()
        if concept not in kept
    }
    dropped = {concept: phrases for concept, phrases in left.items() if phrases}
    names = tuple(one.name for one in parts)
    if not dropped:
        msg = f"of the noise prompts {', '.join(names)}, each keeps what the others drop"
        raise PromptError(msg)
    templates = tuple(dict.fromkeys(template for one in parts for template in one.templates))
    return NoisePrompts("-".join(names), templates, kept, dropped, names)


def _join_concepts(sides: list[dict[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    concepts = dict.fromkeys(concept for side in sides for concept in side)
    return {
        concept: tuple(dict.fromkeys(phrase for side in sides for phrase in side.get(concept, ())))
        for concept in concepts
    }


# With 10,000 classes, 80 MB.
_BLOCK_ROWS = 2048


def score_by_text(
    kept: npt.NDArray[Any], dropped: npt.NDArray[Any], own: npt.NDArray[Any] | None = None
) -> Doubles:
    """Return the log-odds of two sides of concepts.

    Each side is the logarithm of the mean of the exponentials of its logits. Where an image has
    a class of its own, the text of that class can only raise the kept side.

    Parameters
    ----------
    kept, dropped : ndarray of a float, shape (n_images, n_concepts)
        Logits: the logit scale times the cosine similarity.
    own : ndarray of a float, shape (n_images,), optional
        Logits of each image's own class; -inf where it has none.

    Examples
    --------
    >>> score_by_text(np.array([[2.0]]), np.array([[1.0, 1.0]])).tolist()
    [1.0]
    """
    side = _log_mean_exp(kept)
    if own is not None:
        side = np.maximum(side, own)
    return np.asarray(side - _log_mean_exp(dropped), dtype=np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseTexts:
    """What the texts of both sides say of images, and those of each image's own class.

    Parameters
    ----------
    scale : float
        The encoder's factor from cosine similarity to logits.
    kept, dropped : ndarray of float32, shape (n_concepts, dim), unit rows
    classes : ndarray of float32, shape (n_classes, dim), unit rows
        Those that images are labelled with.
    own : ndarray of int64, shape (n_images,)
        Class of each image; -1 where it has none.
    listed : ndarray of float32, shape (n_listed, dim), unit rows
        Classes that an image without a label may be of.
    """

    scale: float
    kept: Vectors
    dropped: Vectors
    classes: Vectors
    own: Places
    listed: Vectors

    @classmethod
    def read(
        cls, view: View, prompts: NoisePrompts, encode_text: EncodeText, taxa: Iterable[Taxon] = ()
    ) -> tuple[Self, Notes]:
        """Embed the texts of both sides and of the classes of images.

        Parameters
        ----------
        view : View
            Whose labels say which class an image is of.
        prompts : NoisePrompts
        encode_text : callable
            From texts to unit vectors.
        taxa : iterable of Taxon
            Classes that an image without a label may be of; the best of them counts as its own.

        Returns
        -------
        texts : NoiseTexts
        notes : tuple of Note
            Which classes have texts that the encoder does not read; their images are judged as
            those without a label.
        """
        kept, dropped = (
            embed_means([prompts.write(phrases) for phrases in side.values()], encode_text)
            for side in (prompts.kept, prompts.dropped)
        )
        listed, long_listed = _sort_out_long(taxa, prompts, encode_text)
        labels, numbers = _number_taxa(view)
        named, long = _sort_out_long(labels, prompts, encode_text)
        counts = np.bincount(numbers[numbers >= 0], minlength=len(labels))
        left_out = dict.fromkeys(long_listed, 0)
        left_out |= {taxon: int(counts[labels.index(taxon)]) for taxon in long}
        names = [max((*taxon.lineage, taxon.common_name), key=len) for taxon in left_out]
        place = {taxon: at for at, taxon in enumerate(named)}
        places = np.array([place.get(taxon, -1) for taxon in labels] + [-1], dtype=np.int64)
        texts = cls(
            view.manifest.logit_scale, kept, dropped, _encode_classes(named, prompts, encode_text),
            places[numbers], _encode_classes(listed, prompts, encode_text),
        )  # fmt: skip
        return texts, describe_long(names, list(left_out.values()))

    def ask(self, part: slice, vectors: Vectors) -> tuple[Doubles, Places]:
        """Score some of the images, and tell which dropped concept is nearest to each.

        Parameters
        ----------
        part : slice
            Which of the images.
        vectors : ndarray of float32, shape (n, dim), unit rows
            Theirs.

        Returns
        -------
        scores : ndarray of float64, shape (n,)
            Log-odds that an image is to be kept.
        nearest : ndarray of int64, shape (n,)
        """
        own, alike = self.own[part], np.full(len(vectors), -np.inf, dtype=np.float32)
        has = own >= 0
        if has.any():
            alike[has] = np.einsum("nd,nd->n", vectors[has], self.classes[own[has]])
        if len(self.listed) and not has.all():
            alike[~has] = _find_best(vectors, np.flatnonzero(~has), self.listed)
        away = self.scale * (vectors @ self.dropped.T)
        scores = score_by_text(self.scale * (vectors @ self.kept.T), away, self.scale * alike)
        return scores, away.argmax(axis=1)


def _number_taxa(view: View) -> tuple[list[Taxon], Places]:
    """Return the taxa that images are labelled with, and that of each image, -1 for none."""
    table = view.images.take(view.rows, LABEL_COLUMNS)
    groups = table.groupby(list(LABEL_COLUMNS)).ngroup().to_numpy()
    _, firsts = np.unique(groups, return_index=True)
    found = [next(iter(to_taxonomy(table.iloc[[at]])), None) for at in firsts.tolist()]
    taxa = list(dict.fromkeys(taxon for taxon in found if taxon))
    place = {taxon: at for at, taxon in enumerate(taxa)}
    places = np.array([place[taxon] if taxon else -1 for taxon in found], dtype=np.int64)
    return taxa, places[groups] if len(groups) else np.zeros(0, dtype=np.int64)


def _sort_out_long(
    taxa: Iterable[Taxon], prompts: NoisePrompts, encode_text: EncodeText
) -> tuple[list[Taxon], list[Taxon]]:
    """Return the taxa whose texts the encoder reads, and those whose texts are too long for it."""
    listed = list(taxa)
    is_long = _find_long(listed, prompts, encode_text)
    pairs = list(zip(listed, is_long, strict=True))
    return [taxon for taxon, long in pairs if not long], [taxon for taxon, long in pairs if long]


def _find_long(taxa: Sequence[Taxon], prompts: NoisePrompts, encode_text: EncodeText) -> list[bool]:
    texts = _write_classes(taxa, prompts)
    try:
        return find_long(texts, encode_text) if texts else []
    except LongTextError:
        return [True] * len(taxa)  # the concepts of both sides are left


def _write_classes(taxa: Iterable[Taxon], prompts: NoisePrompts) -> list[tuple[str, ...]]:
    return [prompts.write((TextType.TAXON_COM.write(taxon),)) for taxon in taxa]


def _encode_classes(
    taxa: Iterable[Taxon], prompts: NoisePrompts, encode_text: EncodeText
) -> Vectors:
    texts = _write_classes(taxa, prompts)
    return embed_means(texts, encode_text) if texts else np.empty((0, 0), dtype=np.float32)


def _find_best(vectors: Vectors, at: Rows, classes: Vectors) -> Vectors:
    """Return the highest similarity of some images to any class, shape (n_at,)."""
    blocks = np.array_split(at, -(-len(at) // _BLOCK_ROWS))
    return np.concatenate([(vectors[block] @ classes.T).max(axis=1) for block in blocks])


def _log_mean_exp(logits: npt.NDArray[Any]) -> Doubles:
    highest = logits.max(axis=1, keepdims=True).astype(np.float64)
    return np.asarray(highest[:, 0] + np.log(np.exp(logits - highest).mean(axis=1)))


_YES, _NO = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no"}
_MIN_OF_EACH = 4


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NoiseFilter(Result):
    """What a filter says of each image.

    Parameters
    ----------
    name : str
        What is kept.
    images : ImageTable
        Image table of the whole store.
    rows : ndarray of int64, shape (n_images,)
        Rows that were judged.
    scores : ndarray of float64, shape (n_images,)
        Log-odds that an image is to be kept.
    threshold : float
        Score from which an image is kept.
    reasons : ndarray of str, shape (n_images,)
        The dropped concept that is nearest to each image.
    labels : ndarray of float64, shape (n_images,)
        1 to be kept, 0 to be dropped, NaN unknown; a label overrules the score.
    method : str
        ``text``, ``linear`` or ``content``.
    quality : FilterQuality or None
        Measured on labelled images by what was learnt from others.
    provenance : Provenance
        What the result was computed from.
    notes : tuple of Note
        What is to be said of it.
    """

    name: str
    images: ImageTable
    rows: npt.NDArray[np.int64]
    scores: Doubles
    threshold: float
    reasons: npt.NDArray[np.object_]
    labels: Doubles
    method: str
    quality: FilterQuality | None
    provenance: Provenance
    notes: Notes = ()

    def at(self, threshold: float) -> Self:
        """Return the filter at another threshold, without scoring again."""
        return dataclasses.replace(self, threshold=threshold, quality=None, notes=())

    @property
    def kept(self) -> Mask:
        """Whether each image is kept, shape (n_images,)."""
        by_score = self.scores >= self.threshold
        return np.asarray(np.where(np.isnan(self.labels), by_score, self.labels == 1))

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image: file name, kept, score, reason, row."""
        import pandas as pd

        return pd.DataFrame(
            {
                **self.images.name_rows(self.rows),
                "kept": self.kept,
                "score": self.scores.round(6),
                "reason": self._explain(),
                "row": self.rows,
            }
        )

    def iter_tables(self) -> Iterator[pd.DataFrame]:
        """Return the table in parts, one below the other, so that a large one is never whole."""
        for part in iter_parts(max(1, len(self.rows)), ROWS_AT_ONCE):
            some = dataclasses.replace(
                self, rows=self.rows[part], scores=self.scores[part], reasons=self.reasons[part],
                labels=self.labels[part],
            )  # fmt: skip
            yield some.to_frame()

    def count_drops(self, level: str) -> pd.DataFrame:
        """Return the drop rate of each class at a rank or of a column, the highest first.

        ``suspicious`` marks classes that lose more than the overall share by more than chance (the
        binomial tail, adjusted by Holm over the classes): there the filter may drop the class
        itself.
        """
        import pandas as pd
        from scipy.stats import binom

        frame = pd.DataFrame({"class": self.images.labels(level)[self.rows], "drop": ~self.kept})
        by_class = frame.groupby("class")["drop"]
        table = by_class.agg(n_images="size", dropped_fraction="mean")
        tails = binom.sf(by_class.sum() - 1, table["n_images"], frame["drop"].mean())
        # Images without a label are no class.
        tails[table.index == ""] = np.nan
        adjusted = np.array(adjust_by_holm(tails.tolist()), dtype=np.float64)
        table = table.assign(suspicious=adjusted < SIGNIFICANCE_LEVEL)
        return pd.DataFrame(table.sort_values("dropped_fraction", ascending=False).reset_index())

    def write(self, store: EmbeddingStore) -> None:
        """Keep the mask with score and reason in the store; nothing is deleted."""
        columns: dict[str, npt.NDArray[Any]] = {"score": self.scores, "reason": self._explain()}
        write_selection(
            store,
            f"filters/{self.name}",
            self.rows,
            self.kept,
            columns=columns,
            provenance=self.provenance.to_dict(),
        )

    def _explain(self) -> npt.NDArray[np.object_]:
        reasons = np.where(self.kept, "", self.reasons)
        said = np.where(self.reasons == CONTENT, CONTENT, "label")
        return np.asarray(np.where(np.isnan(self.labels), reasons, said), dtype=object)


def filter_noise(
    asked: EmbeddingStore | View,
    prompts: NoisePrompts,
    encode_text: EncodeText,
    *,
    labels: str | None = None,
    threshold: float | None = None,
    recall: float | None = None,
    seed: int = 0,
    taxa: Taxonomy | None = None,
) -> NoiseFilter:
    """Tell pictures of what a collection keeps from pictures of something else.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose current rows are judged.
    prompts : NoisePrompts
        Concepts on both sides.
    encode_text : callable
        From texts to unit vectors of the store's encoder.
    labels : str, optional
        Column that says of some images whether they are to be kept. The threshold is then chosen
        on them; from 50 labels on, a linear filter takes the place of the texts.
    threshold : float, optional
        Log-odds from which an image is kept; by default chosen on the labels, else 0.
    recall : float, optional
        Least share of the labelled images to keep, in [0, 1]; by default the best F1 of dropping.
    seed : int
        Of the folds.
    taxa : Taxonomy, optional
        Classes that images without a label may be of: each is also kept by the best of their
        texts. The more there are, the more is kept of what is none of them.

    Raises
    ------
    SelectionError
        If there is no image, or the labels cannot be used.
    """
    view = View.of(asked)
    store, rows = view.store, view.rows
    truth = _read_labels(store.images, labels, prompts)[rows] if labels else None
    known = np.zeros(0, dtype=np.int64)
    if truth is not None:
        # Folds are drawn by position: the order of rows in the store must say nothing.
        known = np.flatnonzero(~np.isnan(truth))
        known = known[store.images.order(rows[known])]
        wanted = truth[known] == 1
        _check_labels(wanted, str(labels))
    linear = len(known) >= MIN_LABELS_FOR_LINEAR
    texts: NoiseTexts | None = None
    try:
        texts, notes = NoiseTexts.read(view, prompts, encode_text, taxa or ())
    except (ModelUnavailableError, NoTextTowerError) as error:
        if not linear:
            raise
        notes = (Note(f"only labels are asked, and no reasons are named: {error}"),)
    taught = view.read_vectors(rows[known])
    score = _make_model().fit(taught, wanted).decision_function if linear else None
    scores, reasons = _score(view, texts, score, list(prompts.dropped))
    method, quality, chosen = "linear" if linear else "text", None, 0.0
    if truth is not None:
        quality = _measure_filter(
            taught, scores[known], wanted, linear=linear, recall=recall, seed=seed
        )
        if linear:
            scores[known] = _score_by_linear(taught, wanted, seed=seed)
        chosen = choose_threshold(scores[known], wanted, recall=recall)
    if threshold is not None:
        chosen, quality = threshold, None
    provenance = view.describe(
        {
            "keep": prompts.name,
            "labels": labels,
            "method": method,
            "threshold": chosen,
            "recall": recall,
            "seed": seed,
            "n_taxa": len(taxa or ()),
        }
    )
    known_contents = _read_known(store.images, prompts)[rows]
    unknown = truth if truth is not None else np.full(len(rows), np.nan)
    # What people say of these pictures wins over what others' tools said.
    by_content = np.isnan(unknown) & ~np.isnan(known_contents)
    judged = np.where(by_content, known_contents, unknown)
    if by_content.any():
        reasons = np.where(by_content, CONTENT, reasons)
        notes = (*notes, Note(f"{by_content.sum():,} images are judged by the column {CONTENT}"))
    return NoiseFilter(
        prompts.name, store.images, rows, scores, chosen, reasons,
        judged, method, quality, provenance, notes=notes,
    )  # fmt: skip


def _score(
    view: View,
    texts: NoiseTexts | None,
    score: Callable[[Vectors], Doubles] | None,
    dropped: list[str],
) -> tuple[Doubles, npt.NDArray[np.object_]]:
    """Score all images some at a time, by the texts or by another score, and name the reasons."""
    scores = np.empty(len(view), dtype=np.float64)
    nearest = np.full(len(view), len(dropped), dtype=np.int64)
    start = 0
    for vectors in view.iter_vectors():
        part = slice(start, start + len(vectors))
        if texts is not None:
            scores[part], nearest[part] = texts.ask(part, vectors)
        if score is not None:
            scores[part] = score(vectors)
        start = part.stop
    return scores, np.array([*dropped, ""], dtype=object)[nearest]


def _read_labels(images: ImageTable, column: str, prompts: NoisePrompts) -> Doubles:
    if column not in images.columns:
        msg = f"no column {column!r} of labels; there are {', '.join(images.columns)}"
        raise SelectionError(msg)
    import pandas as pd

    # A text for each of many rows would take more memory than all that is asked of them.
    places, distinct = pd.factorize(images.column(column))
    texts = [_fold(str(value)) for value in distinct]
    kept = dict.fromkeys(map(_fold, (prompts.name, *prompts.sets)))
    # Of several that are kept, what is not the one may be the other.
    meaning = dict.fromkeys({*_YES, *kept}, 1.0)
    meaning |= dict.fromkeys({*_NO, f"not {_fold(prompts.name)}"}, 0.0)
    for text in set(texts) - set(meaning):
        if content := read_content(text):
            meaning[text] = _judge_content(content, kept)
    unread = sorted(set(texts) - set(meaning) - {""})
    if unread:
        expected = ", ".join((*kept, f"not {_fold(prompts.name)}"))
        msg = f"column {column!r} says {unread[0]!r}; expected {expected}, 1, 0 or nothing"
        raise SelectionError(msg)
    return np.array([*(meaning.get(text, np.nan) for text in texts), np.nan])[places]


def _judge_content(content: str, kept: Iterable[str]) -> float:
    """Return 1 of what is kept, 0 of what is not, NaN where nobody could tell."""
    if content == Content.UNKNOWN:
        return np.nan
    if content in kept:
        return 1.0
    # Of an animal it is not said whether it is a specimen, and what has none may be of a plant.
    may_be = content == Content.ANIMAL or (content == Content.BLANK and Content.ANIMAL not in kept)
    return np.nan if may_be else 0.0


def _read_known(images: ImageTable, prompts: NoisePrompts) -> Doubles:
    """Return what the column ``content`` says of each row: 1 to keep, 0 to drop, NaN of nothing."""
    if CONTENT not in images.columns:
        return np.full(len(images), np.nan)
    texts = images.column(CONTENT).fillna("").astype(str)
    kept = {_fold(name) for name in (prompts.name, *prompts.sets)}
    meaning = {
        text: _judge_content(content, kept) if (content := read_content(text)) else np.nan
        for text in texts.unique()
    }
    return texts.map(meaning).to_numpy(dtype=np.float64)


def filter_by_content(asked: EmbeddingStore | View, prompts: NoisePrompts) -> NoiseFilter:
    """Keep what the column ``content`` says is to be kept; no picture and no text is looked at.

    Where nothing is known of a picture it is kept.

    Raises
    ------
    SelectionError
        If the store has no such column, or it says nothing of what is asked.
    """
    view = View.of(asked)
    store, rows = view.store, view.rows
    known = _read_known(store.images, prompts)[rows]
    if np.isnan(known).all():
        there = ", ".join(map(str, store.images.columns))
        msg = (
            f"no column {CONTENT!r} that says what is {prompts.name} and what is not; there are "
            f"{there}. Leave --by-content out: then the pictures are asked"
        )
        raise SelectionError(msg)
    reasons = np.full(len(rows), "", dtype=object)
    if CONTENT in store.images.columns:
        reasons = store.images.column(CONTENT).fillna("").to_numpy(dtype=object)[rows]
    n_unknown = int(np.isnan(known).sum())
    said = (Note(f"nothing is known of {n_unknown:,} images, which are kept"),) if n_unknown else ()
    provenance = view.describe({"keep": prompts.name, "method": CONTENT})
    # What is not known has the score of neither.
    scores = np.where(np.isnan(known), 0.0, np.where(known == 1, 1.0, -1.0))
    return NoiseFilter(
        prompts.name, store.images, rows, scores, 0.0, reasons, np.full(len(rows), np.nan), CONTENT,
        None, provenance, notes=said,
    )  # fmt: skip


def _fold(text: str) -> str:
    return text.strip().lower().replace("_", " ").replace("-", " ")


def _check_labels(wanted: Mask, column: str) -> None:
    fewest = int(min(wanted.sum(), (~wanted).sum()))
    if fewest < _MIN_OF_EACH:
        msg = (
            f"column {column!r} labels {int(wanted.sum())} images to keep and "
            f"{int((~wanted).sum())} to drop; label {_MIN_OF_EACH} of each at least"
        )
        raise SelectionError(msg)
