"""Zero-shot: which text is nearest to each image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bioprobe.prompts import PromptSet, embed_means
from bioprobe.store import EmbeddingStore
from bioprobe.store.view import View
from bioprobe.task.leaf_scores import score_leaves
from bioprobe.task.leaves import Leaves
from bioprobe.task.predictions import Predictions, answer_in_chunks
from bioprobe.task.target import Classes, Texts
from bioprobe.task.text_pooling import Pool
from bioprobe.task.tree import Tree
from bioprobe.taxonomy import Rank
from bioprobe.types import EncodeText, Rows, Scores, Vectors
from bioprobe.zeroshot.class_embeddings import embed_classes, embed_texts, list_examples
from bioprobe.zeroshot.question import Question, answer_at_rank
from bioprobe.zeroshot.seen_offset import SeenOffset


def zeroshot(
    asked: EmbeddingStore | View,
    prompts: PromptSet,
    encode_text: EncodeText,
    *,
    rank: Rank,
    k: int = 5,
    pool: Pool = Pool.MEAN,
    seen_offset: SeenOffset | None = None,
) -> Predictions:
    """Label the images of a store by text prompts.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose vectors are asked.
    prompts : PromptSet
        One class a taxon, all at ``rank``.
    encode_text : callable
        From texts to unit vectors of the store's encoder, such as
        :meth:`bioprobe.store.TextCache.encode_text`.
    rank : Rank
        Rank of the classes.
    k : int
        Answers an image, ≥ 1; no more than there are classes.
    pool : Pool
        How the texts of a class, of several templates or prompts, become one score.
    seen_offset : SeenOffset, optional
        Subtracted from the logits of the classes that are not new.

    Returns
    -------
    Predictions
        Scores are probabilities: the softmax over the classes of the encoder's logit scale
        times the cosine similarity.

    Raises
    ------
    SelectionError
        If no image is left.

    References
    ----------
    Radford et al. 2021, *Learning Transferable Visual Models From Natural Language
    Supervision* (CLIP), section 3.1.2.
    """
    view = View.of(asked)
    question = ask_prompts(
        view, prompts, encode_text, rank=rank, pool=pool, seen_offset=seen_offset,
        options={"pool": pool.value},
    )  # fmt: skip
    return answer_at_rank(view, question, k)


def ask_prompts(
    view: View,
    prompts: PromptSet,
    encode_text: EncodeText,
    *,
    rank: Rank,
    pool: Pool = Pool.MEAN,
    seen_offset: SeenOffset | None = None,
    options: Mapping[str, Any] | None = None,
) -> Question:
    """Make a question of classes that are written as texts.

    Parameters
    ----------
    view : View
        The images that will be asked.
    prompts : PromptSet
        The lowest classes.
    encode_text, pool, seen_offset
        As in :func:`zeroshot`.
    rank : Rank
        Rank of the answers.
    options : mapping, optional
        What the answers depend on beside, JSON-ready.
    """
    store = view.store
    embed = embed_classes if pool is Pool.MEAN else embed_texts
    found = embed(store, prompts, encode_text, seen_offset=seen_offset)
    offsets = found.offsets if found.offsets.any() else None
    leaves = Leaves(found.vectors, np.arange(len(found.classes)), found.classes, offsets)
    return Question(
        Tree(prompts.taxa, rank), leaves, store.manifest.logit_scale,
        describe_question(view, prompts, rank, seen_offset, options or {}),
        pool=Pool.MAX if pool is Pool.MAX else Pool.SUM,
    )  # fmt: skip


def zeroshot_named(
    asked: EmbeddingStore | View,
    classes: Classes,
    texts: Texts,
    *,
    k: int = 5,
    matrix: Vectors | None = None,
) -> Predictions:
    """Label the images of a store by classes that are no taxa.

    Parameters
    ----------
    asked : EmbeddingStore or View
        Whose vectors are asked.
    classes : Classes
        Without taxa of a rank.
    texts : Texts
        How they are written: the phrases of each, or its name.
    k : int
        Answers an image, ≥ 1; no more than there are classes.
    matrix : ndarray of float32, shape (dim, dim), optional
        What images are seen through, as in :class:`bioprobe.zeroshot.question.Question`.

    Returns
    -------
    Predictions
        Scores are probabilities, as :func:`find_top_named` says.

    Raises
    ------
    SelectionError
        If no image is left.
    """
    view = View.of(asked)
    phrases = texts.list_phrases(classes)
    embedded = embed_phrases(phrases, texts.templates, texts.encode_text)
    ask = partial(find_top_named, *embedded, k=k, logit_scale=texts.logit_scale)
    top, scores = answer_in_chunks(view, partial(_see, ask, matrix))
    options: dict[str, Any] = {
        "classes": list(classes.names), "n_classes": len(classes),
        "templates": list(texts.templates), "logit_scale": texts.logit_scale,
        **({"level": classes.level} if classes.level else {}),
        **({"phrases": [list(one) for one in phrases]} if texts.phrases else {}),
    }  # fmt: skip
    return Predictions(
        view.images, view.rows, classes, top, scores, view.describe(options), view.find_taught()
    )


def _see(
    ask: Callable[[Vectors], tuple[Rows, Scores]],
    matrix: Vectors | None,
    _places: slice,
    vectors: Vectors,
) -> tuple[Rows, Scores]:
    return ask(vectors if matrix is None else vectors @ matrix.T)


def embed_phrases(
    phrases: Sequence[Sequence[str]],
    templates: Sequence[str],
    encode_text: EncodeText,
) -> tuple[Vectors, Rows]:
    """Embed the texts of classes, each averaged over the templates.

    Parameters
    ----------
    phrases : sequence of sequence of str
        One text at least a class.
    templates : sequence of str
        Each holds ``{}`` once.
    encode_text : callable
        As in :func:`zeroshot`.

    Returns
    -------
    texts : ndarray of float32, shape (n_texts, dim), unit rows
    classes : ndarray of int64, shape (n_texts,)
        Class of each, ascending.
    """
    written = [[one.replace("{}", text) for one in templates] for of in phrases for text in of]
    classes = np.repeat(np.arange(len(phrases)), [len(of) for of in phrases])
    return embed_means(written, encode_text), classes.astype(np.int64)


def find_top_named(
    texts: Vectors, classes: Rows, vectors: Vectors, *, k: int, logit_scale: float
) -> tuple[Rows, Scores]:
    """Find the k most probable classes of each vector.

    The probability of a class is the sum of those of its texts, softmax over the texts of all
    classes: the mean of different animals' texts is no animal.

    Parameters
    ----------
    texts, classes
        As :func:`embed_phrases` returns them.
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    k : int
        Answers, ≥ 1; no more than there are classes come back.
    logit_scale : float
        Factor from cosine similarity to logits.

    References
    ----------
    pybioclip, ``CustomLabelsBinningClassifier``.
    """
    leaves = Leaves(texts, np.arange(len(classes)), classes)
    found = score_leaves(vectors, leaves, k=k, logit_scale=logit_scale)
    return found.top, found.top_probabilities


def describe_question(
    view: View,
    prompts: PromptSet,
    rank: Rank,
    seen_offset: SeenOffset | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the answers to a question by text prompts depend on, JSON-ready."""
    return {
        "rank": rank.value,
        "n_classes": len(prompts.taxa),
        "text_type": prompts.text_type.value,
        "templates": list(prompts.templates),
        **options,
        "with_pictures": list_examples(view.store, prompts.taxa),
        "seen_offset": seen_offset.value if seen_offset else 0.0,
        "logit_scale": view.manifest.logit_scale,
    }


def find_top_classes(
    vectors: Vectors,
    classes: Vectors,
    *,
    k: int,
    logit_scale: float,
    offsets: npt.NDArray[np.float32] | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Find the k most probable classes of each vector.

    Memory is bounded, and other dims are refused, as
    :func:`bioprobe.task.leaf_scores.score_leaves` has it.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, dim), unit rows
    classes : ndarray of float32, shape (n_classes, dim), unit rows
    k : int
        Answers, ≥ 1; no more than n_classes come back.
    logit_scale : float
        Factor from cosine similarity to logits.
    offsets : ndarray of float32, shape (n_classes,), optional
        Subtracted from the logits.

    Returns
    -------
    top : ndarray of int64, shape (n_images, min(k, n_classes))
        Best first; among the answers, equal ones stand in the order of the classes.
    probabilities : ndarray of float32, of the same shape
        Softmax over all classes.

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0]], dtype=np.float32)
    >>> classes = np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    >>> top, probabilities = find_top_classes(vectors, classes, k=1, logit_scale=1.0)
    >>> int(top[0, 0]), round(float(probabilities[0, 0]), 3)
    (1, 0.731)
    """
    found = score_leaves(vectors, Leaves.of(classes, offsets), k=k, logit_scale=logit_scale)
    return found.top, found.top_probabilities
