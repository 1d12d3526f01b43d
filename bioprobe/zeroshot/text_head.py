"""Heads: text embeddings of many taxa, or image prototypes, kept in a store."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import numpy.typing as npt

from bioprobe.access import exists, is_file, list_names, read_bytes, reading
from bioprobe.encoders.encoder import normalise_rows
from bioprobe.errors import MismatchError, PromptError, StoreError
from bioprobe.files import (
    hash_file,
    read_json,
    remove_folder,
    replacing_folder,
    write_array_header,
)
from bioprobe.names import fold
from bioprobe.settings import COUNT, TEXT, check_fields
from bioprobe.store import EmbeddingStore
from bioprobe.store.gone import Changes, Gone
from bioprobe.store.view import View
from bioprobe.store.writing import QUICK_WAIT_S
from bioprobe.task.leaves import Leaves
from bioprobe.task.target import mark_gone
from bioprobe.task.text_pooling import Pool, embed_mean_rows
from bioprobe.task.tree import Tree
from bioprobe.taxonomy import RANKS, Rank, Taxon, Taxonomy
from bioprobe.taxonomy.columns import COMMON_NAME, LABEL_COLUMNS
from bioprobe.taxonomy.lists import collecting_later
from bioprobe.taxonomy.taxonomy import agree_by_name
from bioprobe.types import Mask, Rows, Scores, Vectors
from bioprobe.zeroshot.prototypes import IMAGES, MadeOf, Prototypes
from bioprobe.zeroshot.question import Question

if TYPE_CHECKING:
    import pandas as pd


HEADS_DIR = Path("text", "heads")
_VECTORS_NAME, _TAXA_NAME, _ABOUT_NAME = "vectors.npy", "taxa.parquet", "head.json"
_NAME = re.compile(r"[\w-][\w.-]*")

_UNIT_TOLERANCE = 1e-2
# Rows that are looked at when a head is opened, spread over it, and those left out that are named.
_N_SEEN, _N_NAMED = 32, 10
_ABOUT = {
    "source": TEXT, "model": TEXT, "encoder_key": TEXT, "n_left_out": COUNT, "vectors_sha256": TEXT,
}  # fmt: skip


class StackedRows:
    """Two arrays, one below the other, that are read by rows as one and never copied whole.

    A few rows stand so below a memory-mapped file of gigabytes.

    Parameters
    ----------
    upper, lower : ndarray, shape (n, dim)
        Rows are given in the type of the upper one.

    Examples
    --------
    >>> rows = StackedRows(np.zeros((3, 2), dtype=np.float16), np.ones((1, 2), dtype=np.float32))
    >>> rows.shape, rows[[3, 0]].tolist(), rows[2:].tolist()
    ((4, 2), [[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]])
    """

    ndim = 2

    def __init__(self, upper: npt.NDArray[Any], lower: npt.NDArray[Any]) -> None:
        self._upper = upper
        self._lower = lower.astype(upper.dtype)
        self.dtype = upper.dtype
        self.shape = (len(upper) + len(lower), upper.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | npt.ArrayLike) -> npt.NDArray[Any]:
        """Return rows by their numbers, a slice or flags."""
        n_upper = len(self._upper)
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1 and stop <= n_upper:
                # No copy of what lies in the file.
                return self._upper[start:stop]
            rows = np.arange(start, stop, step)
        asked = np.asarray(rows)
        asked = np.flatnonzero(asked) if asked.dtype == bool else asked.astype(np.int64)
        asked = np.where(asked < 0, asked + len(self), asked)
        is_upper = asked < n_upper
        if is_upper.all():
            return np.asarray(self._upper[asked])
        if not is_upper.any():
            return np.asarray(self._lower[asked - n_upper])
        found = np.empty((*asked.shape, self.shape[1]), dtype=self.dtype)
        found[is_upper] = self._upper[asked[is_upper]]
        found[~is_upper] = self._lower[asked[~is_upper] - n_upper]
        return found

    def __array__(
        self,
        dtype: npt.DTypeLike | None = None,
        copy: bool | None = None,
    ) -> npt.NDArray[Any]:
        """Return all rows as one array, which copies them."""
        if copy is False:
            msg = "rows that lie in two arrays are one only as a copy"
            raise ValueError(msg)
        return np.concatenate([self._upper, self._lower]).astype(dtype or self.dtype)


@dataclasses.dataclass(frozen=True)
class TextHead:
    """One text embedding or image prototype a row, with the taxon that it stands for.

    Parameters
    ----------
    name : str
        Name in the store, or under which it was asked for.
    taxa : DataFrame of str
        The seven ranks and the common name of each row, ``""`` where unknown.
    vectors : ndarray of float16 or float32, shape (n_rows, dim), unit rows
        Memory-mapped; with taxa beside it :class:`StackedRows`.
    about : mapping
        Where it came from: ``source``, ``model``, ``vectors_sha256``, ``n_left_out`` and the first
        names of what was ``left_out``; of a published one ``repository`` and ``revision``.
    offsets : ndarray of float32, shape (n_rows,), optional
        Subtracted from the logits of the rows.
    beside : mapping
        What stands beside the head's own taxa, for the provenance.
    made_of : MadeOf, optional
        Pictures that the rows were made of, where they are image prototypes.
    """

    name: str
    taxa: pd.DataFrame
    vectors: npt.NDArray[np.floating]
    about: dict[str, Any]
    offsets: Scores | None = None
    beside: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    made_of: MadeOf | None = None

    def __len__(self) -> int:
        return len(self.taxa)

    @property
    def origin(self) -> str:
        """Where it comes from, for people: what is published by its commit, else the file."""
        if not self.about.get("repository"):
            return str(self.about["source"])
        at = f" at {self.about['revision'][:12]}" if self.about.get("revision") else ""
        return f"{Path(self.about['source']).stem} of {self.about['repository']}{at}"

    def find_depths(self) -> Rows:
        """Return the depth of the lowest name of each row, -1 where there is none."""
        depths = np.full(len(self), -1, dtype=np.int64)
        for rank in RANKS:
            depths[(self.taxa[rank.value] != "").to_numpy(dtype=bool)] = rank.depth
        return depths

    def describe(self) -> dict[str, str]:
        """Return what a result says of it, for its provenance."""
        named = ("source", "vectors_sha256", "repository", "revision")
        said = {f"head_{name.removeprefix('vectors_')}": self.about.get(name) for name in named}
        return {"head": self.name, **{name: str(value) for name, value in said.items() if value}}

    def with_taxa(
        self,
        taxa: Sequence[Taxon],
        vectors: Vectors,
        offsets: Scores,
        *,
        replaced: Rows,
        beside: Mapping[str, Any],
    ) -> TextHead:
        """Return a head in memory that has further taxa; its own vectors are not copied.

        Parameters
        ----------
        taxa : sequence of Taxon
            What stands beside it.
        vectors : ndarray of float32, shape (n_taxa, dim), unit rows
        offsets : ndarray of float32, shape (n_taxa,)
            Subtracted from their logits.
        replaced : ndarray of int64, shape (n_replaced,)
            Rows of the head that stand for nothing any more.
        beside : mapping
            What is said of it in the provenance.
        """
        import pandas as pd

        rows = [(*taxon.lineage, taxon.common_name) for taxon in taxa]
        columns = list(LABEL_COLUMNS)
        own = self.taxa[columns].astype(object)
        own.iloc[replaced] = ""
        further = pd.DataFrame(rows, columns=columns, dtype=object)
        before = np.zeros(len(self), dtype=np.float32) if self.offsets is None else self.offsets
        together = np.concatenate([before, offsets.astype(np.float32)])
        return dataclasses.replace(
            self,
            taxa=pd.concat([own, further], ignore_index=True),
            # Whoever reads it takes some rows at a time, as of any array.
            vectors=cast("Vectors", StackedRows(self.vectors, vectors)),
            offsets=together if together.any() else None,
            beside=beside,
        )


def list_heads(store: EmbeddingStore) -> list[str]:
    """Return the names of the heads of a store.

    Raises
    ------
    UnreadableError
        If their folder may not be listed, or that of one may not be entered.
    """
    folder = store.folder / HEADS_DIR
    names = (name for name in list_names(folder) if is_file(folder / name / _ABOUT_NAME))
    return [name for name in names if _NAME.fullmatch(name)]


def read_head(store: EmbeddingStore, name: str) -> TextHead:
    """Open a head of a store.

    Raises
    ------
    StoreError
        If there is none of that name, or it is damaged.
    MismatchError
        If it was made for the vectors of another encoder than the store's.
    """
    folder = store.folder / HEADS_DIR / name
    if not is_file(folder / _ABOUT_NAME):
        known = ", ".join(list_heads(store)) or "none"
        msg = f"{store.folder} has no text head {name!r}; it has {known}. Bring one with: "
        msg += f"bioprobe store import HEAD.npy --store {store.folder} --model NAME"
        raise StoreError(msg)
    try:
        head = read_head_folder(folder, name)
    except (OSError, ValueError) as error:
        msg = f"the text head {folder} cannot be read ({error}); remove it and import it again"
        raise StoreError(msg) from error
    if head.about["encoder_key"] != store.manifest.encoder.key:
        msg = (
            f"the text head {name!r} was made for vectors of {head.about['model']}, {store.folder} "
            f"holds those of {store.manifest.encoder.describe()}; import a head of that encoder"
        )
        raise MismatchError(msg)
    if head.vectors.shape[1] != store.manifest.dim:
        msg = (
            f"the text head {folder} has vectors of dim {head.vectors.shape[1]}, the store of "
            f"{store.manifest.dim}; remove it"
        )
        raise StoreError(msg)
    return head


def read_head_folder(folder: Path, name: str) -> TextHead:
    """Open what :func:`fill_head` wrote; no vector is read but a few.

    Raises
    ------
    ValueError
        If its files are damaged, or do not fit each other.
    OSError
        If they cannot be read.
    """
    import pandas as pd

    with reading(folder / _ABOUT_NAME):
        about = read_json(folder / _ABOUT_NAME, dict)
    check_fields(about, _ABOUT, needed=tuple(_ABOUT))
    with reading(folder / _VECTORS_NAME):
        vectors = np.load(folder / _VECTORS_NAME, mmap_mode="r", allow_pickle=False)
    taxa = pd.read_parquet(io.BytesIO(read_bytes(folder / _TAXA_NAME)))
    if list(taxa.columns) != list(LABEL_COLUMNS):
        msg = f"{_TAXA_NAME} has the columns {', '.join(map(str, taxa.columns))}"
        raise ValueError(msg)
    if vectors.ndim != 2 or len(vectors) != len(taxa):
        msg = f"{vectors.shape} numbers for {len(taxa)} taxa"
        raise ValueError(msg)
    seen = np.unique(np.linspace(0, len(taxa) - 1, _N_SEEN).astype(np.int64))
    lengths = np.linalg.norm(np.asarray(vectors[seen], dtype=np.float32), axis=1)
    if not np.allclose(lengths, 1, atol=_UNIT_TOLERANCE):
        msg = f"row {seen[np.argmax(np.abs(lengths - 1))]} is no unit vector"
        raise ValueError(msg)
    about.setdefault("left_out", [])
    made_of = MadeOf.read(folder, len(taxa)) if about.get("of") == IMAGES else None
    return TextHead(name, taxa, vectors, about, made_of=made_of)


def write_head(
    store: EmbeddingStore,
    name: str,
    taxa: pd.DataFrame,
    blocks: Iterable[Vectors],
    *,
    source: str,
    made_of: MadeOf | None = None,
) -> TextHead:
    """Keep a head in a store, tied to the store's encoder; whole or not at all.

    Rows of zeros, with which published heads are padded, and rows that are not finite are left
    out, counted and named in ``about``.

    Parameters
    ----------
    store : EmbeddingStore
        Whose vectors the head is for.
    name : str
        Letters, digits, ``.``, ``_`` and ``-``.
    taxa : DataFrame of str
        The seven ranks and the common name of each row.
    blocks : iterable of ndarray of float32, shape (n, dim)
        The embeddings in order.
    source : str
        Where they came from.
    made_of : MadeOf, optional
        Pictures that the rows were made of, where they are image prototypes.

    Raises
    ------
    StoreError
        If the name is taken or cannot be a name, no row can be used, or the disk refuses.
    StoreLockedError
        If another process is writing to the store.
    """
    final = store.folder / HEADS_DIR / name
    if not _NAME.fullmatch(name):
        msg = f"{name!r} cannot name a head; use letters, digits, '.', '_' and '-'"
        raise StoreError(msg)
    with store.lock(wait_s=QUICK_WAIT_S):
        if exists(final):
            msg = f"{store.folder} has a head {name!r} already; choose another --name"
            raise StoreError(msg)
        encoder = store.manifest.encoder
        about = {"source": source, "model": encoder.model, "encoder_key": encoder.key}
        with replacing_folder(final) as temporary:
            if made_of is not None:
                made_of.write(temporary)
                about["of"] = IMAGES
            fill_head(temporary, taxa, blocks, about, store.manifest.dim, dtype="float32")
    return read_head(store, name)


def write_prototypes(store: EmbeddingStore, name: str, made: Prototypes) -> TextHead:
    """Keep image prototypes in a store as a head.

    Raises
    ------
    StoreError
        As :func:`write_head`.
    """
    return write_head(
        store, name, made.list_names(), [made.vectors], source=f"pictures of {store.folder}",
        made_of=made.made_of,
    )  # fmt: skip


def forget_gone(store: EmbeddingStore, gone: Gone, changes: Changes) -> None:
    """Remove the image prototypes that pictures which are gone made, and say which."""
    known = [read_head(store, name) for name in list_heads(store)]
    made = [(head, head.made_of) for head in known if head.made_of is not None]
    if not made:
        return
    marks = mark_gone(gone)
    for head, made_of in made:
        if made_of.includes(marks).any():
            changes.counts["prototypes"] += 1
            changes.said.append(
                f"the image prototypes {head.name} were made of some of them: forgotten; make them "
                f"again: bioprobe taxa prototypes --name {head.name}"
            )
            folder = store.folder / HEADS_DIR / head.name
            changes.afterwards(functools.partial(remove_folder, folder))


def fill_head(
    folder: Path,
    taxa: pd.DataFrame,
    blocks: Iterable[Vectors],
    about: Mapping[str, Any],
    dim: int,
    *,
    dtype: str,
) -> None:
    """Write a head into a folder: unit rows, their taxa, and what it is.

    Parameters
    ----------
    folder : Path
        Empty.
    taxa : DataFrame of str, shape (n_rows, 8)
        The seven ranks and the common name.
    blocks : iterable of ndarray of float32, shape (n, dim)
        The embeddings in order. Rows of zeros and rows that are not finite are left out, with
        their taxa; ``about`` counts them, and names the first.
    about : mapping
        ``source``, ``model``, ``encoder_key``, and whatever else is to be kept.
    dim : int
        Length of a vector.
    dtype : {"float16", "float32"}
        Of the rows on disk. Half precision moves a cosine of unit vectors by some 0.00001.

    Raises
    ------
    StoreError
        If no row can be used.
    """
    usable = np.zeros(len(taxa), dtype=bool)
    _write_matrix(folder / _VECTORS_NAME, _iter_usable(blocks, usable), dim, dtype)
    if not usable.any():
        msg = (
            f"none of the {len(taxa)} embeddings in {about['source']} can be used: all zeros or "
            "not finite"
        )
        raise StoreError(msg)
    taxa[usable].reset_index(drop=True).to_parquet(folder / _TAXA_NAME, index=False)
    empty = taxa[~usable]
    written = {
        **about,
        "normalised": True,
        "n_rows": int(usable.sum()),
        "n_left_out": len(empty),
        "left_out": [_name_row(row) for row in empty[:_N_NAMED].to_numpy()],
        "vectors_sha256": hash_file(folder / _VECTORS_NAME),
    }
    (folder / _ABOUT_NAME).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def _name_row(names: Iterable[str]) -> str:
    *lineage, common_name = names
    return next((name for name in reversed(lineage) if name), common_name)


def _iter_usable(blocks: Iterable[Vectors], usable: Mask) -> Iterator[Vectors]:
    start = 0
    for block in blocks:
        is_finite = np.isfinite(block).all(axis=1, keepdims=True)
        unit = normalise_rows(np.where(is_finite, block, 0))
        kept = np.abs(np.linalg.norm(unit, axis=1) - 1) < _UNIT_TOLERANCE
        usable[start : start + len(block)] = kept
        start += len(block)
        yield unit[kept]


def _write_matrix(path: Path, blocks: Iterator[Vectors], dim: int, dtype: str) -> None:
    # How many rows there are is known last, so the header is written twice: it has one length
    # for any number of rows, because numpy pads it.
    n_rows = 0
    with path.open("wb") as stream:
        write_array_header(stream, (n_rows, dim), dtype)
        for block in blocks:
            stream.write(np.ascontiguousarray(block, dtype=dtype).tobytes())
            n_rows += len(block)
        stream.seek(0)
        write_array_header(stream, (n_rows, dim), dtype)


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
    if taxa is None:
        named = np.flatnonzero((head.taxa[rank.value] != "").to_numpy(dtype=bool))
        found = _list_classes(head.taxa, rank, named, with_common=rank is Rank.SPECIES)
        return found if len(found.taxa) else _refuse_none(head, rank.value)
    return _find_wanted(head, taxa, {rank: taxa})


def find_head_leaves(head: TextHead, taxa: Taxonomy | None = None) -> HeadClasses:
    """Find the lowest classes of a head, whatever their ranks, and the rows of each.

    Parameters
    ----------
    head : TextHead
        A row is a class at its own lowest rank, of which rows that agree are one.
    taxa : Taxonomy, optional
        The lowest classes, at any rank, each with rows as :func:`find_head_classes` finds them.

    Raises
    ------
    PromptError
        If no row of the head stands for any class.
    """
    if taxa is not None:
        by_rank: dict[Rank, list[Taxon]] = {}
        for taxon in taxa:
            by_rank.setdefault(taxon.rank, []).append(taxon)
        return _find_wanted(head, taxa, {r: Taxonomy(tuple(one)) for r, one in by_rank.items()})
    depths = head.find_depths()
    parts = [
        _list_classes(head.taxa, rank, np.flatnonzero(depths == rank.depth), with_common=True)
        for rank in reversed(RANKS)
        if (depths == rank.depth).any()
    ]
    if not parts:
        return _refuse_none(head, "taxon")
    starts = np.cumsum([0, *(len(one.taxa) for one in parts)])
    return HeadClasses(
        Taxonomy(tuple(taxon for one in parts for taxon in one.taxa)),
        np.concatenate([one.rows for one in parts]),
        np.concatenate([one.classes + at for one, at in zip(parts, starts, strict=False)]),
    )


def _find_wanted(head: TextHead, wanted: Taxonomy, by_rank: Mapping[Rank, Taxonomy]) -> HeadClasses:
    """Return the rows of taxa that were asked for."""
    named = _index_names(head.taxa) if any(taxon.prompts for taxon in wanted) else {}
    rows: dict[Taxon, Rows] = {}
    for rank, taxa in by_rank.items():
        rows_of = _index_lineages(head.taxa, rank)
        rows |= {taxon: _find_rows(taxon, rank, rows_of, named) for taxon in taxa}
    kept = [(taxon, rows[taxon]) for taxon in wanted if len(rows[taxon])]
    if not kept:
        return _refuse_none(head, next(iter(by_rank)).value if len(by_rank) == 1 else "taxon")
    return HeadClasses(
        Taxonomy(tuple(taxon for taxon, _ in kept)),
        np.concatenate([found for _, found in kept]),
        np.repeat(np.arange(len(kept)), [len(found) for _, found in kept]),
        tuple(taxon for taxon in wanted if not len(rows[taxon])),
    )


def _refuse_none(head: TextHead, what: str) -> NoReturn:
    msg = (
        f"no row of the text head {head.name!r} stands for a {what} that was asked for; "
        "give a taxon list whose names or prompts are those of the head, or another --level"
    )
    raise PromptError(msg)


@collecting_later()
def _list_classes(taxa: pd.DataFrame, rank: Rank, rows: Rows, *, with_common: bool) -> HeadClasses:
    """Return the distinct taxa at a rank of some rows that have a name there, with their rows.

    Rows whose lineages agree are of one taxon, and homonyms are kept apart.
    """
    import pandas as pd

    ranks = list(RANKS[: rank.depth + 1])
    ids = np.zeros(len(rows), dtype=np.int64)
    columns = [taxa[one.value].to_numpy(dtype=object)[rows] for one in ranks]
    for names in columns:
        codes, distinct = pd.factorize(names)
        ids = pd.factorize(ids * len(distinct) + codes)[0].astype(np.int64)
    firsts = np.unique(ids, return_index=True)[1]
    common = taxa[COMMON_NAME].to_numpy(dtype=object)[rows][firsts] if with_common else None
    holes = ("",) * (len(RANKS) - len(ranks))
    uppers = [
        Taxon((*lineage, *holes), "" if common is None else common[place])
        for place, lineage in enumerate(zip(*(names[firsts] for names in columns), strict=True))
    ]
    ids_of: dict[str, list[int]] = {}
    for place, upper in enumerate(uppers):
        ids_of.setdefault(upper.lineage[rank.depth], []).append(place)
    listed: list[Taxon] = []
    class_of = np.full(len(uppers), -1, dtype=np.int64)
    extra: list[tuple[int, Rows]] = []
    order = np.argsort(ids, kind="stable")
    ends = np.cumsum(np.bincount(ids, minlength=len(uppers)))
    for places in ids_of.values():
        if len(places) == 1:
            class_of[places[0]] = len(listed)
            listed.append(uppers[places[0]])
            continue
        for taxon in Taxonomy.merge(uppers[place] for place in places):
            for place in places:
                if agree_by_name(uppers[place].lineage, taxon.lineage):
                    start = ends[place - 1] if place else 0
                    extra.append((len(listed), order[start : ends[place]]))
            listed.append(taxon)
    inside = np.flatnonzero(class_of[ids] >= 0)
    classes = np.concatenate([class_of[ids[inside]], *(np.full(len(r), c) for c, r in extra)])
    found = rows[np.concatenate([inside, *(r for _, r in extra)])]
    by_class = np.lexsort((found, classes))
    return HeadClasses(
        Taxonomy(tuple(listed)), found[by_class].astype(np.int64),
        classes[by_class].astype(np.int64),
    )  # fmt: skip


def ask_rows(
    view: View, head: TextHead, classes: HeadClasses, *, rank: Rank, pool: Pool = Pool.SUM
) -> Question:
    """Make a question of classes that rows of a head stand for."""
    offsets = None if head.offsets is None else head.offsets[classes.rows]
    if offsets is not None and pool is Pool.MEAN:
        msg = "a mean of texts has no offset of one text; pool by max or sum"
        raise PromptError(msg)
    leaves = Leaves(head.vectors, classes.rows, classes.classes, offsets)
    if pool is Pool.MEAN and len(classes.rows) > leaves.n_classes:
        leaves = Leaves.of(embed_mean_rows(head.vectors, classes.rows, classes.classes))
    options = {
        "rank": rank.value,
        "n_classes": len(classes.taxa),
        **head.describe(),
        "n_texts": len(classes.rows),
        "pool": pool.value,
        "logit_scale": view.manifest.logit_scale,
        **head.beside,
    }
    return Question(
        Tree(classes.taxa, rank), leaves, view.manifest.logit_scale, options,
        pool=Pool.MAX if pool is Pool.MAX else Pool.SUM,
    )  # fmt: skip


def _index_lineages(taxa: pd.DataFrame, rank: Rank) -> dict[str, list[tuple[Lineage, Rows]]]:
    """Return, for each name at a rank, the lineages down to it with their rows."""
    ranks = list(RANKS[: rank.depth + 1])
    named = taxa[ranks][taxa[rank.value] != ""]
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
    for row, names in enumerate(taxa[list(LABEL_COLUMNS)].itertuples(index=False, name=None)):
        scientific = next((name for name in reversed(names[:-1]) if name), "")
        for name in {fold(scientific), fold(names[-1])} - {""}:
            index.setdefault(name, []).append(row)
    return {name: np.array(rows, dtype=np.int64) for name, rows in index.items()}


def _find_rows(
    taxon: Taxon,
    rank: Rank,
    rows_of: dict[str, list[tuple[Lineage, Rows]]],
    named: dict[str, Rows],
) -> Rows:
    if taxon.prompts:
        return _join(named[name] for name in map(fold, taxon.prompts) if name in named)
    lineage = taxon.lineage[: rank.depth + 1]
    return _join(
        rows for other, rows in rows_of.get(lineage[-1], []) if agree_by_name(lineage, other)
    )


def _join(groups: Iterable[Rows]) -> Rows:
    found = list(groups)
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
