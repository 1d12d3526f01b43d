"""Pictures of a store as they are shown: a page of the image table, and small copies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

from bioprobe.errors import MismatchError, SelectionError
from bioprobe.face.opened import Opened, TextFinder
from bioprobe.options import Option, question
from bioprobe.result import Table, name_some

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from bioprobe.images.location import ImageLocation
    from bioprobe.page.thumbnails import Thumbnails

#: Longer sides of thumbnails, in pixels.
THUMBNAIL_SIZES_PX = (96, 160, 320, 640, 1280)
# Columns that say where on this machine a file lies.
_PRIVATE = ("root",)


class Shows(Opened):
    """How pictures are shown one by one."""

    def reopen(self) -> Self:
        """Return the store as it is on the disk now; this one where nothing has changed.

        Of what is known of its shards nothing is read again, and an encoder that is loaded stays.
        Which images are asked is chosen again by :meth:`where`.

        Raises
        ------
        StoreError
            If there is no store any more, or it cannot be read.
        """
        from bioprobe.store import EmbeddingStore
        from bioprobe.store.view import View

        store, texts = self._view.store, self._find_texts
        if not store.is_changed():
            return self
        now = EmbeddingStore.open(store.folder, after=store).counting(store.counts)
        return type(self)(
            View(now, now.rows, progress=self._view.progress), model=self._model,
            device=self._device, notes=tuple(now.tell_labels()),
            texts=texts.renew(now) if isinstance(texts, TextFinder) else None,
        )  # fmt: skip

    def hold(
        self,
        X: npt.ArrayLike,  # noqa: N803 - scikit-learn's name
        names: Sequence[str] | None = None,
    ) -> Self:
        """Open vectors of other pictures, to ask them as those of the store are asked.

        What they are compared with is what the store knows: its labels, its taxa, its probes.
        They are in memory, and nothing of them is kept.

        Parameters
        ----------
        X : array-like of float, shape (n_pictures, dim)
            By the encoder of the store, as :meth:`bioprobe.Encoder.images` returns them; made
            unit.
        names : sequence of str, optional
            What the pictures are called in answers; by default their numbers, from 0.

        Raises
        ------
        MismatchError
            If they cannot be of this store's encoder.

        Examples
        --------
        >>> import bioprobe as bp
        >>> labels = {"family": ["Felidae", "Canidae"]}
        >>> store = bp.from_vectors([[1.0, 0.0], [0.0, 1.0]], labels, model="mine")
        >>> store.hold([[3.0, 4.0]], ["new.jpg"]).X.round(1).tolist()
        [[0.6000000238418579, 0.800000011920929]]
        """
        import numpy as np
        import pandas as pd

        from bioprobe.encoders.encoder import normalise_rows
        from bioprobe.store.held import HeldPictures
        from bioprobe.store.view import View

        vectors = np.asarray(X, dtype=np.float32)
        dim = self._view.manifest.dim
        if vectors.ndim != 2 or vectors.shape[1] != dim:
            msg = f"vectors of this store have the shape (n_pictures, {dim}), got {vectors.shape}"
            raise MismatchError(msg)
        paths = list(names) if names is not None else [str(n) for n in range(len(vectors))]
        if len(paths) != len(vectors):
            msg = f"each picture has a name, got {len(paths)} for {len(vectors)} pictures"
            raise MismatchError(msg)
        held = HeldPictures(self._view.store, paths, normalise_rows(vectors))
        none = pd.DataFrame(columns=["root", "path", "reason", "source"], dtype=object)
        view = View(held, held.rows, origin=name_some(paths) or "none", unread=none)
        return type(self)(
            view, model=self._model, device=self._device, notes=self._notes,
            texts=self._find_texts,
        )  # fmt: skip

    @property
    def model(self) -> str:
        """Encoder that made the vectors, or that texts and pictures are read by."""
        return self._model or self._view.manifest.encoder.model

    @property
    def generation(self) -> int:
        """Compactions so far: a row has the number that it had as long as this is the same."""
        return self._view.manifest.generation

    def describe_columns(self) -> dict[str, Any]:
        """Return the encoder, the length of a vector and the columns that may be asked at."""
        manifest = self._view.manifest
        columns = [str(one) for one in self._view.images.columns if one not in _PRIVATE]
        return {"model": self.model, "dim": manifest.dim, "columns": columns}

    def has_row(self, row: int) -> bool:
        """Tell whether a row of the store is among the images that are asked."""
        import numpy as np

        rows = self.rows
        if rows is not self._view.store.rows:
            return bool((rows == row).any())
        # All rows of a store are in their order.
        at = int(np.searchsorted(rows, row))
        return at < len(rows) and int(rows[at]) == row

    @question
    def list_images(
        self,
        *,
        after: Annotated[
            int, Option("Row after which the list goes on, as the last one of a page.", least=-1)
        ] = -1,
        n: Annotated[int, Option("Images, at most.", least=1)] = 100,
    ) -> Table:
        """List images, some at a time in the order of their rows.

        Parameters
        ----------
        after : int
            Row after which the list goes on; -1 begins it.
        n : int
            Images at most, ≥ 1.

        Returns
        -------
        Table
            One row an image: ``row``, ``file_name``, and what is known of it. Where its files lie
            on this machine is not among that.
        """
        import numpy as np

        # Whatever order they are asked in, so that no page leaves one out.
        rows = np.sort(self.rows[self.rows > after], kind="stable")[:n]
        frame = self.describe_rows(rows.tolist())
        return Table(frame)

    def describe_rows(self, rows: Sequence[int]) -> pd.DataFrame:
        """Return what is known of rows, as :meth:`list_images` lists them.

        Parameters
        ----------
        rows : sequence of int
            Rows of the store that are asked.
        """
        import numpy as np

        images, asked = self._view.images, np.asarray(rows, dtype=np.int64)
        shown = [one for one in images.columns if one not in (*_PRIVATE, "path")]
        frame = images.take(asked, shown).reset_index(drop=True)
        frame.insert(0, "row", asked)
        frame.insert(1, "file_name", images.name_files(asked))
        return frame

    def thumbnail(self, row: int, *, size_px: int = 320, whole: bool = False) -> bytes:
        """Return a small copy of a picture, a JPEG without anything beside the pixels.

        It is made once and kept in the cache; people are obscured in it.

        Parameters
        ----------
        row : int
            Row of the store.
        size_px : int
            Longer side, of :data:`THUMBNAIL_SIZES_PX`.
        whole : bool
            Whether of a region the whole picture is shown, rather than the region framed.

        Raises
        ------
        SelectionError
            If there is no such image among those that are asked, or no such size.
        ImageReadError
            If the picture is gone or cannot be read.
        """
        return self._thumbnails.read(self._find_shown(row, size_px, whole=whole), size_px)

    def name_thumbnail(self, row: int, *, size_px: int = 320, whole: bool = False) -> str:
        """Return what a thumbnail is of: the same text, the same picture."""
        from bioprobe.page.thumbnails import name_thumbnail

        return name_thumbnail(self._find_shown(row, size_px, whole=whole), size_px)

    def name_thumbnails(self, rows: Sequence[int], *, size_px: int = 320) -> list[str]:
        """Return what the thumbnails of several rows are of, as :meth:`name_thumbnail` does."""
        import numpy as np

        from bioprobe.page.thumbnails import name_thumbnail

        self._check_shown(rows, size_px)
        places = self._view.images.locate_all(np.array(rows, dtype=np.int64))
        return [name_thumbnail(place, size_px) for place in places]

    def _find_shown(self, row: int, size_px: int, *, whole: bool) -> ImageLocation:
        self._check_shown([row], size_px)
        place = self._view.images.locate(row)
        return dataclasses.replace(place, region="") if whole else place

    def _check_shown(self, rows: Sequence[int], size_px: int) -> None:
        if size_px not in THUMBNAIL_SIZES_PX:
            sizes = ", ".join(map(str, THUMBNAIL_SIZES_PX))
            msg = f"thumbnails have a longer side of {sizes} pixels, got {size_px}"
            raise SelectionError(msg)
        for row in rows:
            if not self.has_row(row):
                msg = f"no row {row} is among the {len(self):,} images that are asked"
                raise SelectionError(msg)

    @property
    def _thumbnails(self) -> Thumbnails:
        from bioprobe.page.thumbnails import Thumbnails

        return Thumbnails()
