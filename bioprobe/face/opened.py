"""A store that was opened: which of its images are asked, and by which encoder texts are read."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bioprobe.options import (
    LOCAL,
    Mask,
    Part,
    Where,
    WhichLabels,
    list_given,
    question,
    split_names,
)
from bioprobe.result import WARNING, Note, Notes, Table

if TYPE_CHECKING:
    import pandas as pd

    from bioprobe.encoders.encoder import Encoder
    from bioprobe.progress import Progress
    from bioprobe.store import EmbeddingStore, TextCache
    from bioprobe.store.view import View
    from bioprobe.types import Names, Rows, Vectors


class Opened:
    """A store, or fewer of its images: what every question is asked of.

    Parameters
    ----------
    view : View
        Images that are asked.
    model : str, optional
        Encoder of texts and pictures; by default the one that made the store.
    device : str
        Where it runs.
    notes : tuple of Note
        What is to be said of how the images were chosen; each answer says it too.
    said : tuple of Note
        What is to be said of how the store was filled; no answer repeats it.
    texts : callable, optional
        Returns the texts that the encoder has read; by default what the store keeps of them.
    """

    def __init__(
        self,
        view: View,
        *,
        model: str | None = None,
        device: str = "auto",
        notes: Notes = (),
        said: Notes = (),
        texts: Callable[[], TextCache] | None = None,
    ) -> None:
        self._view = view
        self._model = model
        self._device = device
        self._notes = notes
        self._said = said
        self._find_texts = texts or find_texts(view.store, model, device)

    def __len__(self) -> int:
        return len(self._view)

    def __repr__(self) -> str:
        encoder = self._view.manifest.encoder.model
        return f"<{type(self).__name__} {self.folder}: {len(self):,} images by {encoder}>"

    @property
    def notes(self) -> Notes:
        """What is to be said of the store and of how its images were chosen."""
        return (*self._said, *self._notes)

    @property
    def folder(self) -> Path:
        """Folder of the store."""
        return self._view.folder

    @property
    def rows(self) -> Rows:
        """Rows of the store that are asked, int64, shape (n_images,)."""
        return self._view.rows

    @property
    def X(self) -> Vectors:  # noqa: N802 - scikit-learn's name
        """Embeddings, float32, shape (n_images, dim), unit rows."""
        return self._view.read_vectors()

    @property
    def images(self) -> pd.DataFrame:
        """Image table, one row an image, as :attr:`rows` has them."""
        return self._view.images.frame.iloc[self._view.rows]

    @property
    def failures(self) -> pd.DataFrame:
        """Images that could not be read: ``root``, ``path``, ``reason`` and ``source``."""
        return self._view.read_failures()

    def labels(self, level: str = "species") -> Names:
        """Return the label of each image at a rank or in any column, ``""`` where unknown.

        Returns
        -------
        ndarray of object, shape (n_images,)

        Raises
        ------
        SelectionError
            If there is no such rank or column.
        """
        from bioprobe.images.image_table import read_level

        return self._view.labels(read_level(level, self._view.images))

    def pictures(
        self,
        sources: str | Path | Sequence[str | Path],
        *,
        allow_outside: bool = False,
        exclude: str | Sequence[str] | None = None,
        include: str | Sequence[str] | None = None,
        keep: str | Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Open pictures that this store's encoder reads, to ask them without adding them.

        Parameters
        ----------
        sources : str, Path or sequence of them
            Folders, image files, tables, ``-`` for paths on standard input.
        allow_outside : bool
            Whether a table or data set may name files anywhere, as for :func:`bioprobe.embed`.
        exclude, include : str or sequence of str, optional
            Patterns of what is left out of folders, and of what is taken all the same.
        keep : str or sequence of str, optional
            What is to be known of them beside the vectors, as :func:`bioprobe.embed` keeps it.
        progress : callable, optional
            Told a step after each picture.

        See Also
        --------
        bioprobe.pictures : the same without a store.
        """
        from bioprobe.face.pictures import open_pictures

        return open_pictures(
            type(self), sources, model=self._model, device=self._device, like=self.folder,
            allow_outside=allow_outside, exclude=exclude, include=include,
            kinds=split_names(keep or ()), progress=progress,
        )  # fmt: skip

    @question
    def where(
        self,
        where: Where = None,
        *,
        mask: Mask = None,
        split: Part = None,
        labels: WhichLabels = None,
        rows: Sequence[int] | None = None,
    ) -> Self:
        """Return the same store with fewer images to ask.

        Parameters
        ----------
        where : str, optional
            Condition on the image table, such as ``"family == 'Felidae'"``.
        mask : str, optional
            Named mask that keeps them; see :meth:`filter` and :meth:`dedupe`.
        split : str, optional
            Part of a split, ``NAME:PART``.
        labels : {"both", "given", "confirmed"}, optional
            Which labels count, also in the condition: those that came with the pictures, those
            that people gave, or these where there are any, else the given. By default as before,
            at first ``both``. What people said until now counts.
        rows : sequence of int, optional
            Rows of the store, in the order in which they are to be answered.

        Raises
        ------
        SelectionError
            If no image is left.
        StoreError
            If there is no such mask or split.
        """
        import numpy as np

        from bioprobe.splits.split import read_part
        from bioprobe.store.measured import count_unknown
        from bioprobe.store.view import View

        chosen = self._view if labels is None else self._view.counting(labels)
        view = View.of(chosen, mask=mask)
        notes = list(self._notes)
        if labels is not None:
            told = self._view.store.tell_labels()
            notes = [*(one for one in notes if one not in told), *chosen.store.tell_labels()]
        if mask is not None:
            said = f"mask {mask}: {len(view):,} images kept, {view.n_dropped:,} dropped"
            if view.n_unjudged:
                said += f", {view.n_unjudged:,} not judged and left out (make the mask again to "
                said += "judge)"
            notes.append(Note(said))
        before, view = view, View.of(view, where)
        if where is not None and (n_unknown := count_unknown(view.store, before.rows, where)):
            text = (
                f"{n_unknown:,} pictures were not measured, or have no size or neighbour, and are "
                "left out; to measure them: bioprobe describe --measure"
            )
            notes.append(Note(text, WARNING))
        if split is not None:
            view = view.take(read_part(self._view.store, split))
        if rows is not None:
            view = view.take(np.asarray(rows, dtype=np.int64))
        return type(self)(
            View.of(view), model=self._model, device=self._device, notes=tuple(notes),
            texts=self._find_texts,
        )  # fmt: skip

    def _open_others(
        self, folders: str | Path | Sequence[str | Path] | None
    ) -> list[EmbeddingStore]:
        """Open further stores, whose labels count as those of this one do."""
        from bioprobe.store import EmbeddingStore

        counts = self._view.store.counts
        return [EmbeddingStore.open(one).counting(counts) for one in list_given(folders)]

    def _tell_removed(self, what: str) -> Table:
        import pandas as pd

        return Table(pd.DataFrame()).say([f"removed the {what} from {self.folder}"])

    def _on(self, engine: str, threads: int | None) -> Self:
        """Return the same images, of which parts are asked where an engine is."""
        from bioprobe.engines import open_engine

        if engine == LOCAL:
            return self
        there, folders = copy.copy(self), (str(self._view.folder.absolute()),)
        there._view = self._view.on(open_engine(engine, threads, folders))
        return there

    def telling(self, progress: Progress) -> Self:
        """Return the same images to ask, which tell how far what is asked of them is.

        Parameters
        ----------
        progress : callable
            Told a :class:`bioprobe.progress.Step` after each 16,384 images, and each few of many
            new texts. An error that it raises stops the work.
        """
        told = copy.copy(self)
        told._view = dataclasses.replace(self._view, progress=progress)
        if isinstance(self._find_texts, TextFinder):
            told._find_texts = self._find_texts.telling(progress)
        return told

    @property
    def _texts(self) -> TextCache:
        return self._find_texts()


class TextFinder:
    """Opens the cache of texts once, and loads the encoder once a text or picture is new.

    Parameters
    ----------
    store : EmbeddingStore
        That keeps the texts.
    load : callable
        Returns the encoder.
    progress : callable, optional
        Told how many of many new texts are embedded.
    """

    def __init__(
        self, store: EmbeddingStore, load: Callable[[], Encoder], progress: Progress | None = None
    ) -> None:
        self._store = store
        self._load = load
        self._progress = progress
        self._found: TextCache | None = None
        # Several may ask at once, and an encoder takes long to load.
        self._turn = threading.Lock()

    def __call__(self) -> TextCache:
        """Return the texts that the encoder has read."""
        from bioprobe.store import TextCache

        with self._turn:
            if self._found is None:
                self._found = TextCache(self._store, self._load, self._progress)
            return self._found

    def telling(self, progress: Progress) -> TextFinder:
        """Return the same, which tells how many new texts are embedded."""
        return TextFinder(self._store, self._load, progress)

    def renew(self, store: EmbeddingStore) -> TextFinder:
        """Return the same for a store as it is now, with the same encoder."""
        if store.manifest.generation == self._store.manifest.generation:
            return self
        return TextFinder(store, self._load, self._progress)


def find_texts(
    store: EmbeddingStore, model: str | None, device: str, progress: Progress | None = None
) -> TextFinder:
    """Return what opens the cache of texts once, and loads the encoder once a text is new."""
    turn = threading.Lock()
    loaded: list[Encoder] = []

    def load() -> Encoder:
        from bioprobe.encoders import load_encoder

        with turn:
            if not loaded:
                name = model or store.manifest.encoder.model
                loaded.append(load_encoder(name, device=device, backend="auto"))
            return loaded[0]

    return TextFinder(store, load, progress)


def tell_placeholders(n_rows: int, counts: Mapping[str, int]) -> list[Note]:
    """Say how many rows have labels that look like none, and how they are emptied."""
    if not n_rows:
        return []
    text = (
        f"{n_rows:,} rows have labels that look like none: {name_counts(counts)}; to empty them, "
        f"embed or import with --no-label '{','.join(counts)}'"
    )
    return [Note(text, WARNING)]


def tell_emptied(n_rows: int, counts: Mapping[str, int]) -> list[Note]:
    """Say how many rows had labels that were said to be none."""
    if not n_rows:
        return []
    text = f"{n_rows:,} rows had labels that --no-label empties: {name_counts(counts)}"
    return [Note(text)]


def name_counts(counts: Mapping[str, int]) -> str:
    """Write names and how many of each there are, for a sentence.

    Examples
    --------
    >>> name_counts({"train": 1200, "test": 30})
    'train 1,200, test 30'
    """
    return ", ".join(f"{word} {n:,}" for word, n in counts.items())
