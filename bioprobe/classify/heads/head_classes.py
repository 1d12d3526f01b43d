"""Which rows of a text head belong to which class, and zero-shot with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bioprobe.classify.heads.text_head import TextHead
from bioprobe.classify.pooling import Pool, find_top_pooled
from bioprobe.classify.predictions import Predictions
from bioprobe.classify.streaming import answer_in_chunks
from bioprobe.errors import PromptError
from bioprobe.provenance import Provenance
from bioprobe.store import EmbeddingStore
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.taxonomy.columns import COMMON_NAME

if TYPE_CHECKING:
    import pandas as pd

Rows = npt.NDArray[np.int64]
Lineage = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class HeadClasses:
    """Classes with the rows of a head that stand for them.

    Parameters
    ----------
    taxa : Taxonomy
        The classes, all at one rank; each has one row at least.
    rows : ndarray of int64, shape (n_texts,)
        Rows of the head, those of one class one after the other.
    classes : ndarray of int64, shape (n_texts,)
        Class of each of these rows, ascending.
    left_out : tuple of Taxon
        Taxa that were asked for and that no row stands for.
    """

    taxa: Taxonomy
    rows: Rows
    classes: Rows
    left_out: tuple[Taxon, ...] = ()


def find_head_classes(head: TextHead, rank: Rank, taxa: Taxonomy | None = None) -> HeadClasses:
    """Find the rows of a head that belong to each class.

    A class of a taxon list has the rows that its prompts name, by scientific or common name in
    any case; without prompts it has the rows below it in the taxonomy. A row may stand for
    several classes.

    Parameters
    ----------
    head : TextHead
        Its rows are species mostly.
    rank : Rank
        Rank of the classes.
    taxa : Taxonomy, optional
        Classes at that rank; by default all that the head names.

    Raises
    ------
    PromptError
        If no row of the head stands for any class.
    """
    rows_of = _index_lineages(head.taxa, rank)
    wanted = taxa if taxa is not None else _list_taxa(head.taxa, rank, rows_of)
    named = _index_names(head.taxa) if any(taxon.prompts for taxon in wanted) else {}
    found = [_find_rows(taxon, rank, rows_of, named) for taxon in wanted]
    kept = [(taxon, rows) for taxon, rows in zip(wanted, found, strict=True) if len(rows)]
    if not kept:
        msg = (
            f"no row of the text head {head.name!r} stands for a {rank.value} that was asked for; "
            "give a taxon list whose names or prompts are those of the head, or another --level"
        )
        raise PromptError(msg)
    return HeadClasses(
        Taxonomy(tuple(taxon for taxon, _ in kept)),
        np.concatenate([rows for _, rows in kept]),
        np.repeat(np.arange(len(kept)), [len(rows) for _, rows in kept]),
        tuple(taxon for taxon, rows in zip(wanted, found, strict=True) if not len(rows)),
    )


def zeroshot_by_head(
    store: EmbeddingStore,
    head: TextHead,
    classes: HeadClasses,
    *,
    rank: Rank,
    k: int = 5,
    condition: str | None = None,
    pool: Pool = Pool.SUM,
) -> Predictions:
    """Label the images of a store by the text embeddings of a head; no model is loaded.

    Parameters
    ----------
    store : EmbeddingStore
        Whose vectors are asked.
    head : TextHead
        Of the same store.
    classes : HeadClasses
        All at ``rank``.
    rank : Rank
        Rank of the classes.
    k : int
        Answers an image, ≥ 1; no more than there are classes.
    condition : str, optional
        Only images that meet it are labelled.
    pool : Pool
        How the rows of a class become one score.

    Returns
    -------
    Predictions
        Scores are probabilities over the classes.

    Raises
    ------
    SelectionError
        If no image is left.

    References
    ----------
    pybioclip, ``TreeOfLifeClassifier.predict``: the default sums the probabilities of species.
    """
    rows = store.select(condition)
    ask = partial(
        find_top_pooled,
        texts=head.vectors,
        rows=classes.rows,
        classes=classes.classes,
        k=k,
        logit_scale=store.manifest.logit_scale,
        pool=pool,
    )
    top, scores = answer_in_chunks(store, rows, ask)
    provenance = Provenance(
        encoder=store.manifest.encoder.to_dict(),
        store=str(store.folder),
        n_rows=len(rows),
        condition=condition or "",
        options={
            "rank": rank.value,
            "n_classes": len(classes.taxa),
            "head": head.name,
            "head_source": head.about["source"],
            "head_sha256": head.about["vectors_sha256"],
            "n_texts": len(classes.rows),
            "pool": pool.value,
            "logit_scale": store.manifest.logit_scale,
        },
    )
    return Predictions(
        store.images, rows, classes.taxa, rank, top, scores, "probability", provenance
    )


def _index_lineages(taxa: pd.DataFrame, rank: Rank) -> dict[str, list[tuple[Lineage, Rows]]]:
    """Return, for each name at a rank, the lineages down to it with their rows."""
    ranks = list(RANKS[: rank.depth + 1])
    named = taxa.loc[taxa[rank.value] != "", ranks]
    index: dict[str, list[tuple[Lineage, Rows]]] = {}
    groups = named.groupby(ranks, sort=False).indices if len(named) else {}
    positions = named.index.to_numpy()
    for key, inside in groups.items():
        lineage: Lineage = key if isinstance(key, tuple) else (key,)
        index.setdefault(lineage[-1], []).append((lineage, positions[inside].astype(np.int64)))
    return index


def _index_names(taxa: pd.DataFrame) -> dict[str, Rows]:
    """Return, for each scientific and common name in lower case, its rows."""
    index: dict[str, list[int]] = {}
    for row, names in enumerate(taxa[[*RANKS, COMMON_NAME]].itertuples(index=False, name=None)):
        scientific = next((name for name in reversed(names[:-1]) if name), "")
        for name in {_fold(scientific), _fold(names[-1])} - {""}:
            index.setdefault(name, []).append(row)
    return {name: np.array(rows, dtype=np.int64) for name, rows in index.items()}


def _list_taxa(
    taxa: pd.DataFrame, rank: Rank, rows_of: dict[str, list[tuple[Lineage, Rows]]]
) -> Taxonomy:
    common_names = taxa[COMMON_NAME].to_numpy(dtype=object)
    lineages = sorted(
        (int(rows[0]), lineage) for group in rows_of.values() for lineage, rows in group
    )
    return Taxonomy.merge(
        Taxon(
            lineage + ("",) * (len(RANKS) - len(lineage)),
            common_names[row] if rank is Rank.SPECIES else "",
        )
        for row, lineage in lineages
    )


def _find_rows(
    taxon: Taxon,
    rank: Rank,
    rows_of: dict[str, list[tuple[Lineage, Rows]]],
    named: dict[str, Rows],
) -> Rows:
    if taxon.prompts:
        return _join(named[name] for name in map(_fold, taxon.prompts) if name in named)
    lineage = taxon.lineage[: rank.depth + 1]
    return _join(rows for other, rows in rows_of.get(lineage[-1], []) if _agree(lineage, other))


def _join(groups: Iterable[Rows]) -> Rows:
    found = list(groups)
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)


def _agree(one: Lineage, other: Lineage) -> bool:
    return all(not a or not b or a == b for a, b in zip(one, other, strict=True))


def _fold(name: str) -> str:
    return " ".join(name.split()).casefold()
