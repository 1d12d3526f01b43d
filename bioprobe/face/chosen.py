"""What every answer has that chooses pictures, or that is a page of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bioprobe.images.regions import REGION, Region
from bioprobe.taxonomy import RANKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bioprobe.images import ImageTable
    from bioprobe.images.xmp import Keyword
    from bioprobe.progress import Progress
    from bioprobe.result import Notes
    from bioprobe.types import Rows

#: Pictures that a notebook draws.
DRAWN = 24


class Pictures:
    """Base of an answer that chooses pictures: they can be listed, copied and linked to."""

    images: ImageTable

    def to_frame(self) -> pd.DataFrame:
        """Return the answer as a table, with a column ``row``."""
        raise NotImplementedError

    def choose(self) -> tuple[Rows, Sequence[str] | None]:
        """Return the rows of the pictures, and of each its folder among copies, where they differ.

        Returns
        -------
        rows : ndarray of int64, shape (n,)
        labels : sequence of str, or None
        """
        raise NotImplementedError

    @property
    def paths(self) -> list[str]:
        """Files of the pictures, each once, as the system names them.

        A picture that is no file of its own, a row of a data set, is not among them.
        """
        rows, _ = self.choose()
        files = [self.images.locate(row).find_file() for row in rows.tolist()]
        return list(dict.fromkeys(str(file) for file in files if file is not None))

    def copy_to(
        self,
        folder: str | Path,
        *,
        people: str = "leave-out",
        keep_metadata: bool = False,
        keywords: bool = False,
        progress: Progress | None = None,
    ) -> Notes:
        """Copy the pictures into a folder, answers into one below it each.

        Nothing that is there is replaced. A copy says no more than the picture: GPS, serial
        numbers and names are taken out, of JPEG, PNG and WebP without changing a pixel.

        Parameters
        ----------
        folder : str or Path
            It is made where there is none.
        people : {"leave-out", "obscure", "keep"}
            What is done with pictures with people, whom a detector's box or the column
            ``content`` tells.
        keep_metadata : bool
            Whether a copy is byte for byte the file.
        keywords : bool
            Whether the answers go with the copies as keywords that photo programs read (XMP):
            inside of a JPEG, else in a file beside it.
        progress : callable, optional
            Told after each picture.

        Returns
        -------
        tuple of Note
            What was done.

        Raises
        ------
        StoreError
            If the disk refuses.
        """
        from bioprobe.images.copying import Copying, copy_pictures

        copying = Copying(Path(folder), people, keep_metadata, keywords=keywords)
        rows, labels = self.choose()
        return copy_pictures(
            self.images, rows, copying, labels=labels,
            keywords=self._list_keywords() if keywords else None, progress=progress,
        )  # fmt: skip

    def _list_keywords(self) -> dict[int, Keyword]:
        """Return what is said of each row: the best answer with its lineage, or the labels."""
        from bioprobe.images.xmp import Keyword

        frame = self.to_frame()
        names = [name for name in (*RANKS, "classification") if name in frame.columns]
        if "answer" in frame.columns:
            frame = frame[frame["answer"] == 1]
        if not names:
            frame = self.images.frame.iloc[self.choose()[0]].assign(row=self.choose()[0])
            names = list(RANKS)
        said: dict[int, Keyword] = {}
        for row, *lineage in frame[["row", *names]].itertuples(index=False, name=None):
            known = tuple(str(name) for name in lineage if isinstance(name, str) and name)
            if known:
                region = Region.parse(str(self.images.column(REGION).iloc[int(row)]))
                said[int(row)] = Keyword(known, region)
        if "common_name" in frame.columns:
            for row, name in zip(frame["row"], frame["common_name"], strict=True):
                if row in said and isinstance(name, str) and name:
                    said[row] = dataclasses.replace(said[row], others=(name,))
        return said

    def link_to(
        self, folder: str | Path, *, people: str = "leave-out", progress: Progress | None = None
    ) -> Notes:
        """Make links to the pictures as :meth:`copy_to` makes copies; they show the files whole.

        Parameters
        ----------
        folder, progress
            As there.
        people : {"leave-out", "keep"}
            What is done with pictures with people.
        """
        from bioprobe.images.copying import Copying, copy_pictures

        rows, labels = self.choose()
        copying = Copying(Path(folder), people, links=True)
        return copy_pictures(self.images, rows, copying, labels=labels, progress=progress)

    def with_people(self, people: str) -> Self:
        """Return the same answer, whose pages show people otherwise; see :meth:`copy_to`.

        By default they are obscured.
        """
        changed: Any = dataclasses.replace(self, images=self.images.with_people(people))  # type: ignore[type-var]
        return changed  # type: ignore[no-any-return]


class Paged:
    """Base of an answer with a page of its own."""

    #: What :meth:`write_page` counts: one, and many where that is not one and ``s``.
    shows: ClassVar[tuple[str, ...]] = ("picture",)

    def write_page(self, path: str | Path) -> int:
        """Write the answer as one self-contained HTML page.

        Parameters
        ----------
        path : str or Path
            HTML file.

        Returns
        -------
        int
            What the page shows, of what ``shows`` says.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        return self._write(Path(path))

    def _write(self, path: Path) -> int:
        raise NotImplementedError
