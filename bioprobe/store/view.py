"""Some rows of a store in an order: what a question is asked of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from bioprobe.cache import find_cache
from bioprobe.engines import Engine, map_parts
from bioprobe.errors import MisuseError, SelectionError
from bioprobe.images.conditions import name_values_of
from bioprobe.images.image_table import ImageTable
from bioprobe.options import GIVEN
from bioprobe.progress import Progress, Step
from bioprobe.provenance import Provenance
from bioprobe.result import WARNING, Note
from bioprobe.store.embedding_store import EmbeddingStore
from bioprobe.store.failures import Failure
from bioprobe.store.selections import read_selection
from bioprobe.types import Mask, Names, Rows, Vectors

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.store.kept import Kept
    from bioprobe.store.manifest import Manifest

_Result = TypeVar("_Result")

# 16,384 vectors of dim 768 are 50 MB.
_IMAGES_AT_ONCE = 16_384


class Block(Protocol):
    """Numbers that stand beside the vectors, such as place and date."""

    def encode(self, images: ImageTable, rows: Rows) -> Vectors:
        """Return the numbers of some rows, float32 of shape (n_rows, width)."""


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """Rows of a store, and how they were chosen. Whoever asks of a view asks of no other row.

    Make one with :meth:`of`.

    Parameters
    ----------
    store : EmbeddingStore
        That holds the rows.
    rows : ndarray of int64, shape (n_images,)
        Rows of the store, in the order in which they are answered.
    condition : str
        On the image table, ``""`` where there was none.
    mask : str
        Name of the selection that keeps them, ``""`` where there was none.
    n_dropped, n_unjudged : int
        Current rows that the mask judged and does not keep, and those it says nothing of.
    origin : str
        What the store was made of for one question, such as ``photos/``; ``""`` where it lasts.
    unread : DataFrame, optional
        What could not be read of what is asked; by default whatever failed in the store.
    progress : callable, optional
        Told how many of many images are asked.
    block : Block, optional
        What stands beside each vector where these are read.
    reads : str
        What is read instead of the vectors: a kind of what the store keeps beside them, ``""`` for
        the vectors themselves.
    engine : Engine, optional
        Where parts of it are asked, see :meth:`on`.
    """

    store: EmbeddingStore
    rows: Rows
    condition: str = ""
    mask: str = ""
    n_dropped: int = 0
    n_unjudged: int = 0
    origin: str = ""
    unread: pd.DataFrame | None = None
    progress: Progress | None = None
    block: Block | None = None
    reads: str = ""
    engine: Engine | None = None

    @classmethod
    def of(
        cls, asked: EmbeddingStore | View, condition: str | None = None, *, mask: str | None = None
    ) -> View:
        """Return a view of the current rows of a store, or of fewer rows of a view.

        Parameters
        ----------
        asked : EmbeddingStore or View
            A view without condition and mask is returned as it is.
        condition : str, optional
            Only images that meet it; see :mod:`bioprobe.images.conditions`. Its columns are those
            of the image table, and :data:`bioprobe.store.measured.MEASURE_COLUMNS`.
        mask : str, optional
            Only images that this named selection judged and keeps.

        Raises
        ------
        SelectionError
            If no image is left, or the condition cannot be applied.
        StoreError
            If there is no such mask.
        """
        view = cls.all(asked)
        if mask is not None:
            view = view._keep(mask)
        if condition is not None:
            from bioprobe.store.measured import match_measured

            met = match_measured(view.store, condition)
            said = condition if not view.condition else f"({view.condition}) and ({condition})"
            rows = view.rows[np.isin(view.rows, met)]
            view = dataclasses.replace(view, rows=rows, condition=said)
        if not len(view.rows):
            met_by = f" meets {condition!r}" if condition else ""
            msg = f"none of the {len(asked.rows)} images in {view.folder}{met_by}"
            if condition and len(asked.rows):
                from bioprobe.store.measured import add_measures

                frame = add_measures(view.store, asked.rows, condition)
                msg = "; ".join(filter(None, (msg, name_values_of(frame, condition))))
            raise SelectionError(msg)
        return view

    @classmethod
    def all(cls, asked: EmbeddingStore | View) -> View:
        """Return a view of the current rows of a store, even where it has none, or the view."""
        return cls(asked, asked.rows) if isinstance(asked, EmbeddingStore) else asked

    def take(self, rows: Rows) -> View:
        """Return a view of those of some rows of the store that are in this one, in their order."""
        return dataclasses.replace(self, rows=rows[np.isin(rows, self.rows)])

    def counting(self, labels: str) -> View:
        """Return a view of the same rows, of which other labels count.

        Parameters
        ----------
        labels : {"both", "given", "confirmed"}
            See :mod:`bioprobe.store.labels`; what people said until now counts.
        """
        return dataclasses.replace(self, store=self.store.counting(labels))

    def on(self, engine: Engine | None) -> View:
        """Return the same view, of which parts are asked elsewhere; None for here.

        Raises
        ------
        MisuseError
            If the store lies in no folder that others see too.
        """
        if engine is not None and (self.origin or self.folder.is_relative_to(find_cache("stores"))):
            where = self.origin or self.folder
            msg = (
                f"an engine asks a store in a folder that all its nodes see, and {where} is on "
                "this machine alone; embed the pictures into a store there, or bioprobe store pull"
            )
            raise MisuseError(msg)
        return dataclasses.replace(self, engine=engine)

    def __getstate__(self) -> dict[str, Any]:
        """Return what whoever works on a part needs."""
        left_out = {"progress": None, "engine": None, "unread": None}
        return {name: one for name, one in self.__dict__.items() if name != "_kept"} | left_out

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def folder(self) -> Path:
        """Folder of the store."""
        return self.store.folder

    @property
    def manifest(self) -> Manifest:
        """What the store holds: its encoder, its logit scale."""
        return self.store.manifest

    @property
    def images(self) -> ImageTable:
        """Image table of the whole store: row *i* of it is row *i* of the store."""
        return self.store.images

    @property
    def is_whole(self) -> bool:
        """Whether it is of all current rows, and no condition or mask chose them."""
        return not self.condition and not self.mask and len(self) == len(self.store.rows)

    def labels(self, level: str) -> Names:
        """Return the label of each image at a rank or in a column, ``""`` where unknown."""
        return self.images.labels(level)[self.rows]

    def read_vectors(self, rows: Rows | None = None) -> Vectors:
        """Read the vectors of this view, or of some rows of the store, shape (n, dim).

        What is :meth:`reading` something else gets that: projection inputs of shape (n, width), or
        tokens as :class:`~bioprobe.store.kept.KeptRows`, which are read where they are used.

        Raises
        ------
        SelectionError
            If it is not kept of one of the rows.
        """
        asked = self.rows if rows is None else rows
        if self.reads:
            read: Vectors = self._read_kept(asked)
            return read
        vectors = self.store.read_vectors(asked)
        if self.block is None:
            return vectors
        return np.concatenate([vectors, self.block.encode(self.images, asked)], axis=1)

    def find_taught(self, by: Mask | None = None) -> Mask | None:
        """Tell which images taught the encoder, or what is asked of them.

        Parameters
        ----------
        by : ndarray of bool, shape (n_images,), optional
            Which taught what is asked.

        Returns
        -------
        ndarray of bool, shape (n_images,), or None
            ``by``, with the images that the encoder was finetuned on, by the SHA-256 of their
            bytes, if it was.
        """
        training = self.store.training
        if training is None:
            return by
        hashes = self.images.column("sha256").to_numpy(dtype=object)[self.rows]
        taught = training.find_taught(hashes)
        return taught if by is None else taught | by

    def reading(self, kind: str) -> View:
        """Return the same view, of which something else is read than the vectors."""
        return self if kind == self.reads else dataclasses.replace(self, reads=kind)

    def _read_kept(self, rows: Rows) -> Any:  # noqa: ANN401 - vectors, or what is read like them
        kept, again = self._kept, f"run: bioprobe embed SOURCES --store {self.folder} --keep "
        if kept is None:
            msg = f"{self.folder} keeps no {self.reads} of its pictures; {again}{self.reads}"
            raise SelectionError(msg)
        places = kept.find(self.images.contents[rows])
        missing = rows[places < 0]
        if len(missing):
            name = self.images.name_files(missing[:1])[0]
            msg = (
                f"{self.reads} of {len(missing):,} of {len(rows):,} images is not kept in "
                f"{self.folder}, such as of {name}; {again}{self.reads}, where their pictures are "
                "read again, or leave them out by --where"
            )
            raise SelectionError(msg)
        if len(kept.card.shape) > 1:
            from bioprobe.store.kept import KeptRows

            return KeptRows(kept, places)
        return kept.read(places).astype(np.float32)

    def read_projection(self) -> tuple[Vectors, npt.NDArray[np.float32]]:
        """Read what the encoder multiplies what is read with, and what it adds.

        Returns
        -------
        matrix : ndarray of float32, shape (width, dim)
        bias : ndarray of float32, shape (dim,)

        Raises
        ------
        SelectionError
            If the store keeps nothing of the kind.
        """
        self._read_kept(self.rows[:0])
        assert self._kept is not None
        return self._kept.read_projection()

    @cached_property
    def _kept(self) -> Kept | None:
        return self.store.open_kept(self.reads)

    def beside(self, block: Block | None) -> View:
        """Return the same view, whose vectors have a block beside them, or none."""
        return dataclasses.replace(self, block=block)

    def read_failures(self) -> pd.DataFrame:
        """Return what could not be read: ``root``, ``path``, ``reason`` and ``source``."""
        return self.store.read_failures() if self.unread is None else self.unread

    def list_failures(self) -> list[Failure]:
        """Return the same as a list."""
        if self.unread is None:
            return self.store.list_failures()
        return [Failure(*row) for row in self.unread.itertuples(index=False, name=None)]

    def iter_vectors(self) -> Iterator[Vectors]:
        """Read the vectors some at a time; of a view without rows once, none.

        Yields
        ------
        ndarray of float32, shape (n, dim), unit rows
            Of the next images of the view, with their block if there is one.
        """
        for part in self._split():
            yield self.read_vectors(self.rows[part])
            # Whoever takes the next ones is done with these.
            self._tell(part)

    def map_vectors(self, work: Callable[[slice, Vectors], _Result]) -> Iterator[_Result]:
        """Do a piece of work for all images, some at a time, where the :attr:`engine` is.

        Parameters
        ----------
        work : callable
            From the places of some images in the view and their vectors, as :meth:`iter_vectors`
            reads them, to a result. For an engine it can be pickled.

        Yields
        ------
        object
            The results, in the order of the images; of a view without rows one, of none.
        """
        parts = self._split()
        found = map_parts(partial(_work, self, work), parts, self.engine)
        for part, result in zip(parts, found, strict=True):
            yield result
            self._tell(part)

    def _split(self) -> list[slice]:
        n_rows = len(self.rows)
        return [
            slice(start, min(start + _IMAGES_AT_ONCE, n_rows))
            for start in range(0, max(1, n_rows), _IMAGES_AT_ONCE)
        ]

    def _tell(self, part: slice) -> None:
        if self.progress is not None and len(self.rows) > _IMAGES_AT_ONCE:
            self.progress(Step(part.stop, len(self.rows), "images asked"))

    def describe(self, options: Mapping[str, Any], *, n_rows: int | None = None) -> Provenance:
        """Return where a result comes from that was computed from these images.

        Parameters
        ----------
        options : mapping
            What else it depends on, JSON-ready.
        n_rows : int, optional
            Of how many of them; of all when left out.
        """
        return Provenance(
            encoder=self.manifest.encoder.to_dict(),
            store=self.origin or str(self.folder),
            n_rows=len(self.rows) if n_rows is None else n_rows,
            condition=self.condition,
            options={**options, **self._describe_labels()},
        )

    def tell_changed(self, what: str, options: Mapping[str, Any]) -> list[Note]:
        """Say where what people say of pictures has changed since something was computed.

        Parameters
        ----------
        what : str
            What was computed, such as ``the probe mine``.
        options : mapping
            Those of its provenance.
        """
        said = self._describe_labels()
        if all(said.get(name) == options.get(name) for name in ("labels", "annotations_hash")):
            return []
        how = options.get("labels", GIVEN)
        text = (
            f"{what} was made by other labels than count now (--labels {how} as they were then, "
            f"--labels {self.store.counts} now): make it again for what people said since to count"
        )
        return [Note(text, WARNING)]

    def _describe_labels(self) -> dict[str, Any]:
        """Return which labels count, where they are not those that came with the pictures."""
        store = self.store
        if store.counts_given:
            return {}
        return {"labels": store.counts, "annotations_hash": store.labels.digest}

    def _keep(self, name: str) -> View:
        selection = read_selection(self.store, name)
        kept, judged = selection.kept[self.rows], selection.judged[self.rows]
        view = dataclasses.replace(
            self,
            rows=self.rows[kept],
            mask=name,
            n_dropped=int((judged & ~kept).sum()),
            n_unjudged=int((~judged).sum()),
        )
        if not len(view.rows):
            msg = (
                f"the mask {name!r} keeps none of the {len(self.rows)} images in {self.folder} "
                f"({view.n_dropped} dropped, {view.n_unjudged} not judged); make it again"
            )
            raise SelectionError(msg)
        return view


def _work(view: View, work: Callable[[slice, Vectors], _Result], part: slice) -> _Result:
    return work(part, view.read_vectors(view.rows[part]))
